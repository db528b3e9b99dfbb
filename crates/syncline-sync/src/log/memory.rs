//! A disk in memory that crashes and fails when told to, for tests and simulations.
//!
//! State: for every file what a reader sees, what is durable, and the writes in between; the same for names; chance.
//!
//! The model of a crash is that of [`Disk`], driven by a given generator: of the units that a write touched and that were
//! not synced none, all, those before or behind some place, or any survive, each write for itself; a name that was made or removed and not
//! synced is there or not, each for itself. When a sync fails, it is decided at once what of the writes reached the disk; the
//! rest can still be read until the crash, and no later sync brings it there.
//!
//! Clones are the same disk. Not here: what fails when (the caller's plan), bit rot (the caller's, with
//! [`MemoryDisk::change`]).

use std::collections::BTreeMap;
use std::io;
use std::sync::{Arc, Mutex, MutexGuard};

use syncline_base::rng::Rng;

use super::disk::Disk;

/// What a failing call does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Failure {
    /// "Input/output error", having done some of its work or none.
    Broken,
    /// "No space left on device", for calls that take more space than the files have; others go well.
    Full,
}

/// When calls fail.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Plan {
    /// So many calls go well yet.
    after: u64,
    /// So many fail then.
    times: u64,
    failure: Failure,
}

#[derive(Debug, Default, Clone)]
struct Contents {
    /// What a reader sees.
    seen: Vec<u8>,
    durable: Vec<u8>,
    /// Writes that are not durable: offset and length of the units that they touched; what these were then lies in
    /// `bytes`, one after another.
    pending: Vec<(usize, usize)>,
    bytes: Vec<u8>,
}

#[derive(Debug, Clone)]
struct State {
    rng: Rng,
    unit: usize,
    /// Contents by number; a name leads to a number.
    files: BTreeMap<u64, Contents>,
    made: u64,
    names: BTreeMap<String, u64>,
    durable_names: BTreeMap<String, u64>,
    names_changed: bool,
    plan: Option<Plan>,
    short_reads: bool,
    preallocating: bool,
    calls: u64,
    syncs: u64,
    writes: u64,
}

/// A disk in memory.
#[derive(Debug, Clone)]
pub struct MemoryDisk {
    state: Arc<Mutex<State>>,
}

impl MemoryDisk {
    /// An empty disk whose unsynced bytes survive crashes in units of `unit` bytes, a power of two.
    #[must_use]
    pub fn new(rng: Rng, unit: u32) -> Self {
        let unit = unit.max(1).next_power_of_two() as usize;
        let state = State {
            rng,
            unit,
            files: BTreeMap::new(),
            made: 0,
            names: BTreeMap::new(),
            durable_names: BTreeMap::new(),
            names_changed: false,
            plan: None,
            short_reads: false,
            preallocating: false,
            calls: 0,
            syncs: 0,
            writes: 0,
        };
        Self { state: Arc::new(Mutex::new(state)) }
    }

    /// The power goes: what was not durable survives by chance. No call fails any longer.
    pub fn crash(&self) {
        let mut state = self.state();
        state.plan = None;
        let State { rng, unit, files, names, durable_names, names_changed, .. } = &mut *state;
        if *names_changed {
            let all: Vec<String> = names.keys().chain(durable_names.keys()).cloned().collect();
            for name in all {
                if names.get(&name) != durable_names.get(&name) && rng.below(2) == 0 {
                    match names.get(&name) {
                        Some(&file) => drop(durable_names.insert(name, file)),
                        None => drop(durable_names.remove(&name)),
                    }
                }
            }
            *names = durable_names.clone();
            files.retain(|file, _| names.values().any(|named| named == file));
            *names_changed = false;
        }
        for contents in files.values_mut() {
            contents.survive(rng, *unit);
            contents.seen.clone_from(&contents.durable);
        }
    }

    /// Another disk with the same files as a reader sees them now, all durable: a copy, or a backup to come back to.
    #[must_use]
    pub fn copy(&self, rng: Rng) -> Self {
        let state = self.state();
        let mut copy = State { rng, plan: None, names_changed: false, ..state.clone() };
        copy.durable_names.clone_from(&copy.names);
        copy.files.retain(|file, _| copy.names.values().any(|named| named == file));
        for contents in copy.files.values_mut() {
            contents.durable.clone_from(&contents.seen);
            contents.forget_pending();
        }
        Self { state: Arc::new(Mutex::new(copy)) }
    }

