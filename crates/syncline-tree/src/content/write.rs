//! Writes content: cut, hash, compress and store, a batch at a time, while the next batch is read.
//!
//! With a previous version, its chunks are first looked for where they were: a range that hashes to the old chunk's id
//! *is* that chunk, and ends where it ended, so nothing is cut or stored. After a mismatch chunks are cut again until one of
//! them is an old chunk further on. What was cut in between is stored against the old chunks that it replaces. None of
//! this shows in the result: it is what writing from scratch gives.

use std::io::Read;

use bytes::Bytes;
use syncline_base::{Hash, task};
use syncline_store::{Bases, Encoded, Store, chunk, codec};

use super::build::Builder;
use super::node::Child;
use super::track::{Track, fitting};
use super::{ContentRef, source_failed};
use crate::Result;

/// Room before each batch for the bytes that the batch before it could not finish: less than one chunk.
const HEAD: usize = chunk::MAX;
/// The first batch is small, so that short contents cost little; the following ones grow to the largest.
const FIRST_BATCH: usize = 256 << 10;
const LARGEST_BATCH: usize = 8 << 20;
/// Chunks that are hashed by one task.
const GROUP: usize = 4;
/// A run of new chunks is stored when it has so many, even if no old chunk was found yet.
const LONGEST_RUN: usize = 64;

/// Writes all that `source` gives. With `previous`, unchanged parts are found without being cut or compressed, and changed
/// ones are stored against what they replace; the chunks of `previous` are taken to be in the store, or fetched on demand
/// like it. The result depends on the bytes alone. Memory is bounded by a few batches of 8 MiB.
///
/// # Errors
/// `unavailable` or what the operating system's error stands for when `source` fails; the store's.
pub fn write(store: &Store, source: impl Read + Send, previous: Option<&ContentRef>) -> Result<ContentRef> {
    // A previous version that cannot be read is no reason to fail: it only makes things cheaper.
    let track = previous.filter(|content| content.len > 0).and_then(|content| Track::new(store, content).ok());
    let mut writer = Writer { store, builder: Builder::new(store), track, mode: Mode::Compare, run: Run::default() };
    let mut source = source;
    let mut size = FIRST_BATCH;
    let (mut batch, mut ended) = read_batch(&mut source, size, Vec::new())?;
    let (mut carried, mut spare) = (0, Vec::new());
    loop {
        let whole = Bytes::from(std::mem::take(&mut batch));
        let data = whole.slice(HEAD - carried..);
        if ended {
            writer.batch(&data, true)?;
            return writer.finish();
        }
        size = (size * 4).min(LARGEST_BATCH);
        let room = std::mem::take(&mut spare);
        let (next, used) = task::join(|| read_batch(&mut source, size, room), || writer.batch(&data, false));
        (batch, ended) = next?;
        let rest = &data[used?..];
        carried = rest.len();
        batch[HEAD - carried..HEAD].copy_from_slice(rest);
        drop(data);
        // Unless chunks of it are on their way to a pack. Fresh memory for each batch costs more than reading it.
        spare = whole.try_into_mut().map(Vec::from).unwrap_or_default();
    }
}

/// Writes bytes that are in memory already.
///
/// # Errors
/// The store's.
pub fn write_bytes(store: &Store, bytes: &[u8], previous: Option<&ContentRef>) -> Result<ContentRef> {
    write(store, bytes, previous)
}

/// Reads up to `size` bytes behind the head room, into `room` if it is large enough. True when the source has ended.
fn read_batch(source: &mut impl Read, size: usize, room: Vec<u8>) -> Result<(Vec<u8>, bool)> {
    let mut batch = room;
    batch.clear();
    batch.reserve_exact(HEAD + size + 64);
    batch.resize(HEAD, 0);
    let got = source.by_ref().take(size as u64).read_to_end(&mut batch);
    let got = got.map_err(|error| source_failed(&error))?;
    Ok((batch, got < size))
}

/// How the writer looks at what comes next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Mode {
    /// The next old chunk is expected here.
    Compare,
    /// No old chunk is expected; so many chunks are cut before looking for one.
    Cut(usize),
}

