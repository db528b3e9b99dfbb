//! Care beside writers, and care that fails half-way: nobody loses what it may count on.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, Mutex};

use syncline_base::{Hash, Kind};

use super::tests::{Manual, collect, filled, findings, flip};
use super::{GcOptions, Store};
use crate::backend::Backend;
use crate::backend::memory::Memory;
use crate::backend::wrap::{Call, Fault, Faults, Layer, Op, Wrapped};
use crate::error::Error;
use crate::store::Options;
use crate::store::tests::{noise, small};

fn seeded(seed: u64) -> Options {
    Options { seed: Some(seed), ..small() }
}

/// A place where the next `failing` packs cannot be published.
fn refusing(memory: &Memory, failing: &Arc<AtomicU32>) -> Arc<dyn Backend> {
    let (failing, mut made) = (Arc::clone(failing), BTreeSet::new());
    let plan = move |call: &Call<'_>| {
        // An upload is made with a call of the same kind.
        let publish = call.op == Op::Publish && call.name.starts_with("packs/") && !made.insert(call.name.to_owned());
        let fails =
            publish && failing.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| left.checked_sub(1)).is_ok();
        if fails { Fault::Fail(Kind::Unavailable) } else { Fault::None }
    };
    Arc::new(Faults::new(Arc::new(memory.clone()), plan))
}

#[test]
fn mending_that_failed_is_done_again_by_the_same_store() {
    let memory = Memory::new();
    let (_, all) = filled(&memory);
    let (name, size) = memory.list("packs/").unwrap().remove(0);
    flip(&memory, &name, size / 2);
    let failing = Arc::new(AtomicU32::new(0));
    let store = Store::open(refusing(&memory, &failing), seeded(5)).unwrap();
    let readable: Vec<&Hash> = all.keys().filter(|id| store.get(id).is_ok()).collect();
    assert!(readable.len() > all.len() / 2);
    failing.store(1, Ordering::Relaxed);
    let files = [name].into();
    assert_eq!(store.mend(&files, true).unwrap_err().kind(), Kind::Unavailable);
    assert!(store.mend(&files, true).unwrap().copied > 0);
    assert!(store.inner.index.read().files.iter().all(|file| file.upload.is_none()), "an upload is kept for nothing");
    drop(store);
    let again = Store::open(Arc::new(memory), seeded(6)).unwrap();
    assert!(readable.iter().all(|id| again.get(id).unwrap() == all[id]));
    assert_eq!(findings(&again, true), []);
}

#[test]
fn what_a_collection_copied_in_vain_is_stored_again() {
    let memory = Memory::without_append();
    let clock = Arc::new(Manual::default());
    let failing = Arc::new(AtomicU32::new(0));
    let options = |seed| Options { clock: clock.clone(), ..seeded(seed) };
    let hub = Store::create(refusing(&memory, &failing), options(1)).unwrap();
    let ids: Vec<Hash> = (0..50).map(|n| hub.put(&noise(n, 3000)).unwrap()).collect();
    hub.flush().unwrap();
    failing.store(1, Ordering::Relaxed);
    let options_gc = GcOptions { grace_ms: 100_000, min_live_percent: 50 };
    let failed = hub.gc::<Error>(&options_gc, |marker| marker.mark(&ids[7]).map(drop));
    assert_eq!(failed.unwrap_err().kind(), Kind::Unavailable);
    let other = Store::open(Arc::new(memory.clone()), options(2)).unwrap();
    for _ in 0..2 {
        collect(&other, 100_000, &[]);
        clock.0.fetch_add(100_000, Ordering::Relaxed);
    }
    let session = hub.work();
    session.put(&noise(7, 3000)).unwrap();
    // It may be told that what it found was taken.
    if session.flush().is_err() {
        session.put(&noise(7, 3000)).unwrap();
        session.flush().unwrap();
    }
    let again = Store::open(Arc::new(memory), options(3)).unwrap();
    assert_eq!(again.get(&ids[7]).unwrap(), noise(7, 3000));
}

