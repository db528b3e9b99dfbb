//! Reading ahead, for places where a request takes longer than the bytes it brings.
//!
//! Walks read object by object, from front to back or the other way round. Here each read takes along what lies around it, in
//! blocks that grow while a file is read often: whoever reads a file of packs or of the index in small pieces makes
//! about as many requests as it has times 8 MiB.
//!
//! Only files that never change are kept. Long ranges pass as they are, so that checks of all bytes see the place itself.
//!
//! Owns: blocks that were read, at most so many bytes of them. Survives nothing.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::ops::Range;
use std::sync::{Arc, Mutex, MutexGuard};

use bytes::{Bytes, BytesMut};

use super::super::{Backend, Caps, Guard, Upload, Version};
use crate::error::Result;
use crate::index::{PACKS, SEGMENTS};

/// Blocks grow from the first to the last of these lengths; each is a multiple of the one before.
const BLOCKS: [u64; 3] = [128 << 10, 1 << 20, 8 << 20];
/// Longer ranges are not kept.
const LONG: u64 = 1 << 20;
/// A block of which less than one in so many bytes was asked for was read in vain.
const VAIN: u64 = 32;

/// A backend whose unchanging files are read in blocks.
#[derive(Debug)]
pub struct Ahead {
    inner: Arc<dyn Backend>,
    limit: u64,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    files: BTreeMap<String, File>,
    blocks: BTreeMap<Key, Block>,
    /// Every key of `blocks` once, oldest first.
    order: VecDeque<Key>,
    bytes: u64,
}

/// Whether a file of this name never changes.
fn is_kept(name: &str) -> bool {
    name.starts_with(PACKS) || name.starts_with(SEGMENTS)
}

/// A file, the length of its blocks (as a position in `BLOCKS`), and where one starts.
type Key = (Arc<str>, usize, u64);

/// A file that is kept: its name, its size and its turn.
type Kept = (Arc<str>, u64, Arc<Mutex<()>>);

#[derive(Debug)]
struct File {
    name: Arc<str>,
    size: u64,
    /// How often blocks were read.
    reads: u32,
    /// How many blocks were read in vain.
    vain: u32,
    /// One request for blocks at a time: what another one brings need not be asked for.
    turn: Arc<Mutex<()>>,
}

#[derive(Debug)]
struct Block {
    bytes: Bytes,
    used: u64,
}

impl File {
    /// Which blocks to read when `missing` small ones are.
    fn level(&self, missing: usize) -> usize {
        // Somebody who jumps around in a large file is better off with small blocks.
        let patience = 1_u32 << self.vain.min(16);
        let asked = self.reads.saturating_add(u32::try_from(missing).unwrap_or(u32::MAX));
        usize::from(asked > patience) + usize::from(asked > patience.saturating_mul(2))
    }
}

/// The blocks of a length that a range touches.
fn starts(range: &Range<u64>, level: usize) -> impl Iterator<Item = u64> + use<> {
    let len = BLOCKS[level];
    (range.start / len..range.end.div_ceil(len)).map(move |n| n * len)
}

impl State {
    /// A range out of blocks that are here.
    fn cut(&mut self, name: &Arc<str>, range: &Range<u64>) -> Option<Bytes> {
        (0..BLOCKS.len()).rev().find_map(|level| {
            let pieces: Vec<Range<u64>> = starts(range, level)
                .map(|start| range.start.max(start)..range.end.min(start + BLOCKS[level]))
                .collect();
            let mut out = BytesMut::with_capacity(usize::try_from(range.end - range.start).ok()?);
            for piece in pieces {
                let start = piece.start / BLOCKS[level] * BLOCKS[level];
                let block = self.blocks.get_mut(&(Arc::clone(name), level, start))?;
                let within = usize::try_from(piece.start - start).ok()?..usize::try_from(piece.end - start).ok()?;
                // Copied: a slice would keep the whole block.
                out.extend_from_slice(block.bytes.get(within)?);
                block.used += piece.end - piece.start;
            }
            Some(out.freeze())
        })
    }

