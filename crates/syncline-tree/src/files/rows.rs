//! Entries to rows of the files table and back.

use std::sync::{Arc, LazyLock};

use arrow_array::cast::AsArray;
use arrow_array::types::{UInt8Type, UInt32Type, UInt64Type};
use arrow_array::{Array, ArrayRef, BinaryArray, RecordBatch, StringArray, UInt8Array, UInt32Array, UInt64Array};
use bytes::Bytes;

use super::{Content, Entry, FileKind, INLINE_MAX, path};
use crate::content::ContentRef;
use crate::leaf::External;
use crate::patch::ColumnSet;
use crate::schema::{Field, Schema, Type};
use crate::table::{Changes, Op, Rows};
use crate::{Error, Result};

/// Mean number of files in a leaf: with contents of up to 16 KiB in the rows, leaves of usual small files are near 64 KiB.
const LEAF_ROWS: u32 = 16;
/// The mode of a file that may be executed, and of one that may not. Links and folders have no mode.
const EXECUTABLE: u32 = 0o755;
const PLAIN: u32 = 0o644;

static SCHEMA: LazyLock<Schema> = LazyLock::new(|| {
    let column = |name: &str, ty| Field { name: name.to_owned(), ty, nullable: false };
    let columns = vec![
        column("path", Type::Utf8),
        column("kind", Type::UInt8),
        column("mode", Type::UInt32),
        column("size", Type::UInt64),
        column("content", Type::Binary),
    ];
    let schema = Schema::new(columns, &["path"]).expect("five plain columns and a key of text make a schema");
    Schema { leaf_rows: LEAF_ROWS, ..schema }
});

/// The schema of every files table.
#[must_use]
pub fn schema() -> Schema {
    SCHEMA.clone()
}

/// Where the columns are in a batch with all of them.
const PATH: usize = 0;
const KIND: usize = 1;
const MODE: usize = 2;
const SIZE: usize = 3;
const CONTENT: usize = 4;

/// The cells that say what a path holds: its size is that of its content, its kind says what that means, and its mode belongs to
/// both: a program is not run because of what somebody else wrote into it.
fn held() -> ColumnSet {
    [KIND, MODE, SIZE, CONTENT].into_iter().collect()
}

/// The cells of a path that two sides cannot share out, when these are the cells that each changed.
pub(crate) fn contested(ours: &ColumnSet, theirs: &ColumnSet) -> ColumnSet {
    let held = held();
    let touched = |side: &ColumnSet| side.iter().any(|position| held.contains(position));
    if touched(ours) && touched(theirs) { held } else { ColumnSet::new() }
}

/// These cells of a path, and those that have to be taken with them.
#[must_use]
pub fn taken_with(cells: ColumnSet) -> ColumnSet {
    let held = held();
    if cells.iter().any(|cell| held.contains(cell)) { cells.iter().chain(held.iter()).collect() } else { cells }
}

/// What is to become of a path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Edit {
    /// The path holds this from now on.
    Put(Entry),
    /// The path holds nothing from now on.
    Remove(String),
}

impl Edit {
    /// The path that is edited.
    #[must_use]
    pub fn path(&self) -> &str {
        match self {
            Self::Put(entry) => &entry.path,
            Self::Remove(path) => path,
        }
    }
}

