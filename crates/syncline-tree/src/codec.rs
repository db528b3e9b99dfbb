//! How leaves are stored: per column bit-packing, dictionaries, zstd.
//!
//! Format: `docs/format/leaf.md`, part "stored form". Owns: scratch memory and zstd contexts, one set per thread.
//!
//! Not here: what a leaf is (`crate::leaf`), leaves as patches (`crate::patch`).

use std::cell::RefCell;
use std::ops::Range;
use std::sync::Arc;

use arrow_array::{ArrayRef, RecordBatch};
use arrow_buffer::{Buffer, MutableBuffer};
use bytes::Bytes;
use syncline_store::{Codec, buffers};

use crate::leaf::layout::{Kind, MAX_LEAF, MAX_ROWS, Node};
use crate::leaf::wire::{Fault, Reader, put_varint};
use crate::leaf::{self, ColumnNode, External, Leaf};
use crate::schema::Schema;
use crate::{Error, Result};

mod bits;
mod blob;
mod dict;
mod ints;
mod node;

pub(crate) use blob::Scratch;
pub(crate) use node::{get as get_node, put as put_node};

/// Codec tag of a whole leaf.
pub const LEAF: u8 = 16;
/// Codec tag of a leaf stored as a patch on another leaf.
pub const LEAF_PATCH: u8 = 17;

const VERSION: u8 = 1;
const RAW: u8 = 0;
const COLUMNS: u8 = 1;

/// The codecs a store of trees needs for its leaves.
#[must_use]
pub fn codecs() -> Vec<Arc<dyn Codec>> {
    vec![Arc::new(LeafCodec), Arc::new(crate::patch::PatchCodec)]
}

#[derive(Debug)]
struct LeafCodec;

impl Codec for LeafCodec {
    fn tag(&self) -> u8 {
        LEAF
    }

    fn needs_base(&self) -> bool {
        false
    }

    fn decode(&self, payload: &[u8], _: &[&[u8]], raw_len: usize) -> std::result::Result<Bytes, String> {
        read(payload, raw_len)
    }
}

thread_local! {
    static SCRATCH: RefCell<Scratch> = RefCell::new(Scratch::new());
}

/// Runs `work` with this thread's scratch.
pub(crate) fn with_scratch<T>(work: impl FnOnce(&mut Scratch) -> T) -> T {
    SCRATCH.with_borrow_mut(|scratch| {
        let done = work(scratch);
        scratch.shrink();
        done
    })
}

/// The stored form of a canonical leaf. Never longer than the leaf plus two bytes.
///
/// # Errors
/// `corrupt` when the bytes are not a leaf.
pub fn encode(canonical: &[u8]) -> Result<Vec<u8>> {
    Ok(encode_leaf(&Leaf::parse(Bytes::copy_from_slice(canonical))?))
}

/// The stored form of a leaf. Never longer than the leaf plus two bytes.
#[must_use]
pub fn encode_leaf(leaf: &Leaf) -> Vec<u8> {
    let columns: Vec<_> = leaf.columns().collect();
    // What a peer sent may be a leaf and not canonical: it has to come back as it was all the same.
    if !columns.iter().all(|(_, node)| node.is_zero_under_nulls()) {
        return [&[VERSION, RAW], &leaf.bytes()[..]].concat();
    }
    let raw = leaf.bytes();
    let stored = encode_columns(leaf.rows(), &columns, leaf.externals(), raw.len(), || Ok(raw.clone()));
    stored.expect("bytes that are there need not be made")
}

/// As [`encode_leaf`], of the columns that its `len` canonical bytes were put together from. `raw` gives those bytes.
///
/// # Errors
/// That of `raw`.
pub(crate) fn encode_columns(
    rows: usize,
    columns: &[ColumnNode<&[u8]>],
    externals: &[External],
    len: usize,
    raw: impl FnOnce() -> Result<Bytes>,
) -> Result<Vec<u8>> {
    with_scratch(|scratch| {
        // Streams are as long as what they come from at times: memory for them is kept, and the result is made to measure.
        let mut streams = std::mem::take(&mut scratch.streams);
        streams.clear();
        let mut lengths = Vec::with_capacity(2 * columns.len());
        for (_, node) in columns {
            let start = streams.len();
            put_node(node, &mut streams, scratch);
            put_varint(&mut lengths, (streams.len() - start) as u64);
        }
        let mut head = vec![VERSION, COLUMNS];
        for number in [rows, columns.len(), externals.len()] {
            put_varint(&mut head, number as u64);
        }
        head.extend_from_slice(&leaf::shapes(columns));
        leaf::put_externals(&mut head, externals);
        let shorter = head.len() + lengths.len() + streams.len() < len;
        let out = shorter.then(|| [&head[..], &lengths, &streams].concat());
        scratch.streams = streams;
        Ok(match out {
            Some(out) => out,
            None => [&[VERSION, RAW], &raw()?[..]].concat(),
        })
    })
}

