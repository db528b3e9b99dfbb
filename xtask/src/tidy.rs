//! `cargo xtask tidy`: the house rules that no compiler checks.
//!
//! A rule is a function from what is in the repository to findings; it reads nothing itself, so each rule has a test
//! that shows it failing. Which rules there are and why: `STYLE.md`.
//!
//! Old offenders are kept in `xtask/tidy-ratchet.txt` with their size. The list only shrinks: an entry that grows, or
//! that is larger than what it describes, is a finding too.

mod blobs;
mod edges;
mod formats;
mod ratchet;
mod rust;
mod text;

use std::fmt;
use std::path::Path;

use anyhow::{Context, Result, bail};

use crate::run;

/// Options of `cargo xtask tidy`.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Print the ratchet file that would fit the tree as it is, and stop.
    #[arg(long)]
    ratchet: bool,
}

/// One broken rule.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Finding {
    /// Where: a path, with a line when there is one.
    place: String,
    /// What is wrong and what to do.
    what: String,
}

impl Finding {
    fn new(place: impl Into<String>, what: impl Into<String>) -> Self {
        Self { place: place.into(), what: what.into() }
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.place, self.what)
    }
}

/// A tracked file.
#[derive(Debug)]
struct Source {
    /// Relative to the root, with `/`.
    path: String,
    /// Length in bytes.
    bytes: u64,
    /// Its text, when it is text and not too large to be read.
    text: Option<String>,
}

impl Source {
    /// Whether it is Rust that ships: tests are code too, but not under the limits of production code.
    fn is_production_rust(&self) -> bool {
        let test = self.path.ends_with("/tests.rs")
            || self.path.contains("/tests/")
            || self.path.contains("/benches/")
            || self.path.ends_with("/build.rs");
        self.is_rust() && !test
    }

    fn is_rust(&self) -> bool {
        Path::new(&self.path).extension().is_some_and(|e| e == "rs")
    }
}

/// Does what the options ask for.
pub(crate) fn run(args: &Args) -> Result<()> {
    if args.ratchet {
        let (sizes, _) = rust::check(&tracked(&run::root())?);
        print!("{}", ratchet::render(&sizes));
        return Ok(());
    }
    check()
}

/// Runs every rule over the working tree and prints what it finds.
pub(crate) fn check() -> Result<()> {
    let root = run::root();
    let sources = tracked(&root)?;
    let (sizes, mut findings) = rust::check(&sources);
    let kept = sources.iter().find(|s| s.path == ratchet::FILE).and_then(|s| s.text.as_deref()).unwrap_or("");
    findings.extend(ratchet::check(kept, &sizes));
    findings.extend(edges::check(&run::metadata(&root, false)?)?);
    findings.extend(text::check(&sources));
    findings.extend(blobs::check(&sources));
    findings.extend(formats::check(&sources));
    findings.sort();
    for finding in &findings {
        println!("{finding}");
    }
    if !findings.is_empty() {
        bail!("tidy: {} finding(s)", findings.len());
    }
    println!("tidy: {} files, nothing found", sources.len());
    Ok(())
}

/// Everything git would commit: tracked files and new ones that are not ignored.
fn tracked(root: &Path) -> Result<Vec<Source>> {
    let mut git = std::process::Command::new("git");
    git.current_dir(root).args(["ls-files", "-z", "--cached", "--others", "--exclude-standard"]);
    let listed = String::from_utf8(run::capture(&mut git)?).context("reading the list of tracked files")?;
    let mut paths: Vec<&str> = listed.split('\0').filter(|path| !path.is_empty()).collect();
    paths.sort_unstable();
    paths.dedup();
    let mut sources = Vec::with_capacity(paths.len());
    for path in paths {
        // A deleted file is listed until the deletion is committed; a symbolic link is judged where it points to.
        let Ok(meta) = std::fs::symlink_metadata(root.join(path)) else { continue };
        if !meta.is_file() {
            continue;
        }
        let text = if meta.len() <= blobs::LARGEST { std::fs::read_to_string(root.join(path)).ok() } else { None };
        sources.push(Source { path: path.to_owned(), bytes: meta.len(), text });
    }
    Ok(sources)
}

#[cfg(test)]
mod tests;
