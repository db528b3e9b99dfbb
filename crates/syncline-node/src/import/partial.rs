//! Rows that give some of the table's columns: what they lack, and what to say when they are new.
//!
//! Owns no state. Not here: which columns a source gives (`plan`), whether a row is there (`Options::known`).

use std::sync::Arc;

use arrow_array::RecordBatch;
use syncline_tree::key;
use syncline_tree::schema::{Column, Schema};

use super::Result;

/// For each set of given columns: those that a new row needs beside them.
pub(super) fn lacking<'a>(schema: &'a Schema, shapes: &[Option<Arc<[u32]>>]) -> Vec<Vec<&'a str>> {
    let needed = |column: &&Column| !column.nullable && !schema.key.contains(&column.id);
    let lacks = |given: &Arc<[u32]>| {
        let missing = schema.columns.iter().filter(needed).filter(|column| !given.contains(&column.id));
        missing.map(|column| column.name.as_str()).collect()
    };
    shapes.iter().map(|shape| shape.as_ref().map(lacks).unwrap_or_default()).collect()
}

/// Why a new row cannot be taken.
pub(super) fn reason(schema: &Schema, key: &[u8], lacks: &[&str]) -> Result<String> {
    let key = serde_json::Value::Object(key::to_json(schema, key)?);
    let columns = lacks.iter().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ");
    let word = if lacks.len() == 1 { "column" } else { "columns" };
    Ok(format!("the row {key} is new and lacks the {word} {columns}, which may not be null"))
}

/// A row of the given columns as a JSON object.
pub(super) fn text(schema: &Schema, row: &RecordBatch, given: Option<&[u32]>) -> String {
    let mut cells = match crate::export::json_rows(row) {
        Ok(mut rows) => rows.pop().unwrap_or_default(),
        Err(error) => return error.to_string(),
    };
    let is_given = |name: &str| {
        let column = schema.columns.iter().find(|column| column.name == name);
        given.is_none_or(|given| column.is_some_and(|column| given.contains(&column.id)))
    };
    cells.retain(is_given);
    serde_json::to_string(&cells).unwrap_or_else(|error| error.to_string())
}
