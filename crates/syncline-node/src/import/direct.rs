//! Rows that are at hand as bytes: taken by the rules of imports on the caller's thread, in the order that they come in.
//!
//! For transactions, which are small and are all or nothing: what the threads, the sort and the temporary files of
//! [`super::open`] take to begin would be most of the work. Also the way back: rows of keys and of cells as JSON become a batch.
//!
//! Owns: how a table's rows are read, made once. After a crash: nothing is left.
//! Invariant: a row comes out as [`super::open`] would give it for a table that exists.
//!
//! Not here: what repeated keys mean, and what is done with the rows.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow_array::{ArrayRef, BooleanArray, RecordBatch};
use memchr::memchr_iter;
use syncline_base::task;
use syncline_tree::key::{KeyEncoder, Keys};
use syncline_tree::schema::{Column, Schema};

use super::chunk::{Chunk, Shapes};
use super::fit::FitPlan;
use super::grid::{Grid, Kind};
use super::infer::Guesses;
use super::plan::{self, Inferred};
use super::text::{BLOCK, Block, Reader, TextPlan};
use super::{Error, Mode, Result, column, infer, ndjson, nested, report};

/// The longest record that is accepted.
const MAX_RECORD: usize = 64 << 20;

/// The schema that rows as lines of JSON have, all of them looked at.
///
/// # Errors
/// When they have no columns, more than a table can have, or the key cannot be one.
pub(crate) fn schema_of(source: &str, text: &[u8], key: &[String]) -> Result<Schema> {
    let mut guesses = Guesses::default();
    for block in blocks(source, text, usize::MAX)? {
        guesses.merge(source, &infer::see_lines(source, &block)?)?;
    }
    plan::keyed(guesses.fields().into_iter().map(|(field, _)| field).collect(), key, true)
}

/// Reads rows of one table.
#[derive(Debug, Clone)]
pub(crate) struct Direct {
    rows: TextPlan,
    keys: TextPlan,
    /// Positions of the columns that are not of the key.
    values: Vec<usize>,
    /// Which of them keep JSON.
    raw: Vec<bool>,
}

/// Rows in the order that they came in. Those that do not fit are not among them.
#[derive(Debug)]
pub(crate) struct Taken {
    /// In the table's schema.
    pub(crate) rows: RecordBatch,
    /// Their keys.
    pub(crate) keys: Keys,
    chunk: Chunk,
    shapes: Arc<Shapes>,
}

impl Taken {
    fn new(encoder: &KeyEncoder, chunk: Chunk, shapes: Arc<Shapes>) -> Result<Self> {
        Ok(Self { rows: chunk.rows.clone(), keys: encoder.encode(&chunk.rows)?, chunk, shapes })
    }

    /// The line that a row is on, or its number in a batch; from 1.
    pub(crate) fn line(&self, row: usize) -> u64 {
        report::source_of(self.chunk.places.get(row)).1
    }

    /// Which set of columns a row was given with: an index into [`Self::sets`].
    pub(crate) fn set(&self, row: usize) -> usize {
        self.chunk.shapes.get(row) as usize
    }

    /// The sets of columns that rows were given with, by id; `None` is all.
    pub(crate) fn sets(&self) -> Vec<Option<Arc<[u32]>>> {
        self.shapes.snapshot()
    }

    /// Lines, and why their rows do not fit.
    pub(crate) fn bad(&self) -> impl Iterator<Item = (u64, &str)> {
        self.chunk.bad.iter().map(|bad| (report::source_of(bad.position).1, &bad.reason[..]))
    }
}

/// What adds a column to a live table.
const ALTER: &str = "syncline table set TABLE";

impl Direct {
    /// How rows of this schema are read.
    ///
    /// # Errors
    /// `invalid` when the schema cannot be used.
    pub(crate) fn new(schema: &Schema) -> Result<Self> {
        let shared = Arc::new(schema.clone());
        let (arrow, encoder, inferred) = (schema.arrow(), KeyEncoder::new(schema)?, Arc::new(Inferred::new()));
        let plan = |mode: Mode| {
            let columns = plan::wanted(schema, mode);
            let there = schema.columns.iter().zip(&columns).filter(|(_, at)| at.is_some());
            let (names, raw) = there.map(|(column, _)| (column.name.clone(), nested::keeps_json(&column.ty))).unzip();
            TextPlan {
                source: 0,
                reader: Reader::Ndjson(ndjson::Keys::new(names, raw, mode == Mode::Delete, ALTER)),
                schema: shared.clone(),
                arrow: arrow.clone(),
                encoder: encoder.clone(),
                inferred: inferred.clone(),
                partial: true,
                columns,
                shape: 0,
                shapes: None,
            }
        };
        let (rows, keys) = (plan(Mode::Upsert), plan(Mode::Delete));
        let is_value = |at: &usize| !schema.key.contains(&schema.columns[*at].id);
        let values: Vec<usize> = (0..schema.columns.len()).filter(is_value).collect();
        let raw = values.iter().map(|at| nested::keeps_json(&schema.columns[*at].ty)).collect();
        Ok(Self { rows, keys, values, raw })
    }

