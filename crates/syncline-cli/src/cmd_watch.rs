//! `syncline watch`: what is written to live tables, as it is written.

use std::io::Write;

use syncline_api::client;
use syncline_node::Error as NodeError;
use syncline_node::ops::watch::{self, Request};
use tokio_stream::StreamExt as _;

use crate::args::Bounds;
use crate::context::{Context, Place};
use crate::fault::{Fault, Outcome, Result};

/// Arguments of `watch`.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  syncline watch --on http://hub:7070/shop\n  \
                        syncline watch --table people --from start --once > people.ndjson\n  \
                        syncline watch --from \"$POSITION\" | syncline apply -C ../other\n\n\
                        Lines are JSON: `set` and `delete` for each row that a transaction wrote, then `commit` with the position to go \
                        on from. It runs until it is interrupted, unless --once is given. Transactions that are not kept any more come as \
                        one with `caught_up`: what has become of the rows (a `commit`), or all rows of the tables that it names (a `snapshot`).")]
pub(crate) struct Args {
    /// Only this table
    #[arg(long, short = 't')]
    table: Option<String>,
    /// Where to begin: a position, or `start` for every row that there is and then what is written; else from now on
    #[arg(long, value_name = "POSITION")]
    from: Option<String>,
    /// End when everything that is there has been given
    #[arg(long)]
    once: bool,
    #[command(flatten)]
    bounds: Bounds,
}

pub(crate) fn run(context: &Context, args: &Args) -> Outcome {
    let request = Request {
        table: args.table.clone(),
        from: args.from.clone(),
        once: args.once,
        bounds: args.bounds.to_request(),
    };
    let served = match context.place()? {
        Place::Node(client) => client.target().to_string(),
        Place::Here(replica) => match watch::run(&replica, &request, &mut |lines| print(&lines)) {
            Err(NodeError::Served { url: Some(url), .. }) => url,
            ended => return Ok(ended.map(|()| None)?),
        },
    };
    remote(context, &served, &request)?;
    Ok(None)
}

/// Prints whole lines; false when nobody reads them any more.
fn print(lines: &[u8]) -> syncline_node::Result<bool> {
    let mut stdout = std::io::stdout().lock();
    match stdout.write_all(lines).and_then(|()| stdout.flush()) {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == std::io::ErrorKind::BrokenPipe => Ok(false),
        Err(error) => Err(NodeError::Unavailable { what: "writing to standard output".into(), why: error.to_string() }),
    }
}

fn remote(context: &Context, url: &str, request: &Request) -> Result<()> {
    let target = syncline_api::Target::parse(url)?;
    if target.dataset.is_empty() {
        return Err(Fault::invalid(format!("watch on {target}: it names no dataset; write {target}DATASET")));
    }
    let options = context.options()?;
    let request = serde_json::to_string(request)?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(anyhow::Error::from)?;
    runtime.block_on(async {
        let mut lines = client::watch(&target, &options, &request).await?;
        while let Some(reply) = lines.next().await {
            let reply = reply.map_err(|fault| syncline_api::status::from_grpc(&target.peer(), &fault))?;
            if !print(&reply.lines)? {
                break;
            }
        }
        Ok(())
    })
}
