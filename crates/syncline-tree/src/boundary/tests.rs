use proptest::prelude::*;
use syncline_base::rng::Rng;

use super::*;

/// The lengths of all nodes of a level whose entries have these hashes.
fn lengths(rule: &Rule, hashes: &[u64]) -> Vec<u32> {
    let (mut since, mut length, mut out) = (0, 0, Vec::new());
    for hash in hashes {
        length += 1;
        if rule.ends(&mut since, *hash) {
            out.push(length);
            length = 0;
        }
    }
    out.extend((length > 0).then_some(length));
    out
}

fn hashes(seed: u64, count: usize) -> Vec<u64> {
    let mut rng = Rng::from_seed(seed);
    (0..count).map(|_| rng.next_u64()).collect()
}

/// Positions where nodes end.
fn ends(rule: &Rule, hashes: &[u64]) -> Vec<usize> {
    lengths(rule, hashes)
        .into_iter()
        .scan(0, |at, length| {
            *at += length as usize;
            Some(*at)
        })
        .collect()
}

#[test]
fn mean_and_spread_are_those_of_the_distribution() {
    for mean in [8, 16, 100, 256, 655, 8192] {
        let rule = Rule::new(mean);
        let all = lengths(&rule, &hashes(7, mean as usize * 4000));
        let (full, n) = (&all[..all.len() - 1], (all.len() - 1) as f64);
        let average = full.iter().map(|l| f64::from(*l)).sum::<f64>() / n;
        let spread = (full.iter().map(|l| (f64::from(*l) - average).powi(2)).sum::<f64>() / n).sqrt();
        assert!((average / f64::from(mean) - 1.0).abs() < 0.05, "mean {mean}: average {average}");
        assert!((0.22..0.36).contains(&(spread / average)), "mean {mean}: spread {spread}");
        assert!(full.iter().all(|l| (rule.min()..=rule.max()).contains(l)), "mean {mean}");
    }
}

#[test]
fn hostile_hashes_are_bounded_on_both_sides() {
    let rule = Rule::new(100);
    let (min, max) = (rule.min(), rule.max());
    assert_eq!((min, max), (13, 220));
    // Keys that always want a boundary get one as soon as there may be one; the last node takes what is left.
    assert_eq!(lengths(&rule, &vec![0; 30]), [min, min, 4]);
    // Keys that never want one get one at the maximum.
    assert_eq!(lengths(&rule, &vec![u64::MAX; 500]), [max, max, 60]);
    assert_eq!(lengths(&rule, &vec![u64::MAX; 440]), [max, max]);
    assert_eq!(lengths(&rule, &[]), Vec::<u32>::new());
    assert_eq!(lengths(&rule, &[5]), [1]);
}

#[test]
fn levels_have_hashes_of_their_own() {
    let key = b"a key";
    assert_ne!(key_hash(0, key), key_hash(1, key));
    // Frozen: a change here changes every root there is.
    assert_eq!(
        [key_hash(0, b""), key_hash(0, key), key_hash(3, key)],
        [1454834165271781604, 1445926661492249337, 13735418076629545773]
    );
}

#[test]
fn thresholds_are_frozen() {
    let rule = Rule::new(256);
    let sum = rule.thresholds.iter().fold(0_u64, |sum, t| sum.rotate_left(7) ^ t);
    assert_eq!((rule.min(), rule.max(), sum), (35, 564, 13819840783695941678));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(60))]

    #[test]
    fn an_edit_is_forgotten_after_a_few_nodes(seed: u64, at in 500_usize..1500, insert: bool) {
        let rule = Rule::new(64);
        let before = hashes(seed, 20_000);
        let mut after = before.clone();
        if insert { after.insert(at, seed); } else { after.remove(at); }
        let shift = after.len() as isize - before.len() as isize;
        let (old, new) = (ends(&rule, &before), ends(&rule, &after));
        // Nothing moves before the edit's node; both sequences end alike.
        let same_before = |e: &&usize| **e < at;
        prop_assert_eq!(
            old.iter().filter(same_before).collect::<Vec<_>>(),
            new.iter().filter(same_before).collect::<Vec<_>>()
        );
        let moved: Vec<_> = old.iter().filter(|e| **e > at + 1).map(|e| (*e as isize + shift) as usize).collect();
        let together = moved.iter().filter(|e| new.binary_search(e).is_ok()).count();
        prop_assert!(together * 10 >= moved.len() * 8, "{} of {} boundaries are kept", together, moved.len());
    }

    #[test]
    fn restarting_at_a_boundary_gives_the_same_boundaries(seed: u64, mean in 8_u32..300) {
        let rule = Rule::new(mean);
        let all = hashes(seed, 5000);
        let whole = ends(&rule, &all);
        let first = whole[0];
        let rest: Vec<_> = ends(&rule, &all[first..]).into_iter().map(|e| e + first).collect();
        prop_assert_eq!(&whole[1..], &rest[..]);
    }
}
