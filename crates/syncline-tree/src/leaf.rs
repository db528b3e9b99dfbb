//! Leaves: the canonical form of a run of rows, columnar, ready for Arrow without copying.
//!
//! Format: `docs/format/leaf.md`. Owns nothing; a leaf is a value over its bytes.

use arrow_array::RecordBatch;
use bytes::Bytes;

use crate::Result;
use crate::content::ContentRef;
use crate::schema::Schema;

/// A cell longer than this (utf8, binary, json) is stored outside its leaf.
pub const INLINE_MAX: usize = 16 * 1024;

/// A cell whose bytes lie outside the leaf.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct External {
    /// Column id.
    pub column: u32,
    /// Row in the leaf (or in the batch it came with).
    pub row: u32,
    /// Where the bytes are.
    pub content: ContentRef,
}

/// Canonical bytes of a conformed batch (all the schema's columns, rows sorted by key). `externals` are its cells that
/// lie outside, sorted by (column, row); those cells are empty in the batch.
pub fn encode(schema: &Schema, batch: &RecordBatch, externals: &[External]) -> Result<Bytes> {
    unimplemented!("{schema:?} {batch:?} {externals:?}")
}

/// Moves cells longer than [`INLINE_MAX`] out of a conformed batch: `put` stores a cell's bytes, the cell becomes empty.
/// Costs one look at the lengths when there are none.
pub fn externalise(
    schema: &Schema,
    batch: &RecordBatch,
    put: impl FnMut(&[u8]) -> Result<ContentRef>,
) -> Result<(RecordBatch, Vec<External>)> {
    let _ = put;
    unimplemented!("{schema:?} {batch:?}")
}

/// Puts external cells back into a batch of columns `projection` (ids; `None`: all): `get` reads a cell's bytes.
pub fn internalise(
    schema: &Schema,
    batch: &RecordBatch,
    projection: Option<&[u32]>,
    externals: &[External],
    get: impl FnMut(&ContentRef) -> Result<Bytes>,
) -> Result<RecordBatch> {
    let _ = get;
    unimplemented!("{schema:?} {batch:?} {projection:?} {externals:?}")
}

/// A checked leaf over its canonical bytes. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Leaf {
    bytes: Bytes,
}

impl Leaf {
    /// Checks the whole structure of canonical bytes. Never panics, whatever the bytes.
    pub fn parse(bytes: Bytes) -> Result<Self> {
        Ok(Self { bytes })
    }

    /// The canonical bytes.
    #[must_use]
    pub fn bytes(&self) -> &Bytes {
        &self.bytes
    }

    /// How many rows there are.
    #[must_use]
    pub fn rows(&self) -> usize {
        unimplemented!()
    }

    /// Cells that lie outside, sorted by (column, row).
    #[must_use]
    pub fn externals(&self) -> &[External] {
        unimplemented!()
    }

    /// The rows as Arrow arrays over this leaf's bytes: all columns, or those with the ids in `projection`, in its
    /// order. A column the leaf does not have reads as nulls. External cells read as empty.
    pub fn batch(&self, schema: &Schema, projection: Option<&[u32]>) -> Result<RecordBatch> {
        unimplemented!("{schema:?} {projection:?}")
    }

    /// Checks what `parse` does not: that these bytes are what [`encode`] gives for these rows.
    pub fn check_canonical(&self, schema: &Schema) -> Result<()> {
        unimplemented!("{schema:?}")
    }
}
