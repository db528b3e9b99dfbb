//! Building a tree from sorted rows: cut into leaves on this thread, encoded on all cores, stored in order.
//!
//! Owns: rows that are not cut off yet. Memory: some leaves for each core, whatever the number of rows.

use std::collections::VecDeque;
use std::sync::Arc;

use arrow_array::{Array as _, ArrayRef, RecordBatch};
use arrow_select::concat::concat_batches;
use bytes::Bytes;
use syncline_base::{Hash, task};
use syncline_store::Encoded;

use super::change::{Applied, Batch, Op, Rows};
use super::levels::{Levels, Root};
use super::{FLIGHT_BYTES, Shared, edit};
use crate::boundary::{Rule, key_hash};
use crate::key::Keys;
use crate::leaf::{self, External, Leaf};
use crate::node::Entry;
use crate::{Error, Result, codec};

/// At most how many leaves make a task. One takes hardly longer to encode than to hand over, and tasks have to last while
/// this thread prepares the next batch.
const GROUP: usize = 8;
/// About how many bytes of rows make a task, when leaves are large.
const GROUP_BYTES: usize = 512 << 10;

/// The canonical bytes of a longer leaf are made again when they are needed after all: that is rare.
const KEPT: usize = 1 << 20;
/// A leaf ready to be stored.
#[derive(Debug)]
pub(crate) struct Stored {
    pub(crate) entry: Entry,
    pub(crate) object: Encoded,
}

/// The rows of one leaf.
#[derive(Debug)]
pub(crate) struct Slice {
    parts: Vec<Rows>,
    rows: usize,
    last: Bytes,
    /// Old leaves that this one may be an edit of.
    bases: Vec<(Hash, Leaf)>,
}

/// Cuts a sequence of rows into leaves.
#[derive(Debug, Default)]
pub(crate) struct Cutter {
    since: u32,
    parts: Vec<Rows>,
    rows: usize,
    last: Bytes,
}

impl Cutter {
    /// Takes the next rows; leaves that are complete go to `out`.
    pub(crate) fn push(&mut self, rule: &Rule, rows: &Rows, keys: &Keys, mut out: impl FnMut(Slice)) {
        let mut from = 0;
        for (row, key) in keys.iter().enumerate() {
            if rule.ends(&mut self.since, key_hash(0, key)) {
                self.keep(rows, from, row + 1);
                from = row + 1;
                let parts = std::mem::take(&mut self.parts);
                let rows = std::mem::take(&mut self.rows);
                out(Slice { parts, rows, last: Bytes::copy_from_slice(key), bases: Vec::new() });
            }
        }
        if from < keys.len() {
            self.keep(rows, from, keys.len());
            self.last = Bytes::copy_from_slice(keys.get(keys.len() - 1));
        }
    }

    fn keep(&mut self, rows: &Rows, from: usize, to: usize) {
        self.parts.push(rows.slice(from, to - from));
        self.rows += to - from;
    }

    /// The rows after the last boundary, when there are any: the last leaf.
    pub(crate) fn finish(&mut self) -> Option<Slice> {
        let Self { parts, rows, last, .. } = std::mem::take(self);
        (rows > 0).then_some(Slice { parts, rows, last, bases: Vec::new() })
    }

    /// Whether the last row ended a leaf.
    pub(crate) fn is_aligned(&self) -> bool {
        self.rows == 0
    }
}

impl Slice {
    /// The same with old leaves that it may be an edit of.
    pub(crate) fn with_bases(self, bases: Vec<(Hash, Leaf)>) -> Self {
        Self { bases, ..self }
    }

    /// Encodes the leaf: as an edit of one of its bases when they have much in common, else whole.
    pub(crate) fn encode(self, shared: &Shared) -> Result<Stored> {
        let Self { mut parts, rows: count, last, bases } = self;
        let rows = if parts.len() == 1 { parts.remove(0) } else { concat(&parts)? };
        // Long rows take much memory: what is not needed any more goes at once.
        drop(parts);
        let made = |object: Encoded| Stored { entry: Entry { id: object.id, rows: count as u64, last }, object };
        if !bases.is_empty()
            && let Some(object) = edit::as_edit(shared, &rows, &bases)?
        {
            return Ok(made(object));
        }
        let columns = leaf::nodes_of(&shared.schema, &rows.batch)?;
        let canonical = leaf::assemble(count, &columns, &rows.externals)?;
        let (id, len) = (Hash::of(&canonical), canonical.len());
        let raw = (len <= KEPT).then_some(canonical);
        let slices: Vec<_> = columns.iter().map(|(id, node)| (*id, node.slices())).collect();
        let payload = codec::encode_columns(count, &slices, &rows.externals, len, || match raw {
            Some(raw) => Ok(raw),
            None => leaf::assemble(count, &columns, &rows.externals),
        })?;
        Ok(made(Encoded::whole(id, codec::LEAF, len as u32, payload.into())))
    }
}

