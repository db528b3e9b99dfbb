//! The committed records and messages: what is written today is the same, bit for bit, and it is still read.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;
use syncline_base::Hlc;
use syncline_base::sign::KeyPair;

use super::super::head::Unsigned;
use super::super::part::{Attested, Teller};
use super::super::row::Writer;
use super::super::*;

const HUB: Origin = Origin::from_bytes(*b"the first hub...");
const OTHER: Origin = Origin::from_bytes(*b"the second hub..");
const SPOKE: Origin = Origin::from_bytes(*b"a spoke.........");

fn coverage(hubs: &[(Origin, u64)]) -> Coverage {
    let mut coverage = Coverage::new();
    hubs.iter().for_each(|(hub, n)| coverage.raise(*hub, *n));
    coverage
}

fn write(table: &str, key: &'static [u8], value: Option<&'static [u8]>) -> Write {
    let row = RowKey { table: table.into(), key: Bytes::from_static(key) };
    Write { row, value: value.map(Bytes::from_static) }
}

/// Two transactions of one chain; the second has read the first and what hubs took in.
fn txns() -> [Arc<Txn>; 2] {
    let writes = vec![write("fruit", b"apple", Some(b"red")), write("fruit", b"pear", None)];
    let hlc = Hlc::from_ms(1_700_000_000_000);
    let body = Body { origin: SPOKE, seq: 1, prev: Tag::NONE, read: Context::default(), hlc, writes };
    let first = Txn::new(body).unwrap();
    let read = Context { seen: coverage(&[(HUB, 300), (OTHER, 2)]), own: vec![first.dot()] };
    let writes = vec![write("tools", b"\0saw", Some(b"")), write("fruit", b"apple", Some(&[0xf0; 130]))];
    let hlc = Hlc::from_u64(hlc.as_u64() + 1);
    let second = Body { origin: SPOKE, seq: 2, prev: first.dot().tag, read, hlc, writes };
    [Arc::new(first), Arc::new(Txn::new(second).unwrap())]
}

fn entry(txn: &Arc<Txn>) -> Arc<Entry> {
    let deps = coverage(&[(HUB, 299), (OTHER, 2)]);
    let attested = Hlc::from_ms(1_700_000_000_500);
    Arc::new(Entry { stamp: Stamp { hub: HUB, n: 300 }, deps, attested, txn: txn.clone() })
}

fn snapshot() -> Snapshot {
    let [first, second] = txns();
    let fork = Dot { tag: Tag::of(b"another"), ..second.dot() };
    let (mut row, nothing, none) = (Row::default(), Context::default(), Chains::new());
    for (dot, value) in [(second.dot(), &b"green"[..]), (fork, b"")] {
        let hlc = Hlc::from_ms(1_700_000_000_000);
        let stamp = Some((Stamp { hub: HUB, n: 300 }, hlc));
        let writer = Writer { dot, read: &nothing, hlc, stamp, chains: &none, own: None, zoo: Zoo::none() };
        row.write(writer, Some(&Bytes::copy_from_slice(value)));
    }
    row.stamp(fork, Stamp { hub: OTHER, n: 2 }, Hlc::from_ms(1_600_000_000_000));
    let mut chain = Chain::default();
    chain.add(1, first.dot().tag, Tag::NONE);
    chain.add(2, second.dot().tag, first.dot().tag);
    chain.add(2, fork.tag, first.dot().tag);
    let key = write("fruit", b"apple", None).row;
    Snapshot {
        coverage: coverage(&[(HUB, 300), (OTHER, 2)]),
        rows: [(key, Arc::new(row))].into_iter().collect(),
        chains: Chains::from([(SPOKE, chain)]),
    }
}

/// The three parts of a checkpoint.
fn parts() -> [Arc<Part>; 3] {
    let mut teller = Teller::new(0x0807_0605_0403_0201, usize::MAX);
    let (snapshot, waiting) = (snapshot(), txns());
    std::array::from_fn(|_| Arc::new(teller.next(&snapshot, &waiting).unwrap().0))
}

/// Signed by the key of which the secret is all 9: the golden bytes say that its signatures stay what they are.
fn head(seq: u64) -> Arc<Head> {
    Arc::new(Unsigned { nonce: [5; 16], seq, sum: syncline_base::Hash::of(b"a chain") }.sign(&KeyPair::of(&[9; 32])))
}

/// What is signed of chains, in a part.
fn attested() -> Arc<Part> {
    let (signed, against) = (head(2), head(300));
    let origin = signed.origin();
    let sum = Some(syncline_base::Hash::of(b"all of it"));
    let mut all = vec![
        Attested { origin, sum, signed: Some(signed), against: Some(against) },
        Attested { origin: SPOKE, sum, signed: None, against: None },
    ];
    all.sort_by_key(|attested| attested.origin);
    Arc::new(Part { id: 0, nth: 1, what: What::Attested(all) })
}

