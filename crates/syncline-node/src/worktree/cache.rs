//! The status cache: which paths were seen to equal which files table, and what the file system said about them then.
//!
//! A path whose stat has not changed since is not read again. What a stat cannot show is caught so: an entry that
//! changed so shortly before it was looked at that a later change could carry the same times is *racy*, and is read
//! again next time.
//!
//! State: one file in the meta directory, written beside and renamed, checked block by block. A hint: damage or absence
//! only costs time. Memory: one block. Not here: reading files.
//!
//! Layout: magic, blocks, end. A block is its length (u32), 16 bytes of hash, entries with front-coded paths. The end is
//! a zero, 16 bytes of hash, the table (schema, root, rows, height) and a time: entries that changed later are racy.

use std::fs::File;
use std::io::{self, BufReader, BufWriter, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use rustix::fs::fstat;
use syncline_base::Hash;
use syncline_tree::TableRef;
use syncline_tree::files::FileKind;

use super::stat::Stat;
use super::walk::Found;
use crate::{Error, Result};

const FILE: &str = "status";
const MAGIC: &[u8; 8] = b"SLSTAT02";
const BLOCK: usize = 64 << 10;
/// An entry is never longer than this; blocks that claim more than a block and an entry are damaged.
const ENTRY: usize = 8 << 10;
const CHECK: usize = 16;
const END: usize = 32 + 32 + 8 + 1 + 8;

/// More than the tick of any kernel: times closer than this to "now" may come again.
const TICK: i64 = 20_000_000;
/// The same for file systems that keep whole seconds, or pairs of seconds.
const COARSE: i64 = 2_000_000_000;

/// One path of the cache.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Seen {
    pub found: Found,
    /// Its stat proves nothing.
    pub racy: bool,
}

impl Seen {
    /// A path of the version at which nothing is.
    pub(crate) fn nothing(path: String) -> Self {
        Self { found: Found { path, stat: NOTHING }, racy: true }
    }

    /// Whether the stat of the path now proves that its content is what it was.
    pub(crate) fn proves(&self, now: &Stat) -> bool {
        !self.racy && self.found.stat == *now
    }
}

/// Whether a file that has this stat may change later without its stat changing, if it was looked at from `since` on.
pub(crate) fn is_racy(stat: &Stat, since: i64) -> bool {
    if stat.kind == FileKind::Folder {
        return false;
    }
    let coarse = stat.mtime % 1_000_000_000 == 0 && stat.ctime % 1_000_000_000 == 0;
    stat.changed() > since.saturating_sub(if coarse { COARSE } else { TICK })
}

/// Reads a cache from front to back.
#[derive(Debug)]
pub(crate) struct Reader {
    path: PathBuf,
    source: BufReader<File>,
    block: Vec<u8>,
    check: [u8; CHECK],
    at: usize,
    ended: bool,
    /// The path before, which the next one shares its beginning with.
    last: Vec<u8>,
    /// Entries that changed at this time or later are racy.
    before: i64,
    /// The table that the paths equal.
    pub table: TableRef,
}

impl Reader {
    /// Opens the cache of a replica; `None` when there is none or any part of it is damaged.
    pub(crate) fn open(meta: &Path) -> Option<Self> {
        let path = meta.join(FILE);
        let mut file = File::open(&path).ok()?;
        let (table, before) = read_end(&mut file).ok()?;
        let source = BufReader::with_capacity(256 << 10, file);
        let mut reader = Self {
            path: path.clone(),
            source,
            block: Vec::new(),
            check: [0; CHECK],
            at: 0,
            ended: false,
            last: Vec::new(),
            before,
            table,
        };
        // All of it now: damage must not show when half of the answer is out.
        let mut magic = [0; MAGIC.len()];
        reader.source.read_exact(&mut magic).ok().filter(|()| magic == *MAGIC)?;
        while reader.next_block().ok()? {
            let body = Hash::of(&reader.block);
            if body.as_bytes()[..CHECK] != reader.check {
                return None;
            }
        }
        reader.source.seek(SeekFrom::Start(MAGIC.len() as u64)).ok()?;
        Some(reader)
    }

