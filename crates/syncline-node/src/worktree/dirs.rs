//! Folders below one root, opened part by part so that a symbolic link is never followed.
//!
//! Owns: open folders along the last path that was asked for. Paths that come sorted reopen little.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, Mode, OFlags, mkdirat, openat, statat};
use rustix::io::Errno;

use syncline_tree::content::ContentRef;

use super::stat::Stat;
use crate::contents::Source;
use crate::part::Part;
use crate::{Error, Result};

/// The root of a working directory.
#[derive(Debug)]
pub(crate) struct Root {
    pub path: PathBuf,
    fd: OwnedFd,
    /// What of a version belongs here, when that is not everything.
    held: Option<Held>,
}

/// Which files of a version a working directory holds, and where their contents are.
#[derive(Debug)]
pub(crate) struct Held {
    pub part: Part,
    pub source: Source,
}

const FOLDER: OFlags = OFlags::RDONLY.union(OFlags::DIRECTORY).union(OFlags::NOFOLLOW).union(OFlags::CLOEXEC);

impl Root {
    /// Opens a folder as root. The root itself may be reached through links: the user named it.
    ///
    /// # Errors
    /// The file system's.
    pub(crate) fn open(path: &Path) -> Result<Self> {
        let flags = FOLDER.difference(OFlags::NOFOLLOW);
        let fd = rustix::fs::open(path, flags, Mode::empty()).map_err(|e| failed("opening", path)(e))?;
        Ok(Self { path: path.to_owned(), fd, held: None })
    }

    /// A working directory that holds only some files.
    pub(crate) fn holding(mut self, held: Held) -> Self {
        self.held = Some(held);
        self
    }

    /// Whether some files of a version may be absent.
    pub(crate) fn is_partial(&self) -> bool {
        self.held.is_some()
    }

    /// Whether the file at this path belongs here. One that does not may be here all the same, and then counts.
    pub(crate) fn holds(&self, path: &str) -> bool {
        self.held.as_ref().is_none_or(|held| held.part.path(path))
    }

    /// Brings contents that are about to be written.
    ///
    /// # Errors
    /// As [`Source::bring`].
    pub(crate) fn bring(&self, contents: &[ContentRef]) -> Result<()> {
        match &self.held {
            Some(held) => held.source.bring(contents),
            None => Ok(()),
        }
    }

    pub(crate) fn fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }

    pub(crate) fn full(&self, path: &str) -> PathBuf {
        self.path.join(path)
    }

    /// A handle that opens folders below this root.
    pub(crate) fn dirs(&self) -> Dirs<'_> {
        Dirs { root: self, open: Vec::new() }
    }
}

/// What an error of the system on a path is here.
pub(crate) fn failed(what: &'static str, path: &Path) -> impl FnOnce(Errno) -> Error {
    let path = path.to_owned();
    move |errno| Error::io(what, &path)(io::Error::from(errno))
}

/// What stands in the way of reaching a folder.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Blocked {
    /// It, or a folder above it, is not there.
    Missing,
    /// A part of the way is a symbolic link or a file.
    NotAFolder,
}

/// Opens folders below a root, keeping those open that lead to the last one.
#[derive(Debug)]
pub(crate) struct Dirs<'a> {
    root: &'a Root,
    open: Vec<(String, OwnedFd)>,
}

impl Dirs<'_> {
    /// The folder at `path` ("" is the root); with `make`, missing ones are created.
    ///
    /// # Errors
    /// The file system's. What stands in the way is the inner result.
    pub(crate) fn enter(&mut self, path: &str, make: bool) -> Result<Result<BorrowedFd<'_>, Blocked>> {
        let mut depth = 0;
        let mut end = 0;
        for name in path.split('/').filter(|name| !name.is_empty()) {
            end += name.len() + usize::from(depth > 0);
            if self.open.get(depth).is_none_or(|(open, _)| open != name) {
                self.open.truncate(depth);
                let above = self.open.last().map_or_else(|| self.root.fd(), |(_, fd)| fd.as_fd());
                let opened = match openat(above, name, FOLDER, Mode::empty()) {
                    Err(Errno::NOENT) if make => match mkdirat(above, name, Mode::from_raw_mode(0o777)) {
                        Ok(()) | Err(Errno::EXIST) => openat(above, name, FOLDER, Mode::empty()),
                        Err(error) => Err(error),
                    },
                    opened => opened,
                };
                match opened {
                    Ok(fd) => self.open.push((name.to_owned(), fd)),
                    Err(Errno::NOENT) => return Ok(Err(Blocked::Missing)),
                    Err(Errno::NOTDIR | Errno::LOOP) => return Ok(Err(Blocked::NotAFolder)),
                    Err(error) => return Err(failed("opening", &self.root.full(&path[..end]))(error)),
                }
            }
            depth += 1;
        }
        self.open.truncate(depth);
        Ok(Ok(self.open.last().map_or_else(|| self.root.fd(), |(_, fd)| fd.as_fd())))
    }

    /// The folder of `path`, and the path's last part.
    ///
    /// # Errors
    /// As [`Dirs::enter`].
    pub(crate) fn parent<'p>(
        &mut self,
        path: &'p str,
        make: bool,
    ) -> Result<Result<(BorrowedFd<'_>, &'p str), Blocked>> {
        let (parent, name) = path.rsplit_once('/').unwrap_or(("", path));
        Ok(self.enter(parent, make)?.map(|fd| (fd, name)))
    }

    /// What is at `path` without following anything; the outer `None` when nothing is, the inner when it is special.
    ///
    /// # Errors
    /// The file system's.
    pub(crate) fn stat(&mut self, path: &str) -> Result<Option<Option<Stat>>> {
        let full = self.root.full(path);
        let Ok((parent, name)) = self.parent(path, false)? else { return Ok(None) };
        match statat(parent, name, AtFlags::SYMLINK_NOFOLLOW) {
            Ok(stat) => Ok(Some(Stat::of(&stat))),
            Err(Errno::NOENT | Errno::NOTDIR) => Ok(None),
            Err(error) => Err(failed("reading", &full)(error)),
        }
    }
}
