//! Any values of what is written in bytes.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use bytes::Bytes;
use proptest::collection::{btree_map, btree_set, vec};
use proptest::prelude::*;
use proptest::strategy::ValueTree;
use syncline_base::sign::KeyPair;
use syncline_base::{Hash, Hlc};

use super::super::head::Unsigned;
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

/// Rows whose keys end in an even number, or have no end, and of their values the first two bytes.
#[derive(Debug)]
pub(super) struct Even(pub(super) Bytes);

impl Scope for Even {
    fn id(&self) -> &Bytes {
        &self.0
    }

    fn includes(&self, row: &RowKey) -> bool {
        row.key.last().is_none_or(|last| last % 2 == 0)
    }

    fn project(&self, _: &RowKey, value: &Bytes) -> Bytes {
        value.slice(..value.len().min(2))
    }
}

/// What is left of some entries inside a scope.
fn inside(entry: Arc<Entry>, left: bool) -> Arc<Entry> {
    let even = Even(Bytes::from_static(b"even"));
    entry.within(&even).filter(|_| left).map_or(entry, Arc::new)
}

fn within() -> impl Strategy<Value = Within> {
    (text(), any::<bool>()).prop_map(|(scope, whole)| Within { scope, whole })
}

pub(super) fn entry() -> impl Strategy<Value = Arc<Entry>> {
    (whole_entry(), any::<bool>()).prop_map(|(entry, left)| inside(entry, left))
}

fn whole_entry() -> impl Strategy<Value = Arc<Entry>> {
    (origin(), coverage(), hlc(), txn()).prop_filter_map("the last of a hub", |(hub, deps, attested, txn)| {
        let stamp = Stamp { hub, n: deps.of(hub) + 1 };
        (stamp.n <= MAX_COUNT).then(|| Arc::new(Entry { stamp, deps, attested, txn }))
    })
}

/// What one of a list of entries is like, by those before it.
type Step = ([u8; 9], u64);

fn pick<T: Copy>(of: &[T], by: u8) -> T {
    of[usize::from(by) % of.len()]
}

/// Values as rows have them, and others.
fn value(by: u8, noise: u64) -> Option<Bytes> {
    let noise = noise.to_le_bytes();
    let cell = |name: u8, len: u8| [&[name, 1, 1, 1, len], &noise[..usize::from(len)]].concat();
    let bytes = match by % 6 {
        0 => return None,
        1 => vec![1],
        2 => [vec![1], cell(1, 3), cell(2, 0)].concat(),
        3 => [vec![1], cell(noise[0], 3)].concat(),
        4 => [vec![1], cell(1, 3), vec![9]].concat(),
        _ => noise[..3].to_vec(),
    };
    Some(bytes.into())
}

fn writes(by: u8, noise: u64) -> Vec<Write> {
    let write = |nth: u8| {
        let key = [&[7; 20][..], &noise.to_be_bytes()[usize::from(by % 5)..], &[nth]].concat();
        Write { row: RowKey { table: pick(&["a", "b"], by / 5).into(), key: key.into() }, value: value(by / 10, noise) }
    };
    (0..pick(&[1, 1, 1, 0, 2], by / 7)).map(write).collect()
}

