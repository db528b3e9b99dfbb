//! Words that must not be left behind.

use super::{Finding, Source};

/// Leftovers, and why each is one. They are cut in two here, so that this table does not find itself.
const BANNED: &[(&str, &str, &str)] = &[
    ("TO", "DO", "finish it, or write down what is missing where users look for it"),
    ("FIX", "ME", "fix it"),
    ("XX", "X", "say what is meant"),
    ("HA", "CK", "say why it has to be so"),
    ("todo", "!(", "finish it"),
    ("unimplemented", "!(", "finish it"),
    ("dbg", "!(", "remove it"),
    ("not yet ", "implemented", "implement it, or leave it out"),
    ("#[ig", "nore", "a test that does not run proves nothing: put long ones behind `cargo xtask ci --long`"),
    ("assert!(tr", "ue", "a test that cannot fail proves nothing"),
    ("<<<<", "<<< ", "finish the merge"),
    (">>>>", ">>> ", "finish the merge"),
];

/// Finds banned words in every text that people write.
pub(super) fn check(sources: &[Source]) -> Vec<Finding> {
    let mut findings = Vec::new();
    for source in sources.iter().filter(|s| s.path != "Cargo.lock") {
        for (number, line) in source.text.as_deref().unwrap_or("").lines().enumerate() {
            for (head, tail, advice) in BANNED {
                if contains_word(line, &format!("{head}{tail}")) {
                    let place = format!("{}:{}", source.path, number + 1);
                    findings.push(Finding::new(place, format!("`{head}{tail}` is left over: {advice}")));
                }
            }
        }
    }
    findings
}

/// Whether `line` holds `word`, not as a part of a longer word.
fn contains_word(line: &str, word: &str) -> bool {
    let joins = |c: Option<char>| c.is_some_and(|c| c.is_alphanumeric() || c == '_');
    line.match_indices(word).any(|(at, _)| {
        let before = word.starts_with(char::is_alphanumeric) && joins(line[..at].chars().next_back());
        let after = word.ends_with(char::is_alphanumeric) && joins(line[at + word.len()..].chars().next());
        !before && !after
    })
}