    /// The next path; `None` at the end.
    ///
    /// # Errors
    /// The file system's; `corrupt` when the file has changed since it was opened.
    pub(crate) fn next(&mut self) -> Result<Option<Seen>> {
        if self.at == self.block.len() {
            self.ended = self.ended || !self.next_block().map_err(Error::io("reading", &self.path))?;
        }
        if self.ended {
            return Ok(None);
        }
        let mut rest = &self.block[self.at..];
        let mut seen = decode(&mut rest, &mut self.last).ok_or_else(|| Error::Corrupt {
            what: self.path.display().to_string(),
            why: "it changed while it was read; run it again".into(),
        })?;
        self.at = self.block.len() - rest.len();
        seen.racy |= is_racy(&seen.found.stat, self.before);
        Ok(Some(seen))
    }

    fn next_block(&mut self) -> io::Result<bool> {
        let mut head = [0; 4 + CHECK];
        self.source.read_exact(&mut head)?;
        let len = u32::from_le_bytes([head[0], head[1], head[2], head[3]]) as usize;
        if len > BLOCK + ENTRY {
            return Err(damaged());
        }
        self.check.copy_from_slice(&head[4..]);
        self.block.resize(len, 0);
        self.at = 0;
        self.last.clear();
        if len > 0 {
            self.source.read_exact(&mut self.block)?;
        }
        Ok(len > 0)
    }
}

fn damaged() -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, "the status cache is damaged")
}

fn read_end(file: &mut File) -> io::Result<(TableRef, i64)> {
    let mut end = [0; 4 + CHECK + END];
    file.seek(SeekFrom::End(-(end.len() as i64)))?;
    file.read_exact(&mut end)?;
    file.seek(SeekFrom::Start(0))?;
    let (head, body) = end.split_at(4 + CHECK);
    if head[..4] != [0; 4] || Hash::of(body).as_bytes()[..CHECK] != head[4..] {
        return Err(damaged());
    }
    let hash = |at: usize| Hash::from_slice(&body[at..at + 32]).unwrap_or(Hash::ZERO);
    let rows = body[64..72].try_into().map_or(0, u64::from_le_bytes);
    let before = body[73..81].try_into().map_or(0, i64::from_le_bytes);
    Ok((TableRef { schema: hash(0), root: hash(32), rows, height: body[72] }, before))
}

/// The file system's time now: what files that change now are stamped with.
///
/// # Errors
/// The file system's.
pub(crate) fn now(meta: &Path) -> Result<i64> {
    let path = meta.join("clock");
    let now = || {
        let mut file = File::create(&path)?;
        file.write_all(b".")?;
        fstat(&file).map_err(io::Error::from)
    };
    let stat = now().map_err(Error::io("writing", &path))?;
    Ok(Stat::of(&stat).map_or(0, |stat| stat.changed()))
}

/// Writes a cache from front to back. Nothing is seen of it before [`Writer::finish`].
#[derive(Debug)]
pub(crate) struct Writer {
    path: PathBuf,
    out: BufWriter<File>,
    block: Vec<u8>,
    last: String,
}

impl Writer {
    /// Begins a cache in the meta directory of a replica.
    ///
    /// # Errors
    /// The file system's.
    pub(crate) fn begin(meta: &Path) -> Result<Self> {
        let path = meta.join(FILE);
        let temporary = path.with_extension("new");
        let begin = || {
            // Never into a file that another process may be writing.
            let _ = std::fs::remove_file(&temporary);
            let mut out = BufWriter::with_capacity(256 << 10, File::create_new(&temporary)?);
            out.write_all(MAGIC)?;
            Ok(out)
        };
        let out = begin().map_err(Error::io("writing", &temporary))?;
        Ok(Self { path, out, block: Vec::with_capacity(BLOCK + ENTRY), last: String::new() })
    }

    /// Adds the next path, in byte order.
    ///
    /// # Errors
    /// The file system's.
    pub(crate) fn push(&mut self, seen: &Seen) -> Result<()> {
        encode(seen, &self.last, &mut self.block);
        self.last.clear();
        self.last.push_str(&seen.found.path);
        if self.block.len() >= BLOCK { self.flush().map_err(Error::io("writing", &self.path)) } else { Ok(()) }
    }

