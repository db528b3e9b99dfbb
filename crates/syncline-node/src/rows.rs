//! Rows as JSON: how a face sees them.
//!
//! Owns no state. The conversion is one way and for people; rows move between replicas in binary. Not here: files of
//! rows (`crate::export`).

use arrow_array::RecordBatch;
use serde_json::{Map, Value};
use syncline_tree::diff::{Change, DiffBatch};
use syncline_tree::schema::{Column, Schema};
use syncline_tree::table::Rows;
use syncline_tree::{TreeName, key};

use crate::ops::diff::{Kind, Row};
use crate::{Error, Result, export};

/// The rows of a batch as JSON objects, one member for each column.
///
/// # Errors
/// `invalid` when a type has no JSON form.
pub fn to_json(batch: &RecordBatch) -> Result<Vec<Value>> {
    let rows = export::json_rows(batch).map_err(|e| Error::invalid("showing rows as JSON", e.to_string()))?;
    Ok(rows.into_iter().map(Value::Object).collect())
}

/// A key as text, the way `--key` takes it: the key columns' values, separated by commas. Where there are several, `\,` is
/// a comma inside a value and `\\` a backslash.
///
/// # Errors
/// `corrupt` when the bytes are not a key of this schema.
pub fn key_text(schema: &Schema, key: &[u8]) -> Result<String> {
    let members: Map<String, Value> = key::to_json(schema, key)?;
    let several = members.len() > 1;
    let text = members.values().map(|value| match value {
        Value::String(text) if several => text.replace('\\', "\\\\").replace(',', "\\,"),
        Value::String(text) => text.clone(),
        other => other.to_string(),
    });
    Ok(text.collect::<Vec<_>>().join(","))
}

/// Rows with the cells that lie outside of them, as JSON objects: such a cell is shown by its length and hash.
///
/// # Errors
/// As [`to_json`].
pub fn rows_to_json(schema: &Schema, rows: &Rows) -> Result<Vec<Value>> {
    let mut shown = to_json(&rows.batch)?;
    for external in &rows.externals {
        let Some(column) = schema.columns.iter().find(|column| column.id == external.column) else { continue };
        let row = usize::try_from(external.row).ok().and_then(|row| shown.get_mut(row)).and_then(Value::as_object_mut);
        if let Some(row) = row {
            let cell = serde_json::json!({ "bytes": external.content.len, "content": external.content.root });
            row.insert(column.name.clone(), cell);
        }
    }
    Ok(shown)
}

/// The rows of a diff batch, for showing.
///
/// # Errors
/// As [`to_json`].
pub(crate) fn diff_rows(tree: &TreeName, new: &Schema, batch: &DiffBatch) -> Result<Vec<Row>> {
    let mut befores = rows_to_json(new, &batch.before)?.into_iter();
    let mut afters = rows_to_json(new, &batch.after)?.into_iter();
    let mut shown = Vec::with_capacity(batch.kinds.len());
    for (n, change) in batch.kinds.iter().enumerate() {
        let (kind, before, after) = match change {
            Change::Insert => (Kind::Insert, None, afters.next()),
            Change::Update => (Kind::Update, befores.next(), afters.next()),
            Change::Delete => (Kind::Delete, befores.next(), None),
        };
        let changed = match (&before, &after) {
            (Some(before), Some(after)) => {
                let differs = |column: &&Column| before.get(&column.name) != after.get(&column.name);
                new.columns.iter().filter(differs).map(|column| column.name.clone()).collect()
            }
            _ => Vec::new(),
        };
        shown.push(Row { tree: tree.clone(), kind, key: key_text(new, batch.keys.get(n))?, changed, before, after });
    }
    Ok(shown)
}

#[cfg(test)]
mod tests;