fn records() -> Vec<(&'static str, Record)> {
    let [first, second] = txns();
    let [rows, chains, waiting] = parts();
    let checkpoint = Checkpoint {
        parts: 3,
        name: SPOKE,
        hub: false,
        own: (2, second.dot().tag),
        clock: Hlc::from_ms(1_700_000_000_900),
        coverage: snapshot().coverage,
        below: None,
    };
    let runs = vec![RunName { id: 0x0102_0304_0506_0708, bytes: 300, sum: 0x1112_1314_1516_1718 }];
    let on_runs = Checkpoint {
        parts: 1,
        below: Some(Below { counts: [("fruit".into(), Count { rows: 7, open: 1 })].into(), runs }),
        ..checkpoint.clone()
    };
    let gone = [write("fruit", b"apple", None), write("fruit", b"pear", None)].map(|write| write.row);
    let gone = Part { id: 0, nth: 0, what: What::Gone(gone.to_vec()) };
    let closing = Closing { id: rows.id, parts: 2, coverage: snapshot().coverage };
    let rewritten = Rewritten { more: false, refused: vec![first.dot(), second.dot()], again: vec![first.clone()] };
    vec![
        ("named", Record::Named(HUB)),
        ("hub", Record::Hub(true)),
        ("own", Record::Own(first)),
        ("entry", Record::Entry(entry(&second))),
        ("rewritten", Record::Rewritten(Arc::new(rewritten))),
        ("part-rows", Record::Part(rows)),
        ("part-chains", Record::Part(chains)),
        ("part-waiting", Record::Part(waiting)),
        ("part-attested", Record::Part(attested())),
        ("joined", Record::Joined(Arc::new(closing))),
        ("checkpoint", Record::Checkpoint(Arc::new(checkpoint))),
        ("signed", Record::Signed(head(1))),
        ("part-gone", Record::Part(Arc::new(gone))),
        ("checkpoint-on-runs", Record::Checkpoint(Arc::new(on_runs))),
    ]
}

/// Of spokes that hold a part of the rows.
fn records_within() -> Vec<(&'static str, Record)> {
    let [first, second] = txns();
    let scope = Bytes::from_static(b"fruit that is red");
    let closing = Closing { id: 7, parts: 2, coverage: snapshot().coverage };
    vec![
        ("partial", Record::Entry(inside(&entry(&second)))),
        ("partial-empty", Record::Entry(Arc::new(entry(&first).within(&Red(Bytes::new(), b"tools")).unwrap()))),
        ("scope", Record::Scope(scope.clone())),
        ("rescoped", Record::Rescoped(Arc::new(Rescoped { closing, scope }))),
    ]
}

