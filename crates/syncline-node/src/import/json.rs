//! Cells that keep JSON: which text a table keeps of them, whatever the format they came in.
//!
//! The text stays as it is written (order and repetition of keys, digits, escapes, spaces between tokens), but for what
//! not every format can give back: white space around it goes, line ends between tokens become spaces (NDJSON has one
//! line for a record), and JSON's own `null` is a null where a null is allowed. So every format exports what imports as
//! the same cell.

use std::sync::Arc;

use arrow_array::builder::StringBuilder;
use arrow_array::cast::AsArray as _;
use arrow_array::{Array, ArrayRef, FixedSizeListArray, ListArray, MapArray, StructArray};
use arrow_buffer::{NullBuffer, OffsetBuffer};
use arrow_schema::DataType;
use syncline_tree::schema::{Field, Type};

use super::column::OnBad;
use super::ndjson;

/// JSON's null.
pub(super) const NULL: &[u8] = b"null";

/// A cell's text without the white space around it, when it is JSON.
///
/// # Errors
/// What is wrong with it.
pub(super) fn check(text: &[u8]) -> Result<&[u8], String> {
    let text = text.trim_ascii();
    match serde_json::from_slice::<serde::de::IgnoredAny>(text) {
        Ok(_) => Ok(text),
        Err(error) => Err(ndjson::plain(&error)),
    }
}

/// The bytes to keep of checked text: it has no line ends inside of its strings.
pub(super) fn on_one_line(text: &[u8]) -> impl Iterator<Item = u8> {
    text.iter().map(|byte| if matches!(byte, b'\n' | b'\r') { b' ' } else { *byte })
}

fn holds_json(ty: &Type) -> bool {
    match ty {
        Type::Json => true,
        Type::List(item) | Type::FixedSizeList(item, _) => holds_json(&item.ty),
        Type::Struct(fields) => fields.iter().any(|field| holds_json(&field.ty)),
        Type::Map { value, .. } => holds_json(&value.ty),
        _ => false,
    }
}

/// An array of the type with the JSON in it checked and brought into the form that tables keep.
pub(super) fn checked(array: &ArrayRef, ty: &Type, nullable: bool, bad: &mut OnBad<'_>) -> ArrayRef {
    if !holds_json(ty) {
        return array.clone();
    }
    match (ty, array.data_type()) {
        (Type::Json, DataType::Utf8) => cells(array, nullable, bad),
        (Type::List(item), DataType::List(field)) => {
            let list = array.as_list::<i32>();
            let (offsets, values) = children(list.offsets(), list.values(), list.nulls(), item, bad);
            Arc::new(ListArray::new(field.clone(), offsets, values, list.nulls().cloned()))
        }
        (Type::FixedSizeList(item, _), DataType::FixedSizeList(field, size)) => {
            let list = array.as_fixed_size_list();
            let width = usize::try_from(*size).unwrap_or(0).max(1);
            let values = checked(list.values(), &item.ty, item.nullable, &mut |child, reason| {
                tell(list.nulls(), child / width, reason, bad);
            });
            Arc::new(FixedSizeListArray::new(field.clone(), *size, values, list.nulls().cloned()))
        }
        (Type::Struct(members), DataType::Struct(fields)) => {
            let pack = array.as_struct();
            let arrays = members.iter().zip(pack.columns()).map(|(member, column)| {
                checked(column, &member.ty, member.nullable, &mut |row, reason| tell(pack.nulls(), row, reason, bad))
            });
            let arrays = arrays.collect();
            Arc::new(StructArray::new(fields.clone(), arrays, pack.nulls().cloned()))
        }
        (Type::Map { value, .. }, DataType::Map(entries, sorted)) => {
            let map = array.as_map();
            let (offsets, values) = children(map.offsets(), map.values(), map.nulls(), value, bad);
            let first = usize::try_from(map.offsets()[0]).unwrap_or(0);
            let keys = map.keys().slice(first, values.len());
            let pairs = StructArray::new(map.entries().fields().clone(), vec![keys, values], None);
            Arc::new(MapArray::new(entries.clone(), offsets, pairs, map.nulls().cloned(), *sorted))
        }
        _ => array.clone(),
    }
}

/// What does not fit counts only in rows that are there.
fn tell(nulls: Option<&NullBuffer>, row: usize, reason: String, bad: &mut OnBad<'_>) {
    if nulls.is_none_or(|nulls| nulls.is_valid(row)) {
        bad(row, reason);
    }
}

/// The items that the offsets reach, checked, and the offsets into them.
fn children(
    offsets: &OffsetBuffer<i32>,
    values: &ArrayRef,
    nulls: Option<&NullBuffer>,
    item: &Field,
    bad: &mut OnBad<'_>,
) -> (OffsetBuffer<i32>, ArrayRef) {
    let lengths: Vec<usize> = offsets.lengths().collect();
    let owners: Vec<usize> =
        lengths.iter().enumerate().flat_map(|(row, length)| std::iter::repeat_n(row, *length)).collect();
    let reached = values.slice(usize::try_from(offsets[0]).unwrap_or(0), owners.len());
    let values = checked(&reached, &item.ty, item.nullable, &mut |child, reason| {
        tell(nulls, owners[child], reason, bad);
    });
    (OffsetBuffer::from_lengths(lengths), values)
}

fn cells(array: &ArrayRef, nullable: bool, bad: &mut OnBad<'_>) -> ArrayRef {
    let texts = array.as_string::<i32>();
    let mut kept = StringBuilder::with_capacity(texts.len(), texts.value_data().len().min(1 << 24));
    for (row, text) in texts.iter().enumerate() {
        match text.map(|text| check(text.as_bytes())) {
            None => kept.append_null(),
            Some(Ok(NULL)) if nullable => kept.append_null(),
            Some(Ok(text)) => kept.append_value(String::from_utf8_lossy(&on_one_line(text).collect::<Vec<_>>())),
            Some(Err(reason)) => {
                bad(row, reason);
                // The row goes; what stands here has to be allowed, no more.
                kept.append_value("null");
            }
        }
    }
    Arc::new(kept.finish())
}
