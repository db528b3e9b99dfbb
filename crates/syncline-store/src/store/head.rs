//! The head: one mutable document, changed by compare-and-swap.
//!
//! Layout: `docs/format/store.md`. Beside the document it carries a *mark*: how much of the newest journal was acknowledged when
//! it was written. That costs no sync of its own, and tells a journal that has lost acknowledged bytes from one whose last
//! append was cut short by a crash.

use bytes::{BufMut, Bytes};
use syncline_base::Kind;

use super::{HeadVersion, Store};
#[cfg(test)]
use crate::backend::Version;
use crate::codec::{zstd_decode, zstd_encode};
use crate::error::{Error, Result};
use crate::frame::{checksum, put_varint, varint};

const NAME: &str = "head";
const MAGIC: [u8; 8] = *b"SLHEAD2\n";
const PREFIX: usize = 32;
/// The document is read whole, often: it is for references, not for data.
const MAX: usize = 64 << 20;
/// Shorter documents are stored as they are, so that they can be read with any editor.
const COMPRESS: usize = 1 << 10;
const RAW: u8 = 0;
const ZSTD: u8 = 1;

/// How much of a journal was acknowledged. Ordered: a newer journal's mark is greater, and a longer one of the same.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Mark {
    pub(crate) journal: String,
    pub(crate) len: u64,
}

/// The newest mark that this process knows.
#[derive(Debug, Default)]
pub(super) struct Marks {
    /// Whether the head has been looked at.
    seen: bool,
    newest: Option<Mark>,
}

impl Store {
    /// The head document and its version. Before the first swap it is empty.
    ///
    /// # Errors
    /// `Corrupt`, also when there is no head and there are objects: a store is made with one. Or the backend's.
    pub fn head(&self) -> Result<(Bytes, HeadVersion)> {
        match self.inner.backend.read_versioned(NAME)? {
            None if self.has_files()? => Err(wrong("it is missing, and the store has objects")),
            None => {
                self.note_mark(None);
                Ok((Bytes::new(), HeadVersion(None)))
            }
            Some((bytes, version)) => {
                let (mark, document) = parse(&bytes)?;
                self.note_mark(mark);
                Ok((document, HeadVersion(Some(version))))
            }
        }
    }

    /// What to swap against when the head cannot be read or is missing; `None` when it is good.
    ///
    /// # Errors
    /// The backend's.
    pub fn broken_head(&self) -> Result<Option<HeadVersion>> {
        match self.head() {
            Err(error) if error.kind() == Kind::Corrupt => {
                let there = self.inner.backend.read_versioned(NAME)?;
                Ok(Some(HeadVersion(there.map(|(_, version)| version))))
            }
            other => other.map(|_| None),
        }
    }

    /// Gives a new store its head. Somebody else may make it at the same moment.
    pub(super) fn first_head(&self) -> Result<()> {
        match self.swap_head(&HeadVersion(None), &[]) {
            Err(error) if error.kind() == Kind::Conflict => Ok(()),
            other => other.map(drop),
        }
    }

    /// Notes how much of a journal is durable, for the next head.
    pub(super) fn note_mark(&self, mark: Option<Mark>) {
        let mut marks = self.inner.marks.lock().expect("no code panics while it holds the marks");
        marks.seen = true;
        if mark > marks.newest {
            if let Some(mark) = &mark {
                self.inner.index.acknowledge(&mark.journal, mark.len);
            }
            marks.newest = mark;
        }
    }

    /// The newest mark; looks at the head when that has not been done.
    pub(super) fn newest_mark(&self) -> Option<Mark> {
        let known = || {
            let marks = self.inner.marks.lock().expect("no code panics while it holds the marks");
            (marks.seen, marks.newest.clone())
        };
        let (seen, newest) = known();
        if seen {
            return newest;
        }
        // Without a head that can be read there is no mark; that it cannot be read is for others to say.
        let _ = self.head();
        known().1
    }

