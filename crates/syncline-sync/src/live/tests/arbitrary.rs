//! Any values of what is written in bytes.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use bytes::Bytes;
use proptest::collection::{btree_map, btree_set, vec};
use proptest::prelude::*;
use proptest::strategy::ValueTree;
use syncline_base::Hlc;

use super::super::id::MAX_COUNT;
use super::super::row::Writer;
use super::super::*;

pub(super) fn origin() -> impl Strategy<Value = Origin> {
    prop_oneof![(0..4u8).prop_map(|n| Origin::from_bytes([n; 16])), any::<[u8; 16]>().prop_map(Origin::from_bytes)]
}

fn tag() -> impl Strategy<Value = Tag> {
    any::<u64>().prop_map(|n| Tag::of(&n.to_le_bytes()))
}

/// Something that is counted from 1.
fn nth() -> impl Strategy<Value = u64> {
    prop_oneof![1..4u64, 1..=MAX_COUNT]
}

fn hlc() -> impl Strategy<Value = Hlc> {
    any::<u64>().prop_map(Hlc::from_u64)
}

fn text() -> impl Strategy<Value = Bytes> {
    vec(any::<u8>(), 0..6).prop_map(Bytes::from)
}

pub(super) fn dot() -> impl Strategy<Value = Dot> {
    (origin(), nth(), tag()).prop_map(|(origin, seq, tag)| Dot { origin, seq, tag })
}

fn stamp() -> impl Strategy<Value = Stamp> {
    (origin(), nth()).prop_map(|(hub, n)| Stamp { hub, n })
}

pub(super) fn coverage() -> impl Strategy<Value = Coverage> {
    vec((origin(), nth()), 0..4).prop_map(|hubs| {
        let mut coverage = Coverage::new();
        hubs.into_iter().for_each(|(hub, n)| coverage.raise(hub, n));
        coverage
    })
}

fn context() -> impl Strategy<Value = Context> {
    (coverage(), btree_map(origin(), dot(), 0..3)).prop_map(|(seen, own)| {
        let own = own.into_iter().map(|(origin, dot)| Dot { origin, ..dot }).collect();
        Context { seen, own }
    })
}

fn row_key() -> impl Strategy<Value = RowKey> {
    ("[a-cä]{0,2}", text()).prop_map(|(table, key)| RowKey { table: table.into(), key })
}

pub(super) fn txn() -> impl Strategy<Value = Arc<Txn>> {
    let writes = btree_map(row_key(), proptest::option::of(text()), 0..5);
    (dot(), context(), hlc(), writes).prop_map(|(Dot { origin, seq, tag }, read, hlc, writes)| {
        let prev = if seq == 1 { Tag::NONE } else { tag };
        let writes = writes.into_iter().map(|(row, value)| Write { row, value }).collect();
        Arc::new(Txn::new(Body { origin, seq, prev, read, hlc, writes }).unwrap())
    })
}

pub(super) fn entry() -> impl Strategy<Value = Arc<Entry>> {
    (origin(), coverage(), hlc(), txn()).prop_filter_map("the last of a hub", |(hub, deps, attested, txn)| {
        let stamp = Stamp { hub, n: deps.of(hub) + 1 };
        (stamp.n <= MAX_COUNT).then(|| Arc::new(Entry { stamp, deps, attested, txn }))
    })
}

fn row() -> impl Strategy<Value = Row> {
    let sibling = (btree_set(stamp(), 1..3), hlc(), hlc(), text());
    btree_map(dot(), sibling, 1..3).prop_map(|siblings| {
        let (mut row, read, chains) = (Row::default(), Context::default(), Chains::new());
        for (dot, (stamps, hlc, attested, value)) in siblings {
            let writer = Writer { dot, read: &read, hlc, stamp: None, chains: &chains, own: None, zoo: Zoo::none() };
            row.write(writer, Some(&value));
            stamps.into_iter().for_each(|stamp| row.stamp(dot, stamp, attested));
        }
        row
    })
}

fn chain() -> impl Strategy<Value = Chain> {
    vec(any::<prop::sample::Index>(), 1..7).prop_map(|picks| {
        let mut known: Vec<(u64, Tag)> = vec![(0, Tag::NONE)];
        let mut chain = Chain::default();
        for (at, pick) in picks.into_iter().enumerate() {
            let (seq, prev) = known[pick.index(known.len())];
            let tag = Tag::of(&at.to_le_bytes());
            chain.add(seq + 1, tag, prev);
            known.push((seq + 1, tag));
        }
        chain
    })
}

