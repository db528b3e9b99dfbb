//! Rot and crashes told apart: every bit of small files, every length of a journal.

use std::sync::Arc;

use syncline_base::Hash;

use super::Finding;
use crate::backend::Backend;
use crate::backend::memory::Memory;
use crate::store::tests::{noise, small, text};
use crate::store::{Options, Store};

fn options(seed: u64) -> Options {
    // No segments but those that a test makes: what is not indexed is the harder case.
    Options { fold_objects: 1 << 20, seed: Some(seed), ..small() }
}

/// Frames of all kinds in a journal that goes on: shared and compressed, plain, a chain of patches.
fn journal(seal: bool) -> (Memory, Vec<Hash>) {
    let memory = Memory::new();
    let options = if seal { Options { journal_bytes: 4 << 10, ..options(1) } } else { options(1) };
    let store = Store::create(Arc::new(memory.clone()), options).unwrap();
    let mut ids = vec![store.put(b"short").unwrap(), store.put(&text(1, 300)).unwrap()];
    store.flush().unwrap();
    let mut bytes = noise(2, 700);
    ids.push(store.put(&bytes).unwrap());
    store.flush().unwrap();
    bytes[5] ^= 1;
    ids.push(store.put_with_base(&bytes, &ids[2]).unwrap());
    store.flush().unwrap();
    if seal {
        ids.push(store.put(&noise(3, 3800)).unwrap());
        store.flush().unwrap();
    }
    (memory, ids)
}

fn pack() -> (Memory, Vec<Hash>) {
    let memory = Memory::without_append();
    let store = Store::create(Arc::new(memory.clone()), options(1)).unwrap();
    let ids = vec![store.put(&noise(4, 300)).unwrap(), store.put(&text(5, 400)).unwrap()];
    store.flush().unwrap();
    (memory, ids)
}

/// The same place with other bytes under one name.
fn with(memory: &Memory, append: bool, name: &str, bytes: &[u8]) -> Memory {
    let copy = if append { Memory::new() } else { Memory::without_append() };
    for (other, size) in memory.list("").unwrap() {
        let content = if other == name { bytes.to_vec().into() } else { memory.read(&other, 0..size).unwrap() };
        copy.put(&other, content).unwrap();
    }
    copy
}

fn verified(store: &Store, deep: bool) -> Vec<Finding> {
    let mut found = Vec::new();
    store.verify(deep, &mut |finding| found.push(finding)).unwrap();
    found
}

fn only(memory: &Memory, folder: &str) -> (String, Vec<u8>) {
    let (name, size) = memory.list(folder).unwrap().pop().unwrap();
    let bytes = memory.read(&name, 0..size).unwrap().to_vec();
    (name, bytes)
}

#[test]
fn every_flipped_bit_is_named_with_its_file() {
    for (folder, append, (memory, ids)) in
        [("journal/", true, journal(false)), ("journal/", true, journal(true)), ("packs/", false, pack())]
    {
        let (name, good) = only(&memory, folder);
        for bit in 0..good.len() * 8 {
            let mut bytes = good.clone();
            bytes[bit / 8] ^= 1 << (bit % 8);
            let copy = with(&memory, append, &name, &bytes);
            let store = Store::open(Arc::new(copy), options(2)).unwrap();
            let found = verified(&store, bit % 2 == 0);
            assert!(found.iter().any(|finding| finding.file == name), "bit {bit} of {name}: {found:?}");
            for id in &ids {
                assert!(store.get(id).is_ok_and(|bytes| Hash::of(&bytes) == *id) || store.get(id).is_err());
            }
        }
    }
}

#[test]
fn rot_at_the_end_is_not_written_over() {
    let (memory, ids) = journal(false);
    let (name, good) = only(&memory, "journal/");
    for at in [good.len() - 1, good.len() - 60] {
        let mut bytes = good.clone();
        bytes[at] ^= 16;
        let copy = with(&memory, true, &name, &bytes);
        let store = Store::open(Arc::new(copy.clone()), options(2)).unwrap();
        let new = store.put(b"goes on").unwrap();
        store.flush().unwrap();
        assert_eq!(copy.list("journal/").unwrap().len(), 2);
        assert_eq!(copy.size(&name).unwrap(), Some(good.len() as u64));
        let store = Store::open(Arc::new(copy), options(3)).unwrap();
        assert!(store.get(&new).is_ok() && store.get(&ids[2]).is_ok());
        assert_eq!(verified(&store, false).len(), 1);
    }
}

