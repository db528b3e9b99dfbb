//! Reading objects.

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::Arc;

use bytes::Bytes;
use syncline_base::hash::IdMap;
use syncline_base::{Hash, Kind, task};

use super::{Inner, Store};
use crate::backend::Upload;
use crate::bases::Bases;
use crate::codec::Encoded;
use crate::error::{Error, Result};
use crate::frame::{self, Frame, MAX_DEPTH, SHARED, Stored};
use crate::index::Place;
use crate::pack::Loc;

/// Frames that lie this close to each other are read together.
const GAP: u64 = 32 << 10;
/// The same where a read is a call of the local system, which costs less than copying some pages.
const LOCAL_GAP: u64 = 4 << 10;
/// One read is at most this long, unless a single frame is longer.
const READ: u64 = 4 << 20;

impl Store {
    /// The canonical bytes of an object; their hash is checked.
    ///
    /// # Errors
    /// `NotFound`, `Corrupt`, or the backend's.
    pub fn get(&self, id: &Hash) -> Result<Bytes> {
        self.go_on()?;
        if let Some(bytes) = self.inner.objects.get(id) {
            return Ok(bytes);
        }
        let mut got = self.get_many(std::slice::from_ref(id))?;
        Ok(got.pop().expect("one object was asked for"))
    }

    /// Many objects, in the order asked for. Neighbours are read together, decoding runs on all cores. All of them are in memory
    /// at once: ask for as many as may be.
    ///
    /// # Errors
    /// `NotFound`, `Corrupt` for the first object that cannot be read, or the backend's.
    pub fn get_many(&self, ids: &[Hash]) -> Result<Vec<Bytes>> {
        self.read_many(ids, true, true)
    }

    /// As `get_many`, for objects that nobody will ask for again soon: they do not push others out of the cache.
    ///
    /// # Errors
    /// As `get_many`.
    pub fn get_many_once(&self, ids: &[Hash]) -> Result<Vec<Bytes>> {
        self.read_many(ids, false, true)
    }

    /// As `get_many_once`, but hashes are not checked: for callers that make something else of the objects and compare that
    /// with a hash that they know.
    ///
    /// # Errors
    /// As `get_many`.
    pub fn get_many_unchecked(&self, ids: &[Hash]) -> Result<Vec<Bytes>> {
        self.read_many(ids, false, false)
    }

    fn read_many(&self, ids: &[Hash], keep: bool, check: bool) -> Result<Vec<Bytes>> {
        self.go_on()?;
        let inner = &self.inner;
        let mut have: IdMap<Bytes> = IdMap::default();
        let mut want = Vec::new();
        for id in ids {
            match inner.objects.get(id) {
                Some(bytes) => drop(have.insert(*id, bytes)),
                None => want.push(*id),
            }
        }
        want.sort_unstable();
        want.dedup();
        let objects = inner.load(&want)?;
        let decoded = if check { inner.decode(objects)? } else { inner.decode_unchecked(objects)? };
        if keep {
            for (id, bytes) in &decoded {
                inner.objects.insert(*id, bytes.clone(), bytes.len() + 64);
            }
        }
        have.extend(decoded);
        ids.iter().map(|id| have.get(id).cloned().ok_or_else(|| inner.missing(id))).collect()
    }

    /// An object as it is stored. Bases are not decoded and the hash is not checked, so it is cheap.
    ///
    /// # Errors
    /// `NotFound`, `Corrupt`, or the backend's.
    pub fn get_encoded(&self, id: &Hash) -> Result<Encoded> {
        self.go_on()?;
        let object = self.inner.load_one(id)?;
        self.inner.encoded(object)
    }

    /// As `get_encoded`, for many objects, in the order asked for. Neighbours are read together.
    ///
    /// # Errors
    /// As `get_encoded`.
    pub fn get_encoded_many(&self, ids: &[Hash]) -> Result<Vec<Encoded>> {
        self.go_on()?;
        self.inner.load(ids)?.into_iter().map(|object| self.inner.encoded(object)).collect()
    }

