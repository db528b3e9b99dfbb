//! Commits that the sender has only the records of: they join what it sends to what is here.
//!
//! They wait in memory until the session's end, and are kept through [`crate::Local::keep_past`], which notes that their data
//! is not here: a commit that is stored otherwise has everything under it.

use std::collections::BTreeMap;

use bytes::Bytes;
use syncline_base::Hash;
use syncline_tree::Commit;

use super::Receiver;
use super::step::apart;
use crate::error::{Error, Result};

/// The most bytes of such records.
const PAST_BYTES: usize = 64 << 20;

/// The records.
#[derive(Debug, Default)]
pub(super) struct Past {
    commits: BTreeMap<Hash, (Commit, Bytes)>,
    bytes: usize,
}

impl Past {
    pub(super) fn generation(&self, id: &Hash) -> Option<u64> {
        self.commits.get(id).map(|(commit, _)| commit.generation)
    }

    pub(super) fn is_empty(&self) -> bool {
        self.commits.is_empty()
    }

    /// It has come with its data after all.
    pub(super) fn forget(&mut self, id: &Hash) {
        self.commits.remove(id);
    }
}

impl Receiver<'_> {
    pub(super) fn past(&mut self, records: &[Bytes]) -> Result<()> {
        for record in records {
            self.past.bytes += record.len().max(256);
            if self.past.bytes > PAST_BYTES {
                return Err(Error::protocol("past", format!("more than {PAST_BYTES} bytes of commits")));
            }
            let (id, commit) = (Hash::of(record), Commit::decode(record)?);
            if !self.have.has_commit(id)? {
                self.past.commits.insert(id, (commit, record.clone()));
            }
        }
        Ok(())
    }

    /// Checks that they join, and has them kept.
    pub(super) fn keep_past(&mut self) -> Result<()> {
        if self.past.commits.is_empty() {
            return Ok(());
        }
        for (id, (commit, _)) in &self.past.commits {
            let mut generation = 0;
            for parent in &commit.parents {
                generation = generation.max(if let Some(generation) = self.past.generation(parent) {
                    generation
                } else if self.have.has_commit(*parent)? {
                    Commit::load(&self.store, parent)?.generation
                } else if self.partial {
                    self.shallow.insert(*id);
                    continue;
                } else {
                    return Err(apart(id, parent));
                });
            }
            if !self.shallow.contains(id) && commit.generation != generation + 1 {
                return Err(Error::protocol("past", format!("{} has a wrong generation", id.short())));
            }
        }
        let past = std::mem::take(&mut self.past);
        let records: Vec<(Hash, Commit, Bytes)> =
            past.commits.into_iter().map(|(id, (commit, bytes))| (id, commit, bytes)).collect();
        self.local.keep_past(&records)
    }
}
