//! Frames: the unit of writing, checking and reading.
//!
//! Layout: `docs/format/pack.md`. Tables row by row, as the first programs wrote them, are read and not written. A frame holds one big object, or many small ones that are compressed together. Packs and
//! journals are sequences of frames.
//!
//! Owns: nothing. After a crash: a frame is whole or its checksum is wrong; whoever reads one finds out here.
//!
//! Invariants:
//! - no byte of a body is looked at before the checksum over header and body was right;
//! - no length from a header or a body sizes an allocation beyond the limits below.
//!
//! Not here: which objects share a frame (`crate::store`), where frames lie (`crate::pack`).

use bytes::{BufMut, Bytes, BytesMut};
use syncline_base::Hash;
use xxhash_rust::xxh3::{Xxh3, xxh3_64};

use crate::bases::Bases;
use crate::codec::MAX_OBJECT;
use crate::error::{Error, Result};

/// Length of a frame's header.
pub(crate) const HEADER: usize = 24;
/// Objects in a frame at most: a slot is stored in 11 bits.
pub(crate) const MAX_SLOTS: usize = 2047;
/// Objects with longer payloads get a frame of their own.
pub(crate) const SMALL: usize = 4 << 10;
/// So do longer patches: a patch of an inner node is to lie with the leaves whose ids it repeats.
pub(crate) const SMALL_PATCH: usize = 32 << 10;
/// A shared frame is closed when its payloads reach this.
pub(crate) const SHARED: usize = 128 << 10;
/// No compressed body is longer than this, once decompressed.
const MAX_COMPRESSED: usize = 1 << 20;
/// No body is longer than this.
const MAX_BODY: usize = MAX_OBJECT + (1 << 20);
/// No patch is stacked deeper than this.
pub(crate) const MAX_DEPTH: u8 = 16;

const MAGIC: [u8; 4] = *b"SLF1";
const COMPRESSED: u8 = 1;
const FOOTER: u8 = 2;
/// The table of objects is by columns.
const COLUMNS: u8 = 4;
/// In an entry's depth: there is a second base.
const SECOND: u8 = 0x80;

/// An object as it lies in a frame.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Stored {
    pub(crate) id: Hash,
    pub(crate) codec: u8,
    /// Patches to be applied to get it, those of both bases counted; 0: it is whole.
    pub(crate) depth: u8,
    /// First eight bytes of the bases' ids.
    pub(crate) bases: Bases<u64>,
    /// Payload bytes of all patches of the chain, this one included.
    pub(crate) chain: u32,
    pub(crate) raw_len: u32,
    pub(crate) payload: Bytes,
}

impl Stored {
    /// Whether it shares a frame with others.
    pub(crate) fn is_small(&self) -> bool {
        self.payload.len() <= if self.depth > 0 { SMALL_PATCH } else { SMALL }
    }
}

/// What a header says about the bytes that follow it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Header {
    flags: u8,
    /// Length of the body as it is stored.
    pub(crate) stored_len: u32,
    body_len: u32,
    checksum: u64,
}

impl Header {
    /// Reads a header; `Err` says why these bytes are none.
    pub(crate) fn parse(bytes: &[u8]) -> std::result::Result<Self, String> {
        let Some(bytes) = bytes.first_chunk::<HEADER>() else { return Err("a header is cut short".to_owned()) };
        if bytes[..4] != MAGIC {
            return Err("there is no frame".to_owned());
        }
        if bytes[5..8] != header_check(bytes) {
            return Err("the header of a frame is damaged".to_owned());
        }
        let word = |at: usize| u32::from_le_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]]);
        let checksum = u64::from(word(16)) | u64::from(word(20)) << 32;
        let header = Self { flags: bytes[4], stored_len: word(8), body_len: word(12), checksum };
        let (stored, body) = (header.stored_len as usize, header.body_len as usize);
        let sane = match header.flags & !COLUMNS {
            COMPRESSED => stored < body && body <= MAX_COMPRESSED,
            0 => stored == body && body <= MAX_BODY,
            FOOTER if header.flags == FOOTER => stored == body && body <= MAX_BODY,
            _ => return Err(format!("flags {:#x} are not known here: use a newer program", header.flags)),
        };
        if sane { Ok(header) } else { Err(format!("lengths {stored} and {body} cannot be")) }
    }

    /// Length of header and body.
    pub(crate) fn frame_len(&self) -> u64 {
        HEADER as u64 + u64::from(self.stored_len)
    }

    pub(crate) fn is_footer(&self) -> bool {
        self.flags == FOOTER
    }

    fn write(flags: u8, stored_len: usize, body_len: usize, parts: &[&[u8]]) -> Result<[u8; HEADER]> {
        let length = |n: usize| {
            let n = u32::try_from(n).ok().filter(|_| n <= MAX_BODY);
            n.ok_or_else(|| Error::Invalid { action: "framing", reason: format!("{body_len} bytes are too many") })
        };
        let mut header = [0; HEADER];
        header[..4].copy_from_slice(&MAGIC);
        header[4] = flags;
        header[8..12].copy_from_slice(&length(stored_len)?.to_le_bytes());
        header[12..16].copy_from_slice(&length(body_len)?.to_le_bytes());
        let check = header_check(&header);
        header[5..8].copy_from_slice(&check);
        let mut sum = Xxh3::new();
        sum.update(&header[..16]);
        parts.iter().for_each(|part| sum.update(part));
        header[16..].copy_from_slice(&sum.digest().to_le_bytes());
        Ok(header)
    }
}

