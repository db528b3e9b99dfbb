//! Values of rows in a list: those that are made of cells name the columns of their cells once for many rows.
//!
//! Nothing here knows what a cell is. A value that does not have this layout, or is one of too many kinds, is told as it is.

use bytes::{BufMut, Bytes};

use crate::error::{Error, Result};
use crate::wire::fields::{put_bytes, put_uint};
use crate::wire::reader::Reader;

/// What a value that is made of cells begins with.
const CELLS: u8 = 1;
/// How many bytes name the column of a cell.
const NAME: usize = 4;
/// The most shapes of one table's rows in one list.
const MOST: usize = 64;

const DELETED: u64 = 0;
const PLAIN: u64 = 1;
const FIRST: u64 = 2;

/// The columns of the cells of rows that came before, in the order in which each set came first.
#[derive(Debug, Default)]
pub(super) struct Shapes {
    known: Vec<Box<[u8]>>,
    /// For the columns of the value at hand.
    names: Vec<u8>,
}

/// A cell of a value: its column, its content, and what follows.
fn split(cell: &[u8]) -> Option<(&[u8], &[u8], &[u8])> {
    let (name, mut rest) = cell.split_at_checked(NAME)?;
    let (mut len, mut shift) = (0_usize, 0);
    loop {
        let (byte, more) = rest.split_first()?;
        // What is longer than this is longer than any value.
        if shift > 28 || (*byte == 0 && shift > 0) {
            return None;
        }
        len |= usize::from(byte & 0x7f) << shift;
        (rest, shift) = (more, shift + 7);
        if byte & 0x80 == 0 {
            break;
        }
    }
    let (content, rest) = rest.split_at_checked(len)?;
    Some((name, content, rest))
}

impl Shapes {
    /// Finds out the columns of a value. Whether it is made of cells.
    fn look(&mut self, value: &[u8]) -> bool {
        self.names.clear();
        let Some((&CELLS, mut rest)) = value.split_first() else { return false };
        while !rest.is_empty() {
            let Some((name, _, more)) = split(rest) else { return false };
            self.names.extend_from_slice(name);
            rest = more;
        }
        true
    }

    fn find(&self) -> Option<usize> {
        self.known.iter().position(|known| **known == self.names[..])
    }

    /// Writes a value, or that there is none.
    pub(super) fn put(&mut self, out: &mut Vec<u8>, value: Option<&[u8]>) {
        let Some(value) = value else { return put_uint(out, DELETED) };
        let found = if self.look(value) { self.find() } else { Some(MOST) };
        match found {
            Some(at) if at < MOST => put_uint(out, FIRST + at as u64),
            None if self.known.len() < MOST => {
                put_uint(out, FIRST + self.known.len() as u64);
                put_uint(out, (self.names.len() / NAME) as u64);
                out.put_slice(&self.names);
                self.known.push(self.names[..].into());
            }
            _ => {
                put_uint(out, PLAIN);
                return put_bytes(out, value);
            }
        }
        let mut rest = &value[1..];
        while let Some((_, content, more)) = split(rest) {
            put_bytes(out, content);
            rest = more;
        }
    }

    /// Reads a value that has at most `most` bytes, if there is one.
    pub(super) fn read(&mut self, r: &mut Reader, most: usize) -> Result<Option<Bytes>> {
        let kind = r.uint("value")?;
        if kind == DELETED {
            return Ok(None);
        }
        let wrong = |why: &str| Err(Error::protocol("value", why));
        if kind == PLAIN {
            let value = r.bytes("value")?;
            let (cells, full) = (self.look(&value), self.known.len() >= MOST);
            if cells && (!full || self.find().is_some()) {
                return wrong("it is made of cells and does not say so");
            }
            if value.len() > most {
                return wrong("it is longer than a value may be");
            }
            return Ok(Some(value));
        }
        let at = usize::try_from(kind - FIRST).unwrap_or(usize::MAX);
        if at > self.known.len() || at >= MOST {
            return wrong("cells of columns that were not named before");
        }
        if at == self.known.len() {
            let bytes = r.uint("columns")?.saturating_mul(NAME as u64);
            self.names.clear();
            self.names.extend_from_slice(&r.take("columns", bytes)?);
            if self.find().is_some() {
                return wrong("columns that were named before");
            }
            self.known.push(self.names[..].into());
        }
        let mut value = Vec::with_capacity(64);
        value.put_u8(CELLS);
        for name in self.known[at].chunks_exact(NAME) {
            let content = r.bytes("cell")?;
            value.put_slice(name);
            put_bytes(&mut value, &content);
            if value.len() > most {
                return wrong("it is longer than a value may be");
            }
        }
        Ok(Some(value.into()))
    }
}

/// How much of two keys is the same, from the first byte on.
fn shared(a: &[u8], b: &[u8]) -> usize {
    a.iter().zip(b).take_while(|(a, b)| a == b).count()
}

/// Writes a key by what differs from the one before.
pub(super) fn put_key(out: &mut Vec<u8>, before: &[u8], key: &[u8]) {
    let same = shared(before, key);
    let rest = &key[same..];
    let half = |n: usize| n.min(15) as u8;
    out.put_u8(half(same) << 4 | half(rest.len()));
    for n in [same, rest.len()] {
        if let Some(more) = n.checked_sub(15) {
            put_uint(out, more as u64);
        }
    }
    out.put_slice(rest);
}

/// Reads a key that differs from the one before; it has at most `most` bytes.
pub(super) fn read_key(r: &mut Reader, before: &[u8], most: usize) -> Result<Bytes> {
    let halves = r.u8("key")?;
    let mut full = |half: u8| match half {
        15 => r.uint("key").map(|more| usize::try_from(more.saturating_add(15)).unwrap_or(usize::MAX)),
        n => Ok(usize::from(n)),
    };
    let (same, rest) = (full(halves >> 4)?, full(halves & 15)?);
    let rest = r.take("key", rest as u64)?;
    let Some((same, differs)) = before.split_at_checked(same) else {
        return Err(Error::protocol("key", "it shares more with the one before than that has"));
    };
    if !rest.is_empty() && differs.first() == rest.first() {
        return Err(Error::protocol("key", "it shares more with the one before than it says"));
    }
    if same.len() + rest.len() > most {
        return Err(Error::protocol("key", "it is longer than a key may be"));
    }
    Ok(if same.is_empty() { rest } else { [same, &rest[..]].concat().into() })
}
