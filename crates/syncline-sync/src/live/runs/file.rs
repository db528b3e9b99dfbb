//! One run: a file of rows by key, in blocks, with an index of them. It is written once and never changed.
//!
//! State: the index, and some blocks that were asked for last. Decoders take any bytes; what is not as it was written is found by a checksum that
//! goes from the checkpoint, which names the run, over its index to each block.

use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use bytes::{BufMut, Bytes};
use xxhash_rust::xxh3::xxh3_64;

use super::super::pack::Past;
use super::super::row::Row;
use super::super::txn::RowKey;
use super::scan::Scan;
use super::{Place, Trouble};
use crate::error::{Error, Result};
use crate::wire::fields::put_uint;
use crate::wire::reader::Reader;

/// What files of runs end in.
pub(super) const SUFFIX: &str = ".rows";
/// What a run ends with.
pub(super) const FOOTER: usize = 56;
const MAGIC: [u8; 8] = *b"SLROW\r\n\xF1";
const VERSION: u32 = 1;
/// So many blocks may be in memory of one run.
const KEPT: usize = 256;

/// What a checkpoint calls a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct RunName {
    /// Its number, drawn at random.
    pub id: u64,
    /// How many bytes it has.
    pub bytes: u64,
    /// The checksum of what it ends with.
    pub sum: u64,
}

impl RunName {
    /// Its file.
    #[must_use]
    pub fn file(&self) -> String {
        file_of(self.id)
    }

    pub(in super::super) fn put(&self, out: &mut Vec<u8>) {
        out.put_u64_le(self.id);
        put_uint(out, self.bytes);
        out.put_u64_le(self.sum);
    }

    pub(in super::super) fn read(r: &mut Reader) -> Result<Self> {
        let (id, bytes) = (u64::from_le_bytes(r.array("run")?), r.uint("run")?);
        Ok(Self { id, bytes, sum: u64::from_le_bytes(r.array("run")?) })
    }
}

pub(super) fn file_of(id: u64) -> String {
    format!("{id:016x}{SUFFIX}")
}

/// What a run ends with: where its index is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Footer {
    pub(super) id: u64,
    /// The index: where it begins, and its checksum. It reaches to the footer.
    pub(super) index: u64,
    pub(super) index_sum: u64,
    /// How many rows there are, those that are gone included.
    pub(super) rows: u64,
}

impl Footer {
    pub(super) fn encode(&self) -> [u8; FOOTER] {
        let mut out = Vec::with_capacity(FOOTER);
        out.put_slice(&MAGIC);
        out.put_u32_le(VERSION);
        out.put_u32_le(0);
        for number in [self.id, self.index, self.index_sum, self.rows] {
            out.put_u64_le(number);
        }
        let sum = xxh3_64(&out);
        out.put_u64_le(sum);
        let mut bytes = [0; FOOTER];
        bytes.copy_from_slice(&out);
        bytes
    }

    /// The last 8 bytes of its bytes.
    pub(super) fn sum(bytes: &[u8; FOOTER]) -> u64 {
        u64_at(bytes, FOOTER - 8)
    }

    fn decode(bytes: &[u8; FOOTER], name: &RunName) -> Result<Self, String> {
        let sum = Self::sum(bytes);
        if sum != name.sum || sum != xxh3_64(&bytes[..FOOTER - 8]) || bytes[..8] != MAGIC {
            return Err("it does not end with what was written there".into());
        }
        let version = u32::from_le_bytes([bytes[8], bytes[9], bytes[10], bytes[11]]);
        if version != VERSION {
            return Err(format!("it is of version {version}; this program knows {VERSION}: update it"));
        }
        let footer = Self {
            id: u64_at(bytes, 16),
            index: u64_at(bytes, 24),
            index_sum: u64_at(bytes, 32),
            rows: u64_at(bytes, 40),
        };
        let fits = footer.index <= name.bytes.saturating_sub(FOOTER as u64);
        if footer.id == name.id && fits { Ok(footer) } else { Err("its end is that of another file".into()) }
    }
}

fn u64_at(bytes: &[u8], at: usize) -> u64 {
    let mut number = [0; 8];
    number.copy_from_slice(&bytes[at..at + 8]);
    u64::from_le_bytes(number)
}

