use std::sync::Arc;

use arrow_array::{Int64Array, RecordBatch};
use syncline_base::SystemClock;
use syncline_store::backend::memory::Memory;
use syncline_tree::node::{self, Entry, Node};
use syncline_tree::schema::{Field, Schema, Type};
use syncline_tree::{Changes, Table, TableRef};

use super::*;

/// A table of three levels.
fn table() -> (Store, TableRef) {
    let store = syncline_tree::open_store(Arc::new(Memory::new()), true, Arc::new(SystemClock)).unwrap();
    let mut schema = Schema::new(vec![Field::new("id", Type::Int64, false)], &["id"]).unwrap();
    schema.leaf_rows = 16;
    let ids = Arc::new(Int64Array::from((0..20_000).collect::<Vec<_>>()));
    let rows = RecordBatch::try_new(schema.arrow(), vec![ids]).unwrap();
    let made = Table::create(&store, schema).unwrap().apply([Ok(Changes::insert(rows))]).unwrap().0.to_ref();
    assert_eq!(made.height, 3);
    (store, made)
}

/// What is damaged in a tree, each time as what is said of it.
fn found(store: &Store, table: &TableRef, walked: &mut Walked) -> Vec<(Hash, String)> {
    let tree = Named { by: Hash::ZERO, roots: walk::roots(table), rows: table.rows };
    let mut found = Vec::new();
    damage(store, tree, &IdSet::default(), walked, &mut |id, why| found.push((id, why.to_owned())));
    found
}

/// The node with `change` done to what it refers to, stored.
fn changed(store: &Store, id: Hash, change: impl FnOnce(&mut Vec<Entry>)) -> Hash {
    let node = Node::parse(store.get(&id).unwrap()).unwrap();
    let mut entries: Vec<Entry> = node.entries().collect();
    change(&mut entries);
    store.put(&node::encode(node.level(), &entries).unwrap()).unwrap()
}

#[test]
fn counts_that_lie_are_damage_at_any_level() {
    let (store, table) = table();
    let mut walked = Walked::default();
    assert_eq!(found(&store, &table, &mut walked), []);

    // The record that names the tree, be the tree known or not.
    let said = TableRef { rows: table.rows + 1, ..table };
    for walked in [&mut walked, &mut Walked::default()] {
        let found = found(&store, &said, walked);
        assert_eq!(found.len(), 1, "{found:?}");
        assert_eq!(found[0].0, Hash::ZERO);
    }

    // The root, of a node below it.
    let root = changed(&store, table.root, |entries| entries[0].rows += 1);
    let lying = TableRef { root, rows: table.rows + 1, ..table };
    for walked in [&mut walked, &mut Walked::default()] {
        let found = found(&store, &lying, walked);
        assert_eq!(found.len(), 1, "{found:?}");
        assert_eq!(found[0].0, root);
    }

    // A node of the lowest level, of two of its leaves; all sums are right.
    let mut low = Hash::ZERO;
    let root = changed(&store, table.root, |entries| {
        low = changed(&store, entries[0].id, |leaves| {
            leaves[0].rows += 1;
            leaves[1].rows -= 1;
        });
        entries[0].id = low;
    });
    let lying = TableRef { root, ..table };
    let found = found(&store, &lying, &mut walked);
    assert_eq!(found.iter().map(|(id, _)| *id).collect::<Vec<_>>(), [low, low], "{found:?}");
}

#[test]
fn a_height_that_lies_is_damage_though_the_root_is_known() {
    let (store, table) = table();
    let mut walked = Walked::default();
    assert_eq!(found(&store, &table, &mut walked), []);
    for height in [table.height - 1, table.height + 1] {
        let found = found(&store, &TableRef { height, ..table }, &mut walked);
        assert_eq!(found.len(), 1, "{found:?}");
    }
}

#[test]
fn what_stands_for_a_schema_has_to_be_one() {
    let (store, table) = table();
    let wrong = TableRef { schema: table.root, ..table };
    let found = found(&store, &wrong, &mut Walked::default());
    assert_eq!(found.iter().map(|(id, _)| *id).collect::<Vec<_>>(), [table.root], "{found:?}");
}
