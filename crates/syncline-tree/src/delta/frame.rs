//! One frame of a delta in bytes.
//!
//! Layout: `docs/format/delta.md`. Rows are sorted into groups of one operation and one set of cells; keys and the cells of
//! each group are leaves in stored form, so they are packed column by column.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow_array::{ArrayRef, RecordBatch, RecordBatchOptions, UInt32Array, new_null_array};
use arrow_schema::DataType;
use arrow_select::take::take;
use bytes::Bytes;

use super::{MAX_FRAME, MAX_WEIGHT};
use crate::codec::{self, Columns};
use crate::leaf::wire::{Fault, Reader, put_varint};
use crate::leaf::{self, External};
use crate::patch::ColumnSet;
use crate::schema::Schema;
use crate::table::{Changes, Op};
use crate::{Error, Result};

const VERSION: u8 = 1;
/// More rows than any sender puts in a frame.
const MAX_ROWS: usize = 1 << 22;

/// Bytes that a row of a frame weighs besides its cells, and a leaf's column.
const ROW: usize = 64;
const COLUMN: usize = 256;

/// An operation and the positions of the cells it comes with, keys left out.
type Group = (u8, Vec<usize>);

fn group_of(op: &Op, width: usize, is_key: &ColumnSet) -> Group {
    let cells = |all: &dyn Fn(usize) -> bool| (0..width).filter(|i| !is_key.contains(*i) && all(*i)).collect();
    match op {
        Op::Upsert => (0, cells(&|_| true)),
        Op::Insert => (1, cells(&|_| true)),
        Op::Delete => (2, Vec::new()),
        Op::Patch(columns) => (3, cells(&|i| columns.contains(i))),
        // Inserts the row when there is none, so it comes whole.
        Op::Merge(_) => (4, cells(&|_| true)),
    }
}

/// The frame for some changes.
///
/// # Errors
/// `invalid` when the changes are not of this schema, or too much for one frame.
pub fn encode_frame(schema: &Schema, changes: &Changes) -> Result<Bytes> {
    let (width, is_key) = (schema.columns.len(), schema.key_positions().into_iter().collect::<ColumnSet>());
    let mut numbers: BTreeMap<(u8, ColumnSet), usize> = BTreeMap::new();
    let (mut groups, mut members): (Vec<(&Op, Group)>, Vec<Vec<u32>>) = (Vec::new(), Vec::new());
    let mut runs: Vec<(usize, u64)> = Vec::new();
    let mut last: Option<(&Op, usize)> = None;
    for (row, op) in (0_u32..).zip(&changes.ops) {
        let number = match last {
            Some((same, number)) if same == op => number,
            _ => *numbers.entry(tag(op)).or_insert_with(|| {
                groups.push((op, group_of(op, width, &is_key)));
                members.push(Vec::new());
                groups.len() - 1
            }),
        };
        last = Some((op, number));
        members[number].push(row);
        match runs.last_mut() {
            Some((same, count)) if *same == number => *count += 1,
            _ => runs.push((number, 1)),
        }
    }
    let mut out = vec![VERSION];
    put_varint(&mut out, changes.ops.len() as u64);
    put_varint(&mut out, groups.len() as u64);
    for (op, (kind, _)) in &groups {
        out.push(*kind);
        if let Op::Patch(columns) | Op::Merge(columns) = op {
            put_ids(&mut out, schema, columns);
        }
    }
    for (number, count) in runs {
        put_varint(&mut out, number as u64 | (count - 1) << bits(groups.len()));
    }
    let mut keys = schema.key_positions();
    keys.sort_unstable();
    let mut weight = Weight::of(schema, changes.ops.len()).map_err(Error::invalid)?;
    put_leaf(&mut out, schema, &keys, changes, None, &mut weight)?;
    for ((_, (_, cells)), rows) in groups.iter().zip(members) {
        if !cells.is_empty() {
            put_leaf(&mut out, schema, cells, changes, Some(rows), &mut weight)?;
        }
    }
    if out.len() > MAX_FRAME {
        let (rows, len) = (changes.ops.len(), out.len());
        return Err(Error::invalid(format!("a delta frame of {rows} rows takes {len} bytes, over {MAX_FRAME}")));
    }
    Ok(out.into())
}

