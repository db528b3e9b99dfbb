//! The value of a live row: its cells that are not null, by the number of their column.
//!
//! Format: `docs/format/live-row.md`. Owns nothing.
//!
//! Invariants: equal rows are equal bytes; a value says all of its row but the key, so that whoever does not know a column can still keep
//! its cells; no bytes make a reader panic or take memory.
//!
//! Not here: which columns there are (`super::definition`), rows as users have them (`super::rows`).

use std::fmt;

use syncline_base::Hash;

/// The version of a value that is its cells and nothing more.
pub const VERSION: u8 = 1;
/// The version of one with marks before its cells: what merging it with its siblings takes (`super::marks`).
pub const MARKED: u8 = 2;

/// Which column a cell is of: the first four bytes of BLAKE3-256 over the column's origin.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct CellId(u32);

impl CellId {
    /// The number of the column with this origin.
    #[must_use]
    pub fn of(origin: &str) -> Self {
        let [a, b, c, d, ..] = *Hash::of(origin.as_bytes()).as_bytes();
        Self(u32::from_le_bytes([a, b, c, d]))
    }

    /// From its number.
    #[must_use]
    pub const fn from_u32(number: u32) -> Self {
        Self(number)
    }

    /// Its number.
    #[must_use]
    pub const fn as_u32(self) -> u32 {
        self.0
    }
}

impl fmt::Debug for CellId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:08x}", self.0)
    }
}

/// Why bytes are not a row's value.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Fault {
    /// A newer program has written it.
    #[error("it is of version {0} and this program knows {MARKED}: update it")]
    Newer(u8),
    /// It has not the layout of one.
    #[error("{0}")]
    Damaged(&'static str),
}

/// The cells of a value, in its order.
#[derive(Debug, Clone)]
pub struct Cells<'a> {
    rest: &'a [u8],
    last: Option<CellId>,
}

impl<'a> Cells<'a> {
    /// Begins to read a value.
    ///
    /// # Errors
    /// When it is empty or of a version that is not known.
    pub fn read(value: &'a [u8]) -> Result<Self, Fault> {
        split(value).map(|(_, rest)| Self { rest, last: None })
    }

    /// The next cell: its column, and its text as JSON.
    ///
    /// # Errors
    /// When the value goes on with something that is no cell.
    #[expect(clippy::should_implement_trait, reason = "an error ends it, which an iterator cannot say by itself")]
    pub fn next(&mut self) -> Result<Option<(CellId, &'a [u8])>, Fault> {
        if self.rest.is_empty() {
            return Ok(None);
        }
        let (id, rest) =
            self.rest.split_first_chunk::<4>().ok_or(Fault::Damaged("it ends in the number of a column"))?;
        let id = CellId(u32::from_le_bytes(*id));
        if self.last.is_some_and(|last| last >= id) {
            return Err(Fault::Damaged("its cells are out of order"));
        }
        let (len, rest) = read_len(rest)?;
        let len = usize::try_from(len).unwrap_or(usize::MAX);
        let (text, rest) = rest.split_at_checked(len).ok_or(Fault::Damaged("a cell is longer than what is left"))?;
        if text.is_empty() {
            return Err(Fault::Damaged("a cell has no text"));
        }
        (self.rest, self.last) = (rest, Some(id));
        Ok(Some((id, text)))
    }

    /// All cells.
    ///
    /// # Errors
    /// As [`Self::next`].
    pub fn all(mut self) -> Result<Vec<(CellId, &'a [u8])>, Fault> {
        let mut all = Vec::new();
        while let Some(cell) = self.next()? {
            all.push(cell);
        }
        Ok(all)
    }
}

/// The marks of a value, if it has any, and its cells; neither is looked at.
///
/// # Errors
/// When it is empty, of a version that is not known, or its marks are longer than it.
pub fn split(value: &[u8]) -> Result<(Option<&[u8]>, &[u8]), Fault> {
    match value {
        [VERSION, rest @ ..] => Ok((None, rest)),
        [MARKED, rest @ ..] => {
            let (len, rest) = read_len(rest)?;
            let len = usize::try_from(len).unwrap_or(usize::MAX);
            let (marks, rest) =
                rest.split_at_checked(len).ok_or(Fault::Damaged("its marks are longer than what is left"))?;
            Ok((Some(marks), rest))
        }
        [] => Err(Fault::Damaged("it is empty")),
        [0, ..] => Err(Fault::Damaged("it begins with zero, which is no version")),
        [version, ..] => Err(Fault::Newer(*version)),
    }
}

/// Reads an integer of at most 63 bits, and gives what comes behind it.
pub(super) fn read_len(mut bytes: &[u8]) -> Result<(u64, &[u8]), Fault> {
    let mut value = 0_u64;
    for shift in (0..63).step_by(7) {
        let Some((byte, rest)) = bytes.split_first() else { break };
        value |= u64::from(byte & 0x7f) << shift;
        bytes = rest;
        if byte & 0x80 == 0 {
            let padded = *byte == 0 && shift > 0;
            return if padded {
                Err(Fault::Damaged("a length is longer than it has to be"))
            } else {
                Ok((value, rest))
            };
        }
    }
    Err(Fault::Damaged("a length does not end"))
}

/// Begins a value.
pub fn begin(out: &mut Vec<u8>) {
    out.push(VERSION);
}

/// Begins a value with marks.
pub fn begin_marked(out: &mut Vec<u8>, marks: &[u8]) {
    out.push(MARKED);
    put_len(out, marks.len() as u64);
    out.extend_from_slice(marks);
}

/// Writes an integer of at most 63 bits.
pub(super) fn put_len(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push((value & 0x7f) as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

/// Adds a cell, whose number is larger than that of the one before, by what `write` appends; that is never nothing.
pub fn put(out: &mut Vec<u8>, id: CellId, write: impl FnOnce(&mut Vec<u8>)) {
    out.extend_from_slice(&id.0.to_le_bytes());
    let at = out.len();
    out.push(0);
    write(out);
    let len = out.len() - at - 1;
    if len < 0x80 {
        out[at] = len as u8;
        return;
    }
    let mut bytes = Vec::with_capacity(4);
    put_len(&mut bytes, len as u64);
    out.splice(at..=at, bytes);
}

#[cfg(test)]
mod tests;
