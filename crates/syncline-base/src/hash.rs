//! Content identity: BLAKE3-256 of an object's canonical bytes.
//!
//! Source: "BLAKE3, one function, fast everywhere" (O'Connor, Aumasson, Neves, Wilcox-O'Hearn, 2020).

use std::cmp::Ordering;
use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// A BLAKE3-256 digest, 32 bytes. Written as 64 lowercase hex digits.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Hash([u8; 32]);

impl Hash {
    /// Length of a digest in bytes.
    pub const LEN: usize = 32;
    /// All zero bytes. No known content has it; stands for "nothing" where a fixed width is needed.
    pub const ZERO: Self = Self([0; 32]);

    /// The digest of `bytes`, on the calling thread.
    #[must_use]
    pub fn of(bytes: &[u8]) -> Self {
        Self(*blake3::hash(bytes).as_bytes())
    }

    /// The digest of some bytes and others after them, as if they lay in one piece.
    #[must_use]
    pub fn of_both(first: &[u8], then: &[u8]) -> Self {
        /// A hasher is as large as that, and what is short is hashed before one is made.
        const SHORT: usize = 512;
        let len = first.len() + then.len();
        if len > SHORT {
            return Hasher::new().update(first).update(then).finish();
        }
        let mut bytes = [0; SHORT];
        bytes[..first.len()].copy_from_slice(first);
        bytes[first.len()..len].copy_from_slice(then);
        Self::of(&bytes[..len])
    }

    /// Wraps 32 bytes that already are a digest.
    #[must_use]
    pub const fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// Reads a digest from a slice; `None` unless it is exactly 32 bytes long.
    #[must_use]
    pub fn from_slice(bytes: &[u8]) -> Option<Self> {
        Some(Self(bytes.try_into().ok()?))
    }

    /// The digest's bytes.
    #[must_use]
    pub const fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }

    /// The first eight bytes as a little-endian integer: uniformly spread, good for sharding and search.
    #[must_use]
    pub fn prefix_u64(&self) -> u64 {
        let [a, b, c, d, e, f, g, h, ..] = self.0;
        u64::from_le_bytes([a, b, c, d, e, f, g, h])
    }

    /// The first 12 hex digits, for messages meant for people.
    #[must_use]
    pub fn short(&self) -> String {
        self.to_string()[..12].to_owned()
    }
}

impl Ord for Hash {
    /// The order of the bytes. Nearly always the first eight decide, in one comparison of registers.
    fn cmp(&self, other: &Self) -> Ordering {
        let head = |hash: &Self| hash.prefix_u64().swap_bytes();
        head(self).cmp(&head(other)).then_with(|| self.0.cmp(&other.0))
    }
}

impl PartialOrd for Hash {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl fmt::Display for Hash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for Hash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.short())
    }
}

/// Why a text is not a digest.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{text:?} is not a hash: expected 64 hex digits")]
pub struct ParseHashError {
    text: String,
}

impl FromStr for Hash {
    type Err = ParseHashError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let wrong = || ParseHashError { text: text.chars().take(80).collect() };
        if text.len() != 64 || !text.is_ascii() {
            return Err(wrong());
        }
        let mut bytes = [0; 32];
        for (byte, pair) in bytes.iter_mut().zip(text.as_bytes().chunks_exact(2)) {
            let digit = |c: u8| char::from(c).to_digit(16).ok_or_else(wrong);
            *byte = u8::try_from(digit(pair[0])? << 4 | digit(pair[1])?).map_err(|_| wrong())?;
        }
        Ok(Self(bytes))
    }
}

impl Serialize for Hash {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Hash {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

/// A map keyed by content hashes. Its order is arbitrary but the same on every run; never let it show.
#[expect(clippy::disallowed_types, reason = "its hasher is fixed, so its order does not change from run to run")]
pub type IdMap<V> = std::collections::HashMap<Hash, V, std::hash::BuildHasherDefault<PrefixHasher>>;

/// A set of content hashes. Its order is arbitrary but the same on every run; never let it show.
#[expect(clippy::disallowed_types, reason = "its hasher is fixed, so its order does not change from run to run")]
pub type IdSet = std::collections::HashSet<Hash, std::hash::BuildHasherDefault<PrefixHasher>>;

/// Takes a digest's own bits as its hash: they are uniform already. An attacker who can choose digests' first eight
/// bytes could slow a map down, at a cost of 2^32 hashes and more for each pair.
#[derive(Debug, Default, Clone, Copy)]
pub struct PrefixHasher(u64);

impl std::hash::Hasher for PrefixHasher {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        for piece in bytes.chunks(8) {
            let mut word = [0; 8];
            word[..piece.len()].copy_from_slice(piece);
            self.0 = self.0.rotate_left(5) ^ u64::from_le_bytes(word);
        }
    }

    // The length prefix of the array carries nothing: every digest is 32 bytes long.
    fn write_usize(&mut self, _: usize) {}
}

/// Hashes bytes that arrive in pieces.
#[derive(Debug, Default)]
pub struct Hasher(blake3::Hasher);

impl Hasher {
    /// A hasher that has seen nothing.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds bytes.
    pub fn update(&mut self, bytes: &[u8]) -> &mut Self {
        self.0.update(bytes);
        self
    }

    /// The digest of everything added so far.
    #[must_use]
    pub fn finish(&self) -> Hash {
        Hash(*self.0.finalize().as_bytes())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn known_digest_of_nothing() {
        // Published test vector for the empty input.
        let text = "af1349b9f5f9a1a6a0404dea36dcc9499bcb25c9adc112b7cc9a93cae41f3262";
        assert_eq!(Hash::of(b"").to_string(), text);
        assert_eq!(text.parse::<Hash>(), Ok(Hash::of(b"")));
    }

    #[test]
    fn pieces_hash_like_the_whole() {
        assert_eq!(Hasher::new().update(b"ab").update(b"c").finish(), Hash::of(b"abc"));
        let all: Vec<u8> = (0..=255).cycle().take(1100).collect();
        for len in [0, 1, 48, 511, 512, 513, 1024, 1025, 1100] {
            let (whole, halves) = (Hash::of(&all[..len]), [0, len / 3, len]);
            assert!(halves.iter().all(|at| Hash::of_both(&all[..*at], &all[*at..len]) == whole), "{len}");
        }
    }

    #[test]
    fn hashes_are_ordered_as_their_bytes() {
        let with = |at: usize, byte: u8| {
            let mut bytes = [7; 32];
            bytes[at] = byte;
            bytes
        };
        let all: Vec<[u8; 32]> = (0..32).flat_map(|at| [with(at, 0), with(at, 7), with(at, 255)]).collect();
        for a in &all {
            for b in &all {
                assert_eq!(Hash::from_bytes(*a).cmp(&Hash::from_bytes(*b)), a.cmp(b));
            }
        }
    }

    #[test]
    fn rejects_what_is_not_64_hex_digits() {
        for text in ["", "00", &"g".repeat(64), &"é".repeat(32), &"0".repeat(65)] {
            assert!(text.parse::<Hash>().is_err(), "{text}");
        }
    }
}
