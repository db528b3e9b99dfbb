//! Index segments: immutable sorted tables from id to location.
//!
//! Layout: `docs/format/store.md`. Blocks of 128 entries in order of id, then a fence per block (first id's prefix and the
//! block's checksum), a Bloom filter, and which stretches of which files the segment covers. Only fences, filter and file list
//! are kept in memory: about 12 bits for each object.
//!
//! Owns: an open segment's fences, filter and file list. After a crash: a segment is whole; if bytes of it turn bad, it is
//! dropped and made again from packs.
//!
//! Not here: which segments count, and their order (`crate::index`).

use std::fmt;

use bytes::{Buf, BufMut, Bytes};
use syncline_base::Hash;

use crate::backend::{Backend, Upload};
use crate::error::{Error, Result};
use crate::frame::{checksum, put_varint, varint};
use crate::pack::{ENTRY, Loc};

/// Entries in a block.
const BLOCK: usize = 128;
const MAGIC: [u8; 8] = *b"SLIDX1\n\0";
const TRAILER: usize = 48;
/// Bits of filter for each entry; with six probes one absent id in sixty costs a read.
const FILTER_BITS: u64 = 10;
const PROBES: u64 = 6;
/// Filter bits are taken from one 512-bit line for each id: one cache miss.
const LINE: u64 = 512;

/// A stretch of a file that a segment knows every object of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Cover {
    pub(crate) name: String,
    pub(crate) from: u64,
    pub(crate) to: u64,
}

/// An open segment.
pub(crate) struct Segment {
    pub(crate) name: String,
    pub(crate) entries: u64,
    pub(crate) covers: Vec<Cover>,
    /// First id's prefix (in sort order) and checksum of each block.
    fences: Vec<(u64, u64)>,
    filter: Bytes,
}

impl fmt::Debug for Segment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Segment").field("name", &self.name).field("entries", &self.entries).finish_non_exhaustive()
    }
}

/// The id's first eight bytes as a number that sorts as the id does.
fn sort_key(id: &Hash) -> u64 {
    id.prefix_u64().swap_bytes()
}

impl Segment {
    /// Opens a segment. `Err` of kind `corrupt` when it is not whole.
    pub(crate) fn open(backend: &dyn Backend, name: &str, size: u64) -> Result<Self> {
        let wrong = |reason: &str| Error::format(format!("index segment {name:?}"), reason);
        let start = size.checked_sub(TRAILER as u64).ok_or_else(|| wrong("it is too short"))?;
        let trailer = backend.read(name, start..size)?;
        if trailer[..8] != MAGIC || checksum(&trailer[..40]) != (&trailer[40..]).get_u64_le() {
            return Err(wrong("its trailer is damaged"));
        }
        let mut fields = &trailer[8..40];
        let (entries, filter_len, meta_sum) = (fields.get_u64_le(), fields.get_u64_le(), fields.get_u64_le());
        let blocks = entries.div_ceil(BLOCK as u64);
        let tables = entries.checked_mul(ENTRY as u64).zip(blocks.checked_mul(16));
        let lengths = tables.and_then(|(table, fences)| Some((table, fences, table.checked_add(fences)?)));
        let (table, fences_len, files_from) = lengths.ok_or_else(|| wrong("it claims too many entries"))?;
        let files_from = files_from.checked_add(filter_len).filter(|&at| at <= start);
        let files_from = files_from.ok_or_else(|| wrong("its parts are longer than itself"))?;
        let meta = backend.read(name, table..start)?;
        if checksum(&meta) != meta_sum || filter_len % (LINE / 8) != 0 || filter_len == 0 {
            return Err(wrong("its fences are damaged"));
        }
        let cut = |at: u64| usize::try_from(at).expect("within what was read");
        let mut words = &meta[..cut(fences_len)];
        let fences = (0..blocks).map(|_| (words.get_u64_le(), words.get_u64_le())).collect();
        let filter = meta.slice(cut(fences_len)..cut(fences_len + filter_len));
        let covers = read_covers(&meta[cut(files_from - table)..]).ok_or_else(|| wrong("its file list is damaged"))?;
        Ok(Self { name: name.to_owned(), entries, covers, fences, filter })
    }

    /// Whether the filter lets an id through: if not, it is not here.
    pub(crate) fn may_have(&self, id: &Hash) -> bool {
        let (line, bits) = probes(id, self.filter.len() as u64 / (LINE / 8));
        let base = usize::try_from(line * (LINE / 8)).expect("a filter fits in memory");
        (0..PROBES).all(|n| {
            let bit = bits >> (9 * n) & (LINE - 1);
            let byte = self.filter[base + usize::try_from(bit / 8).expect("below 64")];
            byte >> (bit % 8) & 1 == 1
        })
    }

