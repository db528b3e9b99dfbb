//! Reading runs in the order of their rows: one, and several at once.

use std::sync::Arc;
use std::vec::IntoIter;

use bytes::Bytes;

use super::super::row::Row;
use super::super::txn::RowKey;
use super::file::Run;

/// A row and where it is.
type KeyedRow = (RowKey, Arc<Row>);

/// About so many bytes are read at once.
const AHEAD: usize = 256 << 10;

/// The rows of one run, from one on. It ends early when something cannot be read, which the run notes.
#[derive(Debug)]
pub(in super::super) struct Scan {
    run: Arc<Run>,
    /// The next block.
    next: usize,
    /// Bytes that were read, which begin with that one.
    ahead: Bytes,
    rows: IntoIter<KeyedRow>,
    /// Rows before this one are left out.
    from: Option<RowKey>,
}

impl Scan {
    pub(super) fn new(run: Arc<Run>, next: usize, from: &RowKey) -> Self {
        Self { run, next, ahead: Bytes::new(), rows: Vec::new().into_iter(), from: Some(from.clone()) }
    }

    /// Reads the next block. Whether there is one.
    fn read(&mut self) -> bool {
        let Some(slot) = self.run.slots().get(self.next) else { return false };
        let len = slot.len as usize;
        if self.ahead.len() < len {
            // The first block is asked for alone: it may be all that somebody wants.
            let most = if self.from.is_some() { 0 } else { AHEAD };
            let more = self.run.slots()[self.next..].iter().map(|slot| slot.len as usize);
            let mut bytes = 0;
            more.take_while(|len| {
                let fits = bytes == 0 || bytes + len <= most;
                bytes += if fits { *len } else { 0 };
                fits
            })
            .for_each(drop);
            let Some(read) = self.run.bytes(slot.offset, bytes) else { return self.end() };
            self.ahead = read;
        }
        let bytes = self.ahead.split_to(len);
        let Some(mut rows) = self.run.block(self.next, bytes) else { return self.end() };
        self.next += 1;
        if let Some(from) = self.from.take() {
            rows.drain(..rows.partition_point(|(key, _)| *key < from));
        }
        self.rows = rows.into_iter();
        true
    }

    fn end(&mut self) -> bool {
        self.next = usize::MAX;
        false
    }
}

impl Iterator for Scan {
    type Item = KeyedRow;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            if let Some(row) = self.rows.next() {
                return Some(row);
            }
            if !self.read() {
                return None;
            }
        }
    }
}

/// What several runs say together, by row: of each what the last of them says.
#[derive(Debug)]
pub(in super::super) struct Merged {
    /// The oldest first, each with its next row.
    runs: Vec<(Option<KeyedRow>, Scan)>,
    /// Whether rows that are gone are left out.
    exist: bool,
}

impl Merged {
    pub(super) fn new(runs: Vec<Scan>, exist: bool) -> Self {
        let next = |mut scan: Scan| (scan.next(), scan);
        Self { runs: runs.into_iter().map(next).collect(), exist }
    }

    fn first(&mut self) -> Option<KeyedRow> {
        let mut first: Option<usize> = None;
        for at in (0..self.runs.len()).rev() {
            let Some((key, _)) = &self.runs[at].0 else { continue };
            let least = first.and_then(|first| self.runs[first].0.as_ref());
            if least.is_none_or(|(least, _)| key < least) {
                first = Some(at);
            }
        }
        let row = self.step(first?)?;
        // What older ones say of it does not count.
        for at in 0..self.runs.len() {
            if self.runs[at].0.as_ref().is_some_and(|(key, _)| *key == row.0) {
                self.step(at);
            }
        }
        Some(row)
    }

    fn step(&mut self, at: usize) -> Option<KeyedRow> {
        let (next, scan) = &mut self.runs[at];
        std::mem::replace(next, scan.next())
    }
}

impl Iterator for Merged {
    type Item = KeyedRow;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            let (key, row) = self.first()?;
            if !self.exist || !row.is_empty() {
                return Some((key, row));
            }
        }
    }
}
