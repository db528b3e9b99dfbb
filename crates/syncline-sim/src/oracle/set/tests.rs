//! Bit sets against ordered sets, across the border between the words inside and those outside.

use std::collections::BTreeSet;

use proptest::prelude::*;

use super::*;

fn numbers() -> impl Strategy<Value = BTreeSet<u32>> {
    prop::collection::btree_set(prop_oneof![0u32..8, 56u32..72, 120u32..136, 180u32..200], 0..12)
}

fn set(numbers: &BTreeSet<u32>) -> Set {
    numbers.iter().copied().collect()
}

proptest! {
    #[test]
    fn a_set_is_a_set(a in numbers(), b in numbers()) {
        let (x, y) = (set(&a), set(&b));
        prop_assert_eq!(x.iter().collect::<Vec<_>>(), a.iter().copied().collect::<Vec<_>>());
        prop_assert_eq!(x.descending().collect::<Vec<_>>(), a.iter().rev().copied().collect::<Vec<_>>());
        prop_assert_eq!(x.first(), a.first().copied());
        prop_assert_eq!(x == y, a == b);
        prop_assert_eq!(x.first_outside(&y), a.difference(&b).next().copied());
        prop_assert_eq!(x.first_common(&y), a.intersection(&b).next().copied());
        let mut united = x.clone();
        united.unite(&y);
        prop_assert!(united == set(&a.union(&b).copied().collect()));
        let mut left = x.clone();
        left.subtract(&y);
        prop_assert!(left == set(&a.difference(&b).copied().collect()));
        prop_assert!(x.both(&y) == set(&a.intersection(&b).copied().collect()));
        let mut less = x;
        for number in &b {
            less.remove(*number);
            prop_assert!(!less.has(*number));
        }
        prop_assert!(less == left);
    }
}

#[test]
fn insert_says_what_is_new() {
    let mut set = Set::default();
    assert!(set.insert(130) && !set.insert(130) && set.has(130) && !set.has(129) && !set.has(9000));
}
