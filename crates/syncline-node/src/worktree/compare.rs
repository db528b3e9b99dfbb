//! What differs between a directory and the files table of a version, and the rows that a commit makes of it.
//!
//! Only paths that the status cache cannot vouch for are read. Owns no state. Not here: writing files
//! (`super::checkout`).

use std::fs::File;
use std::io::Read;
use std::path::Path;

use bytes::Bytes;
use syncline_store::Store;
use syncline_tree::content::{self, ContentRef};
use syncline_tree::files::{self, Content, Entry, FileKind, INLINE_MAX, collide::Collisions};
use syncline_tree::{Changes, Table};

use super::cache::Cache;
use super::scan::{Found, Listing, Stat};
use crate::{Error, Result};

/// A path that may differ from the version.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Suspect {
    /// It is in the version, and the cache cannot vouch for it. The number is its place in the listing.
    Changed(usize),
    /// It is not known to be in the version.
    New(usize),
    /// It is in the version and no longer there.
    Gone(String),
}

/// Paths that may differ from `base`, in byte order, and warnings about tracked paths that are ignored now.
///
/// # Errors
/// The store's.
pub(crate) fn suspects(
    root: &Path,
    listing: &Listing,
    cache: &Cache,
    base: Option<&Table>,
    checksum: bool,
) -> Result<(Vec<Suspect>, Vec<String>)> {
    let vouched = base.map_or(syncline_base::Hash::ZERO, |table| table.to_ref().root) == cache.files;
    let known: Vec<String> = match base {
        Some(table) if !vouched => files::paths(table)?,
        _ => Vec::new(),
    };
    let known_len = if vouched { cache.seen.len() } else { known.len() };
    let known_path = |n: usize| if vouched { cache.seen[n].path.as_str() } else { known[n].as_str() };
    let mut suspects = Vec::new();
    let mut warnings = Vec::new();
    let mut at = 0;
    let mut gone = |path: &str, suspects: &mut Vec<Suspect>| {
        // Ignoring a path must never look like deleting it.
        if root.join(path).symlink_metadata().is_ok_and(|meta| !meta.is_dir()) {
            warnings.push(format!("{path} is versioned and ignored: it stays as it was in the last version"));
        } else {
            suspects.push(Suspect::Gone(path.to_owned()));
        }
    };
    for (n, found) in listing.found.iter().enumerate() {
        while at < known_len && known_path(at) < found.path.as_str() {
            gone(known_path(at), &mut suspects);
            at += 1;
        }
        if at < known_len && known_path(at) == found.path {
            if checksum || !vouched || !cache.proves(&cache.seen[at].stat, &found.stat) {
                suspects.push(Suspect::Changed(n));
            }
            at += 1;
        } else {
            suspects.push(Suspect::New(n));
        }
    }
    (at..known_len).for_each(|n| gone(known_path(n), &mut suspects));
    Ok((suspects, warnings))
}

/// Refuses paths that some file systems cannot tell apart. Only worth a look when there are new paths.
///
/// # Errors
/// `invalid`, with the first collisions.
pub(crate) fn check_collisions(listing: &Listing) -> Result<()> {
    let mut seen = Collisions::new();
    for found in &listing.found {
        seen.push(&found.path);
    }
    let (collisions, more) = seen.finish();
    if collisions.is_empty() {
        return Ok(());
    }
    let shown: Vec<String> =
        collisions.iter().take(10).map(|pair| format!("{:?} and {:?}", pair.first, pair.second)).collect();
    let more = more + collisions.len().saturating_sub(10) as u64;
    let rest = if more > 0 { format!(" and {more} more") } else { String::new() };
    Err(Error::invalid(
        "committing files",
        format!("some systems cannot tell these paths apart: {}{rest}; rename or ignore one of each", shown.join("; ")),
    ))
}

/// How many bytes of small files are read into memory at once.
const GROUP_BYTES: u64 = 8 << 20;
/// How many files are read in one group at most.
const GROUP_FILES: usize = 4_096;

/// The changes to the files table that a commit makes of the suspects, group by group. What a file turned out to be
/// while it was read is noted in `listing`.
pub(crate) fn changes<'a>(
    root: &'a Path,
    store: &'a Store,
    base: Option<&'a Table>,
    suspects: &'a [Suspect],
    listing: &'a mut Listing,
    advance: &'a (dyn Fn(u64) + Sync),
) -> impl Iterator<Item = Result<Changes>> + 'a {
    let mut rest = suspects;
    std::iter::from_fn(move || {
        if rest.is_empty() {
            return None;
        }
        let (group, later) = rest.split_at(group_len(rest, listing));
        rest = later;
        let outcome = read_group(root, store, base, group, listing);
        advance(group.len() as u64);
        Some(outcome)
    })
}

fn group_len(suspects: &[Suspect], listing: &Listing) -> usize {
    let mut bytes = 0;
    let size = |suspect: &Suspect| match suspect {
        Suspect::Changed(n) | Suspect::New(n) => listing.found[*n].stat.size.min(INLINE_MAX as u64),
        Suspect::Gone(_) => 0,
    };
    let fits = suspects.iter().take(GROUP_FILES).take_while(|suspect| {
        bytes += size(suspect) + 256;
        bytes <= GROUP_BYTES
    });
    fits.count().max(1)
}

