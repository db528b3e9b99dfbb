//! Merges sorted runs; of equal keys, the one of the earlier run comes first.

use arrow_array::RecordBatch;
use syncline_tree::key::Keys;

use super::run::Run;
use super::{Keyed, Shared, gather, prefix};
use crate::import::Result;

/// A run's place in the merge.
struct Cursor {
    rest: Box<dyn Iterator<Item = Result<Keyed>> + Send>,
    keys: Keys,
    row: usize,
    prefix: u64,
    /// Its batch in `Merge::live`.
    batch: usize,
    /// Bytes of a row of that batch, about.
    row_bytes: usize,
}

fn row_bytes(batch: &RecordBatch) -> usize {
    batch.get_array_memory_size() / batch.num_rows().max(1)
}

impl Cursor {
    fn key(&self) -> &[u8] {
        self.keys.get(self.row)
    }
}

/// The merge, as an iterator of batches.
pub(super) struct Merge {
    shared: Shared,
    cursors: Vec<Cursor>,
    /// A binary heap of cursors by their key.
    heap: Vec<usize>,
    /// Batches that rows waiting to be gathered are in.
    live: Vec<RecordBatch>,
    rows: Vec<(usize, usize)>,
    /// Their bytes, about.
    bytes: usize,
    /// The only run there is: nothing to merge.
    single: Option<Box<dyn Iterator<Item = Result<Keyed>> + Send>>,
    failed: bool,
}

impl Merge {
    pub(super) fn new(shared: &Shared, mut runs: Vec<Run>) -> Result<Self> {
        let mut merge = Self {
            shared: shared.clone(),
            cursors: Vec::with_capacity(runs.len()),
            heap: Vec::with_capacity(runs.len()),
            live: Vec::new(),
            rows: Vec::new(),
            bytes: 0,
            single: None,
            failed: false,
        };
        if runs.len() == 1 {
            merge.single = runs.pop().map(|run| run.read(shared)).transpose()?;
            return Ok(merge);
        }
        for run in runs {
            let mut rest = run.read(shared)?;
            let Some(first) = rest.next() else { continue };
            let (batch, keys) = first?;
            let (prefix, row_bytes) = (prefix(keys.get(0)), row_bytes(&batch));
            merge.live.push(batch);
            merge.cursors.push(Cursor { rest, keys, row: 0, prefix, batch: merge.live.len() - 1, row_bytes });
        }
        merge.heap = (0..merge.cursors.len()).collect();
        for at in (0..merge.heap.len() / 2).rev() {
            merge.sift_down(at);
        }
        Ok(merge)
    }

    fn less(&self, a: usize, b: usize) -> bool {
        let (x, y) = (&self.cursors[a], &self.cursors[b]);
        x.prefix.cmp(&y.prefix).then_with(|| x.key().cmp(y.key())).then(a.cmp(&b)).is_lt()
    }

    fn sift_down(&mut self, mut at: usize) {
        loop {
            let mut least = at;
            for child in [2 * at + 1, 2 * at + 2] {
                if child < self.heap.len() && self.less(self.heap[child], self.heap[least]) {
                    least = child;
                }
            }
            if least == at {
                return;
            }
            self.heap.swap(at, least);
            at = least;
        }
    }

    /// Takes the least row and moves its cursor on.
    fn step(&mut self) -> Result<()> {
        let top = self.heap[0];
        let cursor = &mut self.cursors[top];
        self.rows.push((cursor.batch, cursor.row));
        self.bytes += cursor.row_bytes;
        cursor.row += 1;
        if cursor.row == cursor.keys.len() {
            match cursor.rest.next() {
                Some(next) => {
                    let (batch, keys) = next?;
                    cursor.row_bytes = row_bytes(&batch);
                    self.live.push(batch);
                    (cursor.keys, cursor.row, cursor.batch) = (keys, 0, self.live.len() - 1);
                }
                None => {
                    self.heap.swap_remove(0);
                    self.sift_down(0);
                    return Ok(());
                }
            }
        }
        cursor.prefix = prefix(cursor.keys.get(cursor.row));
        self.sift_down(0);
        Ok(())
    }

    fn next_batch(&mut self) -> Result<Option<Keyed>> {
        let limits = (self.shared.limits.batch_rows, self.shared.limits.gathered());
        while self.rows.len() < limits.0 && self.bytes <= limits.1 && !self.heap.is_empty() {
            self.step()?;
        }
        self.bytes = 0;
        if self.rows.is_empty() {
            return Ok(None);
        }
        let batches: Vec<&RecordBatch> = self.live.iter().collect();
        let merged = gather(&self.shared, &batches, &self.rows)?;
        self.rows.clear();
        // Only the batches that cursors stand in are needed from here on.
        let mut kept = Vec::with_capacity(self.heap.len());
        for at in &self.heap {
            let cursor = &mut self.cursors[*at];
            kept.push(self.live[cursor.batch].clone());
            cursor.batch = kept.len() - 1;
        }
        self.live = kept;
        Ok(Some(merged))
    }
}

impl Iterator for Merge {
    type Item = Result<Keyed>;

    fn next(&mut self) -> Option<Self::Item> {
        if let Some(single) = &mut self.single {
            return single.next();
        }
        if self.failed {
            return None;
        }
        let next = self.next_batch().transpose();
        self.failed = matches!(next, Some(Err(_)));
        next
    }
}
