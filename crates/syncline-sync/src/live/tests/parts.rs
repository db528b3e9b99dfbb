//! States in parts: as they are sent, as they lie in logs, and what happens when some of it is missing.

use std::sync::Arc;

use bytes::Bytes;
use proptest::prelude::*;
use syncline_base::rng::Rng;

use super::super::part::{Collected, Teller};
use super::super::runs::{Place, Runs};
use super::super::*;
use super::arbitrary;
use super::shell::*;
use crate::log::Disk as _;
use crate::log::memory::MemoryDisk;

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    #[test]
    fn a_state_comes_out_of_its_parts_and_out_of_nothing_less(
        snapshot in arbitrary::snapshot(),
        waiting in proptest::collection::vec(arbitrary::txn(), 0..4),
        room in 0..600usize,
    ) {
        let (mut teller, mut parts) = (Teller::new(3, room), Vec::new());
        while let Some((part, size)) = teller.next(&snapshot, &waiting) {
            let record = Record::Part(Arc::new(part));
            let Record::Part(part) = alone(record.encode()).unwrap() else { panic!("{record:?}") };
            prop_assert!(record.encode().len() <= size + 64, "{} bytes, said to be {size}", record.encode().len());
            parts.push(part);
        }
        prop_assert_eq!(teller.nth(), parts.len() as u64);
        prop_assert!(room < 600 || parts.len() <= 8);
        let mut collected = Collected::default();
        for (at, part) in parts.iter().enumerate() {
            for other in parts.iter().skip(at + 1) {
                prop_assert!(collected.clone().add(other).is_err());
            }
            let another = Arc::new(Part { id: 4, ..(**part).clone() });
            prop_assert!(at == 0 || collected.clone().add(&another).is_err());
            collected.add(part).unwrap();
            prop_assert!(collected.clone().add(part).is_err());
        }
        prop_assert_eq!(&collected.waiting, &waiting);
        prop_assert_eq!(collected.close(snapshot.coverage.clone()), snapshot);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    /// Rows that have come go to the disk at any moment, and their runs are merged; the state is the same, and one that never takes effect
    /// leaves nothing there.
    #[test]
    fn a_state_that_is_spilled_is_the_same_state(
        snapshot in arbitrary::snapshot(),
        room in 0..300usize,
        acts in proptest::collection::vec(0..5u8, 0..60),
    ) {
        let disk = MemoryDisk::new(Rng::from_seed(1), 512);
        let place = Place::new(disk.clone());
        let (mut teller, mut collected) = (Teller::new(3, room), Collected::default());
        let (mut acts, mut writing, mut id) = (acts.into_iter(), None, 0);
        while let Some((part, _)) = teller.next(&snapshot, &[]) {
            collected.add(&Arc::new(part)).unwrap();
            for act in acts.by_ref().take(3) {
                id += 1;
                match act {
                    0 if writing.is_none() => if let Some((rows, runs)) = collected.begin_spill(id, &place) {
                        prop_assert!(collected.spills(id) && !collected.spills(id + 1) && collected.parts().is_none());
                        let run = rows.write(&runs, id).unwrap();
                        writing = Some((rows, runs, run));
                    },
                    1 => if let Some((rows, runs, run)) = writing.take() {
                        collected.spilled(&rows, &runs, run);
                    },
                    2 => if let Some((runs, of)) = collected.runs().and_then(|runs| Some((runs.clone(), runs.due()?))) {
                        let run = runs.merge(id, &of).unwrap();
                        prop_assert!(collected.merged(&runs.names()[of], &run));
                    },
                    _ => {}
                }
            }
        }
        if let Some((.., run)) = writing {
            run.retire();
        }
        let given_up = collected.clone();
        // As that of a checkpoint that stands on other runs, too.
        let over = collected.clone().close_over(snapshot.coverage.clone(), Arc::new(Runs::none(place)), snapshot.rows.counts().clone());
        prop_assert_eq!(&over, &snapshot);
        let closed = collected.close(snapshot.coverage.clone());
        prop_assert_eq!(&closed, &snapshot);
        prop_assert_eq!(closed.rows.counts(), snapshot.rows.counts());
        drop((closed, over, given_up));
        prop_assert_eq!(disk.list().unwrap(), vec![]);
    }
}

