//! `syncline fetch`: have more files in a partial replica.

use syncline_node::ops::fetch::{self, Request};

use crate::context::Context;
use crate::fault::Outcome;
use crate::output;
use crate::units;

/// Arguments of `fetch`.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  syncline fetch 'images/2024/**'\n  syncline fetch readme.pdf '*.json'\n\n\
                        For replicas that were cloned with --lazy or --path. Files that match come from the replica that \
                        this one was cloned from, and are kept up to date from now on.")]
pub(crate) struct Args {
    /// Which files, as in `.gitignore`
    #[arg(value_name = "PATTERN", required = true)]
    paths: Vec<String>,
}

pub(crate) fn run(context: &Context, args: &Args) -> Outcome {
    let replica = context.replica("fetch")?;
    let report = fetch::run(&replica, &Request { paths: args.paths.clone() }, &*context.progress())?;
    context.out.done(&report, |page| {
        page.line(format!(
            "{} written, {} received",
            units::counted(report.files, "file", "files"),
            units::counted(report.objects, "object", "objects"),
        ));
        output::cost(page, &report.cost);
        page.line(format!("files that are here: {}", report.paths.join(" ")));
    })?;
    Ok(None)
}
