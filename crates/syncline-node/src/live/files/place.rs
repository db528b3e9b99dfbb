//! Putting files into a directory that somebody works in: whole or not at all, and never over something that is not known.
//!
//! A file is written under a temporary name, made durable, and changes places with what is there, which is then looked at once more: when it is
//! not what was expected, somebody has written it in the last moment, and it goes back. Symbolic links are never followed.
//!
//! Owns: the temporary files of this process. Not here: what belongs where (`super::remote`).

use std::fs::File;
use std::io::Write as _;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use rustix::fs::{
    AtFlags, Mode, OFlags, RenameFlags, mkdirat, openat, renameat, renameat_with, statat, symlinkat, unlinkat,
};
use rustix::io::Errno;
use syncline_store::Store;
use syncline_tree::content;
use syncline_tree::files::{Content, FileKind, path};

use super::row::FileRow;
use crate::worktree::dirs::{Dirs, Root, failed};
use crate::worktree::stat::Stat;
use crate::{Error, Result};

/// What became of a path.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Placed {
    /// It is as wanted, and this is what the file system says about it; nothing when nothing is there.
    Done(Option<Stat>),
    /// Somebody has changed it: nothing was done.
    Changed,
    /// A file is where a folder has to be, or a folder with files in it where a file has to be.
    Blocked,
}

/// What is remembered of a folder: its times say nothing about it.
pub(super) const FOLDER: Stat =
    Stat { kind: FileKind::Folder, executable: false, size: 0, mtime: 0, ctime: 0, inode: 0 };

/// Writes into one directory.
#[derive(Debug)]
pub(super) struct Place {
    temporary: OwnedFd,
    temporary_path: PathBuf,
    next: AtomicU64,
}

impl Drop for Place {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.temporary_path);
    }
}

impl Place {
    /// Keeps its temporary files in `meta`. What one that was killed has left there is removed.
    ///
    /// # Errors
    /// The file system's.
    pub(super) fn new(meta: &Path) -> Result<Self> {
        let temporary_path = meta.join("tmp").join("live");
        match std::fs::remove_dir_all(&temporary_path) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                return Err(Error::io("emptying", &temporary_path)(error));
            }
            _ => {}
        }
        std::fs::create_dir_all(&temporary_path).map_err(Error::io("creating", &temporary_path))?;
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let temporary = rustix::fs::open(&temporary_path, flags, Mode::empty());
        let temporary = temporary.map_err(|error| failed("opening", &temporary_path)(error))?;
        Ok(Self { temporary, temporary_path, next: AtomicU64::new(0) })
    }

    fn name(&self) -> String {
        format!("{:x}", self.next.fetch_add(1, Ordering::Relaxed))
    }

    /// Puts a file in the place of what is `expected` at a path.
    ///
    /// # Errors
    /// The file system's, with the path; the store's, when it does not have the content.
    pub(super) fn put(
        &self,
        root: &Root,
        dirs: &mut Dirs<'_>,
        store: &Store,
        (path, row): (&str, &FileRow),
        expected: Option<&Stat>,
    ) -> Result<Placed> {
        let full = root.full(path);
        let wrong = |error| failed("writing", &full)(error);
        let Ok((parent, name)) = dirs.parent(path, true)? else { return Ok(Placed::Blocked) };
        if !is(parent, name, expected).map_err(wrong)? {
            return Ok(Placed::Changed);
        }
        if row.kind == FileKind::Folder {
            if expected.is_some_and(|stat| stat.kind != FileKind::Folder) {
                unlinkat(parent, name, AtFlags::empty()).map_err(wrong)?;
            }
            return match mkdirat(parent, name, Mode::from_raw_mode(0o777)) {
                Ok(()) | Err(Errno::EXIST) => Ok(Placed::Done(Some(FOLDER))),
                Err(error) => Err(wrong(error)),
            };
        }
        let temporary = self.name();
        write(store, self.temporary.as_fd(), &temporary, row, &full)?;
        let here = Spot { folder: self.temporary.as_fd(), name: &temporary };
        let placed = match swap(here, Spot { folder: parent, name }, expected) {
            Err(Errno::XDEV) => {
                // Another file system is mounted inside of the directory.
                let _ = unlinkat(&self.temporary, &*temporary, AtFlags::empty());
                let temporary = format!("{}{temporary}", path::TEMPORARY);
                let _ = unlinkat(parent, &*temporary, AtFlags::empty());
                write(store, parent, &temporary, row, &full)?;
                let placed = swap(Spot { folder: parent, name: &temporary }, Spot { folder: parent, name }, expected);
                let _ = unlinkat(parent, &*temporary, AtFlags::empty());
                placed
            }
            placed => {
                // What was there before, or what could not be placed.
                let _ = unlinkat(&self.temporary, &*temporary, AtFlags::empty());
                placed
            }
        };
        match placed {
            Ok(true) => Ok(Placed::Done(stat(parent, name).map_err(wrong)?)),
            Ok(false) => Ok(Placed::Changed),
            Err(Errno::NOTEMPTY | Errno::ISDIR) => Ok(Placed::Blocked),
            Err(error) => Err(wrong(error)),
        }
    }

    /// Removes what is `expected` at a path, and the folders that this leaves empty, but for those to `keep`.
    ///
    /// # Errors
    /// The file system's, with the path.
    pub(super) fn remove(
        &self,
        root: &Root,
        dirs: &mut Dirs<'_>,
        path: &str,
        expected: &Stat,
        keep: &dyn Fn(&str) -> bool,
    ) -> Result<Placed> {
        let full = root.full(path);
        let wrong = |error| failed("removing", &full)(error);
        let Ok((parent, name)) = dirs.parent(path, false)? else { return Ok(Placed::Done(None)) };
        match stat(parent, name).map_err(wrong)? {
            None => {}
            Some(now) if now.kind == FileKind::Folder && expected.kind == FileKind::Folder => {
                match unlinkat(parent, name, AtFlags::REMOVEDIR) {
                    // One that is not empty is there through what is in it.
                    Ok(()) | Err(Errno::NOTEMPTY | Errno::EXIST | Errno::NOENT) => {}
                    Err(error) => return Err(wrong(error)),
                }
            }
            Some(now) if now != *expected => return Ok(Placed::Changed),
            Some(now) => {
                let temporary = self.name();
                match renameat(parent, name, &self.temporary, &*temporary) {
                    Ok(()) => {
                        let is = stat(self.temporary.as_fd(), &temporary).map_err(wrong)?;
                        if !is.is_some_and(|is| is_same(&is, &now)) {
                            return give_back(self.temporary.as_fd(), &temporary, parent, name).map_err(wrong);
                        }
                        unlinkat(&self.temporary, &*temporary, AtFlags::empty()).map_err(wrong)?;
                    }
                    Err(Errno::XDEV) => unlinkat(parent, name, AtFlags::empty()).map_err(wrong)?,
                    Err(Errno::NOENT) => {}
                    Err(error) => return Err(wrong(error)),
                }
            }
        }
        let mut folder = path::parent(path);
        while let Some(path) = folder.filter(|path| !keep(path)) {
            let Ok((parent, name)) = dirs.parent(path, false)? else { break };
            if unlinkat(parent, name, AtFlags::REMOVEDIR).is_err() {
                break;
            }
            folder = path::parent(path);
        }
        Ok(Placed::Done(None))
    }
}

