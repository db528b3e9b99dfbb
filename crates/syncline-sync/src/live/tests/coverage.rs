//! Coverage is a lattice: what joins and comparisons of replicas stand on.

use proptest::prelude::*;

use super::super::*;
use super::arbitrary::{coverage, origin};

fn joined(a: &Coverage, b: &Coverage) -> Coverage {
    let mut both = a.clone();
    both.join(b);
    both
}

proptest! {
    #[test]
    fn joins_take_the_greater_of_both(a in coverage(), b in coverage(), c in coverage(), hub in origin()) {
        let ab = joined(&a, &b);
        prop_assert_eq!(ab.of(hub), a.of(hub).max(b.of(hub)));
        prop_assert!(ab.iter().all(|(hub, n)| n == a.of(hub).max(b.of(hub))));
        prop_assert_eq!(&ab, &joined(&b, &a));
        prop_assert_eq!(joined(&ab, &c), joined(&a, &joined(&b, &c)));
        prop_assert_eq!(&joined(&a, &a), &a);
        prop_assert_eq!(&joined(&a, &Coverage::new()), &a);
        prop_assert!(ab.includes(&a) && ab.includes(&b));
        // The least that includes both.
        prop_assert_eq!(c.includes(&ab), c.includes(&a) && c.includes(&b));
    }

    #[test]
    fn including_is_an_order_and_what_a_join_does_not_change(a in coverage(), b in coverage(), c in coverage()) {
        prop_assert!(a.includes(&a) && a.includes(&Coverage::new()));
        prop_assert_eq!(a.includes(&b), joined(&a, &b) == a);
        prop_assert_eq!(a.includes(&b) && b.includes(&a), a == b);
        prop_assert!(!(a.includes(&b) && b.includes(&c)) || a.includes(&c));
        let has = b.iter().all(|(hub, n)| a.has(Stamp { hub, n }));
        prop_assert_eq!(a.includes(&b), has);
    }

    #[test]
    fn what_is_above_is_what_makes_up_the_difference(a in coverage(), b in coverage(), hub in origin()) {
        prop_assert_eq!(a.above(&b).is_some(), a.includes(&b));
        let ab = joined(&a, &b);
        let above = ab.above(&b).unwrap();
        prop_assert!(above.iter().all(|(_, by)| *by > 0) && above.is_sorted_by(|a, b| a.0 < b.0));
        prop_assert_eq!(&b.plus(&above), &Some(ab.clone()));
        prop_assert_eq!(&ab.minus(&above), &Some(b));
        prop_assert_eq!(ab.minus(&[(hub, ab.of(hub) + 1)]), None);
        prop_assert_eq!(ab.plus(&[(hub, u64::MAX)]), None);
    }

    #[test]
    fn raising_raises_one_and_never_lowers(a in coverage(), hub in origin(), other in origin(), n in 0..6u64) {
        let mut raised = a.clone();
        raised.raise(hub, n);
        prop_assert_eq!(raised.of(hub), a.of(hub).max(n));
        prop_assert!(other == hub || raised.of(other) == a.of(other));
        prop_assert!(raised.includes(&a));
        let has = |n: u64| raised.has(Stamp { hub, n });
        prop_assert!((1..=n).all(has) && !has(raised.of(hub) + 1));
        let mut hubs: Vec<(Origin, u64)> = a.iter().collect();
        hubs.reverse();
        let mut again = Coverage::new();
        hubs.into_iter().for_each(|(hub, n)| again.raise(hub, n));
        prop_assert_eq!(again, a);
    }
}
