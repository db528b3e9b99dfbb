//! Leaves: the canonical form of a run of rows, columnar, ready for Arrow without copying.
//!
//! Format: `docs/format/leaf.md`. Owns nothing; a leaf is a value over its bytes.
//!
//! Invariant: the same rows under the same schema are the same bytes, whatever path built them.
//!
//! Not here: how a leaf is stored (`crate::codec`, `crate::patch`), where a table is cut into leaves.

use std::ops::{Deref, Range};

use arrow_array::{ArrayRef, RecordBatch, RecordBatchOptions};
use arrow_buffer::Buffer;
use bytes::Bytes;
use syncline_base::Hash;
use syncline_store::buffers;

use crate::content::ContentRef;
use crate::schema::Schema;
use crate::{Error, Result};

#[cfg(any(test, fuzzing))]
#[cfg_attr(fuzzing, expect(dead_code, reason = "the fuzzer needs a part of it"))]
#[expect(clippy::unwrap_used, reason = "tests and the fuzzer use it")]
pub(crate) mod arbitrary;
mod bound;
mod export;
mod external;
pub(crate) mod import;
pub(crate) mod layout;
mod nested;
pub(crate) mod wire;

pub(crate) use export::export;
pub use external::{externalise, internalise};
pub(crate) use layout::ColumnNode;
pub(crate) use layout::MAX_DEPTH;
use layout::{ALIGN, MAX_LEAF, MAX_ROWS, Node, pad};
use wire::{Fault, Reader, put_varint};

const MAGIC: [u8; 4] = *b"SYLF";
const VERSION: u8 = 1;
/// Magic, version, three zero bytes, then four numbers: rows, columns, length of shapes, externals.
const HEADER: usize = 24;
/// Column, row, root, length, height, three zero bytes.
const EXTERNAL: usize = 52;

/// A cell longer than this is stored outside its leaf: of utf8, binary or json by its bytes; of a nested type by how much the form that
/// it has outside is longer than that of the blank cell which stays behind.
pub const INLINE_MAX: usize = 16 * 1024;

/// A cell whose bytes lie outside the leaf.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct External {
    /// Column id.
    pub column: u32,
    /// Row in the leaf (or in the batch it came with).
    pub row: u32,
    /// Where the bytes are.
    pub content: ContentRef,
}

/// Canonical bytes of a conformed batch (all the schema's columns, rows sorted by key). `externals` are its cells that
/// lie outside, sorted by (column, row); those cells are blank in the batch.
pub fn encode(schema: &Schema, batch: &RecordBatch, externals: &[External]) -> Result<Bytes> {
    let columns = nodes_of(schema, batch)?;
    assemble(batch.num_rows(), &columns, externals)
}

/// The canonical columns of a batch: those that are not all null.
pub(crate) fn nodes_of(schema: &Schema, batch: &RecordBatch) -> Result<Vec<ColumnNode<Buffer>>> {
    if batch.num_columns() != schema.columns.len() {
        let (has, needs) = (batch.num_columns(), schema.columns.len());
        return Err(Error::invalid(format!("a batch has {has} columns, the schema {needs}: conform it first")));
    }
    let mut columns = Vec::with_capacity(batch.num_columns());
    for (column, array) in schema.columns.iter().zip(batch.columns()) {
        let node = node_of(column, array)?;
        if !node.all_null() {
            columns.push((column.id, node));
        }
    }
    Ok(columns)
}

/// The canonical node of one column of a conformed batch.
pub(crate) fn node_of(column: &crate::schema::Column, array: &ArrayRef) -> Result<Node<Buffer>> {
    if !column.nullable && array.null_count() > 0 {
        return Err(has_nulls(column));
    }
    node_with_nulls(column, array)
}

/// As [`node_of`], for a batch with cells that do not matter: those may be null.
pub(crate) fn node_with_nulls(column: &crate::schema::Column, array: &ArrayRef) -> Result<Node<Buffer>> {
    if !column.ty.is_arrow(array.data_type()) {
        let (name, is) = (&column.name, array.data_type());
        return Err(Error::invalid(format!(
            "column {name:?} of a batch is {is}, not as the schema says: conform it first"
        )));
    }
    import::import(&column.ty, array)
}

