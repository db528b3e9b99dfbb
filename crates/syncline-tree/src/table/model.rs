//! A table as tests see it: an ordered map from key to row.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow_array::{ArrayRef, Int64Array, RecordBatch};
use arrow_select::concat::concat_batches;
use syncline_base::rng::Rng;
use syncline_store::Store;

use super::{Applied, Changes, Op, Scan, Table};
use crate::key::{KeyEncoder, Keys};
use crate::leaf::arbitrary;
use crate::patch::ColumnSet;
use crate::schema::{Field, Schema, Type};

/// Rows by id: the first column of `arbitrary`'s schemas.
pub(crate) type Model = BTreeMap<i64, RecordBatch>;

/// A random schema with leaves of 16 rows.
pub(crate) fn schema(rng: &mut Rng) -> Schema {
    Schema { leaf_rows: 16, ..arbitrary::schema(rng) }
}

/// How random rows are made: `arbitrary::rows`, or `arbitrary::long_rows`.
pub(crate) type Maker = fn(&mut Rng, &Schema, usize, i64, i64) -> RecordBatch;

/// A schema with leaves of 16 rows and columns of nested types, each with something of any length in it.
pub(crate) fn nested_schema(rng: &mut Rng) -> Schema {
    let part = |ty: Type| Box::new(Field::new("item", ty, true));
    let flat = arbitrary::ty(rng, 0);
    let pair = Type::Struct(vec![Field::new("a", arbitrary::ty(rng, 0), true), Field::new("b", Type::Utf8, true)]);
    let fields = vec![
        Field::new("id", Type::Int64, false),
        Field::new(
            "s",
            Type::Struct(vec![Field::new("n", Type::Int32, false), Field::new("v", Type::List(part(flat)), true)]),
            true,
        ),
        Field::new("f", Type::FixedSizeList(part(pair.clone()), 3), false),
        Field::new("l", Type::List(part(pair)), true),
        Field::new("any", arbitrary::ty(rng, 2), true),
    ];
    Schema { leaf_rows: 16, ..Schema::new(fields, &["id"]).unwrap() }
}

/// Random rows with these ids.
pub(crate) fn rows(rng: &mut Rng, schema: &Schema, ids: &[i64]) -> RecordBatch {
    made(rng, schema, ids, arbitrary::rows)
}

/// As [`rows`], with a maker.
pub(crate) fn made(rng: &mut Rng, schema: &Schema, ids: &[i64], maker: Maker) -> RecordBatch {
    let batch = maker(rng, schema, ids.len(), 0, 1);
    let mut columns = batch.columns().to_vec();
    columns[0] = Arc::new(Int64Array::from(ids.to_vec())) as ArrayRef;
    RecordBatch::try_new(schema.arrow(), columns).unwrap()
}

/// Some of the ids below `bound`, ascending; each with a chance of `percent`.
pub(crate) fn ids(rng: &mut Rng, bound: i64, percent: u64) -> Vec<i64> {
    (0..bound).filter(|_| rng.below(100) < percent).collect()
}

/// Random changes to rows with ids below `bound`: rows to upsert and to delete, cells to patch or merge.
pub(crate) fn changes(rng: &mut Rng, schema: &Schema, model: &Model, bound: i64, percent: u64) -> Changes {
    changes_of(rng, schema, model, (bound, percent), arbitrary::rows)
}

/// As [`changes`], with a maker of rows.
pub(crate) fn changes_of(
    rng: &mut Rng,
    schema: &Schema,
    model: &Model,
    (bound, percent): (i64, u64),
    maker: Maker,
) -> Changes {
    let ids = ids(rng, bound, percent);
    let mut rows = made(rng, schema, &ids, maker);
    let deletes = [5, 30, 90][rng.below(3) as usize];
    let mut ops = Vec::new();
    for (i, id) in ids.iter().enumerate() {
        let some: ColumnSet = (1..schema.columns.len()).filter(|_| rng.below(2) == 0).collect();
        ops.push(match rng.below(100) {
            n if n < deletes => Op::Delete,
            // As it is already.
            n if n < deletes + 3 && model.contains_key(id) => {
                let parts = [rows.slice(0, i), model[id].clone(), rows.slice(i + 1, ids.len() - i - 1)];
                rows = concat_batches(&schema.arrow(), &parts).unwrap();
                Op::Upsert
            }
            n if n % 5 == 0 && model.contains_key(id) => Op::Patch(some),
            n if n % 5 == 1 => Op::Merge(some),
            _ if !model.contains_key(id) && rng.below(2) == 0 => Op::Insert,
            _ => Op::Upsert,
        });
    }
    Changes { rows, ops, externals: Vec::new() }
}

