//! Nodes as streams: validity first, then what the kind says, then children.
//!
//! A reader knows the shape, so streams say nothing about lengths that the shape says.

use super::blob::{self, Scratch};
use super::dict::{self, Dictionary};
use super::ints;
use crate::leaf::layout::{Kind, Node, bit, pad};
use crate::leaf::wire::{Fault, Reader};

const PLAIN: u8 = 0;
const DICT: u8 = 1;

/// Appends a node's buffers.
pub(crate) fn put(node: &Node<&[u8]>, out: &mut Vec<u8>, scratch: &mut Scratch) {
    if let Some(bits) = node.validity {
        blob::put(bits, out, scratch);
    }
    match node.kind {
        Kind::Bits => blob::put(node.values, out, scratch),
        Kind::Text | Kind::Bytes => put_text(node, out, scratch),
        Kind::List => put_lengths(node, out, scratch),
        Kind::FixedList(_) | Kind::Struct(_) => {}
        kind => match (node.validity, kind) {
            (Some(bits), Kind::Int(_) | Kind::UInt(_)) => {
                let filled = fill_nulls(node, bits);
                ints::put(kind, &filled, out, scratch);
            }
            _ => ints::put(kind, node.values, out, scratch),
        },
    }
    node.children.iter().for_each(|child| put(child, out, scratch));
}

/// Values with each null slot a copy of the one before it, so that zeroes do not widen the range.
fn fill_nulls(node: &Node<&[u8]>, bits: &[u8]) -> Vec<u8> {
    let width = node.kind.width().expect("integers have a width");
    let mut values = node.values.to_vec();
    let first = (0..node.len).find(|i| bit(bits, *i)).unwrap_or(0);
    for i in (0..node.len).filter(|i| !bit(bits, *i)) {
        let from = if i < first { first } else { i.saturating_sub(1) };
        values.copy_within(from * width..(from + 1) * width, i * width);
    }
    values
}

fn put_lengths(node: &Node<&[u8]>, out: &mut Vec<u8>, scratch: &mut Scratch) {
    let offsets = node.values.as_chunks::<4>().0;
    let pairs = offsets.iter().zip(&offsets[1..]);
    scratch.numbers.clear();
    scratch.numbers.extend(pairs.map(|(a, b)| u64::from(u32::from_le_bytes(*b) - u32::from_le_bytes(*a))));
    ints::put_numbers(out, &mut scratch.numbers);
}

fn put_text(node: &Node<&[u8]>, out: &mut Vec<u8>, scratch: &mut Scratch) {
    if node.len == 0 {
        return;
    }
    if let Some(dictionary) = Dictionary::find((0..node.len).map(|i| &node.data[node.span(i)])) {
        out.push(DICT);
        return dict::put_text(&dictionary, out, scratch);
    }
    out.push(PLAIN);
    put_lengths(node, out, scratch);
    blob::put(node.data, out, scratch);
}

/// Fills the buffers of a shape from the front of `out`, each padded, and moves `out` on. `out` is zeroed and has room.
pub(crate) fn get(
    shape: &Node<()>,
    reader: &mut Reader<'_>,
    out: &mut &mut [u8],
    scratch: &mut Scratch,
) -> Result<(), Fault> {
    let validity = match shape.validity {
        None => None,
        Some(()) => {
            let bits = split(out, shape.len.div_ceil(8))?;
            blob::get(reader, bits, scratch)?;
            Some(bits)
        }
    };
    let values = split(out, shape.values_len())?;
    let data = split(out, shape.data_len)?;
    match shape.kind {
        Kind::Bits => blob::get(reader, values, scratch)?,
        Kind::Text | Kind::Bytes => get_text(reader, shape.len, values, data, scratch)?,
        Kind::List => get_lengths(reader, shape.len, shape.children[0].len, values, scratch)?,
        Kind::FixedList(_) | Kind::Struct(_) => {}
        kind => {
            ints::get(kind, reader, values, scratch)?;
            if let (Some(bits), Some(width)) = (validity, kind.width()) {
                for (i, slot) in values.chunks_exact_mut(width).enumerate() {
                    if !bit(bits, i) {
                        slot.fill(0);
                    }
                }
            }
        }
    }
    shape.children.iter().try_for_each(|child| get(child, reader, out, scratch))
}

fn get_text(
    reader: &mut Reader<'_>,
    len: usize,
    offsets: &mut [u8],
    data: &mut [u8],
    scratch: &mut Scratch,
) -> Result<(), Fault> {
    if len == 0 {
        return if data.is_empty() { Ok(()) } else { Err("data without cells".to_owned()) };
    }
    match reader.byte()? {
        PLAIN => {
            get_lengths(reader, len, data.len(), offsets, scratch)?;
            blob::get(reader, data, scratch)
        }
        DICT => dict::get_text(reader, offsets, data, scratch),
        tag => Err(format!("unknown way {tag} to store text")),
    }
}

/// Fills offsets from lengths that add up to `end`.
fn get_lengths(
    reader: &mut Reader<'_>,
    len: usize,
    end: usize,
    offsets: &mut [u8],
    scratch: &mut Scratch,
) -> Result<(), Fault> {
    ints::get_numbers(reader, len, &mut scratch.numbers)?;
    let mut at = 0_u64;
    for (offset, length) in offsets[4..].as_chunks_mut::<4>().0.iter_mut().zip(&scratch.numbers) {
        at = at.saturating_add(*length);
        *offset = (at as u32).to_le_bytes();
    }
    if at == end as u64 { Ok(()) } else { Err("lengths do not add up".to_owned()) }
}

/// Takes `len` bytes and their padding off the front.
fn split<'a>(out: &mut &'a mut [u8], len: usize) -> Result<&'a mut [u8], Fault> {
    let (piece, rest) =
        std::mem::take(out).split_at_mut_checked(pad(len)).ok_or("a leaf is too small for its columns")?;
    *out = rest;
    Ok(&mut piece[..len])
}
