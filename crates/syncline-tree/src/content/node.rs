//! List nodes: the inner nodes of a chunk tree. Layout: `docs/format/files.md`.

use bytes::{BufMut, Bytes, BytesMut};
use syncline_base::Hash;
use syncline_store::chunk;

use crate::{Error, Result};

const MAGIC: [u8; 4] = *b"SLCL";
const VERSION: u8 = 1;
const HEADER: usize = 8;

/// A node ends after a child whose id has zeros in these places, from `MIN_CHILDREN` on: 128 children on average.
const MASK: u64 = 63;
const MIN_CHILDREN: usize = 64;
/// No node has more children, whatever their ids.
pub(super) const MAX_CHILDREN: usize = 640;
/// No list node has more bytes.
pub const MAX_LIST: usize = HEADER + MAX_CHILDREN * (Hash::LEN + 8);
/// No tree is higher: 64 children in each of 10 levels, with the shortest chunks, are more than 2^64 bytes.
pub(super) const MAX_HEIGHT: u8 = 10;

/// A child of a list node.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Child {
    /// The chunk or list node.
    pub id: Hash,
    /// How many bytes of content are below it.
    pub len: u64,
}

/// One list node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ListNode {
    /// 1 when the children are chunks, else one more than the children's level.
    pub level: u8,
    /// In content order; never empty.
    pub children: Vec<Child>,
}

/// Whether a node that has `count` children ends after the last of them, which has this id.
pub(super) fn ends(count: usize, last: &Hash) -> bool {
    count >= MAX_CHILDREN || (count >= MIN_CHILDREN && last.prefix_u64() & MASK == 0)
}

impl ListNode {
    /// Whether canonical bytes begin as a list node's do.
    #[must_use]
    pub fn is(bytes: &[u8]) -> bool {
        bytes.starts_with(&MAGIC)
    }

    /// How many bytes of content are below it.
    #[must_use]
    pub fn len(&self) -> u64 {
        self.children.iter().map(|child| child.len).sum()
    }

    /// Never true for a node that was decoded: a node has at least one child.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.children.is_empty()
    }

    /// The canonical bytes.
    #[must_use]
    pub fn encode(&self) -> Bytes {
        let width = len_width(self.level);
        let mut out = BytesMut::with_capacity(HEADER + self.children.len() * (Hash::LEN + width));
        out.put_slice(&MAGIC);
        out.put_u8(VERSION);
        out.put_u8(self.level);
        // Bounded by MAX_CHILDREN.
        out.put_u16_le(u16::try_from(self.children.len()).unwrap_or(u16::MAX));
        for child in &self.children {
            out.put_slice(child.id.as_bytes());
        }
        for child in &self.children {
            out.put_slice(&child.len.to_le_bytes()[..width]);
        }
        out.freeze()
    }

    /// From canonical bytes. Never panics, whatever the bytes.
    ///
    /// # Errors
    /// `Corrupt` when the bytes are not a list node's.
    pub fn decode(bytes: &[u8]) -> Result<Self> {
        let wrong = |reason: String| Error::corrupt(format!("a list node of a large content is not valid: {reason}"));
        let (Some(header), Some(body)) = (bytes.get(..HEADER), bytes.get(HEADER..)) else {
            return Err(wrong(format!("it has only {} bytes", bytes.len())));
        };
        if header[..4] != MAGIC {
            return Err(wrong("it does not begin like one".to_owned()));
        }
        if header[4] != VERSION {
            let text = format!("a list node of a large content has version {}: use a newer program", header[4]);
            return Err(Error::invalid(text));
        }
        let level = header[5];
        let count = usize::from(u16::from_le_bytes([header[6], header[7]]));
        if level == 0 || level > MAX_HEIGHT || count == 0 || count > MAX_CHILDREN {
            return Err(wrong(format!("it claims level {level} and {count} children")));
        }
        let width = len_width(level);
        if body.len() != count * (Hash::LEN + width) {
            return Err(wrong(format!("{} bytes cannot hold {count} children", body.len())));
        }
        let (ids, lens) = body.split_at(count * Hash::LEN);
        let mut total = 0u64;
        let mut children = Vec::with_capacity(count);
        for (id, len) in ids.chunks_exact(Hash::LEN).zip(lens.chunks_exact(width)) {
            let mut word = [0; 8];
            word[..width].copy_from_slice(len);
            let len = u64::from_le_bytes(word);
            if len == 0 || (level == 1 && len > chunk::MAX as u64) {
                return Err(wrong(format!("a child of level {} claims {len} bytes", level - 1)));
            }
            total = total.checked_add(len).ok_or_else(|| wrong("its length does not fit 64 bits".to_owned()))?;
            children.push(Child { id: Hash::from_slice(id).unwrap_or(Hash::ZERO), len });
        }
        Ok(Self { level, children })
    }

    /// Decodes and checks that it is the node that its parent (or a reference) promised.
    pub(super) fn expect(bytes: &[u8], level: u8, len: u64) -> Result<Self> {
        let node = Self::decode(bytes)?;
        if node.level != level || node.len() != len {
            let text = format!(
                "a list node of a large content has level {} and {} bytes, its parent says level {level} and {len} bytes: \
                 run verify",
                node.level,
                node.len()
            );
            return Err(Error::corrupt(text));
        }
        Ok(node)
    }
}

/// Bytes of a child's length: chunks are short.
const fn len_width(level: u8) -> usize {
    if level == 1 { 4 } else { 8 }
}
