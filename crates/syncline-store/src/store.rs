//! The store: objects by hash, and one mutable document.
#![allow(clippy::unimplemented, unused_variables, missing_docs, reason = "signatures first")]

use std::sync::Arc;

use bytes::Bytes;
use syncline_base::{Clock, Hash, SystemClock};

use crate::backend::{Backend, Version};
use crate::codec::{Codec, Encoded};
use crate::error::{Error, Result};

/// How a store behaves. `Default` is right for datasets on one machine, without codecs of the layers above.
#[derive(Clone)]
pub struct Options {
    /// Codecs beyond the built-in ones.
    pub codecs: Vec<Arc<dyn Codec>>,
    /// Time.
    pub clock: Arc<dyn Clock>,
    /// Memory for canonical bytes of objects that were read.
    pub cache_bytes: usize,
    /// Put but not flushed bytes beyond this go to a pack that is being written.
    pub spill_bytes: usize,
    /// A pack is closed when it is this long.
    pub pack_bytes: u64,
    /// A journal is closed when it is this long.
    pub journal_bytes: u64,
    /// How long to wait for another process's lock.
    pub lock_wait_ms: u64,
    /// Seeds the names of files and write ids; `None` draws from the operating system.
    pub seed: Option<u64>,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            codecs: Vec::new(),
            clock: Arc::new(SystemClock),
            cache_bytes: 32 << 20,
            spill_bytes: 4 << 20,
            pack_bytes: 64 << 20,
            journal_bytes: 64 << 20,
            lock_wait_ms: 30_000,
            seed: None,
        }
    }
}

/// Identifies one state of the head. Opaque.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HeadVersion(pub(crate) Version);

/// Objects by hash, and one mutable document. Cheap to clone; all clones are one store.
#[derive(Debug, Clone)]
pub struct Store {}

impl Store {
    /// Makes a new, empty store. `Conflict` when there is one already.
    pub fn create(backend: Arc<dyn Backend>, options: Options) -> Result<Self> {
        unimplemented!()
    }

    /// Opens a store. `NotFound` when there is none.
    pub fn open(backend: Arc<dyn Backend>, options: Options) -> Result<Self> {
        unimplemented!()
    }

    /// Where the store is, for messages.
    pub fn describe(&self) -> String {
        unimplemented!()
    }

    /// The canonical bytes of an object; their hash is checked.
    pub fn get(&self, id: &Hash) -> Result<Bytes> {
        unimplemented!()
    }

    /// Many objects, in the order asked for. Neighbours are read together, decoding runs on all cores.
    pub fn get_many(&self, ids: &[Hash]) -> Result<Vec<Bytes>> {
        unimplemented!()
    }

    /// An object as it is stored. Bases are not decoded and the hash is not checked, so it is cheap.
    pub fn get_encoded(&self, id: &Hash) -> Result<Encoded> {
        unimplemented!()
    }

    /// Whether an object is there. Looks at what other processes have flushed before it says no.
    pub fn contains(&self, id: &Hash) -> Result<bool> {
        unimplemented!()
    }

    /// Those of `ids` that are not there, in order. One look at other processes' work for all of them.
    pub fn missing(&self, ids: &[Hash]) -> Result<Vec<Hash>> {
        unimplemented!()
    }

    /// Stores an object, compressed when that pays. Readable at once here; durable and visible elsewhere after `flush`.
    pub fn put(&self, bytes: &[u8]) -> Result<Hash> {
        unimplemented!()
    }

    /// As `put`, with `base` as compression prefix when that pays and the base's chain has room.
    pub fn put_with_base(&self, bytes: &[u8], base: &Hash) -> Result<Hash> {
        unimplemented!()
    }

    /// Whether a patch of `patch_len` bytes may be stacked on `base` for an object of `raw_len` canonical bytes. False when the base is not there.
    pub fn patch_room(&self, base: &Hash, patch_len: usize, raw_len: usize) -> bool {
        unimplemented!()
    }

    /// Stores an object that the caller has encoded (and hashed). Nothing happens when it is there already.
    pub fn put_encoded(&self, object: Encoded) -> Result<()> {
        unimplemented!()
    }

    /// Encodes canonical bytes as `put` would, without storing: for callers that encode on many threads and store in order.
    pub fn encode(bytes: Bytes) -> Encoded {
        unimplemented!()
    }

    /// Makes everything put before durable and visible to other processes. Concurrent calls share one sync.
    pub fn flush(&self) -> Result<()> {
        unimplemented!()
    }

    /// The head document and its version.
    pub fn head(&self) -> Result<(Bytes, HeadVersion)> {
        unimplemented!()
    }

    /// Replaces the head if nobody else has since `expect` was read; `Conflict` otherwise. Flush first what it points to.
    pub fn swap_head(&self, expect: &HeadVersion, bytes: &[u8]) -> Result<HeadVersion> {
        unimplemented!()
    }

    /// Stores a good copy of an object whose stored copy is damaged. It wins over the damaged one.
    pub fn replace(&self, bytes: &[u8]) -> Result<Hash> {
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
