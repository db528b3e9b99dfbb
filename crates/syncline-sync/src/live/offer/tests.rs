//! A state as it is sent to somebody who holds other rows: what comes out, and what went.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use bytes::Bytes;
use proptest::prelude::*;
use syncline_base::Hlc;

use super::super::chain::{Chain, Chains};
use super::super::context::Context;
use super::super::id::{Dot, Origin, Tag};
use super::super::part::{Collected, Part, Teller, What};
use super::super::row::{Row, Writer};
use super::super::state::Snapshot;
use super::super::table::Rows;
use super::super::txn::RowKey;
use super::super::zoo::Zoo;
use super::{Answered, Sums};

/// A row with siblings of these lengths, all written at this time.
fn row(time: u64, lens: &[usize]) -> Arc<Row> {
    let (mut row, read, chains) = (Row::default(), Context::default(), Chains::new());
    for (nth, len) in lens.iter().enumerate() {
        let dot = Dot { origin: Origin::from_bytes([nth as u8; 16]), seq: time, tag: Tag::of(&time.to_le_bytes()) };
        let hlc = Hlc::from_ms(time);
        let writer = Writer { dot, read: &read, hlc, stamp: None, chains: &chains, own: None, zoo: Zoo::none() };
        row.write(writer, Some(&Bytes::from(vec![7; *len])));
    }
    Arc::new(row)
}

fn key(n: u16) -> RowKey {
    RowKey { table: if n.is_multiple_of(2) { "a" } else { "b" }.into(), key: Bytes::copy_from_slice(&n.to_be_bytes()) }
}

type Held = BTreeMap<RowKey, Arc<Row>>;

/// Chains of so many transactions, from one on others than they are elsewhere, some with a branch.
fn chains(lens: &[(usize, usize, bool)]) -> Chains {
    let chain = |nth: usize, (len, other, forks): (usize, usize, bool)| {
        let (mut chain, mut prev) = (Chain::default(), Tag::NONE);
        for seq in 1..=len as u64 {
            let tag = Tag::of(&[nth as u64, seq, u64::from(seq > other as u64)].map(u64::to_le_bytes).concat());
            chain.add(seq, tag, prev);
            prev = tag;
        }
        if forks && len > 1 {
            chain.add(1, Tag::of(b"another"), Tag::NONE);
        }
        (Origin::from_bytes([nth as u8; 16]), chain)
    };
    let chains = lens.iter().enumerate().map(|(nth, is)| chain(nth, *is));
    chains.filter(|(_, chain)| chain.head().is_some()).collect()
}

/// Sends `theirs` to somebody who holds `ours`. What comes out, the keys of rows that went, and how many parts did not.
fn send(theirs: &Held, ours: &Held, room: usize) -> (Held, BTreeSet<RowKey>, usize) {
    let (out, went, same, _) = send_with((theirs, &Chains::new()), (ours, &Chains::new()), room);
    (out.rows.iter().collect(), went, same)
}

/// The same with chains. The state that comes out, keys and parts, and how many tags of chains went.
fn send_with(
    (theirs, their_chains): (&Held, &Chains),
    (ours, our_chains): (&Held, &Chains),
    room: usize,
) -> (Snapshot, BTreeSet<RowKey>, usize, usize) {
    let rows = theirs.clone().into_iter().collect();
    let snapshot = Snapshot { rows, chains: their_chains.clone(), ..Snapshot::default() };
    let ours: Rows = ours.clone().into_iter().collect();
    let mut teller = Teller::new(3, room);
    let mut sums = Sums::new(teller.rewound());
    let (mut answered, mut collected) = (Answered::Ask, Collected::default());
    let (mut went, mut same, mut tags) = (BTreeSet::new(), 0, 0);
    loop {
        let told = match answered.of(teller.nth()) {
            None => {
                let offer = sums.offer(3, teller.nth(), &snapshot);
                answered = offer.map_or(Answered::All, |offer| {
                    let lacks = offer.answer(&ours, our_chains);
                    Answered::Lacks(lacks.first, lacks.lacks)
                });
                continue;
            }
            Some(false) => sums.same(&mut teller),
            Some(true) => teller.next(&snapshot, &[]),
        };
        let Some((mut part, _)) = told else { break };
        match &part.what {
            What::Same(here) => {
                same += 1;
                part = Part { what: here.find_in(&ours, our_chains).expect("nothing has changed"), ..part };
            }
            What::Rows(rows) => went.extend(rows.iter().map(|(key, _)| key.clone())),
            What::Chains(pieces) => tags += pieces.iter().map(|piece| piece.main.len()).sum::<usize>(),
            _ => {}
        }
        collected.add(&Arc::new(part)).unwrap();
    }
    // Told anew from any part on, what is known of the parts is what was told.
    for parts in 0..=teller.nth() {
        let mut again = teller.rewound();
        sums.skip(&mut again, parts);
        while again.nth() < parts {
            again.next(&snapshot, &[]);
        }
        assert_eq!(again.next(&snapshot, &[]).is_some(), parts < teller.nth(), "after {parts}");
    }
    let closed = collected.close(snapshot.coverage.clone());
    assert_eq!(closed, snapshot);
    (closed, went, same, tags)
}

