use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use syncline_base::{Hash, Hlc, Kind, SystemClock};
use syncline_store::Store;
use syncline_store::backend::memory::Memory;
use syncline_store::backend::wrap::{Call, Layer, Op, Wrapped};

use super::{ARRIVED_MAX, HISTORY_MAX, Refs, check_name, update};
use crate::tests_support::memory_store;
use crate::{Commit, DatasetRoot, record};

#[test]
fn bytes_are_frozen() {
    let mut refs = Refs::new("main");
    refs.move_branch("main", Some(Hash::of(b"1")), Hlc::from_ms(1), "commit");
    refs.move_tag("v1", Some(Hash::of(b"1")), Hlc::from_ms(2), "tag");
    let golden = include_str!("../../fixtures/refs-1.json");
    assert_eq!(String::from_utf8(record::encode(&refs)).expect("JSON is text"), golden.trim_end());
    assert_eq!(record::decode::<Refs>(&record::encode(&refs)).expect("it is canonical"), refs);
}

#[test]
fn an_update_is_seen_and_a_move_is_remembered() {
    let store = memory_store();
    update(&store, |refs| {
        refs.move_branch("main", Some(Hash::of(b"1")), Hlc::from_ms(1), "commit");
        Ok(())
    })
    .expect("nobody else writes");
    update(&store, |refs| {
        refs.move_branch("main", Some(Hash::of(b"2")), Hlc::from_ms(2), "commit");
        Ok(())
    })
    .expect("nobody else writes");
    let (refs, _) = Refs::load(&store).expect("it was just written");
    assert_eq!(refs.head_commit(), Some(Hash::of(b"2")));
    assert_eq!(refs.history.len(), 2);
    assert_eq!(refs.history[1].from, Some(Hash::of(b"1")));
    assert_eq!(refs.newest(), Hlc::from_ms(2));
}

#[test]
fn a_writer_that_was_overtaken_decides_again() {
    let store = memory_store();
    let mut overtaken = false;
    update(&store, |refs| {
        if !overtaken {
            overtaken = true;
            update(&store, |other| {
                other.move_branch("theirs", Some(Hash::of(b"t")), Hlc::from_ms(1), "push");
                Ok(())
            })?;
        }
        refs.move_branch("ours", Some(Hash::of(b"o")), Hlc::from_ms(2), "push");
        Ok(())
    })
    .expect("the second try wins");
    let (refs, _) = Refs::load(&store).expect("it was just written");
    assert_eq!(refs.branches.keys().collect::<Vec<_>>(), ["ours", "theirs"]);
}

/// The first swap takes effect and its reply is lost; before it is sent again, somebody else goes on from there.
#[derive(Debug, Default)]
struct LostReply(Mutex<Option<Store>>);

impl Layer for LostReply {
    fn around<T>(&self, call: Call<'_>, run: &dyn Fn() -> syncline_store::Result<T>) -> syncline_store::Result<T> {
        let swap = call.op == Op::Write && call.name == "head";
        let other = if swap { self.0.lock().expect("nobody panics").take() } else { None };
        if let Some(other) = other {
            run()?;
            update(&other, |refs| {
                assert_eq!(refs.head_commit(), Some(Hash::of(b"ours")));
                refs.move_branch("main", Some(Hash::of(b"theirs")), Hlc::from_ms(2), "commit");
                Ok(())
            })
            .expect("it decides on what is there");
        }
        run()
    }
}

#[test]
fn a_move_whose_reply_was_lost_is_not_made_again_over_that_of_others() {
    let memory = Arc::new(Memory::without_append());
    let lost = Arc::new(LostReply::default());
    let place = Arc::new(Wrapped::new(memory.clone(), Arc::clone(&lost)));
    let store = crate::open_store(place, true, Arc::new(SystemClock)).expect("memory takes a new store");
    let other = crate::open_store(memory, false, Arc::new(SystemClock)).expect("it was just made");
    *lost.0.lock().expect("nobody panics") = Some(other);
    let mut decided = 0;
    update(&store, |refs| {
        decided += 1;
        refs.move_branch("main", Some(Hash::of(b"ours")), Hlc::from_ms(1), "commit");
        Ok(())
    })
    .expect("it was done");
    let (refs, _) = Refs::load(&store).expect("it was just written");
    assert_eq!((refs.head_commit(), decided), (Some(Hash::of(b"theirs")), 1));
    assert_eq!(refs.history.len(), 2);
}

