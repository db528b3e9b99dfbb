//! Being told by the operating system what changes in a directory.
//!
//! A hint that may be lost: the directory is looked at as a whole now and then. The replica's own state is not watched. Owns the watches.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use notify::event::{AccessKind, AccessMode, EventKind};
use notify::{Config, RecommendedWatcher, RecursiveMode, Watcher as _};
use syncline_tree::files::path;

use super::worker::News;

/// Watches one directory.
#[derive(Debug)]
pub(super) struct Watching {
    watcher: RecommendedWatcher,
    root: PathBuf,
    /// Folders of the root that are watched with what is below them.
    folders: BTreeSet<PathBuf>,
}

impl Watching {
    /// Begins; `tell` is called for what changes, by a thread of the watcher.
    ///
    /// # Errors
    /// Why the system does not watch.
    pub(super) fn begin(root: &Path, tell: impl Fn(News) + Send + 'static) -> notify::Result<Self> {
        let root = root.canonicalize()?;
        let below = root.clone();
        let told = move |event: notify::Result<notify::Event>| match event {
            Ok(event) => {
                let read = match event.kind {
                    EventKind::Access(AccessKind::Close(AccessMode::Write)) => false,
                    EventKind::Access(_) => true,
                    _ => false,
                };
                let paths: Vec<String> = event.paths.iter().filter_map(|path| relative(&below, path)).collect();
                if event.need_rescan() {
                    tell(News::Rescan);
                } else if !read && !paths.is_empty() {
                    tell(News::Paths(paths));
                }
            }
            Err(_) => tell(News::Rescan),
        };
        let watcher = RecommendedWatcher::new(told, Config::default().with_follow_symlinks(false))?;
        let mut watching = Self { watcher, root, folders: BTreeSet::new() };
        watching.watcher.watch(&watching.root, RecursiveMode::NonRecursive)?;
        watching.refresh()?;
        Ok(watching)
    }

    /// Watches folders that have come into the root since.
    ///
    /// # Errors
    /// Why the system does not watch one of them.
    pub(super) fn refresh(&mut self) -> notify::Result<()> {
        let mut folders = BTreeSet::new();
        for entry in std::fs::read_dir(&self.root)? {
            let entry = entry?;
            if entry.file_type()?.is_dir() && !path::is_reserved(&entry.file_name().to_string_lossy()) {
                folders.insert(entry.path());
            }
        }
        // A folder that went away has taken its watch along; one of its name that came is another one.
        self.folders.retain(|folder| folders.contains(folder));
        for folder in folders {
            if !self.folders.contains(&folder) {
                self.watcher.watch(&folder, RecursiveMode::Recursive)?;
                self.folders.insert(folder);
            }
        }
        Ok(())
    }

    /// Some folder has been made, moved or removed: those of the root are watched anew when they are looked at next.
    pub(super) fn forget(&mut self, path: &str) {
        if !path.contains('/') {
            self.folders.remove(&self.root.join(path));
        }
    }
}

/// A path below the root that may be of a file of the dataset.
fn relative(root: &Path, path: &Path) -> Option<String> {
    let path = path.strip_prefix(root).ok()?.to_str()?;
    (path::check(path).is_ok()).then(|| path.to_owned())
}
