//! Where a tree's nodes end: a pure function of the sorted key sequence.
//!
//! Format: `docs/format/tree.md`, part "boundaries". Each level is one pass over its entries, with a counter of entries
//! since the last boundary and the 64-bit hash of each entry's key. The chance of a boundary grows with the third power of the
//! counter (a Weibull distribution of shape 4), so lengths stay near their mean; it depends on keys only, so values
//! never move a boundary, and on nothing before the last boundary, so an edit's effect ends where two boundaries meet.
//!
//! Invariants: no node but the last of a level has fewer than `min` entries; none has more than `max`. The last entry
//! of a level always ends a node.

use std::sync::Arc;

use xxhash_rust::xxh3::xxh3_64_with_seed;

/// The mean number of entries in an inner node.
pub const NODE_ENTRIES: u32 = 256;

/// Salt of level 0, the rows. Read as bytes it says "syncline".
const SALT: u64 = u64::from_le_bytes(*b"syncline");
/// Added to the salt once per level, so that a key that ends a leaf says nothing about ending an inner node.
const SALT_STEP: u64 = 0x9e37_79b9_7f4a_7c15;

/// The hash that decides at `level` (0: rows, 1: entries for leaves, …).
#[must_use]
pub fn key_hash(level: u8, key: &[u8]) -> u64 {
    xxh3_64_with_seed(key, SALT.wrapping_add(SALT_STEP.wrapping_mul(u64::from(level))))
}

/// The rule for one mean.
#[derive(Debug, Clone)]
pub struct Rule {
    min: u32,
    /// `thresholds[n - 1]`: the nth entry after a boundary ends a node when its hash is below. One for each n < max.
    thresholds: Arc<[u64]>,
}

impl Rule {
    /// The rule for nodes of `mean` entries; `mean` is brought into 8..=65536 first.
    #[must_use]
    pub fn new(mean: u32) -> Self {
        let mean = u128::from(mean.clamp(8, 1 << 16));
        // The mean of a Weibull distribution of shape 4 and scale L is 0.9064 L; counting in whole entries adds a half.
        let scale = ((2 * mean - 1) * 1103 + 1000) / 2000;
        let min = u32::try_from(scale / 8).expect("the mean is at most 65536").max(1);
        let fourth = |n: u128| n * n * n * n;
        let threshold = |n: u128| {
            if n < u128::from(min) {
                return 0;
            }
            // With d the growth of (n / L)^4, the chance given none before is 1 - exp(-d), here d / (1 + d / 2).
            let growth = 2 * (fourth(n) - fourth(n - 1));
            let chance = (growth << 64) / (2 * fourth(scale) + growth / 2);
            u64::try_from(chance).unwrap_or(u64::MAX)
        };
        Self { min, thresholds: (1..2 * scale).map(threshold).collect() }
    }

    /// The fewest entries of a node that is not the last of its level.
    #[must_use]
    pub fn min(&self) -> u32 {
        self.min
    }

    /// The most entries of a node.
    #[must_use]
    pub fn max(&self) -> u32 {
        u32::try_from(self.thresholds.len() + 1).expect("a rule has at most 2^18 thresholds")
    }

    /// Takes the next entry's hash: whether that entry ends a node. `since` counts entries since the last boundary; start
    /// with 0.
    #[inline]
    pub fn ends(&self, since: &mut u32, hash: u64) -> bool {
        let ends = self.thresholds.get(*since as usize).is_none_or(|threshold| hash < *threshold);
        *since = if ends { 0 } else { *since + 1 };
        ends
    }
}

#[cfg(test)]
mod tests;
