//! Directories whose names are durable.
//!
//! A name is durable once the directory that it is in was synced, and not by syncing what it names. No state.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};

/// Makes the directories above `path`; returns those that were not there. Their names are not durable yet.
pub(super) fn make_missing(path: &Path) -> io::Result<Vec<PathBuf>> {
    let above = path.ancestors().skip(1).take_while(|directory| !directory.as_os_str().is_empty());
    let missing: Vec<PathBuf> = above.take_while(|directory| !directory.is_dir()).map(Path::to_owned).collect();
    if let Some(lowest) = missing.first() {
        fs::create_dir_all(lowest)?;
    }
    Ok(missing)
}

/// Makes a directory, with those above it that are missing, and makes their names durable: what is synced inside of a directory is gone with it when
/// its own name is not there after a power cut. Of one that is there, too: who made it may have ended before that.
///
/// # Errors
/// The file system's.
pub fn make_directory(path: &Path) -> io::Result<()> {
    let made = make_missing(&path.join("inside"))?;
    if made.is_empty() {
        return match sync_parent(path) {
            // Somebody else's directory, which shows us nothing but what is ours: it was here before us.
            Err(error) if error.kind() == io::ErrorKind::PermissionDenied => Ok(()),
            synced => synced,
        };
    }
    made.iter().try_for_each(|directory| sync_parent(directory))
}

fn sync_directory(path: &Path) -> io::Result<()> {
    File::open(path)?.sync_all()
}

pub(super) fn sync_parent(path: &Path) -> io::Result<()> {
    let parent = path.parent().map(|parent| if parent.as_os_str().is_empty() { Path::new(".") } else { parent });
    parent.map_or(Ok(()), sync_directory)
}
