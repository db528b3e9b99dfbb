//! The index: where each object lies.
//!
//! Three layers, asked in this order: *pending* objects that are in no file yet, the *tail* of objects in files that no segment
//! covers yet (`tail`), and immutable sorted segments (`segment`). All of it but the pending objects can be made again from packs and
//! journals, so nothing here needs to be written with care: a lost or damaged segment is dropped and its files are read again.
//! Why not an embedded database: `docs/adr/0002-index.md`.
//!
//! Owns: the three layers and the numbers of files. After a crash: whatever segments are there are used, the rest is read
//! from footers and journals.
//!
//! Invariants:
//! - a segment or tail entry never appears before its file is whole and visible, except for uploads of this process;
//! - an id that has several places keeps all of them, and keeps working as long as one of them does: all are tried. So what
//!   is known to be covered stays known, whichever file goes;
//! - the place with the fewest patches comes first, so that the bases of a patch are found at places below it. It may be followed
//!   by a longer chain of another writer that stored the same object, so newer ones must not hide it.
//!
//! Not here: reading objects (`crate::store`).

mod maintain;
mod refresh;
pub(crate) mod segment;
mod tail;

pub(crate) use refresh::{read_note, write_note};

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, RwLock, RwLockReadGuard, RwLockWriteGuard};

use syncline_base::rng::Rng;
use syncline_base::{Hash, Kind};

use crate::backend::{Backend, Upload};
use crate::error::Result;
use crate::frame::Stored;
use crate::pack::Loc;
use segment::Segment;
use tail::Tail;

/// Folders of a store.
pub(crate) const PACKS: &str = "packs/";
pub(crate) const JOURNALS: &str = "journal/";
pub(crate) const SEGMENTS: &str = "index/";
/// Notes about files that a later gc deletes.
pub(crate) const CONDEMNED: &str = "gc/";

/// A pack or journal.
#[derive(Debug, Clone)]
pub(crate) struct FileInfo {
    pub(crate) name: Arc<str>,
    /// While this process writes it.
    pub(crate) upload: Option<Arc<dyn Upload>>,
    /// No longer listed.
    pub(crate) gone: bool,
    /// Will be deleted by a later gc: what is put again is stored again.
    pub(crate) condemned: bool,
    /// Where its last good frame ends.
    pub(crate) end: u64,
    /// How much of it survives a power cut for sure: only that may be in segments, which outlive it.
    pub(crate) durable: u64,
    /// It has a footer, or damage in its middle: nothing is appended to it.
    pub(crate) finished: bool,
    /// It could not be synced, so this process does not append to it again: a later sync says nothing about what is lost.
    pub(crate) given_up: bool,
}

/// An open segment, with its files' numbers.
#[derive(Debug)]
pub(crate) struct Open {
    pub(crate) segment: Segment,
    pub(crate) files: Vec<u32>,
}

impl Open {
    pub(crate) fn translate(&self, loc: Loc) -> Option<Loc> {
        Some(Loc { file: *self.files.get(loc.file as usize)?, ..loc })
    }
}

#[derive(Debug, Default)]
pub(crate) struct State {
    pub(crate) pending: BTreeMap<Hash, Stored>,
    pub(crate) tail: Tail,
    /// Stretches that the tail knows every object of, by file.
    pub(crate) tail_covers: BTreeMap<u32, Vec<(u64, u64)>>,
    /// Newest first.
    pub(crate) segments: Arc<Vec<Arc<Open>>>,
    pub(crate) files: Vec<FileInfo>,
    by_name: BTreeMap<Arc<str>, u32>,
    /// What the last refresh saw, to notice that nothing has changed.
    listed: Vec<(String, u64)>,
    /// Segments that others cover, left by a merge that was cut off. They go before a merge leaves files out: else what
    /// they say of those files would count again.
    pub(crate) superseded: Vec<String>,
}

impl State {
    /// The number of a file; a new one for a new name.
    pub(crate) fn file(&mut self, name: &str) -> u32 {
        if let Some(&number) = self.by_name.get(name) {
            return number;
        }
        let number = u32::try_from(self.files.len()).expect("fewer than 2^32 files");
        let name: Arc<str> = name.into();
        self.by_name.insert(Arc::clone(&name), number);
        self.files.push(FileInfo {
            name,
            upload: None,
            gone: false,
            condemned: false,
            end: 0,
            durable: 0,
            finished: false,
            given_up: false,
        });
        number
    }