/// The next transaction of somebody who has written before, or something like it.
fn next_txn(before: &[Arc<Txn>], deps: &Coverage, attested: Hlc, step: &Step) -> Arc<Txn> {
    let ([_, _, origin, chain, seen, own, time, rows, _], noise) = *step;
    let origin = Origin::from_bytes([pick(&[1, 1, 2, 9], origin); 16]);
    let last = before.iter().rfind(|txn| txn.dot().origin == origin);
    let (seq, prev) = match last {
        Some(last) if chain % 4 > 0 => (last.dot().seq + 1, last.dot().tag),
        _ if chain % 8 > 3 => (1 + noise % 4, Tag::of(&noise.to_le_bytes())),
        _ => (1, Tag::NONE),
    };
    let prev = if seq == 1 { Tag::NONE } else { prev };
    let mut read = Context { seen: deps.clone(), own: Vec::new() };
    let hub = Origin::from_bytes([pick(&[1, 2, 3], seen / 7); 16]);
    match seen % 7 {
        0 | 1 => {}
        2 => read.seen = last.map(|txn| txn.body().read.seen.clone()).unwrap_or_default(),
        3 => read.seen = before.last().map(|txn| txn.body().read.seen.clone()).unwrap_or_default(),
        4 => read.seen = Coverage::new(),
        5 => read.seen.raise(hub, deps.of(hub) + 1),
        _ => {
            read.seen = deps.iter().filter(|(is, _)| *is != hub).fold(Coverage::new(), |mut seen, (hub, n)| {
                seen.raise(hub, n - noise % n);
                seen
            });
        }
    }
    match own % 4 {
        0 => {}
        1 if seq > 1 => read.own.push(Dot { origin, seq: seq - 1, tag: prev }),
        2 => read.own.extend(before.iter().rev().take(3).map(|txn| txn.dot())),
        _ => read.own.push(Dot { origin, seq: 1 + noise % 3, tag: Tag::of(&noise.to_le_bytes()) }),
    }
    read.own.sort();
    read.own.dedup_by_key(|dot| dot.origin);
    let hlc = match time % 4 {
        0 => Hlc::from_u64(attested.as_u64().wrapping_sub(1)),
        1 => Hlc::from_u64(last.map_or(0, |txn| txn.body().hlc.as_u64()).wrapping_add(noise % 70_000)),
        2 => Hlc::from_u64(attested.as_u64().wrapping_sub(noise % (1 << 30))),
        _ => Hlc::from_u64(noise),
    };
    Arc::new(Txn::new(Body { origin, seq, prev, read, hlc, writes: writes(rows, noise) }).unwrap())
}

fn next_entry(before: &[Arc<Entry>], step: &Step) -> Arc<Entry> {
    let ([hub, deps, .., attested], noise) = *step;
    let hub = Origin::from_bytes([pick(&[1, 1, 1, 2, 3], hub); 16]);
    let last = before.iter().rfind(|entry| entry.stamp.hub == hub);
    let mut covered = last.map(|entry| entry.deps.clone()).unwrap_or_default();
    covered.raise(hub, last.map_or(0, |entry| entry.stamp.n));
    match deps % 6 {
        0 | 1 => before.iter().for_each(|entry| {
            covered.join(&entry.deps);
            covered.raise(entry.stamp.hub, entry.stamp.n);
        }),
        2 => {}
        3 => covered.raise(Origin::from_bytes([3; 16]), noise % 1000 + 1),
        4 => covered.raise(hub, noise % 1000 + 1),
        _ => covered = Coverage::new(),
    }
    let stamp = Stamp { hub, n: covered.of(hub) + 1 };
    let clock = before.last().map_or(1_700_000_000_000 << 16, |entry| entry.attested.as_u64());
    let attested =
        Hlc::from_u64(clock.wrapping_add(pick(&[1, 2, 65_536, 70_000, noise, noise.wrapping_neg()], attested)));
    let txns: Vec<Arc<Txn>> = before.iter().map(|entry| entry.txn.clone()).collect();
    let txn = next_txn(&txns, &covered, attested, step);
    Arc::new(Entry { stamp, deps: covered, attested, txn })
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    vec((any::<[u8; 9]>(), prop_oneof![0..8u64, any::<u64>()]), 0..10)
}

/// Entries that follow on each other as those of hubs do, mostly.
pub(super) fn entries() -> impl Strategy<Value = Vec<Arc<Entry>>> {
    steps().prop_map(|steps| {
        steps.iter().fold(Vec::new(), |mut entries, step| {
            entries.push(inside(next_entry(&entries, step), step.1 % 3 == 0));
            entries
        })
    })
}

/// Transactions that follow on each other, mostly.
pub(super) fn txns() -> impl Strategy<Value = Vec<Arc<Txn>>> {
    steps().prop_map(|steps| {
        steps.iter().fold(Vec::new(), |mut txns, step| {
            txns.push(next_txn(&txns, &Coverage::new(), Hlc::from_ms(1_700_000_000_000), step));
            txns
        })
    })
}

