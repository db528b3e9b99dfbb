//! What a directory held when it and the rows last agreed, path by path: what tells a local change from one that came.
//!
//! State: the file `files` in the replica's live directory, lines of JSON that are added as paths are brought in step, and written anew when most of
//! them have been overtaken. After a crash: a last line that is cut off is left out. A path that was about to be written is noted before (`begin`),
//! so that what is found there then is known to be ours. Losing the file costs comparisons and at worst files beside others, never content.
//!
//! Not here: what a directory is to show (`super::shown`).

use std::collections::BTreeMap;
use std::fs::{File, OpenOptions};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use syncline_base::Hash;
use syncline_sync::live::Context;
use syncline_tree::files::FileKind;

use crate::live::token;
use crate::worktree::stat::Stat;
use crate::{Error, Result};

const FILE: &str = "files";
const FORMAT: &str = "{\"syncline\":\"live-files-base/1\"}\n";
/// A shorter file is not written anew.
const COMPACT_BYTES: u64 = 4 << 20;
/// Paths in a line when all is written.
const LINE: usize = 512;

/// Whether a directory is, or was, kept in step by what is remembered in a replica's live directory.
pub(super) fn exists(dir: &Path) -> bool {
    dir.join(FILE).is_file()
}

/// Paths, and what is known of each.
type Paths = Vec<(String, Known)>;

/// What was at a path.
#[derive(Debug, Clone)]
pub(super) struct Known {
    /// Of the row's value.
    pub value: Hash,
    /// The path whose row it shows, where it is not this one.
    pub of: Option<String>,
    /// The values that that row had (`super::shown::seen`).
    pub seen: Hash,
    /// What a reader had read who saw them: a write on top of it covers them, and nothing that came later.
    pub at: Arc<Context>,
    /// What the file system said about it; nothing when that proves nothing.
    pub stat: Option<Stat>,
}

/// Paths as they were, with the file that says so.
#[derive(Debug)]
pub(super) struct Base {
    path: PathBuf,
    file: File,
    bytes: u64,
    /// Of the file when it was last written anew.
    whole: u64,
    map: BTreeMap<String, Known>,
    /// What was about to be written where, and may be there.
    begun: BTreeMap<String, Vec<Option<Known>>>,
}

#[derive(Debug, Default, Serialize, Deserialize)]
struct Line {
    /// A position, of all of `set` and `begin`.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    at: String,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    set: Vec<Item>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    begin: Vec<Item>,
    /// Paths that are about to be removed.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    end: Vec<String>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    gone: Vec<String>,
}

#[derive(Debug, Serialize, Deserialize)]
struct Item {
    path: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    of: Option<String>,
    value: Hash,
    seen: Hash,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    stat: Option<StatText>,
}

/// Kind and executable bit, size, mtime, ctime, inode.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
struct StatText(u8, u64, i64, i64, u64);

impl StatText {
    fn of(stat: &Stat) -> Self {
        let flags = stat.kind.code() | u8::from(stat.executable) << 6;
        Self(flags, stat.size, stat.mtime, stat.ctime, stat.inode)
    }

    fn read(self) -> Option<Stat> {
        let Self(flags, size, mtime, ctime, inode) = self;
        let kind = FileKind::from_code(flags & 0x3f)?;
        Some(Stat { kind, executable: flags & 0x40 != 0, size, mtime, ctime, inode })
    }
}

impl Item {
    fn of(path: &str, known: &Known) -> Self {
        Self {
            path: path.to_owned(),
            of: known.of.clone(),
            value: known.value,
            seen: known.seen,
            stat: known.stat.as_ref().map(StatText::of),
        }
    }

    fn read(self, at: &Arc<Context>) -> (String, Known) {
        let stat = self.stat.and_then(StatText::read);
        (self.path, Known { value: self.value, of: self.of, seen: self.seen, at: Arc::clone(at), stat })
    }
}

