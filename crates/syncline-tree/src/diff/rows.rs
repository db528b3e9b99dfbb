//! How the rows of one region differ: always told as a patch on a leaf, be it one that is stored or one made here.
//!
//! Owns nothing.

use std::borrow::Cow;

use arrow_array::RecordBatch;
use syncline_base::Hash;
use syncline_store::Encoded;

use super::gather::{Gather, Source};
use super::regions::Region;
use super::{Change, Sides};
use crate::codec::{Columns, LEAF, LEAF_PATCH};
use crate::key::Keys;
use crate::leaf::{self, Leaf};
use crate::node::Entry;
use crate::patch::{self, ColumnSet, Counts, Edit, Edited, LeafPatch, PatchOp};
use crate::schema::Schema;
use crate::table::edit::{keys_of, replacing, rows_of};
use crate::table::{Op, concat};
use crate::{Error, Result};

/// What a region comes to.
#[derive(Debug)]
pub(crate) enum Found {
    /// No row differs.
    Nothing,
    /// All these rows are new.
    Inserted(Leaf),
    /// All these rows are gone.
    Deleted(Leaf),
    /// An edit of a leaf.
    Edited(Box<LeafPatch>, Base),
}

/// The leaf that an edit is of.
#[derive(Debug)]
pub(crate) enum Base {
    /// Not read yet, or as it is stored.
    Stored(Entry, Option<Encoded>),
    /// Read, or made here.
    Read(Leaf),
}

/// Counts without opening leaves where that is possible.
pub(crate) fn count(sides: &Sides, group: &[Region]) -> Result<Counts> {
    let mut total = Counts::default();
    for (region, object) in group.iter().zip(stored(sides, group)?) {
        let counts = count_one(sides, region, object)?;
        total.inserted += counts.inserted;
        total.updated += counts.updated;
        total.deleted += counts.deleted;
    }
    Ok(total)
}

fn count_one(sides: &Sides, region: &Region, object: Option<Encoded>) -> Result<Counts> {
    let schema = sides.new.schema();
    match (&region.old[..], &region.new[..]) {
        ([], new) => return Ok(Counts { inserted: new.iter().map(|entry| entry.rows).sum(), ..Counts::default() }),
        (old, []) => return Ok(Counts { deleted: old.iter().map(|entry| entry.rows).sum(), ..Counts::default() }),
        ([old], [new]) if sides.compatible => {
            if let Some(patch) = object.clone().map(|object| patch_on(schema, object, &old.id)).transpose()?.flatten() {
                return Ok(patch.counts());
            }
            if let Some(patch) = patch_on(schema, sides.old.store().get_encoded(&old.id)?, &new.id)? {
                let Counts { inserted, updated, deleted } = patch.counts();
                return Ok(Counts { inserted: deleted, updated, deleted: inserted });
            }
        }
        _ => {}
    }
    Ok(match find_one(sides, region, object)? {
        Found::Nothing => Counts::default(),
        Found::Inserted(leaf) => Counts { inserted: leaf.rows() as u64, ..Counts::default() },
        Found::Deleted(leaf) => Counts { deleted: leaf.rows() as u64, ..Counts::default() },
        Found::Edited(patch, _) => patch.counts(),
    })
}

/// The one leaf on either side of a region, when that is what it is.
fn single<'r>(sides: &Sides, region: &'r Region) -> Option<(&'r Entry, &'r Entry)> {
    match (&region.old[..], &region.new[..]) {
        ([old], [new]) if sides.compatible => Some((old, new)),
        _ => None,
    }
}

/// For each region of one new leaf for one old one: the new leaf as it is stored. Read together.
fn stored(sides: &Sides, group: &[Region]) -> Result<Vec<Option<Encoded>>> {
    let ids: Vec<Hash> = group.iter().filter_map(|region| Some(single(sides, region)?.1.id)).collect();
    let objects = sides.new.store().get_encoded_many(&ids)?;
    objects.iter().for_each(|object| sides.new.shared.leaf_size.note(object.raw_len as usize));
    let mut objects = objects.into_iter();
    Ok(group.iter().map(|region| single(sides, region).and_then(|_| objects.next())).collect())
}

/// The patch that an object is, when it is one on `base` and says row by row how the two differ.
fn patch_on(schema: &Schema, object: Encoded, base: &Hash) -> Result<Option<LeafPatch>> {
    if object.codec != LEAF_PATCH || object.bases.only() != Some(base) {
        return Ok(None);
    }
    let patch = LeafPatch::decode(object.payload)?;
    Ok(tells_rows(schema, &patch).then_some(patch))
}

