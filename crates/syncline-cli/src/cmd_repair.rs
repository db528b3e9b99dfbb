//! `syncline repair`: replace what is damaged by good copies from another replica.

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
#[command(after_help = "Example:\n  syncline repair --from http://127.0.0.1:7070/prices\n\n\
                        Every copy is checked by its hash. The exit code is 7 when something is still damaged.")]
pub(crate) struct Args {
    /// Another copy; where it was cloned from when absent
    #[arg(long, value_name = "URL")]
    from: Option<String>,
}

pub(crate) fn run(context: &Context, args: &Args) -> Outcome {
    let replica = context.replica("repair")?;
    let url = peer::url_of(&replica, args.from.as_deref(), "repair --from")?;
    let peer = Peer::connect(context, &url)?;
    let report = repair::run(&replica, &mut |ids| peer::fetch(&peer, ids), &*context.progress())?;
    context.out.answer(&report, |page| {
        page.line(format!("replaced {} from {url}", units::counted(report.repaired, "object", "objects")));
        if report.rewritten > 0 {
            page.line(format!("rewrote {} without damage", units::counted(report.rewritten, "file", "files")));
        }
        for id in report.lost.iter().take(LOST_SHOWN) {
            page.line(format!("not there either: {id}"));
        }
        if report.lost.len() > LOST_SHOWN {
            page.line(format!("and {} more", report.lost.len() - LOST_SHOWN));
        }
        cmd_verify::show(page, &report.left);
    })?;
    Ok((!report.left.sound).then_some(Kind::Corrupt))
}