impl Base {
    /// What is remembered in a replica's live directory; nothing when nothing is, or when it cannot be read.
    ///
    /// # Errors
    /// The file system's.
    pub(super) fn open(dir: &Path) -> Result<Self> {
        let path = dir.join(FILE);
        let (mut map, mut begun) = (BTreeMap::new(), BTreeMap::new());
        let text = match std::fs::read(&path) {
            Ok(text) => text,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Vec::new(),
            Err(error) => return Err(Error::io("reading", &path)(error)),
        };
        if let Some(lines) = text.strip_prefix(FORMAT.as_bytes()) {
            for line in lines.split_inclusive(|byte| *byte == b'\n') {
                // Only the last one can be cut off. Whatever else cannot be read is compared again.
                if let Ok(line) = serde_json::from_slice::<Line>(line) {
                    take(line, &mut map, &mut begun);
                }
            }
        } else if !text.is_empty() {
            tracing::warn!(path = %path.display(), "what is remembered of the directory cannot be read: all of it is compared");
        }
        let file = OpenOptions::new().append(true).create(true).open(&path).map_err(Error::io("opening", &path))?;
        let mut base = Self { path, file, bytes: 0, whole: 0, map, begun };
        base.write_anew()?;
        Ok(base)
    }

    /// What was at a path.
    pub(super) fn get(&self, path: &str) -> Option<&Known> {
        self.map.get(path)
    }

    /// Every path, in order.
    pub(super) fn iter(&self) -> impl Iterator<Item = (&String, &Known)> {
        self.map.iter()
    }

    /// How many paths there are.
    pub(super) fn len(&self) -> usize {
        self.map.len()
    }

    /// Paths that begin so, and what was there.
    pub(super) fn with_prefix<'a>(&'a self, prefix: &'a str) -> impl Iterator<Item = (&'a String, &'a Known)> {
        self.map.range(prefix.to_owned()..).take_while(move |(path, _)| path.starts_with(prefix))
    }

    /// What was about to be written to a path, or `None` in it when it was to be removed; whether it was is not known.
    pub(super) fn begun(&self, path: &str) -> &[Option<Known>] {
        self.begun.get(path).map_or(&[], Vec::as_slice)
    }

    /// Paths that are about to be written, and removed.
    ///
    /// # Errors
    /// The file system's.
    pub(super) fn begin(&mut self, at: &Context, set: &[(String, Known)], gone: &[String]) -> Result<()> {
        let begin = set.iter().map(|(path, known)| Item::of(path, known)).collect();
        self.add(Line { at: token::of_context(at), begin, end: gone.to_vec(), ..Line::default() })
    }

    /// Paths that hold these now, and paths that hold nothing.
    ///
    /// # Errors
    /// The file system's.
    pub(super) fn set(&mut self, set: Vec<(String, Known)>, gone: Vec<String>) -> Result<()> {
        let mut by_context: Vec<(Arc<Context>, Paths)> = Vec::new();
        for (path, known) in set {
            match by_context.last_mut().filter(|(at, _)| Arc::ptr_eq(at, &known.at)) {
                Some((_, same)) => same.push((path, known)),
                None => by_context.push((Arc::clone(&known.at), vec![(path, known)])),
            }
        }
        for (at, set) in by_context {
            let items = set.iter().map(|(path, known)| Item::of(path, known)).collect();
            self.add(Line { at: token::of_context(&at), set: items, ..Line::default() })?;
        }
        if !gone.is_empty() {
            self.add(Line { gone, ..Line::default() })?;
        }
        if self.bytes > COMPACT_BYTES && self.bytes / 4 > self.whole { self.write_anew() } else { Ok(()) }
    }

    fn add(&mut self, line: Line) -> Result<()> {
        let mut text = serde_json::to_vec(&line).expect("texts and numbers have a JSON form");
        text.push(b'\n');
        self.file.write_all(&text).map_err(Error::io("writing", &self.path))?;
        self.bytes += text.len() as u64;
        take(line, &mut self.map, &mut self.begun);
        Ok(())
    }

    /// Writes only what still counts.
    fn write_anew(&mut self) -> Result<()> {
        let failed = || Error::io("writing", &self.path);
        let dir = self.path.parent().unwrap_or(Path::new("."));
        let mut file = tempfile::NamedTempFile::new_in(dir).map_err(failed())?;
        let mut text = FORMAT.as_bytes().to_vec();
        let mut line = Line::default();
        let mut flush = |line: &mut Line| {
            serde_json::to_writer(&mut text, &std::mem::take(line)).expect("texts and numbers have a JSON form");
            text.push(b'\n');
        };
        let mut at: Option<&Arc<Context>> = None;
        for (path, known) in &self.map {
            if line.set.len() >= LINE || at.is_some_and(|at| !Arc::ptr_eq(at, &known.at) && **at != *known.at) {
                flush(&mut line);
            }
            if line.set.is_empty() {
                line.at = token::of_context(&known.at);
            }
            at = Some(&known.at);
            line.set.push(Item::of(path, known));
        }
        flush(&mut line);
        for (path, begun) in &self.begun {
            for begun in begun {
                match begun {
                    Some(known) => {
                        line.at = token::of_context(&known.at);
                        line.begin.push(Item::of(path, known));
                    }
                    None => line.end.push(path.clone()),
                }
                flush(&mut line);
            }
        }
        file.write_all(&text).and_then(|()| file.as_file().sync_all()).map_err(failed())?;
        self.file = file.persist(&self.path).map_err(|error| failed()(error.error))?;
        self.bytes = text.len() as u64;
        self.whole = self.bytes;
        Ok(())
    }
}

