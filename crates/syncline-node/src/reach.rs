//! What a version reaches: every object from its root record down to leaves and chunks.
//!
//! For garbage collection and verification. Memory follows the depth of a tree and the set that the caller keeps, not
//! the data. Owns no state.

use syncline_base::Hash;
use syncline_base::hash::{IdMap, IdSet};
use syncline_store::Store;
use syncline_tree::content::ContentRef;
use syncline_tree::walk::{self, Counted, ObjectKind};
use syncline_tree::{Commit, DatasetRoot, GivenUp, Refs, TableRef, TreeName};

use crate::part::Part;
use crate::{Error, Result};

/// Shows every object of a version to `visit`, parents before children. Where `visit` answers no, nothing below is
/// shown: it has been seen before. What a partial replica leaves elsewhere is passed over.
///
/// # Errors
/// The store's, when an object is missing or damaged; those of `visit`.
pub fn dataset(store: &Store, part: &Part, root: &Hash, visit: &mut dyn FnMut(&Hash) -> Result<bool>) -> Result<()> {
    if !visit(root)? {
        return Ok(());
    }
    for (name, table) in DatasetRoot::load(store, root)?.trees() {
        tree(store, part, &name, table, visit)?;
    }
    Ok(())
}

/// As [`dataset`], for one tree.
///
/// # Errors
/// As [`dataset`].
pub fn tree(
    store: &Store,
    part: &Part,
    name: &TreeName,
    table: &TableRef,
    visit: &mut dyn FnMut(&Hash) -> Result<bool>,
) -> Result<()> {
    if !part.tree(name) {
        return Ok(());
    }
    let may_miss = *name == TreeName::Files && part.is_outline();
    let mut open = walk::roots(table);
    while let Some((id, kind)) = open.pop() {
        if may_miss && matches!(kind, ObjectKind::Content { .. }) && !store.contains(&id)? {
            continue;
        }
        if visit(&id)? && has_children(kind) {
            open.extend(walk::children(kind, &store.get(&id)?)?);
        }
    }
    Ok(())
}

/// As [`dataset`], for one content, as far as it is here.
///
/// # Errors
/// The store's, but for objects that are missing; those of `visit`.
pub fn content(store: &Store, content: &ContentRef, visit: &mut dyn FnMut(&Hash) -> Result<bool>) -> Result<()> {
    let mut open: Vec<_> = walk::content(content).into_iter().collect();
    while let Some((id, kind)) = open.pop() {
        if !store.contains(&id)? {
            continue;
        }
        if visit(&id)? && has_children(kind) {
            open.extend(walk::children(kind, &store.get(&id)?)?);
        }
    }
    Ok(())
}

/// The commits whose data garbage collection has given up. A name may still lead to one of them.
///
/// # Errors
/// The store's.
pub fn given_up(store: &Store, refs: &Refs) -> Result<IdSet> {
    Ok(GivenUp::new(store, refs)?.all()?)
}

/// Whether garbage collection has given up the data of this commit.
///
/// # Errors
/// The store's; `not-found` when the commit is not here.
pub fn is_given_up(store: &Store, refs: &Refs, id: &Hash) -> Result<bool> {
    if refs.dropped.is_empty() {
        return Ok(false);
    }
    let generation = Commit::load(store, id)?.generation;
    Ok(GivenUp::new(store, refs)?.contains(id, generation)?)
}

/// Refuses a commit whose data garbage collection has given up, before a name leads to that data again.
///
/// # Errors
/// `not-found`, with what `tried` says, when it was; the store's.
pub fn check_whole(store: &Store, refs: &Refs, id: &Hash, tried: impl FnOnce() -> String) -> Result<()> {
    if !is_given_up(store, refs, id)? {
        return Ok(());
    }
    let why = format!(
        "`gc` was told to give up the data of {}; clone a replica that still has it, and do it there",
        id.short()
    );
    Err(Error::not_found(tried(), why))
}

/// The history has a gap: what was before it can neither be told nor kept.
#[must_use]
pub fn gap(id: &Hash) -> Error {
    let why = format!(
        "version {} is not here or cannot be read; `syncline verify` says what else is damaged, `syncline repair --from URL` \
         brings it from another copy",
        id.short()
    );
    Error::Corrupt { what: "the history".into(), why }
}

