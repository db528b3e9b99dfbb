//! Bytes: one form for each value, and an error for everything else.

use std::path::Path;
use std::sync::Arc;

use bytes::{BufMut, Bytes};
use proptest::prelude::*;
use syncline_base::{Hlc, Kind};

use super::super::*;
use super::arbitrary;
use crate::error::Result;
use crate::wire::MAX_TEXT;
use crate::wire::fields::put_uint;

/// Neither a part of the bytes nor bytes of which one is different are this value in another form.
fn has_one_form<T>(bytes: &Bytes, by: u8, decode: impl Fn(Bytes) -> Result<T>, encode: impl Fn(&T) -> Bytes) {
    for cut in 0..bytes.len() {
        assert!(decode(bytes.slice(..cut)).is_err(), "it can do without its end from {cut} on");
    }
    assert!(decode([bytes, &[by][..]].concat().into()).is_err(), "it does not mind what follows");
    for at in 0..bytes.len() {
        let mut changed = bytes.to_vec();
        changed[at] ^= by;
        if let Ok(value) = decode(changed.clone().into()) {
            assert_eq!(encode(&value), changed, "byte {at} changed by {by}");
        }
    }
}

fn group(records: &Vec<Record>) -> Bytes {
    let mut group = Group::default();
    for record in records {
        group.push(record);
    }
    group.take()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(96))]

    #[test]
    fn records_come_back_and_have_one_form(record in arbitrary::record(), by in 1..=255u8) {
        let bytes = record.encode();
        prop_assert_eq!(&Record::decode(bytes.clone()).unwrap()[..], [record]);
        has_one_form(&bytes, by, Record::decode, group);
    }

    #[test]
    fn groups_come_back_and_have_one_form(records in arbitrary::log(), by in 1..=255u8) {
        let bytes = group(&records);
        prop_assert_eq!(&Record::decode(bytes.clone()).unwrap(), &records);
        // What lies before a cut between two of them is a group.
        for at in 0..bytes.len() {
            let mut changed = bytes.to_vec();
            changed[at] ^= by;
            for bytes in [bytes.slice(..at), changed.into()] {
                if let Ok(others) = Record::decode(bytes.clone()) {
                    prop_assert_eq!(group(&others), bytes, "byte {} changed by {}", at, by);
                }
            }
        }
    }

    #[test]
    fn messages_come_back_and_have_one_form(message in arbitrary::message(), by in 1..=255u8) {
        let bytes = message.encode();
        prop_assert_eq!(&Message::decode(bytes.clone()).unwrap(), &message);
        has_one_form(&bytes, by, Message::decode, Message::encode);
    }

    #[test]
    fn transactions_come_back_under_their_names(txn in arbitrary::txn(), by in 1..=255u8) {
        let again = Txn::decode(txn.bytes().clone()).unwrap();
        prop_assert_eq!(&again, &*txn);
        prop_assert_eq!(again.dot(), txn.dot());
        prop_assert_eq!(&Txn::new(again.body().clone()).unwrap(), &*txn);
        has_one_form(txn.bytes(), by, Txn::decode, |txn| Txn::new(txn.body().clone()).unwrap().bytes().clone());
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(4096))]

    #[test]
    fn any_bytes_are_one_thing_or_nothing(kind in prop_oneof![0..16u8, 128..132u8], rest in proptest::collection::vec(0..40u8, 0..160)) {
        super::super::fuzz::record(&[&[0x20, kind][..], &rest].concat());
        super::super::fuzz::message(&[&[0x21, kind][..], &rest].concat());
    }
}

#[test]
fn the_strategies_make_every_kind() {
    let records = arbitrary::kinds(arbitrary::record(), |record| match record.encode()[1] {
        entry if entry >= 128 => 4,
        kind => kind,
    });
    assert_eq!(records, (1..=13).collect());
    let messages = arbitrary::kinds(arbitrary::message(), |message| message.encode()[1]);
    assert_eq!(messages, (1..=15).collect());
}

/// Puts bytes together.
fn join(parts: &[&[u8]]) -> Bytes {
    parts.concat().into()
}

fn uint(n: u64) -> Vec<u8> {
    let mut out = Vec::new();
    put_uint(&mut out, n);
    out.to_vec()
}

#[test]
fn numbers_have_their_shortest_form_and_an_end() {
    let dot = |seq: &[u8]| Message::decode(join(&[&[0x21, 2], &[7; 16], seq, &[1; 8]]));
    assert!(dot(&[1]).is_ok() && dot(&uint(1 << 62)).is_ok());
    for refused in [&[0][..], &[0x81, 0], &[0x80, 0x80, 0], &uint((1 << 62) + 1), &uint(u64::MAX), &[0xff; 11]] {
        assert_eq!(dot(refused).unwrap_err().kind(), Kind::Invalid, "{refused:?}");
    }
    assert!(Message::decode(join(&[&[0x21, 4], &uint(u64::MAX)])).is_ok());
}

