//! Crashes and faults at every kind of place: what was acknowledged must be there, and nothing that is there may be wrong.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use proptest::prelude::*;
use syncline_base::rng::Rng;
use syncline_base::{Hash, Kind};

use super::tests::{noise, small};
use super::*;
use crate::Bases;
use crate::backend::directory::Directory;
use crate::backend::memory::Memory;
use crate::backend::object::ObjectBackend;
use crate::backend::wrap::{Call, Fault, Faults, Op};
use crate::error::{Error, Result};

/// What the test knows to be durable.
#[derive(Default)]
struct Model {
    flushed: BTreeMap<Hash, Vec<u8>>,
    put: BTreeMap<Hash, Vec<u8>>,
    /// Heads that may be the current one: the last acknowledged, and those whose fate is not known.
    heads: Vec<Vec<u8>>,
    last: Option<Hash>,
}

/// Does random things until the backend dies or enough were done.
fn work(store: &Store, model: &mut Model, rng: &mut Rng, steps: u64) -> Result<()> {
    for _ in 0..steps {
        match rng.below(10) {
            0..5 => {
                let bytes = noise(rng.next_u64(), 20 + usize::try_from(rng.below(9000)).unwrap());
                let id = store.put(&bytes)?;
                model.put.insert(id, bytes);
                model.last = Some(id);
            }
            5..7 => {
                let Some(base) = model.last else { continue };
                let known = model.put.get(&base).or_else(|| model.flushed.get(&base));
                let Some(mut bytes) = known.cloned() else { continue };
                let at = usize::try_from(rng.below(bytes.len() as u64)).unwrap();
                bytes[at] ^= 0x55;
                let mut bases = Bases::one(base);
                if let Some((id, more)) = model.flushed.iter().next()
                    && bytes.len() < 20_000
                    && bases.push(*id).is_ok()
                {
                    bytes.extend_from_slice(more);
                }
                let id = store.put_with_bases(&bytes, bases)?;
                model.put.insert(id, bytes);
                model.last = Some(id);
            }
            7..9 => {
                let put = std::mem::take(&mut model.put);
                let flushed = store.flush();
                if let Err(error) = flushed {
                    model.put = put;
                    return Err(error);
                }
                model.flushed.extend(put);
            }
            _ => {
                let (_, version) = store.head()?;
                let ids: Vec<u8> = model.flushed.keys().rev().take(3).flat_map(|id| *id.as_bytes()).collect();
                model.heads.push(ids.clone());
                store.swap_head(&version, &ids)?;
                model.heads = vec![ids];
            }
        }
    }
    Ok(())
}

fn check(backend: Arc<dyn Backend>, model: &Model) {
    let store = Store::open(backend, Options { seed: Some(77), ..small() }).unwrap();
    for (id, bytes) in &model.flushed {
        assert_eq!(store.get(id).unwrap(), bytes);
    }
    let head = store.head().unwrap().0;
    assert!(model.heads.iter().any(|known| *known == head));
    for id in head.chunks(32) {
        assert!(store.get(&Hash::from_slice(id).unwrap()).is_ok(), "the head names what is not there");
    }
    let mut findings = Vec::new();
    store.verify(true, &mut |finding| findings.push(finding)).unwrap();
    assert_eq!(findings, []);
}

fn run(seed: u64, append: bool) {
    let mut rng = Rng::from_seed(seed);
    let memory = if append { Memory::new() } else { Memory::without_append() };
    drop(Store::create(Arc::new(memory.clone()), small()).unwrap());
    // Before the first swap the head is empty.
    let mut model = Model { heads: vec![Vec::new()], ..Model::default() };
    for round in 0..4u64 {
        let (mut left, mut chance) = (rng.below(250), rng.clone());
        let faults = Faults::new(Arc::new(memory.clone()), move |_| {
            left = left.saturating_sub(1);
            if left == 0 {
                return if chance.below(2) == 0 { Fault::Die } else { Fault::Cut(chance.below(4000)) };
            }
            match chance.below(40) {
                0 => Fault::Fail(Kind::Unavailable),
                1 => Fault::Short(chance.below(3000)),
                2 => Fault::LostReply,
                _ => Fault::None,
            }
        });
        let options = Options { seed: Some(seed ^ (round << 32)), ..small() };
        let Ok(store) = Store::open(Arc::new(faults.clone()), options) else { continue };
        while !faults.is_dead() {
            match work(&store, &mut model, &mut rng, 50) {
                Ok(()) => {}
                Err(error) => assert!(!matches!(error, Error::Damaged { .. } | Error::Format { .. }), "{error}"),
            }
        }
        drop(store);
        // What was put and not flushed may be there or not.
        model.put.clear();
        model.last = model.flushed.keys().next().copied();
        check(Arc::new(memory.clone()), &model);
    }
}

