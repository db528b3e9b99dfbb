//! `syncline sync`: bring both sides to the same version, once; or keep a directory in step (`cmd_sync_live`).

use syncline_node::ops::transfer::{self, Request};

use crate::cmd_push::{PeerArgs, finish};
use crate::cmd_sync_live::{self, LiveArgs};
use crate::context::Context;
use crate::fault::Outcome;
use crate::peer::{self, Peer};

/// Arguments of `sync`.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  syncline sync\n  syncline sync http://127.0.0.1:7070/prices\n  \
                        syncline sync --live http://127.0.0.1:7070/team   files appear there and here as they change\n  \
                        syncline sync --live -C team                      as before, or for others to follow\n  \
                        syncline sync --live --scope eu -C team           a part of it; --no-scope: all of it again\n\n\
                        It pulls, merges and pushes, again if the other side moves meanwhile; tags go both ways. The \
                        exit code is 4 when rows are in conflict, then nothing is pushed; and when a tag is elsewhere \
                        there, then neither is moved.\n\n\
                        With --live it runs until it is interrupted: changes of files go to the other side as they are made, and come \
                        from there, with the rows of live tables. Both sides may be changed while they are apart. What two have changed \
                        at once is kept, both: the later is at the path, the other beside it as NAME.conflict-WRITER-N.\n\n\
                        With --scope the directory has the files of a scope (`syncline scope set NAME --path PATTERN` at the hub) and no \
                        others. When the scope changes, files come and go; nothing is deleted by that, and a file that was changed here \
                        stays. What is made outside of it stays here, is sent nowhere, and is named here and by `syncline status`.")]
pub(crate) struct Args {
    #[command(flatten)]
    peer: PeerArgs,
    #[command(flatten)]
    pub live: LiveArgs,
}

pub(crate) fn run(context: &Context, args: &Args) -> Outcome {
    if args.live.live {
        return cmd_sync_live::run(context, &args.peer, &args.live);
    }
    let replica = context.replica("sync")?;
    let url = peer::url_of(&replica, args.peer.url.as_deref(), "sync")?;
    let peer = Peer::make(context, &url)?.other_than(&replica, &url)?;
    let request = Request { url, allow_mass_delete: args.peer.allow_mass_delete, ..Request::default() };
    let report = transfer::sync(&replica, &request, &mut || peer.open(), &*context.progress())?;
    finish(context, &report)
}