#[test]
fn what_stands_in_another_order_is_refused() {
    let (a, b): (&[u8], &[u8]) = (&[1; 16], &[2; 16]);
    let hello = |coverage: &[&[u8]]| Message::decode(join(&[&[0x21, 1], a, &[0], &coverage.concat(), &[0; 10]]));
    assert!(hello(&[&[2], a, &[1], b, &[1]]).is_ok());
    for refused in [[a, &[1], a, &[1]], [b, &[1], a, &[1]], [a, &[0], b, &[1]]] {
        assert!(hello(&[&[2], &refused.concat()]).is_err());
    }

    // Chains, rows.
    let part = |kind: u8, items: &[&[u8]]| {
        Record::decode(join(&[&[0x20, 6, 7, 7, 7, 7, 7, 7, 7, 7, 0, kind], &items.concat()])).map(|_| ())
    };
    let chain = [&[0, 1][..], &[9; 8], &[0]].concat();
    part(2, &[&[2], a, &chain, b, &chain]).unwrap();
    part(2, &[&[2], b, &chain, a, &chain]).unwrap_err();
    part(2, &[&[2], a, &chain, a, &chain]).unwrap_err();
    part(2, &[&[1], a, &[0, 0, 0]]).unwrap_err();
    part(2, &[&[1], a, &uint((1 << 62) + 1), &chain[1..]]).unwrap_err();
    part(4, &[&[1], a, &[0]]).unwrap_err();
    part(4, &[&[1], a, &[8]]).unwrap_err();
    part(5, &[&[0]]).unwrap_err();

    let origin = Origin::from_bytes([1; 16]);
    let stamps = |ns: &[u64]| ns.iter().map(|n| Stamp { hub: origin, n: *n }).collect::<Vec<_>>();
    let sibling = |seq: u64, ns: &[u64]| {
        let dot = Dot { origin, seq, tag: Tag::of(b"t") };
        Sibling { dot, stamps: stamps(ns), time: Hlc::default(), value: Bytes::new() }
    };
    let row = |key: u8, siblings: &[&Sibling]| {
        let row = Row::of(siblings.iter().map(|sibling| (*sibling).clone()).collect());
        (RowKey { table: "t".into(), key: Bytes::copy_from_slice(&[key]) }, Arc::new(row))
    };
    let rows = |rows: Vec<(RowKey, Arc<Row>)>| {
        Record::decode(Record::Part(Arc::new(Part { id: 7, nth: 0, what: What::Rows(rows) })).encode())
    };
    let (one, two) = (sibling(1, &[1, 2]), sibling(2, &[3]));
    rows(vec![row(1, &[&one, &two]), row(2, &[&one])]).unwrap();
    for refused in [
        vec![row(2, &[&one]), row(1, &[&one])],
        vec![row(1, &[&one]), row(1, &[&one])],
        vec![row(1, &[&two, &one])],
        vec![row(1, &[])],
        vec![row(1, &[&sibling(1, &[2, 1])])],
        vec![row(1, &[&sibling(1, &[1, 1])])],
        vec![row(1, &[&sibling(1, &[])])],
    ] {
        rows(refused.clone()).expect_err(&format!("{refused:?}"));
    }
}

#[test]
fn branches_hang_on_what_is_known() {
    let (first, second, other) = ([1; 8], [2; 8], [3; 8]);
    let origin = Origin::from_bytes([7; 16]);
    let chain = |branches: &[&[u8]]| {
        let branches = [&[branches.len() as u8][..], &branches.concat()].concat();
        let start = [0x20, 6, 1, 1, 1, 1, 1, 1, 1, 1, 0, 2, 1];
        let records = Record::decode(join(&[&start, origin.as_bytes(), &[0, 2], &first, &second, &branches]))?;
        let [Record::Part(part)] = &records[..] else { panic!("{records:?}") };
        super::super::part::Collected::default().add(part)
    };
    let branch = |seq: u8, tag: &[u8], prev: &[u8]| [&[seq][..], tag, prev].concat();
    chain(&[&branch(2, &other, &first)]).unwrap();
    chain(&[&branch(1, &other, &[0; 8]), &branch(2, &first, &other)]).unwrap();
    // Without a number, a second beginning that follows on something, known, next, on nothing, out of order.
    chain(&[&branch(0, &other, &[0; 8])]).unwrap_err();
    chain(&[&branch(1, &other, &first)]).unwrap_err();
    chain(&[&branch(2, &second, &first)]).unwrap_err();
    chain(&[&branch(3, &other, &second)]).unwrap_err();
    chain(&[&branch(4, &other, &second)]).unwrap_err();
    chain(&[&branch(2, &other, &first), &branch(1, &other, &[0; 8])]).unwrap_err();
}