#[test]
fn of_a_row_in_pieces_every_sibling_is_told_before_the_next_row() {
    let mut shell = shell(1, true);
    // Nobody has read anything: they are siblings. The second one does not go into what the first one leaves.
    for (n, len) in [(1, 60), (1, 250), (1, 40), (1, 400), (2, 8)] {
        let write = Write { row: row(n), value: Some(Bytes::from(vec![7; len])) };
        shell.node.commit(1_000, 1, Context::default(), vec![write]).unwrap();
        shell.sync();
    }
    let moment = shell.node.checkpoint().expect("all is durable");
    let snapshot = moment.snapshot();
    assert_eq!(snapshot.rows.get(&row(1)).map(|row| row.siblings().len()), Some(4));
    for room in [0, 100, 256, 300, 500, 700, 2000] {
        let (mut teller, mut collected) = (Teller::new(3, room), Collected::default());
        while let Some((part, _)) = teller.next(snapshot, &[]) {
            collected.add(&Arc::new(part)).unwrap();
        }
        assert_eq!(&collected.close(snapshot.coverage.clone()), snapshot, "room for {room}");
    }
}

fn small() -> Limits {
    Limits { message_bytes: 256, window_bytes: 1024, window_entries: 4, patience: 1, ..Limits::default() }
}

fn row(n: u8) -> RowKey {
    RowKey { table: "t".into(), key: Bytes::copy_from_slice(&[n]) }
}

fn shell(seed: u8, hub: bool) -> Shell {
    Shell::around(Node::create(config_with(seed, small()), hub), Vec::new())
}

fn set(shell: &mut Shell, now_ms: u64, n: u8, value: &'static [u8]) {
    let write = Write { row: row(n), value: Some(Bytes::from_static(value)) };
    shell.put_all(now_ms, vec![write]);
    shell.sync();
}

/// A hub with fifty rows that it cannot send as entries, and somebody who has none of them.
fn cut_hub() -> Vec<Shell> {
    let mut shells = vec![shell(1, true), shell(2, false), shell(3, true)];
    for n in 0..50 {
        set(&mut shells[0], 1_000, n, &[7; 40]);
    }
    shells[0].node.cut_log(1);
    shells
}

/// Delivers what one says to the other, so many messages at most.
fn deliver(shells: &mut [Shell], from: usize, to: usize, most: usize) -> Vec<Message> {
    shells[from].sync();
    let mine = |shell: &mut Shell| {
        let (mine, others) = std::mem::take(&mut shell.sent).into_iter().partition(|(peer, _)| *peer == to as u64);
        shell.sent = others;
        mine
    };
    let mut messages: Vec<(PeerId, Message)> = mine(&mut shells[from]);
    let rest = messages.split_off(most.min(messages.len()));
    shells[from].sent.extend(rest);
    for (_, message) in &messages {
        shells[to].node.receive(2_000, from as u64, Message::decode(message.encode()).unwrap());
    }
    shells[to].sync();
    messages.into_iter().map(|(_, message)| message).collect()
}

fn parts(messages: &[Message]) -> usize {
    messages.iter().filter(|message| matches!(message, Message::Part { .. })).count()
}

#[test]
fn parts_have_no_effect_until_they_are_closed() {
    let mut shells = cut_hub();
    connect(&mut shells, 0, 1);
    let mut said = Vec::new();
    let before = shells[1].node.state().root();
    while !said.iter().any(|message| matches!(message, Message::Close { .. })) {
        assert_eq!(shells[1].node.state().root(), before);
        assert_eq!(shells[1].reopened(9).node.state().root(), before);
        deliver(&mut shells, 1, 0, 9);
        said.extend(deliver(&mut shells, 0, 1, 1));
    }
    assert!(parts(&said) > 10, "{}", parts(&said));
    assert!(said.iter().all(|message| message.encode().len() < 400));
    assert_eq!(shells[1].node.state().root(), shells[0].node.state().root());
    let again = shells[1].reopened(9);
    assert_eq!(again.node.state().root(), shells[0].node.state().root());
    // What was not durable of the end never happened.
    shells[1].durable -= 1;
    assert_eq!(shells[1].reopened(9).node.state().root(), before);
}

