//! Arrow IPC: read on one thread, some batches ahead. Decoding is little more than reading.
//!
//! Memory: a batch of the source is decoded as a whole, so a few of its batches are held; their rows go on as copies, in
//! parts of the import's size, so that no part keeps a large batch alive.

use std::fs::File;
use std::io::{BufReader, Read};

use arrow_array::{ArrayRef, RecordBatch};
use arrow_ipc::reader::{FileReader, StreamReader};
use arrow_schema::SchemaRef;
use arrow_select::concat::concat;

use super::fit::FitPlan;
use super::frames::Frames;
use super::guard::{self, guarded};
use super::order::Order;
use super::positioned::Positioned;
use super::source::{Counter, Source};
use super::{Compression, Error, Result, logical, places};

const BUFFER: usize = 1 << 18;
/// Batches with more bytes come in parts of about so many.
const PART_BYTES: u64 = 4 << 20;
/// And of so many where all of their rows are the longest that there are.
const WORST_BYTES: u64 = 64 << 20;

type Batches = Box<dyn Iterator<Item = Result<RecordBatch>> + Send>;

/// An IPC source whose schema has been read.
#[derive(Debug)]
pub(super) struct Ipc {
    pub(super) name: String,
    pub(super) schema: SchemaRef,
    form: Form,
}

enum Form {
    File(Positioned),
    /// A stream that can be opened again.
    Source(Source),
    /// One that cannot: its batches.
    Once(Batches),
}

impl std::fmt::Debug for Form {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::File(_) => "file",
            Self::Source(_) => "stream of a file",
            Self::Once(_) => "stream",
        })
    }
}

type Reader = FileReader<BufReader<Positioned>>;

fn file_reader(name: &str, file: &Positioned, columns: Option<&[usize]>) -> Result<Reader> {
    let columns = columns.map(<[usize]>::to_vec);
    guarded(name, || FileReader::try_new(BufReader::with_capacity(BUFFER, file.at(0)), columns))
}

type Stream = StreamReader<BufReader<Box<dyn Read + Send>>>;

/// A stream of so many bytes, when that is known.
fn stream_reader(
    name: &str,
    reader: Box<dyn Read + Send>,
    size: Option<u64>,
    columns: Option<&[usize]>,
) -> Result<Stream> {
    let columns = columns.map(<[usize]>::to_vec);
    let frames: Box<dyn Read + Send> = Box::new(Frames::new(reader, size));
    guarded(name, || StreamReader::try_new(BufReader::with_capacity(BUFFER, frames), columns))
}

/// The schema and the batches of a stream that comes as it is, as they come.
///
/// # Errors
/// When it does not begin as a stream does. What is wrong further on is told instead of a batch, and ends it.
pub(crate) fn arrow_stream(
    name: &str,
    reader: Box<dyn Read + Send>,
) -> Result<(SchemaRef, impl Iterator<Item = Result<RecordBatch>> + Send + use<>)> {
    let reader = stream_reader(name, reader, None, None)?;
    Ok((reader.schema(), guard::Batches::new(name, reader)))
}

/// The stream of a file that can be opened again.
fn open_again(source: &mut Source, counter: &Counter, columns: Option<&[usize]>) -> Result<Stream> {
    let name = source.name.clone();
    let bytes = source.open(counter)?;
    let size = source.size.filter(|_| source.compression == Compression::None);
    stream_reader(&name, bytes, size, columns)
}

impl Ipc {
    pub(super) fn file(name: &str, file: File) -> Result<Self> {
        let file = Positioned::new(file).map_err(|source| Error::Read { name: name.to_owned(), source })?;
        places::check(name, &file)?;
        let schema = file_reader(name, &file, None)?.schema();
        Ok(Self { name: name.to_owned(), schema, form: Form::File(file) })
    }

    pub(super) fn stream(mut source: Source, counter: &Counter) -> Result<Self> {
        let name = source.name.clone();
        if source.rereadable() {
            let schema = open_again(&mut source, &Counter::default(), None)?.schema();
            return Ok(Self { name, schema, form: Form::Source(source) });
        }
        let reader = stream_reader(&name, source.open(counter)?, None, None)?;
        Ok(Self { schema: reader.schema(), form: Form::Once(Box::new(guard::Batches::new(&name, reader))), name })
    }

