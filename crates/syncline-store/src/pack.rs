//! Packs and journals: files of frames.
//!
//! Layout: `docs/format/pack.md`. A pack is written once and becomes visible when it is whole; a journal grows by appends and
//! is *sealed* when it is long enough. Both end, once they are finished, with a footer that lists their objects.
//!
//! Owns: nothing. After a crash: a pack is whole; a journal may end in a torn tail, which counts for nothing.
//!
//! Invariants:
//! - what a scan gives lies in frames whose checksums were right;
//! - bytes behind the last good frame are never trusted. A frame that is cut off by the end of the file is told apart from one
//!   that has rotted: that is damage, wherever it lies.
//!
//! Not here: the index over all packs (`crate::index`), when to write what (`crate::store`).

use bytes::{BufMut, Bytes};
use syncline_base::Hash;

use crate::backend::Backend;
use crate::error::{Error, Result};
use crate::frame::{self, Built, HEADER, Header};

/// Length of an entry in footers and index segments.
pub(crate) const ENTRY: usize = 48;
/// Length of what follows the footer frame.
pub(crate) const TRAILER: u64 = 16;
const TRAILER_MAGIC: [u8; 8] = *b"SLPEND1\n";
/// How much of a file is read at once when it is scanned.
const SCAN: u64 = 8 << 20;

/// Where an object lies.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Loc {
    /// Which file; what the number means depends on where the entry was read.
    pub(crate) file: u32,
    /// Where its frame starts.
    pub(crate) offset: u32,
    /// How long its frame is.
    pub(crate) len: u32,
    /// Its place in the frame.
    pub(crate) slot: u16,
    /// How many objects the frame holds.
    pub(crate) count: u16,
    /// Patches between this and a whole object.
    pub(crate) depth: u8,
}

impl Loc {
    /// Its 16 bytes in an entry: slot and depth share two bytes, 11 bits and 5.
    pub(crate) fn write(&self, out: &mut impl BufMut) {
        out.put_u32_le(self.file);
        out.put_u32_le(self.offset);
        out.put_u32_le(self.len);
        out.put_u16_le(self.slot | u16::from(self.depth) << 11);
        out.put_u16_le(self.count);
    }

    pub(crate) fn read(bytes: &[u8; 16]) -> Self {
        let word = |at: usize| u32::from_le_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]]);
        let packed = u16::from_le_bytes([bytes[12], bytes[13]]);
        Self {
            file: word(0),
            offset: word(4),
            len: word(8),
            slot: packed & 0x7ff,
            count: u16::from_le_bytes([bytes[14], bytes[15]]),
            depth: u8::try_from(packed >> 11).expect("five bits fit"),
        }
    }
}

/// The entries of a frame that lies at `offset` of `file`.
pub(crate) fn locate(
    file: u32,
    offset: u32,
    len: u32,
    objects: &[(Hash, u8)],
) -> impl Iterator<Item = (Hash, Loc)> + '_ {
    let count = u16::try_from(objects.len()).expect("frames hold at most 2047 objects");
    (0..count).zip(objects).map(move |(slot, &(id, depth))| (id, Loc { file, offset, len, slot, count, depth }))
}

/// Like [`locate`] for a frame that was just built.
pub(crate) fn locate_built(file: u32, offset: u32, built: &Built) -> impl Iterator<Item = (Hash, Loc)> + '_ {
    locate(file, offset, built.len, &built.objects)
}

/// The footer frame and trailer for a file whose frames end at `end`. Sorts the entries.
pub(crate) fn footer(end: u64, entries: &mut [(Hash, Loc)]) -> Result<Bytes> {
    entries.sort_unstable_by_key(|entry| entry.0);
    let mut body = Vec::with_capacity(entries.len() * ENTRY);
    for (id, loc) in entries.iter() {
        body.put_slice(id.as_bytes());
        Loc { file: 0, ..*loc }.write(&mut body);
    }
    let mut bytes = frame::build_footer(&body)?.to_vec();
    bytes.extend_from_slice(&trailer(end));
    Ok(bytes.into())
}

fn trailer(footer: u64) -> [u8; TRAILER as usize] {
    let mut bytes = [0; TRAILER as usize];
    bytes[..8].copy_from_slice(&footer.to_le_bytes());
    bytes[8..].copy_from_slice(&TRAILER_MAGIC);
    bytes
}