/// A name in a folder.
#[derive(Clone, Copy)]
struct Spot<'a> {
    folder: BorrowedFd<'a>,
    name: &'a str,
}

fn stat(folder: BorrowedFd<'_>, name: &str) -> Result<Option<Stat>, Errno> {
    match statat(folder, name, AtFlags::SYMLINK_NOFOLLOW) {
        Ok(stat) => Ok(Stat::of(&stat)),
        Err(Errno::NOENT | Errno::NOTDIR) => Ok(None),
        Err(error) => Err(error),
    }
}

/// Whether what is at a name is what was expected there. An empty folder is as good as nothing, and so is a folder that came to have files.
fn is(folder: BorrowedFd<'_>, name: &str, expected: Option<&Stat>) -> Result<bool, Errno> {
    let now = match statat(folder, name, AtFlags::SYMLINK_NOFOLLOW) {
        Ok(now) => match Stat::of(&now) {
            Some(now) => now,
            // A device or a pipe.
            None => return Ok(false),
        },
        Err(Errno::NOENT | Errno::NOTDIR) => return Ok(expected.is_none()),
        Err(error) => return Err(error),
    };
    let is_folder = |stat: &Stat| stat.kind == FileKind::Folder;
    Ok(if is_folder(&now) { expected.is_none_or(is_folder) } else { expected == Some(&now) })
}

/// Whether a file that was moved is the one that it was: moving it changes one of its times.
fn is_same(now: &Stat, before: &Stat) -> bool {
    Stat { ctime: before.ctime, ..*now } == *before
}

/// Brings a file to its place; false when something else is there than was expected.
fn swap(from: Spot<'_>, to: Spot<'_>, expected: Option<&Stat>) -> Result<bool, Errno> {
    let fresh = || renameat_with(from.folder, from.name, to.folder, to.name, RenameFlags::NOREPLACE);
    let Some(before) = expected.filter(|stat| stat.kind != FileKind::Folder) else {
        return match fresh() {
            Ok(()) => Ok(true),
            Err(Errno::EXIST) => match unlinkat(to.folder, to.name, AtFlags::REMOVEDIR) {
                Ok(()) => fresh().map(|()| true),
                Err(Errno::NOTDIR) => Ok(false),
                Err(error) => Err(error),
            },
            // Not every file system can.
            Err(Errno::INVAL | Errno::NOSYS) => renameat(from.folder, from.name, to.folder, to.name).map(|()| true),
            Err(error) => Err(error),
        };
    };
    let exchange = || renameat_with(from.folder, from.name, to.folder, to.name, RenameFlags::EXCHANGE);
    match exchange() {
        Ok(()) => {}
        // It was removed meanwhile.
        Err(Errno::NOENT) => return Ok(false),
        Err(Errno::INVAL | Errno::NOSYS) => return renameat(from.folder, from.name, to.folder, to.name).map(|()| true),
        Err(error) => return Err(error),
    }
    if stat(from.folder, from.name)?.is_some_and(|was| is_same(&was, before)) {
        return Ok(true);
    }
    exchange()?;
    Ok(false)
}

