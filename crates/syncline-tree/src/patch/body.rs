//! The content of a patch: steps, masks, cells; and what they do to a leaf.

use std::borrow::Cow;
use std::collections::BTreeSet;

use arrow_buffer::Buffer;
use bytes::Bytes;

use super::gather::{From, Runs, gather};
use super::{Counts, PatchOp};
use crate::leaf::layout::{MAX_LEAF, Node};
use crate::leaf::wire::Fault;
use crate::leaf::{self, ColumnNode, External, Leaf};

/// Which rows runs are made for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Part {
    /// The new leaf.
    Whole,
    /// Deleted and updated rows, as they were.
    Before,
    /// Inserted and updated rows, as they are.
    After,
}

/// Steps and what they need.
#[derive(Debug, Clone, Default)]
pub(super) struct Steps {
    pub(super) ops: Vec<PatchOp>,
    /// Column ids, ascending, of each mask.
    pub(super) masks: Vec<Vec<u32>>,
    /// Ids of columns that go.
    pub(super) dropped: Vec<u32>,
    /// Cells that lie outside: column, number of the cell in its column.
    pub(super) externals: Vec<External>,
}

impl Steps {
    pub(super) fn counts(&self) -> Counts {
        let mut counts = Counts::default();
        for op in &self.ops {
            match *op {
                PatchOp::Delete { count, .. } => counts.deleted += u64::from(count),
                PatchOp::Insert { count, .. } => counts.inserted += u64::from(count),
                PatchOp::Update { count, .. } => counts.updated += u64::from(count),
            }
        }
        counts
    }

    /// How many cells the patch has of a column.
    pub(super) fn cell_count(&self, id: u32) -> usize {
        let cells = |op: &PatchOp| match *op {
            PatchOp::Delete { .. } => 0,
            PatchOp::Insert { count, .. } => count as usize,
            PatchOp::Update { count, mask, .. } if self.masks[mask as usize].binary_search(&id).is_ok() => {
                count as usize
            }
            PatchOp::Update { .. } => 0,
        };
        self.ops.iter().map(cells).sum()
    }

    /// Whether rows come or go.
    fn moves_rows(&self) -> bool {
        self.ops.iter().any(|op| !matches!(op, PatchOp::Update { .. }))
    }

    /// Where the rows of `part` come from, for one column.
    pub(super) fn runs(&self, id: u32, base_rows: usize, part: Part) -> Runs {
        let masked: Vec<bool> = self.masks.iter().map(|mask| mask.binary_search(&id).is_ok()).collect();
        let mut runs = Runs::default();
        let (mut at, mut cell) = (0_usize, 0_usize);
        for op in &self.ops {
            match *op {
                PatchOp::Delete { row, count } => {
                    let (row, count) = (row as usize, count as usize);
                    match part {
                        Part::Whole => runs.push(From::Base, at, row - at),
                        Part::Before => runs.push(From::Base, row, count),
                        Part::After => {}
                    }
                    at = row + count;
                }
                PatchOp::Insert { at: row, count } => {
                    let (row, count) = (row as usize, count as usize);
                    if part == Part::Whole {
                        runs.push(From::Base, at, row - at);
                        at = row;
                    }
                    if part != Part::Before {
                        runs.push(From::Cells, cell, count);
                    }
                    cell += count;
                }
                PatchOp::Update { row, count, mask } => {
                    let (row, count) = (row as usize, count as usize);
                    let new = masked[mask as usize];
                    match part {
                        Part::Whole if !new => {}
                        Part::Whole => {
                            runs.push(From::Base, at, row - at);
                            runs.push(From::Cells, cell, count);
                            at = row + count;
                        }
                        Part::After if new => runs.push(From::Cells, cell, count),
                        Part::Before | Part::After => runs.push(From::Base, row, count),
                    }
                    cell += if new { count } else { 0 };
                }
            }
        }
        if part == Part::Whole {
            runs.push(From::Base, at, base_rows - at);
        }
        runs
    }

    /// External cells of `part`.
    pub(super) fn externals(&self, base: &Leaf, part: Part) -> Vec<External> {
        let columns: BTreeSet<u32> =
            base.externals().iter().chain(&self.externals).map(|external| external.column).collect();
        let mut out = Vec::new();
        for column in columns.into_iter().filter(|column| !self.dropped.contains(column)) {
            let mut at = 0;
            for run in &self.runs(column, base.rows(), part).0 {
                let from = if run.from == From::Base { base.externals() } else { &self.externals };
                let first = from.partition_point(|x| (x.column, x.row as usize) < (column, run.start));
                let inside =
                    from[first..].iter().take_while(|x| x.column == column && (x.row as usize) < run.start + run.len);
                out.extend(inside.map(|x| External { row: (at + x.row as usize - run.start) as u32, ..*x }));
                at += run.len;
            }
        }
        out
    }

