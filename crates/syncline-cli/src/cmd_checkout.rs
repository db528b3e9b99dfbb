//! `syncline checkout`: continue on a branch, or stage what an older version held.

use syncline_node::ops::checkout::{self, Request};

use crate::context::Context;
use crate::fault::Outcome;
use crate::units;

/// Arguments of `checkout`.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Examples:\n  syncline checkout feature\n  syncline checkout v1      its content is staged on the current branch\n  \
                        syncline checkout --force HEAD      drop staged changes and edited files"
)]
pub(crate) struct Args {
    /// A branch to continue on; or any other version, whose content is then staged
    #[arg(value_name = "REF")]
    name: String,
    /// Drop staged changes and edits of files
    #[arg(long, short = 'f')]
    force: bool,
}

pub(crate) fn run(context: &Context, args: &Args) -> Outcome {
    let replica = context.replica("checkout")?;
    let report = checkout::run(&replica, &Request { name: args.name.clone(), force: args.force })?;
    context.out.done(&report, |page| {
        if report.staged {
            page.line(format!("staged what {} held on branch {}", args.name, report.branch));
        } else {
            page.line(format!("on branch {}, commit {}", report.branch, report.commit.short()));
        }
        page.line(format!("root {}", report.root));
        if report.files.written + report.files.removed > 0 {
            let (written, removed) = (units::count(report.files.written), units::count(report.files.removed));
            page.line(format!("files: {written} written, {removed} removed"));
        }
    })?;
    Ok(None)
}
