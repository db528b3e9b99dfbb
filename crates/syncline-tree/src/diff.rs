//! What differs between two tables, found from the top down: equal subtrees are never opened.
//!
//! Owns: a thread for each stream of differences; it ends when the reader goes away. Memory: the differences of some tens
//! of leaves. Not here: deciding what to do about differences (`crate::merge`), shipping them (`crate::delta`).

mod gather;
mod regions;
mod rows;

use std::collections::BTreeMap;

use syncline_base::task;

pub(crate) use self::gather::{Gather, Source};
use self::regions::{Region, Regions};
use self::rows::Both;
use crate::key::Keys;
use crate::patch::{ColumnSet, Counts};
use crate::schema::{Column, Schema, Type};
use crate::table::stream::{Stream, stream};
use crate::table::{Changes, FLIGHT_BYTES, Rows, Table, batch_bytes};
use crate::{Error, Result};

/// At most how many regions one task compares. A region of one side only counts for several.
const GROUP: usize = 64;
/// About how many bytes of leaves a task compares, when they are long.
const GROUP_BYTES: usize = 4 << 20;
const ONE_SIDED: usize = 8;

/// How a row differs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Change {
    /// The new table has it, the old one does not.
    Insert,
    /// Both have it, with other cells.
    Update,
    /// The old table has it, the new one does not.
    Delete,
}

/// Some rows that differ, in key order. All columns are those of the new table, under the wider of the types that they have in the
/// two; an old row has nulls in columns that the old table does not have.
#[derive(Debug, Clone)]
pub struct DiffBatch {
    /// The key of each row that differs.
    pub keys: Keys,
    /// How each differs.
    pub kinds: Vec<Change>,
    /// Updated and deleted rows as they were, in order (inserted ones have no row here).
    pub before: Rows,
    /// Updated and inserted rows as they are, in order (deleted ones have no row here).
    pub after: Rows,
    /// For each row the cells that differ, as positions in the schema; empty unless it is an update.
    pub changed: Vec<ColumnSet>,
}

/// The new table, or the same rows under the wider types that columns have in the old one: when a table was rolled back to before
/// a column was widened, old values do not fit the new type, and rounded they would seem to be equal. It is built anew then.
fn wide_enough(old: &Schema, new: &Table) -> Result<Table> {
    let mut schema = new.schema().clone();
    for column in &mut schema.columns {
        let there = old.position(column.id).map(|i| &old.columns[i].ty);
        if let Some(wider) = there.filter(|there| **there != column.ty && column.ty.widens_to(there)) {
            column.ty = wider.clone();
        }
    }
    if schema == *new.schema() { Ok(new.clone()) } else { new.with_schema(schema) }
}

/// Two tables to compare.
#[derive(Debug, Clone)]
pub(crate) struct Sides {
    pub(crate) old: Table,
    pub(crate) new: Table,
    /// The old table's columns under the ids that they have in the new one.
    known_as: Schema,
    /// Those of the old table's ids that are others in the new one.
    renumbered: BTreeMap<u32, u32>,
    /// Whether equal ids of columns mean equal columns; then equal nodes are equal rows.
    related: bool,
    /// Whether the old table's leaves can be read under the new one's schema.
    pub(crate) compatible: bool,
}

impl Sides {
    fn new(old: &Table, new: &Table) -> Result<Self> {
        if old.schema() == new.schema() {
            return Self::known(old, new, BTreeMap::new());
        }
        let matched = old.schema().matches(new.schema());
        Self::known(old, new, old.schema().renumbering(&matched, new.schema()))
    }

    /// Where the ids are known that columns of `old` have in `new`.
    fn known(old: &Table, new: &Table, renumbered: BTreeMap<u32, u32>) -> Result<Self> {
        let known_as = old.schema().renumbered(&renumbered);
        if !same_key(&known_as, new.schema()) {
            return Err(Error::invalid("comparing two tables: their keys are not the same, so rows cannot be matched"));
        }
        let new = &wide_enough(&known_as, new)?;
        let related = renumbered.is_empty();
        let kept =
            |column: &Column| new.schema().position(column.id).is_some_and(|i| new.schema().columns[i].ty == column.ty);
        let compatible = related && old.schema().columns.iter().all(kept);
        Ok(Self { old: old.clone(), new: new.clone(), known_as, renumbered, related, compatible })
    }

    /// Rows of the old table as rows of the new one. No value is lost: no type of the new one is narrower.
    pub(crate) fn lifted(&self, mut rows: Rows) -> Result<Rows> {
        crate::merge::renumber(&mut rows.externals, &self.renumbered);
        crate::table::under(&self.known_as, self.new.schema(), &rows)
    }