/// Whether the rows that a patch inserts, updates and deletes are those that differ by key. A patch that a peer made is kept as
/// it came, and the leaf that it gives is all that its hash vouches for: one that writes a key into a row, or that inserts
/// where it deletes (perhaps the same key), gives a right leaf in steps that mean something else.
fn tells_rows(schema: &Schema, patch: &LeafPatch) -> bool {
    let is_plain = |id: &u32| !schema.key.contains(id) && schema.position(*id).is_some();
    let (mut inserted, mut deleted) = (None, None);
    let step = |op: &PatchOp| match *op {
        PatchOp::Update { mask, .. } => {
            let mask = patch.mask(mask);
            !mask.is_empty() && mask.iter().all(is_plain)
        }
        PatchOp::Insert { at, .. } => {
            inserted = Some(at);
            deleted != Some(at)
        }
        PatchOp::Delete { row, count } => {
            deleted = Some(row + count);
            inserted != Some(row)
        }
    };
    patch.dropped().is_empty() && patch.ops().iter().all(step)
}

/// How the rows of each region differ.
pub(crate) fn find(sides: &Sides, group: &[Region]) -> Result<Vec<Found>> {
    let stored = stored(sides, group)?;
    group.iter().zip(stored).map(|(region, object)| find_one(sides, region, object)).collect()
}

/// Reads, together, the leaves of which the keys of edits will be asked for.
pub(crate) fn read_bases(sides: &Sides, found: &mut [Found]) -> Result<()> {
    let mut wanted: Vec<(&Entry, &mut Option<Encoded>)> = Vec::new();
    for found in found {
        if let Found::Edited(patch, Base::Stored(entry, object)) = found
            && moves(patch)
        {
            wanted.push((&*entry, object));
        }
    }
    let ids: Vec<Hash> = wanted.iter().map(|(entry, _)| entry.id).collect();
    let objects = sides.old.store().get_encoded_many(&ids)?;
    wanted.into_iter().zip(objects).for_each(|((_, place), object)| *place = Some(object));
    Ok(())
}

/// Whether a patch says something of rows that its base has.
fn moves(patch: &LeafPatch) -> bool {
    patch.ops().iter().any(|op| !matches!(op, PatchOp::Insert { .. }))
}

fn find_one(sides: &Sides, region: &Region, object: Option<Encoded>) -> Result<Found> {
    if let Some(((old, _), object)) = single(sides, region).zip(object)
        && let Some(patch) = patch_on(sides.new.schema(), object, &old.id)?
    {
        return Ok(Found::Edited(Box::new(patch), Base::Stored(old.clone(), None)));
    }
    let old = old_leaf(sides, &region.old)?;
    let new = new_leaf(sides, &region.new)?;
    let schema = sides.new.schema();
    match (old, new) {
        (None, None) => Ok(Found::Nothing),
        (None, Some(new)) => Ok(Found::Inserted(new)),
        (Some(old), None) => Ok(Found::Deleted(old)),
        (Some(old), Some(new)) => {
            let shared = &sides.new.shared;
            let ops = replacing(&keys_of(shared, &old)?, &keys_of(shared, &new)?);
            let rows = rows_of(shared, &new)?;
            match patch::edit(&old, &Edit { schema, rows: &rows.batch, externals: &rows.externals, ops: &ops })? {
                Edited::Unchanged | Edited::Empty => Ok(Found::Nothing),
                Edited::Changed { patch, .. } => {
                    Ok(Found::Edited(Box::new(LeafPatch::decode(patch)?), Base::Read(old)))
                }
            }
        }
    }
}

/// The region's new rows as one leaf.
fn new_leaf(sides: &Sides, entries: &[Entry]) -> Result<Option<Leaf>> {
    let shared = &sides.new.shared;
    match entries {
        [] => Ok(None),
        [only] => shared.leaf(&only.id, only.rows).map(Some),
        _ => {
            let rows = |entry: &Entry| rows_of(shared, &shared.leaf(&entry.id, entry.rows)?);
            let rows = concat(&entries.iter().map(rows).collect::<Result<Vec<_>>>()?)?;
            Leaf::parse(leaf::encode(&shared.schema, &rows.batch, &rows.externals)?).map(Some)
        }
    }
}