/// The changes to a files table that these edits are. Edits must be sorted by path, each path once.
///
/// # Errors
/// `invalid` when a path breaks the rules, or inline content is longer than it may be.
pub fn changes(edits: &[Edit]) -> Result<Changes> {
    let mut externals = Vec::new();
    let mut ops = Vec::with_capacity(edits.len());
    let id = SCHEMA.columns[CONTENT].id;
    for (row, edit) in (0..).zip(edits) {
        match edit {
            Edit::Remove(_) => ops.push(Op::Delete),
            Edit::Put(entry) => {
                check(entry)?;
                if let Content::Chunks(content) = &entry.content {
                    externals.push(External { column: id, row, content: *content });
                }
                ops.push(Op::Upsert);
            }
        }
    }
    fn entry(edit: &Edit) -> Option<&Entry> {
        match edit {
            Edit::Put(entry) => Some(entry),
            Edit::Remove(_) => None,
        }
    }
    let mode = |entry: &Entry| match (entry.kind, entry.executable) {
        (FileKind::File, true) => EXECUTABLE,
        (FileKind::File, false) => PLAIN,
        _ => 0,
    };
    fn inline(entry: &Entry) -> &[u8] {
        match &entry.content {
            Content::Inline(bytes) => bytes,
            Content::Chunks(_) => &[],
        }
    }
    let columns: Vec<ArrayRef> = vec![
        Arc::new(StringArray::from_iter_values(edits.iter().map(Edit::path))),
        Arc::new(UInt8Array::from_iter_values(edits.iter().map(|e| entry(e).map_or(0, |e| e.kind.code())))),
        Arc::new(UInt32Array::from_iter_values(edits.iter().map(|e| entry(e).map_or(0, mode)))),
        Arc::new(UInt64Array::from_iter_values(edits.iter().map(|e| entry(e).map_or(0, |e| e.content.len())))),
        Arc::new(BinaryArray::from_iter_values(edits.iter().map(|e| entry(e).map_or(&[][..], inline)))),
    ];
    let rows = RecordBatch::try_new(SCHEMA.arrow(), columns)
        .map_err(|error| Error::invalid(format!("entries do not fit the files table: {error}")))?;
    Ok(Changes { rows, ops, externals })
}

fn check(entry: &Entry) -> Result<()> {
    path::check(&entry.path)
        .map_err(|fault| Error::invalid(format!("path {:?} cannot be in a dataset: {fault}", entry.path)))?;
    let fits = match (&entry.content, entry.kind) {
        (Content::Inline(bytes), FileKind::File | FileKind::Symlink) => bytes.len() <= INLINE_MAX,
        (Content::Inline(bytes), FileKind::Folder) => bytes.is_empty(),
        (Content::Chunks(content), FileKind::File) => content.len > INLINE_MAX as u64,
        (Content::Chunks(_), _) => false,
    };
    if !fits {
        let Entry { path, kind, content, .. } = entry;
        let text = format!("{path:?} cannot be a {kind:?} with {} bytes of content kept like this", content.len());
        return Err(Error::invalid(text));
    }
    Ok(())
}

/// The entries of rows with all columns of the files table.
///
/// # Errors
/// `corrupt` when rows are not such, or a path breaks the rules: it may have come from a peer.
pub fn entries(rows: &Rows) -> Result<Vec<Entry>> {
    let batch = &rows.batch;
    let wrong = |what: &str| Error::corrupt(format!("a files table has {what}: run verify"));
    let columns = batch.columns();
    let typed = columns.len() == SCHEMA.columns.len()
        && columns.iter().zip(SCHEMA.arrow().fields()).all(|(column, field)| column.data_type() == field.data_type())
        && columns.iter().all(|column| column.null_count() == 0);
    if !typed {
        return Err(wrong("other columns than a files table has"));
    }
    let paths = columns[PATH].as_string::<i32>();
    let kinds = columns[KIND].as_primitive::<UInt8Type>();
    let modes = columns[MODE].as_primitive::<UInt32Type>();
    let sizes = columns[SIZE].as_primitive::<UInt64Type>();
    let contents = columns[CONTENT].as_binary::<i32>();
    let mut externals = rows.externals.iter().filter(|e| e.column == SCHEMA.columns[CONTENT].id).peekable();
    let mut entries = Vec::with_capacity(batch.num_rows());
    for row in 0..batch.num_rows() {
        let path = paths.value(row);
        path::check(path).map_err(|fault| wrong(&format!("path {path:?} that may not be: {fault}")))?;
        let kind = FileKind::from_code(kinds.value(row));
        let kind = kind.ok_or_else(|| wrong(&format!("an unknown kind {} at {path:?}", kinds.value(row))))?;
        while externals.next_if(|e| (e.row as usize) < row).is_some() {}
        let content: Option<ContentRef> = externals.next_if(|e| e.row as usize == row).map(|e| e.content);
        let content = match content {
            Some(content) => Content::Chunks(content),
            None => Content::Inline(Bytes::copy_from_slice(contents.value(row))),
        };
        if content.len() != sizes.value(row) {
            return Err(wrong(&format!("{} bytes at {path:?} instead of {}", content.len(), sizes.value(row))));
        }
        let executable = kind == FileKind::File && modes.value(row) == EXECUTABLE;
        entries.push(Entry { path: path.to_owned(), kind, executable, content });
    }
    Ok(entries)
}

#[cfg(test)]
mod tests;
