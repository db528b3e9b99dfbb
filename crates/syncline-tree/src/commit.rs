//! Commits: a version of a dataset, who made it, when, why, and from what.
//!
//! A commit names its parents by hash, so a commit's hash proves its whole history. Layout: `docs/format/records.md`.
//! Owns no state. Nothing here reads a clock: the caller stamps.
//!
//! Not here: which commit a branch points at (`crate::refs`), what is in a version (`crate::dataset`).

use std::collections::{BTreeMap, BTreeSet, BinaryHeap};

use serde::{Deserialize, Serialize};
use syncline_base::{Hash, Hlc, Kind};
use syncline_store::Store;

use crate::record::{self, Record};
use crate::{Error, Refs, Result};

/// A version of a dataset.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Commit {
    /// The versions it was made from: none for the first, two for a merge (ours, then theirs).
    pub parents: Vec<Hash>,
    /// One more than the largest generation among the parents; 1 for the first commit. Lets a walk visit every child
    /// before its parents without trusting any clock.
    pub generation: u64,
    /// The content root: the hash of its [`crate::DatasetRoot`].
    pub root: Hash,
    /// Who made it, as `name <address>` or any text.
    pub author: String,
    /// When it was made.
    pub hlc: Hlc,
    /// Why, in the author's words.
    pub message: String,
    /// Facts that travel with the version: source positions, pipeline runs, model names.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub meta: BTreeMap<String, String>,
}

impl Record for Commit {
    const KIND: &'static str = "commit";
    const VERSION: u32 = 1;
}

impl Commit {
    /// Its canonical bytes. Their hash is the commit's id.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        record::encode(self)
    }

    /// Reads a commit.
    ///
    /// # Errors
    /// `corrupt` when the bytes are not a canonical commit.
    pub fn decode(bytes: &[u8]) -> Result<Self> {
        record::decode(bytes)
    }

    /// Stores it and returns its id. Not durable before `Store::flush`.
    ///
    /// # Errors
    /// The store's.
    pub fn put(&self, store: &Store) -> Result<Hash> {
        Ok(store.put(&self.encode())?)
    }

    /// Loads a commit by id.
    ///
    /// # Errors
    /// `not-found` when the store does not have it, `corrupt` when the object is something else.
    pub fn load(store: &Store, id: &Hash) -> Result<Self> {
        Self::decode(&store.get(id)?)
    }
}

/// A commit in a walk, ordered so that the largest generation comes out of a heap first.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Step {
    generation: u64,
    hlc: Hlc,
    id: Hash,
}

/// A version that the history leads to and that cannot be read.
#[derive(Debug)]
pub struct Gap {
    /// The commit.
    pub id: Hash,
    /// `not-found` when there is no record of it, `corrupt` when that is damaged.
    pub why: Error,
}

/// What it means to a walk that a commit is not here.
#[derive(Debug)]
enum Absent {
    /// It ends the walk.
    Fails,
    /// It ends its line and nothing else.
    EndsItsLine,
    /// It is damage, but for the parents of these.
    IsDamage(BTreeSet<Hash>),
}

/// Commits from `starts` back to the beginning: every commit once, children before parents, newest first among those
/// that are not related. Loads as it goes, so taking the first few of a long history is cheap.
#[derive(Debug)]
pub struct Log {
    store: Store,
    heap: BinaryHeap<Step>,
    seen: BTreeSet<Hash>,
    loaded: BTreeMap<Hash, Commit>,
    /// What could not be loaded; handed out once, then the walk ends.
    failed: Option<Error>,
    absent: Absent,
    /// The first that may be missing and is.
    missing: Option<Hash>,
    /// Commits in the heap that have to have all of their history.
    firm: BTreeSet<Hash>,
    /// What cannot be read, and need not be as far as is known.
    loose: BTreeMap<Hash, Error>,
    gaps: Vec<Gap>,
}

impl Log {
    /// A walk that starts at these commits.
    #[must_use]
    pub fn new(store: &Store, starts: impl IntoIterator<Item = Hash>) -> Self {
        Self::with(store, Absent::Fails, starts)
    }

    /// A walk through what is here: the parts of a history that a shallow clone does not have are passed over.
    #[must_use]
    pub fn of_what_is_here(store: &Store, starts: impl IntoIterator<Item = Hash>) -> Self {
        Self::with(store, Absent::EndsItsLine, starts)
    }

    /// A walk that goes on where a commit cannot be read, and tells what cannot ([`Self::take_gaps`]). The parents of `shallow`
    /// may be missing: the history that a shallow clone has ends there.
    #[must_use]
    pub fn with_gaps(store: &Store, starts: impl IntoIterator<Item = Hash>, shallow: &BTreeSet<Hash>) -> Self {
        Self::with(store, Absent::IsDamage(shallow.clone()), starts)
    }

    /// A walk with gaps through all that a dataset's names lead to. What only the branches of its peers lead to may be missing: it
    /// was seen and perhaps never fetched.
    #[must_use]
    pub fn of_refs(store: &Store, refs: &Refs) -> Self {
        let mut log = Self::with_gaps(store, refs.own_commits(), &refs.shallow);
        for id in refs.commits() {
            log.enter(id, false, true);
        }
        log
    }

    fn with(store: &Store, absent: Absent, starts: impl IntoIterator<Item = Hash>) -> Self {
        let mut log = Self {
            store: store.clone(),
            heap: BinaryHeap::new(),
            seen: BTreeSet::new(),
            loaded: BTreeMap::new(),
            failed: None,
            absent,
            missing: None,
            firm: BTreeSet::new(),
            loose: BTreeMap::new(),
            gaps: Vec::new(),
        };
        for id in starts {
            log.enter(id, true, false);
        }
        log
    }

