//! What can be done to a table's rows, and how a batch of it is checked and made ready.
//!
//! Owns nothing.

use std::sync::Arc;

use arrow_array::{Array as _, ArrayRef, RecordBatch, RecordBatchOptions, UInt32Array, make_array, new_null_array};
use arrow_data::transform::MutableArrayData;
use arrow_schema::ArrowError;
use arrow_select::take::take_record_batch;
use bytes::Bytes;
use serde::{Deserialize, Serialize};

use super::Shared;
use crate::key::{KeyEncoder, Keys};
use crate::leaf::{External, externalise, internalise};
use crate::patch::{self, ColumnSet};
use crate::schema::Schema;
use crate::{Error, Result, content};

/// Memory that is not worth getting back.
const SMALL: usize = 4 << 10;

/// Rows with the cells that lie outside of them: those read as empty in `batch`.
#[derive(Debug, Clone)]
pub struct Rows {
    /// The rows.
    pub batch: RecordBatch,
    /// Cells of `batch` that are stored as content, sorted by (column id, row).
    pub externals: Vec<External>,
}

impl Rows {
    /// Rows `from .. from + count`, without copying.
    #[must_use]
    pub fn slice(&self, from: usize, count: usize) -> Self {
        let batch = self.batch.slice(from, count);
        let inside = |e: &&External| (from..from + count).contains(&(e.row as usize));
        let externals = self.externals.iter().filter(inside).map(|e| External { row: e.row - from as u32, ..*e });
        Self { batch, externals: externals.collect() }
    }

    /// All rows in parts whose long cells have at most `bytes` together, or that are one row.
    pub(crate) fn parts(self, bytes: u64) -> Vec<Self> {
        let long = |rows: &Self| rows.externals.iter().fold(0_u64, |sum, e| sum.saturating_add(e.content.len));
        if long(&self) <= bytes {
            return vec![self];
        }
        let mut sizes = vec![0_u64; self.batch.num_rows()];
        for external in &self.externals {
            if let Some(size) = sizes.get_mut(external.row as usize) {
                *size = size.saturating_add(external.content.len);
            }
        }
        let (mut parts, mut start, mut sum) = (Vec::new(), 0, 0_u64);
        for (row, size) in sizes.iter().enumerate() {
            if row > start && sum.saturating_add(*size) > bytes {
                parts.push(self.slice(start, row - start));
                (start, sum) = (row, 0);
            }
            sum = sum.saturating_add(*size);
        }
        parts.push(self.slice(start, sizes.len() - start));
        parts
    }

    /// Some rows, by ascending number, copied.
    pub(crate) fn select(&self, rows: Vec<u32>) -> Result<Self> {
        let new_row = |e: &External| rows.binary_search(&e.row).ok().map(|row| External { row: row as u32, ..*e });
        let externals = self.externals.iter().filter_map(new_row).collect();
        let batch = take_record_batch(&self.batch, &UInt32Array::from(rows))
            .map_err(|error| Error::invalid(format!("rows cannot be picked from a batch: {error}")))?;
        Ok(Self { batch, externals })
    }

    /// The batch with the long cells in it, read from where they are stored. `columns` are the ids of the batch's columns; `None`: all.
    ///
    /// # Errors
    /// The store's.
    pub fn resolve(&self, table: &super::Table, columns: Option<&[u32]>) -> Result<RecordBatch> {
        if self.externals.is_empty() {
            return Ok(self.batch.clone());
        }
        let shared = &table.shared;
        internalise(&shared.schema, &self.batch, columns, &self.externals, |content| read_content(shared, content))
    }
}

