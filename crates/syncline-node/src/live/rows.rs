//! Rows of live tables as users have them: in as lines of JSON or as batches, out as JSON or as batches.
//!
//! A transaction is all or nothing: the first row that does not fit is told with its line, and nothing is written. Owns nothing.
//!
//! Not here: transactions and siblings (`syncline_sync::live`), batches for the versioned tree (`fold`).

mod add;
mod base;
mod fold;
pub(crate) mod quick;
pub(crate) mod scan;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;

use arrow_array::{Array as _, RecordBatch};
use bytes::Bytes;
use syncline_sync::live::{RowKey, Write};
use syncline_tree::key;
use syncline_tree::schema::{Schema, Type};

use super::cells::{self, CellId, Fault};
use super::definition::{Column, Definition};
use crate::export;
use crate::import::direct::{Direct, Taken, schema_of};
use crate::rows::Cells;
use crate::{Error, Result};
pub use base::{Base, HasRead};
pub use fold::{Batches, Folded, Unfit};

/// What rows are called in messages.
const SOURCE: &str = "rows";
/// How many faults a message names.
const SHOWN: usize = 10;

/// Gives what a write of a row builds on, if the row exists.
pub type Existing<'a> = &'a dyn Fn(&RowKey) -> Option<Base>;

/// Where the cells of a table's columns are: made once for a definition.
#[derive(Debug)]
pub struct Layout {
    direct: Direct,
    /// Columns that are not of the key, by the number of their cells.
    values: Vec<Value>,
    /// Numbers of columns that were dropped, ascending.
    dropped: Vec<CellId>,
    plan: quick::Plan,
}

#[derive(Debug)]
struct Value {
    cell: CellId,
    /// In the schema.
    position: usize,
    /// Among the columns that are not of the key.
    nth: usize,
    ty: Type,
}

impl Layout {
    /// For a schema with the numbers of its columns' cells; `all` has those that were dropped, too.
    pub(super) fn new(schema: &Schema, cells: &[CellId], all: &[Column]) -> Result<Self> {
        let direct = Direct::new(schema)?;
        let value = |(nth, position): (usize, &usize)| Value {
            cell: cells[*position],
            position: *position,
            nth,
            ty: schema.columns[*position].ty.clone(),
        };
        let mut values: Vec<Value> = direct.values().iter().enumerate().map(value).collect();
        values.sort_by_key(|value| value.cell);
        let gone = all.iter().filter(|column| !column.is_there() && !cells.contains(&column.cell));
        let mut dropped: Vec<CellId> = gone.map(|column| column.cell).collect();
        dropped.sort_unstable();
        let plan = quick::Plan::new(schema, values.iter().map(|value| (value.cell, value.position)).collect());
        Ok(Self { direct, values, dropped, plan })
    }
}

/// The schema that rows as lines of JSON have, for a new table.
///
/// # Errors
/// `invalid` when there are none, or the key cannot be one.
pub fn infer(name: &str, ndjson: &[u8], key: &[String]) -> Result<Schema> {
    let failed = |error: crate::import::Error| Error::invalid(format!("making table {name:?}"), error.to_string());
    schema_of(SOURCE, ndjson, key).map_err(failed)
}

/// A row that was taken in: its key, and where it is.
struct Place {
    key: Bytes,
    part: usize,
    row: usize,
    line: u64,
}

impl Definition {
    fn refused(&self, doing: &str, why: impl Into<String>) -> Error {
        Error::invalid(format!("{doing} table {:?}", self.name()), why)
    }

    /// What lines of JSON write: each inserts a row or updates it. A column that a line lacks keeps its cell, or is null in a new row;
    /// cells of columns that nobody here knows stay as they are. A counter's cell may be an object, `{"add": N}`. In the order of keys.
    ///
    /// # Errors
    /// `invalid`, with the lines, when a row does not fit or two have one key.
    pub fn writes(&self, ndjson: &[u8], existing: Existing<'_>) -> Result<Vec<Write>> {
        const DOING: &str = "putting rows into";
        let (ndjson, adds) = self.additions(ndjson);
        let taken = self.layout().direct.lines(SOURCE, &ndjson);
        let taken = taken.map_err(|error| self.refused(DOING, error.to_string()))?;
        self.put(DOING, "line", &taken, &adds, existing)
    }

