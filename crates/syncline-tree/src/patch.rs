//! Leaf patches: a leaf as an edit of another leaf, near the size of the changed cells.
//!
//! Format: `docs/format/leaf.md`, part "patches". Owns nothing between calls.
//!
//! Invariant: the leaf an edit gives is, byte for byte, the leaf its rows encode to.
//!
//! Not here: which leaf is patched on which, and how long chains may be (`crate::table`, `syncline_store`).

use arrow_array::{ArrayRef, RecordBatch, new_null_array};
use bytes::Bytes;

use crate::codec::decode_node;
use crate::leaf::layout::MAX_LEAF;
use crate::leaf::wire::{Fault, Reader};
use crate::leaf::{self, ColumnNode, External, Leaf};
use crate::schema::Schema;
use crate::{Error, Result};

mod body;
mod edit;
mod gather;
mod payload;

use body::Part;
pub(crate) use edit::{Source, columns, edit_with};
pub use edit::{drop_columns, edit};
use payload::Opened;

/// A set of columns, by position in the schema. Up to 64 columns take no allocation.
#[derive(Debug, Clone, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ColumnSet {
    low: u64,
    high: Vec<u64>,
}

impl ColumnSet {
    /// No column.
    #[must_use]
    pub const fn new() -> Self {
        Self { low: 0, high: Vec::new() }
    }

    /// Adds a position.
    pub fn insert(&mut self, position: usize) {
        if position < 64 {
            self.low |= 1 << position;
            return;
        }
        let word = position / 64 - 1;
        if self.high.len() <= word {
            self.high.resize(word + 1, 0);
        }
        self.high[word] |= 1 << (position % 64);
    }

    /// Whether a position is in the set.
    #[must_use]
    pub fn contains(&self, position: usize) -> bool {
        let word = if position < 64 { self.low } else { self.high.get(position / 64 - 1).copied().unwrap_or(0) };
        word >> (position % 64) & 1 == 1
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.low == 0 && self.high.iter().all(|word| *word == 0)
    }

    /// Positions in ascending order.
    pub fn iter(&self) -> impl Iterator<Item = usize> + '_ {
        (0..64 * (1 + self.high.len())).filter(|position| self.contains(*position))
    }
}

impl FromIterator<usize> for ColumnSet {
    fn from_iter<T: IntoIterator<Item = usize>>(positions: T) -> Self {
        let mut set = Self::new();
        positions.into_iter().for_each(|position| set.insert(position));
        set
    }
}

/// One step of an edit. Steps are sorted by the base row they are at; an insertion comes before a deletion or update
/// of the same base row.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RowOp {
    /// Base rows `row .. row + count` go.
    Delete {
        /// First base row.
        row: u32,
        /// How many.
        count: u32,
    },
    /// Rows `source .. source + count` of the edit's batch come before base row `at` (the number of base rows: at the end).
    Insert {
        /// Base row they come before.
        at: u32,
        /// First row in the edit's batch.
        source: u32,
        /// How many.
        count: u32,
    },
    /// Cells of base row `row` are replaced by those of row `source` of the edit's batch.
    Update {
        /// Base row.
        row: u32,
        /// Row in the edit's batch.
        source: u32,
        /// Which cells; `None`: all. Cells equal to the base's are dropped.
        columns: Option<ColumnSet>,
    },
}

/// What to do to a leaf.
#[derive(Debug, Clone, Copy)]
pub struct Edit<'a> {
    /// The table's schema.
    pub schema: &'a Schema,
    /// New rows, conformed. Cells that no step uses do not matter.
    pub rows: &'a RecordBatch,
    /// External cells of `rows`, sorted by (column, row).
    pub externals: &'a [External],
    /// The steps.
    pub ops: &'a [RowOp],
}

/// What an edit came to.
#[derive(Debug, Clone)]
pub enum Edited {
    /// The new leaf is the old one.
    Unchanged,
    /// No row is left.
    Empty,
    /// A new leaf.
    Changed {
        /// Canonical bytes of the new leaf.
        leaf: Bytes,
        /// Payload for codec [`crate::codec::LEAF_PATCH`] on the old leaf.
        patch: Bytes,
        /// What really changed.
        counts: Counts,
    },
}

