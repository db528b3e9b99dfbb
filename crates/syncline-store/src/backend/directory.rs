//! The directory backend: a store in a local directory.
//!
//! Owns: a cache of open files. Names are paths below the root; `tmp/` holds what is not published yet.
//! Durability: a file's bytes are synced before its name appears, the directory is synced after.
//! After a crash: whole published files; an append may be there in part; left-overs in `tmp/` (see `clean`).

use std::collections::{BTreeMap, VecDeque};
use std::fs::{self, File, OpenOptions, TryLockError};
use std::io;
use std::ops::Range;
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};

use bytes::Bytes;
use syncline_base::rng::Rng;
use syncline_base::{Clock, Hash, Kind, SystemClock};

use super::{Backend, Caps, Guard, Upload, Version};
use crate::buffers;
use crate::error::{Error, Result};
use made::{make_missing, sync_parent};
use naming::Naming;

mod made;
mod naming;
#[cfg(test)]
mod tests;

pub use made::make_directory;

/// How many files are kept open for reading.
const OPEN_FILES: usize = 256;
/// Longer ranges are read only when the file is known to have them.
const READ_UNASKED: u64 = 1 << 20;

/// Byte objects as files below one directory.
#[derive(Debug, Clone)]
pub struct Directory {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    root: PathBuf,
    place: String,
    open: Mutex<OpenFiles>,
    names: Mutex<Rng>,
    naming: Naming,
}

/// Open files by name, the longest unused first in `order` (approximately: a use moves a file when it is opened only).
#[derive(Debug, Default)]
struct OpenFiles {
    files: BTreeMap<String, Arc<File>>,
    order: VecDeque<String>,
}

impl Directory {
    /// The backend on `root`. The directory is made when the first object is.
    #[must_use]
    pub fn new(root: impl Into<PathBuf>) -> Self {
        Self::with_naming(root, Naming::default())
    }

    fn with_naming(root: impl Into<PathBuf>, naming: Naming) -> Self {
        let root = root.into();
        let place = root.display().to_string();
        let (open, names) = (Mutex::default(), Mutex::new(Rng::from_os()));
        Self { inner: Arc::new(Inner { root, place, open, names, naming }) }
    }

    fn error(&self, action: &'static str, name: &str, error: &io::Error) -> Error {
        Error::io(action, name, &self.inner.place, error)
    }

    fn refused(&self, kind: Kind, action: &'static str, name: &str, reason: &str) -> Error {
        Error::backend(kind, action, name, &self.inner.place, reason)
    }

    fn path(&self, name: &str) -> Result<PathBuf> {
        let good = |part: &str| {
            !part.is_empty()
                && !part.starts_with('.')
                && part.bytes().all(|b| matches!(b, b'a'..=b'z' | b'0'..=b'9' | b'.' | b'_' | b'-'))
        };
        if !name.split('/').all(good) {
            return Err(self.refused(
                Kind::Invalid,
                "naming",
                name,
                "parts of a name are made of a-z, 0-9, '.', '_', '-'",
            ));
        }
        Ok(self.inner.root.join(name))
    }

