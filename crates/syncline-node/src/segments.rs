//! The files of a log in a directory.
//!
//! Owns: one open descriptor for each file that was written or read, from its first use until it is removed, because a failure to
//! put bytes down is told to descriptors that were open then. After a crash: what [`Disk`] promises.
//!
//! The file of a segment is made before it is needed (`spare`).
//!
//! Not here: what is in the files (`syncline_sync::log`), and who may write to them.

use std::collections::BTreeMap;
use std::fs::{File, OpenOptions};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use syncline_store::backend::directory::make_directory;
use syncline_sync::log::Disk;

use self::spare::Spare;

mod spare;

/// A directory that holds a log's segments, and maybe other files.
#[derive(Debug)]
pub struct Directory {
    path: PathBuf,
    open: Mutex<BTreeMap<String, Arc<File>>>,
    spare: Spare,
}

impl Directory {
    /// A directory, made when it is not there.
    ///
    /// # Errors
    /// When it cannot be made.
    pub fn create(path: &Path) -> io::Result<Self> {
        make_directory(path)?;
        spare::clean(path)?;
        Ok(Self { path: path.to_owned(), open: Mutex::default(), spare: Spare::default() })
    }

    fn files(&self) -> std::sync::MutexGuard<'_, BTreeMap<String, Arc<File>>> {
        // The map is whole at every moment: nothing panics between two changes of it.
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn file(&self, name: &str) -> io::Result<Arc<File>> {
        let mut open = self.files();
        if let Some(file) = open.get(name) {
            return Ok(file.clone());
        }
        let file = Arc::new(OpenOptions::new().read(true).write(true).open(self.path.join(name))?);
        open.insert(name.to_owned(), file.clone());
        Ok(file)
    }
}

impl Disk for Directory {
    fn list(&self) -> io::Result<Vec<(String, u64)>> {
        let mut files = Vec::new();
        for entry in std::fs::read_dir(&self.path)? {
            let entry = entry?;
            // A log's files have names that are text; whatever else is there is somebody else's.
            if let (Ok(name), true) = (entry.file_name().into_string(), entry.file_type()?.is_file()) {
                files.push((name, entry.metadata()?.len()));
            }
        }
        Ok(files)
    }

    fn create(&self, name: &str, size: u64) -> io::Result<()> {
        let file = self.spare.file(&self.path.join(name), size)?;
        self.files().insert(name.to_owned(), Arc::new(file));
        Ok(())
    }

    fn write(&self, name: &str, offset: u64, bytes: &[u8]) -> io::Result<()> {
        write_at(&*self.file(name)?, bytes, offset)
    }

    fn read(&self, name: &str, offset: u64, into: &mut [u8]) -> io::Result<usize> {
        read_at(&*self.file(name)?, into, offset)
    }

    fn sync(&self, name: &str) -> io::Result<()> {
        self.file(name)?.sync_data()
    }

    fn sync_names(&self) -> io::Result<()> {
        File::open(&self.path)?.sync_all()
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        self.files().remove(name);
        spare::remove(&self.path.join(name))
    }

    fn unit(&self) -> u32 {
        512
    }
}

#[cfg(unix)]
fn write_at(file: &File, bytes: &[u8], offset: u64) -> io::Result<()> {
    std::os::unix::fs::FileExt::write_all_at(file, bytes, offset)
}

#[cfg(unix)]
fn read_at(file: &File, into: &mut [u8], offset: u64) -> io::Result<usize> {
    std::os::unix::fs::FileExt::read_at(file, into, offset)
}

#[cfg(not(unix))]
fn write_at(file: &File, bytes: &[u8], offset: u64) -> io::Result<()> {
    use std::io::{Seek as _, SeekFrom};
    let mut file = file;
    file.seek(SeekFrom::Start(offset))?;
    file.write_all(bytes)
}

#[cfg(not(unix))]
fn read_at(file: &File, into: &mut [u8], offset: u64) -> io::Result<usize> {
    use std::io::{Read as _, Seek as _, SeekFrom};
    let mut file = file;
    file.seek(SeekFrom::Start(offset))?;
    file.read(into)
}

#[cfg(test)]
mod tests;
