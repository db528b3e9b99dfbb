//! What an object refers to: for transfer, verification and garbage collection.
//!
//! Owns nothing. Not here: the order of a walk and its bounds (the callers').

use bytes::Bytes;
use syncline_base::Hash;
use syncline_store::Store;

use crate::codec::{Columns, LEAF};
use crate::content::{ContentRef, ListNode};
use crate::leaf::{External, Leaf};
use crate::node::Node;
use crate::schema::Schema;
use crate::table::{TableRef, node_at};
use crate::{Error, Result};

/// What kind of object an id names. An object does not say so itself: who refers to it does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ObjectKind {
    /// A table's schema.
    Schema,
    /// A node of a table's tree: a leaf at height 1, else an inner node.
    Tree {
        /// Levels from here down.
        height: u8,
    },
    /// A node of the file tree where the contents of files are left out: as [`ObjectKind::Tree`], but a leaf refers to
    /// nothing.
    Outline {
        /// Levels from here down.
        height: u8,
    },
    /// A node of a long cell's or file's content: a chunk at height 0, else a list.
    Content {
        /// Levels of lists.
        height: u8,
    },
}

/// The ids that an object refers to, in order. The object is checked as far as its own bytes go.
///
/// # Errors
/// `corrupt` when the bytes are not an object of this kind.
pub fn children(kind: ObjectKind, bytes: &Bytes) -> Result<Vec<(Hash, ObjectKind)>> {
    match kind {
        ObjectKind::Schema => Schema::decode(bytes).map(|_| Vec::new()),
        ObjectKind::Tree { height: 0 } | ObjectKind::Outline { height: 0 } => {
            Err(Error::corrupt("a node of a tree without levels: there is none"))
        }
        ObjectKind::Tree { height: 1 } => Ok(contents(Leaf::parse(bytes.clone())?.externals())),
        ObjectKind::Outline { height: 1 } => Leaf::parse(bytes.clone()).map(|_| Vec::new()),
        ObjectKind::Tree { height } => {
            let node = node_at(&Hash::of(bytes), bytes.clone(), height - 1)?;
            Ok(below(&node, ObjectKind::Tree { height: node.level() }))
        }
        ObjectKind::Outline { height } => {
            let node = node_at(&Hash::of(bytes), bytes.clone(), height - 1)?;
            Ok(below(&node, ObjectKind::Outline { height: node.level() }))
        }
        ObjectKind::Content { height: 0 } => Ok(Vec::new()),
        ObjectKind::Content { height } => {
            let node = ListNode::decode(bytes)?;
            if node.level != height {
                let level = node.level;
                return Err(Error::corrupt(format!("a list of level {level} where one of level {height} should be")));
            }
            let kind = ObjectKind::Content { height: height - 1 };
            Ok(node.children.iter().map(|child| (child.id, kind)).collect())
        }
    }
}

/// What an object of a tree holds, and what it says of those that it refers to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Counted {
    /// The rows below it; of a content none.
    pub rows: u64,
    /// As [`children`], with the rows that each is said to have where it is a node of the tree.
    pub children: Vec<(Hash, ObjectKind, Option<u64>)>,
}

/// As [`children`], with rows.
///
/// # Errors
/// As [`children`].
pub fn counted(kind: ObjectKind, bytes: &Bytes) -> Result<Counted> {
    let plain = |children: Vec<(Hash, ObjectKind)>| children.into_iter().map(|(id, kind)| (id, kind, None)).collect();
    Ok(match kind {
        ObjectKind::Tree { height: 1 } | ObjectKind::Outline { height: 1 } => {
            let leaf = Leaf::parse(bytes.clone())?;
            let below = if matches!(kind, ObjectKind::Tree { .. }) { contents(leaf.externals()) } else { Vec::new() };
            Counted { rows: leaf.rows() as u64, children: plain(below) }
        }
        ObjectKind::Tree { height: 2.. } | ObjectKind::Outline { height: 2.. } => {
            let below = children(kind, bytes)?;
            let node = Node::parse(bytes.clone())?;
            let said = (0..node.len()).map(|i| Some(node.rows(i)));
            let children = below.into_iter().zip(said).map(|((id, kind), rows)| (id, kind, rows)).collect();
            Counted { rows: node.total_rows(), children }
        }
        _ => Counted { rows: 0, children: plain(children(kind, bytes)?) },
    })
}

/// As [`children`], for an object in a store. Chunks are not read at all, and of a leaf only its head where that is enough, so
/// nothing is said about the rest of it.
///
/// # Errors
/// `not-found` when the store does not have it; as [`children`].
pub fn children_in(store: &Store, id: &Hash, kind: ObjectKind) -> Result<Vec<(Hash, ObjectKind)>> {
    match kind {
        ObjectKind::Content { height: 0 } | ObjectKind::Outline { height: 1 } => return Ok(Vec::new()),
        ObjectKind::Tree { height: 1 } => {
            let object = store.get_encoded(id)?;
            if object.codec == LEAF {
                return Ok(contents(Columns::open(object.payload)?.externals()));
            }
        }
        _ => {}
    }
    children(kind, &store.get(id)?)
}

fn below(node: &Node, kind: ObjectKind) -> Vec<(Hash, ObjectKind)> {
    (0..node.len()).map(|i| (node.id(i), kind)).collect()
}

/// What long cells refer to, each once in a row.
fn contents(externals: &[External]) -> Vec<(Hash, ObjectKind)> {
    let mut ids: Vec<_> = externals.iter().filter_map(|external| content(&external.content)).collect();
    ids.dedup();
    ids
}

/// What a long content refers to directly; nothing when it is empty.
#[must_use]
pub fn content(content: &ContentRef) -> Option<(Hash, ObjectKind)> {
    (content.len > 0).then_some((content.root, ObjectKind::Content { height: content.height }))
}

/// What a table refers to directly.
#[must_use]
pub fn roots(table: &TableRef) -> Vec<(Hash, ObjectKind)> {
    let mut roots = vec![(table.schema, ObjectKind::Schema)];
    if table.height > 0 {
        roots.push((table.root, ObjectKind::Tree { height: table.height }));
    }
    roots
}

/// What a files table refers to directly when the contents of files are left out.
#[must_use]
pub fn outline(table: &TableRef) -> Vec<(Hash, ObjectKind)> {
    let mut roots = roots(table);
    for (_, kind) in &mut roots {
        if let ObjectKind::Tree { height } = *kind {
            *kind = ObjectKind::Outline { height };
        }
    }
    roots
}

#[cfg(test)]
mod tests;
