//! A directory for files that live as long as one request: what a verb is given, and what it puts out.
//!
//! State: the directory and a lock on it, both gone with the value. After a crash the directory is left behind and the lock is
//! not: the next node that is started beside it removes it. Nobody else can read it.

use std::fs::{File, TryLockError};
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};

use tempfile::TempDir;

/// How its name begins. No dataset's begins with a dot.
const PREFIX: &str = ".scratch-";

/// The file in it that its owner holds locked.
const LOCK: &str = "lock";

/// A directory of one's own, removed in the end.
#[derive(Debug)]
pub(crate) struct ScratchDir {
    dir: TempDir,
    _lock: File,
}

impl ScratchDir {
    /// A new one beside the datasets of `data`, where those of nodes that were killed are removed.
    pub(crate) fn beside(data: &Path) -> io::Result<Self> {
        clear(data);
        Self::within(data)
    }

    /// A new one where the system has temporary files.
    pub(crate) fn of_the_system() -> io::Result<Self> {
        Self::within(&std::env::temp_dir())
    }

    fn within(parent: &Path) -> io::Result<Self> {
        // A node that is started at the same moment may take a directory for left over before it is locked: then another one.
        for _ in 0..100 {
            let mut builder = tempfile::Builder::new();
            #[cfg(unix)]
            builder.permissions(std::os::unix::fs::PermissionsExt::from_mode(0o700));
            let dir = builder.prefix(PREFIX).tempdir_in(parent)?;
            match hold(dir.path()) {
                Ok(Some(_lock)) => return Ok(Self { dir, _lock }),
                Ok(None) => {}
                Err(error) if error.kind() == ErrorKind::NotFound => {}
                Err(error) => return Err(error),
            }
        }
        Err(io::Error::other("whatever is made there is removed at once"))
    }

    /// A path for a file.
    pub(crate) fn path(&self) -> PathBuf {
        self.dir.path().join(syncline_base::rng::Rng::from_os().unique_name())
    }
}

/// Locks a directory that was just made; `None` when somebody was faster.
fn hold(dir: &Path) -> io::Result<Option<File>> {
    let path = dir.join(LOCK);
    let lock = File::create_new(&path)?;
    match lock.try_lock() {
        Err(TryLockError::WouldBlock) => Ok(None),
        // Where there are no locks nobody takes it away either.
        _ => Ok(path.exists().then_some(lock)),
    }
}

/// Removes what is left of nodes that have ended without a word. What cannot be removed stays: it is in nobody's way.
fn clear(data: &Path) {
    let Ok(entries) = std::fs::read_dir(data) else { return };
    for entry in entries.flatten() {
        let is_dir = entry.file_type().is_ok_and(|kind| kind.is_dir());
        if !is_dir || !entry.file_name().to_string_lossy().starts_with(PREFIX) {
            continue;
        }
        let removed = match File::options().read(true).write(true).open(entry.path().join(LOCK)) {
            Ok(lock) if lock.try_lock().is_ok() => std::fs::remove_dir_all(entry.path()),
            // Somebody works there.
            Ok(_) => continue,
            // It was left before it could be locked. One with files in it is none of ours, and stays.
            Err(_) => std::fs::remove_dir(entry.path()),
        };
        if let Err(error) = removed {
            tracing::warn!(path = %entry.path().display(), %error, "files of a node that was killed stay");
        }
    }
}

#[cfg(test)]
mod tests;
