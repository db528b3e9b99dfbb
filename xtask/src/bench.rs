//! `cargo xtask bench SUITE`: the product beside its peers, on input from seeds, in one run.
//!
//! Every suite is the same shape: per repetition each tool does all steps, the tools in turn, and every step of every
//! repetition is one sample. The release binary is driven from outside, by its command line. A step checks that the work
//! was done (rows, roots, bytes), so a tool that does nothing fails the run and does not win it.
//!
//! Writes `docs/benchmarks/SUITE.json` and `SUITE.md`, the tiny sizes of `--quick` only into the target directory. Owns: a
//! scratch directory for the run and a cache outside the source tree (`world`).
//!
//! Not here: anything that gates a test by time.

mod child;
mod index;
mod inputs;
mod limits;
mod machine;
mod measure;
mod memory;
mod ours;
mod parse;
mod record;
mod render;
mod servers;
mod stats;
mod suites;
mod targets;
mod world;

use std::collections::BTreeSet;
use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use syncline_base::{Clock, SystemClock};

use self::ours::Ours;
use self::record::{Recorder, Report};
use self::suites::Suite;
use self::world::World;
use crate::run;

/// What `bench` is asked for.
#[derive(Debug, clap::Args)]
#[command(after_help = "Example: cargo xtask bench table-delta --quick")]
pub(crate) struct Args {
    /// What to measure.
    suite: Which,
    /// Tiny sizes and one repetition: proves the harness, measures nothing.
    #[arg(long)]
    quick: bool,
    /// How often each tool does everything.
    #[arg(long)]
    repetitions: Option<usize>,
    /// A binary of ours to measure, instead of a fresh release build.
    #[arg(long, value_name = "PATH")]
    binary: Option<PathBuf>,
    /// Leaves a peer out, and says so in the table.
    #[arg(long, value_name = "PEER", value_delimiter = ',')]
    without: Vec<String>,
    /// Leaves the scratch directory where it is.
    #[arg(long)]
    keep: bool,
    /// Where the scratch directory is made; it should be on the disk that is to be measured.
    #[arg(long, value_name = "DIR")]
    scratch: Option<PathBuf>,
    /// Where the reports go.
    #[arg(long, value_name = "PATH")]
    out: Option<PathBuf>,
    /// The command of a measured child.
    #[arg(last = true, hide = true)]
    command: Vec<OsString>,
}

impl Args {
    fn repetitions(&self) -> usize {
        self.repetitions.unwrap_or(if self.quick { 1 } else { 3 }).max(1)
    }
}

/// A suite, all of them, or the small process that measures one command.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum Which {
    /// Row edits: commit, diff, push.
    TableDelta,
    /// TPC-H lineitem: import, scan, edits, merge, clone.
    TableOps,
    /// Two copies without shared history.
    Reconcile,
    /// A Parquet file's rows as a table: rows and columns come and go.
    ParquetEdit,
    /// Many small files.
    FilesMany,
    /// A million small files.
    FilesMillion,
    /// One large file and edits of it.
    FilesLarge,
    /// Durable transactions, and how long until a reader elsewhere sees them.
    Live,
    /// The simulator's seeds in a second.
    Sim,
    /// One suite after the other.
    All,
    #[value(hide = true)]
    Child,
}

/// Refuses to leave out what no suite has: a slip of the pen would measure what was to be left out.
fn check_without(names: &[String]) -> Result<()> {
    let known: BTreeSet<&str> =
        suites::ALL.iter().flat_map(|suite| suite.peers).copied().chain([record::OURS]).collect();
    match names.iter().find(|name| !known.contains(name.as_str())) {
        Some(name) => bail!("--without {name}: there are {}", known.into_iter().collect::<Vec<_>>().join(", ")),
        None => Ok(()),
    }
}

/// Runs a suite and writes its report.
pub(crate) fn run(args: &Args) -> Result<()> {
    check_without(&args.without)?;
    let suites = match args.suite {
        Which::Child => {
            let report = args.out.as_deref().context("the measured child is told where to report")?;
            return child::run(&args.command, report);
        }
        Which::TableDelta => vec![&suites::TABLE_DELTA],
        Which::TableOps => vec![&suites::TABLE_OPS],
        Which::Reconcile => vec![&suites::RECONCILE],
        Which::FilesMany => vec![&suites::FILES_MANY],
        Which::FilesMillion => vec![&suites::FILES_MILLION],
        Which::FilesLarge => vec![&suites::FILES_LARGE],
        Which::ParquetEdit => vec![&suites::PARQUET_EDIT],
        Which::Live => vec![&suites::LIVE],
        Which::Sim => vec![&suites::SIM],
        Which::All => suites::ALL.to_vec(),
    };
    let left_out = args.without.iter().any(|name| name == record::OURS);
    let ours = match &args.binary {
        _ if left_out => None,
        Some(binary) => Some(Ours::at_path(binary)?),
        None => Some(Ours::build()?),
    };
    suites.into_iter().try_for_each(|suite| measure_suite(args, ours.as_ref(), suite))
}