/// New chunks since the last old one.
#[derive(Debug, Default)]
struct Run {
    chunks: Vec<Bytes>,
    /// Bytes of the run that are stored already, because it grew long.
    before: u64,
    /// Chunks in a row for which an old chunk as base was of no use.
    useless: u32,
}

struct Writer<'a> {
    store: &'a Store,
    builder: Builder<'a>,
    track: Option<Track<'a>>,
    mode: Mode,
    run: Run,
}

impl Writer<'_> {
    /// Takes what it can of `data`, and says how much that was: all of it at the end of the content, otherwise all but less
    /// than one longest chunk.
    fn batch(&mut self, data: &Bytes, at_end: bool) -> Result<usize> {
        let mut used = 0;
        loop {
            let rest = data.slice(used..);
            if rest.is_empty() || (!at_end && rest.len() < chunk::MAX) {
                return Ok(used);
            }
            used += match (self.mode, &self.track) {
                (_, None) => self.fresh(&rest, at_end)?,
                (Mode::Compare, Some(_)) => self.compare(&rest, at_end)?,
                (Mode::Cut(count), Some(_)) => self.cut(&rest, at_end, count)?,
            };
        }
    }

    /// Cuts and stores everything: there is no previous version.
    fn fresh(&mut self, data: &Bytes, at_end: bool) -> Result<usize> {
        let chunks = cut_chunks(data, at_end, usize::MAX);
        let used = chunks.iter().map(Bytes::len).sum();
        for child in store_whole(self.store, chunks)? {
            self.builder.push(child, &[])?;
        }
        Ok(used)
    }

    /// Passes over old chunks that are where they are expected.
    fn compare(&mut self, data: &Bytes, at_end: bool) -> Result<usize> {
        let track = self.track.as_mut().expect("the caller has looked");
        let lens = fitting(track, data.len(), at_end);
        if lens.is_empty() {
            self.mode = Mode::Cut(GROUP);
            return Ok(0);
        }
        // Few at first, so that an early mismatch wastes little; a whole batch costs no more than its hashes.
        let mut ranges = Vec::with_capacity(lens.len());
        let mut end = 0;
        for len in lens {
            ranges.push(end..end + len);
            end += len;
        }
        let pieces = ranges.chunks(GROUP).map(|group| group.iter().map(|range| data.slice(range.clone())).collect());
        let ids = hash_groups(pieces.collect());
        let same = ids.iter().zip(track.ahead()).take_while(|(id, old)| **id == old.id).count();
        for _ in 0..same {
            let old = &track.ahead()[0];
            self.builder.push(Child { id: old.id, len: old.len as u64 }, &old.path)?;
            track.pass(1)?;
        }
        if same < ids.len() {
            self.mode = Mode::Cut(GROUP);
        }
        Ok(same.checked_sub(1).map_or(0, |last| ranges[last].end))
    }

    /// Cuts some chunks and looks for each among the old ones ahead.
    fn cut(&mut self, data: &Bytes, at_end: bool, count: usize) -> Result<usize> {
        let chunks = cut_chunks(data, at_end, count);
        let ids = hash_groups(chunks.chunks(GROUP).map(<[Bytes]>::to_vec).collect());
        let track = self.track.as_ref().expect("the caller has looked");
        let found = ids.iter().enumerate().find_map(|(index, id)| Some((index, track.find(id)?)));
        let fresh = found.map_or(chunks.len(), |(index, _)| index);
        let used: usize = chunks[..fresh].iter().map(Bytes::len).sum();
        for chunk in &chunks[..fresh] {
            // Bytes of their own: a run must not keep whole batches alive.
            self.run.chunks.push(Bytes::copy_from_slice(chunk));
            if self.run.chunks.len() >= LONGEST_RUN {
                self.store_run(None)?;
            }
        }
        let Some((_, place)) = found else {
            self.mode = Mode::Cut((count * 2).min(1024));
            return Ok(used);
        };
        self.store_run(Some(place))?;
        self.track.as_mut().expect("the caller has looked").pass(place)?;
        self.run = Run::default();
        self.mode = Mode::Compare;
        Ok(used)
    }

    /// Stores the new chunks of a run against the old chunks that they replace. `place` is how many old chunks the run
    /// replaces, when that is known.
    fn store_run(&mut self, place: Option<usize>) -> Result<()> {
        let chunks = std::mem::take(&mut self.run.chunks);
        let Some(track) = &self.track else { return Ok(()) };
        let path = track.path();
        let path = path.as_deref().unwrap_or_default();
        if chunks.is_empty() {
            return Ok(());
        }
        let new_len: u64 = self.run.before + chunks.iter().map(|chunk| chunk.len() as u64).sum::<u64>();
        // Where the end of the run lies in the old content, counted from its first chunk ahead.
        let old_len = place.map(|place| track.ahead().iter().take(place).map(|old| old.len as u64).sum::<u64>());
        let mut at = self.run.before;
        let mut work = Vec::with_capacity(chunks.len());
        for chunk in chunks {
            let (from, to) = (at, at + chunk.len() as u64);
            // What was inserted or removed lies between: the front of the run is counted from its start, the rest from its end.
            let bases = match old_len {
                Some(old) if new_len - to < from => {
                    let back = |to: u64| (old + to).saturating_sub(new_len);
                    track.covering(back(from), back(to).min(old))
                }
                _ => track.covering(from, to),
            };
            work.push((chunk, bases));
            at = to;
        }
        let try_bases = self.run.useless < 4;
        let store = self.store;
        let stored = task::try_map(work, |(chunk, bases)| {
            store_chunk(store, &chunk, if try_bases { bases } else { Bases::none() })
        })?;
        for (child, useful) in stored {
            self.run.useless = if useful { 0 } else { self.run.useless.saturating_add(1) };
            self.builder.push(child, path)?;
        }
        self.run.before = at;
        Ok(())
    }

    fn finish(mut self) -> Result<ContentRef> {
        let place = self.track.as_ref().filter(|track| track.sees_end()).map(|track| track.ahead().len());
        self.store_run(place)?;
        self.builder.finish()
    }
}

