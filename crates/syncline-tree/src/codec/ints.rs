//! Fixed-width values: frame of reference, deltas, dictionaries, byte planes.
//!
//! Integers are stored as distances from the smallest, divided by their common divisor, bit-packed; as differences
//! from one to the next where that takes fewer bits. The smallest and the largest stand in front, for pruning.

use super::bits::{self, packed_len, width};
use super::blob::{self, Scratch, entropy};
use super::dict::{self, Dictionary};
use crate::leaf::layout::Kind;
use crate::leaf::wire::{Fault, Reader, put_varint, put_varint128, unzigzag, zigzag};

const CONST: u8 = 0;
const FRAME: u8 = 1;
const DELTA: u8 = 2;
const BLOB: u8 = 3;
const DICT: u8 = 4;
const PLANES: u8 = 5;
/// Added to `FRAME` and `DELTA`: there is a divisor.
const DIVIDED: u8 = 8;

/// A plane with less than this many bits per byte is worth compressing.
const PLANE_PAYS: f32 = 7.0;
/// From so many bits on a dictionary is looked for.
const WIDE: u32 = 12;

/// Runs `$body` with `$t` the integer type of a kind and its values read from bytes.
macro_rules! with_integers {
    ($kind:expr, $bytes:expr, |$values:ident : $t:ident| $body:expr, else $other:expr) => {
        match $kind {
            Kind::Int(0) => with_integers!(@ i8, 1, $bytes, $values, $t, $body),
            Kind::Int(1) => with_integers!(@ i16, 2, $bytes, $values, $t, $body),
            Kind::Int(2) => with_integers!(@ i32, 4, $bytes, $values, $t, $body),
            Kind::Int(3) => with_integers!(@ i64, 8, $bytes, $values, $t, $body),
            Kind::UInt(0) => with_integers!(@ u8, 1, $bytes, $values, $t, $body),
            Kind::UInt(1) => with_integers!(@ u16, 2, $bytes, $values, $t, $body),
            Kind::UInt(2) => with_integers!(@ u32, 4, $bytes, $values, $t, $body),
            Kind::UInt(3) => with_integers!(@ u64, 8, $bytes, $values, $t, $body),
            _ => $other,
        }
    };
    (@ $type:ty, $width:literal, $bytes:expr, $values:ident, $t:ident, $body:expr) => {{
        type $t = $type;
        let $values = $bytes.as_chunks::<$width>().0;
        $body
    }};
}

/// Appends a fixed-width buffer; null slots may hold anything that packs well.
#[allow(clippy::unnecessary_cast, reason = "one macro body serves every integer type")]
pub(super) fn put(kind: Kind, bytes: &[u8], out: &mut Vec<u8>, scratch: &mut Scratch) {
    if bytes.is_empty() {
        return;
    }
    let found = with_integers!(kind, bytes, |values: T| {
        let read = |bytes: &[u8; size_of::<T>()]| T::from_le_bytes(*bytes);
        let (min, max) = values.iter().fold((T::MAX, T::MIN), |(min, max), value| {
            let value = read(value);
            (min.min(value), max.max(value))
        });
        // Two's complement: the lower 64 bits are enough for distances.
        let bits = |value: T| i128::from(value) as u64;
        scratch.numbers.clear();
        scratch.numbers.extend(values.iter().map(|value| bits(read(value)).wrapping_sub(bits(min))));
        Some((i128::from(min), bits(max).wrapping_sub(bits(min))))
    }, else if kind == Kind::Int(4) { distances_128(bytes.as_chunks::<16>().0, &mut scratch.numbers) } else { None });
    let cell = kind.width().expect("only fixed-width kinds come here");
    match found {
        Some((min, range)) if width(range) < WIDE || bytes.len() / cell < 16 => {
            put_distances(out, min, range, &mut scratch.numbers);
        }
        _ => put_wide(cell, bytes, found, out, scratch),
    }
}