/// A store after `steps` random steps, closed; what it holds, and the chance to go on with.
fn filled(seed: u64, steps: u64) -> (Memory, Model, Rng) {
    let memory = Memory::new();
    let store = Store::create(Arc::new(memory.clone()), small()).unwrap();
    let (mut rng, mut model) = (Rng::from_seed(seed), Model::default());
    work(&store, &mut model, &mut rng, steps).unwrap();
    store.flush().unwrap();
    model.flushed.extend(std::mem::take(&mut model.put));
    (memory, model, rng)
}

/// The same place, which dies for good in the call `at`.
fn dying(memory: &Memory, mut at: u64) -> Faults {
    Faults::new(Arc::new(memory.clone()), move |_| {
        at = at.saturating_sub(1);
        if at == 0 { Fault::Cut(100) } else { Fault::None }
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(60))]

    #[test]
    fn what_was_flushed_survives_any_crash(seed in any::<u64>()) {
        run(seed, true);
        run(seed, false);
    }

    /// Gc that dies anywhere leaves everything that is live, and a later gc finishes the job.
    #[test]
    fn gc_may_die_anywhere(seed in any::<u64>(), at in 1u64..120, min_live_percent in 0u8..80) {
        let (memory, model, _) = filled(seed, 300);
        let live: Vec<Hash> = model.flushed.keys().copied().step_by(3).collect();
        let mark = |marker: &mut Marker<'_>| live.iter().try_for_each(|id| marker.mark(id).map(drop));
        let options = GcOptions { grace_ms: 0, min_live_percent };
        let faults = dying(&memory, at);
        if let Ok(store) = Store::open(Arc::new(faults), Options { seed: Some(seed), ..small() }) {
            let _ = store.gc::<Error>(&options, mark);
        }
        let store = Store::open(Arc::new(memory), Options { seed: Some(seed ^ 1), ..small() }).unwrap();
        for again in [false, true] {
            if again {
                store.gc::<Error>(&options, mark).unwrap();
            }
            for id in &live {
                prop_assert_eq!(&store.get(id).unwrap(), &model.flushed[id]);
            }
            let mut findings = Vec::new();
            store.verify(true, &mut |finding| findings.push(finding)).unwrap();
            prop_assert_eq!(findings, [], "again: {}", again);
        }
    }

    /// Mending that dies anywhere loses nothing that could be read before, and may be run again.
    #[test]
    fn mending_may_die_anywhere(seed in any::<u64>(), at in 1u64..80, which in any::<prop::sample::Index>()) {
        let (memory, model, mut rng) = filled(seed, 300);
        let files = [memory.list("packs/").unwrap(), memory.list("journal/").unwrap()].concat();
        let (name, size) = &files[which.index(files.len())];
        let mut bytes = memory.read(name, 0..*size).unwrap().to_vec();
        let bit = rng.below(*size * 8);
        bytes[usize::try_from(bit / 8).unwrap()] ^= 1 << (bit % 8);
        memory.delete(name).unwrap();
        memory.put(name, bytes.into()).unwrap();

        let store = Store::open(Arc::new(memory.clone()), Options { seed: Some(seed), ..small() }).unwrap();
        let readable: Vec<&Hash> = model.flushed.keys().filter(|id| store.get(id).is_ok()).collect();
        let damaged = |store: &Store| {
            let mut files = std::collections::BTreeSet::new();
            store.verify(true, &mut |finding| files.extend([finding.file])).unwrap();
            files
        };
        let named = damaged(&store);
        prop_assert!(named.contains(name), "{:?}", named);
        drop(store);
        let faults = dying(&memory, at);
        if let Ok(store) = Store::open(Arc::new(faults), Options { seed: Some(seed ^ 2), ..small() }) {
            let _ = store.mend(&named, true);
        }
        let store = Store::open(Arc::new(memory), Options { seed: Some(seed ^ 1), ..small() }).unwrap();
        for again in [false, true] {
            if again {
                store.mend(&damaged(&store), true).unwrap();
                prop_assert!(damaged(&store).is_empty());
            }
            for id in &readable {
                prop_assert_eq!(&store.get(id).unwrap(), &model.flushed[*id]);
            }
        }
    }

    /// Wrong bits on the way from the disk are errors or are read again, never wrong bytes.
    #[test]
    fn flipped_bits_never_become_wrong_objects(seed in any::<u64>()) {
        let (memory, model, _) = filled(seed, 200);
        let mut chance = Rng::from_seed(seed);
        let faults = Faults::new(Arc::new(memory.clone()), move |_| {
            if chance.below(8) == 0 { Fault::Flip(chance.next_u64()) } else { Fault::None }
        });
        if let Ok(store) = Store::open(Arc::new(faults), small()) {
            for (id, bytes) in &model.flushed {
                if let Ok(got) = store.get(id) {
                    prop_assert_eq!(&got, bytes);
                }
            }
        }
        // Nor has reading damaged anything.
        let store = Store::open(Arc::new(memory), small()).unwrap();
        prop_assert!(model.flushed.iter().all(|(id, bytes)| store.get(id).unwrap() == bytes));
    }
}

