//! Key bytes: the primary key of a row as bytes whose order is the keys' order.
//!
//! Format (frozen): `docs/format/key.md`. Owns nothing between calls.
//!
//! Invariant: for keys a and b of one schema, `a < b` by columns exactly when the bytes of a are less than those of b,
//! and no key's bytes start with another key's bytes.
//!
//! Not here: keys as text (`key::text`), where tables are cut (`crate::node`).

use std::ops::Deref;
use std::sync::Arc;

use arrow_array::{ArrayRef, RecordBatch, RecordBatchOptions};
use arrow_buffer::Buffer;
use arrow_schema::SchemaRef;

use crate::leaf::import::kind_of;
use crate::leaf::layout::{Kind, Node};
use crate::leaf::{Leaf, export, node_of};
use crate::schema::{Column, Schema};
use crate::{Error, Result};

mod text;

pub use text::{parse_key, to_json, to_text};

/// Keys longer than this are refused.
pub const MAX_KEY: usize = 64 * 1024;

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
    ///
    /// # Panics
    /// When there is no row `i`.
    #[must_use]
    pub fn get(&self, i: usize) -> &[u8] {
        &self.bytes[self.ends[i] as usize..self.ends[i + 1] as usize]
    }

    /// All keys in row order.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = &[u8]> + Clone {
        self.ends.windows(2).map(|pair| &self.bytes[pair[0] as usize..pair[1] as usize])
    }
}

impl<'a> FromIterator<&'a [u8]> for Keys {
    fn from_iter<T: IntoIterator<Item = &'a [u8]>>(keys: T) -> Self {
        let (mut bytes, mut ends) = (Vec::new(), vec![0]);
        for key in keys {
            bytes.extend_from_slice(key);
            ends.push(u32::try_from(bytes.len()).expect("keys put together come from batches below 4 GiB"));
        }
        Self { bytes, ends }
    }
}

/// Encodes keys of batches of one schema.
#[derive(Debug, Clone)]
pub struct KeyEncoder {
    /// The key's columns, most significant first, with their positions in the schema.
    columns: Vec<(usize, Column)>,
    arrow: SchemaRef,
}

impl KeyEncoder {
    /// An encoder for this schema's key.
    ///
    /// # Errors
    /// `invalid` when the schema's key cannot be one.
    pub fn new(schema: &Schema) -> Result<Self> {
        schema.check()?;
        let positions = schema.key_positions();
        let columns = positions.iter().map(|position| (*position, schema.columns[*position].clone())).collect();
        Ok(Self { columns, arrow: schema.arrow_of(&positions) })
    }

    /// The Arrow schema of the key's columns, in key order.
    #[must_use]
    pub fn arrow(&self) -> &SchemaRef {
        &self.arrow
    }

    /// The keys of a conformed batch (all the schema's columns).
    ///
    /// # Errors
    /// `invalid` when a key is null or too long, or the batch is not of the schema.
    pub fn encode(&self, batch: &RecordBatch) -> Result<Keys> {
        let column = |(position, _): &(usize, Column)| batch.columns().get(*position).cloned();
        let arrays: Option<Vec<_>> = self.columns.iter().map(column).collect();
        self.encode_arrays(&arrays.ok_or_else(|| Error::invalid("a batch lacks columns of the key"))?, batch.num_rows())
    }

    /// The keys of a batch that has the key's columns only, in key order.
    ///
    /// # Errors
    /// As [`Self::encode`].
    pub fn encode_key_columns(&self, batch: &RecordBatch) -> Result<Keys> {
        if batch.num_columns() != self.columns.len() {
            let (has, needs) = (batch.num_columns(), self.columns.len());
            return Err(Error::invalid(format!("a batch has {has} columns, the key {needs}")));
        }
        self.encode_arrays(batch.columns(), batch.num_rows())
    }

    /// Rows of a conformed batch whose keys are longer than [`MAX_KEY`], and how many bytes those take.
    ///
    /// # Errors
    /// `invalid` when a key is null, or the batch is not of the schema.
    pub fn too_long(&self, batch: &RecordBatch) -> Result<Vec<(usize, u32)>> {
        let column = |(position, _): &(usize, Column)| batch.columns().get(*position).cloned();
        let arrays: Option<Vec<_>> = self.columns.iter().map(column).collect();
        self.too_long_arrays(&arrays.ok_or_else(|| Error::invalid("a batch lacks columns of the key"))?)
    }

    /// As [`Self::too_long`], of a batch that has the key's columns only, in key order.
    ///
    /// # Errors
    /// As [`Self::too_long`].
    pub fn too_long_key_columns(&self, batch: &RecordBatch) -> Result<Vec<(usize, u32)>> {
        self.too_long_arrays(batch.columns())
    }

