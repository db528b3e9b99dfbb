//! External merge sort of Arrow batches by encoded key, stable, in bounded memory.
//!
//! Batches are collected until half the budget is used (the other half belongs to the buffer that is being written).
//! A full buffer is sorted (an array of key prefixes and positions is, rows are gathered once) and written as a run
//! on a thread of its own while the next one fills. A run is an Arrow IPC stream with LZ4 in a temporary file that has
//! no name, so nothing is left behind whatever ends the process. Runs are merged, at most [`FAN_IN`] at a time.
//!
//! Input that comes in order is not sorted, and not merged:
//! - a buffer in order is passed on as it is, and in memory that is all;
//! - a buffer that begins where the open run ends is appended to that run, so ordered input of any size is one run,
//!   read back once.
//!
//! Owns: buffers and files between `push` and the end of the output. After a crash: nothing is left.
//!
//! Not here: what a repeated key means (`crate::import`).

mod merge;
mod run;

use std::path::PathBuf;
use std::sync::Arc;
use std::thread::JoinHandle;

use arrow_array::RecordBatch;
use arrow_schema::SchemaRef;
use arrow_select::interleave::interleave_record_batch;
use syncline_base::task;
use syncline_tree::key::Keys;

use crate::import::{Error, Result};
use merge::Merge;
use run::{Open, Run};

/// How many runs are merged at once.
pub(crate) const FAN_IN: usize = 64;

/// Rows of so many bytes are long.
const LONG_ROW: usize = 2 << 10;

/// The keys of a batch's rows.
pub(crate) type KeysOf = Arc<dyn Fn(&RecordBatch) -> Result<Keys> + Send + Sync>;

/// What a sort may use.
#[derive(Debug, Clone)]
pub(crate) struct Limits {
    pub(crate) bytes: usize,
    pub(crate) batch_rows: usize,
    pub(crate) temp_dir: PathBuf,
}

impl Limits {
    /// Bytes that are collected before they are written. Half of that for long rows: what an allocator keeps of such memory
    /// is as much again, and there are few of them to be sorted.
    fn buffer(&self, row: usize) -> usize {
        if row < LONG_ROW { self.bytes / 2 } else { self.bytes / 4 }
    }

    /// Bytes that are copied into one batch, about: rows may have megabytes.
    fn gathered(&self) -> usize {
        self.bytes / 32
    }
}

/// A batch with its keys.
pub(crate) type Keyed = (RecordBatch, Keys);

/// The first eight bytes of a key as a number of the same order.
pub(crate) fn prefix(key: &[u8]) -> u64 {
    let mut bytes = [0; 8];
    let len = key.len().min(8);
    bytes[..len].copy_from_slice(&key[..len]);
    u64::from_be_bytes(bytes)
}

/// Whether a batch's keys do not fall.
pub(crate) fn in_order(keys: &Keys) -> bool {
    let next = keys.iter().skip(1);
    keys.iter().zip(next).all(|(a, b)| a <= b)
}

/// Collects batches.
pub(crate) struct Sorter {
    shared: Shared,
    buffer: Buffer,
    spills: Option<Spills>,
    writing: Option<JoinHandle<Result<Spills>>>,
}

#[derive(Clone)]
struct Shared {
    schema: SchemaRef,
    keys_of: KeysOf,
    limits: Limits,
}

/// Batches in memory.
#[derive(Default)]
struct Buffer {
    batches: Vec<RecordBatch>,
    keys: Vec<Keys>,
    bytes: usize,
    rows: usize,
    out_of_order: bool,
}

impl Buffer {
    /// About how many bytes a row has.
    fn row_bytes(&self) -> usize {
        self.bytes / self.rows.max(1)
    }

