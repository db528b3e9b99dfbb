use std::collections::BTreeMap;

use arrow_array::{Int64Array, RecordBatch};
use proptest::prelude::*;
use syncline_base::Hash;
use syncline_base::rng::Rng;
use syncline_store::{Bases, Encoded, Store};

use super::*;
use crate::codec::LEAF_PATCH;
use crate::leaf::Leaf;
use crate::leaf::arbitrary::rng;
use crate::patch::{self, Edit, Edited, RowOp};
use crate::schema::Schema;
use crate::table::model::{self, Model};
use crate::table::{Op, Scan};
use crate::tests_support::memory_store;

/// A table and its model, and what some rounds of random changes make of them.
fn two_versions(rng: &mut Rng, bound: i64, percent: u64) -> [(Table, Model); 2] {
    let schema = model::schema(rng);
    let mut rows = Model::new();
    let first = model::changes(rng, &schema, &rows, bound, 70);
    model::apply(&mut rows, &first);
    let old = model::build(&memory_store(), &schema, &rows);
    let before = rows.clone();
    let mut new = old.clone();
    for _ in 0..1 + rng.below(3) {
        let changes = model::changes(rng, &schema, &rows, bound + 10, percent);
        model::apply(&mut rows, &changes);
        new = new.apply([Ok(changes)]).unwrap().0;
    }
    [(old, before), (new, rows)]
}

/// What differs, by brute force.
fn expected(old: &Model, new: &Model) -> BTreeMap<i64, (Option<RecordBatch>, Option<RecordBatch>)> {
    let ids = old.keys().chain(new.keys());
    let pairs = ids.map(|id| (*id, (old.get(id).cloned(), new.get(id).cloned())));
    pairs.filter(|(_, (old, new))| old != new).collect()
}

fn id(batch: &RecordBatch, row: usize) -> i64 {
    batch.column(0).as_any().downcast_ref::<Int64Array>().unwrap().value(row)
}

fn check(old: &(Table, Model), new: &(Table, Model)) {
    let mut expected = expected(&old.1, &new.1).into_iter();
    let mut counts = Counts::default();
    for batch in diff(&old.0, &new.0).unwrap() {
        let DiffBatch { keys, kinds, before, after, changed } = batch.unwrap();
        let (mut i, mut j) = (0, 0);
        for (row, kind) in kinds.iter().enumerate() {
            let (key, (was, is)) = expected.next().expect("no more rows differ");
            assert_eq!(keys.get(row), model::key(new.0.schema(), key));
            if *kind != Change::Insert {
                assert_eq!(
                    (id(&before.batch, i), before.batch.slice(i, 1).columns()),
                    (key, was.clone().unwrap().columns())
                );
                i += 1;
            }
            if *kind != Change::Delete {
                assert_eq!(
                    (id(&after.batch, j), after.batch.slice(j, 1).columns()),
                    (key, is.clone().unwrap().columns())
                );
                j += 1;
            }
            match kind {
                Change::Insert => counts.inserted += 1,
                Change::Update => counts.updated += 1,
                Change::Delete => counts.deleted += 1,
            }
            let differ: ColumnSet = match (was, is) {
                (Some(was), Some(is)) => (0..was.num_columns()).filter(|c| was.column(*c) != is.column(*c)).collect(),
                _ => ColumnSet::new(),
            };
            assert_eq!(changed[row], differ);
        }
        assert_eq!((before.batch.num_rows(), after.batch.num_rows()), (i, j));
    }
    assert_eq!(expected.next().map(|(id, _)| id), None);
    assert_eq!(diff_counts(&old.0, &new.0).unwrap(), counts);
    let made = old.0.apply(changes(&old.0, &new.0).unwrap()).unwrap();
    assert_eq!(made.0.to_ref(), new.0.to_ref());
    assert_eq!(made.1.unchanged, 0);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(12))]

    #[test]
    fn differences_are_those_of_the_models(seed: u64) {
        let mut rng = rng(seed);
        for (bound, percent) in [(2000, 1), (600, 20), (30, 30)] {
            let [old, new] = two_versions(&mut rng, bound, percent);
            check(&old, &new);
            check(&new, &old);
            check(&old, &old);
            let empty = (old.0.emptied(), Model::new());
            check(&empty, &new);
            check(&new, &empty);
        }
    }

}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2))]

    #[test]
    fn tables_without_shared_rows_or_of_other_heights_compare(seed: u64) {
        let mut rng = rng(seed);
        let schema = model::schema(&mut rng);
        let (store, other) = (memory_store(), memory_store());
        let some = |rng: &mut Rng, from: i64, count: i64, step: i64| {
            let ids: Vec<i64> = (0..count).map(|i| from + i * step).collect();
            let rows = model::rows(rng, &schema, &ids);
            ids.iter().enumerate().map(|(i, id)| (*id, rows.slice(i, 1))).collect::<Model>()
        };
        let models = [some(&mut rng, 0, 10, 1), some(&mut rng, 5, 1500, 2), some(&mut rng, 5000, 10, 3), some(&mut rng, 0, 5000, 1)];
        for a in &models {
            for b in &models {
                check(&(model::build(&store, &schema, a), a.clone()), &(model::build(&other, &schema, b), b.clone()));
            }
        }
    }
}

