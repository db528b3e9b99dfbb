use proptest::prelude::*;

use super::*;

pub(crate) fn object(seed: u64, length: usize, depth: u8) -> Stored {
    let mut payload = vec![0; length];
    syncline_base::rng::Rng::from_seed(seed).fill(&mut payload);
    Stored {
        id: Hash::of(&payload),
        codec: 17,
        depth,
        bases: match depth {
            0 => Bases::none(),
            _ if seed.is_multiple_of(3) => Bases::two(seed, !seed),
            _ => Bases::one(seed),
        },
        chain: if depth > 0 { 300 } else { 0 },
        raw_len: 70_000,
        payload: payload.into(),
    }
}

fn joined(built: &Built) -> Bytes {
    let bytes = built.parts.concat();
    assert_eq!(bytes.len(), built.len as usize);
    bytes.into()
}

fn check(objects: &[Stored]) {
    let bytes = joined(&build(objects).unwrap());
    assert_eq!(parse(&bytes).unwrap().objects, objects);
    assert_eq!(Header::parse(&bytes).unwrap().frame_len(), bytes.len() as u64);
}

#[test]
fn what_is_built_is_read_back() {
    check(&[object(1, 0, 0)]);
    check(&[object(1, SMALL + 1, 0)]);
    check(&[object(1, 3 << 20, 16)]);
    check(&(0..600).map(|n| object(n, 60, 1)).collect::<Vec<_>>());
    check(&(0..MAX_SLOTS as u64).map(|n| object(n, 1, 0)).collect::<Vec<_>>());
}

#[test]
fn repeated_ids_cost_little() {
    let leaves: Vec<Stored> = (0..600).map(|n| object(n, 60, 1)).collect();
    let alone = build(&leaves).unwrap().len;
    let mut parent = object(9, 0, 1);
    parent.payload = leaves.iter().take(100).flat_map(|leaf| *leaf.id.as_bytes()).collect::<Vec<_>>().into();
    let with_parent = build(&leaves.iter().cloned().chain([parent]).collect::<Vec<_>>()).unwrap().len;
    assert!(with_parent - alone < 1000, "{} bytes for a node that repeats 100 ids", with_parent - alone);
}

#[test]
fn tables_are_as_documented() {
    let two = Stored { bases: Bases::two(0x0807_0605_0403_0201, 0x1817_1615_1413_1211), ..object(3, 2, 5) };
    let one = Stored { bases: Bases::one(9), ..object(4, 1, 1) };
    let payload = [&two.payload[..], &one.payload].concat();
    let mut want = vec![2];
    want.extend_from_slice(two.id.as_bytes());
    want.extend_from_slice(&[17, 0x85, 1, 2, 3, 4, 5, 6, 7, 8, 0x11, 0x12, 0x13, 0x14, 0x15, 0x16, 0x17, 0x18]);
    want.extend_from_slice(&[0xac, 2, 0xf0, 0xa2, 4, 2]);
    want.extend_from_slice(one.id.as_bytes());
    want.extend_from_slice(&[17, 1, 9, 0, 0, 0, 0, 0, 0, 0, 0xac, 2, 0xf0, 0xa2, 4, 1]);
    want.extend_from_slice(&payload);
    let objects = [two, one];
    assert_eq!(read_body(&want.clone().into(), false).unwrap().objects, objects);
    // A second base without a first one.
    want[34] = 0x80;
    assert!(read_body(&want.into(), false).is_err());

    let mut want = vec![2];
    objects.iter().for_each(|object| want.extend_from_slice(object.id.as_bytes()));
    want.extend_from_slice(&[17, 17, 0x85, 1]);
    want.extend_from_slice(&[1, 2, 3, 4, 5, 6, 7, 8, 0x11, 0x12, 0x13, 0x14, 0x15, 0x16, 0x17, 0x18]);
    want.extend_from_slice(&[9, 0, 0, 0, 0, 0, 0, 0, 0xac, 2, 0xac, 2, 0xf0, 0xa2, 4, 0xf0, 0xa2, 4, 2, 1]);
    want.extend_from_slice(&payload);
    let built = joined(&build(&objects).unwrap());
    assert_eq!(built[4], COLUMNS);
    assert_eq!(built[HEADER..], want);
    want[67] = 0x80;
    assert!(read_body(&want.into(), true).is_err());
}

