//! Arrow IPC: read on one thread, some batches ahead. Decoding is little more than reading.

use std::fs::File;
use std::io::{BufReader, Read};

use arrow_array::RecordBatch;
use arrow_ipc::reader::{FileReader, StreamReader};
use arrow_schema::{ArrowError, SchemaRef};

use super::{Error, Result};

type Batches = Box<dyn Iterator<Item = Result<RecordBatch, ArrowError>> + Send>;

/// An IPC source whose schema has been read.
pub(super) struct Ipc {
    pub(super) name: String,
    pub(super) schema: SchemaRef,
    batches: Batches,
}

impl std::fmt::Debug for Ipc {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.name)
    }
}

impl Ipc {
    pub(super) fn file(name: &str, file: File) -> Result<Self> {
        let reader = FileReader::try_new_buffered(file, None).map_err(|error| Error::source(name, error))?;
        Ok(Self { name: name.to_owned(), schema: reader.schema(), batches: Box::new(reader) })
    }

    pub(super) fn stream(name: &str, reader: Box<dyn Read + Send>) -> Result<Self> {
        let reader = BufReader::with_capacity(1 << 18, reader);
        let reader = StreamReader::try_new(reader, None).map_err(|error| Error::source(name, error))?;
        Ok(Self { name: name.to_owned(), schema: reader.schema(), batches: Box::new(reader) })
    }

    /// The batches, the large ones in parts of at most this many rows.
    pub(super) fn batches(self, rows: usize) -> impl Iterator<Item = Result<RecordBatch>> + Send {
        let Self { name, batches, .. } = self;
        batches.flat_map(move |batch| match batch {
            Ok(batch) => parts(&batch, rows).into_iter().map(Ok).collect::<Vec<_>>(),
            Err(error) => vec![Err(Error::source(&name, error))],
        })
    }
}

/// Slices share the batch's buffers.
fn parts(batch: &RecordBatch, rows: usize) -> Vec<RecordBatch> {
    let starts = (0..batch.num_rows()).step_by(rows.max(1));
    starts.map(|start| batch.slice(start, rows.min(batch.num_rows() - start))).collect()
}
