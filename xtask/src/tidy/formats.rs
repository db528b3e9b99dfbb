//! Every format that bytes are kept or sent in has a normative document, and every such document has code.

use std::collections::{BTreeMap, BTreeSet};

use super::{Finding, Source};

/// The formats there are. A new one is added here with its document.
pub(super) const FORMATS: &[&str] = &[
    "chunk",
    "delta",
    "files",
    "key",
    "leaf",
    "live-files",
    "live-row",
    "live-scope",
    "log",
    "members",
    "pack",
    "records",
    "replication",
    "run",
    "schema",
    "store",
    "tree",
    "wire",
];
const FOLDER: &str = "docs/format/";

/// Compares the formats, their documents and the places in code that name a document.
pub(super) fn check(sources: &[Source]) -> Vec<Finding> {
    let documents: BTreeSet<&str> =
        sources.iter().filter_map(|s| s.path.strip_prefix(FOLDER)?.strip_suffix(".md")).collect();
    let mut named: BTreeMap<String, &str> = BTreeMap::new();
    for source in sources.iter().filter(|s| s.is_rust() && s.path.starts_with("crates/")) {
        for name in mentions(source.text.as_deref().unwrap_or("")) {
            named.entry(name).or_insert(&source.path);
        }
    }
    let mut findings = Vec::new();
    for format in FORMATS.iter().filter(|format| !documents.contains(**format)) {
        findings
            .push(Finding::new(format!("{FOLDER}{format}.md"), "is missing: write down the format before it is used"));
    }
    for document in documents.iter().filter(|document| !named.contains_key(**document) && **document != "README") {
        findings.push(Finding::new(
            format!("{FOLDER}{document}.md"),
            "is named by no code: name it in the module that implements it",
        ));
    }
    for (name, by) in
        named.iter().filter(|(name, _)| !documents.contains(name.as_str()) && !FORMATS.contains(&name.as_str()))
    {
        findings.push(Finding::new(*by, format!("names {FOLDER}{name}.md, which does not exist")));
    }
    findings
}

/// The names of the format documents a text refers to; `{a,b}` stands for both.
fn mentions(text: &str) -> BTreeSet<String> {
    let mut names = BTreeSet::new();
    for (at, _) in text.match_indices(FOLDER) {
        let rest = &text[at + FOLDER.len()..];
        if let Some((inside, _)) = rest.strip_prefix('{').and_then(|r| r.split_once("}.md")) {
            names.extend(inside.split(',').map(|name| name.trim().to_owned()));
        } else if let Some((name, _)) = rest.split_once(".md")
            && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '-')
        {
            names.insert(name.to_owned());
        }
    }
    names
}
