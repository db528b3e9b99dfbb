use super::*;

#[test]
fn named_classes_of_characters_match() {
    let hides = |pattern: &str, path: &str| {
        let rules = Ignores::add(None, "", pattern.as_bytes(), Path::new(".synclineignore"));
        rules.expect("it is a pattern").hide(path, false)
    };
    for (pattern, hidden, shown) in [
        ("[[:alpha:]]", "a", "1"),
        ("x[[:digit:]_].txt", "x7.txt", "xa.txt"),
        ("x[[:digit:]_].txt", "x_.txt", "x:.txt"),
        ("[![:upper:]]", "a", "A"),
        ("[^[:upper:]]", "a", "A"),
        ("[][:digit:]]", "]", "d"),
        ("a[[:punct:]]b", "a-b", "axb"),
        ("a[[:punct:]]b", "a[b", "a b"),
        ("a[[:space:]]b", "a b", "a_b"),
        ("\\[[:alpha:]]", "[a]", "a"),
        // Outside of brackets it is a bracket itself.
        ("[:alpha:]", "l", "b"),
    ] {
        assert!(hides(pattern, hidden), "{pattern} does not hide {hidden}");
        assert!(!hides(pattern, shown), "{pattern} hides {shown}");
    }
    for (name, _) in CLASSES {
        assert!(!hides(&format!("[{name}]"), "\u{e4}"), "{name}");
    }
}
