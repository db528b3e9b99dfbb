use super::*;

fn id(n: u64) -> Hash {
    Hash::of(&n.to_le_bytes())
}

#[test]
fn memory_is_bounded_and_the_newest_stay() {
    let mut seen = Seen::with(100);
    let leaf = ObjectKind::Tree { height: 1 };
    for n in 0..10_000 {
        assert!(seen.insert(id(n), leaf));
        assert!(!seen.insert(id(n), leaf), "it has just been put in");
        assert!(seen.young.len() + seen.old.len() <= 200);
        assert!((n.saturating_sub(99)..=n).all(|newer| seen.contains(&id(newer))));
    }
    assert!(seen.is_forgetful() && !seen.contains(&id(0)));
}

#[test]
fn what_lies_above_leaves_is_not_forgotten() {
    let mut seen = Seen::with(10);
    seen.insert(id(1), ObjectKind::Tree { height: 2 });
    for n in 100..200 {
        seen.insert(id(n), ObjectKind::Content { height: 0 });
    }
    assert!(seen.contains(&id(1)));
    seen.clear();
    assert!(!seen.contains(&id(1)) && !seen.is_forgetful());
}
