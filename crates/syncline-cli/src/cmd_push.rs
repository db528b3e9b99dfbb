//! `syncline push`: send commits to another replica. Also what `pull` and `sync` share with it.

use syncline_base::Kind;
use syncline_node::ops::merge::Outcome as Merged;
use syncline_node::ops::transfer::{self, Report, Request};

use crate::context::Context;
use crate::fault::Outcome;
use crate::output::{self, Page, short};
use crate::peer::{self, Peer};
use crate::units;

/// Arguments of `push`.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Examples:\n  syncline push http://127.0.0.1:7070/prices      makes the dataset when it is not there\n  \
                        syncline push                                   to where it was cloned from"
)]
pub(crate) struct Args {
    #[command(flatten)]
    peer: PeerArgs,
    /// Move the branch there even if that drops commits
    #[arg(long)]
    force: bool,
}

/// What every transfer takes.
#[derive(Debug, clap::Args)]
pub(crate) struct PeerArgs {
    /// The other replica; the one it was cloned from when absent
    #[arg(value_name = "URL")]
    pub url: Option<String>,
    /// Allow a version that deletes more than half of a table or of the files
    #[arg(long)]
    pub allow_mass_delete: bool,
}

pub(crate) fn run(context: &Context, args: &Args) -> Outcome {
    let replica = context.replica("push")?;
    let url = peer::url_of(&replica, args.peer.url.as_deref(), "push")?;
    let peer = Peer::make(context, &url)?;
    let allow_mass_delete = args.peer.allow_mass_delete;
    let request = Request { url, allow_mass_delete, force: args.force, ..Request::default() };
    let report = transfer::push(&replica, &request, &mut *peer.open()?, &*context.progress()).map_err(|error| {
        crate::fault::Fault::from(error).advise(Kind::Conflict, "bring both together with `syncline sync`")
    })?;
    finish(context, &report)
}

/// Shows what a transfer did; conflicts are its exit code.
pub(crate) fn finish(context: &Context, report: &Report) -> Outcome {
    let conflicts = report.conflicts > 0;
    if conflicts {
        context.out.answer(report, |page| show(page, report))?;
    } else {
        context.out.done(report, |page| show(page, report))?;
    }
    Ok(conflicts.then_some(Kind::Conflict))
}

fn show(page: &mut Page, report: &Report) {
    let state = if report.in_sync { "in sync with" } else { "not in sync with" };
    page.line(format!("branch {} at {}, {state} {}", report.branch, short(report.commit), report.url));
    if let Some(root) = report.root {
        page.line(format!("root   {root}"));
    }
    match report.merged {
        Some(Merged::Merged) => page.line("their changes were merged"),
        Some(Merged::FastForward) => page.line("moved forward to their version"),
        Some(Merged::Conflicts) => {
            let rows = units::counted(report.conflicts as u64, "row is", "rows are");
            page.line(format!(
                "{rows} in conflict: see `syncline conflicts`, decide with `syncline resolve`, then commit"
            ));
        }
        Some(Merged::UpToDate) | None => {}
    }
    output::changes(page, &report.changes);
    page.line(format!(
        "{}, {}, {}",
        units::counted(report.commits, "commit", "commits"),
        units::counted(report.objects, "object", "objects"),
        units::counted(report.deltas, "row delta", "row deltas"),
    ));
    output::cost(page, &report.cost);
}
