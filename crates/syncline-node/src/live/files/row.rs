//! The value of a file's row. Layout: `docs/format/live-files.md`. Owns nothing.

use bytes::{BufMut, Bytes};
use syncline_base::Hash;
use syncline_store::Store;
use syncline_tree::content::{self, ContentRef};
use syncline_tree::files::{Content, Entry, FileKind};

use crate::Result;

/// The version of the layout.
const VERSION: u8 = 1;
/// Content of a file up to this many bytes is in the row: rows are held in memory by every replica.
pub(crate) const INLINE: usize = 1024;
/// The target of a link is in the row, whatever its length; no system has longer ones.
const TARGET: usize = 16 << 10;
const EXECUTABLE: u8 = 0x40;
const HERE: u8 = 0;
const CHUNKS: u8 = 1;
/// Root, height, length.
const REF: usize = Hash::LEN + 1 + 8;

/// What a path holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct FileRow {
    pub kind: FileKind,
    pub executable: bool,
    pub content: Content,
}

impl FileRow {
    /// Of a file that was read. Content that is too long for a row of a live table and not for one of a version is stored.
    ///
    /// # Errors
    /// The store's.
    pub(crate) fn of(store: &Store, entry: Entry) -> Result<Self> {
        let Entry { kind, executable, content, .. } = entry;
        let content = match content {
            Content::Inline(bytes) if kind == FileKind::File && bytes.len() > INLINE => {
                Content::Chunks(content::write_bytes(store, &bytes, None)?)
            }
            Content::Chunks(ContentRef { len: 0, .. }) => Content::Inline(Bytes::new()),
            content => content,
        };
        Ok(Self { kind, executable, content })
    }

    /// As a row of the files table of a version holds it, at a path.
    pub(crate) fn entry(self, path: &str) -> Entry {
        let Self { kind, executable, content } = self;
        Entry { path: path.to_owned(), kind, executable, content }
    }

    /// The content that is in the object store.
    pub(crate) fn stored(&self) -> Option<ContentRef> {
        match self.content {
            Content::Chunks(content) => Some(content),
            Content::Inline(_) => None,
        }
    }

    /// The row's value. Equal files are equal bytes.
    pub(crate) fn encode(&self) -> Bytes {
        let mut out = Vec::with_capacity(3 + REF);
        out.put_u8(VERSION);
        out.put_u8(self.kind.code() | if self.executable { EXECUTABLE } else { 0 });
        match &self.content {
            Content::Inline(bytes) => {
                out.put_u8(HERE);
                out.put_slice(bytes);
            }
            Content::Chunks(content) => {
                out.put_u8(CHUNKS);
                out.put_slice(content.root.as_bytes());
                out.put_u8(content.height);
                out.put_u64_le(content.len);
            }
        }
        out.into()
    }

    /// From a row's value; `None` when it is none that this version knows. Never panics, whatever the bytes.
    pub(crate) fn decode(value: &Bytes) -> Option<Self> {
        let [VERSION, flags, place, ..] = value[..] else { return None };
        let kind = FileKind::from_code(flags & !EXECUTABLE)?;
        let executable = flags & EXECUTABLE != 0;
        let rest = value.slice(3..);
        let content = match place {
            HERE => Content::Inline(rest),
            CHUNKS if rest.len() == REF => {
                let root = Hash::from_slice(&rest[..Hash::LEN])?;
                let len = u64::from_le_bytes(rest[Hash::LEN + 1..].try_into().ok()?);
                Content::Chunks(ContentRef { root, height: rest[Hash::LEN], len })
            }
            _ => return None,
        };
        let fits = match (kind, &content) {
            (FileKind::File, Content::Inline(bytes)) => bytes.len() <= INLINE,
            (FileKind::File, Content::Chunks(content)) => content.len > INLINE as u64,
            (FileKind::Symlink, Content::Inline(target)) => {
                !executable && !target.is_empty() && target.len() <= TARGET && !target.contains(&0)
            }
            (FileKind::Folder, Content::Inline(bytes)) => !executable && bytes.is_empty(),
            (_, Content::Chunks(_)) => false,
        };
        fits.then_some(Self { kind, executable, content })
    }
}

#[cfg(test)]
mod tests {
    use syncline_base::rng::Rng;

    use super::*;

    #[test]
    fn rows_read_back_and_any_bytes_are_survived() {
        let file = |content| FileRow { kind: FileKind::File, executable: true, content };
        let long = ContentRef { root: Hash::of(b"x"), len: 70_000, height: 1 };
        let link = FileRow {
            kind: FileKind::Symlink,
            executable: false,
            content: Content::Inline(Bytes::from_static(b"../there")),
        };
        let folder = FileRow { kind: FileKind::Folder, executable: false, content: Content::Inline(Bytes::new()) };
        let rows = [file(Content::Inline(Bytes::from_static(b"short"))), file(Content::Chunks(long)), link, folder];
        let mut rng = Rng::from_seed(1);
        for row in rows {
            let bytes = row.encode();
            assert_eq!(FileRow::decode(&bytes), Some(row));
            for _ in 0..2_000 {
                let mut other = bytes.to_vec();
                let at = rng.below(other.len() as u64) as usize;
                other[at] ^= 1 << rng.below(8);
                other.truncate(rng.below(other.len() as u64 + 1) as usize);
                let other = Bytes::from(other);
                if let Some(row) = FileRow::decode(&other) {
                    assert_eq!(row.encode(), other, "one meaning, one form");
                }
            }
        }
        assert_eq!(FileRow::decode(&file(Content::Inline(vec![0; INLINE + 1].into())).encode()), None);
    }
}
