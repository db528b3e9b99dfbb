//! From the rows to the directory: what is to be at a path, once its content is here.
//!
//! Nothing that somebody has changed here is written over: it is taken as a change first, and stays beside what came. What is about to be written is noted
//! before, and remembered as agreed only when the folders that it is in are durable. Owns nothing.

use std::collections::BTreeSet;
use std::sync::Arc;

use syncline_base::Hash;
use syncline_sync::live::Context;
use syncline_tree::content::ContentRef;
use syncline_tree::files::{FileKind, path};

use super::base::Known;
use super::place::{FOLDER, Placed};
use super::row::FileRow;
use super::shown::{self, Want};
use super::worker::Desk;
use crate::contents::Source;
use crate::worktree::list::is_ignored;
use crate::worktree::stat::Stat;
use crate::worktree::{cache, read};
use crate::{Error, Result};

/// Rows that are looked at while nobody writes, and files that are written, at once.
const GROUP: usize = 512;

/// A path that is to change.
struct Job {
    path: String,
    /// What is to be there; nothing for one that is to be removed.
    row: Option<FileRow>,
    known: Known,
    /// What is there.
    expected: Option<Stat>,
}

impl Desk {
    /// Brings the directory in step with some rows.
    ///
    /// # Errors
    /// The file system's, the store's and the log's.
    pub(super) fn settle(&mut self, rows: &[String]) -> Result<()> {
        for rows in rows.chunks(GROUP) {
            let base = &self.base;
            let (wants, at) = self.engine.read(|node| {
                let mut paths = BTreeSet::new();
                for row in rows {
                    let above = std::iter::successors(path::parent(row), |path| path::parent(path));
                    for row in std::iter::once(row.as_str()).chain(above) {
                        paths.extend(shown::places(node, row));
                        let prefix = shown::beside_prefix(row);
                        paths.extend(base.with_prefix(&prefix).map(|(path, _)| path.clone()));
                    }
                }
                let wants = paths.into_iter().map(|path| (shown::want(node, &path), path)).collect::<Vec<_>>();
                (wants, node.context())
            })?;
            self.apply(wants, &Arc::new(at))?;
        }
        Ok(())
    }

    /// Brings the whole directory in step.
    ///
    /// # Errors
    /// As [`Self::settle`].
    pub(super) fn settle_all(&mut self) -> Result<()> {
        let mut rows: BTreeSet<String> = self.engine.read(super::paths)?.into_iter().collect();
        rows.extend(self.base.iter().map(|(path, known)| known.of.as_ref().unwrap_or(path).clone()));
        self.settle(&rows.into_iter().collect::<Vec<_>>())
    }

    fn apply(&mut self, wants: Vec<(Want, String)>, at: &Arc<Context>) -> Result<()> {
        let (mut refreshed, mut jobs) = (Vec::new(), Vec::new());
        for (want, path) in wants {
            self.note_leaving(&path, want.value.is_some());
            let of = Some(want.of).filter(|of| *of != path);
            let Some(value) = want.value else {
                self.waiting.remove(&path);
                if let Some(known) = self.base.get(&path) {
                    jobs.push(Job { path, row: None, known: known.clone(), expected: None });
                }
                continue;
            };
            let hash = Hash::of(&value);
            let known = self.base.get(&path);
            if let Some(known) = known.filter(|known| known.value == hash) {
                if known.seen != want.seen || known.of != of {
                    let known = Known { of, seen: want.seen, at: Arc::clone(at), ..known.clone() };
                    refreshed.push((path.clone(), known));
                }
                self.waiting.remove(&path);
                continue;
            }
            let Some(row) = FileRow::decode(&value).filter(|_| path::check(&path).is_ok()) else {
                self.told(&format!("{path} was written by a newer version of this program, and is not shown"));
                continue;
            };
            let known = Known { value: hash, of, seen: want.seen, at: Arc::clone(at), stat: None };
            jobs.push(Job { path, row: Some(row), known, expected: None });
        }
        if !refreshed.is_empty() {
            self.base.set(refreshed, Vec::new())?;
        }
        let jobs = self.ready(jobs)?;
        self.carry_out(jobs, at)
    }

    /// Those that can be done: whose content is here, and whose path holds what is remembered of it.
    fn ready(&mut self, jobs: Vec<Job>) -> Result<Vec<Job>> {
        let contents: Vec<ContentRef> =
            jobs.iter().filter_map(|job| job.row.as_ref().and_then(FileRow::stored)).collect();
        let lacking: BTreeSet<ContentRef> = Source::none(self.store.clone()).lacks(&contents)?.into_iter().collect();
        let mut ready = Vec::new();
        for mut job in jobs {
            if let Some(row) = &job.row {
                if row.stored().is_some_and(|content| lacking.contains(&content)) {
                    self.waiting.insert(job.path);
                    continue;
                }
                if is_ignored(&self.root, &job.path)? {
                    self.waiting.remove(&job.path);
                    continue;
                }
            }
            self.waiting.remove(&job.path);
            let known = self.base.get(&job.path).cloned();
            let stat = match self.root.dirs().stat(&job.path)? {
                Some(Some(stat)) if stat.kind == FileKind::Folder => Some(FOLDER),
                Some(Some(stat)) => Some(stat),
                // A device: never touched, and told by the walk.
                Some(None) => continue,
                None => None,
            };
            match (known, stat) {
                (None, None) => ready.push(job),
                // A folder is in the way: it goes if it is empty, and stays what it is if it is not.
                (None, Some(FOLDER)) => ready.push(job),
                (Some(known), Some(stat)) if known.stat == Some(stat) || (stat == FOLDER && known.stat.is_none()) => {
                    job.expected = Some(stat);
                    ready.push(job);
                }
                (_, stat) if self.stays(&job.path, stat.as_ref()) => {}
                (known, stat) => {
                    let local = self.read_one(&job.path)?;
                    let hash = local.as_ref().map(|local| Hash::of(&local.value));
                    if hash.is_some() && hash == known.map(|known| known.value) {
                        job.expected = local.map(|local| local.stat);
                        ready.push(job);
                    } else if hash == job.row.as_ref().map(|_| job.known.value) {
                        // It is there already, or gone already.
                        match local {
                            Some(local) => {
                                let stat = local.proves.then_some(local.stat);
                                self.base.set(vec![(job.path, Known { stat, ..job.known })], Vec::new())?;
                            }
                            None => self.base.set(Vec::new(), vec![job.path])?,
                        }
                    } else if job.row.is_none() && !self.is_inside(&job.path) {
                        // It left the scope, and somebody had changed it here.
                        self.outside.insert(job.path, stat);
                    } else {
                        // Somebody changed it here: that is written to the row first.
                        self.unread.insert(job.path);
                    }
                }
            }
        }
        Ok(ready)
    }