    /// Whether an object is there. Looks at what other processes have flushed before it says no.
    ///
    /// # Errors
    /// The backend's.
    pub fn contains(&self, id: &Hash) -> Result<bool> {
        Ok(self.missing(std::slice::from_ref(id))?.is_empty())
    }

    /// Those of `ids` that are not there, in order. One look at other processes' work for all of them.
    ///
    /// # Errors
    /// The backend's.
    pub fn missing(&self, ids: &[Hash]) -> Result<Vec<Hash>> {
        self.absent(ids, |id| Ok(self.inner.index.find(id)?.is_some()))
    }

    /// Those of `ids` that have to be stored before something may be built on them, in order: as [`Self::missing`], but what a
    /// collection is about to remove counts as absent, and should one remove the others before it is seen that they are
    /// needed, the next `flush` fails with `Conflict`. For who tells somebody else what need not be sent.
    ///
    /// # Errors
    /// The backend's.
    pub fn lacking(&self, ids: &[Hash]) -> Result<Vec<Hash>> {
        let lacking = self.absent(ids, |id| self.counts_on(id))?;
        // What a process that was killed has left in the journal is worth a sync.
        if !self.inner.index.healing(|| self.inner.index.any_unsure(&lacking))? || self.sync_journal().is_err() {
            return Ok(lacking);
        }
        self.absent(&lacking, |id| self.counts_on(id))
    }

    fn absent(&self, ids: &[Hash], is_there: impl Fn(&Hash) -> Result<bool>) -> Result<Vec<Hash>> {
        let index = &self.inner.index;
        let absent = |ids: &[Hash]| {
            let mut absent = Vec::new();
            for id in ids {
                if !is_there(id)? {
                    absent.push(*id);
                }
            }
            Ok(absent)
        };
        let absent_once = index.healing(|| absent(ids))?;
        if absent_once.is_empty() || !index.refresh()? {
            return Ok(absent_once);
        }
        index.healing(|| absent(&absent_once))
    }
}

impl Inner {
    pub(super) fn missing(&self, id: &Hash) -> Error {
        Error::Missing { id: *id, place: self.place.clone() }
    }

    fn encoded(&self, object: Stored) -> Result<Encoded> {
        let bases = self.bases_of(&object)?;
        let Stored { id, codec, depth, raw_len, payload, .. } = object;
        Ok(Encoded { id, codec, bases, depth, raw_len, payload })
    }

    fn damaged(&self, id: &Hash, loc: Option<&Loc>, reason: impl Into<String>) -> Error {
        let file =
            loc.map_or_else(|| "memory".to_owned(), |loc| self.index.read().files[loc.file as usize].name.to_string());
        Error::Damaged { id: *id, file, place: self.place.clone(), reason: reason.into() }
    }

    /// The places of objects; one look at other processes' work when some are not known.
    fn find_all(&self, ids: &[Hash]) -> Result<Vec<Place>> {
        let find = || ids.iter().map(|id| self.index.find(id)).collect::<Result<Vec<_>>>();
        let mut places = self.index.healing(find)?;
        if places.iter().any(Option::is_none) && self.index.refresh()? {
            places = self.index.healing(find)?;
        }
        places.into_iter().zip(ids).map(|(place, id)| place.ok_or_else(|| self.missing(id))).collect()
    }

    pub(super) fn load_one(&self, id: &Hash) -> Result<Stored> {
        let mut got = self.load(std::slice::from_ref(id))?;
        Ok(got.pop().expect("one object was asked for"))
    }

    /// Objects as they are stored, in the order asked for.
    pub(super) fn load(&self, ids: &[Hash]) -> Result<Vec<Stored>> {
        let places = self.find_all(ids)?;
        let wanted: Vec<Loc> = places
            .iter()
            .filter_map(|place| match place {
                Place::At(loc) => Some(*loc),
                Place::Pending(_) => None,
            })
            .collect();
        // What cannot be read in bulk is tried again one by one: only then is it known which object is to blame.
        let frames = if wanted.is_empty() { BTreeMap::new() } else { self.read_frames(&wanted).unwrap_or_default() };
        places
            .into_iter()
            .zip(ids)
            .map(|(place, id)| match place {
                Place::Pending(object) => Ok(object),
                Place::At(loc) => match frames.get(&(loc.file, loc.offset)).and_then(|frame| pick(frame, id, &loc)) {
                    Some(object) => Ok(object),
                    None => self.load_somehow(id),
                },
            })
            .collect()
    }

