//! `syncline undo`: take back the last move of the current branch.

use syncline_node::ops::branch;

use crate::context::Context;
use crate::fault::Outcome;
use crate::output::short;
use crate::units;

/// Arguments of `undo`.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Examples:\n  syncline undo\n  syncline undo --on http://127.0.0.1:7070/prices\n\nThe commit stays; a second `syncline undo` brings it back. Files go back with a merge, pull or \
rollback; after a commit, which left them alone, they stay as they are."
)]
pub(crate) struct Args {}

pub(crate) fn run(context: &Context, _: &Args) -> Outcome {
    let report = context.ask("undo", &(), |replica, _| branch::undo(replica))?;
    context.out.done(&report, |page| {
        page.line(format!(
            "took back the last {}: {} is at {} again",
            report.undid,
            report.made.name,
            short(report.made.to)
        ));
        if report.files.written + report.files.removed > 0 {
            let (written, removed) = (units::count(report.files.written), units::count(report.files.removed));
            page.line(format!("files: {written} written, {removed} removed"));
        }
    })?;
    Ok(None)
}