#[test]
fn an_import_that_is_given_up_hides_nothing_of_others() {
    let memory = Memory::new();
    let options = |seed| Options { fold_objects: 1, ..seeded(seed) };
    let writer = Store::create(Arc::new(memory.clone()), options(1)).unwrap();
    let import = Store::open(Arc::new(memory.clone()), options(2)).unwrap();
    let (before, mut after) = (noise(1, 20_000), noise(1, 20_000));
    after[5] ^= 1;
    let id = import.put(&after).unwrap();
    for n in 2..80 {
        import.put(&noise(n, 3000)).unwrap();
    }
    assert!(!import.inner.index.read().pending.contains_key(&id), "it is not in the upload");
    let base = writer.put(&before).unwrap();
    assert_eq!(writer.put_with_base(&after, &base).unwrap(), id);
    assert_eq!(writer.get_encoded(&id).unwrap().depth, 1);
    writer.flush().unwrap();
    writer.swap_head(&writer.head().unwrap().1, id.as_bytes()).unwrap();
    // The import catches up, and writes a part of the index.
    import.head().unwrap();
    import.missing(&[Hash::of(b"nothing")]).unwrap();
    assert!(!import.inner.index.read().segments.is_empty());
    drop(import);
    let again = Store::open(Arc::new(memory), options(3)).unwrap();
    assert_eq!(again.get(&id).unwrap(), after);
    assert_eq!(findings(&again, true), []);
}

#[test]
fn what_is_taken_back_does_not_take_along_what_lies_elsewhere() {
    let memory = Memory::new();
    let options = |seed| Options { fold_objects: 1 << 20, ..seeded(seed) };
    let reader = Store::create(Arc::new(memory.clone()), options(1)).unwrap();
    let writer = Store::open(Arc::new(memory.clone()), options(2)).unwrap();
    let packer = Store::open(Arc::new(memory.clone()), Options { spill_bytes: 1, ..options(3) }).unwrap();
    let id = packer.put(&noise(1, 20_000)).unwrap();
    packer.flush().unwrap();
    assert_eq!(memory.list("packs/").unwrap().len(), 1);
    assert!(reader.contains(&id).unwrap());
    writer.put(&noise(1, 20_000)).unwrap();
    writer.flush().unwrap();
    let nothing = Hash::of(b"nothing");
    assert!(!reader.contains(&nothing).unwrap());
    // As after a sync that failed.
    let (journal, _) = memory.list("journal/").unwrap().remove(0);
    memory.append(&journal, 0, &[]).unwrap();
    assert!(!reader.contains(&nothing).unwrap());
    assert_eq!(reader.get(&id).unwrap(), noise(1, 20_000));
}

/// What is put again while its file waits to be deleted is found in the new place when the old one goes, by everybody.
#[test]
fn deleting_one_copy_does_not_hide_another_that_somebody_counts_on() {
    let (before, mut after) = (noise(1, 20_000), noise(1, 20_000));
    after[5] ^= 1;
    for patch in [true, false] {
        let memory = Memory::new();
        let clock = Arc::new(Manual::default());
        let options = |seed| Options { clock: clock.clone(), ..seeded(seed) };
        let writer = Store::create(Arc::new(memory.clone()), options(1)).unwrap();
        let other = Store::open(Arc::new(memory.clone()), options(2)).unwrap();
        let id = writer.put(&after).unwrap();
        writer.flush().unwrap();
        collect(&other, 100_000, &[]);
        clock.0.fetch_add(100_000, Ordering::Relaxed);
        let session = writer.work();
        session.contains(&Hash::of(b"nothing")).unwrap();
        let base = session.put(&before).unwrap();
        session.flush().unwrap();
        if patch {
            session.put_with_base(&after, &base).unwrap()
        } else {
            session.put(&after).unwrap()
        };
        session.flush().unwrap();
        assert!(collect(&other, 100_000, &[base]).files_deleted > 0);
        session.flush().unwrap();
        let again = Store::open(Arc::new(memory), options(3)).unwrap();
        assert_eq!(again.get(&id).unwrap(), after);
        assert_eq!(findings(&again, true), []);
    }
}

#[test]
fn a_collection_keeps_the_bases_of_the_copy_that_it_keeps() {
    let memory = Memory::new();
    let store = Store::create(Arc::new(memory.clone()), small()).unwrap();
    let (before, mut after) = (noise(1, 20_000), noise(1, 20_000));
    after[5] ^= 1;
    let base = store.put(&before).unwrap();
    store.flush().unwrap();
    let id = store.put_with_base(&after, &base).unwrap();
    for n in 2..60 {
        store.put(&noise(n, 3000)).unwrap();
    }
    store.flush().unwrap();
    // Condemned, so that it is stored again when it is put; the base is not.
    collect(&store, 1000, &[base]);
    let report = store.gc::<Error>(&GcOptions { grace_ms: 0, min_live_percent: 50 }, |marker| {
        store.put(&after)?;
        assert!(store.inner.index.read().pending.contains_key(&id), "it was not stored again");
        marker.mark(&id).map(drop)
    });
    assert!(report.unwrap().files_deleted > 0);
    // Killed before it is flushed.
    drop(store);
    let again = Store::open(Arc::new(memory), seeded(2)).unwrap();
    assert_eq!(again.get(&id).unwrap(), after);
}

