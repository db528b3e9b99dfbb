//! One schema out of three: what both sides did to the columns.
//!
//! Owns nothing.

use std::collections::BTreeMap;

use crate::schema::{Column, Schema};
use crate::{Error, Result};

/// The schema with what both sides changed since `base`, and new ids for columns of `theirs` that were given ids which mean
/// other columns here. A column that both added under one name with one type is one column.
///
/// # Errors
/// `conflict` when the sides changed one column differently.
pub fn merge_schemas(base: &Schema, ours: &Schema, theirs: &Schema) -> Result<(Schema, BTreeMap<u32, u32>)> {
    let mut renumbered = BTreeMap::new();
    if theirs == base || theirs == ours {
        return Ok((ours.clone(), renumbered));
    }
    if ours.key != theirs.key || ours.leaf_rows != theirs.leaf_rows {
        return Err(Error::Conflict(
            "merging two versions of a table: their keys or leaf sizes differ; import one of them anew".to_owned(),
        ));
    }
    let mut columns = Vec::new();
    for column in &ours.columns {
        match (by_id(base, column.id), by_id(theirs, column.id)) {
            (Some(_), None) => {}
            (Some(base), Some(theirs)) => columns.push(merge_column(base, column, theirs)?),
            (None, _) => columns.push(column.clone()),
        }
    }
    // No id that any side has ever given is given again.
    let mut next = base.next_id().max(ours.next_id()).max(theirs.next_id());
    for column in theirs.columns.iter().filter(|column| by_id(base, column.id).is_none()) {
        let id = match columns.iter().find(|have| have.name == column.name) {
            Some(have) if have.ty == column.ty && by_id(base, have.id).is_none() => have.id,
            Some(_) => return Err(differs(&column.name)),
            None if columns.iter().all(|have| have.id != column.id) => {
                columns.push(column.clone());
                continue;
            }
            None => {
                let id = next;
                next = next.saturating_add(1);
                columns.push(Column { id, ..column.clone() });
                id
            }
        };
        if id != column.id {
            renumbered.insert(column.id, id);
        }
    }
    columns.sort_unstable_by_key(|column| column.id);
    let mut merged = Schema { columns, key: ours.key.clone(), leaf_rows: ours.leaf_rows, next_id: None };
    merged.set_next_id(next);
    merged.check().map_err(|error| Error::Conflict(format!("merging two versions of a table: {error}")))?;
    Ok((merged, renumbered))
}

fn by_id(schema: &Schema, id: u32) -> Option<&Column> {
    schema.position(id).map(|i| &schema.columns[i])
}

fn differs(name: &str) -> Error {
    Error::Conflict(format!(
        "merging two versions of a table: column {name:?} was changed on both sides, differently; make one side follow the other"
    ))
}

/// A column that all three have.
fn merge_column(base: &Column, ours: &Column, theirs: &Column) -> Result<Column> {
    fn pick<'a, T: PartialEq>(base: &T, ours: &'a T, theirs: &'a T) -> Option<&'a T> {
        match (ours == base, theirs == base) {
            (_, true) => Some(ours),
            (true, false) => Some(theirs),
            (false, false) => (ours == theirs).then_some(ours),
        }
    }
    Ok(Column {
        id: ours.id,
        name: pick(&base.name, &ours.name, &theirs.name).ok_or_else(|| differs(&base.name))?.clone(),
        ty: pick(&base.ty, &ours.ty, &theirs.ty).ok_or_else(|| differs(&base.name))?.clone(),
        nullable: ours.nullable || theirs.nullable,
    })
}

/// A schema with other ids for some columns.
pub(super) fn renumber(schema: &Schema, renumbered: &BTreeMap<u32, u32>) -> Schema {
    let mut schema = schema.clone();
    for column in &mut schema.columns {
        column.id = renumbered.get(&column.id).copied().unwrap_or(column.id);
    }
    schema
}
