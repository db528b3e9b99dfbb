//! Export: batches of a table become a file of any supported format.
//!
//! A file appears whole or not at all: it is written under a temporary name next to its place, synced and renamed.
//!
//! Owns: nothing between calls. After a crash: a temporary file (`.NAME.syncline-*`) may be left next to the target.
//!
//! Not here: reading the table, choosing the version.

use std::path::PathBuf;

use arrow_array::RecordBatch;
use arrow_schema::SchemaRef;
use serde::{Deserialize, Serialize};
use syncline_base::Kind;

use crate::import::Format;

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
#[derive(Debug, Clone, Default)]
pub struct Options {
    /// The format; by the target's extension when `None`.
    pub format: Option<Format>,
    /// Parquet: cut pages by content, so that two versions of the table share most of their bytes in stores that
    /// find equal chunks.
    pub content_defined_chunking: bool,
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
pub fn write<E: From<Error>>(
    schema: &SchemaRef,
    batches: impl Iterator<Item = Result<RecordBatch, E>>,
    target: &Target,
    options: &Options,
) -> Result<Report, E> {
    let _ = batches;
    unimplemented!("{schema:?} {target:?} {options:?}")
}

/// Rows as JSON objects.
pub fn json_rows(batch: &RecordBatch) -> Result<Vec<serde_json::Map<String, serde_json::Value>>, Error> {
    unimplemented!("{batch:?}")
}
