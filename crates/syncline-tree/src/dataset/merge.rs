//! Three-way merge of whole datasets: tree by tree, row by row, cell by cell.
//!
//! Owns no state. Where both sides decided differently our side stays in place and the row is listed; nothing here
//! chooses a winner. Not here: how rows are merged (`crate::merge`), how a conflict is resolved (`syncline-node`).

use syncline_store::Store;

use super::{DatasetRoot, TreeName};
use crate::conflicts::{Item, to_hex};
use crate::table::{Table, TableRef};
use crate::{Error, Result, diff, files, merge};

/// Merges `theirs` into `ours`, both made from `base` (an empty root when the histories are unrelated). Returns what
/// is merged, with our side in every conflict, and the conflicts in tree and key order.
///
/// # Errors
/// The store's, when an object is missing or damaged; `conflict` when two schemas cannot be one, or one side dropped a column
/// whose cells the other edited. A table that has another key on one side is a conflict as a whole.
pub fn merge_roots(
    store: &Store,
    base: &DatasetRoot,
    ours: &DatasetRoot,
    theirs: &DatasetRoot,
) -> Result<(DatasetRoot, Vec<Item>)> {
    merge_all(store, [base, ours, theirs], true)
}

/// As [`merge_roots`]; a column that one side dropped is gone, edited or not, unless `keep_edits` refuses that.
pub(super) fn merge_all(
    store: &Store,
    [base, ours, theirs]: [&DatasetRoot; 3],
    keep_edits: bool,
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
        // All files gone are files that went one by one.
        let none = match name {
            TreeName::Files => Some(Table::create(store, files::schema())?.to_ref()),
            TreeName::Table(_) => None,
        };
        let or_none = |side: Option<&TableRef>| side.copied().or(none);
        match (or_none(o).as_ref(), or_none(t).as_ref()) {
            (Some(o), Some(t)) if is_rekeyed(store, [b, Some(o), Some(t)])? => {
                conflicts.push(Item { tree: name, key: String::new(), columns: Vec::new() });
            }
            (Some(o), Some(t)) => {
                let tree = merge_tree(store, &name, [b, Some(o), Some(t)], keep_edits, &mut conflicts)?;
                merged.set_tree(&name, Some(tree));
            }
            // Removed on one side and changed on the other.
            _ => conflicts.push(Item { tree: name, key: String::new(), columns: Vec::new() }),
        }
    }
    Ok((merged, conflicts))
}

/// Whether rows of three versions cannot be matched, since a side has made the table anew with another key. Tables that were made
/// apart have no version in common, and say for themselves what is in the way.
fn is_rekeyed(store: &Store, versions: [Option<&TableRef>; 3]) -> Result<bool> {
    let [Some(base), Some(ours), Some(theirs)] = versions else { return Ok(false) };
    if base.schema == ours.schema && base.schema == theirs.schema {
        return Ok(false);
    }
    let (base, ours, theirs) = (Table::open(store, base)?, Table::open(store, ours)?, Table::open(store, theirs)?);
    let alike = |one: &Table, other: &Table| diff::comparable(one.schema(), other.schema());
    Ok(!(alike(&base, &ours) && alike(&base, &theirs) && alike(&ours, &theirs)))
}

fn merge_tree(
    store: &Store,
    name: &TreeName,
    [base, ours, theirs]: [Option<&TableRef>; 3],
    keep_edits: bool,
    conflicts: &mut Vec<Item>,
) -> Result<TableRef> {
    let open = |side: Option<&TableRef>| side.map(|table| Table::open(store, table)).transpose();
    let (Some(ours), Some(theirs)) = (open(ours)?, open(theirs)?) else {
        unreachable!("the caller passes both sides");
    };
    let by = if *name == TreeName::Files { merge::merge_files } else { merge::merge };
    let base = open(base)?;
    let lost = if keep_edits { base.as_ref().map(|base| merge::check_dropped(base, &ours, &theirs)) } else { None };
    let merged =
        lost.unwrap_or(Ok(())).and_then(|()| by(base.as_ref(), &ours, &theirs)).map_err(|error| match error {
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