    fn usable(&self, loc: &Loc) -> bool {
        self.files.get(loc.file as usize).is_some_and(|file| !file.gone)
    }

    /// Forgets an upload that will not be published: what lies in it is nowhere, and nothing may go on counting on it.
    pub(crate) fn abandon(&mut self, file: u32, entries: &[(Hash, Loc)]) {
        entries.iter().for_each(|(id, loc)| self.tail.remove(*id, *loc));
        let info = &mut self.files[file as usize];
        (info.upload, info.gone) = (None, true);
        // If it was published and only the reply was lost, the next look reads it as anybody's.
        self.listed.clear();
    }

    /// Forgets what the tail knows of a file from `from` on: those bytes were never acknowledged, and are others by now.
    fn forget_from(&mut self, file: u32, from: u64) {
        self.tail.retain(|loc| loc.file != file || u64::from(loc.offset) + u64::from(loc.len) <= from);
        if let Some(covers) = self.tail_covers.get_mut(&file) {
            covers.iter_mut().for_each(|cover| cover.1 = cover.1.min(from));
            covers.retain(|cover| cover.0 < cover.1);
            if covers.is_empty() {
                self.tail_covers.remove(&file);
            }
        }
        let info = &mut self.files[file as usize];
        info.end = info.end.min(from);
    }

    /// Whether what lies at a place will stay: its file waits for no collection, and the place is durable, or in an upload of this
    /// process. What another process appends to a journal may be taken back until it is acknowledged.
    fn stays(&self, loc: &Loc) -> bool {
        !self.files[loc.file as usize].condemned && !self.is_unsure(loc)
    }

    pub(crate) fn is_unsure(&self, loc: &Loc) -> bool {
        let info = &self.files[loc.file as usize];
        let open = !info.finished && info.name.starts_with(JOURNALS);
        open && u64::from(loc.offset) + u64::from(loc.len) > info.durable
    }

    /// Notes how much of a journal was acknowledged to whoever wrote it.
    fn acknowledge(&mut self, name: &str, len: u64) {
        if let Some(&file) = self.by_name.get(name) {
            let info = &mut self.files[file as usize];
            info.durable = info.durable.max(len);
        }
    }

    /// Notes that the tail knows `from..to` of a file.
    pub(crate) fn cover(&mut self, file: u32, from: u64, to: u64) {
        let covers = self.tail_covers.entry(file).or_default();
        match covers.last_mut() {
            Some(last) if last.1 == from => last.1 = to,
            _ => covers.push((from, to)),
        }
    }
}

/// Where an object is.
#[derive(Debug, Clone)]
pub(crate) enum Place {
    /// In no file yet.
    Pending(Stored),
    /// In a file.
    At(Loc),
}

/// See the module.
#[derive(Debug)]
pub(crate) struct Index {
    backend: Arc<dyn Backend>,
    state: RwLock<State>,
    /// One refresh or fold at a time.
    maintenance: Mutex<()>,
    /// Entries in the tail beyond which it becomes a segment.
    fold_at: usize,
    /// For names that no other process takes.
    names: Mutex<Rng>,
    /// The newest journal that a head speaks of, and how much of it was acknowledged.
    marked: Mutex<Option<(String, u64)>>,
}

impl Index {
    pub(crate) fn new(backend: Arc<dyn Backend>, fold_at: usize, names: Rng) -> Self {
        let (state, maintenance) = (RwLock::default(), Mutex::new(()));
        Self {
            backend,
            state,
            maintenance,
            fold_at: fold_at.max(1),
            names: Mutex::new(names),
            marked: Mutex::default(),
        }
    }