/// A look at what was collected that fails is no look.
#[test]
fn a_look_that_failed_is_taken_again() {
    let memory = Memory::new();
    let clock = Arc::new(Manual::default());
    let options = |seed| Options { clock: clock.clone(), ..seeded(seed) };
    let failing = Arc::new(AtomicBool::new(false));
    let place = {
        let failing = Arc::clone(&failing);
        let plan = move |call: &Call<'_>| {
            let fails = call.op == Op::List && call.name == "index/" && failing.swap(false, Ordering::Relaxed);
            if fails { Fault::Fail(Kind::Unavailable) } else { Fault::None }
        };
        Faults::new(Arc::new(memory.clone()), plan)
    };
    let server = Store::create(Arc::new(place), options(1)).unwrap();
    let ids: Vec<Hash> = (0..100).map(|n| server.put(&noise(n, 3000)).unwrap()).collect();
    server.flush().unwrap();
    let other = Store::open(Arc::new(memory), options(2)).unwrap();
    for _ in 0..2 {
        collect(&other, 100_000, &[]);
        clock.0.fetch_add(100_000, Ordering::Relaxed);
    }
    let (one, two) = (server.work(), server.work());
    one.put(&noise(7, 3000)).unwrap();
    failing.store(true, Ordering::Relaxed);
    assert_eq!(one.flush().unwrap_err().kind(), Kind::Unavailable);
    assert!(!failing.load(Ordering::Relaxed));
    two.put(&noise(8, 3000)).unwrap();
    assert_eq!(two.flush().unwrap_err().kind(), Kind::Conflict);
    two.put(&noise(8, 3000)).unwrap();
    two.flush().unwrap();
    assert_eq!(other.get(&ids[8]).unwrap(), noise(8, 3000));
}

/// A journal whose writer was killed before it could close it is closed by who comes next, and collected like any other.
#[test]
fn a_journal_that_was_left_open_is_closed_and_collected() {
    for flush in [true, false] {
        let memory = Memory::new();
        let mut written = 0;
        let plan = move |call: &Call<'_>| {
            if call.op != Op::Write || !call.name.starts_with("journal/") {
                return Fault::None;
            }
            let full = written >= small().journal_bytes;
            written += call.bytes;
            if full { Fault::Die } else { Fault::None }
        };
        let faults = Faults::new(Arc::new(memory.clone()), plan);
        let store = Store::create(Arc::new(faults.clone()), seeded(1)).unwrap();
        for n in 0..100 {
            if faults.is_dead() {
                break;
            }
            store.put(&noise(n, 3000)).unwrap();
            let _ = store.flush();
        }
        assert!(faults.is_dead());
        drop(store);
        let (left, _) = memory.list("journal/").unwrap().remove(0);
        let store = Store::open(Arc::new(memory.clone()), seeded(2)).unwrap();
        let live = store.put(b"and on it goes").unwrap();
        if flush {
            store.flush().unwrap();
        }
        assert_eq!(findings(&store, true), []);
        collect(&store, 0, &[live]);
        assert_eq!(memory.size(&left).unwrap(), None);
        assert!(Store::open(Arc::new(memory), seeded(3)).unwrap().contains(&live).unwrap());
    }
}

/// Whatever byte of a note rots, the store works, `verify` names the note, and what takes care of the store gets rid of it.
#[test]
fn a_damaged_note_condemns_nothing_and_stops_nothing() {
    let memory = Memory::new();
    let store = Store::create(Arc::new(memory.clone()), small()).unwrap();
    let ids: Vec<Hash> = (0..100).map(|n| store.put(&noise(n, 3000)).unwrap()).collect();
    store.flush().unwrap();
    collect(&store, 1_000_000, &ids[..1]);
    let (note, size) = memory.list("gc/").unwrap().remove(0);
    let good = memory.read(&note, 0..size).unwrap();
    let mut named = 0;
    for at in 0..good.len() {
        let mut bad = good.to_vec();
        bad[at] ^= 0x10;
        memory.delete(&note).unwrap();
        memory.put(&note, bad.into()).unwrap();
        let store = Store::open(Arc::new(memory.clone()), seeded(2)).unwrap();
        assert!(store.get(&ids[0]).is_ok());
        let found = findings(&store, false);
        assert!(found.iter().all(|finding| finding.file == note && finding.ids.is_empty()), "{found:?}");
        named += found.len();
    }
    assert!(named > good.len() / 2, "{named} of {}", good.len());
    for (mend, bad) in [(true, b"{\"files\":[\"head\"]}".to_vec()), (false, good[1..].to_vec())] {
        memory.delete(&note).unwrap();
        memory.put(&note, bad.into()).unwrap();
        let store = Store::open(Arc::new(memory.clone()), seeded(3)).unwrap();
        if mend {
            assert_eq!(store.mend(&[note.clone()].into(), false).unwrap().files, 1);
        } else {
            collect(&store, 0, &ids[..1]);
        }
        assert_eq!(memory.size(&note).unwrap(), None);
        assert_eq!(findings(&store, true), []);
        assert!(store.get(&ids[0]).is_ok());
    }
    assert!(memory.size("store.json").unwrap().is_some());
}

