use std::io::{Read, Seek, SeekFrom};
use std::sync::Arc;

use proptest::prelude::*;
use syncline_base::rng::Rng;
use syncline_store::backend::memory::Memory;
use syncline_store::{Options, Store, chunk};

use super::*;

fn store() -> Store {
    Store::create(Arc::new(Memory::new()), Options::default()).unwrap()
}

fn noise(seed: u64, len: usize) -> Vec<u8> {
    let mut rng = Rng::from_seed(seed);
    (0..len.div_ceil(8)).flat_map(|_| rng.next_u64().to_le_bytes()).take(len).collect()
}

/// The chunk ids and lengths of a content, from its tree.
fn chunks(store: &Store, content: &ContentRef) -> Vec<Child> {
    let mut level = vec![Child { id: content.root, len: content.len }];
    for height in (1..=content.height).rev() {
        let nodes =
            level.iter().map(|child| ListNode::expect(&store.get(&child.id).unwrap(), height, child.len).unwrap());
        level = nodes.flat_map(|node| node.children).collect();
    }
    if content.len == 0 { Vec::new() } else { level }
}

fn check(store: &Store, bytes: &[u8], content: &ContentRef) {
    assert_eq!(content.len, bytes.len() as u64);
    let mut back = Vec::new();
    read(store, content).unwrap().read_to_end(&mut back).unwrap();
    assert!(back == bytes, "reads back differently");
    let lens: Vec<usize> = chunks(store, content).iter().map(|child| child.len as usize).collect();
    assert_eq!(lens, chunk::lengths(bytes).collect::<Vec<_>>());
    assert!(same(store, content, bytes).unwrap());
}

#[test]
fn short_contents_are_a_single_chunk() {
    let store = store();
    assert_eq!(write_bytes(&store, b"", None).unwrap(), ContentRef::EMPTY);
    let one = write_bytes(&store, b"x", None).unwrap();
    assert_eq!(one, ContentRef { root: Hash::of(b"x"), len: 1, height: 0 });
    check(&store, b"", &ContentRef::EMPTY);
    check(&store, b"x", &one);
}

#[test]
fn long_contents_have_lists_and_can_be_read_from_anywhere() {
    let store = store();
    let bytes = noise(1, 24 << 20);
    let content = write_bytes(&store, &bytes, None).unwrap();
    assert!(content.height >= 2, "{content:?}");
    check(&store, &bytes, &content);
    let mut reader = read(&store, &content).unwrap();
    let mut rng = Rng::from_seed(2);
    for _ in 0..200 {
        let at = rng.below(bytes.len() as u64);
        let len = rng.below(100_000).min(bytes.len() as u64 - at) as usize;
        let mut piece = vec![0; len];
        reader.seek(SeekFrom::Start(at)).unwrap();
        reader.read_exact(&mut piece).unwrap();
        assert!(piece == bytes[at as usize..at as usize + len]);
    }
    reader.seek(SeekFrom::End(0)).unwrap();
    assert_eq!(reader.read(&mut [0]).unwrap(), 0);
    let mut copied = Vec::new();
    copy::<Error>(&store, &content, &mut copied, |error| source_failed(&error)).unwrap();
    assert!(copied == bytes);
}

#[test]
fn same_sees_every_difference() {
    let store = store();
    let bytes = noise(3, 1 << 20);
    let content = write_bytes(&store, &bytes, None).unwrap();
    for at in [0, 500_000, bytes.len() - 1] {
        let mut other = bytes.clone();
        other[at] ^= 1;
        assert!(!same(&store, &content, other.as_slice()).unwrap());
    }
    assert!(!same(&store, &content, &bytes[1..]).unwrap());
    assert!(!same(&store, &content, &bytes[..bytes.len() - 1]).unwrap());
    assert!(!same(&store, &content, [&bytes[..], b"x"].concat().as_slice()).unwrap());
    assert!(!same(&store, &ContentRef::EMPTY, &b"x"[..]).unwrap());
}

#[test]
fn list_nodes_survive_any_bytes() {
    let mut rng = Rng::from_seed(4);
    let children = (0..100).map(|n| Child { id: Hash::of(&[n]), len: u64::from(n) + 1 }).collect();
    let good = ListNode { level: 1, children }.encode();
    assert_eq!(ListNode::decode(&good).unwrap().encode(), good);
    for _ in 0..20_000 {
        let mut bytes = good.to_vec();
        for _ in 0..=rng.below(3) {
            let at = if rng.below(2) == 0 { rng.below(12) } else { rng.below(bytes.len() as u64) };
            bytes[at as usize] = rng.next_u64() as u8;
        }
        bytes.truncate(rng.below(bytes.len() as u64 * 2) as usize);
        if let Ok(node) = ListNode::decode(&bytes) {
            assert_eq!(node.encode(), bytes, "decodes what it would not encode");
        }
    }
}

