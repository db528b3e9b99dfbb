//! Real nodes and real clients, for the chores that torment them: `net` and `soak`.
//!
//! `node` starts, kills and asks nodes; `client` is a session at one node, which keeps what it did and saw for `crate::history`; `watch` follows a node;
//! `crew` lets
//! many clients work side by side; `end` waits until all nodes have the same and judges.
//!
//! Not here: what is done to them meanwhile.

pub(crate) mod client;
pub(crate) mod crew;
pub(crate) mod end;
pub(crate) mod node;
pub(crate) mod watch;

use std::path::PathBuf;

use anyhow::{Result, ensure};

use crate::history::Row;
use crate::run;

/// The table that everybody writes to.
pub(crate) const TABLE: &str = "rows";

/// Which program is meant.
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct Program {
    /// The `syncline` that is tried; else the debug build of this checkout
    #[arg(long, value_name = "PATH", env = "SYNCLINE_PROGRAM")]
    program: Option<PathBuf>,
}

impl Program {
    /// Where it is.
    pub(crate) fn find(&self) -> Result<PathBuf> {
        let target = std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| run::root().join("target"), PathBuf::from);
        let path = self.program.clone().unwrap_or_else(|| target.join("debug/syncline"));
        ensure!(path.is_file(), "{} is not there: run `cargo build`, or name a program with --program", path.display());
        Ok(std::path::absolute(path)?)
    }
}

/// The rows that clients write: some that all of them do, and two for each session, which always have the same number of writes.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Rows {
    /// How many everybody writes.
    pub(crate) shared: usize,
    pub(crate) sessions: usize,
}

impl Rows {
    /// How many there are.
    pub(crate) fn len(self) -> usize {
        self.shared + 2 * self.sessions
    }

    /// The two of a session.
    pub(crate) fn own(self, session: usize) -> [Row; 2] {
        [self.shared + 2 * session, self.shared + 2 * session + 1]
    }

    /// A row's key in the table.
    pub(crate) fn key(row: Row) -> String {
        format!("r{row:04}")
    }

    /// The row of a key.
    pub(crate) fn of(key: &str) -> Option<Row> {
        key.strip_prefix('r')?.parse().ok()
    }
}