/// A store whose publishing of packs goes as planned.
fn publishing(inner: Arc<dyn Backend>, mut fault: impl FnMut() -> Fault + Send + 'static) -> Store {
    let mut made = std::collections::BTreeSet::new();
    let plan = move |call: &Call<'_>| {
        // An upload is made with a call of the same kind.
        let packs = call.op == Op::Publish && call.name.starts_with("packs/");
        if packs && !made.insert(call.name.to_owned()) { fault() } else { Fault::None }
    };
    Store::create(Arc::new(Faults::new(inner, plan)), small()).unwrap()
}

#[test]
fn packs_that_cannot_be_published_do_not_pile_up() {
    let memory = Memory::without_append();
    let full = Arc::new(AtomicBool::new(true));
    let store = {
        let full = Arc::clone(&full);
        publishing(Arc::new(memory.clone()), move || {
            if full.load(Ordering::Relaxed) { Fault::Fail(Kind::Unavailable) } else { Fault::None }
        })
    };
    let mut ids = Vec::new();
    // Ten packs.
    let failed = (0..900).position(|n| match store.put(&noise(n, 3000)) {
        Ok(id) => {
            ids.push(id);
            false
        }
        Err(error) => error.kind() == Kind::Unavailable,
    });
    let failed = failed.expect("nobody was told that nothing can be published");
    assert!(failed < 300, "{failed}");
    full.store(false, Ordering::Relaxed);
    store.flush().unwrap();
    let again = Store::open(Arc::new(memory), small()).unwrap();
    assert!(ids.iter().all(|id| again.get(id).is_ok()));
}

#[test]
fn a_pack_whose_publishing_was_not_answered_is_published() {
    let directory = tempfile::tempdir().unwrap();
    let bucket = ObjectBackend::open("memory:///some/prefix").unwrap();
    let places: [Arc<dyn Backend>; 3] =
        [Arc::new(Memory::without_append()), Arc::new(Directory::new(directory.path())), Arc::new(bucket)];
    for place in places {
        let mut calls = 0;
        let store = publishing(Arc::clone(&place), move || {
            calls += 1;
            if calls == 1 { Fault::LostReply } else { Fault::None }
        });
        // Enough for a pack everywhere, and not for two.
        let ids: Vec<Hash> = (0..75).map(|n| store.put(&noise(n, 3000)).unwrap()).collect();
        assert_eq!(store.flush().unwrap_err().kind(), Kind::Unavailable);
        store.flush().unwrap();
        let again = Store::open(place, small()).unwrap();
        assert!(ids.iter().all(|id| again.get(id).is_ok()));
    }
}