/// Where a block is.
#[derive(Debug, Clone)]
pub(super) struct Slot {
    /// Its first row.
    pub(super) first: RowKey,
    pub(super) offset: u64,
    pub(super) len: u32,
    /// XXH3 of it.
    pub(super) sum: u64,
}

/// Rows of a block. One without siblings is gone.
pub(super) type Block = Vec<(RowKey, Arc<Row>)>;

/// A block that was asked for, by its number.
type Held = Mutex<Option<(usize, Arc<Block>)>>;

/// One run.
pub struct Run {
    place: Place,
    name: RunName,
    file: String,
    rows: u64,
    slots: Vec<Slot>,
    held: Box<[Held]>,
    trouble: Trouble,
    /// Nobody will ask for it any more.
    retired: AtomicBool,
}

impl fmt::Debug for Run {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Run").field("file", &self.file).field("rows", &self.rows).finish_non_exhaustive()
    }
}

impl Run {
    /// One that was written.
    ///
    /// # Errors
    /// `corrupt` when it is not there, or is not what was written; the disk's.
    pub(super) fn open(place: &Place, name: RunName, trouble: &Trouble) -> Result<Self> {
        let file = name.file();
        let damaged = |why: String| Error::RowsDamaged { file: file.clone(), why };
        let end = name.bytes.checked_sub(FOOTER as u64).ok_or_else(|| damaged("it has no room for its end".into()))?;
        let bytes = read_at(place, &file, end, FOOTER)?;
        let bytes: [u8; FOOTER] = bytes[..].try_into().map_err(|_| damaged("it has been cut off".into()))?;
        let footer = Footer::decode(&bytes, &name).map_err(damaged)?;
        let len = usize::try_from(end - footer.index).map_err(|_| damaged("its index is too long".into()))?;
        let index = read_at(place, &file, footer.index, len)?;
        if index.len() != len || xxh3_64(&index) != footer.index_sum {
            return Err(damaged("its index is not what was written".into()));
        }
        let slots = read_index(index, footer.index).map_err(|error| damaged(what_is_wrong(&error)))?;
        let held = slots.len().clamp(1, KEPT).next_power_of_two();
        Ok(Self {
            place: place.clone(),
            name,
            file,
            rows: footer.rows,
            slots,
            held: (0..held).map(|_| Held::default()).collect(),
            trouble: trouble.clone(),
            retired: AtomicBool::new(false),
        })
    }

    /// What a checkpoint calls it.
    #[must_use]
    pub const fn name(&self) -> RunName {
        self.name
    }

    /// How many rows it says something of.
    #[must_use]
    pub const fn rows(&self) -> u64 {
        self.rows
    }

    /// Its file is removed when nobody has it any more.
    pub fn retire(&self) {
        self.retired.store(true, Ordering::Relaxed);
    }

    /// What it says of a row: nothing, or its siblings, of which there are none when it is gone.
    pub(super) fn get(&self, key: &RowKey) -> Option<Arc<Row>> {
        let nth = self.slots.partition_point(|slot| slot.first <= *key).checked_sub(1)?;
        let block = self.held(nth)?;
        let at = block.binary_search_by(|(is, _)| is.cmp(key)).ok()?;
        Some(block[at].1.clone())
    }

    /// What it says, from a row on.
    pub(super) fn scan(self: &Arc<Self>, from: &RowKey) -> Scan {
        let nth = self.slots.partition_point(|slot| slot.first <= *from).saturating_sub(1);
        Scan::new(self.clone(), nth, from)
    }

    pub(super) fn slots(&self) -> &[Slot] {
        &self.slots
    }

    fn held(&self, nth: usize) -> Option<Arc<Block>> {
        let mut held = self.held[nth % self.held.len()].lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((is, block)) = &*held
            && *is == nth
        {
            return Some(block.clone());
        }
        let slot = &self.slots[nth];
        let bytes = self.bytes(slot.offset, slot.len as usize)?;
        let block = Arc::new(self.block(nth, bytes)?);
        *held = Some((nth, block.clone()));
        Some(block)
    }

    /// Bytes of it; nothing, and a note of that, when they cannot be read.
    pub(super) fn bytes(&self, offset: u64, len: usize) -> Option<Bytes> {
        match read_at(&self.place, &self.file, offset, len) {
            Ok(bytes) if bytes.len() == len => Some(bytes),
            Ok(_) => self.fail(Error::RowsDamaged { file: self.file.clone(), why: "it has been cut off".into() }),
            Err(error) => self.fail(error),
        }
    }

