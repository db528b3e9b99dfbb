//! Limits on sizes, with a list of old offenders that only shrinks.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use super::Finding;

/// Where the old offenders are listed, one a line: `file PATH LINES` or `function PATH NAME LINES`.
pub(super) const FILE: &str = "xtask/tidy-ratchet.txt";
/// Lines a file may have. Aim for 500.
pub(super) const FILE_LINES: usize = 800;
/// Lines the body of a function may have.
pub(super) const FUNCTION_LINES: usize = 70;

/// How large one thing is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Size {
    /// `file PATH` or `function PATH NAME`.
    what: String,
    lines: usize,
    limit: usize,
}

/// The sizes of everything that has a limit.
pub(super) type Sizes = Vec<Size>;

impl Size {
    pub(super) fn file(path: &str, lines: usize) -> Self {
        Self { what: format!("file {path}"), lines, limit: FILE_LINES }
    }

    pub(super) fn function(path: &str, name: &str, lines: usize) -> Self {
        Self { what: format!("function {path} {name}"), lines, limit: FUNCTION_LINES }
    }
}

/// The list that fits `sizes`.
pub(super) fn render(sizes: &Sizes) -> String {
    let mut text = String::new();
    for size in sizes.iter().filter(|s| s.lines > s.limit) {
        writeln!(text, "{} {}", size.what, size.lines).expect("a string takes every write");
    }
    text
}

/// Compares `sizes` with the limits and with the list of old offenders.
pub(super) fn check(list: &str, sizes: &Sizes) -> Vec<Finding> {
    let mut findings = Vec::new();
    let mut kept = BTreeMap::new();
    for line in list.lines().filter(|line| !line.is_empty() && !line.starts_with('#')) {
        match line.rsplit_once(' ').and_then(|(what, lines)| Some((what, lines.parse::<usize>().ok()?))) {
            Some((what, lines)) => _ = kept.insert(what, lines),
            None => findings.push(Finding::new(FILE, format!("cannot read the line `{line}`"))),
        }
    }
    for size in sizes.iter().filter(|s| s.lines > s.limit) {
        let (what, lines, limit) = (&size.what, size.lines, size.limit);
        match kept.remove(what.as_str()) {
            None => {
                findings.push(Finding::new(what, format!("has {lines} lines, at most {limit} are allowed: split it")));
            }
            Some(was) if lines > was => {
                findings.push(Finding::new(what, format!("has grown from {was} to {lines} lines: split it")));
            }
            Some(was) if lines < was => {
                findings
                    .push(Finding::new(FILE, format!("says `{what} {was}` but it has {lines} lines now: lower it")));
            }
            Some(_) => {}
        }
    }
    for what in kept.keys() {
        findings.push(Finding::new(FILE, format!("lists `{what}`, which keeps the limit now or is gone: remove it")));
    }
    findings
}
