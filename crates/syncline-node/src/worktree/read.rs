//! Reading what is at a path: into a row of the files table, or to compare it with one.
//!
//! A file that changes while it is read is read again; what is returned is what the file held at one time, as far as the
//! file system's times can tell. Owns no state.

use std::fs::File;
use std::io::Read;

use bytes::Bytes;
use rustix::fs::{Mode, OFlags, fstat, openat, readlinkat};
use rustix::io::Errno;
use syncline_base::task;
use syncline_store::Store;
use syncline_tree::Table;
use syncline_tree::content::{self, ContentRef};
use syncline_tree::files::{self, Content, Entry, FileKind, INLINE_MAX};

use super::dirs::{Dirs, Root, failed};
use super::stat::Stat;
use super::walk::Found;
use crate::{Error, Result};

/// How often a file that changes while it is read is read again.
const TRIES: usize = 5;

/// Applies `f` to all items on all cores, in contiguous pieces that share open folders.
pub(crate) fn each<'a, T: Send, R: Send>(
    root: &'a Root,
    items: Vec<T>,
    f: impl Fn(&mut Dirs<'a>, T) -> Result<R> + Send + Sync,
) -> Result<Vec<R>> {
    let size = items.len().div_ceil(task::width() * 4).max(1);
    let mut rest = items.into_iter().peekable();
    let mut pieces = Vec::new();
    while rest.peek().is_some() {
        pieces.push(rest.by_ref().take(size).collect::<Vec<_>>());
    }
    let done = task::try_map(pieces, |piece| {
        let mut dirs = root.dirs();
        piece.into_iter().map(|item| f(&mut dirs, item)).collect::<Result<Vec<_>>>()
    })?;
    Ok(done.into_iter().flatten().collect())
}

/// What is at a path, with the stat that belongs to it; `None` when nothing is any more. Content too long for a row is
/// stored, against the content that `base` has there.
///
/// # Errors
/// `unavailable` when it keeps changing; the file system's, with the path; the store's.
pub(crate) fn entry(
    root: &Root,
    dirs: &mut Dirs<'_>,
    store: &Store,
    found: &Found,
    base: Option<&Table>,
) -> Result<Option<(Entry, Stat)>> {
    let mut stat = found.stat;
    for _ in 0..TRIES {
        if let Some((content, after)) = read(root, dirs, &found.path, &stat, |file, len| {
            if len <= INLINE_MAX as u64 {
                return inline(file, len).map(Content::Inline).map_err(Error::io("reading", &root.full(&found.path)));
            }
            let mut previous = base.map(|table| previous(table, &found.path)).transpose()?.flatten();
            if let (true, Some(content)) = (root.is_partial(), &previous)
                && !store.contains(&content.root)?
            {
                previous = None;
            }
            let written = content::write(store, file, previous.as_ref());
            let content = written.map_err(|error| reading(error, root, &found.path))?;
            Ok(Content::Chunks(content))
        })? {
            let whole = stat.kind != FileKind::File
                || content.len() == after.size
                    && matches!(content, Content::Chunks(_)) == (after.size > INLINE_MAX as u64);
            if after == stat && whole {
                let entry = Entry { path: found.path.clone(), kind: stat.kind, executable: stat.executable, content };
                return Ok(Some((entry, stat)));
            }
        }
        // It changed: look again.
        match dirs.stat(&found.path)? {
            Some(Some(now)) => {
                stat = if now.kind == FileKind::Folder { Stat { mtime: 0, ctime: 0, inode: 0, ..now } } else { now }
            }
            _ => return Ok(None),
        }
    }
    Err(Error::Unavailable {
        what: format!("reading {}", root.full(&found.path).display()),
        why: format!("it changed {TRIES} times while it was read; try again when its writer is done"),
    })
}

/// An error of the source names no path by itself.
fn reading(error: syncline_tree::Error, root: &Root, path: &str) -> Error {
    match error {
        syncline_tree::Error::Store(_) => error.into(),
        error if error.to_string().starts_with("reading content") => {
            let what = format!("reading {}", root.full(path).display());
            let why = error.to_string();
            match error.kind() {
                syncline_base::Kind::Unavailable => Error::Unavailable { what, why },
                _ => Error::Corrupt { what, why },
            }
        }
        error => error.into(),
    }
}

fn previous(table: &Table, path: &str) -> Result<Option<ContentRef>> {
    Ok(match files::get(table, path)?.map(|entry| entry.content) {
        Some(Content::Chunks(content)) => Some(content),
        _ => None,
    })
}

