use proptest::prelude::*;

use super::*;
use crate::backend::memory::Memory;

fn entries(count: u64) -> Vec<(Hash, Loc)> {
    let loc = |n: u64| {
        let n = u32::try_from(n).unwrap();
        Loc { file: n % 3, offset: n, len: 50, slot: 1, count: 2, depth: 3 }
    };
    let mut all: Vec<_> = (0..count).map(|n| (Hash::of(&n.to_le_bytes()), loc(n))).collect();
    all.sort_unstable_by_key(|entry| entry.0);
    all
}

fn covers() -> Vec<Cover> {
    (0..3).map(|n| Cover { name: format!("packs/{n}"), from: n, to: 1000 * n }).collect()
}

fn written(all: &[(Hash, Loc)]) -> (Memory, Segment) {
    let memory = Memory::new();
    let upload = memory.create("index/a").unwrap();
    write(&*upload, &covers(), all.len() as u64, all.iter().copied().map(Ok)).unwrap();
    upload.publish().unwrap();
    let size = memory.size("index/a").unwrap().unwrap();
    let segment = Segment::open(&memory, "index/a", size).unwrap();
    (memory, segment)
}

#[test]
fn every_entry_is_found_and_nothing_else() {
    for count in [0, 1, 127, 128, 129, 5000] {
        let all = entries(count);
        let (memory, segment) = written(&all);
        assert_eq!(segment.covers, covers());
        assert_eq!(segment.iter(&memory).collect::<Result<Vec<_>>>().unwrap(), all);
        for (n, (id, loc)) in all.iter().enumerate() {
            assert_eq!(segment.places(&memory, id).unwrap(), [(n as u64, *loc)]);
            assert_eq!(segment.with_prefix(&memory, id.prefix_u64()).unwrap(), [(*id, *loc)]);
        }
        let absent = (0..5000u64).map(|n| Hash::of(&(n + 1_000_000).to_le_bytes()));
        let passed = absent.filter(|id| {
            assert_eq!(segment.places(&memory, id).unwrap(), []);
            segment.may_have(id)
        });
        assert!(passed.count() < 200, "the filter lets too much through");
    }
}

#[test]
fn ids_that_share_a_prefix_are_all_found_across_blocks() {
    let mut all = entries(1000);
    let prefix = *all[500].0.as_bytes();
    for n in 0..300u32 {
        let mut id = prefix;
        id[28..].copy_from_slice(&n.to_be_bytes());
        all.push((Hash::from_bytes(id), all[0].1));
    }
    all.sort_unstable_by_key(|entry| entry.0);
    let (memory, segment) = written(&all);
    assert_eq!(segment.with_prefix(&memory, all[600].0.prefix_u64()).unwrap().len(), 301);
    assert!(all.iter().all(|(id, _)| !segment.places(&memory, id).unwrap().is_empty()));
}

#[test]
fn every_place_of_an_id_is_kept_once() {
    let mut all = entries(300);
    let (id, first) = all[127];
    let (second, third) = (Loc { offset: 999, ..first }, Loc { file: 0, offset: 7, depth: 9, ..first });
    for loc in [third, first, second] {
        all.insert(128, (id, loc));
    }
    let (memory, segment) = written(&all);
    assert_eq!(segment.entries, 302);
    assert_eq!(segment.places(&memory, &id).unwrap(), [(127, first), (128, second), (129, third)]);
    assert_eq!(segment.places(&memory, &all[131].0).unwrap(), [(130, all[131].1)]);
}

#[test]
fn damage_is_an_error_never_a_wrong_answer() {
    let all = entries(300);
    let (memory, whole) = written(&all);
    let size = memory.size("index/a").unwrap().unwrap();
    drop(whole);
    let bytes = memory.read("index/a", 0..size).unwrap();
    for at in 0..bytes.len() {
        let mut bad = bytes.to_vec();
        bad[at] ^= 0x10;
        let name = format!("index/{at}");
        memory.put(&name, bad.into()).unwrap();
        let Ok(segment) = Segment::open(&memory, &name, size) else { continue };
        for (id, loc) in all.iter().step_by(40) {
            if let Ok(found) = segment.places(&memory, id) {
                assert_eq!(found.into_iter().map(|found| found.1).collect::<Vec<_>>(), [*loc]);
            }
        }
        memory.delete(&name).unwrap();
    }
}

proptest! {
    #[test]
    fn any_bytes_are_survived(mut bytes in proptest::collection::vec(any::<u8>(), 0..300), lengths in any::<[u64; 2]>()) {
        let memory = Memory::new();
        memory.put("a", bytes.clone().into()).unwrap();
        let _ = Segment::open(&memory, "a", bytes.len() as u64);
        // With a right trailer around it, and lengths that may be anything.
        let meta = checksum(&bytes);
        let mut trailer = MAGIC.to_vec();
        trailer.extend(lengths[0].to_le_bytes());
        trailer.extend(lengths[1].to_le_bytes());
        trailer.extend(meta.to_le_bytes());
        trailer.extend([0; 8]);
        trailer.extend(checksum(&trailer).to_le_bytes());
        bytes.extend(trailer);
        memory.put("b", bytes.clone().into()).unwrap();
        let _ = Segment::open(&memory, "b", bytes.len() as u64);
        let _ = read_covers(&bytes);
    }
}