    /// The rows there will be.
    pub(super) fn rows(&self, base_rows: usize) -> Result<usize, Fault> {
        let counts = self.counts();
        if let Some(last) = self.ops.last() {
            let end = match *last {
                PatchOp::Insert { at, .. } => at as usize,
                PatchOp::Delete { row, count } | PatchOp::Update { row, count, .. } => row as usize + count as usize,
            };
            if end > base_rows {
                return Err(format!("a step ends at row {end} of {base_rows}"));
            }
        }
        Ok(base_rows + counts.inserted as usize - counts.deleted as usize)
    }
}

type Columns<'a> = Vec<ColumnNode<Cow<'a, [u8]>>>;

/// The new leaf's columns.
fn apply<'a>(base: &'a Leaf, steps: &Steps, cells: &[ColumnNode<Buffer>]) -> Result<Columns<'a>, Fault> {
    let rows = steps.rows(base.rows())?;
    let moves = steps.moves_rows();
    let old: Vec<ColumnNode<&[u8]>> = base.columns().collect();
    let ids: BTreeSet<u32> = old.iter().map(|(id, _)| *id).chain(cells.iter().map(|(id, _)| *id)).collect();
    let touched: BTreeSet<u32> = steps.masks.iter().flatten().copied().collect();
    // Columns no update touches all move alike.
    let mut alike = None;
    let mut room = MAX_LEAF;
    let mut out = Vec::with_capacity(ids.len());
    for id in ids.into_iter().filter(|id| !steps.dropped.contains(id)) {
        let old = old.binary_search_by_key(&id, |(id, _)| *id).ok().map(|i| &old[i].1);
        if let (Some(old), false, false) = (old, moves, touched.contains(&id)) {
            out.push((id, old.map(&mut |slice| Cow::Borrowed(*slice))));
            continue;
        }
        let own;
        let runs = if touched.contains(&id) {
            own = steps.runs(id, base.rows(), Part::Whole);
            &own
        } else {
            alike.get_or_insert_with(|| steps.runs(id, base.rows(), Part::Whole))
        };
        let new = cells.binary_search_by_key(&id, |(id, _)| *id).ok().map(|i| cells[i].1.slices());
        if let Some(node) = gather(old, new.as_ref(), runs)?.filter(|node| !node.all_null()) {
            if node.len != rows {
                return Err(format!("column {id} has {} rows of {rows}", node.len));
            }
            room = room.checked_sub(node.size()).ok_or("its columns are longer than a leaf")?;
            out.push((id, owned(node)));
        }
    }
    Ok(out)
}

/// The new leaf's canonical bytes.
pub(super) fn build(base: &Leaf, steps: &Steps, cells: &[ColumnNode<Buffer>]) -> Result<Bytes, Fault> {
    let columns = apply(base, steps, cells)?;
    let externals = steps.externals(base, Part::Whole);
    let rows = steps.rows(base.rows())?;
    leaf::check_externals(&externals, &columns, rows)?;
    leaf::assemble(rows, &columns, &externals).map_err(|error| error.to_string())
}

/// The rows of `first`, then those of `second`, in canonical form.
pub(super) fn join(first: &Leaf, second: &Leaf) -> Result<Leaf, Fault> {
    let rows = first.rows() + second.rows();
    u32::try_from(rows).map_err(|_| format!("{rows} rows are too many"))?;
    let mut room = MAX_LEAF;
    let mut runs = Runs::default();
    runs.push(From::Base, 0, first.rows());
    runs.push(From::Cells, 0, second.rows());
    let [one, two]: [Vec<ColumnNode<&[u8]>>; 2] = [first.columns().collect(), second.columns().collect()];
    let find = |columns: &[ColumnNode<&[u8]>], id: u32| columns.binary_search_by_key(&id, |(id, _)| *id).ok();
    let ids: BTreeSet<u32> = one.iter().chain(&two).map(|(id, _)| *id).collect();
    let mut columns: Columns<'_> = Vec::with_capacity(ids.len());
    for id in ids {
        let sources = (find(&one, id).map(|i| &one[i].1), find(&two, id).map(|i| &two[i].1));
        let Some(node) = gather(sources.0, sources.1, &runs)?.filter(|node| !node.all_null()) else { continue };
        room = room.checked_sub(node.size()).ok_or("their columns are longer than a leaf")?;
        columns.push((id, owned(node)));
    }
    let moved = |external: &External| External { row: external.row + first.rows() as u32, ..*external };
    let mut externals: Vec<External> = first.externals().to_vec();
    externals.extend(second.externals().iter().map(moved));
    externals.sort_unstable();
    leaf::check_externals(&externals, &columns, rows)?;
    Leaf::read(leaf::assemble(rows, &columns, &externals).map_err(|error| error.to_string())?)
}

fn owned(node: Node<Vec<u8>>) -> Node<Cow<'static, [u8]>> {
    Node {
        kind: node.kind,
        len: node.len,
        validity: node.validity.map(Cow::Owned),
        values: Cow::Owned(node.values),
        data: Cow::Owned(node.data),
        data_len: node.data_len,
        children: node.children.into_iter().map(owned).collect(),
    }
}
