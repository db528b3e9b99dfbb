//! The store: objects by hash, and one mutable document, the head.
//!
//! Normative description: `docs/format/store.md`. Objects are put into memory, gathered in frames and written by `flush`: a
//! little of it goes to the journal in one synced append, a lot streams into packs. The order is always pack or journal,
//! then index, then (by the caller) the head; what goes is removed in the reverse order.
//!
//! Owns: the index, the caches, what is put but not flushed. After a crash: see the crate.
//!
//! Invariants:
//! - an object is visible to other processes, and to a later run, only with its whole chain of bases;
//! - what `get` returns hashes to what was asked for.
//!
//! Not here: what is live (the caller of `gc` knows), what objects mean.

mod care;
mod chain;
mod flush;
pub(crate) mod head;
mod open;
mod open_pack;
mod read;
mod work;
mod write;

#[cfg(test)]
mod crash_tests;
#[cfg(test)]
mod tests;

use std::fmt;
use std::sync::{Arc, Condvar, Mutex, Weak};
use std::time::Duration;

use bytes::Bytes;
use syncline_base::rng::Rng;
use syncline_base::{Clock, Hash, SystemClock};

use crate::backend::{Backend, Version};
use crate::cache::Cache;
use crate::codec::{Codec, Registry};
use crate::frame::Frame;
use crate::index::Index;

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
    /// Objects whose place is kept in memory before an index segment is written.
    pub fold_objects: usize,
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
            fold_objects: 64 << 10,
            lock_wait_ms: 30_000,
            seed: None,
        }
    }
}

/// Identifies one state of the head. Opaque.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HeadVersion(pub(crate) Option<Version>);

/// Objects by hash, and one mutable document. Cheap to clone; all clones are one store, and one piece of work ([`Store::work`]).
#[derive(Clone)]
pub struct Store {
    inner: Arc<Inner>,
    /// What this handle and its clones count on until they set the head.
    work: Arc<work::Work>,
    /// Whether nobody waits for what this handle and its clones do.
    stopped: Option<Stop>,
}

/// Says whether a piece of work is to stop. Once it has said so it stays with it. Asked often: it must be cheap.
pub type Stop = Arc<dyn Fn() -> bool + Send + Sync>;

struct Inner {
    backend: Arc<dyn Backend>,
    /// Where it is, for messages.
    place: String,
    options: Options,
    registry: Registry,
    index: Index,
    /// Canonical bytes whose hash was checked.
    objects: Cache<Hash, Bytes>,
    /// Shared frames, by file and offset.
    frames: Cache<(u32, u32), Arc<Frame>>,
    writer: Mutex<write::Writer>,
    flushing: Mutex<flush::Turns>,
    flushed: Condvar,
    journal: Mutex<flush::Journal>,
    marks: Mutex<head::Marks>,
    /// When this process last looked for collections.
    looked: Mutex<Duration>,
    /// What is being done with this store.
    works: Mutex<Vec<Weak<work::Work>>>,
    names: Mutex<Rng>,
}

pub use care::{Checked, Finding, GcOptions, GcReport, Marker, Mended, Usage};

impl fmt::Debug for Store {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Store").field("place", &self.inner.place).finish_non_exhaustive()
    }
}
