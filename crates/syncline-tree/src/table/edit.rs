//! Changes to one leaf: matching them to its rows, the new leaves they come to, and how those are stored.
//!
//! Owns nothing.

use std::cmp::Ordering;
use std::ops::Range;
use std::sync::Arc;

use bytes::Bytes;
use syncline_base::Hash;
use syncline_store::{Bases, Encoded};

use super::build::{Cutter, Slice, Stored, concat, whole};
use super::change::{Batch, Op, Rows};
use super::cursor::Place;
use super::{Applied, Shared};
use crate::key::Keys;
use crate::leaf::Leaf;
use crate::node::Entry;
use crate::patch::{self, Counts, Edit, Edited, RowOp};
use crate::{Error, Result, codec};

/// Part of a batch of changes.
pub(crate) type Segment = (Arc<Batch>, Range<usize>);

/// What became of a leaf that starts at a boundary.
#[derive(Debug)]
pub(crate) enum Outcome {
    /// Nothing: all changes were there already.
    Same,
    /// Leaves that end where the old one ended, or none.
    Leaves(Vec<Stored>),
    /// The last row ends no leaf any more: what follows must be cut anew.
    Open,
}

/// A leaf after its changes.
#[derive(Debug)]
pub(crate) struct Changed {
    pub(crate) outcome: Outcome,
    /// What it needs to be cut anew with a leaf before it. Not kept when keys are the same, as after most edits: then that
    /// is rare, and memory that lives no longer than a task is warm.
    pub(crate) kept: Option<Kept>,
    pub(crate) applied: Applied,
}

/// A leaf before and after its changes.
#[derive(Debug)]
pub(crate) struct Kept {
    pub(crate) base: Leaf,
    /// All rows as one leaf, of any length; `None` when no row is left.
    pub(crate) merged: Option<Bytes>,
}

/// Keys of a leaf's rows.
pub(crate) fn keys_of(shared: &Shared, leaf: &Leaf) -> Result<Keys> {
    shared.encoder.encode_leaf(leaf)
}

/// A leaf's rows.
pub(crate) fn rows_of(shared: &Shared, leaf: &Leaf) -> Result<Rows> {
    Ok(Rows { batch: leaf.batch(&shared.schema, None)?, externals: leaf.externals().to_vec() })
}

/// The changes of all segments as one.
fn joined(shared: &Shared, segments: &[Segment]) -> Result<Segment> {
    if let [only] = segments {
        return Ok(only.clone());
    }
    let parts: Vec<_> = segments.iter().map(|(batch, range)| batch.rows.slice(range.start, range.len())).collect();
    let ops = segments.iter().flat_map(|(batch, range)| batch.ops[range.clone()].iter().cloned()).collect::<Vec<_>>();
    let keys = segments.iter().flat_map(|(batch, range)| range.clone().map(|i| batch.keys.get(i))).collect();
    let all = 0..ops.len();
    let batch = Batch { rows: concat(&parts)?, ops, keys, columns: Vec::new() };
    Ok((Arc::new(batch.for_edits(shared)?), all))
}

/// Applies changes (for this leaf and no other) to a leaf.
pub(crate) fn change(shared: &Shared, place: &Place, base: Leaf, segments: &[Segment]) -> Result<Changed> {
    let (edited, applied) = merge(shared, &base, segments)?;
    let changed = |outcome, kept| Ok(Changed { outcome, kept, applied });
    match edited {
        Edited::Unchanged => changed(Outcome::Same, None),
        Edited::Empty => changed(Outcome::Leaves(Vec::new()), Some(Kept { base, merged: None })),
        Edited::Changed { leaf, patch, .. } => {
            if applied.inserted == 0
                && applied.deleted == 0
                && let Some(last) = &place.last_key
            {
                // The same keys have the same boundaries.
                let object = edited_object(shared, Bases::one(place.id), &leaf, patch)?;
                let entry = Entry { id: object.id, rows: place.rows, last: last.clone() };
                return changed(Outcome::Leaves(vec![Stored { entry, object }]), None);
            }
            let outcome = cut(shared, place, &base, &leaf, patch)?;
            changed(outcome, Some(Kept { base, merged: Some(leaf) }))
        }
    }
}

/// A leaf before and after its changes, made again.
pub(crate) fn keep(shared: &Shared, place: &Place, segments: &[Segment]) -> Result<Kept> {
    let base = shared.leaf(&place.id, place.rows)?;
    let merged = match merge(shared, &base, segments)?.0 {
        Edited::Unchanged => Some(base.bytes().clone()),
        Edited::Empty => None,
        Edited::Changed { leaf, .. } => Some(leaf),
    };
    Ok(Kept { base, merged })
}

