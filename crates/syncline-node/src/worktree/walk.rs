//! Everything in a working directory, in byte order of paths, which is the order of the files table.
//!
//! Folders are listed on all cores ahead of the walk; memory follows what is listed ahead and the folders that lead to
//! the current one, never the whole tree. Symbolic links are seen and never followed.
//! Not here: reading contents.

use std::collections::BTreeMap;
use std::sync::Arc;

use syncline_base::task;
use syncline_tree::files::FileKind;

use super::dirs::Root;
use super::ignores::Ignores;
use super::list::{Listed, Slot, list};
use super::stat::Stat;
use crate::Result;

/// Folders that are listed at once.
const FOLDERS_AHEAD: usize = 128;
/// No more folders are listed ahead while so many paths wait.
const PATHS_AHEAD: usize = 100_000;

/// A path that is there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Found {
    /// Relative to the root, `/`-separated.
    pub path: String,
    pub stat: Stat,
}

/// A folder that the walk is in.
#[derive(Debug)]
struct Frame {
    listed: Listed,
    at: usize,
    /// Folders in it that are listed already, by item; `None` for one that has gone away.
    ready: BTreeMap<u32, Option<Listed>>,
}

/// Walks a working directory. Ends after the first error.
#[derive(Debug)]
pub(crate) struct Walk<'a> {
    root: &'a Root,
    open: Vec<Frame>,
    /// Paths listed and not yet walked over.
    waiting: usize,
    started: bool,
    warnings: Vec<String>,
}

impl<'a> Walk<'a> {
    pub(crate) fn new(root: &'a Root) -> Self {
        Self { root, open: Vec::new(), waiting: 0, started: false, warnings: Vec::new() }
    }

    /// What was left out so far and why.
    pub(crate) fn take_warnings(&mut self) -> Vec<String> {
        std::mem::take(&mut self.warnings)
    }

    fn push(&mut self, mut listed: Listed) {
        self.warnings.append(&mut listed.warnings);
        self.open.push(Frame { listed, at: 0, ready: BTreeMap::new() });
    }

    fn step(&mut self) -> Result<Option<Found>> {
        if !self.started {
            self.started = true;
            if let Some(listed) = list(self.root, "", None)? {
                self.waiting += listed.order.len();
                self.push(listed);
            }
        }
        while let Some(frame) = self.open.last_mut() {
            let Some(Slot { item, inside }) = frame.listed.order.get(frame.at).copied() else {
                self.open.pop();
                continue;
            };
            let known = &frame.listed.items[item as usize];
            if let Some(stat) = known.stat {
                frame.at += 1;
                self.waiting = self.waiting.saturating_sub(1);
                return Ok(Some(Found { path: format!("{}{}", frame.listed.path, known.name), stat }));
            }
            if inside {
                frame.at += 1;
                self.waiting = self.waiting.saturating_sub(1);
                if let Some(Some(listed)) = frame.ready.remove(&item) {
                    self.push(listed);
                }
                continue;
            }
            let Some(ready) = frame.ready.get(&item) else {
                self.list_ahead()?;
                continue;
            };
            frame.at += 1;
            self.waiting = self.waiting.saturating_sub(1);
            if ready.as_ref().is_some_and(|listed| listed.empty) {
                let stat = Stat { kind: FileKind::Folder, executable: false, size: 0, mtime: 0, ctime: 0, inode: 0 };
                return Ok(Some(Found { path: format!("{}{}", frame.listed.path, known.name), stat }));
            }
        }
        Ok(None)
    }

    /// Lists the folder that is next, and some of those that come after it.
    fn list_ahead(&mut self) -> Result<()> {
        let room = if self.waiting < PATHS_AHEAD { FOLDERS_AHEAD } else { 1 };
        let mut wanted: Vec<(usize, u32, String, Option<Arc<Ignores>>)> = Vec::new();
        for (depth, frame) in self.open.iter().enumerate().rev() {
            let Listed { path, items, order, ignores, .. } = &frame.listed;
            for slot in &order[frame.at..] {
                if wanted.len() >= room {
                    break;
                }
                let known = &items[slot.item as usize];
                if !slot.inside && known.stat.is_none() && !frame.ready.contains_key(&slot.item) {
                    wanted.push((depth, slot.item, format!("{path}{}", known.name), ignores.clone()));
                }
            }
        }
        let root = self.root;
        let listed = task::try_map(wanted, |(depth, item, path, ignores)| {
            list(root, &path, ignores).map(|listed| (depth, item, listed))
        })?;
        for (depth, item, listed) in listed {
            self.waiting += listed.as_ref().map_or(0, |listed| listed.order.len());
            self.open[depth].ready.insert(item, listed);
        }
        Ok(())
    }
}

impl Iterator for Walk<'_> {
    type Item = Result<Found>;

    fn next(&mut self) -> Option<Self::Item> {
        let step = self.step();
        if step.is_err() {
            self.open.clear();
        }
        step.transpose()
    }
}