/// The region's old rows as one leaf of the new schema.
fn old_leaf(sides: &Sides, entries: &[Entry]) -> Result<Option<Leaf>> {
    let (old, new) = (&sides.old.shared, sides.new.schema());
    let read = |entry: &Entry| old.leaf(&entry.id, entry.rows);
    match entries {
        [] => Ok(None),
        [only] if sides.compatible => read(only).map(Some),
        _ => {
            let rows = |entry: &Entry| {
                let leaf = read(entry)?;
                if sides.compatible {
                    return rows_of(&sides.new.shared, &leaf);
                }
                sides.lifted(rows_of(old, &leaf)?)
            };
            let rows = concat(&entries.iter().map(rows).collect::<Result<Vec<_>>>()?)?;
            Leaf::parse(leaf::encode(new, &rows.batch, &rows.externals)?).map(Some)
        }
    }
}

/// The columns of the key of a leaf's rows, without reading the others when it is stored by column.
fn key_columns(sides: &Sides, base: &Base) -> Result<RecordBatch> {
    let schema = sides.new.schema();
    match base {
        Base::Read(leaf) => leaf.batch(schema, Some(&schema.key)),
        Base::Stored(entry, object) => {
            let object = object.clone().map_or_else(|| sides.old.store().get_encoded(&entry.id), Ok)?;
            if object.codec == LEAF {
                return Columns::open(object.payload)?.batch(schema, Some(&schema.key));
            }
            sides.old.shared.leaf(&entry.id, entry.rows)?.batch(schema, Some(&schema.key))
        }
    }
}

/// A leaf that an edit is of, read.
fn read_base<'b>(sides: &Sides, base: &'b Base) -> Result<Cow<'b, Leaf>> {
    match base {
        Base::Read(leaf) => Ok(Cow::Borrowed(leaf)),
        Base::Stored(entry, _) => sides.old.shared.leaf(&entry.id, entry.rows).map(Cow::Owned),
    }
}

/// Adds what a region comes to as changes: keys, and the cells that differ.
pub(crate) fn gather_changes(sides: &Sides, found: &Found, ops: &mut Vec<Op>, out: &mut Gather<'_>) -> Result<()> {
    let schema = sides.new.schema();
    let keys = schema.key_positions();
    let is_key: ColumnSet = keys.iter().copied().collect();
    match found {
        Found::Nothing => {}
        Found::Inserted(leaf) => {
            let source = out.source(Source::of(&rows_of(&sides.new.shared, leaf)?));
            (0..leaf.rows()).for_each(|row| out.row(source, row));
            ops.extend(std::iter::repeat_n(Op::Insert, leaf.rows()));
        }
        Found::Deleted(leaf) => {
            let source = out.source(Source::keys(schema.columns.len(), &keys, &leaf.batch(schema, Some(&schema.key))?));
            (0..leaf.rows()).for_each(|row| out.row(source, row));
            ops.extend(std::iter::repeat_n(Op::Delete, leaf.rows()));
        }
        Found::Edited(patch, base) => {
            let base = if moves(patch) { Some(key_columns(sides, base)?) } else { None };
            let base = base.map(|batch| out.source(Source::keys(schema.columns.len(), &keys, &batch)));
            gather_patch(sides, patch, base, &is_key, ops, out)?;
        }
    }
    Ok(())
}

fn gather_patch(
    sides: &Sides,
    patch: &LeafPatch,
    base: Option<usize>,
    is_key: &ColumnSet,
    ops: &mut Vec<Op>,
    out: &mut Gather<'_>,
) -> Result<()> {
    let schema = sides.new.schema();
    let width = schema.columns.len();
    let inserts = patch.ops().iter().any(|op| matches!(op, PatchOp::Insert { .. }));
    let mut source = Source { arrays: vec![None; width], externals: patch.externals().to_vec() };
    let masks = masks(sides, patch);
    for (position, column) in schema.columns.iter().enumerate() {
        if inserts || masks.iter().any(|mask| mask.contains(position)) {
            source.arrays[position] = Some(patch.cells(schema, column.id)?);
        }
    }
    let cells = out.source(source);
    let mut next = vec![0; width];
    let mut cell = |out: &mut Gather<'_>, position: usize| {
        out.cell(position, cells, next[position]);
        next[position] += 1;
    };
    let missing = || Error::corrupt("a patch changes rows of a leaf without rows");
    for op in patch.ops() {
        match *op {
            PatchOp::Insert { count, .. } => {
                (0..count).for_each(|_| (0..width).for_each(|position| cell(out, position)));
                ops.extend(std::iter::repeat_n(Op::Insert, count as usize));
            }
            PatchOp::Delete { row, count } => {
                let base = base.ok_or_else(missing)?;
                (row..row + count).for_each(|row| out.row(base, row as usize));
                ops.extend(std::iter::repeat_n(Op::Delete, count as usize));
            }
            PatchOp::Update { row, count, mask } => {
                let (base, mask) = (base.ok_or_else(missing)?, &masks[mask as usize]);
                for row in row..row + count {
                    for position in 0..width {
                        match position {
                            _ if is_key.contains(position) => out.cell(position, base, row as usize),
                            _ if mask.contains(position) => cell(out, position),
                            _ => out.null(position),
                        }
                    }
                }
                ops.extend(std::iter::repeat_n(Op::Patch(mask.clone()), count as usize));
            }
        }
    }
    Ok(())
}