#[test]
fn history_is_bounded() {
    let mut refs = Refs::new("main");
    for n in 0..(HISTORY_MAX as u64 + 50) {
        refs.move_branch("main", Some(Hash::of(&n.to_le_bytes())), Hlc::from_ms(n), "commit");
    }
    assert_eq!(refs.history.len(), HISTORY_MAX);
    assert_eq!(refs.newest(), Hlc::from_ms(HISTORY_MAX as u64 + 49));
    assert!(refs.commits().count() > HISTORY_MAX);
}

#[test]
fn a_move_to_the_same_place_is_no_move() {
    let mut refs = Refs::new("main");
    for _ in 0..2 {
        refs.move_branch("main", Some(Hash::of(b"1")), Hlc::from_ms(1), "commit");
    }
    assert_eq!(refs.history.len(), 1);
}

#[test]
fn names_that_could_hurt_are_refused() {
    for good in ["main", "feature/a", "v1.0", "a_b-c"] {
        assert!(check_name(good).is_ok(), "{good}");
    }
    for bad in ["", "HEAD", "a//b", "/a", "a/", "../x", "a/.b", "-x", "a b", "deadbeef", "a~1", "a^"] {
        assert_eq!(check_name(bad).map_err(|e| e.kind()), Err(Kind::Invalid), "{bad}");
    }
}

/// Commits without content, one on the other; the last one first.
fn chain(store: &Store, from: Option<Hash>, length: u64) -> Vec<Hash> {
    let root = DatasetRoot::default().put(store).expect("it is memory");
    let mut ids: Vec<Hash> = from.into_iter().collect();
    for generation in 1..=length {
        let (parents, hlc) = (ids.first().copied().into_iter().collect(), Hlc::from_ms(generation));
        let generation = generation + u64::from(from.is_some()) * 100;
        let (author, message) = ("ada".to_owned(), format!("{from:?}"));
        let commit = Commit { parents, generation, root, author, hlc, message, meta: BTreeMap::new() };
        ids.insert(0, commit.put(store).expect("it is memory"));
    }
    ids
}

#[test]
fn what_has_arrived_is_forgotten_when_a_name_leads_to_it() {
    let store = memory_store();
    let (line, other) = (chain(&store, None, 5), chain(&store, Some(Hash::of(b"elsewhere")), 3));
    let arrived = |refs: &Refs| refs.arrived.keys().copied().collect::<Vec<_>>();
    let note = |tips: &[Hash], at: u64| {
        update(&store, |refs| {
            refs.note_arrived(&store, tips, at);
            Ok(arrived(refs))
        })
        .expect("nobody else writes")
    };
    assert_eq!(note(&[line[3]], 1), [line[3]]);
    // A newer one of the same line stands for it; one of another line does not.
    assert_eq!(note(&[line[1]], 2), [line[1]]);
    assert_eq!(note(&[other[0]], 3).len(), 2);
    let (refs, _) = Refs::load(&store).expect("it was just written");
    assert!(refs.own_commits().any(|id| id == line[1]), "a collection would take it");
    update(&store, |refs| {
        refs.move_branch("main", Some(line[0]), Hlc::from_ms(9), "pull");
        Ok(())
    })
    .expect("nobody else writes");
    let (refs, _) = Refs::load(&store).expect("it was just written");
    assert_eq!(refs.arrived, BTreeMap::from([(other[0], 3)]));
}

#[test]
fn of_what_has_arrived_only_the_newest_is_remembered() {
    let (store, mut refs) = (memory_store(), Refs::new("main"));
    for n in 0..100_u64 {
        refs.note_arrived(&store, &[Hash::of(&n.to_le_bytes())], n);
    }
    assert_eq!(refs.arrived.len(), ARRIVED_MAX);
    assert_eq!(refs.arrived.values().min(), Some(&84));
}
