//! Three-way merge of whole datasets: tree by tree, row by row, cell by cell.
//!
//! Owns no state. Where both sides decided differently our side stays in place and the row is listed; nothing here
//! chooses a winner. Not here: how rows are merged (`crate::merge`), how a conflict is resolved (`syncline-node`).

use syncline_store::Store;

use super::{DatasetRoot, TreeName};
use crate::conflicts::{Item, to_hex};
use crate::table::{Table, TableRef};
use crate::{Error, Result, merge};

/// Merges `theirs` into `ours`, both made from `base` (an empty root when the histories are unrelated). Returns what
/// is merged, with our side in every conflict, and the conflicts in tree and key order.
///
/// # Errors
/// The store's, when an object is missing or damaged; `invalid` when two schemas cannot be one.
pub fn merge_roots(
    store: &Store,
    base: &DatasetRoot,
    ours: &DatasetRoot,
    theirs: &DatasetRoot,
) -> Result<(DatasetRoot, Vec<Item>)> {
    let mut merged = ours.clone();
    let mut conflicts = Vec::new();
    for name in DatasetRoot::names([base, ours, theirs]) {
        let (b, o, t) = (base.tree(&name), ours.tree(&name), theirs.tree(&name));
        if t == b || t == o {
            continue;
        }
        if o == b {
            merged.set_tree(&name, t.copied());
            continue;
        }
        match (o, t) {
            (Some(o), Some(t)) => {
                let tree = merge_tree(store, &name, [b, Some(o), Some(t)], &mut conflicts)?;
                merged.set_tree(&name, Some(tree));
            }
            // Removed on one side and changed on the other.
            _ => conflicts.push(Item { tree: name, key: String::new(), columns: Vec::new() }),
        }
    }
    Ok((merged, conflicts))
}

fn merge_tree(
    store: &Store,
    name: &TreeName,
    [base, ours, theirs]: [Option<&TableRef>; 3],
    conflicts: &mut Vec<Item>,
) -> Result<TableRef> {
    let open = |side: Option<&TableRef>| side.map(|table| Table::open(store, table)).transpose();
    let (Some(ours), Some(theirs)) = (open(ours)?, open(theirs)?) else {
        unreachable!("the caller passes both sides");
    };
    let by = if *name == TreeName::Files { merge::merge_files } else { merge::merge };
    let merged = by(open(base)?.as_ref(), &ours, &theirs).map_err(|error| match error {
        Error::Conflict(why) => Error::Conflict(format!("{name}: {why}")),
        other => other,
    })?;
    conflicts.extend(merged.conflicts.into_iter().map(|conflict| Item {
        tree: name.clone(),
        key: to_hex(&conflict.key),
        columns: conflict.columns,
    }));
    Ok(merged.table.to_ref())
}