    /// The places of an id, those with fewer patches first, with the ordinals of their entries; file numbers are positions in
    /// `covers`.
    pub(crate) fn places(&self, backend: &dyn Backend, id: &Hash) -> Result<Vec<(u64, Loc)>> {
        let mut found = Vec::new();
        if !self.may_have(id) {
            return Ok(found);
        }
        self.find_prefix(backend, sort_key(id), &mut |ordinal, other, loc| {
            if other == *id {
                found.push((ordinal, loc));
            }
        })?;
        Ok(found)
    }

    /// Every entry whose id starts with the eight bytes of `prefix` (as `Hash::prefix_u64` gives them).
    pub(crate) fn with_prefix(&self, backend: &dyn Backend, prefix: u64) -> Result<Vec<(Hash, Loc)>> {
        let mut found = Vec::new();
        self.find_prefix(backend, prefix.swap_bytes(), &mut |_, id, loc| found.push((id, loc)))?;
        Ok(found)
    }

    fn find_prefix(&self, backend: &dyn Backend, key: u64, each: &mut dyn FnMut(u64, Hash, Loc)) -> Result<()> {
        // Entries of one prefix may start at the end of the block before the first fence that has it.
        let mut block = self.fences.partition_point(|fence| fence.0 < key).saturating_sub(1);
        while self.fences.get(block).is_some_and(|fence| fence.0 <= key) {
            let bytes = self.block(backend, block)?;
            let first = bytes.len() / ENTRY;
            let key_at = |n: usize| u64::from_be_bytes(*bytes[n * ENTRY..].first_chunk().expect("an entry is longer"));
            let (mut low, mut high) = (0, first);
            while low < high {
                let middle = usize::midpoint(low, high);
                if key_at(middle) < key { low = middle + 1 } else { high = middle }
            }
            while low < first && key_at(low) == key {
                let (id, loc) = entry(&bytes[low * ENTRY..]);
                each((block * BLOCK + low) as u64, id, loc);
                low += 1;
            }
            block += 1;
        }
        Ok(())
    }

    fn block(&self, backend: &dyn Backend, block: usize) -> Result<Bytes> {
        let from = (block * BLOCK) as u64;
        let to = (from + BLOCK as u64).min(self.entries);
        let bytes = backend.read(&self.name, from * ENTRY as u64..to * ENTRY as u64)?;
        if checksum(&bytes) != self.fences[block].1 {
            return Err(Error::format(format!("index segment {:?}", self.name), format!("block {block} is damaged")));
        }
        Ok(bytes)
    }

    /// All entries in order of id, read block by block.
    pub(crate) fn iter<'a>(&'a self, backend: &'a dyn Backend) -> impl Iterator<Item = Result<(Hash, Loc)>> + 'a {
        (0..self.fences.len()).flat_map(move |block| {
            let (bytes, error) = match self.block(backend, block) {
                Ok(bytes) => (bytes, None),
                Err(error) => (Bytes::new(), Some(Err(error))),
            };
            let entries = (0..bytes.len() / ENTRY).map(move |n| Ok(entry(&bytes[n * ENTRY..])));
            error.into_iter().chain(entries)
        })
    }
}

fn entry(bytes: &[u8]) -> (Hash, Loc) {
    let id = Hash::from_bytes(*bytes.first_chunk().expect("an entry has 48 bytes"));
    (id, Loc::read(bytes[32..].first_chunk().expect("an entry has 48 bytes")))
}

/// The line of an id and the bits of its probes, nine each.
fn probes(id: &Hash, lines: u64) -> (u64, u64) {
    let bytes = id.as_bytes();
    let word = |at: usize| u64::from_le_bytes(*bytes[at..].first_chunk().expect("an id has 32 bytes"));
    let line = (u128::from(word(8)) * u128::from(lines)) >> 64;
    (u64::try_from(line).expect("less than lines"), word(16))
}

fn read_covers(mut bytes: &[u8]) -> Option<Vec<Cover>> {
    let mut at = 0;
    let count = varint(bytes, &mut at)?;
    bytes = &bytes[at..];
    let mut covers = Vec::new();
    for _ in 0..count {
        let mut at = 0;
        let length = usize::try_from(varint(bytes, &mut at)?).ok()?;
        let name = std::str::from_utf8(bytes.get(at..at.checked_add(length)?)?).ok()?.to_owned();
        at += length;
        covers.push(Cover { name, from: varint(bytes, &mut at)?, to: varint(bytes, &mut at)? });
        bytes = &bytes[at..];
    }
    bytes.is_empty().then_some(covers)
}