#[test]
fn a_journal_that_could_not_be_synced_is_not_believed_after_the_next_sync() {
    let memory = Memory::new();
    let writer = Store::create(Arc::new(memory.clone()), seeded(1)).unwrap();
    let id = writer.put(&noise(1, 3000)).unwrap();
    writer.flush().unwrap();
    let mut written = 0;
    let plan = move |call: &Call<'_>| {
        if call.op != Op::Write || !call.name.starts_with("journal/") {
            return Fault::None;
        }
        // First its name is synced, then its bytes.
        written += 1;
        if written == 2 { Fault::Fail(Kind::Unavailable) } else { Fault::None }
    };
    // Whether the writer was told that it is durable cannot be known here.
    let other = Store::open(Arc::new(Faults::new(Arc::new(memory), plan)), seeded(2)).unwrap();
    for _ in 0..2 {
        assert_eq!(other.lacking(&[id]).unwrap(), [id]);
    }
    other.put(&noise(1, 3000)).unwrap();
    other.flush().unwrap();
    assert_eq!(other.lacking(&[id]).unwrap(), []);
}

#[test]
fn the_name_of_a_journal_that_nobody_acknowledged_is_synced_before_it_is_gone_on_with() {
    let memory = Memory::new();
    let writer = Store::create(Arc::new(memory.clone()), seeded(1)).unwrap();
    writer.put(b"killed after it was written").unwrap();
    writer.flush().unwrap();
    for (seed, expected) in [(2, 1), (3, 0)] {
        let synced = Arc::new(AtomicU32::new(0));
        let plan = {
            let synced = Arc::clone(&synced);
            move |call: &Call<'_>| {
                let name = call.op == Op::Write && call.bytes == 0 && call.name.starts_with("journal/");
                synced.fetch_add(u32::from(name), Ordering::Relaxed);
                Fault::None
            }
        };
        let store = Store::open(Arc::new(Faults::new(Arc::new(memory.clone()), plan)), seeded(seed)).unwrap();
        store.put(&noise(seed, 300)).unwrap();
        store.flush().unwrap();
        store.swap_head(&store.head().unwrap().1, &noise(seed, 30)).unwrap();
        assert_eq!(synced.load(Ordering::Relaxed), expected);
    }
    assert_eq!(memory.list("journal/").unwrap().len(), 1);
}

/// Lets somebody else collect while a merged part of the index is on its way.
#[derive(Debug, Default)]
struct Overlapping(Mutex<Option<Store>>);

impl Layer for Overlapping {
    fn around<T>(&self, call: Call<'_>, run: &dyn Fn() -> crate::error::Result<T>) -> crate::error::Result<T> {
        let other =
            if call.op == Op::Write && call.name.starts_with("index/") { self.0.lock().unwrap().take() } else { None };
        if let Some(other) = other {
            assert!(collect(&other, 0, &[]).files_deleted > 0);
        }
        run()
    }
}

#[test]
fn a_merge_beside_a_collection_does_not_bring_back_what_was_deleted() {
    let memory = Memory::new();
    let overlapping = Arc::new(Overlapping::default());
    let place = Wrapped::new(Arc::new(memory.clone()), Arc::clone(&overlapping));
    let store = Store::create(Arc::new(place), seeded(1)).unwrap();
    for n in 0..100 {
        store.put(&noise(n, 3000)).unwrap();
    }
    store.flush().unwrap();
    store.inner.index.merge_all().unwrap();
    *overlapping.0.lock().unwrap() = Some(Store::open(Arc::new(memory.clone()), seeded(2)).unwrap());
    store.inner.index.merge_all().unwrap();
    assert!(overlapping.0.lock().unwrap().is_none(), "nobody has collected in between");
    assert_eq!(findings(&Store::open(Arc::new(memory), seeded(3)).unwrap(), true), []);
    assert_eq!(findings(&store, true), []);
}