/// Applies changes to a leaf without looking at boundaries.
pub(crate) fn merge(shared: &Shared, base: &Leaf, segments: &[Segment]) -> Result<(Edited, Applied)> {
    let (batch, range) = joined(shared, segments)?;
    let keys = keys_of(shared, base)?;
    let (all, ops) = (range.len() as u64, steps(shared, &keys, &batch, range)?);
    let edit = Edit { schema: &shared.schema, rows: &batch.rows.batch, externals: &batch.rows.externals, ops: &ops };
    let edited = patch::edit_with(base, &edit, &batch.columns)?;
    let counts = match &edited {
        Edited::Unchanged => Counts::default(),
        Edited::Empty => Counts { deleted: base.rows() as u64, ..Counts::default() },
        Edited::Changed { counts, .. } => *counts,
    };
    let Counts { inserted, updated, deleted } = counts;
    Ok((edited, Applied { inserted, updated, deleted, unchanged: all - inserted - updated - deleted }))
}

/// Changes as steps on the rows that have `keys`.
fn steps(shared: &Shared, keys: &Keys, batch: &Batch, range: Range<usize>) -> Result<Vec<RowOp>> {
    let mut steps: Vec<RowOp> = Vec::with_capacity(range.len());
    let mut row = 0;
    for i in range {
        let key = batch.keys.get(i);
        row = lower_bound(keys, row, key);
        let found = row < keys.len() && keys.get(row) == key;
        let (at, source) = (row as u32, i as u32);
        match (&batch.ops[i], found) {
            (Op::Upsert, true) => steps.push(RowOp::Update { row: at, source, columns: None }),
            (Op::Patch(columns) | Op::Merge(columns), true) => {
                steps.push(RowOp::Update { row: at, source, columns: Some(columns.clone()) });
            }
            (Op::Upsert | Op::Insert | Op::Merge(_), false) => match steps.last_mut() {
                Some(RowOp::Insert { at: same, source: first, count }) if *same == at && *first + *count == source => {
                    *count += 1;
                }
                _ => steps.push(RowOp::Insert { at, source, count: 1 }),
            },
            (Op::Delete, true) => match steps.last_mut() {
                Some(RowOp::Delete { row: first, count }) if *first + *count == at => *count += 1,
                _ => steps.push(RowOp::Delete { row: at, count: 1 }),
            },
            (Op::Delete, false) => {}
            (Op::Insert, true) => return Err(refused(shared, "inserting a row", key, "it is there already")),
            (Op::Patch(_), false) => return Err(refused(shared, "patching a row", key, "there is no such row")),
        }
    }
    Ok(steps)
}

fn refused(shared: &Shared, what: &str, key: &[u8], why: &str) -> Error {
    let key = crate::key::to_json(&shared.schema, key)
        .map_or_else(|_| format!("{key:02x?}"), |key| serde_json::Value::Object(key).to_string());
    Error::Conflict(format!("{what} with key {key}: {why}"))
}

