use std::collections::BTreeSet;

use proptest::prelude::*;

use super::*;

fn collide(paths: &[&str]) -> Vec<(String, String)> {
    let sorted: BTreeSet<&str> = paths.iter().copied().collect();
    let mut found = Collisions::new();
    sorted.into_iter().for_each(|path| found.push(path));
    found.finish().0.into_iter().map(|c| (c.first, c.second)).collect()
}

fn pair(a: &str, b: &str) -> Vec<(String, String)> {
    vec![(a.to_owned(), b.to_owned())]
}

#[test]
fn case_and_normal_forms_collide() {
    assert_eq!(collide(&["README", "readme"]), pair("README", "readme"));
    assert_eq!(collide(&["d/caf\u{e9}", "d/cafe\u{301}"]), pair("d/cafe\u{301}", "d/caf\u{e9}"));
    assert_eq!(collide(&["Straße", "STRASSE"]), pair("STRASSE", "Straße"));
    assert_eq!(collide(&["ὈΔΥΣΣΕΎΣ", "ὀδυσσεύς"]), pair("ὀδυσσεύς", "ὈΔΥΣΣΕΎΣ"));
}

#[test]
fn folders_collide_once_and_by_their_own_name() {
    assert_eq!(collide(&["A/x", "A/y", "a/x", "a/z"]), pair("A", "a"));
    assert_eq!(collide(&["A", "a/b"]), pair("A", "a"));
    // `a` is open on both sides of `a-b` in byte order.
    assert_eq!(collide(&["a-b", "a/X", "a/x", "a.c"]), pair("a/X", "a/x"));
}

#[test]
fn different_folders_do_not_collide() {
    assert_eq!(collide(&["a/X", "b/x", "x"]), vec![]);
}

proptest! {
    #[test]
    fn agrees_with_comparing_all_pairs(paths in proptest::collection::btree_set("[aAé]{1,2}(/[bB]{1,2}){0,2}", 0..12)) {
        // Every sibling name in every folder, compared with every other.
        let mut names: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
        for path in &paths {
            let mut folder = String::new();
            for name in path.split('/') {
                names.entry(folder.clone()).or_default().insert(name.to_owned());
                folder = format!("{folder}{name}/");
            }
        }
        let expected = names.values().any(|names| {
            names.iter().map(|name| fold(name)).collect::<BTreeSet<_>>().len() < names.len()
        });
        let mut found = Collisions::new();
        paths.iter().for_each(|path| found.push(path));
        prop_assert_eq!(!found.finish().0.is_empty(), expected);
    }
}