fn read_group(
    root: &Path,
    store: &Store,
    base: Option<&Table>,
    group: &[Suspect],
    listing: &mut Listing,
) -> Result<Changes> {
    let jobs: Vec<(usize, Found, bool)> = group
        .iter()
        .filter_map(|suspect| match suspect {
            Suspect::Changed(n) => Some((*n, listing.found[*n].clone(), true)),
            Suspect::New(n) => Some((*n, listing.found[*n].clone(), false)),
            Suspect::Gone(_) => None,
        })
        .collect();
    let read = syncline_base::task::try_map(jobs, |(n, found, known)| {
        let previous = match base {
            Some(table) if known && found.stat.size > INLINE_MAX as u64 => previous_content(table, &found.path)?,
            _ => None,
        };
        read_entry(root, store, &found, previous.as_ref()).map(|(entry, stat)| (n, entry, stat))
    })?;
    let mut entries = read.into_iter();
    let mut edits = Vec::with_capacity(group.len());
    for suspect in group {
        match suspect {
            Suspect::Gone(path) => edits.push(files::Edit::Remove(path.clone())),
            Suspect::Changed(_) | Suspect::New(_) => {
                let Some((n, entry, stat)) = entries.next() else { continue };
                match (entry, stat) {
                    (Some(entry), Some(stat)) => {
                        listing.found[n].stat = stat;
                        edits.push(files::Edit::Put(entry));
                    }
                    // It went away while it was read: the next commit sees it gone.
                    _ => edits.push(files::Edit::Remove(listing.found[n].path.clone())),
                }
            }
        }
    }
    Ok(files::changes(&edits)?)
}

fn previous_content(table: &Table, path: &str) -> Result<Option<ContentRef>> {
    Ok(match files::get(table, path)?.map(|entry| entry.content) {
        Some(Content::Chunks(content)) => Some(content),
        _ => None,
    })
}

/// How often a file that changes while it is read is read again.
const READ_TRIES: usize = 5;

/// Reads a path into a row. `(None, None)` when it is gone.
fn read_entry(
    root: &Path,
    store: &Store,
    found: &Found,
    previous: Option<&ContentRef>,
) -> Result<(Option<Entry>, Option<Stat>)> {
    let full = root.join(&found.path);
    let mut stat = found.stat;
    for _ in 0..READ_TRIES {
        let content = match read_content(&full, store, &stat, previous) {
            Err(Error::Io { source, .. }) if source.kind() == std::io::ErrorKind::NotFound => return Ok((None, None)),
            content => content?,
        };
        let Some(after) = full.symlink_metadata().ok().and_then(|meta| Stat::of(&meta)) else {
            return Ok((None, None));
        };
        if after == stat && (after.kind != FileKind::File || content.len() == after.size) {
            let entry = Entry { path: found.path.clone(), kind: stat.kind, executable: stat.executable, content };
            return Ok((Some(entry), Some(stat)));
        }
        stat = after;
    }
    Err(Error::Unavailable {
        what: format!("reading {}", full.display()),
        why: format!("it changed {READ_TRIES} times while it was read; commit again when its writer is done"),
    })
}

fn read_content(full: &Path, store: &Store, stat: &Stat, previous: Option<&ContentRef>) -> Result<Content> {
    match stat.kind {
        FileKind::Folder => Ok(Content::Inline(Bytes::new())),
        FileKind::Symlink => {
            let target = std::fs::read_link(full).map_err(Error::io("reading", full))?;
            let text = target.to_str().ok_or_else(|| {
                Error::invalid(format!("link {}", full.display()), "its target is not UTF-8; change or ignore it")
            })?;
            Ok(Content::Inline(Bytes::copy_from_slice(text.as_bytes())))
        }
        FileKind::File => {
            let mut file = File::open(full).map_err(Error::io("reading", full))?;
            if stat.size > INLINE_MAX as u64 {
                return Ok(Content::Chunks(content::write(store, &mut file, previous)?));
            }
            let mut bytes = Vec::with_capacity(usize::try_from(stat.size).unwrap_or(0) + 1);
            let limit = INLINE_MAX as u64 + 1;
            file.by_ref().take(limit).read_to_end(&mut bytes).map_err(Error::io("reading", full))?;
            if bytes.len() as u64 == limit {
                // It grew since it was listed. The caller sees that its size changed and reads it again.
                bytes.truncate(INLINE_MAX);
            }
            Ok(Content::Inline(bytes.into()))
        }
    }
}

/// Whether a path holds exactly what an entry says. Reads as little as it can.
///
/// # Errors
/// The file system's and the store's.
pub(crate) fn equals(root: &Path, store: &Store, entry: &Entry) -> Result<bool> {
    let full = root.join(&entry.path);
    let Some(stat) = full.symlink_metadata().ok().and_then(|meta| Stat::of(&meta)) else { return Ok(false) };
    if stat.kind != entry.kind || stat.executable != entry.executable {
        return Ok(false);
    }
    match (&entry.content, entry.kind) {
        (_, FileKind::Folder) => Ok(true),
        (content, FileKind::File) if content.len() != stat.size => Ok(false),
        (Content::Inline(bytes), _) => match read_content(&full, store, &stat, None)? {
            Content::Inline(found) => Ok(found == *bytes),
            Content::Chunks(_) => Ok(false),
        },
        (Content::Chunks(content), _) => {
            let mut file = File::open(&full).map_err(Error::io("reading", &full))?;
            let mut stored = content::read(store, content)?;
            same_bytes(&mut file, &mut stored).map_err(Error::io("comparing", &full))
        }
    }
}

fn same_bytes(a: &mut dyn Read, b: &mut dyn Read) -> std::io::Result<bool> {
    let (mut left, mut right) = (vec![0; 256 << 10], vec![0; 256 << 10]);
    loop {
        let n = a.read(&mut left)?;
        if n == 0 {
            return Ok(b.read(&mut right[..1])? == 0);
        }
        match b.read_exact(&mut right[..n]) {
            Ok(()) if left[..n] == right[..n] => {}
            Ok(()) => return Ok(false),
            Err(error) if error.kind() == std::io::ErrorKind::UnexpectedEof => return Ok(false),
            Err(error) => return Err(error),
        }
    }
}
