//! Parquet: disjoint sets of columns of the same rows are decoded on as many threads, a few batches ahead.
//!
//! Splitting by columns and not by row groups keeps the memory at some batches whatever the size of the row groups (one
//! big one is common), and keeps every core busy on a file that has only one.

use std::fs::File;
use std::io::{BufReader, Read};
use std::sync::Arc;

use arrow_array::{ArrayRef, RecordBatch};
use arrow_schema::SchemaRef;
use bytes::Bytes;
use parquet::arrow::ProjectionMask;
use parquet::arrow::arrow_reader::{ArrowReaderMetadata, ArrowReaderOptions, ParquetRecordBatchReaderBuilder};
use parquet::file::reader::{ChunkReader, Length};
use syncline_base::task;
use syncline_tree::table::batch_bytes;

use super::ahead::{Ahead, ahead_within};
use super::fit::FitPlan;
use super::guard::{Batches, guarded};
use super::order::Order;
use super::positioned::Positioned;
use super::source::Counter;
use super::{Error, Result};

mod decoded;
mod footer;
mod int96;

/// How many batches a thread is ahead of the consumer.
const AHEAD: usize = 4;

/// Batches of a thread that wait have at most so many bytes together, or are one.
const AHEAD_BYTES: usize = 16 << 20;

/// How many bytes of rows a batch has, about: a few batches of each thread are in memory.
const BATCH_BYTES: u64 = 2 << 20;

/// A Parquet file whose footer has been read.
#[derive(Debug, Clone)]
pub(super) struct Parquet {
    pub(super) name: String,
    file: Positioned,
    metadata: ArrowReaderMetadata,
}

impl Parquet {
    pub(super) fn open(name: &str, file: File) -> Result<Self> {
        let file = Positioned::new(file).map_err(|source| Error::Read { name: name.to_owned(), source })?;
        check_footer(name, &file)?;
        let mut metadata = guarded(name, || ArrowReaderMetadata::load(&file, ArrowReaderOptions::new()))?;
        let groups = metadata.metadata().row_groups().iter().map(|group| u64::try_from(group.num_rows()).ok());
        let rows = groups.reduce(|sum, rows| sum?.checked_add(rows?)).unwrap_or(Some(0));
        if rows.is_none() || rows != u64::try_from(metadata.metadata().file_metadata().num_rows()).ok() {
            return Err(damaged(name, "its footer gives two numbers of rows"));
        }
        if let Some(schema) = int96::schema(name, &file, &metadata)? {
            let options = ArrowReaderOptions::new().with_schema(Arc::new(schema));
            metadata = guarded(name, || ArrowReaderMetadata::try_new(metadata.metadata().clone(), options))?;
        }
        Ok(Self { name: name.to_owned(), file, metadata })
    }

    pub(super) fn schema(&self) -> &SchemaRef {
        self.metadata.schema()
    }

    /// Batches of some columns (of the file's top level, ascending).
    fn read(&self, columns: &[usize], rows: usize) -> Result<impl Iterator<Item = Result<RecordBatch>> + Send + use<>> {
        self.read_groups((0..self.metadata.metadata().num_row_groups()).collect(), columns, rows)
    }

    /// The same of some row groups.
    fn read_groups(
        &self,
        groups: Vec<usize>,
        columns: &[usize],
        rows: usize,
    ) -> Result<impl Iterator<Item = Result<RecordBatch>> + Send + use<>> {
        let mask = ProjectionMask::roots(self.metadata.parquet_schema(), columns.iter().copied());
        let builder = ParquetRecordBatchReaderBuilder::new_with_metadata(self.file.clone(), self.metadata.clone());
        let builder = builder.with_row_groups(groups).with_projection(mask).with_batch_size(rows);
        Ok(Batches::new(&self.name, guarded(&self.name, || builder.build())?))
    }