/// Records of a log, one after the other.
pub(super) fn log() -> impl Strategy<Value = Vec<Record>> {
    (entries(), txns(), vec((any::<prop::sample::Index>(), record()), 0..3))
        .prop_map(|(entries, txns, others)| {
            let mut records: Vec<Record> = entries.into_iter().map(Record::Entry).collect();
            records.extend(txns.into_iter().map(Record::Own));
            for (at, other) in others {
                records.insert(at.index(records.len() + 1), other);
            }
            records
        })
        .prop_filter("a group of nothing is none", |records| !records.is_empty())
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

fn rows_gone() -> impl Strategy<Value = Vec<RowKey>> {
    rows().prop_map(|rows| {
        let some = Some(RowKey::first()).filter(|_| rows.is_empty());
        rows.into_iter().map(|(key, _)| key).chain(some).collect()
    })
}

fn spans() -> impl Strategy<Value = Range> {
    btree_map(origin(), (any::<u64>(), 1..u64::MAX), 1..3)
        .prop_map(|spans| Range::Chains(spans.into_iter().map(|(origin, (after, len))| (origin, after, len)).collect()))
}

fn same() -> impl Strategy<Value = Same> {
    let rows = btree_set(row_key(), 1..3).prop_map(|keys| {
        let mut keys = keys.into_iter().rev();
        let end = keys.next().unwrap();
        (keys.next(), Range::Rows(end))
    });
    let range = prop_oneof![rows, spans().prop_map(|spans| (None, spans))];
    (range, any::<[u8; 32]>()).prop_map(|((after, range), hash)| Same { after, range, hash: Hash::from_bytes(hash) })
}

fn offer() -> impl Strategy<Value = Offer> {
    let keys = btree_map(row_key(), prop::option::of(any::<[u8; 32]>()), 1..4);
    let spans = prop::option::of(prop::option::of((spans(), any::<[u8; 32]>())));
    (any::<u64>(), any::<u64>(), keys, any::<bool>(), spans).prop_map(|(id, first, keys, after, spans)| {
        let rows = |(key, hash): (RowKey, Option<_>)| (Range::Rows(key), hash.map(Hash::from_bytes));
        let first_key = keys.first_key_value().map(|(key, _)| key.clone()).filter(|_| after && keys.len() > 1);
        let mut sums: Vec<_> = keys.into_iter().skip(usize::from(first_key.is_some())).map(rows).collect();
        let none = (Range::Chains(Vec::new()), None);
        sums.extend(spans.map(|some| some.map_or(none, |(spans, hash)| (spans, Some(Hash::from_bytes(hash))))));
        Offer { id, first, after: first_key, sums }
    })
}

/// Often the next one of the same state.
fn part() -> impl Strategy<Value = Part> {
    let id = prop_oneof![4 => 1..3u64, 1 => any::<u64>()];
    let nth = prop_oneof![4 => 0..3u64, 1 => any::<u64>()];
    let what = prop_oneof![
        rows().prop_map(What::Rows),
        rows_gone().prop_map(What::Gone),
        pieces().prop_map(What::Chains),
        vec(txn(), 0..3).prop_map(What::Waiting),
        attested().prop_map(What::Attested),
        same().prop_map(What::Same),
    ];
    (id, nth, what).prop_map(|(id, nth, what)| Part { id, nth, what })
}

/// Signed, by one of a few keys.
fn head() -> impl Strategy<Value = Arc<Head>> {
    (0..3u8, any::<bool>(), prop_oneof![0..4u64, 0..=MAX_COUNT], any::<[u8; 32]>()).prop_map(|(by, nonce, seq, sum)| {
        let unsigned = Unsigned { nonce: [u8::from(nonce); 16], seq, sum: Hash::from_bytes(sum) };
        Arc::new(unsigned.sign(&KeyPair::of(&[by; 32])))
    })
}

fn attested() -> impl Strategy<Value = Vec<Attested>> {
    let sum = proptest::option::of(any::<[u8; 32]>());
    let of_one = (head(), head(), sum, any::<(bool, bool)>()).prop_map(|(signed, other, sum, (has, against))| {
        let origin = signed.origin();
        let against = Some(other).filter(|other| against && other.origin() == origin);
        let signed = Some(signed).filter(|_| has || (sum.is_none() && against.is_none()));
        (origin, Attested { origin, sum: sum.map(Hash::from_bytes), signed, against })
    });
    vec(of_one, 0..3).prop_map(|all| BTreeMap::from_iter(all).into_values().collect())
}

fn closing() -> impl Strategy<Value = Closing> {
    let id = prop_oneof![4 => 1..3u64, 1 => any::<u64>()];
    (id, nth(), coverage()).prop_map(|(id, parts, coverage)| Closing { id, parts, coverage })
}

fn checkpoint() -> impl Strategy<Value = Checkpoint> {
    let own = prop_oneof![Just((0, Tag::NONE)), (nth(), tag())];
    let run = (any::<u64>(), any::<u64>(), any::<u64>()).prop_map(|(id, bytes, sum)| RunName { id, bytes, sum });
    let count = (nth(), any::<u64>()).prop_map(|(rows, open)| Count { rows, open: open % rows });
    let counts = btree_map("[a-c]{0,2}".prop_map(Arc::from), count, 0..3);
    let below = (counts, vec(run, 1..3)).prop_map(|(counts, runs)| Below { counts, runs });
    (origin(), any::<bool>(), own, hlc(), nth(), coverage(), prop::option::of(below)).prop_map(
        |(name, hub, own, clock, parts, coverage, below)| Checkpoint { parts, name, hub, own, clock, coverage, below },
    )
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
        head().prop_map(Record::Signed),
        text().prop_map(Record::Scope),
        (closing(), text()).prop_map(|(closing, scope)| Record::Rescoped(Arc::new(Rescoped { closing, scope }))),
    ]
}