    /// What the rows of a batch write, columns by name. As [`Self::writes`] else; rows are numbered from 1 in messages.
    ///
    /// # Errors
    /// `invalid` when a column or a row does not fit or two rows have one key.
    pub fn writes_batch(&self, batch: &RecordBatch, existing: Existing<'_>) -> Result<Vec<Write>> {
        const DOING: &str = "putting a batch into";
        let taken = self.layout().direct.batch(SOURCE, batch);
        let taken = taken.map_err(|error| self.refused(DOING, error.to_string()))?;
        self.put(DOING, "row", &[taken], &BTreeSet::new(), existing)
    }

    /// `adds` are the lines that add to the counter.
    fn put(
        &self,
        doing: &str,
        unit: &str,
        taken: &[Taken],
        adds: &BTreeSet<u64>,
        existing: Existing<'_>,
    ) -> Result<Vec<Write>> {
        self.refuse_bad(doing, unit, taken)?;
        let places = in_order(taken);
        self.refuse_twice(doing, unit, &places)?;
        let sets: Vec<Vec<Option<Vec<bool>>>> = taken.iter().map(|taken| self.given(taken)).collect();
        let (mut out, mut ends) = (Vec::with_capacity(places.len() * 48), Vec::with_capacity(places.len()));
        let mut rows = Vec::with_capacity(places.len());
        for place in places {
            let taken = &taken[place.part];
            let given = sets[place.part].get(taken.set(place.row)).and_then(Option::as_deref);
            let row = self.row(place.key);
            let old = existing(&row);
            if old.is_none() {
                self.refuse_lacking(doing, unit, &row, given, place.line)?;
            }
            let start = out.len();
            let value = old.as_ref().map(|old| &old.value()[..]);
            self.value(taken, place.row, given, value, &mut out).map_err(|fault| self.fault(&row.key, &fault))?;
            if let Some(old) = old.as_ref().filter(|_| self.has_marks()) {
                let is_given = |cell: CellId| self.is_given(given, cell);
                let marked = self.mark(&out[start..], &is_given, Some(old), adds.contains(&place.line));
                let marked = marked.map_err(|why| {
                    let key = self.key_text(&row.key).unwrap_or_default();
                    let why = format!("{unit} {}: row {key}: {why}; nothing was written", place.line);
                    self.refused(doing, why)
                })?;
                out.splice(start.., marked);
            }
            ends.push(out.len());
            rows.push(row);
        }
        let (out, mut start) = (Bytes::from(out), 0);
        let writes = rows.into_iter().zip(ends).map(|(row, end)| {
            let value = out.slice(start..end);
            start = end;
            Write { row, value: Some(value) }
        });
        Ok(writes.collect())
    }

    /// For each set of columns that rows gave: which of the columns that are not of the key, by the number of their cells, are in it.
    /// `None` is all.
    fn given(&self, taken: &Taken) -> Vec<Option<Vec<bool>>> {
        let ids = |set: std::sync::Arc<[u32]>| {
            let is_given = |value: &Value| set.binary_search(&self.schema().columns[value.position].id).is_ok();
            self.layout().values.iter().map(is_given).collect()
        };
        taken.sets().into_iter().map(|set| set.map(ids)).collect()
    }

    /// Whether a row gave a column that is not of the key.
    fn is_given(&self, given: Option<&[bool]>, cell: CellId) -> bool {
        let at = self.layout().values.binary_search_by_key(&cell, |value| value.cell);
        at.is_ok_and(|at| given.is_none_or(|given| given[at]))
    }

    /// Whether a column was dropped.
    fn is_dropped(&self, cell: CellId) -> bool {
        self.layout().dropped.binary_search(&cell).is_ok()
    }

    /// Writes the value of a row.
    fn value(
        &self,
        taken: &Taken,
        row: usize,
        given: Option<&[bool]>,
        old: Option<&[u8]>,
        out: &mut Vec<u8>,
    ) -> Result<(), Fault> {
        let Layout { values, dropped, .. } = self.layout();
        let mut kept = match old {
            Some(old) => cells::Cells::read(old)?,
            None => cells::Cells::read(&[cells::VERSION])?,
        };
        let mut next = kept.next()?;
        cells::begin(out);
        for (i, value) in values.iter().enumerate() {
            while let Some((cell, text)) = next.filter(|(cell, _)| *cell < value.cell) {
                if dropped.binary_search(&cell).is_err() {
                    cells::put(out, cell, |out| out.extend_from_slice(text));
                }
                next = kept.next()?;
            }
            let mine = next.filter(|(cell, _)| *cell == value.cell);
            if mine.is_some() {
                next = kept.next()?;
            }
            if given.is_none_or(|given| given[i]) {
                let array = taken.rows.column(value.position);
                if array.is_valid(row) {
                    cells::put(out, value.cell, |out| export::write_json(&value.ty, array, row, out));
                }
            } else if let Some((cell, text)) = mine {
                cells::put(out, cell, |out| out.extend_from_slice(text));
            }
        }
        while let Some((cell, text)) = next {
            if dropped.binary_search(&cell).is_err() {
                cells::put(out, cell, |out| out.extend_from_slice(text));
            }
            next = kept.next()?;
        }
        Ok(())
    }