/// Distances from the smallest of 16-byte integers, when they fit 64 bits.
fn distances_128(values: &[[u8; 16]], numbers: &mut Vec<u64>) -> Option<(i128, u64)> {
    let split = |value: &[u8; 16]| {
        let value = i128::from_le_bytes(*value);
        (value as i64, (value >> 64) as i64)
    };
    // Most decimals fit 64 bits: then their upper halves only repeat the sign.
    let spill = values.iter().fold(0, |spill, value| {
        let (low, high) = split(value);
        spill | (high ^ (low >> 63))
    });
    let (min, max) = if spill == 0 {
        let (min, max) = values.iter().fold((i64::MAX, i64::MIN), |(min, max), value| {
            let (low, _) = split(value);
            (min.min(low), max.max(low))
        });
        (i128::from(min), i128::from(max))
    } else {
        values.iter().fold((i128::MAX, i128::MIN), |(min, max), value| {
            let value = i128::from_le_bytes(*value);
            (min.min(value), max.max(value))
        })
    };
    let range = u64::try_from(max.checked_sub(min)?).ok()?;
    numbers.clear();
    numbers.extend(values.iter().map(|value| (split(value).0 as u64).wrapping_sub(min as u64)));
    Some((min, range))
}

/// Values that take many bits: a dictionary, distances, or bytes.
fn put_wide(cell: usize, bytes: &[u8], found: Option<(i128, u64)>, out: &mut Vec<u8>, scratch: &mut Scratch) {
    if let Some(dictionary) = Dictionary::find(bytes.chunks_exact(cell)) {
        let sorted = scratch.numbers.is_sorted() && found.is_some();
        if !sorted && dictionary.entries.len() * cell * 2 < bytes.len() {
            out.push(DICT);
            return dict::put_fixed(&dictionary, out, scratch);
        }
    }
    if let Some((min, range)) = found {
        return put_distances(out, min, range, &mut scratch.numbers);
    }
    let paying = if bytes.len() < 64 * cell { 0 } else { paying_planes(cell, bytes) };
    if paying == 0 {
        out.push(BLOB);
        return blob::put(bytes, out, scratch);
    }
    out.push(PLANES);
    put_varint(out, paying);
    let mut planes = std::mem::take(&mut scratch.bytes);
    planes.clear();
    let mut plain = Vec::with_capacity(bytes.len());
    for plane in 0..cell {
        let to = if paying >> plane & 1 == 1 { &mut planes } else { &mut plain };
        to.extend(bytes.chunks_exact(cell).map(|cell| cell[plane]));
    }
    blob::put(&planes, out, scratch);
    out.extend_from_slice(&plain);
    scratch.bytes = planes;
}

/// Which bytes of the cells, taken together, are far from noise.
fn paying_planes(cell: usize, bytes: &[u8]) -> u64 {
    let pays = |plane: &usize| entropy(&bytes[*plane..], cell) < PLANE_PAYS;
    (0..cell).filter(pays).fold(0, |mask, plane| mask | 1 << plane)
}

/// Appends numbers of any size; they are used up.
pub(super) fn put_numbers(out: &mut Vec<u8>, numbers: &mut [u64]) {
    if numbers.is_empty() {
        return;
    }
    let (min, max) = numbers.iter().fold((u64::MAX, 0), |(min, max), n| (min.min(*n), max.max(*n)));
    numbers.iter_mut().for_each(|n| *n -= min);
    put_distances(out, i128::from(min), max - min, numbers);
}

