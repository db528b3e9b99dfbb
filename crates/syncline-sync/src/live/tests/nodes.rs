//! Nodes, driven by hand: a disk that syncs when it is told to, connections that carry what was sent.

use bytes::Bytes;

use super::super::*;
use super::shell::*;

#[test]
fn a_write_on_a_spoke_reaches_the_hub_and_comes_back_stamped() {
    let mut shells = mesh();
    let dot = shells[1].write(1_000, "a");
    // Readers of the spoke see it at once, without a stamp.
    assert_eq!(shells[1].values(), ["a"]);
    assert_eq!(shells[1].node.state().pending().len(), 1);
    assert_eq!(shells[1].node.context().own, [dot]);
    settle(&mut shells, 1_001);
    one_root(&shells);
    let hub = shells[0].node.name();
    for shell in &shells {
        let row = shell.node.view(&key());
        assert_eq!(row.siblings().len(), 1);
        assert_eq!((row.siblings()[0].dot, &row.siblings()[0].stamps[..]), (dot, &[Stamp { hub, n: 1 }][..]));
        assert!(shell.node.context().own.is_empty());
    }
}

#[test]
fn concurrent_writes_are_siblings_and_readers_see_the_last_writer() {
    let mut shells = mesh();
    let nothing = Context::default();
    shells[1].put(2_000, nothing.clone(), Some("earlier"));
    shells[2].put(2_001, nothing, Some("later"));
    settle(&mut shells, 2_002);
    one_root(&shells);
    for shell in &shells {
        assert_eq!(shell.values(), ["earlier", "later"]);
        assert_eq!(shell.visible().unwrap(), "later");
        assert!(shell.node.view(&key()).is_in_conflict());
    }
}

#[test]
fn a_clock_that_is_ahead_wins_by_a_second_at_most() {
    let mut shells = mesh();
    shells[1].put(900_000, Context::default(), Some("from the future"));
    settle(&mut shells, 10_000);
    assert_eq!(shells[0].node.view(&key()).siblings()[0].time, believed(syncline_base::Hlc::from_ms(10_000)));
    shells[2].put(11_001, Context::default(), Some("a second later"));
    settle(&mut shells, 11_002);
    one_root(&shells);
    assert_eq!(shells[1].visible().unwrap(), "a second later");
}

#[test]
fn a_write_covers_what_its_writer_had_read_and_nothing_else() {
    let mut shells = mesh();
    shells[1].put(2_000, Context::default(), Some("a"));
    shells[2].put(2_000, Context::default(), Some("b"));
    settle(&mut shells, 2_001);
    let both = shells[1].node.context();
    shells[2].put(2_002, Context::default(), Some("c"));
    settle(&mut shells, 2_003);
    assert_eq!(shells[0].values(), ["a", "b", "c"]);
    // Its writer's node had c by then, its writer had not.
    shells[1].put(2_004, both, Some("a and b"));
    settle(&mut shells, 2_005);
    one_root(&shells);
    assert_eq!(shells[0].values(), ["a and b", "c"]);
    let all = shells[2].node.context();
    shells[2].put(2_006, all, None);
    settle(&mut shells, 2_007);
    one_root(&shells);
    assert!(shells[0].values().is_empty() && shells[0].node.state().rows().next().is_none());
}

#[test]
fn what_has_not_been_read_here_is_not_written_on() {
    let mut shells = mesh();
    let seen_elsewhere = {
        let hub = shells[0].node.name();
        let mut seen = Coverage::new();
        seen.raise(hub, 1);
        Context { seen, own: Vec::new() }
    };
    let write = Write { row: key(), value: None };
    let refused = shells[1].node.commit(2_000, 1, seen_elsewhere.clone(), vec![write.clone()]);
    assert_eq!(refused.unwrap_err(), Refusal::Behind);
    assert!(!shells[1].node.has_outputs());
    shells[2].write(2_001, "a");
    settle(&mut shells, 2_002);
    shells[1].node.commit(2_003, 1, seen_elsewhere, vec![write]).unwrap();
    settle(&mut shells, 2_004);
    assert!(shells[0].values().is_empty());
}

