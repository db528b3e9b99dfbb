//! The bytes of a segment: its name, its header, marks, and the frames of records.
//!
//! State: none. The layout is `docs/format/log.md`. Decoders take any bytes. Not here: which bytes follow each other
//! ([`walk`](super::walk)), and what is made of those that do not verify ([`tail`](super::tail)).

use xxhash_rust::xxh3::{xxh3_64, xxh3_64_with_seed};

use super::{LogId, Position};

/// The version that this program writes, and the only one that it reads.
pub(super) const VERSION: u32 = 1;
/// The last byte of everything that is written in one piece. Never zero, and no single bit makes it so.
pub(super) const END: u8 = 0xA5;
/// Length of a segment's header, with its `END`.
pub(super) const HEADER: usize = 65;
/// Length of a mark.
pub(super) const MARK: usize = 40;
/// Length of what stands before a record.
pub(super) const FRAME: usize = 12;
/// The greatest position at which a segment may begin: none in it overflows.
pub(super) const MAX_FIRST: Position = 1 << 62;
/// The longest record there can be.
pub(super) const MAX_RECORD: usize = 64 << 20;
/// How a mark begins.
pub(super) const TAG: [u8; 4] = *b"SLm\xD7";
/// How a mark ends.
const TAG_END: [u8; 4] = *b"\xD7mLS";
const MAGIC: [u8; 8] = *b"SLLOG\r\n\xF1";

/// The start of a segment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Header {
    pub(super) id: LogId,
    /// The how-manieth segment of the log this is.
    pub(super) serial: u32,
    /// The oldest segment that still counted when this one was made.
    pub(super) oldest: u32,
    /// The position of the first record.
    pub(super) first: Position,
    /// The previous segment's first position; zero when this is the oldest.
    pub(super) previous_first: Position,
    /// How many bytes of the previous segment count; zero when this is the oldest.
    pub(super) previous_len: u32,
}

/// Why bytes are no header.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum NoHeader {
    /// They do not verify.
    Bad,
    /// They verify, and follow a format that this program does not know.
    Version(u32),
}

impl Header {
    pub(super) fn encode(&self) -> [u8; HEADER] {
        let mut out = [0; HEADER];
        out[..8].copy_from_slice(&MAGIC);
        out[8..12].copy_from_slice(&VERSION.to_le_bytes());
        out[12..16].copy_from_slice(&self.previous_len.to_le_bytes());
        out[16..32].copy_from_slice(&self.id);
        out[32..36].copy_from_slice(&self.serial.to_le_bytes());
        out[36..40].copy_from_slice(&self.oldest.to_le_bytes());
        out[40..48].copy_from_slice(&self.first.to_le_bytes());
        out[48..56].copy_from_slice(&self.previous_first.to_le_bytes());
        let check = xxh3_64(&out[..56]);
        out[56..64].copy_from_slice(&check.to_le_bytes());
        out[64] = END;
        out
    }

    /// Reads a header from the start of `bytes`.
    pub(super) fn decode(bytes: &[u8]) -> Result<Self, NoHeader> {
        let bytes: &[u8; HEADER] = bytes.first_chunk().ok_or(NoHeader::Bad)?;
        if bytes[..8] != MAGIC || u64_at(bytes, 56) != xxh3_64(&bytes[..56]) || bytes[64] != END {
            return Err(NoHeader::Bad);
        }
        let version = u32_at(bytes, 8);
        if version != VERSION {
            return Err(NoHeader::Version(version));
        }
        let mut id = [0; 16];
        id.copy_from_slice(&bytes[16..32]);
        let header = Self {
            id,
            serial: u32_at(bytes, 32),
            oldest: u32_at(bytes, 36),
            first: u64_at(bytes, 40),
            previous_first: u64_at(bytes, 48),
            previous_len: u32_at(bytes, 12),
        };
        if header.first <= MAX_FIRST { Ok(header) } else { Err(NoHeader::Bad) }
    }

    /// What every checksum of this segment starts from.
    pub(super) fn seed(&self) -> u64 {
        let mut bytes = [0; 28];
        bytes[..16].copy_from_slice(&self.id);
        bytes[16..20].copy_from_slice(&self.serial.to_le_bytes());
        bytes[20..].copy_from_slice(&self.first.to_le_bytes());
        xxh3_64(&bytes)
    }
}

