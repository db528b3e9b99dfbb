//! The messages of an Arrow stream whose size is known: none may be longer than the stream, because a reader makes room
//! for as much as a message says before it reads it.

use std::io::{self, Read};

use arrow_ipc::root_as_message;

/// What a message's length begins with, in streams of today.
const CONTINUATION: [u8; 4] = [0xff; 4];

/// Passes a stream on, and fails where a message says that it is longer than the stream.
pub(super) struct Frames<R> {
    inner: R,
    size: u64,
    /// The head of a message, which has been checked and is still to be passed on.
    head: Vec<u8>,
    passed: usize,
    /// Bytes of the message's body that follow it.
    body: u64,
    ended: bool,
}

impl<R: Read> Frames<R> {
    /// Of a stream with so many bytes.
    pub(super) fn new(inner: R, size: u64) -> Self {
        Self { inner, size, head: Vec::new(), passed: 0, body: 0, ended: false }
    }

    /// Adds so many bytes to the head, or as many as there are.
    fn more(&mut self, bytes: u64) -> io::Result<bool> {
        let read = (&mut self.inner).take(bytes).read_to_end(&mut self.head)?;
        Ok(read as u64 == bytes)
    }

    /// Reads the next message up to its body. What is no message is passed on: the reader says what is wrong with it.
    fn next_head(&mut self) -> io::Result<()> {
        self.head.clear();
        (self.passed, self.ended) = (0, true);
        if !self.more(4)? || self.head == CONTINUATION && !self.more(4)? {
            return Ok(());
        }
        let start = self.head.len();
        let length = self.head[start - 4..].try_into().map_or(0, i32::from_le_bytes);
        let Ok(length) = u64::try_from(length) else { return Ok(()) };
        if length > self.size {
            return Err(self.too_long());
        }
        if length == 0 || !self.more(length)? {
            return Ok(());
        }
        let Ok(message) = root_as_message(&self.head[start..]) else { return Ok(()) };
        self.body = u64::try_from(message.bodyLength())
            .ok()
            .filter(|body| *body <= self.size)
            .ok_or_else(|| self.too_long())?;
        self.ended = false;
        Ok(())
    }

    fn too_long(&self) -> io::Error {
        let why = format!("is damaged: a message says that it is longer than the whole, which has {} bytes", self.size);
        io::Error::new(io::ErrorKind::InvalidData, why)
    }
}

impl<R: Read> Read for Frames<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.passed == self.head.len() && self.body == 0 && !self.ended {
            self.next_head()?;
        }
        let head = &self.head[self.passed..];
        if !head.is_empty() {
            let taken = head.len().min(buffer.len());
            buffer[..taken].copy_from_slice(&head[..taken]);
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
