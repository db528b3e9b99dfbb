//! Runs: sorted batches in a temporary file without a name.

use std::fs::File;
use std::io::{BufReader, BufWriter, Seek as _};

use arrow_array::RecordBatch;
use arrow_ipc::CompressionType;
use arrow_ipc::reader::StreamReader;
use arrow_ipc::writer::{IpcWriteOptions, StreamWriter};

use super::{Keyed, Shared};
use crate::import::{Error, Result};

/// A run that can be read.
pub(super) struct Run {
    file: File,
    pub(super) bytes: u64,
    /// Whether its rows came out of order.
    pub(super) was_sorted: bool,
}

/// A run that is being written.
pub(super) struct Open {
    writer: StreamWriter<BufWriter<File>>,
    name: String,
    /// The last key written.
    pub(super) last: Vec<u8>,
    pub(super) was_sorted: bool,
}

impl Open {
    pub(super) fn new(shared: &Shared) -> Result<Self> {
        let dir = &shared.limits.temp_dir;
        let name = format!("a temporary file in {}", dir.display());
        let failed = |source| Error::Write { name: name.clone(), source };
        std::fs::create_dir_all(dir).map_err(failed)?;
        let file = tempfile::tempfile_in(dir).map_err(failed)?;
        let options = IpcWriteOptions::default()
            .try_with_compression(Some(CompressionType::LZ4_FRAME))
            .map_err(Error::arrow("prepare a sort run"))?;
        let file = BufWriter::with_capacity(1 << 18, file);
        let writer = StreamWriter::try_new_with_options(file, &shared.schema, options);
        let writer = writer.map_err(|error| unwritten(&name, error))?;
        Ok(Self { writer, name, last: Vec::new(), was_sorted: false })
    }

    pub(super) fn append(&mut self, batch: &RecordBatch, last: &[u8]) -> Result<()> {
        self.writer.write(batch).map_err(|error| unwritten(&self.name, error))?;
        self.last.clear();
        self.last.extend_from_slice(last);
        Ok(())
    }

    pub(super) fn finish(self) -> Result<Run> {
        let Self { writer, name, was_sorted, .. } = self;
        let buffered = writer.into_inner().map_err(|error| unwritten(&name, error))?;
        let failed = |source| Error::Write { name: name.clone(), source };
        let mut file = buffered.into_inner().map_err(|error| failed(error.into_error()))?;
        let bytes = file.stream_position().map_err(failed)?;
        file.rewind().map_err(failed)?;
        Ok(Run { file, bytes, was_sorted })
    }
}

/// A full disk is the system's error, not Arrow's.
fn unwritten(name: &str, error: arrow_schema::ArrowError) -> Error {
    match error {
        arrow_schema::ArrowError::IoError(_, source) => Error::Write { name: name.to_owned(), source },
        source => Error::Arrow { during: "write a sort run", source },
    }
}

impl Run {
    /// Its batches with their keys.
    pub(super) fn read(self, shared: &Shared) -> Result<Box<dyn Iterator<Item = Result<Keyed>> + Send>> {
        let reader = StreamReader::try_new(BufReader::with_capacity(1 << 17, self.file), None);
        let reader = reader.map_err(Error::arrow("read a sort run"))?;
        let keys_of = shared.keys_of.clone();
        Ok(Box::new(reader.map(move |batch| {
            let batch = batch.map_err(Error::arrow("read a sort run"))?;
            let keys = keys_of(&batch)?;
            Ok((batch, keys))
        })))
    }
}

/// Writes sorted batches as one run.
pub(super) fn write_all(shared: &Shared, rows: impl Iterator<Item = Result<Keyed>>) -> Result<Run> {
    let mut open = Open::new(shared)?;
    open.was_sorted = true;
    for keyed in rows {
        let (batch, keys) = keyed?;
        open.append(&batch, keys.get(keys.len() - 1))?;
    }
    open.finish()
}