    fn keep(&mut self, key: Key, bytes: Bytes, limit: u64) {
        self.bytes += bytes.len() as u64;
        match self.blocks.insert(key.clone(), Block { bytes, used: 0 }) {
            Some(old) => self.bytes -= old.bytes.len() as u64,
            None => self.order.push_back(key),
        }
        while self.bytes > limit {
            let Some(oldest) = self.order.pop_front() else { break };
            let Some(block) = self.blocks.remove(&oldest) else { continue };
            let len = block.bytes.len() as u64;
            self.bytes -= len;
            if oldest.1 > 0
                && block.used < len / VAIN
                && let Some(file) = self.files.get_mut(&*oldest.0)
            {
                (file.reads, file.vain) = (0, file.vain + 1);
            }
        }
    }

    fn forget(&mut self, name: &str) {
        self.files.remove(name);
        self.order.retain(|key| *key.0 != *name);
        let Self { blocks, bytes, .. } = self;
        blocks.retain(|key, block| {
            let stays = *key.0 != *name;
            *bytes -= if stays { 0 } else { block.bytes.len() as u64 };
            stays
        });
    }
}

impl Ahead {
    /// Keeps at most about `limit` bytes.
    pub fn new(inner: Arc<dyn Backend>, limit: u64) -> Self {
        Self { inner, limit, state: Mutex::default() }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("no code panics while it holds the blocks")
    }

    /// The file's name and size and its turn; `None` when it is not one to be kept, or is not there.
    fn file(&self, name: &str) -> Result<Option<Kept>> {
        if !is_kept(name) {
            return Ok(None);
        }
        let known = |state: &State| {
            state.files.get(name).map(|file| (Arc::clone(&file.name), file.size, Arc::clone(&file.turn)))
        };
        if let Some(found) = known(&self.state()) {
            return Ok(Some(found));
        }
        let Some(size) = self.inner.size(name)? else { return Ok(None) };
        let mut state = self.state();
        state.note(name, size);
        Ok(known(&state))
    }

    /// Reads the blocks in which `wanted` lie. False when that would be too much at once.
    fn fetch(&self, name: &Arc<str>, size: u64, wanted: &[Range<u64>]) -> Result<bool> {
        let (level, blocks) = {
            let mut state = self.state();
            let blocks = |level: usize| -> BTreeSet<u64> { wanted.iter().flat_map(|r| starts(r, level)).collect() };
            let missing = blocks(0).len();
            let Some(file) = state.files.get_mut(&**name) else { return Ok(false) };
            let level = file.level(missing);
            file.reads = file.reads.saturating_add(1);
            (level, blocks(level))
        };
        if blocks.len() as u64 * BLOCKS[level] > self.limit / 2 {
            return Ok(false);
        }
        let ranges: Vec<Range<u64>> = blocks.iter().map(|start| *start..(start + BLOCKS[level]).min(size)).collect();
        let read = self.inner.read_many(name, &ranges)?;
        let mut state = self.state();
        for (start, bytes) in blocks.into_iter().zip(read) {
            state.keep((Arc::clone(name), level, start), bytes, self.limit);
        }
        Ok(true)
    }
}

impl State {
    /// Takes sizes from a listing, and lets go of what is not in it any more.
    fn learn(&mut self, prefix: &str, listed: &[(String, u64)]) {
        for (name, size) in listed.iter().filter(|(name, _)| is_kept(name)) {
            self.note(name, *size);
        }
        let gone = |name: &String| listed.binary_search_by(|other| other.0.cmp(name)).is_err();
        let gone: Vec<String> =
            self.files.keys().filter(|name| name.starts_with(prefix) && gone(name)).cloned().collect();
        gone.iter().for_each(|name| self.forget(name));
    }

    fn note(&mut self, name: &str, size: u64) {
        if !self.files.contains_key(name) {
            let file = File { name: name.into(), size, reads: 0, vain: 0, turn: Arc::default() };
            self.files.insert(name.to_owned(), file);
        }
    }
}

