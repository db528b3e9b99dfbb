//! Keys and rows that somebody chose to hurt: the bounds on leaves, nodes and height hold, and so does the independence of
//! the history.

use std::sync::Arc;

use arrow_array::{ArrayRef, Int64Array, RecordBatch, StringArray, UInt32Array};
use arrow_select::take::take_record_batch;
use syncline_base::rng::Rng;

use super::super::*;
use crate::boundary::{NODE_ENTRIES, Rule, key_hash};
use crate::key::KeyEncoder;
use crate::leaf::arbitrary::rng;
use crate::node::{MAX_HEIGHT, Node};
use crate::schema::{Field, Schema, Type};
use crate::table::model;
use crate::tests_support::memory_store;

fn schema(key: Type) -> Schema {
    let fields = vec![Field::new("id", key, false), Field::new("text", Type::Utf8, true)];
    Schema { leaf_rows: 16, ..Schema::new(fields, &["id"]).unwrap() }
}

fn numbered(ids: &[i64], text: impl Fn(i64) -> String) -> RecordBatch {
    let texts: ArrayRef = Arc::new(StringArray::from_iter_values(ids.iter().map(|id| text(*id))));
    let ids: ArrayRef = Arc::new(Int64Array::from(ids.to_vec()));
    RecordBatch::try_new(schema(Type::Int64).arrow(), vec![ids, texts]).unwrap()
}

fn plain(ids: &[i64]) -> RecordBatch {
    numbered(ids, |id| format!("row {id}"))
}

/// The keys of ascending ids.
fn keys_from(first: i64) -> impl Iterator<Item = (i64, Vec<u8>)> {
    let encoder = KeyEncoder::new(&schema(Type::Int64)).unwrap();
    (0_i64..).flat_map(move |step| {
        let ids: Vec<i64> = (first + step * 4096..first + (step + 1) * 4096).collect();
        let batch = RecordBatch::try_new(Arc::clone(encoder.arrow()), vec![Arc::new(Int64Array::from(ids.clone()))]);
        let keys = encoder.encode_key_columns(&batch.unwrap()).unwrap();
        ids.into_iter().enumerate().map(move |(i, id)| (id, keys.get(i).to_vec())).collect::<Vec<_>>()
    })
}

/// Ids after which neither a leaf nor a node above one ever ends by choice: only the hard maximum cuts.
fn without_boundary(count: usize) -> Vec<i64> {
    let (rows, entries) = (Rule::new(16), Rule::new(NODE_ENTRIES));
    let (mut in_leaf, mut in_node) = (0, 0);
    let mut ids = Vec::new();
    for (id, key) in keys_from(0) {
        let (mut leaf, mut node) = (in_leaf, in_node);
        let forced = in_leaf + 1 == rows.max();
        if rows.ends(&mut leaf, key_hash(0, &key)) {
            let full = in_node + 1 == entries.max();
            if !forced || entries.ends(&mut node, key_hash(1, &key)) && !full {
                continue;
            }
        }
        (in_leaf, in_node) = (leaf, node);
        ids.push(id);
        if ids.len() == count {
            break;
        }
    }
    ids
}

/// Ids that end a leaf as early as a leaf may end.
fn all_boundaries(count: usize) -> Vec<i64> {
    let rule = Rule::new(16);
    let mut since = 0;
    let mut ids = Vec::new();
    for (id, key) in keys_from(0) {
        let mut next = since;
        let ends = rule.ends(&mut next, key_hash(0, &key));
        if ends == (since + 1 == rule.min()) {
            since = next;
            ids.push(id);
        }
        if ids.len() == count {
            break;
        }
    }
    ids
}

/// The rows of every leaf and the entries of every node of a table, level by level from the leaves up.
fn shape(table: &Table) -> Vec<Vec<u64>> {
    fn visit(table: &Table, id: &Hash, height: u8, rows: u64, levels: &mut [Vec<u64>]) {
        let at = usize::from(height) - 1;
        if at == 0 {
            levels[0].push(rows);
            return;
        }
        let node = Node::parse(table.store().get(id).unwrap()).unwrap();
        assert_eq!((node.level(), node.total_rows()), (height - 1, rows));
        levels[at].push(node.len() as u64);
        (0..node.len()).for_each(|i| visit(table, &node.id(i), height - 1, node.rows(i), levels));
    }
    let mut levels = vec![Vec::new(); usize::from(table.height())];
    if table.rows() > 0 {
        visit(table, &table.root(), table.height(), table.rows(), &mut levels);
    }
    levels
}

