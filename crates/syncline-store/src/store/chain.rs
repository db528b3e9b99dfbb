//! Full chains: where an object goes whose base cannot take another patch.
//!
//! A chain has at most 16 patches. Stored whole, every 17th edit of an inner node of a large table would cost a commit of one row
//! nine kilobytes. Instead it becomes a patch on an object further down the chain, which gives back depth for the bytes of
//! the patches that it skips. Which one: that which gives most depth for a byte. Consolidated patches so come to lie below,
//! small ones above, and a whole copy is written when the patches of a chain are half as long as the object.
//!
//! Owns nothing. Not here: how patches are read (`read`), which objects are alike (the caller knows).

use bytes::Bytes;
use syncline_base::Hash;

use super::write::{compress_with, raw_len};
use super::{Inner, Store};
use crate::bases::Bases;
use crate::codec::{Encoded, ZSTD_PREFIX};
use crate::error::Result;
use crate::frame::MAX_DEPTH;

impl Store {
    /// An object much like `base` as a patch on something that `base` is itself a patch on, when the chain of `base` is too deep
    /// for another patch. `None` when it is not, or when the chain is too long in bytes: then store the object whole.
    ///
    /// # Errors
    /// `Invalid` for more than 256 MiB.
    pub fn encode_below(&self, bytes: &Bytes, base: &Hash) -> Result<Option<Encoded>> {
        let raw_len = raw_len(bytes.len())?;
        // A base that cannot be read is no reason not to store an object.
        let Ok(Some(below)) = self.inner.best_below(base) else { return Ok(None) };
        let Ok(prefix) = self.joined(&below) else { return Ok(None) };
        let payload =
            compress_with(bytes, &prefix).filter(|payload| self.patch_room(&below, payload.len(), bytes.len()));
        Ok(payload.map(|payload| Encoded::patch(Hash::of(bytes), ZSTD_PREFIX, below, raw_len, payload.into())))
    }
}

impl Inner {
    /// What lies below a full chain's top on which a new patch gives most depth for the bytes that it repeats.
    fn best_below(&self, top: &Hash) -> Result<Option<Bases>> {
        let mut object = self.load_one(top)?;
        if object.depth < MAX_DEPTH {
            return Ok(None);
        }
        let mut skipped = 0;
        let mut best: Option<(u64, u64, Bases)> = None;
        while object.depth > 0 {
            skipped += object.payload.len() as u64 + 1;
            let room = u64::from(MAX_DEPTH.saturating_sub(object.depth));
            let below = self.bases_of(&object)?;
            if best.is_none_or(|(most, bytes, _)| room * bytes > most * skipped) {
                best = Some((room, skipped, below));
            }
            // Two bases are one whole only together: there the way down ends.
            let Some(below) = below.only() else { break };
            object = self.load_one(below)?;
        }
        Ok(best.filter(|(room, ..)| *room > 0).map(|(_, _, below)| below))
    }
}