    /// From now on, `after` calls go well and the next `times` fail, until the next plan or crash.
    pub fn fail(&self, after: u64, times: u64, failure: Failure) {
        self.state().plan = Some(Plan { after, times, failure });
    }

    /// No call fails any longer.
    pub fn heal(&self) {
        self.state().plan = None;
    }

    /// Whether reads give fewer bytes than they are asked for, by chance.
    pub fn set_short_reads(&self, short: bool) {
        self.state().short_reads = short;
    }

    /// Whether a file that is made has its space and its length at once, as zeros, or grows as it is written.
    pub fn set_preallocating(&self, preallocating: bool) {
        self.state().preallocating = preallocating;
    }

    /// Changes a file's bytes where they lie, durably: for rot.
    ///
    /// # Panics
    /// When there is no such file.
    pub fn change(&self, name: &str, change: impl FnOnce(&mut Vec<u8>)) {
        let mut state = self.state();
        let file = state.names[name];
        let contents = state.files.get_mut(&file).expect("a name leads to a file");
        change(&mut contents.seen);
        contents.durable.clone_from(&contents.seen);
        contents.forget_pending();
    }

    /// All files and what a reader sees of them.
    #[must_use]
    pub fn contents(&self) -> BTreeMap<String, Vec<u8>> {
        let state = self.state();
        state.names.iter().map(|(name, file)| (name.clone(), state.files[file].seen.clone())).collect()
    }

    /// How many calls there were, how many of them were writes, and how many syncs of files or names.
    #[must_use]
    pub fn counts(&self) -> (u64, u64, u64) {
        let state = self.state();
        (state.calls, state.writes, state.syncs)
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("nothing panics while it holds this lock")
    }

    /// Counts a call, which takes space or not; says whether it is to fail.
    fn call(&self, takes_space: impl FnOnce(&State) -> bool) -> (MutexGuard<'_, State>, Option<io::Error>) {
        let mut state = self.state();
        state.calls += 1;
        if state.plan.is_none() {
            return (state, None);
        }
        let takes_space = takes_space(&state);
        let Some(plan) = &mut state.plan else { return (state, None) };
        if plan.after > 0 {
            plan.after -= 1;
            return (state, None);
        }
        if plan.times == 0 || (plan.failure == Failure::Full && !takes_space) {
            return (state, None);
        }
        plan.times -= 1;
        let error = match plan.failure {
            Failure::Broken => io::Error::other("input/output error"),
            Failure::Full => io::Error::new(io::ErrorKind::StorageFull, "no space left on device"),
        };
        (state, Some(error))
    }
}

impl State {
    fn file(&mut self, name: &str) -> io::Result<&mut Contents> {
        let missing = || io::Error::new(io::ErrorKind::NotFound, "no such file");
        let file = self.names.get(name).ok_or_else(missing)?;
        self.files.get_mut(file).ok_or_else(missing)
    }

    fn even(&mut self) -> bool {
        self.rng.below(2) == 0
    }
}

impl Contents {
    fn write(&mut self, offset: usize, bytes: &[u8], unit: usize) {
        put(&mut self.seen, offset, bytes);
        let start = offset / unit * unit;
        let end = (offset + bytes.len()).next_multiple_of(unit).min(self.seen.len());
        self.pending.push((start, end - start));
        self.bytes.extend_from_slice(&self.seen[start..end]);
    }

    fn forget_pending(&mut self) {
        self.pending.clear();
        self.bytes.clear();
    }

    fn sync(&mut self) {
        let mut rest = self.bytes.as_slice();
        for &(offset, len) in &self.pending {
            let (bytes, behind) = rest.split_at(len);
            put(&mut self.durable, offset, bytes);
            rest = behind;
        }
        self.forget_pending();
    }

    /// Lets chance decide what of the pending writes becomes durable.
    fn survive(&mut self, rng: &mut Rng, unit: usize) {
        let mut rest = self.bytes.as_slice();
        for &(offset, len) in &self.pending {
            let (bytes, behind) = rest.split_at(len);
            rest = behind;
            // How likely a unit is there, in eighths; and where that changes, at a unit.
            let cut = offset + usize::try_from(rng.below(len as u64 + 1)).unwrap_or(0);
            let (before, after) = match rng.below(6) {
                0 => (0, 0),
                1 => (8, 8),
                2 => (8, 0),
                3 => (0, 8),
                4 => (7, 7),
                _ => (4, 4),
            };
            let mut at = offset;
            while at < offset + len {
                let end = (offset + len).min((at / unit + 1) * unit);
                let likely = if at < cut { before } else { after };
                if likely == 8 || rng.below(8) < likely {
                    put(&mut self.durable, at, &bytes[at - offset..end - offset]);
                }
                at = end;
            }
        }
        self.forget_pending();
    }
}

