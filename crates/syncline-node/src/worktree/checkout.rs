//! Writing and removing files of a working directory.
//!
//! A file is written under a temporary name and renamed, so a path holds the old or the new file and never half of one.
//! Only short files of a directory that was empty are written in place, which takes two thirds of the time; what a crash
//! leaves of such a file is told from an edit by `is_begun`.
//! Folders are opened part by part, so a symbolic link where a folder has to be is refused, never followed.
//! Nothing is synced here: the caller leaves a note (`crate::work`), and a checkout that was cut off is done again.
//!
//! Owns: the temporary files of this process. Not here: what is written, the note, the refs.

use std::fs::File;
use std::io::{self, Write};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use rustix::fs::{AtFlags, Mode, OFlags, mkdirat, openat, renameat, statat, symlinkat, unlinkat};
use rustix::io::Errno;
use syncline_store::Store;
use syncline_tree::content;
use syncline_tree::files::{Content, Entry, FileKind, path};

use super::dirs::{Blocked, Dirs, Root, failed};
use super::stat::Stat;
use crate::{Error, Result};

/// Writes into one working directory. Shared by threads; each brings its own open folders.
#[derive(Debug)]
pub(crate) struct Writer<'a> {
    root: &'a Root,
    store: &'a Store,
    /// For files that are being written; on the file system of the root, as a rule.
    temporary: OwnedFd,
    temporary_path: PathBuf,
    next: AtomicU64,
    /// Whether the directory held nothing.
    fresh: bool,
}

impl Drop for Writer<'_> {
    /// What could not be written whole does not keep the disk full.
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.temporary_path);
    }
}

impl<'a> Writer<'a> {
    /// A writer that keeps its temporary files in `meta`. What a writer that was cut off has left there is removed. In a
    /// `fresh` directory nothing is in the way of a file, as a rule.
    ///
    /// # Errors
    /// The file system's.
    pub(crate) fn new(root: &'a Root, meta: &Path, store: &'a Store, fresh: bool) -> Result<Self> {
        let temporary_path = meta.join("tmp").join("checkout");
        let clean = || {
            match std::fs::remove_dir_all(&temporary_path) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                _ => {}
            }
            std::fs::create_dir_all(&temporary_path)
        };
        clean().map_err(Error::io("creating", &temporary_path))?;
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let temporary = rustix::fs::open(&temporary_path, flags, Mode::empty());
        let temporary = temporary.map_err(|e| failed("opening", &temporary_path)(e))?;
        Ok(Self { root, store, temporary, temporary_path, next: AtomicU64::new(0), fresh })
    }

    /// Removes a path and the folders that it leaves empty. False when there was nothing to remove.
    ///
    /// # Errors
    /// The file system's, with the path.
    pub(crate) fn remove(&self, dirs: &mut Dirs<'_>, path: &str) -> Result<bool> {
        let full = self.root.full(path);
        let Ok((parent, name)) = dirs.parent(path, false)? else { return Ok(false) };
        match unlinkat(parent, name, AtFlags::empty()) {
            Ok(()) => {}
            Err(Errno::NOENT) => return Ok(false),
            // A folder: POSIX says EPERM, Linux EISDIR. One that is not empty any more stays.
            Err(Errno::ISDIR | Errno::PERM) => match unlinkat(parent, name, AtFlags::REMOVEDIR) {
                Ok(()) => {}
                Err(Errno::NOTEMPTY | Errno::EXIST | Errno::NOENT) => return Ok(false),
                Err(error) => return Err(failed("removing", &full)(error)),
            },
            Err(error) => return Err(failed("removing", &full)(error)),
        }
        let mut folder = path::parent(path);
        while let Some(path) = folder {
            let Ok((parent, name)) = dirs.parent(path, false)? else { break };
            if unlinkat(parent, name, AtFlags::REMOVEDIR).is_err() {
                break;
            }
            folder = path::parent(path);
        }
        Ok(true)
    }

    /// Puts an entry in place, whatever is there now, and returns its stat.
    ///
    /// # Errors
    /// `conflict` when a parent is a file or a symbolic link, or a folder with files in it is in the way; the file system's,
    /// with the path; the store's.
    pub(crate) fn put(&self, dirs: &mut Dirs<'_>, entry: &Entry) -> Result<Stat> {
        path::check(&entry.path).map_err(|fault| Error::Corrupt {
            what: format!("path {:?} of a version", entry.path),
            why: fault.to_string(),
        })?;
        let full = self.root.full(&entry.path);
        let wrong = |error| failed("writing", &full)(error);
        let (parent, name) = match dirs.parent(&entry.path, true)? {
            Ok(parent) => parent,
            Err(Blocked::Missing | Blocked::NotAFolder) => {
                let why = "a file or a symbolic link is where a folder has to be; move it away and run it again";
                return Err(Error::conflict(format!("writing {}", full.display()), why));
            }
        };
        if entry.kind == FileKind::Folder {
            match mkdirat(parent, name, Mode::from_raw_mode(0o777)) {
                Ok(()) => {}
                Err(Errno::EXIST) => {
                    let there = statat(parent, name, AtFlags::SYMLINK_NOFOLLOW).map_err(wrong)?;
                    if Stat::of(&there).is_none_or(|stat| stat.kind != FileKind::Folder) {
                        unlinkat(parent, name, AtFlags::empty()).map_err(wrong)?;
                        mkdirat(parent, name, Mode::from_raw_mode(0o777)).map_err(wrong)?;
                    }
                }
                Err(error) => return Err(wrong(error)),
            }
            let (mtime, ctime, inode) = (0, 0, 0);
            return Ok(Stat { kind: FileKind::Folder, executable: false, size: 0, mtime, ctime, inode });
        }
        if self.fresh
            && entry.kind == FileKind::File
            && let Content::Inline(bytes) = &entry.content
            && let Some(stat) = create(parent, name, entry.executable, bytes, &full)?
        {
            return Ok(stat);
        }
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        let temporary = format!("{number:x}");
        self.write(self.temporary.as_fd(), &temporary, entry, &self.temporary_path)?;
        match place(self.temporary.as_fd(), &temporary, parent, name) {
            Err(Errno::XDEV) => {
                // Another file system is mounted inside the working directory.
                let _ = unlinkat(&self.temporary, &*temporary, AtFlags::empty());
                let temporary = format!("{}{number:x}", path::TEMPORARY);
                let _ = unlinkat(parent, &*temporary, AtFlags::empty());
                self.write(parent, &temporary, entry, &full)?;
                place(parent, &temporary, parent, name)
            }
            placed => placed,
        }
        .map_err(|error| match error {
            Errno::NOTEMPTY | Errno::EXIST => {
                let why = "a folder with files in it is in the way; move it away and run it again";
                Error::conflict(format!("writing {}", full.display()), why)
            }
            error => wrong(error),
        })?;
        let stat = statat(parent, name, AtFlags::SYMLINK_NOFOLLOW).map_err(wrong)?;
        Stat::of(&stat).ok_or_else(|| Error::conflict(format!("writing {}", full.display()), "somebody replaced it"))
    }

    /// Writes an entry under a temporary name in a folder.
    fn write(&self, folder: BorrowedFd<'_>, name: &str, entry: &Entry, shown: &Path) -> Result<()> {
        if entry.kind == FileKind::Symlink {
            let target = match &entry.content {
                Content::Inline(target) if !target.is_empty() && !target.contains(&0) => target,
                _ => {
                    let what = format!("link {:?} of a version", entry.path);
                    return Err(Error::Corrupt { what, why: "its target is empty, too long or has a NUL".into() });
                }
            };
            return symlinkat(&target[..], folder, name).map_err(|e| failed("making a link in", shown)(e));
        }
        let file = open_new(folder, name, entry.executable).map_err(|e| failed("creating a file in", shown)(e))?;
        let mut file = File::from(file);
        match &entry.content {
            Content::Inline(bytes) => file.write_all(bytes).map_err(Error::io("writing", shown)),
            Content::Chunks(content) => {
                content::copy(self.store, content, &mut file, |error| Error::io("writing", shown)(error))
            }
        }
    }
}