    fn flush(&mut self) -> io::Result<()> {
        if !self.block.is_empty() {
            self.out.write_all(&u32::try_from(self.block.len()).unwrap_or(u32::MAX).to_le_bytes())?;
            self.out.write_all(&Hash::of(&self.block).as_bytes()[..CHECK])?;
            self.out.write_all(&self.block)?;
            self.block.clear();
            self.last.clear();
        }
        Ok(())
    }

    /// Puts the cache in place: what was added equals `table`. Entries that changed at `before` or later are racy even if they
    /// were not added so.
    ///
    /// # Errors
    /// The file system's.
    pub(crate) fn finish(mut self, table: &TableRef, before: i64) -> Result<()> {
        let mut body = Vec::with_capacity(END);
        body.extend_from_slice(table.schema.as_bytes());
        body.extend_from_slice(table.root.as_bytes());
        body.extend_from_slice(&table.rows.to_le_bytes());
        body.push(table.height);
        body.extend_from_slice(&before.to_le_bytes());
        let path = self.path.clone();
        let mut finish = || {
            self.flush()?;
            self.out.write_all(&[0; 4])?;
            self.out.write_all(&Hash::of(&body).as_bytes()[..CHECK])?;
            self.out.write_all(&body)?;
            self.out.flush()?;
            std::fs::rename(path.with_extension("new"), &path)
        };
        finish().map_err(Error::io("writing", &path))
    }
}

fn encode(seen: &Seen, last: &str, out: &mut Vec<u8>) {
    let Found { path, stat } = &seen.found;
    let shared = path.bytes().zip(last.bytes()).take_while(|(a, b)| a == b).count();
    put_varint(out, shared as u64);
    put_varint(out, (path.len() - shared) as u64);
    out.extend_from_slice(&path.as_bytes()[shared..]);
    out.push(stat.kind.code() | u8::from(stat.executable) << 6 | u8::from(seen.racy) << 7);
    put_varint(out, stat.size);
    put_varint(out, stat.inode);
    out.extend_from_slice(&stat.mtime.to_le_bytes());
    out.extend_from_slice(&stat.ctime.to_le_bytes());
}

fn decode(rest: &mut &[u8], path: &mut Vec<u8>) -> Option<Seen> {
    let shared = usize::try_from(take_varint(rest)?).ok()?;
    let len = usize::try_from(take_varint(rest)?).ok()?;
    let suffix = take(rest, len)?;
    if shared > path.len() {
        return None;
    }
    path.truncate(shared);
    path.extend_from_slice(suffix);
    let flags = *take(rest, 1)?.first()?;
    let stat = Stat {
        kind: FileKind::from_code(flags & 0x3f)?,
        executable: flags & 0x40 != 0,
        size: take_varint(rest)?,
        inode: take_varint(rest)?,
        mtime: i64::from_le_bytes(take(rest, 8)?.try_into().ok()?),
        ctime: i64::from_le_bytes(take(rest, 8)?.try_into().ok()?),
    };
    let path = std::str::from_utf8(path).ok()?.to_owned();
    Some(Seen { found: Found { path, stat }, racy: flags & 0x80 != 0 })
}

fn put_varint(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push((value & 0x7f) as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

fn take_varint(rest: &mut &[u8]) -> Option<u64> {
    let mut value = 0u64;
    for shift in (0..64).step_by(7) {
        let byte = *take(rest, 1)?.first()?;
        value |= u64::from(byte & 0x7f).checked_shl(shift)?;
        if byte < 0x80 {
            return Some(value);
        }
    }
    None
}

fn take<'a>(rest: &mut &'a [u8], len: usize) -> Option<&'a [u8]> {
    let (head, tail) = rest.split_at_checked(len)?;
    *rest = tail;
    Some(head)
}

/// Stands for the stat of a path that is not there.
pub(crate) const NOTHING: Stat =
    Stat { kind: FileKind::File, executable: false, size: 0, mtime: 0, ctime: 0, inode: 0 };

#[cfg(test)]
mod tests;
