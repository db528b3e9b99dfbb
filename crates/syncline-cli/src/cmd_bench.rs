//! `syncline bench`: measures a deployment with the program's own clients.
//!
//! Owns: the table it writes to, and, when it is given no node, two nodes of its own in a temporary directory, ended with it.

mod away;
mod crowd;
mod embedded;
mod here;
mod idle;
mod live;
mod local;
mod mesh;
mod samples;

use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::ValueEnum as _;
use serde::Serialize;
use syncline_api::Target;

use self::live::Sizes;
use self::local::Local;
use self::samples::Step;
use crate::context::Context;
use crate::fault::{Fault, Outcome, Result};
use crate::output::{Align, Page, Table};

/// Arguments of `bench`.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Examples:\n  syncline bench live\n  syncline bench live --on http://hub:7070/shop --reader http://edge:7070/shop\n  \
                        syncline bench live --spokes 1000 --rate 100 --json\n  \
                        syncline bench live --only rejoin --held 6000000\n  syncline bench live --only idle --idle 5000\n\n\
                        Without --on it measures a hub and a node that follows it, both on this machine, in a temporary directory. With --on it \
                        writes to a table of its own in that dataset, and deletes its rows again."
)]
pub(crate) struct Args {
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, clap::Subcommand)]
enum What {
    /// Live tables: durable transactions per second, and how long until a reader elsewhere sees them
    Live(Live),
}

#[derive(Debug, clap::Args)]
struct Live {
    /// Where the rows are read; when it is not given, the node that they are written to
    #[arg(long, value_name = "URL")]
    reader: Option<String>,
    /// Writers that write at the same time, each its next transaction when the one before is durable
    #[arg(long, value_name = "N", default_value_t = 64)]
    writers: usize,
    /// Rows of a large transaction
    #[arg(long, value_name = "N", default_value_t = 1000)]
    rows: usize,
    /// Bytes of a row
    #[arg(long, value_name = "N", default_value_t = 100)]
    bytes: usize,
    /// Transactions per second while the way to a reader is timed
    #[arg(long, value_name = "N", default_value_t = 5000)]
    rate: u64,
    /// Seconds for each step
    #[arg(long, value_name = "S", default_value_t = 3.0)]
    seconds: f64,
    /// Replicas without a disk that are connected to the hub while the way is timed
    #[arg(long, value_name = "N", default_value_t = 0)]
    spokes: usize,
    /// Transactions of one row that a replica has missed that catches up
    #[arg(long, value_name = "N", default_value_t = 100_000)]
    missed: u64,
    /// Rows of a replica that was away while others changed some
    #[arg(long, value_name = "N", default_value_t = 500_000)]
    held: u64,
    /// So many
    #[arg(long, value_name = "N", default_value_t = 10_000)]
    changed: u64,
    /// Hubs that are cut off from each other, and meet again
    #[arg(long, value_name = "N", default_value_t = 5)]
    hubs: usize,
    /// Rows that each of them has written meanwhile, the same ones
    #[arg(long, value_name = "N", default_value_t = 10_000)]
    conflicts: u64,
    /// Replicas without a disk that are connected while a hub's memory is looked at
    #[arg(long, value_name = "N", default_value_t = 500)]
    idle: usize,
    /// Where the nodes are made when no node is named: on the disk that is to be measured
    #[arg(long, value_name = "DIR", conflicts_with = "on")]
    scratch: Option<PathBuf>,
    /// Only these steps
    #[arg(long, value_name = "STEP", value_delimiter = ',')]
    only: Vec<live::Kind>,
}

/// What was measured.
#[derive(Debug, Serialize)]
struct Report {
    hub: String,
    reader: String,
    row_bytes: usize,
    steps: Vec<Step>,
}

