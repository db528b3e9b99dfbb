//! Making and opening stores, and names for new files.

use std::sync::{Arc, Condvar, Mutex};

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use syncline_base::rng::Rng;
use syncline_base::{Kind, task};

use super::work::Work;
use super::{Inner, Options, Store, flush, write};
use crate::backend::{Backend, Guard};
use crate::cache::Cache;
use crate::codec::Registry;
use crate::error::{Error, Result};
use crate::index::{Index, JOURNALS, PACKS};

/// The document that says that a place is a store, and of which format.
const ABOUT: &str = "store.json";
/// The format that this program writes, and the newest that it reads.
const FORMAT: u32 = 1;

const HASH: &str = "blake3-256";

#[derive(Debug, Serialize, Deserialize)]
struct About {
    format: u32,
    hash: String,
}

fn about() -> Bytes {
    let about = About { format: FORMAT, hash: HASH.to_owned() };
    serde_json::to_vec(&about).expect("two plain fields can be written as JSON").into()
}

/// What to do when that document is lost.
fn what_it_says() -> String {
    format!("unless a newer program made the store, write {} to {ABOUT}", String::from_utf8_lossy(&about()))
}

fn without_about(place: &str) -> Error {
    Error::format(ABOUT, format!("it is missing, and there are packs or journals; {} in {place}", what_it_says()))
}

impl Store {
    /// Makes a new, empty store: first its head, so that a store without one has lost it.
    ///
    /// # Errors
    /// `Conflict` when there is a store already, `Corrupt` when there are objects of one, or the backend's.
    pub fn create(backend: Arc<dyn Backend>, options: Options) -> Result<Self> {
        let conflict = || {
            let reason = "there is a store already: open it, or choose another place";
            Error::backend(Kind::Conflict, "creating a store", ABOUT, &backend.describe(), reason)
        };
        if backend.read_versioned(ABOUT)?.is_some() {
            return Err(conflict());
        }
        let store = Self::start(Arc::clone(&backend), options)?;
        if store.knows_files() {
            return Err(without_about(&store.describe()));
        }
        store.first_head()?;
        match backend.put(ABOUT, about()) {
            Err(error) if error.kind() == Kind::Conflict => Err(conflict()),
            other => other.map(|()| store),
        }
    }

    /// Opens a store.
    ///
    /// # Errors
    /// `NotFound` when there is none, `Corrupt` when it is damaged so that it cannot be told what it is, `Invalid` when its
    /// format is too new, or the backend's.
    pub fn open(backend: Arc<dyn Backend>, options: Options) -> Result<Self> {
        let place = backend.describe();
        let Some((text, _)) = backend.read_versioned(ABOUT)? else {
            for prefix in [PACKS, JOURNALS] {
                if !backend.list(prefix)?.is_empty() {
                    return Err(without_about(&place));
                }
            }
            let reason = "there is no store: create one first";
            return Err(Error::backend(Kind::NotFound, "opening a store", ABOUT, &place, reason));
        };
        let about: About = serde_json::from_slice(&text)
            .map_err(|error| Error::format(ABOUT, format!("{error}; {} in {place}", what_it_says())))?;
        if about.format != FORMAT {
            return Err(Error::Version { place, found: about.format, known: FORMAT });
        }
        if about.hash != HASH {
            let found = about.hash;
            let reason =
                format!("it names objects by {found:?}, and this program by {HASH:?}; {} in {place}", what_it_says());
            return Err(Error::format(ABOUT, reason));
        }
        Self::start(backend, options)
    }

    /// Whether there are packs or journals.
    pub(super) fn has_files(&self) -> Result<bool> {
        self.inner.index.refresh()?;
        Ok(self.knows_files())
    }

    fn knows_files(&self) -> bool {
        self.inner.index.read().files.iter().any(|file| !file.gone && file.upload.is_none())
    }

    fn start(backend: Arc<dyn Backend>, options: Options) -> Result<Self> {
        let mut rng = options.seed.map_or_else(Rng::from_os, Rng::from_seed);
        let index = Index::new(Arc::clone(&backend), options.fold_objects, Rng::from_seed(rng.next_u64()));
        let work: Arc<Work> = Arc::default();
        let inner = Inner {
            place: backend.describe(),
            registry: Registry::new(&options.codecs)?,
            index,
            objects: Cache::new(options.cache_bytes),
            frames: Cache::new(options.cache_bytes / 4),
            writer: Mutex::new(write::Writer::default()),
            flushing: Mutex::new(flush::Turns::default()),
            flushed: Condvar::new(),
            journal: Mutex::new(flush::Journal::default()),
            marks: Mutex::default(),
            looked: Mutex::new(options.clock.monotonic()),
            works: Mutex::new(vec![Arc::downgrade(&work)]),
            names: Mutex::new(rng),
            backend,
            options,
        };
        let store = Self { inner: Arc::new(inner), work, stopped: None };
        store.inner.index.refresh()?;
        Ok(store)
    }

    /// Where the store is, for messages.
    #[must_use]
    pub fn describe(&self) -> String {
        self.inner.place.clone()
    }

    /// A name below `folder` that nobody has, and that sorts after names given earlier (as far as clocks agree).
    pub(crate) fn new_name(&self, folder: &str) -> String {
        let unique = self.inner.names.lock().expect("no code panics while it draws a name").next_u64();
        format!("{folder}{:012x}-{unique:016x}", self.inner.options.clock.now_ms())
    }

    /// Takes a lock among processes, waiting for it as long as the options say.
    pub(crate) fn lock(&self, name: &'static str) -> Result<Box<dyn Guard>> {
        let (clock, limit) = (&self.inner.options.clock, self.inner.options.lock_wait_ms);
        let start = clock.monotonic();
        let mut pause_ms = 1;
        loop {
            if let Some(guard) = self.inner.backend.lock(name)? {
                return Ok(guard);
            }
            let waited_ms = u64::try_from((clock.monotonic() - start).as_millis()).unwrap_or(u64::MAX);
            if waited_ms >= limit {
                return Err(Error::Locked { lock: name, place: self.inner.place.clone(), waited_ms });
            }
            clock.sleep(std::time::Duration::from_millis(pause_ms));
            pause_ms = (pause_ms * 2).min(20);
        }
    }

    /// How many objects are worth decoding on several threads.
    pub(crate) fn wide(items: usize) -> bool {
        items > 1 && task::width() > 1
    }
}