fn rows() -> impl Strategy<Value = Vec<(RowKey, Arc<Row>)>> {
    let rows = |rows: BTreeMap<RowKey, Row>| rows.into_iter().map(|(key, row)| (key, Arc::new(row))).collect();
    btree_map(row_key(), row(), 0..3).prop_map(rows)
}

pub(super) fn snapshot() -> impl Strategy<Value = Snapshot> {
    (coverage(), rows(), btree_map(origin(), chain(), 0..3)).prop_map(|(coverage, rows, chains)| Snapshot {
        coverage,
        rows: rows.into_iter().collect(),
        chains,
    })
}

fn pieces() -> impl Strategy<Value = Vec<ChainPiece>> {
    btree_map(origin(), (chain(), any::<prop::sample::Index>()), 0..3).prop_map(|chains| {
        let piece = |(origin, (chain, at)): (Origin, (Chain, prop::sample::Index))| {
            chain.piece(origin, (at.index(chain.told().0), 0), usize::MAX)
        };
        chains.into_iter().map(piece).collect()
    })
}

/// Often the next one of the same state.
fn part() -> impl Strategy<Value = Part> {
    let id = prop_oneof![4 => 1..3u64, 1 => any::<u64>()];
    let nth = prop_oneof![4 => 0..3u64, 1 => any::<u64>()];
    let what = prop_oneof![
        rows().prop_map(What::Rows),
        pieces().prop_map(What::Chains),
        vec(txn(), 0..3).prop_map(What::Waiting)
    ];
    (id, nth, what).prop_map(|(id, nth, what)| Part { id, nth, what })
}

fn closing() -> impl Strategy<Value = Closing> {
    let id = prop_oneof![4 => 1..3u64, 1 => any::<u64>()];
    (id, nth(), coverage()).prop_map(|(id, parts, coverage)| Closing { id, parts, coverage })
}

fn checkpoint() -> impl Strategy<Value = Checkpoint> {
    let own = prop_oneof![Just((0, Tag::NONE)), (nth(), tag())];
    (origin(), any::<bool>(), own, hlc(), nth(), coverage())
        .prop_map(|(name, hub, own, clock, parts, coverage)| Checkpoint { parts, name, hub, own, clock, coverage })
}

pub(super) fn record() -> impl Strategy<Value = Record> {
    prop_oneof![
        origin().prop_map(Record::Named),
        any::<bool>().prop_map(Record::Hub),
        txn().prop_map(Record::Own),
        entry().prop_map(Record::Entry),
        (any::<bool>(), vec((dot(), txn()), 0..3)).prop_map(|(more, pairs)| {
            let (refused, again) = pairs.into_iter().unzip();
            Record::Rewritten(Arc::new(Rewritten { more, refused, again }))
        }),
        part().prop_map(|part| Record::Part(Arc::new(part))),
        closing().prop_map(|closing| Record::Joined(Arc::new(closing))),
        checkpoint().prop_map(|checkpoint| Record::Checkpoint(Arc::new(checkpoint))),
    ]
}

pub(super) fn message() -> impl Strategy<Value = Message> {
    let parts = proptest::option::of((any::<u64>(), any::<u64>()));
    let hello = (origin(), any::<bool>(), coverage(), proptest::option::of(dot()), parts);
    let hello =
        hello.prop_map(|(name, hub, coverage, newest, parts)| Message::Hello { name, hub, coverage, newest, parts });
    prop_oneof![
        hello,
        Just(Message::Ask),
        dot().prop_map(Message::Known),
        (any::<u64>(), vec(entry(), 0..3))
            .prop_map(|(through, entries)| Message::Entries { through, entries: Arc::new(Batch::new(entries)) }),
        any::<u64>().prop_map(Message::Durable),
        (any::<u64>(), part()).prop_map(|(through, part)| Message::Part { through, part: Arc::new(part) }),
        (any::<u64>(), closing()).prop_map(|(through, closing)| Message::Close { through, closing }),
        vec(txn(), 0..3).prop_map(Message::Push),
        dot().prop_map(Message::Later),
        dot().prop_map(Message::Refused),
    ]
}

/// The kinds that the strategies make.
pub(super) fn kinds<T: std::fmt::Debug>(values: impl Strategy<Value = T>, kind: impl Fn(&T) -> u8) -> BTreeSet<u8> {
    let mut runner = proptest::test_runner::TestRunner::deterministic();
    (0..400).map(|_| kind(&values.new_tree(&mut runner).unwrap().current())).collect()
}
