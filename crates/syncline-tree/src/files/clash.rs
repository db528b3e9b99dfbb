//! Paths that no file system can hold beside each other: something below a file or a symbolic link.
//!
//! A directory never has them, but what is merged from two directories may. Detection streams over sorted paths and keeps
//! those that the next path begins with.

use super::FileKind;

/// Something, and a path below it.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Clash {
    /// A file or a symbolic link, or an empty folder that is not empty.
    pub above: String,
    /// What it is.
    pub kind: FileKind,
    /// The first path below it.
    pub below: String,
}

impl std::fmt::Display for Clash {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let kind = match self.kind {
            FileKind::File => "a file",
            FileKind::Symlink => "a symbolic link",
            FileKind::Folder => "an empty folder",
        };
        write!(f, "{:?} is {kind} and the folder of {:?}", self.above, self.below)
    }
}

/// Finds clashes in a stream of paths sorted by their bytes.
#[derive(Debug, Default)]
pub struct Clashes {
    /// Paths that all paths since then began with, and whether something below them was found.
    open: Vec<(String, FileKind, bool)>,
    found: Vec<Clash>,
}

impl Clashes {
    /// Takes the next path. Paths must come in byte order.
    pub fn push(&mut self, path: &str, kind: FileKind) {
        while self.open.last().is_some_and(|(above, ..)| !path.starts_with(above.as_str())) {
            self.open.pop();
        }
        for (above, kind, told) in &mut self.open {
            if !*told && path[above.len()..].starts_with('/') {
                *told = true;
                self.found.push(Clash { above: above.clone(), kind: *kind, below: path.to_owned() });
            }
        }
        self.open.push((path.to_owned(), kind, false));
    }

    /// What was found, each path above once.
    #[must_use]
    pub fn finish(self) -> Vec<Clash> {
        self.found
    }
}

#[cfg(test)]
mod tests;