/// What to do with one row.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Op {
    /// Insert the row, or replace the one with its key.
    Upsert,
    /// Insert the row; a row with its key is an error of kind `conflict`.
    Insert,
    /// Remove the row with this key. Only the key's columns are looked at. No such row: nothing happens.
    Delete,
    /// Replace these cells (positions in the schema) of the row with this key. No such row: an error of kind `conflict`.
    Patch(ColumnSet),
    /// Replace these cells (positions in the schema) of the row with this key; insert the whole row when there is none.
    /// What an import of some columns into a table with more columns needs.
    Merge(ColumnSet),
}

/// Changes to rows, sorted by key, each key once.
#[derive(Debug, Clone)]
pub struct Changes {
    /// One row for each change: all the schema's columns, in its order. Cells that the operation does not use may be
    /// null whatever the schema says.
    pub rows: RecordBatch,
    /// One for each row.
    pub ops: Vec<Op>,
    /// Cells of `rows` that are in the store as content already, sorted by (column id, row). Other long cells are moved
    /// there by `apply`.
    pub externals: Vec<External>,
}

impl Changes {
    /// Every row inserted or replaced.
    #[must_use]
    pub fn upsert(rows: RecordBatch) -> Self {
        Self { ops: vec![Op::Upsert; rows.num_rows()], rows, externals: Vec::new() }
    }

    /// Every row inserted; an existing one is an error.
    #[must_use]
    pub fn insert(rows: RecordBatch) -> Self {
        Self { ops: vec![Op::Insert; rows.num_rows()], rows, externals: Vec::new() }
    }

    /// Rows with these encoded keys (sorted) removed.
    ///
    /// # Errors
    /// `corrupt` when bytes are not a key of this schema.
    pub fn delete<'a>(schema: &Schema, keys: impl IntoIterator<Item = &'a [u8]>) -> Result<Self> {
        let keys = KeyEncoder::new(schema)?.decode(keys)?;
        let positions = schema.key_positions();
        let rows = keys.num_rows();
        let arrow = schema.arrow();
        let fields: Vec<_> = arrow.fields().iter().map(|field| field.as_ref().clone().with_nullable(true)).collect();
        let columns = fields.iter().enumerate().map(|(i, field)| match positions.iter().position(|p| *p == i) {
            Some(part) => Arc::clone(keys.column(part)),
            None => new_null_array(field.data_type(), rows),
        });
        let columns = columns.collect();
        let options = RecordBatchOptions::new().with_row_count(Some(rows));
        let rows = RecordBatch::try_new_with_options(Arc::new(arrow_schema::Schema::new(fields)), columns, &options)
            .map_err(|error| Error::invalid(format!("keys do not fit the schema: {error}")))?;
        Ok(Self { ops: vec![Op::Delete; rows.num_rows()], rows, externals: Vec::new() })
    }
}

/// What `apply` did.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Applied {
    /// Rows that were not there before.
    pub inserted: u64,
    /// Rows that have at least one other cell now.
    pub updated: u64,
    /// Rows that are gone.
    pub deleted: u64,
    /// Changes that changed nothing.
    pub unchanged: u64,
}

impl Applied {
    pub(crate) fn add(&mut self, more: &Self) {
        self.inserted += more.inserted;
        self.updated += more.updated;
        self.deleted += more.deleted;
        self.unchanged += more.unchanged;
    }
}

/// Changes that are checked and have their keys.
#[derive(Debug)]
pub(crate) struct Batch {
    pub(crate) rows: Rows,
    pub(crate) ops: Vec<Op>,
    pub(crate) keys: Keys,
    /// The columns as leaves have them, when [`Batch::for_edits`] was asked.
    pub(crate) columns: Vec<patch::Source>,
}

impl Batch {
    /// The same, ready to edit many leaves.
    pub(crate) fn for_edits(self, shared: &Shared) -> Result<Self> {
        Ok(Self { columns: patch::columns(&shared.schema, &self.rows.batch)?, ..self })
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.ops.is_empty()
    }