    pub(crate) fn read(&self) -> RwLockReadGuard<'_, State> {
        self.state.read().expect("no code panics while it holds the index")
    }

    pub(crate) fn write(&self) -> RwLockWriteGuard<'_, State> {
        self.state.write().expect("no code panics while it holds the index")
    }

    /// The first place of an object: that with the fewest patches, of those the newest. Looks at no other process's work.
    pub(crate) fn find(&self, id: &Hash) -> Result<Option<Place>> {
        let (mut best, segments) = {
            let state = self.read();
            if let Some(object) = state.pending.get(id) {
                return Ok(Some(Place::Pending(object.clone())));
            }
            (state.tail.places(id).find(|loc| state.usable(loc)), Arc::clone(&state.segments))
        };
        for open in segments.iter() {
            if best.is_some_and(|best| best.depth == 0) {
                break;
            }
            for loc in self.ask(open, id)? {
                if best.is_none_or(|best| loc.depth < best.depth) && self.read().usable(&loc) {
                    best = Some(loc);
                }
            }
        }
        Ok(best.map(Place::At))
    }

    fn ask(&self, open: &Open, id: &Hash) -> Result<Vec<Loc>> {
        let places = open.segment.places(&*self.backend, id)?;
        Ok(places.into_iter().filter_map(|(_, loc)| open.translate(loc)).collect())
    }

    /// Every place in a file where an object lies.
    pub(crate) fn all(&self, id: &Hash) -> Result<Vec<Loc>> {
        let (mut found, segments) = {
            let state = self.read();
            let known = state.tail.places(id).filter(|loc| state.usable(loc));
            (known.collect::<Vec<_>>(), Arc::clone(&state.segments))
        };
        for open in segments.iter() {
            for loc in self.ask(open, id)? {
                if !found.contains(&loc) && self.read().usable(&loc) {
                    found.push(loc);
                }
            }
        }
        found.sort_by_key(|loc| loc.depth);
        Ok(found)
    }

    /// Whether an object is there, and will stay: what lies in condemned files only, or was appended by another process and not
    /// acknowledged as far as known, does not count. With the file that it lies
    /// in, unless it still waits for one.
    pub(crate) fn holds(&self, id: &Hash) -> Result<Option<Option<u32>>> {
        Ok(match self.find(id)? {
            None => None,
            Some(Place::Pending(_)) => Some(None),
            Some(Place::At(loc)) => {
                let stays = |loc: &&Loc| self.read().stays(loc);
                let all = if stays(&&loc) { vec![loc] } else { self.all(id)? };
                all.iter().find(stays).map(|loc| Some(loc.file))
            }
        })
    }

    /// Whether any of these is in a journal beyond what is known to be durable.
    pub(crate) fn any_unsure(&self, ids: &[Hash]) -> Result<bool> {
        for id in ids {
            if let Some(Place::At(loc)) = self.find(id)?
                && self.read().is_unsure(&loc)
            {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// The ids that start with these eight bytes. More than one only if somebody made them so.
    pub(crate) fn with_prefix(&self, prefix: u64) -> Result<Vec<Hash>> {
        let mut low = [0; 32];
        low[..8].copy_from_slice(&prefix.to_le_bytes());
        let mut high = [0xff; 32];
        high[..8].copy_from_slice(&prefix.to_le_bytes());
        let (low, high) = (Hash::from_bytes(low), Hash::from_bytes(high));
        let (mut found, segments) = {
            let state = self.read();
            let pending = state.pending.range(low..=high).map(|(id, _)| *id);
            let found: Vec<Hash> = pending.chain(state.tail.ids(low, high)).collect();
            (found, Arc::clone(&state.segments))
        };
        for open in segments.iter() {
            let more = open.segment.with_prefix(&*self.backend, prefix)?;
            let state = self.read();
            found.extend(
                more.into_iter()
                    .filter(|(_, loc)| open.translate(*loc).is_some_and(|loc| state.usable(&loc)))
                    .map(|e| e.0),
            );
        }
        found.sort_unstable();
        found.dedup();
        Ok(found)
    }

    /// Notes how much of a journal is known to have been acknowledged.
    pub(crate) fn acknowledge(&self, journal: &str, len: u64) {
        *self.marked.lock().expect("no code panics while it holds the mark") = Some((journal.to_owned(), len));
        self.write().acknowledge(journal, len);
    }

    /// Notes that files will be deleted: what lies in them only is stored again when it is put again.
    pub(crate) fn condemn(&self, names: &[String]) {
        let mut state = self.write();
        for name in names {
            let file = state.file(name);
            state.files[file as usize].condemned = true;
        }
    }

    /// Runs a look-up; when a segment turns out to be damaged or gone, catches up and runs it once more.
    pub(crate) fn healing<T>(&self, look: impl Fn() -> Result<T>) -> Result<T> {
        match look() {
            Err(error) if matches!(error.kind(), Kind::Corrupt | Kind::NotFound) => {
                self.reload()?;
                look()
            }
            other => other,
        }
    }
}
