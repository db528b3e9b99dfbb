//! What differs between two versions, counted tree by tree, and the guard against mass deletion.
//!
//! Owns no state. Not here: which rows differ and how (`crate::ops::diff`).

use serde::{Deserialize, Serialize};
use syncline_store::Store;
use syncline_tree::{DatasetRoot, Table, TableRef, TreeName, diff};

use crate::error::{Error, Result};
use crate::replica::Replica;

/// How one tree differs between two versions.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TreeChange {
    /// Which tree.
    pub tree: TreeName,
    /// Rows (or files) that are only in the newer version.
    pub inserted: u64,
    /// Rows that are in both with different cells.
    pub updated: u64,
    /// Rows that are only in the older version.
    pub deleted: u64,
    /// Rows in the older version.
    pub rows_before: u64,
    /// Rows in the newer version.
    pub rows_after: u64,
    /// Whether the tree exists in the newer version only, in the older only, or in both.
    pub presence: Presence,
    /// Whether columns were added, removed, renamed or changed.
    pub schema_changed: bool,
    /// Whether the tree is outside of the part that this replica holds: then the counts are the least that they can be.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub elsewhere: bool,
}

/// In which of two versions a tree exists.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Presence {
    /// Only in the newer version.
    Added,
    /// Only in the older version.
    Removed,
    /// In both.
    Kept,
}

/// Counts the differences between two versions, skipping trees that are equal. A tree that a partial replica does not hold
/// is counted by its rows alone.
///
/// # Errors
/// The store's, when an object is missing or damaged.
pub fn between(replica: &Replica, before: &DatasetRoot, after: &DatasetRoot) -> Result<Vec<TreeChange>> {
    let (store, part) = (replica.store(), replica.part()?);
    DatasetRoot::names([before, after])
        .into_iter()
        .filter(|name| before.tree(name) != after.tree(name))
        .map(|name| {
            let held = part.tree(&name);
            tree_change(store, name.clone(), held, before.tree(&name), after.tree(&name))
        })
        .collect()
}

fn tree_change(
    store: &Store,
    tree: TreeName,
    held: bool,
    before: Option<&TableRef>,
    after: Option<&TableRef>,
) -> Result<TreeChange> {
    let rows = |side: Option<&TableRef>| side.map_or(0, |table| table.rows);
    let mut change = TreeChange {
        tree,
        inserted: rows(after),
        updated: 0,
        deleted: rows(before),
        rows_before: rows(before),
        rows_after: rows(after),
        presence: Presence::Kept,
        schema_changed: false,
        elsewhere: !held,
    };
    match (before, after) {
        (Some(before), Some(after)) => {
            if !held {
                // Nobody can say more without the rows.
                change.inserted = after.rows.saturating_sub(before.rows);
                change.deleted = before.rows.saturating_sub(after.rows);
            } else if before.rows > 0 && after.rows > 0 {
                let counts = diff::diff_counts(&Table::open(store, before)?, &Table::open(store, after)?)?;
                (change.inserted, change.updated, change.deleted) = (counts.inserted, counts.updated, counts.deleted);
            }
            change.schema_changed = before.schema != after.schema;
        }
        (None, _) => change.presence = Presence::Added,
        (_, None) => change.presence = Presence::Removed,
    }
    Ok(change)
}

/// Trees smaller than this may lose more than half of their rows: nobody wants to be asked about four rows of six.
const GUARD_MIN_ROWS: u64 = 20;

/// Refuses a change that deletes more than half of a tree.
///
/// # Errors
/// [`Error::MassDelete`] for the first tree that loses more than half of its rows, unless `allow`.
pub fn guard(changes: &[TreeChange], allow: bool) -> Result<()> {
    let too_much = |c: &&TreeChange| c.rows_before >= GUARD_MIN_ROWS && c.deleted.saturating_mul(2) > c.rows_before;
    match changes.iter().find(too_much) {
        Some(c) if !allow => Err(Error::MassDelete { tree: c.tree.to_string(), deleted: c.deleted, of: c.rows_before }),
        _ => Ok(()),
    }
}
