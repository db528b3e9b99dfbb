//! Live rows as batches of their table's schema, for the versioned tree.
//!
//! Owns the rows of one batch. A row that is not of the schema any more does not hide the others: it is told apart, and whoever folds
//! decides.

use std::collections::BTreeMap;

use arrow_array::RecordBatch;
use bytes::Bytes;

use super::super::cells::Cells;
use super::super::definition::Definition;
use super::{Direct, Layout};
use crate::Result;

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