    fn open_files(&self) -> MutexGuard<'_, OpenFiles> {
        self.inner.open.lock().expect("no code panics while it holds the open files")
    }

    fn open(&self, name: &str) -> Result<Arc<File>> {
        if let Some(file) = self.open_files().files.get(name) {
            return Ok(Arc::clone(file));
        }
        let file = File::open(self.path(name)?).map_err(|error| self.error("opening", name, &error))?;
        let file = Arc::new(file);
        let mut open = self.open_files();
        if open.files.insert(name.to_owned(), Arc::clone(&file)).is_none() {
            open.order.push_back(name.to_owned());
        }
        while open.files.len() > OPEN_FILES {
            let Some(oldest) = open.order.pop_front() else { break };
            open.files.remove(&oldest);
        }
        Ok(file)
    }

    fn forget(&self, name: &str) {
        let mut open = self.open_files();
        if open.files.remove(name).is_some() {
            open.order.retain(|other| other != name);
        }
    }

    /// Makes the directory of `path`, and makes its name durable.
    fn make_parent(path: &Path) -> io::Result<()> {
        make_missing(path)?.iter().try_for_each(|directory| sync_parent(directory))
    }

    fn temporary(&self) -> io::Result<(PathBuf, File)> {
        let unique = self.inner.names.lock().expect("no code panics while it draws a name").unique_name();
        let path = self.inner.root.join("tmp").join(unique);
        Self::make_parent(&path)?;
        let file = OpenOptions::new().read(true).write(true).create_new(true).open(&path)?;
        // For as long as it is open: it is no left-over then, however old. Where files cannot be locked its age has to do.
        let _ = file.try_lock();
        Ok((path, file))
    }

    /// Gives a synced temporary file its name, which must be free, or this very file's already: an earlier try may have failed
    /// after it had been given.
    fn publish(&self, temporary: &Path, file: &File, name: &str) -> Result<()> {
        let path = self.path(name)?;
        let publish = || {
            Self::make_parent(&path)?;
            if !is_at(file, &path)? {
                self.inner.naming.give(temporary, &path, || {
                    let lock = self.lock_file("publish")?;
                    lock.lock()?;
                    Ok(lock)
                })?;
            }
            sync_parent(&path)
        };
        publish().map_err(|error| self.error("publishing", name, &error))
    }

    fn write_temporary(&self, bytes: &[u8]) -> io::Result<(PathBuf, File)> {
        let (path, file) = self.temporary()?;
        let written = file.write_all_at(bytes, 0).and_then(|()| file.sync_all());
        if let Err(error) = written {
            let _ = fs::remove_file(&path);
            return Err(error);
        }
        Ok((path, file))
    }
}

