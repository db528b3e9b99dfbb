//! Applying sorted changes to a tree: only leaves that changes fall into are opened, side by side, and only nodes above
//! leaves that have changed are written.
//!
//! Owns: changes of the leaves in flight. Memory: some leaves for each core and their changes, however many there are.

use std::ops::Range;
use std::sync::Arc;

use syncline_base::task;

use super::build::batch_bytes;
use super::change::{Applied, Batch};
use super::cursor::{Cursor, Place};
use super::edit::{self, Changed, Segment, lower_bound};
use super::levels::{self, Root};
use super::run::Assembler;
use super::{FLIGHT_BYTES, Shared, Table};
use crate::Result;

/// At most how many leaves are read together and changed by one task.
const GROUP: usize = 16;
/// About how many bytes of leaves a task changes, when they are long.
const GROUP_BYTES: usize = 1 << 20;
/// What a column of a batch takes besides its cells.
const ARRAY_BYTES: usize = 512;
/// Changes for one leaf beyond so many times its mean number of rows come in parts.
const PART: usize = 64;

/// Changes that fall into one leaf.
#[derive(Debug)]
pub(crate) struct Touch {
    pub(crate) place: Place,
    pub(crate) segments: Vec<Segment>,
    /// Whether changes before these fall into the leaf too.
    pub(crate) first: bool,
    /// Whether changes after these fall into the leaf too.
    pub(crate) last: bool,
}

/// A leaf with its changes applied; only the changes when they come in parts.
#[derive(Debug)]
pub(crate) struct Done {
    pub(crate) touch: Touch,
    pub(crate) changed: Option<Changed>,
}

/// Applies changes to a table that has rows. `check`: whether the leaves that are changed are checked against their hashes.
pub(crate) fn apply(
    table: &Table,
    batches: impl Iterator<Item = Result<Batch>>,
    check: bool,
) -> Result<(Root, Applied)> {
    let shared = &*table.shared;
    let batches = batches.map(|batch| batch?.for_edits(shared));
    let cursor = Cursor::new(shared, &table.root, table.height, 0)?;
    let limit = PART * shared.schema.leaf_rows as usize;
    let mut touches = Touches { cursor, rows: table.rows, batches, current: None, continuing: false, limit };
    let groups = std::iter::from_fn(|| {
        let (most, mut group, mut changes) = (shared.leaf_size.fit(GROUP_BYTES, GROUP), Vec::new(), 0);
        // Many changes of one leaf weigh more than the leaf.
        while group.len() < most && changes < GROUP_BYTES {
            match touches.next() {
                Ok(None) => break,
                Ok(Some(touch)) => {
                    changes += changes_weight(&touch);
                    group.push(touch);
                }
                Err(error) => return Some(Err(error)),
            }
        }
        let weight = shared.leaf_size.weight(group.len()).saturating_add(changes);
        (!group.is_empty()).then_some(Ok((group, weight)))
    });
    let mut assembler = Assembler::new(table)?;
    task::pipeline_within(
        groups,
        (4 * task::width(), FLIGHT_BYTES),
        |group| change_group(shared, group, check),
        |done| done.into_iter().try_for_each(|done| assembler.take(done)),
    )?;
    assembler.finish()?;
    let Assembler { splices, applied, .. } = assembler;
    let root = levels::update(shared, &table.root, table.height, table.rows, splices)?;
    Ok((root, applied))
}

/// About how many bytes the changes of a leaf keep in memory. A few rows of many columns weigh less than their arrays.
fn changes_weight(touch: &Touch) -> usize {
    let part = |(batch, range): &Segment| {
        let slice = batch.rows.slice(range.start, range.len()).batch;
        batch_bytes(&slice) + slice.num_columns() * ARRAY_BYTES
    };
    // Few changes weigh nothing beside the leaves.
    let large = |(_, range): &&Segment| range.len() > 1;
    touch.segments.iter().filter(large).map(part).sum()
}

fn change_group(shared: &Shared, group: Vec<Touch>, check: bool) -> Result<Vec<Done>> {
    let whole = |touch: &Touch| touch.first && touch.last;
    let ids: Vec<_> = group.iter().filter(|touch| whole(touch)).map(|touch| touch.place.id).collect();
    let store = &shared.store;
    let mut leaves = if check { store.get_many_once(&ids)? } else { store.get_many_unchecked(&ids)? }.into_iter();
    let one = |touch: Touch| {
        let bytes = if whole(&touch) { leaves.next() } else { None };
        let Some(bytes) = bytes else { return Ok(Done { touch, changed: None }) };
        let base = shared.leaf_from(&touch.place.id, bytes, touch.place.rows)?;
        let changed = edit::change(shared, &touch.place, base, &touch.segments)?;
        Ok(Done { touch, changed: Some(changed) })
    };
    group.into_iter().map(one).collect()
}

/// Sorts changes to the leaves they fall into.
struct Touches<'a, I> {
    cursor: Cursor<'a>,
    rows: u64,
    batches: I,
    current: Option<(Arc<Batch>, usize)>,
    /// The last leaf's changes go on.
    continuing: bool,
    limit: usize,
}

impl<I: Iterator<Item = Result<Batch>>> Touches<'_, I> {
    fn next(&mut self) -> Result<Option<Touch>> {
        let first = !std::mem::take(&mut self.continuing);
        if first {
            let Some((batch, at)) = self.peek()? else { return Ok(None) };
            self.cursor.seek_key(batch.keys.get(at))?;
        }
        let place = self.cursor.place(self.rows);
        let (mut segments, mut count) = (Vec::new(), 0);
        while let Some((batch, at)) = self.peek()? {
            let end = match &place.last_key {
                Some(last) if !place.is_last => {
                    let end = lower_bound(&batch.keys, at, last);
                    end + usize::from(end < batch.keys.len() && batch.keys.get(end) == &last[..])
                }
                _ => batch.keys.len(),
            };
            let taken: Range<usize> = at..end.min(at + self.limit - count);
            if taken.is_empty() {
                break;
            }
            count += taken.len();
            self.current = Some((Arc::clone(&batch), taken.end));
            segments.push((batch, taken));
            if count == self.limit {
                self.continuing = true;
                break;
            }
        }
        Ok(Some(Touch { place, segments, first, last: !self.continuing }))
    }

    /// The batch and place of the next change.
    fn peek(&mut self) -> Result<Option<(Arc<Batch>, usize)>> {
        loop {
            match &self.current {
                Some((batch, at)) if *at < batch.keys.len() => return Ok(Some((Arc::clone(batch), *at))),
                _ => {}
            }
            let Some(batch) = self.batches.next().transpose()? else { return Ok(None) };
            self.current = Some((Arc::new(batch), 0));
        }
    }
}
