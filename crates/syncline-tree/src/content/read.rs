//! Reads content: in order with many chunks at a time, or from any offset.

use std::io::{self, Read, Seek, SeekFrom, Write};

use bytes::Bytes;
use syncline_base::{Hash, task};
use syncline_store::Store;

use super::node::{Child, ListNode};
use super::{ContentRef, MAX_HEIGHT, source_failed};
use crate::{Error, Result};

/// Most chunks that are fetched at once when reading goes on in order: about 2 MiB.
const MOST_AHEAD: usize = 32;

/// Reads a content. Reading on in order fetches ever more chunks at once, a seek starts again with one. Memory: one batch of
/// chunks and one list node per level.
#[derive(Debug)]
pub struct Reader {
    store: Store,
    content: ContentRef,
    /// Where the next byte comes from.
    at: u64,
    /// Open list nodes, root first, each with the offset where it starts.
    open: Vec<(u64, ListNode)>,
    /// Fetched bytes in order, and the offset of the first.
    fetched: std::collections::VecDeque<Bytes>,
    fetched_at: u64,
    ahead: usize,
}

impl Reader {
    /// Opens a content. Nothing is read yet.
    ///
    /// # Errors
    /// `corrupt` when the reference makes no sense.
    pub fn open(store: &Store, content: &ContentRef) -> Result<Self> {
        if content.height > MAX_HEIGHT || (content.len == 0) != (content.root == Hash::ZERO) {
            let ContentRef { root, len, height } = content;
            let text = format!("a reference to {len} bytes of content in {height} levels under {root}: impossible");
            return Err(Error::corrupt(text));
        }
        let fetched = std::collections::VecDeque::new();
        Ok(Self { store: store.clone(), content: *content, at: 0, open: Vec::new(), fetched, fetched_at: 0, ahead: 1 })
    }

    /// What it reads.
    #[must_use]
    pub fn content(&self) -> &ContentRef {
        &self.content
    }

    /// The next bytes in order, as they lie in one chunk; `None` at the end.
    ///
    /// # Errors
    /// `corrupt` when the tree is not what it claims to be; the store's.
    pub fn next_bytes(&mut self) -> Result<Option<Bytes>> {
        if self.at >= self.content.len {
            return Ok(None);
        }
        if self.fetched.is_empty() {
            self.fetch()?;
        }
        let mut bytes = self.fetched.pop_front().unwrap_or_default();
        let skip = usize::try_from(self.at - self.fetched_at).unwrap_or(usize::MAX);
        self.fetched_at += bytes.len() as u64;
        if skip >= bytes.len() {
            return Err(Error::corrupt("a content has a chunk that ends before it begins: run verify"));
        }
        let bytes = bytes.split_off(skip);
        self.at += bytes.len() as u64;
        Ok(Some(bytes))
    }

    /// Fetches the chunks from the current offset on, as many as reading ahead is worth and the lowest node has.
    fn fetch(&mut self) -> Result<()> {
        let (start, children) = self.chunks_here()?;
        let count = children.len().min(self.ahead);
        let ids: Vec<Hash> = children[..count].iter().map(|child| child.id).collect();
        let got = self.store.get_many(&ids)?;
        for (bytes, child) in got.iter().zip(&children) {
            if bytes.len() as u64 != child.len {
                let text = format!("chunk {} has {} bytes, its list says {}", child.id, bytes.len(), child.len);
                return Err(Error::corrupt(text));
            }
        }
        self.fetched_at = start;
        self.fetched.extend(got);
        self.ahead = (self.ahead * 2).min(MOST_AHEAD);
        Ok(())
    }

    /// The chunks of the lowest list node from the current offset on, and where the first of them starts.
    fn chunks_here(&mut self) -> Result<(u64, Vec<Child>)> {
        let mut start = 0;
        let mut child = Child { id: self.content.root, len: self.content.len };
        for level in (1..=self.content.height).rev() {
            let depth = usize::from(self.content.height - level);
            let known = self.open.get(depth).is_some_and(|(at, node)| *at == start && node.len() == child.len);
            if !known {
                self.open.truncate(depth);
                let node = ListNode::expect(&self.store.get(&child.id)?, level, child.len)?;
                self.open.push((start, node));
            }
            let node = &self.open[depth].1;
            let mut index = 0;
            while start + node.children[index].len <= self.at {
                start += node.children[index].len;
                index += 1;
            }
            if level == 1 {
                return Ok((start, node.children[index..].iter().copied().take(MOST_AHEAD).collect()));
            }
            child = node.children[index];
        }
        Ok((start, vec![child]))
    }
}

