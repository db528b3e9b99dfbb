//! `syncline pull`: fetch another replica's commits and merge them.

use syncline_node::ops::transfer::{self, Request};

use crate::cmd_push::{PeerArgs, finish};
use crate::context::Context;
use crate::fault::Outcome;
use crate::peer::{self, Peer};

/// Arguments of `pull`.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  syncline pull\n  syncline pull http://127.0.0.1:7070/prices --fetch-only\n\n\
                        The exit code is 4 when rows are in conflict, or when a tag is elsewhere there: \
                        neither is moved.")]
pub(crate) struct Args {
    #[command(flatten)]
    peer: PeerArgs,
    /// Only fetch: look with `syncline log origin/main`, merge with `syncline merge origin/main`
    #[arg(long)]
    fetch_only: bool,
}

pub(crate) fn run(context: &Context, args: &Args) -> Outcome {
    let replica = context.replica("pull")?;
    let url = peer::url_of(&replica, args.peer.url.as_deref(), "pull")?;
    let peer = Peer::connect(context, &url)?.other_than(&replica, &url)?;
    let allow_mass_delete = args.peer.allow_mass_delete;
    let request = Request { url, allow_mass_delete, fetch_only: args.fetch_only, ..Request::default() };
    let report = transfer::pull(&replica, &request, &mut *peer.open()?, &*context.progress())?;
    finish(context, &report)
}
