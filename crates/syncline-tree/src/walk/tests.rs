use std::collections::BTreeSet;
use std::sync::Arc;

use arrow_array::{BinaryArray, Int64Array, RecordBatch};

use super::*;
use crate::schema::{Field, Type};
use crate::table::{Changes, Scan, Table, model};
use crate::tests_support::memory_store;

/// 2000 rows, three with cells that are stored outside.
fn table(store: &Store) -> (Table, RecordBatch) {
    let fields = vec![Field::new("id", Type::Int64, false), Field::new("blob", Type::Binary, true)];
    let mut schema = Schema::new(fields, &["id"]).unwrap();
    schema.leaf_rows = 16;
    let ids = Int64Array::from((0..2000).collect::<Vec<_>>());
    let long = |row: i64| vec![row as u8; 20_000 + (row as usize % 7) * 100_000];
    let cell = |row: i64| if row % 700 == 5 { long(row) } else { vec![1; row as usize % 9] };
    let cells: BinaryArray = (0..2000).map(|row| (row % 3 > 0).then(|| cell(row))).collect();
    let rows = RecordBatch::try_new(schema.arrow(), vec![Arc::new(ids), Arc::new(cells)]).unwrap();
    let table = Table::create(store, schema).unwrap().apply([Ok(Changes::insert(rows.clone()))]).unwrap().0;
    (table, rows)
}

#[test]
fn a_walk_finds_everything_that_a_copy_needs() {
    let (from, to) = (memory_store(), memory_store());
    let (table, rows) = table(&from);
    let (mut stack, mut seen) = (roots(&table.to_ref()), BTreeSet::new());
    while let Some((id, kind)) = stack.pop() {
        if !seen.insert(id) {
            continue;
        }
        let bytes = from.get(&id).unwrap();
        to.put(&bytes).unwrap();
        let below = children(kind, &bytes).unwrap();
        assert_eq!(children_in(&from, &id, kind).unwrap(), below);
        stack.extend(below);
    }
    let copy = Table::open(&to, &table.to_ref()).unwrap();
    assert_eq!(model::read(&copy, Scan::default()), rows);
}

#[test]
fn an_outline_is_the_tree_without_what_its_leaves_refer_to() {
    let store = memory_store();
    let (table, _) = table(&store);
    let kinds = |mut stack: Vec<(Hash, ObjectKind)>| {
        let (mut nodes, mut contents) = (BTreeSet::new(), 0);
        while let Some((id, kind)) = stack.pop() {
            match kind {
                ObjectKind::Content { .. } => contents += 1,
                _ => drop(nodes.insert(id)),
            }
            let below = children(kind, &store.get(&id).unwrap()).unwrap();
            assert_eq!(children_in(&store, &id, kind).unwrap(), below);
            stack.extend(below);
        }
        (nodes, contents > 0)
    };
    let (whole, part) = (kinds(roots(&table.to_ref())), kinds(outline(&table.to_ref())));
    assert_eq!(whole.0, part.0);
    assert_eq!((whole.1, part.1), (true, false));
}

#[test]
fn an_object_of_another_kind_is_refused() {
    let store = memory_store();
    let (table, _) = table(&store);
    let root = store.get(&table.to_ref().root).unwrap();
    let height = table.to_ref().height;
    assert!(children(ObjectKind::Tree { height }, &root).is_ok());
    for kind in [
        ObjectKind::Schema,
        ObjectKind::Tree { height: 0 },
        ObjectKind::Tree { height: 1 },
        ObjectKind::Tree { height: height + 1 },
        ObjectKind::Content { height: 1 },
    ] {
        assert_eq!(children(kind, &root).unwrap_err().kind(), syncline_base::Kind::Corrupt, "{kind:?}");
    }
}

#[test]
fn long_cells_stay_outside_through_edits_and_deltas() {
    let store = memory_store();
    let (table, rows) = table(&store);
    let row = |i: usize| Changes::upsert(rows.slice(i, 1));
    // The same long cell again is no change; another one is.
    let same = table.apply([Ok(row(5))]).unwrap();
    assert_eq!((same.0.to_ref(), same.1.unchanged), (table.to_ref(), 1));
    let long: BinaryArray = std::iter::once(Some(vec![9; 50_000])).collect();
    let other = RecordBatch::try_new(rows.schema(), vec![rows.slice(8, 1).column(0).clone(), Arc::new(long)]).unwrap();
    let new = table.apply([Ok(Changes::upsert(other.clone()))]).unwrap().0;
    assert_eq!(new.get(&model::key(table.schema(), 8)).unwrap(), Some(other));
    let frames = crate::delta::encode(&table, &new).unwrap();
    let made = crate::delta::apply(&table, frames).unwrap().0;
    assert_eq!(made.to_ref(), new.to_ref());
    let all = crate::delta::apply(&table.emptied(), crate::delta::encode(&table.emptied(), &new).unwrap()).unwrap().0;
    assert_eq!(all.to_ref(), new.to_ref());
    let batch = crate::diff::diff(&table, &new).unwrap().next().unwrap().unwrap();
    assert_eq!((batch.before.externals.len(), batch.after.externals.len()), (0, 1));
}