#[test]
fn a_state_that_was_cut_off_goes_on_where_it_was() {
    let mut shells = cut_hub();
    connect(&mut shells, 0, 1);
    let mut before = 0;
    while before < 8 {
        deliver(&mut shells, 1, 0, 9);
        before += parts(&deliver(&mut shells, 0, 1, 3));
    }
    // The connection is lost, and the receiver's process with it.
    disconnect(&mut shells, 0, 1);
    shells[0].sent.clear();
    shells[1] = shells[1].reopened(5);
    // Meanwhile it goes on, and keeps a checkpoint.
    set(&mut shells[1], 2_000, 200, b"meanwhile");
    let moment = shells[1].node.checkpoint().unwrap();
    shells[1].log = moment.records().map(|record| record.encode()).collect();
    shells[1].durable = shells[1].log.len();
    shells[1] = shells[1].reopened(6);
    connect(&mut shells, 0, 1);
    let said: Vec<Message> = settle(&mut shells, 2_001).into_iter().map(|(.., message)| message).collect();
    one_root(&shells[..2]);
    assert_eq!(shells[1].node.state().rows().count(), 51);
    let again = parts(&said);
    let mut whole = cut_hub();
    connect(&mut whole, 0, 1);
    let all = settle(&mut whole, 2_001).into_iter().map(|(.., message)| message).collect::<Vec<_>>();
    assert_eq!(before + again, parts(&all), "{before} parts had come");
}

#[test]
fn one_state_comes_at_a_time_and_the_other_sender_is_told() {
    let mut shells = cut_hub();
    for n in 100..150 {
        set(&mut shells[2], 1_000, n, &[8; 40]);
    }
    shells[2].node.cut_log(0);
    connect(&mut shells, 0, 1);
    connect(&mut shells, 2, 1);
    settle(&mut shells, 2_000);
    assert_eq!(shells[1].node.state().rows().count(), 100);
    // The first sender goes away in the middle: the other one has its turn.
    let mut shells = cut_hub();
    for n in 100..150 {
        set(&mut shells[2], 1_000, n, &[8; 40]);
    }
    shells[2].node.cut_log(0);
    connect(&mut shells, 0, 1);
    connect(&mut shells, 2, 1);
    deliver(&mut shells, 1, 0, 9);
    deliver(&mut shells, 1, 2, 9);
    assert!(parts(&deliver(&mut shells, 0, 1, 9)) > 0 && parts(&deliver(&mut shells, 2, 1, 9)) > 0);
    disconnect(&mut shells, 0, 1);
    shells[0].sent.clear();
    settle(&mut shells, 2_000);
    assert_eq!(shells[1].node.state().rows().count(), 50);
    assert_eq!(shells[1].node.state().root(), shells[2].node.state().root());
}

#[test]
fn a_part_that_is_lost_is_asked_for_and_one_that_is_wrong_is_not_kept() {
    let mut shells = cut_hub();
    connect(&mut shells, 0, 1);
    deliver(&mut shells, 1, 0, 9);
    shells[0].sync();
    let lost = shells[0].sent.iter().position(|(_, message)| matches!(message, Message::Part { .. })).unwrap();
    shells[0].sent.remove(lost + 1);
    let log = shells[1].log.len();
    // Nothing that a checkpoint would have, nothing that has no beginning, no end of what is not there.
    let waiting = Part { id: 9, nth: 0, what: What::Waiting(Vec::new()) };
    let middle = Part { id: 9, nth: 4, what: What::Rows(Vec::new()) };
    for part in [waiting, middle] {
        shells[1].node.receive(2_000, 0, Message::Part { through: 1, part: Arc::new(part) });
    }
    let mut coverage = Coverage::new();
    coverage.raise(Origin::from_bytes([3; 16]), 5);
    let closing = Closing { id: 9, parts: 1, coverage };
    shells[1].node.receive(2_000, 0, Message::Close { through: 1, closing });
    shells[1].sync();
    assert_eq!(shells[1].log.len(), log);
    settle(&mut shells, 2_000);
    for shell in &mut shells {
        shell.node.tick_peers(2_001);
    }
    settle(&mut shells, 2_002);
    one_root(&shells[..2]);
}

