//! Each rule is shown one thing that it must find and one that it must leave alone.

use serde_json::json;

use super::*;

fn source(path: &str, text: &str) -> Source {
    Source { path: path.to_owned(), bytes: text.len() as u64, text: Some(text.to_owned()) }
}

fn lines(findings: &[Finding]) -> Vec<String> {
    findings.iter().map(ToString::to_string).collect()
}

/// Asserts that exactly one finding was made and that it holds all of `words`.
#[track_caller]
fn one(findings: &[Finding], words: &[&str]) {
    let found = lines(findings);
    assert_eq!(found.len(), 1, "{found:#?}");
    for word in words {
        assert!(found[0].contains(word), "`{word}` is not in `{}`", found[0]);
    }
}

fn package(name: &str, dependencies: &[&str]) -> serde_json::Value {
    let dependencies: Vec<_> = dependencies.iter().map(|name| json!({ "name": name })).collect();
    json!({ "packages": [{ "name": name, "dependencies": dependencies }] })
}

fn edges_of(name: &str, dependencies: &[&str]) -> Vec<Finding> {
    edges::check(&package(name, dependencies)).expect("the metadata is well formed")
}

#[test]
fn arrows_point_down() {
    assert_eq!(edges_of("syncline-tree", &["syncline-store", "syncline-base", "serde"]), []);
    one(&edges_of("syncline-store", &["syncline-tree"]), &["crate syncline-store", "syncline-tree"]);
    one(&edges_of("syncline-cli", &["syncline-store"]), &["syncline-store", "allowed"]);
    one(&edges_of("xtask", &["syncline-node"]), &["syncline-node"]);
    one(&edges_of("syncline-utils", &[]), &["no layer"]);
}

#[test]
fn heavy_libraries_stay_in_their_layer() {
    assert_eq!(edges_of("syncline-server", &["tonic", "arrow-flight", "axum"]), []);
    one(&edges_of("syncline-node", &["tonic"]), &["tonic", "api, server"]);
    one(&edges_of("syncline-store", &["arrow-array"]), &["arrow-array"]);
    one(&edges_of("syncline-node", &["arrow-flight"]), &["arrow-flight", "server"]);
    one(&edges_of("syncline-store", &["anyhow"]), &["anyhow", "cli, xtask"]);
    one(&edges_of("syncline-api", &["openssl-sys"]), &["none"]);
    // `tonic*` is a family, not a prefix.
    assert_eq!(edges_of("syncline-node", &["tonics"]), []);
}

#[test]
fn the_real_workspace_is_read() {
    let metadata = run::metadata(&run::root(), false).expect("cargo metadata runs in the workspace");
    let names = metadata["packages"].as_array().expect("packages").len();
    assert!(names >= 9, "{names} packages");
    assert_eq!(lines(&edges::check(&metadata).expect("the metadata is well formed")), Vec::<String>::new());
}

#[test]
fn a_module_needs_a_header() {
    let (_, findings) = rust::check(&[source("crates/a/src/b.rs", "use std::fmt;\n")]);
    one(&findings, &["crates/a/src/b.rs", "no module header"]);
    let (_, findings) = rust::check(&[source("crates/a/src/b.rs", "//! What it is for.\n")]);
    assert_eq!(findings, []);
    let (_, findings) = rust::check(&[source("crates/a/src/b/tests.rs", "use super::*;\n")]);
    assert_eq!(findings, []);
}

#[test]
fn only_faces_print() {
    let text = "//! Header.\nfn f() { println!(\"{}\", 1) }\n#[cfg(test)]\nmod tests { fn g() { println!() } }\n";
    let (_, findings) = rust::check(&[source("crates/syncline-node/src/a.rs", text)]);
    one(&findings, &["crates/syncline-node/src/a.rs:2", "prints"]);
    let (_, findings) = rust::check(&[source("crates/syncline-cli/src/a.rs", text)]);
    assert_eq!(findings, []);
}

#[test]
fn one_test_binary_per_crate() {
    let with = |targets: serde_json::Value| {
        let package = json!({ "name": "syncline-base", "dependencies": [], "targets": targets });
        edges::check(&json!({ "packages": [package] })).expect("the metadata is well formed")
    };
    let test = |name| json!({ "kind": ["test"], "name": name });
    assert_eq!(with(json!([{ "kind": ["lib"], "name": "a" }, test("main")])), []);
    one(&with(json!([test("main"), test("more")])), &["crate syncline-base", "2 test binaries", "autotests"]);
}

#[test]
fn what_cannot_be_parsed_is_named() {
    let (_, findings) = rust::check(&[source("crates/a/src/b.rs", "//! Header.\nfn {\n")]);
    one(&findings, &["crates/a/src/b.rs", "parsed"]);
}

