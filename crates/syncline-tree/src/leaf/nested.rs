//! Long lists and maps as bytes: how such a cell lies outside of its leaf.
//!
//! Format: `docs/format/leaf.md`, "External". Owns nothing. The form of a cell is a leaf of this one cell, so equal cells have
//! equal bytes.
//!
//! Not here: long texts and bytes, which are their own form (`super::external`).

use std::ops::Range;

use arrow_array::cast::AsArray;
use arrow_array::{Array, ArrayRef, make_array};
use arrow_buffer::{Buffer, OffsetBuffer};
use arrow_data::ArrayData;
use arrow_schema::{ArrowError, DataType};
use arrow_select::interleave::interleave;
use bytes::Bytes;

use super::{External, INLINE_MAX, Leaf, assemble, node_with_nulls};
use crate::content::ContentRef;
use crate::schema::{Column, Schema, Type};
use crate::{Error, Result};

/// What a node of a cell's form takes at most besides its values: its shape, an offset, the ends of bitmaps, padding.
const NODE: usize = 80;

/// Whether long cells of this type lie outside in the form that this module gives them.
pub(super) const fn is_nested(ty: &Type) -> bool {
    matches!(ty, Type::List(_) | Type::Map { .. })
}

/// Moves long cells out of a column: `put` stores their bytes. The column without them; `None` when there are none.
pub(super) fn externalise(
    column: &Column,
    array: &ArrayRef,
    put: &mut impl FnMut(&[u8]) -> Result<ContentRef>,
    externals: &mut Vec<External>,
) -> Result<Option<ArrayRef>> {
    let mut places: Vec<(usize, usize)> = Vec::new();
    for row in 0..array.len() {
        if array.is_null(row) || bound(array, row..row + 1) <= INLINE_MAX {
            continue;
        }
        let bytes = assemble(1, &[(0, node_with_nulls(column, &array.slice(row, 1))?)], &[])?;
        if bytes.len() > INLINE_MAX {
            externals.push(External { column: column.id, row: row as u32, content: put(&bytes)? });
            if places.is_empty() {
                places = (0..array.len()).map(|row| (0, row)).collect();
            }
            places[row] = (1, 0);
        }
    }
    if places.is_empty() {
        return Ok(None);
    }
    let empty = empty(array.data_type()).map_err(|error| failed(column, &error))?;
    interleave(&[array, &empty], &places).map(Some).map_err(|error| failed(column, &error))
}

/// Puts long cells back into a column: `get` reads their bytes.
pub(super) fn internalise(
    column: &Column,
    array: &ArrayRef,
    externals: impl Iterator<Item = External>,
    get: &mut impl FnMut(&ContentRef) -> Result<Bytes>,
) -> Result<ArrayRef> {
    let only = Column { id: 0, ..column.clone() };
    let schema = Schema { columns: vec![only], key: Vec::new(), leaf_rows: 16, next_id: None };
    let mut cells = vec![array.clone()];
    let mut places: Vec<(usize, usize)> = (0..array.len()).map(|row| (0, row)).collect();
    for external in externals {
        let leaf = Leaf::parse(get(&external.content)?)?;
        let cell = leaf.batch(&schema, None)?.column(0).clone();
        let place = places.get_mut(external.row as usize).filter(|_| cell.len() == 1 && cell.is_valid(0));
        let Some(place) = place else {
            let name = &column.name;
            return Err(Error::corrupt(format!("an external cell of column {name:?} is not one list for a row")));
        };
        *place = (cells.len(), 0);
        cells.push(cell);
    }
    let cells: Vec<&dyn Array> = cells.iter().map(AsRef::as_ref).collect();
    interleave(&cells, &places).map_err(|error| failed(column, &error))
}

fn failed(column: &Column, error: &ArrowError) -> Error {
    Error::invalid(format!("large cells of column {:?} cannot be moved: {error}", column.name))
}

/// One cell with nothing in it, of a list or a map.
fn empty(data_type: &DataType) -> Result<ArrayRef, ArrowError> {
    let (DataType::List(item) | DataType::Map(item, _)) = data_type else {
        return Err(ArrowError::InvalidArgumentError(format!("{data_type} is neither a list nor a map")));
    };
    let offsets = Buffer::from_vec(vec![0_i32, 0]);
    let data = ArrayData::builder(data_type.clone()).len(1).add_buffer(offsets);
    Ok(make_array(data.add_child_data(ArrayData::new_empty(item.data_type())).build()?))
}

/// No cell's form is longer than this. What lies under nulls counts too, so it may well be shorter.
fn bound(array: &dyn Array, slots: Range<usize>) -> usize {
    let count = slots.len();
    let inside = |offsets: &OffsetBuffer<i32>| offsets[slots.start] as usize..offsets[slots.end] as usize;
    let values = match array.data_type() {
        DataType::Utf8 => 4 * count + inside(array.as_string::<i32>().offsets()).len(),
        DataType::Binary => 4 * count + inside(array.as_binary::<i32>().offsets()).len(),
        DataType::List(_) => {
            let list = array.as_list::<i32>();
            4 * count + bound(list.values(), inside(list.offsets()))
        }
        DataType::Map(..) => {
            let map = array.as_map();
            4 * count + bound(map.entries(), inside(map.offsets()))
        }
        DataType::FixedSizeList(_, size) => {
            let size = usize::try_from(*size).unwrap_or(0);
            bound(array.as_fixed_size_list().values(), slots.start * size..slots.end * size)
        }
        DataType::Struct(_) => array.as_struct().columns().iter().map(|column| bound(column, slots.clone())).sum(),
        DataType::FixedSizeBinary(width) => count * usize::try_from(*width).unwrap_or(0),
        other => count * other.primitive_width().unwrap_or(1),
    };
    NODE + count.div_ceil(8) + values
}
