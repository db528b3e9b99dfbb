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
use crate::{Error, Result};

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
    /// A commit that is not here ends its line and nothing else.
    partial: bool,
    /// The first of those.
    missing: Option<Hash>,
}

impl Log {
    /// A walk that starts at these commits.
    #[must_use]
    pub fn new(store: &Store, starts: impl IntoIterator<Item = Hash>) -> Self {
        let mut log = Self {
            store: store.clone(),
            heap: BinaryHeap::new(),
            seen: BTreeSet::new(),
            loaded: BTreeMap::new(),
            failed: None,
            partial: false,
            missing: None,
        };
        for id in starts {
            log.enter(id);
        }
        log
    }

    /// A walk through what is here: the parts of a history that a shallow clone does not have are passed over.
    #[must_use]
    pub fn of_what_is_here(store: &Store, starts: impl IntoIterator<Item = Hash>) -> Self {
        let mut log = Self { partial: true, ..Self::new(store, []) };
        for id in starts {
            log.enter(id);
        }
        log
    }

    /// A commit that the walk has come to so far and that is not here.
    #[must_use]
    pub fn missing(&self) -> Option<Hash> {
        self.missing
    }

    fn enter(&mut self, id: Hash) {
        if !self.seen.insert(id) {
            return;
        }
        match Commit::load(&self.store, &id) {
            Ok(commit) => {
                self.heap.push(Step { generation: commit.generation, hlc: commit.hlc, id });
                self.loaded.insert(id, commit);
            }
            Err(error) if self.partial && error.kind() == Kind::NotFound => {
                self.missing.get_or_insert(id);
            }
            Err(error) => self.failed = Some(error),
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
        for parent in &commit.parents {
            self.enter(*parent);
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
