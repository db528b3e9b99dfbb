//! What an object refers to: for transfer, verification and garbage collection.
//!
//! Owns nothing. Not here: the order of a walk and its bounds (the callers').
#![allow(clippy::unimplemented, unused_variables, reason = "signatures first")]

use bytes::Bytes;
use syncline_base::Hash;

use crate::Result;
use crate::table::TableRef;

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
    /// A node of a long cell's or file's content: a chunk at height 0, else a list.
    Content {
        /// Levels of lists.
        height: u8,
    },
}

/// The ids that an object refers to, in order, checked: an object that is not of this kind is `corrupt`.
pub fn children(kind: ObjectKind, bytes: &Bytes) -> Result<Vec<(Hash, ObjectKind)>> {
    unimplemented!()
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