/// One table.
#[derive(Debug)]
struct Red(Bytes, &'static [u8]);

impl Scope for Red {
    fn id(&self) -> &Bytes {
        &self.0
    }

    fn includes(&self, row: &RowKey) -> bool {
        row.table.as_bytes() == self.1
    }
}

fn inside(entry: &Arc<Entry>) -> Arc<Entry> {
    Arc::new(entry.within(&Red(Bytes::new(), b"fruit")).unwrap())
}

/// What one record of a log holds: all of them, and entries that follow on each other.
fn group() -> (Bytes, Vec<Record>) {
    // Those of the first programs that wrote version 2: before anything was signed, or lay in runs.
    let new = |name: &str| ["part-attested", "signed", "part-gone", "checkpoint-on-runs"].contains(&name);
    let mut all: Vec<Record> = records().into_iter().filter(|(name, _)| !new(name)).map(|(_, record)| record).collect();
    let [first, second] = txns();
    for (nth, txn) in (301..).zip([&first, &second, &first]) {
        let deps = coverage(&[(HUB, nth - 1), (OTHER, nth - 299)]);
        let attested = Hlc::from_ms(1_700_000_000_200 + nth);
        all.push(Record::Entry(Arc::new(Entry {
            stamp: Stamp { hub: HUB, n: nth },
            deps,
            attested,
            txn: txn.clone(),
        })));
    }
    let mut group = Group::default();
    for record in &all {
        group.push(record);
    }
    assert_eq!(group.len(), 13);
    (group.take(), all)
}

fn messages() -> Vec<(&'static str, Message)> {
    let [first, second] = txns();
    let [part, ..] = parts();
    let coverage = coverage(&[(HUB, 300), (OTHER, 2)]);
    let entries = Arc::new(Batch::new(vec![entry(&first), entry(&second)]));
    let (id, newest) = (part.id, Some(second.dot()));
    let hello = Message::Hello {
        name: SPOKE,
        hub: false,
        coverage: coverage.clone(),
        newest,
        parts: Some((id, 1)),
        within: Within::default(),
        heads: 77,
    };
    let within = Within { scope: Bytes::from_static(b"fruit that is red"), whole: false };
    let (none, coverage_here) = (None, coverage.clone());
    let scoped =
        Message::Hello { name: HUB, hub: true, coverage: coverage_here, newest: None, parts: none, within, heads: 1 };
    let within = Within { scope: Bytes::new(), whole: true };
    let whole =
        Message::Hello { name: SPOKE, hub: false, coverage: coverage.clone(), newest, parts: None, within, heads: 0 };
    let parts_of = Arc::new(Batch::new(vec![entry(&first), inside(&entry(&second))]));
    let new = Message::Hello {
        name: HUB,
        hub: true,
        coverage: Coverage::new(),
        newest: None,
        parts: None,
        within: Within::default(),
        heads: 0,
    };
    let keys = [write("fruit", b"apple", None), write("fruit", b"pear", None)].map(|write| write.row);
    let [after, end] = keys;
    let hash = syncline_base::Hash::of(b"rows");
    let pear = Range::Rows(end.clone());
    let spans = Range::Chains(vec![(SPOKE, 300, 2)]);
    let more = vec![(pear.clone(), None), (pear.clone(), None), (spans.clone(), Some(hash))];
    let sums = [vec![(Range::Rows(after.clone()), Some(hash))], more.clone()].concat();
    let in_part = |same| Arc::new(Part { id, nth: 4, what: What::Same(same) });
    let same = in_part(Same { after: Some(after.clone()), range: pear, hash });
    let chains = in_part(Same { after: None, range: spans, hash });
    vec![
        ("offer", Message::Offer(Offer { id, first: 300, after: None, sums })),
        ("offer-after", Message::Offer(Offer { id, first: 0, after: Some(after), sums: more })),
        ("lacks", Message::Lacks(Lacks { id, first: 300, lacks: vec![false, true, true] })),
        ("part-same", Message::Part { through: 1, part: same }),
        ("part-same-chains", Message::Part { through: 1, part: chains }),
        ("hello", hello),
        ("hello-new", new),
        ("hello-scoped", scoped),
        ("hello-whole", whole),
        ("entries-partial", Message::Entries { through: 304, entries: parts_of }),
        ("ask", Message::Ask),
        ("known", Message::Known(second.dot())),
        ("entries", Message::Entries { through: 302, entries }),
        ("here", Message::Here(302)),
        ("part", Message::Part { through: 1, part }),
        ("close", Message::Close { through: 3, closing: Closing { id, parts: 2, coverage } }),
        ("push", Message::Push(vec![first.clone(), second.clone()], vec![head(2)])),
        ("later", Message::Later(first.dot())),
        ("refused", Message::Refused(second.dot())),
        ("denied", Message::Denied(second.dot(), Denial::Revoked)),
        ("heads", Message::Heads(vec![head(0), head(7)])),
    ]
}

/// Holds what is written today against what is committed, file by file.
fn check(version: u8, kind: &str, written: &BTreeMap<String, Bytes>) {
    let place = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("../../fixtures/live/{version}/{kind}"));
    if std::env::var_os("UPDATE_GOLDENS").is_some() {
        std::fs::create_dir_all(&place).unwrap();
        for (name, bytes) in written {
            std::fs::write(place.join(name), bytes).unwrap();
        }
    }
    let entries = place.read_dir().unwrap_or_else(|error| panic!("{}: {error}", place.display()));
    let paths = entries.map(|entry| entry.unwrap().path());
    let golden: BTreeMap<String, Bytes> = paths
        .map(|path| (path.file_name().unwrap().to_str().unwrap().to_owned(), std::fs::read(path).unwrap().into()))
        .collect();
    assert!(golden.keys().eq(written.keys()), "{kind}: {:?}", golden.keys());
    for (name, bytes) in written {
        assert!(golden[name] == bytes, "{kind}/{name} is not what is committed: this format has changed");
    }
}

#[test]
fn records_are_those_of_the_format() {
    let (records, (group, all)) = ([records(), records_within()].concat(), group());
    let alone = records.iter().map(|(name, record)| (format!("{name}.bin"), record.encode()));
    check(2, "record", &alone.chain([("group.bin".to_owned(), group.clone())]).collect());
    assert_eq!(Record::decode(group).unwrap(), all);
    for (name, record) in records {
        assert_eq!(Record::decode(record.encode()).unwrap(), [record], "{name}");
    }
}

#[test]
fn messages_are_those_of_the_format() {
    let messages = messages();
    check(3, "message", &messages.iter().map(|(name, message)| (format!("{name}.bin"), message.encode())).collect());
    for (name, message) in messages {
        assert_eq!(Message::decode(message.encode()).unwrap(), message, "{name}");
    }
}

/// Names are hashes: they hold whatever the code around them becomes.
#[test]
fn names_are_those_of_the_format() {
    let [first, second] = txns();
    let hash = |bytes: &[u8]| syncline_base::Hash::of(bytes).as_bytes()[..8].to_vec();
    assert_eq!(first.dot().tag.as_u64().to_le_bytes().to_vec(), hash(first.bytes()));
    assert_eq!(second.body().prev, first.dot().tag);
    let both = [&[3; 32][..], &[4; 16]].concat();
    assert_eq!(Origin::new(&[3; 32], [4; 16]).as_bytes()[..], syncline_base::Hash::of(&both).as_bytes()[..16]);
}
