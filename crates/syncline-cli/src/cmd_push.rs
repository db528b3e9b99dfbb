//! `syncline push`: send commits to another replica. Also what `pull` and `sync` share with it.

use syncline_base::Kind;
use syncline_node::ops::merge::Outcome as Merged;
use syncline_node::ops::transfer::{self, Report, Request};
use syncline_node::tags::{Clash, Tag, Tags};

use crate::context::Context;
use crate::fault::Outcome;
use crate::output::{self, Page, short};
use crate::peer::{self, Peer};
use crate::units;

/// Arguments of `push`.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Examples:\n  syncline push http://127.0.0.1:7070/prices      makes the dataset when it is not there\n  \
                        syncline push                                   to where it was cloned from\n  \
                        syncline push --tags                            and all tags\n\n\
                        The exit code is 4 when a tag is elsewhere there, 3 when its version cannot be sent."
)]
pub(crate) struct Args {
    #[command(flatten)]
    peer: PeerArgs,
    /// Move the branch there even if that drops commits
    #[arg(long)]
    force: bool,
    /// Make all tags there, too, with what they need; one that is elsewhere there stays
    #[arg(long)]
    tags: bool,
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
    let peer = Peer::make(context, &url)?.other_than(&replica, &url)?;
    let allow_mass_delete = args.peer.allow_mass_delete;
    let request = Request { url, allow_mass_delete, force: args.force, tags: args.tags, ..Request::default() };
    let report = transfer::push(&replica, &request, &mut *peer.open()?, &*context.progress()).map_err(|error| {
        crate::fault::Fault::from(error).advise(Kind::Conflict, "bring both together with `syncline sync`")
    })?;
    // Tags were asked for by name of all: one that could not be made is a fault then.
    let lacking = args.tags && !report.tags.left.is_empty();
    Ok(finish(context, &report)?.or(lacking.then_some(Kind::NotFound)))
}

/// Shows what a transfer did; conflicts, of rows or of tags, are its exit code.
pub(crate) fn finish(context: &Context, report: &Report) -> Outcome {
    let conflicts = report.conflicts > 0 || !report.tags.clashes.is_empty();
    if conflicts || !report.tags.left.is_empty() {
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
    tags(page, report);
    page.line(format!(
        "{}, {}, {}",
        units::counted(report.commits, "commit", "commits"),
        units::counted(report.objects, "object", "objects"),
        units::counted(report.deltas, "row delta", "row deltas"),
    ));
    output::cost(page, &report.cost);
}

/// How many tags of each sort are named.
const TAGS_SHOWN: usize = 10;

/// Which tags came and went, and what is in the way of others.
fn tags(page: &mut Page, report: &Report) {
    let Tags { received, sent, clashes, left } = &report.tags;
    names(page, "received", received);
    names(page, "sent", sent);
    for clash in clashes.iter().take(TAGS_SHOWN) {
        let (name, ours, theirs) = (&clash.name, clash.ours.short(), clash.theirs.short());
        page.line(format!("tag {name} is at {ours} here and at {theirs} there: neither was moved"));
    }
    if let Some(Clash { name, ours, theirs }) = clashes.first() {
        page.line("decide which is right, and move the other one:");
        page.line(format!("  here   syncline tag --force {name} {theirs}"));
        page.line(format!("  there  syncline tag --force {name} {ours} --on {}", report.url));
    }
    for tag in left.iter().take(TAGS_SHOWN) {
        page.line(format!("tag {} at {} was left out: {}", tag.name, tag.commit.short(), tag.why));
    }
    more(page, clashes.len().max(left.len()));
}

fn names(page: &mut Page, what: &str, tags: &[Tag]) {
    if !tags.is_empty() {
        let names: Vec<&str> = tags.iter().take(TAGS_SHOWN).map(|tag| tag.name.as_str()).collect();
        page.line(format!("{what} {}: {}", units::counted(tags.len() as u64, "tag", "tags"), names.join(", ")));
        more(page, tags.len());
    }
}

fn more(page: &mut Page, tags: usize) {
    if tags > TAGS_SHOWN {
        page.line(format!("and {} more, see --json", tags - TAGS_SHOWN));
    }
}