/// By key: whether one side or both have it, and the time and the siblings of theirs and of ours.
type Pair = (bool, bool, bool, u64, Vec<usize>);

fn pairs() -> impl Strategy<Value = BTreeMap<u16, Pair>> {
    let lens = proptest::collection::vec(0..120usize, 1..4);
    let pair = (prop::bool::weighted(0.9), prop::bool::weighted(0.9), prop::bool::weighted(0.9), 1..3u64, lens);
    proptest::collection::btree_map(0..400u16, pair, 0..120)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    #[test]
    fn what_comes_out_is_what_was_to_be_sent_whatever_the_other_end_holds(pairs in pairs(), room in 1..1500usize) {
        let (mut theirs, mut ours) = (Held::new(), Held::new());
        for (n, (has, had, alike, time, lens)) in &pairs {
            if *has {
                theirs.insert(key(*n), row(*time, lens));
            }
            if *had {
                ours.insert(key(*n), row(if *alike { *time } else { *time + 7 }, lens));
            }
        }
        let (out, went, same) = send(&theirs, &ours, room);
        prop_assert_eq!(&out, &theirs);
        // Nobody holds anything: all goes. Everybody holds the same: only what does not go into a part of its own.
        let (out, all, none) = send(&theirs, &Held::new(), room);
        prop_assert_eq!((&out, none), (&theirs, 0));
        prop_assert_eq!(all, theirs.keys().cloned().collect::<BTreeSet<_>>());
        let (out, cut, _) = send(&theirs, &theirs, room);
        prop_assert_eq!(&out, &theirs);
        prop_assert!(went.is_superset(&cut) && (same == 0 || went.len() < theirs.len()));
    }

    #[test]
    fn of_chains_what_the_other_end_has_does_not_go(
        lens in proptest::collection::vec((0..200usize, 0..200usize, prop::bool::weighted(0.1)), 0..6),
        ours in proptest::collection::vec((0..200usize, 0..200usize, prop::bool::weighted(0.1)), 6),
        alike in proptest::collection::vec(any::<bool>(), 6),
        room in 1..900usize,
    ) {
        let pairs = lens.iter().zip(&ours).zip(&alike);
        let held: Vec<_> = pairs.map(|((is, other), alike)| if *alike { *is } else { *other }).collect();
        let (theirs, ours, none) = (chains(&lens), chains(&held), Held::new());
        send_with((&none, &theirs), (&none, &ours), room);
        let (.., all) = send_with((&none, &theirs), (&none, &Chains::new()), room);
        prop_assert_eq!(all, theirs.values().map(|chain| chain.told().0).sum::<usize>());
        let (.., tags) = send_with((&none, &theirs), (&none, &theirs), room);
        prop_assert!(tags == 0 || theirs.values().any(Chain::is_forked));
    }
}

#[test]
fn of_many_rows_the_part_goes_in_which_one_differs() {
    let theirs: Held = (0..2000).map(|n| (key(n), row(1, &[40]))).collect();
    let mut ours = theirs.clone();
    for (n, is) in [(10, None), (1201, Some(row(9, &[3])))] {
        ours.remove(&key(n));
        ours.extend(is.map(|row| (key(n), row)));
    }
    // One that is not there has been deleted: nothing goes for that but what lies around it.
    ours.insert(key(2001), row(1, &[1]));
    let (out, went, same) = send(&theirs, &ours, 1500);
    assert_eq!(out, theirs);
    assert!((2..60).contains(&went.len()) && same > 100, "{} rows and {same} parts that are the same", went.len());
}

#[test]
fn what_has_changed_since_it_was_compared_is_not_taken() {
    let theirs: Held = (0..9).map(|n| (key(n * 2), row(1, &[40]))).collect();
    let rows: Rows = theirs.clone().into_iter().collect();
    let snapshot = Snapshot { rows: rows.clone(), ..Snapshot::default() };
    let mut teller = Teller::new(3, 4000);
    let mut sums = Sums::new(teller.rewound());
    assert_eq!(sums.offer(3, 0, &snapshot).unwrap().answer(&rows, &Chains::new()).lacks, [false]);
    let (Part { what: What::Same(same), .. }, _) = sums.same(&mut teller).unwrap() else { panic!("rows") };
    let find = |rows: &Rows| same.find_in(rows, &Chains::new());
    assert!(matches!(find(&rows), Some(What::Rows(rows)) if rows.len() == 9));
    for (n, is) in [(4, Arc::default()), (4, row(2, &[40])), (5, row(1, &[40]))] {
        let mut changed = rows.clone();
        changed.set(&RowKey { table: "a".into(), ..key(n) }, is);
        assert_eq!(find(&changed), None, "{n}");
    }
}