    fn push(&mut self, batch: RecordBatch, keys: Keys) {
        let last = self.keys.last().map(|keys| keys.get(keys.len() - 1));
        self.out_of_order |= !in_order(&keys) || last.is_some_and(|last| last > keys.get(0));
        let key_bytes: usize = keys.iter().map(<[u8]>::len).sum();
        self.bytes += batch.get_array_memory_size() + key_bytes + batch.num_rows() * (4 + size_of::<Entry>());
        self.rows += batch.num_rows();
        self.batches.push(batch);
        self.keys.push(keys);
    }
}

/// Runs on disk, and the one that may still grow.
#[derive(Default)]
struct Spills {
    runs: Vec<Run>,
    open: Option<Open>,
}

impl Sorter {
    pub(crate) fn new(schema: SchemaRef, keys_of: KeysOf, limits: Limits) -> Self {
        let shared = Shared { schema, keys_of, limits };
        Self { shared, buffer: Buffer::default(), spills: Some(Spills::default()), writing: None }
    }

    /// Adds rows.
    pub(crate) fn push(&mut self, batch: RecordBatch, keys: Keys) -> Result<()> {
        if batch.num_rows() == 0 {
            return Ok(());
        }
        self.buffer.push(batch, keys);
        if self.buffer.bytes >= self.shared.limits.buffer(self.buffer.row_bytes()) {
            self.spill()?;
        }
        Ok(())
    }

    /// Hands the buffer to a thread that writes it, once the one before has been written.
    fn spill(&mut self) -> Result<()> {
        let mut spills = self.settle()?;
        let buffer = std::mem::take(&mut self.buffer);
        let shared = self.shared.clone();
        let work = move || spills.write(&shared, buffer).map(|()| spills);
        let thread = task::spawn("sort-spill", work)
            .map_err(|source| Error::Write { name: "sort thread".to_owned(), source })?;
        self.writing = Some(thread);
        Ok(())
    }

    /// Waits for the thread that writes.
    fn settle(&mut self) -> Result<Spills> {
        match self.writing.take() {
            Some(thread) => thread.join().expect("writing a run does not panic"),
            None => Ok(self.spills.take().unwrap_or_default()),
        }
    }

    /// Ends the input.
    pub(crate) fn finish(mut self) -> Result<Output> {
        let mut spills = self.settle()?;
        if spills.open.is_none() && spills.runs.is_empty() {
            let in_order = !self.buffer.out_of_order;
            let rows = Box::new(self.buffer.into_sorted(&self.shared));
            return Ok(Output { rows, in_order, spilled: 0 });
        }
        if self.buffer.rows > 0 {
            spills.write(&self.shared, self.buffer)?;
        }
        let mut runs = spills.runs;
        runs.extend(spills.open.map(Open::finish).transpose()?);
        let in_order = runs.len() == 1 && !runs[0].was_sorted;
        let mut spilled: u64 = runs.iter().map(|run| run.bytes).sum();
        // Neighbours are merged with neighbours, so that equal keys stay in input order.
        while runs.len() > FAN_IN {
            let mut merged = Vec::new();
            let mut left = runs.into_iter().peekable();
            while left.peek().is_some() {
                let group: Vec<Run> = left.by_ref().take(FAN_IN).collect();
                let run = run::write_all(&self.shared, Merge::new(&self.shared, group)?)?;
                spilled += run.bytes;
                merged.push(run);
            }
            runs = merged;
        }
        let merge = Merge::new(&self.shared, runs)?;
        let ahead = crate::import::ahead("sort-merge", 4, merge)
            .map_err(|source| Error::Write { name: "sort thread".to_owned(), source })?;
        Ok(Output { rows: Box::new(ahead), in_order, spilled })
    }
}

/// The rows in order; equal keys in input order.
pub(crate) struct Output {
    pub(crate) rows: Box<dyn Iterator<Item = Result<Keyed>> + Send>,
    /// Whether the input was in order already.
    pub(crate) in_order: bool,
    /// Bytes written to temporary files.
    pub(crate) spilled: u64,
}

