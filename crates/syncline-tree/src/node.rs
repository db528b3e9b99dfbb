//! Inner nodes: lists of children with their row counts and last keys.
//!
//! Format: `docs/format/tree.md`. Owns nothing; a node is a value over its bytes. Where a level is cut into nodes is
//! `crate::boundary`'s; how a node is stored as an edit of another one is `patch`'s.
//!
//! Invariants, checked when bytes are read: at least one child, no child without rows, keys strictly ascending, and no
//! byte that is not accounted for, so that a node has one form.

mod patch;

use bytes::Bytes;
use syncline_base::Hash;

pub use patch::{NODE_PATCH, NodePatchCodec, decode_patch, encode_patch};

use crate::{Error, Result};

const MAGIC: [u8; 4] = *b"SYND";
const VERSION: u8 = 1;
/// Magic, version, level, two zero bytes, number of entries, length of all keys.
const HEADER: usize = 16;
/// Child, rows, end of key.
const ENTRY: usize = 32 + 8 + 4;
/// More levels than any table needs: even nodes of two entries would hold 2^40 leaves.
pub const MAX_HEIGHT: u8 = 40;
/// More entries than any rule makes.
const MAX_ENTRIES: usize = 1 << 17;
/// The longest node, in bytes. Keys of a node share it.
const MAX_NODE: usize = 64 << 20;

/// One child of a node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// The child.
    pub id: Hash,
    /// How many rows are below it.
    pub rows: u64,
    /// The largest key below it.
    pub last: Bytes,
}

/// The canonical bytes of a node at `level` (1: its children are leaves).
///
/// # Errors
/// `invalid` when the keys are too long together to fit in a node.
pub fn encode(level: u8, entries: &[Entry]) -> Result<Bytes> {
    let keys: usize = entries.iter().map(|entry| entry.last.len()).sum();
    let total = HEADER + entries.len() * ENTRY + keys;
    if total > MAX_NODE {
        return Err(Error::invalid(format!(
            "an inner node of {} entries takes {total} bytes, over {MAX_NODE}: use shorter keys",
            entries.len()
        )));
    }
    let mut out = Vec::with_capacity(total);
    out.extend_from_slice(&MAGIC);
    out.extend_from_slice(&[VERSION, level, 0, 0]);
    out.extend_from_slice(&(entries.len() as u32).to_le_bytes());
    out.extend_from_slice(&(keys as u32).to_le_bytes());
    entries.iter().for_each(|entry| out.extend_from_slice(entry.id.as_bytes()));
    entries.iter().for_each(|entry| out.extend_from_slice(&entry.rows.to_le_bytes()));
    let mut end = 0_u32;
    for entry in entries {
        end += entry.last.len() as u32;
        out.extend_from_slice(&end.to_le_bytes());
    }
    entries.iter().for_each(|entry| out.extend_from_slice(&entry.last));
    Ok(Bytes::from(out))
}

/// A checked node over its canonical bytes. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Node {
    bytes: Bytes,
    len: usize,
}

impl Node {
    /// Checks canonical bytes. Never panics, whatever the bytes.
    ///
    /// # Errors
    /// `corrupt`, with what is wrong; `invalid` when a newer program wrote them.
    pub fn parse(bytes: Bytes) -> Result<Self> {
        let corrupt = |why: &str| Error::corrupt(format!("reading an inner node: {why}"));
        if bytes.len() < HEADER || bytes[..4] != MAGIC {
            return Err(corrupt("the bytes do not start like one"));
        }
        if bytes[4] != VERSION {
            return Err(Error::invalid(format!(
                "reading an inner node: it is of version {}, this program knows {VERSION}: use a newer program",
                bytes[4]
            )));
        }
        let (len, keys) = (number(&bytes, 8), number(&bytes, 12));
        if len == 0 || len > MAX_ENTRIES || bytes.len() != HEADER + len * ENTRY + keys {
            return Err(corrupt("its length is not what its header says"));
        }
        if bytes[6..8] != [0, 0] || bytes[5] == 0 || bytes[5] >= MAX_HEIGHT {
            return Err(corrupt("its header is not canonical"));
        }
        let node = Self { bytes, len };
        node.check(keys).map_err(corrupt)?;
        Ok(node)
    }