/// What a group is found by.
fn tag(op: &Op) -> (u8, ColumnSet) {
    match op {
        Op::Upsert => (0, ColumnSet::new()),
        Op::Insert => (1, ColumnSet::new()),
        Op::Delete => (2, ColumnSet::new()),
        Op::Patch(columns) => (3, columns.clone()),
        Op::Merge(columns) => (4, columns.clone()),
    }
}

/// Bits that a group's number takes in a run.
fn bits(groups: usize) -> u32 {
    groups.next_power_of_two().trailing_zeros()
}

fn put_ids(out: &mut Vec<u8>, schema: &Schema, columns: &ColumnSet) {
    let ids: Vec<u32> = columns.iter().filter_map(|i| schema.columns.get(i)).map(|column| column.id).collect();
    put_varint(out, ids.len() as u64);
    ids.iter().for_each(|id| put_varint(out, u64::from(*id)));
}

/// The schema of some columns, for a leaf of them.
fn part_of(schema: &Schema, positions: &[usize]) -> Schema {
    let columns: Vec<_> = positions.iter().map(|i| schema.columns[*i].clone()).collect();
    Schema { columns, key: Vec::new(), leaf_rows: schema.leaf_rows, next_id: None }
}

fn put_leaf(
    out: &mut Vec<u8>,
    schema: &Schema,
    positions: &[usize],
    changes: &Changes,
    rows: Option<Vec<u32>>,
    weight: &mut Weight,
) -> Result<()> {
    let all = changes.ops.len();
    let (arrays, externals) = match rows.filter(|rows| rows.len() < all) {
        None => (positions.iter().map(|i| Arc::clone(changes.rows.column(*i))).collect(), changes.externals.clone()),
        Some(rows) => {
            let place = |e: &External| rows.binary_search(&e.row).ok().map(|row| External { row: row as u32, ..*e });
            let externals = changes.externals.iter().filter_map(place).collect();
            let rows = UInt32Array::from(rows);
            let pick = |i: &usize| {
                take(changes.rows.column(*i), &rows, None)
                    .map_err(|error| Error::invalid(format!("picking cells for a delta: {error}")))
            };
            (positions.iter().map(pick).collect::<Result<Vec<ArrayRef>>>()?, externals)
        }
    };
    let part = part_of(schema, positions);
    let count = arrays.first().map_or(all, |array| array.len());
    let options = RecordBatchOptions::new().with_row_count(Some(count));
    let fields: Vec<_> = part.arrow().fields().iter().map(|f| f.as_ref().clone().with_nullable(true)).collect();
    let batch = RecordBatch::try_new_with_options(Arc::new(arrow_schema::Schema::new(fields)), arrays, &options)
        .map_err(|error| Error::invalid(format!("making a delta: {error}")))?;
    let externals: Vec<_> = externals.into_iter().filter(|e| part.position(e.column).is_some()).collect();
    let leaf = leaf::encode(&part, &batch, &externals)?;
    weight.add(leaf.len(), positions.len()).map_err(Error::invalid)?;
    let payload = codec::encode(&leaf)?;
    put_varint(out, payload.len() as u64);
    out.extend_from_slice(&payload);
    Ok(())
}

/// The changes in a frame. Never panics, and reserves no more than a frame may hold.
///
/// # Errors
/// `corrupt`, with what is wrong.
pub fn decode_frame(schema: &Schema, frame: &Bytes) -> Result<Changes> {
    if frame.len() > MAX_FRAME {
        return Err(Error::corrupt(format!("a delta frame of {} bytes, over {MAX_FRAME}", frame.len())));
    }
    let fault = |why: Fault| Error::corrupt(format!("reading a delta frame: {why}"));
    let mut reader = Reader::new(frame);
    let (rows, groups, members, ops, mut weight) = head(schema, &mut reader).map_err(fault)?;
    let mut keys = schema.key_positions();
    keys.sort_unstable();
    let is_key: ColumnSet = keys.iter().copied().collect();
    let all: Vec<u32> = (0..rows as u32).collect();
    let mut parts = vec![Part::read(schema, frame, &mut reader, &keys, &all, &mut weight)?];
    let mut slots = vec![(0, 0); rows];
    for (op, members) in groups.iter().zip(members) {
        let (_, cells) = group_of(op, schema.columns.len(), &is_key);
        if cells.is_empty() {
            continue;
        }
        for (i, row) in members.iter().enumerate() {
            slots[*row as usize] = (parts.len(), i);
        }
        parts.push(Part::read(schema, frame, &mut reader, &cells, &members, &mut weight)?);
    }
    if reader.left() > 0 {
        return Err(fault("bytes are left over".to_owned()));
    }
    assemble(schema, &is_key, &parts, &slots, ops)
}