impl Spills {
    fn write(&mut self, shared: &Shared, buffer: Buffer) -> Result<()> {
        let was_sorted = buffer.out_of_order;
        let row_bytes = buffer.row_bytes();
        // All runs of a merge together must fit into half of the budget.
        let rows = shared.limits.bytes / 2 / FAN_IN / row_bytes.max(1);
        let rows = rows.clamp(1, shared.limits.batch_rows);
        let mut shared = shared.clone();
        shared.limits.batch_rows = rows;
        for keyed in buffer.into_sorted(&shared) {
            let (batch, keys) = keyed?;
            for start in (0..batch.num_rows()).step_by(rows) {
                let part = batch.slice(start, rows.min(batch.num_rows() - start));
                self.append(&shared, &part, keys.get(start), keys.get(start + part.num_rows() - 1), was_sorted)?;
            }
        }
        Ok(())
    }

    fn append(&mut self, shared: &Shared, batch: &RecordBatch, first: &[u8], last: &[u8], sorted: bool) -> Result<()> {
        if self.open.as_ref().is_some_and(|open| open.last.as_slice() > first) {
            self.runs.extend(self.open.take().map(Open::finish).transpose()?);
        }
        let open = match &mut self.open {
            Some(open) => open,
            None => self.open.insert(Open::new(shared)?),
        };
        open.was_sorted |= sorted;
        open.append(batch, last)
    }
}

#[derive(Debug, Clone, Copy)]
struct Entry {
    prefix: u64,
    batch: u32,
    row: u32,
}

impl Buffer {
    fn into_sorted(self, shared: &Shared) -> Box<dyn Iterator<Item = Result<Keyed>> + Send> {
        if !self.out_of_order {
            return Box::new(self.batches.into_iter().zip(self.keys).map(Ok));
        }
        let mut order = Vec::with_capacity(self.rows);
        for (batch, keys) in (0u32..).zip(&self.keys) {
            order.extend((0u32..).zip(keys.iter()).map(|(row, key)| Entry { prefix: prefix(key), batch, row }));
        }
        sort_entries(&mut order, &self.keys, task::width());
        let most = shared.limits.gathered() / self.row_bytes().max(1);
        let rows = most.clamp(1, shared.limits.batch_rows);
        Box::new(Gather { buffer: self, order, next: 0, rows, shared: shared.clone() })
    }
}

fn sort_entries(order: &mut [Entry], keys: &[Keys], width: usize) {
    if width > 1 && order.len() > 1 << 14 {
        let (left, right) = order.split_at_mut(order.len() / 2);
        task::join(|| sort_entries(left, keys, width / 2), || sort_entries(right, keys, width / 2));
    }
    let key = |entry: &Entry| keys[entry.batch as usize].get(entry.row as usize);
    // The standard library's stable sort finds ordered stretches: two sorted halves cost it one merge.
    order.sort_by(|a, b| a.prefix.cmp(&b.prefix).then_with(|| key(a).cmp(key(b))));
}

/// Gathers a sorted buffer's rows batch by batch.
struct Gather {
    buffer: Buffer,
    order: Vec<Entry>,
    next: usize,
    /// How many rows a batch gets.
    rows: usize,
    shared: Shared,
}

impl Iterator for Gather {
    type Item = Result<Keyed>;

    fn next(&mut self) -> Option<Self::Item> {
        let end = (self.next + self.rows).min(self.order.len());
        if self.next == end {
            return None;
        }
        let rows: Vec<(usize, usize)> =
            self.order[self.next..end].iter().map(|entry| (entry.batch as usize, entry.row as usize)).collect();
        self.next = end;
        let batches: Vec<&RecordBatch> = self.buffer.batches.iter().collect();
        Some(gather(&self.shared, &batches, &rows))
    }
}

fn gather(shared: &Shared, batches: &[&RecordBatch], rows: &[(usize, usize)]) -> Result<Keyed> {
    let batch = interleave_record_batch(batches, rows).map_err(Error::arrow("gather sorted rows"))?;
    let keys = (shared.keys_of)(&batch)?;
    Ok((batch, keys))
}

#[cfg(test)]
mod tests;
