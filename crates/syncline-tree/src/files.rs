//! Files as a table: one row per file, symbolic link or empty folder, keyed by path.
//!
//! Diff, merge, patches and transfer of files are therefore the table's. This module fixes the schema, turns entries
//! into rows and back, and holds the rules for paths. Layout: `docs/format/files.md`.
//! Owns: nothing. Not here: the bytes of large files (`crate::content`), folders on disk (`syncline-node`).

pub mod clash;
pub mod collide;
pub mod path;
mod query;
mod rows;

pub use query::{Difference, Each, Listed, diff, differences, get, key, list, path_of, paths, scan};
pub(crate) use rows::contested;
pub use rows::{Edit, changes, entries, schema, taken_with};

use bytes::Bytes;

use crate::content::ContentRef;

/// Content up to this many bytes lives in the row itself; larger content is a chunk tree.
pub const INLINE_MAX: usize = 16 * 1024;

/// What a path names.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum FileKind {
    /// A regular file.
    File,
    /// A symbolic link; its content is the target, as written.
    Symlink,
    /// A folder without entries. Folders with entries exist through them.
    Folder,
}

impl FileKind {
    /// The value of the `kind` column.
    #[must_use]
    pub const fn code(self) -> u8 {
        match self {
            Self::File => 0,
            Self::Symlink => 1,
            Self::Folder => 2,
        }
    }

    /// From the value of the `kind` column.
    #[must_use]
    pub const fn from_code(code: u8) -> Option<Self> {
        match code {
            0 => Some(Self::File),
            1 => Some(Self::Symlink),
            2 => Some(Self::Folder),
            _ => None,
        }
    }
}

/// The bytes of a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Content {
    /// In the row: at most [`INLINE_MAX`] bytes. The target of a symbolic link; nothing for a folder.
    Inline(Bytes),
    /// In chunks.
    Chunks(ContentRef),
}

impl Content {
    /// How many bytes it has.
    #[must_use]
    pub fn len(&self) -> u64 {
        match self {
            Self::Inline(bytes) => bytes.len() as u64,
            Self::Chunks(content) => content.len,
        }
    }

    /// Whether it has no bytes.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// One row of the files table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// Relative, `/`-separated; obeys [`path::check`].
    pub path: String,
    /// What it is.
    pub kind: FileKind,
    /// Whether a regular file may be executed. No other mode bit is versioned.
    pub executable: bool,
    /// Its bytes.
    pub content: Content,
}