#[test]
fn nothing_is_sent_shown_or_acknowledged_before_it_is_durable() {
    let mut shells = mesh();
    let dot = shells[1].put(2_000, Context::default(), Some("a"));
    assert!(shells[1].sent.is_empty() && shells[1].committed.is_empty() && shells[1].values().is_empty());
    shells[1].sync();
    assert_eq!(shells[1].committed, [(2_000, dot)]);
    assert_eq!(shells[1].values(), ["a"]);
    let pushed = shells[1].sent.drain(..).map(|(_, message)| message).collect::<Vec<_>>();
    assert!(matches!(&pushed[..], [Message::Push(txns, _)] if txns[0].dot() == dot));
    // The same at the hub.
    shells[0].node.receive(2_001, 1, pushed[0].clone());
    shells[0].absorb();
    assert!(shells[0].sent.is_empty() && shells[0].values().is_empty());
    shells[0].sync();
    assert_eq!(shells[0].values(), ["a"]);
    let sent = std::mem::take(&mut shells[0].sent);
    let of_entries = |(_, message): &&(PeerId, Message)| matches!(message, Message::Entries { .. });
    assert_eq!(sent.iter().filter(of_entries).count(), 2, "{sent:?}");
    let heads: Vec<_> = sent.iter().filter(|sent| !of_entries(sent)).collect();
    assert!(matches!(heads[..], [(2, Message::Heads(_))]), "who pushed it has it: {heads:?}");
    // And at the spokes, which say so when it is durable.
    let entries = sent.iter().find(|(peer, _)| *peer == 2).unwrap().1.clone();
    shells[2].node.receive(2_002, 0, entries);
    shells[2].absorb();
    assert!(shells[2].sent.is_empty() && shells[2].values().is_empty());
    shells[2].sync();
    assert!(matches!(&shells[2].sent[..], [(0, Message::Here(1))]), "{:?}", shells[2].sent);
}

#[test]
fn a_spoke_may_show_what_hubs_have_and_tells_others_what_is_durable() {
    let mut shells = mesh();
    shells[0].write(2_000, "a");
    let of_entries = |(to, message): &&(PeerId, Message)| *to == 2 && matches!(message, Message::Entries { .. });
    let entries = shells[0].sent.iter().find(of_entries).unwrap().1.clone();
    let before = shells[2].node.durable_coverage();
    shells[2].node.receive(2_001, 0, entries.clone());
    assert_eq!(shells[2].node.show(0), 0);
    assert_eq!((shells[2].node.show(u64::MAX), shells[2].node.show(u64::MAX)), (1, 0));
    shells[2].absorb();
    assert_eq!(shells[2].values(), ["a"]);
    assert!(matches!(&shells[2].sent[..], [(0, Message::Here(1))]), "{:?}", shells[2].sent);
    assert!(shells[2].node.checkpoint().is_none(), "a checkpoint would say that it is durable");
    assert_eq!(shells[2].node.durable_coverage(), before);
    // Who asks is told what a crash does not take back.
    shells[2].sent.clear();
    shells[2].node.receive(2_002, 0, Message::Ask);
    shells[2].absorb();
    assert!(matches!(&shells[2].sent[..], [(0, Message::Hello { coverage, .. })] if *coverage == before));
    assert!(shells[2].reopened(4).values().is_empty());
    // What it writes follows on that, and waits for the disk.
    let read = shells[2].node.context();
    let dot = shells[2].put(2_003, read, Some("b"));
    assert_eq!(shells[2].node.show(u64::MAX), 0);
    assert!(shells[2].committed.is_empty());
    shells[2].sync();
    assert_eq!(shells[2].committed, [(2_003, dot)]);
    assert_eq!(shells[2].node.durable_coverage(), *shells[2].node.state().coverage());
    assert_eq!((shells[2].values(), shells[2].reopened(4).values()), (vec!["b".to_owned()], vec!["b".to_owned()]));
    // A hub does not: others count on what it shows.
    let mut other = Shell::create(true, 5);
    other.node.connected(0);
    other.absorb();
    other.node.receive(2_004, 0, entries);
    assert_eq!(other.node.show(u64::MAX), 0);
}