    /// Replaces the head if nobody else has since `expect` was read. Flush first what it points to: the head is durable when this
    /// returns, and must not be so before its objects.
    ///
    /// # Errors
    /// `Conflict` when somebody else was quicker: read it again, decide, retry. `Unavailable` may mean either outcome.
    pub fn swap_head(&self, expect: &HeadVersion, bytes: &[u8]) -> Result<HeadVersion> {
        self.go_on()?;
        if bytes.len() > MAX {
            let reason = format!("{} bytes are more than the {MAX} that it may have", bytes.len());
            return Err(Error::Invalid { action: "replacing the head", reason });
        }
        let mut id = [0; 16];
        self.inner.names.lock().expect("no code panics while it draws a name").fill(&mut id);
        let mark = self.newest_mark();
        let document = build(id, mark.as_ref(), bytes);
        let swapped = self.inner.backend.swap(NAME, expect.0.as_ref(), document).inspect(|_| self.work.settle());
        swapped.map(|version| HeadVersion(Some(version))).map_err(|error| match error {
            Error::Backend { kind: Kind::Conflict, action, name, place, .. } => {
                let reason = "somebody else has moved the head since it was read: read it again".to_owned();
                Error::Backend { kind: Kind::Conflict, action, name, place, reason }
            }
            other => other,
        })
    }
}

pub(crate) fn build(id: [u8; 16], mark: Option<&Mark>, bytes: &[u8]) -> Bytes {
    let mut summed = Vec::with_capacity(64 + bytes.len());
    summed.put_slice(&id);
    let journal = mark.map_or("", |mark| &mark.journal);
    put_varint(&mut summed, journal.len() as u64);
    summed.put_slice(journal.as_bytes());
    put_varint(&mut summed, mark.map_or(0, |mark| mark.len));
    let packed = if bytes.len() < COMPRESS { None } else { zstd_encode(bytes) };
    match packed.filter(|packed| packed.len() < bytes.len() - bytes.len() / 8) {
        Some(packed) => {
            summed.put_u8(ZSTD);
            put_varint(&mut summed, bytes.len() as u64);
            summed.put_slice(&packed);
        }
        None => {
            summed.put_u8(RAW);
            summed.put_slice(bytes);
        }
    }
    let mut head = Vec::with_capacity(16 + summed.len());
    head.put_slice(&MAGIC);
    head.put_u64_le(checksum(&summed));
    head.put_slice(&summed);
    head.into()
}

/// A head of any bytes, with the checksum that is right for them.
#[cfg(any(test, fuzzing))]
pub(crate) fn sealed(summed: &[u8]) -> Bytes {
    let mut head = MAGIC.to_vec();
    head.put_u64_le(checksum(summed));
    head.put_slice(summed);
    head.into()
}

fn wrong(reason: &str) -> Error {
    let todo = "`syncline repair --from URL` takes branches and tags from another copy, or put it back from a backup";
    Error::format("the head", format!("{reason}: {todo}"))
}

/// The mark and the document in a head.
pub(crate) fn parse(bytes: &Bytes) -> Result<(Option<Mark>, Bytes)> {
    if bytes.len() < PREFIX || bytes[..8] != MAGIC {
        return Err(wrong("it does not start as a head does"));
    }
    let sum = u64::from_le_bytes(*bytes[8..].first_chunk().expect("checked to be long enough"));
    if sum != checksum(&bytes[16..]) {
        return Err(wrong("its checksum is wrong"));
    }
    let mut at = PREFIX;
    let mark = read_mark(bytes, &mut at).ok_or_else(|| wrong("its mark is cut short"))?;
    let codec = *bytes.get(at).ok_or_else(|| wrong("it has no document"))?;
    at += 1;
    if codec == RAW {
        return Ok((mark, bytes.slice(at..)));
    }
    let len = varint(bytes, &mut at).and_then(|len| usize::try_from(len).ok()).filter(|&len| len <= MAX);
    let len = len.filter(|_| codec == ZSTD).ok_or_else(|| wrong("its document is stored in an unknown way"))?;
    let document = zstd_decode(&bytes[at..], None, len).map_err(|reason| wrong(&reason))?;
    if document.len() == len {
        Ok((mark, document))
    } else {
        Err(wrong("its document has another length than it says"))
    }
}

fn read_mark(bytes: &[u8], at: &mut usize) -> Option<Option<Mark>> {
    let len = usize::try_from(varint(bytes, at)?).ok()?;
    let journal = std::str::from_utf8(bytes.get(*at..at.checked_add(len)?)?).ok()?.to_owned();
    *at += len;
    let len = varint(bytes, at)?;
    Some((!journal.is_empty()).then_some(Mark { journal, len }))
}

/// A version that no head ever has.
#[cfg(test)]
pub(super) fn never() -> HeadVersion {
    HeadVersion(Some(Version("never".to_owned())))
}
