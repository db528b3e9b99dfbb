//! Bit-packing: numbers of 0 to 64 bits each, one after the other, least significant bit first.
//!
//! Eight numbers of b bits are exactly b bytes, so a group of eight starts at a byte and its shifts are constants for
//! each b: one specialised loop per width.

use crate::leaf::wire::{Fault, Reader};

const GROUP: usize = 8;

/// Bits the number needs.
pub(super) const fn width(value: u64) -> u32 {
    u64::BITS - value.leading_zeros()
}

/// Bytes `count` numbers of `bits` bits take.
pub(super) const fn packed_len(count: usize, bits: u32) -> usize {
    (count * bits as usize).div_ceil(8)
}

/// Calls a function with its constant parameter taken from a variable of 1 to 64.
macro_rules! for_width {
    (@ $bits:expr, $name:ident $args:tt, $($b:literal)*) => {
        match $bits {
            $($b => $name::<$b> $args,)*
            _ => $name::<64> $args,
        }
    };
    ($bits:expr, $name:ident $args:tt) => {
        for_width!(@ $bits, $name $args, 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20 21 22 23 24 25 26 27 28 29 30
            31 32 33 34 35 36 37 38 39 40 41 42 43 44 45 46 47 48 49 50 51 52 53 54 55 56 57 58 59 60 61 62 63)
    };
}

/// Appends numbers, each less than `1 << bits`.
pub(super) fn pack(values: &[u64], bits: u32, out: &mut Vec<u8>) {
    if bits == 0 {
        return;
    }
    let start = out.len();
    let len = packed_len(values.len(), bits);
    // A whole group is written at a time, eight bytes at a time.
    out.resize(start + packed_len(values.len().next_multiple_of(GROUP), bits) + 8, 0);
    for_width!(bits, pack_width(values, &mut out[start..]));
    out.truncate(start + len);
}

fn pack_width<const B: usize>(values: &[u64], out: &mut [u8]) {
    let (groups, rest) = values.as_chunks::<GROUP>();
    let mut at = 0;
    for group in groups {
        pack_group::<B>(group, &mut out[at..]);
        at += B;
    }
    if !rest.is_empty() {
        let mut group = [0; GROUP];
        group[..rest.len()].copy_from_slice(rest);
        pack_group::<B>(&group, &mut out[at..]);
    }
}

#[inline]
fn pack_group<const B: usize>(group: &[u64; GROUP], out: &mut [u8]) {
    let out = &mut out[..B + 7];
    let mut word = 0_u64;
    let mut at = 0;
    for (i, value) in group.iter().enumerate() {
        let shift = i * B % 64;
        word |= value << shift;
        if shift + B >= 64 {
            out[at..at + 8].copy_from_slice(&word.to_le_bytes());
            at += 8;
            // The part that did not fit; nothing when it did, exactly.
            word = if shift == 0 { 0 } else { value >> (64 - shift) };
        }
    }
    let left = B - at;
    if left > 0 {
        out[at..at + left].copy_from_slice(&word.to_le_bytes()[..left]);
    }
}

/// Reads `count` numbers into `out`, replacing what is in it.
pub(super) fn unpack(reader: &mut Reader<'_>, count: usize, bits: u32, out: &mut Vec<u64>) -> Result<(), Fault> {
    if bits > 64 {
        return Err(format!("numbers of {bits} bits"));
    }
    let bytes = reader.take(packed_len(count, bits))?;
    out.clear();
    out.resize(count.next_multiple_of(GROUP), 0);
    if bits > 0 {
        for_width!(bits, unpack_width(bytes, out));
    }
    out.truncate(count);
    Ok(())
}

fn unpack_width<const B: usize>(bytes: &[u8], out: &mut [u64]) {
    let (groups, _) = out.as_chunks_mut::<GROUP>();
    // Groups that can be read without looking over the end.
    let safe = (bytes.len().saturating_sub(8) / B).min(groups.len());
    let (fast, slow) = groups.split_at_mut(safe);
    let mut at = 0;
    for group in fast {
        unpack_group::<B>(&bytes[at..at + B + 8], group);
        at += B;
    }
    for group in slow {
        let mut padded = [0_u8; 72];
        let rest = &bytes[at.min(bytes.len())..bytes.len().min(at + B)];
        padded[..rest.len()].copy_from_slice(rest);
        unpack_group::<B>(&padded[..B + 8], group);
        at += B;
    }
}

#[inline]
fn unpack_group<const B: usize>(bytes: &[u8], group: &mut [u64; GROUP]) {
    let bytes = &bytes[..B + 8];
    let mask = if B == 64 { u64::MAX } else { (1 << B) - 1 };
    for (i, value) in group.iter_mut().enumerate() {
        let (at, shift) = (i * B / 8, i * B % 8);
        let mut eight = [0; 8];
        eight.copy_from_slice(&bytes[at..at + 8]);
        *value = u64::from_le_bytes(eight) >> shift;
        if B + 7 > 64 && shift + B > 64 {
            *value |= u64::from(bytes[at + 8]) << (64 - shift);
        }
        *value &= mask;
    }
}

#[cfg(test)]
mod tests;