/// Reads the entries of a finished file from its footer, as of file number `file`. `None` when it has no footer.
pub(crate) fn read_footer(backend: &dyn Backend, name: &str, size: u64, file: u32) -> Result<Option<Vec<(Hash, Loc)>>> {
    if size < TRAILER {
        return Ok(None);
    }
    // Most footers are short: one read gets trailer and footer.
    let from = size.saturating_sub(64 << 10);
    let tail = backend.read(name, from..size)?;
    let trailer = tail.slice(tail.len() - TRAILER as usize..);
    if trailer[8..] != TRAILER_MAGIC {
        return Ok(None);
    }
    let start = u64::from_le_bytes(*trailer.first_chunk().expect("a trailer has 16 bytes"));
    if start > size - TRAILER {
        return Ok(None);
    }
    let bytes = match start.checked_sub(from) {
        Some(skip) => tail.slice(usize::try_from(skip).expect("within the tail")..),
        None => backend.read(name, start..size)?,
    };
    Ok(frame::parse_footer(&bytes).ok().and_then(|body| read_entries(&body, file, start)))
}

/// Whether a file ends as finished files do. A damaged trailer still is one: an append after it would never be found.
pub(crate) fn has_footer(backend: &dyn Backend, name: &str, size: u64) -> Result<bool> {
    let Some(from) = size.checked_sub(TRAILER) else { return Ok(false) };
    let trailer = backend.read(name, from..size)?;
    let footer = u64::from_le_bytes(*trailer.first_chunk().expect("a trailer has 16 bytes"));
    if trailer[8..] == TRAILER_MAGIC {
        return Ok(true);
    }
    if footer.checked_add(HEADER as u64).is_none_or(|end| end > from) {
        return Ok(false);
    }
    let header = Header::parse(&backend.read(name, footer..footer + HEADER as u64)?);
    Ok(header.is_ok_and(|header| header.is_footer() && footer + header.frame_len() == from))
}

fn read_entries(body: &[u8], file: u32, end: u64) -> Option<Vec<(Hash, Loc)>> {
    if !body.len().is_multiple_of(ENTRY) {
        return None;
    }
    // Made to measure: this is the longest list that opening a store makes.
    let mut entries = Vec::with_capacity(body.len() / ENTRY);
    for entry in body.chunks_exact(ENTRY) {
        let loc = Loc { file, ..Loc::read(entry[32..].first_chunk()?) };
        let fits = u64::from(loc.offset) + u64::from(loc.len) <= end && loc.slot < loc.count;
        entries.push(fits.then_some((Hash::from_slice(&entry[..32])?, loc))?);
    }
    Some(entries)
}

/// What a scan found.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub(crate) struct Scanned {
    /// Where the last good frame ends.
    pub(crate) end: u64,
    /// Stretches that are no good frames and cannot be left by an append that was cut short: damage.
    pub(crate) damage: Vec<(u64, u64)>,
    /// Whether a footer and a trailer were met: the file is finished.
    pub(crate) sealed: bool,
}

impl Scanned {
    /// Up to where everything is a good frame or damage. What lies beyond, up to the end of the file, is a torn tail.
    pub(crate) fn known(&self) -> u64 {
        self.damage.iter().map(|stretch| stretch.1).fold(self.end, u64::max)
    }
}

/// Reads the frames of a file from `from` (a frame's start) to `size`, and gives each to `each` with its offset.
pub(crate) fn scan(
    backend: &dyn Backend,
    name: &str,
    from: u64,
    size: u64,
    each: &mut dyn FnMut(u64, u32, frame::Frame) -> Result<()>,
) -> Result<Scanned> {
    let mut scanned = Scanned { end: from, ..Scanned::default() };
    let mut window = Window { backend, name, size, start: from, bytes: Bytes::new() };
    let mut at = from;
    let mut bad: Option<u64> = None;
    while at < size {
        let found = window.frame(at)?;
        if !matches!(found, Found::Bad(_) | Found::Nothing)
            && let Some(start) = bad.take()
        {
            scanned.damage.push((start, at));
        }
        match found {
            Found::Frame(frame, len) => {
                each(at, len, frame)?;
                at += u64::from(len);
                scanned.end = at;
            }
            Found::Footer(len) => {
                window.trailer(at, at + len, &mut scanned)?;
                break;
            }
            Found::Torn => break,
            Found::Bad(len) => {
                bad.get_or_insert(at);
                at += len;
            }
            Found::Nothing => {
                bad.get_or_insert(at);
                at = window.next_magic(at + 1)?;
            }
        }
    }
    scanned.damage.extend(bad.map(|start| (start, size)));
    Ok(scanned)
}

