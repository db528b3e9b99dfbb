//! The target of an export: counted, and published whole.

use std::fmt;
use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};

use tempfile::{Builder, NamedTempFile};

use super::{Error, Target};

/// Where bytes go until they are published. A regular file is replaced in one step and keeps who may read it; a link stays; a pipe
/// or a device is written to at once.
pub struct Out {
    name: String,
    place: Place,
    bytes: u64,
}

enum Place {
    /// Becomes the path by rename.
    Temporary(Box<BufWriter<NamedTempFile>>, PathBuf),
    /// A pipe, a device or standard output: bytes go there at once.
    Direct(BufWriter<Box<dyn Write + Send>>),
}

impl fmt::Debug for Out {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Out").field("name", &self.name).field("bytes", &self.bytes).finish_non_exhaustive()
    }
}

impl Out {
    /// Where a target's bytes go. What is there stays until [`Self::publish`].
    ///
    /// # Errors
    /// When it is a directory or cannot be written.
    pub fn create(target: &Target) -> Result<Self, Error> {
        let Target::Path(path) = target else {
            let place = Place::Direct(BufWriter::with_capacity(1 << 18, Box::new(io::stdout())));
            return Ok(Self { name: "standard output".to_owned(), place, bytes: 0 });
        };
        let name = path.display().to_string();
        let place = place(path).map_err(|source| Error::Write { name: name.clone(), source })?;
        Ok(Self { name, place, bytes: 0 })
    }

    pub(super) fn name(&self) -> &str {
        &self.name
    }

    pub(super) fn failed(&self, source: io::Error) -> Error {
        Error::Write { name: self.name.clone(), source }
    }

    /// Makes the file visible. Returns its size.
    ///
    /// # Errors
    /// When it cannot be written, or its name cannot be made durable.
    pub fn publish(self) -> Result<u64, Error> {
        let name = self.name;
        let failed = |source| Error::Write { name: name.clone(), source };
        match self.place {
            Place::Direct(mut out) => out.flush().map_err(failed)?,
            Place::Temporary(out, path) => {
                let file = out.into_inner().map_err(|error| failed(error.into_error()))?;
                file.as_file().sync_all().map_err(failed)?;
                file.persist(&path).map_err(|error| failed(error.error))?;
                // The rename is durable once the directory is.
                File::open(parent(&path)).and_then(|dir| dir.sync_all()).map_err(failed)?;
            }
        }
        Ok(self.bytes)
    }
}

fn parent(path: &Path) -> &Path {
    path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

fn place(path: &Path) -> io::Result<Place> {
    // A link stays, and what it leads to is replaced.
    let resolved = path.canonicalize();
    let path = resolved.as_deref().unwrap_or(path);
    let there = std::fs::metadata(path);
    match &there {
        Ok(metadata) if metadata.is_dir() => return Err(io::ErrorKind::IsADirectory.into()),
        Ok(metadata) if !metadata.is_file() => {
            let out: Box<dyn Write + Send> = Box::new(File::options().write(true).open(path)?);
            return Ok(Place::Direct(BufWriter::with_capacity(1 << 18, out)));
        }
        _ => {}
    }
    let mut builder = Builder::new();
    let prefix = format!(".{}.syncline-", path.file_name().unwrap_or_default().to_string_lossy());
    builder.prefix(&prefix);
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt as _;
        // Like any new file, as far as the user's mask allows.
        builder.permissions(std::fs::Permissions::from_mode(0o666));
    }
    let file = builder.tempfile_in(parent(path))?;
    if let Ok(there) = &there {
        // Who could not read the old file is not to read the new one.
        file.as_file().set_permissions(there.permissions())?;
    }
    Ok(Place::Temporary(Box::new(BufWriter::with_capacity(1 << 18, file)), path.to_owned()))
}

impl Write for Out {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = match &mut self.place {
            Place::Temporary(out, _) => out.write(bytes)?,
            Place::Direct(out) => out.write(bytes)?,
        };
        self.bytes += written as u64;
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        match &mut self.place {
            Place::Temporary(out, _) => out.flush(),
            Place::Direct(out) => out.flush(),
        }
    }
}
