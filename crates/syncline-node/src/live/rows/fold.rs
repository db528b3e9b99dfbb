//! Live rows as batches of their table's schema, for the versioned tree.
//!
//! Owns the rows of one batch. A row that is not of the schema any more does not hide the others: it is told apart, and whoever folds
//! decides.

use std::collections::BTreeMap;

use arrow_array::RecordBatch;
use bytes::Bytes;
use syncline_tree::schema::Schema;

use super::super::cells::Cells;
use super::super::definition::Definition;
use super::{Direct, Layout};
use crate::{Error, Result};

/// Rows in one batch at most.
const ROWS: usize = 8192;
/// Bytes of the values in one batch, about.
const BYTES: usize = 4 << 20;

/// Some rows of a table.
#[derive(Debug, Clone)]
pub struct Folded {
    /// In the schema of the definition, in the order that they came in.
    pub rows: RecordBatch,
    /// Those that could not be brought into it.
    pub unfit: Vec<Unfit>,
}

/// A row that is not of its table's schema.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unfit {
    /// Its key.
    pub key: Bytes,
    /// What does not fit.
    pub why: String,
}

/// Gives rows in batches of bounded size.
#[derive(Debug)]
pub struct Batches<'a, I> {
    layout: &'a Layout,
    rows: I,
}

impl Definition {
    /// Rows (keys and values) as batches.
    pub fn batches<I: Iterator<Item = (Bytes, Bytes)>>(&self, rows: I) -> Batches<'_, I> {
        Batches { layout: self.layout(), rows }
    }

    /// The schema that a table of the versioned tree gets to hold these rows. Columns keep the ids that they have there, by their
    /// origins; those that are no longer live go.
    ///
    /// # Errors
    /// `invalid` when the table there has another key, or holds values that a column's type does not.
    pub fn tree_schema(&self, there: Option<&Schema>) -> Result<Schema> {
        let live = self.schema();
        let Some(there) = there else { return Ok(live.clone()) };
        let wrong =
            |why: String| Error::invalid(format!("bringing table {:?} under its live columns", self.name()), why);
        let key = |schema: &Schema| -> Vec<_> {
            let columns = schema.key_positions().into_iter().map(|at| &schema.columns[at]);
            columns.map(|column| (column.origin().to_owned(), column.ty.clone())).collect()
        };
        if key(there) != key(live) {
            return Err(wrong("its key is another one there; make that table anew under another name".to_owned()));
        }
        let find = |origin: &str| live.columns.iter().find(|column| column.origin() == origin);
        let mut schema = there.clone();
        for gone in there.columns.iter().filter(|column| find(column.origin()).is_none()) {
            schema = schema.drop_column(&gone.name)?;
        }
        for column in &mut schema.columns {
            let Some(is) = find(column.origin()) else { continue };
            if !column.ty.widens_to(&is.ty) {
                let why =
                    format!("column {:?} is {} there and {} here, which does not hold it", is.name, column.ty, is.ty);
                return Err(wrong(why));
            }
            (column.name, column.born, column.ty) = (is.name.clone(), is.born.clone(), is.ty.clone());
            column.nullable |= is.nullable;
        }
        for new in live.columns.iter().filter(|column| there.columns.iter().all(|old| old.origin() != column.origin()))
        {
            schema = schema.add_column(&new.name, new.ty.clone())?;
            if let Some(added) = schema.columns.last_mut() {
                added.born.clone_from(&new.born);
            }
        }
        schema.check()?;
        Ok(schema)
    }

    /// A batch of these rows as one of a table with the schema that [`Self::tree_schema`] gave.
    ///
    /// # Errors
    /// `invalid` when it is not that schema.
    pub fn under(&self, tree: &Schema, batch: &RecordBatch) -> Result<RecordBatch> {
        let live = &self.schema().columns;
        let wrong = |why: String| Error::invalid(format!("folding rows of table {:?}", self.name()), why);
        let column = |column: &syncline_tree::schema::Column| {
            let at = live.iter().position(|live| live.origin() == column.origin());
            let array = at.and_then(|at| batch.columns().get(at)).cloned();
            array.ok_or_else(|| wrong(format!("column {:?} is not live", column.name)))
        };
        let columns = tree.columns.iter().map(column).collect::<Result<Vec<_>>>()?;
        RecordBatch::try_new(tree.arrow(), columns).map_err(|error| wrong(error.to_string()))
    }
}

impl<I: Iterator<Item = (Bytes, Bytes)>> Iterator for Batches<'_, I> {
    type Item = Result<Folded>;

    fn next(&mut self) -> Option<Self::Item> {
        let (mut taken, mut bytes) = (Vec::new(), 0);
        while taken.len() < ROWS && bytes < BYTES {
            let Some((key, value)) = self.rows.next() else { break };
            bytes += value.len();
            taken.push((key, value));
        }
        (!taken.is_empty()).then(|| fold(self.layout, &taken))
    }
}

fn fold(layout: &Layout, rows: &[(Bytes, Bytes)]) -> Result<Folded> {
    let direct: &Direct = &layout.direct;
    let mut typed = direct.typed();
    for (key, value) in rows {
        typed.begin(key);
        let mut places = layout.values.iter().peekable();
        let read = Cells::read(value).and_then(|mut cells| {
            while let Some((cell, text)) = cells.next()? {
                while places.next_if(|place| place.cell < cell).is_some() {}
                if let Some(place) = places.next_if(|place| place.cell == cell) {
                    typed.cell(place.nth, text);
                }
            }
            Ok(())
        });
        if let Err(fault) = read {
            typed.refuse(fault.to_string());
        }
    }
    let (batch, bad): (_, BTreeMap<usize, String>) = typed.finish()?;
    let unfit = bad.into_iter().map(|(row, why)| Unfit { key: rows[row].0.clone(), why });
    Ok(Folded { rows: batch, unfit: unfit.collect() })
}