/// Bytes one column of a conformed batch takes in a leaf, and stored. For reports.
///
/// # Errors
/// As [`crate::leaf::encode`].
pub fn column_sizes(schema: &Schema, batch: &RecordBatch, id: u32) -> Result<(usize, usize)> {
    let position = leaf::position(schema, id)?;
    let node = leaf::node_of(&schema.columns[position], batch.column(position))?;
    let mut out = Vec::new();
    with_scratch(|scratch| put_node(&node.slices(), &mut out, scratch));
    Ok((node.size(), out.len()))
}

/// The canonical leaf of a stored form; `raw_len` is what its length must be.
///
/// # Errors
/// `corrupt`, with what is wrong.
pub fn decode(payload: &[u8], raw_len: usize) -> Result<Bytes> {
    read(payload, raw_len).map_err(unreadable)
}

#[expect(clippy::needless_pass_by_value, reason = "it is given to map_err")]
fn unreadable(fault: Fault) -> Error {
    Error::corrupt(format!("a stored leaf cannot be read: {fault}"))
}

fn read(payload: &[u8], raw_len: usize) -> Result<Bytes, Fault> {
    let head = match Head::read(payload)? {
        None if payload.len() - 2 == raw_len => return Ok(Bytes::copy_from_slice(&payload[2..])),
        None => return Err(format!("it has {} bytes, {raw_len} are wanted", payload.len() - 2)),
        Some(head) => head,
    };
    let shapes = leaf::shapes(&head.columns);
    // Sizes are known and checked before memory for them is taken.
    let size = canonical_len(&head, shapes.len());
    if size != raw_len || size > MAX_LEAF {
        return Err(format!("its columns take {size} bytes, {raw_len} are wanted"));
    }
    let mut out = buffers::take(size);
    leaf::put_head(&mut out, head.rows, head.columns.len(), &shapes, &head.externals);
    let start = out.len();
    out.resize(size, 0);
    let mut rest = &mut out[start..];
    with_scratch(|scratch| {
        for ((_, node), range) in head.columns.iter().zip(&head.streams) {
            let mut reader = Reader::new(&payload[range.clone()]);
            get_node(node, &mut reader, &mut rest, scratch)?;
            if reader.left() > 0 {
                return Err("bytes after a column".to_owned());
            }
        }
        Ok(())
    })?;
    Ok(buffers::freeze(out))
}

fn canonical_len(head: &Head, shapes: usize) -> usize {
    leaf::head_len(shapes, head.externals.len()) + head.columns.iter().map(|(_, node)| node.size()).sum::<usize>()
}

/// What stands in front of the columns.
#[derive(Debug, Clone)]
struct Head {
    rows: usize,
    columns: Vec<ColumnNode<()>>,
    externals: Vec<External>,
    /// Where each column's stream lies in the payload.
    streams: Vec<Range<usize>>,
}

impl Head {
    /// `None`: the canonical bytes follow as they are.
    fn read(payload: &[u8]) -> Result<Option<Self>, Fault> {
        let mut reader = Reader::new(payload);
        match reader.array()? {
            [VERSION, RAW] => return Ok(None),
            [VERSION, COLUMNS] => {}
            [version, mode] => {
                return Err(format!("its version is {version}.{mode}, this program knows {VERSION}: use a newer one"));
            }
        }
        let rows = reader.count(MAX_ROWS)?;
        let count = reader.count(reader.left())?;
        let externals = reader.count(reader.left())?;
        let columns = leaf::read_shapes(&mut reader, count, rows)?;
        let externals = leaf::read_externals(&mut reader, externals)?;
        let lengths = columns.iter().map(|_| reader.count(payload.len())).collect::<Result<Vec<_>, _>>()?;
        let mut at = reader.at();
        let streams: Vec<_> = lengths
            .iter()
            .map(|len| {
                at += len;
                at - len..at
            })
            .collect();
        if at != payload.len() {
            return Err(format!("its columns take {at} bytes, it has {}", payload.len()));
        }
        Ok(Some(Self { rows, columns, externals, streams }))
    }
}

