//! The status cache: which paths were seen to equal which version, and what the file system said about them then.
//!
//! A path whose stat has not changed since is not read again. Changes that a stat cannot show are caught so: a file
//! that was changed so shortly before the cache was written that a later change could carry the same times is
//! *racy* and is read again next time.
//!
//! State: one file, replaced by rename and checked by hash; damage or absence only costs time. Not here: reading files.

use std::path::{Path, PathBuf};

use syncline_base::Hash;
use syncline_tree::files::FileKind;

use super::scan::{Found, Stat};
use crate::{Error, Result};

const FILE: &str = "status";
const MAGIC: &[u8; 8] = b"SLSTAT01";
/// How long before the cache's own time stamp a change must lie to be told apart: more than the tick of any kernel.
const TICK_NS: i128 = 20_000_000;
/// The same for file systems that keep whole seconds, or pairs of seconds.
const COARSE_NS: i128 = 2_000_000_000;

/// What a working directory was seen to hold.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Cache {
    /// Where it is kept.
    path: PathBuf,
    /// Root of the files table that the paths equal.
    pub files: Hash,
    /// In byte order of their paths.
    pub seen: Vec<Found>,
    /// The file system's time when the cache was written.
    written_ns: i128,
}


impl Cache {
    /// Loads the cache of a replica; an empty one when there is none or it is damaged.
    pub(crate) fn load(meta: &Path) -> Self {
        let path = meta.join(FILE);
        let loaded = std::fs::read(&path).ok().and_then(|bytes| parse(&path, &bytes));
        loaded.unwrap_or(Self { path, files: Hash::ZERO, seen: Vec::new(), written_ns: 0 })
    }

    /// A cache that says that `seen` equals the files table with root `files`.
    pub(crate) fn new(meta: &Path, files: Hash, seen: Vec<Found>) -> Self {
        Self { path: meta.join(FILE), files, seen, written_ns: 0 }
    }

    /// Whether the stat of an entry proves that its content is what it was.
    pub(crate) fn proves(&self, before: &Stat, now: &Stat) -> bool {
        let coarse = now.mtime_ns % 1_000_000_000 == 0 && now.ctime_ns % 1_000_000_000 == 0;
        let margin = if coarse { COARSE_NS } else { TICK_NS };
        before == now && now.mtime_ns.max(now.ctime_ns) < self.written_ns - margin
    }

    /// Writes the cache.
    ///
    /// # Errors
    /// The file system's.
    pub(crate) fn save(&self) -> Result<()> {
        let temporary = self.path.with_extension("new");
        let write = || -> std::io::Result<()> {
            std::fs::write(&temporary, b"")?;
            // The file system's own clock is the one that stamps files.
            let stat = Stat::of(&std::fs::metadata(&temporary)?);
            let now = stat.map_or(0, |stat| stat.mtime_ns);
            std::fs::write(&temporary, self.encode(now))?;
            std::fs::rename(&temporary, &self.path)
        };
        write().map_err(Error::io("writing", &self.path))
    }

    fn encode(&self, now: i128) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(64 + self.seen.len() * 96);
        bytes.extend_from_slice(MAGIC);
        bytes.extend_from_slice(self.files.as_bytes());
        bytes.extend_from_slice(&now.to_le_bytes());
        for found in &self.seen {
            let stat = &found.stat;
            bytes.extend_from_slice(&u32::try_from(found.path.len()).unwrap_or(u32::MAX).to_le_bytes());
            bytes.extend_from_slice(found.path.as_bytes());
            bytes.push(stat.kind.code() | u8::from(stat.executable) << 7);
            bytes.extend_from_slice(&stat.size.to_le_bytes());
            bytes.extend_from_slice(&stat.mtime_ns.to_le_bytes());
            bytes.extend_from_slice(&stat.ctime_ns.to_le_bytes());
            bytes.extend_from_slice(&stat.inode.to_le_bytes());
        }
        let check = Hash::of(&bytes);
        bytes.extend_from_slice(check.as_bytes());
        bytes
    }
}

fn parse(path: &Path, bytes: &[u8]) -> Option<Cache> {
    let (body, check) = bytes.split_at_checked(bytes.len().checked_sub(Hash::LEN)?)?;
    if Hash::of(body).as_bytes() != check {
        return None;
    }
    let mut rest = body.strip_prefix(MAGIC)?;
    let files = Hash::from_slice(take(&mut rest, Hash::LEN)?)?;
    let written_ns = i128::from_le_bytes(take(&mut rest, 16)?.try_into().ok()?);
    let mut seen = Vec::new();
    while !rest.is_empty() {
        let len = u32::from_le_bytes(take(&mut rest, 4)?.try_into().ok()?);
        let path = std::str::from_utf8(take(&mut rest, len as usize)?).ok()?.to_owned();
        let kind = *take(&mut rest, 1)?.first()?;
        let stat = Stat {
            kind: FileKind::from_code(kind & 0x7f)?,
            executable: kind & 0x80 != 0,
            size: u64::from_le_bytes(take(&mut rest, 8)?.try_into().ok()?),
            mtime_ns: i128::from_le_bytes(take(&mut rest, 16)?.try_into().ok()?),
            ctime_ns: i128::from_le_bytes(take(&mut rest, 16)?.try_into().ok()?),
            inode: u64::from_le_bytes(take(&mut rest, 8)?.try_into().ok()?),
        };
        seen.push(Found { path, stat });
    }
    Some(Cache { path: path.to_owned(), files, seen, written_ns })
}

fn take<'a>(rest: &mut &'a [u8], len: usize) -> Option<&'a [u8]> {
    let (head, tail) = rest.split_at_checked(len)?;
    *rest = tail;
    Some(head)
}
