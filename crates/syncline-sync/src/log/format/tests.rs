//! Headers, marks and frames come back as they were written, and nothing else does.

use super::*;

const HEAD: Header =
    Header { id: *b"the id of a log!", serial: 7, oldest: 3, first: 1 << 40, previous_first: 99, previous_len: 4711 };
const NOTE: Mark = Mark { len: 41, offset: 65, durable: 65, first: 1 << 40, oldest: 3 };

#[test]
fn a_header_comes_back_and_no_flipped_bit_passes() {
    let bytes = HEAD.encode();
    assert_eq!(Header::decode(&bytes), Ok(HEAD));
    for bit in 0..HEADER * 8 {
        let mut bytes = bytes;
        bytes[bit / 8] ^= 1 << (bit % 8);
        assert_eq!(Header::decode(&bytes), Err(NoHeader::Bad), "bit {bit}");
    }
    assert_eq!(Header::decode(&bytes[..HEADER - 1]), Err(NoHeader::Bad));
}

#[test]
fn another_version_is_told_from_damage() {
    let mut bytes = HEAD.encode();
    bytes[8] = 2;
    let check = xxh3_64(&bytes[..56]);
    bytes[56..64].copy_from_slice(&check.to_le_bytes());
    assert_eq!(Header::decode(&bytes), Err(NoHeader::Version(2)));
}

#[test]
fn a_mark_verifies_in_its_segment_at_its_place_only() {
    let seed = HEAD.seed();
    let bytes = NOTE.encode(seed);
    assert_eq!(Mark::decode(&bytes, seed, 65), Some(NOTE));
    assert_eq!(Mark::decode(&bytes, seed, 66), None);
    for other in
        [Header { serial: 8, ..HEAD }, Header { first: 1, ..HEAD }, Header { id: *b"the id of a log?", ..HEAD }]
    {
        assert_eq!(Mark::decode(&bytes, other.seed(), 65), None);
    }
    for bit in 0..MARK * 8 {
        let mut bytes = bytes;
        bytes[bit / 8] ^= 1 << (bit % 8);
        assert_eq!(Mark::decode(&bytes, seed, 65), None, "bit {bit}");
    }
}

#[test]
fn a_record_verifies_at_its_position_only() {
    let checks: std::collections::BTreeSet<u64> = (0..1000).map(|at| check(5, at, b"record")).collect();
    assert_eq!(checks.len(), 1000);
    let mut out = Vec::new();
    push(&mut out, 5, 17, b"record");
    assert_eq!(frame(&out), Some((6, check(5, 17, b"record"))));
    assert_eq!(&out[FRAME..], b"record");
    assert_eq!(frame(&out[..FRAME - 1]), None);
}

#[test]
fn only_our_names_are_names() {
    assert_eq!(parse_name(&name(10, u64::MAX)), Some((10, u64::MAX)));
    for other in
        ["", ".log", "0000000a-00.log", "+000000a-0000000000000000.log", "0000000A-0000000000000000.log", "lock"]
    {
        assert_eq!(parse_name(other), None, "{other}");
    }
}