/// Appends distances from `min`, the largest of which is `range`; they are used up.
fn put_distances(out: &mut Vec<u8>, min: i128, range: u64, numbers: &mut [u64]) {
    if range == 0 {
        out.push(CONST);
        return put_varint128(out, zigzag(min));
    }
    let divisor = if range < 16 { 1 } else { divide(numbers) };
    let divided = if divisor > 1 { DIVIDED } else { 0 };
    let frame = width(range / divisor);
    let delta = deltas(numbers, range / divisor);
    let head = |out: &mut Vec<u8>, tag: u8| {
        out.push(tag | divided);
        put_varint128(out, zigzag(min));
        put_varint(out, range);
        if divisor > 1 {
            put_varint(out, divisor);
        }
    };
    match delta {
        Some((low, high))
            if packed_len(numbers.len(), width(high.abs_diff(low))) + 8 < packed_len(numbers.len(), frame) =>
        {
            head(out, DELTA);
            put_varint(out, numbers[0]);
            put_varint128(out, zigzag(i128::from(low)));
            let step = width(high.abs_diff(low));
            out.push(step as u8);
            for i in (1..numbers.len()).rev() {
                numbers[i] = numbers[i].wrapping_sub(numbers[i - 1]).wrapping_sub(low as u64);
            }
            bits::pack(&numbers[1..], step, out);
        }
        _ => {
            head(out, FRAME);
            bits::pack(numbers, frame, out);
        }
    }
}

/// The smallest and largest difference from one number to the next; `None` when they may not fit.
fn deltas(numbers: &[u64], range: u64) -> Option<(i64, i64)> {
    if range >> 62 != 0 || numbers.len() < 8 {
        return None;
    }
    let differences = numbers.iter().zip(&numbers[1..]).map(|(a, b)| b.wrapping_sub(*a) as i64);
    Some(differences.fold((i64::MAX, i64::MIN), |(low, high), delta| (low.min(delta), high.max(delta))))
}

/// Divides numbers by their greatest common divisor and gives it.
fn divide(numbers: &mut [u64]) -> u64 {
    let mut divisor = 0_u64;
    for n in numbers.iter() {
        if divisor == 0 {
            divisor = *n;
        } else if !n.is_multiple_of(divisor) {
            divisor = gcd(divisor, *n);
            if divisor == 1 {
                return 1;
            }
        }
    }
    if divisor <= 1 {
        return 1;
    }
    // An exact division is a multiplication by the inverse modulo 2^64 (Newton's iteration doubles its correct bits).
    let shift = divisor.trailing_zeros();
    let odd = divisor >> shift;
    let mut inverse = odd;
    for _ in 0..6 {
        inverse = inverse.wrapping_mul(2_u64.wrapping_sub(odd.wrapping_mul(inverse)));
    }
    numbers.iter_mut().for_each(|n| *n = (*n >> shift).wrapping_mul(inverse));
    divisor
}

fn gcd(mut a: u64, mut b: u64) -> u64 {
    while b != 0 {
        (a, b) = (b, a % b);
    }
    a
}

/// Where the integers lie: read from the front of a stream.
struct Head {
    min: i128,
    range: u64,
    divisor: u64,
}

fn head(tag: u8, reader: &mut Reader<'_>) -> Result<Head, Fault> {
    let min = unzigzag(reader.varint128()?);
    let (mut range, mut divisor) = (0, 1);
    if tag != CONST {
        range = reader.varint()?;
        if tag & DIVIDED != 0 {
            divisor = reader.varint()?.max(1);
        }
    }
    Ok(Head { min, range, divisor })
}

/// The smallest and largest value, when the stream says.
pub(super) fn range(reader: &mut Reader<'_>) -> Result<Option<(i128, i128)>, Fault> {
    let tag = reader.byte()?;
    if !matches!(tag & !DIVIDED, CONST | FRAME | DELTA) {
        return Ok(None);
    }
    let head = head(tag, reader)?;
    Ok(head.min.checked_add(i128::from(head.range)).map(|max| (head.min, max)))
}

