//! Stores that earlier programs wrote still read.
//!
//! `fixtures/store/1` was written by the first program of format 1, `fixtures/store/2` by the first one that made patches on two
//! bases and tables by columns. `SYNCLINE_BLESS=1` writes the latest anew: only when a format is new, never to make this test
//! pass.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;
use syncline_base::Hash;
use syncline_base::rng::Rng;
use syncline_store::backend::Backend;
use syncline_store::backend::directory::Directory;
use syncline_store::backend::memory::Memory;
use syncline_store::{Bases, Encoded, Options, Store, codec};

const LATEST: u32 = 2;

fn fixture(number: u32) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("../../fixtures/store/{number}"))
}

fn options() -> Options {
    let small = Options { journal_bytes: 8 << 10, pack_bytes: 32 << 10, spill_bytes: 16 << 10, ..Options::default() };
    Options { fold_objects: 20, seed: Some(1), ..small }
}

/// What is in a fixture, in the order in which it was put: raw, compressed, patched, empty; in later ones also patched on two.
fn contents(number: u32) -> Vec<Vec<u8>> {
    let mut rng = Rng::from_seed(7);
    let mut all = vec![Vec::new()];
    for n in 0..40usize {
        let mut bytes = vec![0; n * 60];
        rng.fill(&mut bytes);
        if n % 3 == 0 {
            bytes.iter_mut().for_each(|byte| *byte = b'a' + *byte % 5);
        }
        all.push(bytes);
    }
    let mut version = vec![0; 9000];
    rng.fill(&mut version);
    for n in 0..5 {
        all.push(version.clone());
        version[n * 100] ^= 1;
    }
    for n in 0..if number > 1 { 2 } else { 0 } {
        all.push([&all[ONE + n][2000..], &all[OTHER][..2000 + n]].concat());
    }
    all
}

/// The two contents that others are made of, by their places; `FIRST_ON_TWO` is the place of the first of those.
const ONE: usize = 44;
const OTHER: usize = 39;
const FIRST_ON_TWO: usize = 46;

fn bless(to: &Path) {
    let _ = fs::remove_dir_all(to);
    let store = Store::create(Arc::new(Directory::new(to)), options()).unwrap();
    let all = contents(LATEST);
    let mut last = Hash::ZERO;
    for (n, bytes) in all.iter().enumerate() {
        last = match n {
            0..=41 => store.put(bytes),
            42..FIRST_ON_TWO => store.put_with_base(bytes, &last),
            _ => store.put_with_bases(bytes, on_two(&all, n)),
        }
        .unwrap();
        if n % 5 == 0 {
            store.flush().unwrap();
        }
    }
    let mut rng = Rng::from_seed(8);
    for _ in 0..4 {
        let mut bytes = vec![0; 6000];
        rng.fill(&mut bytes);
        let bytes = Bytes::from(bytes);
        store.put_encoded(Encoded::whole(Hash::of(&bytes), codec::RAW, 6000, bytes)).unwrap();
    }
    store.flush().unwrap();
    let (_, version) = store.head().unwrap();
    store.swap_head(&version, b"the head of the fixture").unwrap();
    let _ = fs::remove_dir_all(to.join("tmp"));
    let _ = fs::remove_dir_all(to.join("lock"));
}

fn on_two(all: &[Vec<u8>], n: usize) -> Bases {
    Bases::two(Hash::of(&all[ONE + n - FIRST_ON_TWO]), Hash::of(&all[OTHER]))
}

/// The files of a fixture in memory, so that reading them cannot change them.
fn loaded(number: u32, keep: impl Fn(&str) -> bool) -> Memory {
    let memory = Memory::new();
    let files = Directory::new(fixture(number));
    for (name, size) in files.list("").unwrap() {
        if keep(&name) {
            memory.put(&name, files.read(&name, 0..size).unwrap()).unwrap();
        }
    }
    memory
}

#[test]
fn format_1_still_reads() {
    if std::env::var_os("SYNCLINE_BLESS").is_some() {
        bless(&fixture(LATEST));
    }
    (1..=LATEST).for_each(reads);
}

fn reads(number: u32) {
    let whole = loaded(number, |_| true);
    for folder in ["packs/", "journal/", "index/"] {
        assert!(!whole.list(folder).unwrap().is_empty(), "the fixture has nothing in {folder}");
    }
    for memory in [whole, loaded(number, |name| !name.starts_with("index/"))] {
        let store = Store::open(Arc::new(memory), Options::default()).unwrap();
        let mut depths = Vec::new();
        let all = contents(number);
        for (n, bytes) in all.iter().enumerate() {
            let id = Hash::of(bytes);
            assert_eq!(store.get(&id).unwrap(), bytes);
            let object = store.get_encoded(&id).unwrap();
            depths.push(object.depth);
            assert!(n < FIRST_ON_TWO || object.bases == on_two(&all, n), "{n}: {:?}", object.bases);
        }
        assert_eq!(depths[FIRST_ON_TWO - 5..FIRST_ON_TWO], [0, 1, 2, 3, 4]);
        assert_eq!(store.head().unwrap().0, &b"the head of the fixture"[..]);
        let mut findings = Vec::new();
        store.verify(true, &mut |finding| findings.push(finding)).unwrap();
        assert_eq!(findings, []);
        assert_eq!(store.usage().unwrap().objects, 3 + all.len() as u64);
    }
}