    /// Without the rows to delete.
    pub(crate) fn without_deletes(self) -> Result<Self> {
        if !self.ops.contains(&Op::Delete) {
            return Ok(self);
        }
        let stay: Vec<u32> = (0_u32..).zip(&self.ops).filter(|(_, op)| **op != Op::Delete).map(|(i, _)| i).collect();
        let keys = stay.iter().map(|i| self.keys.get(*i as usize)).collect();
        let ops = stay.iter().map(|i| self.ops[*i as usize].clone()).collect();
        Ok(Self { rows: self.rows.select(stay)?, ops, keys, columns: Vec::new() })
    }
}

/// Checks changes against the schema, takes their keys and moves long cells out.
pub(crate) fn prepare(shared: &Shared, changes: Changes) -> Result<Batch> {
    let Changes { rows, ops, mut externals } = changes;
    if ops.len() != rows.num_rows() {
        return Err(Error::invalid(format!(
            "{} operations for {} rows: give one for each",
            ops.len(),
            rows.num_rows()
        )));
    }
    if rows.num_columns() != shared.schema.columns.len() {
        let (has, needs) = (rows.num_columns(), shared.schema.columns.len());
        return Err(Error::invalid(format!("a batch has {has} columns, the schema {needs}: conform it first")));
    }
    let keys = shared.encoder.encode(&rows)?;
    let (mut batch, moved) = externalise(&shared.schema, &rows, |cell| write_content(shared, cell))?;
    if !moved.is_empty() {
        batch = detached(&batch)?;
        externals.extend(moved);
        externals.sort_unstable();
    }
    if externals.windows(2).any(|pair| (pair[0].column, pair[0].row) >= (pair[1].column, pair[1].row)) {
        return Err(Error::invalid("external cells of changes are not in order, or one is given twice"));
    }
    Ok(Batch { rows: Rows { batch, externals }, ops, keys, columns: Vec::new() })
}

/// The batch without the memory that its columns hold on to and do not use: as read from a file they are parts of one buffer, in
/// which the long cells are too.
fn detached(batch: &RecordBatch) -> Result<RecordBatch> {
    let failed = |error: &ArrowError| Error::invalid(format!("rows cannot be copied out of their batch: {error}"));
    let own = |array: &ArrayRef| {
        let data = array.to_data();
        let used = data.get_slice_memory_size().unwrap_or(usize::MAX);
        if array.get_array_memory_size() / 2 <= used.max(SMALL) {
            return Ok(Arc::clone(array));
        }
        let mut copy = MutableArrayData::new(vec![&data], false, data.len());
        copy.try_extend(0, 0, data.len()).map_err(|error| failed(&error))?;
        Ok(make_array(copy.freeze()))
    };
    let columns = batch.columns().iter().map(own).collect::<Result<Vec<_>>>()?;
    RecordBatch::try_new(batch.schema(), columns).map_err(|error| failed(&error))
}

/// Sees to it that keys ascend over all batches.
#[derive(Debug, Default)]
pub(crate) struct Order {
    last: Option<Vec<u8>>,
}

impl Order {
    pub(crate) fn check(&mut self, batch: Batch) -> Result<Batch> {
        let Some(end) = batch.keys.len().checked_sub(1) else { return Ok(batch) };
        let starts = self.last.as_deref().is_none_or(|last| last < batch.keys.get(0));
        if !starts || (0..end).any(|i| batch.keys.get(i) >= batch.keys.get(i + 1)) {
            return Err(Error::invalid("changes are not sorted by key, or have a key twice: sort them first"));
        }
        self.last = Some(batch.keys.get(end).to_vec());
        Ok(batch)
    }
}

fn write_content(shared: &Shared, cell: &[u8]) -> Result<content::ContentRef> {
    content::write_bytes(&shared.store, cell, None)
}

fn read_content(shared: &Shared, content: &content::ContentRef) -> Result<Bytes> {
    // A cell of an Arrow array with 32-bit offsets.
    content::read_all(&shared.store, content, i32::MAX as u64)
}