/// What changes do to a model.
pub(crate) fn apply(model: &mut Model, changes: &Changes) -> Applied {
    let ids = changes.rows.column(0).as_any().downcast_ref::<Int64Array>().unwrap().clone();
    let mut applied = Applied::default();
    for (i, op) in changes.ops.iter().enumerate() {
        let (id, row) = (ids.value(i), changes.rows.slice(i, 1));
        let old = model.get(&id).cloned();
        let new = match (op, &old) {
            (Op::Delete, _) => None,
            (Op::Patch(columns) | Op::Merge(columns), Some(old)) => {
                let pick = |c| if columns.contains(c) { row.column(c) } else { old.column(c) };
                let cells = (0..row.num_columns()).map(|c| Arc::clone(pick(c))).collect();
                Some(RecordBatch::try_new(row.schema(), cells).unwrap())
            }
            _ => Some(row),
        };
        match (&old, &new) {
            (None, Some(_)) => applied.inserted += 1,
            (Some(_), None) => applied.deleted += 1,
            (Some(old), Some(new)) if old != new => applied.updated += 1,
            _ => applied.unchanged += 1,
        }
        match new {
            Some(new) => model.insert(id, new),
            None => model.remove(&id),
        };
    }
    applied
}

/// All rows of a model in one batch.
pub(crate) fn batch(schema: &Schema, model: &Model) -> RecordBatch {
    concat_batches(&schema.arrow(), model.values()).unwrap()
}

/// The model's rows, built into a table at once.
pub(crate) fn build(store: &Store, schema: &Schema, model: &Model) -> Table {
    let changes = Changes::insert(batch(schema, model));
    Table::create(store, schema.clone()).unwrap().apply([Ok(changes)]).unwrap().0
}

/// All rows of a table in one batch.
pub(crate) fn read(table: &Table, scan: Scan) -> RecordBatch {
    let batches: Vec<_> = table.scan(scan).unwrap().map(Result::unwrap).collect();
    match batches.first() {
        Some(first) => concat_batches(&first.schema(), &batches).unwrap(),
        None => RecordBatch::new_empty(table.schema().arrow()),
    }
}

/// The encoded key of an id.
pub(crate) fn key(schema: &Schema, id: i64) -> Vec<u8> {
    keys(schema, vec![id]).get(0).to_vec()
}

/// The encoded keys of ids.
pub(crate) fn keys(schema: &Schema, ids: Vec<i64>) -> Keys {
    let encoder = KeyEncoder::new(schema).unwrap();
    let ids = Arc::new(Int64Array::from(ids));
    encoder.encode_key_columns(&RecordBatch::try_new(Arc::clone(encoder.arrow()), vec![ids]).unwrap()).unwrap()
}

/// A table and a model of it are the same, and so is a table built from the model.
pub(crate) fn check(table: &Table, model: &Model) {
    let schema = table.schema();
    assert_eq!(table.rows(), model.len() as u64);
    assert_eq!(read(table, Scan::default()), batch(schema, model), "rows");
    let ids: Vec<i64> = (-1..=model.keys().last().map_or(1, |last| last + 2)).collect();
    let found: Vec<bool> = ids.iter().map(|id| model.contains_key(id)).collect();
    assert_eq!(table.contains(&keys(schema, ids)).unwrap(), found, "keys");
    assert_eq!(table.to_ref(), build(table.store(), schema, model).to_ref(), "root");
}
