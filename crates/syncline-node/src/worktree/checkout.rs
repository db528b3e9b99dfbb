//! Writing files: a directory becomes what the files table of a version says.
//!
//! Only what differs is written; each file under a temporary name, then renamed. Nothing is synced: the caller leaves a
//! note (`crate::work`) and a checkout that was cut off is done again. Symbolic links are replaced, never followed: a
//! path whose parent is a link is refused.
//!
//! Owns no state. Not here: the note, the refs.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io::{self, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use syncline_store::Store;
use syncline_tree::content;
use syncline_tree::files::{Content, Entry, FileKind, path};

use crate::work::Updated;
use crate::{Error, Result};

/// Writes into one working directory.
pub(crate) struct Writer<'a> {
    root: &'a Path,
    /// For files that are being written. On the same file system as the root.
    temporary: PathBuf,
    store: &'a Store,
    /// Directories that were seen to be real ones.
    real: BTreeSet<String>,
    pub(crate) done: Updated,
}

impl<'a> Writer<'a> {
    /// A writer that keeps its temporary files in `meta`.
    ///
    /// # Errors
    /// The file system's.
    pub(crate) fn new(root: &'a Path, meta: &Path, store: &'a Store) -> Result<Self> {
        let temporary = meta.join("tmp");
        fs::create_dir_all(&temporary).map_err(Error::io("creating", &temporary))?;
        let temporary = temporary.join("checkout");
        Ok(Self { root, temporary, store, real: BTreeSet::new(), done: Updated::default() })
    }

    /// Removes a path and the directories that it leaves empty. A path that is gone already is fine.
    ///
    /// # Errors
    /// The file system's; `conflict` when a parent is a symbolic link.
    pub(crate) fn remove(&mut self, path: &str) -> Result<()> {
        if !self.parents_are_real(path)? {
            return Ok(());
        }
        let full = self.root.join(path);
        let outcome = match full.symlink_metadata() {
            Ok(meta) if meta.is_dir() => match fs::remove_dir(&full) {
                // Somebody put something into a directory that was versioned as empty: it stays.
                Err(error) if error.kind() == io::ErrorKind::DirectoryNotEmpty => return Ok(()),
                outcome => outcome,
            },
            Ok(_) => fs::remove_file(&full),
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            Err(error) => Err(error),
        };
        outcome.map_err(Error::io("removing", &full))?;
        self.done.removed += 1;
        let mut parent = path::parent(path);
        while let Some(dir) = parent {
            if fs::remove_dir(self.root.join(dir)).is_err() {
                break;
            }
            self.real.remove(dir);
            parent = path::parent(dir);
        }
        Ok(())
    }

    /// Puts an entry in place, whatever is there now.
    ///
    /// # Errors
    /// The file system's and the store's; `conflict` when a parent is a symbolic link or a directory with files in it
    /// is in the way.
    pub(crate) fn put(&mut self, entry: &Entry) -> Result<()> {
        path::check(&entry.path).map_err(|fault| Error::Corrupt {
            what: format!("path {:?} of a version", entry.path),
            why: fault.to_string(),
        })?;
        if let Some(parent) = path::parent(&entry.path) {
            self.make_directories(parent)?;
        }
        let full = self.root.join(&entry.path);
        if entry.kind == FileKind::Folder {
            return self.make_directories(&entry.path).map(|()| self.done.written += 1);
        }
        if full.symlink_metadata().is_ok_and(|meta| meta.is_dir()) {
            fs::remove_dir(&full).map_err(|_| {
                let why = "a directory with files in it is in the way; move it away and run it again";
                Error::conflict(format!("writing {}", full.display()), why)
            })?;
        }
        let _ = fs::remove_file(&self.temporary);
        self.write_temporary(entry)?;
        fs::rename(&self.temporary, &full).map_err(Error::io("writing", &full))?;
        self.done.written += 1;
        Ok(())
    }

    fn write_temporary(&self, entry: &Entry) -> Result<()> {
        let at = &self.temporary;
        if entry.kind == FileKind::Symlink {
            let Content::Inline(target) = &entry.content else {
                let why = "a link's target is longer than any system takes".into();
                return Err(Error::Corrupt { what: format!("link {:?} of a version", entry.path), why });
            };
            let target = std::str::from_utf8(target).map_err(|e| Error::Corrupt {
                what: format!("link {:?} of a version", entry.path),
                why: e.to_string(),
            })?;
            return std::os::unix::fs::symlink(target, at).map_err(Error::io("making a link", at));
        }
        let mut file = File::create_new(at).map_err(Error::io("creating", at))?;
        match &entry.content {
            Content::Inline(bytes) => file.write_all(bytes).map_err(Error::io("writing", at))?,
            Content::Chunks(content) => {
                let mut source = content::read(self.store, content)?;
                io::copy(&mut source, &mut file).map_err(Error::io("writing", at))?;
            }
        }
        if entry.executable {
            let mode = file.metadata().map_err(Error::io("reading", at))?.permissions().mode();
            // Whoever may read it may run it, as the user's umask has it.
            let mode = mode | (mode & 0o444) >> 2;
            file.set_permissions(fs::Permissions::from_mode(mode)).map_err(Error::io("changing", at))?;
        }
        Ok(())
    }

    /// Whether every directory above a path is there and is a real one.
    fn parents_are_real(&mut self, path: &str) -> Result<bool> {
        let Some(parent) = path::parent(path) else { return Ok(true) };
        if self.real.contains(parent) {
            return Ok(true);
        }
        if !self.parents_are_real(parent)? {
            return Ok(false);
        }
        let real = self.root.join(parent).symlink_metadata().is_ok_and(|meta| meta.is_dir());
        if real {
            self.real.insert(parent.to_owned());
        }
        Ok(real)
    }

    fn make_directories(&mut self, dir: &str) -> Result<()> {
        if self.real.contains(dir) {
            return Ok(());
        }
        if let Some(parent) = path::parent(dir) {
            self.make_directories(parent)?;
        }
        let full = self.root.join(dir);
        match full.symlink_metadata() {
            Ok(meta) if meta.is_dir() => {}
            Ok(_) => {
                let why = "a file or a symbolic link is where a directory has to be; move it away and run it again";
                return Err(Error::conflict(format!("writing below {}", full.display()), why));
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                fs::create_dir(&full).map_err(Error::io("creating", &full))?;
            }
            Err(error) => return Err(Error::io("reading", &full)(error)),
        }
        self.real.insert(dir.to_owned());
        Ok(())
    }
}