/// Up to `count` chunks from the start of `data`; the last one only if the content ends there or it is a whole one.
fn cut_chunks(data: &Bytes, at_end: bool, count: usize) -> Vec<Bytes> {
    let mut chunks = Vec::new();
    let mut rest = data.clone();
    while chunks.len() < count && !rest.is_empty() && (at_end || rest.len() >= chunk::MAX) {
        chunks.push(rest.split_to(chunk::cut(&rest)));
    }
    chunks
}

/// Hashes groups of pieces on all cores.
fn hash_groups(groups: Vec<Vec<Bytes>>) -> Vec<Hash> {
    let hashed = task::map(groups, |group| group.iter().map(|piece| Hash::of(piece)).collect::<Vec<_>>());
    hashed.into_iter().flatten().collect()
}

/// Stores chunks in order; hashing and compressing run on all cores.
fn store_whole(store: &Store, chunks: Vec<Bytes>) -> Result<Vec<Child>> {
    let groups: Vec<Vec<Bytes>> = chunks.chunks(GROUP).map(<[Bytes]>::to_vec).collect();
    let encoded = task::try_map(groups, |group| {
        group.iter().map(Store::encode).collect::<std::result::Result<Vec<Encoded>, _>>()
    })?;
    let mut children = Vec::with_capacity(chunks.len());
    for object in encoded.into_iter().flatten() {
        children.push(Child { id: object.id, len: u64::from(object.raw_len) });
        store.put_encoded(object)?;
    }
    Ok(children)
}

/// Stores one chunk, against old ones if there are any. The flag is false when they were of no use.
fn store_chunk(store: &Store, chunk: &Bytes, bases: Bases) -> Result<(Child, bool)> {
    let len = chunk.len() as u64;
    if bases.is_empty() {
        let object = Store::encode(chunk)?;
        let id = object.id;
        store.put_encoded(object)?;
        return Ok((Child { id, len }, false));
    }
    let id = store.put_with_bases(chunk, bases)?;
    let useful = store.get_encoded(&id)?.codec == codec::ZSTD_PREFIX;
    Ok((Child { id, len }, useful))
}