fn has_children(kind: ObjectKind) -> bool {
    !matches!(kind, ObjectKind::Schema | ObjectKind::Content { height: 0 })
}

/// What a walk for damage remembers, so that versions that share subtrees are cheap.
#[derive(Debug, Default)]
pub struct Walked {
    /// Schemas and nodes of trees without damage, each with the rows below it.
    nodes: IdMap<(ObjectKind, u64)>,
    /// Contents without damage.
    contents: IdSet,
    /// Contents of files that are left elsewhere.
    pub absent: IdSet,
}

/// A tree of a version: what names it, its roots and its rows.
#[derive(Debug)]
pub struct Named {
    /// The record that says so.
    pub by: Hash,
    /// What it refers to directly.
    pub roots: Vec<(Hash, ObjectKind)>,
    /// The rows that it has.
    pub rows: u64,
}

/// Damage of one tree, told to `report` as the object and which rows it takes with it, as far as that is known. What refers to a
/// node and gives it another number of rows than it has is damaged, too: positions and counts would be wrong. The contents under an
/// outline may be absent; those that are there have to be whole.
pub fn damage(store: &Store, tree: Named, damaged: &IdSet, walked: &mut Walked, report: &mut dyn FnMut(Hash, &str)) {
    let rows = |kind: ObjectKind| (!matches!(kind, ObjectKind::Schema)).then_some((tree.by, tree.rows));
    let mut open: Vec<_> = tree.roots.into_iter().map(|(id, kind)| (id, kind, rows(kind))).collect();
    while let Some((id, kind, said)) = open.pop() {
        let is_content = matches!(kind, ObjectKind::Content { .. });
        match walked.nodes.get(&id) {
            Some((known, rows)) if *known == kind => {
                check_rows((id, *rows), said, report);
                continue;
            }
            _ if is_content && walked.contents.contains(&id) => continue,
            _ => {}
        }
        let read = if damaged.contains(&id) {
            Err("its stored bytes are damaged".to_owned())
        } else if kind == (ObjectKind::Content { height: 0 }) {
            match store.contains(&id) {
                Ok(true) => Ok(Counted { rows: 0, children: Vec::new() }),
                Ok(false) => Err("it is missing".to_owned()),
                Err(error) => Err(error.to_string()),
            }
        } else {
            let read = store.get(&id).map_err(|e| e.to_string());
            read.and_then(|bytes| walk::counted(as_tree(kind), &bytes).map_err(|e| e.to_string()))
        };
        let found = match read {
            Ok(found) => found,
            Err(why) => {
                report(id, &format!("{}: {why}", describe(kind)));
                continue;
            }
        };
        check_rows((id, found.rows), said, report);
        if is_content {
            walked.contents.insert(id);
        } else {
            walked.nodes.insert(id, (kind, found.rows));
        }
        for (child, below, rows) in found.children {
            if kind == (ObjectKind::Outline { height: 1 }) && matches!(store.contains(&child), Ok(false)) {
                walked.absent.insert(child);
            } else {
                open.push((child, below, rows.map(|rows| (id, rows))));
            }
        }
    }
}

/// Reports what names a node with other rows than it has.
fn check_rows((id, rows): (Hash, u64), said: Option<(Hash, u64)>, report: &mut dyn FnMut(Hash, &str)) {
    if let Some((by, said)) = said.filter(|(_, said)| *said != rows) {
        let what = id.short();
        report(by, &format!("a count of rows: it says that {what} below it has {said}, and that has {rows}"));
    }
}

/// A leaf of an outline has children after all, as far as they are here.
fn as_tree(kind: ObjectKind) -> ObjectKind {
    match kind {
        ObjectKind::Outline { height: 1 } => ObjectKind::Tree { height: 1 },
        kind => kind,
    }
}

fn describe(kind: ObjectKind) -> String {
    match kind {
        ObjectKind::Schema => "the schema, so the whole table".into(),
        ObjectKind::Tree { height: 1 } | ObjectKind::Outline { height: 1 } => "one leaf of rows".into(),
        ObjectKind::Tree { height } | ObjectKind::Outline { height } => {
            format!("a node of height {height} and all rows below it")
        }
        ObjectKind::Content { height: 0 } => "a chunk of a large cell or file".into(),
        ObjectKind::Content { height } => format!("a list of chunks of height {height} of a large cell or file"),
    }
}

#[cfg(test)]
mod tests;
