//! `syncline init`: make a new, empty dataset.

use std::path::PathBuf;

use serde_json::json;
use syncline_node::ops::init;
use syncline_node::{Location, Replica};

use crate::context::Context;
use crate::fault::{Fault, Outcome};

/// Arguments of `init`.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  syncline init prices\n  syncline init /srv/prices --bare\n  \
                        syncline init http://127.0.0.1:7070/prices")]
pub(crate) struct Args {
    /// The directory, created when it is not there; or http(s)://HOST:PORT/DATASET on a node, or s3://bucket/prefix; else
    /// what -C or --on names, or this directory
    #[arg(value_name = "DIR")]
    dir: Option<String>,
    /// No working directory: only the store
    #[arg(long)]
    bare: bool,
}

pub(crate) fn run(context: &Context, args: &Args) -> Outcome {
    let (place, location) = match (&args.dir, context.given()) {
        (Some(dir), (None, None)) => (dir.clone(), Location::parse(dir)?),
        (Some(dir), (at, on)) => {
            let other = at.or(on).unwrap_or_default();
            return Err(Fault::invalid(format!(
                "init {dir}: -C or --on names another place, {other}\nname one of them"
            )));
        }
        (None, _) => context.named()?,
    };
    match location {
        Location::Node(url) => {
            let client = context.client(&url)?;
            let name = client.target().dataset.clone();
            if name.is_empty() {
                return Err(Fault::invalid(format!(
                    "init {url}: it names no dataset; write http(s)://HOST:PORT/DATASET"
                )));
            }
            client.create_dataset(&name)?;
            context.out.done(&json!({ "url": url, "dataset": name }), |page| {
                page.line(format!("made an empty dataset at {url}"));
            })?;
        }
        location @ Location::Bucket(_) => {
            Replica::create(&location, context.env())?;
            context.out.done(&json!({ "url": place, "bare": true }), |page| {
                page.line(format!("made an empty dataset at {place}"));
            })?;
        }
        Location::Path(dir) => {
            let dir = std::path::absolute(&dir).unwrap_or(dir);
            let request = init::Request { dir: PathBuf::from(&dir), bare: args.bare };
            let report = init::run(&request, context.env())?;
            context.out.done(&report, |page| {
                let sort = if report.bare { "bare replica" } else { "replica" };
                page.line(format!("made an empty {sort} in {}", report.dir.display()));
            })?;
        }
    }
    Ok(None)
}