    fn too_long_arrays(&self, arrays: &[ArrayRef]) -> Result<Vec<(usize, u32)>> {
        let nodes = self.nodes(arrays)?;
        // Nearly always the longest cells say that no key can be too long.
        let most = |node: &Node<Buffer>| match node.kind {
            Kind::Text | Kind::Bytes => (0..node.len).map(|i| node.span(i).len() * 2 + 2).max().unwrap_or(0),
            kind => kind.width().unwrap_or(1),
        };
        if nodes.iter().map(most).sum::<usize>() <= MAX_KEY {
            return Ok(Vec::new());
        }
        let mut lengths = vec![0_u32; nodes.first().map_or(0, |node| node.len)];
        nodes.iter().for_each(|node| add_lengths(node, &mut lengths));
        let long = lengths.into_iter().enumerate().filter(|(_, length)| *length as usize > MAX_KEY);
        Ok(long.collect())
    }

    fn nodes(&self, arrays: &[ArrayRef]) -> Result<Vec<Node<Buffer>>> {
        self.columns.iter().zip(arrays).map(|((_, column), array)| node_of(column, array)).collect()
    }

    /// The keys of a leaf's rows, from its bytes.
    ///
    /// # Errors
    /// `corrupt` when the leaf is not of the schema.
    pub(crate) fn encode_leaf(&self, leaf: &Leaf) -> Result<Keys> {
        if leaf.rows() == 0 {
            // It has no columns either.
            return Ok([].into_iter().collect());
        }
        let node = |(_, column): &(usize, Column)| {
            let node =
                leaf.column(column.id).filter(|node| node.kind == kind_of(&column.ty) && node.validity.is_none());
            node.ok_or_else(|| Error::corrupt(format!("a leaf has no usable keys in column {:?}", column.name)))
        };
        Self::encode_nodes(&self.columns.iter().map(node).collect::<Result<Vec<_>>>()?, leaf.rows())
    }

    fn encode_arrays(&self, arrays: &[ArrayRef], rows: usize) -> Result<Keys> {
        Self::encode_nodes(&self.nodes(arrays)?, rows)
    }

    fn encode_nodes<B: Deref<Target = [u8]>>(nodes: &[Node<B>], rows: usize) -> Result<Keys> {
        let mut ends = vec![0_u32; rows + 1];
        for node in nodes {
            add_lengths(node, &mut ends[1..]);
        }
        let mut total = 0_usize;
        for (row, end) in ends[1..].iter_mut().enumerate() {
            if *end as usize > MAX_KEY {
                return Err(Error::invalid(format!("the key of row {row} takes {end} bytes, over {MAX_KEY}")));
            }
            total += *end as usize;
            *end = u32::try_from(total)
                .map_err(|_| Error::invalid("keys of one batch take over 4 GiB: use smaller batches"))?;
        }
        let mut bytes = vec![0; total];
        let mut at: Vec<u32> = ends[..rows].to_vec();
        for node in nodes {
            put_column(node, &mut bytes, &mut at);
        }
        Ok(Keys { bytes, ends })
    }

    /// Key bytes back to rows: the key's columns in key order.
    ///
    /// # Errors
    /// `corrupt` when bytes are not a key of this schema.
    pub fn decode<'a>(&self, keys: impl IntoIterator<Item = &'a [u8]>) -> Result<RecordBatch> {
        let mut parts: Vec<Part> = self.columns.iter().map(|(_, column)| Part::new(column)).collect();
        let mut rows = 0;
        for key in keys {
            let mut rest = key;
            for part in &mut parts {
                rest = part.read(rest).ok_or_else(|| not_a_key(key))?;
            }
            if !rest.is_empty() {
                return Err(not_a_key(key));
            }
            rows += 1;
        }
        let arrays = parts.into_iter().zip(&self.columns).zip(self.arrow.fields());
        let arrays =
            arrays.map(|((part, (_, column)), field)| export(column, field.data_type(), Some(&part.node(rows)), rows));
        let options = RecordBatchOptions::new().with_row_count(Some(rows));
        RecordBatch::try_new_with_options(Arc::clone(&self.arrow), arrays.collect::<Result<_>>()?, &options)
            .map_err(|error| Error::corrupt(format!("keys do not fit the schema: {error}")))
    }
}

fn not_a_key(key: &[u8]) -> Error {
    Error::corrupt(format!("{} bytes are not a key of this table", key.len()))
}

fn add_lengths<B: Deref<Target = [u8]>>(node: &Node<B>, lengths: &mut [u32]) {
    match node.kind {
        Kind::Text | Kind::Bytes => {
            for (i, length) in lengths.iter_mut().enumerate() {
                let cell = &node.data[node.span(i)];
                let zeroes = cell.iter().filter(|byte| **byte == 0).count();
                *length = length.saturating_add(u32::try_from(cell.len() + zeroes + 2).unwrap_or(u32::MAX));
            }
        }
        kind => {
            let width = kind.width().unwrap_or(1) as u32;
            lengths.iter_mut().for_each(|length| *length = length.saturating_add(width));
        }
    }
}