    /// Tries every place of an object, then looks at the files again and tries once more.
    fn load_somehow(&self, id: &Hash) -> Result<Stored> {
        let mut first = None;
        for again in [false, true] {
            if again {
                self.frames.clear();
                self.index.reload()?;
            }
            if let Some(Place::Pending(object)) = self.index.find(id)? {
                return Ok(object);
            }
            for loc in self.index.all(id)? {
                match self.load_at(id, &loc) {
                    Ok(object) => return Ok(object),
                    // Deleted or out of reach: that is not damage.
                    Err(error) if matches!(error.kind(), Kind::Unavailable | Kind::Denied) => return Err(error),
                    Err(error) => first = Some(error),
                }
            }
        }
        Err(first.unwrap_or_else(|| self.missing(id)))
    }

    /// Reads an object at one place, through the cache of frames.
    pub(super) fn load_here(&self, id: &Hash, loc: &Loc) -> Result<Stored> {
        let frames = self.read_frames(std::slice::from_ref(loc))?;
        let object = frames.get(&(loc.file, loc.offset)).and_then(|frame| pick(frame, id, loc));
        object.ok_or_else(|| self.damaged(id, Some(loc), "it cannot be read where it should be"))
    }

    /// Reads an object at one place, not through the cache.
    pub(super) fn load_at(&self, id: &Hash, loc: &Loc) -> Result<Stored> {
        let bytes = self.read_range(loc.file, u64::from(loc.offset)..u64::from(loc.offset) + u64::from(loc.len))?;
        let frame = frame::parse(&bytes).map_err(|reason| self.damaged(id, Some(loc), reason))?;
        pick(&frame, id, loc).ok_or_else(|| self.damaged(id, Some(loc), "another object lies where it should be"))
    }

    /// Where the bytes of a file are.
    fn source(&self, file: u32) -> (Arc<str>, Option<Arc<dyn Upload>>) {
        let state = self.index.read();
        let info = &state.files[file as usize];
        (Arc::clone(&info.name), info.upload.clone())
    }

    fn read_range(&self, file: u32, range: Range<u64>) -> Result<Bytes> {
        let (name, upload) = self.source(file);
        match upload {
            Some(upload) => upload.read(range),
            None => self.backend.read(&name, range),
        }
    }

    /// Reads the frames of `locs`. Damaged ones are left out.
    fn read_frames(&self, locs: &[Loc]) -> Result<BTreeMap<(u32, u32), Arc<Frame>>> {
        let mut frames = BTreeMap::new();
        let mut wanted: BTreeMap<(u32, u32), u32> = BTreeMap::new();
        for loc in locs {
            let key = (loc.file, loc.offset);
            match self.frames.get(&key) {
                Some(frame) => drop(frames.insert(key, frame)),
                None => drop(wanted.insert(key, loc.len)),
            }
        }
        let gap = if self.backend.caps().append { LOCAL_GAP } else { GAP };
        let mut runs: Vec<Run> = Vec::new();
        for ((file, offset), len) in wanted {
            let (from, to) = (u64::from(offset), u64::from(offset) + u64::from(len));
            match runs.last_mut() {
                Some(run) if run.file == file && from <= run.to + gap && to.max(run.to) - run.from <= READ => {
                    run.to = run.to.max(to);
                    run.frames.push((offset, len));
                }
                _ => runs.push(Run { file, from, to, frames: vec![(offset, len)] }),
            }
        }
        let mut raw = Vec::new();
        for (run, bytes) in self.read_runs(runs)? {
            for (offset, len) in run.frames {
                let at = usize::try_from(u64::from(offset) - run.from).expect("within a read");
                raw.push(((run.file, offset), bytes.slice(at..at + len as usize)));
            }
        }
        let parse = |(key, bytes): ((u32, u32), Bytes)| Some((key, Arc::new(frame::parse(&bytes).ok()?)));
        let parsed = if raw.len() > 4 { task::map(raw, parse) } else { raw.into_iter().map(parse).collect() };
        for (key, frame) in parsed.into_iter().flatten() {
            if frame.objects.len() > 1 && frame.weight <= 8 * SHARED {
                self.frames.insert(key, Arc::clone(&frame), frame.weight);
            }
            frames.insert(key, frame);
        }
        Ok(frames)
    }

