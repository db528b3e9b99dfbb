//! Giving a file its final name without taking that name from another file.
//!
//! Three ways, the first that the file system knows. A hard link fails when the name is taken; so does a rename that must not
//! replace (Linux, macOS). Where there is neither (FAT and some network and user-space file systems lack links, old kernels
//! and more of these the flag) a lock file is held while the name is looked up and the file renamed: that is as good among
//! processes of this program, which are the only ones that make files here.
//!
//! Owns: which way worked last. After a crash: the file has its name or is a left-over in `tmp/`, or both.

use std::fs::{self, File};
use std::io;
use std::path::Path;
use std::sync::atomic::{AtomicU8, Ordering};

const LINK: u8 = 0;
const NO_REPLACE: u8 = 1;
const LOCKED: u8 = 2;

/// Which way is tried first.
#[derive(Debug, Default)]
pub(super) struct Naming {
    way: AtomicU8,
}

impl Naming {
    /// Leaves out the first ways, as if the file system did not know them.
    #[cfg(test)]
    pub(super) fn without(ways: u8) -> Self {
        Self { way: AtomicU8::new(ways) }
    }

    /// Moves `from` to `to`, which must not be there. `lock` takes the lock file of the last way.
    pub(super) fn give(&self, from: &Path, to: &Path, lock: impl Fn() -> io::Result<File>) -> io::Result<()> {
        loop {
            let way = self.way.load(Ordering::Relaxed);
            let given = match way {
                LINK => fs::hard_link(from, to).and_then(|()| fs::remove_file(from)),
                NO_REPLACE => rename_new(from, to),
                _ => lock().and_then(|_held| rename_free(from, to)),
            };
            match given {
                Err(error) if way < LOCKED && is_unknown(&error) => self.way.store(way + 1, Ordering::Relaxed),
                other => return other,
            }
        }
    }
}

#[cfg(any(target_os = "linux", target_os = "android", target_vendor = "apple"))]
fn rename_new(from: &Path, to: &Path) -> io::Result<()> {
    use rustix::fs::{CWD, RenameFlags, renameat_with};
    Ok(renameat_with(CWD, from, CWD, to, RenameFlags::NOREPLACE)?)
}

#[cfg(not(any(target_os = "linux", target_os = "android", target_vendor = "apple")))]
fn rename_new(_: &Path, _: &Path) -> io::Result<()> {
    Err(rustix::io::Errno::NOSYS.into())
}

/// Only under the lock.
fn rename_free(from: &Path, to: &Path) -> io::Result<()> {
    if fs::symlink_metadata(to).is_ok() {
        return Err(io::ErrorKind::AlreadyExists.into());
    }
    fs::rename(from, to)
}

/// Whether an error says that the file system does not know the operation. FAT refuses links with `EPERM`, a file system without
/// the rename flag says `EINVAL`.
fn is_unknown(error: &io::Error) -> bool {
    use rustix::io::Errno;
    let known = [Errno::PERM, Errno::NOSYS, Errno::OPNOTSUPP, Errno::INVAL, Errno::MLINK];
    error.raw_os_error().is_some_and(|code| known.iter().any(|errno| errno.raw_os_error() == code))
}

#[cfg(test)]
mod tests;
