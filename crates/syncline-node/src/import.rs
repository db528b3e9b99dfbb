//! Import: files of any supported format become sorted, unique rows of one table.
//!
//! [`open`] looks at the sources, settles the schema and returns [`Prepared`]: the schema and an iterator of batches
//! that is in key order, has each key once and holds only rows that fit the schema. The iterator is the whole import:
//! what a caller does with it (upsert, replace, delete) is its own business.
//!
//! How a source becomes rows:
//! - text (`csv`, `ndjson`): one thread cuts the bytes into blocks of whole records, workers parse blocks side by
//!   side (`blocks`), cells become columns by one set of rules for both formats (`column`);
//! - Parquet (`parquet`): workers decode disjoint sets of columns of the same rows ahead of the consumer;
//! - Arrow IPC (`ipc`): one thread ahead of the consumer;
//! - then, on the consumer's thread (`rows`): null keys are taken out, order is checked, and rows go straight through
//!   or into `crate::sort`.
//!
//! Whether rows go straight through is decided before the first row is handed out, because a row handed out cannot be
//! taken back: Parquet and IPC files are checked by reading their key columns only, which is cheap; any other input
//! is collected up to the sort budget, and if it is larger it goes through a temporary file (as one run, without being
//! sorted or merged, when it comes in order).
//!
//! All or nothing: the first row that does not fit ends the output, the rest is only read to count what else is wrong,
//! and the iterator ends with [`Error::BadRows`]. With `Options::reject` such rows are written there and left out.
//!
//! Owns: threads and temporary files for the lifetime of [`Rows`]. After a crash: nothing is left (temporary files have
//! no name), except a partly written reject file.
//!
//! Not here: what an operation does to the table, transactions, printing.

mod ahead;
mod chunk;
mod column;
mod csv;
mod declare;
pub(crate) mod direct;
mod error;
mod fit;
mod frames;
mod grid;
mod guard;
mod infer;
mod ipc;
mod json;
mod logical;
mod ndjson;
mod nested;
mod order;
mod parquet;
mod partial;
mod places;
mod plan;
mod positioned;
mod report;
mod rows;
mod source;
mod text;
mod types;

use std::fmt;
use std::io::Read;
use std::path::PathBuf;
use std::sync::Arc;

use arrow_array::RecordBatch;
use serde::{Deserialize, Serialize};
use syncline_base::{Clock, SystemClock};
use syncline_tree::key::{KeyEncoder, Keys};
use syncline_tree::scalar;
use syncline_tree::schema::{Field, Schema};

pub(crate) use ahead::ahead;
pub use declare::{parse_type, read_schema};
pub use error::Error;
pub(crate) use ipc::arrow_stream;
#[cfg(any(test, fuzzing))]
pub(crate) use parquet::read_footer as read_parquet_footer;
pub use report::{BadRow, Duplicate, Place, Report};
pub use rows::{Handle, Rows};
pub(crate) use source::by_extension;
pub(crate) use types::fields_of;

/// Result of this module.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// A file format.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Format {
    /// Comma-separated values (RFC 4180) with a header line.
    Csv,
    /// Tab-separated values: like CSV with a tab.
    Tsv,
    /// One JSON object per line.
    Ndjson,
    /// Apache Parquet.
    Parquet,
    /// Arrow IPC file ("Feather v2").
    Arrow,
    /// Arrow IPC stream.
    ArrowStream,
}

/// How text is compressed around its format.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Compression {
    /// Not at all.
    None,
    /// gzip, all members.
    Gzip,
    /// Zstandard, all frames.
    Zstd,
}

/// What the rows will be used for: decides which columns must be there.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Mode {
    /// Insert new keys, update existing ones; columns that are not in the source keep their cells.
    #[default]
    Upsert,
    /// The table becomes exactly these rows.
    Replace,
    /// Insert; a key that exists is an error (raised by the caller).
    Append,
    /// Delete the keys; only key columns are read.
    Delete,
}

/// What to do when one input has a key more than once.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum OnDuplicate {
    /// Refuse the import and list them.
    #[default]
    Error,
    /// Keep the last row of the input.
    Last,
    /// Keep the first row of the input.
    First,
}