    /// Whether the keys do not fall, and the first and last of them; `None` for a stream that is read only once. Decodes
    /// the key's columns only.
    pub(super) fn key_order(&mut self, plan: &FitPlan) -> Result<Option<Order>> {
        let (columns, narrow) = plan.key_only().narrowed();
        let name = &self.name;
        let batches: Batches = match &mut self.form {
            Form::File(file) => Box::new(guard::Batches::new(name, file_reader(name, file, Some(&columns))?)),
            Form::Source(source) => {
                let reader = open_again(source, &Counter::default(), Some(&columns))?;
                Box::new(guard::Batches::new(name, reader))
            }
            Form::Once(_) => return Ok(None),
        };
        // Slices will do: nothing of them stays.
        let parts = batches.flat_map(|batch| -> Batches {
            match batch {
                Ok(batch) => {
                    let rows = part_rows(&batch, 8192);
                    let starts = (0..batch.num_rows()).step_by(rows);
                    Box::new(starts.map(move |start| Ok(batch.slice(start, rows.min(batch.num_rows() - start)))))
                }
                Err(error) => Box::new(std::iter::once(Err(error))),
            }
        });
        Order::of(parts, &narrow).map(Some)
    }

    /// The batches, the large ones in parts of at most this many rows and some megabytes.
    pub(super) fn batches(
        self,
        rows: usize,
        counter: &Counter,
    ) -> Result<impl Iterator<Item = Result<RecordBatch>> + Send + use<>> {
        let Self { name, form, .. } = self;
        let batches: Batches = match form {
            Form::File(file) => {
                let reader = file_reader(&name, &file, None)?;
                let (counter, count) = (counter.clone(), reader.num_batches().max(1) as u64);
                counter.add(file.size() % count);
                let batches = guard::Batches::new(&name, reader);
                Box::new(batches.inspect(move |_| counter.add(file.size() / count)))
            }
            Form::Source(mut source) => Box::new(guard::Batches::new(&name, open_again(&mut source, counter, None)?)),
            Form::Once(batches) => batches,
        };
        Ok(batches.flat_map(move |batch| -> Box<dyn Iterator<Item = Result<RecordBatch>> + Send> {
            match batch {
                Ok(batch) => {
                    let rows = part_rows(&batch, rows);
                    if batch.num_rows() <= rows {
                        return Box::new(std::iter::once(Ok(batch)));
                    }
                    Box::new(parts(batch, rows))
                }
                Err(error) => Box::new(std::iter::once(Err(error))),
            }
        }))
    }
}

/// How many rows a part of a batch has, at most `most`. What counts are its bytes when rows no longer share values.
fn part_rows(batch: &RecordBatch, most: usize) -> usize {
    let logical = logical::of_batch(batch);
    let each = logical.all / batch.num_rows().max(1) as u64;
    let fit = (PART_BYTES / each.max(1)).min(WORST_BYTES / logical.longest.max(1));
    usize::try_from(fit).unwrap_or(most).clamp(1, most.max(1))
}

/// Copies: a slice would keep the whole batch, and be taken for as large as it.
fn parts(batch: RecordBatch, rows: usize) -> impl Iterator<Item = Result<RecordBatch>> + Send {
    (0..batch.num_rows()).step_by(rows).map(move |start| {
        let part = batch.slice(start, rows.min(batch.num_rows() - start));
        // Putting two arrays together copies both.
        let copied = |array: &ArrayRef| concat(&[array.as_ref(), array.slice(0, 0).as_ref()]);
        let arrays = part.columns().iter().map(copied).collect::<Result<Vec<_>, _>>();
        let copy = arrays.and_then(|arrays| RecordBatch::try_new(part.schema(), arrays));
        copy.map_err(Error::arrow("cut a batch into parts"))
    })
}

#[cfg(test)]
mod tests;
