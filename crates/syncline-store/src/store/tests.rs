//! The store on memory and on a directory: put, get, flush, head, reopening.

use syncline_base::Kind;

use super::*;
use crate::Bases;
use crate::backend::directory::Directory;
use crate::backend::memory::Memory;
use crate::codec::Encoded;

pub(super) fn noise(seed: u64, length: usize) -> Vec<u8> {
    let mut bytes = vec![0; length];
    Rng::from_seed(seed).fill(&mut bytes);
    bytes
}

/// Bytes that compress.
pub(super) fn text(seed: u64, length: usize) -> Vec<u8> {
    let mut rng = Rng::from_seed(seed);
    (0..length).map(|_| b'a' + u8::try_from(rng.below(6)).unwrap()).collect()
}

pub(super) fn small() -> Options {
    Options {
        spill_bytes: 64 << 10,
        pack_bytes: 256 << 10,
        journal_bytes: 64 << 10,
        fold_objects: 100,
        cache_bytes: 1 << 20,
        seed: Some(1),
        lock_wait_ms: 2000,
        ..Options::default()
    }
}

/// Runs a test on every kind of backend.
fn everywhere(test: impl Fn(Arc<dyn Backend>)) {
    test(Arc::new(Memory::new()));
    test(Arc::new(Memory::without_append()));
    let directory = tempfile::tempdir().unwrap();
    test(Arc::new(Directory::new(directory.path().join("store"))));
}

#[test]
fn objects_come_back_before_and_after_flush_and_after_reopening() {
    everywhere(|backend| {
        let store = Store::create(Arc::clone(&backend), small()).unwrap();
        let all: Vec<Vec<u8>> =
            (0..200).map(|n| if n % 2 == 0 { noise(n, 7 * n as usize) } else { text(n, 90 * n as usize) }).collect();
        let mut ids = Vec::new();
        for (n, bytes) in all.iter().enumerate() {
            ids.push(store.put(bytes).unwrap());
            assert_eq!(store.get(&ids[n]).unwrap(), bytes);
            if n % 17 == 0 {
                store.flush().unwrap();
            }
        }
        assert_eq!(store.get_many(&ids).unwrap(), all);
        store.flush().unwrap();
        assert_eq!(store.get_many(&ids).unwrap(), all);
        let again = Store::open(Arc::clone(&backend), small()).unwrap();
        assert_eq!(again.get_many(&ids).unwrap(), all);
        assert!(again.missing(&ids).unwrap().is_empty());
        ids.reverse();
        assert_eq!(again.get_many(&ids[3..5]).unwrap(), [&all[196][..], &all[195][..]]);
    });
}

#[test]
fn a_large_batch_goes_to_packs_and_small_ones_to_the_journal() {
    let memory = Memory::new();
    let store = Store::create(Arc::new(memory.clone()), small()).unwrap();
    let names = |prefix: &str| memory.list(prefix).unwrap().len();
    store.put(b"small").unwrap();
    store.flush().unwrap();
    assert_eq!((names("packs/"), names("journal/")), (0, 1));
    let ids: Vec<Hash> = (0..1000).map(|n| store.put(&noise(n, 3000)).unwrap()).collect();
    store.flush().unwrap();
    assert!(names("packs/") >= 8, "{}", names("packs/"));
    assert_eq!(names("journal/"), 1);
    assert!(names("index/") >= 1);
    let again = Store::open(Arc::new(memory.clone()), small()).unwrap();
    assert_eq!(again.get_many(&ids).unwrap().len(), 1000);
    // The index is a cache: without it everything is still found.
    for (name, _) in memory.list("index/").unwrap() {
        memory.delete(&name).unwrap();
    }
    let rebuilt = Store::open(Arc::new(memory), small()).unwrap();
    assert!(rebuilt.missing(&ids).unwrap().is_empty());
    assert_eq!(rebuilt.get(&ids[77]).unwrap(), noise(77, 3000));
}

#[test]
fn journals_are_sealed_and_still_read() {
    everywhere(|backend| {
        let store = Store::create(Arc::clone(&backend), small()).unwrap();
        let mut ids = Vec::new();
        for n in 0..100 {
            ids.push(store.put(&noise(n, 3000)).unwrap());
            store.flush().unwrap();
        }
        if backend.caps().append {
            assert!(backend.list("journal/").unwrap().len() >= 4);
        }
        assert_eq!(Store::open(backend, small()).unwrap().get_many(&ids).unwrap().len(), 100);
    });
}