/// Where bytes come from.
pub enum Input {
    /// A file.
    Path(PathBuf),
    /// A part of a file that holds several sources one after the other.
    Part {
        /// Shown in messages; its extension tells the format unless `Options::format` does.
        name: String,
        /// The file.
        file: PathBuf,
        /// Where the source begins.
        start: u64,
        /// How long it is.
        bytes: u64,
    },
    /// Standard input.
    Stdin,
    /// Any other stream, with a name for messages and for telling the format.
    Reader {
        /// Shown in messages; its extension tells the format unless `Options::format` does.
        name: String,
        /// The bytes.
        reader: Box<dyn Read + Send>,
    },
}

impl Input {
    /// A command-line argument: `-` is standard input.
    #[must_use]
    pub fn from_arg(arg: &str) -> Self {
        if arg == "-" { Self::Stdin } else { Self::Path(PathBuf::from(arg)) }
    }
}

impl fmt::Debug for Input {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Path(path) => write!(f, "{}", path.display()),
            Self::Stdin => f.write_str("-"),
            Self::Part { name, .. } | Self::Reader { name, .. } => f.write_str(name),
        }
    }
}

/// How far an import is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Progress {
    /// Bytes read from the sources (compressed size for compressed text).
    pub bytes: u64,
    /// All bytes there are, when every source's size is known.
    pub total: Option<u64>,
    /// Rows handed out.
    pub rows: u64,
}

/// Is called about once per batch, on the consumer's thread. The import ends early when the answer is no.
pub type OnProgress = Arc<dyn Fn(Progress) -> bool + Send + Sync>;

/// Tells which of these keys, which ascend, the table has.
pub type Known = Arc<dyn Fn(&Keys) -> Result<Vec<bool>> + Send + Sync>;

/// How to import.
#[derive(Clone)]
pub struct Options {
    /// Format of every source; by extension when `None`.
    pub format: Option<Format>,
    /// A declared schema (see [`read_schema`]); only for a table that does not exist yet.
    pub schema: Option<Vec<Field>>,
    /// What the rows are for.
    pub mode: Mode,
    /// For upserts into a table that exists: what keys it has. With it, rows that lack columns which may not be null are
    /// taken when they are there already, and are bad rows when they are not; without it they are refused.
    pub known: Option<Known>,
    /// What to do with repeated keys.
    pub on_duplicate: OnDuplicate,
    /// Bad rows are written here (one JSON object per line: file, line, reason, row) instead of refusing the import.
    pub reject: Option<PathBuf>,
    /// CSV and TSV: the first line has the column names. Without it columns are the table's (or the declared schema's) in
    /// its order, or `column_1`, `column_2`, … when nothing says what they are.
    pub header: bool,
    /// CSV: the separator, when it is not the format's own.
    pub delimiter: Option<u8>,
    /// CSV and TSV: besides an empty field, this unquoted text is null too.
    pub null: Option<String>,
    /// How many bytes of text (of all sources together) are looked at to infer types. A value after them that does not
    /// fit is a bad row.
    pub infer_bytes: u64,
    /// Memory for sorting. Inputs that are larger and not in key order go through temporary files.
    pub sort_bytes: usize,
    /// The longest record that is accepted.
    pub max_record_bytes: usize,
    /// Rows per batch handed out.
    pub batch_rows: usize,
    /// Where temporary files go; inside the replica.
    pub temp_dir: PathBuf,
    /// Told how far the import is.
    pub progress: Option<OnProgress>,
    /// Measures the time in the report.
    pub clock: Arc<dyn Clock>,
}

impl Options {
    /// The defaults, with temporary files in `temp_dir`.
    #[must_use]
    pub fn new(temp_dir: impl Into<PathBuf>) -> Self {
        Self {
            format: None,
            schema: None,
            mode: Mode::Upsert,
            known: None,
            on_duplicate: OnDuplicate::Error,
            reject: None,
            header: true,
            delimiter: None,
            null: None,
            infer_bytes: 64 << 20,
            sort_bytes: 128 << 20,
            max_record_bytes: 64 << 20,
            batch_rows: 8192,
            temp_dir: temp_dir.into(),
            progress: None,
            clock: Arc::new(SystemClock),
        }
    }
}