    /// Compressed bytes of each column of the top level.
    fn weights(&self) -> Vec<u64> {
        let descriptor = self.metadata.parquet_schema();
        let mut weights = vec![0u64; self.schema().fields().len()];
        for group in self.metadata.metadata().row_groups() {
            for (leaf, column) in group.columns().iter().enumerate() {
                let root = descriptor.get_column_root_idx(leaf);
                if let Some(weight) = weights.get_mut(root) {
                    *weight += u64::try_from(column.compressed_size()).unwrap_or(0);
                }
            }
        }
        weights
    }

    /// Whether the keys do not fall, and the first and last of them. Reads the key's columns only.
    pub(super) fn key_order(&self, plan: &FitPlan) -> Result<Order> {
        let (columns, narrow) = plan.key_only().narrowed();
        // Some row groups side by side at a time: no more is read than that once the order is broken.
        let groups: Vec<usize> = (0..self.metadata.metadata().num_row_groups()).collect();
        let rows = decoded::batch_rows(self, &columns, 8192)?;
        let mut order = Order::new();
        for groups in groups.chunks(2 * task::width()) {
            let of = |group| Order::of(self.read_groups(vec![group], &columns, rows)?, &narrow);
            for next in task::try_map(groups.to_vec(), of)? {
                order.join(next);
            }
            if !order.in_order {
                break;
            }
        }
        Ok(order)
    }
}

impl Length for Positioned {
    fn len(&self) -> u64 {
        self.size()
    }
}

impl ChunkReader for Positioned {
    type T = BufReader<Self>;

    fn get_read(&self, start: u64) -> parquet::errors::Result<Self::T> {
        Ok(BufReader::new(self.at(start)))
    }

    fn get_bytes(&self, start: u64, length: usize) -> parquet::errors::Result<Bytes> {
        // The footer's word for a length is not taken before it is known to lie in the file.
        if start.checked_add(length as u64).is_none_or(|end| end > self.size()) {
            return Err(parquet::errors::ParquetError::EOF(format!(
                "{length} bytes at {start} lie outside of the file, which has {}",
                self.size()
            )));
        }
        let mut bytes = vec![0; length];
        self.at(start).read_exact(&mut bytes)?;
        Ok(bytes.into())
    }
}

/// Bytes behind the footer: its length and a magic.
const END: u64 = 8;

/// Checks the footer where there is one; what is no Parquet at all is for the library to say.
fn check_footer(name: &str, file: &Positioned) -> Result<()> {
    let size = file.size();
    let read = |start, length: u64| {
        let length = usize::try_from(length).unwrap_or(usize::MAX);
        guarded(name, || file.get_bytes(start, length))
    };
    let Some(end) = size.checked_sub(END) else { return Ok(()) };
    let bytes = read(end, END)?;
    let Some((length, b"PAR1")) = bytes.split_first_chunk::<4>() else { return Ok(()) };
    let length = u64::from(u32::from_le_bytes(*length));
    let Some(start) = end.checked_sub(length) else { return Ok(()) };
    footer::check(&read(start, length)?).map_err(|why| damaged(name, why))
}

/// A footer of any bytes is refused, or is one that the library can read in a heap with an end. For fuzzing.
#[cfg(any(test, fuzzing))]
pub(crate) fn read_footer(bytes: &[u8]) {
    if footer::check(bytes).is_ok() {
        let read = || parquet::file::metadata::ParquetMetaDataReader::decode_metadata(bytes);
        if let Ok(metadata) = guarded("input", read) {
            // What follows from it goes down the schema, too.
            let _ = guarded("input", || ArrowReaderMetadata::try_new(Arc::new(metadata), ArrowReaderOptions::new()));
        }
    }
}

fn damaged(name: &str, why: &str) -> Error {
    Error::source(name, format!("is damaged: {why}; nothing of it was imported"))
}

/// Whole rows of a file: columns decoded side by side and put together again.
pub(super) struct Reader {
    schema: SchemaRef,
    parts: Vec<(Vec<usize>, Ahead<Result<RecordBatch>>)>,
    counter: Counter,
    bytes_per_row: f64,
    name: String,
    /// Rows that are to come.
    left: u64,
    failed: bool,
}