#[test]
fn the_same_object_is_stored_once() {
    let store = Store::create(Arc::new(Memory::new()), small()).unwrap();
    let id = store.put(&noise(1, 50_000)).unwrap();
    store.flush().unwrap();
    let before = store.inner.backend.list("").unwrap();
    assert_eq!(store.put(&noise(1, 50_000)).unwrap(), id);
    store.flush().unwrap();
    assert_eq!(store.inner.backend.list("").unwrap(), before);
}

#[test]
fn a_second_process_sees_what_was_flushed_and_only_that() {
    everywhere(|backend| {
        let one = Store::create(Arc::clone(&backend), small()).unwrap();
        let two = Store::open(Arc::clone(&backend), Options { seed: Some(2), ..small() }).unwrap();
        let (a, b) = (one.put(b"from one").unwrap(), two.put(b"from two").unwrap());
        assert_eq!(two.get(&a).unwrap_err().kind(), Kind::NotFound);
        one.flush().unwrap();
        assert_eq!(two.get(&a).unwrap(), &b"from one"[..]);
        two.flush().unwrap();
        assert!(one.contains(&b).unwrap());
        // Both go on in turns on one journal.
        for n in 0..50u64 {
            let id = one.put(&n.to_le_bytes()).unwrap();
            one.flush().unwrap();
            let other = two.put(&(n + 1000).to_le_bytes()).unwrap();
            two.flush().unwrap();
            assert!(two.contains(&id).unwrap() && one.contains(&other).unwrap());
        }
    });
}

#[test]
fn what_was_not_flushed_is_gone_after_reopening() {
    everywhere(|backend| {
        let store = Store::create(Arc::clone(&backend), small()).unwrap();
        let kept = store.put(b"kept").unwrap();
        store.flush().unwrap();
        let lost: Vec<Hash> = (0..300).map(|n| store.put(&noise(n, 3000)).unwrap()).collect();
        drop(store);
        let again = Store::open(backend, small()).unwrap();
        assert!(again.contains(&kept).unwrap());
        // Whole packs may have been published by then; the last objects were in none.
        assert!(again.missing(&lost).unwrap().contains(&lost[299]));
    });
}

#[test]
fn chains_are_bounded_and_decode() {
    everywhere(|backend| {
        let store = Store::create(Arc::clone(&backend), small()).unwrap();
        let mut bytes = noise(5, 60_000);
        let mut ids = vec![store.put(&bytes).unwrap()];
        let mut versions = vec![bytes.clone()];
        for n in 0..40usize {
            bytes[n * 1000] ^= 0xff;
            ids.push(store.put_with_base(&bytes, &ids[n]).unwrap());
            versions.push(bytes.clone());
        }
        let depths: Vec<u8> = ids.iter().map(|id| store.get_encoded(id).unwrap().depth).collect();
        // A full chain goes on further down: first on the bottom, then on the patch that took the others in.
        assert_eq!(depths[..18], [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 1]);
        assert_eq!(depths[32..34], [16, 2]);
        store.flush().unwrap();
        let again = Store::open(backend, small()).unwrap();
        assert_eq!(again.get_many(&ids).unwrap(), versions);
        let third = again.get_encoded(&ids[3]).unwrap();
        assert_eq!((third.bases, third.codec), (Bases::one(ids[2]), crate::codec::ZSTD_PREFIX));
        assert!(third.payload.len() < 200, "{}", third.payload.len());
    });
}

#[test]
fn a_patch_has_its_bytes_from_two_bases() {
    everywhere(|backend| {
        let store = Store::create(Arc::clone(&backend), small()).unwrap();
        let (one, two) = (noise(1, 20_000), noise(2, 30_000));
        let bases = Bases::two(store.put(&one).unwrap(), store.put(&two).unwrap());
        let both = [&one[9000..], b"between", &two[..20_000]].concat();
        let id = store.put_with_bases(&both, bases).unwrap();
        store.flush().unwrap();
        for store in [store, Store::open(backend, small()).unwrap()] {
            assert_eq!(store.get(&id).unwrap(), both);
            let object = store.get_encoded(&id).unwrap();
            assert_eq!((object.bases, object.depth), (bases, 1));
            assert!(object.payload.len() < 100, "{}", object.payload.len());
        }
    });
}

/// How many patches have to be applied to get an object.
fn patches(store: &Store, id: &Hash) -> u64 {
    let object = store.get_encoded(id).unwrap();
    let below: u64 = object.bases.iter().map(|base| patches(store, base)).sum();
    assert_eq!(u64::from(object.depth), below + u64::from(!object.bases.is_empty()));
    u64::from(object.depth)
}