/// About how many bytes the rows of a batch have, be it a slice of another one or not.
#[must_use]
pub fn batch_bytes(batch: &RecordBatch) -> usize {
    // What an array is counted with that cannot tell is all the memory that it holds on to.
    let bytes = |array: &ArrayRef| array.to_data().get_slice_memory_size().unwrap_or(array.get_array_memory_size());
    batch.columns().iter().map(bytes).sum()
}

/// A leaf stored by itself.
pub(crate) fn whole(canonical: &Bytes) -> Result<Encoded> {
    let payload = codec::encode(canonical)?;
    Ok(Encoded::whole(Hash::of(canonical), codec::LEAF, canonical.len() as u32, payload.into()))
}

/// Several runs of rows as one.
pub(crate) fn concat(parts: &[Rows]) -> Result<Rows> {
    let Some(first) = parts.first() else { return Err(Error::invalid("no rows to put together")) };
    let batches: Vec<&RecordBatch> = parts.iter().map(|part| &part.batch).collect();
    // Changes that delete have nulls in all columns but the key's.
    let mut schema = first.batch.schema();
    for batch in &batches {
        if batch.schema_ref() != &schema {
            let fields = schema.fields().iter().zip(batch.schema_ref().fields());
            let widest = fields.map(|(one, other)| if other.is_nullable() { other } else { one }).cloned();
            schema = Arc::new(arrow_schema::Schema::new(widest.collect::<Vec<_>>()));
        }
    }
    let batch = concat_batches(&schema, batches)
        .map_err(|error| Error::invalid(format!("batches of one table cannot be put together: {error}")))?;
    let (mut externals, mut before) = (Vec::new(), 0);
    for part in parts {
        externals.extend(part.externals.iter().map(|e| External { row: e.row + before, ..*e }));
        before += part.batch.num_rows() as u32;
    }
    externals.sort_unstable();
    Ok(Rows { batch, externals })
}

/// Builds a tree from the rows of sorted changes.
pub(crate) fn build(shared: &Shared, batches: impl Iterator<Item = Result<Batch>>) -> Result<(Root, Applied)> {
    let mut slices = Slices {
        shared,
        batches,
        cutter: Cutter::default(),
        ready: VecDeque::new(),
        group: GROUP,
        row: 0,
        applied: Applied::default(),
        done: false,
    };
    let mut levels = Levels::new(shared, 1);
    task::pipeline_within(
        &mut slices,
        (4 * task::width(), FLIGHT_BYTES),
        |group| group.into_iter().map(|slice| slice.encode(shared)).collect::<Result<Vec<_>>>(),
        |leaves| {
            leaves.into_iter().try_for_each(|leaf| {
                shared.store.put_encoded(leaf.object)?;
                levels.push(leaf.entry)
            })
        },
    )?;
    Ok((levels.finish()?, slices.applied))
}

struct Slices<'a, I> {
    shared: &'a Shared,
    batches: I,
    cutter: Cutter,
    ready: VecDeque<Slice>,
    /// How many leaves make a task.
    group: usize,
    /// About how many bytes a row has, by the last batch.
    row: usize,
    applied: Applied,
    done: bool,
}

impl<I: Iterator<Item = Result<Batch>>> Slices<'_, I> {
    fn take(&mut self, batch: Batch) -> Result<()> {
        if batch.ops.iter().any(|op| matches!(op, Op::Patch(_))) {
            return Err(Error::Conflict("patching a row of an empty table: there is none".to_owned()));
        }
        let all = batch.ops.len() as u64;
        let batch = batch.without_deletes()?;
        let rows = batch.ops.len() as u64;
        self.row = batch_bytes(&batch.rows.batch) / batch.ops.len().max(1);
        let leaf = self.row.saturating_mul(self.shared.schema.leaf_rows as usize);
        self.group = (GROUP_BYTES / leaf.max(1)).clamp(1, GROUP);
        self.applied.inserted += rows;
        self.applied.unchanged += all - rows;
        self.cutter.push(&self.shared.leaf_rule, &batch.rows, &batch.keys, |slice| self.ready.push_back(slice));
        Ok(())
    }
}

impl<I: Iterator<Item = Result<Batch>>> Iterator for Slices<'_, I> {
    type Item = Result<(Vec<Slice>, usize)>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            if self.ready.len() >= self.group || self.done && !self.ready.is_empty() {
                let group: Vec<_> = self.ready.drain(..self.group.min(self.ready.len())).collect();
                let rows: usize = group.iter().map(|slice| slice.rows).sum();
                return Some(Ok((group, rows.saturating_mul(self.row))));
            }
            if self.done {
                return None;
            }
            match self.batches.next() {
                Some(batch) => {
                    if let Err(error) = batch.and_then(|batch| self.take(batch)) {
                        self.done = true;
                        self.ready.clear();
                        return Some(Err(error));
                    }
                }
                None => {
                    self.done = true;
                    self.ready.extend(self.cutter.finish());
                }
            }
        }
    }
}
