//! Arrow arrays to canonical nodes: offsets from 0, null slots zeroed, bitmaps only where there are nulls.
//!
//! Buffers that are canonical already are shared with the array, not copied. A slot below a null parent is "a valid
//! zero": so a nested child has a bitmap only for nulls of its own.

use arrow_array::cast::AsArray;
use arrow_array::{Array, ArrayRef, UInt32Array};
use arrow_buffer::{BooleanBuffer, Buffer, NullBuffer, OffsetBuffer, ScalarBuffer};

use super::layout::{Kind, MAX_LEAF, Node, clear_tail};
use crate::schema::Type;
use crate::{Error, Result};

/// The node kind of a type.
pub(crate) fn kind_of(ty: &Type) -> Kind {
    match ty {
        Type::Bool => Kind::Bits,
        Type::Int8 => Kind::Int(0),
        Type::Int16 => Kind::Int(1),
        Type::Int32 | Type::Date32 => Kind::Int(2),
        Type::Int64 | Type::Timestamp { .. } => Kind::Int(3),
        Type::Time { unit } => Kind::Int(if unit.is_coarse() { 2 } else { 3 }),
        Type::UInt8 => Kind::UInt(0),
        Type::UInt16 => Kind::UInt(1),
        Type::UInt32 => Kind::UInt(2),
        Type::UInt64 => Kind::UInt(3),
        Type::Float16 | Type::BFloat16 => Kind::Float(1),
        Type::Float32 => Kind::Float(2),
        Type::Float64 => Kind::Float(3),
        Type::Decimal128 { .. } => Kind::Int(4),
        Type::Decimal256 { .. } => Kind::Int(5),
        Type::Uuid => Kind::Opaque(4),
        Type::Utf8 | Type::Json => Kind::Text,
        Type::Binary => Kind::Bytes,
        Type::List(_) | Type::Map { .. } => Kind::List,
        Type::FixedSizeList(_, size) => Kind::FixedList(*size),
        Type::Struct(fields) => Kind::Struct(fields.len() as u32),
    }
}

/// The canonical node of an array of Arrow type `ty.arrow()`.
pub(crate) fn import(ty: &Type, array: &ArrayRef) -> Result<Node<Buffer>> {
    node(ty, array, None)
}

/// `live`: slots that are not below a null parent.
fn node(ty: &Type, array: &ArrayRef, live: Option<&NullBuffer>) -> Result<Node<Buffer>> {
    let len = array.len();
    if len > MAX_LEAF {
        return Err(Error::invalid(format!("a leaf cannot hold {len} values in one column: use smaller lists")));
    }
    let own = array.nulls().filter(|nulls| nulls.null_count() > 0);
    let keep = NullBuffer::union(own, live);
    let keep = keep.as_ref().filter(|nulls| nulls.null_count() > 0);
    let validity = match (own, live) {
        (Some(own), Some(live)) => Some(own.inner() | &!live.inner()).filter(|bits| bits.count_set_bits() < len),
        (own, _) => own.map(|own| own.inner().clone()),
    };
    let kind = kind_of(ty);
    let mut node = Node {
        kind,
        len,
        validity: validity.map(|bits| bitmap(&bits)),
        values: Buffer::default(),
        data: Buffer::default(),
        data_len: 0,
        children: Vec::new(),
    };
    match ty {
        Type::Bool => {
            let bits = array.as_boolean().values();
            node.values = keep.map_or_else(|| bitmap(bits), |keep| bitmap(&(bits & keep.inner())));
        }
        Type::Utf8 | Type::Json => {
            let text = array.as_string::<i32>();
            (node.values, node.data) = bytes(text.offsets(), text.values(), keep)?;
        }
        Type::Binary => {
            let binary = array.as_binary::<i32>();
            (node.values, node.data) = bytes(binary.offsets(), binary.values(), keep)?;
        }
        Type::List(item) => {
            let list = array.as_list::<i32>();
            let (offsets, child) = list_parts(list.offsets(), list.values(), keep)?;
            node.values = offsets;
            node.children.push(self::node(&item.ty, &child, None)?);
        }
        Type::Map { key, value } => {
            let map = array.as_map();
            let entries: ArrayRef = std::sync::Arc::new(map.entries().clone());
            let (offsets, child) = list_parts(map.offsets(), &entries, keep)?;
            node.values = offsets;
            let pair = Type::Struct(vec![(**key).clone(), (**value).clone()]);
            node.children.push(self::node(&pair, &child, None)?);
        }
        Type::FixedSizeList(item, size) => {
            let list = array.as_fixed_size_list();
            let live = keep.map(|keep| keep.expand(*size as usize));
            node.children.push(self::node(&item.ty, list.values(), live.as_ref())?);
        }
        Type::Struct(fields) => {
            for (field, column) in fields.iter().zip(array.as_struct().columns()) {
                node.children.push(self::node(&field.ty, column, keep)?);
            }
        }
        _ => node.values = fixed(array, kind.width().expect("every other type has a fixed width"), keep),
    }
    node.data_len = node.data.len();
    Ok(node)
}

