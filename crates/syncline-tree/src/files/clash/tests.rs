use std::collections::BTreeSet;

use proptest::prelude::*;

use super::*;

fn clashes<'a>(paths: impl IntoIterator<Item = &'a str>) -> Vec<(String, String)> {
    let sorted: BTreeSet<&str> = paths.into_iter().collect();
    let mut found = Clashes::default();
    sorted.into_iter().for_each(|path| found.push(path, FileKind::File));
    found.finish().into_iter().map(|clash| (clash.above, clash.below)).collect()
}

#[test]
fn names_between_a_file_and_what_is_below_it_do_not_hide_it() {
    let pair = |a: &str, b: &str| (a.to_owned(), b.to_owned());
    assert_eq!(clashes(["t", "t-x", "t.d/a", "t/u", "t/v", "u"]), [pair("t", "t/u")]);
    assert_eq!(clashes(["a", "a/b", "a/b/c"]), [pair("a", "a/b"), pair("a/b", "a/b/c")]);
    assert_eq!(clashes(["t", "t-x", "tu/v", "x/t"]), []);
}

proptest! {
    #[test]
    fn agrees_with_comparing_all_pairs(paths in proptest::collection::btree_set("[a-][a.-]?(/[a-]){0,2}", 0..12)) {
        let below = |above: &String, path: &String| path.starts_with(&format!("{above}/"));
        let expected: Vec<&String> = paths.iter().filter(|above| paths.iter().any(|path| below(above, path))).collect();
        let mut found: Vec<String> = clashes(paths.iter().map(String::as_str)).into_iter().map(|(above, _)| above).collect();
        found.sort();
        prop_assert_eq!(found.iter().collect::<Vec<_>>(), expected);
    }
}