#[test]
fn what_was_not_durable_never_happened() {
    let mut shells = mesh();
    shells[1].write(2_000, "a");
    shells[1].put(2_001, Context::default(), Some("lost"));
    let again = shells[1].reopened(4);
    assert_eq!(again.values(), ["a"]);
    assert_eq!((again.node.name(), again.node.state().pending().len()), (shells[1].node.name(), 1));
}

#[test]
fn a_log_gives_the_same_node_again() {
    let mut shells = mesh();
    shells[1].put(2_000, Context::default(), Some("a"));
    shells[2].put(2_000, Context::default(), Some("b"));
    settle(&mut shells, 2_001);
    disconnect(&mut shells, 0, 1);
    shells[1].write(2_002, "waits");
    for shell in &shells {
        let again = shell.reopened(9);
        assert_eq!(again.node.state().root(), shell.node.state().root());
        assert_eq!(again.values(), shell.values());
        assert_eq!(again.node.context(), shell.node.context());
        assert_eq!((again.node.name(), again.node.is_hub()), (shell.node.name(), shell.node.is_hub()));
        // From a checkpoint as from all the records before.
        let checkpoint: Vec<Bytes> = shell.node.checkpoint().unwrap().records().map(|record| record.encode()).collect();
        let short = Shell::around(Node::open(shell.config(9), records(&checkpoint), false).unwrap(), Vec::new());
        assert_eq!(short.node.state().root(), shell.node.state().root());
        assert_eq!(short.node.checkpoint(), shell.node.checkpoint());
    }
    // It goes on where it stopped.
    shells[1] = shells[1].reopened(9);
    connect(&mut shells, 0, 1);
    settle(&mut shells, 2_003);
    one_root(&shells);
    assert_eq!(shells[2].values(), ["waits"]);
    assert_eq!(shells[1].renamed, 0);
}

#[test]
fn a_log_without_a_name_is_no_node() {
    let error = Node::open(config(1), records(&[Record::Hub(true).encode()]), false).unwrap_err();
    assert!(error.to_string().contains("does not say its name"), "{error}");
    assert!(Node::open(config(1), records(&[Bytes::from_static(b"?")]), false).is_err());
}

#[test]
fn a_copied_spoke_is_refused_renames_itself_and_writes_again() {
    let mut shells = mesh();
    shells[1].write(2_000, "before");
    settle(&mut shells, 2_001);
    disconnect(&mut shells, 0, 1);
    let copy = shells[1].reopened(7);
    shells.push(copy);
    assert_eq!(shells[3].node.name(), shells[1].node.name());
    shells[1].write(2_002, "original");
    let old = shells[3].write(2_003, "copy");
    connect(&mut shells, 0, 1);
    settle(&mut shells, 2_004);
    connect(&mut shells, 0, 3);
    let said = settle(&mut shells, 2_005);
    assert!(said.iter().any(|(from, to, message)| (*from, *to) == (0, 3) && *message == Message::Refused(old)));
    // Nothing is lost, neither of the two covers the other, both have read what was before.
    one_root(&shells);
    assert_eq!(shells[0].values(), ["copy", "original"]);
    assert_eq!((shells[1].renamed, shells[3].rewritten.len()), (0, 1));
    assert!(shells[3].renamed > 0 && shells[3].node.name() != shells[1].node.name());
    assert_eq!(shells[3].rewritten[0].origin, shells[3].node.name());
    // Both go on.
    shells[1].write(2_006, "both");
    settle(&mut shells, 2_007);
    shells[3].write(2_008, "after both");
    settle(&mut shells, 2_009);
    one_root(&shells);
    assert_eq!(shells[2].values(), ["after both"]);
}

#[test]
fn a_restored_spoke_takes_a_name_and_gets_back_what_it_lost() {
    let mut shells = mesh();
    shells[1].write(2_000, "backed up");
    settle(&mut shells, 2_001);
    let log = shells[1].log.clone();
    shells[1].write(2_002, "lost");
    settle(&mut shells, 2_003);
    disconnect(&mut shells, 0, 1);
    let old = shells[1].node.name();
    shells[1] = Shell::around(Node::open(config(8), records(&log), true).unwrap(), log);
    assert!(shells[1].node.name() != old);
    connect(&mut shells, 0, 1);
    settle(&mut shells, 2_004);
    one_root(&shells);
    assert_eq!(shells[1].values(), ["lost"]);
}

