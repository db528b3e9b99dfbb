//! How leaves are stored: per column bit-packing, dictionaries, zstd.
//!
//! Format: `docs/format/leaf.md`, part "stored form".

use arrow_array::{ArrayRef, RecordBatch};
use bytes::Bytes;

use crate::Result;
use crate::leaf::External;
use crate::schema::Schema;

/// Codec tag of a whole leaf.
pub const LEAF: u8 = 16;
/// Codec tag of a leaf stored as a patch on another leaf.
pub const LEAF_PATCH: u8 = 17;

/// The stored form of a canonical leaf. Never longer than the leaf plus a few bytes.
pub fn encode(canonical: &[u8]) -> Result<Vec<u8>> {
    unimplemented!("{canonical:?}")
}

/// The canonical leaf of a stored form; `raw_len` is what its length must be.
pub fn decode(payload: &[u8], raw_len: usize) -> Result<Bytes> {
    unimplemented!("{payload:?} {raw_len}")
}

/// A stored leaf, read column by column.
#[derive(Debug, Clone)]
pub struct Columns {
    payload: Bytes,
}

impl Columns {
    /// Reads the head of a stored leaf (codec tag [`LEAF`]). Columns are checked when they are read.
    pub fn open(payload: Bytes) -> Result<Self> {
        Ok(Self { payload })
    }

    /// How many rows there are.
    #[must_use]
    pub fn rows(&self) -> usize {
        unimplemented!("{:?}", self.payload)
    }

    /// Cells that lie outside, sorted by (column, row).
    #[must_use]
    pub fn externals(&self) -> &[External] {
        unimplemented!()
    }

    /// One column, decoded. A column the leaf does not have reads as nulls.
    pub fn column(&self, schema: &Schema, id: u32) -> Result<ArrayRef> {
        unimplemented!("{schema:?} {id}")
    }

    /// As [`crate::leaf::Leaf::batch`].
    pub fn batch(&self, schema: &Schema, projection: Option<&[u32]>) -> Result<RecordBatch> {
        unimplemented!("{schema:?} {projection:?}")
    }

    /// Smallest and largest value of an integer-like column (ints, decimal128, dates, times, timestamps) without
    /// decoding it; nulls do not count. `None` when not known.
    #[must_use]
    pub fn range(&self, id: u32) -> Option<(i128, i128)> {
        unimplemented!("{id}")
    }
}
