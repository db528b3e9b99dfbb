//! Cells too large for a leaf: moved out before it is built, put back when somebody wants their bytes.
//!
//! Not here: where the bytes go (`crate::content`); this module is given functions that store and read them.

use std::sync::Arc;

use arrow_array::builder::{BinaryBuilder, StringBuilder};
use arrow_array::cast::AsArray;
use arrow_array::{ArrayRef, RecordBatch};
use bytes::Bytes;

use super::nested::{self, is_nested};
use super::{External, INLINE_MAX, position};
use crate::content::ContentRef;
use crate::schema::{Schema, Type};
use crate::{Error, Result};

/// Moves cells longer than [`INLINE_MAX`] out of a conformed batch: `put` stores a cell's bytes, a blank cell stays.
/// Costs one look at the lengths when there are none.
///
/// # Errors
/// Those of `put`.
pub fn externalise(
    schema: &Schema,
    batch: &RecordBatch,
    mut put: impl FnMut(&[u8]) -> Result<ContentRef>,
) -> Result<(RecordBatch, Vec<External>)> {
    let mut externals = Vec::new();
    let mut columns = Vec::new();
    for (i, column) in schema.columns.iter().enumerate() {
        let array = batch.column(i);
        if is_nested(&column.ty) {
            let moved = nested::externalise(column, array, &mut put, &mut externals)?;
            columns.extend(moved.map(|moved| (i, moved)));
            continue;
        }
        if !is_long(&column.ty, array) {
            continue;
        }
        let moved = rebuild(&column.ty, array, |row, cell| {
            if cell.len() <= INLINE_MAX {
                return Ok(None);
            }
            externals.push(External { column: column.id, row: row as u32, content: put(cell)? });
            Ok(Some(Bytes::new()))
        })?;
        columns.push((i, moved));
    }
    Ok((replace(batch, columns)?, externals))
}

/// Puts external cells back into a batch of columns `projection` (ids; `None`: all): `get` reads a cell's bytes.
///
/// # Errors
/// Those of `get`; `corrupt` when bytes read for a text cell are not UTF-8.
pub fn internalise(
    schema: &Schema,
    batch: &RecordBatch,
    projection: Option<&[u32]>,
    externals: &[External],
    mut get: impl FnMut(&ContentRef) -> Result<Bytes>,
) -> Result<RecordBatch> {
    let mut columns = Vec::new();
    for i in 0..batch.num_columns() {
        let column = match projection {
            None => &schema.columns[i],
            Some(ids) => &schema.columns[position(schema, ids[i])?],
        };
        let first = externals.partition_point(|external| external.column < column.id);
        let mut mine = externals[first..].iter().take_while(|external| external.column == column.id).peekable();
        if mine.peek().is_none() {
            continue;
        }
        if is_nested(&column.ty) {
            columns.push((i, nested::internalise(column, batch.column(i), mine.copied(), &mut get)?));
            continue;
        }
        let whole = rebuild(&column.ty, batch.column(i), |row, _| {
            mine.next_if(|external| external.row as usize == row).map(|external| get(&external.content)).transpose()
        })?;
        columns.push((i, whole));
    }
    replace(batch, columns)
}

fn is_long(ty: &Type, array: &ArrayRef) -> bool {
    let offsets = match ty {
        Type::Utf8 | Type::Json => array.as_string::<i32>().offsets(),
        Type::Binary => array.as_binary::<i32>().offsets(),
        _ => return false,
    };
    let whole = (offsets[offsets.len() - 1] - offsets[0]) as usize;
    whole > INLINE_MAX && offsets.windows(2).any(|pair| (pair[1] - pair[0]) as usize > INLINE_MAX)
}

/// The array with the cells for which `change` gives other bytes.
fn rebuild(
    ty: &Type,
    array: &ArrayRef,
    mut change: impl FnMut(usize, &[u8]) -> Result<Option<Bytes>>,
) -> Result<ArrayRef> {
    if let Type::Binary = ty {
        let mut out = BinaryBuilder::new();
        for (row, cell) in array.as_binary::<i32>().iter().enumerate() {
            match cell {
                None => out.append_null(),
                Some(cell) => match change(row, cell)? {
                    None => out.append_value(cell),
                    Some(other) => out.append_value(other),
                },
            }
        }
        return Ok(Arc::new(out.finish()));
    }
    let Some(text) = array.as_string_opt::<i32>() else {
        return Err(Error::corrupt("an external cell in a column that is not text or bytes"));
    };
    let mut out = StringBuilder::new();
    for (row, cell) in text.iter().enumerate() {
        match cell {
            None => out.append_null(),
            Some(cell) => match change(row, cell.as_bytes())? {
                None => out.append_value(cell),
                Some(other) => out.append_value(
                    std::str::from_utf8(&other).map_err(|_| Error::corrupt("an external text cell is not UTF-8"))?,
                ),
            },
        }
    }
    Ok(Arc::new(out.finish()))
}

fn replace(batch: &RecordBatch, columns: Vec<(usize, ArrayRef)>) -> Result<RecordBatch> {
    if columns.is_empty() {
        return Ok(batch.clone());
    }
    let mut arrays = batch.columns().to_vec();
    for (i, array) in columns {
        arrays[i] = array;
    }
    RecordBatch::try_new(batch.schema(), arrays)
        .map_err(|error| Error::invalid(format!("cannot put large cells into a batch: {error}")))
}
