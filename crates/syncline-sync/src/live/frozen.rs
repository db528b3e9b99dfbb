//! A state at one moment, to be looked at while the node goes on.
//!
//! Taking one costs little, whatever the node holds: it shares the rows, and writers copy what they change meanwhile. So a replica root,
//! which reads every row, is computed without anybody waiting for it.
//!
//! Not here: when states are compared, and with whom.

use std::sync::Arc;

use syncline_base::{Hash, Hasher};

use super::context::Coverage;
use super::row::Row;
use super::scope::{Scope, row_within};
use super::state::{State, put_key};
use super::table::{Counts, Rows};
use super::txn::RowKey;

/// Rows and what they follow from, as they were. What was pending is not in it.
#[derive(Debug, Clone, Default)]
pub struct Frozen {
    coverage: Coverage,
    rows: Rows,
}

/// What a state hashes to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Digest {
    /// The replica root.
    pub root: Hash,
    /// Of each table that has rows, by name.
    pub tables: Vec<TableDigest>,
}

/// What the rows of one table hash to: BLAKE3 over those of the bytes of the replica root that are theirs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TableDigest {
    /// Its name.
    pub table: Arc<str>,
    /// How many rows it has.
    pub rows: u64,
    /// Of them.
    pub hash: Hash,
}

impl State {
    /// As it is now.
    #[must_use]
    pub fn frozen(&self) -> Frozen {
        Frozen { coverage: self.coverage.clone(), rows: self.rows.clone() }
    }
}

impl Frozen {
    /// What the rows follow from.
    #[must_use]
    pub const fn coverage(&self) -> &Coverage {
        &self.coverage
    }

    /// The rows that exist, by table and key.
    pub fn rows(&self) -> impl Iterator<Item = (RowKey, Arc<Row>)> + '_ {
        self.rows.iter()
    }

    /// Those from a key on.
    pub fn rows_from<'a>(&'a self, key: &RowKey) -> impl Iterator<Item = (RowKey, Arc<Row>)> + use<'a> {
        self.rows.from(key)
    }

    /// The row under a key.
    #[must_use]
    pub fn row(&self, key: &RowKey) -> Option<Arc<Row>> {
        self.rows.get(key)
    }

    /// How many rows there are of each table.
    #[must_use]
    pub const fn counts(&self) -> &Counts {
        self.rows.counts()
    }

    /// Why what is read here cannot be believed, if it cannot: to be asked after reading.
    #[must_use]
    pub fn trouble(&self) -> Option<&str> {
        self.rows.trouble()
    }

    /// What it hashes to. Reads every row.
    #[must_use]
    pub fn digest(&self) -> Digest {
        self.digest_of(None)
    }

    /// What is inside a scope hashes to: what somebody's state does who holds that and covers the same.
    #[must_use]
    pub fn digest_within(&self, scope: &dyn Scope) -> Digest {
        self.digest_of(Some(scope))
    }

    fn digest_of(&self, scope: Option<&dyn Scope>) -> Digest {
        let (mut all, mut tables) = (Hasher::new(), Vec::new());
        // Small states are looked at often.
        let room = usize::try_from(self.rows.len()).unwrap_or(usize::MAX).saturating_mul(128);
        let mut out = Vec::with_capacity(room.clamp(1 << 10, 1 << 16));
        self.coverage.put(&mut out);
        all.update(&out);
        out.clear();
        // The table at hand: its rows so far, and what they hash to.
        let mut table: Option<(Arc<str>, u64, Hasher)> = None;
        for (key, row) in self.rows.iter() {
            let Some(row) = row_within(scope, &key, &row) else { continue };
            if table.as_ref().is_none_or(|(name, ..)| *name != key.table) || out.len() >= 1 << 15 {
                flush(&mut out, &mut all, table.as_mut());
            }
            let (_, rows, _) = match &mut table {
                Some(at) if at.0 == key.table => at,
                at => {
                    tables.extend(at.take().map(close));
                    at.insert((key.table.clone(), 0, Hasher::new()))
                }
            };
            *rows += 1;
            put_key(&mut out, &key);
            row.put(&mut out);
        }
        flush(&mut out, &mut all, table.as_mut());
        tables.extend(table.map(close));
        Digest { root: all.finish(), tables }
    }
}

fn flush(out: &mut Vec<u8>, all: &mut Hasher, table: Option<&mut (Arc<str>, u64, Hasher)>) {
    all.update(out);
    if let Some((.., hasher)) = table {
        hasher.update(out);
    }
    out.clear();
}

fn close((table, rows, hasher): (Arc<str>, u64, Hasher)) -> TableDigest {
    TableDigest { table, rows, hash: hasher.finish() }
}
