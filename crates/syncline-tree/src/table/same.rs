//! Whether a row is the same in two versions of a table, each with a schema of its own.
//!
//! Cells are compared as they are kept, never as they are shown: 0.0 and -0.0, or JSON that says one thing in two ways, are different
//! cells. Owns nothing.

use arrow_array::{Array, ArrayRef};
use arrow_cast::{CastOptions, cast_with_options};

use super::Rows;
use crate::content::ContentRef;
use crate::schema::{Column, Schema};
use crate::{Error, Result};

/// The columns whose cells differ between two versions of one row: those of the new version in its order, then those that only the
/// old one has. Each side holds that row alone.
///
/// Columns are matched as everywhere, by origin. A column that one side lacks is null there, and a value is the same under a wider type;
/// so columns that were renamed, added or widened make no difference.
///
/// # Errors
/// `corrupt` when the rows are not of their schemas.
pub fn differing<'a>(old: (&'a Schema, &Rows), new: (&'a Schema, &Rows)) -> Result<Vec<&'a Column>> {
    let matched = new.0.matches(old.0);
    let mut found = Vec::new();
    for column in &new.0.columns {
        let there = match matched.get(&column.id) {
            Some(id) => cell(old, *id)?,
            None => None,
        };
        if !same(there, cell(new, column.id)?)? {
            found.push(column);
        }
    }
    for column in old.0.columns.iter().filter(|column| !matched.values().any(|id| *id == column.id)) {
        if cell(old, column.id)?.is_some() {
            found.push(column);
        }
    }
    Ok(found)
}

/// A cell that is not null.
struct Cell<'a> {
    column: &'a Column,
    value: ArrayRef,
    /// Where it is when it is not in `value`.
    content: Option<ContentRef>,
}

fn cell<'a>((schema, rows): (&'a Schema, &Rows), id: u32) -> Result<Option<Cell<'a>>> {
    let array = schema.position(id).and_then(|i| Some((&schema.columns[i], rows.batch.columns().get(i)?)));
    let (column, array) = array
        .filter(|(_, array)| array.len() == 1)
        .ok_or_else(|| Error::corrupt(format!("a row has no cell in column {id} of its schema")))?;
    let content = rows.externals.iter().find(|external| external.column == id).map(|external| external.content);
    Ok((content.is_some() || array.is_valid(0)).then(|| Cell { column, value: array.clone(), content }))
}

fn same(old: Option<Cell<'_>>, new: Option<Cell<'_>>) -> Result<bool> {
    let (old, new) = match (old, new) {
        (Some(old), Some(new)) => (old, new),
        (old, new) => return Ok(old.is_none() && new.is_none()),
    };
    if old.content != new.content {
        return Ok(false);
    }
    // Either type may be the wider one: a table can be rolled back to before its column was widened.
    let (narrow, wide) = if old.column.ty.widens_to(&new.column.ty) { (old, new) } else { (new, old) };
    if narrow.value.data_type() == wide.value.data_type() {
        return Ok(narrow.value.to_data() == wide.value.to_data());
    }
    let options = CastOptions { safe: false, ..CastOptions::default() };
    let value = cast_with_options(&narrow.value, wide.value.data_type(), &options).map_err(|error| {
        let (name, ty) = (&narrow.column.name, &wide.column.ty);
        Error::corrupt(format!("comparing a cell of column {name:?} as {ty}: {error}"))
    })?;
    Ok(value.to_data() == wide.value.to_data())
}

#[cfg(test)]
mod tests;
