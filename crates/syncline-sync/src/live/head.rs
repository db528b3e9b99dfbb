//! Signed heads: what the owner of a key says about the chain of one of its origins, and the hash over a chain that it says it about.
//!
//! A head names the newest of an origin's transactions at a moment, by a hash over all of them in their order. So one signature attests
//! every transaction up to there, and costs the same for one as for a thousand. Two heads of an origin with one seq and different hashes
//! prove that whoever has the key has written two histories.
//!
//! Not here: who signs when, and what is made of heads that come (`node::trust`).

use std::collections::VecDeque;
use std::fmt;
use std::sync::OnceLock;

use bytes::BufMut;
use syncline_base::Hash;
use syncline_base::sign::{self, KEY_LEN, KeyPair, SIGNATURE_LEN};

use super::id::{MAX_COUNT, Origin};
use crate::error::{Error, Result};
use crate::wire::fields::put_uint;
use crate::wire::reader::Reader;

/// What a signature is of begins with this: it is of nothing else.
const DOMAIN: &[u8; 16] = b"syncline head 1\n";
/// So many hashes of a chain are kept that no head has come of.
const KEPT: usize = 8192;

/// Who signs and who checks signatures. One implementation has keys that count ([`KeyPair`]); a simulation has cheaper ones.
pub trait Signer: fmt::Debug + Send + Sync {
    /// The public key.
    fn public(&self) -> [u8; KEY_LEN];
    /// Signs.
    fn sign(&self, bytes: &[u8]) -> [u8; SIGNATURE_LEN];
    /// Whether the owner of a public key, this or another, has signed these bytes.
    fn verify(&self, public: &[u8; KEY_LEN], bytes: &[u8], signature: &[u8; SIGNATURE_LEN]) -> bool;
}

impl Signer for KeyPair {
    fn public(&self) -> [u8; KEY_LEN] {
        Self::public(self)
    }

    fn sign(&self, bytes: &[u8]) -> [u8; SIGNATURE_LEN] {
        Self::sign(self, bytes)
    }

    fn verify(&self, public: &[u8; KEY_LEN], bytes: &[u8], signature: &[u8; SIGNATURE_LEN]) -> bool {
        sign::verify(public, bytes, signature)
    }
}

/// What is to be signed: the newest of an origin's transactions, and the hash over all up to there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Unsigned {
    /// With this the key makes the origin.
    pub(super) nonce: [u8; 16],
    pub(super) seq: u64,
    pub(super) sum: Hash,
}

impl Unsigned {
    /// Signs it. It takes as long as a signature does: nobody's lock is needed.
    #[must_use]
    pub fn sign(&self, signer: &dyn Signer) -> Head {
        let key = signer.public();
        let Self { nonce, seq, sum } = *self;
        let origin = Origin::new(&key, nonce);
        let signature = signer.sign(&signed_bytes(origin, seq, &sum));
        Head { origin, key, nonce, seq, sum, signature, valid: OnceLock::from(true) }
    }
}

/// A signed head.
#[derive(Clone)]
pub struct Head {
    /// What key and nonce make, which is asked for whenever a head comes, goes or is looked at.
    origin: Origin,
    key: [u8; KEY_LEN],
    nonce: [u8; 16],
    seq: u64,
    sum: Hash,
    signature: [u8; SIGNATURE_LEN],
    /// Whether the signature is right, once somebody has looked.
    valid: OnceLock<bool>,
}

impl Head {
    /// Whose chain it is of. Key and nonce make that name: no other key can sign for it.
    #[must_use]
    pub const fn origin(&self) -> Origin {
        self.origin
    }

    /// The public key.
    #[must_use]
    pub const fn key(&self) -> &[u8; KEY_LEN] {
        &self.key
    }

    /// The number of the newest transaction; 0 before the first.
    #[must_use]
    pub const fn seq(&self) -> u64 {
        self.seq
    }

    /// The hash over all transactions up to there.
    #[must_use]
    pub const fn sum(&self) -> Hash {
        self.sum
    }

    /// The signature.
    #[must_use]
    pub const fn signature(&self) -> &[u8; SIGNATURE_LEN] {
        &self.signature
    }

    /// What to sign to attest more of the same origin.
    pub(super) const fn next(&self, seq: u64, sum: Hash) -> Unsigned {
        Unsigned { nonce: self.nonce, seq, sum }
    }

