//! `syncline gc`: remove what no kept version needs.

use std::time::Duration;

use syncline_node::ops::gc::{self, Request};

use crate::context::Context;
use crate::fault::Outcome;
use crate::units;

/// Arguments of `gc`.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  syncline gc\n  syncline gc --keep-last 30 --keep-within 14d\n\n\
                        It removes in two steps: what is found dead now is removed by a later run, after the grace.")]
pub(crate) struct Args {
    /// Of each branch keep the data of the last N versions; of all when absent
    #[arg(long, value_name = "N")]
    keep_last: Option<u64>,
    /// Keep the data of every version made within this time, for example 14d
    #[arg(long, value_name = "TIME", value_parser = units::parse_duration)]
    keep_within: Option<Duration>,
    /// How long something must have been dead before it is removed
    #[arg(long, value_name = "TIME", value_parser = units::parse_duration, default_value = "1h")]
    grace: Duration,
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

pub(crate) fn run(context: &Context, args: &Args) -> Outcome {
    let request = Request {
        keep_last: args.keep_last,
        keep_within_ms: args.keep_within.map(millis),
        grace_ms: millis(args.grace),
    };
    let report = context.ask_served("gc", &request, |replica, progress| gc::run(replica, &request, &**progress))?;
    context.out.done(&report, |page| {
        page.line(format!(
            "kept {} ({}), dropped the data of {}",
            units::counted(report.versions_kept, "version", "versions"),
            units::counted(report.live_objects, "object", "objects"),
            units::counted(report.versions_dropped, "version", "versions"),
        ));
        page.line(format!(
            "removed {} ({}), {} wait for the grace to pass, in {}",
            units::counted(report.files_deleted, "file", "files"),
            units::bytes(report.bytes_deleted),
            units::count(if args.grace.is_zero() { 0 } else { report.files_condemned }),
            units::seconds(report.seconds),
        ));
    })?;
    Ok(None)
}