#[test]
fn whom_the_log_cannot_bring_up_gets_a_snapshot() {
    let mut shells = mesh();
    disconnect(&mut shells, 0, 2);
    shells[1].write(2_000, "a");
    settle(&mut shells, 2_001);
    shells[1].write(2_002, "b");
    settle(&mut shells, 2_003);
    shells[2].write(2_004, "apart");
    shells[0].node.cut_log(1);
    connect(&mut shells, 0, 2);
    let said = settle(&mut shells, 2_005);
    let snapshots = said.iter().filter(|(_, _, message)| matches!(message, Message::Close { .. }));
    assert_eq!(snapshots.map(|(from, to, _)| (*from, *to)).collect::<Vec<_>>(), [(0, 2)]);
    one_root(&shells);
    assert_eq!(shells[2].values(), ["apart", "b"]);
    // What came with it is durable, and counts for whoever comes next.
    let again = shells[2].reopened(6);
    assert_eq!(again.node.state().root(), shells[2].node.state().root());
    disconnect(&mut shells, 0, 2);
    shells[1].write(2_006, "c");
    settle(&mut shells, 2_007);
    connect(&mut shells, 0, 2);
    let said = settle(&mut shells, 2_008);
    assert!(!said.iter().any(|(_, _, message)| matches!(message, Message::Close { .. })));
    one_root(&shells);
}

#[test]
fn what_stands_behind_a_refused_transaction_is_offered_again_without_a_tick() {
    let mut shells = mesh();
    shells[1].write(2_000, "before");
    settle(&mut shells, 2_001);
    disconnect(&mut shells, 0, 1);
    let copy = shells[1].reopened(7);
    shells.push(copy);
    shells[1].write(2_002, "original");
    let old = shells[3].put(2_003, Context::default(), Some("copy"));
    connect(&mut shells, 0, 1);
    settle(&mut shells, 2_004);
    // It learns that its name is used, and goes on under another; the hub has still to refuse what it wrote under the old one.
    connect(&mut shells, 2, 3);
    settle(&mut shells, 2_005);
    let new = shells[3].put(2_006, Context::default(), Some("under a new name"));
    assert!(new.origin != old.origin);
    shells[3].sync();
    connect(&mut shells, 0, 3);
    let said = settle(&mut shells, 2_007);
    assert!(said.iter().any(|(_, _, message)| *message == Message::Refused(old)));
    one_root(&shells);
    assert_eq!(shells[0].values(), ["copy", "original", "under a new name"]);
}

#[test]
fn a_spoke_that_was_put_off_goes_on_when_the_hub_has_more() {
    let mut shells = mesh();
    // About something that waits no longer: nothing to wait for.
    let taken = shells[1].write(2_000, "taken");
    settle(&mut shells, 2_001);
    shells[1].node.receive(2_002, 0, Message::Later(taken));
    shells[1].write(2_003, "next");
    settle(&mut shells, 2_004);
    one_root(&shells);
    // About something that waits: until the hub has something new.
    let waits = shells[1].write(2_005, "waits");
    shells[1].sent.clear();
    shells[1].node.receive(2_006, 0, Message::Later(waits));
    settle(&mut shells, 2_007);
    assert_eq!(shells[1].node.state().pending().len(), 1);
    shells[2].write(2_008, "new");
    settle(&mut shells, 2_009);
    one_root(&shells);
}

#[test]
fn a_node_knows_how_far_it_is_behind_its_peers() {
    let mut shells = mesh();
    assert_eq!(shells[1].node.behind(), 0);
    disconnect(&mut shells, 0, 1);
    shells[0].write(2_000, "one");
    shells[0].write(2_001, "two");
    settle(&mut shells, 2_002);
    assert_eq!(shells[1].node.behind(), 0);
    connect(&mut shells, 0, 1);
    let hello = shells[0].node.outputs().into_iter().find_map(|output| match output {
        Output::Send(1, message) => Some(message),
        _ => None,
    });
    shells[1].node.receive(2_003, 0, hello.unwrap());
    assert_eq!(shells[1].node.behind(), 2);
    settle(&mut shells, 2_004);
    assert_eq!((shells[0].node.behind(), shells[1].node.behind()), (0, 0));
    one_root(&shells);
}
