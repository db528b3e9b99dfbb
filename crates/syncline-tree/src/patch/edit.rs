//! From an edit to a patch: cells that do not change are dropped, what is left is put into steps.

use arrow_array::{Array, ArrayRef, RecordBatch};
use arrow_buffer::Buffer;
use bytes::Bytes;

use super::body::{Steps, build};
use super::gather::{From, Runs, gather, into_buffers, same_cell};
use super::{ColumnSet, Edit, Edited, PatchOp, RowOp, payload};
use crate::content::ContentRef;
use crate::leaf::layout::Node;
use crate::leaf::{self, ColumnNode, External, Leaf};
use crate::schema::Schema;
use crate::{Error, Result};

/// Edits a leaf: its new canonical bytes and the patch that makes them, in one go.
///
/// # Errors
/// `invalid` when the steps are out of order or reach outside the leaf or the batch, or the batch is not conformed.
pub fn edit(base: &Leaf, edit: &Edit<'_>) -> Result<Edited> {
    let (first, count) = check(base, edit)?;
    edited(base, edit, &source_columns(edit, first, count)?, first)
}

/// As [`edit`], with the columns of the whole batch as [`columns`] gives them: for a batch that many leaves share.
pub(crate) fn edit_with(base: &Leaf, edit: &Edit<'_>, columns: &[Source]) -> Result<Edited> {
    check(base, edit)?;
    edited(base, edit, columns, 0)
}

/// A column of an edit's batch, by position in the schema.
pub(crate) type Source = (usize, Node<Buffer>);

/// All columns of a batch.
pub(crate) fn columns(schema: &Schema, rows: &RecordBatch) -> Result<Vec<Source>> {
    let columns = schema.columns.iter().zip(rows.columns()).enumerate();
    columns.map(|(i, (column, array))| Ok((i, leaf::node_with_nulls(column, array)?))).collect()
}

/// `columns` begin at row `first` of the batch.
fn edited(base: &Leaf, edit: &Edit<'_>, columns: &[Source], first: u32) -> Result<Edited> {
    let mut changed = changes(base, edit, columns, first);
    let mut steps = Steps::default();
    let mut cells: Vec<Runs> = vec![Runs::default(); edit.schema.columns.len()];
    let mut changed = changed.drain(..);
    for op in edit.ops {
        match op {
            RowOp::Delete { count: 0, .. } | RowOp::Insert { count: 0, .. } => {}
            RowOp::Delete { row, count } => steps.push(PatchOp::Delete { row: *row, count: *count }),
            RowOp::Insert { at, source, count } => {
                steps.push(PatchOp::Insert { at: *at, count: *count });
                let start = (*source - first) as usize;
                cells.iter_mut().for_each(|runs| runs.push(From::Cells, start, *count as usize));
            }
            RowOp::Update { row, source, .. } => {
                let set = changed.next().expect("there is a set for each update");
                if set.is_empty() {
                    continue;
                }
                set.iter().for_each(|i| cells[i].push(From::Cells, (*source - first) as usize, 1));
                let ids = set.iter().map(|i| edit.schema.columns[i].id).collect();
                let mask = steps.mask(ids);
                steps.push(PatchOp::Update { row: *row, count: 1, mask });
            }
        }
    }
    if steps.ops.is_empty() {
        return Ok(Edited::Unchanged);
    }
    let mut nodes: Vec<ColumnNode<Buffer>> = Vec::new();
    for (i, node) in columns {
        let (column, runs) = (&edit.schema.columns[*i], &cells[*i]);
        if runs.0.is_empty() {
            continue;
        }
        let node = node.slices();
        place_externals(&mut steps.externals, edit.externals, column.id, first, runs);
        let node = gather(None, Some(&node), runs).map_err(Error::Corrupt)?;
        // Nulls in cells that no step uses do not matter.
        if !column.nullable && node.as_ref().is_some_and(|node| node.validity.is_some()) {
            return Err(leaf::has_nulls(column));
        }
        if let Some(node) = node.filter(|node| !node.all_null()) {
            nodes.push((column.id, into_buffers(&node)));
        }
    }
    finish(base, &steps, &nodes)
}

/// A leaf without some columns (ids), and the patch that makes it.
///
/// # Errors
/// `invalid` when `ids` are not ascending.
pub fn drop_columns(base: &Leaf, ids: &[u32]) -> Result<Edited> {
    if !ids.is_sorted_by(|a, b| a < b) {
        return Err(Error::invalid("columns to drop are not in ascending order"));
    }
    let dropped: Vec<u32> = ids.iter().copied().filter(|id| base.column(*id).is_some()).collect();
    if dropped.is_empty() {
        return Ok(Edited::Unchanged);
    }
    finish(base, &Steps { dropped, ..Steps::default() }, &[])
}

fn finish(base: &Leaf, steps: &Steps, cells: &[ColumnNode<Buffer>]) -> Result<Edited> {
    let rows = steps.rows(base.rows()).map_err(Error::Invalid)?;
    if rows == 0 {
        return Ok(Edited::Empty);
    }
    let leaf =
        build(base, steps, cells).map_err(|fault| Error::invalid(format!("a leaf cannot be edited: {fault}")))?;
    // A row that goes and comes again leaves everything as it was.
    if leaf == *base.bytes() {
        return Ok(Edited::Unchanged);
    }
    let counts = steps.counts();
    Ok(Edited::Changed { leaf, patch: Bytes::from(payload::put(steps, cells)), counts })
}