/// Whether a frame, or what an append leaves that was cut short, starts at `at`.
pub(crate) fn goes_on(backend: &dyn Backend, name: &str, at: u64, size: u64) -> Result<bool> {
    let mut window = Window { backend, name, size, start: at, bytes: Bytes::new() };
    Ok(!matches!(window.frame(at)?, Found::Nothing))
}

enum Found {
    Frame(frame::Frame, u32),
    Footer(u64),
    /// A frame of this length whose header is whole and whose body is not.
    Bad(u64),
    /// What an append leaves that was cut short.
    Torn,
    Nothing,
}

/// A piece of a file that is being scanned.
struct Window<'a> {
    backend: &'a dyn Backend,
    name: &'a str,
    size: u64,
    start: u64,
    bytes: Bytes,
}

impl Window<'_> {
    /// The bytes from `at` on, at least `need` of them unless the file ends before.
    fn get(&mut self, at: u64, need: u64) -> Result<Bytes> {
        let end = self.start + self.bytes.len() as u64;
        let want = (at + need).min(self.size);
        if at < self.start || want > end {
            let until = (at + need.max(SCAN)).min(self.size);
            self.bytes = self.backend.read(self.name, at..until)?;
            self.start = at;
        }
        let skip = usize::try_from(at - self.start).expect("within the window");
        Ok(self.bytes.slice(skip..))
    }

    fn frame(&mut self, at: u64) -> Result<Found> {
        let bytes = self.get(at, HEADER as u64)?;
        let Ok(header) = Header::parse(&bytes) else {
            let cut = bytes.len() < HEADER && frame::may_start(&bytes);
            return Ok(if cut || self.is_zero(at)? { Found::Torn } else { Found::Nothing });
        };
        let len = header.frame_len();
        if len > self.size - at {
            return Ok(Found::Torn);
        }
        let bytes = self.get(at, len)?;
        if header.is_footer() {
            let good = frame::parse_footer(&bytes).is_ok();
            return Ok(if good { Found::Footer(len) } else { Found::Bad(len) });
        }
        let Ok(short) = u32::try_from(len) else { return Ok(Found::Nothing) };
        Ok(frame::parse(&bytes).map_or(Found::Bad(len), |frame| Found::Frame(frame, short)))
    }

    /// Looks at what follows a good footer frame. When it ends too early the footer was cut short, and counts for nothing.
    fn trailer(&mut self, footer: u64, at: u64, scanned: &mut Scanned) -> Result<()> {
        let expected = trailer(footer);
        let bytes = self.get(at, TRAILER + 1)?;
        if bytes == expected[..] {
            (scanned.sealed, scanned.end) = (true, self.size);
        } else if !expected.starts_with(&bytes) {
            (scanned.sealed, scanned.end) = (true, at);
            scanned.damage.push((at, self.size));
        }
        Ok(())
    }

    /// Whether there are only zeros from `at` on: bytes of an append whose length became durable and whose content did not.
    fn is_zero(&mut self, mut at: u64) -> Result<bool> {
        while at < self.size {
            let bytes = self.get(at, HEADER as u64)?;
            if bytes.iter().any(|byte| *byte != 0) {
                return Ok(false);
            }
            at += bytes.len() as u64;
        }
        Ok(true)
    }

    /// The next place at or after `at` where a frame may start; the file's end if there is none.
    fn next_magic(&mut self, mut at: u64) -> Result<u64> {
        loop {
            let bytes = self.get(at, HEADER as u64)?;
            if bytes.len() < HEADER {
                return Ok(self.size);
            }
            if let Some(found) = bytes.windows(4).position(|four| four == b"SLF1") {
                return Ok(at + found as u64);
            }
            at += bytes.len() as u64 - 3;
        }
    }
}

/// Fails unless `len` more bytes still have offsets that entries can hold.
pub(crate) fn check_room(name: &str, len: u64) -> Result<u32> {
    u32::try_from(len).map_err(|_| Error::format(name, "it is longer than 4 GiB"))
}

#[cfg(test)]
mod tests;
