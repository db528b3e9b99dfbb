//! The changes of two sides, joined by key: what has to be done to our table, and what cannot be decided.
//!
//! Owns: the batch of each side that is being read, and the conflicts found so far.

use arrow_array::Array;

use super::Contested;
use crate::Result;
use crate::key::{KeyEncoder, Keys};
use crate::leaf::External;
use crate::patch::ColumnSet;
use crate::schema::Schema;
use crate::table::{Changes, Op, Rows, Table};

/// A key in conflict and the ids of its columns.
type Found = (Vec<u8>, Vec<u32>);

/// One side's changes.
#[derive(Debug)]
struct Side<I> {
    changes: I,
    current: Option<(Changes, Keys, usize)>,
}

/// The changes to apply to our table, as an iterator.
#[derive(Debug)]
pub(super) struct Join<O, T> {
    schema: Schema,
    contested: Contested,
    encoder: KeyEncoder,
    ours: Side<O>,
    theirs: Side<T>,
    conflicts: Vec<Found>,
}

impl<I: Iterator<Item = Result<Changes>>> Side<I> {
    /// Sees to it that there is a current change; false at the end.
    fn fill(&mut self, encoder: &KeyEncoder) -> Result<bool> {
        while self.current.as_ref().is_none_or(|(_, keys, at)| *at == keys.len()) {
            let Some(changes) = self.changes.next().transpose()? else {
                self.current = None;
                return Ok(false);
            };
            let keys = encoder.encode(&changes.rows)?;
            self.current = Some((changes, keys, 0));
        }
        Ok(true)
    }
}

/// What both sides come to for a row that both changed.
enum Verdict {
    /// Nothing to do to ours.
    Keep,
    /// Do this to ours.
    Do(Op),
    /// They exclude each other in these columns (positions), or as a whole; what else theirs changed is done.
    Conflict(Vec<usize>, Option<Op>),
}

impl<O, T> Join<O, T>
where
    O: Iterator<Item = Result<Changes>>,
    T: Iterator<Item = Result<Changes>>,
{
    pub(super) fn new(table: &Table, contested: Contested, ours: O, theirs: T) -> Result<Self> {
        let schema = table.schema().clone();
        Ok(Self {
            encoder: KeyEncoder::new(&schema)?,
            schema,
            contested,
            ours: Side { changes: ours, current: None },
            theirs: Side { changes: theirs, current: None },
            conflicts: Vec::new(),
        })
    }

    /// The conflicts, in key order.
    pub(super) fn finish(self) -> Vec<Found> {
        self.conflicts
    }

    /// The next batch of theirs, without what ours decides.
    fn step(&mut self) -> Result<Option<Changes>> {
        loop {
            if !self.theirs.fill(&self.encoder)? {
                return Ok(None);
            }
            let Some((theirs, keys, at)) = self.theirs.current.take() else { return Ok(None) };
            let (mut rows, mut ops) = (Vec::new(), Vec::new());
            for row in at..keys.len() {
                if let Some(op) = self.decide(&theirs, row, keys.get(row))? {
                    rows.push(row as u32);
                    ops.push(op);
                }
            }
            if ops.is_empty() {
                continue;
            }
            let all = Rows { batch: theirs.rows, externals: theirs.externals };
            let some = if ops.len() == keys.len() { all } else { all.select(rows)? };
            return Ok(Some(Changes { rows: some.batch, ops, externals: some.externals }));
        }
    }

    /// What to do to our table for one change of theirs.
    fn decide(&mut self, theirs: &Changes, row: usize, key: &[u8]) -> Result<Option<Op>> {
        while self.ours.fill(&self.encoder)? {
            let Some((ours, keys, at)) = &mut self.ours.current else { break };
            // What only we changed is in our table already.
            *at = crate::table::edit::lower_bound(keys, *at, key);
            if *at == keys.len() {
                continue;
            }
            if keys.get(*at) != key {
                break;
            }
            let verdict = verdict(&self.schema, self.contested, (ours, *at), (theirs, row));
            *at += 1;
            return Ok(match verdict {
                Verdict::Keep => None,
                Verdict::Do(op) => Some(op),
                Verdict::Conflict(columns, op) => {
                    let ids = columns.into_iter().map(|i| self.schema.columns[i].id).collect();
                    self.conflicts.push((key.to_vec(), ids));
                    op
                }
            });
        }
        Ok(Some(theirs.ops[row].clone()))
    }
}

impl<O, T> Iterator for Join<O, T>
where
    O: Iterator<Item = Result<Changes>>,
    T: Iterator<Item = Result<Changes>>,
{
    type Item = Result<Changes>;

    fn next(&mut self) -> Option<Self::Item> {
        self.step().transpose()
    }
}

fn verdict(
    schema: &Schema,
    contested: Contested,
    (ours, i): (&Changes, usize),
    (theirs, j): (&Changes, usize),
) -> Verdict {
    let differs = |position: &usize| !same_cell(schema, *position, (ours, i), (theirs, j));
    match (&ours.ops[i], &theirs.ops[j]) {
        (Op::Delete, Op::Delete) => Verdict::Keep,
        (Op::Delete, _) | (_, Op::Delete) => Verdict::Conflict(Vec::new(), None),
        (Op::Patch(mine), Op::Patch(other)) => {
            let contested = contested(mine, other);
            let disputed = |p: &usize| match (mine.contains(*p), other.contains(*p)) {
                (true, true) => differs(p),
                // One side has the cell of the base.
                (changed, more) => changed != more && contested.contains(*p),
            };
            let columns: Vec<usize> = (0..schema.columns.len()).filter(disputed).collect();
            let rest: ColumnSet = other.iter().filter(|p| !mine.contains(*p) && !contested.contains(*p)).collect();
            let rest = (!rest.is_empty()).then_some(Op::Patch(rest));
            match (columns.is_empty(), rest) {
                (true, None) => Verdict::Keep,
                (true, Some(op)) => Verdict::Do(op),
                (false, rest) => Verdict::Conflict(columns, rest),
            }
        }
        // Both inserted it.
        _ => {
            let columns: Vec<usize> = (0..schema.columns.len()).filter(differs).collect();
            if columns.is_empty() { Verdict::Keep } else { Verdict::Conflict(columns, None) }
        }
    }
}

fn same_cell(schema: &Schema, position: usize, (a, i): (&Changes, usize), (b, j): (&Changes, usize)) -> bool {
    let id = schema.columns[position].id;
    let external = |externals: &[External], row: usize| {
        let found = externals.binary_search_by_key(&(id, row as u32), |e| (e.column, e.row));
        found.ok().map(|i| externals[i].content)
    };
    let cell = |changes: &Changes, row: usize| changes.rows.column(position).slice(row, 1).to_data();
    external(&a.externals, i) == external(&b.externals, j) && cell(a, i) == cell(b, j)
}
