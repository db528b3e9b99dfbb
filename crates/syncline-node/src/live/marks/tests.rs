use proptest::prelude::*;

use super::*;

fn origin() -> impl Strategy<Value = Origin> {
    (0..4_u8).prop_map(|byte| Origin::from_bytes([byte; 16]))
}

fn dot() -> impl Strategy<Value = Dot> {
    (origin(), 1..5_u64, 0..2_u64).prop_map(|(origin, seq, tag)| Dot { origin, seq, tag: Tag::from_u64(tag) })
}

fn stamp() -> impl Strategy<Value = Option<Stamp>> {
    proptest::option::of((origin(), 1..u64::from(u32::MAX)).prop_map(|(hub, n)| Stamp { hub, n }))
}

fn text() -> impl Strategy<Value = Bytes> {
    proptest::collection::vec(any::<u8>(), 1..5).prop_map(Bytes::from)
}

fn marks() -> impl Strategy<Value = Marks> {
    let past = (any::<u64>(), stamp(), any::<bool>());
    let past = past.prop_map(|(time, stamp, read)| Past { time: Hlc::from_u64(time), stamp, read });
    let writers = proptest::collection::btree_map(dot(), past, 0..4);
    let columns = proptest::collection::btree_map(
        any::<u32>().prop_map(CellId::from_u32),
        proptest::collection::btree_set((any::<usize>(), proptest::option::of(text())), 1..4),
        0..4,
    );
    let history = proptest::collection::btree_map(origin(), (1..9_u64, stamp()), 0..4);
    let others = proptest::collection::btree_map(origin(), (1..9_u64, text()), 0..4);
    let counters = proptest::collection::btree_map(any::<u32>().prop_map(CellId::from_u32), (text(), others), 0..3);
    (writers, any::<usize>(), columns, history, counters).prop_map(|(writers, rest, columns, history, counters)| {
        let all: Vec<Option<Dot>> = std::iter::once(None).chain(writers.keys().copied().map(Some)).collect();
        let mark = |of: BTreeSet<(usize, Option<Bytes>)>| {
            let of: BTreeSet<_> = of.into_iter().map(|(at, text)| (all[at % all.len()], text)).collect();
            let of: Vec<_> = of.into_iter().collect();
            if let [(dot, _)] = of[..] { Mark::One(dot) } else { Mark::Several(of) }
        };
        Marks {
            rest: all[rest % all.len()],
            columns: columns.into_iter().map(|(cell, of)| (cell, mark(of))).collect(),
            history: history.into_iter().rev().map(|(origin, (seq, stamp))| Known { origin, seq, stamp }).collect(),
            counters: counters.into_iter().map(|(cell, (own, others))| (cell, Counter { own, others })).collect(),
            writers,
        }
    })
}

#[test]
fn an_origin_is_named_once() {
    let [a, b] = [1, 2].map(|byte| Origin::from_bytes([byte; 16]));
    let dot = |origin, seq| Dot { origin, seq, tag: Tag::from_u64(7) };
    let past = Past { time: Hlc::from_ms(5), stamp: Some(Stamp { hub: a, n: 9 }), read: true };
    let marks = Marks {
        writers: [(dot(a, 3), past.clone()), (dot(b, 4), Past { read: false, ..past })].into(),
        rest: Some(dot(a, 3)),
        columns: [(CellId::from_u32(8), Mark::One(None))].into(),
        history: vec![Known { origin: b, seq: 2, stamp: None }],
        ..Marks::default()
    };
    let bytes = marks.encode();
    assert_eq!(Marks::decode(&bytes).unwrap(), marks);
    assert!(bytes.len() < 2 * 16 + 2 * 24 + 16, "{} bytes", bytes.len());
    // Who had read one had read those before it in its chain, and nothing of what is only carried along.
    let known = |origin, seq| marks.knows(&dot(origin, seq));
    assert!(known(a, 1) && known(a, 3) && known(b, 2));
    assert!(!known(a, 4) && !known(b, 3) && !known(b, 4));
}

proptest! {
    #[test]
    fn marks_come_back(marks in marks()) {
        prop_assert_eq!(Marks::decode(&marks.encode()).unwrap(), marks);
    }

    #[test]
    fn marks_have_one_form(marks in marks(), at in any::<prop::sample::Index>(), byte in any::<u8>(), cut in any::<bool>()) {
        let mut bytes = marks.encode();
        let at = at.index(bytes.len());
        if cut { bytes.truncate(at); } else { bytes[at] = byte; }
        if let Ok(read) = Marks::decode(&bytes) {
            prop_assert_eq!(read.encode(), bytes);
        }
    }

    #[test]
    fn any_bytes_are_marks_or_refused(bytes in proptest::collection::vec(any::<u8>(), 0..64)) {
        if let Ok(read) = Marks::decode(&bytes) {
            prop_assert_eq!(read.encode(), bytes);
        }
    }
}
