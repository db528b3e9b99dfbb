//! What is bounded, and what the program around a node asks it.

use std::sync::Arc;

use bytes::Bytes;

use super::super::*;
use super::shell::*;

fn write(n: u32, bytes: usize) -> Write {
    let row = RowKey { table: "t".into(), key: Bytes::copy_from_slice(&n.to_be_bytes()) };
    Write { row, value: Some(Bytes::from(vec![n as u8; bytes])) }
}

fn commit(shell: &mut Shell, n: u32, bytes: usize) -> Dot {
    let dot = shell.put_all(2_000, vec![write(n, bytes)]);
    shell.sync();
    dot
}

fn tight() -> Limits {
    Limits { message_bytes: 1000, message_entries: 5, window_bytes: 3000, window_entries: 12, ..Limits::default() }
}

fn pair() -> Vec<Shell> {
    let shell = |seed, hub| Shell::around(Node::create(config_with(seed, tight()), hub), Vec::new());
    vec![shell(1, true), shell(2, false)]
}

/// Bytes and things of one message: entries or transactions.
fn load(message: &Message) -> (usize, usize) {
    match message {
        Message::Entries { entries, .. } => (message.encode().len(), entries.len()),
        Message::Push(txns, _) => (message.encode().len(), txns.len()),
        _ => (0, 0),
    }
}

#[test]
fn messages_and_what_is_on_its_way_are_bounded_both_ways() {
    for (writer, reader) in [(0, 1), (1, 0)] {
        let mut shells = pair();
        for n in 0..100 {
            commit(&mut shells[writer], n, 150);
        }
        // One that is longer than a message may be goes alone.
        commit(&mut shells[writer], 100, 4000);
        for n in 101..110 {
            commit(&mut shells[writer], n, 10);
        }
        connect(&mut shells, 0, 1);
        shells[reader].sync();
        let hello = std::mem::take(&mut shells[reader].sent);
        shells[writer].node.receive(2_000, reader as u64, hello[0].1.clone());
        shells[writer].sync();
        let loads: Vec<(usize, usize)> = shells[writer].sent.iter().map(|(_, message)| load(message)).collect();
        let flies = loads.iter().fold((0, 0), |sum, load| (sum.0 + load.0, sum.1 + load.1));
        assert!(flies.1 >= 10 && flies.1 <= 13 && flies.0 <= 4000, "{loads:?}");
        // As long as nothing is durable there, nothing more goes.
        shells[writer].node.tick_peers(2_001);
        shells[writer].sync();
        assert_eq!(shells[writer].sent.len(), loads.len());
        shells[reader].sent = hello;
        let said = settle(&mut shells, 2_002);
        assert!(
            said.iter().all(|(.., message)| load(message).1 <= 5 && (load(message).0 <= 1300 || load(message).1 == 1))
        );
        one_root(&shells);
        assert_eq!(shells[reader].node.state().rows().count(), 110);
    }
}

#[test]
fn thousands_of_peers_are_sent_the_same_bytes() {
    let mut shells = [Shell::create(true, 1)];
    for peer in 1..=50 {
        shells[0].node.connected(peer);
        let (name, parts) = (Origin::from_bytes([peer as u8; 16]), None);
        let hello = Message::Hello {
            name,
            hub: false,
            coverage: Coverage::new(),
            newest: None,
            parts,
            within: Within::default(),
            heads: 0,
        };
        shells[0].node.receive(1_000, peer, hello);
    }
    shells[0].sync();
    shells[0].sent.clear();
    commit(&mut shells[0], 1, 10);
    let batches = shells[0].sent.iter().map(|(_, message)| match message {
        Message::Entries { entries, .. } => Some(entries.clone()),
        Message::Heads(heads) => {
            assert_eq!(heads.len(), 1);
            None
        }
        other => panic!("{other:?}"),
    });
    let batches: Vec<Arc<Batch>> = batches.flatten().collect();
    assert!(batches.len() == 50 && batches.iter().all(|batch| Arc::ptr_eq(batch, &batches[0])));
}

