//! Marking: which objects are live. Two bits for each object of the index, however many there are: one for what was
//! marked, one for what a marked object is a patch on. They are apart because a base that is later marked itself must still
//! count as not seen: its children have to be walked.

use std::fmt;
use std::sync::Arc;

use syncline_base::Hash;
use syncline_base::hash::IdSet;

use super::Store;
use crate::error::Result;
use crate::index::{Open, Place};

/// Says what is live.
pub struct Marker<'a> {
    store: &'a Store,
    pub(super) whole: Option<Arc<Open>>,
    marked: Vec<u64>,
    bases: Vec<u64>,
    /// Marked objects that came after the collection had started: they stay in any case.
    newer: IdSet,
}

impl fmt::Debug for Marker<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Marker")
            .field("objects", &self.whole.as_ref().map(|open| open.segment.entries))
            .finish_non_exhaustive()
    }
}

impl<'a> Marker<'a> {
    pub(super) fn new(store: &'a Store, whole: Option<Arc<Open>>) -> Self {
        let entries = whole.as_ref().map_or(0, |open| open.segment.entries);
        let words = usize::try_from(entries.div_ceil(64)).expect("an index that was written fits in memory by the bit");
        Self { store, whole, marked: vec![0; words], bases: vec![0; words], newer: IdSet::default() }
    }

    /// Marks an object, and what it is a patch on. True the first time: then walk into its children. An object that was only
    /// marked as a base still counts as not seen.
    ///
    /// # Errors
    /// `NotFound` when the object is not there, or the backend's.
    pub fn mark(&mut self, id: &Hash) -> Result<bool> {
        let (first, depth) = self.set(id)?;
        if first && depth > 0 {
            self.mark_bases(id)?;
        }
        Ok(first)
    }

    /// Marks what an object is a patch on.
    pub(super) fn mark_bases(&mut self, id: &Hash) -> Result<()> {
        let mut next = vec![*id];
        while let Some(id) = next.pop() {
            let object = self.store.inner.load_one(&id)?;
            for base in self.store.inner.bases_of(&object)?.iter() {
                let depth = match self.ordinal(base)? {
                    // Unless somebody has been here: then the rest of the chain is marked too.
                    Some((ordinal, depth)) => depth * u8::from(set_bit(&mut self.bases, ordinal)),
                    None => self.depth_outside(base)?,
                };
                if depth > 0 {
                    next.push(*base);
                }
            }
        }
        Ok(())
    }

    fn ordinal(&self, id: &Hash) -> Result<Option<(u64, u8)>> {
        let Some(open) = &self.whole else { return Ok(None) };
        Ok(open.segment.find(&*self.store.inner.backend, id)?.map(|(ordinal, loc)| (ordinal, loc.depth)))
    }

    fn depth_outside(&self, id: &Hash) -> Result<u8> {
        match self.store.inner.index.find(id)? {
            Some(Place::Pending(object)) => Ok(object.depth),
            Some(Place::At(loc)) => Ok(loc.depth),
            None => Err(self.store.inner.missing(id)),
        }
    }

    fn set(&mut self, id: &Hash) -> Result<(bool, u8)> {
        let Some((ordinal, depth)) = self.ordinal(id)? else {
            let depth = self.depth_outside(id)?;
            return Ok((self.newer.insert(*id), depth));
        };
        Ok((set_bit(&mut self.marked, ordinal), depth))
    }

    /// Whether the object of this ordinal stays.
    pub(super) fn is_live(&self, ordinal: u64) -> bool {
        bit(&self.marked, ordinal) || bit(&self.bases, ordinal)
    }
}

fn place(ordinal: u64) -> (usize, u64) {
    (usize::try_from(ordinal / 64).expect("an ordinal of the index"), 1 << (ordinal % 64))
}

fn bit(bits: &[u64], ordinal: u64) -> bool {
    let (word, mask) = place(ordinal);
    bits[word] & mask != 0
}

/// Sets a bit; true when it was not set.
fn set_bit(bits: &mut [u64], ordinal: u64) -> bool {
    let (word, mask) = place(ordinal);
    let first = bits[word] & mask == 0;
    bits[word] |= mask;
    first
}
