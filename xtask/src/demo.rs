//! `cargo xtask demo`: the product on real data, start to end, driven by its binary as a user would.
//!
//! A hub holds TPC-H tables and a directory of real files; two more nodes clone it; rows and files are edited, synced,
//! branched, merged with a conflict, broken and rolled back; all three are verified to the last byte and print one
//! root. A live chapter writes rows on five nodes at once, cuts them apart and brings them to one root. The story is in `story`, that chapter in `live`; `node` runs commands, `tpch` and `files` make the input, `table` shows the end.
//!
//! Owns: one directory with everything in it, removed at the end unless `--keep`; and the hub's process.

mod edits;
mod files;
mod live;
mod node;
mod story;
mod table;
mod tpch;

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};

use crate::run;

/// Options of `cargo xtask demo`.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Scale factor of the TPC-H tables: 1 is 8.6 million rows
    #[arg(long, default_value_t = 1.0)]
    sf: f64,
    /// A directory of real files; the sources of our dependencies when absent
    #[arg(long, value_name = "DIR")]
    files: Option<PathBuf>,
    /// One JSON object on standard output instead of a table
    #[arg(long)]
    json: bool,
    /// Leave the data there and the nodes running
    #[arg(long)]
    keep: bool,
}

/// Builds the product and tells the story.
pub(crate) fn run(args: &Args) -> Result<()> {
    ensure!(args.sf > 0.0 && args.sf <= 100.0, "--sf {}: a scale factor between 0.001 and 100 is meant", args.sf);
    eprintln!("building syncline");
    run::check(run::cargo().args(["build", "--quiet", "--release", "-p", "syncline-cli"]))?;
    let target = target()?;
    let binary = binary(&target, "release");
    let place =
        tempfile::Builder::new().prefix("demo-").tempdir_in(&target).context("making a directory for the demo")?;
    // Kept from the start: what goes wrong can be looked at, too.
    let place = if args.keep { Place::Kept(place.keep()) } else { Place::Gone(place) };
    let report = story::tell(args, &binary, place.path())?;
    if args.json {
        println!("{}", serde_json::to_string_pretty(&report)?);
    } else {
        print!("{}", table::render(&report));
    }
    ensure!(report.equal, "the nodes do not have one root");
    Ok(())
}

/// The same story, told small by the debug build that is there: what a newcomer runs first is not to fail.
pub(crate) fn check() -> Result<()> {
    let target = target()?;
    let place =
        tempfile::Builder::new().prefix("demo-").tempdir_in(&target).context("making a directory for the demo")?;
    let args = Args { sf: 0.01, files: Some(run::root().join("docs")), json: true, keep: false };
    let report = story::tell(&args, &binary(&target, "debug"), place.path())?;
    ensure!(report.equal, "the nodes do not have one root");
    Ok(())
}

fn target() -> Result<PathBuf> {
    let target = run::metadata(&run::root(), false)?;
    Ok(PathBuf::from(target["target_directory"].as_str().context("cargo metadata names no target directory")?))
}

fn binary(target: &Path, profile: &str) -> PathBuf {
    target.join(profile).join(format!("syncline{}", std::env::consts::EXE_SUFFIX))
}

/// Where the demo's data is.
enum Place {
    Kept(PathBuf),
    Gone(tempfile::TempDir),
}

impl Place {
    fn path(&self) -> &Path {
        match self {
            Self::Kept(path) => path,
            Self::Gone(dir) => dir.path(),
        }
    }
}