pub(crate) fn has_nulls(column: &crate::schema::Column) -> Error {
    Error::invalid(format!("column {:?} may not be null, a batch has nulls in it", column.name))
}

/// Canonical bytes of columns in order of id, none of them all null.
pub(crate) fn assemble<B: Deref<Target = [u8]>>(
    rows: usize,
    columns: &[ColumnNode<B>],
    externals: &[External],
) -> Result<Bytes> {
    let shapes = shapes(columns);
    let total = head_len(shapes.len(), externals.len()) + columns.iter().map(|(_, node)| node.size()).sum::<usize>();
    if total > MAX_LEAF {
        return Err(Error::invalid(format!(
            "a leaf of {rows} rows takes {total} bytes, over {MAX_LEAF}: use smaller lists"
        )));
    }
    let mut out = buffers::take(total);
    put_head(&mut out, rows, columns.len(), &shapes, externals);
    columns.iter().for_each(|(_, node)| node.write(&mut out));
    debug_assert_eq!(out.len(), total, "sizes are computed as they are written");
    Ok(buffers::freeze(out))
}

/// Ids and shapes of columns.
pub(crate) fn shapes<B>(columns: &[ColumnNode<B>]) -> Vec<u8> {
    let mut out = Vec::with_capacity(columns.len() * 5);
    let mut next = 0;
    for (id, node) in columns {
        put_varint(&mut out, u64::from(id - next));
        node.describe(&mut out);
        next = id + 1;
    }
    out
}

/// Length of what [`put_head`] writes.
pub(crate) fn head_len(shapes: usize, externals: usize) -> usize {
    pad(HEADER + shapes + externals * EXTERNAL)
}

/// Header, shapes and externals of a leaf, padded.
pub(crate) fn put_head(out: &mut Vec<u8>, rows: usize, columns: usize, shapes: &[u8], externals: &[External]) {
    out.extend_from_slice(&MAGIC);
    out.extend_from_slice(&[VERSION, 0, 0, 0]);
    for number in [rows, columns, shapes.len(), externals.len()] {
        out.extend_from_slice(&(number as u32).to_le_bytes());
    }
    out.extend_from_slice(shapes);
    put_externals(out, externals);
    out.resize(out.len().next_multiple_of(ALIGN), 0);
}

pub(crate) fn put_externals(out: &mut Vec<u8>, externals: &[External]) {
    for external in externals {
        out.extend_from_slice(&external.column.to_le_bytes());
        out.extend_from_slice(&external.row.to_le_bytes());
        out.extend_from_slice(external.content.root.as_bytes());
        out.extend_from_slice(&external.content.len.to_le_bytes());
        out.extend_from_slice(&[external.content.height, 0, 0, 0]);
    }
}

/// Reads `count` externals.
pub(crate) fn read_externals(reader: &mut Reader<'_>, count: usize) -> Result<Vec<External>, Fault> {
    let bytes = reader.take(count.checked_mul(EXTERNAL).ok_or("too many externals")?)?;
    let mut reader = Reader::new(bytes);
    let mut externals = Vec::with_capacity(count);
    for _ in 0..count {
        let column = u32::from_le_bytes(reader.array()?);
        let row = u32::from_le_bytes(reader.array()?);
        let root = Hash::from_bytes(reader.array()?);
        let len = u64::from_le_bytes(reader.array()?);
        let [height, 0, 0, 0] = reader.array()? else { return Err("an external is not followed by zeroes".to_owned()) };
        let external = External { column, row, content: ContentRef { root, len, height } };
        if externals.last().is_some_and(|last: &External| (last.column, last.row) >= (column, row)) {
            return Err("externals are out of order".to_owned());
        }
        externals.push(external);
    }
    Ok(externals)
}

