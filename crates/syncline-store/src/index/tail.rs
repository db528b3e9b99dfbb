//! The tail: the places of objects in files that no segment covers yet, and in uploads of this process.
//!
//! It keeps every place, in memory. One that was dropped in favour of another would be missed when the other one goes: with an
//! upload that fails, or what another process takes back.
//!
//! Owns: the places. After a crash: nothing, they are read again from footers and journals.
//!
//! Not here: which stretches of files it knows (`super`).

use std::cmp::{Ordering, Reverse};
use std::collections::BTreeSet;

use syncline_base::Hash;

use crate::pack::Loc;

/// Places by id; of one id those with fewer patches first, then the newest.
#[derive(Debug, Default)]
pub(crate) struct Tail(BTreeSet<At>);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct At {
    id: Hash,
    loc: Loc,
}

impl At {
    /// The first that an id can have.
    fn first(id: Hash) -> Self {
        Self { id, loc: Loc { file: u32::MAX, offset: u32::MAX, len: 0, slot: 0, count: 0, depth: 0 } }
    }

    fn rank(&self) -> impl Ord {
        let Loc { file, offset, len, slot, count, depth } = self.loc;
        (depth, Reverse(file), Reverse(offset), slot, len, count)
    }
}

impl Ord for At {
    fn cmp(&self, other: &Self) -> Ordering {
        self.id.cmp(&other.id).then_with(|| self.rank().cmp(&other.rank()))
    }
}

impl PartialOrd for At {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Tail {
    pub(crate) fn len(&self) -> usize {
        self.0.len()
    }

    pub(crate) fn insert(&mut self, id: Hash, loc: Loc) {
        self.0.insert(At { id, loc });
    }

    pub(crate) fn remove(&mut self, id: Hash, loc: Loc) {
        self.0.remove(&At { id, loc });
    }

    /// As `insert`; many at once cost little when they are sorted.
    pub(crate) fn extend(&mut self, entries: Vec<(Hash, Loc)>) {
        let entries = entries.into_iter().map(|(id, loc)| At { id, loc });
        if entries.len() < self.0.len() / 4 {
            self.0.extend(entries);
        } else {
            self.0.append(&mut entries.collect());
        }
    }

    pub(crate) fn retain(&mut self, mut keep: impl FnMut(&Loc) -> bool) {
        self.0.retain(|at| keep(&at.loc));
    }

    /// The places of one object.
    pub(crate) fn places(&self, id: &Hash) -> impl Iterator<Item = Loc> + '_ {
        let id = *id;
        self.0.range(At::first(id)..).take_while(move |at| at.id == id).map(|at| at.loc)
    }

    /// The ids from one up to another.
    pub(crate) fn ids(&self, from: Hash, to: Hash) -> impl Iterator<Item = Hash> + '_ {
        self.0.range(At::first(from)..).map(|at| at.id).take_while(move |id| *id <= to)
    }

    /// All of it, in order.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (Hash, Loc)> + '_ {
        self.0.iter().map(|at| (at.id, at.loc))
    }
}