    /// The bytes of runs that are in order of file: those of one file are asked for together.
    fn read_runs(&self, runs: Vec<Run>) -> Result<Vec<(Run, Bytes)>> {
        let mut read = Vec::with_capacity(runs.len());
        for runs in runs.chunk_by(|a, b| a.file == b.file) {
            let ranges: Vec<Range<u64>> = runs.iter().map(|run| run.from..run.to).collect();
            let (name, upload) = self.source(runs[0].file);
            read.extend(match upload {
                Some(upload) => ranges.into_iter().map(|range| upload.read(range)).collect::<Result<Vec<_>>>()?,
                None => self.backend.read_many(&name, &ranges)?,
            });
        }
        Ok(runs.into_iter().zip(read).collect())
    }

    /// The ids of the bases of a patch; none of a whole object.
    pub(super) fn bases_of(&self, object: &Stored) -> Result<Bases> {
        let candidates = object.bases.try_map(|prefix| self.named(object, *prefix))?;
        if candidates.iter().all(|ids| ids.len() == 1) {
            return candidates.try_map(|ids| Ok(ids[0]));
        }
        // Somebody has made ids that share eight bytes. Only the right bases give bytes that hash to the id.
        let mut all = vec![Bases::none()];
        for ids in candidates.iter() {
            let with = |bases: Bases| {
                ids.iter().filter_map(move |id| {
                    let mut more = bases;
                    more.push(*id).ok().map(|()| more)
                })
            };
            all = all.into_iter().flat_map(with).collect();
        }
        all.into_iter()
            .find(|bases| self.decode_on(object, bases).is_ok_and(|bytes| Hash::of(&bytes) == object.id))
            .ok_or_else(|| self.damaged(&object.id, None, "none of the objects that could be its base is"))
    }

    /// All objects that a base's name may stand for: at least one.
    fn named(&self, object: &Stored, prefix: u64) -> Result<Vec<Hash>> {
        let mut found = self.index.healing(|| self.index.with_prefix(prefix))?;
        if found.is_empty() && self.index.refresh()? {
            found = self.index.with_prefix(prefix)?;
        }
        if found.is_empty() {
            return Err(self.damaged(&object.id, None, format!("its base {:016x} is missing", prefix.swap_bytes())));
        }
        Ok(found)
    }

    fn decode_on(&self, object: &Stored, bases: &Bases) -> Result<Bytes> {
        let below = self.lower(object, bases)?;
        let decoded = self.decode_unchecked(below)?;
        self.apply(object, bases, &decoded)
    }

    /// The bases of a patch as they are stored.
    fn lower(&self, object: &Stored, bases: &Bases) -> Result<Vec<Stored>> {
        let ids: Vec<Hash> = bases.iter().copied().collect();
        let below = self.load(&ids)?;
        if below.iter().any(|below| below.depth >= object.depth) {
            return Err(self.damaged(&object.id, None, "its base is not lower in the chain"));
        }
        Ok(below)
    }

    /// Decodes an object whose bases are among `decoded`.
    fn apply(&self, object: &Stored, bases: &Bases, decoded: &IdMap<Bytes>) -> Result<Bytes> {
        let missing = || self.damaged(&object.id, None, "its base cannot be read");
        let bytes = |base| decoded.get(base).map(|bytes| &bytes[..]).ok_or_else(missing);
        let bases = bases.iter().map(bytes).collect::<Result<Vec<_>>>()?;
        // Raw payloads are copied too: a slice would keep the whole read alive that it came with.
        let decoded = self.registry.decode(object.codec, &object.payload, &bases, object.raw_len as usize);
        decoded.map_err(|reason| self.damaged(&object.id, None, reason))
    }

