//! What a version reaches: every object from its root record down to leaves and chunks.
//!
//! For garbage collection and verification. Memory follows the depth of a tree and the set that the caller keeps, not
//! the data. Owns no state.

use syncline_base::{Hash, hash::IdSet};
use syncline_store::Store;
use syncline_tree::walk::{self, ObjectKind};
use syncline_tree::{DatasetRoot, TableRef};

use crate::Result;

/// Shows every object of a version to `visit`, parents before children. Where `visit` answers no, nothing below is
/// shown: it has been seen before.
///
/// # Errors
/// The store's, when an object is missing or damaged; those of `visit`.
pub fn dataset(store: &Store, root: &Hash, visit: &mut dyn FnMut(&Hash) -> Result<bool>) -> Result<()> {
    if !visit(root)? {
        return Ok(());
    }
    for (_, table) in DatasetRoot::load(store, root)?.trees() {
        let mut open = walk::roots(table);
        while let Some((id, kind)) = open.pop() {
            if visit(&id)? && has_children(kind) {
                open.extend(walk::children(kind, &store.get(&id)?)?);
            }
        }
    }
    Ok(())
}

fn has_children(kind: ObjectKind) -> bool {
    !matches!(kind, ObjectKind::Schema | ObjectKind::Content { height: 0 })
}

/// Damage below one table, told to `report` as the object and which rows it takes with it, as far as that is known.
/// `sound` remembers subtrees without damage, so that versions that share them are cheap.
pub fn damage(store: &Store, table: &TableRef, damaged: &IdSet, sound: &mut IdSet, report: &mut dyn FnMut(Hash, &str)) {
    let mut open = walk::roots(table);
    while let Some((id, kind)) = open.pop() {
        if sound.contains(&id) {
            continue;
        }
        let children = if damaged.contains(&id) {
            Err("its stored bytes are damaged".to_owned())
        } else if has_children(kind) {
            let read = store.get(&id).map_err(|e| e.to_string());
            read.and_then(|bytes| walk::children(kind, &bytes).map_err(|e| e.to_string()))
        } else {
            match store.contains(&id) {
                Ok(true) => Ok(Vec::new()),
                Ok(false) => Err("it is missing".to_owned()),
                Err(error) => Err(error.to_string()),
            }
        };
        match children {
            Ok(children) => {
                open.extend(children);
                sound.insert(id);
            }
            Err(why) => report(id, &format!("{}: {why}", describe(kind))),
        }
    }
}

fn describe(kind: ObjectKind) -> String {
    match kind {
        ObjectKind::Schema => "the schema, so the whole table".into(),
        ObjectKind::Tree { height: 1 } => "one leaf of rows".into(),
        ObjectKind::Tree { height } => format!("a node of height {height} and all rows below it"),
        ObjectKind::Content { height: 0 } => "a chunk of a large cell or file".into(),
        ObjectKind::Content { height } => format!("a list of chunks of height {height} of a large cell or file"),
    }
}