/// Distances from the smallest into `numbers`. Gives the smallest; `None` when the stream is of another sort.
fn get_distances(
    tag: u8,
    reader: &mut Reader<'_>,
    count: usize,
    numbers: &mut Vec<u64>,
) -> Result<Option<i128>, Fault> {
    if !matches!(tag & !DIVIDED, CONST | FRAME | DELTA) {
        return Ok(None);
    }
    let head = head(tag, reader)?;
    match tag & !DIVIDED {
        CONST => {
            numbers.clear();
            numbers.resize(count, 0);
        }
        FRAME => bits::unpack(reader, count, width(head.range / head.divisor), numbers)?,
        _ => {
            let first = reader.varint()?;
            let low = unzigzag(reader.varint128()?) as u64;
            let step = u32::from(reader.byte()?);
            bits::unpack(reader, count - 1, step, numbers)?;
            let mut last = first;
            for n in numbers.iter_mut() {
                // What stands here is the number before; the last one is appended.
                let next = last.wrapping_add(low).wrapping_add(*n);
                *n = last;
                last = next;
            }
            numbers.push(last);
        }
    }
    if head.divisor > 1 {
        numbers.iter_mut().for_each(|n| *n = n.wrapping_mul(head.divisor));
    }
    Ok(Some(head.min))
}

/// Numbers of [`put_numbers`] into `numbers`.
pub(super) fn get_numbers(reader: &mut Reader<'_>, count: usize, numbers: &mut Vec<u64>) -> Result<(), Fault> {
    if count == 0 {
        numbers.clear();
        return Ok(());
    }
    let tag = reader.byte()?;
    let min = get_distances(tag, reader, count, numbers)?.ok_or("numbers are stored in an unknown way")?;
    numbers.iter_mut().for_each(|n| *n = n.wrapping_add(min as u64));
    Ok(())
}

/// Fills a fixed-width buffer.
pub(super) fn get(kind: Kind, reader: &mut Reader<'_>, out: &mut [u8], scratch: &mut Scratch) -> Result<(), Fault> {
    if out.is_empty() {
        return Ok(());
    }
    let cell = kind.width().ok_or("not of fixed width")?;
    let tag = reader.byte()?;
    if let Some(min) = get_distances(tag, reader, out.len() / cell, &mut scratch.numbers)? {
        write(cell, min, &scratch.numbers, out);
        return Ok(());
    }
    match tag {
        BLOB => blob::get(reader, out, scratch),
        DICT => dict::get_fixed(reader, cell, out, scratch),
        PLANES => get_planes(reader, cell, out, scratch),
        _ => Err(format!("unknown way {tag} to store values")),
    }
}

/// `min` plus distances, as little-endian cells.
fn write(cell: usize, min: i128, numbers: &[u64], out: &mut [u8]) {
    macro_rules! cells {
        ($width:literal, $t:ty) => {
            for (cell, n) in out.as_chunks_mut::<$width>().0.iter_mut().zip(numbers) {
                *cell = (min as $t).wrapping_add(*n as $t).to_le_bytes();
            }
        };
    }
    match cell {
        1 => cells!(1, u8),
        2 => cells!(2, u16),
        4 => cells!(4, u32),
        8 => cells!(8, u64),
        16 => cells!(16, i128),
        _ => {
            for (cell, n) in out.chunks_exact_mut(cell).zip(numbers) {
                let value = min.wrapping_add(i128::from(*n));
                let (low, high) = cell.split_at_mut(16);
                low.copy_from_slice(&value.to_le_bytes());
                high.fill(if value < 0 { 0xff } else { 0 });
            }
        }
    }
}

fn get_planes(reader: &mut Reader<'_>, cell: usize, out: &mut [u8], scratch: &mut Scratch) -> Result<(), Fault> {
    let paying = reader.varint()?;
    let count = out.len() / cell;
    let mut planes = std::mem::take(&mut scratch.bytes);
    planes.clear();
    let chosen = (0..cell).filter(|plane| paying >> plane & 1 == 1).count();
    planes.resize(chosen * count, 0);
    blob::get(reader, &mut planes, scratch)?;
    let plain = reader.take((cell - chosen) * count)?;
    let (mut planes_at, mut plain_at) = (0, 0);
    for plane in 0..cell {
        let (from, at) = if paying >> plane & 1 == 1 { (&planes[..], &mut planes_at) } else { (plain, &mut plain_at) };
        for (cell, byte) in out.chunks_exact_mut(cell).zip(&from[*at..*at + count]) {
            cell[plane] = *byte;
        }
        *at += count;
    }
    scratch.bytes = planes;
    Ok(())
}