/// Takes a line in.
fn take(line: Line, map: &mut BTreeMap<String, Known>, begun: &mut BTreeMap<String, Vec<Option<Known>>>) {
    // A position that cannot be read is one at which nothing had been read: what is written on top covers nothing.
    let at = Arc::new(token::parse(&line.at).unwrap_or_default());
    for item in line.begin {
        let (path, known) = item.read(&at);
        begun.entry(path).or_default().push(Some(known));
    }
    for path in line.end {
        begun.entry(path).or_default().push(None);
    }
    for item in line.set {
        let (path, known) = item.read(&at);
        begun.remove(&path);
        map.insert(path, known);
    }
    for path in line.gone {
        begun.remove(&path);
        map.remove(&path);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn known(value: &[u8], stat: Option<Stat>) -> Known {
        Known { value: Hash::of(value), of: None, seen: Hash::of(b"seen"), at: Arc::default(), stat }
    }

    const STAT: Stat =
        Stat { kind: FileKind::File, executable: true, size: 3, mtime: -4, ctime: i64::MAX, inode: u64::MAX };

    #[test]
    fn it_comes_back_after_any_cut() {
        let dir = tempfile::tempdir().expect("a directory");
        let mut base = Base::open(dir.path()).expect("a new one");
        base.set(vec![("a".into(), known(b"1", Some(STAT))), ("b".into(), known(b"2", None))], Vec::new())
            .expect("room");
        base.begin(&Context::default(), &[("c".into(), known(b"3", None))], &["a".into()]).expect("room");
        base.set(Vec::new(), vec!["b".into()]).expect("room");
        let whole = std::fs::read(dir.path().join(FILE)).expect("a file");
        drop(base);
        for len in (0..=whole.len()).rev() {
            std::fs::write(dir.path().join(FILE), &whole[..len]).expect("room");
            let base = Base::open(dir.path()).expect("whatever is there");
            if len == whole.len() {
                assert_eq!(base.get("a").expect("a").stat, Some(STAT));
                assert!(base.get("b").is_none());
                assert_eq!((base.begun("c").len(), base.begun("a").len(), base.begun("b").len()), (1, 1, 0));
            }
            assert!(base.len() <= 2);
        }
    }
}