/// What stands before the records of a group: how far the group goes, and what was known when it was written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Mark {
    /// Length of the group: mark, frames, `END`.
    pub(super) len: u32,
    /// Where in the segment the mark is.
    pub(super) offset: u32,
    /// So many bytes of the segment were durable.
    pub(super) durable: u32,
    /// The position of the group's first record.
    pub(super) first: Position,
    /// The oldest segment that counted.
    pub(super) oldest: u32,
}

impl Mark {
    pub(super) fn encode(&self, seed: u64) -> [u8; MARK] {
        let mut out = [0; MARK];
        out[..4].copy_from_slice(&TAG);
        out[4..8].copy_from_slice(&self.len.to_le_bytes());
        out[8..12].copy_from_slice(&self.offset.to_le_bytes());
        out[12..16].copy_from_slice(&self.durable.to_le_bytes());
        out[16..24].copy_from_slice(&self.first.to_le_bytes());
        out[24..28].copy_from_slice(&self.oldest.to_le_bytes());
        let check = xxh3_64_with_seed(&out[..28], !seed);
        out[28..36].copy_from_slice(&check.to_le_bytes());
        out[36..].copy_from_slice(&TAG_END);
        out
    }

    /// Reads the mark at `offset` of a segment from the start of `bytes`.
    pub(super) fn decode(bytes: &[u8], seed: u64, offset: u64) -> Option<Self> {
        let bytes: &[u8; MARK] = bytes.first_chunk()?;
        if bytes[..4] != TAG || bytes[36..] != TAG_END || u64_at(bytes, 28) != xxh3_64_with_seed(&bytes[..28], !seed) {
            return None;
        }
        let mark = Self {
            len: u32_at(bytes, 4),
            offset: u32_at(bytes, 8),
            durable: u32_at(bytes, 12),
            first: u64_at(bytes, 16),
            oldest: u32_at(bytes, 24),
        };
        let fits = mark.len as usize > MARK && mark.offset.checked_add(mark.len).is_some();
        (u64::from(mark.offset) == offset && mark.durable <= mark.offset && fits).then_some(mark)
    }

    /// Where the group ends.
    pub(super) fn end(&self) -> u64 {
        u64::from(self.offset) + u64::from(self.len)
    }
}

/// The checksum of the record at `position` in the segment of `seed`.
pub(super) fn check(seed: u64, position: Position, record: &[u8]) -> u64 {
    // An odd factor spreads neighbours over all bits, so that a segment's seeds do not lie next to another's.
    xxh3_64_with_seed(record, seed ^ position.wrapping_mul(0x9e37_79b9_7f4a_7c15))
}

/// Puts a record's frame behind `out`.
pub(super) fn push(out: &mut Vec<u8>, seed: u64, position: Position, record: &[u8]) {
    let len = u32::try_from(record.len()).expect("no record is longer than MAX_RECORD");
    let mut head = [0; FRAME];
    head[..4].copy_from_slice(&len.to_le_bytes());
    head[4..].copy_from_slice(&check(seed, position, record).to_le_bytes());
    out.extend_from_slice(&head);
    out.extend_from_slice(record);
}

/// The length and the checksum that stand before a record.
pub(super) fn frame(bytes: &[u8]) -> Option<(usize, u64)> {
    let head: &[u8; FRAME] = bytes.first_chunk()?;
    Some((u32_at(head, 0) as usize, u64_at(head, 4)))
}

/// The name of a segment.
pub(super) fn name(serial: u32, first: Position) -> String {
    format!("{serial:08x}-{first:016x}.log")
}

/// The serial and the first position that a segment's name tells; `None` for other names.
pub(super) fn parse_name(name: &str) -> Option<(u32, Position)> {
    let (serial, first) = name.strip_suffix(".log")?.split_once('-')?;
    let parsed = (u32::from_str_radix(serial, 16).ok()?, u64::from_str_radix(first, 16).ok()?);
    // Only what `name` writes: no signs, capitals or missing zeros.
    (self::name(parsed.0, parsed.1) == name).then_some(parsed)
}

fn u32_at(bytes: &[u8], at: usize) -> u32 {
    u32::from_le_bytes(bytes[at..at + 4].try_into().expect("four bytes"))
}

fn u64_at(bytes: &[u8], at: usize) -> u64 {
    u64::from_le_bytes(bytes[at..at + 8].try_into().expect("eight bytes"))
}

#[cfg(test)]
mod tests;
