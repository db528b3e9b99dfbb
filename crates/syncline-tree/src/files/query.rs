//! Questions to a files table: one path, a folder, everything, what differs.

use std::ops::Bound;

use arrow_array::cast::AsArray;
use arrow_array::types::{UInt8Type, UInt32Type, UInt64Type};
use syncline_store::Store;

use super::rows::{entries, schema};
use super::{Entry, FileKind};
use crate::diff::{Change, DiffBatch};
use crate::table::{Scan, Table};
use crate::{Error, Result};

/// The encoded key of a path: its bytes, and the two zeros that end a text.
#[must_use]
pub fn key(path: &str) -> Vec<u8> {
    let mut key = Vec::with_capacity(path.len() + 2);
    // A path has no NUL, so nothing needs to be escaped.
    key.extend_from_slice(path.as_bytes());
    key.extend_from_slice(&[0, 0]);
    key
}

/// The path of an encoded key; `None` when it is not one of a files table.
#[must_use]
pub fn path_of(key: &[u8]) -> Option<&str> {
    std::str::from_utf8(key.strip_suffix(&[0, 0])?).ok()
}

/// A path without its content.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Listed {
    /// The path.
    pub path: String,
    /// What it is.
    pub kind: FileKind,
    /// Whether a regular file may be executed.
    pub executable: bool,
    /// Bytes of content.
    pub size: u64,
}

/// What a path holds.
///
/// # Errors
/// The store's.
pub fn get(table: &Table, path: &str) -> Result<Option<Entry>> {
    let Some(rows) = table.get_rows(&key(path))? else { return Ok(None) };
    Ok(entries(&rows)?.pop())
}

/// All entries in path order, a leaf at a time.
///
/// # Errors
/// The store's.
pub fn scan(table: &Table) -> Result<impl Iterator<Item = Result<Entry>> + Send + use<>> {
    let batches = table.scan_rows(Scan::default())?;
    Ok(flatten(batches.map(|rows| entries(&rows?))))
}

/// What is in a folder at any depth (`None`: in the whole table), in path order. Contents are not read.
///
/// # Errors
/// The store's.
pub fn list(table: &Table, folder: Option<&str>) -> Result<impl Iterator<Item = Result<Listed>> + Send + use<>> {
    let range = match folder {
        None => (Bound::Unbounded, Bound::Unbounded),
        Some(folder) => (
            Bound::Included(format!("{folder}/").into_bytes()),
            // The byte after '/'.
            Bound::Excluded(format!("{folder}0").into_bytes()),
        ),
    };
    let columns = ["path", "kind", "mode", "size"].map(str::to_owned).to_vec();
    let batches = table.scan_rows(Scan { columns: Some(columns), range, ..Scan::default() })?;
    Ok(flatten(batches.map(|rows| {
        let batch = rows?.batch;
        let wrong = || Error::corrupt("a files table has other columns than a files table has: run verify");
        let paths = batch.column(0).as_string_opt::<i32>().ok_or_else(wrong)?;
        let kinds = batch.column(1).as_primitive_opt::<UInt8Type>().ok_or_else(wrong)?;
        let modes = batch.column(2).as_primitive_opt::<UInt32Type>().ok_or_else(wrong)?;
        let sizes = batch.column(3).as_primitive_opt::<UInt64Type>().ok_or_else(wrong)?;
        let one = |row| {
            let kind = FileKind::from_code(kinds.value(row)).ok_or_else(wrong)?;
            let executable = kind == FileKind::File && modes.value(row) & 0o111 != 0;
            Ok(Listed { path: paths.value(row).to_owned(), kind, executable, size: sizes.value(row) })
        };
        (0..batch.num_rows()).map(one).collect::<Result<Vec<_>>>()
    })))
}

/// All paths, in order.
///
/// # Errors
/// The store's.
pub fn paths(table: &Table) -> Result<Vec<String>> {
    list(table, None)?.map(|listed| Ok(listed?.path)).collect()
}

fn flatten<T>(batches: impl Iterator<Item = Result<Vec<T>>>) -> impl Iterator<Item = Result<T>> {
    batches.flat_map(|batch| match batch {
        Ok(items) => items.into_iter().map(Ok).collect::<Vec<_>>(),
        Err(error) => vec![Err(error)],
    })
}

/// A path that differs between two tables.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Difference {
    /// The path.
    pub path: String,
    /// What it held; `None` when it held nothing.
    pub before: Option<Entry>,
    /// What it holds; `None` when it holds nothing.
    pub after: Option<Entry>,
}

/// The paths that differ, in order. `None` is a table without files. Memory is bounded however much differs.
///
/// # Errors
/// The store's.
pub fn diff(
    store: &Store,
    old: Option<&Table>,
    new: Option<&Table>,
) -> Result<impl Iterator<Item = Result<Difference>> + use<>> {
    let empty = || Table::create(store, schema());
    let old = old.cloned().map_or_else(empty, Ok)?;
    let new = new.cloned().map_or_else(empty, Ok)?;
    Ok(flatten(crate::diff::diff(&old, &new)?.map(|batch| pair(&batch?))))
}

fn pair(batch: &DiffBatch) -> Result<Vec<Difference>> {
    let (mut before, mut after) = (entries(&batch.before)?.into_iter(), entries(&batch.after)?.into_iter());
    let mut pairs = Vec::with_capacity(batch.kinds.len());
    for kind in &batch.kinds {
        let before = if *kind == Change::Insert { None } else { before.next() };
        let after = if *kind == Change::Delete { None } else { after.next() };
        let Some(path) = before.as_ref().or(after.as_ref()).map(|entry| entry.path.clone()) else {
            return Err(Error::corrupt("a difference between files has fewer rows than it says"));
        };
        pairs.push(Difference { path, before, after });
    }
    Ok(pairs)
}

/// Is shown a path that differs, with what is there before and after.
pub type Each<'a> = dyn FnMut(&str, Option<&Entry>, Option<&Entry>) -> Result<()> + 'a;

/// Calls `each` for every path that differs, in path order, with what it held and what it holds. As [`diff`] otherwise.
///
/// # Errors
/// Those of `each`; the store's.
pub fn differences(store: &Store, old: Option<&Table>, new: Option<&Table>, each: &mut Each<'_>) -> Result<()> {
    diff(store, old, new)?.try_for_each(|difference| {
        let Difference { path, before, after } = difference?;
        each(&path, before.as_ref(), after.as_ref())
    })
}
