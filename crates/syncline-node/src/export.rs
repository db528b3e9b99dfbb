//! Export: batches of a table become a file of any supported format.
//!
//! A file appears whole or not at all: it is written under a temporary name next to its place, synced and renamed.
//!
//! Owns: nothing between calls. After a crash: a temporary file (`.NAME.syncline-*`) may be left next to the target.
//!
//! Not here: reading the table, choosing the version.

mod binary;
mod file;
mod text;
mod value;

use std::path::PathBuf;
use std::sync::Arc;

use arrow_array::RecordBatch;
use arrow_schema::SchemaRef;
use serde::{Deserialize, Serialize};
use syncline_base::{Clock, Kind, SystemClock};

use syncline_tree::table::batch_bytes;

use crate::import::Format;
pub use file::Out;

/// About how many bytes of rows are formatted at once.
const PART_BYTES: usize = 2 << 20;

/// Where an export goes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Target {
    /// A file, replaced atomically.
    Path(PathBuf),
    /// Standard output.
    Stdout,
}

impl Target {
    /// A command-line argument: `-` is standard output.
    #[must_use]
    pub fn from_arg(arg: &str) -> Self {
        if arg == "-" { Self::Stdout } else { Self::Path(PathBuf::from(arg)) }
    }
}

/// How to export.
#[derive(Debug, Clone)]
pub struct Options {
    /// The format; by the target's extension when `None`.
    pub format: Option<Format>,
    /// Parquet: cut pages by content, so that two versions of the table share most of their bytes in stores that
    /// find equal chunks.
    pub content_defined_chunking: bool,
    /// Measures the time in the report.
    pub clock: Arc<dyn Clock>,
}

impl Default for Options {
    fn default() -> Self {
        Self { format: None, content_defined_chunking: false, clock: Arc::new(SystemClock) }
    }
}

/// What an export did.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct Report {
    /// Rows written.
    pub rows: u64,
    /// Bytes written.
    pub bytes: u64,
    /// How long it took.
    pub seconds: f64,
}

/// An export's error.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The target cannot be written.
    #[error("write {name}: {source}")]
    Write {
        /// The target.
        name: String,
        /// What the system says.
        source: std::io::Error,
    },
    /// The request does not fit.
    #[error("{0}")]
    Invalid(String),
    /// A format refused a batch.
    #[error("write {name}: {reason}")]
    Format {
        /// The target.
        name: String,
        /// What the format's writer says.
        reason: String,
    },
}

impl Error {
    /// What the caller should do about it.
    #[must_use]
    pub fn kind(&self) -> Kind {
        match self {
            Self::Write { source, .. } => Kind::of_io(source),
            Self::Invalid(_) | Self::Format { .. } => Kind::Invalid,
        }
    }
}

/// Writes all batches (of `schema`, from `Schema::arrow` of the table) to the target. `E` is the error of whoever makes
/// the batches; nothing is published when it fails.
///
/// # Errors
/// When the target cannot be written or the source of the batches fails.
pub fn write<E: From<Error> + Send>(
    schema: &SchemaRef,
    batches: impl Iterator<Item = Result<RecordBatch, E>>,
    target: &Target,
    options: &Options,
) -> Result<Report, E> {
    let started = options.clock.monotonic();
    let format = format_of(target, options)?;
    let mut out = Out::create(target)?;
    let mut rows = 0;
    let counted = batches.flat_map(parts).inspect(|batch| {
        rows += batch.as_ref().map_or(0, |batch| batch.num_rows() as u64);
    });
    match format {
        Format::Csv => text::csv(schema, counted, &mut out, b',')?,
        Format::Tsv => text::csv(schema, counted, &mut out, b'\t')?,
        Format::Ndjson => text::ndjson(schema, counted, &mut out)?,
        Format::Parquet => binary::parquet(schema, counted, &mut out, options.content_defined_chunking)?,
        Format::Arrow => binary::arrow_file(schema, counted, &mut out)?,
        Format::ArrowStream => binary::arrow_stream(schema, counted, &mut out)?,
    }
    let bytes = out.publish()?;
    let seconds = options.clock.monotonic().saturating_sub(started).as_secs_f64();
    Ok(Report { rows, bytes, seconds })
}

/// The rows of a batch in parts of some bytes, or of one row: a scan's batches are leaves, which are large when rows are long.
fn parts<E>(batch: Result<RecordBatch, E>) -> impl Iterator<Item = Result<RecordBatch, E>> {
    let (batch, error) = match batch {
        Ok(batch) => (Some(batch), None),
        Err(error) => (None, Some(error)),
    };
    let slices = batch.into_iter().flat_map(|batch| {
        let (rows, each) = (batch.num_rows(), batch_bytes(&batch) / batch.num_rows().max(1));
        let size = (PART_BYTES / each.max(1)).max(1);
        (0..rows).step_by(size).map(move |start| batch.slice(start, size.min(rows - start)))
    });
    slices.map(Ok).chain(error.map(Err))
}

/// Rows as JSON objects, one member per column, for showing to people. Decimals are text.
///
/// # Errors
/// When a column's type is not one a table can have.
pub fn json_rows(batch: &RecordBatch) -> Result<Vec<crate::rows::Cells>, Error> {
    text::json_rows(batch)
}

/// Writes a valid cell as text formats have it; nested ones as JSON.
pub(crate) fn write_cell(
    ty: &syncline_tree::schema::Type,
    array: &dyn arrow_array::Array,
    row: usize,
    out: &mut Vec<u8>,
) {
    value::text(ty, array, row, out);
}

/// Writes a cell as NDJSON has it.
pub(crate) fn write_json(
    ty: &syncline_tree::schema::Type,
    array: &dyn arrow_array::Array,
    row: usize,
    out: &mut Vec<u8>,
) {
    value::json(ty, array, row, out);
}

fn format_of(target: &Target, options: &Options) -> Result<Format, Error> {
    if let Some(format) = options.format {
        return Ok(format);
    }
    let Target::Path(path) = target else {
        return Err(Error::Invalid("standard output has no extension; give --format".to_owned()));
    };
    match crate::import::by_extension(&path.to_string_lossy()) {
        (Some(format), crate::import::Compression::None) => Ok(format),
        (Some(_), _) => Err(Error::Invalid(format!("{} cannot be compressed while it is written", path.display()))),
        (None, _) => Err(Error::Invalid(format!(
            "the name {} does not say its format; give --format csv, tsv, ndjson, parquet or arrow",
            path.display()
        ))),
    }
}

#[cfg(test)]
mod tests;