/// How many rows a patch touches.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counts {
    /// Rows that came.
    pub inserted: u64,
    /// Rows with at least one other cell.
    pub updated: u64,
    /// Rows that went.
    pub deleted: u64,
}

/// One step of a stored patch, sorted by base row as in [`RowOp`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PatchOp {
    /// Base rows `row .. row + count` go.
    Delete {
        /// First base row.
        row: u32,
        /// How many.
        count: u32,
    },
    /// `count` new rows come before base row `at`.
    Insert {
        /// Base row they come before.
        at: u32,
        /// How many.
        count: u32,
    },
    /// Base rows `row .. row + count` get new cells in the columns of mask `mask`.
    Update {
        /// First base row.
        row: u32,
        /// How many.
        count: u32,
        /// Index for [`LeafPatch::mask`].
        mask: u32,
    },
}

/// A stored patch, opened. Steps are read and checked at once, cells when asked for.
#[derive(Debug, Clone)]
pub struct LeafPatch {
    payload: Bytes,
    opened: Opened,
}

#[expect(clippy::needless_pass_by_value, reason = "it is given to map_err")]
fn unreadable(fault: Fault) -> Error {
    Error::corrupt(format!("a leaf's patch cannot be used: {fault}"))
}

impl LeafPatch {
    /// Opens a payload of codec [`crate::codec::LEAF_PATCH`].
    ///
    /// # Errors
    /// `corrupt`, with what is wrong.
    pub fn decode(payload: Bytes) -> Result<Self> {
        Self::open(payload, MAX_LEAF).map_err(unreadable)
    }

    fn open(payload: Bytes, budget: usize) -> Result<Self, Fault> {
        Ok(Self { opened: payload::open(&payload, budget)?, payload })
    }

    /// The steps in order.
    #[must_use]
    pub fn ops(&self) -> &[PatchOp] {
        &self.opened.steps.ops
    }

    /// Column ids of an update's mask, ascending; none when there is no such mask.
    #[must_use]
    pub fn mask(&self, mask: u32) -> &[u32] {
        self.opened.steps.masks.get(mask as usize).map_or(&[], Vec::as_slice)
    }

    /// How many rows are touched.
    #[must_use]
    pub fn counts(&self) -> Counts {
        self.opened.steps.counts()
    }

    /// Columns removed from every row.
    #[must_use]
    pub fn dropped(&self) -> &[u32] {
        &self.opened.steps.dropped
    }

    /// External cells among the new ones: `row` is the cell's number in [`Self::cells`] of its column.
    #[must_use]
    pub fn externals(&self) -> &[External] {
        &self.opened.steps.externals
    }

    /// New cells of a column: one for each inserted row and each updated row whose mask has the column, in order of the steps.
    ///
    /// # Errors
    /// `corrupt` when they cannot be read, or are not as the schema says.
    pub fn cells(&self, schema: &Schema, id: u32) -> Result<ArrayRef> {
        let column = &schema.columns[leaf::position(schema, id)?];
        let count = self.opened.steps.cell_count(id);
        let node = self.node(id).map_err(unreadable)?;
        if node.is_none() && column.nullable || count == 0 {
            return Ok(new_null_array(&column.ty.arrow(), count));
        }
        leaf::export(column, &column.ty.arrow(), node.as_ref(), count)
    }

    fn node(&self, id: u32) -> Result<Option<leaf::layout::Node<arrow_buffer::Buffer>>, Fault> {
        let Ok(i) = self.opened.columns.binary_search_by_key(&id, |(id, _)| *id) else { return Ok(None) };
        let mut reader = Reader::new(&self.payload[self.opened.streams[i].clone()]);
        decode_node(&self.opened.columns[i].1, &mut reader).map(Some)
    }

    /// Deleted and updated rows as they were, in order of the steps.
    ///
    /// # Errors
    /// `corrupt` when the patch is not of this leaf and schema.
    pub fn before(&self, base: &Leaf, schema: &Schema, projection: Option<&[u32]>) -> Result<RecordBatch> {
        self.part(base, schema, projection, Part::Before)
    }

    /// Inserted and updated rows as they are now, in order of the steps.
    ///
    /// # Errors
    /// `corrupt` when the patch is not of this leaf and schema.
    pub fn after(&self, base: &Leaf, schema: &Schema, projection: Option<&[u32]>) -> Result<RecordBatch> {
        self.part(base, schema, projection, Part::After)
    }

