//! Real files: a directory of the user's, or the sources of our dependencies that cargo has put on the machine.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};

use crate::run;

/// How many files are taken, and how many bytes.
const MOST_FILES: u64 = 3_000;
const MOST_BYTES: u64 = 200 << 20;

/// What was copied.
#[derive(Debug, Default)]
pub(super) struct Copied {
    pub files: u64,
    pub bytes: u64,
    /// Paths relative to the target, in order.
    pub paths: Vec<PathBuf>,
}

/// Copies real files into `target`, at most a few thousand.
pub(super) fn copy(from: Option<&Path>, target: &Path) -> Result<Copied> {
    let sources = match from {
        Some(dir) => {
            ensure!(dir.is_dir(), "--files {}: there is no such directory", dir.display());
            vec![dir.to_owned()]
        }
        None => dependencies()?,
    };
    let mut copied = Copied::default();
    for source in &sources {
        let name = source.file_name().context("a directory without a name")?;
        copy_dir(source, Path::new(name), target, &mut copied)?;
    }
    ensure!(copied.files > 0, "there are no files to copy in {sources:?}");
    Ok(copied)
}

/// The directories of the packages we depend on, by name.
fn dependencies() -> Result<Vec<PathBuf>> {
    let metadata = run::metadata(&run::root(), true)?;
    let packages = metadata["packages"].as_array().context("cargo metadata lists no packages")?;
    let outside = packages.iter().filter(|package| !package["source"].is_null());
    let manifests = outside.filter_map(|package| package["manifest_path"].as_str());
    let mut dirs: Vec<PathBuf> = manifests.filter_map(|path| Path::new(path).parent().map(Path::to_owned)).collect();
    dirs.sort();
    dirs.dedup();
    Ok(dirs)
}

/// Copies a directory's regular files, in order, until there are enough.
fn copy_dir(source: &Path, relative: &Path, target: &Path, copied: &mut Copied) -> Result<()> {
    let reading = || format!("reading {}", source.display());
    let mut entries =
        source.read_dir().with_context(reading)?.collect::<std::io::Result<Vec<_>>>().with_context(reading)?;
    entries.sort_by_key(std::fs::DirEntry::file_name);
    for entry in entries {
        if copied.files >= MOST_FILES || copied.bytes >= MOST_BYTES {
            return Ok(());
        }
        let (from, name) = (entry.path(), relative.join(entry.file_name()));
        let kind = entry.file_type().with_context(reading)?;
        if kind.is_dir() {
            copy_dir(&from, &name, target, copied)?;
        } else if kind.is_file() {
            let to = target.join(&name);
            let parent = to.parent().context("a file without a directory")?;
            std::fs::create_dir_all(parent).with_context(|| format!("creating {}", parent.display()))?;
            let bytes = std::fs::copy(&from, &to).with_context(|| format!("copying {}", from.display()))?;
            copied.files += 1;
            copied.bytes += bytes;
            copied.paths.push(name);
        }
    }
    Ok(())
}

/// Changes, adds and removes a few files of a working directory. Returns how many of each.
pub(super) fn edit(dir: &Path, paths: &[PathBuf]) -> Result<(u64, u64, u64)> {
    let step = (paths.len() / 20).max(1);
    let mut changed = 0;
    for path in paths.iter().step_by(step).take(20) {
        let path = dir.join(path);
        let mut bytes = std::fs::read(&path).with_context(|| format!("reading {}", path.display()))?;
        bytes.splice(0..0, *b"// edited on edge-1\n");
        std::fs::write(&path, bytes).with_context(|| format!("writing {}", path.display()))?;
        changed += 1;
    }
    let added = 5;
    for n in 0..added {
        let path = dir.join(format!("notes/day-{n}.md"));
        std::fs::create_dir_all(path.parent().context("a file without a directory")?)?;
        std::fs::write(&path, format!("# Day {n}\n\nWritten on edge-1.\n"))?;
    }
    let mut removed = 0;
    // Next to the changed ones, so never one of them.
    for path in paths.iter().skip(1).step_by(step.max(2)).take(3).filter(|_| step > 1) {
        std::fs::remove_file(dir.join(path)).with_context(|| format!("removing {}", path.display()))?;
        removed += 1;
    }
    Ok((changed, added, removed))
}
