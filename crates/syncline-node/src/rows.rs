//! Rows as JSON: how a face sees them.
//!
//! Owns no state. The conversion is one way and for people; rows move between replicas in binary. Whether two rows are the same is never
//! asked of what is shown. Not here: files of rows (`crate::export`).

use std::fmt;

use serde::de::{MapAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::value::RawValue;
use syncline_tree::diff::{Change, DiffBatch};
use syncline_tree::schema::Schema;
use syncline_tree::table::Rows;
use syncline_tree::{TreeName, key};

use crate::ops::diff::{Kind, Row};
use crate::{Error, Result, export};

/// A row as a JSON object, one member for each column.
///
/// Cells stay the text that they were written as, wherever the row goes: most readers of JSON round numbers, drop what a float cannot hold,
/// or refuse it.
#[derive(Debug, Clone, Default)]
pub struct Cells(Vec<(String, Box<RawValue>)>);

impl Cells {
    /// The columns' names with their cells as JSON, in the order of the columns.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0.iter().map(|(name, cell)| (&name[..], cell.get()))
    }

    /// The cell of a column as JSON.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&str> {
        self.iter().find(|(column, _)| *column == name).map(|(_, cell)| cell)
    }

    /// Adds a column with its cell as JSON; what is no JSON is shown as the text that it is.
    pub(crate) fn push(&mut self, name: &str, json: &str) {
        let cell = serde_json::from_str(json).or_else(|_| serde_json::value::to_raw_value(json));
        self.0.push((name.to_owned(), cell.expect("every text has a JSON form")));
    }

    /// Keeps some of the columns.
    pub(crate) fn retain(&mut self, keep: impl Fn(&str) -> bool) {
        self.0.retain(|(name, _)| keep(name));
    }

    /// Puts something in the place of a column's cell.
    pub(crate) fn replace(&mut self, name: &str, with: &RawValue) {
        self.0.iter_mut().filter(|(column, _)| column == name).for_each(|(_, cell)| *cell = with.to_owned());
    }
}

impl Serialize for Cells {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.0.iter().map(|(name, cell)| (name, cell)))
    }
}

impl<'de> Deserialize<'de> for Cells {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Members;

        impl<'de> Visitor<'de> for Members {
            type Value = Cells;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a row as an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<Cells, A::Error> {
                let mut cells = Vec::new();
                while let Some(member) = members.next_entry()? {
                    cells.push(member);
                }
                Ok(Cells(cells))
            }
        }

        deserializer.deserialize_map(Members)
    }
}

/// Rows with the cells that lie outside of them, as JSON objects: such a cell is shown by its length and hash.
///
/// # Errors
/// `invalid` when a type has no JSON form.
pub fn rows_to_json(schema: &Schema, rows: &Rows) -> Result<Vec<Cells>> {
    let failed = |why: String| Error::invalid("showing rows as JSON", why);
    let mut shown = export::json_rows(&rows.batch).map_err(|error| failed(error.to_string()))?;
    for external in &rows.externals {
        let Some(column) = schema.columns.iter().find(|column| column.id == external.column) else { continue };
        if let Some(row) = usize::try_from(external.row).ok().and_then(|row| shown.get_mut(row)) {
            let cell = serde_json::json!({ "bytes": external.content.len, "content": external.content.root });
            row.replace(
                &column.name,
                &serde_json::value::to_raw_value(&cell).map_err(|error| failed(error.to_string()))?,
            );
        }
    }
    Ok(shown)
}

/// The rows of a diff batch, for showing.
///
/// # Errors
/// As [`rows_to_json`].
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
        let positions = batch.changed.get(n).into_iter().flat_map(|columns| columns.iter());
        let changed = positions.filter_map(|i| new.columns.get(i)).map(|column| column.name.clone()).collect();
        shown.push(Row {
            tree: tree.clone(),
            kind,
            key: key::to_text(new, batch.keys.get(n))?,
            changed,
            before,
            after,
        });
    }
    Ok(shown)
}

#[cfg(test)]
mod tests;
