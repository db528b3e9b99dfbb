//! A working directory beside the files table of a version, path by path, in byte order.
//!
//! Three sorted streams run side by side: what is on disk, what the status cache saw, and what differs between the table
//! that the cache speaks of and the one that is compared with. Only paths that the cache cannot vouch for need to be
//! read. Memory is bounded by the walk. Owns no state. Not here: reading files (`super::read`).

use std::iter::Peekable;

use syncline_base::Hash;
use syncline_tree::diff::{self, Change, DiffBatch};
use syncline_tree::files::{
    self, FileKind,
    collide::{Collision, Collisions},
};
use syncline_tree::{Table, TableRef};

use super::cache::{Reader, Seen};
use super::dirs::{Dirs, Root};
use super::walk::{Found, Walk};
use crate::{Error, Result};

/// What a path is beside the version.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Step {
    /// In the version, and the cache vouches that it is unchanged.
    Same(Found),
    /// In the version; must be read to know. With what the cache knew about it.
    Suspect(Found, Option<Seen>),
    /// Not in the version.
    New(Found),
    /// In the version and no longer there.
    Gone(String),
    /// In the version, and not among the files that this working directory holds.
    Elsewhere(String),
}

/// A path of the version.
#[derive(Debug)]
struct Known {
    path: String,
    /// What the cache knows about it, if it knows that it equals the version.
    seen: Option<Seen>,
}

type Stream<T> = Box<dyn Iterator<Item = Result<T>>>;

/// Most warnings that are listed one by one.
const WARNINGS: usize = 100;

/// Compares a working directory with a version.
pub(crate) struct Compare<'a> {
    root: &'a Root,
    walk: Walk<'a>,
    /// What the walk came to next.
    found: Option<Result<Found>>,
    known: Peekable<Stream<Known>>,
    dirs: Dirs<'a>,
    checksum: bool,
    collisions: Option<Collisions>,
    /// Versioned paths that are ignored now.
    ignored: Vec<String>,
    ignored_more: u64,
}

impl<'a> Compare<'a> {
    /// `base` is the version's files table. With `checksum` nothing is vouched for.
    ///
    /// # Errors
    /// The store's.
    pub(crate) fn new(root: &'a Root, cache: Option<Reader>, base: Option<&Table>, checksum: bool) -> Result<Self> {
        let known = known(cache, base)?;
        let mut walk = Walk::new(root);
        Ok(Self {
            root,
            found: walk.next(),
            walk,
            known: known.peekable(),
            dirs: root.dirs(),
            checksum,
            collisions: None,
            ignored: Vec::new(),
            ignored_more: 0,
        })
    }

    /// From now on looks for paths that some file systems cannot tell apart.
    pub(crate) fn with_collisions(mut self) -> Self {
        self.collisions = Some(Collisions::new());
        self
    }

    /// What else there is to say, at the end: warnings, and paths that collide with the number of those not listed.
    pub(crate) fn finish(mut self) -> (Vec<String>, Vec<Collision>, u64) {
        let mut warnings = self.walk.take_warnings();
        if warnings.len() > WARNINGS {
            let more = warnings.split_off(WARNINGS).len();
            warnings.push(format!("{more} more paths are not versioned"));
        }
        warnings.append(&mut self.ignored);
        if self.ignored_more > 0 {
            warnings.push(format!("{} more paths are versioned and ignored", self.ignored_more));
        }
        let (collisions, more) = self.collisions.map(Collisions::finish).unwrap_or_default();
        (warnings, collisions, more)
    }

    fn step(&mut self) -> Result<Option<Step>> {
        let order = match (&self.found, self.known.peek()) {
            (None, None) => return Ok(None),
            (Some(Err(_)), _) | (Some(Ok(_)), None) => std::cmp::Ordering::Less,
            (_, Some(Err(_))) | (None, Some(Ok(_))) => std::cmp::Ordering::Greater,
            (Some(Ok(found)), Some(Ok(known))) => found.path.cmp(&known.path),
        };
        if order.is_gt() {
            let known = self.known.next().transpose()?;
            return known.map(|known| self.not_walked(known)).transpose();
        }
        let Some(found) = std::mem::replace(&mut self.found, self.walk.next()).transpose()? else { return Ok(None) };
        if let Some(collisions) = &mut self.collisions {
            collisions.push(&found.path);
        }
        if order.is_lt() {
            return Ok(Some(Step::New(found)));
        }
        let known = self.known.next().transpose()?;
        Ok(Some(self.both(found, known.and_then(|known| known.seen))))
    }

    fn both(&self, found: Found, seen: Option<Seen>) -> Step {
        if !self.checksum && seen.as_ref().is_some_and(|seen| seen.proves(&found.stat)) {
            Step::Same(found)
        } else {
            Step::Suspect(found, seen)
        }
    }