#[test]
fn a_source_that_fails_gives_its_error() {
    struct Broken;
    impl Read for Broken {
        fn read(&mut self, _: &mut [u8]) -> std::io::Result<usize> {
            Err(std::io::Error::from(std::io::ErrorKind::PermissionDenied))
        }
    }
    let error = write(&store(), (&noise(5, 3 << 20)[..]).chain(Broken), None).unwrap_err();
    assert_eq!(error.kind(), Kind::Denied);
}

/// Bytes of all chunks as they are stored, those of `old` left out; and how many have two bases.
fn stored(store: &Store, content: &ContentRef, old: &ContentRef) -> (usize, usize) {
    let old = chunks(store, old);
    let new = chunks(store, content).into_iter().filter(|chunk| !old.contains(chunk));
    let objects: Vec<_> = new.map(|chunk| store.get_encoded(&chunk.id).unwrap()).collect();
    let two = objects.iter().filter(|object| object.bases.len() == 2).count();
    (objects.iter().map(|object| object.payload.len()).sum(), two)
}

#[test]
fn an_overwrite_of_a_cut_costs_what_it_overwrites() {
    let store = store();
    let mut bytes = noise(6, 3 << 20);
    let mut content = write_bytes(&store, &bytes, None).unwrap();
    let mut joined = 0;
    for round in 0..12 {
        let lens: Vec<usize> = chunks(&store, &content).iter().map(|child| child.len as usize).collect();
        let at: usize = lens[..2 + 2 * round].iter().sum::<usize>() - 2000;
        bytes.splice(at..at + 4096, noise(100 + round as u64, 4096));
        let next = write_bytes(&store, &bytes, Some(&content)).unwrap();
        let (cost, two) = stored(&store, &next, &content);
        assert!(cost < 4096 + 200, "{cost} bytes for an overwrite of 4 KiB");
        joined += two;
        check(&store, &bytes, &next);
        content = next;
    }
    assert!(joined > 6, "{joined}");
}

/// One edit of a content.
#[derive(Debug, Clone)]
enum Edit {
    Insert(usize, usize),
    Remove(usize, usize),
    Overwrite(usize, usize),
    /// Takes a range and puts it elsewhere.
    Move(usize, usize, usize),
    Repeat(usize),
}

fn edit(bytes: &mut Vec<u8>, edit: &Edit, seed: u64) {
    let place = |at: usize, len: usize| at * (len + 1) / 1000;
    let len = bytes.len();
    match *edit {
        Edit::Insert(at, n) => drop(bytes.splice(place(at, len)..place(at, len), noise(seed, n))),
        Edit::Remove(at, n) => drop(bytes.drain(place(at, len)..(place(at, len) + n).min(len))),
        Edit::Overwrite(at, n) => {
            let from = place(at, len);
            let to = (from + n).min(len);
            bytes.splice(from..to, noise(seed, to - from));
        }
        Edit::Move(from, n, to) => {
            let from = place(from, len);
            let taken: Vec<u8> = bytes.drain(from..(from + n).min(len)).collect();
            let at = place(to, bytes.len());
            bytes.splice(at..at, taken);
        }
        Edit::Repeat(n) => bytes.extend_from_within(..n.min(len)),
    }
}

fn edits() -> impl Strategy<Value = Edit> {
    let size = || prop_oneof![1usize..10, 1000usize..200_000, 500_000usize..3_000_000];
    prop_oneof![
        (0usize..1000, size()).prop_map(|(at, n)| Edit::Insert(at, n)),
        (0usize..1000, size()).prop_map(|(at, n)| Edit::Remove(at, n)),
        (0usize..1000, size()).prop_map(|(at, n)| Edit::Overwrite(at, n)),
        (0usize..1000, size(), 0usize..1000).prop_map(|(from, n, to)| Edit::Move(from, n, to)),
        size().prop_map(Edit::Repeat),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn a_previous_version_never_shows_in_the_result(
        len in 0usize..6_000_000,
        zeros in any::<bool>(),
        steps in proptest::collection::vec(proptest::collection::vec(edits(), 0..4), 1..4),
    ) {
        let store = store();
        let mut bytes = if zeros { vec![0; len] } else { noise(7, len) };
        let mut previous = write_bytes(&store, &bytes, None).unwrap();
        for (number, step) in steps.iter().enumerate() {
            for (index, one) in step.iter().enumerate() {
                edit(&mut bytes, one, (number * 10 + index) as u64);
            }
            let next = write_bytes(&store, &bytes, Some(&previous)).unwrap();
            prop_assert_eq!(next, write_bytes(&self::store(), &bytes, None).unwrap());
            check(&store, &bytes, &next);
            previous = next;
        }
    }
}
