//! Rows of about 100 bytes: a table with an integer key, and rounds of random edits to it.
//!
//! A row is a function of its id and of how often it was edited; an edit changes the amount and the note.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::Path;
use std::sync::Arc;

use anyhow::{Context, Result};
use arrow_array::{Float64Array, Int32Array, Int64Array, RecordBatch, StringArray};
use arrow_schema::{DataType, Field, Schema, SchemaRef};
use syncline_base::rng::Rng;

const SEED: u64 = 0x7ab1_e0de;
const BATCH: usize = 65_536;
const CITIES: &[&str] =
    &["Aarhus", "Bergen", "Cork", "Delft", "Espoo", "Faro", "Ghent", "Hamburg", "Izmir", "Jena", "Kyoto", "Lagos"];
const WORDS: &[&str] = &[
    "amber", "brisk", "cedar", "dusty", "eager", "fable", "gravel", "hollow", "ivory", "jolly", "kettle", "lumen",
    "marble", "noble", "orbit", "pebble", "quartz", "ripple", "silver", "timber", "umber", "velvet", "willow",
    "yonder",
];

/// A table of `rows` rows and rounds of edits, each round on top of the one before.
#[derive(Debug)]
pub(in super::super) struct Plan {
    rows: u64,
    edited: BTreeMap<u64, u64>,
    rng: Rng,
}

struct Row {
    id: i64,
    name: String,
    city: &'static str,
    quantity: i32,
    amount: f64,
    note: String,
}

impl Plan {
    /// Nothing edited yet.
    pub(in super::super) fn new(rows: u64) -> Self {
        Self { rows, edited: BTreeMap::new(), rng: Rng::from_seed(SEED ^ rows) }
    }

    /// Writes the table as it is now as CSV.
    pub(in super::super) fn csv(&self, path: &Path) -> Result<()> {
        let file = File::create(path).with_context(|| format!("creating {}", path.display()))?;
        let mut out = BufWriter::with_capacity(1 << 20, file);
        writeln!(out, "id,name,city,quantity,amount,note")?;
        for id in 0..self.rows {
            let row = self.row(id);
            writeln!(out, "{},{},{},{},{:.2},{}", row.id, row.name, row.city, row.quantity, row.amount, row.note)?;
        }
        out.flush()?;
        Ok(())
    }

    /// Writes the table as it is now as Parquet.
    pub(in super::super) fn parquet(&self, path: &Path) -> Result<()> {
        let mut writer = super::parquet(path, schema())?;
        let ids: Vec<u64> = (0..self.rows).collect();
        for ids in ids.chunks(BATCH) {
            writer.write(&self.batch(ids.iter().copied())?)?;
        }
        writer.close()?;
        Ok(())
    }

    /// Edits `count` random rows and writes them, whole and in key order, as Parquet.
    pub(in super::super) fn edit(&mut self, count: usize, path: &Path) -> Result<()> {
        let ids = super::pick(&mut self.rng, self.rows, count, &BTreeSet::new());
        for id in &ids {
            *self.edited.entry(*id).or_default() += 1;
        }
        super::parquet_of(path, &self.batch(ids.into_iter())?)
    }

    fn row(&self, id: u64) -> Row {
        let mut fixed = Rng::from_seed(SEED.wrapping_add(id));
        let times = self.edited.get(&id).copied().unwrap_or(0);
        let mut changing = Rng::from_seed(fixed.next_u64() ^ times.wrapping_mul(0x2545_f491_4f6c_dd1d));
        let mut note = String::new();
        for at in 0..7 {
            let word = WORDS[index(changing.below(WORDS.len() as u64))];
            write!(note, "{}{word}", if at == 0 { "" } else { " " }).expect("a string takes what is written to it");
        }
        let cents = i32::try_from(changing.below(10_000_000)).unwrap_or(0);
        Row {
            id: i64::try_from(id).unwrap_or(i64::MAX),
            name: format!("user-{:012x}", fixed.next_u64() >> 16),
            city: CITIES[index(fixed.below(CITIES.len() as u64))],
            quantity: i32::try_from(fixed.below(1_000)).unwrap_or(0),
            amount: f64::from(cents) / 100.0,
            note,
        }
    }

    fn batch(&self, ids: impl Iterator<Item = u64>) -> Result<RecordBatch> {
        let rows: Vec<Row> = ids.map(|id| self.row(id)).collect();
        let columns: Vec<arrow_array::ArrayRef> = vec![
            Arc::new(Int64Array::from_iter_values(rows.iter().map(|row| row.id))),
            Arc::new(StringArray::from_iter_values(rows.iter().map(|row| &row.name))),
            Arc::new(StringArray::from_iter_values(rows.iter().map(|row| row.city))),
            Arc::new(Int32Array::from_iter_values(rows.iter().map(|row| row.quantity))),
            Arc::new(Float64Array::from_iter_values(rows.iter().map(|row| row.amount))),
            Arc::new(StringArray::from_iter_values(rows.iter().map(|row| &row.note))),
        ];
        Ok(RecordBatch::try_new(schema(), columns)?)
    }
}

fn index(number: u64) -> usize {
    usize::try_from(number).unwrap_or(0)
}

fn schema() -> SchemaRef {
    let field = |name: &str, ty: DataType| Field::new(name, ty, false);
    Arc::new(Schema::new(vec![
        field("id", DataType::Int64),
        field("name", DataType::Utf8),
        field("city", DataType::Utf8),
        field("quantity", DataType::Int32),
        field("amount", DataType::Float64),
        field("note", DataType::Utf8),
    ]))
}

#[cfg(test)]
mod tests;
