//! One schema out of three: what both sides did to the columns.
//!
//! Ids say which columns are the same when both sides come from one table. Tables that were made apart gave their ids
//! independently: there, names say it.
//! Owns nothing.

use std::collections::BTreeMap;

use crate::schema::{Column, Schema};
use crate::{Error, Result};

/// The schema with what both sides changed since `base`, and new ids for columns of `theirs` that were given ids which mean
/// other columns here. A column that both added under one name with one type is one column. Without a `base` the two tables
/// were made apart, and the result has the columns of both, matched by name.
///
/// # Errors
/// `conflict` when the sides changed one column differently, or made tables that cannot be one.
pub fn merge_schemas(base: Option<&Schema>, ours: &Schema, theirs: &Schema) -> Result<(Schema, BTreeMap<u32, u32>)> {
    let Some(base) = base else { return join_schemas(ours, theirs) };
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

/// The columns of two tables that were made apart, and what those of `theirs` are called by here.
fn join_schemas(ours: &Schema, theirs: &Schema) -> Result<(Schema, BTreeMap<u32, u32>)> {
    let mut renumbered = BTreeMap::new();
    if theirs == ours {
        return Ok((ours.clone(), renumbered));
    }
    let (our_key, their_key) = (key_names(ours), key_names(theirs));
    if our_key != their_key {
        let (ours, theirs) = (our_key.join(", "), their_key.join(", "));
        return Err(apart(&format!("the key is ({ours}) here and ({theirs}) there")));
    }
    let lacking = |column: &Column, place: &str| {
        apart(&format!("column {:?} may not be null, and rows {place} do not have it", column.name))
    };
    let mut columns = ours.columns.clone();
    for column in &mut columns {
        match theirs.column(&column.name) {
            Some(other) if other.ty == column.ty => column.nullable |= other.nullable,
            Some(other) => {
                return Err(apart(&format!("column {:?} is {} here and {} there", column.name, column.ty, other.ty)));
            }
            None if column.nullable => {}
            None => return Err(lacking(column, "there")),
        }
    }
    let mut next = ours.next_id().max(theirs.next_id());
    for column in &theirs.columns {
        let id = match ours.column(&column.name) {
            Some(ours) => ours.id,
            None if !column.nullable => return Err(lacking(column, "here")),
            // An id that we never gave is free.
            None if column.id >= ours.next_id() => column.id,
            None => {
                next = next.saturating_add(1);
                next - 1
            }
        };
        if ours.column(&column.name).is_none() {
            columns.push(Column { id, ..column.clone() });
        }
        if id != column.id {
            renumbered.insert(column.id, id);
        }
    }
    columns.sort_unstable_by_key(|column| column.id);
    let mut joined = Schema { columns, ..ours.clone() };
    joined.set_next_id(next);
    joined.check().map_err(|error| apart(&error.to_string()))?;
    Ok((joined, renumbered))
}

fn key_names(schema: &Schema) -> Vec<&str> {
    schema.key_positions().into_iter().map(|i| &*schema.columns[i].name).collect()
}

fn apart(why: &str) -> Error {
    Error::Conflict(format!(
        "merging two tables that were made apart under one name: {why}; make them alike, or import one of them under another name"
    ))
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

/// A schema with other ids for some columns, in the order that they had.
pub(crate) fn renumber(schema: &Schema, renumbered: &BTreeMap<u32, u32>) -> Schema {
    let mut schema = schema.clone();
    for id in schema.columns.iter_mut().map(|column| &mut column.id).chain(&mut schema.key) {
        *id = renumbered.get(id).copied().unwrap_or(*id);
    }
    schema
}
