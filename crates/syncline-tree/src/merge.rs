//! Three-way merge of tables, by row and cell.
//!
//! The changes of both sides since the base are walked in key order; what only they changed is applied to our table. Rows
//! that one side alone changed are never read.
//! Owns: the list of conflicts while it is made. Memory: some batches of changes, and the conflicts.
//!
//! Not here: choosing a winner. A cell that both sides changed differently is a conflict; the result keeps ours and the list
//! says what theirs was.

mod join;
mod schema;

use std::collections::BTreeMap;

use self::join::Join;
use self::schema::Columns;
pub use self::schema::merge_schemas;
use crate::diff::{changes, changes_known};
use crate::key::Keys;
use crate::leaf::External;
use crate::patch::ColumnSet;
use crate::schema::Schema;
use crate::table::{Changes, Op, Rows, Table, under};
use crate::{Error, Result, files};

/// A row that the merge could not decide.
#[derive(Debug, Clone)]
pub struct Conflict {
    /// The encoded key.
    pub key: Vec<u8>,
    /// The row in the base; `None` when both sides inserted it.
    pub base: Option<Rows>,
    /// The row as we have it; `None` when we deleted it.
    pub ours: Option<Rows>,
    /// The row as they have it; `None` when they deleted it.
    pub theirs: Option<Rows>,
    /// Ids of the columns in conflict; empty when the row was deleted on one side and changed on the other.
    pub columns: Vec<u32>,
}

/// What a merge gave.
#[derive(Debug, Clone)]
pub struct Merged {
    /// Everything both sides changed, with our cells and rows where they are in conflict.
    pub table: Table,
    /// In key order.
    pub conflicts: Vec<Conflict>,
}

/// Merges what `theirs` changed since `base` into `ours`. All are in one store. Without a `base` the two were made apart:
/// then columns are matched by name, and all rows of both are new.
///
/// # Errors
/// `conflict` when the sides changed the schema in ways that exclude each other; the store's.
pub fn merge(base: Option<&Table>, ours: &Table, theirs: &Table) -> Result<Merged> {
    merge_by(base, ours, theirs, |_, _| ColumnSet::new())
}

/// As [`merge`], for files: what a path holds is of one side, whole.
///
/// # Errors
/// As [`merge`].
pub fn merge_files(base: Option<&Table>, ours: &Table, theirs: &Table) -> Result<Merged> {
    merge_by(base, ours, theirs, files::contested)
}

/// Refuses that cells which one side edited go unsaid with a column that the other side dropped.
///
/// Rows that a side added lose theirs: they are no older than the decision that the column is not needed. Reads what changed on
/// the side that has the column, and only when there is one.
///
/// # Errors
/// `conflict`, naming the column and how many rows were edited; the store's.
pub fn check_dropped(base: &Table, ours: &Table, theirs: &Table) -> Result<()> {
    for (side, other, here, there) in [(ours, theirs, "here", "there"), (theirs, ours, "there", "here")] {
        let (kept, gone) = (base.schema().matches(side.schema()), base.schema().matches(other.schema()));
        let place = |(id, mine): (&u32, &u32)| side.schema().position(*mine).filter(|_| !gone.contains_key(id));
        let mut dropped: Vec<(usize, u64)> = kept.iter().filter_map(place).map(|position| (position, 0)).collect();
        if dropped.is_empty() {
            continue;
        }
        for changes in changes(base, side)? {
            for op in &changes?.ops {
                let (Op::Patch(set) | Op::Merge(set)) = op else { continue };
                dropped.iter_mut().filter(|(position, _)| set.contains(*position)).for_each(|(_, rows)| *rows += 1);
            }
        }
        if let Some((position, rows)) = dropped.into_iter().find(|(_, rows)| *rows > 0) {
            let name = &side.schema().columns[position].name;
            return Err(Error::Conflict(format!(
                "merging two versions of a table: column {name:?} was dropped {there}, and {rows} cells of it were edited {here}; drop \
                 it {here}, too, or take back that it was dropped, and merge again"
            )));
        }
    }
    Ok(())
}

/// The cells of a row that go together, given those that each side changed: either side's, or in conflict.
type Contested = fn(&ColumnSet, &ColumnSet) -> ColumnSet;