#[test]
fn a_pack_for_which_there_is_no_thread_is_published_all_the_same() {
    for memory in [Memory::new(), Memory::without_append()] {
        let store = Store::create(Arc::new(memory.clone()), small()).unwrap();
        let ids: Vec<Hash> = (0..75).map(|n| store.put(&noise(n, 3000)).unwrap()).collect();
        let mut writer = store.writer();
        let pack = writer.pack.take().unwrap();
        writer.publish_beside(&store, pack, |_| Err(std::io::ErrorKind::WouldBlock.into())).unwrap();
        drop(writer);
        store.flush().unwrap();
        let again = Store::open(Arc::new(memory), small()).unwrap();
        assert!(ids.iter().all(|id| again.get(id).is_ok()));
    }
}

#[test]
fn an_index_that_cannot_be_kept_up_fails_no_flush() {
    let memory = Memory::new();
    let full = Arc::new(AtomicBool::new(false));
    let plan = {
        let full = Arc::clone(&full);
        move |call: &Call<'_>| {
            let index = call.op == Op::Write && call.name.starts_with("index/");
            if index && full.load(Ordering::Relaxed) { Fault::Short(0) } else { Fault::None }
        }
    };
    let options = |seed| Options { fold_objects: 1, seed: Some(seed), ..small() };
    let store = Store::create(Arc::new(Faults::new(Arc::new(memory.clone()), plan)), options(1)).unwrap();
    let mut ids: Vec<Hash> = Vec::new();
    let mut put = |n| {
        ids.extend([store.put(&noise(n, 300)).unwrap(), store.put(&noise(n + 1, 300)).unwrap()]);
        store.flush().unwrap();
    };
    put(0);
    // Another process merges what this one knows.
    let other = Store::open(Arc::new(memory.clone()), options(2)).unwrap();
    other.inner.index.merge_all().unwrap();
    put(2);
    full.store(true, Ordering::Relaxed);
    put(4);
    full.store(false, Ordering::Relaxed);
    put(6);
    for store in [store, Store::open(Arc::new(memory), options(3)).unwrap()] {
        assert!(ids.iter().all(|id| store.get(id).is_ok()));
    }
}

#[test]
fn what_another_process_wrote_and_took_back_is_not_believed() {
    let directory = tempfile::tempdir().unwrap();
    let place: Arc<dyn Backend> = Arc::new(Directory::new(directory.path()));
    let reader = Store::create(Arc::clone(&place), Options { seed: Some(2), ..small() }).unwrap();
    let fails = Arc::new(AtomicBool::new(false));
    let writer = {
        let fails = Arc::clone(&fails);
        let plan = move |call: &Call<'_>| {
            let append = call.op == Op::Write && call.name.starts_with("journal/");
            if append && fails.load(Ordering::Relaxed) { Fault::Short(u64::MAX) } else { Fault::None }
        };
        Store::open(Arc::new(Faults::new(Arc::clone(&place), plan)), small()).unwrap()
    };
    let kept = writer.put(&noise(1, 3000)).unwrap();
    writer.flush().unwrap();
    let (journal, at) = place.list("journal/").unwrap().remove(0);
    // Whole frames are there, and their sync fails.
    fails.store(true, Ordering::Relaxed);
    let lost = writer.put(&noise(2, 3000)).unwrap();
    assert!(writer.flush().is_err());
    assert!(reader.contains(&lost).unwrap() && reader.contains(&kept).unwrap());
    // It counts for nothing: what is put again is written again.
    let own = reader.work();
    own.put(&noise(2, 3000)).unwrap();
    assert!(own.inner.index.read().pending.contains_key(&lost));
    drop(own);
    reader.inner.index.write().pending.clear();
    *reader.writer() = write::Writer::default();
    // The writer takes back what it could not make durable, and something else comes there.
    place.append(&journal, at, &[]).unwrap();
    assert_eq!(reader.missing(&[Hash::of(b"nothing")]).unwrap().len(), 1);
    assert_eq!(reader.missing(&[lost, kept]).unwrap(), [lost]);
    assert!(reader.get(&lost).is_err());
    drop(writer);
    let writer = Store::open(Arc::clone(&place), Options { seed: Some(3), ..small() }).unwrap();
    let other = writer.put(&noise(3, 9000)).unwrap();
    writer.flush().unwrap();
    assert_eq!(place.list("journal/").unwrap().len(), 1);
    for store in [reader, Store::open(place, small()).unwrap()] {
        assert_eq!(store.get(&kept).unwrap(), noise(1, 3000));
        assert_eq!(store.get(&other).unwrap(), noise(3, 9000));
        store.put(&noise(2, 3000)).unwrap();
        store.flush().unwrap();
        assert_eq!(store.get(&lost).unwrap(), noise(2, 3000));
        let mut found = Vec::new();
        store.verify(true, &mut |finding| found.push(finding)).unwrap();
        assert_eq!(found, []);
    }
}