/// Guards magic, flags and lengths. With it, a header whose frame is longer than its file tells an append that was cut short from
/// rot in a length.
fn header_check(header: &[u8; HEADER]) -> [u8; 3] {
    let mut sum = Xxh3::new();
    sum.update(&header[..5]);
    sum.update(&header[8..16]);
    let sum = sum.digest().to_le_bytes();
    [sum[0], sum[1], sum[2]]
}

/// Whether `bytes` are what a header starts with, as far as they go.
pub(crate) fn may_start(bytes: &[u8]) -> bool {
    let known = bytes.len().min(MAGIC.len());
    bytes[..known] == MAGIC[..known]
}

/// A frame that was checked and read.
#[derive(Debug, Clone)]
pub(crate) struct Frame {
    /// The objects, by slot. Their payloads share the body.
    pub(crate) objects: Vec<Stored>,
    /// Memory that the body takes.
    pub(crate) weight: usize,
}

/// Checks the frame at the start of `bytes` and gives its header and body, decompressed.
fn open(bytes: &Bytes) -> std::result::Result<(Header, Bytes), String> {
    let header = Header::parse(bytes)?;
    let length = HEADER + header.stored_len as usize;
    if bytes.len() < length {
        return Err(format!("a frame of {length} bytes is cut short at {}", bytes.len()));
    }
    let mut sum = Xxh3::new();
    sum.update(&bytes[..16]);
    sum.update(&bytes[HEADER..length]);
    if sum.digest() != header.checksum {
        return Err("the checksum of a frame is wrong".to_owned());
    }
    let stored = bytes.slice(HEADER..length);
    if header.flags & COMPRESSED == 0 {
        return Ok((header, stored));
    }
    let body = crate::codec::zstd_decode(&stored, None, header.body_len as usize)?;
    if body.len() != header.body_len as usize {
        return Err("a frame's body has another length than its header says".to_owned());
    }
    Ok((header, body))
}

/// Reads the frame of objects at the start of `bytes`. `Err` says what is wrong with it.
pub(crate) fn parse(bytes: &Bytes) -> std::result::Result<Frame, String> {
    let (header, body) = open(bytes)?;
    if header.is_footer() {
        return Err("there is a footer where objects should be".to_owned());
    }
    read_body(&body, header.flags & COLUMNS != 0)
}

/// Reads the footer frame at the start of `bytes`: its body.
pub(crate) fn parse_footer(bytes: &Bytes) -> std::result::Result<Bytes, String> {
    let (header, body) = open(bytes)?;
    if header.is_footer() { Ok(body) } else { Err("there are objects where a footer should be".to_owned()) }
}

fn read_body(body: &Bytes, columns: bool) -> std::result::Result<Frame, String> {
    let cut = || "the table of a frame is cut short".to_owned();
    let mut at = 0;
    let count = varint(body, &mut at).ok_or_else(cut)?;
    let count = usize::try_from(count).ok().filter(|&n| n > 0 && n <= MAX_SLOTS);
    let count = count.ok_or("a frame has too many objects, or none")?;
    let table = if columns {
        read_columns(body, &mut at, count)
    } else {
        (0..count).map(|_| read_entry(body, &mut at)).collect::<Option<Vec<_>>>()
    };
    let mut table = table.ok_or_else(cut)?;
    for (object, _) in &table {
        if object.depth > MAX_DEPTH || object.raw_len as usize > MAX_OBJECT {
            return Err(format!(
                "object {} claims depth {}, {} bytes",
                object.id.short(),
                object.depth,
                object.raw_len
            ));
        }
    }
    for (object, length) in &mut table {
        let end = at.checked_add(*length).filter(|&end| end <= body.len());
        let end = end.ok_or("the payloads of a frame are longer than its body")?;
        object.payload = body.slice(at..end);
        at = end;
    }
    if at != body.len() {
        return Err("a frame has bytes after its last payload".to_owned());
    }
    let objects = table.into_iter().map(|(object, _)| object).collect();
    Ok(Frame { objects, weight: body.len() + count * size_of::<Stored>() })
}

