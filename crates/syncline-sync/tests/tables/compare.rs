//! Trees that are compared and cannot be: they are sent as objects.

use arrow_array::{FixedSizeListArray, UInt8Array};
use syncline_sync::Local as _;

use super::*;

/// Pushes main over what is there.
fn force(client: &World, server: &World, change: &mut dyn FnMut(&mut Message)) {
    let tip = client.at(MAIN).unwrap();
    let mut forced = request(MAIN, tip);
    forced.moves[0].force = true;
    let mut ours = Sender::push(client, forced).unwrap();
    let (_, outcome) = pump_with(&mut ours, &mut Server::new(server), None, change);
    outcome.unwrap();
    assert_eq!(server.at(MAIN), Some(tip));
    server.check_whole();
}

/// A table whose rows have this much noise each, inside of the leaf.
fn long_rows(world: &World, count: i64) -> TableRef {
    let len = 700 << 10;
    let item = Field::new("item", Type::UInt8, true);
    let cell = Field::new("cell", Type::FixedSizeList(Box::new(item), len as u32), false);
    let schema = Schema::new(vec![Field::new("id", Type::Int64, false), cell], &["id"]).unwrap();
    let schema = schema.with_leaf_rows(16).unwrap();
    let mut noise = vec![0; count as usize * len];
    Rng::from_seed(count as u64).fill(&mut noise);
    let arrow = schema.arrow();
    let arrow_schema::DataType::FixedSizeList(item, _) = arrow.field(1).data_type() else { panic!("not a list") };
    let noise = Arc::new(UInt8Array::from(noise));
    let cells = FixedSizeListArray::new(Arc::clone(item), len as i32, noise, None);
    let columns: Vec<ArrayRef> = vec![Arc::new((0..count).collect::<Int64Array>()), Arc::new(cells)];
    let rows = Changes::upsert(RecordBatch::try_new(arrow, columns).unwrap());
    Table::create(&world.store, schema).unwrap().apply([Ok(rows)]).unwrap().0.to_ref()
}

#[test]
fn rows_that_no_answer_holds_travel_as_objects() {
    let (client, server) = (World::new(), World::new());
    server.put(long_rows(&server, 20), "of their own");
    let table = long_rows(&client, 48);
    assert!(table.height > 1);
    client.put(table, "an import");
    let mut refused = 0;
    force(&client, &server, &mut |message| {
        refused += usize::from(matches!(message, Message::Answer { body, .. } if body.is_empty()));
    });
    assert_eq!(refused, 1);
}

#[test]
fn an_answer_that_is_none_ends_the_comparison_only() {
    for nonsense in ["", "nonsense"] {
        let (client, server) = (World::new(), World::new());
        server.put(server.table(5_000, 1), "of their own");
        client.put(client.table(5_000, 2), "an import");
        let mut answers = 0;
        force(&client, &server, &mut |message| {
            if let Message::Answer { body, .. } = message {
                answers += 1;
                *body = nonsense.into();
            }
        });
        assert_eq!(answers, 1);
    }
}

#[test]
fn a_tree_with_holes_is_nothing_to_compare_with() {
    let (client, other, server) = (World::new(), World::new(), World::new());
    let table = other.table(5_000, 1);
    let tip = other.put(table, "of their own");
    // All but the leaves.
    let commit = Commit::load(&other.store, &tip).unwrap();
    for id in [table.schema, table.root, commit.root, tip] {
        server.store().put(&other.store.get(&id).unwrap()).unwrap();
    }
    server.set(MAIN, tip);
    client.put(client.table(5_000, 2), "an import");
    let mut queries = 0;
    force(&client, &server, &mut |message| queries += usize::from(matches!(message, Message::Query { .. })));
    assert!(queries > 0);
}
