//! Verify, repair and gc.

use std::collections::BTreeMap;
use std::sync::Arc;

use syncline_base::hash::IdSet;
use syncline_base::{Clock, Hash};

use super::*;
use crate::Bases;
use crate::backend::Backend;
use crate::backend::memory::Memory;
use crate::backend::wrap::{Call, Op, Wrapped};
use crate::error::Error;
use crate::store::Options;
use crate::store::tests::{noise, small, text};

#[derive(Debug, Default)]
pub(super) struct Manual(pub(super) std::sync::atomic::AtomicU64);

impl Clock for Manual {
    fn now_ms(&self) -> u64 {
        self.0.load(std::sync::atomic::Ordering::Relaxed)
    }
    fn monotonic(&self) -> std::time::Duration {
        std::time::Duration::from_millis(self.now_ms())
    }
    fn sleep(&self, _: std::time::Duration) {}
}

pub(super) fn findings(store: &Store, deep: bool) -> Vec<Finding> {
    let mut found = Vec::new();
    let checked = store.verify(deep, &mut |finding| found.push(finding)).unwrap();
    assert_eq!(checked.findings, found.len() as u64);
    found
}

pub(super) fn collect(store: &Store, grace_ms: u64, live: &[Hash]) -> GcReport {
    let options = GcOptions { grace_ms, min_live_percent: 50 };
    store.gc::<Error>(&options, |marker| live.iter().try_for_each(|id| marker.mark(id).map(drop))).unwrap()
}

/// A store with packs, journals, segments and chains; and what is in it.
pub(super) fn filled(memory: &Memory) -> (Store, BTreeMap<Hash, Vec<u8>>) {
    let store = Store::create(Arc::new(memory.clone()), small()).unwrap();
    let mut all = BTreeMap::new();
    let mut keep = |bytes: Vec<u8>, id: Hash| drop(all.insert(id, bytes));
    for n in 0..300 {
        let bytes = if n % 2 == 0 { noise(n, 3000) } else { text(n, 9000) };
        let id = store.put(&bytes).unwrap();
        keep(bytes, id);
    }
    store.flush().unwrap();
    let mut bytes = noise(9999, 30_000);
    let mut last = store.put(&bytes).unwrap();
    keep(bytes.clone(), last);
    for n in 0..30 {
        bytes[n * 900] ^= 1;
        last = store.put_with_base(&bytes, &last).unwrap();
        keep(bytes.clone(), last);
        store.flush().unwrap();
    }
    (store, all)
}

#[test]
fn a_whole_store_verifies_clean() {
    for memory in [Memory::new(), Memory::without_append()] {
        let (store, all) = filled(&memory);
        assert_eq!(findings(&store, false), []);
        assert_eq!(findings(&store, true), []);
        let checked = store.verify(true, &mut |_| ()).unwrap();
        assert_eq!(checked.objects, all.len() as u64);
        assert_eq!(store.usage().unwrap().objects, all.len() as u64);
    }
}

/// Flips a bit of a stored file behind the store's back.
pub(super) fn flip(memory: &Memory, name: &str, at: u64) {
    let size = memory.size(name).unwrap().unwrap();
    let mut bytes = memory.read(name, 0..size).unwrap().to_vec();
    bytes[usize::try_from(at).unwrap()] ^= 4;
    memory.delete(name).unwrap();
    memory.put(name, bytes.into()).unwrap();
}

