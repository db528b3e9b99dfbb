use bytes::BytesMut;

use super::*;
use crate::backend::memory::Memory;
use crate::frame::{Stored, build};

fn object(n: u64, length: usize) -> Stored {
    let payload = vec![u8::try_from(n % 251).unwrap(); length];
    Stored {
        id: Hash::of(&n.to_le_bytes()),
        codec: 0,
        depth: 0,
        bases: crate::Bases::none(),
        chain: 0,
        raw_len: 9,
        payload: payload.into(),
    }
}

/// A file of `frames` frames of three objects each; with their offsets, and the entries.
fn file(frames: u64) -> (BytesMut, Vec<u64>, Vec<(Hash, Loc)>) {
    let (mut bytes, mut offsets, mut entries) = (BytesMut::new(), Vec::new(), Vec::new());
    for n in 0..frames {
        let built = build(&[object(3 * n, 100), object(3 * n + 1, 2000), object(3 * n + 2, 1)]).unwrap();
        let offset = u32::try_from(bytes.len()).unwrap();
        offsets.push(u64::from(offset));
        entries.extend(locate_built(7, offset, &built));
        built.parts.iter().for_each(|part| bytes.extend_from_slice(part));
    }
    (bytes, offsets, entries)
}

fn scan_bytes(bytes: &[u8]) -> (Scanned, Vec<u64>) {
    let memory = Memory::new();
    memory.put("f", Bytes::copy_from_slice(bytes)).unwrap();
    let mut seen = Vec::new();
    let scanned = scan(&memory, "f", 0, bytes.len() as u64, &mut |at, _, _| {
        seen.push(at);
        Ok(())
    });
    (scanned.unwrap(), seen)
}

#[test]
fn footers_list_every_object() {
    let (mut bytes, _, mut entries) = file(2000);
    let end = bytes.len() as u64;
    bytes.extend_from_slice(&footer(end, &mut entries).unwrap());
    let memory = Memory::new();
    memory.put("f", bytes.clone().freeze()).unwrap();
    let read = read_footer(&memory, "f", bytes.len() as u64, 7).unwrap().unwrap();
    assert_eq!(read, entries);
    let (scanned, seen) = scan_bytes(&bytes);
    assert!(scanned.sealed && scanned.damage.is_empty());
    assert_eq!((scanned.end, seen.len()), (bytes.len() as u64, 2000));
}

#[test]
fn a_torn_tail_is_not_damage() {
    let (bytes, offsets, _) = file(10);
    for cut in [1, 10, HEADER, HEADER + 1] {
        let end = usize::try_from(offsets[9]).unwrap() + cut;
        let (scanned, seen) = scan_bytes(&bytes[..end]);
        assert_eq!(scanned, Scanned { end: offsets[9], damage: vec![], sealed: false });
        assert_eq!(seen, offsets[..9]);
    }
}

#[test]
fn damage_in_the_middle_is_stepped_over() {
    let (mut bytes, offsets, _) = file(10);
    let at = usize::try_from(offsets[4]).unwrap();
    bytes[at + HEADER + 5] ^= 1;
    let (scanned, seen) = scan_bytes(&bytes);
    assert_eq!(scanned.damage, [(offsets[4], offsets[5])]);
    assert_eq!(scanned.end, bytes.len() as u64);
    assert_eq!(seen.len(), 9);
    // A damaged header hides the frame's length: the next frame is found all the same.
    bytes[at] ^= 1;
    assert_eq!(scan_bytes(&bytes).0.damage, [(offsets[4], offsets[5])]);
}

#[test]
fn locations_survive_their_sixteen_bytes() {
    let loc = Loc { file: 3, offset: u32::MAX, len: 77, slot: 2046, count: 2047, depth: 16 };
    let mut bytes = Vec::new();
    loc.write(&mut bytes);
    assert_eq!(Loc::read(bytes.first_chunk().unwrap()), loc);
}

#[test]
fn what_is_no_footer_is_none() {
    let memory = Memory::new();
    for (n, bytes) in [vec![], vec![0; 15], vec![0; 40], [&[255; 8][..], b"SLPEND1\n"].concat()].into_iter().enumerate()
    {
        let (name, size) = (n.to_string(), bytes.len() as u64);
        memory.put(&name, bytes.into()).unwrap();
        assert_eq!(read_footer(&memory, &name, size, 0).unwrap(), None);
    }
}
