use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;
use syncline_base::{Hash, Hlc, Kind};
use syncline_store::Store;

use super::{Commit, Log, is_ancestor, merge_bases};
use crate::Refs;
use crate::record::{self, Record};

fn store() -> Store {
    crate::tests_support::memory_store()
}

fn commit(store: &Store, parents: &[Hash], ms: u64) -> Hash {
    let generation =
        parents.iter().map(|id| Commit::load(store, id).expect("parents are stored").generation).max().unwrap_or(0) + 1;
    Commit {
        parents: parents.to_vec(),
        generation,
        root: Hash::ZERO,
        author: "ann".into(),
        hlc: Hlc::from_ms(ms),
        message: format!("at {ms}"),
        meta: BTreeMap::new(),
    }
    .put(store)
    .expect("memory takes it")
}

#[test]
fn bytes_are_frozen() {
    let commit = Commit {
        parents: vec![Hash::of(b"p")],
        generation: 2,
        root: Hash::of(b"r"),
        author: "Ann <ann@example.org>".into(),
        hlc: Hlc::from_ms(1_700_000_000_000),
        message: "two \"words\"\nand é".into(),
        meta: BTreeMap::from([("source".into(), "orders".into())]),
    };
    let bytes = commit.encode();
    assert_eq!(Commit::decode(&bytes).expect("it is canonical"), commit);
    let golden = include_str!("../../fixtures/commit-1.json");
    assert_eq!(String::from_utf8(bytes).expect("JSON is text"), golden.trim_end());
}

#[test]
fn refuses_other_forms_of_the_same_commit() {
    let store = store();
    let id = commit(&store, &[], 1);
    let text = String::from_utf8(store.get(&id).expect("stored").to_vec()).expect("JSON is text");
    for (from, to) in
        [(",", ", "), ("\"meta\"", "\"extra\""), ("ann", "\\u0061nn"), ("\"generation\":1", "\"generation\":1,\"x\":1")]
    {
        if text.contains(from) {
            assert!(Commit::decode(text.replacen(from, to, 1).as_bytes()).is_err(), "{from} -> {to}");
        }
    }
    let newer = text.replacen("commit/1", "commit/2", 1);
    let refused = Commit::decode(newer.as_bytes()).map_err(|e| e.to_string());
    assert!(refused.is_err_and(|text| text.contains("version 2") && text.contains("newer version of syncline")));
    assert_eq!(Commit::KIND, "commit");
}

#[test]
fn log_visits_children_before_parents() {
    let store = store();
    let a = commit(&store, &[], 1);
    let b = commit(&store, &[a], 9);
    let c = commit(&store, &[a], 3);
    let d = commit(&store, &[b, c], 2);
    let ids: Vec<Hash> = Log::new(&store, [d]).map(|step| step.expect("all are stored").0).collect();
    assert_eq!(ids, [d, b, c, a]);
}

#[test]
fn a_commit_that_is_missing_ends_its_own_line_only() {
    let (whole, store) = (store(), store());
    let old = commit(&whole, &[], 1);
    let side = commit(&whole, &[old], 9);
    let first = commit(&store, &[], 1);
    assert_eq!(first, old, "the same commit in both");
    let here = commit(&store, &[first], 3);
    let text = Commit::load(&whole, &side).expect("it is there");
    let tip = Commit { parents: vec![side, here], generation: text.generation + 1, ..text }
        .put(&store)
        .expect("memory takes it");
    let mut log = Log::of_what_is_here(&store, [tip]);
    assert_eq!(log.missing(), None);
    let ids: Vec<Hash> = log.by_ref().map(|step| step.expect("the rest is here").0).collect();
    assert_eq!((ids, log.missing()), (vec![tip, here, old], Some(side)));
    // What is here can be told; about what is not, nothing is claimed.
    assert!(is_ancestor(&store, old, tip).expect("the other line leads there"));
    let other = commit(&store, &[first], 2);
    assert_eq!(is_ancestor(&store, other, tip).expect_err("it may be behind what is missing").kind(), Kind::NotFound);
}