    /// What a row's value that cannot be read is to its reader.
    fn fault(&self, key: &[u8], fault: &Fault) -> Error {
        let key = self.key_text(key).unwrap_or_else(|_| format!("of {} bytes", key.len()));
        let what = format!("row {key} of table {:?}", self.name());
        match fault {
            Fault::Newer(_) => Error::invalid(format!("reading {what}"), fault.to_string()),
            Fault::Damaged(_) => {
                Error::Corrupt { what, why: format!("{fault}; put the row again as a whole after deleting it") }
            }
        }
    }

    fn refuse_bad(&self, doing: &str, unit: &str, taken: &[Taken]) -> Result<()> {
        self.refuse_those(doing, unit, taken, "rows do not fit; nothing was written")
    }

    fn refuse_those(&self, doing: &str, unit: &str, taken: &[Taken], what: &str) -> Result<()> {
        let bad: Vec<(u64, &str)> = taken.iter().flat_map(Taken::bad).collect();
        if bad.is_empty() {
            return Ok(());
        }
        let all = bad.len() + taken.iter().map(|taken| taken.rows.num_rows()).sum::<usize>();
        let mut why = format!("{} of {all} {what}", bad.len());
        for (line, reason) in bad.iter().take(SHOWN) {
            let _ = write!(why, "\n  {unit} {line}: {reason}");
        }
        if bad.len() > SHOWN {
            let _ = write!(why, "\n  … and {} more", bad.len() - SHOWN);
        }
        Err(self.refused(doing, why))
    }

    fn refuse_twice(&self, doing: &str, unit: &str, places: &[Place]) -> Result<()> {
        let twice: Vec<&[Place]> = places.chunk_by(|a, b| a.key == b.key).filter(|same| same.len() > 1).collect();
        if twice.is_empty() {
            return Ok(());
        }
        let rows: usize = twice.iter().map(|same| same.len() - 1).sum();
        let mut why = format!("{rows} rows repeat a key; nothing was written");
        for same in twice.iter().take(SHOWN) {
            let lines: Vec<String> = same.iter().take(SHOWN).map(|place| place.line.to_string()).collect();
            let key = self.key_text(&same[0].key)?;
            let _ = write!(why, "\n  {key} in {unit}s {}", lines.join(", "));
        }
        if twice.len() > SHOWN {
            let _ = write!(why, "\n  … and {} more", twice.len() - SHOWN);
        }
        Err(self.refused(doing, why))
    }

    /// A new row needs every column that may not be null.
    fn refuse_lacking(&self, doing: &str, unit: &str, row: &RowKey, given: Option<&[bool]>, line: u64) -> Result<()> {
        let Some(given) = given else { return Ok(()) };
        let columns = &self.schema().columns;
        let missing = self
            .layout()
            .values
            .iter()
            .zip(given)
            .filter(|(value, given)| !**given && !columns[value.position].nullable);
        let names: Vec<String> = missing.map(|(value, _)| format!("`{}`", columns[value.position].name)).collect();
        if names.is_empty() {
            return Ok(());
        }
        let (key, names) = (self.key_text(&row.key)?, names.join(", "));
        let why = format!(
            "{unit} {line}: the row {key} is new and lacks {names}, which may not be null; nothing was written"
        );
        Err(self.refused(doing, why))
    }

    /// What deletes these rows. A line is a key as [`key::parse_key`] takes it, or a JSON object with the key's columns; what else that has is
    /// not looked at. In the order of keys, each once.
    ///
    /// # Errors
    /// `invalid`, with the lines, when one is no key.
    pub fn deletes(&self, text: &[u8]) -> Result<Vec<Write>> {
        let keys = self.keys(text, ("deleting rows from", "; nothing was written"))?;
        Ok(keys.into_iter().map(|key| Write { row: self.row(key), value: None }).collect())
    }