/// All entries of a table by columns, each with the length of its payload; `None` when it is cut short.
fn read_columns(body: &[u8], at: &mut usize, count: usize) -> Option<Vec<(Stored, usize)>> {
    let mut take = |len: usize| {
        let part = body.get(*at..*at + len)?;
        *at += len;
        Some(part)
    };
    let (ids, codecs, depths) = (take(Hash::LEN * count)?, take(count)?, take(count)?);
    let mut table = Vec::with_capacity(count);
    for ((id, codec), depth) in ids.chunks_exact(Hash::LEN).zip(codecs).zip(depths) {
        let id = Hash::from_slice(id)?;
        let (depth, second) = (depth & !SECOND, depth & SECOND != 0);
        let bases = Bases::none();
        let object = Stored { id, codec: *codec, depth, bases, chain: 0, raw_len: 0, payload: Bytes::new() };
        table.push((object, second, 0));
    }
    for (object, second, _) in &mut table {
        *at = read_bases(body, *at, object, *second)?;
    }
    let number = |at: &mut usize| u32::try_from(varint(body, at)?).ok();
    for (object, ..) in table.iter_mut().filter(|(object, ..)| object.depth > 0) {
        object.chain = number(at)?;
    }
    for (object, ..) in &mut table {
        object.raw_len = number(at)?;
    }
    for (_, _, length) in &mut table {
        *length = number(at)? as usize;
    }
    Some(table.into_iter().map(|(object, _, length)| (object, length)).collect())
}

/// Reads the names of an object's bases, and says where they end.
fn read_bases(body: &[u8], mut at: usize, object: &mut Stored, second: bool) -> Option<usize> {
    if object.depth == 0 {
        return (!second).then_some(at);
    }
    for _ in 0..1 + u8::from(second) {
        let base = u64::from_le_bytes(*body.get(at..)?.first_chunk()?);
        at += 8;
        object.bases.push(base).ok()?;
    }
    Some(at)
}

fn read_entry(body: &[u8], at: &mut usize) -> Option<(Stored, usize)> {
    let fixed = body.get(*at..*at + 34)?;
    let id = Hash::from_slice(&fixed[..32])?;
    let (codec, depth, second) = (fixed[32], fixed[33] & !SECOND, fixed[33] & SECOND != 0);
    *at += 34;
    let mut object = Stored { id, codec, depth, bases: Bases::none(), chain: 0, raw_len: 0, payload: Bytes::new() };
    *at = read_bases(body, *at, &mut object, second)?;
    if depth > 0 {
        object.chain = u32::try_from(varint(body, at)?).ok()?;
    }
    object.raw_len = u32::try_from(varint(body, at)?).ok()?;
    let length = usize::try_from(varint(body, at)?).ok()?;
    Some((object, length))
}

/// A frame that is ready to be written.
#[derive(Debug, Clone)]
pub(crate) struct Built {
    /// Header and table, then payloads.
    pub(crate) parts: Vec<Bytes>,
    /// Length of all parts.
    pub(crate) len: u32,
    /// What is in it, by slot: id and depth.
    pub(crate) objects: Vec<(Hash, u8)>,
}

/// Makes a frame of objects. Several objects are compressed together when that pays.
pub(crate) fn build(objects: &[Stored]) -> Result<Built> {
    debug_assert!(!objects.is_empty() && objects.len() <= MAX_SLOTS);
    let mut table = BytesMut::with_capacity(HEADER + 8 + objects.len() * 56);
    table.put_bytes(0, HEADER);
    put_table(&mut table, objects);
    let names = objects.iter().map(|object| (object.id, object.depth)).collect();
    if objects.iter().all(Stored::is_small) {
        return build_shared(table, objects, names);
    }
    let mut sum_parts: Vec<&[u8]> = vec![&table[HEADER..]];
    sum_parts.extend(objects.iter().map(|object| &object.payload[..]));
    let length: usize = sum_parts.iter().map(|part| part.len()).sum();
    let header = Header::write(COLUMNS, length, length, &sum_parts)?;
    table[..HEADER].copy_from_slice(&header);
    let mut parts = vec![table.freeze()];
    parts.extend(objects.iter().map(|object| object.payload.clone()));
    Ok(Built { parts, len: frame_len(length)?, objects: names })
}

