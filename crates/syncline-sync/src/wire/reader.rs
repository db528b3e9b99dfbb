//! Reads fields from a peer's bytes and trusts none of them.

use std::sync::Arc;

use bytes::{Buf as _, Bytes};
use syncline_base::Hash;

use super::{MAX_IDS, MAX_NAMES, MAX_TEXT};
use crate::error::{Error, Result};

/// Bytes that are read from front to back.
#[derive(Debug, Default)]
pub(crate) struct Reader {
    bytes: Bytes,
}

impl Reader {
    pub(crate) fn new(bytes: Bytes) -> Self {
        Self { bytes }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }

    pub(crate) fn take(&mut self, what: &'static str, n: u64) -> Result<Bytes> {
        match usize::try_from(n) {
            Ok(n) if n <= self.bytes.len() => Ok(self.bytes.split_to(n)),
            _ => Err(self.short(what, n)),
        }
    }

    pub(crate) fn u8(&mut self, what: &'static str) -> Result<u8> {
        self.array(what).map(|[byte]| byte)
    }

    pub(crate) fn uint(&mut self, what: &'static str) -> Result<u64> {
        let mut value = 0u64;
        for (shift, nth) in (0..64).step_by(7).zip(1..) {
            let Some(&byte) = self.bytes.get(nth - 1) else {
                self.bytes.clear();
                return Err(self.short(what, 1));
            };
            let part = u64::from(byte & 0x7f);
            if part << shift >> shift != part {
                break;
            }
            value |= part << shift;
            if byte == 0 && shift > 0 {
                return Err(Error::protocol(what, "a number that is longer than it has to be"));
            }
            if byte & 0x80 == 0 {
                self.bytes.advance(nth);
                return Ok(value);
            }
        }
        Err(Error::protocol(what, "a number of more than 64 bits"))
    }

    #[cold]
    fn short(&self, what: &'static str, n: u64) -> Error {
        Error::protocol(what, format!("it claims {n} bytes and {} are left", self.bytes.len()))
    }

    pub(crate) fn u32(&mut self, what: &'static str) -> Result<u32> {
        let value = self.uint(what)?;
        u32::try_from(value).map_err(|_| Error::protocol(what, format!("{value} is out of range")))
    }

    pub(crate) fn flag(&mut self, what: &'static str) -> Result<bool> {
        match self.u8(what)? {
            0 => Ok(false),
            1 => Ok(true),
            other => Err(Error::protocol(what, format!("{other} is neither 0 nor 1"))),
        }
    }

    pub(crate) fn bytes(&mut self, what: &'static str) -> Result<Bytes> {
        let n = self.uint(what)?;
        self.take(what, n)
    }

    pub(crate) fn text(&mut self, what: &'static str) -> Result<String> {
        self.text_as(what, str::to_owned)
    }

    /// A text that many will hold.
    pub(crate) fn shared_text(&mut self, what: &'static str) -> Result<Arc<str>> {
        self.text_as(what, |text| Arc::from(text))
    }

    fn text_as<T>(&mut self, what: &'static str, make: impl FnOnce(&str) -> T) -> Result<T> {
        let bytes = self.bytes(what)?;
        if bytes.len() > MAX_TEXT {
            return Err(Error::protocol(what, format!("a text of {} bytes; {MAX_TEXT} are allowed", bytes.len())));
        }
        std::str::from_utf8(&bytes).map(make).map_err(|_| Error::protocol(what, "text that is not UTF-8"))
    }

    pub(crate) fn count(&mut self, what: &'static str, max: usize) -> Result<usize> {
        let n = self.uint(what)?;
        match usize::try_from(n) {
            Ok(n) if n <= max => Ok(n),
            _ => Err(Error::protocol(what, format!("{n} of them; {max} are allowed"))),
        }
    }

    pub(crate) fn names(&mut self, what: &'static str) -> Result<Vec<String>> {
        let n = self.count(what, MAX_NAMES)?;
        (0..n).map(|_| self.text(what)).collect()
    }

    pub(crate) fn hash(&mut self, what: &'static str) -> Result<Hash> {
        self.array(what).map(Hash::from_bytes)
    }

    /// A copy: to take a piece is to count one more who has the bytes, which costs more than a few of them.
    pub(crate) fn array<const N: usize>(&mut self, what: &'static str) -> Result<[u8; N]> {
        let array = *self.bytes.first_chunk().ok_or_else(|| self.short(what, N as u64))?;
        self.bytes.advance(N);
        Ok(array)
    }

    pub(crate) fn option(&mut self, what: &'static str) -> Result<Option<Hash>> {
        if self.flag(what)? { self.hash(what).map(Some) } else { Ok(None) }
    }

    pub(crate) fn ids(&mut self, what: &'static str) -> Result<Vec<Hash>> {
        let n = self.count(what, MAX_IDS)?;
        let bytes = self.take(what, (n * Hash::LEN) as u64)?;
        Ok(bytes.chunks_exact(Hash::LEN).filter_map(Hash::from_slice).collect())
    }

    pub(crate) fn rest(&mut self) -> Bytes {
        std::mem::take(&mut self.bytes)
    }

    pub(crate) fn end(&self, what: &'static str) -> Result<()> {
        if self.bytes.is_empty() {
            return Ok(());
        }
        Err(Error::protocol(what, format!("{} bytes more than it has fields", self.bytes.len())))
    }
}
