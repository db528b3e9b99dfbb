//! What differs between two tables, found from the top down: equal subtrees are never opened.
//!
//! Owns nothing. Not here: deciding what to do about differences (`crate::merge`), shipping them (`crate::delta`).
#![allow(clippy::unimplemented, unused_variables, reason = "signatures first")]

use crate::Result;
use crate::key::Keys;
use crate::patch::{ColumnSet, Counts};
use crate::table::{Changes, Rows, Table};

/// How a row differs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Change {
    /// The new table has it, the old one does not.
    Insert,
    /// Both have it, with other cells.
    Update,
    /// The old table has it, the new one does not.
    Delete,
}

/// Some rows that differ, in key order.
#[derive(Debug, Clone)]
pub struct DiffBatch {
    /// The key of each row that differs.
    pub keys: Keys,
    /// How each differs.
    pub kinds: Vec<Change>,
    /// Updated and deleted rows as they were, in order (inserted ones have no row here). The old table's columns.
    pub before: Rows,
    /// Updated and inserted rows as they are, in order (deleted ones have no row here). The new table's columns.
    pub after: Rows,
    /// For each row the cells that differ, as positions in the new table's schema; empty unless it is an update.
    pub changed: Vec<ColumnSet>,
}

/// All differences from `old` to `new`, in key order, in batches of bounded size. The tables may be in different stores.
pub fn diff(old: &Table, new: &Table) -> Result<Box<dyn Iterator<Item = Result<DiffBatch>> + Send>> {
    unimplemented!()
}

/// How many rows differ. Does not open leaves that are stored as edits of the old ones.
pub fn diff_counts(old: &Table, new: &Table) -> Result<Counts> {
    unimplemented!()
}

/// The changes that make `new` out of `old`: keys and changed cells only. Cheaper than [`diff`].
pub fn changes(old: &Table, new: &Table) -> Result<Box<dyn Iterator<Item = Result<Changes>> + Send>> {
    unimplemented!()
}
