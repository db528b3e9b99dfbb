//! From the directory to the rows: what has changed on disk becomes transactions.
//!
//! A change is told from what came by what the directory held when it and the rows agreed (`super::base`). Contents are stored and durable, and
//! the files themselves synced, before the transaction that names them. It is written on top of what the directory showed: what came meanwhile
//! stays beside it. A rename is one transaction. Owns nothing.
//!
//! A conflict ends when somebody changes one of its files: what is beside the path becomes files of their own, in the same transaction.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use syncline_base::{Hash, Kind};
use syncline_sync::live::{Context, Write};

use super::base::Known;
use super::row::FileRow;
use super::worker::Desk;
use super::{key, shown};
use crate::worktree::list::is_full_folder;
use crate::worktree::stat::Stat;
use crate::worktree::walk::{Found, Walk};
use crate::worktree::{cache, read};
use crate::{Error, Result};
use syncline_tree::files::{FileKind, path};

/// Files that are read, and made one transaction, at once.
const GROUP: usize = 1024;
/// So many files are synced one by one; of more, the file system as a whole.
const SYNCED: usize = 32;
/// A smaller directory may lose most of its files without being asked.
const GUARD_MIN: usize = 20;
/// Removals of so long count together.
const GUARD_WINDOW: Duration = Duration::from_secs(60);

/// What was found at a path.
#[derive(Debug, Clone)]
pub(super) struct Local {
    pub value: Bytes,
    pub stat: Stat,
    /// Whether the stat proves that it is still so.
    pub proves: bool,
}

/// Paths that differ from what is remembered, with what is there now; nothing for one that is gone.
pub(super) type Changed = BTreeMap<String, Option<Local>>;

/// Rows that have to be written together.
#[derive(Debug, Default)]
struct Group {
    rows: BTreeMap<String, Option<Bytes>>,
    /// The values that the writer has seen in these rows.
    seen: Vec<(String, Hash)>,
    /// What the writer had read, should there be others.
    at: Option<Arc<Context>>,
}

impl Desk {
    /// Looks at the whole directory and takes what has changed; leaves out paths that are being written just now.
    ///
    /// # Errors
    /// The file system's, the store's and the log's.
    pub(super) fn scan(&mut self, busy: &BTreeSet<String>) -> Result<()> {
        let (mut suspects, mut gone) = (Vec::new(), Vec::new());
        let mut dirs = self.root.dirs();
        let mut not_walked = |path: &str| -> Result<()> {
            match dirs.stat(path)? {
                None => gone.push(path.to_owned()),
                // A folder exists through what is in it. What is there and was not walked over is ignored.
                Some(Some(stat)) if stat.kind == FileKind::Folder && is_full_folder(&self.root, path)? => {
                    gone.push(path.to_owned());
                }
                Some(_) => {}
            }
            Ok(())
        };
        let mut known = self.base.iter().peekable();
        let mut walk = Walk::new(&self.root);
        for found in &mut walk {
            let found = found?;
            while let Some((path, _)) = known.next_if(|(path, _)| **path < found.path) {
                not_walked(path)?;
            }
            let same = known.next_if(|(path, _)| **path == found.path);
            if same.is_none_or(|(_, known)| known.stat != Some(found.stat)) {
                suspects.push(found);
            }
        }
        for (path, _) in known {
            not_walked(path)?;
        }
        let warnings = walk.take_warnings();
        drop(walk);
        for warning in warnings {
            self.told(&warning);
        }
        suspects.retain(|found| !busy.contains(&found.path));
        gone.retain(|path| !busy.contains(path));
        self.set_outside_aside(&mut suspects, &mut gone, busy)?;
        // With what went a moment ago: a folder may be removed slowly.
        let since = self.now().saturating_sub(GUARD_WINDOW);
        self.removed.retain(|(at, _)| *at >= since);
        let before: usize = self.removed.iter().map(|(_, count)| count).sum();
        // What was renamed is not lost.
        let new = suspects.iter().filter(|found| self.base.get(&found.path).is_none()).count();
        let lost = gone.len().saturating_sub(new);
        let (all, less) = (self.base.len() + before, lost + before);
        let many = all >= GUARD_MIN && lost > 0 && less * 2 > all;
        self.status.held = if many && !self.allow_mass_delete { gone.len() as u64 } else { 0 };
        if self.status.held == 0 && !gone.is_empty() {
            self.removed.push((self.now(), lost));
        }
        if self.status.held > 0 {
            gone.clear();
        }
        let early = self.take_early(&mut suspects, &gone);
        self.take(suspects, gone)?;
        early.into_iter().for_each(|path| self.touch(path));
        Ok(())
    }