    fn keys(&self, text: &[u8], (doing, after): (&str, &str)) -> Result<Vec<Bytes>> {
        let (mut keys, mut objects, mut plain) = (Vec::new(), Vec::new(), Vec::new());
        for (at, line) in text.split(|byte| *byte == b'\n').enumerate() {
            if is_object(line) {
                objects.extend_from_slice(line);
            } else if !line.trim_ascii().is_empty() {
                plain.push((at + 1, line.strip_suffix(b"\r").unwrap_or(line)));
            }
            // Lines keep their numbers.
            objects.push(b'\n');
        }
        for (line, text) in plain {
            let failed = |why: String| self.refused(doing, format!("line {line}: {why}{after}"));
            let text = std::str::from_utf8(text).map_err(|_| failed("it is not UTF-8".to_owned()))?;
            let key = key::parse_key(self.schema(), text).map_err(|error| failed(error.to_string()))?;
            keys.push(Bytes::from(key));
        }
        let taken = self.layout().direct.key_lines(SOURCE, &objects);
        let taken = taken.map_err(|error| self.refused(doing, error.to_string()))?;
        self.refuse_those(doing, "line", &taken, &format!("keys do not fit{after}"))?;
        keys.extend(in_order(&taken).into_iter().map(|place| place.key));
        keys.sort_unstable();
        keys.dedup();
        Ok(keys)
    }

    /// The row that a key as text is of: as in [`Self::deletes`].
    ///
    /// # Errors
    /// `invalid` when it is no key of this table.
    pub fn key_of(&self, text: &str) -> Result<RowKey> {
        if !is_object(text.as_bytes()) {
            return Ok(self.row(key::parse_key(self.schema(), text)?.into()));
        }
        let keys = self.keys(text.replace('\n', " ").as_bytes(), ("finding a row of", ""))?;
        let first = keys.into_iter().next().map(|key| self.row(key));
        first.ok_or_else(|| self.refused("finding a row of", "there is no key"))
    }

    /// A row for showing: the columns in their order, null where it has no cell. A cell that is not of its column's type any more is
    /// shown as it is.
    ///
    /// # Errors
    /// `corrupt` when the key is none of this table's or the value cannot be read; `invalid` when a newer program wrote it.
    pub fn to_cells(&self, key: &[u8], value: &[u8]) -> Result<Cells> {
        let (schema, mut texts) = (self.schema(), BTreeMap::new());
        let keys = self.layout().direct.encoder().decode([key])?;
        for (position, array) in schema.key_positions().into_iter().zip(keys.columns()) {
            let mut text = Vec::new();
            export::write_json(&schema.columns[position].ty, array, 0, &mut text);
            texts.insert(position, text);
        }
        let cells = cells::Cells::read(value).and_then(cells::Cells::all).map_err(|fault| self.fault(key, &fault))?;
        for value in &self.layout().values {
            if let Ok(at) = cells.binary_search_by_key(&value.cell, |(cell, _)| *cell) {
                texts.insert(value.position, cells[at].1.to_vec());
            }
        }
        let mut shown = Cells::default();
        for (position, column) in schema.columns.iter().enumerate() {
            let text = texts.get(&position).map_or(&b"null"[..], |text| text);
            let text = String::from_utf8_lossy(text);
            let number = text.starts_with(|c: char| c == '-' || c.is_ascii_digit());
            if number && matches!(column.ty, Type::Decimal128 { .. } | Type::Decimal256 { .. }) {
                // Most readers of JSON would round it.
                shown.push(&column.name, &format!("\"{text}\""));
            } else {
                shown.push(&column.name, &text);
            }
        }
        Ok(shown)
    }
}

fn is_object(line: &[u8]) -> bool {
    line.trim_ascii_start().starts_with(b"{")
}

/// The rows by key; those of one key in the order that they came in.
fn in_order(taken: &[Taken]) -> Vec<Place> {
    let bytes: usize = taken.iter().flat_map(|taken| taken.keys.iter()).map(<[u8]>::len).sum();
    let mut all = Vec::with_capacity(bytes);
    taken.iter().flat_map(|taken| taken.keys.iter()).for_each(|key| all.extend_from_slice(key));
    let (all, mut start) = (Bytes::from(all), 0);
    let mut places = Vec::with_capacity(taken.iter().map(|taken| taken.keys.len()).sum());
    for (part, taken) in taken.iter().enumerate() {
        for (row, key) in taken.keys.iter().enumerate() {
            let key = all.slice(start..start + key.len());
            start += key.len();
            places.push(Place { key, part, row, line: taken.line(row) });
        }
    }
    if !places.is_sorted_by(|a, b| a.key <= b.key) {
        places.sort_by(|a, b| a.key.cmp(&b.key));
    }
    places
}

#[cfg(test)]
mod tests;