    /// Whether its signature is right. Looked at once.
    #[must_use]
    pub fn is_valid(&self, signer: &dyn Signer) -> bool {
        let check = || {
            let bytes = signed_bytes(self.origin, self.seq, &self.sum);
            signer.verify(&self.key, &bytes, &self.signature)
        };
        *self.valid.get_or_init(check)
    }

    /// About how many bytes it takes.
    pub(super) const SIZE: usize = 150;

    pub(super) fn put(&self, out: &mut Vec<u8>) {
        out.put_slice(&self.key);
        out.put_slice(&self.nonce);
        put_uint(out, self.seq);
        out.put_slice(self.sum.as_bytes());
        out.put_slice(&self.signature);
    }

    pub(super) fn read(r: &mut Reader) -> Result<Self> {
        let (key, nonce, seq) = (r.array("key")?, r.array("nonce")?, r.uint("seq")?);
        if seq > MAX_COUNT {
            return Err(Error::protocol("head", format!("seq {seq}; 2^62 is the most")));
        }
        let (sum, signature) = (Hash::from_bytes(r.array("chain hash")?), r.array("signature")?);
        Ok(Self { origin: Origin::new(&key, nonce), key, nonce, seq, sum, signature, valid: OnceLock::new() })
    }
}

impl PartialEq for Head {
    fn eq(&self, other: &Self) -> bool {
        (self.key, self.nonce, self.seq, self.sum, self.signature)
            == (other.key, other.nonce, other.seq, other.sum, other.signature)
    }
}

impl Eq for Head {}

impl fmt::Debug for Head {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "head({:?} {} {})", self.origin, self.seq, self.sum)
    }
}

/// What a signature of a head is of.
fn signed_bytes(origin: Origin, seq: u64, sum: &Hash) -> [u8; 72] {
    let mut bytes = [0; 72];
    bytes[..16].copy_from_slice(DOMAIN);
    bytes[16..32].copy_from_slice(origin.as_bytes());
    bytes[32..40].copy_from_slice(&seq.to_le_bytes());
    bytes[40..].copy_from_slice(sum.as_bytes());
    bytes
}

/// The hash over a chain with one more transaction.
pub(super) fn sum_with(before: &Hash, bytes: &[u8]) -> Hash {
    Hash::of_both(before.as_bytes(), bytes)
}

/// Hashes over a chain, of the newest transactions: of all since the last signed head, so that a head that comes later than what came
/// after it can be held against them.
#[derive(Debug, Clone, Default)]
pub(super) struct Sums {
    /// The number of the newest transaction.
    end: u64,
    /// The last of the hashes is that of `end`. None when it is not known.
    kept: VecDeque<Hash>,
}

impl Sums {
    /// Only that of the newest, which somebody told.
    pub(super) fn told(end: u64, sum: Option<Hash>) -> Self {
        Self { end, kept: sum.into_iter().collect() }
    }

    pub(super) fn at(&self, seq: u64) -> Option<Hash> {
        if seq == 0 {
            return Some(Hash::ZERO);
        }
        let back = usize::try_from(self.end.checked_sub(seq)?).ok()?;
        self.kept.get(self.kept.len().checked_sub(back + 1)?).copied()
    }

    /// A transaction follows on the newest; `with` gives the hash with it after the one before.
    pub(super) fn push(&mut self, with: impl FnOnce(&Hash) -> Hash) {
        let before = self.at(self.end);
        self.end += 1;
        let Some(before) = before else { return };
        self.kept.push_back(with(&before));
        if self.kept.len() > KEPT {
            self.kept.pop_front();
        }
    }

    /// One follows whose bytes are not here.
    pub(super) fn push_unknown(&mut self) {
        self.end += 1;
        self.kept.clear();
    }

    pub(super) fn pop(&mut self) {
        self.kept.pop_back();
        self.end = self.end.saturating_sub(1);
    }

    /// Gives up those before a transaction, but for the newest.
    pub(super) fn trim(&mut self, seq: u64) {
        while self.kept.len() > 1 && self.end - (self.kept.len() as u64) + 1 < seq {
            self.kept.pop_front();
        }
    }
}

#[cfg(test)]
mod tests;