/// The first row from `from` on whose key is not below `key`. Looks near `from` first.
pub(crate) fn lower_bound(keys: &Keys, from: usize, key: &[u8]) -> usize {
    let (mut low, mut step) = (from, 1);
    while low + step <= keys.len() && keys.get(low + step - 1) < key {
        low += step;
        step *= 2;
    }
    let mut high = (low + step).min(keys.len());
    while low < high {
        let middle = usize::midpoint(low, high);
        if keys.get(middle) < key {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    low
}

/// Cuts the new rows of a leaf that starts at a boundary.
fn cut(shared: &Shared, place: &Place, base: &Leaf, merged: &Bytes, patch: Bytes) -> Result<Outcome> {
    let leaf = Leaf::parse(merged.clone())?;
    let keys = keys_of(shared, &leaf)?;
    let (mut cutter, mut slices) = (Cutter::default(), Vec::<Slice>::new());
    cutter.push(&shared.leaf_rule, &rows_of(shared, &leaf)?, &keys, |slice| slices.push(slice));
    if place.is_last {
        slices.extend(cutter.finish());
    }
    if !cutter.is_aligned() {
        return Ok(Outcome::Open);
    }
    if slices.len() == 1 {
        let object = edited_object(shared, Bases::one(place.id), merged, patch)?;
        let last = Bytes::copy_from_slice(keys.get(keys.len() - 1));
        let entry = Entry { id: object.id, rows: keys.len() as u64, last };
        return Ok(Outcome::Leaves(vec![Stored { entry, object }]));
    }
    let stored = slices.into_iter().map(|slice| slice.with_bases(vec![(place.id, base.clone())]).encode(shared));
    Ok(Outcome::Leaves(stored.collect::<Result<_>>()?))
}

/// How a leaf that is `patch` on `bases` is stored: as the patch when it is small and there is room; as a patch further down
/// when the chain of the only base is full and that is small; else whole.
pub(crate) fn edited_object(shared: &Shared, bases: Bases, canonical: &Bytes, patch: Bytes) -> Result<Encoded> {
    let raw_len = canonical.len();
    if patch.len() > raw_len / 2 {
        return whole(canonical);
    }
    if !shared.store.patch_room(&bases, patch.len(), raw_len) {
        let whole = whole(canonical)?;
        let Some(base) = bases.only() else { return Ok(whole) };
        let below = shared.store.encode_below(canonical, base)?;
        return Ok(below.filter(|below| below.payload.len() < whole.payload.len() / 2).unwrap_or(whole));
    }
    if patch.len() > raw_len / 16 {
        let whole = whole(canonical)?;
        if whole.payload.len() <= patch.len() {
            return Ok(whole);
        }
    }
    Ok(Encoded::patch(Hash::of(canonical), codec::LEAF_PATCH, bases, raw_len as u32, patch))
}

/// An old leaf that has rows of a new one.
struct Share<'a> {
    id: Hash,
    leaf: &'a Leaf,
    keys: Keys,
    common: usize,
}

/// A new leaf as an edit of those old ones with which it shares most keys: of two when there is room, else of one. `None`
/// when that is less than half of its rows.
pub(crate) fn as_edit(shared: &Shared, rows: &Rows, bases: &[(Hash, Leaf)]) -> Result<Option<Encoded>> {
    let new = shared.encoder.encode(&rows.batch)?;
    let mut shares = Vec::with_capacity(bases.len());
    for (id, leaf) in bases {
        let keys = keys_of(shared, leaf)?;
        let common = common(&keys, &new);
        shares.push(Share { id: *id, leaf, keys, common });
    }
    shares.retain(|share| share.common > 0);
    shares.sort_by_key(|share| std::cmp::Reverse(share.common));
    if let [one, two, ..] = &shares[..]
        && (one.common + two.common) * 2 >= new.len()
        && let Some(object) = as_edit_of_two(shared, rows, &new, [one, two])?
    {
        return Ok(Some(object));
    }
    let Some(best) = shares.first().filter(|best| best.common * 2 >= new.len()) else { return Ok(None) };
    let ops = replacing(&best.keys, &new);
    let edit = Edit { schema: &shared.schema, rows: &rows.batch, externals: &rows.externals, ops: &ops };
    match patch::edit(best.leaf, &edit)? {
        Edited::Changed { leaf, patch, .. } => edited_object(shared, Bases::one(best.id), &leaf, patch).map(Some),
        Edited::Unchanged => whole(best.leaf.bytes()).map(Some),
        Edited::Empty => Ok(None),
    }
}

/// A new leaf as an edit of two old ones that follow each other; `None` when their chains have no room for it.
fn as_edit_of_two(shared: &Shared, rows: &Rows, new: &Keys, shares: [&Share<'_>; 2]) -> Result<Option<Encoded>> {
    let [mut first, mut second] = shares;
    if first.keys.get(0) > second.keys.get(0) {
        (first, second) = (second, first);
    }
    let bases = Bases::two(first.id, second.id);
    let room = |patch: usize, raw: usize| shared.store.patch_room(&bases, patch, raw);
    if !room(0, first.leaf.bytes().len().min(second.leaf.bytes().len())) {
        return Ok(None);
    }
    // Two leaves may be too long together.
    let Ok(base) = patch::join(first.leaf, second.leaf) else { return Ok(None) };
    let old: Keys = first.keys.iter().chain(second.keys.iter()).collect();
    let ops = replacing(&old, new);
    let edit = Edit { schema: &shared.schema, rows: &rows.batch, externals: &rows.externals, ops: &ops };
    let (leaf, patch) = match patch::edit(&base, &edit)? {
        Edited::Changed { leaf, patch, .. } => (leaf, patch),
        Edited::Unchanged => (base.bytes().clone(), patch::unchanged()),
        Edited::Empty => return Ok(None),
    };
    if !room(patch.len(), leaf.len()) {
        return Ok(None);
    }
    edited_object(shared, bases, &leaf, patch).map(Some)
}

/// Walks over two ascending key lists; `visit` gets the order of the next keys and their places.
fn walk(old: &Keys, new: &Keys, mut visit: impl FnMut(Ordering, u32, u32)) {
    let (mut i, mut j) = (0, 0);
    while i < old.len() || j < new.len() {
        let order = match (i < old.len(), j < new.len()) {
            (true, true) => old.get(i).cmp(new.get(j)),
            (true, false) => Ordering::Less,
            _ => Ordering::Greater,
        };
        visit(order, i as u32, j as u32);
        i += usize::from(order.is_le());
        j += usize::from(order.is_ge());
    }
}

fn common(old: &Keys, new: &Keys) -> usize {
    let mut common = 0;
    walk(old, new, |order, _, _| common += usize::from(order.is_eq()));
    common
}

/// Steps that make exactly the rows with keys `new` out of those with keys `old`.
pub(crate) fn replacing(old: &Keys, new: &Keys) -> Vec<RowOp> {
    let mut steps: Vec<RowOp> = Vec::new();
    walk(old, new, |order, i, j| match (order, steps.last_mut()) {
        (Ordering::Equal, _) => steps.push(RowOp::Update { row: i, source: j, columns: None }),
        (Ordering::Less, Some(RowOp::Delete { row, count })) if *row + *count == i => *count += 1,
        (Ordering::Less, _) => steps.push(RowOp::Delete { row: i, count: 1 }),
        (Ordering::Greater, Some(RowOp::Insert { at, source, count })) if *at == i && *source + *count == j => {
            *count += 1;
        }
        (Ordering::Greater, _) => steps.push(RowOp::Insert { at: i, source: j, count: 1 }),
    });
    steps
}