/// Which columns the source gave for the rows of a batch. The others hold nulls (or zeros, where null is not allowed)
/// and must keep their old cells when an existing row is updated. Zeros stand only in rows that exist ([`Known`]).
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Given {
    /// All columns, for all rows.
    All,
    /// The columns with these ids (ascending), for all rows.
    Same(Arc<[u32]>),
    /// Per row: all columns (`None`), or those with these ids.
    PerRow(Vec<Option<Arc<[u32]>>>),
}

impl Given {
    /// The ids of the columns given for a row; `None` is all.
    #[must_use]
    pub fn of(&self, row: usize) -> Option<&[u32]> {
        match self {
            Self::All => None,
            Self::Same(ids) => Some(ids),
            Self::PerRow(rows) => rows[row].as_deref(),
        }
    }
}

/// A batch of the import's result.
#[derive(Debug, Clone)]
pub struct Sorted {
    /// All columns of the schema; keys strictly ascending within the batch and from batch to batch.
    pub rows: RecordBatch,
    /// Which cells came from the source.
    pub given: Given,
}

/// An import that is ready to run.
#[derive(Debug)]
pub struct Prepared {
    /// The table's schema: the existing one, or the one for the new table.
    pub schema: Schema,
    /// The rows.
    pub rows: Rows,
}

/// Looks at the sources, settles the schema and prepares the rows.
///
/// `existing` is the schema of the table when it exists; `key` names the key columns (may be empty when the table
/// exists, and must name its key otherwise).
///
/// # Errors
/// When a source cannot be opened, formats or schemas do not fit each other or the table, or the key is not usable.
pub fn open(inputs: Vec<Input>, options: &Options, existing: Option<&Schema>, key: &[String]) -> Result<Prepared> {
    if inputs.is_empty() {
        return Err(Error::invalid("there is nothing to import; name files, or - for standard input"));
    }
    let counter = source::Counter::default();
    let mut total = Some(0);
    let (mut seen, mut names) = (Vec::new(), report::Names::default());
    for input in inputs {
        let source = source::Source::new(input, options.format)?;
        names.0.push((source.name.clone(), source.has_lines()));
        total = total.and_then(|total: u64| Some(total + source.size?));
        let mut source = plan::look(source, options, &counter)?;
        if !options.header {
            source.name_columns(existing, options)?;
        }
        seen.push(source);
    }
    let (schema, inferred) = settle(&mut seen, options, existing, key)?;
    let common = plan::Common {
        arrow: schema.arrow(),
        encoder: KeyEncoder::new(&schema)?,
        schema: Arc::new(schema.clone()),
        shapes: Arc::new(chunk::Shapes::new()),
        inferred: Arc::new(inferred),
        counter,
        mode: options.mode,
        partial: options.mode == Mode::Upsert && existing.is_some() && options.known.is_some(),
    };
    let handle = rows::Handle::new(common.clone(), options.clock.clone());
    let plan = |(index, seen)| plan::plan(seen, index, &common);
    let mut sources = seen.into_iter().enumerate().map(plan).collect::<Result<Vec<_>>>()?;
    let in_order = plan::in_order(&mut sources, &common)?;
    let start = rows::Start { sources, names, handle, total, in_order };
    Ok(Prepared { schema, rows: Rows::new(start, options)? })
}

fn settle(
    seen: &mut [plan::Seen],
    options: &Options,
    existing: Option<&Schema>,
    key: &[String],
) -> Result<(Schema, plan::Inferred)> {
    let Some(existing) = existing else {
        if options.mode == Mode::Delete {
            return Err(Error::invalid("the table does not exist, so there is nothing to delete from it"));
        }
        return plan::new_schema(seen, options, key);
    };
    if options.schema.is_some() {
        return Err(Error::invalid("the table exists and has a schema; a declared one is for a new table"));
    }
    let positions = existing.key_positions();
    let names: Vec<&str> = positions.iter().map(|position| existing.columns[*position].name.as_str()).collect();
    if !key.is_empty() && names != key {
        let reason = format!("the table's key is {}, not {}", names.join(","), key.join(","));
        return Err(Error::invalid(reason));
    }
    Ok((existing.clone(), plan::Inferred::new()))
}

#[cfg(test)]
mod tests;