/// No leaf and no node is larger than the maximum, only the last of a level is smaller than the minimum, and the tree is no
/// higher than that makes it.
fn within_bounds(table: &Table) {
    let levels = shape(table);
    assert!(levels.len() <= usize::from(MAX_HEIGHT));
    let mut below = table.rows();
    for (level, sizes) in levels.iter().enumerate() {
        let rule = Rule::new(if level == 0 { table.schema().leaf_rows } else { NODE_ENTRIES });
        let (min, max) = (u64::from(rule.min()), u64::from(rule.max()));
        let all = &sizes[..sizes.len().saturating_sub(1)];
        assert!(sizes.iter().all(|size| *size <= max), "level {level}: {:?} of {max}", sizes.iter().max());
        assert!(all.iter().all(|size| *size >= min), "level {level}: {:?} of {min}", all.iter().min());
        assert_eq!(sizes.iter().sum::<u64>(), below);
        below = sizes.len() as u64;
    }
    assert!(table.rows() == 0 || below == 1);
}

fn pick(rows: &RecordBatch, mut places: Vec<u32>) -> RecordBatch {
    places.sort_unstable();
    take_record_batch(rows, &UInt32Array::from(places)).unwrap()
}

fn step(table: &Table, changes: Changes) -> Table {
    let next = table.apply([Ok(changes)]).unwrap().0;
    within_bounds(&next);
    next
}

fn keys_of(schema: &Schema, rows: &RecordBatch) -> crate::key::Keys {
    KeyEncoder::new(schema).unwrap().encode(rows).unwrap()
}

fn delete(schema: &Schema, rows: &RecordBatch) -> Changes {
    Changes::delete(schema, keys_of(schema, rows).iter()).unwrap()
}

/// The same rows by several ways: at once, in random parts, with rows that go again, with everything deleted between.
fn one_root(schema: &Schema, rows: &RecordBatch, rng: &mut Rng) -> Table {
    let empty = Table::create(&memory_store(), schema.clone()).unwrap();
    let whole = step(&empty, Changes::insert(rows.clone()));
    assert_eq!(model::read(&whole, Scan::default()), *rows);
    let count = rows.num_rows() as u32;

    let mut parts = vec![Vec::new(); 5];
    (0..count).for_each(|row| parts[rng.below(5) as usize].push(row));
    let grown = parts.into_iter().fold(empty.clone(), |table, part| step(&table, Changes::upsert(pick(rows, part))));
    assert_eq!(grown.to_ref(), whole.to_ref(), "in random parts");

    let some: Vec<u32> = (0..count).filter(|_| rng.below(3) == 0).collect();
    let less = step(&whole, delete(schema, &pick(rows, some.clone())));
    let again = step(&less, Changes::insert(pick(rows, some)));
    assert_eq!(again.to_ref(), whole.to_ref(), "deleted and inserted again");

    let none = step(&whole, delete(schema, rows));
    assert_eq!((none.to_ref(), none.rows()), (empty.to_ref(), 0), "everything deleted");
    assert_eq!(step(&none, Changes::upsert(rows.clone())).to_ref(), whole.to_ref(), "after everything was deleted");

    let half = step(&empty, Changes::insert(rows.slice(0, rows.num_rows() / 2)));
    let appended =
        step(&half, Changes::insert(rows.slice(half.rows() as usize, rows.num_rows() - half.rows() as usize)));
    assert_eq!(appended.to_ref(), whole.to_ref(), "appended");
    whole
}

#[test]
fn keys_that_never_end_a_leaf_are_cut_at_the_maximum() {
    let ids = without_boundary(40_000);
    let table = one_root(&schema(Type::Int64), &plain(&ids), &mut rng(1));
    let (rule, levels) = (Rule::new(16), shape(&table));
    let full = levels[0].iter().filter(|rows| **rows == u64::from(rule.max())).count();
    assert!(full + 1 >= levels[0].len(), "{full} of {} leaves are full", levels[0].len());
    let full = levels[1].iter().filter(|size| **size == u64::from(Rule::new(NODE_ENTRIES).max())).count();
    assert!(full > 0 && full + 1 >= levels[1].len(), "{full} of {} nodes are full", levels[1].len());
}

#[test]
fn keys_that_all_end_a_leaf_make_leaves_of_the_minimum() {
    let ids = all_boundaries(600);
    let table = one_root(&schema(Type::Int64), &plain(&ids), &mut rng(2));
    let leaves = &shape(&table)[0];
    assert!(leaves.iter().all(|rows| *rows <= u64::from(Rule::new(16).min())), "{leaves:?}");
}