fn merge_by(base: Option<&Table>, ours: &Table, theirs: &Table, contested: Contested) -> Result<Merged> {
    let Columns { schema, of_base, of_theirs } =
        merge_schemas(base.map(Table::schema), ours.schema(), theirs.schema())?;
    let ours = ours.with_schema(schema)?;
    let is_base = |table: &Table| base.is_some_and(|base| base.to_ref() == table.to_ref());
    if ours.to_ref() == theirs.to_ref() || is_base(theirs) {
        return Ok(Merged { table: ours, conflicts: Vec::new() });
    }
    if is_base(&ours) && of_theirs.is_empty() {
        let table = theirs.with_schema(ours.schema().clone())?;
        return Ok(Merged { table, conflicts: Vec::new() });
    }
    // Theirs in terms of the merged schema, with the numbers that the columns have there.
    let lift = {
        let (from, to) = (theirs.schema().renumbered(&of_theirs), ours.schema().clone());
        move |changes: Result<Changes>| {
            let mut changes = changes?;
            renumber(&mut changes.externals, &of_theirs);
            lifted(&from, &to, changes)
        }
    };
    let ours_since = match base {
        Some(base) => changes_known(base, &ours, of_base)?,
        None => changes(&ours.emptied(), &ours)?,
    };
    let theirs_since = changes(base.unwrap_or(&theirs.emptied()), theirs)?;
    let mut join = Join::new(&ours, contested, ours_since, theirs_since.map(lift))?;
    let table = ours.apply(&mut join)?.0;
    let found = join.finish();
    let keys: Keys = found.iter().map(|(key, _)| &key[..]).collect();
    let base = base.map_or_else(|| Ok(vec![None; keys.len()]), |base| base.get_many(&keys))?;
    let (ours, theirs) = (ours.get_many(&keys)?, theirs.get_many(&keys)?);
    let rows = base.into_iter().zip(ours).zip(theirs);
    let conflict = |((key, columns), ((base, ours), theirs))| Conflict { key, base, ours, theirs, columns };
    Ok(Merged { table, conflicts: found.into_iter().zip(rows).map(conflict).collect() })
}

/// Rows of the versions that are merged as rows of what they are merged to.
#[derive(Debug, Clone)]
pub struct Lift {
    columns: Columns,
}

/// A version that takes part in a merge.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Version {
    /// The common ancestor.
    Base,
    /// The one that is merged into.
    Ours,
    /// The one that is merged.
    Theirs,
}

impl Lift {
    /// For these three versions of a table; without a `base` the two were made apart.
    ///
    /// # Errors
    /// `conflict` when the sides changed the schema in ways that exclude each other.
    pub fn of(base: Option<&Schema>, ours: &Schema, theirs: &Schema) -> Result<Self> {
        Ok(Self { columns: merge_schemas(base, ours, theirs)? })
    }

    /// The schema of the merged table.
    #[must_use]
    pub fn schema(&self) -> &Schema {
        &self.columns.schema
    }

    /// Rows of one version, which has them under `from`.
    ///
    /// # Errors
    /// `invalid` when a value does not fit its column's type.
    pub fn rows(&self, version: Version, from: &Schema, rows: &Rows) -> Result<Rows> {
        let none = BTreeMap::new();
        let ids = match version {
            Version::Base => &self.columns.of_base,
            Version::Ours => &none,
            Version::Theirs => &self.columns.of_theirs,
        };
        let mut rows = rows.clone();
        renumber(&mut rows.externals, ids);
        under(&from.renumbered(ids), self.schema(), &rows)
    }
}

/// Gives cells outside of their rows the ids that their columns have.
pub(crate) fn renumber(externals: &mut [External], ids: &BTreeMap<u32, u32>) {
    for external in &mut *externals {
        external.column = ids.get(&external.column).copied().unwrap_or(external.column);
    }
    externals.sort_unstable();
}

/// Changes under one schema as changes under another, columns matched by id.
fn lifted(from: &Schema, to: &Schema, changes: Changes) -> Result<Changes> {
    if from == to {
        return Ok(changes);
    }
    let rows = under(from, to, &Rows { batch: changes.rows, externals: changes.externals })?;
    let columns = |set: &ColumnSet| set.iter().filter_map(|i| to.position(from.columns.get(i)?.id)).collect();
    let op = |op: &Op| match op {
        Op::Patch(set) => Op::Patch(columns(set)),
        Op::Merge(set) => Op::Merge(columns(set)),
        other => other.clone(),
    };
    Ok(Changes { rows: rows.batch, ops: changes.ops.iter().map(op).collect(), externals: rows.externals })
}

#[cfg(test)]
mod tests;
