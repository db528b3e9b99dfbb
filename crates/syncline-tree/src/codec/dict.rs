//! Dictionaries: cells that repeat, as numbers into the list of distinct ones.
//!
//! Found with a small table of fixed size that gives up early, so that columns without repetition cost little.

use super::blob::{self, Scratch};
use super::{bits, ints};
use crate::leaf::wire::{Fault, Reader, put_varint};

/// A dictionary has at most so many entries.
const MAX_ENTRIES: usize = 256;
const SLOTS: usize = 1024;
/// Entries up to this length are copied whole, without looking at their length.
const SHORT: usize = 32;

/// Distinct cells and, for each cell, which one it is.
pub(super) struct Dictionary<'a> {
    pub(super) entries: Vec<&'a [u8]>,
    codes: Vec<u64>,
}

impl<'a> Dictionary<'a> {
    /// The dictionary of cells that repeat often enough for one.
    pub(super) fn find(cells: impl ExactSizeIterator<Item = &'a [u8]>) -> Option<Self> {
        let count = cells.len();
        if count < 4 {
            return None;
        }
        let mut table = [0_u16; SLOTS];
        let mut entries: Vec<&[u8]> = Vec::with_capacity(16);
        let mut codes = Vec::with_capacity(count);
        for (i, cell) in cells.enumerate() {
            let mut slot = hash(cell) as usize % SLOTS;
            let code = loop {
                match table[slot] {
                    0 => {
                        if entries.len() == MAX_ENTRIES || entries.len() > 12 + i / 3 {
                            return None;
                        }
                        entries.push(cell);
                        table[slot] = entries.len() as u16;
                        break entries.len() - 1;
                    }
                    code if same(entries[usize::from(code) - 1], cell) => break usize::from(code) - 1,
                    _ => slot = (slot + 1) % SLOTS,
                }
            };
            codes.push(code as u64);
        }
        (entries.len() * 2 <= count).then_some(Self { entries, codes })
    }

    /// Appends the number of entries and the codes.
    pub(super) fn put_codes(&self, out: &mut Vec<u8>) {
        put_varint(out, self.entries.len() as u64);
        bits::pack(&self.codes, code_bits(self.entries.len()), out);
    }
}

fn code_bits(entries: usize) -> u32 {
    bits::width(entries.saturating_sub(1) as u64)
}

/// A number that differs for most cells that differ. Reads of fixed size only: they may overlap, but need no call.
fn hash(cell: &[u8]) -> u64 {
    const ODD: u64 = 0x9e37_79b9_7f4a_7c15;
    let mix = |hash: u64, word: u64| (hash.rotate_left(23) ^ word).wrapping_mul(ODD);
    let seed = cell.len() as u64;
    let hash = if let Some(last) = cell.last_chunk::<8>() {
        let words = cell.as_chunks::<8>().0.iter();
        mix(words.fold(seed, |hash, word| mix(hash, u64::from_le_bytes(*word))), u64::from_le_bytes(*last))
    } else if let (Some(first), Some(last)) = (cell.first_chunk::<4>(), cell.last_chunk::<4>()) {
        let (first, last) = (u32::from_le_bytes(*first), u32::from_le_bytes(*last));
        mix(seed, u64::from(first) << 32 | u64::from(last))
    } else if let (Some(first), Some(last)) = (cell.first(), cell.last()) {
        let middle = cell[cell.len() / 2];
        mix(seed, u64::from(*first) << 16 | u64::from(middle) << 8 | u64::from(*last))
    } else {
        0
    };
    hash >> 32
}

/// Whether two cells are equal. Short ones, as nearly all are, take no call: reads of fixed size that may overlap.
fn same(a: &[u8], b: &[u8]) -> bool {
    match a.len() {
        len if len != b.len() => false,
        8..=16 => a.first_chunk::<8>() == b.first_chunk::<8>() && a.last_chunk::<8>() == b.last_chunk::<8>(),
        4..8 => a.first_chunk::<4>() == b.first_chunk::<4>() && a.last_chunk::<4>() == b.last_chunk::<4>(),
        1 => a[0] == b[0],
        _ => a == b,
    }
}