    /// The rows of a block whose bytes these are.
    pub(super) fn block(&self, nth: usize, bytes: Bytes) -> Option<Block> {
        let slot = &self.slots[nth];
        let read = if xxh3_64(&bytes) == slot.sum { read_block(bytes) } else { Err("its bytes have changed".into()) };
        match read {
            Ok(rows) if rows.first().is_some_and(|(first, _)| *first == slot.first) => Some(rows),
            Ok(_) => self.fail_at(slot, "it begins with another row than its index says"),
            Err(why) => self.fail_at(slot, &why),
        }
    }

    fn fail_at<T>(&self, slot: &Slot, why: &str) -> Option<T> {
        let why = format!("at byte {}, {why}", slot.offset);
        self.fail(Error::RowsDamaged { file: self.file.clone(), why })
    }

    #[expect(clippy::needless_pass_by_value, reason = "an error that is told here is told nowhere else")]
    fn fail<T>(&self, error: Error) -> Option<T> {
        self.trouble.get_or_init(|| error.to_string());
        None
    }
}

impl Drop for Run {
    fn drop(&mut self) {
        if self.retired.load(Ordering::Relaxed) {
            // One that stays is removed when the node is opened the next time.
            let _ = self.place.0.remove(&self.file);
        }
    }
}

/// At most `len` bytes from `offset` on; fewer where the file ends.
fn read_at(place: &Place, file: &str, offset: u64, len: usize) -> Result<Bytes> {
    // What a file says of itself sizes nothing: it has so many bytes, or reading ends before.
    let mut out = vec![0; len.min(1 << 20)];
    let mut have = 0;
    while have < len {
        if have == out.len() {
            out.resize(len.min(out.len() * 2), 0);
        }
        match place.0.read(file, offset + have as u64, &mut out[have..]) {
            Ok(0) => break,
            Ok(n) => have += n,
            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                return Err(Error::RowsDamaged { file: file.to_owned(), why: "it is not there".into() });
            }
            Err(error) => return Err(Error::disk("reading", file, &error)),
        }
    }
    out.truncate(have);
    Ok(out.into())
}

/// Reads an index: chunks, each a list, of blocks that follow each other up to `end`.
pub(super) fn read_index(bytes: Bytes, end: u64) -> Result<Vec<Slot>> {
    let (mut r, mut slots, mut offset) = (Reader::new(bytes), Vec::<Slot>::new(), 0_u64);
    while !r.is_empty() {
        let mut past = Past::of_own();
        for _ in 0..r.uint("index")? {
            let (first, len) = (past.read_row_key(&mut r)?, r.uint("index")?);
            let sum = u64::from_le_bytes(r.array("index")?);
            let ascends = slots.last().is_none_or(|last| last.first < first);
            let (Ok(short), Some(next), true) = (u32::try_from(len), offset.checked_add(len), ascends) else {
                return Err(Error::protocol("index", "blocks out of order, or too long"));
            };
            slots.push(Slot { first, offset, len: short, sum });
            offset = next;
        }
    }
    if offset == end { Ok(slots) } else { Err(Error::protocol("index", "blocks that are not all that there is")) }
}

/// Reads a block: a list of rows.
pub(super) fn read_block(bytes: Bytes) -> Result<Block, String> {
    let read = || -> Result<Block> {
        let (mut r, mut past, mut rows) = (Reader::new(bytes.clone()), Past::of_own(), Block::new());
        for _ in 0..r.uint("rows")? {
            let (key, row) = past.read_row(&mut r)?;
            if rows.last().is_some_and(|(last, _)| *last >= key) {
                return Err(Error::protocol("block", "rows out of order"));
            }
            rows.push((key, Arc::new(row)));
        }
        r.end("block")?;
        Ok(rows)
    };
    read().map_err(|error| what_is_wrong(&error))
}

/// What is wrong with bytes that nobody has sent.
fn what_is_wrong(error: &Error) -> String {
    match error {
        Error::Protocol { what, why } => format!("{what}: {why}"),
        other => other.to_string(),
    }
}
