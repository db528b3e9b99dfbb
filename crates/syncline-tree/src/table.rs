//! Tables: keyed rows as a Merkle tree.
//!
//! A table is a value: applying changes gives a new table, and the old one stays. Its root depends on the schema and
//! the rows only, never on how they came there. Format: `docs/format/tree.md`.
//! Owns: nothing but a handle on the store. After a crash: objects that were put but never named by a ref are garbage.
//!
//! Not here: comparing tables (`crate::diff`), merging them (`crate::merge`), shipping changes (`crate::delta`).

mod apply;
mod build;
mod change;
pub(crate) mod cursor;
pub(crate) mod edit;
mod evolve;
mod levels;
mod run;
mod same;
mod scan;
pub(crate) mod stream;

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use syncline_base::Hash;
use syncline_store::Store;

pub use build::batch_bytes;
pub(crate) use build::concat;
pub(crate) use change::Batch;
pub use change::{Applied, Changes, Op, Rows};
pub(crate) use evolve::under;
pub use same::differing;
pub use scan::{Batches, Prune, RowBatches, Scan};

use crate::boundary::{NODE_ENTRIES, Rule};
use crate::key::KeyEncoder;
use crate::leaf::Leaf;
use crate::node::{MAX_HEIGHT, Node};
use crate::schema::Schema;
use crate::{Error, Result};

/// Names a table in a store: all that is needed to open it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TableRef {
    /// The hash of the schema's canonical bytes.
    pub schema: Hash,
    /// The hash of the root node; [`Hash::ZERO`] for a table without rows.
    pub root: Hash,
    /// How many rows there are.
    pub rows: u64,
    /// Levels of the tree: 0 without rows, 1 when the root is a leaf.
    pub height: u8,
}

/// A table at one version. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Table {
    pub(crate) shared: Arc<Shared>,
    root: Hash,
    rows: u64,
    height: u8,
}

/// About how many bytes of leaves all tasks of one operation work on together. Leaves of long rows may have tens of megabytes.
pub(crate) const FLIGHT_BYTES: usize = 32 << 20;

/// What all versions of a table with one schema have in common.
#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) store: Store,
    pub(crate) schema: Schema,
    schema_id: Hash,
    pub(crate) encoder: KeyEncoder,
    leaf_rule: Rule,
    node_rule: Rule,
    pub(crate) leaf_size: LeafSize,
}

/// How long the leaves of a table are, learned from those that are read: what is known before are rows, which say nothing about
/// bytes where cells are long. Leaves are worked on in groups of about so many bytes.
#[derive(Debug, Default)]
pub(crate) struct LeafSize(AtomicUsize);

impl LeafSize {
    /// Takes a leaf's length into account. Large ones count at once, small ones little by little.
    pub(crate) fn note(&self, bytes: usize) {
        let seen = self.0.load(Ordering::Relaxed);
        self.0.store(bytes.max(seen - seen / 16), Ordering::Relaxed);
    }

    /// The weight of so many leaves among what is in flight ([`FLIGHT_BYTES`]): all of it as long as nothing is known.
    pub(crate) fn weight(&self, leaves: usize) -> usize {
        match self.0.load(Ordering::Relaxed) {
            0 => FLIGHT_BYTES,
            bytes => bytes.saturating_mul(leaves),
        }
    }

    /// How many leaves take about `bytes`, 1 to `most`; one as long as nothing is known.
    pub(crate) fn fit(&self, bytes: usize, most: usize) -> usize {
        bytes.checked_div(self.0.load(Ordering::Relaxed)).unwrap_or(1).clamp(1, most)
    }
}

impl Shared {
    fn new(store: &Store, schema: Schema, schema_id: Hash) -> Result<Self> {
        Ok(Self {
            store: store.clone(),
            schema_id,
            encoder: KeyEncoder::new(&schema)?,
            leaf_rule: Rule::new(schema.leaf_rows),
            node_rule: Rule::new(NODE_ENTRIES),
            leaf_size: LeafSize::default(),
            schema,
        })
    }

    /// From the hash of a stored schema.
    pub(crate) fn open(store: &Store, schema: &Hash) -> Result<Self> {
        Self::new(store, Schema::decode(&store.get(schema)?)?, *schema)
    }

    /// An inner node, which must be of this level.
    pub(crate) fn node(&self, id: &Hash, level: u8) -> Result<Node> {
        node_at(id, self.store.get(id)?, level)
    }

    /// A leaf, which must have so many rows.
    pub(crate) fn leaf(&self, id: &Hash, rows: u64) -> Result<Leaf> {
        self.leaf_from(id, self.store.get(id)?, rows)
    }

    /// A leaf that was read already.
    pub(crate) fn leaf_from(&self, id: &Hash, bytes: Bytes, rows: u64) -> Result<Leaf> {
        let most = self.leaf_rule.max();
        if rows > u64::from(most) {
            return Err(Error::corrupt(format!("leaf {id} has {rows} rows, its table's leaves at most {most}")));
        }
        self.leaf_size.note(bytes.len());
        leaf_with(id, bytes, rows)
    }
}

/// An inner node of this level.
pub(crate) fn node_at(id: &Hash, bytes: Bytes, level: u8) -> Result<Node> {
    let node = Node::parse(bytes)?;
    if node.level() != level {
        return Err(Error::corrupt(format!("node {id} is of level {}, its parent says {level}", node.level())));
    }
    Ok(node)
}

