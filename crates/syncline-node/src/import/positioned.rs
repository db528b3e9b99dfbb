//! A file that is read at offsets of its own.
//!
//! Clones of one open file share the offset that the system keeps for it, and sources are read on several threads and
//! more than once: nobody here reads at that offset.

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::os::unix::fs::FileExt;
use std::sync::Arc;

/// A file, and where in it this reader is. Clones read on their own.
#[derive(Debug, Clone)]
pub(super) struct Positioned {
    file: Arc<File>,
    at: u64,
    size: u64,
}

impl Positioned {
    /// At the start of a file.
    pub(super) fn new(file: File) -> io::Result<Self> {
        let size = file.metadata()?.len();
        Ok(Self { file: Arc::new(file), at: 0, size })
    }

    /// Another reader of the same file.
    pub(super) fn at(&self, at: u64) -> Self {
        Self { at, ..self.clone() }
    }

    /// How many bytes the file had when it was opened.
    pub(super) const fn size(&self) -> u64 {
        self.size
    }
}

impl Read for Positioned {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        let read = self.file.read_at(out, self.at)?;
        self.at += read as u64;
        Ok(read)
    }
}

impl Seek for Positioned {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        let at = match to {
            SeekFrom::Start(at) => Some(at),
            SeekFrom::End(by) => self.size.checked_add_signed(by),
            SeekFrom::Current(by) => self.at.checked_add_signed(by),
        };
        self.at = at.ok_or_else(|| io::Error::new(io::ErrorKind::InvalidInput, "a seek to before the file's start"))?;
        Ok(self.at)
    }
}