    /// Takes out what lies below a file that is not told to be gone yet: it would look as if somebody else had made a folder of it.
    fn take_early(&self, suspects: &mut Vec<Found>, gone: &[String]) -> Vec<String> {
        let gone: BTreeSet<&str> = gone.iter().map(String::as_str).collect();
        let is_file = |path: &str| {
            let known = self.base.get(path).filter(|_| !gone.contains(path));
            known.is_some_and(|known| known.stat.is_none_or(|stat| stat.kind != FileKind::Folder))
        };
        let above = |path: &str| std::iter::successors(path::parent(path), |path| path::parent(path)).any(is_file);
        let early = suspects.extract_if(.., |found| above(&found.path));
        early.map(|found| found.path).collect()
    }

    /// Looks at some paths that are known and takes those that have changed.
    ///
    /// # Errors
    /// As [`Self::scan`].
    pub(super) fn look(&mut self, paths: &BTreeSet<String>) -> Result<()> {
        let mut suspects = Vec::new();
        let mut dirs = self.root.dirs();
        for path in paths {
            if let Some(Some(stat)) = dirs.stat(path)?
                && stat.kind != FileKind::Folder
                && self.base.get(path).is_some_and(|known| known.stat != Some(stat))
            {
                suspects.push(Found { path: path.clone(), stat });
            }
        }
        self.take(suspects, Vec::new())
    }

    /// Reads what may have changed, and writes what has.
    fn take(&mut self, suspects: Vec<Found>, gone: Vec<String>) -> Result<()> {
        let mut rest = suspects.into_iter().peekable();
        let mut gone: Changed = gone.into_iter().map(|path| (path, None)).collect();
        loop {
            let group: Vec<Found> = rest.by_ref().take(GROUP).collect();
            let mut changed = self.read(group)?;
            let last = rest.peek().is_none();
            if last {
                // With the files that they may have become.
                changed.append(&mut gone);
            }
            self.send(changed)?;
            if last {
                return Ok(());
            }
        }
    }

    /// What paths hold. One that cannot be read is told, and looked at again later.
    fn read(&mut self, group: Vec<Found>) -> Result<Changed> {
        if group.is_empty() {
            return Ok(Changed::new());
        }
        let since = cache::now(&self.meta)?;
        let (root, store) = (&self.root, &self.store);
        let all = read::each(root, group, |dirs, found| {
            let path = found.path.clone();
            let local = read::entry(root, dirs, store, &found, None).and_then(|entry| {
                let Some((entry, stat)) = entry else { return Ok(None) };
                let value = FileRow::of(store, entry)?.encode();
                Ok(Some(Local { value, stat, proves: !cache::is_racy(&stat, since) }))
            });
            Ok((path, local))
        })?;
        let mut changed = Changed::new();
        for (path, local) in all {
            match local {
                Ok(Some(local)) => drop(changed.insert(path, Some(local))),
                // Gone since: the next look says so.
                Ok(None) => self.touch(path),
                Err(Error::Store(error)) => return Err(error.into()),
                Err(error) => {
                    if error.kind() == Kind::Unavailable {
                        self.touch(path);
                    }
                    self.told(&error.to_string());
                }
            }
        }
        Ok(changed)
    }

    /// What is at one path now.
    pub(super) fn read_one(&mut self, path: &str) -> Result<Option<Local>> {
        let Some(Some(stat)) = self.root.dirs().stat(path)? else { return Ok(None) };
        let stat = if stat.kind == FileKind::Folder { super::place::FOLDER } else { stat };
        Ok(self.read(vec![Found { path: path.to_owned(), stat }])?.remove(path).flatten())
    }

    /// Writes to the rows what has changed in the directory.
    fn send(&mut self, mut changed: Changed) -> Result<()> {
        self.drop_unchanged(&mut changed)?;
        if changed.is_empty() {
            return Ok(());
        }
        let groups = self.groups(&mut changed)?;
        self.sync_files(&changed)?;
        self.store.flush()?;
        let rows: Vec<String> = groups.iter().flat_map(|group| group.rows.keys().cloned()).collect();
        let position = match self.commit(groups) {
            // What is outside of another scope that is held now is found anew.
            Err(error) if error.kind() == Kind::Invalid && self.part_is_old()? => {
                self.unread.extend(changed.into_keys());
                return Ok(());
            }
            committed => Arc::new(committed?),
        };
        let (mut set, mut gone) = (Vec::new(), Vec::new());
        for (path, local) in changed {
            match local {
                Some(local) => set.push((path, known_of(&local, &position))),
                None => gone.push(path),
            }
        }
        self.status.sent += (set.len() + gone.len()) as u64;
        self.base.set(set, gone)?;
        self.settle(&rows)
    }