/// A leaf of so many rows.
pub(crate) fn leaf_with(id: &Hash, bytes: Bytes, rows: u64) -> Result<Leaf> {
    let leaf = Leaf::parse(bytes)?;
    if leaf.rows() as u64 != rows {
        return Err(Error::corrupt(format!("leaf {id} has {} rows, its parent says {rows}", leaf.rows())));
    }
    Ok(leaf)
}

impl Table {
    /// An empty table. Stores the schema.
    ///
    /// # Errors
    /// `invalid` when the schema cannot be one; the store's.
    pub fn create(store: &Store, schema: Schema) -> Result<Self> {
        schema.check()?;
        let id = store.put(&schema.encode())?;
        Ok(Self { shared: Arc::new(Shared::new(store, schema, id)?), root: Hash::ZERO, rows: 0, height: 0 })
    }

    /// Opens a table. Reads its schema only.
    ///
    /// # Errors
    /// `corrupt` when the ref makes no sense; the store's.
    pub fn open(store: &Store, table: &TableRef) -> Result<Self> {
        let TableRef { schema, root, rows, height } = *table;
        let empty = [root == Hash::ZERO, rows == 0, height == 0];
        if empty != [true; 3] && empty != [false; 3] || height > MAX_HEIGHT {
            return Err(Error::corrupt(format!(
                "table ref of {rows} rows in {height} levels under {root}: impossible"
            )));
        }
        Ok(Self { shared: Arc::new(Shared::open(store, &schema)?), root, rows, height })
    }

    /// Checks what a ref says about the tree's root: its height and its number of rows. Reads one object.
    ///
    /// # Errors
    /// `corrupt` when the root has another height or another number of rows; the store's.
    pub fn check_root(&self) -> Result<()> {
        if self.height == 0 {
            return Ok(());
        }
        let bytes = self.shared.store.get(&self.root)?;
        let (height, rows) = if self.height == 1 {
            (1, Leaf::parse(bytes)?.rows() as u64)
        } else {
            let node = Node::parse(bytes)?;
            (node.level() + 1, node.total_rows())
        };
        if (height, rows) == (self.height, self.rows) {
            return Ok(());
        }
        let (root, want, tall) = (self.root.short(), self.rows, self.height);
        Err(Error::corrupt(format!(
            "a root {root} of {rows} rows in {height} levels is named as {want} rows in {tall}"
        )))
    }

    /// What names this table.
    #[must_use]
    pub fn to_ref(&self) -> TableRef {
        TableRef { schema: self.shared.schema_id, root: self.root, rows: self.rows, height: self.height }
    }

    /// The store that it is in.
    #[must_use]
    pub fn store(&self) -> &Store {
        &self.shared.store
    }

    /// Its schema.
    #[must_use]
    pub fn schema(&self) -> &Schema {
        &self.shared.schema
    }

    /// How many rows there are.
    #[must_use]
    pub fn rows(&self) -> u64 {
        self.rows
    }

    /// The same schema without rows.
    #[must_use]
    pub fn emptied(&self) -> Self {
        Self { shared: Arc::clone(&self.shared), root: Hash::ZERO, rows: 0, height: 0 }
    }

    pub(crate) fn root(&self) -> Hash {
        self.root
    }

    pub(crate) fn height(&self) -> u8 {
        self.height
    }

    /// Applies changes that come sorted by key, each key once (over all batches). Memory stays bounded however many there
    /// are; many small batches cost more than few of some thousand rows.
    ///
    /// # Errors
    /// `invalid` when changes are not sorted or not of this schema; `conflict` when a row to insert exists or a row to patch
    /// does not; those of `changes`; the store's.
    pub fn apply(&self, changes: impl IntoIterator<Item = Result<Changes>>) -> Result<(Self, Applied)> {
        self.apply_with(changes, true)
    }

    /// Applies changes that should give `expected`, and says whether they do. The leaves that are changed are not checked
    /// against their hashes, because then they would not give it.
    ///
    /// # Errors
    /// As [`Self::apply`].
    pub fn apply_expecting(
        &self,
        changes: impl IntoIterator<Item = Result<Changes>>,
        expected: &TableRef,
    ) -> Result<Option<Self>> {
        let (table, _) = self.apply_with(changes, false)?;
        Ok(Some(table).filter(|table| table.to_ref() == *expected))
    }

    fn apply_with(&self, changes: impl IntoIterator<Item = Result<Changes>>, check: bool) -> Result<(Self, Applied)> {
        let mut order = change::Order::default();
        let batches = changes.into_iter().map(|changes| order.check(change::prepare(&self.shared, changes?)?));
        let batches = batches.filter(|batch| !batch.as_ref().is_ok_and(Batch::is_empty));
        let (root, applied) = match self.height {
            0 => build::build(&self.shared, batches)?,
            _ => apply::apply(self, batches, check)?,
        };
        let rows = self.rows + applied.inserted - applied.deleted;
        let (root, height) = root.unwrap_or((Hash::ZERO, 0));
        Ok((Self { shared: Arc::clone(&self.shared), root, rows, height }, applied))
    }
}

#[cfg(any(test, fuzzing))]
#[cfg_attr(fuzzing, expect(dead_code, reason = "the fuzzer needs a part of it"))]
#[expect(clippy::unwrap_used, reason = "tests and the fuzzer use it")]
pub(crate) mod model;
#[cfg(test)]
mod tests;
