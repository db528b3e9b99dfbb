//! Marking: which objects are live. Two bits for each object of the index, however many there are: one for what was
//! marked, one for what a marked object is a patch on. They are apart because a base that is later marked itself must still
//! count as not seen: its children have to be walked. Of an object that lies in several places one is marked; the others are dead.

use std::collections::BTreeSet;
use std::fmt;
use std::sync::Arc;

use syncline_base::hash::IdSet;
use syncline_base::{Hash, Kind};

use super::Store;
use crate::error::Result;
use crate::frame::Stored;
use crate::index::{Open, Place};
use crate::pack::Loc;

/// Says what is live.
pub struct Marker<'a> {
    store: &'a Store,
    pub(super) whole: Option<Arc<Open>>,
    marked: Vec<u64>,
    bases: Vec<u64>,
    /// Files that go in any case: of two copies the one that is in no such file is marked, and need not be copied.
    condemned: BTreeSet<u32>,
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
        let files = whole.iter().flat_map(|open| &open.files);
        let state = store.inner.index.read();
        let condemned = files.copied().filter(|file| state.files[*file as usize].condemned).collect();
        drop(state);
        Self { store, whole, marked: vec![0; words], bases: vec![0; words], condemned, newer: IdSet::default() }
    }

    /// Marks an object, and what it is a patch on. True the first time: then walk into its children. An object that was only
    /// marked as a base still counts as not seen.
    ///
    /// # Errors
    /// `NotFound` when the object is not there, or the backend's.
    pub fn mark(&mut self, id: &Hash) -> Result<bool> {
        let Some((ordinal, loc)) = self.kept(id)? else {
            let depth = self.depth_outside(id)?;
            let first = self.newer.insert(*id);
            if first && depth > 0 {
                self.mark_bases(id, None)?;
            }
            return Ok(first);
        };
        let first = set_bit(&mut self.marked, ordinal);
        if first && loc.depth > 0 {
            self.mark_bases(id, Some(loc))?;
        }
        Ok(first)
    }

    /// Marks what an object is a patch on, where it lies at `loc`: another copy of it may be a patch on something else.
    pub(super) fn mark_bases(&mut self, id: &Hash, loc: Option<Loc>) -> Result<()> {
        let mut next = vec![(*id, loc)];
        while let Some((id, loc)) = next.pop() {
            let object = self.load(&id, loc)?;
            for base in self.store.inner.bases_of(&object)?.iter() {
                match self.kept(base)? {
                    // Unless somebody has been here: then the rest of the chain is marked too.
                    Some((ordinal, loc)) if set_bit(&mut self.bases, ordinal) && loc.depth > 0 => {
                        next.push((*base, Some(loc)));
                    }
                    None if self.depth_outside(base)? > 0 => next.push((*base, None)),
                    _ => {}
                }
            }
        }
        Ok(())
    }

    fn load(&self, id: &Hash, loc: Option<Loc>) -> Result<Stored> {
        let inner = &self.store.inner;
        match loc.map(|loc| inner.load_here(id, &loc)) {
            Some(Err(error)) if !matches!(error.kind(), Kind::Corrupt | Kind::NotFound) => Err(error),
            Some(Ok(object)) => Ok(object),
            _ => inner.load_one(id),
        }
    }

    /// The place of an object that stays if the object does, and the ordinal of its entry.
    fn kept(&self, id: &Hash) -> Result<Option<(u64, Loc)>> {
        let Some(open) = &self.whole else { return Ok(None) };
        let places = open.segment.places(&*self.store.inner.backend, id)?;
        let known = |(ordinal, loc): (u64, Loc)| Some((ordinal, open.translate(loc)?));
        // First by depth: patches on it find it below themselves only there.
        let kept = places
            .into_iter()
            .filter_map(known)
            .min_by_key(|(ordinal, loc)| (loc.depth, self.condemned.contains(&loc.file), *ordinal));
        Ok(kept)
    }

    fn depth_outside(&self, id: &Hash) -> Result<u8> {
        match self.store.inner.index.find(id)? {
            Some(Place::Pending(object)) => Ok(object.depth),
            Some(Place::At(loc)) => Ok(loc.depth),
            None => Err(self.store.inner.missing(id)),
        }
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
