//! Entries as rows of the files table, and back.
//!
//! Owns no state. Not here: which paths are allowed (`super::path`), what a directory holds (`syncline-node`).

use std::sync::Arc;

use arrow_array::cast::AsArray;
use arrow_array::types::{UInt8Type, UInt32Type};
use arrow_array::{BinaryArray, RecordBatch, StringArray, UInt8Array, UInt32Array, UInt64Array};
use bytes::Bytes;

use super::{Content, Entry, FileKind, path};
use crate::key::KeyEncoder;
use crate::leaf::External;
use crate::schema::{Field, Schema, Type};
use crate::table::{Rows, Scan};
use crate::{Changes, Error, Op, Result, Table, diff};

/// Position and id of the content column: the one whose cells may lie outside the leaf.
const CONTENT: usize = 4;
/// Mean rows of a leaf. Rows hold up to 16 KiB of content each, so leaves are small in rows.
const LEAF_ROWS: u32 = 16;

/// The schema of every files table.
///
/// # Panics
/// Never: the schema is a constant.
#[must_use]
pub fn schema() -> Schema {
    let fields = vec![
        Field::new("path", Type::Utf8, false),
        Field::new("kind", Type::UInt8, false),
        Field::new("mode", Type::UInt32, false),
        Field::new("size", Type::UInt64, false),
        Field::new("content", Type::Binary, false),
    ];
    let schema = Schema::new(fields, &["path"]).and_then(|schema| schema.with_leaf_rows(LEAF_ROWS));
    schema.expect("a constant schema that the tests check")
}

/// A change to the files table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Edit {
    /// The path holds this now.
    Put(Entry),
    /// Nothing is at this path any more.
    Remove(String),
}

impl Edit {
    fn path(&self) -> &str {
        match self {
            Self::Put(entry) => &entry.path,
            Self::Remove(path) => path,
        }
    }
}

/// The changes that edits make, which must be in byte order of their paths, each path once.
///
/// # Errors
/// `invalid` when a path cannot be versioned.
pub fn changes(edits: &[Edit]) -> Result<Changes> {
    let mut ops = Vec::with_capacity(edits.len());
    let mut externals = Vec::new();
    let mut contents: Vec<&[u8]> = Vec::with_capacity(edits.len());
    for (row, edit) in edits.iter().enumerate() {
        path::check(edit.path()).map_err(|fault| Error::invalid(format!("path {:?}: {fault}", edit.path())))?;
        let (op, content): (Op, &[u8]) = match edit {
            Edit::Put(Entry { content: Content::Inline(bytes), .. }) => (Op::Upsert, bytes),
            Edit::Put(Entry { content: Content::Chunks(content), .. }) => {
                let row = u32::try_from(row).map_err(|_| Error::invalid("more than 2^32 edits at once"))?;
                externals.push(External { column: CONTENT as u32, row, content: *content });
                (Op::Upsert, &[])
            }
            Edit::Remove(_) => (Op::Delete, &[]),
        };
        ops.push(op);
        contents.push(content);
    }
    let entry = |edit| match edit {
        &Edit::Put(ref entry) => Some(entry),
        Edit::Remove(_) => None,
    };
    let kinds = edits.iter().map(|edit| entry(edit).map_or(0, |entry| entry.kind.code()));
    let modes = edits.iter().map(|edit| entry(edit).map_or(0, mode));
    let sizes = edits.iter().map(|edit| entry(edit).map_or(0, |entry| entry.content.len()));
    let rows = RecordBatch::try_new(
        schema().arrow(),
        vec![
            Arc::new(StringArray::from_iter_values(edits.iter().map(Edit::path))),
            Arc::new(UInt8Array::from_iter_values(kinds)),
            Arc::new(UInt32Array::from_iter_values(modes)),
            Arc::new(UInt64Array::from_iter_values(sizes)),
            Arc::new(BinaryArray::from_iter_values(contents)),
        ],
    )
    .map_err(|e| Error::invalid(format!("rows of files: {e}")))?;
    Ok(Changes { rows, ops, externals })
}

/// The only modes there are: what a checkout on any system can bring back.
fn mode(entry: &Entry) -> u32 {
    match entry.kind {
        FileKind::File if entry.executable => 0o755,
        FileKind::File => 0o644,
        FileKind::Symlink => 0o777,
        FileKind::Folder => 0o755,
    }
}