#[test]
fn a_gap_is_told_and_the_end_of_a_shallow_history_is_none() {
    let (whole, store) = (store(), store());
    let old = commit(&whole, &[], 1);
    let (left, right) = (commit(&whole, &[old], 2), commit(&whole, &[old], 3));
    let tip = commit(&whole, &[left, right], 4);
    for id in [tip, left, right] {
        Commit::load(&whole, &id).expect("it is there").put(&store).expect("memory takes it");
    }
    let walk = |mut log: Log| {
        let ids: Vec<Hash> = log.by_ref().map(|step| step.expect("nothing else fails").0).collect();
        assert_eq!(ids, [tip, right, left]);
        (log.take_gaps().iter().map(|gap| (gap.id, gap.why.kind())).collect::<Vec<_>>(), log.missing())
    };
    let lost = vec![(old, Kind::NotFound)];
    let ends = |ids: &[Hash]| walk(Log::with_gaps(&store, [tip], &ids.iter().copied().collect()));
    assert_eq!(ends(&[]), (lost.clone(), None));
    // Of one line it is known that it ends; the other one leads there, too.
    assert_eq!(ends(&[left]).0, lost);
    assert_eq!(ends(&[right]).0, lost);
    assert_eq!(ends(&[left, right]), (vec![], Some(old)));
    // What only a peer's branch leads to need not be here, unless something else does.
    let mut refs = Refs::new("main");
    refs.remotes.entry("hub".into()).or_default().branches.insert("main".into(), tip);
    assert_eq!(walk(Log::of_refs(&store, &refs)), (vec![], Some(old)));
    refs.tags.insert("v1".into(), left);
    assert_eq!(walk(Log::of_refs(&store, &refs)).0, lost);
    refs.tags.insert("v2".into(), Hash::of(b"another that is not here"));
    assert_eq!(walk(Log::of_refs(&store, &refs)).0.len(), 2);
}

/// Every ancestor of a commit, itself included, the slow and obvious way.
fn ancestors(parents: &[Vec<usize>], of: usize) -> Vec<usize> {
    let mut found = vec![of];
    let mut next = 0;
    while next < found.len() {
        for &p in &parents[found[next]] {
            if !found.contains(&p) {
                found.push(p);
            }
        }
        next += 1;
    }
    found
}

proptest! {
    #[test]
    fn merge_bases_are_the_best_common_ancestors(shape in prop::collection::vec((any::<u16>(), any::<u16>(), any::<bool>()), 1..24)) {
        let store = store();
        let mut ids: Vec<Hash> = Vec::new();
        let mut parents: Vec<Vec<usize>> = Vec::new();
        for (n, (first, second, merge)) in shape.iter().enumerate() {
            let mut mine: Vec<usize> = Vec::new();
            if n > 0 && first % 7 != 0 {
                mine.push(usize::from(*first) % n);
                let other = usize::from(*second) % n;
                if *merge && other != mine[0] {
                    mine.push(other);
                }
            }
            let hashes: Vec<Hash> = mine.iter().map(|&p| ids[p]).collect();
            ids.push(commit(&store, &hashes, n as u64));
            parents.push(mine);
        }
        for x in 0..ids.len() {
            for y in 0..ids.len() {
                let (ax, ay) = (ancestors(&parents, x), ancestors(&parents, y));
                let common: Vec<usize> = ax.iter().copied().filter(|a| ay.contains(a)).collect();
                let found = merge_bases(&store, ids[x], ids[y]).expect("all are stored");
                // Those that no other common ancestor descends from.
                let best = common.iter().filter(|c| common.iter().all(|d| d == *c || !ancestors(&parents, *d).contains(c)));
                let best: BTreeSet<Hash> = best.map(|c| ids[*c]).collect();
                prop_assert_eq!(found.iter().copied().collect::<BTreeSet<_>>(), best);
                let generation = |id: &Hash| Commit::load(&store, id).expect("all are stored").generation;
                prop_assert!(found.windows(2).all(|pair| (generation(&pair[0]), pair[0]) > (generation(&pair[1]), pair[1])));
                prop_assert_eq!(is_ancestor(&store, ids[x], ids[y]).expect("all are stored"), ay.contains(&x));
            }
        }
    }

    #[test]
    fn decoding_never_panics(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
        let _ = record::decode::<Commit>(&bytes);
        let mut text = b"{\"syncline\":\"commit/1\",".to_vec();
        text.extend_from_slice(&bytes);
        let _ = record::decode::<Commit>(&text);
    }
}