/// The masks of a patch as positions in the schema.
fn masks(sides: &Sides, patch: &LeafPatch) -> Vec<ColumnSet> {
    let schema = sides.new.schema();
    let highest = patch.ops().iter().filter_map(|op| match op {
        PatchOp::Update { mask, .. } => Some(*mask),
        _ => None,
    });
    let count = highest.max().map_or(0, |highest| highest + 1);
    (0..count).map(|mask| patch.mask(mask).iter().filter_map(|id| schema.position(*id)).collect()).collect()
}

/// Whole rows before and after.
pub(crate) struct Both<'a> {
    pub(crate) before: Gather<'a>,
    pub(crate) after: Gather<'a>,
    pub(crate) kinds: Vec<Change>,
    pub(crate) changed: Vec<ColumnSet>,
}

/// Adds what a region comes to as whole rows.
pub(crate) fn gather_both(sides: &Sides, found: &Found, out: &mut Both<'_>) -> Result<()> {
    let shared = &sides.new.shared;
    let mut all = |leaf: &Leaf, kind: Change| {
        let side = if kind == Change::Insert { &mut out.after } else { &mut out.before };
        let source = side.source(Source::of(&rows_of(shared, leaf)?));
        (0..leaf.rows()).for_each(|row| side.row(source, row));
        out.kinds.extend(std::iter::repeat_n(kind, leaf.rows()));
        out.changed.extend(std::iter::repeat_n(ColumnSet::new(), leaf.rows()));
        Ok(())
    };
    match found {
        Found::Nothing => Ok(()),
        Found::Inserted(leaf) => all(leaf, Change::Insert),
        Found::Deleted(leaf) => all(leaf, Change::Delete),
        Found::Edited(patch, base) => {
            let base = read_base(sides, base)?;
            let new = Leaf::parse(patch.apply(&base)?)?;
            let old = out.before.source(Source::of(&rows_of(shared, &base)?));
            let new = out.after.source(Source::of(&rows_of(shared, &new)?));
            edited_rows(patch, &masks(sides, patch), (old, new), out);
            Ok(())
        }
    }
}

fn edited_rows(patch: &LeafPatch, masks: &[ColumnSet], (old, new): (usize, usize), out: &mut Both<'_>) {
    // How many more rows there are in the new leaf before the place we are at.
    let mut shift = 0_i64;
    for op in patch.ops() {
        let (row, count) = match *op {
            PatchOp::Insert { at, count } => (at, count),
            PatchOp::Delete { row, count } | PatchOp::Update { row, count, .. } => (row, count),
        };
        for i in row..row + count {
            let after = (i64::from(i) + shift) as usize;
            let (kind, mask) = match *op {
                PatchOp::Insert { .. } => (Change::Insert, None),
                PatchOp::Delete { .. } => (Change::Delete, None),
                PatchOp::Update { mask, .. } => (Change::Update, masks.get(mask as usize).cloned()),
            };
            if kind != Change::Insert {
                out.before.row(old, i as usize);
            }
            if kind != Change::Delete {
                out.after.row(new, after);
            }
            out.kinds.push(kind);
            out.changed.push(mask.unwrap_or_default());
        }
        match op {
            PatchOp::Insert { .. } => shift += i64::from(count),
            PatchOp::Delete { .. } => shift -= i64::from(count),
            PatchOp::Update { .. } => {}
        }
    }
}

/// The keys of rows that differ, in their order.
pub(crate) fn keys_in_order(kinds: &[Change], before: &Keys, after: &Keys) -> Keys {
    let (mut i, mut j) = (0, 0);
    let key = |kind: &Change| {
        let (old, new) = (i, j);
        i += usize::from(*kind != Change::Insert);
        j += usize::from(*kind != Change::Delete);
        if *kind == Change::Insert { after.get(new) } else { before.get(old) }
    };
    kinds.iter().map(key).collect()
}
