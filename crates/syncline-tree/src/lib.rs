//! Tables, files, commits, refs, diff and merge: a dataset as one Merkle tree.
//!
//! Layers inside, lowest first: `schema` and `key` say what a row is and how rows are ordered, `scalar` how values are written as text; `leaf` is the canonical
//! form of a run of rows, `codec` how a leaf is stored, `patch` how a leaf is stored as an edit of another leaf;
//! `boundary` and `node` are the tree above the leaves, `table` what users read and change, `diff`, `merge`, `delta` and
//! `reconcile` what can be done with two or three tables; `dataset` is all tables and files of a version, `commit` a version
//! with its history, `refs` the names of versions, all kept as `record`s.
//!
//! Not here: clocks, conflicts' resolution, the network. The same rows give the same bytes on every node.

pub mod boundary;
pub mod codec;
pub mod commit;
pub mod conflicts;
pub mod content;
pub mod dataset;
pub mod delta;
pub mod diff;
pub mod error;
pub mod files;
pub mod given_up;
pub mod key;
pub mod leaf;
pub mod merge;
pub mod node;
pub mod patch;
pub mod reconcile;
pub mod record;
pub mod refs;
pub mod scalar;
pub mod schema;
pub mod table;
pub mod walk;

#[cfg(any(test, fuzzing))]
pub mod fuzz;
#[cfg(test)]
mod tests_support;

use std::sync::Arc;

use syncline_base::Clock;
use syncline_store::{Backend, Codec, Options, Store};

pub use commit::{Commit, Gap, Log};
pub use conflicts::Conflicts;
pub use dataset::{DatasetRoot, TreeName};
pub use error::{Error, Result};
pub use given_up::GivenUp;
pub use refs::Refs;
pub use table::{Changes, Op, Table, TableRef};

/// Opens the store of a dataset, with the codecs that leaves and nodes are kept in; makes it first when `create` is set.
///
/// # Errors
/// The store's.
pub fn open_store(backend: Arc<dyn Backend>, create: bool, clock: Arc<dyn Clock>) -> Result<Store> {
    let options = Options { codecs: codecs(), clock, ..Options::default() };
    Ok(if create { Store::create(backend, options)? } else { Store::open(backend, options)? })
}

/// The codecs that a store of datasets needs beyond the built-in ones: each module that has one adds it here.
#[must_use]
pub fn codecs() -> Vec<Arc<dyn Codec>> {
    let mut codecs = codec::codecs();
    codecs.push(Arc::new(node::NodePatchCodec));
    codecs
}