/// What a frame takes in memory, at most: see `docs/format/delta.md`. Counted before memory is taken.
struct Weight(usize);

impl Weight {
    /// Of the rows alone: what is kept of each, and a null for each cell.
    fn of(schema: &Schema, rows: usize) -> Result<Self, Fault> {
        let nulls = schema.columns.iter().map(|column| null_width(&column.ty.arrow()));
        let row = nulls.fold(ROW + schema.columns.len() / 8, usize::saturating_add);
        Self(0).plus(row.saturating_mul(rows))
    }

    /// Adds a leaf of `columns` columns with this many canonical bytes.
    fn add(&mut self, leaf: usize, columns: usize) -> Result<(), Fault> {
        *self = Self(self.0).plus(leaf.saturating_add(columns * COLUMN))?;
        Ok(())
    }

    fn plus(self, bytes: usize) -> Result<Self, Fault> {
        let sum = self.0.saturating_add(bytes);
        if sum > MAX_WEIGHT {
            return Err(format!("a frame may take {MAX_WEIGHT} bytes of memory, this one takes {sum} or more"));
        }
        Ok(Self(sum))
    }
}

/// Bytes that a null takes in an array.
fn null_width(data_type: &DataType) -> usize {
    let inside = match data_type {
        DataType::FixedSizeList(item, size) => {
            null_width(item.data_type()).saturating_mul(usize::try_from(*size).unwrap_or(0))
        }
        DataType::Struct(fields) => {
            fields.iter().fold(0, |sum: usize, field| sum.saturating_add(null_width(field.data_type())))
        }
        DataType::FixedSizeBinary(width) => usize::try_from(*width).unwrap_or(0),
        other => other.primitive_width().unwrap_or(4),
    };
    inside.saturating_add(1)
}

type Head = (usize, Vec<Op>, Vec<Vec<u32>>, Vec<Op>, Weight);

/// Number of rows, the groups, the rows of each, each row's operation, and what all rows weigh.
fn head(schema: &Schema, reader: &mut Reader<'_>) -> Result<Head, Fault> {
    match reader.byte()? {
        VERSION => {}
        other => return Err(format!("its version is {other}, this program knows {VERSION}: use a newer one")),
    }
    let rows = reader.count(MAX_ROWS)?;
    let weight = Weight::of(schema, rows)?;
    let count = reader.count(reader.left().min(rows))?;
    let mut groups = Vec::with_capacity(count);
    for _ in 0..count {
        groups.push(match reader.byte()? {
            0 => Op::Upsert,
            1 => Op::Insert,
            2 => Op::Delete,
            3 => Op::Patch(ids(schema, reader)?),
            4 => Op::Merge(ids(schema, reader)?),
            other => return Err(format!("operation {other} is not known")),
        });
    }
    let mut members = vec![Vec::new(); count];
    let mut ops = Vec::new();
    let shift = bits(count);
    while ops.len() < rows {
        let run = reader.varint()?;
        let number = (run & ((1 << shift) - 1)) as usize;
        let run = usize::try_from(run >> shift).unwrap_or(usize::MAX);
        if number >= count || run >= rows - ops.len() {
            return Err("a run of operations is impossible".to_owned());
        }
        let first = ops.len() as u32;
        members[number].extend(first..=first + run as u32);
        ops.extend(std::iter::repeat_n(groups[number].clone(), run + 1));
    }
    Ok((rows, groups, members, ops, weight))
}

