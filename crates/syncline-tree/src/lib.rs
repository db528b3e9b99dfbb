//! Tables, files, commits, refs, diff and merge: a dataset as one Merkle tree.
//!
//! Layers inside, lowest first: `schema` and `key` say what a row is and how rows are ordered; `leaf` is the canonical
//! form of a run of rows, `codec` how a leaf is stored, `patch` how a leaf is stored as an edit of another leaf;
//! `boundary` and `node` are the tree above the leaves, `table` what users read and change, `diff`, `merge`, `delta` and
//! `reconcile` what can be done with two or three tables.
//!
//! Not here: clocks, conflicts' resolution, the network. The same rows give the same bytes on every node.

pub mod codec;
pub mod content;
pub mod delta;
pub mod diff;
pub mod error;
pub mod files;
pub mod key;
pub mod leaf;
pub mod merge;
pub mod patch;
pub mod reconcile;
pub mod schema;
pub mod table;
pub mod walk;

pub use error::{Error, Result};