#[test]
fn what_the_fuzzer_seals_is_read() {
    let built = joined(&build(&[object(1, 20, 0), object(2, 20, 1)]).unwrap());
    let again = sealed(built[4], u32::try_from(built.len() - HEADER).unwrap(), &built[HEADER..]);
    assert_eq!(again, built);
}

#[test]
fn a_patch_of_an_inner_node_costs_little_beside_its_leaves() {
    let leaves: Vec<Stored> = (0..400).map(|n| object(n, 6, 1)).collect();
    let mut parent = object(9, 0, 1);
    parent.payload = leaves.iter().flat_map(|leaf| *leaf.id.as_bytes()).collect::<Vec<_>>().into();
    assert!(parent.payload.len() > SMALL && parent.is_small());
    let alone = build(&leaves).unwrap().len;
    let with_parent = build(&leaves.iter().cloned().chain([parent]).collect::<Vec<_>>()).unwrap().len;
    assert!(with_parent - alone < 200, "{} bytes for a node that repeats 400 ids", with_parent - alone);
}

#[test]
fn a_one_object_frame_is_small() {
    assert!(build(&[object(1, 100, 1)]).unwrap().len <= 175);
}

#[test]
fn footers_and_frames_are_not_mistaken_for_each_other() {
    let footer = build_footer(b"entries").unwrap();
    assert_eq!(parse_footer(&footer).unwrap(), &b"entries"[..]);
    assert!(parse(&footer).is_err());
    assert!(parse_footer(&joined(&build(&[object(1, 10, 0)]).unwrap())).is_err());
}

#[test]
fn every_flipped_bit_and_every_cut_is_found() {
    for objects in [vec![object(1, 90, 0)], (0..20).map(|n| object(n % 3, 40, 1)).collect()] {
        let bytes = joined(&build(&objects).unwrap());
        for at in 0..bytes.len() * 8 {
            let mut bad = bytes.to_vec();
            bad[at / 8] ^= 1 << (at % 8);
            assert!(parse(&bad.into()).is_err(), "bit {at}");
        }
        for end in 0..bytes.len() {
            assert!(parse(&bytes.slice(..end)).is_err(), "cut at {end}");
        }
    }
}

proptest! {
    #[test]
    fn any_bytes_are_survived(bytes in proptest::collection::vec(any::<u8>(), 0..400)) {
        let _ = parse(&Bytes::from(bytes.clone()));
        let _ = read_body(&Bytes::from(bytes.clone()), false);
        let _ = read_body(&Bytes::from(bytes), true);
    }

    /// Past the checksum too: bodies that were altered, then summed again.
    #[test]
    fn altered_bodies_are_survived(
        edits in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..8),
        flags in 0u8..8,
    ) {
        let objects: Vec<Stored> = (0..5).map(|n| object(n, 30, u8::from(n % 2 == 0))).collect();
        let mut body = joined(&build(&objects).unwrap())[HEADER..].to_vec();
        for (at, value) in edits {
            let at = at.index(body.len());
            body[at] = value;
        }
        let _ = read_body(&Bytes::from(body.clone()), true);
        let header = Header::write(flags, body.len(), body.len() + usize::from(flags & 1) * 1000, &[&body]).unwrap();
        let frame = Bytes::from([&header[..], &body].concat());
        let _ = parse(&frame);
        let _ = parse_footer(&frame);
    }

    #[test]
    fn varints_round_trip(value in any::<u64>()) {
        let mut out = Vec::new();
        put_varint(&mut out, value);
        let mut at = 0;
        prop_assert_eq!(varint(&out, &mut at), Some(value));
        prop_assert_eq!(at, out.len());
    }
}