/// Writes a segment from entries that come in order of id, and of one id those with fewer patches first. Every place is kept: who
/// counts on an object counts on the file that it knows it to be in, whichever other files go. The same place twice is one.
pub(crate) fn write(
    upload: &dyn Upload,
    covers: &[Cover],
    about: u64,
    entries: impl Iterator<Item = Result<(Hash, Loc)>>,
) -> Result<u64> {
    let lines = (about.max(1) * FILTER_BITS).div_ceil(LINE);
    let filter_len =
        usize::try_from(lines * (LINE / 8)).map_err(|_| Error::format("an index segment", "too many entries"))?;
    let mut filter = vec![0u8; filter_len];
    let mut fences: Vec<u8> = Vec::new();
    let mut block: Vec<u8> = Vec::with_capacity(BLOCK * ENTRY);
    let mut ready: Vec<Bytes> = Vec::new();
    let (mut count, mut last, mut places) = (0u64, None, Vec::new());
    for next in entries {
        let (id, loc) = next?;
        debug_assert!(last <= Some(id), "entries come in order of id");
        if last == Some(id) {
            if places.contains(&loc) {
                continue;
            }
        } else {
            last = Some(id);
            places.clear();
        }
        places.push(loc);
        let (line, bits) = probes(&id, lines);
        for n in 0..PROBES {
            let bit = bits >> (9 * n) & (LINE - 1);
            filter[usize::try_from(line * (LINE / 8) + bit / 8).expect("within the filter")] |= 1 << (bit % 8);
        }
        block.put_slice(id.as_bytes());
        loc.write(&mut block);
        count += 1;
        if block.len() == BLOCK * ENTRY {
            close_block(&mut block, &mut fences, &mut ready);
            if ready.len() == 64 {
                upload.write(&std::mem::take(&mut ready))?;
            }
        }
    }
    close_block(&mut block, &mut fences, &mut ready);
    let mut meta = fences;
    meta.extend_from_slice(&filter);
    put_varint(&mut meta, covers.len() as u64);
    for cover in covers {
        put_varint(&mut meta, cover.name.len() as u64);
        meta.put_slice(cover.name.as_bytes());
        put_varint(&mut meta, cover.from);
        put_varint(&mut meta, cover.to);
    }
    let mut trailer = Vec::with_capacity(TRAILER);
    trailer.put_slice(&MAGIC);
    trailer.put_u64_le(count);
    trailer.put_u64_le(filter_len as u64);
    trailer.put_u64_le(checksum(&meta));
    trailer.put_u64_le(0);
    let sum = checksum(&trailer);
    trailer.put_u64_le(sum);
    ready.push(meta.into());
    ready.push(trailer.into());
    upload.write(&ready)?;
    Ok(count)
}

/// A segment of any bytes with the checksums that are right for them: first the table, then filter and files.
#[cfg(any(test, fuzzing))]
pub(crate) fn sealed(entries: usize, body: &[u8]) -> Vec<u8> {
    let (table, rest) = body.split_at(body.len().min(entries * ENTRY));
    let mut file = table.to_vec();
    file.resize(entries * ENTRY, 0);
    let mut meta = Vec::new();
    for block in file.chunks(BLOCK * ENTRY) {
        meta.put_slice(&block[..8].iter().rev().copied().collect::<Vec<u8>>());
        meta.put_u64_le(checksum(block));
    }
    meta.extend_from_slice(rest);
    let filter_len = rest.first().map_or(0, |byte| u64::from(byte % 4) * (LINE / 8));
    let mut trailer = MAGIC.to_vec();
    for number in [entries as u64, filter_len, checksum(&meta), 0] {
        trailer.put_u64_le(number);
    }
    let sum = checksum(&trailer);
    trailer.put_u64_le(sum);
    file.extend_from_slice(&meta);
    file.extend_from_slice(&trailer);
    file
}

fn close_block(block: &mut Vec<u8>, fences: &mut Vec<u8>, ready: &mut Vec<Bytes>) {
    if let Some(first) = block.first_chunk() {
        fences.put_u64_le(u64::from_be_bytes(*first));
        fences.put_u64_le(checksum(block));
        ready.push(Bytes::from(std::mem::replace(block, Vec::with_capacity(BLOCK * ENTRY))));
    }
}

#[cfg(test)]
mod tests;
