//! The output of an import: chunks are checked, brought into key order if need be, and freed of repeated keys.
//!
//! Invariant: what `next` gives has strictly ascending keys, within a batch and from batch to batch.
//!
//! One batch is always held back, because its last row may turn out to be repeated by the next batch's first.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use arrow_array::cast::AsArray as _;
use arrow_array::types::{UInt32Type, UInt64Type};
use arrow_array::{ArrayRef, BooleanArray, RecordBatch, UInt32Array, UInt64Array};
use arrow_schema::{DataType, Field, SchemaRef};
use syncline_base::Clock;
use syncline_tree::key::Keys;

use super::chunk::{Chunk, Places, RowShapes};
use super::plan::{Chunks, Common, Planned};
use super::report::{Bad, BadRow, Duplicate, Names, Rejects, Report, SHOWN};
use super::{Error, Given, Known, OnDuplicate, OnProgress, Options, Progress, Result, Sorted, partial};
use crate::sort::{self, Keyed, Limits, Sorter};

/// What an import says about itself while it runs and afterwards. Clones are of the same import.
#[derive(Debug, Clone)]
pub struct Handle {
    report: Arc<Mutex<Report>>,
    common: Common,
    clock: Arc<dyn Clock>,
    started: Duration,
}

impl Handle {
    pub(super) fn new(common: Common, clock: Arc<dyn Clock>) -> Self {
        let started = clock.monotonic();
        Self { report: Arc::default(), common, clock, started }
    }

    /// The report so far; final once the rows have ended.
    #[must_use]
    pub fn report(&self) -> Report {
        let mut report = self.report.lock().unwrap_or_else(PoisonError::into_inner).clone();
        report.bytes_read = self.common.counter.get();
        report.seconds = self.clock.monotonic().saturating_sub(self.started).as_secs_f64();
        report
    }