impl Read for Reader {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        if out.is_empty() {
            return Ok(0);
        }
        let Some(mut bytes) = self.next_bytes().map_err(to_io)? else { return Ok(0) };
        let count = bytes.len().min(out.len());
        out[..count].copy_from_slice(&bytes[..count]);
        let rest = bytes.split_off(count);
        if !rest.is_empty() {
            self.at -= rest.len() as u64;
            self.fetched_at = self.at;
            self.fetched.push_front(rest);
        }
        Ok(count)
    }
}

impl Seek for Reader {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        let target = match to {
            SeekFrom::Start(at) => Some(at),
            SeekFrom::End(by) => self.content.len.checked_add_signed(by),
            SeekFrom::Current(by) => self.at.checked_add_signed(by),
        };
        let target = target.ok_or_else(|| io::Error::from(io::ErrorKind::InvalidInput))?;
        if target != self.at {
            self.at = target;
            self.fetched.clear();
            self.ahead = 1;
        }
        Ok(target)
    }
}

fn to_io(error: Error) -> io::Error {
    let kind = match error.kind() {
        syncline_base::Kind::NotFound => io::ErrorKind::NotFound,
        syncline_base::Kind::Corrupt => io::ErrorKind::InvalidData,
        syncline_base::Kind::Denied => io::ErrorKind::PermissionDenied,
        _ => io::ErrorKind::Other,
    };
    io::Error::new(kind, error)
}

/// Opens a content for reading. Nothing is read yet.
///
/// # Errors
/// `corrupt` when the reference makes no sense.
pub fn read(store: &Store, content: &ContentRef) -> Result<Reader> {
    Reader::open(store, content)
}

/// Writes all of a content to `out`, fetching ahead while it writes. `failed` turns an error of `out` into the caller's.
///
/// # Errors
/// The store's, and those of `out`.
pub fn copy<E: From<Error> + Send>(
    store: &Store,
    content: &ContentRef,
    out: &mut (impl Write + Send),
    failed: impl Fn(io::Error) -> E + Send + Sync,
) -> std::result::Result<(), E> {
    let mut reader = Reader::open(store, content)?;
    let mut ready: Vec<Bytes> = Vec::new();
    loop {
        let (next, written) = task::join(
            || reader.next_batch(),
            || ready.iter().try_for_each(|bytes| out.write_all(bytes)).map_err(&failed),
        );
        written?;
        ready = next?;
        if ready.is_empty() {
            return Ok(());
        }
    }
}

impl Reader {
    /// All bytes of the next fetch; empty at the end.
    fn next_batch(&mut self) -> Result<Vec<Bytes>> {
        let mut batch = Vec::new();
        while let Some(bytes) = self.next_bytes()? {
            batch.push(bytes);
            if self.fetched.is_empty() {
                break;
            }
        }
        Ok(batch)
    }
}

/// A whole content in memory; refuses one that is longer than `limit`.
///
/// # Errors
/// `invalid` when it is longer; the store's.
pub fn read_all(store: &Store, content: &ContentRef, limit: u64) -> Result<Bytes> {
    let len = usize::try_from(content.len).ok().filter(|_| content.len <= limit);
    let Some(len) = len else {
        let text = format!("a content of {} bytes is too long to be read at once: the limit is {limit}", content.len);
        return Err(Error::invalid(text));
    };
    let mut reader = Reader::open(store, content)?;
    let mut whole = Vec::new();
    while let Some(bytes) = reader.next_bytes()? {
        if bytes.len() == len {
            return Ok(bytes);
        }
        whole.extend_from_slice(&bytes);
    }
    Ok(whole.into())
}

/// Whether `source` gives exactly the bytes of a content. Stops at the first difference, and reads no chunks from the store.
///
/// # Errors
/// Those of `source`; the store's.
pub fn same(store: &Store, content: &ContentRef, source: impl Read) -> Result<bool> {
    let mut source = source;
    let mut reader = Reader::open(store, content)?;
    let mut buffer = Vec::new();
    while reader.at < content.len {
        let (start, children) = reader.chunks_here()?;
        let total: u64 = children.iter().map(|child| child.len).sum();
        buffer.clear();
        let got = source.by_ref().take(total).read_to_end(&mut buffer);
        let got = got.map_err(|error| source_failed(&error))?;
        if got as u64 != total {
            return Ok(false);
        }
        let mut rest = buffer.as_slice();
        let mut pieces = Vec::with_capacity(children.len());
        for child in &children {
            let (piece, after) = rest.split_at(usize::try_from(child.len).unwrap_or(usize::MAX).min(rest.len()));
            pieces.push((piece, child.id));
            rest = after;
        }
        if task::map(pieces, |(piece, id)| Hash::of(piece) == id).contains(&false) {
            return Ok(false);
        }
        reader.at = start + total;
    }
    let more = source.read(&mut [0]).map_err(|error| source_failed(&error))?;
    Ok(more == 0)
}