    /// A path of the version that the walk did not come by: gone, or ignored. Ignoring must never look like deleting.
    fn not_walked(&mut self, known: Known) -> Result<Step> {
        let Known { path, seen } = known;
        let Some(Some(stat)) = self.dirs.stat(&path)? else {
            return Ok(if self.root.holds(&path) { Step::Gone(path) } else { Step::Elsewhere(path) });
        };
        // A folder that has entries exists through them, and is no row of its own any more.
        let full = stat.kind == FileKind::Folder && !is_empty(&mut self.dirs, &path)?;
        if full {
            return Ok(Step::Gone(path));
        }
        if self.ignored.len() < WARNINGS {
            self.ignored.push(format!("{path} is versioned and ignored: it stays versioned"));
        } else {
            self.ignored_more += 1;
        }
        let stat =
            if stat.kind == FileKind::Folder { seen.as_ref().map_or(stat, |seen| seen.found.stat) } else { stat };
        Ok(self.both(Found { path, stat }, seen))
    }
}

fn is_empty(dirs: &mut Dirs<'_>, path: &str) -> Result<bool> {
    let Ok(folder) = dirs.enter(path, false)? else { return Ok(false) };
    let Ok(entries) = rustix::fs::Dir::read_from(folder) else { return Ok(false) };
    let names = entries.filter_map(std::result::Result::ok);
    Ok(names.into_iter().all(|entry| matches!(entry.file_name().to_bytes(), b"." | b"..")))
}

impl Iterator for Compare<'_> {
    type Item = Result<Step>;

    fn next(&mut self) -> Option<Self::Item> {
        self.step().transpose()
    }
}

/// The paths of `base`, each with what the cache knows of it.
fn known(cache: Option<Reader>, base: Option<&Table>) -> Result<Stream<Known>> {
    let Some(base) = base else { return Ok(Box::new(std::iter::empty())) };
    let want: TableRef = base.to_ref();
    if let Some(cache) = cache {
        if cache.table == want {
            return Ok(Box::new(seen(cache).map(|seen| {
                let seen = seen?;
                Ok(Known { path: seen.found.path.clone(), seen: Some(seen) })
            })));
        }
        if let Ok(old) = old_table(&cache, base) {
            return Ok(Box::new(Shifted::new(cache, &old, base)?));
        }
    }
    // No cache, or one that speaks of a table that is not there.
    let listed = files::list(base, None)?;
    Ok(Box::new(listed.map(|listed| Ok(Known { path: listed?.path, seen: None }))))
}

fn old_table(cache: &Reader, base: &Table) -> Result<Table> {
    if cache.table.root == Hash::ZERO {
        return Ok(base.emptied());
    }
    let old = Table::open(base.store(), &cache.table)?;
    // Fails now rather than in the middle when the root is not in the store.
    base.store().get(&cache.table.root)?;
    Ok(old)
}

fn seen(mut cache: Reader) -> impl Iterator<Item = Result<Seen>> {
    std::iter::from_fn(move || cache.next().transpose())
}

/// The paths of a newer table, from the cache of an older one and what differs between the two.
struct Shifted {
    cache: Peekable<Stream<Seen>>,
    differences: Peekable<Stream<(String, Change)>>,
}

impl Shifted {
    fn new(cache: Reader, old: &Table, new: &Table) -> Result<Self> {
        let batches = diff::diff(old, new)?;
        let differences = batches.flat_map(|batch| match batch.map_err(Error::from).and_then(|b| kinds(&b)) {
            Ok(kinds) => kinds.into_iter().map(Ok).collect::<Vec<_>>(),
            Err(error) => vec![Err(error)],
        });
        let cache: Stream<Seen> = Box::new(seen(cache));
        let differences: Stream<(String, Change)> = Box::new(differences);
        Ok(Self { cache: cache.peekable(), differences: differences.peekable() })
    }
}

/// The paths that differ, and how.
fn kinds(batch: &DiffBatch) -> Result<Vec<(String, Change)>> {
    let mut paths = Vec::with_capacity(batch.kinds.len());
    for (key, kind) in batch.keys.iter().zip(&batch.kinds) {
        let path = files::path_of(key).ok_or_else(|| Error::Corrupt {
            what: "a files table".into(),
            why: "it has a key that is no path; run verify".into(),
        })?;
        paths.push((path.to_owned(), *kind));
    }
    Ok(paths)
}

impl Iterator for Shifted {
    type Item = Result<Known>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            let order = match (self.cache.peek(), self.differences.peek()) {
                (None, None) => return None,
                (Some(Err(_)), _) | (Some(Ok(_)), None) => std::cmp::Ordering::Less,
                (_, Some(Err(_))) | (None, Some(Ok(_))) => std::cmp::Ordering::Greater,
                (Some(Ok(seen)), Some(Ok((path, _)))) => seen.found.path.cmp(path),
            };
            if order.is_lt() {
                let seen = self.cache.next()?;
                return Some(seen.map(|seen| Known { path: seen.found.path.clone(), seen: Some(seen) }));
            }
            if order.is_eq() {
                // It differs: what the cache saw is not what the newer table says.
                let _ = self.cache.next();
            }
            match self.differences.next()? {
                Ok((_, Change::Delete)) => {}
                Ok((path, _)) => return Some(Ok(Known { path, seen: None })),
                Err(error) => return Some(Err(error)),
            }
        }
    }
}
