//! Tables with long cells of nested types, which lie outside of their leaves.

use std::collections::BTreeSet;

use super::*;
use crate::leaf::arbitrary;
use crate::walk;

/// The columns of the cells that lie outside, by id.
fn outside(table: &Table) -> Vec<u32> {
    let rows = table.scan_rows(Scan::default()).unwrap();
    rows.flat_map(|rows| rows.unwrap().externals.into_iter().map(|external| external.column)).collect()
}

/// Everything that a copy needs, in a store of its own.
fn copied(table: &Table) -> Table {
    let store = memory_store();
    let (mut stack, mut seen) = (walk::roots(&table.to_ref()), BTreeSet::new());
    while let Some((id, kind)) = stack.pop() {
        if seen.insert(id) {
            let bytes = table.store().get(&id).unwrap();
            store.put(&bytes).unwrap();
            assert_eq!(walk::children_in(table.store(), &id, kind).unwrap(), walk::children(kind, &bytes).unwrap());
            stack.extend(walk::children(kind, &bytes).unwrap());
        }
    }
    Table::open(&store, &table.to_ref()).unwrap()
}

/// What a diff says, against two models.
fn check_diff(old: &Table, new: &Table, before: &Model, after: &Model) {
    let changed = |one: &Model, other: &Model| {
        let rows = one.iter().filter(|(id, row)| other.get(id) != Some(row)).map(|(_, row)| row.columns().to_vec());
        rows.collect::<Vec<_>>()
    };
    let (mut gone, mut come) = (Vec::new(), Vec::new());
    for batch in crate::diff::diff(old, new).unwrap() {
        let batch = batch.unwrap();
        for (side, rows) in [(&mut gone, &batch.before), (&mut come, &batch.after)] {
            let rows = rows.resolve(new, None).unwrap();
            side.extend((0..rows.num_rows()).map(|row| rows.slice(row, 1).columns().to_vec()));
        }
    }
    assert_eq!(gone, changed(before, after));
    assert_eq!(come, changed(after, before));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn whatever_way_rows_came_their_long_cells_are_outside(seed: u64) {
        let mut rng = rng(seed);
        let schema = model::nested_schema(&mut rng);
        let mut table = Table::create(&memory_store(), schema.clone()).unwrap();
        let mut rows = Model::new();
        for _ in 0..4 {
            let changes = model::changes_of(&mut rng, &schema, &rows, (60, 40), arbitrary::long_rows);
            let (old, before) = (table.clone(), rows.clone());
            let parts = cut(&mut rng, &changes);
            let (next, applied) = table.apply(parts).unwrap();
            assert_eq!(applied, model::apply(&mut rows, &changes));
            // Rows, and the root of a table that is built from them at once.
            check(&next, &rows);
            let some = rows.keys().next().copied().unwrap_or(0);
            assert_eq!(next.get(&model::key(&schema, some)).unwrap().as_ref(), rows.get(&some));
            check_diff(&old, &next, &before, &rows);
            let frames = crate::delta::encode(&old, &next).unwrap();
            assert_eq!(crate::delta::apply(&old, frames).unwrap().0.to_ref(), next.to_ref());
            table = next;
        }
        let copy = copied(&table);
        assert_eq!(model::read(&copy, Scan::default()), model::batch(&schema, &rows));
        let some = Scan { columns: Some(vec!["f".to_owned(), "s".to_owned()]), ..Scan::default() };
        let both = model::read(&copy, some);
        let all = model::batch(&schema, &rows);
        assert_eq!((both.column(0), both.column(1)), (all.column(2), all.column(1)));
    }
}

#[test]
fn cells_of_every_nested_type_go_out() {
    let mut columns = BTreeSet::new();
    for seed in 0..4 {
        let mut rng = rng(seed);
        let schema = model::nested_schema(&mut rng);
        let all = model::made(&mut rng, &schema, &(0..60).collect::<Vec<_>>(), arbitrary::long_rows);
        let table = Table::create(&memory_store(), schema).unwrap().apply([Ok(Changes::upsert(all))]).unwrap().0;
        columns.extend(outside(&table));
    }
    assert!(columns.is_superset(&[1, 2, 3].into()), "{columns:?}");
}