/// Reads ids and shapes of `count` columns of `rows` slots.
pub(crate) fn read_shapes(reader: &mut Reader<'_>, count: usize, rows: usize) -> Result<Vec<ColumnNode<()>>, Fault> {
    let mut budget = MAX_LEAF;
    let mut columns = Vec::new();
    let mut next = 0_u32;
    for _ in 0..count {
        let gap = reader.count(u32::MAX as usize - 1)? as u32;
        let id = next.checked_add(gap).filter(|id| *id < u32::MAX).ok_or("a column id is too large")?;
        columns.push((id, Node::read(reader, rows, &mut budget, 0)?));
        next = id + 1;
    }
    Ok(columns)
}

/// Checks that externals are blank cells of the columns given.
pub(crate) fn check_externals<B: Deref<Target = [u8]>>(
    externals: &[External],
    columns: &[ColumnNode<B>],
    rows: usize,
) -> Result<(), Fault> {
    for external in externals {
        let (column, row) = (external.column, external.row as usize);
        let node = columns.binary_search_by_key(&column, |(id, _)| *id).map(|i| &columns[i].1);
        let fits = node.is_ok_and(|node| node.kind.may_be_long() && row < rows && node.is_blank(row..row + 1));
        if !fits {
            return Err(format!(
                "the external cell {row} of column {column} is not a blank cell of a type of any length"
            ));
        }
    }
    Ok(())
}

/// A checked leaf over its canonical bytes. Cheap to clone but for its layout.
#[derive(Debug, Clone)]
pub struct Leaf {
    bytes: Bytes,
    rows: usize,
    columns: Vec<ColumnNode<Range<usize>>>,
    externals: Vec<External>,
}

impl Leaf {
    /// Checks the whole structure of canonical bytes. Never panics, whatever the bytes.
    ///
    /// # Errors
    /// `corrupt`, with what is wrong.
    pub fn parse(bytes: Bytes) -> Result<Self> {
        Self::read(bytes).map_err(|fault| Error::corrupt(format!("bytes cannot be read as a leaf: {fault}")))
    }

    pub(crate) fn read(bytes: Bytes) -> Result<Self, Fault> {
        if bytes.len() > MAX_LEAF {
            return Err(format!("{} bytes are too many", bytes.len()));
        }
        let mut reader = Reader::new(&bytes);
        if reader.array()? != MAGIC {
            return Err("they do not start like one".to_owned());
        }
        match reader.array::<4>()? {
            [VERSION, 0, 0, 0] => {}
            [version, ..] => {
                return Err(format!("its version is {version}, this program knows {VERSION}: use a newer one"));
            }
        }
        let mut number = || reader.array().map(|four| u32::from_le_bytes(four) as usize);
        let (rows, count, shapes_len, externals) = (number()?, number()?, number()?, number()?);
        if rows > MAX_ROWS {
            return Err(format!("{rows} rows are more than {MAX_ROWS}"));
        }
        let mut shapes = Reader::new(reader.take(shapes_len)?);
        let columns = read_shapes(&mut shapes, count, rows)?;
        if shapes.left() > 0 {
            return Err("bytes after the shapes".to_owned());
        }
        let externals = read_externals(&mut reader, externals)?;
        let mut at = pad(reader.at());
        let columns: Vec<_> = columns.iter().map(|(id, node)| (*id, node.place(&mut at))).collect();
        if at != bytes.len() {
            return Err(format!("{} bytes where its columns take {at}", bytes.len()));
        }
        let end = reader.at();
        let leaf = Self { bytes: aligned(bytes), rows, columns, externals };
        leaf.check(end)?;
        Ok(leaf)
    }

    fn check(&self, mut end: usize) -> Result<(), Fault> {
        let mut padded = true;
        let mut gap = |start: usize, stop: usize| {
            padded &= self.bytes[end..start].iter().all(|byte| *byte == 0);
            end = stop;
        };
        for (_, node) in &self.columns {
            // Empty buffers lie where the next one starts, so the gaps between buffers are the padding.
            node.map(&mut |range| {
                if !range.is_empty() {
                    gap(range.start, range.end);
                }
            });
        }
        gap(self.bytes.len(), self.bytes.len());
        if !padded {
            return Err("padding is not zero".to_owned());
        }
        let columns: Vec<_> = self.columns().collect();
        for (id, node) in &columns {
            node.check().map_err(|fault| format!("column {id}: {fault}"))?;
            if node.all_null() {
                return Err(format!("column {id} is all null and should be left out"));
            }
        }
        check_externals(&self.externals, &columns, self.rows)
    }