impl Backend for Ahead {
    fn describe(&self) -> String {
        self.inner.describe()
    }

    fn caps(&self) -> Caps {
        self.inner.caps()
    }

    fn read(&self, name: &str, range: Range<u64>) -> Result<Bytes> {
        let mut got = self.read_many(name, std::slice::from_ref(&range))?;
        Ok(got.pop().expect("one range was asked for"))
    }

    fn read_many(&self, name: &str, ranges: &[Range<u64>]) -> Result<Vec<Bytes>> {
        let unfit = |range: &Range<u64>| range.start >= range.end || range.end - range.start > LONG;
        let Some((name, size, turn)) = self.file(name)? else { return self.inner.read_many(name, ranges) };
        if ranges.iter().any(|range| unfit(range) || range.end > size) {
            return self.inner.read_many(&name, ranges);
        }
        let cut = || {
            let mut state = self.state();
            ranges.iter().map(|range| state.cut(&name, range)).collect::<Vec<_>>()
        };
        let lacks = |got: &[Option<Bytes>]| -> Vec<Range<u64>> {
            ranges.iter().zip(got).filter(|(_, bytes)| bytes.is_none()).map(|(range, _)| range.clone()).collect()
        };
        let mut got = cut();
        if !lacks(&got).is_empty() {
            let _one = turn.lock().expect("no code panics while it reads blocks");
            got = cut();
            let wanted = lacks(&got);
            if !wanted.is_empty() {
                if self.fetch(&name, size, &wanted)? {
                    got = cut();
                }
                // What went again at once, or was too much to be kept, is read as it is.
                let wanted = lacks(&got);
                if !wanted.is_empty() {
                    let mut read = self.inner.read_many(&name, &wanted)?.into_iter();
                    got.iter_mut().filter(|bytes| bytes.is_none()).for_each(|bytes| *bytes = read.next());
                }
            }
        }
        Ok(got.into_iter().map(|bytes| bytes.expect("each was cut or read")).collect())
    }

    fn size(&self, name: &str) -> Result<Option<u64>> {
        self.inner.size(name)
    }

    fn create(&self, name: &str) -> Result<Arc<dyn Upload>> {
        self.inner.create(name)
    }

    fn put(&self, name: &str, bytes: Bytes) -> Result<()> {
        self.inner.put(name, bytes)
    }

    fn append(&self, name: &str, at: u64, parts: &[Bytes]) -> Result<()> {
        self.inner.append(name, at, parts)
    }

    fn sync_name(&self, name: &str) -> Result<()> {
        self.inner.sync_name(name)
    }

    fn list(&self, prefix: &str) -> Result<Vec<(String, u64)>> {
        let listed = self.inner.list(prefix)?;
        self.state().learn(prefix, &listed);
        Ok(listed)
    }

    fn list_many(&self, prefixes: &[&str]) -> Result<Vec<Vec<(String, u64)>>> {
        let listed = self.inner.list_many(prefixes)?;
        let mut state = self.state();
        prefixes.iter().zip(&listed).for_each(|(prefix, listed)| state.learn(prefix, listed));
        Ok(listed)
    }

    fn delete(&self, name: &str) -> Result<()> {
        self.state().forget(name);
        self.inner.delete(name)
    }

    fn read_versioned(&self, name: &str) -> Result<Option<(Bytes, Version)>> {
        self.inner.read_versioned(name)
    }

    fn swap(&self, name: &str, expect: Option<&Version>, bytes: Bytes) -> Result<Version> {
        self.inner.swap(name, expect, bytes)
    }

    fn lock(&self, name: &str) -> Result<Option<Box<dyn Guard>>> {
        self.inner.lock(name)
    }

    fn clean(&self, age_ms: u64) -> Result<()> {
        self.inner.clean(age_ms)
    }
}

#[cfg(test)]
mod tests;