    /// Leaves out what is as it was, what was written here before a crash, and what is what the rows say.
    fn drop_unchanged(&mut self, changed: &mut Changed) -> Result<()> {
        let (mut set, mut gone) = (Vec::new(), Vec::new());
        let wants = self.engine.read(|node| {
            let at = Arc::new(node.context());
            (changed.keys().map(|path| shown::want(node, path)).collect::<Vec<_>>(), at)
        })?;
        let (mut wants, at) = (wants.0.into_iter(), wants.1);
        changed.retain(|path, local| {
            let Some(want) = wants.next() else { return true };
            let hash = local.as_ref().map(|local| Hash::of(&local.value));
            let stat = local.as_ref().filter(|local| local.proves).map(|local| local.stat);
            let known = self.base.get(path);
            if let (Some(known), true) = (known, hash.is_some() && known.map(|known| known.value) == hash) {
                set.push((path.clone(), Known { stat, ..known.clone() }));
            } else if let Some(begun) =
                self.base.begun(path).iter().find(|begun| begun.as_ref().map(|begun| begun.value) == hash)
            {
                match begun {
                    Some(begun) => set.push((path.clone(), Known { stat, ..begun.clone() })),
                    None => gone.push(path.clone()),
                }
            } else if local.as_ref().map(|local| &local.value) == want.value.as_ref() {
                let of = Some(want.of).filter(|of| of != path);
                match hash {
                    Some(value) => {
                        set.push((path.clone(), Known { value, of, seen: want.seen, at: Arc::clone(&at), stat }));
                    }
                    None => gone.push(path.clone()),
                }
            } else {
                return true;
            }
            false
        });
        if set.is_empty() && gone.is_empty() { Ok(()) } else { self.base.set(set, gone) }
    }

    /// What has to be written, by conflict or single path.
    fn groups(&mut self, changed: &mut Changed) -> Result<Vec<Group>> {
        let row_of = |path: &String, base: &super::base::Base| {
            base.get(path).and_then(|known| known.of.clone()).unwrap_or_else(|| path.clone())
        };
        let rows: BTreeSet<String> = changed.keys().map(|path| row_of(path, &self.base)).collect();
        let mut groups = Vec::new();
        for row in rows {
            let prefix = shown::beside_prefix(&row);
            let beside = self.base.with_prefix(&prefix).filter(|(_, known)| known.of.as_ref() == Some(&row));
            let beside: Vec<(String, Arc<Context>, Hash)> =
                beside.map(|(path, known)| (path.clone(), Arc::clone(&known.at), known.seen)).collect();
            if !beside.is_empty() && !self.is_whole(&row, changed)? {
                // Something of the conflict is not to be seen here yet: what nobody saw is not decided about.
                changed.retain(|path, _| row_of(path, &self.base) != row);
                self.waiting.insert(row);
                continue;
            }
            let mut group = Group::default();
            let here = self.base.get(&row).filter(|known| known.of.is_none());
            let first = here.map(|known| (Arc::clone(&known.at), known.seen));
            let (at, seen) = match first.or_else(|| beside.first().map(|(_, at, seen)| (Arc::clone(at), *seen))) {
                Some((at, seen)) => (Some(at), seen),
                None => (None, Hash::ZERO),
            };
            group.at = at;
            group.seen.push((row.clone(), seen));
            let value = self.value_now(&row, changed, here.is_some() || changed.contains_key(&row))?;
            group.rows.insert(row.clone(), value);
            for (path, ..) in beside {
                if let Some(value) = self.value_now(&path, changed, true)? {
                    group.seen.push((path.clone(), Hash::ZERO));
                    group.rows.insert(path, Some(value));
                }
            }
            if let Some(outside) = group.rows.keys().find(|path| !self.part.is_everything() && !self.part.has(path)) {
                self.told(&format!(
                    "{row} is in conflict, and {outside}, which is outside of the scope, cannot become a file of its own: remove that, or \
                     choose one with `syncline conflicts resolve`"
                ));
                changed.retain(|path, _| row_of(path, &self.base) != row);
                continue;
            }
            groups.push(group);
        }
        Ok(groups)
    }

