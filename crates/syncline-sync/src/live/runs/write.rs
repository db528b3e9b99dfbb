//! Writing a run. Format: `docs/format/run.md`.

use std::sync::Arc;

use bytes::BufMut;
use xxhash_rust::xxh3::xxh3_64;

use super::super::pack::Past;
use super::super::row::Row;
use super::super::txn::RowKey;
use super::Place;
use super::file::{FOOTER, Footer, RunName, file_of};
use crate::error::{Error, Result};
use crate::wire::fields::put_uint;

/// A block ends with the row that brings it to so many bytes.
const BLOCK: usize = 4 << 10;
/// About so many bytes go to the disk at once.
const PIECE: usize = 256 << 10;
/// So many bytes are put down at once: who waits for the log's sync on the same disk waits for what is put down before it.
const SYNC: u64 = 1 << 20;
/// So many blocks are told in one list of the index.
const CHUNK: usize = 1024;

/// Writes a run of these rows, which come by key; one without siblings is gone. It is durable when this returns, and counts once a
/// checkpoint names it.
///
/// # Errors
/// The disk's. What was written then is removed, as far as that goes.
pub(super) fn write(place: &Place, id: u64, rows: impl Iterator<Item = (RowKey, Arc<Row>)>) -> Result<RunName> {
    let file = file_of(id);
    place.0.create(&file, 0).map_err(|error| Error::disk("making", &file, &error))?;
    let written = Writer::new(place, id, &file).write(rows);
    if written.is_err() {
        // It is removed when the node is opened the next time, if not now.
        let _ = place.0.remove(&file);
    }
    written
}

struct Writer<'a> {
    place: &'a Place,
    id: u64,
    file: &'a str,
    /// Blocks that are not on the disk yet, and where they go.
    out: Vec<u8>,
    at: u64,
    /// So much of it was put down.
    synced: u64,
    index: Vec<u8>,
    /// Of the chunk of the index that is being written.
    chunk: Vec<u8>,
    chunk_past: Past,
    chunk_len: usize,
    rows: u64,
}

impl<'a> Writer<'a> {
    fn new(place: &'a Place, id: u64, file: &'a str) -> Self {
        Self {
            place,
            id,
            file,
            out: Vec::with_capacity(PIECE + 2 * BLOCK),
            at: 0,
            synced: 0,
            index: Vec::new(),
            chunk: Vec::new(),
            chunk_past: Past::default(),
            chunk_len: 0,
            rows: 0,
        }
    }

    fn write(mut self, rows: impl Iterator<Item = (RowKey, Arc<Row>)>) -> Result<RunName> {
        let (mut block, mut past, mut len, mut first) = (Vec::new(), Past::default(), 0, None);
        for (key, row) in rows {
            past.put_row(&mut block, &key, &row);
            first.get_or_insert(key);
            len += 1;
            if block.len() >= BLOCK {
                self.end_block(first.take(), len, &block)?;
                block.clear();
                (past, len) = (Past::default(), 0);
            }
        }
        self.end_block(first, len, &block)?;
        self.end_chunk();
        self.end()
    }

    fn end_block(&mut self, first: Option<RowKey>, len: u64, rows: &[u8]) -> Result<()> {
        let Some(first) = first else { return Ok(()) };
        let from = self.out.len();
        put_uint(&mut self.out, len);
        self.out.put_slice(rows);
        let block = &self.out[from..];
        self.chunk_past.put_row_key(&mut self.chunk, &first);
        put_uint(&mut self.chunk, block.len() as u64);
        self.chunk.put_u64_le(xxh3_64(block));
        self.chunk_len += 1;
        self.rows += len;
        if self.chunk_len == CHUNK {
            self.end_chunk();
        }
        if self.out.len() >= PIECE { self.flush() } else { Ok(()) }
    }

    fn end_chunk(&mut self) {
        if self.chunk_len > 0 {
            put_uint(&mut self.index, self.chunk_len as u64);
            self.index.put_slice(&self.chunk);
            self.chunk.clear();
            (self.chunk_past, self.chunk_len) = (Past::default(), 0);
        }
    }

    fn flush(&mut self) -> Result<()> {
        let written = self.place.0.write(self.file, self.at, &self.out);
        written.map_err(|error| Error::disk("writing", self.file, &error))?;
        self.at += self.out.len() as u64;
        self.out.clear();
        if self.at - self.synced < SYNC {
            return Ok(());
        }
        self.synced = self.at;
        self.place.0.sync(self.file).map_err(|error| Error::disk("making durable", self.file, &error))
    }

    fn end(mut self) -> Result<RunName> {
        let index = self.at + self.out.len() as u64;
        let footer = Footer { id: self.id, index, index_sum: xxh3_64(&self.index), rows: self.rows }.encode();
        self.out.put_slice(&self.index);
        self.out.put_slice(&footer);
        self.flush()?;
        let synced = self.place.0.sync(self.file).and_then(|()| self.place.0.sync_names());
        synced.map_err(|error| Error::disk("making durable", self.file, &error))?;
        debug_assert!(self.at >= FOOTER as u64, "a footer was written");
        Ok(RunName { id: self.id, bytes: self.at, sum: Footer::sum(&footer) })
    }
}
