//! Long cells of nested types as bytes: how such a cell lies outside of its leaf.
//!
//! Format: `docs/format/leaf.md`, "External". Owns nothing. The form of a cell is a leaf of this one cell, so equal cells have
//! equal bytes. What stays in the leaf is a blank cell: valid, and so is all that its type puts into it: zeroes, and nothing in
//! lists, texts and bytes. A type may be wide by itself (a fixed list of a million floats): a blank cell is as wide, so what
//! counts is by how much the cell is longer than a blank one.
//!
//! Not here: long texts and bytes, which are their own form (`super::external`).

use arrow_array::{Array, ArrayRef};
use arrow_buffer::{Buffer, MutableBuffer};
use arrow_schema::ArrowError;
use arrow_select::interleave::interleave;
use bytes::Bytes;

use super::import::kind_of;
use super::layout::Node;
use super::{External, INLINE_MAX, Leaf, assemble, bound, export, head_len, node_with_nulls, shapes};
use crate::content::ContentRef;
use crate::schema::{Column, Schema, Type};
use crate::{Error, Result};

/// Whether long cells of this type lie outside in the form that this module gives them.
pub(super) const fn is_nested(ty: &Type) -> bool {
    matches!(ty, Type::List(_) | Type::Map { .. } | Type::Struct(_) | Type::FixedSizeList(..))
}

/// Moves long cells out of a column: `put` stores their bytes. The column without them; `None` when there are none.
pub(super) fn externalise(
    column: &Column,
    array: &ArrayRef,
    put: &mut impl FnMut(&[u8]) -> Result<ContentRef>,
    externals: &mut Vec<External>,
) -> Result<Option<ArrayRef>> {
    if bound::longest(array, 0..array.len()) <= INLINE_MAX {
        return Ok(None);
    }
    let blank = blank(&column.ty, 1);
    let most = form_len(&blank) + INLINE_MAX;
    let mut places: Vec<(usize, usize)> = Vec::new();
    for row in 0..array.len() {
        if array.is_null(row) || bound::together(array, row..row + 1, false) <= INLINE_MAX {
            continue;
        }
        let node = node_with_nulls(column, &array.slice(row, 1))?;
        if form_len(&node) > most {
            let bytes = assemble(1, &[(0, node)], &[])?;
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
    let blank = export(column, array.data_type(), Some(&blank), 1)?;
    interleave(&[array, &blank], &places).map(Some).map_err(|error| failed(column, &error))
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
        let one = leaf.externals().is_empty() && cell.len() == 1 && cell.is_valid(0);
        let Some(place) = places.get_mut(external.row as usize).filter(|_| one) else {
            let name = &column.name;
            return Err(Error::corrupt(format!("an external cell of column {name:?} is not one value for a row")));
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

/// How many bytes the form of a cell has.
fn form_len(cell: &Node<Buffer>) -> usize {
    let shape = [(0, cell.map(&mut |_| ()))];
    head_len(shapes(&shape).len(), 0) + cell.size()
}

/// Slots with nothing in them but what the type fixes, and that is zeroes.
pub(super) fn blank(ty: &Type, len: usize) -> Node<Buffer> {
    let children = match ty {
        Type::List(item) => vec![blank(&item.ty, 0)],
        Type::Map { key, value } => vec![blank(&Type::Struct(vec![(**key).clone(), (**value).clone()]), 0)],
        Type::FixedSizeList(item, size) => vec![blank(&item.ty, len * *size as usize)],
        Type::Struct(fields) => fields.iter().map(|field| blank(&field.ty, len)).collect(),
        _ => Vec::new(),
    };
    let mut node = Node {
        kind: kind_of(ty),
        len,
        validity: None,
        values: Buffer::default(),
        data: Buffer::default(),
        data_len: 0,
        children,
    };
    node.values = MutableBuffer::from_len_zeroed(node.values_len()).into();
    node
}