/// Reads the number of entries, then codes into the scratch's numbers, each less than it.
fn get_codes(reader: &mut Reader<'_>, count: usize, scratch: &mut Scratch) -> Result<usize, Fault> {
    let entries = reader.count(MAX_ENTRIES)?;
    bits::unpack(reader, count, code_bits(entries), &mut scratch.numbers)?;
    if scratch.numbers.iter().copied().max().is_some_and(|code| code >= entries as u64) {
        return Err("a code points past its dictionary".to_owned());
    }
    Ok(entries)
}

/// Appends a dictionary of text or bytes.
pub(super) fn put_text(dictionary: &Dictionary<'_>, out: &mut Vec<u8>, scratch: &mut Scratch) {
    dictionary.put_codes(out);
    scratch.numbers.clear();
    scratch.numbers.extend(dictionary.entries.iter().map(|entry| entry.len() as u64));
    ints::put_numbers(out, &mut scratch.numbers);
    let joined = dictionary.entries.concat();
    blob::put(&joined, out, scratch);
}

/// Fills offsets and data of text or bytes.
pub(super) fn get_text(
    reader: &mut Reader<'_>,
    offsets: &mut [u8],
    data: &mut [u8],
    scratch: &mut Scratch,
) -> Result<(), Fault> {
    let count = offsets.len() / 4 - 1;
    let entries = get_codes(reader, count, scratch)?;
    let codes = std::mem::take(&mut scratch.numbers);
    ints::get_numbers(reader, entries, &mut scratch.numbers)?;
    let mut starts = Vec::with_capacity(entries + 1);
    let mut total = 0_usize;
    starts.push(0);
    for length in &scratch.numbers {
        total = usize::try_from(*length).ok().and_then(|length| total.checked_add(length)).unwrap_or(usize::MAX);
        if total > data.len() {
            return Err("a dictionary is longer than its cells".to_owned());
        }
        starts.push(total);
    }
    let mut joined = vec![0; total + SHORT];
    blob::get(reader, &mut joined[..total], scratch)?;
    let mut at = 0_usize;
    for (code, offset) in codes.iter().zip(offsets[4..].as_chunks_mut::<4>().0) {
        let (start, end) = (starts[*code as usize], starts[*code as usize + 1]);
        let next = at + (end - start);
        if next > data.len() {
            return Err("cells are longer than their column".to_owned());
        }
        if end - start <= SHORT && at + SHORT <= data.len() {
            data[at..at + SHORT].copy_from_slice(&joined[start..start + SHORT]);
        } else {
            data[at..next].copy_from_slice(&joined[start..end]);
        }
        at = next;
        *offset = (at as u32).to_le_bytes();
    }
    scratch.numbers = codes;
    if at != data.len() {
        return Err("cells are shorter than their column".to_owned());
    }
    Ok(())
}

/// Appends a dictionary of fixed-width cells.
pub(super) fn put_fixed(dictionary: &Dictionary<'_>, out: &mut Vec<u8>, scratch: &mut Scratch) {
    dictionary.put_codes(out);
    let joined = dictionary.entries.concat();
    blob::put(&joined, out, scratch);
}

/// Fills fixed-width cells.
pub(super) fn get_fixed(
    reader: &mut Reader<'_>,
    width: usize,
    out: &mut [u8],
    scratch: &mut Scratch,
) -> Result<(), Fault> {
    let entries = get_codes(reader, out.len() / width, scratch)?;
    let mut joined = vec![0; entries * width];
    blob::get(reader, &mut joined, scratch)?;
    for (cell, code) in out.chunks_exact_mut(width).zip(&scratch.numbers) {
        cell.copy_from_slice(&joined[*code as usize * width..][..width]);
    }
    Ok(())
}