#[test]
fn a_transaction_that_no_record_can_hold_is_refused() {
    let limits = Limits { txn_bytes: 1000, ..Limits::default() };
    let mut shell = Shell::around(Node::create(config_with(1, limits), false), Vec::new());
    let Err(Refusal::Invalid(why)) = shell.node.commit(1, 1, Context::default(), vec![write(1, 1000)]) else {
        panic!()
    };
    assert!(why.contains("1000 are the most") && !shell.node.has_outputs(), "{why}");
    shell.node.commit(1, 1, Context::default(), vec![write(1, 800)]).unwrap();
    let body = |bytes| Body {
        origin: Origin::from_bytes([1; 16]),
        seq: 1,
        prev: Tag::NONE,
        read: Context::default(),
        hlc: syncline_base::Hlc::default(),
        writes: vec![write(1, bytes)],
    };
    let most = Txn::new(body(MAX_TXN_BYTES - 100)).unwrap();
    assert!(Txn::decode(most.bytes().clone()).is_ok());
    let error = Txn::new(body(MAX_TXN_BYTES)).unwrap_err();
    assert!(error.to_string().contains("write its rows in several transactions"), "{error}");
    let mut bytes = most.bytes().to_vec();
    bytes.resize(MAX_TXN_BYTES + 1, 0);
    assert!(Txn::decode(bytes.into()).unwrap_err().to_string().contains("are the most"));
}

#[test]
fn no_more_hubs_are_counted_than_bytes_can_name() {
    let mut shells = vec![Shell::create(true, 1), Shell::create(false, 2)];
    connect(&mut shells, 0, 1);
    settle(&mut shells, 1_000);
    let mut coverage = Coverage::new();
    let hub = |n: u64| Origin::from_bytes([n.to_be_bytes(), [9; 8]].concat().try_into().unwrap());
    (0..MAX_HUBS as u64).for_each(|n| coverage.raise(hub(n), 1));
    let part = Arc::new(Part { id: 5, nth: 0, what: What::Rows(Vec::new()) });
    for (at, shell) in shells.iter_mut().enumerate() {
        let closing = Closing { id: 5, parts: 1, coverage: coverage.clone() };
        shell.node.receive(1_000, 1 - at as u64, Message::Part { through: 1, part: part.clone() });
        shell.node.receive(1_000, 1 - at as u64, Message::Close { through: 2, closing });
        shell.sync();
        assert_eq!(shell.node.state().coverage().len(), MAX_HUBS);
        // It can be read again.
        shell.reopened(9);
    }
    // Neither a hub's own writes nor others' make it one more.
    let Err(Refusal::Invalid(why)) = shells[0].node.commit(1, 1, Context::default(), vec![write(1, 1)]) else {
        panic!()
    };
    assert!(why.contains("4096"), "{why}");
    commit(&mut shells[1], 1, 1);
    settle(&mut shells, 1_001);
    assert_eq!((shells[0].node.state().rows().count(), shells[1].node.state().pending().len()), (0, 1));
    let entry = Entry {
        stamp: Stamp { hub: hub(1 << 40), n: 1 },
        deps: Coverage::new(),
        attested: syncline_base::Hlc::default(),
        txn: shells[1].node.waiting().next().unwrap().clone(),
    };
    let entries = Arc::new(Batch::new(vec![Arc::new(entry)]));
    shells[0].node.receive(1_002, 1, Message::Entries { through: 9, entries });
    shells[0].sync();
    assert_eq!(shells[0].node.state().coverage().len(), MAX_HUBS);
    let one_more = {
        (0..1).fold(coverage.clone(), |mut coverage, _| {
            coverage.raise(hub(1 << 41), 1);
            coverage
        })
    };
    shells[0].node.receive(1_000, 1, Message::Part { through: 1, part });
    shells[0].node.receive(
        1_000,
        1,
        Message::Close { through: 2, closing: Closing { id: 5, parts: 1, coverage: one_more } },
    );
    shells[0].sync();
    assert_eq!(shells[0].node.state().coverage().len(), MAX_HUBS);
}