    /// Writes, then removes, then writes what was in the way of each other.
    fn carry_out(&mut self, jobs: Vec<Job>, at: &Context) -> Result<()> {
        if jobs.is_empty() {
            return Ok(());
        }
        let (puts, removals): (Vec<Job>, Vec<Job>) = jobs.into_iter().partition(|job| job.row.is_some());
        let begin: Vec<(String, Known)> = puts.iter().map(|job| (job.path.clone(), job.known.clone())).collect();
        let end: Vec<String> = removals.iter().map(|job| job.path.clone()).collect();
        self.base.begin(at, &begin, &end)?;
        let blocked = self.put(puts)?;
        self.remove(removals)?;
        let blocked: Vec<String> = self.put(blocked)?.into_iter().map(|job| job.path).collect();
        if let Some(path) = blocked.first() {
            self.told(&format!("{path} cannot be written: something else is in the way; move it away"));
        }
        self.undone(blocked)
    }

    /// Writes files; gives those that something is in the way of.
    fn put(&mut self, jobs: Vec<Job>) -> Result<Vec<Job>> {
        if jobs.is_empty() {
            return Ok(jobs);
        }
        let since = cache::now(&self.meta)?;
        let (root, store, place) = (&self.root, &self.store, &self.place);
        let placed = read::each(root, jobs, |dirs, job| {
            let Some(row) = &job.row else { return Ok((job, Ok(Placed::Done(None)))) };
            let placed = place.put(root, dirs, store, (&job.path, row), job.expected.as_ref());
            Ok((job, placed))
        })?;
        let (mut set, mut undone, mut blocked) = (Vec::new(), Vec::new(), Vec::new());
        for (job, placed) in placed {
            match placed {
                Ok(Placed::Done(stat)) => {
                    let stat = stat.filter(|stat| !cache::is_racy(stat, since));
                    set.push((job.path, Known { stat, ..job.known }));
                }
                Ok(Placed::Changed) => undone.push(job.path),
                Ok(Placed::Blocked) => blocked.push(job),
                Err(error) => {
                    // The content went away again, or the disk does not take it: later.
                    self.told(&error.to_string());
                    self.waiting.insert(job.path.clone());
                    undone.push(job.path);
                }
            }
        }
        self.sync_folders(set.iter().map(|(path, _)| path))?;
        self.status.received += set.len() as u64;
        self.base.set(set, Vec::new())?;
        self.undone(undone)?;
        Ok(blocked)
    }

    fn remove(&mut self, jobs: Vec<Job>) -> Result<()> {
        let (mut gone, mut undone) = (Vec::new(), Vec::new());
        let mut dirs = self.root.dirs();
        let mut paths: BTreeSet<String> = jobs.iter().map(|job| job.path.clone()).collect();
        for job in jobs.into_iter().rev() {
            let removed = match &job.expected {
                None => Ok(Placed::Done(None)),
                Some(expected) => {
                    let keep = |path: &str| self.base.get(path).is_some() && !paths.contains(path);
                    self.place.remove(&self.root, &mut dirs, &job.path, expected, &keep)
                }
            };
            match removed {
                Ok(Placed::Done(_)) => gone.push(job.path),
                Ok(Placed::Changed | Placed::Blocked) => undone.push(job.path),
                Err(error) => {
                    tracing::warn!(%error, "a file could not be removed");
                    undone.push(job.path);
                }
            }
        }
        paths.clear();
        drop(dirs);
        self.sync_folders(gone.iter())?;
        self.status.received += gone.len() as u64;
        self.base.set(Vec::new(), gone)?;
        self.undone(undone)
    }

    /// What was not done after all is looked at again, and what is found there later is not taken for ours.
    fn undone(&mut self, paths: Vec<String>) -> Result<()> {
        let (mut set, mut gone) = (Vec::new(), Vec::new());
        for path in paths {
            match self.base.get(&path) {
                Some(known) => set.push((path.clone(), known.clone())),
                None => gone.push(path.clone()),
            }
            self.unread.insert(path);
        }
        if set.is_empty() && gone.is_empty() { Ok(()) } else { self.base.set(set, gone) }
    }

    /// Makes the folders of paths durable, as far as they are there.
    fn sync_folders<'a>(&self, paths: impl Iterator<Item = &'a String>) -> Result<()> {
        let folders: BTreeSet<&str> = paths.map(|path| path::parent(path).unwrap_or_default()).collect();
        let mut dirs = self.root.dirs();
        for folder in folders {
            if let Ok(fd) = dirs.enter(folder, false)? {
                rustix::fs::fsync(fd).map_err(|error| Error::io("syncing", &self.root.full(folder))(error.into()))?;
            }
        }
        Ok(())
    }
}
