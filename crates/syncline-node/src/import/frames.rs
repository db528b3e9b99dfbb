//! The messages of an Arrow stream, held against what comes before a reader makes room for what they say.
//!
//! A reader makes room for as much as a message says that its body has, and for as much as a compressed buffer says that it was,
//! before it reads or decompresses any of it.

use std::io::{self, Read};

use arrow_ipc::root_as_message;

use super::places;

/// What a message's length begins with, in streams of today.
const CONTINUATION: [u8; 4] = [0xff; 4];
/// The longest message apart from its body: a schema, or where the buffers of a batch are.
const HEAD_MAX: u64 = 64 << 20;
/// The longest body. Columns have offsets of 32 bits, so no reader can use more.
const BODY_MAX: u64 = 4 << 30;

/// Passes a stream on, and fails where a message says what cannot be.
pub(super) struct Frames<R> {
    inner: R,
    /// How long the stream is, when that is known.
    size: Option<u64>,
    /// What has been read and checked and is still to be passed on: the head of a message, with its body where that has to be
    /// looked at, too.
    held: Vec<u8>,
    passed: usize,
    /// Bytes of the message's body that follow it.
    body: u64,
    ended: bool,
}

impl<R: Read> Frames<R> {
    /// Of a stream with so many bytes, when that is known.
    pub(super) fn new(inner: R, size: Option<u64>) -> Self {
        Self { inner, size, held: Vec::new(), passed: 0, body: 0, ended: false }
    }

    /// Adds so many bytes to what is held, or as many as there are: room is made as they come.
    fn more(&mut self, bytes: u64) -> io::Result<bool> {
        let read = (&mut self.inner).take(bytes).read_to_end(&mut self.held)?;
        Ok(read as u64 == bytes)
    }

    /// Reads the next message up to its body, or with it. What is no message is passed on: the reader says what is wrong with it.
    fn next_message(&mut self) -> io::Result<()> {
        // What held a long body is not kept for the rest of the stream.
        self.held = Vec::new();
        (self.passed, self.ended) = (0, true);
        if !self.more(4)? || self.held == CONTINUATION && !self.more(4)? {
            return Ok(());
        }
        let start = self.held.len();
        let length = self.held[start - 4..].try_into().map_or(0, i32::from_le_bytes);
        let Ok(length) = u64::try_from(length) else { return Ok(()) };
        self.check_length(length, HEAD_MAX)?;
        if length == 0 || !self.more(length)? {
            return Ok(());
        }
        let Ok(message) = root_as_message(&self.held[start..]) else { return Ok(()) };
        let body = u64::try_from(message.bodyLength()).map_err(|_| wrong("a message has a negative length"))?;
        self.check_length(body, BODY_MAX)?;
        let compressed = places::batch_of(&message).is_some_and(|batch| batch.compression().is_some());
        if !compressed && self.size.is_some() {
            (self.body, self.ended) = (body, false);
            return Ok(());
        }
        let head = self.held.len();
        if !self.more(body)? {
            return Err(wrong("it ends inside of a batch, or a batch says that it is longer than it is"));
        }
        self.ended = false;
        let (head, body) = self.held.split_at(head);
        match root_as_message(&head[start..]).ok().as_ref().and_then(places::batch_of) {
            Some(batch) if compressed => {
                let prefix = |offset: u64| body.get(usize::try_from(offset).ok()?..)?.first_chunk().copied();
                places::check_compressed(&batch, prefix).map_err(|why| wrong(&why))
            }
            _ => Ok(()),
        }
    }

    fn check_length(&self, length: u64, most: u64) -> io::Result<()> {
        match self.size {
            Some(size) if length > size => {
                Err(wrong(&format!("a message says that it is longer than the whole, which has {size} bytes")))
            }
            _ if length > most => {
                Err(wrong(&format!("a message says that it has {length} bytes, and at most {most} can be used")))
            }
            _ => Ok(()),
        }
    }
}

fn wrong(what: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, format!("is damaged: {what}"))
}

impl<R: Read> Read for Frames<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.passed == self.held.len() && self.body == 0 && !self.ended {
            self.next_message()?;
        }
        let held = &self.held[self.passed..];
        if !held.is_empty() {
            let taken = held.len().min(buffer.len());
            buffer[..taken].copy_from_slice(&held[..taken]);
            self.passed += taken;
            return Ok(taken);
        }
        if self.ended {
            return self.inner.read(buffer);
        }
        let most = buffer.len().min(usize::try_from(self.body).unwrap_or(usize::MAX));
        let read = self.inner.read(&mut buffer[..most])?;
        self.body -= read as u64;
        // The stream ends inside of the body.
        self.ended |= read == 0 && most > 0;
        Ok(read)
    }
}

#[cfg(test)]
mod tests;