fn measure_suite(args: &Args, ours: Option<&Ours>, suite: &Suite) -> Result<()> {
    let mut scratch = tempfile::Builder::new();
    scratch.prefix("syncline-bench-");
    let scratch = match &args.scratch {
        Some(dir) => std::fs::create_dir_all(dir).and_then(|()| scratch.tempdir_in(dir)),
        None => scratch.tempdir(),
    };
    let mut scratch = scratch.context("making a scratch directory")?;
    if args.keep {
        scratch.disable_cleanup(true);
        eprintln!("scratch directory: {}", scratch.path().display());
    }
    let world = World::new(args, ours.map(Ours::binary), scratch.path(), suite.peers)?;
    let machine = machine::Machine::look(scratch.path());
    let mut recorder = Recorder::default();
    let notes = (suite.run)(&world, ours, &mut recorder).with_context(|| format!("suite {}", suite.name))?;
    let steps = recorder.finish();
    let mut memory = ours.map(Ours::take_memory).unwrap_or_default();
    memory.shorten(|line| world.short(line));
    // Tiny sizes miss or meet nothing.
    let targets = if args.quick {
        Vec::new()
    } else {
        targets::judge(&(suite.targets)(), &steps).into_iter().chain(memory.verdict()).collect()
    };
    let mut versions = world.versions.clone();
    if let Some(ours) = ours {
        versions.insert(record::OURS.to_owned(), format!("{} (commit {})", ours.version()?, commit()));
    }
    let report = Report {
        suite: suite.name.to_owned(),
        quick: args.quick,
        command: command(args, suite),
        repetitions: world.repetitions,
        date: date()?,
        machine,
        versions,
        without: world.without.clone(),
        notes,
        targets,
        memory,
        steps,
    };
    write(args, &report)
}

fn write(args: &Args, report: &Report) -> Result<()> {
    let dir = match (&args.out, report.quick) {
        (Some(dir), _) => dir.clone(),
        (None, false) => run::root().join("docs/benchmarks"),
        (None, true) => run::root().join("target/benchmarks-quick"),
    };
    fs::create_dir_all(&dir).with_context(|| format!("creating {}", dir.display()))?;
    let page = render::page(report);
    save(&dir, &format!("{}.json", report.suite), &format!("{}\n", serde_json::to_string_pretty(report)?))?;
    save(&dir, &format!("{}.md", report.suite), &page)?;
    index::refresh(&dir)?;
    println!("{page}");
    eprintln!("written to {}", dir.join(format!("{}.md", report.suite)).display());
    Ok(())
}

fn save(dir: &Path, name: &str, text: &str) -> Result<()> {
    let path = dir.join(name);
    fs::write(&path, text).with_context(|| format!("writing {}", path.display()))
}

/// The command that makes this report again.
fn command(args: &Args, suite: &Suite) -> String {
    let mut words = vec!["cargo xtask bench".to_owned(), suite.name.to_owned()];
    if args.quick {
        words.push("--quick".to_owned());
    }
    if let Some(repetitions) = args.repetitions {
        words.push(format!("--repetitions {repetitions}"));
    }
    if args.binary.is_some() {
        words.push("--binary PATH".to_owned());
    }
    if !args.without.is_empty() {
        words.push(format!("--without {}", args.without.join(",")));
    }
    words.join(" ")
}

/// The commit of the source tree, marked when it was edited.
fn commit() -> String {
    let git = |words: &[&str]| measure::Cmd::new("git").args(words).dir(&run::root()).plain();
    let id = git(&["rev-parse", "--short=12", "HEAD"]).unwrap_or_else(|_| "unknown".to_owned());
    let edited = git(&["status", "--porcelain", "--untracked-files=no", "--", ".", ":!docs/benchmarks"]);
    let mark = if edited.is_ok_and(|list| list.trim().is_empty()) { "" } else { ", edited" };
    format!("{}{mark}", id.trim())
}

/// Today, in UTC.
fn date() -> Result<String> {
    let seconds = SystemClock.now_ms() / 1000;
    let text = measure::Cmd::new("date").args(["-u", "-d"]).arg(format!("@{seconds}")).arg("+%Y-%m-%d").plain()?;
    Ok(text.trim().to_owned())
}
