//! `syncline clone`: copy a dataset.

use std::path::PathBuf;

use syncline_node::ops::transfer::{self, CloneRequest};

use crate::context::Context;
use crate::fault::{Fault, Outcome, Result};
use crate::output::{self, short};
use crate::peer::{self, Peer};
use crate::units;

/// Arguments of `clone`.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  syncline clone http://127.0.0.1:7070/prices\n  \
                        syncline clone s3://bucket/prices work/prices --table prices --depth 1\n  \
                        syncline clone http://hub:7070/photos --path 'images/2024/**'\n\n\
                        A clone that was cut off goes on where it stopped when it is run again.")]
pub(crate) struct Args {
    /// The dataset: http(s)://HOST:PORT/DATASET, s3://bucket/prefix or a path
    #[arg(value_name = "URL")]
    url: String,
    /// Where to put the copy; else a directory named like the dataset
    #[arg(value_name = "DIR")]
    dir: Option<PathBuf>,
    /// No working directory: only the store
    #[arg(long)]
    bare: bool,
    /// Only this table (`files` is the file tree); may be given several times
    #[arg(long, short = 't', value_name = "TABLE")]
    table: Vec<String>,
    /// Only files that match, as in `.gitignore`; may be given several times, `!` takes some out again
    #[arg(long, value_name = "PATTERN")]
    path: Vec<String>,
    /// Bring no contents of files; `syncline fetch PATTERN` brings some when they are needed
    #[arg(long, conflicts_with = "path")]
    lazy: bool,
    /// Only the newest N commits of each branch, and the tags that lead to them
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    depth: Option<u32>,
}

pub(crate) fn run(context: &Context, args: &Args) -> Outcome {
    let url = peer::lasting(&args.url)?;
    let dir = match (&args.dir, context.given()) {
        (_, (_, Some(on))) => {
            return Err(Fault::invalid(format!(
                "clone with --on {on}: it makes a copy in a directory\nname that as the second word: syncline clone {url} DIR"
            )));
        }
        (Some(dir), _) => dir.clone(),
        (None, (Some(dir), _)) => PathBuf::from(dir),
        (None, _) => name_of(&url)?,
    };
    let request = CloneRequest {
        url: url.clone(),
        dir,
        bare: args.bare,
        tables: (!args.table.is_empty()).then(|| args.table.clone()),
        depth: args.depth,
        paths: (args.lazy || !args.path.is_empty()).then(|| args.path.clone()),
    };
    let peer = Peer::connect(context, &url)?;
    let report = transfer::clone(&request, context.env(), &mut *peer.open()?, &*context.progress())?;
    context.out.done(&report, |page| {
        page.line(format!("cloned {url} into {}", report.dir.display()));
        match report.root {
            Some(root) => {
                page.line(format!("branch {}, commit {}", report.branch, short(report.commit)));
                page.line(format!("root   {root}"));
            }
            None => page.line("it is empty"),
        }
        if !report.tags.is_empty() {
            page.line(units::counted(report.tags.len() as u64, "tag", "tags"));
        }
        page.line(units::counted(report.objects, "object", "objects"));
        output::cost(page, &report.cost);
    })?;
    Ok(None)
}

fn name_of(url: &str) -> Result<PathBuf> {
    let name = url.trim_end_matches('/').rsplit('/').next().unwrap_or_default();
    if name.is_empty() || name.contains(':') || name == ".." {
        return Err(Fault::invalid(format!(
            "clone {url}: its name tells no directory\nname one: syncline clone {url} DIR"
        )));
    }
    Ok(PathBuf::from(name))
}