/// Whether a file is the one of this name.
fn is_at(file: &File, path: &Path) -> io::Result<bool> {
    match fs::symlink_metadata(path) {
        Ok(there) => {
            let this = file.metadata()?;
            Ok((there.dev(), there.ino()) == (this.dev(), this.ino()))
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(error),
    }
}

fn read_range(file: &File, range: &Range<u64>) -> io::Result<Bytes> {
    let length = range.end.saturating_sub(range.start);
    // The size bounds the allocation: a range that reaches beyond the end must not reserve much memory for it.
    if length > READ_UNASKED && range.end > file.metadata()?.len() {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    let length = usize::try_from(length).map_err(io::Error::other)?;
    let mut bytes = buffers::take(length);
    bytes.resize(length, 0);
    file.read_exact_at(&mut bytes, range.start)?;
    Ok(buffers::freeze(bytes))
}

/// Writes all parts at `at`. Few, large parts are written one by one; many small ones are gathered first.
fn write_parts(file: &File, at: u64, parts: &[Bytes]) -> io::Result<u64> {
    const GATHER: usize = 64 << 10;
    let mut at = at;
    let mut gathered: Vec<u8> = Vec::new();
    for part in parts {
        if part.len() < GATHER {
            gathered.extend_from_slice(part);
            if gathered.len() < 1 << 20 {
                continue;
            }
        }
        file.write_all_at(&gathered, at)?;
        at += gathered.len() as u64;
        gathered.clear();
        if part.len() >= GATHER {
            file.write_all_at(part, at)?;
            at += part.len() as u64;
        }
    }
    file.write_all_at(&gathered, at)?;
    Ok(at + gathered.len() as u64)
}

fn version(bytes: &[u8]) -> Version {
    Version(Hash::of(bytes).to_string())
}

impl Backend for Directory {
    fn describe(&self) -> String {
        self.inner.place.clone()
    }

    fn caps(&self) -> Caps {
        Caps { append: true }
    }

    fn read(&self, name: &str, range: Range<u64>) -> Result<Bytes> {
        let file = self.open(name)?;
        read_range(&file, &range).map_err(|error| self.error("reading", name, &error))
    }

    fn size(&self, name: &str) -> Result<Option<u64>> {
        match fs::metadata(self.path(name)?) {
            Ok(metadata) => Ok(Some(metadata.len())),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(self.error("looking at", name, &error)),
        }
    }

    fn create(&self, name: &str) -> Result<Arc<dyn Upload>> {
        self.path(name)?;
        let (path, file) = self.temporary().map_err(|error| self.error("creating", name, &error))?;
        Ok(Arc::new(DirectoryUpload {
            to: self.clone(),
            name: name.to_owned(),
            temporary: path,
            file,
            length: AtomicU64::new(0),
        }))
    }

    fn put(&self, name: &str, bytes: Bytes) -> Result<()> {
        self.path(name)?;
        let (temporary, file) = self.write_temporary(&bytes).map_err(|error| self.error("writing", name, &error))?;
        self.publish(&temporary, &file, name).inspect_err(|_| drop(fs::remove_file(&temporary)))
    }

    fn append(&self, name: &str, at: u64, parts: &[Bytes]) -> Result<()> {
        let path = self.path(name)?;
        let write = || {
            let fresh = at == 0;
            let missing = if fresh { make_missing(&path)? } else { Vec::new() };
            let file = OpenOptions::new().write(true).create(fresh).truncate(false).open(&path)?;
            let length = file.metadata()?.len();
            if length < at {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            if length > at {
                file.set_len(at)?;
            }
            if let Err(error) = write_parts(&file, at, parts).and_then(|_| file.sync_data()) {
                // On a full disk what was written in vain would be missing to whoever cleans up.
                let _ = file.set_len(at);
                return Err(error);
            }
            // The names after the data: what syncs the data has most often taken them along.
            if fresh {
                sync_parent(&path)?;
            }
            missing.iter().try_for_each(|directory| sync_parent(directory))
        };
        write().map_err(|error| self.error("appending to", name, &error))
    }

    fn sync_name(&self, name: &str) -> Result<()> {
        let path = self.path(name)?;
        let mut up_to_the_top = path.ancestors().take_while(|above| *above != self.inner.root);
        let synced = up_to_the_top.try_for_each(sync_parent);
        synced.map_err(|error| self.error("syncing the name of", name, &error))
    }

    fn list(&self, prefix: &str) -> Result<Vec<(String, u64)>> {
        let mut found = Vec::new();
        let top = self.inner.root.join(prefix);
        list_into(&top, prefix, &mut found).map_err(|error| self.error("listing", prefix, &error))?;
        found.sort_unstable();
        Ok(found)
    }

    fn delete(&self, name: &str) -> Result<()> {
        let path = self.path(name)?;
        self.forget(name);
        match fs::remove_file(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            Err(error) => Err(self.error("deleting", name, &error)),
            Ok(()) => sync_parent(&path).map_err(|error| self.error("deleting", name, &error)),
        }
    }

    fn read_versioned(&self, name: &str) -> Result<Option<(Bytes, Version)>> {
        // Not through the cache of open files: a swap puts a new file under the old name.
        match fs::read(self.path(name)?) {
            Ok(bytes) => {
                let version = version(&bytes);
                Ok(Some((Bytes::from(bytes), version)))
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(self.error("reading", name, &error)),
        }
    }

    fn swap(&self, name: &str, expect: Option<&Version>, bytes: Bytes) -> Result<Version> {
        let path = self.path(name)?;
        let next = version(&bytes);
        let (temporary, _) = self.write_temporary(&bytes).map_err(|error| self.error("replacing", name, &error))?;
        let swap = || {
            // Held for one small rename only, so waiting without a limit is fine.
            let lock = self.lock_file("swap").map_err(|error| self.error("locking", name, &error))?;
            lock.lock().map_err(|error| self.error("locking", name, &error))?;
            let now = self.read_versioned(name)?.map(|(_, version)| version);
            if now.as_ref() == Some(&next) {
                return sync_parent(&path).map_err(|error| self.error("replacing", name, &error));
            }
            if now.as_ref() != expect {
                return Err(self.refused(Kind::Conflict, "replacing", name, "somebody else has changed it"));
            }
            let rename = || {
                Self::make_parent(&path)?;
                fs::rename(&temporary, &path)?;
                sync_parent(&path)
            };
            rename().map_err(|error| self.error("replacing", name, &error))
        };
        let swapped = swap();
        let _ = fs::remove_file(&temporary);
        swapped.map(|()| next)
    }

    fn lock(&self, name: &str) -> Result<Option<Box<dyn Guard>>> {
        let file = self.lock_file(name).map_err(|error| self.error("locking", name, &error))?;
        match file.try_lock() {
            Ok(()) => Ok(Some(Box::new(DirectoryGuard { _file: file }))),
            Err(TryLockError::WouldBlock) => Ok(None),
            Err(TryLockError::Error(error)) => Err(self.error("locking", name, &error)),
        }
    }

    fn clean(&self, age_ms: u64) -> Result<()> {
        let clean = || {
            let top = self.inner.root.join("tmp");
            if !top.is_dir() {
                return Ok(());
            }
            for entry in fs::read_dir(top)? {
                match clean_one(&entry?.path(), age_ms) {
                    // Its writer was done with it meanwhile.
                    Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                    other => other?,
                }
            }
            Ok(())
        };
        clean().map_err(|error| self.error("cleaning", "tmp", &error))
    }
}

impl Directory {
    fn lock_file(&self, name: &str) -> io::Result<File> {
        let path = self.inner.root.join("lock").join(name);
        Self::make_parent(&path)?;
        OpenOptions::new().write(true).create(true).truncate(false).open(path)
    }
}

/// Removes a temporary file that is old and that nobody has open.
fn clean_one(path: &Path, age_ms: u64) -> io::Result<()> {
    let changed = fs::symlink_metadata(path)?.modified()?.duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
    let age = u128::from(SystemClock.now_ms()).saturating_sub(changed.as_millis());
    if age <= u128::from(age_ms) {
        return Ok(());
    }
    let file = OpenOptions::new().write(true).open(path)?;
    match file.try_lock() {
        Err(TryLockError::WouldBlock) => Ok(()),
        _ => fs::remove_file(path),
    }
}

fn list_into(top: &Path, prefix: &str, found: &mut Vec<(String, u64)>) -> io::Result<()> {
    let entries = match fs::read_dir(top) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        other => other?,
    };
    for entry in entries {
        let entry = entry?;
        let Ok(part) = entry.file_name().into_string() else { continue };
        if prefix.is_empty() && (part == "tmp" || part == "lock") {
            continue;
        }
        let kind = entry.file_type()?;
        if kind.is_dir() {
            list_into(&entry.path(), &format!("{prefix}{part}/"), found)?;
        } else if kind.is_file() {
            match entry.metadata() {
                Ok(metadata) => found.push((format!("{prefix}{part}"), metadata.len())),
                // Deleted since the directory was read.
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(error) => return Err(error),
            }
        }
    }
    Ok(())
}

#[derive(Debug)]
struct DirectoryGuard {
    _file: File,
}

impl Guard for DirectoryGuard {}

#[derive(Debug)]
struct DirectoryUpload {
    to: Directory,
    name: String,
    temporary: PathBuf,
    file: File,
    length: AtomicU64,
}

impl Upload for DirectoryUpload {
    fn write(&self, parts: &[Bytes]) -> Result<()> {
        let at = self.length.load(Ordering::Acquire);
        let end = write_parts(&self.file, at, parts).map_err(|error| self.to.error("writing", &self.name, &error))?;
        self.length.store(end, Ordering::Release);
        Ok(())
    }

    fn read(&self, range: Range<u64>) -> Result<Bytes> {
        read_range(&self.file, &range).map_err(|error| self.to.error("reading", &self.name, &error))
    }

    fn publish(&self) -> Result<()> {
        let sync = || {
            // A failed write may have left bytes beyond the end of what counts.
            self.file.set_len(self.length.load(Ordering::Acquire))?;
            self.file.sync_all()
        };
        sync().map_err(|error| self.to.error("publishing", &self.name, &error))?;
        self.to.publish(&self.temporary, &self.file, &self.name)
    }
}

impl Drop for DirectoryUpload {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.temporary);
    }
}
