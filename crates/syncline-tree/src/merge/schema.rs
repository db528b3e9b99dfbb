//! One schema out of three: what both sides did to the columns.
//!
//! Origins say which columns are the same when both sides come from one table (`crate::schema`). For tables that were made apart
//! their names say it.
//! Owns nothing.

use std::collections::BTreeMap;

use crate::schema::{Column, Schema};
use crate::{Error, Result};

/// What a merge makes of the columns, and the ids that each version has other names for.
#[derive(Debug, Clone)]
pub struct Columns {
    /// The merged schema. Columns that we have keep the ids that they have here.
    pub schema: Schema,
    /// Ids of the base that are others in the merged schema.
    pub(crate) of_base: BTreeMap<u32, u32>,
    /// Ids of their side that are others in the merged schema.
    pub(crate) of_theirs: BTreeMap<u32, u32>,
}

/// The schema with what both sides changed since `base`. A column that both added under one name with one type is one column.
/// Without a `base` the two tables were made apart, and the result has the columns of both, matched by name.
///
/// # Errors
/// `conflict` when the sides changed one column differently, or made tables that cannot be one.
pub fn merge_schemas(base: Option<&Schema>, ours: &Schema, theirs: &Schema) -> Result<Columns> {
    let Some(base) = base else {
        let (schema, of_theirs) = join_schemas(ours, theirs)?;
        return Ok(Columns { schema, of_base: BTreeMap::new(), of_theirs });
    };
    let (in_ours, in_theirs) = (base.matches(ours), base.matches(theirs));
    let based =
        |matched: &BTreeMap<u32, u32>| matched.iter().map(|(base, side)| (*side, *base)).collect::<BTreeMap<_, _>>();
    let (our_base, their_base) = (based(&in_ours), based(&in_theirs));
    let (mut columns, mut from_theirs) = (Vec::new(), BTreeMap::new());
    for column in &ours.columns {
        let Some(id) = our_base.get(&column.id) else {
            columns.push(column.clone());
            continue;
        };
        // Dropped by them otherwise.
        if let (Some(base), Some(theirs)) = (by_id(base, *id), in_theirs.get(id).and_then(|id| by_id(theirs, *id))) {
            columns.push(merge_column(base, column, theirs)?);
            from_theirs.insert(theirs.id, column.id);
        }
    }
    // No id that any side has ever given is given again.
    let ours_next = base.next_id().max(ours.next_id());
    let mut next = ours_next.max(theirs.next_id());
    for column in theirs.columns.iter().filter(|column| !their_base.contains_key(&column.id)) {
        let added = |have: &Column| !our_base.contains_key(&have.id) && ours.position(have.id).is_some();
        let alike = |have: &Column| have.name == column.name || have.origin() == column.origin();
        let id = match columns.iter().position(|have| added(have) && alike(have)) {
            Some(i) => {
                columns[i] = same_addition(&columns[i], column)?;
                columns[i].id
            }
            None if columns.iter().any(|have| have.name == column.name) => return Err(differs(&column.name)),
            None => {
                let id = if column.id >= ours_next { column.id } else { next };
                next = next.max(id.saturating_add(1));
                columns.push(Column { id, ..column.clone() });
                id
            }
        };
        from_theirs.insert(column.id, id);
    }
    columns.sort_unstable_by_key(|column| column.id);
    let leaf_rows = if ours.leaf_rows == base.leaf_rows { theirs.leaf_rows } else { ours.leaf_rows };
    let mut schema = Schema { columns, key: ours.key.clone(), leaf_rows, next_id: None };
    schema.set_next_id(next);
    schema.check().map_err(|error| Error::Conflict(format!("merging two versions of a table: {error}")))?;
    let of_theirs = theirs.renumbering(&from_theirs, &schema);
    if theirs.renumbered(&of_theirs).key != schema.key {
        return Err(Error::Conflict(
            "merging two versions of a table: their keys differ; import one of them anew".to_owned(),
        ));
    }
    Ok(Columns { of_base: base.renumbering(&in_ours, &schema), of_theirs, schema })
}

/// A column that both sides added: one of them may have renamed it since.
fn same_addition(ours: &Column, theirs: &Column) -> Result<Column> {
    let name = match (ours.name == ours.origin(), theirs.name == theirs.origin()) {
        _ if ours.name == theirs.name => &ours.name,
        (true, false) => &theirs.name,
        (false, true) => &ours.name,
        _ => return Err(differs(&ours.name)),
    };
    if ours.ty != theirs.ty {
        return Err(differs(&ours.name));
    }
    Ok(Column { nullable: ours.nullable || theirs.nullable, ..named(ours, name) })
}

/// The column under another name.
fn named(column: &Column, name: &str) -> Column {
    let born = Some(column.origin().to_owned()).filter(|origin| origin != name);
    Column { name: name.to_owned(), born, ..column.clone() }
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
    let name = pick(&base.name, &ours.name, &theirs.name).ok_or_else(|| differs(&base.name))?;
    let ty = pick(&base.ty, &ours.ty, &theirs.ty).ok_or_else(|| differs(&base.name))?;
    // A side may have gone back to a narrower type: what the other one holds would not fit it.
    let other = if *ty == ours.ty { &theirs.ty } else { &ours.ty };
    let ty = if ty.widens_to(other) { other } else { ty };
    Ok(Column { ty: ty.clone(), nullable: ours.nullable || theirs.nullable, ..named(ours, name) })
}
