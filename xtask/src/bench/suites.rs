//! The suites: what every tool is asked to do, and what is aimed for.

mod files_large;
mod files_many;
mod reconcile;
mod rsync;
mod table_delta;
mod table_ops;

use anyhow::Result;

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
pub(super) const FILES_MANY: Suite = Suite {
    name: "files-many",
    peers: &["git", "restic", "rsync"],
    run: files_many::run,
    targets: files_many::targets,
};

/// One large file and edits of it.
pub(super) const FILES_LARGE: Suite = Suite {
    name: "files-large",
    peers: &["rsync", "borg", "restic", "casync", "xdelta3"],
    run: files_large::run,
    targets: files_large::targets,
};

/// A count as people write it: `10 k`.
fn count(number: usize) -> String {
    if number >= 1_000 && number.is_multiple_of(1_000) { format!("{} k", number / 1_000) } else { number.to_string() }
}
