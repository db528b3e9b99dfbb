//! Work: what one piece of work counts on, from its first object until the head names them.
//!
//! Nothing holds what was stored until a head names it: a collection may take it for dead, and so may it take what was there
//! already when it was put again. A first run only condemns it, a later one deletes it, so who is done within the grace period
//! loses nothing; who is not must be told before it moves the head. Each piece of work is told by itself: what one session has
//! lost is no matter of another one, and that one was told says nothing to the others.
//!
//! Owns: for each piece of work, the numbers of files. After a crash: nothing, the work is gone with its process.
//!
//! Not here: what a collection does (`care`).

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, MutexGuard, Weak};
use std::time::Duration;

use syncline_base::{Hash, Kind};

use super::{Inner, Stop, Store};
use crate::error::{Error, Result};

/// How often a store that goes on writing looks for collections of other processes.
const LOOK: Duration = Duration::from_secs(60);

/// What one piece of work counts on.
#[derive(Debug, Default)]
pub(super) struct Work(Mutex<Counted>);

#[derive(Debug, Default)]
struct Counted {
    /// Files that hold what it has found here or stored.
    files: BTreeSet<u32>,
    /// It has put something since its head was set: whatever is written may hold that.
    puts: bool,
}

impl Work {
    fn counted(&self) -> MutexGuard<'_, Counted> {
        self.0.lock().expect("no code panics while it holds what work counts on")
    }

    /// It has put something that is in no file yet.
    pub(super) fn puts(&self) {
        self.counted().puts = true;
    }

    /// It relies on what lies in a file.
    pub(super) fn relies_on(&self, file: u32) {
        self.counted().files.insert(file);
    }

    /// Nothing more can be lost: a head names it, or it was told.
    pub(super) fn settle(&self) {
        *self.counted() = Counted::default();
    }

    /// It no longer needs a file, whose objects lie elsewhere by now.
    pub(super) fn leaves(&self, file: u32) {
        self.counted().files.remove(&file);
    }
}

impl Store {
    /// The same store for another piece of work: something that ends with its own swap of the head, or in nothing. What was lost
    /// to a collection is told to the work that has put or found it, by its next `flush`; clones of a handle are one work.
    #[must_use]
    pub fn work(&self) -> Self {
        let work = Arc::default();
        let mut works = self.inner.works.lock().expect("no code panics while it holds the works");
        works.retain(|work: &Weak<Work>| work.strong_count() > 0);
        works.push(Arc::downgrade(&work));
        Self { inner: Arc::clone(&self.inner), work, stopped: None }
    }

    /// This handle, for work that may be stopped: as soon as `stopped` says so, reading, storing and setting the head fail with
    /// `Unavailable`. That is safe at any point, as a kill is: the head names what it named. What may have removed or replaced
    /// files by halves (a collection, a repair of files) goes on to its end once it has begun.
    #[must_use]
    pub fn until(&self, stopped: Stop) -> Self {
        Self { stopped: Some(stopped), ..self.clone() }
    }

    /// This handle, not to be stopped: an object that cannot be read must not count as lost because nobody waits for it.
    pub(super) fn steady(&self) -> Self {
        Self { stopped: None, ..self.clone() }
    }

    /// Fails when nobody waits for this work any more.
    pub(super) fn go_on(&self) -> Result<()> {
        if !self.stopped.as_ref().is_some_and(|stopped| stopped()) {
            return Ok(());
        }
        let reason = "whoever asked for it has gone; nothing more is done";
        Err(Error::backend(Kind::Unavailable, "going on", "work", &self.inner.place, reason))
    }

    /// Whether an object need not be stored again by this work.
    pub(super) fn holds(&self, id: &Hash) -> Result<bool> {
        Ok(self.inner.index.healing(|| self.counts_on(id))? && self.inner.chain_is_whole(id))
    }

    /// Whether an object is there and will stay; then this work relies on it.
    pub(super) fn counts_on(&self, id: &Hash) -> Result<bool> {
        let held = self.inner.index.holds(id)?;
        match held {
            None => {}
            // Somebody else's, perhaps, on its way to a file, where it may have come just now.
            Some(None) => {
                self.work.puts();
                if let Some(Some(file)) = self.inner.index.holds(id)? {
                    self.work.relies_on(file);
                }
            }
            Some(Some(file)) => self.work.relies_on(file),
        }
        Ok(held.is_some())
    }

    /// Fails when a collection has taken, or is about to take, what this work counts on. What was put must be put again then:
    /// the work starts anew.
    pub(super) fn check_work(&self) -> Result<()> {
        let inner = &self.inner;
        if self.work.counted().files.is_empty() {
            return Ok(());
        }
        // What was not condemned at the last look stays for a grace period from then on, which is far longer than this.
        // Who comes while another work looks waits for it: what was not seen yet is not known to stay.
        {
            let mut looked = inner.looked.lock().expect("no code panics while it looks");
            let now = inner.options.clock.monotonic();
            if now.saturating_sub(*looked) >= LOOK {
                inner.index.refresh()?;
                *looked = now;
            }
        }
        let stay = || {
            let (counted, state) = (self.work.counted(), inner.index.read());
            counted.files.iter().all(|&file| !state.files[file as usize].gone && !state.files[file as usize].condemned)
        };
        // A look that began before a file had its name takes it for gone: a second one sees it.
        if stay() || inner.index.refresh().map(|_| stay())? {
            return Ok(());
        }
        self.work.settle();
        let reason = "a collection has taken what was stored or found here before anything named it: start over, and if that \
                      happens again give gc a longer grace";
        Err(Error::backend(Kind::Conflict, "flushing", "packs", &inner.place, reason))
    }
}

impl Inner {
    /// A file is being written that may hold what any work has put.
    pub(super) fn note_written(&self, file: u32) {
        let works = self.works.lock().expect("no code panics while it holds the works");
        for work in works.iter().filter_map(Weak::upgrade) {
            let mut counted = work.counted();
            if counted.puts {
                counted.files.insert(file);
            }
        }
    }
}
