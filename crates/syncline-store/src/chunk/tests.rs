use std::io::Read;

use proptest::prelude::*;
use syncline_base::rng::Rng;

use super::*;

fn noise(seed: u64, length: usize) -> Vec<u8> {
    let mut bytes = vec![0; length];
    Rng::from_seed(seed).fill(&mut bytes);
    bytes
}

#[test]
fn the_mean_is_about_64_kib_and_the_bounds_hold() {
    let data = noise(1, 32 << 20);
    let all: Vec<usize> = lengths(&data).collect();
    assert_eq!(all.iter().sum::<usize>(), data.len());
    assert!(all[..all.len() - 1].iter().all(|&length| length > MIN && length <= MAX));
    let mean = data.len() / all.len();
    assert!((60 << 10..68 << 10).contains(&mean), "mean {mean}");
}

#[test]
fn sameness_is_cut_at_the_maximum() {
    let data = vec![0; 2 * MAX + 5];
    assert_eq!(lengths(&data).collect::<Vec<_>>(), [MAX, MAX, 5]);
}

#[test]
fn cut_points_are_frozen() {
    // These positions are part of the format: if they move, equal files stop having equal hashes.
    let data = noise(42, 600_000);
    assert_eq!(lengths(&data).collect::<Vec<_>>(), FROZEN);
}

const FROZEN: &[usize] = &[106_595, 75_208, 75_139, 49_154, 51_206, 33_819, 73_930, 36_651, 98_298];

#[test]
fn streams_give_the_same_chunks_however_they_are_read() {
    struct Dribble<'a>(&'a [u8], usize);
    impl Read for Dribble<'_> {
        fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
            let n = self.0.len().min(self.1).min(out.len());
            out[..n].copy_from_slice(&self.0[..n]);
            self.0 = &self.0[n..];
            Ok(n)
        }
    }
    let data = noise(3, 3 << 20);
    let whole: Vec<usize> = lengths(&data).collect();
    for step in [1000, 65_536, MAX, 5 << 20] {
        let chunks: Vec<Bytes> = Chunks::new(Dribble(&data, step)).collect::<io::Result<_>>().unwrap();
        assert_eq!(chunks.iter().map(Bytes::len).collect::<Vec<_>>(), whole, "step {step}");
        assert_eq!(chunks.concat(), data);
    }
}

#[test]
fn an_error_of_the_stream_ends_it() {
    struct Broken(bool);
    impl Read for Broken {
        fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
            if std::mem::replace(&mut self.0, true) { Err(io::Error::other("pulled out")) } else { Ok(out.len()) }
        }
    }
    let mut chunks = Chunks::new(Broken(true));
    assert!(chunks.next().unwrap().is_err());
    assert!(chunks.next().is_none());
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(32))]

    /// Whatever follows a chunk, and wherever it lies, it ends at the same byte.
    #[test]
    fn a_chunk_ends_by_its_own_bytes(seed in any::<u64>(), tail in any::<u64>()) {
        let data = noise(seed, MAX + 1000);
        let length = cut(&data);
        prop_assume!(length < MAX);
        let mut other = data[..length].to_vec();
        other.extend(noise(tail, MAX));
        prop_assert_eq!(cut(&other), length);
        // Shorter data, down to the chunk itself, changes nothing either.
        prop_assert_eq!(cut(&data[..length]), length);
        prop_assert_eq!(cut(&data[..length + 1]), length);
    }
}

/// The rule as `docs/format/chunk.md` states it, byte by byte, with a Gear table that comes from the crate.
#[test]
fn the_specification_says_what_the_code_does() {
    let (gear, _) = fastcdc::v2020::get_gear_with_seed(0);
    let by_the_book = |data: &[u8]| {
        let mut hash = 0u64;
        for (at, byte) in data.iter().enumerate().take(MAX).skip(MIN) {
            hash = (hash << 1).wrapping_add(gear[usize::from(*byte)]);
            if hash & MASK == 0 && at + 1 < data.len() {
                return at + 1;
            }
        }
        data.len().min(MAX)
    };
    // MD5 of 64 bytes of value 0 begins so.
    assert_eq!(gear[0], 0x3b5d_3c7d_207e_37dc);
    for seed in 0..30 {
        let data = noise(seed, MAX + usize::try_from(seed).unwrap() * 777);
        assert_eq!(cut(&data), by_the_book(&data));
        let short = &data[..MIN + 1000 * usize::try_from(seed).unwrap() + 1];
        assert_eq!(cut(short), by_the_book(short));
    }
}