#[test]
fn damage_is_named_repaired_and_does_not_stop_the_walk() {
    let memory = Memory::new();
    let (_, all) = filled(&memory);
    let files: Vec<(String, u64)> = [memory.list("packs/").unwrap(), memory.list("journal/").unwrap()].concat();
    for (name, size) in files.iter().step_by(2) {
        flip(&memory, name, size / 2);
    }
    let store = Store::open(Arc::new(memory.clone()), small()).unwrap();
    let damaged: IdSet = findings(&store, true).into_iter().flat_map(|finding| finding.ids).collect();
    let unreadable: IdSet = all.keys().filter(|id| store.get(id).is_err()).copied().collect();
    assert!(!damaged.is_empty());
    // What the index still knows is named; without the index, damage in a journal hides what it held.
    assert!(damaged.iter().all(|id| unreadable.contains(id)));
    assert!(unreadable.iter().all(|id| damaged.contains(id) || store.missing(&[*id]).unwrap() == [*id]));
    assert!(unreadable.len() < all.len() / 2, "{} of {}", unreadable.len(), all.len());
    let good: Vec<bytes::Bytes> = unreadable.iter().map(|id| all[id].clone().into()).collect();
    let replaced: IdSet = store.replace(&good).unwrap().into_iter().collect();
    assert_eq!(replaced, unreadable);
    assert!(all.iter().all(|(id, bytes)| store.get(id).unwrap() == bytes));
    // The damaged files are still there, and are named.
    let left = findings(&store, true);
    assert!(!left.is_empty() && left.iter().all(|finding| finding.ids.is_empty()), "{left:?}");
    let files = left.into_iter().map(|finding| finding.file).collect();
    let mended = store.mend(&files, false).unwrap();
    assert_eq!((mended.files, mended.kept, mended.forgotten), (files.len() as u64, 0, 0));
    for store in [store, Store::open(Arc::new(memory.clone()), small()).unwrap()] {
        assert_eq!(findings(&store, true), []);
        assert!(all.iter().all(|(id, bytes)| store.get(id).unwrap() == bytes));
    }
    assert!(files.iter().all(|name| memory.size(name).unwrap().is_none()));
}

#[test]
fn a_file_with_the_only_copy_of_an_object_is_kept_until_it_is_given_up() {
    let memory = Memory::new();
    let (store, all) = filled(&memory);
    let (name, size) = memory.list("packs/").unwrap().remove(0);
    flip(&memory, &name, size / 2);
    let store = {
        drop(store);
        Store::open(Arc::new(memory), Options { seed: Some(5), ..small() }).unwrap()
    };
    let lost: IdSet = findings(&store, true).into_iter().flat_map(|finding| finding.ids).collect();
    assert!(!lost.is_empty());
    let files = [name].into();
    let mended = store.mend(&files, false).unwrap();
    assert_eq!((mended.files, mended.kept), (0, 1));
    assert!(!findings(&store, true).is_empty());
    let mended = store.mend(&files, true).unwrap();
    assert_eq!((mended.files, mended.kept, mended.forgotten), (1, 0, lost.len() as u64));
    assert_eq!(findings(&store, true), []);
    for (id, bytes) in &all {
        match store.get(id) {
            Ok(got) => assert_eq!(got, bytes),
            Err(error) => assert!(lost.contains(id), "{error}"),
        }
    }
}

#[test]
fn index_damage_heals() {
    let memory = Memory::new();
    let (store, all) = filled(&memory);
    let segments = memory.list("index/").unwrap();
    assert!(!segments.is_empty());
    for (name, size) in &segments {
        flip(&memory, name, size / 3);
    }
    assert!(all.iter().all(|(id, bytes)| store.get(id).unwrap() == bytes));
    let again = Store::open(Arc::new(memory), small()).unwrap();
    assert!(all.iter().all(|(id, bytes)| again.get(id).unwrap() == bytes));
    assert_eq!(findings(&again, true), []);
}

#[test]
fn gc_keeps_what_is_marked_and_its_bases() {
    for memory in [Memory::new(), Memory::without_append()] {
        let (store, all) = filled(&memory);
        let before = store.usage().unwrap();
        // Every tenth object: most files hold little that is live.
        let live: Vec<Hash> = all.keys().copied().step_by(10).collect();
        let report = collect(&store, 0, &live);
        assert!(report.files_deleted > 0 && report.bytes_deleted > 0, "{report:?}");
        for again in [store.clone(), Store::open(Arc::new(memory.clone()), small()).unwrap()] {
            assert!(live.iter().all(|id| again.get(id).unwrap() == all[id]));
            assert_eq!(findings(&again, true), []);
        }
        let after = store.usage().unwrap();
        assert!(after.pack_bytes + after.journal_bytes < (before.pack_bytes + before.journal_bytes) / 2);
        // What was removed can be put again, and what is left is not stored twice.
        for bytes in all.values() {
            store.put(bytes).unwrap();
        }
        store.flush().unwrap();
        assert!(all.iter().all(|(id, bytes)| store.get(id).unwrap() == bytes));
    }
}