#[test]
fn patches_on_two_bases_stay_bounded() {
    for seed in 0..4 {
        let memory = Arc::new(Memory::new());
        let store = Store::create(memory.clone(), small()).unwrap();
        let mut rng = Rng::from_seed(seed);
        let mut all: Vec<(Hash, Vec<u8>)> = Vec::new();
        for n in 0..120 {
            // Each is made of halves of two that were put before, mostly of late ones.
            let pick = |rng: &mut Rng| all[all.len() - 1 - rng.below(all.len().min(6) as u64) as usize].clone();
            let (id, bytes) = if n < 6 {
                let bytes = noise(seed * 100 + n, 8000);
                (store.put(&bytes).unwrap(), bytes)
            } else {
                let ((a, first), (b, second)) = (pick(&mut rng), pick(&mut rng));
                let at = 1000 + rng.below(6000) as usize;
                let bytes = [&first[at..], &noise(rng.next_u64(), 9)[..], &second[..at]].concat();
                (store.put_with_bases(&bytes, Bases::two(a, b)).unwrap(), bytes)
            };
            assert!(patches(&store, &id) <= 16, "object {n}");
            all.push((id, bytes));
        }
        let two = |id: &Hash| store.get_encoded(id).unwrap().bases.len() == 2;
        assert!(all.iter().filter(|(id, _)| two(id)).count() > 10, "two bases are hardly ever used");
        store.flush().unwrap();
        let again = Store::open(memory, small()).unwrap();
        assert!(all.iter().all(|(id, bytes)| again.get(id).unwrap() == bytes));
    }
}

#[test]
fn patches_without_room_or_base_are_refused() {
    let store = Store::create(Arc::new(Memory::new()), small()).unwrap();
    let base = store.put(&noise(1, 1000)).unwrap();
    assert!(store.patch_room(&Bases::one(base), 400, 1000));
    assert!(!store.patch_room(&Bases::one(base), 501, 1000));
    assert!(!store.patch_room(&Bases::one(Hash::of(b"absent")), 1, 1000));
    let patch = |base, len: usize| {
        let payload = vec![0; len].into();
        Encoded::patch(Hash::of(b"x"), crate::codec::ZSTD_PREFIX, Bases::one(base), 1000, payload)
    };
    assert_eq!(store.put_encoded(patch(Hash::of(b"absent"), 10)).unwrap_err().kind(), Kind::NotFound);
    assert_eq!(store.put_encoded(patch(base, 600)).unwrap_err().kind(), Kind::Invalid);
    let unknown = Encoded::whole(Hash::of(b"x"), 99, 3, Bytes::from_static(b"abc"));
    assert_eq!(store.put_encoded(unknown).unwrap_err().kind(), Kind::Invalid);
    let baseless = Encoded::whole(Hash::of(b"x"), crate::codec::ZSTD_PREFIX, 3, Bytes::from_static(b"abc"));
    assert_eq!(store.put_encoded(baseless).unwrap_err().kind(), Kind::Invalid);
}

#[test]
fn a_wrong_hash_is_damage() {
    let store = Store::create(Arc::new(Memory::new()), small()).unwrap();
    let id = Hash::of(b"claimed");
    store.put_encoded(Encoded::whole(id, crate::codec::RAW, 4, Bytes::from_static(b"real"))).unwrap();
    assert_eq!(store.get(&id).unwrap_err().kind(), Kind::Corrupt);
    store.flush().unwrap();
    assert_eq!(store.get(&id).unwrap_err().kind(), Kind::Corrupt);
}

#[test]
fn the_head_moves_by_compare_and_swap() {
    everywhere(|backend| {
        let one = Store::create(Arc::clone(&backend), small()).unwrap();
        let two = Store::open(Arc::clone(&backend), Options { seed: Some(2), ..small() }).unwrap();
        let (empty, start) = one.head().unwrap();
        assert!(empty.is_empty());
        let first = one.swap_head(&start, b"first").unwrap();
        assert_eq!(two.swap_head(&start, b"late").unwrap_err().kind(), Kind::Conflict);
        let (bytes, seen) = two.head().unwrap();
        assert_eq!((&bytes[..], &seen), (&b"first"[..], &first));
        two.swap_head(&seen, b"second").unwrap();
        // Back to the same bytes is not back to the same state.
        let (_, seen) = two.head().unwrap();
        two.swap_head(&seen, b"first").unwrap();
        assert_eq!(one.swap_head(&first, b"stale").unwrap_err().kind(), Kind::Conflict);
        assert_eq!(one.swap_head(&head::never(), b"x").unwrap_err().kind(), Kind::Conflict);
    });
}

