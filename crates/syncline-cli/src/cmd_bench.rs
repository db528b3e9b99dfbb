//! `syncline bench`: measures a deployment with the program's own clients.
//!
//! Owns: the table it writes to, and, when it is given no node, two nodes of its own in a temporary directory, ended with it.

mod crowd;
mod embedded;
mod live;
mod local;
mod samples;

use std::path::PathBuf;
use std::time::Duration;

use serde::Serialize;
use syncline_api::Target;

use self::live::Sizes;
use self::local::Local;
use self::samples::Step;
use crate::context::Context;
use crate::fault::{Fault, Outcome};
use crate::output::{Align, Page, Table};

/// Arguments of `bench`.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Examples:\n  syncline bench live\n  syncline bench live --on http://hub:7070/shop --reader http://edge:7070/shop\n  \
                        syncline bench live --spokes 1000 --rate 100 --json\n\n\
                        Without --on it measures a hub and a node that follows it, both on this machine, in a temporary directory. With --on it \
                        writes to a table of its own in that dataset, and deletes its rows again."
)]
pub(crate) struct Args {
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, clap::Subcommand)]
enum What {
    /// Live tables: durable transactions per second, and how long until a reader elsewhere sees them
    Live(Live),
}

#[derive(Debug, clap::Args)]
struct Live {
    /// Where the rows are read; when it is not given, the node that they are written to
    #[arg(long, value_name = "URL")]
    reader: Option<String>,
    /// Writers that write at the same time, each its next transaction when the one before is durable
    #[arg(long, value_name = "N", default_value_t = 64)]
    writers: usize,
    /// Rows of a large transaction
    #[arg(long, value_name = "N", default_value_t = 1000)]
    rows: usize,
    /// Bytes of a row
    #[arg(long, value_name = "N", default_value_t = 100)]
    bytes: usize,
    /// Transactions per second while the way to a reader is timed
    #[arg(long, value_name = "N", default_value_t = 5000)]
    rate: u64,
    /// Seconds for each step
    #[arg(long, value_name = "S", default_value_t = 3.0)]
    seconds: f64,
    /// Replicas without a disk that are connected to the hub while the way is timed
    #[arg(long, value_name = "N", default_value_t = 0)]
    spokes: usize,
    /// Where the two nodes are made when no node is named: on the disk that is to be measured
    #[arg(long, value_name = "DIR", conflicts_with = "on")]
    scratch: Option<PathBuf>,
    /// Only these steps
    #[arg(long, value_name = "STEP", value_delimiter = ',')]
    only: Vec<live::Kind>,
}

/// What was measured.
#[derive(Debug, Serialize)]
struct Report {
    hub: String,
    reader: String,
    row_bytes: usize,
    steps: Vec<Step>,
}

pub(crate) fn run(context: &Context, args: &Args) -> Outcome {
    let What::Live(args) = &args.what;
    if args.seconds.is_nan() || args.seconds <= 0.0 || args.writers == 0 || args.rows == 0 || args.rate == 0 {
        return Err(Fault::invalid("bench live: --writers, --rows, --rate and --seconds are more than nothing"));
    }
    let sizes = Sizes {
        writers: args.writers,
        rows: args.rows,
        bytes: args.bytes.clamp(1, 1 << 20),
        rate: args.rate,
        time: Duration::from_secs_f64(args.seconds.min(3600.0)),
        spokes: args.spokes,
    };
    let wanted = |kind: live::Kind| args.only.is_empty() || args.only.contains(&kind);
    let mut steps = Vec::new();
    let (local, hub, reader);
    if let (_, Some(on)) = context.given() {
        (local, hub) = (None, on.to_owned());
        reader = args.reader.clone().unwrap_or_else(|| hub.clone());
    } else {
        let made = Local::start(&args.scratch.clone().unwrap_or_else(std::env::temp_dir))?;
        if wanted(live::Kind::Embedded) {
            steps.extend(embedded::run(context, &made, &sizes)?);
        }
        (hub, reader) = (made.hub.clone(), made.reader.clone());
        local = Some(made);
    }
    let target = |url: &str| {
        let target = Target::parse(url)?;
        if target.dataset.is_empty() {
            return Err(Fault::invalid(format!("bench live on {target}: it names no dataset; write {target}DATASET")));
        }
        Ok(target)
    };
    let bench = live::Bench { hub: target(&hub)?, reader: target(&reader)?, options: context.options()?, sizes };
    steps.extend(bench.run(context, &wanted)?);
    drop(local);
    let report = Report { hub, reader, row_bytes: bench.sizes.bytes, steps };
    context.out.answer(&report, |page| show(page, &report))?;
    Ok(None)
}

fn show(page: &mut Page, report: &Report) {
    page.line(format!("hub {}, read at {}, rows of {} bytes", report.hub, report.reader, report.row_bytes));
    let right = Align::Right;
    let mut table = Table::new([
        ("", Align::Left),
        ("txn/s", right),
        ("rows/s", right),
        ("p50", right),
        ("p99", right),
        ("p99.9", right),
        ("max", right),
    ]);
    for step in &report.steps {
        table.row(step.cells());
    }
    page.table(&table);
}