#[test]
fn gc_keeps_both_bases_of_a_patch() {
    let memory = Memory::new();
    let store = Store::create(Arc::new(memory.clone()), small()).unwrap();
    let (one, two) = (noise(1, 20_000), noise(2, 30_000));
    let bases = Bases::two(store.put(&one).unwrap(), store.put(&two).unwrap());
    for n in 10..40 {
        store.put(&noise(n, 20_000)).unwrap();
    }
    let both = [&one[9000..], &two[..20_000]].concat();
    let id = store.put_with_bases(&both, bases).unwrap();
    assert_eq!(store.get_encoded(&id).unwrap().bases, bases);
    let report = collect(&store, 0, &[id]);
    assert!(report.files_deleted > 0, "{report:?}");
    for again in [store, Store::open(Arc::new(memory), small()).unwrap()] {
        assert_eq!(again.get(&id).unwrap(), both);
        assert_eq!(findings(&again, true), []);
    }
}

#[test]
fn gc_waits_for_the_grace_period_and_rescues_what_is_live_again() {
    let memory = Memory::new();
    let clock = Arc::new(Manual::default());
    clock.0.store(1_000_000, std::sync::atomic::Ordering::Relaxed);
    let options = || Options { clock: clock.clone(), ..small() };
    let store = Store::create(Arc::new(memory.clone()), options()).unwrap();
    let ids: Vec<Hash> = (0..100).map(|n| store.put(&noise(n, 3000)).unwrap()).collect();
    store.flush().unwrap();
    let first = collect(&store, 1000, &ids[..1]);
    assert!(first.files_condemned > 0);
    assert_eq!(first.files_deleted, 0);
    assert!(store.get_many(&ids).is_ok());
    let second = collect(&store, 1000, &ids[..1]);
    assert_eq!((second.files_condemned, second.files_deleted), (0, 0));
    clock.0.fetch_add(1000, std::sync::atomic::Ordering::Relaxed);
    // Meanwhile somebody has set a reference to what was dead.
    let third = collect(&store, 1000, &ids[..50]);
    assert!(third.files_deleted > 0, "{third:?}");
    for store in [store, Store::open(Arc::new(memory), options()).unwrap()] {
        assert!(store.get_many(&ids[..50]).is_ok());
        assert_eq!(store.missing(&ids).unwrap(), ids[50..]);
    }
}

#[test]
fn what_lies_in_a_condemned_file_is_stored_again() {
    let memory = Memory::new();
    let store = Store::create(Arc::new(memory.clone()), small()).unwrap();
    let ids: Vec<Hash> = (0..100).map(|n| store.put(&noise(n, 3000)).unwrap()).collect();
    store.flush().unwrap();
    collect(&store, 1_000_000, &[]);
    let other = Store::open(Arc::new(memory), Options { seed: Some(9), ..small() }).unwrap();
    other.put(&noise(7, 3000)).unwrap();
    other.flush().unwrap();
    collect(&other, 0, &[ids[7]]);
    assert!(other.get(&ids[7]).is_ok());
}

#[test]
fn a_base_that_is_marked_later_still_counts_as_new() {
    let memory = Memory::new();
    let store = Store::create(Arc::new(memory), small()).unwrap();
    let base = store.put(&noise(1, 20_000)).unwrap();
    let mut bytes = noise(1, 20_000);
    bytes[5] ^= 1;
    let patch = store.put_with_base(&bytes, &base).unwrap();
    let mut seen = Vec::new();
    store
        .gc::<Error>(&GcOptions { grace_ms: 0, min_live_percent: 50 }, |marker| {
            for id in [patch, patch, base, base] {
                seen.push(marker.mark(&id)?);
            }
            Ok(())
        })
        .unwrap();
    assert_eq!(seen, [true, false, true, false]);
}