    fn check(&self, keys: usize) -> Result<(), &'static str> {
        let (mut start, mut rows) = (0, 0_u64);
        for i in 0..self.len {
            let end = self.end(i);
            if end < start || end > keys {
                return Err("its keys overlap");
            }
            start = end;
            let below = self.rows(i);
            rows = rows.checked_add(below).filter(|_| below > 0).ok_or("its row counts are impossible")?;
        }
        if start != keys {
            return Err("its keys do not fill their place");
        }
        if (1..self.len).any(|i| self.last(i - 1) >= self.last(i)) {
            return Err("its keys do not ascend");
        }
        Ok(())
    }

    /// Levels below: 1 when its children are leaves.
    #[must_use]
    pub fn level(&self) -> u8 {
        self.bytes[5]
    }

    /// How many children there are; at least one.
    #[must_use]
    #[expect(clippy::len_without_is_empty, reason = "a node is never empty")]
    pub fn len(&self) -> usize {
        self.len
    }

    /// A child's id.
    #[must_use]
    pub fn id(&self, i: usize) -> Hash {
        let at = HEADER + i * Hash::LEN;
        Hash::from_slice(&self.bytes[at..at + Hash::LEN]).expect("the slice has a hash's length")
    }

    /// How many rows are below a child.
    #[must_use]
    pub fn rows(&self, i: usize) -> u64 {
        let at = HEADER + self.len * Hash::LEN + i * 8;
        u64::from_le_bytes(self.bytes[at..at + 8].try_into().expect("the slice has 8 bytes"))
    }

    /// The largest key below a child.
    #[must_use]
    pub fn last(&self, i: usize) -> &[u8] {
        let (start, end) = self.key_range(i);
        &self.bytes[start..end]
    }

    /// Everything about a child; the key shares this node's memory.
    #[must_use]
    pub fn entry(&self, i: usize) -> Entry {
        let (start, end) = self.key_range(i);
        Entry { id: self.id(i), rows: self.rows(i), last: self.bytes.slice(start..end) }
    }

    /// All children in order.
    pub fn entries(&self) -> impl ExactSizeIterator<Item = Entry> + '_ {
        (0..self.len).map(|i| self.entry(i))
    }

    /// The first child that may hold `key`: the first whose largest key is not below it. `len()` when all are below.
    #[must_use]
    pub fn find(&self, key: &[u8]) -> usize {
        let (mut low, mut high) = (0, self.len);
        while low < high {
            let middle = usize::midpoint(low, high);
            if self.last(middle) < key {
                low = middle + 1;
            } else {
                high = middle;
            }
        }
        low
    }

    /// How many rows are below all children.
    #[must_use]
    pub fn total_rows(&self) -> u64 {
        (0..self.len).map(|i| self.rows(i)).sum()
    }

    /// The canonical bytes.
    #[must_use]
    pub fn bytes(&self) -> &Bytes {
        &self.bytes
    }

    fn end(&self, i: usize) -> usize {
        number(&self.bytes, HEADER + self.len * (Hash::LEN + 8) + i * 4)
    }

    fn key_range(&self, i: usize) -> (usize, usize) {
        let keys = HEADER + self.len * ENTRY;
        let start = if i == 0 { 0 } else { self.end(i - 1) };
        (keys + start, keys + self.end(i))
    }
}

fn number(bytes: &[u8], at: usize) -> usize {
    u32::from_le_bytes(bytes[at..at + 4].try_into().expect("the slice has 4 bytes")) as usize
}

#[cfg(test)]
mod tests;
