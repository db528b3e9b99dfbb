//! What is in a directory: every file, symbolic link and empty directory, with what the file system says about it.
//!
//! Symbolic links are listed and never followed. `.synclineignore` files hide paths, with the syntax of `.gitignore`.
//! Owns no state. Not here: reading contents.

use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::sync::Mutex;

use ignore::{WalkBuilder, WalkState};
use serde::{Deserialize, Serialize};
use syncline_base::task;
use syncline_tree::files::{FileKind, path};

use crate::replica::META_DIR;
use crate::{Error, Result};

/// The files that say what is not versioned.
pub(crate) const IGNORE_FILE: &str = ".synclineignore";

/// What the file system says about a path. Equal stats, taken after the cache was written, mean equal content.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Stat {
    pub kind: FileKind,
    pub executable: bool,
    pub size: u64,
    pub mtime_ns: i128,
    pub ctime_ns: i128,
    pub inode: u64,
}

impl Stat {
    /// From what the system says; `None` for what is no file, link or directory.
    pub(crate) fn of(meta: &std::fs::Metadata) -> Option<Self> {
        let kind = match meta.file_type() {
            t if t.is_file() => FileKind::File,
            t if t.is_symlink() => FileKind::Symlink,
            t if t.is_dir() => FileKind::Folder,
            _ => return None,
        };
        let nanoseconds = |seconds: i64, rest: i64| i128::from(seconds) * 1_000_000_000 + i128::from(rest);
        Some(Self {
            kind,
            executable: kind == FileKind::File && meta.mode() & 0o100 != 0,
            size: if kind == FileKind::Folder { 0 } else { meta.len() },
            mtime_ns: nanoseconds(meta.mtime(), meta.mtime_nsec()),
            ctime_ns: nanoseconds(meta.ctime(), meta.ctime_nsec()),
            inode: meta.ino(),
        })
    }
}

/// A path that is there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Found {
    /// Relative to the root, `/`-separated.
    pub path: String,
    pub stat: Stat,
}

/// Everything in a directory.
#[derive(Debug, Default)]
pub(crate) struct Listing {
    /// In byte order of their paths, which is the order of the files table.
    pub found: Vec<Found>,
    /// What was left out and why.
    pub warnings: Vec<String>,
}

/// Lists a directory.
///
/// # Errors
/// `denied` when a directory cannot be read, `invalid` when a path cannot be versioned; the path is named.
pub(crate) fn scan(root: &Path) -> Result<Listing> {
    let shared = Mutex::new((Vec::new(), Vec::new(), None));
    let walker = WalkBuilder::new(root)
        .standard_filters(false)
        .hidden(false)
        .follow_links(false)
        .add_custom_ignore_filename(IGNORE_FILE)
        .threads(task::width())
        .filter_entry(|entry| !(entry.depth() == 1 && entry.file_name() == META_DIR))
        .build_parallel();
    walker.run(|| {
        let mut batch = Batch { shared: &shared, found: Vec::new(), warnings: Vec::new() };
        Box::new(move |entry| {
            let outcome = match entry {
                Ok(entry) if entry.depth() == 0 => Ok(()),
                Ok(entry) => batch.add(root, &entry),
                Err(error) => Err(unreadable(root, &error)),
            };
            match outcome {
                Ok(()) => WalkState::Continue,
                Err(error) => {
                    batch.shared.lock().expect("nothing panics while it holds the listing").2.get_or_insert(error);
                    WalkState::Quit
                }
            }
        })
    });
    let (found, mut warnings, failed) = shared.into_inner().expect("nothing panics while it holds the listing");
    if let Some(error) = failed {
        return Err(error);
    }
    warnings.sort_unstable();
    Ok(Listing { found: without_full_directories(found), warnings })
}

type Shared = Mutex<(Vec<Found>, Vec<String>, Option<Error>)>;

/// What one thread has found; joined with the others' when the thread ends.
struct Batch<'a> {
    shared: &'a Shared,
    found: Vec<Found>,
    warnings: Vec<String>,
}

impl Batch<'_> {
    fn add(&mut self, root: &Path, entry: &ignore::DirEntry) -> Result<()> {
        let full = entry.path();
        let relative = full.strip_prefix(root).unwrap_or(full);
        let Some(text) = relative.to_str() else {
            return Err(Error::invalid(format!("path {}", full.display()), "it is not UTF-8; rename it or ignore it"));
        };
        path::check(text).map_err(|fault| Error::invalid(format!("path {text:?}"), fault.to_string()))?;
        let meta = match entry.metadata() {
            Ok(meta) => meta,
            // It went away between the listing and the look at it.
            Err(error) if error.io_error().is_some_and(|e| e.kind() == std::io::ErrorKind::NotFound) => return Ok(()),
            Err(error) => return Err(unreadable(root, &error)),
        };
        match Stat::of(&meta) {
            Some(stat) => self.found.push(Found { path: text.to_owned(), stat }),
            None => self.warnings.push(format!("{text} is a device, socket or pipe and is not versioned")),
        }
        Ok(())
    }
}

impl Drop for Batch<'_> {
    fn drop(&mut self) {
        let mut shared = self.shared.lock().expect("nothing panics while it holds the listing");
        shared.0.append(&mut self.found);
        shared.1.append(&mut self.warnings);
    }
}

fn unreadable(root: &Path, error: &ignore::Error) -> Error {
    match error {
        ignore::Error::WithPath { path, err } => match err.io_error() {
            Some(io) => Error::Io { what: "reading", path: path.clone(), source: io.kind().into() },
            None => Error::invalid(format!("reading {}", path.display()), err.to_string()),
        },
        other => Error::invalid(format!("listing {}", root.display()), other.to_string()),
    }
}

/// Sorts by path and drops directories that have something in them: those exist through their entries.
fn without_full_directories(mut found: Vec<Found>) -> Vec<Found> {
    found.sort_unstable_by(|a, b| a.path.cmp(&b.path));
    let full: Vec<bool> = found.iter().enumerate().map(|(n, entry)| has_entries(&found, n, entry)).collect();
    let mut keep = full.into_iter().map(|full| !full);
    found.retain(|_| keep.next().unwrap_or(true));
    found
}

fn has_entries(found: &[Found], at: usize, entry: &Found) -> bool {
    if entry.stat.kind != FileKind::Folder {
        return false;
    }
    // `a`, `a-b` and `a/c` sort in this order: what is inside need not come next, but it comes soon after `a/`.
    let inside = format!("{}/", entry.path);
    let first = at + found[at..].partition_point(|other| other.path < inside);
    found.get(first).is_some_and(|other| other.path.starts_with(&inside))
}
