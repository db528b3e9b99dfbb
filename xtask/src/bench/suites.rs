//! The suites: what every tool is asked to do, and what is aimed for.

mod backups;
mod files_large;
mod files_many;
mod live;
mod parquet_edit;
mod reconcile;
mod rsync;
mod sim;
mod table_delta;
mod table_ops;
mod table_peers;
mod versions;

use anyhow::{Context, Result};

use super::ours::Ours;
use super::record::Recorder;
use super::targets::Target;
use super::world::World;

/// One suite.
#[derive(Debug)]
pub(super) struct Suite {
    /// Its name on the command line and of its report.
    pub(super) name: &'static str,
    /// Who takes part beside us.
    pub(super) peers: &'static [&'static str],
    /// Runs it; gives what one has to know to read the numbers.
    pub(super) run: fn(&World, Option<&Ours>, &mut Recorder) -> Result<Vec<String>>,
    /// What is aimed for at full size.
    pub(super) targets: fn() -> Vec<Target>,
}

/// Row edits: commit, diff, push.
pub(super) const TABLE_DELTA: Suite = Suite {
    name: "table-delta",
    peers: &["rsync", "lance", "delta", "doltlite"],
    run: table_delta::run,
    targets: table_delta::targets,
};

/// TPC-H lineitem: import, scan, edits, merge, clone.
pub(super) const TABLE_OPS: Suite = Suite {
    name: "table-ops",
    peers: &["rsync", "lance", "delta", "doltlite", "datafusion"],
    run: table_ops::run,
    targets: table_ops::targets,
};

/// Two copies without shared history.
pub(super) const RECONCILE: Suite =
    Suite { name: "reconcile", peers: &["rsync"], run: reconcile::run, targets: reconcile::targets };

/// Many small files.
pub(super) const FILES_MANY: Suite =
    Suite { name: "files-many", peers: files_many::PEERS, run: files_many::run, targets: files_many::targets };

/// A million small files.
pub(super) const FILES_MILLION: Suite = Suite {
    name: "files-million",
    peers: files_many::PEERS,
    run: files_many::run_million,
    targets: files_many::targets_million,
};

/// One large file and edits of it.
pub(super) const FILES_LARGE: Suite =
    Suite { name: "files-large", peers: files_large::PEERS, run: files_large::run, targets: files_large::targets };

/// A Parquet file's rows as a table, beside the file written again.
pub(super) const PARQUET_EDIT: Suite =
    Suite { name: "parquet-edit", peers: parquet_edit::PEERS, run: parquet_edit::run, targets: parquet_edit::targets };

/// Durable transactions, and the way to a reader elsewhere.
pub(super) const LIVE: Suite = Suite { name: "live", peers: live::PEERS, run: live::run, targets: live::targets };

/// The simulator.
pub(super) const SIM: Suite = Suite { name: "sim", peers: &[], run: sim::run, targets: sim::targets };

/// Every suite, in the order of `all`.
pub(super) const ALL: [&Suite; 9] =
    [&TABLE_DELTA, &TABLE_OPS, &RECONCILE, &PARQUET_EDIT, &LIVE, &SIM, &FILES_LARGE, &FILES_MANY, &FILES_MILLION];

/// What a peer does of a suite on its input, told its name.
type Peer<I> = fn(&World, &I, &str, &mut Recorder) -> Result<()>;

/// Those of `peers` that take part do what `peer` says, one after the other.
fn take_turns<I>(
    world: &World,
    peers: impl IntoIterator<Item = &'static str>,
    peer: Peer<I>,
    input: &I,
    recorder: &mut Recorder,
) -> Result<()> {
    let mut there = peers.into_iter().filter(|name| world.has(name));
    there.try_for_each(|name| peer(world, input, name, recorder).with_context(|| name.to_owned()))
}

/// A count as people write it: `10 k`, `1 M`.
fn count(number: usize) -> String {
    match number {
        millions if millions >= 1_000_000 && millions.is_multiple_of(1_000_000) => {
            format!("{} M", millions / 1_000_000)
        }
        thousands if thousands >= 1_000 && thousands.is_multiple_of(1_000) => format!("{} k", thousands / 1_000),
        other => other.to_string(),
    }
}
