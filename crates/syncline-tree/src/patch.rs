//! Leaf patches: a leaf as an edit of another leaf, near the size of the changed cells.
//!
//! Format: `docs/format/leaf.md`, part "patches".

use arrow_array::{ArrayRef, RecordBatch};
use bytes::Bytes;

use crate::Result;
use crate::leaf::{External, Leaf};
use crate::schema::Schema;

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

/// Edits a leaf: its new canonical bytes and the patch that makes them, in one go.
pub fn edit(base: &Leaf, edit: &Edit<'_>) -> Result<Edited> {
    unimplemented!("{base:?} {edit:?}")
}

/// A leaf without some columns (ids), and the patch that makes it.
pub fn drop_columns(base: &Leaf, ids: &[u32]) -> Result<Edited> {
    unimplemented!("{base:?} {ids:?}")
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
}

impl LeafPatch {
    /// Opens a payload of codec [`crate::codec::LEAF_PATCH`].
    pub fn decode(payload: Bytes) -> Result<Self> {
        Ok(Self { payload })
    }

    /// The steps in order.
    #[must_use]
    pub fn ops(&self) -> &[PatchOp] {
        unimplemented!("{:?}", self.payload)
    }

    /// Column ids of an update's mask, ascending.
    #[must_use]
    pub fn mask(&self, mask: u32) -> &[u32] {
        unimplemented!("{mask}")
    }

    /// How many rows are touched.
    #[must_use]
    pub fn counts(&self) -> Counts {
        unimplemented!()
    }

    /// Columns removed from every row.
    #[must_use]
    pub fn dropped(&self) -> &[u32] {
        unimplemented!()
    }

    /// New cells of a column: one for each inserted row and each updated row whose mask has the column, in order of the steps.
    pub fn cells(&self, schema: &Schema, id: u32) -> Result<ArrayRef> {
        unimplemented!("{schema:?} {id}")
    }

    /// Deleted and updated rows as they were, in order of the steps.
    pub fn before(&self, base: &Leaf, schema: &Schema, projection: Option<&[u32]>) -> Result<RecordBatch> {
        unimplemented!("{base:?} {schema:?} {projection:?}")
    }

    /// Inserted and updated rows as they are now, in order of the steps.
    pub fn after(&self, base: &Leaf, schema: &Schema, projection: Option<&[u32]>) -> Result<RecordBatch> {
        unimplemented!("{base:?} {schema:?} {projection:?}")
    }

    /// The new leaf's canonical bytes.
    pub fn apply(&self, base: &Leaf) -> Result<Bytes> {
        unimplemented!("{base:?}")
    }
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

    fn decode(&self, payload: &[u8], base: Option<&[u8]>, raw_len: usize) -> std::result::Result<Bytes, String> {
        let _ = (payload, base, raw_len);
        Err("not yet".to_owned())
    }
}