#[test]
fn counts_that_the_bytes_cannot_hold_are_refused() {
    for count in [4097, 1 << 40, u64::MAX] {
        let count = uint(count);
        let part = |rest: &[u8]| [&[0x20, 6, 7, 7, 7, 7, 7, 7, 7, 7, 0][..], rest].concat();
        let chain = part(&[&[2, 1][..], &[7; 16], &[0]].concat());
        for before in [&[0x20, 5, 0][..], &part(&[1]), &part(&[2]), &part(&[3]), &chain] {
            assert!(Record::decode(join(&[before, &count, &[0; 64]])).is_err());
        }
        for before in [&[0x21, 3, 0][..], &[0x21, 7], &[0x21, 7, 0], &[0x21, 12]] {
            assert!(Message::decode(join(&[before, &count, &[0; 64]])).is_err());
        }
    }
    let entries = [vec![0x21, 3, 0, 0], vec![9]].concat();
    assert!(Message::decode(entries.into()).unwrap_err().to_string().contains("more than it has fields"));
}

#[test]
fn what_others_could_not_read_is_not_made() {
    let a = Dot { origin: Origin::from_bytes([1; 16]), seq: 1, tag: Tag::of(b"a") };
    let b = Dot { origin: Origin::from_bytes([2; 16]), ..a };
    let write = |table: &str| Write { row: RowKey { table: table.into(), key: Bytes::new() }, value: None };
    let make = |own: Vec<Dot>, writes: Vec<Write>| {
        let read = Context { own, ..Context::default() };
        Txn::new(Body { origin: a.origin, seq: 1, prev: Tag::NONE, read, hlc: Hlc::default(), writes })
    };
    let in_order = make(vec![b, a], vec![write("t"), write("s")]).unwrap();
    assert_eq!(in_order.body().read.own, [a, b]);
    assert_eq!(Txn::decode(in_order.bytes().clone()).unwrap(), in_order);
    let many = |n: u8| (0..n).map(|n| Dot { origin: Origin::from_bytes([n; 16]), ..a }).collect::<Vec<_>>();
    let most = make(many(64), vec![write(&"t".repeat(MAX_TEXT))]).unwrap();
    assert_eq!(Txn::decode(most.bytes().clone()).unwrap(), most);
    for refused in [
        make(vec![a, Dot { seq: 2, ..a }], Vec::new()),
        make(many(65), Vec::new()),
        make(Vec::new(), vec![write(&"t".repeat(MAX_TEXT + 1))]),
        make(Vec::new(), vec![write("t"), write("t")]),
    ] {
        assert_eq!(refused.unwrap_err().kind(), Kind::Invalid);
    }
}

#[test]
fn what_is_newer_is_refused_with_what_to_do() {
    let mut txn = Vec::new();
    txn.put_u8(2);
    for error in [
        Txn::decode(txn.into()).unwrap_err(),
        Record::decode(Bytes::from_static(&[0x20, 14])).unwrap_err(),
        Record::decode(Bytes::from_static(&[0x21])).unwrap_err(),
        Message::decode(Bytes::from_static(&[0x21, 16])).unwrap_err(),
        Message::decode(Bytes::from_static(&[0x22])).unwrap_err(),
    ] {
        assert!(error.to_string().contains("update it"), "{error}");
    }
}

#[test]
fn what_is_older_is_refused_with_what_to_do() {
    let place = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fixtures/live");
    let files = |kind: &str| {
        let files = place.join(kind).read_dir().unwrap();
        files.map(|file| Bytes::from(std::fs::read(file.unwrap().path()).unwrap())).collect::<Vec<_>>()
    };
    let records = files("1/record").into_iter().map(|bytes| Record::decode(bytes).unwrap_err());
    let messages = files("1/message").into_iter().map(|bytes| Message::decode(bytes).unwrap_err());
    let all: Vec<_> = records.chain(messages).collect();
    assert!(all.len() > 20);
    for error in all {
        assert!(error.to_string().contains("version 1, which this program no longer reads"), "{error}");
    }
    for bytes in files("2/message") {
        let error = Message::decode(bytes).unwrap_err();
        assert!(error.to_string().contains("version 2, which this program no longer reads"), "{error}");
    }
}