/// By columns: ids next to each other are found where an inner node repeats them, and what is alike compresses.
fn put_table(table: &mut BytesMut, objects: &[Stored]) {
    put_varint(table, objects.len() as u64);
    objects.iter().for_each(|object| table.put_slice(object.id.as_bytes()));
    objects.iter().for_each(|object| table.put_u8(object.codec));
    for object in objects {
        table.put_u8(object.depth | if object.bases.len() > 1 { SECOND } else { 0 });
    }
    objects.iter().flat_map(|object| object.bases.iter()).for_each(|base| table.put_u64_le(*base));
    for object in objects.iter().filter(|object| object.depth > 0) {
        put_varint(table, u64::from(object.chain));
    }
    objects.iter().for_each(|object| put_varint(table, u64::from(object.raw_len)));
    objects.iter().for_each(|object| put_varint(table, object.payload.len() as u64));
}

fn build_shared(mut table: BytesMut, objects: &[Stored], names: Vec<(Hash, u8)>) -> Result<Built> {
    objects.iter().for_each(|object| table.put_slice(&object.payload));
    let body = &table[HEADER..];
    let body_len = body.len();
    // Ids do not shrink, so a frame of few objects only wins when payloads repeat each other; zstd is quick to find out.
    let packed = crate::codec::zstd_encode(body).filter(|packed| packed.len() < body_len - body_len / 16);
    if let Some(packed) = packed.filter(|_| body_len <= MAX_COMPRESSED) {
        let header = Header::write(COMPRESSED | COLUMNS, packed.len(), body_len, &[&packed])?;
        let len = frame_len(packed.len())?;
        return Ok(Built { parts: vec![Bytes::copy_from_slice(&header), Bytes::from(packed)], len, objects: names });
    }
    let header = Header::write(COLUMNS, body_len, body_len, &[body])?;
    table[..HEADER].copy_from_slice(&header);
    Ok(Built { parts: vec![table.freeze()], len: frame_len(body_len)?, objects: names })
}

/// Makes a footer frame around `body`.
pub(crate) fn build_footer(body: &[u8]) -> Result<Bytes> {
    let header = Header::write(FOOTER, body.len(), body.len(), &[body])?;
    let mut frame = BytesMut::with_capacity(HEADER + body.len());
    frame.put_slice(&header);
    frame.put_slice(body);
    Ok(frame.freeze())
}

/// A frame with any flags around any bytes, with the checksum that is right for them.
#[cfg(any(test, fuzzing))]
pub(crate) fn sealed(flags: u8, body_len: u32, stored: &[u8]) -> Bytes {
    let stored_len = u32::try_from(stored.len()).expect("an input is short");
    let mut frame = Vec::with_capacity(HEADER + stored.len());
    frame.extend_from_slice(&MAGIC);
    frame.extend_from_slice(&[flags, 0, 0, 0]);
    frame.extend_from_slice(&stored_len.to_le_bytes());
    frame.extend_from_slice(&body_len.to_le_bytes());
    let mut start = [0; HEADER];
    start[..16].copy_from_slice(&frame);
    frame[5..8].copy_from_slice(&header_check(&start));
    let mut sum = Xxh3::new();
    sum.update(&frame);
    sum.update(stored);
    frame.extend_from_slice(&sum.digest().to_le_bytes());
    frame.extend_from_slice(stored);
    frame.into()
}

fn frame_len(stored_len: usize) -> Result<u32> {
    u32::try_from(HEADER + stored_len)
        .map_err(|_| Error::Invalid { action: "framing", reason: format!("{stored_len} bytes are too many") })
}

/// The checksum that files of this crate carry outside frames.
pub(crate) fn checksum(bytes: &[u8]) -> u64 {
    xxh3_64(bytes)
}

/// LEB128, at most ten bytes.
pub(crate) fn put_varint(out: &mut impl BufMut, mut value: u64) {
    while value >= 0x80 {
        out.put_u8(u8::try_from(value & 0x7f).expect("seven bits fit") | 0x80);
        value >>= 7;
    }
    out.put_u8(u8::try_from(value).expect("less than 0x80"));
}

/// Reads what `put_varint` wrote and moves `at` on; `None` when it is cut short or too long.
pub(crate) fn varint(bytes: &[u8], at: &mut usize) -> Option<u64> {
    let mut value = 0;
    for shift in (0..64).step_by(7) {
        let byte = *bytes.get(*at)?;
        *at += 1;
        let bits = u64::from(byte & 0x7f);
        if bits << shift >> shift != bits {
            return None;
        }
        value |= bits << shift;
        if byte < 0x80 {
            return Some(value);
        }
    }
    None
}

#[cfg(test)]
mod tests;
