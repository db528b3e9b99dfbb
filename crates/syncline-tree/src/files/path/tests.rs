use proptest::prelude::*;

use super::*;

#[test]
fn plain_paths_pass() {
    for path in ["a", "a/b", "a b/c.d", "…", ".hidden", "a/.synclineignore", ".syncline.d/x", "..a", "a\\b", "syncline"]
    {
        assert_eq!(check(path), Ok(()), "{path}");
    }
}

#[test]
fn every_rule_has_its_fault() {
    use PathFault as F;
    let long = "x".repeat(256);
    let deep = "ab/".repeat(1400);
    for (path, fault) in [
        ("", F::Empty),
        ("/a", F::Absolute),
        ("a//b", F::EmptyPart),
        ("a/", F::EmptyPart),
        (".", F::Dots),
        ("a/../b", F::Dots),
        ("a\0b", F::Nul),
        (".syncline", F::Reserved),
        ("a/.SyncLine/refs", F::Reserved),
        (".sync\u{200c}line/refs", F::Reserved),
        ("\u{feff}.syncline/refs", F::Reserved),
        ("a/.syncline~1f", F::Reserved),
        (&long, F::TooLong),
        (&deep, F::TooLong),
    ] {
        assert_eq!(check(path), Err(fault), "{path:?}");
    }
}

#[test]
fn parent_and_name_split_at_the_last_separator() {
    assert_eq!((parent("a/b/c"), name("a/b/c")), (Some("a/b"), "c"));
    assert_eq!((parent("c"), name("c")), (None, "c"));
}

proptest! {
    #[test]
    fn a_path_that_passes_stays_below_its_root(path in "[a./\\x00é]{0,12}") {
        if check(&path).is_ok() {
            let parts: Vec<_> = std::path::Path::new(&path).components().collect();
            let plain = parts.iter().all(|part| matches!(part, std::path::Component::Normal(_)));
            prop_assert!(plain);
            prop_assert_eq!(parts.len(), path.split('/').count());
        }
    }
}