#[test]
fn a_process_that_did_not_look_is_told_that_what_it_relied_on_was_collected() {
    let memory = Memory::new();
    let clock = Arc::new(Manual::default());
    let options = |seed| Options { clock: clock.clone(), seed: Some(seed), ..small() };
    let server = Store::create(Arc::new(memory.clone()), options(1)).unwrap();
    let ids: Vec<Hash> = (0..100).map(|n| server.put(&noise(n, 3000)).unwrap()).collect();
    server.flush().unwrap();
    let other = Store::open(Arc::new(memory), options(2)).unwrap();
    collect(&other, 100_000, &[]);
    clock.0.fetch_add(100_000, std::sync::atomic::Ordering::Relaxed);
    assert!(collect(&other, 100_000, &[]).files_deleted > 0);
    // The server has not looked since: it believes that the object is there.
    server.put(&noise(7, 3000)).unwrap();
    assert_eq!(server.flush().unwrap_err().kind(), syncline_base::Kind::Conflict);
    server.put(&noise(7, 3000)).unwrap();
    server.flush().unwrap();
    assert_eq!(other.get(&ids[7]).unwrap(), noise(7, 3000));
}

#[test]
fn each_work_is_told_by_itself_that_what_it_relied_on_was_collected() {
    let memory = Memory::new();
    let clock = Arc::new(Manual::default());
    let options = |seed| Options { clock: clock.clone(), seed: Some(seed), ..small() };
    let server = Store::create(Arc::new(memory.clone()), options(1)).unwrap();
    let ids: Vec<Hash> = (0..100).map(|n| server.put(&noise(n, 3000)).unwrap()).collect();
    server.flush().unwrap();
    let other = Store::open(Arc::new(memory), options(2)).unwrap();
    for _ in 0..2 {
        collect(&other, 100_000, &[]);
        clock.0.fetch_add(100_000, std::sync::atomic::Ordering::Relaxed);
    }
    let (one, two, idle) = (server.work(), server.work(), server.work());
    one.put(&noise(7, 3000)).unwrap();
    two.put(&noise(8, 3000)).unwrap();
    for told in [&two, &one] {
        assert_eq!(told.flush().unwrap_err().kind(), syncline_base::Kind::Conflict);
        told.flush().unwrap();
    }
    idle.flush().unwrap();
    one.put(&noise(7, 3000)).unwrap();
    one.flush().unwrap();
    assert_eq!(other.get(&ids[7]).unwrap(), noise(7, 3000));
}

#[test]
fn a_writer_slower_than_the_grace_is_told_before_it_moves_the_head() {
    // Packs that are published on the way, and a journal.
    for (memory, objects) in [(Memory::new(), 200), (Memory::without_append(), 200), (Memory::new(), 1)] {
        let clock = Arc::new(Manual::default());
        let options = |seed| Options { clock: clock.clone(), seed: Some(seed), ..small() };
        let store = Store::create(Arc::new(memory.clone()), options(1)).unwrap();
        let other = Store::open(Arc::new(memory), options(2)).unwrap();
        let (slow, quick) = (store.work(), store.work());
        let put = || -> Vec<Hash> { (0..objects).map(|n| slow.put(&noise(n, 3000)).unwrap()).collect() };
        put();
        slow.flush().unwrap();
        assert_eq!(collect(&other, 100_000, &[]).files_deleted, 0);
        clock.0.fetch_add(100_000, std::sync::atomic::Ordering::Relaxed);
        assert!(collect(&other, 100_000, &[]).files_deleted > 0);
        // Others are not concerned, and what they do takes nothing off the slow one.
        let id = quick.put(b"quick").unwrap();
        quick.flush().unwrap();
        quick.swap_head(&quick.head().unwrap().1, id.as_bytes()).unwrap();
        slow.put(b"the last of it").unwrap();
        assert_eq!(slow.flush().unwrap_err().kind(), syncline_base::Kind::Conflict);
        // Once more, and within the grace.
        let ids = put();
        slow.flush().unwrap();
        slow.swap_head(&slow.head().unwrap().1, b"all of them").unwrap();
        // What the head names is the collection's matter.
        for _ in 0..2 {
            collect(&other, 100_000, &ids);
            clock.0.fetch_add(100_000, std::sync::atomic::Ordering::Relaxed);
        }
        slow.flush().unwrap();
        assert!(ids.iter().all(|id| slow.get(id).is_ok()));
    }
}