#[test]
fn an_append_that_was_cut_short_is_no_damage() {
    let (memory, ids) = journal(false);
    let (name, good) = only(&memory, "journal/");
    let store = Store::open(Arc::new(memory.clone()), options(2)).unwrap();
    let last = store.get(&ids[3]).unwrap();
    let found = |bytes: &[u8]| {
        let copy = with(&memory, true, &name, bytes);
        let store = Store::open(Arc::new(copy), options(2)).unwrap();
        let found = verified(&store, true);
        // Whatever is left of it, writing goes on, and brings back what was not acknowledged.
        store.put(&store.get(&ids[2]).unwrap_or_else(|_| noise(2, 700).into())).unwrap();
        assert_eq!(store.put(&last).unwrap(), ids[3]);
        store.flush().unwrap();
        assert!(store.get(&ids[3]).is_ok());
        found
    };
    for cut in 0..good.len() {
        assert_eq!(found(&good[..cut]), [], "cut at {cut}");
    }
    assert_eq!(found(&[0; 100]), []);
    assert_eq!(found(&[&good[..], &[0; 100]].concat()), []);
}

#[test]
fn a_journal_that_lost_what_was_acknowledged_is_damage() {
    let (memory, ids) = journal(false);
    let (name, good) = only(&memory, "journal/");
    let store = Store::open(Arc::new(memory.clone()), options(2)).unwrap();
    // The head is written after a flush, by a process that need not be the one that flushed last.
    let new = store.put(b"the last").unwrap();
    store.flush().unwrap();
    let (_, version) = store.head().unwrap();
    store.swap_head(&version, new.as_bytes()).unwrap();
    let (_, whole) = only(&memory, "journal/");
    assert!(whole.len() > good.len());
    for cut in 0..whole.len() {
        for zeros in [0, whole.len() - cut] {
            let mut bytes = whole[..cut].to_vec();
            bytes.resize(cut + zeros, 0);
            if bytes == whole {
                continue;
            }
            let copy = with(&memory, true, &name, &bytes);
            let store = Store::open(Arc::new(copy.clone()), options(3)).unwrap();
            let found = verified(&store, false);
            assert!(found.iter().any(|finding| finding.file == name), "cut at {cut}: {found:?}");
            // What is left of it is not written over.
            store.put(b"goes on").unwrap();
            store.flush().unwrap();
            assert_eq!(copy.size(&name).unwrap(), Some(bytes.len() as u64));
        }
    }
    // Bytes behind the mark may be torn, and the mark stays when others move the head.
    let other = Store::open(Arc::new(memory.clone()), options(4)).unwrap();
    let (_, version) = other.head().unwrap();
    other.swap_head(&version, b"again").unwrap();
    let copy = with(&memory, true, &name, &[&whole[..], &whole[..30]].concat());
    assert_eq!(verified(&Store::open(Arc::new(copy), options(5)).unwrap(), true), []);
    let copy = with(&memory, true, &name, &whole[..whole.len() - 1]);
    assert_eq!(verified(&Store::open(Arc::new(copy), options(5)).unwrap(), true).len(), 1);
    assert!(store.get(&ids[0]).is_ok());
}

#[test]
fn a_pack_that_is_cut_or_gone_is_named_with_its_objects() {
    let (memory, ids) = pack();
    let (name, good) = only(&memory, "packs/");
    for cut in 0..good.len() {
        let copy = with(&memory, false, &name, &good[..cut]);
        let found = verified(&Store::open(Arc::new(copy), options(2)).unwrap(), false);
        assert!(found.iter().any(|finding| finding.file == name), "cut at {cut}: {found:?}");
    }
    let store = Store::open(Arc::new(memory.clone()), options(2)).unwrap();
    store.inner.index.merge_all().unwrap();
    drop(store);
    memory.delete(&name).unwrap();
    let found = verified(&Store::open(Arc::new(memory), options(2)).unwrap(), false);
    let mut expected = ids;
    expected.sort_unstable();
    assert_eq!(found, [Finding { file: name, ids: expected, reason: "the file is gone".to_owned() }]);
}
