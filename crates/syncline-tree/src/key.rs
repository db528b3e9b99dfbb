//! Key bytes: the primary key of a row as bytes whose order is the keys' order.
//!
//! Format (frozen): `docs/format/key.md`.

use arrow_array::RecordBatch;

use crate::Result;
use crate::schema::Schema;

/// Keys of many rows in one buffer.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Keys {
    bytes: Vec<u8>,
    /// One more than there are keys.
    ends: Vec<u32>,
}

impl Keys {
    /// How many keys there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.ends.len().saturating_sub(1)
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The key of row `i`.
    #[must_use]
    pub fn get(&self, i: usize) -> &[u8] {
        &self.bytes[self.ends[i] as usize..self.ends[i + 1] as usize]
    }

    /// All keys in row order.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = &[u8]> + Clone {
        self.ends.windows(2).map(|pair| &self.bytes[pair[0] as usize..pair[1] as usize])
    }
}

/// Encodes keys of batches of one schema.
#[derive(Debug, Clone)]
pub struct KeyEncoder {}

impl KeyEncoder {
    /// An encoder for this schema's key.
    pub fn new(schema: &Schema) -> Result<Self> {
        unimplemented!("{schema:?}")
    }

    /// The keys of a conformed batch (all the schema's columns).
    pub fn encode(&self, batch: &RecordBatch) -> Result<Keys> {
        unimplemented!("{batch:?}")
    }

    /// The keys of a batch that has the key's columns only, in key order.
    pub fn encode_key_columns(&self, batch: &RecordBatch) -> Result<Keys> {
        unimplemented!("{batch:?}")
    }

    /// Key bytes back to rows: the key's columns in key order.
    pub fn decode<'a>(&self, keys: impl IntoIterator<Item = &'a [u8]>) -> Result<RecordBatch> {
        let _ = keys.into_iter();
        unimplemented!()
    }
}

/// A key as a person would write it: a JSON object of the key's columns.
pub fn to_json(schema: &Schema, key: &[u8]) -> Result<serde_json::Map<String, serde_json::Value>> {
    unimplemented!("{schema:?} {key:?}")
}

/// A key from text: the value itself for a one-column key, else values separated by commas (`\,` is a comma inside a
/// value), or a JSON array.
pub fn parse_key(schema: &Schema, text: &str) -> Result<Vec<u8>> {
    unimplemented!("{schema:?} {text}")
}