/// A stored leaf, read column by column.
#[derive(Debug, Clone)]
pub struct Columns(Form);

#[derive(Debug, Clone)]
enum Form {
    Raw(Leaf),
    Stored { payload: Bytes, head: Head },
}

impl Columns {
    /// Reads the head of a stored leaf (codec tag [`LEAF`]). Columns are checked when they are read.
    ///
    /// # Errors
    /// `corrupt`, with what is wrong.
    pub fn open(payload: Bytes) -> Result<Self> {
        Ok(Self(match Head::read(&payload).map_err(unreadable)? {
            None => Form::Raw(Leaf::parse(payload.slice(2..))?),
            Some(head) => Form::Stored { payload, head },
        }))
    }

    /// How many rows there are.
    #[must_use]
    pub fn rows(&self) -> usize {
        match &self.0 {
            Form::Raw(leaf) => leaf.rows(),
            Form::Stored { head, .. } => head.rows,
        }
    }

    /// How many bytes the canonical leaf has: known before anything is decoded.
    pub(crate) fn len(&self) -> usize {
        match &self.0 {
            Form::Raw(leaf) => leaf.bytes().len(),
            Form::Stored { head, .. } => canonical_len(head, leaf::shapes(&head.columns).len()),
        }
    }

    /// Cells that lie outside, sorted by (column, row). Checked against their cells only when a whole leaf is.
    #[must_use]
    pub fn externals(&self) -> &[External] {
        match &self.0 {
            Form::Raw(leaf) => leaf.externals(),
            Form::Stored { head, .. } => &head.externals,
        }
    }

    /// One column, decoded. A column the leaf does not have reads as nulls.
    ///
    /// # Errors
    /// `corrupt` when it cannot be read, or is not as the schema says.
    pub fn column(&self, schema: &Schema, id: u32) -> Result<ArrayRef> {
        Ok(self.batch(schema, Some(&[id]))?.column(0).clone())
    }

    /// As [`crate::leaf::Leaf::batch`].
    ///
    /// # Errors
    /// As [`Self::column`].
    pub fn batch(&self, schema: &Schema, projection: Option<&[u32]>) -> Result<RecordBatch> {
        match &self.0 {
            Form::Raw(leaf) => leaf.batch(schema, projection),
            Form::Stored { payload, head } => leaf::batch_of(schema, projection, head.rows, |id| {
                let Ok(i) = head.columns.binary_search_by_key(&id, |(id, _)| *id) else { return Ok(None) };
                let mut reader = Reader::new(&payload[head.streams[i].clone()]);
                decode_node(&head.columns[i].1, &mut reader).map(Some).map_err(unreadable)
            }),
        }
    }

    /// Smallest and largest value of an integer-like column (ints, decimal128, dates, times, timestamps) without
    /// decoding it; nulls do not count. `None` when not known.
    #[must_use]
    pub fn range(&self, id: u32) -> Option<(i128, i128)> {
        let Form::Stored { payload, head } = &self.0 else { return None };
        let i = head.columns.binary_search_by_key(&id, |(id, _)| *id).ok()?;
        let node = &head.columns[i].1;
        if !matches!(node.kind, Kind::Int(_) | Kind::UInt(_)) || node.len == 0 {
            return None;
        }
        let mut reader = Reader::new(&payload[head.streams[i].clone()]);
        if node.validity.is_some() {
            let mut bits = vec![0; node.len.div_ceil(8)];
            with_scratch(|scratch| blob::get(&mut reader, &mut bits, scratch)).ok()?;
        }
        ints::range(&mut reader).ok()?
    }
}

/// A node of a shape, decoded and checked.
pub(crate) fn decode_node(shape: &Node<()>, reader: &mut Reader<'_>) -> Result<Node<Buffer>, Fault> {
    let mut buffer = MutableBuffer::from_len_zeroed(shape.size());
    let mut rest = buffer.as_slice_mut();
    with_scratch(|scratch| get_node(shape, reader, &mut rest, scratch))?;
    let buffer = Buffer::from(buffer);
    let node = shape.place(&mut 0).map(&mut |range| buffer.slice_with_length(range.start, range.len()));
    node.check()?;
    Ok(node)
}

#[cfg(test)]
mod tests;
