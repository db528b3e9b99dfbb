//! `syncline sync`: bring both sides to the same version.

use syncline_node::ops::transfer::{self, Request};

use crate::cmd_push::{PeerArgs, finish};
use crate::context::Context;
use crate::fault::Outcome;
use crate::peer::{self, Peer};

/// Arguments of `sync`.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  syncline sync\n  syncline sync http://127.0.0.1:7070/prices\n\n\
                        It pulls, merges and pushes, again if the other side moves meanwhile; tags go both ways. The \
                        exit code is 4 when rows are in conflict, then nothing is pushed; and when a tag is elsewhere \
                        there, then neither is moved.")]
pub(crate) struct Args {
    #[command(flatten)]
    peer: PeerArgs,
}

pub(crate) fn run(context: &Context, args: &Args) -> Outcome {
    let replica = context.replica("sync")?;
    let url = peer::url_of(&replica, args.peer.url.as_deref(), "sync")?;
    let peer = Peer::make(context, &url)?.other_than(&replica, &url)?;
    let request = Request { url, allow_mass_delete: args.peer.allow_mass_delete, ..Request::default() };
    let report = transfer::sync(&replica, &request, &mut || peer.open(), &*context.progress())?;
    finish(context, &report)
}