/// A new file. The user's umask decides who else may read and run it.
fn open_new(folder: BorrowedFd<'_>, name: &str, executable: bool) -> std::result::Result<OwnedFd, Errno> {
    let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    openat(folder, name, flags, Mode::from_raw_mode(if executable { 0o777 } else { 0o666 }))
}

/// Writes a file where nothing is; `None` when something is there.
fn create(folder: BorrowedFd<'_>, name: &str, executable: bool, bytes: &[u8], full: &Path) -> Result<Option<Stat>> {
    let file = match open_new(folder, name, executable) {
        Ok(file) => file,
        Err(Errno::EXIST) => return Ok(None),
        Err(error) => return Err(failed("creating", full)(error)),
    };
    let mut file = File::from(file);
    if let Err(error) = file.write_all(bytes) {
        // A disk that is full must not leave a file that looks edited.
        let _ = unlinkat(folder, name, AtFlags::empty());
        return Err(Error::io("writing", full)(error));
    }
    let stat = rustix::fs::fstat(&file).map_err(|error| failed("writing", full)(error))?;
    Ok(Stat::of(&stat))
}

/// Whether bytes may be what a crash has left of writing `whole` in place: its start, or zeros where the data was not
/// written yet.
pub(crate) fn is_begun(bytes: &[u8], whole: &[u8]) -> bool {
    bytes.len() <= whole.len() && bytes.iter().zip(whole).all(|(got, wanted)| got == wanted || *got == 0)
}

/// Renames a file to where it belongs; an empty folder there gives way.
fn place(from: BorrowedFd<'_>, temporary: &str, to: BorrowedFd<'_>, name: &str) -> std::result::Result<(), Errno> {
    match renameat(from, temporary, to, name) {
        Err(Errno::ISDIR | Errno::EXIST | Errno::NOTEMPTY) => {
            unlinkat(to, name, AtFlags::REMOVEDIR)?;
            renameat(from, temporary, to, name)
        }
        placed => placed,
    }
}