    /// Whether the directory shows all that there is of a row in conflict, but for what was changed here.
    fn is_whole(&self, row: &str, changed: &Changed) -> Result<bool> {
        let wants = self.engine.read(|node| {
            let places = shown::places(node, row);
            places.into_iter().map(|path| (shown::want(node, &path), path)).collect::<Vec<_>>()
        })?;
        Ok(wants.into_iter().all(|(want, path)| {
            let wanted = want.value.as_ref().map(|value| Hash::of(value));
            changed.contains_key(&path) || self.base.get(&path).map(|known| known.value) == wanted
        }))
    }

    /// What is at a path, changed or not.
    fn value_now(&mut self, path: &str, changed: &Changed, is_there: bool) -> Result<Option<Bytes>> {
        match changed.get(path) {
            Some(local) => Ok(local.as_ref().map(|local| local.value.clone())),
            None if is_there => Ok(self.read_one(path)?.map(|local| local.value)),
            None => Ok(None),
        }
    }

    /// Nothing is told to others that a power cut here could take back.
    fn sync_files(&self, changed: &Changed) -> Result<()> {
        let files: Vec<&String> = changed.iter().filter(|(_, local)| local.is_some()).map(|(path, _)| path).collect();
        if files.len() > SYNCED {
            return rustix::fs::syncfs(self.root.fd())
                .map_err(|error| crate::worktree::dirs::failed("syncing", &self.root.path)(error));
        }
        for path in files {
            let full = self.root.full(path);
            let file = |stat: &Stat| stat.kind == FileKind::File;
            if changed[path].as_ref().is_some_and(|local| file(&local.stat)) {
                match File::open(&full).and_then(|file| file.sync_all()) {
                    // It went away or became something else: the next look tells.
                    Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
                    synced => synced.map_err(Error::io("syncing", &full))?,
                }
            }
            if let Some(folder) = full.parent() {
                let synced = File::open(folder).and_then(|folder| folder.sync_all());
                synced
                    .or_else(|error| if error.kind() == std::io::ErrorKind::NotFound { Ok(()) } else { Err(error) })
                    .map_err(Error::io("syncing", folder))?;
            }
        }
        Ok(())
    }

    /// Writes groups of rows: all whose rows have only what the directory showed in one transaction, each of the others on top of what
    /// it showed, so that both stay. Gives what a reader has read who has read them.
    fn commit(&self, groups: Vec<Group>) -> Result<Context> {
        let mut together: Vec<Group> = groups;
        loop {
            let mut others = BTreeSet::new();
            let committed = self.engine.commit_with(None, |node| {
                let is_seen = |group: &Group| group.seen.iter().all(|(row, seen)| shown::seen_at(node, row) == *seen);
                others = (0..together.len()).filter(|nth| !is_seen(&together[*nth])).collect();
                if others.is_empty() {
                    Ok(writes(&together))
                } else {
                    Err(Error::conflict("writing files", "others have changed them meanwhile"))
                }
            });
            if others.is_empty() {
                return Ok(committed?.position);
            }
            let mut rest = Vec::new();
            for (nth, group) in together.into_iter().enumerate() {
                if !others.contains(&nth) {
                    rest.push(group);
                    continue;
                }
                let read = group.at.as_deref().cloned().unwrap_or_default();
                match self.engine.commit(Some(read), writes(std::slice::from_ref(&group))) {
                    // What was read has not come here, or goes by another name now: then nothing was read.
                    Err(error) if error.kind() == Kind::Conflict => {
                        self.engine.commit(Some(Context::default()), writes(&[group]))?;
                    }
                    committed => drop(committed?),
                }
            }
            if rest.is_empty() {
                return self.engine.read(syncline_sync::live::Node::context);
            }
            together = rest;
        }
    }
}

fn writes(groups: &[Group]) -> Vec<Write> {
    let rows = groups.iter().flat_map(|group| &group.rows);
    let rows: BTreeMap<&String, &Option<Bytes>> = rows.collect();
    rows.into_iter().map(|(path, value)| Write { row: key(path), value: value.clone() }).collect()
}

/// What is remembered of a file that was written to its row.
fn known_of(local: &Local, at: &Arc<Context>) -> Known {
    Known {
        value: Hash::of(&local.value),
        of: None,
        seen: shown::seen(std::iter::once(&local.value)),
        at: Arc::clone(at),
        stat: local.proves.then_some(local.stat),
    }
}