#[test]
fn an_edit_of_chosen_keys_costs_a_few_leaves() {
    // In a run without boundaries one more row moves every cut after it up to the next boundary: no further.
    let mut ids = without_boundary(2_000);
    let last = *ids.last().unwrap();
    ids.extend(last + 1..last + 4_000);
    let table = step(&Table::create(&memory_store(), schema(Type::Int64)).unwrap(), Changes::insert(plain(&ids)));
    let free = (ids[0]..).find(|id| ids.binary_search(id).is_err()).unwrap();
    let edited = step(&table, Changes::insert(plain(&[free])));
    let direct = {
        ids.push(free);
        ids.sort_unstable();
        step(&table.emptied(), Changes::insert(plain(&ids)))
    };
    assert_eq!(edited.to_ref(), direct.to_ref());
    let leaves = |table: &Table| crate::diff::diff_counts(table, &edited).unwrap().inserted;
    assert_eq!(leaves(&table), 1);
}

#[test]
fn keys_with_long_equal_beginnings() {
    let schema = schema(Type::Utf8);
    let prefix = "the same beginning, again and again, ".repeat(40);
    let mut keys: Vec<String> = (0..3_000).map(|i| format!("{prefix}{:05}{}", i * 7, "\0".repeat(i % 4))).collect();
    keys.sort_unstable();
    let texts: ArrayRef = Arc::new(StringArray::from_iter_values(keys.iter().map(|key| &key[key.len() - 3..])));
    let keys: ArrayRef = Arc::new(StringArray::from(keys));
    let rows = RecordBatch::try_new(schema.arrow(), vec![keys, texts]).unwrap();
    one_root(&schema, &rows, &mut rng(3));
}

#[test]
fn giant_rows() {
    let cell =
        |id: i64| char::from(b'a' + (id % 26) as u8).to_string().repeat(crate::leaf::INLINE_MAX - (id % 3) as usize);
    let ids: Vec<i64> = (0..600).collect();
    let table = one_root(&schema(Type::Int64), &numbered(&ids, cell), &mut rng(4));
    let most = *shape(&table)[0].iter().max().unwrap() as usize;
    assert!(most <= 40, "{most} rows of 16 KiB in a leaf");
}

#[test]
fn tables_of_no_row_and_of_one() {
    for count in [1, 2, 3] {
        let ids: Vec<i64> = (0..count).collect();
        one_root(&schema(Type::Int64), &plain(&ids), &mut rng(5));
    }
    let schema = schema(Type::Int64);
    let empty = Table::create(&memory_store(), schema.clone()).unwrap();
    assert_eq!(step(&empty, delete(&schema, &plain(&[1, 2, 3]))).to_ref(), empty.to_ref());
    let one = step(&empty, Changes::insert(plain(&[7])));
    assert_eq!(one.height(), 1);
    assert_eq!(step(&one, delete(&schema, &plain(&[6, 8]))).to_ref(), one.to_ref());
}

#[test]
fn a_long_run_goes_into_one_leaf_in_parts() {
    // 100,000 rows behind the last leaf, before the first and between two rows: each is one leaf's changes.
    let schema = schema(Type::Int64);
    let empty = Table::create(&memory_store(), schema.clone()).unwrap();
    let ids = |from: i64, to: i64, by: i64| (from..to).step_by(by as usize).collect::<Vec<_>>();
    let start = [ids(1_000_000, 1_000_500, 1), ids(2_000_000, 2_000_500, 1)].concat();
    let runs = [ids(3_000_000, 3_100_000, 1), ids(0, 200_000, 2), ids(1_500_000, 1_600_000, 1)];
    let mut table = step(&empty, Changes::insert(plain(&start)));
    let mut all = start;
    for run in &runs {
        // In one batch and in many small ones.
        let whole = step(&table, Changes::insert(plain(run)));
        let small = run.chunks(999).map(|part| Ok(Changes::insert(plain(part))));
        let (parted, applied) = table.apply(small).unwrap();
        assert_eq!(applied.inserted, 100_000);
        assert_eq!(parted.to_ref(), whole.to_ref());
        all.extend(run);
        all.sort_unstable();
        table = whole;
    }
    assert_eq!(table.to_ref(), step(&empty, Changes::insert(plain(&all))).to_ref());
    // And all of it goes again, with the rows on both sides of it staying.
    for run in &runs {
        table = step(&table, delete(&schema, &plain(run)));
    }
    assert_eq!(table.rows(), 1_000);
    let kept = model::read(&table, Scan::default());
    assert_eq!(step(&empty, Changes::insert(kept)).to_ref(), table.to_ref());
}