#[test]
fn what_was_taken_back_and_written_over_unseen_is_read_again() {
    let memory: Arc<dyn Backend> = Arc::new(Memory::new());
    let open = |seed| Store::open(Arc::clone(&memory), Options { seed: Some(seed), ..small() }).unwrap();
    drop(Store::create(Arc::clone(&memory), small()).unwrap());
    let (reader, writer) = (open(2), open(3));
    let kept = writer.put(&noise(1, 3000)).unwrap();
    writer.flush().unwrap();
    let (journal, at) = memory.list("journal/").unwrap().remove(0);
    let lost = writer.put(&noise(2, 3000)).unwrap();
    writer.flush().unwrap();
    assert!(reader.contains(&lost).unwrap());
    // What somebody left who was killed is there for whoever asks, once it is synced.
    let asks = Store::open(Arc::clone(&memory), Options { seed: Some(9), ..small() }).unwrap();
    assert_eq!(asks.lacking(&[lost, kept]).unwrap(), []);
    // As after a failed sync, and the reader does not look until there is more than before.
    memory.append(&journal, at, &[]).unwrap();
    let writer = open(4);
    let other = writer.put(&noise(3, 9000)).unwrap();
    writer.flush().unwrap();
    assert_eq!(reader.get(&other).unwrap(), noise(3, 9000));
    assert_eq!(reader.get(&kept).unwrap(), noise(1, 3000));
    assert!(reader.get(&lost).is_err());
    let last = reader.put(&noise(4, 3000)).unwrap();
    reader.flush().unwrap();
    let mut found = Vec::new();
    open(5).verify(true, &mut |finding| found.push(finding)).unwrap();
    assert_eq!(found, []);
    assert_eq!(open(6).get(&last).unwrap(), noise(4, 3000));
}

/// A journal of which a bit was read wrongly once is read again where the damage was, though nothing has been added to it.
#[test]
fn what_was_read_wrongly_once_is_found_at_the_next_look() {
    let memory = Memory::new();
    let store = Store::create(Arc::new(memory.clone()), small()).unwrap();
    let mut rng = Rng::from_seed(7);
    let objects: Vec<Vec<u8>> = (0..6).map(|_| (0..700).map(|_| rng.next_u64() as u8).collect()).collect();
    for object in &objects {
        store.put(object).unwrap();
        store.flush().unwrap();
    }
    drop(store);
    for wrong in 0..4 {
        let mut reads = 0;
        let plan = move |call: &Call<'_>| {
            let journal = call.op == Op::Read && call.name.starts_with("journal/");
            reads += u64::from(journal);
            // In the middle of it.
            if journal && reads == wrong + 1 { Fault::Flip(call.bytes * 4) } else { Fault::None }
        };
        let store = Store::open(Arc::new(Faults::new(Arc::new(memory.clone()), plan)), small()).unwrap();
        for object in &objects {
            match store.get(&Hash::of(object)) {
                Ok(got) => assert_eq!(&got, object),
                // The object's own frame was read wrongly.
                Err(error) => assert_eq!(error.kind(), Kind::Corrupt, "{error}"),
            }
        }
    }
}
