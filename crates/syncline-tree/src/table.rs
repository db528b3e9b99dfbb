//! Tables: keyed rows as a Merkle tree.
//!
//! A table is a value: applying changes gives a new table, and the old one stays. Its root depends on the schema and
//! the rows only, never on how they came there. Format: `docs/format/tree.md`.
//! Owns: nothing but a handle on the store. After a crash: objects that were put but never named by a ref are garbage.
//!
//! Not here: comparing tables (`crate::diff`), merging them (`crate::merge`), shipping changes (`crate::delta`).
#![allow(clippy::unimplemented, unused_variables, clippy::needless_pass_by_value, reason = "signatures first")]

use std::ops::Bound;

use arrow_array::RecordBatch;
use serde::{Deserialize, Serialize};
use syncline_base::Hash;
use syncline_store::Store;

use crate::Result;
use crate::leaf::External;
use crate::patch::ColumnSet;
use crate::schema::Schema;

/// Names a table in a store: all that is needed to open it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TableRef {
    /// The hash of the schema's canonical bytes.
    pub schema: Hash,
    /// The hash of the root node; [`Hash::ZERO`] for a table without rows.
    pub root: Hash,
    /// How many rows there are.
    pub rows: u64,
    /// Levels of the tree: 0 without rows, 1 when the root is a leaf.
    pub height: u8,
}

/// Rows with the cells that lie outside of them: those read as empty in `batch`.
#[derive(Debug, Clone)]
pub struct Rows {
    /// The rows.
    pub batch: RecordBatch,
    /// Cells of `batch` that are stored as content, sorted by (column id, row).
    pub externals: Vec<External>,
}

/// What to do with one row.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Op {
    /// Insert the row, or replace the one with its key.
    Upsert,
    /// Insert the row; a row with its key is an error of kind `conflict`.
    Insert,
    /// Remove the row with this key. Only the key's columns are looked at. No such row: nothing happens.
    Delete,
    /// Replace these cells (positions in the schema) of the row with this key. No such row: an error of kind `conflict`.
    Patch(ColumnSet),
    /// Replace these cells (positions in the schema) of the row with this key; insert the whole row when there is none.
    /// What an import of some columns into a table with more columns needs.
    Merge(ColumnSet),
}

/// Changes to rows, sorted by key, each key once.
#[derive(Debug, Clone)]
pub struct Changes {
    /// One row for each change: all the schema's columns, in its order. Cells that the operation does not use may be
    /// null whatever the schema says.
    pub rows: RecordBatch,
    /// One for each row.
    pub ops: Vec<Op>,
    /// Cells of `rows` that are in the store as content already, sorted by (column id, row). Other long cells are moved
    /// there by `apply`.
    pub externals: Vec<External>,
}

impl Changes {
    /// Every row inserted or replaced.
    #[must_use]
    pub fn upsert(rows: RecordBatch) -> Self {
        Self { ops: vec![Op::Upsert; rows.num_rows()], rows, externals: Vec::new() }
    }

    /// Every row inserted; an existing one is an error.
    #[must_use]
    pub fn insert(rows: RecordBatch) -> Self {
        Self { ops: vec![Op::Insert; rows.num_rows()], rows, externals: Vec::new() }
    }

    /// Rows with these encoded keys (sorted) removed.
    pub fn delete<'a>(schema: &Schema, keys: impl IntoIterator<Item = &'a [u8]>) -> Result<Self> {
        unimplemented!()
    }
}

/// What `apply` did.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Applied {
    /// Rows that were not there before.
    pub inserted: u64,
    /// Rows that have at least one other cell now.
    pub updated: u64,
    /// Rows that are gone.
    pub deleted: u64,
    /// Changes that changed nothing.
    pub unchanged: u64,
}

/// What to read from a table. `Default` is everything.
#[derive(Debug, Clone)]
pub struct Scan {
    /// Names of the columns to return, in this order; `None`: all.
    pub columns: Option<Vec<String>>,
    /// Bounds on the encoded key.
    pub range: (Bound<Vec<u8>>, Bound<Vec<u8>>),
    /// Only leaves that may have rows within all of these are read. A filter on leaves, not on rows.
    pub prune: Vec<Prune>,
    /// Rows to skip at the start of the range.
    pub offset: u64,
    /// At most so many rows.
    pub limit: Option<u64>,
}

impl Default for Scan {
    fn default() -> Self {
        Self { columns: None, range: (Bound::Unbounded, Bound::Unbounded), prune: Vec::new(), offset: 0, limit: None }
    }
}

/// A leaf is wanted if this column may have a value between `min` and `max` (both included). For integer-like columns.
#[derive(Debug, Clone)]
pub struct Prune {
    /// The column's name.
    pub column: String,
    /// Smallest value wanted, as the column's integer (decimal without point, days, units since 1970).
    pub min: i128,
    /// Largest value wanted.
    pub max: i128,
}

/// A table at one version. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Table {
    store: Store,
}

impl Table {
    /// An empty table. Stores the schema.
    pub fn create(store: &Store, schema: Schema) -> Result<Self> {
        unimplemented!()
    }

    /// Opens a table. Reads its schema only.
    pub fn open(store: &Store, table: &TableRef) -> Result<Self> {
        unimplemented!()
    }

    /// What names this table.
    #[must_use]
    pub fn to_ref(&self) -> TableRef {
        unimplemented!()
    }

    /// The store that it is in.
    #[must_use]
    pub fn store(&self) -> &Store {
        &self.store
    }

    /// Its schema.
    #[must_use]
    pub fn schema(&self) -> &Schema {
        unimplemented!()
    }

    /// How many rows there are.
    #[must_use]
    pub fn rows(&self) -> u64 {
        unimplemented!()
    }

    /// Reads rows in key order, leaf by leaf, ahead of the caller. Long cells are read from where they are stored.
    pub fn scan(&self, scan: Scan) -> Result<Box<dyn Iterator<Item = Result<RecordBatch>> + Send>> {
        unimplemented!()
    }

    /// As `scan`, but long cells stay outside.
    pub fn scan_rows(&self, scan: Scan) -> Result<Box<dyn Iterator<Item = Result<Rows>> + Send>> {
        unimplemented!()
    }

    /// The row with this encoded key, as a batch of one row. A long cell is read from where it is stored.
    pub fn get(&self, key: &[u8]) -> Result<Option<RecordBatch>> {
        unimplemented!()
    }

    /// As `get`, but long cells stay outside.
    pub fn get_rows(&self, key: &[u8]) -> Result<Option<Rows>> {
        unimplemented!()
    }

    /// Applies changes that come sorted by key, each key once (over all batches). Memory stays bounded however many there
    /// are; many small batches cost more than few of some thousand rows.
    pub fn apply(&self, changes: impl IntoIterator<Item = Result<Changes>>) -> Result<(Self, Applied)> {
        unimplemented!()
    }

    /// The same rows under another schema that came from this one by the schema's own steps (add, rename, drop,
    /// widen). Adding or renaming a column reads and writes no row.
    pub fn with_schema(&self, schema: Schema) -> Result<Self> {
        unimplemented!()
    }
}
