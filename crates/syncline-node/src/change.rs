//! What differs between two versions, counted tree by tree, and the guard against mass deletion.
//!
//! Owns no state. Not here: which rows differ and how (`crate::ops::diff`).

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use syncline_store::Store;
use syncline_tree::schema::{Column, Schema};
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
    /// Which columns, in the newer version's order, then those that are gone. Empty where the tree is in one version only.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub columns: Vec<ColumnChange>,
    /// Whether the newer version has another key: then it is another table, and all rows of the older one count as deleted.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub replaced: bool,
    /// Whether the tree is outside of the part that this replica holds: then the counts are the least that they can be.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub elsewhere: bool,
}

/// What became of a column between two versions.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "change")]
pub enum ColumnChange {
    /// It is new.
    Added {
        /// Its name.
        name: String,
        /// Its type, as people write it.
        #[serde(rename = "type")]
        ty: String,
    },
    /// It is gone.
    Dropped {
        /// The name that it had.
        name: String,
    },
    /// It has another name.
    Renamed {
        /// The name that it had.
        from: String,
        /// Its name.
        name: String,
    },
    /// It has another type, or may be null now.
    Retyped {
        /// Its name.
        name: String,
        /// The type that it had, as people write it.
        from: String,
        /// Its type, as people write it.
        #[serde(rename = "type")]
        ty: String,
    },
}

/// What became of each column that is not what it was.
#[must_use]
pub fn columns_between(before: &Schema, after: &Schema) -> Vec<ColumnChange> {
    let full = |column: &Column| format!("{}{}", column.ty, if column.nullable { "" } else { " not null" });
    let mut changes = Vec::new();
    let matched = before.matches(after);
    let earlier: BTreeMap<u32, &Column> =
        before.columns.iter().filter_map(|column| Some((*matched.get(&column.id)?, column))).collect();
    for column in &after.columns {
        let name = column.name.clone();
        let Some(old) = earlier.get(&column.id) else {
            changes.push(ColumnChange::Added { name, ty: full(column) });
            continue;
        };
        if old.name != name {
            changes.push(ColumnChange::Renamed { from: old.name.clone(), name: name.clone() });
        }
        if full(old) != full(column) {
            changes.push(ColumnChange::Retyped { name, from: full(old), ty: full(column) });
        }
    }
    let gone = before.columns.iter().filter(|column| !matched.contains_key(&column.id));
    changes.extend(gone.map(|old| ColumnChange::Dropped { name: old.name.clone() }));
    changes
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
        columns: Vec::new(),
        replaced: false,
        elsewhere: !held,
    };
    match (before, after) {
        (Some(before), Some(after)) => {
            if !held {
                // Nobody can say more without the rows.
                change.inserted = after.rows.saturating_sub(before.rows);
                change.deleted = before.rows.saturating_sub(after.rows);
            } else {
                let (before, after) = (Table::open(store, before)?, Table::open(store, after)?);
                change.replaced = !diff::comparable(before.schema(), after.schema());
                if before.rows() > 0 && after.rows() > 0 && !change.replaced {
                    let counts = diff::diff_counts(&before, &after)?;
                    (change.inserted, change.updated, change.deleted) =
                        (counts.inserted, counts.updated, counts.deleted);
                }
                change.columns = columns_between(before.schema(), after.schema());
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

/// Whether so many of so many rows are more than may go without being asked.
fn is_too_much(deleted: u64, of: u64) -> bool {
    of >= GUARD_MIN_ROWS && deleted.saturating_mul(2) > of
}

/// As [`guard`] of [`between`], but rows are counted only in trees where the inner nodes leave it open.
///
/// # Errors
/// As both.
pub fn guard_between(replica: &Replica, before: &DatasetRoot, after: &DatasetRoot, allow: bool) -> Result<()> {
    if allow {
        return Ok(());
    }
    let (store, part) = (replica.store(), replica.part()?);
    for name in DatasetRoot::names([before, after]) {
        let (old, new) = (before.tree(&name), after.tree(&name));
        if old == new {
            continue;
        }
        let held = part.tree(&name);
        if let (Some(old), Some(new), true) = (old, new, held)
            && old.rows > 0
            && new.rows > 0
        {
            let (before, after) = (Table::open(store, old)?, Table::open(store, new)?);
            if diff::comparable(before.schema(), after.schema())
                && !is_too_much(diff::deleted_at_most(&before, &after)?, old.rows)
            {
                continue;
            }
        }
        guard(&[tree_change(store, name, held, old, new)?], allow)?;
    }
    Ok(())
}

/// Refuses a change that deletes more than half of a tree.
///
/// # Errors
/// [`Error::MassDelete`] for the first tree that loses more than half of its rows, unless `allow`.
pub fn guard(changes: &[TreeChange], allow: bool) -> Result<()> {
    match changes.iter().find(|c| is_too_much(c.deleted, c.rows_before)) {
        Some(c) if !allow => Err(Error::MassDelete { tree: c.tree.to_string(), deleted: c.deleted, of: c.rows_before }),
        _ => Ok(()),
    }
}