/// Fixed-width values with zeroes in slots that are not kept.
fn fixed(array: &ArrayRef, width: usize, keep: Option<&NullBuffer>) -> Buffer {
    let data = array.to_data();
    let values = data.buffers()[0].slice_with_length(data.offset() * width, data.len() * width);
    let Some(keep) = keep else { return values };
    let mut copy = values.to_vec();
    for (slot, kept) in copy.chunks_exact_mut(width).zip(keep.iter()) {
        if !kept {
            slot.fill(0);
        }
    }
    Buffer::from_vec(copy)
}

/// A bitmap from bit 0 with a clean tail.
fn bitmap(bits: &BooleanBuffer) -> Buffer {
    let len = bits.len();
    let sliced = bits.sliced();
    let mut copy = sliced.as_slice()[..len.div_ceil(8)].to_vec();
    clear_tail(&mut copy, len);
    Buffer::from_vec(copy)
}

fn bytes(offsets: &OffsetBuffer<i32>, data: &Buffer, keep: Option<&NullBuffer>) -> Result<(Buffer, Buffer)> {
    let (first, last) = (offsets[0] as usize, offsets[offsets.len() - 1] as usize);
    if let Some(keep) = keep.filter(|keep| dead_bytes(offsets, keep)) {
        let mut copy = Vec::with_capacity(last - first);
        let mut moved = Vec::with_capacity(offsets.len());
        moved.push(0);
        for (pair, kept) in offsets.windows(2).zip(keep.iter()) {
            if kept {
                copy.extend_from_slice(&data[pair[0] as usize..pair[1] as usize]);
            }
            moved.push(copy.len() as i32);
        }
        return Ok((Buffer::from_vec(moved), Buffer::from_vec(copy)));
    }
    Ok((rebased(offsets), data.slice_with_length(first, last - first)))
}

/// Whether a slot that is not kept has bytes.
fn dead_bytes(offsets: &OffsetBuffer<i32>, keep: &NullBuffer) -> bool {
    offsets.windows(2).zip(keep.iter()).any(|(pair, kept)| !kept && pair[0] != pair[1])
}

fn rebased(offsets: &OffsetBuffer<i32>) -> Buffer {
    let first = offsets[0];
    if first == 0 {
        return offsets.inner().inner().clone();
    }
    Buffer::from_vec(offsets.iter().map(|offset| offset - first).collect::<Vec<i32>>())
}

fn list_parts(offsets: &OffsetBuffer<i32>, child: &ArrayRef, keep: Option<&NullBuffer>) -> Result<(Buffer, ArrayRef)> {
    if let Some(keep) = keep.filter(|keep| dead_bytes(offsets, keep)) {
        let mut indices = Vec::new();
        let mut moved = vec![0_i32];
        for (pair, kept) in offsets.windows(2).zip(keep.iter()) {
            if kept {
                indices.extend(pair[0] as u32..pair[1] as u32);
            }
            moved.push(indices.len() as i32);
        }
        let child = arrow_select::take::take(child, &UInt32Array::from(indices), None)
            .map_err(|error| Error::invalid(format!("cannot compact a list column: {error}")))?;
        return Ok((Buffer::from_vec(moved), child));
    }
    let (first, last) = (offsets[0] as usize, offsets[offsets.len() - 1] as usize);
    Ok((rebased(offsets), child.slice(first, last - first)))
}

/// Offsets as Arrow wants them.
pub(crate) fn offsets(buffer: Buffer, len: usize) -> OffsetBuffer<i32> {
    OffsetBuffer::new(ScalarBuffer::<i32>::new(buffer, 0, len + 1))
}