/// Writes one column's part of every key at `at`, which moves on.
fn put_column<B: Deref<Target = [u8]>>(node: &Node<B>, out: &mut [u8], at: &mut [u32]) {
    match node.kind {
        Kind::Text | Kind::Bytes => {
            for (i, at) in at.iter_mut().enumerate() {
                *at += put_bytes(&node.data[node.span(i)], &mut out[*at as usize..]) as u32;
            }
        }
        Kind::Bits => {
            for (i, at) in at.iter_mut().enumerate() {
                out[*at as usize] = u8::from(crate::leaf::layout::bit(&node.values, i));
                *at += 1;
            }
        }
        Kind::Opaque(_) => put_fixed::<16>(&node.values, out, at, |_| {}),
        Kind::Int(0) => put_fixed::<1>(&node.values, out, at, flip),
        Kind::Int(1) => put_fixed::<2>(&node.values, out, at, flip),
        Kind::Int(2) => put_fixed::<4>(&node.values, out, at, flip),
        Kind::Int(3) => put_fixed::<8>(&node.values, out, at, flip),
        Kind::Int(4) => put_fixed::<16>(&node.values, out, at, flip),
        Kind::Int(_) => put_fixed::<32>(&node.values, out, at, flip),
        Kind::UInt(0) => put_fixed::<1>(&node.values, out, at, |slot| slot.reverse()),
        Kind::UInt(1) => put_fixed::<2>(&node.values, out, at, |slot| slot.reverse()),
        Kind::UInt(2) => put_fixed::<4>(&node.values, out, at, |slot| slot.reverse()),
        Kind::UInt(_) => put_fixed::<8>(&node.values, out, at, |slot| slot.reverse()),
        // `Schema::check` lets no other type into a key.
        Kind::Float(_) | Kind::List | Kind::FixedList(_) | Kind::Struct(_) => {}
    }
}

/// Little-endian two's complement to bytes in the order of the numbers.
fn flip(slot: &mut [u8]) {
    slot.reverse();
    slot[0] ^= 0x80;
}

fn put_fixed<const W: usize>(values: &[u8], out: &mut [u8], at: &mut [u32], change: impl Fn(&mut [u8])) {
    for (value, at) in values.as_chunks::<W>().0.iter().zip(at) {
        let mut value = *value;
        change(&mut value);
        out[*at as usize..*at as usize + W].copy_from_slice(&value);
        *at += W as u32;
    }
}

/// Zero bytes escaped, two zero bytes at the end. Gives the length written.
fn put_bytes(cell: &[u8], out: &mut [u8]) -> usize {
    let mut at = 0;
    for piece in cell.split_inclusive(|byte| *byte == 0) {
        out[at..at + piece.len()].copy_from_slice(piece);
        at += piece.len();
        if piece.ends_with(&[0]) {
            out[at] = 0xff;
            at += 1;
        }
    }
    // The end's two zeroes are there already.
    at + 2
}

/// One column of keys being decoded.
struct Part {
    kind: Kind,
    values: Vec<u8>,
    data: Vec<u8>,
}

impl Part {
    fn new(column: &Column) -> Self {
        let kind = kind_of(&column.ty);
        let values = if kind.has_offsets() { vec![0; 4] } else { Vec::new() };
        Self { kind, values, data: Vec::new() }
    }

    /// Takes this column's part off the front of `key`.
    fn read<'a>(&mut self, key: &'a [u8]) -> Option<&'a [u8]> {
        if let Kind::Text | Kind::Bytes = self.kind {
            let rest = self.read_bytes(key)?;
            self.values.extend_from_slice(&u32::try_from(self.data.len()).ok()?.to_le_bytes());
            return Some(rest);
        }
        let (slot, rest) = key.split_at_checked(self.kind.width().unwrap_or(1))?;
        let start = self.values.len();
        self.values.extend_from_slice(slot);
        let slot = &mut self.values[start..];
        match self.kind {
            Kind::Bits if slot[0] > 1 => return None,
            Kind::Int(_) => {
                slot[0] ^= 0x80;
                slot.reverse();
            }
            Kind::UInt(_) => slot.reverse(),
            _ => {}
        }
        Some(rest)
    }

    fn read_bytes<'a>(&mut self, mut key: &'a [u8]) -> Option<&'a [u8]> {
        loop {
            let zero = key.iter().position(|byte| *byte == 0)?;
            self.data.extend_from_slice(&key[..zero]);
            let mark = *key.get(zero + 1)?;
            key = &key[zero + 2..];
            match mark {
                0 => return Some(key),
                0xff => self.data.push(0),
                _ => return None,
            }
        }
    }

    fn node(self, rows: usize) -> Node<Buffer> {
        let values = if self.kind == Kind::Bits {
            let mut bits = vec![0_u8; rows.div_ceil(8)];
            self.values.iter().enumerate().for_each(|(i, bit)| bits[i / 8] |= bit << (i % 8));
            bits
        } else {
            self.values
        };
        Node {
            kind: self.kind,
            len: rows,
            validity: None,
            // Copied to an address that suits every width.
            values: Buffer::from_slice_ref(&values),
            data_len: self.data.len(),
            data: Buffer::from_vec(self.data),
            children: Vec::new(),
        }
    }
}

#[cfg(test)]
mod tests;
