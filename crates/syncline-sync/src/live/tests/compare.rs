//! States that go to somebody who holds most of it: what is sent of them.

use bytes::Bytes;

use super::super::*;
use super::shell::*;

fn limits() -> Limits {
    Limits { message_bytes: 2_000, ..Limits::default() }
}

fn row(n: u16) -> RowKey {
    RowKey { table: "t".into(), key: Bytes::copy_from_slice(&n.to_be_bytes()) }
}

fn set(n: u16, value: &'static [u8]) -> Write {
    Write { row: row(n), value: Some(Bytes::from_static(value)) }
}

/// A hub with a thousand rows, and two others that hold them, too: a spoke and another hub. Nobody is connected.
fn three() -> Vec<Shell> {
    let node = |seed: u8, hub: bool| Shell::around(Node::create(config_with(seed, limits()), hub), Vec::new());
    let mut shells = vec![node(1, true), node(2, false), node(3, true)];
    shells[0].put_all(1_000, (0..1000).map(|n| set(n, &[7; 60])).collect());
    shells[0].sync();
    connect(&mut shells, 0, 1);
    connect(&mut shells, 0, 2);
    settle(&mut shells, 1_001);
    disconnect(&mut shells, 0, 1);
    disconnect(&mut shells, 0, 2);
    shells.iter_mut().for_each(|shell| shell.sent.clear());
    one_root(&shells);
    shells
}

/// How many bytes were sent from 0, how many rows, and how many parts were the same.
fn went(shells: &mut [Shell], now_ms: u64) -> (usize, usize, usize) {
    let (mut bytes, mut rows, mut same) = (0, 0, 0);
    for (_, _, message) in settle(shells, now_ms).iter().filter(|(from, ..)| *from == 0) {
        bytes += message.encode().len();
        let Message::Part { part, .. } = message else { continue };
        match &part.what {
            What::Rows(is) => rows += is.len(),
            What::Same(_) => same += 1,
            _ => {}
        }
    }
    (bytes, rows, same)
}

#[test]
fn of_chains_only_goes_what_has_been_added() {
    let mut shells = three();
    for n in 0..400 {
        shells[0].put_all(1_500, vec![set(n, b"other"), set(5_000, b"again")]);
        shells[0].sync();
    }
    connect(&mut shells, 0, 1);
    settle(&mut shells, 1_600);
    disconnect(&mut shells, 0, 1);
    shells.iter_mut().for_each(|shell| shell.sent.clear());
    change_some(&mut shells);
    connect(&mut shells, 0, 1);
    let said = settle(&mut shells, 2_001);
    let tags = said.iter().filter_map(|(_, _, message)| match message {
        Message::Part { part, .. } if matches!(part.what, What::Chains(_)) => Some(message.encode().len()),
        _ => None,
    });
    let bytes: usize = tags.sum();
    assert!((1..1_000).contains(&bytes), "{bytes} bytes of 402 transactions");
    one_root(&shells[..2]);
}

/// A few rows change, one goes and one comes, and the log does not go back to before that.
fn change_some(shells: &mut [Shell]) {
    let gone = Write { row: row(700), value: None };
    shells[0].put_all(2_000, vec![set(20, b"other"), set(500, b"other"), gone, set(2_000, b"new")]);
    shells[0].sync();
    shells[0].node.cut_log(0);
}

#[test]
fn who_is_far_behind_is_sent_the_parts_in_which_something_differs() {
    for peer in [1, 2] {
        let mut shells = three();
        change_some(&mut shells);
        connect(&mut shells, 0, peer);
        let (bytes, rows, same) = went(&mut shells, 2_001);
        assert_eq!(shells[0].node.state().root(), shells[peer].node.state().root());
        assert!((3..40).contains(&rows) && same > 200, "{rows} rows, {same} parts that are the same");
        assert!(bytes < 60_000, "{bytes} bytes");
        // It is in its log as if it had come.
        assert_eq!(shells[peer].reopened(9).node.state().root(), shells[0].node.state().root());
        let mut new = vec![shells.swap_remove(0), Shell::create(false, 8)];
        connect(&mut new, 0, 1);
        let (all, rows, same) = went(&mut new, 2_001);
        assert!(all > 90_000 && rows == 1000 && same == 0, "{all} bytes, {rows} rows, {same} parts");
    }
}

#[test]
fn who_takes_its_rows_anew_is_sent_those_that_it_has_otherwise() {
    for peer in [1, 2] {
        let mut shells = three();
        change_some(&mut shells);
        shells[peer].node.commit(2_000, 7, Context::default(), vec![set(3_000, b"mine")]).unwrap();
        shells[peer].sync();
        // One like another one, and one that is not there.
        for (damaged, like) in [(3, 20), (900, 4_000)] {
            shells[peer].node.damage(&row(damaged), &row(like));
        }
        shells[peer].node.renew(2_001);
        connect(&mut shells, 0, peer);
        shells[peer].node.may_renew_from(0);
        let (_, rows, same) = went(&mut shells, 2_002);
        assert!(!shells[peer].node.renews());
        assert_eq!(shells[0].node.state().root(), shells[peer].node.state().root());
        assert_eq!(shells[0].node.state().rows().count(), 1001);
        assert!((5..60).contains(&rows) && same > 200, "{rows} rows, {same} parts that are the same");
    }
}

#[test]
fn what_is_lost_on_the_way_is_asked_for_again() {
    for lost in 0..40 {
        let mut shells = three();
        change_some(&mut shells);
        connect(&mut shells, 0, 1);
        let mut nth = 0;
        for at in 0..2_000 {
            for from in [0, 1] {
                shells[from].sync();
                let sent = std::mem::take(&mut shells[from].sent);
                for (to, message) in sent {
                    nth += 1;
                    if nth != lost {
                        shells[to as usize].node.receive(2_001, from as u64, message);
                    }
                }
            }
            if at % 50 == 49 {
                shells.iter_mut().for_each(|shell| shell.node.tick_peers(2_002 + at));
            }
        }
        assert_eq!(shells[0].node.state().root(), shells[1].node.state().root(), "without message {lost}");
    }
}

#[test]
fn rows_that_change_after_they_were_compared_are_sent() {
    let mut shells = three();
    change_some(&mut shells);
    // What the other hub has written goes to the spoke while the first one's state is on its way there.
    shells[2].put_all(2_000, vec![set(30, b"of the other one"), set(990, b"of the other one")]);
    shells[2].sync();
    connect(&mut shells, 0, 1);
    let mut same = 0;
    while same == 0 {
        for (from, to) in [(1, 0), (0, 1)] {
            shells[from].sync();
            for (_, message) in std::mem::take(&mut shells[from].sent) {
                same +=
                    usize::from(matches!(&message, Message::Part { part, .. } if matches!(part.what, What::Same(_))));
                if same == 0 {
                    shells[to].node.receive(2_001, from as u64, message);
                } else {
                    shells[from].sent.push((to as u64, message));
                }
            }
        }
    }
    let waits = std::mem::take(&mut shells[0].sent);
    connect(&mut shells, 2, 1);
    settle(&mut shells, 2_002);
    assert!(shells[1].node.view(&row(30)).siblings().iter().any(|is| is.value == "of the other one"));
    shells[0].sent = waits;
    settle(&mut shells, 2_003);
    connect(&mut shells, 0, 2);
    settle(&mut shells, 2_004);
    one_root(&shells);
}