    fn schema(&self) -> &Schema {
        &self.rows.schema
    }

    /// Encodes keys of the table.
    pub(crate) const fn encoder(&self) -> &KeyEncoder {
        &self.rows.encoder
    }

    /// Positions in the schema of the columns that are not of the key.
    pub(crate) fn values(&self) -> &[usize] {
        &self.values
    }

    /// Takes rows as lines of JSON.
    ///
    /// # Errors
    /// When a record is longer than any may be. Rows that do not fit are told apart ([`Taken::bad`]).
    pub(crate) fn lines(&self, source: &str, text: &[u8]) -> Result<Vec<Taken>> {
        self.take(&self.rows, source, text)
    }

    /// Takes the keys of rows as lines of JSON; what they have beside the key is not looked at.
    ///
    /// # Errors
    /// As [`Self::lines`].
    pub(crate) fn key_lines(&self, source: &str, text: &[u8]) -> Result<Vec<Taken>> {
        self.take(&self.keys, source, text)
    }

    fn take(&self, plan: &TextPlan, source: &str, text: &[u8]) -> Result<Vec<Taken>> {
        let shapes = Arc::new(Shapes::new());
        task::try_map(blocks(source, text, plan.most_records())?, |block| {
            Taken::new(&plan.encoder, plan.parse_with(block, Some(&shapes))?, shapes.clone())
        })
    }

    /// Takes the rows of a batch, columns by name.
    ///
    /// # Errors
    /// When a column is not the table's, is there twice or is of a type that cannot become the table's, or one of the key is missing.
    /// Rows that do not fit are told apart.
    pub(crate) fn batch(&self, source: &str, batch: &RecordBatch) -> Result<Taken> {
        let (schema, given) = (self.schema(), batch.schema());
        let (mut columns, mut types) = (vec![None; schema.columns.len()], vec![None; schema.columns.len()]);
        for (at, field) in super::fields_of(&given)?.into_iter().enumerate() {
            let Some(place) = schema.columns.iter().position(|column| column.name == field.name) else {
                let why = format!(
                    "its column `{0}` is not in the table; add it first with `{ALTER} --add {0}:TYPE`",
                    field.name
                );
                return Err(Error::source(source, why));
            };
            if columns[place].replace(at).is_some() {
                return Err(Error::source(source, format!("it has the column `{}` more than once", field.name)));
            }
            types[place] = Some(field.ty);
        }
        let missing = |(column, at): &(&Column, &Option<usize>)| at.is_none() && schema.key.contains(&column.id);
        if let Some((column, _)) = schema.columns.iter().zip(&columns).find(missing) {
            return Err(Error::source(source, format!("it has no column `{}`, which is part of the key", column.name)));
        }
        let shapes = Arc::new(Shapes::new());
        let there: Vec<u32> =
            schema.columns.iter().zip(&columns).filter(|(_, at)| at.is_some()).map(|(column, _)| column.id).collect();
        let shape = if there.len() == schema.columns.len() { 0 } else { shapes.intern(&there)? };
        let fit = FitPlan {
            source: 0,
            name: source.to_owned(),
            schema: self.rows.schema.clone(),
            arrow: self.rows.arrow.clone(),
            encoder: self.rows.encoder.clone(),
            columns,
            types,
            shape,
        };
        Taken::new(&fit.encoder, fit.fit(batch, 1)?, shapes)
    }

    /// Begins rows of keys and cells.
    pub(crate) fn typed(&self) -> Typed<'_> {
        let mut grid = Grid::new(Vec::new(), self.values.len());
        grid.null_is_json = true;
        Typed { direct: self, grid, keys: Vec::new(), bad: BTreeMap::new(), first_cell: 0 }
    }
}

/// Rows that are put together of keys and of cells as JSON.
#[derive(Debug)]
pub(crate) struct Typed<'a> {
    direct: &'a Direct,
    grid: Grid,
    keys: Vec<&'a [u8]>,
    bad: BTreeMap<usize, String>,
    first_cell: usize,
}

impl<'a> Typed<'a> {
    /// Begins a row. Its columns are null until they are given a cell.
    pub(crate) fn begin(&mut self, key: &'a [u8]) {
        self.keys.push(key);
        self.first_cell = self.grid.cells();
        self.direct.values.iter().for_each(|_| self.grid.push_empty(Kind::Null));
    }

    /// Sets a cell of the row that was begun last; `nth` counts the columns that are not of the key.
    pub(crate) fn cell(&mut self, nth: usize, json: &[u8]) {
        if let Err(why) = self.push(nth, json) {
            self.refuse(format!("column `{}` {why}", self.name(nth)));
        }
    }

