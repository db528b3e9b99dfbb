//! Care: gc, verify, repair, usage.
#![allow(clippy::unimplemented, unused_variables, missing_docs, reason = "bodies follow in the next change")]

use syncline_base::Hash;

use super::Store;
use crate::codec::MAX_OBJECT;
use crate::error::{Error, Result};

impl Store {
    /// Stores a good copy of an object whose stored copy is damaged. It wins over the damaged one.
    pub fn replace(&self, bytes: &[u8]) -> Result<Hash> {
        let _ = MAX_OBJECT;
        unimplemented!()
    }

    /// Removes what `mark` does not name, in two phases. See [`GcOptions`].
    pub fn gc<E: From<Error>>(
        &self,
        options: &GcOptions,
        mark: impl FnOnce(&mut Marker<'_>) -> std::result::Result<(), E>,
    ) -> std::result::Result<GcReport, E> {
        unimplemented!()
    }

    /// Checks the structure, and with `deep` every object's bytes. Findings go to `report` as they come up.
    pub fn verify(&self, deep: bool, report: &mut dyn FnMut(Finding)) -> Result<Checked> {
        unimplemented!()
    }

    /// How much is stored.
    pub fn usage(&self) -> Result<Usage> {
        unimplemented!()
    }
}

/// How gc goes about it.
#[derive(Debug, Clone)]
pub struct GcOptions {
    /// What is dead is only removed by a gc that runs this much later, and only if it still is dead then. 0 removes at
    /// once: only when nothing else writes.
    pub grace_ms: u64,
    /// Packs with a smaller share of live bytes are rewritten, in percent.
    pub min_live_percent: u8,
}

/// Says what is live.
pub struct Marker<'a> {
    _store: &'a Store,
}

impl Marker<'_> {
    /// Marks an object (and what it is a patch on). True the first time: walk into its children then. `NotFound` when it is not there.
    pub fn mark(&mut self, id: &Hash) -> Result<bool> {
        unimplemented!()
    }
}

/// What gc did.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct GcReport {
    pub live_objects: u64,
    pub dead_objects: u64,
    pub files_rewritten: u64,
    pub files_condemned: u64,
    pub files_deleted: u64,
    pub bytes_deleted: u64,
    pub bytes_rewritten: u64,
}

/// One thing that is wrong with the store.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// The pack, journal or index file.
    pub file: String,
    /// The objects that cannot be read because of it, as far as known.
    pub ids: Vec<Hash>,
    /// What is wrong, and what to do.
    pub reason: String,
}

/// What verify looked at.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Checked {
    pub files: u64,
    pub objects: u64,
    pub bytes: u64,
    pub findings: u64,
}

/// How much is stored.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Usage {
    pub objects: u64,
    pub packs: u64,
    pub pack_bytes: u64,
    pub journal_bytes: u64,
    pub index_bytes: u64,
}