impl Reader {
    /// Reads these columns of the file (ascending). The batches have them in this order.
    pub(super) fn new(file: &Parquet, columns: &[usize], rows: usize, counter: Counter) -> Result<Self> {
        let failed = |source| Error::Read { name: file.name.clone(), source };
        let (weights, rows) = (file.weights(), decoded::batch_rows(file, columns, rows)?);
        let weigh = |batch: &Result<RecordBatch>| batch.as_ref().map_or(0, batch_bytes);
        let mut parts = Vec::new();
        for part in split(columns, &weights, task::width()) {
            let thread =
                ahead_within("parquet", (AHEAD, AHEAD_BYTES), weigh, file.read(&part, rows)?).map_err(failed)?;
            let places = part.iter().filter_map(|column| columns.binary_search(column).ok()).collect();
            parts.push((places, thread));
        }
        let total: u64 = weights.iter().sum();
        let count = u64::try_from(file.metadata.metadata().file_metadata().num_rows()).unwrap_or(0);
        let fields: Vec<_> = columns.iter().map(|at| file.schema().fields()[*at].clone()).collect();
        let schema = Arc::new(arrow_schema::Schema::new(fields));
        let bytes_per_row = total as f64 / count.max(1) as f64;
        Ok(Self { schema, parts, counter, bytes_per_row, name: file.name.clone(), left: count, failed: false })
    }

    fn next_batch(&mut self) -> Result<Option<RecordBatch>> {
        let mut arrays: Vec<Option<ArrayRef>> = vec![None; self.schema.fields().len()];
        let (mut ended, mut rows) = (0, None);
        for (places, thread) in &mut self.parts {
            let Some(batch) = thread.next() else {
                ended += 1;
                continue;
            };
            let batch = batch?;
            if rows.is_some_and(|rows| rows != batch.num_rows()) {
                return Err(damaged(&self.name, "its columns have different numbers of rows"));
            }
            rows = Some(batch.num_rows());
            for (place, array) in places.iter().zip(batch.columns()) {
                arrays[*place] = Some(array.clone());
            }
        }
        // A column whose pages end early ends without a word.
        let rows = rows.unwrap_or(0) as u64;
        self.left = match self.left.checked_sub(rows) {
            Some(left) if ended == 0 => left,
            Some(0) if ended == self.parts.len() => return Ok(None),
            _ => return Err(damaged(&self.name, "columns have other numbers of rows than its footer says")),
        };
        let arrays = arrays.into_iter().flatten().collect();
        let batch = RecordBatch::try_new(self.schema.clone(), arrays).map_err(Error::arrow("put columns together"))?;
        self.counter.add((self.bytes_per_row * batch.num_rows() as f64) as u64);
        Ok(Some(batch))
    }
}

impl Iterator for Reader {
    type Item = Result<RecordBatch>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.failed {
            return None;
        }
        let next = self.next_batch().transpose();
        self.failed = matches!(next, Some(Err(_)));
        next
    }
}

/// Spreads columns over at most `width` parts of about equal weight.
fn split(columns: &[usize], weights: &[u64], width: usize) -> Vec<Vec<usize>> {
    let mut heaviest = columns.to_vec();
    heaviest.sort_by_key(|column| std::cmp::Reverse(weights[*column]));
    let mut parts: Vec<(u64, Vec<usize>)> = vec![(0, Vec::new()); width.clamp(1, columns.len().max(1))];
    for column in heaviest {
        if let Some(lightest) = parts.iter_mut().min_by_key(|part| part.0) {
            // Even a column of few bytes costs its rows.
            lightest.0 += weights[column] + 1;
            lightest.1.push(column);
        }
    }
    parts
        .into_iter()
        .map(|(_, mut part)| {
            part.sort_unstable();
            part
        })
        .collect()
}

#[cfg(test)]
mod tests;
