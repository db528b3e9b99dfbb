//! The commits whose data garbage collection has given up: those that refs mark as `dropped`, and what is before them down to
//! what is `held`.
//!
//! State: how far the history was walked, which is no further than what was asked about. A commit that is newer than the newest
//! mark costs nothing. Nothing is written.
//!
//! Not here: which versions are given up, and how they are marked (`syncline-node`).

use std::collections::{BTreeSet, BinaryHeap};

use syncline_base::hash::IdSet;
use syncline_base::{Hash, Kind};
use syncline_store::Store;

use crate::{Commit, Refs, Result};

/// What is given up, as far as somebody wanted to know.
#[derive(Debug, Clone, Default)]
pub struct GivenUp {
    store: Option<Store>,
    held: BTreeSet<Hash>,
    found: IdSet,
    /// Commits of `found` whose parents were not looked at, the newest first.
    open: BinaryHeap<(u64, Hash)>,
    any: bool,
    /// A line ends where a commit is damaged.
    passes: bool,
}

impl GivenUp {
    /// What these refs say. Reads the newest commit of each line.
    ///
    /// # Errors
    /// The store's.
    pub fn new(store: &Store, refs: &Refs) -> Result<Self> {
        Self::start(store, refs, false)
    }

    /// As far as commits can be read: for who looks for the damage.
    ///
    /// # Errors
    /// The store's, but not that a commit is damaged.
    pub fn of_what_can_be_read(store: &Store, refs: &Refs) -> Result<Self> {
        Self::start(store, refs, true)
    }

    fn start(store: &Store, refs: &Refs, passes: bool) -> Result<Self> {
        let mut this = Self {
            store: Some(store.clone()),
            held: refs.held.clone(),
            any: !refs.dropped.is_empty(),
            passes,
            ..Self::default()
        };
        for id in &refs.dropped {
            this.enter(*id)?;
        }
        Ok(this)
    }

    /// Whether nothing is marked.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        !self.any
    }

    /// Whether the data of this commit was given up. Its generation says how far to look.
    ///
    /// # Errors
    /// The store's.
    pub fn contains(&mut self, id: &Hash, generation: u64) -> Result<bool> {
        while self.open.peek().is_some_and(|(newest, _)| *newest > generation) {
            self.step()?;
        }
        Ok(self.found.contains(id))
    }

    /// This one is not given up any more, what is before it still is. It was asked about before.
    pub fn forget(&mut self, id: &Hash) {
        self.found.remove(id);
        self.held.insert(*id);
    }

    /// All of them.
    ///
    /// # Errors
    /// The store's.
    pub fn all(mut self) -> Result<IdSet> {
        while !self.open.is_empty() {
            self.step()?;
        }
        Ok(self.found)
    }

    /// How many are known so far.
    #[cfg(test)]
    fn known(&self) -> usize {
        self.found.len()
    }

    /// Goes from the newest open one to its parents.
    fn step(&mut self) -> Result<()> {
        let (Some((_, id)), Some(store)) = (self.open.pop(), &self.store) else { return Ok(()) };
        for parent in Commit::load(store, &id)?.parents {
            self.enter(parent)?;
        }
        Ok(())
    }

    fn enter(&mut self, id: Hash) -> Result<()> {
        let Some(store) = &self.store else { return Ok(()) };
        if self.held.contains(&id) || !self.found.insert(id) {
            return Ok(());
        }
        match Commit::load(store, &id) {
            Ok(commit) => self.open.push((commit.generation, id)),
            // A shallow clone does not have all of its history.
            Err(error) if error.kind() == Kind::NotFound || self.passes && error.kind() == Kind::Corrupt => {}
            Err(error) => return Err(error),
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