    /// The canonical bytes.
    #[must_use]
    pub fn bytes(&self) -> &Bytes {
        &self.bytes
    }

    /// How many rows there are.
    #[must_use]
    pub fn rows(&self) -> usize {
        self.rows
    }

    /// Cells that lie outside, sorted by (column, row).
    #[must_use]
    pub fn externals(&self) -> &[External] {
        &self.externals
    }

    /// Columns as slices of the leaf.
    pub(crate) fn columns(&self) -> impl ExactSizeIterator<Item = ColumnNode<&[u8]>> {
        self.columns.iter().map(|(id, node)| (*id, node.map(&mut |range| &self.bytes[range.clone()])))
    }

    /// One column as a slice of the leaf; `None` when all its cells are null.
    pub(crate) fn column(&self, id: u32) -> Option<Node<&[u8]>> {
        let i = self.columns.binary_search_by_key(&id, |(id, _)| *id).ok()?;
        Some(self.columns[i].1.map(&mut |range| &self.bytes[range.clone()]))
    }

    /// The rows as Arrow arrays over this leaf's bytes: all columns, or those with the ids in `projection`, in its
    /// order. A column the leaf does not have reads as nulls. External cells read as blank.
    ///
    /// # Errors
    /// `corrupt` when the leaf is not of this schema.
    pub fn batch(&self, schema: &Schema, projection: Option<&[u32]>) -> Result<RecordBatch> {
        let buffer = Buffer::from(self.bytes.clone());
        batch_of(schema, projection, self.rows, |id| {
            let i = self.columns.binary_search_by_key(&id, |(id, _)| *id).ok();
            Ok(i.map(|i| self.columns[i].1.map(&mut |range| buffer.slice_with_length(range.start, range.len()))))
        })
    }

    /// Checks what `parse` does not: that these bytes are what [`encode`] gives for these rows.
    ///
    /// # Errors
    /// `corrupt` when they are not.
    pub fn check_canonical(&self, schema: &Schema) -> Result<()> {
        let again = encode(schema, &self.batch(schema, None)?, &self.externals)?;
        if again == self.bytes {
            return Ok(());
        }
        Err(Error::corrupt("a leaf is not in canonical form: its rows encode to other bytes"))
    }
}

/// A batch of columns that `column` gives by id.
pub(crate) fn batch_of(
    schema: &Schema,
    projection: Option<&[u32]>,
    rows: usize,
    mut column: impl FnMut(u32) -> Result<Option<Node<Buffer>>>,
) -> Result<RecordBatch> {
    let positions: Vec<usize> = match projection {
        None => (0..schema.columns.len()).collect(),
        Some(ids) => ids.iter().map(|id| position(schema, *id)).collect::<Result<_>>()?,
    };
    let arrow = schema.arrow_of(&positions);
    let mut arrays = Vec::with_capacity(positions.len());
    for (position, field) in positions.iter().zip(arrow.fields()) {
        let wanted = &schema.columns[*position];
        let node = column(wanted.id)?;
        arrays.push(export(wanted, field.data_type(), node.as_ref(), rows)?);
    }
    let options = RecordBatchOptions::new().with_row_count(Some(rows));
    RecordBatch::try_new_with_options(arrow, arrays, &options)
        .map_err(|error| Error::corrupt(format!("a leaf does not fit its schema: {error}")))
}

pub(crate) fn position(schema: &Schema, id: u32) -> Result<usize> {
    schema.position(id).ok_or_else(|| Error::invalid(format!("the schema has no column with id {id}")))
}

/// The same bytes, at an address Arrow can use.
fn aligned(bytes: Bytes) -> Bytes {
    if bytes.as_ptr().addr().is_multiple_of(ALIGN) {
        return bytes;
    }
    Bytes::from_owner(Aligned(Buffer::from_slice_ref(&bytes[..])))
}

struct Aligned(Buffer);

impl AsRef<[u8]> for Aligned {
    fn as_ref(&self) -> &[u8] {
        &self.0
    }
}

#[cfg(test)]
pub(crate) mod tests;