#[test]
fn stores_are_made_once_and_opened_only_when_there() {
    everywhere(|backend| {
        assert_eq!(Store::open(Arc::clone(&backend), small()).unwrap_err().kind(), Kind::NotFound);
        Store::create(Arc::clone(&backend), small()).unwrap();
        assert_eq!(Store::create(Arc::clone(&backend), small()).unwrap_err().kind(), Kind::Conflict);
    });
    let future = Memory::new();
    future.put("store.json", Bytes::from_static(br#"{"format":9,"hash":"blake3-256"}"#)).unwrap();
    assert_eq!(Store::open(Arc::new(future), small()).unwrap_err().kind(), Kind::Invalid);
    let other = Memory::new();
    other.put("store.json", Bytes::from_static(br#"{"format":1,"hash":"sha-256"}"#)).unwrap();
    let error = Store::open(Arc::new(other), small()).unwrap_err().to_string();
    assert!(error.contains("sha-256") && !error.contains("reads up to"), "{error}");
}

#[test]
fn concurrent_puts_and_flushes_lose_nothing() {
    everywhere(|backend| {
        let store = Store::create(Arc::clone(&backend), small()).unwrap();
        let threads: Vec<_> = (0..4)
            .map(|t| {
                let store = store.clone();
                syncline_base::task::spawn("writer", move || {
                    let put = |n: u64| {
                        let id = store.put(&noise(t * 1000 + n % 60, 2000)).unwrap();
                        if n.is_multiple_of(10) {
                            store.flush().unwrap();
                        }
                        assert!(store.contains(&id).unwrap());
                        id
                    };
                    let ids: Vec<Hash> = (0..100).map(put).collect();
                    store.flush().unwrap();
                    ids
                })
                .unwrap()
            })
            .collect();
        let ids: Vec<Hash> = threads.into_iter().flat_map(|thread| thread.join().unwrap()).collect();
        assert!(Store::open(backend, small()).unwrap().get_many(&ids).is_ok());
    });
}

#[test]
fn a_deeper_copy_of_a_base_does_not_hide_the_one_that_patches_were_made_on() {
    for fold_objects in [1, 1000] {
        let memory: Arc<dyn Backend> = Arc::new(Memory::new());
        let options = |seed| Options { seed: Some(seed), fold_objects, ..small() };
        let one = Store::create(Arc::clone(&memory), options(1)).unwrap();
        let two = Store::open(Arc::clone(&memory), options(2)).unwrap();
        let version = |n: usize| {
            let mut bytes = noise(3, 40_000);
            bytes[n * 1000..n * 1000 + 8].fill(0x55);
            bytes
        };
        let low = one.put(&version(0)).unwrap();
        let base = one.put_with_base(&version(1), &low).unwrap();
        let patch = one.put_with_base(&version(2), &base).unwrap();
        assert_eq!(one.get_encoded(&patch).unwrap().depth, 2);
        one.flush().unwrap();
        // Not seen by the other one, which has come to the same base by a longer way.
        let mut top = two.put(&version(10)).unwrap();
        for n in 11..14 {
            top = two.put_with_base(&version(n), &top).unwrap();
        }
        assert_eq!(two.put_with_base(&version(1), &top).unwrap(), base);
        assert_eq!(two.get_encoded(&base).unwrap().depth, 4);
        two.flush().unwrap();
        let fresh = Store::open(Arc::clone(&memory), options(3)).unwrap();
        for store in [&one, &two, &fresh] {
            assert_eq!(store.get(&patch).unwrap(), version(2));
            assert_eq!(store.get(&base).unwrap(), version(1));
        }
        let mut found = Vec::new();
        fresh.verify(true, &mut |finding| found.push(finding)).unwrap();
        assert_eq!(found, []);
        // A collection keeps the copy that the patch needs.
        let options = GcOptions { grace_ms: 0, min_live_percent: 50 };
        fresh.gc::<crate::Error>(&options, |marker| marker.mark(&patch).map(drop)).unwrap();
        for store in [fresh, Store::open(memory, small()).unwrap()] {
            assert_eq!(store.get(&patch).unwrap(), version(2));
        }
    }
}