/// Puts bytes into a file; a gap before them is zeros.
fn put(file: &mut Vec<u8>, offset: usize, bytes: &[u8]) {
    if file.len() == offset {
        file.extend_from_slice(bytes);
        return;
    }
    if file.len() < offset + bytes.len() {
        file.resize(offset + bytes.len(), 0);
    }
    file[offset..offset + bytes.len()].copy_from_slice(bytes);
}

fn place(offset: u64) -> io::Result<usize> {
    usize::try_from(offset).map_err(|_| io::Error::new(io::ErrorKind::InvalidInput, "an offset beyond memory"))
}

impl Disk for MemoryDisk {
    fn list(&self) -> io::Result<Vec<(String, u64)>> {
        let (state, error) = self.call(|_| false);
        let len = |file: &u64| state.files[file].seen.len() as u64;
        let names = || state.names.iter().map(|(name, file)| (name.clone(), len(file))).collect();
        error.map_or_else(|| Ok(names()), Err)
    }

    fn create(&self, name: &str, size: u64) -> io::Result<()> {
        let (mut state, error) = self.call(|_| true);
        if state.names.contains_key(name) {
            return Err(io::Error::new(io::ErrorKind::AlreadyExists, "the file exists"));
        }
        if error.is_none() || state.even() {
            state.made += 1;
            let file = state.made;
            let mut contents = Contents::default();
            if state.preallocating {
                contents.durable.resize(place(size)?, 0);
                contents.seen.clone_from(&contents.durable);
            }
            state.files.insert(file, contents);
            state.names.insert(name.to_owned(), file);
            state.names_changed = true;
        }
        error.map_or(Ok(()), Err)
    }

    fn write(&self, name: &str, offset: u64, bytes: &[u8]) -> io::Result<()> {
        let offset = place(offset)?;
        let (mut state, error) = self.call(|state| {
            let file = state.names.get(name).and_then(|file| state.files.get(file));
            file.is_none_or(|contents| contents.seen.len() < offset + bytes.len())
        });
        state.writes += 1;
        let len = if error.is_some() { state.rng.below(bytes.len() as u64) } else { bytes.len() as u64 };
        let unit = state.unit;
        state.file(name)?.write(offset, &bytes[..place(len)?], unit);
        error.map_or(Ok(()), Err)
    }

    fn read(&self, name: &str, offset: u64, into: &mut [u8]) -> io::Result<usize> {
        let (mut state, error) = self.call(|_| false);
        if let Some(error) = error {
            return Err(error);
        }
        let short = if state.short_reads { state.rng.next_u64() } else { u64::MAX };
        let file = state.file(name)?;
        let rest = file.seen.get(place(offset)?..).unwrap_or_default();
        let mut len = rest.len().min(into.len());
        if len > 1 && short % 4 == 0 {
            len = 1 + usize::try_from(short / 4 % (len as u64 - 1)).unwrap_or(0);
        }
        into[..len].copy_from_slice(&rest[..len]);
        Ok(len)
    }

    fn sync(&self, name: &str) -> io::Result<()> {
        let (mut state, error) = self.call(|_| false);
        state.syncs += 1;
        if error.is_some() {
            let State { rng, unit, names, files, .. } = &mut *state;
            if let Some(contents) = names.get(name).and_then(|file| files.get_mut(file)) {
                contents.survive(rng, *unit);
            }
        } else {
            state.file(name)?.sync();
        }
        error.map_or(Ok(()), Err)
    }

    fn sync_names(&self) -> io::Result<()> {
        let (mut state, error) = self.call(|_| false);
        state.syncs += 1;
        if error.is_none() && state.names_changed {
            let State { names, durable_names, files, .. } = &mut *state;
            durable_names.clone_from(names);
            files.retain(|file, _| names.values().any(|named| named == file));
            state.names_changed = false;
        }
        error.map_or(Ok(()), Err)
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        let (mut state, error) = self.call(|_| false);
        if error.is_none() || state.even() {
            if state.names.remove(name).is_none() {
                return Err(io::Error::new(io::ErrorKind::NotFound, "no such file"));
            }
            state.names_changed = true;
        }
        error.map_or(Ok(()), Err)
    }

    fn unit(&self) -> u32 {
        u32::try_from(self.state().unit).unwrap_or(u32::MAX)
    }
}
