use super::*;
use crate::leaf::arbitrary::rng;

#[test]
fn every_width_and_length_comes_back() {
    let mut rng = rng(1);
    let mut back = Vec::new();
    for bits in 0..=64 {
        for count in [0, 1, 7, 8, 9, 63, 64, 65, 200] {
            let mask = if bits == 64 { u64::MAX } else { (1 << bits) - 1 };
            let values: Vec<u64> = (0..count).map(|_| rng.next_u64() & mask).collect();
            let mut out = vec![9];
            pack(&values, bits, &mut out);
            assert_eq!(out.len(), 1 + packed_len(count, bits));
            let mut reader = Reader::new(&out[1..]);
            unpack(&mut reader, count, bits, &mut back).unwrap();
            assert_eq!(back, values, "{bits} bits, {count} values");
            assert_eq!(reader.left(), 0);
        }
    }
}

#[test]
fn packed_bytes_are_as_documented() {
    let mut out = Vec::new();
    pack(&[1, 2, 3, 4, 5], 3, &mut out);
    assert_eq!(out, [0b1101_0001, 0b0101_1000]);
}