/// A file with one function whose body has `body` lines, in a method of `Thing`.
fn with_method(body: usize) -> Source {
    let filling = "        // a brace in a comment: }\n".repeat(body - 2);
    let text = format!("//! Header.\nimpl Thing {{\n    fn long(&self) {{\n{filling}    }}\n}}\n");
    source("crates/a/src/b.rs", &text)
}

#[test]
fn functions_have_a_limit() {
    let (sizes, _) = rust::check(&[with_method(ratchet::FUNCTION_LINES)]);
    assert_eq!(ratchet::check("", &sizes), []);
    let (sizes, _) = rust::check(&[with_method(ratchet::FUNCTION_LINES + 1)]);
    one(&ratchet::check("", &sizes), &["function crates/a/src/b.rs Thing::long", "has 71 lines", "split it"]);
}

#[test]
fn files_have_a_limit_and_tests_have_none() {
    let text = |n| format!("//! Header.\n{}", "//\n".repeat(n - 1));
    let (sizes, _) = rust::check(&[source("crates/a/src/b.rs", &text(ratchet::FILE_LINES))]);
    assert_eq!(ratchet::check("", &sizes), []);
    let (sizes, _) = rust::check(&[source("crates/a/src/b.rs", &text(ratchet::FILE_LINES + 1))]);
    one(&ratchet::check("", &sizes), &["file crates/a/src/b.rs", "has 801 lines"]);
    let (sizes, _) = rust::check(&[source("crates/a/src/b/tests.rs", &text(ratchet::FILE_LINES + 1))]);
    assert_eq!(ratchet::check("", &sizes), []);
}

#[test]
fn the_list_of_old_offenders_only_shrinks() {
    let sizes = vec![ratchet::Size::file("a.rs", 900)];
    let list = ratchet::render(&sizes);
    assert_eq!(list, "file a.rs 900\n");
    assert_eq!(ratchet::check(&list, &sizes), []);
    one(&ratchet::check("file a.rs 850\n", &sizes), &["grown from 850 to 900"]);
    one(&ratchet::check("file a.rs 950\n", &sizes), &["lower it"]);
    one(&ratchet::check(&format!("{list}file b.rs 900\n"), &sizes), &["lists `file b.rs`", "remove it"]);
    one(&ratchet::check(&format!("{list}nonsense\n"), &sizes), &["cannot read", "nonsense"]);
}

#[test]
fn leftovers_are_found() {
    let marker = ["TO", "DO"].concat();
    one(&text::check(&[source("docs/a.md", &format!("fine\n{marker}: later\n"))]), &["docs/a.md:2", "finish it"]);
    one(&text::check(&[source("a.rs", &["#[ig", "nore]"].concat())]), &["does not run"]);
    one(&text::check(&[source("a.rs", &["x = to", "do!()"].concat())]), &["finish it"]);
    // Part of a longer word is another word.
    assert_eq!(text::check(&[source("a.rs", &format!("AU{marker}S my{marker}"))]), []);
    assert_eq!(text::check(&[source("Cargo.lock", &marker)]), []);
}

#[test]
fn large_files_are_found() {
    let blob = |bytes| Source { path: "fixtures/x.bin".to_owned(), bytes, text: None };
    assert_eq!(blobs::check(&[blob(blobs::LARGEST)]), []);
    one(&blobs::check(&[blob(blobs::LARGEST + 1)]), &["fixtures/x.bin", "524289 bytes"]);
}

/// All format documents, and one module that names them all.
fn formats_tree() -> Vec<Source> {
    let all = formats::FORMATS;
    let mut sources: Vec<_> = all.iter().map(|name| source(&format!("docs/format/{name}.md"), "")).collect();
    let folder = "docs/format";
    sources.push(source("crates/a/src/b.rs", &format!("//! See `{folder}/{{{}}}.md`.\n", all.join(","))));
    sources
}

#[test]
fn formats_and_documents_belong_together() {
    assert_eq!(lines(&formats::check(&formats_tree())), Vec::<String>::new());

    let mut missing = formats_tree();
    missing.retain(|s| s.path != "docs/format/leaf.md");
    one(&formats::check(&missing), &["docs/format/leaf.md", "is missing"]);

    let mut orphan = formats_tree();
    orphan.push(source("docs/format/extra.md", ""));
    one(&formats::check(&orphan), &["docs/format/extra.md", "named by no code"]);

    let mut dangling = formats_tree();
    dangling.push(source("crates/a/src/c.rs", &["//! `docs/form", "at/other.md`"].concat()));
    one(&formats::check(&dangling), &["crates/a/src/c.rs", "does not exist"]);
}