    /// The regions that differ in groups for a task, each with what it weighs.
    fn regions(&self) -> Result<impl Iterator<Item = Result<(Vec<Region>, usize)>> + '_> {
        let mut regions = Regions::new(&self.old, &self.new, self.related)?;
        Ok(std::iter::from_fn(move || {
            let (mut group, mut weight) = (Vec::new(), 0);
            let [old, new] = [&self.old, &self.new].map(|table| table.shared.leaf_size.fit(GROUP_BYTES, GROUP));
            // A side of which no leaf was read yet says one; both sides are much alike.
            while weight < old.max(new) {
                match regions.next() {
                    None => break,
                    Some(Err(error)) => return Some(Err(error)),
                    Some(Ok(region)) => {
                        let one_sided = region.old.is_empty() || region.new.is_empty();
                        weight += if one_sided { ONE_SIDED } else { 1 };
                        group.push(region);
                    }
                }
            }
            let leaves = |of: fn(&Region) -> usize| group.iter().map(of).sum::<usize>();
            let (old, new) = (leaves(|region| region.old.len()), leaves(|region| region.new.len()));
            let weight = |table: &Table, leaves| if leaves == 0 { 0 } else { table.shared.leaf_size.weight(leaves) };
            let both = weight(&self.old, old).saturating_add(weight(&self.new, new));
            (!group.is_empty()).then_some(Ok((group, both)))
        }))
    }

    fn changes(&self, group: &[Region]) -> Result<Changes> {
        let (mut ops, mut gather) = (Vec::new(), Gather::new(self.new.schema()));
        let mut found = rows::find(self, group)?;
        rows::read_bases(self, &mut found)?;
        found.iter().try_for_each(|found| rows::gather_changes(self, found, &mut ops, &mut gather))?;
        let Rows { batch, externals } = gather.finish()?;
        Ok(Changes { rows: batch, ops, externals })
    }

    fn batch(&self, group: &[Region]) -> Result<DiffBatch> {
        let schema = self.new.schema();
        let (before, after) = (Gather::new(schema), Gather::new(schema));
        let mut both = Both { before, after, kinds: Vec::new(), changed: Vec::new() };
        rows::find(self, group)?.iter().try_for_each(|found| rows::gather_both(self, found, &mut both))?;
        let Both { before, after, kinds, changed } = both;
        let (before, after) = (before.finish()?, after.finish()?);
        let encoder = &self.new.shared.encoder;
        let keys = rows::keys_in_order(&kinds, &encoder.encode(&before.batch)?, &encoder.encode(&after.batch)?);
        Ok(DiffBatch { keys, kinds, before, after, changed })
    }
}

/// Whether rows of two versions of a table can be matched: their keys are the same columns with the same types. Else the tables
/// have nothing but the name in common, and the functions below refuse them.
#[must_use]
pub fn comparable(old: &Schema, new: &Schema) -> bool {
    let known_as = |matched| old.renumbered(&old.renumbering(matched, new));
    old == new || same_key(&known_as(&old.matches(new)), new)
}

/// Whether the keys of two schemas are the same, by the ids of their columns.
fn same_key(old: &Schema, new: &Schema) -> bool {
    key_of(old) == key_of(new)
}

/// The key's columns: id and type.
fn key_of(schema: &Schema) -> Vec<(u32, &Type)> {
    let column = |id: &u32| schema.columns.iter().find(|column| column.id == *id);
    schema.key.iter().filter_map(column).map(|column| (column.id, &column.ty)).collect()
}

/// All differences from `old` to `new`, in key order, in batches of bounded size. The tables may be in different stores.
///
/// # Errors
/// `invalid` when the tables have different keys; the store's.
pub fn diff(old: &Table, new: &Table) -> Result<Stream<DiffBatch>> {
    let sides = Sides::new(old, new)?;
    let weigh = |batch: &DiffBatch| batch_bytes(&batch.before.batch) + batch_bytes(&batch.after.batch);
    stream("diff", 2, weigh, move |sink| {
        task::pipeline_within(
            sides.regions()?,
            (2 * task::width(), FLIGHT_BYTES),
            |group| sides.batch(&group),
            |batch| {
                if batch.kinds.is_empty() { Ok(()) } else { sink(batch) }
            },
        )
    })
}

/// How many rows differ. Does not open leaves that are stored as edits of the old ones.
///
/// # Errors
/// As [`diff`].
pub fn diff_counts(old: &Table, new: &Table) -> Result<Counts> {
    let sides = Sides::new(old, new)?;
    let mut total = Counts::default();
    let count = |group: Vec<Region>| rows::count(&sides, &group);
    task::pipeline_within(sides.regions()?, (2 * task::width(), FLIGHT_BYTES), count, |counts| {
        total.inserted += counts.inserted;
        total.updated += counts.updated;
        total.deleted += counts.deleted;
        Ok(())
    })?;
    Ok(total)
}

/// A bound on how many rows only the old table has, from inner nodes alone: the rows of its leaves that the new one does
/// not have.
///
/// # Errors
/// As [`diff`].
pub fn deleted_at_most(old: &Table, new: &Table) -> Result<u64> {
    let sides = Sides::new(old, new)?;
    let mut regions = Regions::new(&sides.old, &sides.new, sides.related)?;
    regions.try_fold(0, |sum, region| Ok(sum + region?.old.iter().map(|entry| entry.rows).sum::<u64>()))
}

/// The changes that make `new` out of `old`: keys and changed cells only. Cheaper than [`diff`].
///
/// # Errors
/// As [`diff`].
pub fn changes(old: &Table, new: &Table) -> Result<Stream<Changes>> {
    stream_changes(Sides::new(old, new)?)
}

/// As [`changes`], where the ids are known that columns of `old` have in `new`.
pub(crate) fn changes_known(old: &Table, new: &Table, renumbered: BTreeMap<u32, u32>) -> Result<Stream<Changes>> {
    stream_changes(Sides::known(old, new, renumbered)?)
}

fn stream_changes(sides: Sides) -> Result<Stream<Changes>> {
    let weigh = |changes: &Changes| batch_bytes(&changes.rows);
    stream("changes", 4, weigh, move |sink| {
        task::pipeline_within(
            sides.regions()?,
            (2 * task::width(), FLIGHT_BYTES),
            |group| sides.changes(&group),
            |changes| {
                if changes.ops.is_empty() { Ok(()) } else { sink(changes) }
            },
        )
    })
}

#[cfg(test)]
mod tests;