    /// Canonical bytes of `objects`, whose hashes are checked.
    pub(super) fn decode(&self, objects: Vec<Stored>) -> Result<IdMap<Bytes>> {
        let ids: Vec<Hash> = objects.iter().map(|object| object.id).collect();
        let decoded = self.decode_unchecked(objects)?;
        let check = |id: Hash| match decoded.get(&id) {
            Some(bytes) if Hash::of(bytes) == id => Ok((id, bytes.clone())),
            _ => Ok((id, self.decode_elsewhere(&id)?)),
        };
        Ok(task::try_map(ids, check)?.into_iter().collect())
    }

    /// Whether this very copy of an object decodes to what its id says.
    pub(super) fn is_whole(&self, object: &Stored) -> Result<bool> {
        let decoded = match self.decode_unchecked(vec![object.clone()]) {
            Err(error) if matches!(error.kind(), Kind::Corrupt | Kind::NotFound) => return Ok(false),
            other => other?,
        };
        Ok(decoded.get(&object.id).is_some_and(|bytes| Hash::of(bytes) == object.id))
    }

    /// An object whose first copy is not what it should be: tries all copies, with bases that are checked too.
    fn decode_elsewhere(&self, id: &Hash) -> Result<Bytes> {
        let mut last = self.damaged(id, None, "its bytes do not hash to its id");
        for loc in self.index.all(id)? {
            let attempt = self.load_at(id, &loc).and_then(|object| {
                let bases = self.bases_of(&object)?;
                let below = self.lower(&object, &bases)?;
                self.apply(&object, &bases, &self.decode(below)?)
            });
            match attempt {
                Ok(bytes) if Hash::of(&bytes) == *id => return Ok(bytes),
                Ok(_) => last = self.damaged(id, Some(&loc), "its bytes do not hash to its id"),
                Err(error) => last = error,
            }
        }
        Err(last)
    }

    /// Canonical bytes of `objects`. Objects that do not decode are left out; hashes are not checked.
    fn decode_unchecked(&self, objects: Vec<Stored>) -> Result<IdMap<Bytes>> {
        let wanted: Vec<Hash> = objects.iter().map(|object| object.id).collect();
        let mut waiting: Vec<(Stored, Bases)> = Vec::new();
        let mut done: IdMap<Bytes> = IdMap::default();
        let mut next = objects;
        let mut known: IdMap<()> = wanted.iter().map(|id| (*id, ())).collect();
        // Round by round: the bases of this round's patches are the next round, so that they are read together. A base may
        // have come to lie deeper than when it was patched.
        for _ in 0..=2 * MAX_DEPTH {
            let mut bases = Vec::new();
            for object in std::mem::take(&mut next) {
                let on = self.bases_of(&object)?;
                for base in on.iter() {
                    if known.insert(*base, ()).is_some() {
                        continue;
                    }
                    match self.objects.get(base) {
                        Some(bytes) => drop(done.insert(*base, bytes)),
                        None => bases.push(*base),
                    }
                }
                waiting.push((object, on));
            }
            if bases.is_empty() {
                break;
            }
            next = self.load(&bases)?;
        }
        // Bases before what is made on them. How deep each was when it was stored does not say: a base may be found at another
        // place. What waits for itself, or for what cannot be read, is left out.
        loop {
            let (level, later): (Vec<_>, Vec<_>) =
                waiting.into_iter().partition(|(_, bases)| bases.iter().all(|base| done.contains_key(base)));
            if level.is_empty() {
                break;
            }
            waiting = later;
            let apply = |(object, bases): (Stored, Bases)| Some((object.id, self.apply(&object, &bases, &done).ok()?));
            let decoded: Vec<_> =
                if Store::wide(level.len()) { task::map(level, apply) } else { level.into_iter().map(apply).collect() };
            done.extend(decoded.into_iter().flatten());
        }
        Ok(done)
    }
}

struct Run {
    file: u32,
    from: u64,
    to: u64,
    frames: Vec<(u32, u32)>,
}

fn pick(frame: &Frame, id: &Hash, loc: &Loc) -> Option<Stored> {
    frame.objects.get(usize::from(loc.slot)).filter(|object| object.id == *id).cloned()
}
