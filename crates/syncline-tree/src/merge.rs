//! Three-way merge of tables, by row and cell.
//!
//! Owns nothing. Not here: choosing a winner. A cell that both sides changed differently is a conflict; the result
//! keeps ours and the list says what theirs was.
#![allow(clippy::unimplemented, unused_variables, reason = "signatures first")]

use crate::Result;
use crate::table::{Rows, Table};

/// A row that the merge could not decide.
#[derive(Debug, Clone)]
pub struct Conflict {
    /// The encoded key.
    pub key: Vec<u8>,
    /// The row in the base; `None` when both sides inserted it.
    pub base: Option<Rows>,
    /// The row as we have it; `None` when we deleted it.
    pub ours: Option<Rows>,
    /// The row as they have it; `None` when they deleted it.
    pub theirs: Option<Rows>,
    /// Ids of the columns in conflict; empty when the row was deleted on one side and changed on the other.
    pub columns: Vec<u32>,
}

/// What a merge gave.
#[derive(Debug, Clone)]
pub struct Merged {
    /// Everything both sides changed, with our cells and rows where they are in conflict.
    pub table: Table,
    /// In key order.
    pub conflicts: Vec<Conflict>,
}

/// Merges what `theirs` changed since `base` into `ours`. All three are in one store.
pub fn merge(base: &Table, ours: &Table, theirs: &Table) -> Result<Merged> {
    unimplemented!()
}