#[test]
fn a_new_name_and_what_is_written_again_are_told_when_they_are_durable() {
    let limits = Limits { message_bytes: 100, ..Limits::default() };
    let mut shells = mesh();
    shells[1] = Shell::around(Node::create(config_with(2, limits), false), Vec::new());
    disconnect(&mut shells, 0, 1);
    let log = shells[1].log.clone();
    let copy = Shell::around(Node::open(Config { limits, ..shells[1].config(7) }, records(&log), false).unwrap(), log);
    shells.push(copy);
    shells[1].write(2_000, "original");
    connect(&mut shells, 0, 1);
    settle(&mut shells, 2_001);
    let old: Vec<Dot> = (0..3).map(|n| commit(&mut shells[3], n, 60)).collect();
    shells[3].renamed = 0;
    connect(&mut shells, 0, 3);
    shells[3].sync();
    let (appended, before) = (shells[3].log.len(), shells[3].node.name());
    shells[3].node.receive(2_002, 0, Message::Refused(old[0]));
    shells[3].absorb();
    let after = shells[3].log.len();
    assert_eq!(
        (after - appended, shells[3].renamed, shells[3].rewritten.len()),
        (5, 0, 0),
        "a name, its head and three records"
    );
    assert!(shells[3].node.name() != before);
    // Readers are told the old ones, and nobody builds on those any more.
    assert_eq!(shells[3].node.context().own, [old[2]]);
    let read = shells[3].node.context();
    assert!(shells[3].node.commit(2_003, 1, read, vec![write(1, 1)]).is_err());
    // A crash in the middle: the old ones wait again.
    for durable in appended..after {
        shells[3].durable = durable;
        let again = shells[3].reopened(8);
        assert_eq!(again.node.state().pending().map(|txn| txn.dot()).collect::<Vec<_>>(), old, "{durable}");
        let mut all = [again];
        let write = commit(&mut all[0], 9, 1);
        assert_eq!(write.seq, if durable == appended { 4 } else { 1 });
    }
    shells[3].durable = appended;
    shells[3].sync();
    assert_eq!((shells[3].renamed, shells[3].rewritten.len()), (1, 3));
    let again = shells[3].reopened(8);
    assert_eq!(again.node.state().pending().map(|txn| txn.dot()).collect::<Vec<_>>(), shells[3].rewritten);
    settle(&mut shells, 2_004);
    shells.iter_mut().for_each(|shell| shell.node.tick_peers(2_005));
    settle(&mut shells, 2_006);
    assert_eq!(shells[3].node.state().pending().len(), 0);
    assert_eq!(shells[0].node.state().root(), shells[3].node.state().root());
}

#[test]
fn positions_follow_what_took_effect_until_a_state_is_joined() {
    let mut shells = mesh();
    for n in 0..5 {
        commit(&mut shells[0], n, 10);
    }
    let (node, covers) = (&shells[0].node, shells[0].node.state().coverage().clone());
    assert_eq!((node.first(), node.end()), (0, 5));
    let n = |from| node.entries_from(from).map(|entries| entries.map(|entry| entry.stamp.n).collect::<Vec<_>>());
    assert_eq!((n(0).unwrap(), n(3).unwrap(), n(5).unwrap()), (vec![1, 2, 3, 4, 5], vec![4, 5], vec![]));
    let bytes = node.kept_bytes();
    assert!(bytes > 500 && node.resumes(&Coverage::new()));
    shells[0].node.cut_log_to(bytes / 2);
    let node = &shells[0].node;
    assert!(node.kept_bytes() <= bytes / 2 && node.kept_bytes() > 0);
    assert_eq!((node.first(), node.end()), (3, 5));
    assert!(node.entries_from(2).is_none() && node.entries_from(3).unwrap().count() == 2);
    assert!(!node.resumes(&Coverage::new()) && node.resumes(&covers));
    // Somebody with entries of his own gets a state.
    let mut other = vec![Shell::create(true, 8)];
    commit(&mut other[0], 77, 10);
    other.append(&mut shells);
    let end = other[0].node.end();
    connect(&mut other, 0, 1);
    settle(&mut other, 3_000);
    assert_eq!(other[0].node.state().rows().count(), 6);
    let node = &other[0].node;
    assert!(node.entries_from(end).is_none() && node.first() > end);
    assert_eq!(
        node.entries_from(node.first()).unwrap().map(|entry| entry.stamp.hub).collect::<Vec<_>>(),
        [node.name()]
    );
}

#[test]
fn rows_are_read_by_key_as_clients_see_them() {
    let mut shells = mesh();
    for n in [2, 4, 6, 8] {
        commit(&mut shells[1], n, 3);
    }
    settle(&mut shells, 2_000);
    disconnect(&mut shells, 0, 1);
    commit(&mut shells[1], 5, 4);
    commit(&mut shells[1], 6, 5);
    let delete = Write { value: None, ..write(8, 0) };
    let other = Write { row: RowKey { table: "u".into(), key: Bytes::new() }, value: Some(Bytes::new()) };
    let read = shells[1].node.context();
    shells[1].node.commit(2_001, 1, read, vec![delete, other]).unwrap();
    shells[1].sync();
    let node = &shells[1].node;
    let from = |n| {
        let rows = node.rows_from(&write(n, 0).row);
        rows.map(|(key, row)| (key.key[3], row.visible(Zoo::none()).unwrap().value.len())).collect::<Vec<_>>()
    };
    assert_eq!(from(0), [(2, 3), (4, 3), (5, 4), (6, 5)]);
    assert_eq!(from(5), [(5, 4), (6, 5)]);
    assert_eq!(node.state().rows_from(&write(5, 0).row).count(), 2);
    let some: Vec<u8> = node.view_from(&write(3, 0).row, 2).iter().map(|(key, _)| key.key[3]).collect();
    assert_eq!(some, [4, 5]);
    for (key, row) in node.rows_from(&write(0, 0).row) {
        assert_eq!(*row, node.view(&key));
    }
}
