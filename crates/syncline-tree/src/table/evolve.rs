//! The same rows under another schema.
//!
//! Owns nothing. Adding or renaming columns touches no row, dropping them edits each leaf that has them, and changing a
//! type builds the table anew.

use std::sync::Arc;

use arrow_array::{RecordBatch, RecordBatchOptions, new_null_array};
use arrow_cast::{CastOptions, cast_with_options};
use syncline_base::task;
use syncline_store::Bases;

use super::cursor::{Cursor, Place};
use super::edit::edited_object;
use super::levels::{self, Splice};
use super::{Changes, Rows, Scan, Shared, Table};
use crate::node::Entry;
use crate::patch::{Edited, drop_columns};
use crate::schema::Schema;
use crate::table::Op;
use crate::{Error, Result};

impl Table {
    /// The same rows under another schema that came from this one by the schema's own steps (add, rename, drop,
    /// widen). Adding or renaming a column reads and writes no row.
    ///
    /// # Errors
    /// `invalid` when rows cannot be brought under the schema; the store's.
    pub fn with_schema(&self, schema: Schema) -> Result<Self> {
        let old = self.schema();
        if *old == schema {
            return Ok(self.clone());
        }
        let empty = Self::create(self.store(), schema)?;
        if self.height == 0 {
            return Ok(empty);
        }
        let new = empty.schema();
        let added = |id: u32| old.position(id).is_none();
        if let Some(column) = new.columns.iter().find(|column| added(column.id) && !column.nullable) {
            let name = &column.name;
            return Err(Error::invalid(format!(
                "adding column {name:?}: it may not be null, and rows have no value for it"
            )));
        }
        let kept = |id: u32| new.position(id).map(|i| &new.columns[i]);
        let same_types = old
            .columns
            .iter()
            .all(|column| kept(column.id).is_none_or(|new| new.ty == column.ty && (new.nullable || !column.nullable)));
        if !same_types || old.key != new.key || old.leaf_rows != new.leaf_rows {
            return self.rebuild(&empty);
        }
        let dropped: Vec<u32> = old.columns.iter().map(|column| column.id).filter(|id| kept(*id).is_none()).collect();
        let root = match &dropped[..] {
            [] => Some((self.root, self.height)),
            dropped => self.without(dropped)?,
        };
        let (root, height) = root.unwrap_or((self.root, self.height));
        Ok(Self { shared: Arc::clone(&empty.shared), root, rows: self.rows, height })
    }

    /// The tree without some columns: as many leaves, each an edit of the old one.
    fn without(&self, dropped: &[u32]) -> Result<levels::Root> {
        let shared = &*self.shared;
        let mut cursor = Cursor::new(shared, &self.root, self.height, 0)?;
        let mut more = true;
        let places = std::iter::from_fn(|| {
            if !more {
                return None;
            }
            let place = cursor.place(self.rows);
            match cursor.next() {
                Ok(next) => more = next,
                Err(error) => return Some(Err(error)),
            }
            Some(Ok(place))
        });
        let mut splices = Vec::new();
        task::pipeline(
            places,
            4 * task::width(),
            |place| drop_from(shared, place, dropped),
            |made| {
                splices.extend(made);
                Ok(())
            },
        )?;
        levels::update(shared, &self.root, self.height, self.rows, splices)
    }

    fn rebuild(&self, empty: &Self) -> Result<Self> {
        let rows = self.scan_rows(Scan::default())?;
        let changes = rows.map(|rows| {
            let Rows { batch, externals } = under(self.schema(), empty.schema(), &rows?)?;
            Ok(Changes { ops: vec![Op::Insert; batch.num_rows()], rows: batch, externals })
        });
        Ok(empty.apply(changes)?.0)
    }
}

fn drop_from(shared: &Shared, place: Place, dropped: &[u32]) -> Result<Option<Splice>> {
    let leaf = shared.leaf(&place.id, place.rows)?;
    let Edited::Changed { leaf, patch, .. } = drop_columns(&leaf, dropped)? else { return Ok(None) };
    let object = edited_object(shared, Bases::one(place.id), &leaf, patch)?;
    let id = object.id;
    shared.store.put_encoded(object)?;
    let rows = place.start..place.end();
    let last = place.last_key.unwrap_or_default();
    Ok(Some(Splice { rows, entries: vec![Entry { id, rows: place.rows, last }] }))
}

/// Rows of one schema as rows of another one, columns matched by id. The ids of `from` need not ascend.
pub(crate) fn under(from: &Schema, to: &Schema, rows: &Rows) -> Result<Rows> {
    let arrow = to.arrow();
    let count = rows.batch.num_rows();
    let place = |id: u32| from.columns.iter().position(|column| column.id == id);
    let column = |(column, field): (&crate::schema::Column, &arrow_schema::FieldRef)| match place(column.id) {
        None => Ok(new_null_array(field.data_type(), count)),
        Some(i) if rows.batch.column(i).data_type() == field.data_type() => Ok(Arc::clone(rows.batch.column(i))),
        Some(i) => {
            let options = CastOptions { safe: false, ..CastOptions::default() };
            cast_with_options(rows.batch.column(i), field.data_type(), &options)
                .map_err(|error| Error::invalid(format!("bringing column {:?} to its new type: {error}", column.name)))
        }
    };
    let columns = to.columns.iter().zip(arrow.fields()).map(column).collect::<Result<Vec<_>>>()?;
    let options = RecordBatchOptions::new().with_row_count(Some(count));
    // Changes may have nulls in cells that they do not use.
    let fields: Vec<_> = arrow.fields().iter().map(|field| field.as_ref().clone().with_nullable(true)).collect();
    let batch = RecordBatch::try_new_with_options(Arc::new(arrow_schema::Schema::new(fields)), columns, &options)
        .map_err(|error| Error::invalid(format!("bringing rows under another schema: {error}")))?;
    let known = |e: &&crate::leaf::External| to.position(e.column).is_some();
    Ok(Rows { batch, externals: rows.externals.iter().filter(known).copied().collect() })
}
