//! Finding rows in conflict, and transactions that are torn by how these are shown.
//!
//! Owns nothing; looks at all rows of the tables that are asked for, at one moment of a node.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use bytes::Bytes;
use syncline_sync::live::{Dot, Node, Row, RowKey, Sibling};

use crate::Result;
use crate::live::Engine;
use crate::live::definition::Definition;
use crate::live::resolve::{Seen, differ};
use crate::live::tables::Look;

/// Tables by name, as far as they can be read.
pub(super) type Tables = BTreeMap<String, Result<Arc<Definition>>>;

/// A row in conflict.
#[derive(Debug)]
pub(super) struct Found {
    pub(super) key: RowKey,
    pub(super) row: Row,
    /// What readers see; unknown where the table cannot be read.
    pub(super) seen: Option<Seen>,
}

/// All tables, or the one that is named.
pub(super) fn tables(engine: &Engine, only: Option<&str>) -> Result<Tables> {
    if let Some(name) = only {
        return Ok([(name.to_owned(), Ok(engine.table(name)?))].into());
    }
    let names = engine.table_names()?;
    Ok(names.into_iter().map(|name| (name.clone(), engine.table(&name))).collect())
}

/// The rows in conflict as clients of this node see them, by table and key; reserved tables left out.
pub(super) fn in_conflict(node: &Node, tables: &Tables, only: Option<&str>) -> Vec<Found> {
    let state = node.state();
    let looks: BTreeMap<&str, Look<'_>> =
        tables.iter().filter_map(|(name, table)| Some((&name[..], Look::new(table.as_ref().ok()?, node)))).collect();
    let asked = |key: &RowKey| only.map_or_else(|| !key.table.starts_with('.'), |only| *key.table == *only);
    let conflict = |key: &RowKey, row: &Row| -> Option<Option<Seen>> {
        let Some(look) = looks.get(&*key.table) else {
            // Nobody here knows how they are shown; what was written differs.
            return row.is_in_conflict().then_some(None);
        };
        look.may_conflict(row).then(|| look.seen(&key.key, row)).flatten().filter(|seen| seen.conflict).map(Some)
    };
    let mut found: BTreeMap<RowKey, (Row, Option<Seen>)> = BTreeMap::new();
    // Where no row has two siblings there is nothing to look for, unless its columns have.
    let by_column = |name: &str| matches!(tables.get(name), Some(Ok(table)) if table.is_by_column());
    let counts = state.held().counts().iter();
    let some =
        counts.filter(|(name, count)| only.is_none_or(|only| only == &***name) && (count.open > 0 || by_column(name)));
    for (name, _) in some {
        let from = RowKey { table: name.clone(), key: Bytes::new() };
        for (key, row) in state.rows_from(&from).take_while(|(key, _)| key.table == *name) {
            if let Some(seen) = asked(&key).then(|| conflict(&key, &row)).flatten() {
                found.insert(key, (Arc::unwrap_or_clone(row), seen));
            }
        }
    }
    // What waits for a hub may have decided some, and be in conflict itself.
    for key in waiting(node).filter(|key| asked(key)).collect::<BTreeSet<_>>() {
        let row = node.view(key);
        match conflict(key, &row) {
            Some(seen) => found.insert(key.clone(), (row, seen)),
            None => found.remove(key),
        };
    }
    found.into_iter().map(|(key, (row, seen))| Found { key, row, seen }).collect()
}

/// Rows that transactions write which wait for a hub.
fn waiting(node: &Node) -> impl Iterator<Item = &RowKey> {
    node.state().pending().flat_map(|txn| &txn.body().writes).map(|write| &write.row)
}

/// Transactions that readers see in some rows and not in others, of those that are in conflict in these.
pub(super) fn torn(node: &Node, tables: &Tables, found: &[Found]) -> BTreeSet<Dot> {
    let (mut lost, mut won) = (BTreeSet::new(), BTreeSet::new());
    for Found { key, row, seen } in found {
        let Some((seen, Some(Ok(table)))) = seen.as_ref().map(|seen| (seen, tables.get(&*key.table))) else { continue };
        let rivals = table.rivals(row.siblings(), seen);
        let winner = row.siblings().iter().find(|sibling| sibling.dot == seen.dot);
        let shown: Vec<(Dot, bool)> = if rivals.is_empty() {
            let is_shown = |sibling: &Sibling| winner.is_some_and(|winner| !differ(winner, sibling));
            row.siblings().iter().map(|sibling| (sibling.dot, is_shown(sibling))).collect()
        } else {
            rivals.iter().map(|rival| (rival.dot, rival.visible)).collect()
        };
        for (dot, visible) in shown {
            if visible {
                won.insert(dot)
            } else {
                lost.insert(dot)
            };
        }
    }
    if lost.is_empty() {
        return lost;
    }
    // What somebody wrote alone is seen, whatever else of it is not.
    let mut alone = |row: &Row| {
        if let [one] = row.siblings()
            && lost.contains(&one.dot)
        {
            won.insert(one.dot);
        }
    };
    node.state().rows().for_each(|(_, row)| alone(&row));
    waiting(node).collect::<BTreeSet<_>>().into_iter().for_each(|key| alone(&node.view(key)));
    lost.retain(|dot| won.contains(dot));
    lost
}
