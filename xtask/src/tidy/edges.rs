//! Which crate may depend on which: the layers, and the heavy libraries that only some layers may see. And what a crate
//! may build: one binary of integration tests.
//!
//! A development dependency follows the same table: a test that needs a layer above its own belongs to that layer.

use anyhow::{Context, Result};
use serde_json::Value;

use super::Finding;

/// Our crates, and what of ours each may depend on. A crate that is not here may not exist.
const LAYERS: &[(&str, &[&str])] = &[
    ("syncline-base", &[]),
    ("syncline-store", &["base"]),
    ("syncline-tree", &["store", "base"]),
    ("syncline-sync", &["tree", "store", "base"]),
    ("syncline-links", &["sync", "tree", "base"]),
    ("syncline-node", &["links", "sync", "tree", "store", "base"]),
    ("syncline-api", &["base"]),
    ("syncline-server", &["node", "tree", "api", "base"]),
    ("syncline-cli", &["server", "node", "tree", "api", "base"]),
    ("syncline-py", &["node", "tree", "api", "base"]),
    ("syncline-sim", &["node", "links", "sync", "tree", "store", "base"]),
    // Chores drive the binary from outside; they share only the clock and the dice.
    ("xtask", &["base"]),
];

/// Heavy libraries, and the only crates that may name them. A name that ends in `*` stands for a family.
const HEAVY: &[(&str, &[&str])] = &[
    ("blake3", &["base"]),
    ("rayon*", &["base"]),
    ("fastcdc", &["store"]),
    ("object_store", &["store", "links"]),
    ("zstd", &["store", "tree", "sync", "node"]),
    ("arrow*", &["tree", "sync", "links", "node", "server", "py", "sim", "xtask"]),
    ("arrow-flight", &["server"]),
    ("parquet*", &["links", "node", "xtask"]),
    ("datafusion*", &["server"]),
    ("fjall", &["store", "node"]),
    ("redb", &["store", "node"]),
    ("ignore", &["node"]),
    // One module of it (members/swim).
    ("foca", &["server"]),
    ("rand_core", &["server"]),
    ("prost*", &["sync", "api", "server"]),
    ("tonic*", &["api", "server"]),
    ("axum*", &["server"]),
    ("reqwest", &["api"]),
    ("hyper*", &["api", "server"]),
    ("rustls*", &["api", "server"]),
    ("tokio", &["base", "store", "links", "api", "server", "cli"]),
    ("pyo3*", &["py"]),
    ("clap*", &["cli", "sim", "xtask"]),
    ("indicatif", &["cli"]),
    ("anyhow", &["cli", "xtask"]),
    ("tpchgen*", &["tree", "node", "xtask"]),
    // It comes with rustls in any case.
    ("ring", &["base"]),
    // They bring a C or C++ build system, or a second copy of what we have.
    ("openssl*", &[]),
    ("native-tls", &[]),
    ("aws-lc*", &[]),
];

/// Checks every dependency of every crate of the workspace.
pub(super) fn check(metadata: &Value) -> Result<Vec<Finding>> {
    let mut findings = Vec::new();
    for package in metadata["packages"].as_array().context("cargo metadata lists no packages")? {
        let name = package["name"].as_str().context("a package without a name")?;
        let place = format!("crate {name}");
        let Some((_, allowed)) = LAYERS.iter().find(|(crate_, _)| *crate_ == name) else {
            findings.push(Finding::new(
                place,
                "is no layer: add it to the table in xtask/src/tidy/edges.rs and to STYLE.md",
            ));
            continue;
        };
        for dependency in package["dependencies"].as_array().context("a package without dependencies")? {
            let to = dependency["name"].as_str().context("a dependency without a name")?;
            if let Some(what) = judge(name, allowed, to) {
                findings.push(Finding::new(&place, what));
            }
        }
        findings.extend(second_test_binary(&place, package));
    }
    Ok(findings)
}

/// Each integration test target is compiled and linked for itself: one with modules is enough.
fn second_test_binary(place: &str, package: &Value) -> Option<Finding> {
    let is_test = |target: &&Value| target["kind"].as_array().is_some_and(|kinds| kinds.iter().any(|k| k == "test"));
    let count = package["targets"].as_array()?.iter().filter(is_test).count();
    (count > 1).then(|| {
        let what =
            format!("builds {count} test binaries: make them modules of tests/main.rs, with `autotests = false`");
        Finding::new(place, what)
    })
}

fn judge(from: &str, allowed: &[&str], to: &str) -> Option<String> {
    if let Some(layer) = to.strip_prefix("syncline-") {
        return (!allowed.contains(&layer)).then(|| {
            format!("depends on {to}, which is not below it (allowed: {}): move the code, not the arrow", list(allowed))
        });
    }
    let from = from.strip_prefix("syncline-").unwrap_or(from);
    // The longest name decides, so that one of a family can be stricter than the family.
    let (_, only) = HEAVY.iter().filter(|(name, _)| matches(name, to)).max_by_key(|(name, _)| name.len())?;
    (!only.contains(&from)).then(|| format!("depends on {to}, which only {} may", list(only)))
}

fn matches(pattern: &str, name: &str) -> bool {
    match pattern.strip_suffix('*') {
        Some(family) => name.strip_prefix(family).is_some_and(|rest| rest.is_empty() || rest.starts_with(['-', '_'])),
        None => pattern == name,
    }
}

fn list(names: &[&str]) -> String {
    if names.is_empty() { "none".to_owned() } else { names.join(", ") }
}