#[test]
fn no_patch_is_made_on_what_waits_to_be_collected() {
    let memory = Memory::new();
    let store = Store::create(Arc::new(memory), small()).unwrap();
    let mut bytes = noise(1, 20_000);
    let base = store.put(&bytes).unwrap();
    store.flush().unwrap();
    assert!(store.patch_room(&Bases::one(base), 100, 20_000));
    collect(&store, 100_000, &[]);
    assert!(!store.patch_room(&Bases::one(base), 100, 20_000));
    bytes[7] ^= 1;
    let id = store.put_with_base(&bytes, &base).unwrap();
    assert_eq!(store.get_encoded(&id).unwrap().depth, 0);
}

/// Lets somebody else flush between the reading of the index and that of the journal.
#[derive(Debug, Default)]
struct Between(std::sync::Mutex<Option<Store>>);

impl crate::backend::wrap::Layer for Between {
    fn around<T>(&self, call: Call<'_>, run: &dyn Fn() -> crate::error::Result<T>) -> crate::error::Result<T> {
        if call.op == Op::List && call.name.starts_with("journal/") && call.name != "journal/" {
            let other = self.0.lock().unwrap().take();
            if let Some(other) = other {
                let size = other.usage().unwrap().journal_bytes;
                other.put(format!("put while a journal of {size} bytes is verified").as_bytes()).unwrap();
                other.flush().unwrap();
            }
        }
        run()
    }
}

#[test]
fn what_another_process_adds_while_a_store_is_verified_is_no_damage() {
    let memory = Memory::new();
    let between = Arc::new(Between::default());
    let slow = Wrapped::new(Arc::new(memory.clone()), Arc::clone(&between));
    let store = Store::create(Arc::new(slow), small()).unwrap();
    store.put(b"one").unwrap();
    store.flush().unwrap();
    for deep in [false, true] {
        *between.0.lock().unwrap() =
            Some(Store::open(Arc::new(memory.clone()), Options { seed: None, ..small() }).unwrap());
        assert_eq!(findings(&store, deep), []);
        assert!(between.0.lock().unwrap().is_none(), "nobody has flushed in between");
    }
}

#[test]
fn work_that_is_stopped_reads_and_stores_nothing_more() {
    use std::sync::atomic::{AtomicBool, Ordering};

    use syncline_base::Kind;
    let memory = Memory::new();
    let (store, all) = filled(&memory);
    let gone = Arc::new(AtomicBool::new(false));
    let asked = Arc::clone(&gone);
    let work = store.work().until(Arc::new(move || asked.load(Ordering::Relaxed)));
    let id = *all.keys().next().unwrap();
    work.get(&id).unwrap();
    let (_, version) = work.head().unwrap();
    gone.store(true, Ordering::Relaxed);
    let options = GcOptions { grace_ms: 0, min_live_percent: 50 };
    for outcome in [
        work.get(&id).map(drop),
        work.get_many(&[id]).map(drop),
        work.get_encoded(&id).map(drop),
        work.put(b"new").map(drop),
        work.swap_head(&version, b"new").map(drop),
        work.verify(true, &mut |_| {}).map(drop),
        work.gc::<Error>(&options, |_| Ok(())).map(drop),
        work.mend(&Default::default(), true).map(drop),
        work.clone().get(&id).map(drop),
    ] {
        assert_eq!(outcome.unwrap_err().kind(), Kind::Unavailable);
    }
    // That is a matter of this work alone.
    assert_eq!(store.head().unwrap().0, bytes::Bytes::new());
    assert_eq!(store.get(&id).unwrap(), all[&id]);
    assert!(findings(&store, true).is_empty());
}