    /// A commit that the walk has come to so far, that is not here, and that need not be.
    #[must_use]
    pub fn missing(&self) -> Option<Hash> {
        self.missing
    }

    /// The gaps that the walk has come to since this was asked last.
    pub fn take_gaps(&mut self) -> Vec<Gap> {
        std::mem::take(&mut self.gaps)
    }

    /// `firm`: all of its history has to be here. `may_miss`: but not this one.
    fn enter(&mut self, id: Hash, firm: bool, may_miss: bool) {
        if firm {
            self.firm.insert(id);
        }
        if !self.seen.insert(id) {
            if firm
                && !may_miss
                && let Some(why) = self.loose.remove(&id)
            {
                self.gaps.push(Gap { id, why });
            }
            return;
        }
        let error = match Commit::load(&self.store, &id) {
            Ok(commit) => {
                self.heap.push(Step { generation: commit.generation, hlc: commit.hlc, id });
                self.loaded.insert(id, commit);
                return;
            }
            Err(error) => error,
        };
        match (&self.absent, error.kind()) {
            (Absent::EndsItsLine, Kind::NotFound) => drop(self.missing.get_or_insert(id)),
            (Absent::IsDamage(_), Kind::NotFound) if may_miss => {
                self.missing.get_or_insert(id);
                self.loose.insert(id, error);
            }
            (Absent::IsDamage(_), Kind::NotFound | Kind::Corrupt) => self.gaps.push(Gap { id, why: error }),
            _ => self.failed = Some(error),
        }
    }
}

impl Iterator for Log {
    type Item = Result<(Hash, Commit)>;

    fn next(&mut self) -> Option<Self::Item> {
        if let Some(error) = self.failed.take() {
            self.heap.clear();
            return Some(Err(error));
        }
        let step = self.heap.pop()?;
        let commit = self.loaded.remove(&step.id).expect("every step in the heap has its commit loaded");
        // All children have been there by now.
        let firm = self.firm.remove(&step.id);
        let may_miss = match &self.absent {
            Absent::IsDamage(shallow) => !firm || shallow.contains(&step.id),
            _ => false,
        };
        for parent in &commit.parents {
            self.enter(*parent, firm, may_miss);
        }
        Some(Ok((step.id, commit)))
    }
}

const OURS: u8 = 1;
const THEIRS: u8 = 2;
/// An ancestor of a common ancestor that was found.
const BELOW: u8 = 4;

/// The best common ancestors of two commits: those that no other common ancestor descends from, by falling generation (then
/// hash, so that every node has the same order). Usually one; none when the histories are unrelated; several when they were merged
/// crosswise.
///
/// # Errors
/// `not-found` when a commit on the way is missing and no common ancestor was found before, `corrupt` when one is damaged.
pub fn merge_bases(store: &Store, ours: Hash, theirs: Hash) -> Result<Vec<Hash>> {
    let mut walk = BaseWalk::default();
    for (id, side) in [(ours, OURS), (theirs, THEIRS)] {
        walk.enter(id, Commit::load(store, &id)?.generation, side);
    }
    let mut found = Vec::new();
    while walk.left > 0
        && let Some((_, id)) = walk.heap.pop()
    {
        let mut mark = walk.leave(&id);
        if mark == OURS | THEIRS {
            found.push(id);
        }
        if mark & (OURS | THEIRS) == OURS | THEIRS {
            mark |= BELOW;
        }
        for parent in Commit::load(store, &id)?.parents {
            match Commit::load(store, &parent) {
                Ok(commit) => walk.enter(parent, commit.generation, mark),
                // A shallow clone has no more of this line.
                Err(error) if error.kind() == Kind::NotFound && (mark & BELOW != 0 || !found.is_empty()) => {}
                Err(error) => return Err(error),
            }
        }
    }
    Ok(found)
}

/// Commits in order of falling generation, so that all of a commit's descendants come before it, with what is known of each.
#[derive(Debug, Default)]
struct BaseWalk {
    marks: BTreeMap<Hash, u8>,
    heap: BinaryHeap<(u64, Hash)>,
    /// How many in the heap may still be, or lead to, a best common ancestor.
    left: usize,
}

impl BaseWalk {
    fn enter(&mut self, id: Hash, generation: u64, mark: u8) {
        match self.marks.get_mut(&id) {
            Some(known) => {
                let counted = *known & BELOW == 0;
                *known |= mark;
                self.left -= usize::from(counted && *known & BELOW != 0);
            }
            None => {
                self.marks.insert(id, mark);
                self.heap.push((generation, id));
                self.left += usize::from(mark & BELOW == 0);
            }
        }
    }

    /// What is known of a commit that was taken from the heap: everything, as its descendants have been there.
    fn leave(&mut self, id: &Hash) -> u8 {
        let mark = self.marks.get(id).copied().unwrap_or(0);
        self.left -= usize::from(mark & BELOW == 0);
        mark
    }
}

/// Whether `ancestor` is `commit` itself or in its history.
///
/// # Errors
/// `not-found` when neither can be said because a commit on the way is missing, `corrupt` when one is damaged.
pub fn is_ancestor(store: &Store, ancestor: Hash, commit: Hash) -> Result<bool> {
    if ancestor == commit {
        return Ok(true);
    }
    let floor = Commit::load(store, &ancestor)?.generation;
    let mut log = Log::of_what_is_here(store, [commit]);
    for step in log.by_ref() {
        let (id, found) = step?;
        if id == ancestor {
            return Ok(true);
        }
        if found.generation < floor {
            break;
        }
    }
    log.missing().map_or(Ok(false), |missing| Commit::load(store, &missing).map(|_| false))
}

#[cfg(test)]
mod tests;
