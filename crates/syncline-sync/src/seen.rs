//! Addresses that a side remembers, in bounded memory.
//!
//! Of leaves, lists and chunks the last ones: between one and two generations of them. Of what lies above, which is a
//! hundredth of that, all. To forget one costs a question or a second look, never a wrong answer: it counts as not seen.

use syncline_base::Hash;
use syncline_base::hash::IdSet;
use syncline_tree::walk::ObjectKind;

/// Addresses in a generation: with two of them, about 35 MB.
const GENERATION: usize = 400_000;

/// A set of addresses that forgets the oldest.
#[derive(Debug)]
pub(crate) struct Seen {
    generation: usize,
    tops: IdSet,
    young: IdSet,
    old: IdSet,
    forgetful: bool,
}

impl Default for Seen {
    fn default() -> Self {
        Self::with(GENERATION)
    }
}

impl Seen {
    /// One that remembers at least so many leaves, lists and chunks, and at most twice as many.
    pub(crate) fn with(generation: usize) -> Self {
        let (tops, young, old) = (IdSet::default(), IdSet::default(), IdSet::default());
        Self { generation: generation.max(1), tops, young, old, forgetful: false }
    }

    /// Remembers an address; true when it was not remembered.
    pub(crate) fn insert(&mut self, id: Hash, kind: ObjectKind) -> bool {
        if self.contains(&id) {
            return false;
        }
        let is_top = match kind {
            ObjectKind::Schema => true,
            ObjectKind::Tree { height } | ObjectKind::Outline { height } | ObjectKind::Content { height } => height > 1,
        };
        if is_top {
            return self.tops.insert(id);
        }
        if self.young.len() >= self.generation {
            self.forgetful |= !self.old.is_empty();
            self.old = std::mem::take(&mut self.young);
        }
        self.young.insert(id)
    }

    /// Whether an address is remembered.
    pub(crate) fn contains(&self, id: &Hash) -> bool {
        self.young.contains(id) || self.old.contains(id) || self.tops.contains(id)
    }

    /// Whether anything was forgotten because there was too much.
    pub(crate) fn is_forgetful(&self) -> bool {
        self.forgetful
    }

    /// Forgets everything.
    pub(crate) fn clear(&mut self) {
        *self = Self::with(self.generation);
    }
}

#[cfg(test)]
mod tests;
