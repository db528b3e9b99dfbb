//! Names: of writers, of transactions, of what hubs took in.

use std::cmp::Ordering;
use std::fmt;

use bytes::BufMut;
use syncline_base::Hash;

use crate::error::{Error, Result};
use crate::wire::fields::put_uint;
use crate::wire::reader::Reader;

/// The largest number that a transaction, or what a hub took in, may have: one more is always a number, too.
pub(super) const MAX_COUNT: u64 = 1 << 62;

/// Reads the number of something that is counted from 1.
pub(super) fn read_nth(r: &mut Reader, what: &'static str) -> Result<u64> {
    match r.uint(what)? {
        n @ 1..=MAX_COUNT => Ok(n),
        n => Err(Error::protocol(what, format!("{n}, and it is counted from 1 to 2^62"))),
    }
}

/// One incarnation of one writer; of a hub, its name. 16 bytes, never used again by anyone else.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Origin([u8; 16]);

// Maps of few origins are searched all the time: as a number it is compared in two instructions, and in the order of the bytes.
impl Ord for Origin {
    fn cmp(&self, other: &Self) -> Ordering {
        u128::from_be_bytes(self.0).cmp(&u128::from_be_bytes(other.0))
    }
}

impl PartialOrd for Origin {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Origin {
    /// The origin of the node with this public key under this nonce: the first 16 bytes of BLAKE3-256 over both.
    #[must_use]
    pub fn new(public_key: &[u8], nonce: [u8; 16]) -> Self {
        let digest = Hash::of_both(public_key, &nonce);
        let mut bytes = [0; 16];
        bytes.copy_from_slice(&digest.as_bytes()[..16]);
        Self(bytes)
    }

    /// From its bytes.
    #[must_use]
    pub const fn from_bytes(bytes: [u8; 16]) -> Self {
        Self(bytes)
    }

    /// Its bytes.
    #[must_use]
    pub const fn as_bytes(&self) -> &[u8; 16] {
        &self.0
    }

    pub(super) fn put(self, out: &mut Vec<u8>) {
        out.put_slice(&self.0);
    }

    pub(super) fn read(r: &mut Reader) -> Result<Self> {
        Ok(Self(r.array("origin")?))
    }
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0[..4].iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

/// The first 8 bytes of BLAKE3-256 over a transaction: what tells two transactions apart that claim one dot.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Tag(u64);

impl Tag {
    /// The predecessor of an origin's first transaction.
    pub const NONE: Self = Self(0);

    /// The tag of a transaction's bytes.
    #[must_use]
    pub fn of(bytes: &[u8]) -> Self {
        Self(Hash::of(bytes).prefix_u64())
    }

    /// From its 64 bits.
    #[must_use]
    pub const fn from_u64(bits: u64) -> Self {
        Self(bits)
    }

    /// Its 64 bits, little-endian as in the digest.
    #[must_use]
    pub const fn as_u64(self) -> u64 {
        self.0
    }

    pub(super) fn put(self, out: &mut Vec<u8>) {
        out.put_u64_le(self.0);
    }

    pub(super) fn read(r: &mut Reader) -> Result<Self> {
        Ok(Self(u64::from_le_bytes(r.array("tag")?)))
    }
}

impl fmt::Debug for Tag {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

/// The identity of a transaction: the `seq`-th of its origin (from 1), told from others that claim the same by its tag.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Dot {
    /// Whose.
    pub origin: Origin,
    /// Which, from 1, without gaps.
    pub seq: u64,
    /// Of its bytes.
    pub tag: Tag,
}

impl Dot {
    pub(super) fn put(&self, out: &mut Vec<u8>) {
        self.origin.put(out);
        put_uint(out, self.seq);
        self.tag.put(out);
    }

    pub(super) fn read(r: &mut Reader) -> Result<Self> {
        Ok(Self { origin: Origin::read(r)?, seq: read_nth(r, "seq")?, tag: Tag::read(r)? })
    }
}

impl fmt::Debug for Dot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}:{}#{:04x}", self.origin, self.seq, self.tag.0 & 0xffff)
    }
}

impl fmt::Display for Dot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.origin, self.seq)
    }
}

/// The `n`-th transaction that a hub took in, from 1, without gaps.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Stamp {
    /// Which hub.
    pub hub: Origin,
    /// Its count.
    pub n: u64,
}

impl Stamp {
    pub(super) fn put(&self, out: &mut Vec<u8>) {
        self.hub.put(out);
        put_uint(out, self.n);
    }
}

impl fmt::Debug for Stamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}@{}", self.hub, self.n)
    }
}