/// Reads a path that should be what `stat` says; `None` when it is something else by now. For a file `take` gets it open.
fn read(
    root: &Root,
    dirs: &mut Dirs<'_>,
    path: &str,
    stat: &Stat,
    take: impl FnOnce(&mut File, u64) -> Result<Content>,
) -> Result<Option<(Content, Stat)>> {
    if stat.kind == FileKind::Folder {
        return Ok(dirs.enter(path, false)?.is_ok().then_some((Content::Inline(Bytes::new()), *stat)));
    }
    let full = root.full(path);
    let Ok((parent, name)) = dirs.parent(path, false)? else { return Ok(None) };
    if stat.kind == FileKind::Symlink {
        let target = match readlinkat(parent, name, Vec::new()) {
            Ok(target) => Bytes::copy_from_slice(target.as_bytes()),
            Err(Errno::NOENT | Errno::INVAL | Errno::NOTDIR) => return Ok(None),
            Err(error) => return Err(failed("reading", &full)(error)),
        };
        let after = dirs.stat(path)?.flatten();
        return Ok(after.map(|after| (Content::Inline(target), after)));
    }
    // Not blocking: it may have become a pipe.
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC | OFlags::NONBLOCK;
    let mut file = match openat(parent, name, flags, Mode::empty()) {
        Ok(file) => File::from(file),
        Err(Errno::NOENT | Errno::LOOP | Errno::NOTDIR | Errno::NXIO) => return Ok(None),
        Err(error) => return Err(failed("reading", &full)(error)),
    };
    let content = take(&mut file, stat.size)?;
    let after = Stat::of(&fstat(&file).map_err(|e| failed("reading", &full)(e))?);
    Ok(after.map(|after| (content, after)))
}

/// The bytes of a short file; at most one more than a row may hold, which shows that it has grown.
fn inline(file: &mut File, len: u64) -> std::io::Result<Bytes> {
    let mut bytes = Vec::with_capacity(usize::try_from(len).unwrap_or(0).min(INLINE_MAX) + 1);
    file.take(INLINE_MAX as u64 + 1).read_to_end(&mut bytes)?;
    Ok(bytes.into())
}

/// Whether a path holds what a crash may have left of an entry that was written in place.
///
/// # Errors
/// The file system's, with the path.
pub(crate) fn is_begun(root: &Root, dirs: &mut Dirs<'_>, entry: &Entry) -> Result<bool> {
    let Content::Inline(whole) = &entry.content else { return Ok(false) };
    let Some(Some(stat)) = dirs.stat(&entry.path)? else { return Ok(false) };
    if stat.kind != FileKind::File || entry.kind != FileKind::File || stat.size > whole.len() as u64 {
        return Ok(false);
    }
    let mut begun = false;
    read(root, dirs, &entry.path, &stat, |file, len| {
        let bytes = inline(file, len).map_err(Error::io("reading", &root.full(&entry.path)))?;
        begun = super::checkout::is_begun(&bytes, whole);
        Ok(Content::Inline(bytes))
    })?;
    Ok(begun)
}

/// Whether a path holds exactly what an entry says; then with the stat that belongs to it. Reads as little as it can.
///
/// # Errors
/// The file system's, with the path; the store's.
pub(crate) fn equals(root: &Root, dirs: &mut Dirs<'_>, store: &Store, entry: &Entry) -> Result<Option<Stat>> {
    let Some(Some(stat)) = dirs.stat(&entry.path)? else { return Ok(None) };
    if let (true, Content::Chunks(content)) = (root.is_partial(), &entry.content)
        && content.height > 0
        && !store.contains(&content.root)?
    {
        // Nobody here can say what it should be.
        return Ok(None);
    }
    let may = stat.kind == entry.kind
        && stat.executable == entry.executable
        && (stat.kind == FileKind::Folder || stat.size == entry.content.len());
    if !may {
        return Ok(None);
    }
    let mut same = true;
    let got = read(root, dirs, &entry.path, &stat, |file, len| {
        if let Content::Chunks(content) = &entry.content {
            same = content::same(store, content, file).map_err(|error| reading(error, root, &entry.path))?;
            return Ok(entry.content.clone());
        }
        inline(file, len).map(Content::Inline).map_err(Error::io("reading", &root.full(&entry.path)))
    })?;
    Ok(got.filter(|(content, after)| same && *content == entry.content && *after == stat).map(|(_, stat)| stat))
}