/// Puts a file back from where it was taken; beside its place, when there is something again.
fn give_back(from: BorrowedFd<'_>, temporary: &str, to: BorrowedFd<'_>, name: &str) -> Result<Placed, Errno> {
    let back = |name: &str| renameat_with(from, temporary, to, name, RenameFlags::NOREPLACE);
    match back(name) {
        Err(Errno::EXIST) => back(&format!("{name}.conflict-{temporary}"))?,
        Err(Errno::INVAL | Errno::NOSYS) => renameat(from, temporary, to, name)?,
        back => back?,
    }
    Ok(Placed::Changed)
}

/// Writes a file or a link under a temporary name, durably.
fn write(store: &Store, folder: BorrowedFd<'_>, name: &str, row: &FileRow, shown: &Path) -> Result<()> {
    if row.kind == FileKind::Symlink {
        let Content::Inline(target) = &row.content else {
            let what = format!("the link {}", shown.display());
            return Err(Error::Corrupt { what, why: "its row has no target".into() });
        };
        return symlinkat(&target[..], folder, name).map_err(|error| failed("making the link", shown)(error));
    }
    let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    // The user's umask decides who else may read and run it.
    let mode = Mode::from_raw_mode(if row.executable { 0o777 } else { 0o666 });
    let file = openat(folder, name, flags, mode).map_err(|error| failed("writing", shown)(error))?;
    let mut file = File::from(file);
    let written = match &row.content {
        Content::Inline(bytes) => file.write_all(bytes).map_err(Error::io("writing", shown)),
        Content::Chunks(content) => {
            content::copy(store, content, &mut file, |error| Error::io("writing", shown)(error))
        }
    };
    written.and_then(|()| file.sync_all().map_err(Error::io("syncing", shown))).inspect_err(|_| {
        let _ = unlinkat(folder, name, AtFlags::empty());
    })
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use bytes::Bytes;
    use syncline_store::{Options, backend};

    use super::*;

    fn file(bytes: &'static [u8]) -> FileRow {
        FileRow { kind: FileKind::File, executable: false, content: Content::Inline(Bytes::from_static(bytes)) }
    }

    fn done(placed: Placed) -> Stat {
        match placed {
            Placed::Done(Some(stat)) => stat,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn what_is_not_known_is_never_written_over() {
        let dir = tempfile::tempdir().expect("a directory");
        let store = Store::create(Arc::new(backend::memory::Memory::new()), Options::default()).expect("a store");
        let meta = dir.path().join(".syncline");
        let (root, place) = (Root::open(dir.path()).expect("a root"), Place::new(&meta).expect("room"));
        let read = |path: &str| std::fs::read_to_string(dir.path().join(path)).ok();
        let put = |path: &str, row: &FileRow, expected: Option<&Stat>| {
            place.put(&root, &mut root.dirs(), &store, (path, row), expected).expect("a file system")
        };
        let remove = |path: &str, expected: &Stat| {
            place.remove(&root, &mut root.dirs(), path, expected, &|_| false).expect("a file system")
        };
        let first = done(put("a/f", &file(b"first"), None));
        assert_eq!(read("a/f").as_deref(), Some("first"));
        // Something is there that nobody knew of; or it is not what it was.
        assert_eq!(put("a/f", &file(b"other"), None), Placed::Changed);
        std::fs::write(dir.path().join("a/f"), "edited").expect("room");
        assert_eq!(put("a/f", &file(b"other"), Some(&first)), Placed::Changed);
        assert_eq!(remove("a/f", &first), Placed::Changed);
        assert_eq!(read("a/f").as_deref(), Some("edited"));
        let edited = root.dirs().stat("a/f").expect("a stat").flatten().expect("a file");
        let second = done(put("a/f", &file(b"second"), Some(&edited)));
        assert_eq!(read("a/f").as_deref(), Some("second"));
        // Folders and files in each other's way.
        assert_eq!(put("a", &file(b"x"), None), Placed::Blocked);
        assert_eq!(put("a/f/g", &file(b"x"), None), Placed::Blocked);
        assert_eq!(remove("a/f", &second), Placed::Done(None));
        assert!(!dir.path().join("a").exists(), "a folder that is left empty goes along");
        assert_eq!(remove("a/f", &second), Placed::Done(None));
        std::fs::create_dir(dir.path().join("a")).expect("room");
        done(put("a", &file(b"a file now"), None));
        assert_eq!(std::fs::read_dir(meta.join("tmp/live")).expect("a folder").count(), 0, "nothing is left over");
    }
}
