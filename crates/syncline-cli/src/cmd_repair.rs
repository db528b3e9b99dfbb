//! `syncline repair`: replace what is damaged by good copies from another replica, and mend by itself what needs none.

use syncline_base::Kind;
use syncline_node::ops::repair;

use crate::cmd_verify;
use crate::context::Context;
use crate::fault::Outcome;
use crate::peer::{self, Peer};
use crate::units;

/// How many lost objects are listed.
const LOST_SHOWN: usize = 10;

/// Arguments of `repair`.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  syncline repair\n  syncline repair --from http://127.0.0.1:7070/prices\n\n\
                        Damage that no version needs is mended without another copy. Every copy is checked by its hash. The exit code is 7 when something is still damaged.")]
pub(crate) struct Args {
    /// Another copy; where it was cloned from when absent, and none when it was not cloned
    #[arg(long, value_name = "URL")]
    from: Option<String>,
}

pub(crate) fn run(context: &Context, args: &Args) -> Outcome {
    let replica = context.replica("repair")?;
    let url = match &args.from {
        None if replica.refs()?.remotes.is_empty() => None,
        from => Some(peer::url_of(&replica, from.as_deref(), "repair --from")?),
    };
    // A peer that cannot be reached matters only if something of its is needed.
    let (peer, unreachable) = match url.as_deref().map(|url| Peer::connect(context, url)).transpose() {
        Ok(peer) => (peer, None),
        Err(fault) => (None, Some(fault)),
    };
    let report = match &peer {
        Some(peer) => repair::run(&replica, &mut |ids| peer::fetch(peer, ids), &*context.progress())?,
        None => repair::run(&replica, &mut repair::nobody(), &*context.progress())?,
    };
    if let Some(fault) = unreachable.filter(|_| !report.left.sound) {
        return Err(fault);
    }
    context.out.answer(&report, |page| {
        match &url {
            Some(url) => {
                page.line(format!("replaced {} from {url}", units::counted(report.repaired, "object", "objects")));
            }
            None if !report.left.sound => {
                page.line("nothing was replaced: name another copy with --from, this replica remembers none");
            }
            None => {}
        }
        if report.rewritten > 0 {
            page.line(format!("rewrote {} without damage", units::counted(report.rewritten, "file", "files")));
        }
        for id in report.lost.iter().take(LOST_SHOWN) {
            let needed = if report.left.sound { ", and no version needs it" } else { "" };
            page.line(format!("not there either{needed}: {id}"));
        }
        if report.lost.len() > LOST_SHOWN {
            page.line(format!("and {} more", report.lost.len() - LOST_SHOWN));
        }
        cmd_verify::show(page, &report.left);
    })?;
    Ok((!report.left.sound).then_some(Kind::Corrupt))
}