#[test]
fn a_log_in_which_a_state_is_not_whole_is_refused() {
    let mut shells = cut_hub();
    connect(&mut shells, 0, 1);
    settle(&mut shells, 2_000);
    let log = shells[1].log.clone();
    let kind = |at: usize| log[at][1];
    let parts: Vec<usize> = (0..log.len()).filter(|at| kind(*at) == 6).collect();
    for gone in [parts[0], parts[3], parts[parts.len() - 1]] {
        let mut log = log.clone();
        log.remove(gone);
        let error = Node::open(config(9), records(&log), false).unwrap_err().to_string();
        assert!(error.contains("part"), "{error}");
    }
    let moment: Vec<Bytes> = shells[1].node.checkpoint().unwrap().records().map(|record| record.encode()).collect();
    assert!(moment.len() > 10 && moment.iter().all(|record| record.len() < 400));
    for gone in 0..moment.len() - 1 {
        let mut log = moment.clone();
        log.remove(gone);
        assert!(Node::open(config(9), records(&log), false).is_err());
    }
    // One that was not finished stands for nothing: what came before counts.
    let unfinished = [&log[..], &moment[..moment.len() - 1]].concat();
    let again = Node::open(config(9), records(&unfinished), false).unwrap();
    assert_eq!(again.state().root(), shells[1].node.state().root());
}

#[test]
fn a_state_that_is_not_needed_any_more_keeps_nobody_from_sending_another() {
    // Somebody has the entries that the hub has given up, and another hub has a state of its own.
    let mut shells = vec![shell(1, true), shell(2, false), shell(3, true), shell(4, true)];
    connect(&mut shells, 0, 2);
    for n in 0..50 {
        set(&mut shells[0], 1_000, n, &[7; 40]);
        set(&mut shells[3], 1_000, 50 + n, &[8; 40]);
    }
    settle(&mut shells, 1_001);
    disconnect(&mut shells, 0, 2);
    shells[0].node.cut_log(1);
    shells[3].node.cut_log(1);
    connect(&mut shells, 0, 1);
    deliver(&mut shells, 1, 0, 9);
    assert!(parts(&deliver(&mut shells, 0, 1, 9)) > 1);
    connect(&mut shells, 1, 2);
    while deliver(&mut shells, 1, 2, 9).len() + deliver(&mut shells, 2, 1, 9).len() > 0 {}
    // It says what it has now, while more parts are on their way to it.
    deliver(&mut shells, 1, 0, 9);
    shells[1].node.set_hub(2_000, true);
    deliver(&mut shells, 1, 0, 99);
    connect(&mut shells, 1, 3);
    settle(&mut shells, 2_001);
    assert_eq!(shells[1].node.state().rows().count(), 100);
}

#[test]
fn a_log_may_begin_anywhere_before_a_checkpoint() {
    let mut shells = cut_hub();
    let mut log: Vec<Bytes> = shells[0].node.checkpoint().unwrap().records().map(|record| record.encode()).collect();
    assert!(log.len() > 10);
    let before = shells[0].log.len();
    set(&mut shells[0], 1_001, 3, b"again");
    log.extend_from_slice(&shells[0].log[before..]);
    let (first, moment) = (log.len(), shells[0].node.checkpoint().unwrap());
    log.extend(moment.records().map(|record| record.encode()));
    for from in 0..=first {
        let node = Node::open(Config { limits: small(), ..shells[0].config(9) }, records(&log[from..]), false).unwrap();
        assert_eq!(node.checkpoint().unwrap(), moment, "from record {from}");
    }
    // Without one, what it begins with is missing.
    assert!(Node::open(config_with(9, small()), records(&log[1..first]), false).is_err());
}