    fn update<R>(&self, f: impl FnOnce(&mut Report) -> R) -> R {
        f(&mut self.report.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// The sorted, unique rows. After an error it gives nothing more.
pub struct Rows {
    handle: Handle,
    names: Names,
    known: Option<Known>,
    on_duplicate: OnDuplicate,
    rejects: Option<Rejects>,
    progress: Option<OnProgress>,
    total: Option<u64>,
    input: Input,
    held: Option<Part>,
    /// The last key seen, while the rows are checked against it.
    last: Vec<u8>,
    /// Something does not fit: nothing more is given, the rest is read to be counted.
    refused: bool,
    done: bool,
}

impl std::fmt::Debug for Rows {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Rows").field("report", &self.handle.report()).finish_non_exhaustive()
    }
}

enum Input {
    /// In key order already.
    Straight(Chunks),
    /// To be collected first.
    Collect(Chunks, Limits),
    /// Collected and sorted.
    Sorted(Box<dyn Iterator<Item = Result<Keyed>> + Send>),
    Ended,
}

/// Rows in key order, with what is known about them.
struct Part {
    chunk: Chunk,
    keys: Keys,
}

/// What [`Rows::new`] needs besides the options.
pub(super) struct Start {
    pub(super) sources: Vec<Planned>,
    pub(super) names: Names,
    pub(super) handle: Handle,
    pub(super) total: Option<u64>,
    pub(super) in_order: bool,
}

impl Rows {
    pub(super) fn new(start: Start, options: &Options) -> Result<Self> {
        let common = start.handle.common.clone();
        let (partial, settings) = (common.partial, options.clone());
        let chunks = start.sources.into_iter().flat_map(move |source| match source.chunks(&settings, &common) {
            Ok(chunks) => chunks,
            Err(error) => Box::new(std::iter::once(Err(error))),
        });
        let limits = Limits {
            bytes: options.sort_bytes,
            batch_rows: options.batch_rows.max(1),
            temp_dir: options.temp_dir.clone(),
        };
        let input =
            if start.in_order { Input::Straight(Box::new(chunks)) } else { Input::Collect(Box::new(chunks), limits) };
        start.handle.update(|report| report.in_order = start.in_order);
        Ok(Self {
            handle: start.handle,
            names: start.names,
            known: options.known.clone().filter(|_| partial),
            on_duplicate: options.on_duplicate,
            rejects: options.reject.clone().map(Rejects::new),
            progress: options.progress.clone(),
            total: start.total,
            input,
            held: None,
            last: Vec::new(),
            refused: false,
            done: false,
        })
    }

    /// What has happened so far; final once the iterator has ended.
    #[must_use]
    pub fn report(&self) -> Report {
        self.handle.report()
    }

    /// For looking at the report when the rows have been given away.
    #[must_use]
    pub fn handle(&self) -> Handle {
        self.handle.clone()
    }

    /// The next rows in key order; repeated keys are still there.
    fn next_part(&mut self) -> Result<Option<Part>> {
        loop {
            match std::mem::replace(&mut self.input, Input::Ended) {
                Input::Straight(mut chunks) => {
                    let Some(chunk) = chunks.next() else { return Ok(None) };
                    self.input = Input::Straight(chunks);
                    let chunk = self.note(chunk?)?;
                    if chunk.rows.num_rows() == 0 {
                        continue;
                    }
                    let keys = self.handle.common.encoder.encode(&chunk.rows)?;
                    if !sort::in_order(&keys) || self.last.as_slice() > keys.get(0) {
                        return Err(Error::invalid("a source has changed while it was read; import it again"));
                    }
                    return Ok(Some(Part { chunk, keys }));
                }
                Input::Collect(chunks, limits) => self.input = self.collect(chunks, limits)?,
                Input::Sorted(mut batches) => {
                    let Some(keyed) = batches.next() else { return Ok(None) };
                    self.input = Input::Sorted(batches);
                    let (batch, keys) = keyed?;
                    return Ok(Some(Part { chunk: unpack(&self.handle.common.arrow, &batch)?, keys }));
                }
                Input::Ended => return Ok(None),
            }
        }
    }

    fn collect(&mut self, chunks: Chunks, limits: Limits) -> Result<Input> {
        let encoder = self.handle.common.encoder.clone();
        let keys_of: sort::KeysOf = Arc::new(move |batch| Ok(encoder.encode(batch)?));
        let mut sorter = Sorter::new(packed_schema(&self.handle.common.arrow), keys_of, limits);
        for chunk in chunks {
            let chunk = self.note(chunk?)?;
            // A refused import needs no sorting: its rows are only read to be counted.
            if chunk.rows.num_rows() > 0 && !self.refused {
                let keys = self.handle.common.encoder.encode(&chunk.rows)?;
                sorter.push(pack(&chunk)?, keys)?;
            }
            self.tell()?;
        }
        if self.refused {
            return Ok(Input::Ended);
        }
        let output = sorter.finish()?;
        self.handle.update(|report| {
            report.in_order = output.in_order;
            report.spilled_bytes = output.spilled;
        });
        Ok(Input::Sorted(output.rows))
    }

    /// Counts a chunk's rows and deals with the bad ones.
    fn note(&mut self, mut chunk: Chunk) -> Result<Chunk> {
        let bad = std::mem::take(&mut chunk.bad);
        self.handle.update(|report| report.rows_read += (chunk.rows.num_rows() + bad.len()) as u64);
        bad.into_iter().try_for_each(|bad| self.refuse(bad))?;
        Ok(chunk)
    }

    /// Sets a bad row aside, or gives the import up.
    fn refuse(&mut self, bad: Bad) -> Result<()> {
        let place = self.names.place(bad.position);
        match &mut self.rejects {
            Some(rejects) => rejects.write(&place, &bad)?,
            None => self.refused = true,
        }
        self.handle.update(|report| {
            report.rejected += 1;
            if report.bad_rows.len() < SHOWN {
                report.bad_rows.push(BadRow { place, reason: bad.reason });
            }
        });
        Ok(())
    }

    /// Takes the rows out that the table does not have and that lack columns which may not be null.
    fn without_incomplete(&mut self, mut chunk: Chunk) -> Result<Chunk> {
        let Some(known) = self.known.clone() else { return Ok(chunk) };
        let common = self.handle.common.clone();
        let lacks = partial::lacking(&common.schema, &common.shapes.snapshot());
        let rows: Vec<usize> =
            (0..chunk.rows.num_rows()).filter(|row| !lacks[chunk.shapes.get(*row) as usize].is_empty()).collect();
        if rows.is_empty() {
            return Ok(chunk);
        }
        let all = common.encoder.encode(&chunk.rows)?;
        let keys: Keys = rows.iter().map(|row| all.get(*row)).collect();
        let found = known(&keys)?;
        let mut keep = vec![true; chunk.rows.num_rows()];
        for ((row, key), _) in rows.iter().zip(keys.iter()).zip(&found).filter(|(_, found)| !**found) {
            keep[*row] = false;
            let shape = chunk.shapes.get(*row) as usize;
            let given = common.shapes.snapshot()[shape].clone();
            self.refuse(Bad {
                position: chunk.places.get(*row),
                reason: partial::reason(&common.schema, key, &lacks[shape])?,
                text: partial::text(&common.schema, &chunk.rows.slice(*row, 1), given.as_deref()),
            })?;
        }
        if keep.contains(&false) {
            chunk.filter(&keep.into())?;
        }
        Ok(chunk)
    }

    fn tell(&self) -> Result<()> {
        let Some(progress) = &self.progress else { return Ok(()) };
        let rows = self.handle.update(|report| report.rows);
        let goes_on = progress(Progress { bytes: self.handle.common.counter.get(), total: self.total, rows });
        if goes_on { Ok(()) } else { Err(Error::Abandoned) }
    }

    /// Takes a part in and gives the one before it, without repeated keys.
    fn unique(&mut self, mut part: Part) -> Result<Option<Part>> {
        let follows = self.held.is_some() && self.last.as_slice() == part.keys.get(0);
        let repeats: Vec<bool> = (0..part.keys.len())
            .map(|i| if i == 0 { follows } else { part.keys.get(i) == part.keys.get(i - 1) })
            .collect();
        self.last.clear();
        self.last.extend_from_slice(part.keys.get(part.keys.len() - 1));
        if !repeats.contains(&true) {
            return Ok(self.held.replace(part));
        }
        self.note_duplicates(&part, &repeats)?;
        let rows = repeats.len();
        match self.on_duplicate {
            // Refused: what is given no longer matters.
            OnDuplicate::Error | OnDuplicate::First => {
                part.chunk.filter(&repeats.iter().map(|repeat| Some(!repeat)).collect::<BooleanArray>())?;
            }
            OnDuplicate::Last => {
                if repeats[0]
                    && let Some(held) = &mut self.held
                {
                    let kept = held.chunk.rows.num_rows() - 1;
                    held.chunk.filter(&(0..=kept).map(|row| Some(row < kept)).collect::<BooleanArray>())?;
                }
                let keep = (0..rows).map(|row| Some(!repeats.get(row + 1).copied().unwrap_or(false)));
                part.chunk.filter(&keep.collect::<BooleanArray>())?;
            }
        }
        if part.chunk.rows.num_rows() == 0 {
            return Ok(None);
        }
        Ok(self.held.replace(part))
    }

    fn note_duplicates(&mut self, part: &Part, repeats: &[bool]) -> Result<()> {
        let common = self.handle.common.clone();
        let count = repeats.iter().filter(|repeat| **repeat).count() as u64;
        self.refused |= self.on_duplicate == OnDuplicate::Error;
        let mut report = self.handle.report.lock().unwrap_or_else(PoisonError::into_inner);
        report.duplicates += count;
        let mut known: Option<Vec<u8>> = None;
        for row in (0..repeats.len()).filter(|row| repeats[*row]) {
            let key = part.keys.get(row);
            let place = self.names.place(part.chunk.places.get(row));
            let before = match row {
                0 => self.held.as_ref().map(|held| held.chunk.places.get(held.chunk.rows.num_rows() - 1)),
                _ => Some(part.chunk.places.get(row - 1)),
            };
            let continues = known.as_deref() == Some(key) || row == 0 && report.last_key.as_deref() == Some(key);
            known = Some(key.to_vec());
            if continues {
                if let Some(duplicate) = report.duplicate_keys.last_mut().filter(|known| known.places.len() < SHOWN) {
                    duplicate.places.push(place);
                }
            } else if report.duplicate_keys.len() < SHOWN {
                let key = syncline_tree::key::to_json(&common.schema, key)?;
                let first = before.map(|position| self.names.place(position));
                report.duplicate_keys.push(Duplicate { key, places: first.into_iter().chain([place]).collect() });
            } else {
                break;
            }
        }
        report.last_key = known;
        Ok(())
    }

    fn advance(&mut self) -> Result<Option<Sorted>> {
        loop {
            let ready = match self.next_part()? {
                Some(part) => self.unique(part)?,
                None => {
                    self.done = true;
                    self.held.take()
                }
            };
            let ready = ready.map(|part| self.without_incomplete(part.chunk)).transpose()?;
            if self.done {
                self.finish()?;
            }
            if let Some(chunk) = ready.filter(|chunk| !self.refused && chunk.rows.num_rows() > 0) {
                self.handle.update(|report| report.rows += chunk.rows.num_rows() as u64);
                self.tell()?;
                return Ok(Some(self.sorted(chunk)));
            }
            if self.done {
                self.tell()?;
                return Ok(None);
            }
        }
    }

    fn finish(&mut self) -> Result<()> {
        if let Some(rejects) = &mut self.rejects {
            rejects.finish()?;
        }
        if !self.refused {
            return Ok(());
        }
        let report = Box::new(self.handle.report());
        Err(if report.rejected > 0 && self.rejects.is_none() {
            Error::BadRows(report)
        } else {
            Error::Duplicates(report)
        })
    }

    fn sorted(&self, chunk: Chunk) -> Sorted {
        let shapes = self.handle.common.shapes.snapshot();
        let ids = |shape: u32| shapes.get(shape as usize).cloned().flatten();
        let given = match &chunk.shapes {
            RowShapes::One(shape) => ids(*shape).map_or(Given::All, Given::Same),
            RowShapes::Each(each) => Given::PerRow(each.iter().map(|shape| ids(*shape)).collect()),
        };
        Sorted { rows: chunk.rows, given }
    }
}

impl Iterator for Rows {
    type Item = Result<Sorted>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.done {
            return None;
        }
        let next = self.advance();
        if next.is_err() {
            self.done = true;
            self.input = Input::Ended;
            self.held = None;
        }
        next.transpose()
    }
}

/// The table's columns, then place and shape: what goes through a sort.
fn packed_schema(arrow: &SchemaRef) -> SchemaRef {
    let extra = [Field::new("place", DataType::UInt64, false), Field::new("shape", DataType::UInt32, false)];
    let fields = arrow.fields().iter().cloned().chain(extra.map(Arc::new));
    Arc::new(arrow_schema::Schema::new(fields.collect::<Vec<_>>()))
}

fn pack(chunk: &Chunk) -> Result<RecordBatch> {
    let rows = chunk.rows.num_rows();
    let places: ArrayRef = Arc::new(UInt64Array::from(chunk.places.to_vec(rows)));
    let shapes: ArrayRef = Arc::new(UInt32Array::from_iter_values((0..rows).map(|row| chunk.shapes.get(row))));
    let columns = chunk.rows.columns().iter().cloned().chain([places, shapes]).collect();
    RecordBatch::try_new(packed_schema(&chunk.rows.schema()), columns).map_err(Error::arrow("prepare rows for sorting"))
}

fn unpack(arrow: &SchemaRef, batch: &RecordBatch) -> Result<Chunk> {
    let mut columns = batch.columns().to_vec();
    let shapes = columns.pop().and_then(|array| array.as_primitive_opt::<UInt32Type>().map(|a| a.values().to_vec()));
    let places = columns.pop().and_then(|array| array.as_primitive_opt::<UInt64Type>().map(|a| a.values().to_vec()));
    let (Some(shapes), Some(places)) = (shapes, places) else {
        return Err(Error::invalid("a sorted batch has lost its last columns"));
    };
    let rows = RecordBatch::try_new(arrow.clone(), columns).map_err(Error::arrow("take sorted rows"))?;
    let shapes = match shapes.first() {
        Some(first) if shapes.iter().all(|shape| shape == first) => RowShapes::One(*first),
        _ => RowShapes::Each(shapes),
    };
    Ok(Chunk { rows, places: Places::Each(places), shapes, bad: Vec::new() })
}