/// Checks the steps and gives the part of the batch they use: first row and number of rows.
fn check(base: &Leaf, edit: &Edit<'_>) -> Result<(u32, u32)> {
    let (mut at, mut low, mut high) = (0_u64, u32::MAX, 0_u64);
    let mut use_rows = |source: u32, count: u32| {
        if count > 0 {
            low = low.min(source);
            high = high.max(u64::from(source) + u64::from(count));
        }
    };
    for op in edit.ops {
        let (row, end) = match op {
            RowOp::Delete { row, count } => (*row, u64::from(*row) + u64::from(*count)),
            RowOp::Insert { at, source, count } => {
                use_rows(*source, *count);
                (*at, u64::from(*at))
            }
            RowOp::Update { row, source, .. } => {
                use_rows(*source, 1);
                (*row, u64::from(*row) + 1)
            }
        };
        if u64::from(row) < at || end > base.rows() as u64 {
            let rows = base.rows();
            return Err(Error::invalid(format!(
                "an edit's step at row {row} is out of order or outside the leaf's {rows} rows"
            )));
        }
        at = end;
    }
    if high > edit.rows.num_rows() as u64 {
        let rows = edit.rows.num_rows();
        return Err(Error::invalid(format!("an edit uses row {} of a batch of {rows}", high - 1)));
    }
    Ok(if low == u32::MAX { (0, 0) } else { (low, (high - u64::from(low)) as u32) })
}

/// The columns (by position) that the steps use, of the part of the batch that they use.
fn source_columns(edit: &Edit<'_>, first: u32, count: u32) -> Result<Vec<Source>> {
    if count == 0 {
        return Ok(Vec::new());
    }
    if edit.rows.num_columns() != edit.schema.columns.len() {
        let (has, needs) = (edit.rows.num_columns(), edit.schema.columns.len());
        return Err(Error::invalid(format!("an edit's batch has {has} columns, the schema {needs}: conform it first")));
    }
    let used = used(edit.ops);
    let columns = edit.schema.columns.iter().zip(edit.rows.columns()).enumerate();
    let columns = columns.filter(|(i, _)| used.as_ref().is_none_or(|used| used.contains(*i)));
    let part = |array: &ArrayRef| array.slice(first as usize, count as usize);
    columns.map(|(i, (column, array))| Ok((i, leaf::node_with_nulls(column, &part(array))?))).collect()
}

/// The columns that the steps use; `None`: all.
fn used(ops: &[RowOp]) -> Option<ColumnSet> {
    let mut used = ColumnSet::new();
    let mut last = None;
    for op in ops {
        match op {
            RowOp::Delete { .. } => {}
            RowOp::Insert { .. } | RowOp::Update { columns: None, .. } => return None,
            // Most updates are of the same columns as the one before.
            RowOp::Update { columns: Some(columns), .. } if last == Some(columns) => {}
            RowOp::Update { columns: Some(columns), .. } => {
                columns.iter().for_each(|i| used.insert(i));
                last = Some(columns);
            }
        }
    }
    Some(used)
}

/// For each update, the columns whose cell is another one.
fn changes(base: &Leaf, edit: &Edit<'_>, columns: &[Source], first: u32) -> Vec<ColumnSet> {
    let updates = || {
        edit.ops.iter().filter_map(|op| match op {
            RowOp::Update { row, source, columns } => Some((*row, *source, columns)),
            _ => None,
        })
    };
    let mut sets = vec![ColumnSet::new(); updates().count()];
    if sets.is_empty() {
        return sets;
    }
    let used = used(edit.ops);
    for (i, node) in columns.iter().filter(|(i, _)| used.as_ref().is_none_or(|used| used.contains(*i))) {
        let (i, id) = (*i, edit.schema.columns[*i].id);
        let new = node.slices();
        let old: Option<Node<&[u8]>> = base.column(id);
        for ((row, source, wanted), set) in updates().zip(&mut sets) {
            if wanted.as_ref().is_some_and(|wanted| !wanted.contains(i)) {
                continue;
            }
            let same = same_cell(old.as_ref(), row as usize, Some(&new), (source - first) as usize)
                && external(base.externals(), id, row) == external(edit.externals, id, source);
            if !same {
                set.insert(i);
            }
        }
    }
    sets
}

/// Where the bytes of a cell are, when they are outside.
fn external(externals: &[External], column: u32, row: u32) -> Option<ContentRef> {
    let found = externals.binary_search_by_key(&(column, row), |external| (external.column, external.row));
    found.ok().map(|i| externals[i].content)
}

/// Externals of the edit's batch, as cells of one column.
fn place_externals(out: &mut Vec<External>, externals: &[External], column: u32, first: u32, runs: &Runs) {
    if externals.is_empty() {
        return;
    }
    let mut cell = 0;
    for run in &runs.0 {
        for k in 0..run.len {
            if let Some(content) = external(externals, column, first + (run.start + k) as u32) {
                out.push(External { column, row: cell + k as u32, content });
            }
        }
        cell += run.len as u32;
    }
}

impl Steps {
    /// The number of a mask, new or known.
    fn mask(&mut self, ids: Vec<u32>) -> u32 {
        let known = self.masks.iter().rposition(|mask| *mask == ids);
        known.unwrap_or_else(|| {
            self.masks.push(ids);
            self.masks.len() - 1
        }) as u32
    }

    /// Appends a step, as part of the last one where that goes on.
    fn push(&mut self, op: PatchOp) {
        match (self.ops.last_mut(), op) {
            (Some(PatchOp::Delete { row, count }), PatchOp::Delete { row: next, count: more })
                if *row + *count == next =>
            {
                *count += more;
            }
            (Some(PatchOp::Insert { at, count }), PatchOp::Insert { at: next, count: more }) if *at == next => {
                *count += more;
            }
            (Some(PatchOp::Update { row, count, mask }), PatchOp::Update { row: next, count: more, mask: other })
                if *row + *count == next && *mask == other =>
            {
                *count += more;
            }
            _ => self.ops.push(op),
        }
    }
}