pub(super) fn message() -> impl Strategy<Value = Message> {
    let parts = proptest::option::of((any::<u64>(), any::<u64>()));
    let hello = (origin(), any::<bool>(), coverage(), proptest::option::of(dot()), parts, within(), any::<u64>());
    let hello = hello.prop_map(|(name, hub, coverage, newest, parts, within, heads)| Message::Hello {
        name,
        hub,
        coverage,
        newest,
        parts,
        within,
        heads,
    });
    let denial = prop_oneof![Just(Denial::Unsigned), Just(Denial::Forged), Just(Denial::Revoked)];
    prop_oneof![
        hello,
        Just(Message::Ask),
        dot().prop_map(Message::Known),
        (any::<u64>(), prop_oneof![vec(entry(), 0..3), entries()])
            .prop_map(|(through, entries)| Message::Entries { through, entries: Arc::new(Batch::new(entries)) }),
        any::<u64>().prop_map(Message::Here),
        (any::<u64>(), part()).prop_map(|(through, part)| Message::Part { through, part: Arc::new(part) }),
        (any::<u64>(), closing()).prop_map(|(through, closing)| Message::Close { through, closing }),
        (prop_oneof![vec(txn(), 0..3), txns()], vec(head(), 0..3)).prop_map(|(txns, heads)| Message::Push(txns, heads)),
        dot().prop_map(Message::Later),
        dot().prop_map(Message::Refused),
        (dot(), denial).prop_map(|(dot, why)| Message::Denied(dot, why)),
        vec(head(), 0..3).prop_map(Message::Heads),
        offer().prop_map(Message::Offer),
        (any::<u64>(), any::<u64>(), vec(any::<bool>(), 1..17)).prop_map(|(id, first, lacks)| Message::Lacks(Lacks {
            id,
            first,
            lacks
        })),
    ]
}

/// The kinds that the strategies make.
pub(super) fn kinds<T: std::fmt::Debug>(values: impl Strategy<Value = T>, kind: impl Fn(&T) -> u8) -> BTreeSet<u8> {
    let mut runner = proptest::test_runner::TestRunner::deterministic();
    (0..400).map(|_| kind(&values.new_tree(&mut runner).unwrap().current())).collect()
}
