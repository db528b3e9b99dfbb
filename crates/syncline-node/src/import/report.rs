//! What an import says about itself: counts, bad rows, repeated keys.

use std::fmt::{self, Write as _};
use std::fs::File;
use std::io::{BufWriter, Write as _};
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::Error;

/// How many bad rows and duplicates are kept to be shown.
pub(crate) const SHOWN: usize = 10;

/// Where a row is in its source.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Place {
    /// The source as it was given.
    pub file: String,
    /// The line the row begins on (text formats), from 1.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub line: Option<u64>,
    /// The row's number (other formats), from 1.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub row: Option<u64>,
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.line, self.row) {
            (Some(line), _) => write!(f, "{}:{line}", self.file),
            (None, Some(row)) => write!(f, "{} row {row}", self.file),
            (None, None) => f.write_str(&self.file),
        }
    }
}

/// A row that does not fit.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct BadRow {
    /// Where it is.
    #[serde(flatten)]
    pub place: Place,
    /// Why it does not fit.
    pub reason: String,
}

/// A key that comes more than once.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Duplicate {
    /// The key's values.
    pub key: serde_json::Map<String, serde_json::Value>,
    /// Where its rows are (at most ten of them).
    pub places: Vec<Place>,
}

/// What an import did.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct Report {
    /// Rows in the sources, bad ones included.
    pub rows_read: u64,
    /// Rows handed on to the table.
    pub rows: u64,
    /// Rows that do not fit.
    pub rejected: u64,
    /// The first of them.
    #[serde(skip_serializing_if = "Vec::is_empty", default)]
    pub bad_rows: Vec<BadRow>,
    /// The last repeated key, to tell its further rows from another key's.
    #[serde(skip)]
    pub(crate) last_key: Option<Vec<u8>>,
    /// Rows whose key had come before in the same import.
    pub duplicates: u64,
    /// The first of their keys.
    #[serde(skip_serializing_if = "Vec::is_empty", default)]
    pub duplicate_keys: Vec<Duplicate>,
    /// Bytes read from the sources.
    pub bytes_read: u64,
    /// Bytes written to temporary files to sort.
    pub spilled_bytes: u64,
    /// Whether the sources were in key order already.
    pub in_order: bool,
    /// Time since the import was opened.
    pub seconds: f64,
}

impl Report {
    pub(crate) fn bad_rows_text(&self) -> String {
        let mut text = format!("{} of {} rows do not fit; nothing was imported", self.rejected, self.rows_read);
        for bad in &self.bad_rows {
            let _ = write!(text, "\n  {}: {}", bad.place, bad.reason);
        }
        if self.rejected > self.bad_rows.len() as u64 {
            let _ = write!(text, "\n  … and {} more", self.rejected - self.bad_rows.len() as u64);
        }
        text.push_str("\nfix them, or give --reject FILE to put them there and import the rest");
        text
    }

    pub(crate) fn duplicates_text(&self) -> String {
        let mut text = format!("{} rows repeat a key; nothing was imported", self.duplicates);
        for duplicate in &self.duplicate_keys {
            let places: Vec<String> = duplicate.places.iter().map(ToString::to_string).collect();
            let key = serde_json::Value::Object(duplicate.key.clone());
            let _ = write!(text, "\n  {key} at {}", places.join(", "));
        }
        if self.duplicates > self.duplicate_keys.len() as u64 {
            text.push_str("\n  …");
        }
        text.push_str("\ngive --on-duplicate last or --on-duplicate first to keep one of them");
        text
    }
}

/// A row that does not fit, before it is counted.
#[derive(Debug, Clone)]
pub(crate) struct Bad {
    /// See [`position`].
    pub(crate) position: u64,
    pub(crate) reason: String,
    /// The row as it is in the source.
    pub(crate) text: String,
}

const ORDINAL_BITS: u32 = 44;

/// Source and ordinal (line or row, from 1) in one number that grows in input order.
pub(crate) const fn position(source: u32, ordinal: u64) -> u64 {
    (source as u64) << ORDINAL_BITS | ordinal
}

/// What [`position`] was made of.
pub(crate) const fn source_of(position: u64) -> (usize, u64) {
    ((position >> ORDINAL_BITS) as usize, position & ((1 << ORDINAL_BITS) - 1))
}

/// Names of the sources, and whether their ordinals are lines.
#[derive(Debug, Clone, Default)]
pub(crate) struct Names(pub(crate) Vec<(String, bool)>);

impl Names {
    pub(crate) fn place(&self, position: u64) -> Place {
        let (source, ordinal) = source_of(position);
        match self.0.get(source) {
            Some((file, true)) => Place { file: file.clone(), line: Some(ordinal), row: None },
            Some((file, false)) => Place { file: file.clone(), line: None, row: Some(ordinal) },
            None => Place { file: String::new(), line: None, row: Some(ordinal) },
        }
    }
}

/// The file bad rows go to: one JSON object per line. Created with the first of them, and emptied when there are none.
#[derive(Debug)]
pub(crate) struct Rejects {
    path: PathBuf,
    file: Option<BufWriter<File>>,
}

#[derive(Serialize)]
struct Rejected<'a> {
    #[serde(flatten)]
    place: &'a Place,
    reason: &'a str,
    row: &'a str,
}

impl Rejects {
    pub(crate) const fn new(path: PathBuf) -> Self {
        Self { path, file: None }
    }

    pub(crate) fn write(&mut self, place: &Place, bad: &Bad) -> Result<(), Error> {
        let named = |source| Error::Write { name: self.path.display().to_string(), source };
        let file = match &mut self.file {
            Some(file) => file,
            None => self.file.insert(BufWriter::new(File::create(&self.path).map_err(named)?)),
        };
        let line = Rejected { place, reason: &bad.reason, row: &bad.text };
        serde_json::to_writer(&mut *file, &line).map_err(|error| named(error.into()))?;
        file.write_all(b"\n").map_err(named)
    }

    pub(crate) fn finish(&mut self) -> Result<(), Error> {
        let named = |source| Error::Write { name: self.path.display().to_string(), source };
        match &mut self.file {
            Some(file) => file.flush().map_err(named),
            // Nobody is to take the rows of an earlier import for this one's.
            None => match File::options().write(true).truncate(true).open(&self.path) {
                Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(named(error)),
                _ => Ok(()),
            },
        }
    }
}
