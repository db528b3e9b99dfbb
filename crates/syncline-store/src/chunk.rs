//! Content-defined chunking: where a long content is cut into chunks.
//!
//! Normative description: `docs/format/chunk.md`. A Gear hash runs over the bytes from [`MIN`] on; a chunk ends *after*
//! the first byte at which the hash has zeros in all places of [`MASK`], or at [`MAX`] bytes, or where the content ends.
//! Source: "FastCDC: a Fast and Efficient Content-Defined Chunking Approach for Data Deduplication" (Xia et al., 2016),
//! without its normalisation, which costs deduplication at equal mean size.
//!
//! Invariants, on which incremental writers rely:
//! - the end of a chunk is a pure function of the chunk's own bytes: the bytes before it and after it do not matter, so
//!   chunking can restart at any chunk start, and a chunk that is found unchanged in place ends where it ended before
//!   (unless it was the last one of its content: that one may have been ended by the end);
//! - memory is bounded by one chunk and one read buffer.
//!
//! Not here: hashing, storing or finding chunks.

use std::io::{self, Read};

use bytes::{Bytes, BytesMut};

/// No chunk is shorter, except the last one of a content.
pub const MIN: usize = 32 << 10;
/// No chunk is longer.
pub const MAX: usize = 320 << 10;
/// The hash must be zero in these 15 places for a chunk to end: beyond `MIN`, one position in 32 Ki, so that chunks of
/// unstructured bytes are 64 KiB long on average.
pub const MASK: u64 = 0x0000_d90f_0353_0000;

/// The length of the first chunk of `data`.
///
/// `data` must hold at least [`MAX`] bytes or reach to the end of the content; with less, a chunk that would go on is cut
/// short. 0 only for no data.
#[must_use]
pub fn cut(data: &[u8]) -> usize {
    let limit = data.len().min(MAX);
    if limit <= MIN {
        return limit;
    }
    // The two mask pairs are equal, so the crate's average (where it would change masks) has no influence.
    let (_, at) = fastcdc::v2020::cut(&data[..limit], MIN, 2 * MIN, MAX, MASK, MASK, MASK << 1, MASK << 1);
    // The crate ends the chunk before the byte that decided; we take that byte in, so that the decision is the chunk's own.
    (at + 1).min(limit)
}

/// Cuts `data`, a whole content, into the lengths of its chunks.
pub fn lengths(data: &[u8]) -> impl Iterator<Item = usize> {
    let mut rest = data;
    std::iter::from_fn(move || {
        let length = cut(rest);
        rest = &rest[length..];
        (length > 0).then_some(length)
    })
}

/// Cuts a stream into chunks. Ends at the stream's end; an error of the stream is returned once, and ends it too.
#[derive(Debug)]
pub struct Chunks<R> {
    source: Option<R>,
    buffer: BytesMut,
}

/// How much is read at once. Large enough that most chunks are handed out without copying their bytes around.
const READ: usize = 1 << 20;

impl<R: Read> Chunks<R> {
    /// Chunks of what `source` gives from here on.
    pub fn new(source: R) -> Self {
        Self { source: Some(source), buffer: BytesMut::new() }
    }

    /// Reads until at least `MAX` bytes are there or the stream ends.
    fn fill(&mut self) -> io::Result<()> {
        while self.buffer.len() < MAX {
            let Some(source) = &mut self.source else { return Ok(()) };
            let have = self.buffer.len();
            self.buffer.resize(have + READ, 0);
            let got = loop {
                match source.read(&mut self.buffer[have..]) {
                    Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                    other => break other,
                }
            };
            self.buffer.truncate(have + got.as_ref().copied().unwrap_or(0));
            if got? == 0 {
                self.source = None;
            }
        }
        Ok(())
    }
}

impl<R: Read> Iterator for Chunks<R> {
    type Item = io::Result<Bytes>;

    fn next(&mut self) -> Option<Self::Item> {
        if let Err(error) = self.fill() {
            self.source = None;
            self.buffer.clear();
            return Some(Err(error));
        }
        let length = cut(&self.buffer);
        (length > 0).then(|| Ok(self.buffer.split_to(length).freeze()))
    }
}

#[cfg(test)]
mod tests;