fn ids(schema: &Schema, reader: &mut Reader<'_>) -> Result<ColumnSet, Fault> {
    let count = reader.count(schema.columns.len())?;
    let mut columns = ColumnSet::new();
    for _ in 0..count {
        let id = reader.varint()?;
        let position = u32::try_from(id).ok().and_then(|id| schema.position(id));
        columns.insert(position.ok_or_else(|| format!("there is no column {id}"))?);
    }
    Ok(columns)
}

/// Some columns of some rows.
struct Part {
    arrays: BTreeMap<usize, ArrayRef>,
    /// By row in the frame.
    externals: Vec<External>,
}

impl Part {
    fn read(
        schema: &Schema,
        frame: &Bytes,
        reader: &mut Reader<'_>,
        positions: &[usize],
        rows: &[u32],
        weight: &mut Weight,
    ) -> Result<Self> {
        let fault = |why: Fault| Error::corrupt(format!("reading a delta frame: {why}"));
        let len = reader.count(reader.left()).map_err(fault)?;
        let start = reader.at();
        reader.take(len).map_err(fault)?;
        let columns = Columns::open(frame.slice(start..start + len))?;
        if columns.rows() != rows.len() {
            return Err(fault(format!("cells of {} rows where there are {}", columns.rows(), rows.len())));
        }
        weight.add(columns.len(), positions.len()).map_err(fault)?;
        let part = part_of(schema, positions);
        let batch = columns.batch(&part, None)?;
        let arrays = positions.iter().copied().zip(batch.columns().iter().cloned()).collect();
        let external = |e: &External| rows.get(e.row as usize).map(|row| External { row: *row, ..*e });
        Ok(Self { arrays, externals: columns.externals().iter().filter_map(external).collect() })
    }
}

fn assemble(
    schema: &Schema,
    is_key: &ColumnSet,
    parts: &[Part],
    slots: &[(usize, usize)],
    ops: Vec<Op>,
) -> Result<Changes> {
    let arrow = schema.arrow();
    let fields: Vec<_> = arrow.fields().iter().map(|field| field.as_ref().clone().with_nullable(true)).collect();
    let mut columns = Vec::with_capacity(fields.len());
    for (position, field) in fields.iter().enumerate() {
        let whole = if is_key.contains(position) { Some(0) } else { one_part(parts, slots, position) };
        columns.push(match whole {
            Some(part) => Arc::clone(&parts[part].arrays[&position]),
            None => scattered(field.data_type(), parts, slots, position)?,
        });
    }
    let mut externals: Vec<External> = parts.iter().flat_map(|part| part.externals.iter().copied()).collect();
    externals.sort_unstable();
    let options = RecordBatchOptions::new().with_row_count(Some(ops.len()));
    let rows = RecordBatch::try_new_with_options(Arc::new(arrow_schema::Schema::new(fields)), columns, &options)
        .map_err(|error| Error::corrupt(format!("reading a delta frame: {error}")))?;
    Ok(Changes { rows, ops, externals })
}

/// The part that has a column's cells for all rows, in order.
fn one_part(parts: &[Part], slots: &[(usize, usize)], position: usize) -> Option<usize> {
    let (part, _) = *slots.first()?;
    let all = part > 0 && parts[part].arrays.contains_key(&position) && slots.iter().all(|(p, _)| *p == part);
    all.then_some(part)
}

/// A column put together from the cells of several parts.
fn scattered(data_type: &DataType, parts: &[Part], slots: &[(usize, usize)], position: usize) -> Result<ArrayRef> {
    let null = new_null_array(data_type, 1);
    let mut arrays: Vec<&dyn arrow_array::Array> = vec![&null];
    let mut number = vec![0; parts.len()];
    for (i, part) in parts.iter().enumerate().skip(1) {
        if let Some(array) = part.arrays.get(&position) {
            number[i] = arrays.len();
            arrays.push(array);
        }
    }
    if arrays.len() == 1 {
        return Ok(new_null_array(data_type, slots.len()));
    }
    let pick = |(part, i): &(usize, usize)| if number[*part] == 0 { (0, 0) } else { (number[*part], *i) };
    let picks: Vec<_> = slots.iter().map(pick).collect();
    arrow_select::interleave::interleave(&arrays, &picks)
        .map_err(|error| Error::corrupt(format!("reading a delta frame: {error}")))
}

#[cfg(test)]
mod tests;