    fn name(&self, nth: usize) -> &str {
        &self.direct.schema().columns[self.direct.values[nth]].name
    }

    fn push(&mut self, nth: usize, json: &[u8]) -> Result<(), String> {
        let text = std::str::from_utf8(json).map_err(|_| "is not UTF-8".to_owned())?;
        if let [b'"', inner @ ..] = json
            && inner.iter().position(|byte| matches!(byte, b'"' | b'\\')) != Some(inner.len().wrapping_sub(1))
        {
            // It has escapes, or is no text.
            serde_json::from_str::<String>(text).map_err(|error| ndjson::plain(&error))?;
        }
        let at = self.grid.block.len();
        self.grid.block.extend_from_slice(json);
        ndjson::push_value(&mut self.grid, text, at, self.direct.raw[nth])?;
        self.grid.move_last_to(self.first_cell + nth);
        Ok(())
    }

    /// Says that the row that was begun last does not fit.
    pub(crate) fn refuse(&mut self, why: String) {
        self.bad.entry(self.keys.len().saturating_sub(1)).or_insert(why);
    }

    /// The rows that fit, and the others by their number, with the reason.
    ///
    /// # Errors
    /// When Arrow refuses what was checked.
    pub(crate) fn finish(mut self) -> Result<(RecordBatch, BTreeMap<usize, String>)> {
        let plan = &self.direct.rows;
        let keys = self.keys()?;
        if keys.num_rows() == 0 {
            return Ok((RecordBatch::new_empty(plan.arrow.clone()), self.bad));
        }
        let positions = plan.schema.key_positions();
        let mut arrays: Vec<Option<ArrayRef>> = vec![None; plan.schema.columns.len()];
        for (position, array) in positions.into_iter().zip(keys.columns()) {
            arrays[position] = Some(array.clone());
        }
        let mut bad = std::mem::take(&mut self.bad);
        for (nth, position) in self.direct.values.iter().enumerate() {
            let Column { name, ty, nullable, .. } = &plan.schema.columns[*position];
            let origin = infer::Origin::Declared;
            let source =
                column::Source { grid: &self.grid, column: nth, name, nullable: *nullable, may_lack: false, origin };
            arrays[*position] = Some(column::build(&source, ty, &mut |row, reason| {
                bad.entry(row).or_insert(reason);
            }));
        }
        let arrays: Vec<ArrayRef> = arrays.into_iter().flatten().collect();
        if bad.is_empty() {
            return Ok((plan.batch(arrays)?, bad));
        }
        let keep: BooleanArray = (0..self.keys.len()).map(|row| Some(!bad.contains_key(&row))).collect();
        let kept = arrays.iter().map(|array| arrow_select::filter::filter(array, &keep)).collect::<Result<_, _>>();
        Ok((plan.batch(kept.map_err(Error::arrow("take bad rows out"))?)?, bad))
    }

    /// The columns of the key. What is no key of this table gets the place of one that is, and is refused.
    fn keys(&mut self) -> Result<RecordBatch> {
        let encoder = &self.direct.rows.encoder;
        if let Ok(keys) = encoder.decode(self.keys.iter().copied()) {
            return Ok(keys);
        }
        let fits: Vec<bool> = self.keys.iter().map(|key| encoder.decode([*key]).is_ok()).collect();
        for row in (0..fits.len()).filter(|row| !fits[*row]) {
            let why = format!("{} bytes are not a key of this table", self.keys[row].len());
            self.bad.entry(row).or_insert(why);
        }
        let filler = fits.iter().position(|fits| *fits).map(|row| self.keys[row]);
        let Some(filler) = filler else {
            return Ok(RecordBatch::new_empty(encoder.arrow().clone()));
        };
        let keys = self.keys.iter().zip(&fits).map(|(key, fits)| if *fits { *key } else { filler });
        Ok(encoder.decode(keys.collect::<Vec<_>>())?)
    }
}

/// A text in parts of whole lines, of at most so many records.
fn blocks(source: &str, text: &[u8], most_records: usize) -> Result<Vec<Block>> {
    let mut rest = text.strip_prefix("\u{feff}".as_bytes()).unwrap_or(text);
    let (mut found, mut line) = (Vec::new(), 1);
    while !rest.is_empty() {
        let (mut end, mut lines) = (rest.len(), 0);
        let mut from = 0;
        for stop in memchr_iter(b'\n', rest) {
            if stop - from > MAX_RECORD {
                break;
            }
            (from, lines) = (stop + 1, lines + 1);
            if from >= BLOCK || lines >= most_records {
                end = from;
                break;
            }
        }
        if end - from > MAX_RECORD {
            let why = format!("the record on line {} is longer than {MAX_RECORD} bytes", line + lines as u64);
            return Err(Error::source(source, why));
        }
        found.push(Block { bytes: rest[..end].to_vec(), line });
        (rest, line) = (&rest[end..], line + lines as u64);
    }
    Ok(found)
}

#[cfg(test)]
mod tests;