pub(crate) fn run(context: &Context, args: &Args) -> Outcome {
    let What::Live(args) = &args.what;
    if args.seconds.is_nan() || args.seconds <= 0.0 || args.writers == 0 || args.rows == 0 || args.rate == 0 {
        return Err(Fault::invalid("bench live: --writers, --rows, --rate and --seconds are more than nothing"));
    }
    let sizes = Sizes {
        writers: args.writers,
        rows: args.rows,
        bytes: args.bytes.clamp(1, 1 << 20),
        rate: args.rate,
        time: Duration::from_secs_f64(args.seconds.min(3600.0)),
        spokes: args.spokes,
        missed: args.missed,
        held: args.held,
        changed: args.changed.min(args.held),
        hubs: args.hubs,
        conflicts: args.conflicts,
        idle: args.idle,
    };
    let wanted = |kind: live::Kind| args.only.is_empty() || args.only.contains(&kind);
    if let (Some(on), Some(kind)) = (context.given().1, args.only.iter().find(|kind| kind.is_local())) {
        let name = kind.to_possible_value().map(|value| value.get_name().to_owned()).unwrap_or_default();
        return Err(Fault::invalid(format!(
            "bench live --only {name} on {on}: that is measured on this machine; leave out --on"
        )));
    }
    let mut steps = Vec::new();
    let base = args.scratch.clone().unwrap_or_else(std::env::temp_dir);
    let (mut hub, mut reader) = (String::new(), String::new());
    if context.given().1.is_none() {
        steps.extend(alone(context, &base, &sizes, &wanted)?);
    }
    if live::Kind::value_variants().iter().any(|kind| !kind.is_local() && wanted(*kind)) {
        let local = match context.given().1 {
            Some(on) => {
                hub = on.to_owned();
                reader = args.reader.clone().unwrap_or_else(|| hub.clone());
                None
            }
            None => {
                let made = Local::start(&base)?;
                (hub, reader) = (made.hub.clone(), made.reader.clone());
                Some(made)
            }
        };
        let bench = live::Bench { hub: target(&hub)?, reader: target(&reader)?, options: context.options()?, sizes };
        steps.extend(bench.run(context, &wanted)?);
        drop(local);
    }
    let report = Report { hub, reader, row_bytes: sizes.bytes, steps };
    context.out.answer(&report, |page| show(page, &report))?;
    Ok(None)
}

fn target(url: &str) -> Result<Target> {
    let target = Target::parse(url)?;
    if target.dataset.is_empty() {
        return Err(Fault::invalid(format!("bench live on {target}: it names no dataset; write {target}DATASET")));
    }
    Ok(target)
}

/// What is measured on nodes that are made for it.
fn alone(context: &Context, base: &Path, sizes: &Sizes, wanted: &dyn Fn(live::Kind) -> bool) -> Result<Vec<Step>> {
    let (mut local, mut steps) = (Local::empty(base)?, Vec::new());
    if wanted(live::Kind::Embedded) {
        steps.extend(embedded::run(context, &local, sizes)?);
    }
    if wanted(live::Kind::CatchUp) {
        steps.extend(away::catch_up(context, &mut local, sizes)?);
    }
    if wanted(live::Kind::Rejoin) {
        steps.extend(away::rejoin(context, &mut local, sizes)?);
    }
    if wanted(live::Kind::Heal) {
        steps.extend(mesh::run(context, &local, sizes)?);
    }
    if wanted(live::Kind::Idle) {
        steps.extend(idle::run(context, &mut local, sizes)?);
    }
    Ok(steps)
}

fn show(page: &mut Page, report: &Report) {
    let place =
        if report.hub.is_empty() { String::new() } else { format!("hub {}, read at {}, ", report.hub, report.reader) };
    page.line(format!("{place}rows of {} bytes", report.row_bytes));
    let right = Align::Right;
    let mut table = Table::new([
        ("", Align::Left),
        ("took", right),
        ("txn/s", right),
        ("rows/s", right),
        ("p50", right),
        ("p99", right),
        ("p99.9", right),
        ("max", right),
        ("memory", right),
    ]);
    for step in &report.steps {
        table.row(step.cells());
    }
    page.table(&table);
}
