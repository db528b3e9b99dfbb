//! What a commit makes of a working directory: the edits of the files table, group by group, and the status cache that
//! belongs to it.
//!
//! Memory: one group of small files. Owns: a status cache that is being written; it counts only once it is finished.

use std::path::Path;

use syncline_store::Store;
use syncline_tree::files::collide::Collision;
use syncline_tree::files::{self, Edit, INLINE_MAX};
use syncline_tree::{Changes, Table};

use super::cache::{self, Seen, is_racy};
use super::compare::{Compare, Step};
use super::dirs::Root;
use super::read;
use super::walk::Found;
use crate::Result;

/// Bytes of small files that are read into memory at once.
const GROUP_BYTES: u64 = 8 << 20;
/// Files that are read at once.
const GROUP_FILES: usize = 4096;
/// Paths that are looked at at once.
const GROUP_STEPS: usize = 16384;

/// Reads what differs from a version.
pub(crate) struct Collect<'a> {
    pub root: &'a Root,
    pub store: &'a Store,
    pub base: Option<&'a Table>,
    compare: Compare<'a>,
    cache: cache::Writer,
    /// What changed at this time or later may change again unseen.
    since: i64,
    /// Whether any path is new.
    pub grown: bool,
    advance: &'a (dyn Fn(u64) + Sync),
}

/// What there is to say when everything was collected.
pub(crate) struct Collected {
    pub cache: cache::Writer,
    pub warnings: Vec<String>,
    pub collisions: Vec<Collision>,
    pub more_collisions: u64,
}

impl<'a> Collect<'a> {
    /// Begins; `meta` gets the new status cache.
    ///
    /// # Errors
    /// The file system's and the store's.
    pub(crate) fn new(
        root: &'a Root,
        meta: &Path,
        store: &'a Store,
        base: Option<&'a Table>,
        checksum: bool,
        advance: &'a (dyn Fn(u64) + Sync),
    ) -> Result<Self> {
        // Before the first look: a change that comes later cannot carry an earlier time.
        let since = cache::now(meta)?;
        let compare = Compare::new(root, cache::Reader::open(meta), base, checksum)?.with_collisions();
        let cache = cache::Writer::begin(meta)?;
        Ok(Self { root, store, base, compare, cache, since, grown: false, advance })
    }

    /// The next changes, in path order; `None` at the end.
    ///
    /// # Errors
    /// `unavailable` when a file keeps changing; the file system's and the store's.
    pub(crate) fn next(&mut self) -> Result<Option<Changes>> {
        loop {
            let (steps, ended) = self.group()?;
            let edits = self.edits(steps)?;
            if !edits.is_empty() {
                return Ok(Some(files::changes(&edits)?));
            }
            if ended {
                return Ok(None);
            }
        }
    }

    /// Steps up to the bounds of a group. True at the end.
    fn group(&mut self) -> Result<(Vec<Step>, bool)> {
        let (mut steps, mut bytes, mut read) = (Vec::new(), 0, 0);
        while steps.len() < GROUP_STEPS && read < GROUP_FILES && bytes < GROUP_BYTES {
            let Some(step) = self.compare.next().transpose()? else { return Ok((steps, true)) };
            if let Step::Suspect(found, _) | Step::New(found) = &step {
                read += 1;
                bytes += found.stat.size.min(INLINE_MAX as u64);
            }
            steps.push(step);
        }
        Ok((steps, false))
    }

    fn edits(&mut self, steps: Vec<Step>) -> Result<Vec<Edit>> {
        let (root, store, base) = (self.root, self.store, self.base);
        let wanted: Vec<(Found, bool)> = steps
            .iter()
            .filter_map(|step| match step {
                Step::Suspect(found, _) => Some((found.clone(), true)),
                Step::New(found) => Some((found.clone(), false)),
                _ => None,
            })
            .collect();
        let count = wanted.len() as u64;
        let read = read::each(root, wanted, |dirs, (found, known)| {
            read::entry(root, dirs, store, &found, base.filter(|_| known))
        })?;
        let mut read = read.into_iter();
        let mut edits = Vec::new();
        for step in steps {
            let known = matches!(step, Step::Suspect(..));
            match step {
                Step::Same(found) => self.cache.push(&Seen { found, racy: false })?,
                Step::Gone(path) => edits.push(Edit::Remove(path)),
                Step::Elsewhere(path) => self.cache.push(&Seen::nothing(path))?,
                Step::Suspect(found, _) | Step::New(found) => {
                    self.grown |= !known;
                    match read.next().flatten() {
                        Some((entry, stat)) => {
                            let racy = is_racy(&stat, self.since);
                            self.cache.push(&Seen { found: Found { stat, ..found }, racy })?;
                            edits.push(Edit::Put(entry));
                        }
                        // It went away while it was looked at.
                        None if known => edits.push(Edit::Remove(found.path)),
                        None => {}
                    }
                }
            }
        }
        (self.advance)(count);
        Ok(edits)
    }

    /// Ends.
    pub(crate) fn finish(self) -> Collected {
        let (warnings, collisions, more_collisions) = self.compare.finish();
        Collected { cache: self.cache, warnings, collisions, more_collisions }
    }
}
