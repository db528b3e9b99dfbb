//! Patches in bytes. Layout: `docs/format/leaf.md`, part "patches".

use std::ops::Range;

use arrow_buffer::Buffer;

use super::PatchOp;
use super::body::Steps;
use crate::codec::{put_node, with_scratch};
use crate::leaf::layout::{MAX_LEAF, Node};
use crate::leaf::wire::{Fault, Reader, put_varint};
use crate::leaf::{self, ColumnNode};

const VERSION: u8 = 1;
/// In the upper half of the first byte.
const EXTERNALS: u8 = 0x10;
const DROPPED: u8 = 0x20;

const DELETE: u64 = 0;
const INSERT: u64 = 1;
const UPDATE: u64 = 2;
/// Added to a step: a count follows.
const MANY: u64 = 4;

/// The bytes of a patch.
pub(super) fn put(steps: &Steps, cells: &[ColumnNode<Buffer>]) -> Vec<u8> {
    let mut out = Vec::with_capacity(64);
    let externals = if steps.externals.is_empty() { 0 } else { EXTERNALS };
    let dropped = if steps.dropped.is_empty() { 0 } else { DROPPED };
    out.push(VERSION | externals | dropped);
    if dropped != 0 {
        put_ids(&mut out, &steps.dropped);
    }
    put_varint(&mut out, steps.ops.len() as u64);
    if !steps.ops.is_empty() {
        put_varint(&mut out, steps.masks.len() as u64);
        steps.masks.iter().for_each(|mask| put_ids(&mut out, mask));
    }
    put_ops(&mut out, steps);
    if externals != 0 {
        put_varint(&mut out, steps.externals.len() as u64);
        leaf::put_externals(&mut out, &steps.externals);
    }
    put_varint(&mut out, cells.len() as u64);
    let mut streams = Vec::new();
    let mut next = 0;
    with_scratch(|scratch| {
        for (id, node) in cells {
            put_varint(&mut out, u64::from(id - next));
            next = id + 1;
            node.describe(&mut out);
            let start = streams.len();
            put_node(&node.slices(), &mut streams, scratch);
            put_varint(&mut out, (streams.len() - start) as u64);
        }
    });
    out.extend_from_slice(&streams);
    out
}

fn put_ids(out: &mut Vec<u8>, ids: &[u32]) {
    put_varint(out, ids.len() as u64);
    let mut next = 0;
    for id in ids {
        put_varint(out, u64::from(id - next));
        next = id + 1;
    }
}

fn put_ops(out: &mut Vec<u8>, steps: &Steps) {
    let mut at = 0;
    for op in &steps.ops {
        let (row, count, kind, end) = match *op {
            PatchOp::Delete { row, count } => (row, count, DELETE, row + count),
            PatchOp::Insert { at, count } => (at, count, INSERT, at),
            PatchOp::Update { row, count, .. } => (row, count, UPDATE, row + count),
        };
        put_varint(out, u64::from(row - at) << 3 | kind | if count > 1 { MANY } else { 0 });
        if count > 1 {
            put_varint(out, u64::from(count - 2));
        }
        if let PatchOp::Update { mask, .. } = *op
            && steps.masks.len() > 1
        {
            put_varint(out, u64::from(mask));
        }
        at = end;
    }
}

/// A patch whose cells are not decoded yet.
#[derive(Debug, Clone, Default)]
pub(super) struct Opened {
    pub(super) steps: Steps,
    /// Shapes of the columns' cells.
    pub(super) columns: Vec<ColumnNode<()>>,
    /// Where each column's cells lie in the payload.
    pub(super) streams: Vec<Range<usize>>,
}

/// Reads everything but the cells, whose buffers may take `budget` bytes.
pub(super) fn open(payload: &[u8], mut budget: usize) -> Result<Opened, Fault> {
    let mut reader = Reader::new(payload);
    let reader = &mut reader;
    let head = reader.byte()?;
    if head & 0xf != VERSION || head & !(0xf | EXTERNALS | DROPPED) != 0 {
        return Err(format!("its version is {head:#x}, this program knows {VERSION}: use a newer one"));
    }
    let mut steps = Steps::default();
    if head & DROPPED != 0 {
        steps.dropped = ids(reader)?;
    }
    let count = reader.count(reader.left())?;
    if count > 0 {
        let masks = reader.count(reader.left())?;
        steps.masks = (0..masks).map(|_| ids(reader)).collect::<Result<_, _>>()?;
    }
    read_ops(reader, count, &mut steps)?;
    if head & EXTERNALS != 0 {
        let count = reader.count(reader.left())?;
        steps.externals = leaf::read_externals(reader, count)?;
    }
    let count = reader.count(reader.left())?;
    let mut columns = Vec::with_capacity(count);
    let mut lengths = Vec::with_capacity(count);
    let mut next = 0_u32;
    for _ in 0..count {
        let id = next_id(reader, &mut next)?;
        columns.push((id, Node::read(reader, steps.cell_count(id), &mut budget, 0)?));
        lengths.push(reader.count(payload.len())?);
    }
    let mut at = reader.at();
    let mut streams = Vec::with_capacity(count);
    for length in lengths {
        streams.push(at..at + length);
        at += length;
    }
    if at != payload.len() {
        return Err(format!("its cells end at {at}, it has {} bytes", payload.len()));
    }
    Ok(Opened { steps, columns, streams })
}

fn next_id(reader: &mut Reader<'_>, next: &mut u32) -> Result<u32, Fault> {
    let gap = reader.count(u32::MAX as usize - 1)? as u32;
    let id = next.checked_add(gap).filter(|id| *id < u32::MAX).ok_or("a column id is too large")?;
    *next = id + 1;
    Ok(id)
}

fn ids(reader: &mut Reader<'_>) -> Result<Vec<u32>, Fault> {
    let count = reader.count(reader.left())?;
    let mut next = 0;
    (0..count).map(|_| next_id(reader, &mut next)).collect()
}

fn read_ops(reader: &mut Reader<'_>, count: usize, steps: &mut Steps) -> Result<(), Fault> {
    let (mut at, mut cells) = (0_usize, 0_usize);
    for _ in 0..count {
        let head = reader.varint()?;
        let gap = usize::try_from(head >> 3).map_err(|_| "a step is too far")?;
        let count = if head & MANY != 0 { reader.count(MAX_LEAF)? + 2 } else { 1 };
        let row = at.checked_add(gap).filter(|row| row + count <= MAX_LEAF).ok_or("a step is too far")?;
        let (row32, count32) = (row as u32, count as u32);
        let op = match head & 3 {
            DELETE => PatchOp::Delete { row: row32, count: count32 },
            INSERT => PatchOp::Insert { at: row32, count: count32 },
            UPDATE => {
                let last = steps.masks.len().checked_sub(1).ok_or("an update without a mask")?;
                let mask = if last > 0 { reader.count(last)? } else { 0 };
                PatchOp::Update { row: row32, count: count32, mask: mask as u32 }
            }
            kind => return Err(format!("unknown step {kind}")),
        };
        at = if head & 3 == INSERT { row } else { row + count };
        cells += count;
        if cells > MAX_LEAF {
            return Err("too many rows".to_owned());
        }
        steps.ops.push(op);
    }
    Ok(())
}