/// The entries that rows of a files table stand for.
///
/// # Errors
/// `corrupt` when the rows are not those of a files table.
pub fn entries(rows: &Rows) -> Result<Vec<Entry>> {
    let batch = &rows.batch;
    let wrong = |what: &str| Error::corrupt(format!("a files table has {what}"));
    if batch.num_columns() != CONTENT + 1 {
        return Err(wrong("other columns than path, kind, mode, size and content"));
    }
    let paths = batch.column(0).as_string_opt::<i32>().ok_or_else(|| wrong("paths that are no text"))?;
    let kinds = batch.column(1).as_primitive_opt::<UInt8Type>().ok_or_else(|| wrong("kinds that are no numbers"))?;
    let modes = batch.column(2).as_primitive_opt::<UInt32Type>().ok_or_else(|| wrong("modes that are no numbers"))?;
    let contents = batch.column(CONTENT).as_binary_opt::<i32>().ok_or_else(|| wrong("contents that are no bytes"))?;
    let mut externals = rows.externals.iter().peekable();
    (0..batch.num_rows())
        .map(|row| {
            let kind = FileKind::from_code(kinds.value(row)).ok_or_else(|| wrong("a kind that is not known"))?;
            let outside = externals.next_if(|external| external.row as usize == row);
            let content = match outside {
                Some(external) => Content::Chunks(external.content),
                None => Content::Inline(Bytes::copy_from_slice(contents.value(row))),
            };
            let executable = kind == FileKind::File && modes.value(row) & 0o100 != 0;
            Ok(Entry { path: paths.value(row).to_owned(), kind, executable, content })
        })
        .collect()
}

fn key(table: &Table, path: &str) -> Result<Vec<u8>> {
    let column = Arc::new(StringArray::from_iter_values([path]));
    let batch = RecordBatch::try_new(table.schema().arrow_of(&[0]), vec![column])
        .map_err(|e| Error::invalid(format!("path {path:?}: {e}")))?;
    Ok(KeyEncoder::new(table.schema())?.encode_key_columns(&batch)?.get(0).to_vec())
}

/// The entry at a path.
///
/// # Errors
/// The store's; `corrupt` when the table is not one of files.
pub fn get(table: &Table, path: &str) -> Result<Option<Entry>> {
    match table.get_rows(&key(table, path)?)? {
        Some(rows) => Ok(entries(&rows)?.pop()),
        None => Ok(None),
    }
}

/// All paths of a files table, in byte order.
///
/// # Errors
/// The store's; `corrupt` when the table is not one of files.
pub fn paths(table: &Table) -> Result<Vec<String>> {
    let mut paths = Vec::with_capacity(usize::try_from(table.rows()).unwrap_or(0).min(1 << 20));
    for batch in table.scan(Scan { columns: Some(vec!["path".into()]), ..Scan::default() })? {
        let batch = batch?;
        let column = batch.column(0).as_string_opt::<i32>();
        let column = column.ok_or_else(|| Error::corrupt("a files table has paths that are no text"))?;
        paths.extend(column.iter().flatten().map(str::to_owned));
    }
    Ok(paths)
}

/// Shows every path that differs between two files tables (an absent one is empty), with what is there before and
/// after, in byte order.
///
/// # Errors
/// The store's; those of `show`.
pub fn differences(
    store: &syncline_store::Store,
    old: Option<&Table>,
    new: Option<&Table>,
    show: &mut dyn FnMut(&str, Option<&Entry>, Option<&Entry>) -> Result<()>,
) -> Result<()> {
    let empty = Table::create(store, schema())?;
    for batch in diff::diff(old.unwrap_or(&empty), new.unwrap_or(&empty))? {
        let batch = batch?;
        let (mut before, mut after) = (entries(&batch.before)?.into_iter(), entries(&batch.after)?.into_iter());
        for kind in &batch.kinds {
            let (old, new) = match kind {
                diff::Change::Insert => (None, after.next()),
                diff::Change::Update => (before.next(), after.next()),
                diff::Change::Delete => (before.next(), None),
            };
            let Some(path) = old.as_ref().or(new.as_ref()).map(|entry| entry.path.as_str()) else { continue };
            show(path, old.as_ref(), new.as_ref())?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests;
