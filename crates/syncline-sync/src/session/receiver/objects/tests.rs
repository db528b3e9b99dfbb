use syncline_base::Kind;
use syncline_store::Bases;
use syncline_store::codec::{MAX_OBJECT, ZSTD};

use super::*;

/// A tree node that claims this length.
fn object(n: u8, raw_len: usize, bases: Bases) -> Object {
    let payload = Bytes::from_static(b"some");
    let raw_len = u32::try_from(raw_len).unwrap();
    Object { id: Hash::of(&[n]), kind: 0x41, codec: ZSTD, bases, raw_len, rest: 0, payload }
}

fn lengths(objects: Vec<Object>) -> Vec<Vec<usize>> {
    let runs = Runs { rest: objects.into_iter().peekable() };
    runs.map(|run| run.unwrap().iter().map(|object| object.raw_len as usize).collect()).collect()
}

#[test]
fn what_is_decoded_at_once_is_bounded() {
    let whole = |n, raw_len| object(n, raw_len, Bases::none());
    let (half, over) = (RUN_BYTES / 2, RUN_BYTES + 1);
    let objects = vec![whole(0, half), whole(1, half), whole(2, 1), whole(3, over), whole(4, 7), whole(5, 8)];
    assert_eq!(lengths(objects), [vec![half, half], vec![1], vec![over], vec![7, 8]]);
    // As a peer would like it: the largest object there is, as often as a message takes it.
    let bombs = (0..200).map(|n| whole(n, MAX_OBJECT)).collect();
    assert!(lengths(bombs).iter().all(|run| run.len() == 1));
}

#[test]
fn a_patch_waits_for_its_base() {
    let objects =
        vec![object(0, 1, Bases::none()), object(1, 2, Bases::none()), object(2, 3, Bases::one(Hash::of(&[0])))];
    assert_eq!(lengths(objects), [vec![1, 2], vec![3]]);
}

#[test]
fn no_object_is_decoded_that_is_longer_than_its_kind_can_be() {
    let longest = [(0x41, MAX_OBJECT), (0x80, 327_680), (0x81, 25_608), (0, 64 << 20)];
    for (kind, longest) in longest {
        let mut object = object(0, longest, Bases::none());
        object.kind = kind;
        assert_eq!(lengths(vec![object.clone()]), [[longest]]);
        object.raw_len += 1;
        let error = Runs { rest: vec![object].into_iter().peekable() }.next().unwrap().unwrap_err();
        assert_eq!(error.kind(), Kind::Corrupt, "{error}");
    }
}
