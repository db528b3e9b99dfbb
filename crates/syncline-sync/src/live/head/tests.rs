use super::*;

fn sums(n: u8) -> Sums {
    let mut sums = Sums::default();
    (0..n).for_each(|n| sums.push(|sum| sum_with(sum, &[n])));
    sums
}

#[test]
fn a_chain_has_one_hash_for_each_transaction() {
    let mut all = sums(4);
    let expected = [&b"\0"[..], &b"\x01"[..]].iter().fold(Hash::ZERO, |sum, bytes| sum_with(&sum, bytes));
    assert_eq!((all.at(0), all.at(2), all.at(5)), (Some(Hash::ZERO), Some(expected), None));
    all.trim(3);
    assert_eq!((all.at(2), all.at(3).is_some(), all.at(4)), (None, true, sums(4).at(4)));
    all.pop();
    assert_eq!((all.at(4), all.at(3)), (None, sums(3).at(3)));
    all.trim(99);
    assert_eq!(all.at(3), sums(3).at(3), "the newest stays");
    all.push_unknown();
    all.push(|sum| sum_with(sum, b"x"));
    assert_eq!((all.at(4), all.at(5)), (None, None), "nobody knows what the hash is over");
    let mut told = Sums::told(7, Some(expected));
    told.push(|sum| sum_with(sum, b"x"));
    assert_eq!((told.at(7), told.at(8)), (Some(expected), Some(sum_with(&expected, b"x"))));
}

#[test]
fn so_many_are_kept_and_no_more() {
    let mut sums = Sums::default();
    (0..KEPT + 10).for_each(|_| sums.push(|sum| sum_with(sum, b"")));
    assert_eq!((sums.kept.len(), sums.at(10), sums.at(11).is_some()), (KEPT, None, true));
}

#[test]
fn a_head_is_signed_for_its_origin_and_seq_and_hash() {
    let (pair, other) = (KeyPair::of(&[1; 32]), KeyPair::of(&[2; 32]));
    let unsigned = Unsigned { nonce: [3; 16], seq: 5, sum: Hash::of(b"chain") };
    let head = unsigned.sign(&pair);
    let read = |change: &dyn Fn(&mut Vec<u8>)| {
        let mut out = Vec::new();
        head.put(&mut out);
        let mut bytes = out.to_vec();
        change(&mut bytes);
        Head::read(&mut Reader::new(bytes.into())).unwrap()
    };
    let same = read(&|_| {});
    assert_eq!(same, head);
    assert!(same.is_valid(&other), "who checks needs no key");
    assert_eq!(head.origin(), Origin::new(&pair.public(), [3; 16]));
    // Key, nonce, seq, hash, signature.
    for at in [0, 32, 48, 49, 81] {
        assert!(!read(&|bytes| bytes[at] ^= 1).is_valid(&pair), "byte {at}");
    }
    assert_eq!(unsigned.sign(&pair), head, "the same is signed alike");
}
