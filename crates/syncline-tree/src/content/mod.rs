//! Large content as a tree of chunks.
//!
//! Bytes are cut where their content says so; a list node holds (id, length) of its children and is itself cut by its
//! children's ids. So equal content has an equal root, however it was written, and an edit changes the chunks that it
//! touches and one list node per level. Layout: `docs/format/files.md`.
//! Owns: nothing between calls; chunks and nodes are objects of the store. After a crash: objects that no row refers
//! to are garbage for `gc`.
//! Not here: where chunks are cut (`syncline_store::chunk`), which table cells are large (`crate::leaf`).

mod build;
mod node;
mod read;
mod track;
mod write;

use syncline_base::{Hash, Kind};

use node::MAX_HEIGHT;
pub use node::{Child, ListNode, MAX_LIST};
pub use read::{Reader, copy, read, read_all, same};
pub use write::{write, write_bytes};

use crate::Error;

/// Names the bytes of large content.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize, serde::Deserialize)]
pub struct ContentRef {
    /// The root of the chunk tree: a chunk when `height` is 0, else a list node. [`Hash::ZERO`] when `len` is 0.
    pub root: Hash,
    /// Length in bytes.
    pub len: u64,
    /// Levels of list nodes above the chunks.
    pub height: u8,
}

impl ContentRef {
    /// No bytes.
    pub const EMPTY: Self = Self { root: Hash::ZERO, len: 0, height: 0 };
}

/// What an error of a source of bytes is here.
fn source_failed(error: &std::io::Error) -> Error {
    let text = format!("reading content: {error}");
    match Kind::of_io(error) {
        Kind::Invalid => Error::Invalid(text),
        Kind::NotFound => Error::NotFound(text),
        Kind::Conflict => Error::Conflict(text),
        Kind::Denied => Error::Denied(text),
        // Nobody who reads bytes asks how old they are.
        Kind::Unavailable | Kind::Stale => Error::Unavailable(text),
        Kind::Corrupt => Error::Corrupt(text),
    }
}

#[cfg(test)]
mod tests;