    /// External cells of [`Self::before`], sorted by (column, row).
    ///
    /// # Errors
    /// `corrupt` when the patch is not of this leaf.
    pub fn before_externals(&self, base: &Leaf) -> Result<Vec<External>> {
        self.opened.steps.rows(base.rows()).map_err(unreadable)?;
        Ok(self.opened.steps.externals(base, Part::Before))
    }

    /// External cells of [`Self::after`], sorted by (column, row).
    ///
    /// # Errors
    /// `corrupt` when the patch is not of this leaf.
    pub fn after_externals(&self, base: &Leaf) -> Result<Vec<External>> {
        self.opened.steps.rows(base.rows()).map_err(unreadable)?;
        Ok(self.opened.steps.externals(base, Part::After))
    }

    fn part(&self, base: &Leaf, schema: &Schema, projection: Option<&[u32]>, part: Part) -> Result<RecordBatch> {
        let steps = &self.opened.steps;
        steps.rows(base.rows()).map_err(unreadable)?;
        let counts = steps.counts();
        let rows = counts.updated + if part == Part::Before { counts.deleted } else { counts.inserted };
        leaf::batch_of(schema, projection, rows as usize, |id| {
            let runs = steps.runs(id, base.rows(), part);
            let cells = self.node(id).map_err(unreadable)?;
            let cells = cells.as_ref().map(leaf::layout::Node::slices);
            let node = gather::gather(base.column(id).as_ref(), cells.as_ref(), &runs).map_err(unreadable)?;
            Ok(node.filter(|node| !node.all_null()).map(|node| gather::into_buffers(&node)))
        })
    }

    /// The new leaf's canonical bytes.
    ///
    /// # Errors
    /// `corrupt` when the patch is not of this leaf.
    pub fn apply(&self, base: &Leaf) -> Result<Bytes> {
        self.applied(base).map_err(unreadable)
    }

    fn applied(&self, base: &Leaf) -> Result<Bytes, Fault> {
        let columns = self.opened.columns.iter().zip(&self.opened.streams);
        let cells = columns.map(|((id, shape), range)| {
            let mut reader = Reader::new(&self.payload[range.clone()]);
            let node = decode_node(shape, &mut reader)?;
            if reader.left() > 0 {
                return Err("bytes after a column".to_owned());
            }
            Ok((*id, node))
        });
        let cells: Vec<ColumnNode<_>> = cells.collect::<Result<_, Fault>>()?;
        body::build(base, &self.opened.steps, &cells)
    }
}

/// The rows of two leaves as one leaf: what a patch on two bases is made on.
///
/// # Errors
/// `invalid` when they are not leaves of one table, or too long together.
pub(crate) fn join(first: &Leaf, second: &Leaf) -> Result<Leaf> {
    body::join(first, second).map_err(|fault| Error::invalid(format!("two leaves cannot be put together: {fault}")))
}

/// The payload of a patch that leaves its base as it is; its base is two leaves.
pub(crate) fn unchanged() -> Bytes {
    Bytes::from(payload::put(&body::Steps::default(), &[]))
}

/// Codec [`crate::codec::LEAF_PATCH`].
#[derive(Debug)]
pub(crate) struct PatchCodec;

impl syncline_store::Codec for PatchCodec {
    fn tag(&self) -> u8 {
        crate::codec::LEAF_PATCH
    }

    fn needs_base(&self) -> bool {
        true
    }

    fn decode(&self, payload: &[u8], bases: &[&[u8]], raw_len: usize) -> std::result::Result<Bytes, String> {
        let mut bases = bases.iter().map(|base| Leaf::read(Bytes::copy_from_slice(base)));
        let mut base = bases.next().ok_or("a leaf's patch needs the leaf it is on")??;
        for more in bases {
            base = body::join(&base, &more?)?;
        }
        // Every new cell is part of the new leaf, but for padding.
        let budget = raw_len.saturating_mul(2).saturating_add(64 * 1024);
        let leaf = LeafPatch::open(Bytes::copy_from_slice(payload), budget)?.applied(&base)?;
        if leaf.len() != raw_len {
            return Err(format!("the patched leaf has {} bytes, {raw_len} are wanted", leaf.len()));
        }
        Ok(leaf)
    }
}

#[cfg(test)]
mod tests;
