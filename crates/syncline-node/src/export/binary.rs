//! Parquet and Arrow IPC.

use std::fmt::Display;

use arrow_array::RecordBatch;
use arrow_cast::{CastOptions, cast_with_options};
use arrow_ipc::writer::{FileWriter, StreamWriter};
use arrow_schema::SchemaRef;
use parquet::arrow::ArrowWriter;
use parquet::basic::{Compression, ZstdLevel};
use parquet::file::properties::{CdcOptions, WriterProperties};
use syncline_tree::schema::portable;

use super::{Error, Out};

/// Rows in a Parquet row group: it is held in memory (compressed) until it is whole.
const GROUP_ROWS: usize = 512 << 10;
/// A row group ends early when it has so many bytes.
const GROUP_BYTES: usize = 64 << 20;

fn refused(name: &str, reason: impl Display) -> Error {
    Error::Format { name: name.to_owned(), reason: reason.to_string() }
}

/// Parquet with zstd. The Arrow schema is kept inside, so types that Parquet does not have read back as they were; those
/// that other readers would take for bare numbers are written as the nearest that they know.
pub(super) fn parquet<E: From<Error>>(
    schema: &SchemaRef,
    batches: impl Iterator<Item = Result<RecordBatch, E>>,
    out: &mut Out,
    content_defined: bool,
) -> Result<(), E> {
    let name = out.name().to_owned();
    let properties = WriterProperties::builder()
        .set_compression(Compression::ZSTD(ZstdLevel::default()))
        .set_max_row_group_row_count(Some(GROUP_ROWS))
        .set_content_defined_chunking(content_defined.then(CdcOptions::default))
        .build();
    let portable = portable(schema).map_err(|error| refused(&name, error))?;
    let written = portable.as_ref().unwrap_or(schema).clone();
    let mut writer = ArrowWriter::try_new(out, written, Some(properties)).map_err(|error| refused(&name, error))?;
    for batch in batches {
        let batch = match &portable {
            Some(portable) => converted(&batch?, portable).map_err(|error| refused(&name, error))?,
            None => batch?,
        };
        writer.write(&batch).map_err(|error| refused(&name, error))?;
        if writer.in_progress_size() >= GROUP_BYTES {
            writer.flush().map_err(|error| refused(&name, error))?;
        }
    }
    writer.close().map_err(|error| refused(&name, error))?;
    Ok(())
}

/// A batch with the columns of another schema, each value kept or the export refused.
fn converted(batch: &RecordBatch, schema: &SchemaRef) -> Result<RecordBatch, String> {
    let options = CastOptions { safe: false, ..CastOptions::default() };
    let columns = batch.columns().iter().zip(schema.fields()).map(|(column, field)| {
        if column.data_type() == field.data_type() {
            return Ok(column.clone());
        }
        cast_with_options(column, field.data_type(), &options).map_err(|error| {
            format!(
                "column {:?} has a value that {} cannot hold ({error}); export it to arrow, csv or ndjson",
                field.name(),
                field.data_type()
            )
        })
    });
    RecordBatch::try_new(schema.clone(), columns.collect::<Result<_, _>>()?).map_err(|error| error.to_string())
}

/// An Arrow IPC file. Not compressed: who asks for Arrow wants to map it, or to read it as fast as it comes.
pub(super) fn arrow_file<E: From<Error>>(
    schema: &SchemaRef,
    batches: impl Iterator<Item = Result<RecordBatch, E>>,
    out: &mut Out,
) -> Result<(), E> {
    let name = out.name().to_owned();
    let writer = FileWriter::try_new(out, schema);
    let mut writer = writer.map_err(|error| refused(&name, error))?;
    for batch in batches {
        writer.write(&batch?).map_err(|error| refused(&name, error))?;
    }
    writer.finish().map_err(|error| refused(&name, error))?;
    Ok(())
}

/// An Arrow IPC stream, not compressed.
pub(super) fn arrow_stream<E: From<Error>>(
    schema: &SchemaRef,
    batches: impl Iterator<Item = Result<RecordBatch, E>>,
    out: &mut Out,
) -> Result<(), E> {
    let name = out.name().to_owned();
    let writer = StreamWriter::try_new(out, schema);
    let mut writer = writer.map_err(|error| refused(&name, error))?;
    for batch in batches {
        writer.write(&batch?).map_err(|error| refused(&name, error))?;
    }
    writer.finish().map_err(|error| refused(&name, error))?;
    Ok(())
}
