//! What a node lets in of those who have read: rows that are there, rows that are not, tables.

use std::sync::Arc;

use bytes::Bytes;

use super::super::*;
use super::shell::*;

fn other(name: &'static str) -> RowKey {
    RowKey { key: Bytes::from_static(name.as_bytes()), ..key() }
}

fn check(shell: &Shell, read: &Context, row: &RowKey) -> Result<(), Clash> {
    shell.node.certify(read, [row], [])
}

#[test]
fn who_has_read_a_row_as_it_is_is_let_in_and_nobody_else() {
    let mut hub = Shell::create(true, 1);
    let nothing = Context::default();
    assert_eq!(check(&hub, &nothing, &key()), Ok(()));
    let first = hub.write(1_000, "a");
    assert_eq!(check(&hub, &nothing, &key()), Err(Clash::Row(key(), first)));
    let read = hub.node.context();
    assert_eq!(check(&hub, &read, &key()), Ok(()));
    // Something else is no matter.
    hub.put_all(1_001, vec![Write { row: other("x"), value: Some(Bytes::from_static(b"1")) }]);
    hub.sync();
    assert_eq!(check(&hub, &read, &key()), Ok(()));
    let second = hub.write(1_002, "b");
    assert_eq!(check(&hub, &read, &key()), Err(Clash::Row(key(), second)));
    // By its own count, too, as a writer that has not heard of the hub's knows it.
    let own = Context { seen: Coverage::new(), own: vec![second] };
    assert_eq!(check(&hub, &own, &key()), Ok(()));
}

#[test]
fn what_was_deleted_is_remembered_for_as_long_as_there_is_room() {
    let mut hub = Shell::create(true, 1);
    hub.write(1_000, "a");
    let read = hub.node.context();
    let gone = hub.put(1_001, read.clone(), None);
    assert!(hub.node.is_in_flight(&key()) && !hub.node.is_in_flight(&other("x")));
    hub.sync();
    assert!(!hub.node.is_in_flight(&key()));
    assert_eq!(check(&hub, &read, &key()), Err(Clash::Row(key(), gone)));
    let after = hub.node.context();
    assert_eq!(check(&hub, &after, &key()), Ok(()));
    // Opened from a log without a checkpoint, everything is known; from a checkpoint on, nothing from before it.
    let again = hub.reopened(2);
    assert_eq!(check(&again, &read, &key()), Err(Clash::Row(key(), gone)));
    let many = |from: usize| {
        let row = |n: usize| RowKey { key: Bytes::from(n.to_be_bytes().to_vec()), ..key() };
        (from..from + 8192).map(|n| Write { row: row(n), value: None }).collect::<Vec<_>>()
    };
    let before = hub.node.context();
    for n in 0..3 {
        hub.put_all(2_000 + n, many(n as usize * 8192));
        hub.sync();
    }
    // A row that nobody has heard of may have been there.
    assert_eq!(check(&hub, &read, &key()), Err(Clash::Forgotten(key())));
    assert_eq!(check(&hub, &before, &other("x")), Err(Clash::Forgotten(other("x"))));
    assert_eq!(check(&hub, &hub.node.context(), &other("x")), Ok(()));
}

#[test]
fn a_table_that_was_read_as_a_whole_is_as_it_was() {
    let mut hub = Shell::create(true, 1);
    let table = |shell: &Shell, read: &Context, name: &str| shell.node.certify(read, [], [&Arc::from(name)]);
    hub.write(1_000, "a");
    let read = hub.node.context();
    let name = key().table;
    assert_eq!(table(&hub, &read, &name), Ok(()));
    hub.put_all(1_001, vec![Write { row: other("x"), value: None }]);
    hub.sync();
    assert_eq!(table(&hub, &read, &name), Err(Clash::Table(name.clone())));
    assert_eq!(table(&hub, &read, "another"), Ok(()));
    assert_eq!(table(&hub, &hub.node.context(), &name), Ok(()));
}

#[test]
fn a_state_that_came_in_place_of_entries_says_nothing_of_what_was_before() {
    let mut shells = mesh();
    shells[0].write(1_000, "a");
    settle(&mut shells, 1_001);
    let read = shells[0].node.context();
    shells[0].put(1_002, read.clone(), None);
    shells[0].sync();
    let log: Vec<Bytes> =
        shells[0].node.checkpoint().expect("all is durable").records().map(|record| record.encode()).collect();
    let again = Shell::around(Node::open(shells[0].config(9), records(&log), false).unwrap(), log);
    assert_eq!(check(&again, &read, &key()), Err(Clash::Forgotten(key())));
    assert_eq!(again.node.certify(&read, [], [&key().table]), Err(Clash::Table(key().table)));
    assert_eq!(check(&again, &again.node.context(), &key()), Ok(()));
}

#[test]
fn all_who_deleted_a_row_are_to_be_read_not_the_last_one_alone() {
    let mut shells = vec![Shell::create(true, 1), Shell::create(true, 2), Shell::create(true, 3)];
    connect(&mut shells, 0, 1);
    connect(&mut shells, 0, 2);
    shells[0].write(1_000, "a");
    settle(&mut shells, 1_001);
    let mut gone = Vec::new();
    for at in [1, 2] {
        disconnect(&mut shells, 0, at);
        let read = shells[at].node.context();
        gone.push(shells[at].put(1_002, read, None));
        shells[at].sync();
    }
    let read = [shells[1].node.context(), shells[2].node.context()];
    for at in [1, 2] {
        connect(&mut shells, 0, at);
        settle(&mut shells, 1_003);
    }
    assert!(shells[0].values().is_empty());
    assert_eq!(check(&shells[0], &read[0], &key()), Err(Clash::Row(key(), gone[1])));
    assert_eq!(check(&shells[0], &read[1], &key()), Err(Clash::Row(key(), gone[0])));
    assert_eq!(check(&shells[0], &shells[0].node.context(), &key()), Ok(()));
}

#[test]
fn what_was_before_a_checkpoint_is_not_forgotten_when_a_table_changes_after_it() {
    let mut shells = vec![Shell::create(true, 1), Shell::create(true, 2), Shell::create(true, 3)];
    connect(&mut shells, 0, 1);
    shells[1].write(1_000, "a");
    settle(&mut shells, 1_001);
    let log: Vec<Bytes> =
        shells[0].node.checkpoint().expect("all is durable").records().map(|record| record.encode()).collect();
    disconnect(&mut shells, 0, 1);
    shells[0] = Shell::around(Node::open(shells[0].config(9), records(&log), false).unwrap(), log);
    // Another hub, which has never heard of it, changes the same table.
    shells[2].write(1_002, "b");
    let read = shells[2].node.context();
    connect(&mut shells, 0, 2);
    settle(&mut shells, 1_003);
    let table = key().table;
    assert_eq!(shells[0].node.certify(&read, [], [&table]), Err(Clash::Table(table.clone())));
    assert_eq!(shells[0].node.certify(&shells[0].node.context(), [], [&table]), Ok(()));
}