#[test]
fn an_added_column_is_no_difference() {
    let mut rng = rng(3);
    let [(old, _), (new, _)] = two_versions(&mut rng, 500, 5);
    let wider = new.with_schema(new.schema().add_column("more", crate::schema::Type::Utf8).unwrap()).unwrap();
    assert_eq!(wider.to_ref().root, new.to_ref().root);
    assert_eq!(diff_counts(&new, &wider).unwrap(), Counts::default());
    assert_eq!(diff_counts(&old, &wider).unwrap(), diff_counts(&old, &new).unwrap());
    let name = old.schema().columns[1].name.clone();
    let narrower = old.with_schema(old.schema().drop_column(&name).unwrap()).unwrap();
    assert_eq!(diff_counts(&old, &narrower).unwrap(), Counts::default());
    let left = model::read(&narrower, Scan::default());
    assert_eq!(left.num_columns(), old.schema().columns.len() - 1);
    let again = narrower.emptied().apply([Ok(crate::table::Changes::insert(left))]).unwrap().0;
    assert_eq!(again.to_ref(), narrower.to_ref());
}

#[test]
fn changes_say_only_what_differs() {
    let mut rng = rng(4);
    let schema = model::schema(&mut rng);
    let rows = model::rows(&mut rng, &schema, &(0..400).collect::<Vec<_>>());
    let old = model::build(&memory_store(), &schema, &Model::new());
    let old = old.apply([Ok(Changes::insert(rows))]).unwrap().0;
    let new = old.apply([Changes::delete(&schema, [&model::key(&schema, 7)[..]])]).unwrap().0;
    let all: Vec<_> = changes(&old, &new).unwrap().map(Result::unwrap).collect();
    assert_eq!((all.len(), &all[0].ops[..], id(&all[0].rows, 0)), (1, &[Op::Delete][..], 7));
}

/// Rows with other cells than those of the same ids in `model`, which may have them or not.
fn others(rng: &mut Rng, schema: &Schema, model: &Model, id: i64) -> RecordBatch {
    std::iter::repeat_with(|| model::rows(rng, schema, &[id]))
        .find(|row| model.get(&id).is_none_or(|old| (1..row.num_columns()).all(|c| old.column(c) != row.column(c))))
        .expect("chance makes others")
}

#[test]
fn the_steps_of_a_foreign_patch_are_not_taken_for_differences() {
    let mut rng = rng(11);
    let schema = Schema { leaf_rows: 8192, ..model::schema(&mut rng) };
    let before: Model = [1, 3, 5, 8].into_iter().map(|id| (id, model::rows(&mut rng, &schema, &[id]))).collect();
    let insert = |at| RowOp::Insert { at, source: 0, count: 1 };
    let delete = RowOp::Delete { row: 2, count: 1 };
    let cases = [
        (6, vec![RowOp::Update { row: 2, source: 0, columns: None }]),
        (5, vec![insert(2), delete.clone()]),
        (5, vec![delete, insert(3)]),
    ];
    for (id, ops) in cases {
        // Row 5 becomes row 6, or gets other cells; told by steps that nobody here would write.
        let row = others(&mut rng, &schema, &before, id);
        let mut after = before.clone();
        after.remove(&5);
        after.insert(id, row.clone());
        let honest = memory_store();
        let new_ref = model::build(&honest, &schema, &after).to_ref();
        let store = memory_store();
        let old = model::build(&store, &schema, &before);
        assert_eq!((old.height(), new_ref.height), (1, 1));
        let base = Leaf::parse(store.get(&old.root()).unwrap()).unwrap();
        let edit = Edit { schema: &schema, rows: &row, externals: &[], ops: &ops };
        let Edited::Changed { leaf, patch, .. } = patch::edit(&base, &edit).unwrap() else {
            panic!("it changes row 5")
        };
        assert_eq!(Hash::of(&leaf), new_ref.root);
        let bases = Bases::one(old.root());
        store.put_encoded(Encoded::patch(new_ref.root, LEAF_PATCH, bases, leaf.len() as u32, patch)).unwrap();
        let new = Table::open(&store, &new_ref).unwrap();
        let (old, new) = ((old, before.clone()), (new, after.clone()));
        check(&old, &new);
        check(&new, &old);
        // A merge is that of whole leaves.
        let mut mine = before.clone();
        mine.insert(8, others(&mut rng, &schema, &before, 8));
        let merged = |store: &Store, theirs: &Table| {
            let (base, ours) = (model::build(store, &schema, &before), model::build(store, &schema, &mine));
            crate::merge::merge(Some(&base), &ours, theirs).unwrap()
        };
        let mut expected = after.clone();
        expected.insert(8, mine[&8].clone());
        let found = merged(&store, &new.0);
        model::check(&found.table, &expected);
        assert_eq!(found.conflicts.len(), 0);
        assert_eq!(found.table.to_ref(), merged(&honest, &Table::open(&honest, &new_ref).unwrap()).table.to_ref());
    }
}
