//! Making a working directory hold another version: what has to change, whether that loses edits, and doing it.
//!
//! The differences are gone through twice, once to see whether they may be applied and once to apply them, so memory is
//! bounded by one group of files (and the paths to remove). Not here: refs and the note (`crate::work`).

use std::collections::BTreeSet;
use std::path::Path;

use syncline_base::Hash;
use syncline_store::Store;
use syncline_tree::Table;
use syncline_tree::content::ContentRef;
use syncline_tree::files::{self, Content, Difference, Entry, FileKind};

use super::cache::{self, Seen};
use super::checkout::Writer;
use super::compare::{Compare, Step};
use super::dirs::{Blocked, Dirs, Root};
use super::list::{list, list_all};
use super::read;
use super::stat::Stat;
use super::walk::Found;
use crate::contents::Source;
use crate::work::{CHANGING, Updated};
use crate::{Error, Result};

const GROUP_BYTES: u64 = 8 << 20;
const GROUP_FILES: usize = 2048;
/// How many paths an error names.
const SHOWN: usize = 10;

/// What becomes of files that the user has edited.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Edited {
    /// Nothing is done if one of them would be overwritten.
    Refuse,
    /// They stay as they are.
    Keep,
    /// Every versioned file becomes what the version says, also where a file is that was not versioned. Nothing else that is not
    /// versioned is dropped for it.
    Overwrite,
    /// Those that last changed before this time (in nanoseconds since 1970) do; later ones stay as they are. For going on with
    /// what was cut off: the word was given for the edits that there were then.
    OverwriteOlder(i64),
}

impl Edited {
    fn overwrites(self) -> bool {
        matches!(self, Self::Overwrite | Self::OverwriteOlder(_))
    }
}

/// What has to be done.
pub(crate) struct Plan<'a> {
    root: &'a Root,
    meta: &'a Path,
    store: &'a Store,
    from: Option<Table>,
    to: Option<Table>,
    edited: Edited,
    /// Whether the directory held nothing before.
    fresh: bool,
    remove: Vec<String>,
    put: u64,
    /// Edited paths that stay.
    kept: BTreeSet<String>,
}

impl<'a> Plan<'a> {
    /// Sees what differs between two versions, and whether the working directory may change so.
    ///
    /// # Errors
    /// `conflict` with the paths that were edited; the file system's and the store's.
    pub(crate) fn make(
        root: &'a Root,
        meta: &'a Path,
        store: &'a Store,
        (from, to): (Option<Table>, Option<Table>),
        edited: Edited,
    ) -> Result<Self> {
        let (remove, kept) = (Vec::new(), BTreeSet::new());
        let mut plan = Self { root, meta, store, from, to, edited, fresh: false, remove, put: 0, kept };
        if plan.from.as_ref().map(Table::to_ref) == plan.to.as_ref().map(Table::to_ref) && !edited.overwrites() {
            return Ok(plan);
        }
        plan.fresh = plan.from.is_none() && list(root, "", None)?.is_some_and(|listed| listed.items.is_empty());
        let mut seen = Lookup::new(cache::Reader::open(meta).filter(|reader| plan.vouches(reader)))?;
        let (mut clobbered, mut count) = plan.look_at_edits()?;
        let mut groups = Groups::new(store, plan.from.as_ref(), plan.to.as_ref())?;
        while let Some(mut group) = groups.next()? {
            if root.is_partial() {
                group = here(root, group)?;
            }
            let mut edited = BTreeSet::new();
            if !plan.fresh {
                // What the old version has was looked at already where edits are dropped.
                let looked = group.iter().filter(|d| !plan.edited.overwrites() || d.before.is_none());
                let looked = looked.map(|d| Ok((d, seen.find(&d.path)?))).collect::<Result<Vec<_>>>()?;
                let stays = read::each(root, looked, |dirs, (difference, seen)| {
                    Ok(plan.stays(dirs, difference, seen.as_ref())?.then(|| difference.path.clone()))
                })?;
                edited = stays.into_iter().flatten().collect();
            }
            for Difference { path, after, .. } in group {
                if edited.contains(&path) || plan.kept.contains(&path) {
                    continue;
                }
                match after {
                    Some(_) => plan.put += 1,
                    None => plan.remove.push(path),
                }
            }
            count += edited.len();
            if matches!(plan.edited, Edited::Keep | Edited::OverwriteOlder(_)) {
                plan.kept.append(&mut edited);
            } else {
                clobbered.extend(edited.into_iter().take(SHOWN - clobbered.len()));
            }
        }
        let (what, advice) = match plan.edited {
            Edited::Refuse => {
                ("files were edited here and would be overwritten", "commit them, move them away, or add --force")
            }
            Edited::Overwrite => ("paths have something in their way that is not versioned", "move it away"),
            Edited::Keep | Edited::OverwriteOlder(_) => return Ok(plan),
        };
        if count > 0 {
            let more = if count > clobbered.len() { ", …" } else { "" };
            let why = format!("{count} {what}: {}{more}; {advice}", clobbered.join(", "));
            return Err(Error::conflict(CHANGING, why));
        }
        Ok(plan)
    }

    /// Where edits are dropped: looks at every path of the old version that was edited, for what has to stay nevertheless.
    /// Notes those, or names the first of them and says how many there are.
    fn look_at_edits(&mut self) -> Result<(Vec<String>, usize)> {
        let (mut named, mut count) = (Vec::new(), 0);
        let Some(from) = self.from.clone().filter(|_| self.edited.overwrites()) else { return Ok((named, count)) };
        let mut compare = Compare::new(self.root, cache::Reader::open(self.meta), Some(&from), false)?;
        loop {
            let steps = compare.by_ref().take(GROUP_FILES).collect::<Result<Vec<Step>>>()?;
            if steps.is_empty() {
                break;
            }
            let paths = steps.into_iter().filter_map(|step| match step {
                Step::Suspect(Found { path, .. }, _) | Step::Gone(path) => Some(path),
                Step::Same(_) | Step::New(_) | Step::Elsewhere(_) => None,
            });
            let (from, to, plan) = (self.from.as_ref(), self.to.as_ref(), &*self);
            let entry = |table: Option<&Table>, path: &str| -> Result<Option<Entry>> {
                Ok(table.map(|table| files::get(table, path)).transpose()?.flatten())
            };
            let stay = read::each(self.root, paths.collect(), |dirs, path: String| {
                let (before, after) = (entry(from, &path)?, entry(to, &path)?);
                let difference = Difference { path, before, after };
                Ok(plan.stays(dirs, &difference, None)?.then_some(difference.path))
            })?;
            let mut stay: BTreeSet<String> = stay.into_iter().flatten().collect();
            count += stay.len();
            match self.edited {
                Edited::OverwriteOlder(_) => self.kept.append(&mut stay),
                _ => named.extend(stay.into_iter().take(SHOWN - named.len())),
            }
        }
        Ok((named, count))
    }

    /// Whether what is at a path must not be replaced, by what is to become of edits.
    fn stays(&self, dirs: &mut Dirs<'_>, difference: &Difference, seen: Option<&Seen>) -> Result<bool> {
        match self.edited {
            Edited::Refuse | Edited::Keep => Ok(!self.untouched(dirs, difference, seen)?),
            Edited::Overwrite => Ok(!self.gives_way(dirs, difference)?),
            Edited::OverwriteOlder(time) => {
                let is_newer = dirs.stat(&difference.path)?.flatten().is_some_and(|stat| stat.changed() >= time);
                Ok((is_newer || !self.gives_way(dirs, difference)?) && !self.untouched(dirs, difference, seen)?)
            }
        }
    }

    /// Whether nothing unversioned goes with what is at a path, or above it, when the new version's entry takes the place.
    fn gives_way(&self, dirs: &mut Dirs<'_>, Difference { path, after, .. }: &Difference) -> Result<bool> {
        let Some(after) = after else { return Ok(true) };
        match dirs.stat(path)? {
            None => self.reachable(dirs, path),
            Some(None) => Ok(false),
            Some(Some(stat)) if stat.kind == FileKind::Folder && after.kind != FileKind::Folder => {
                self.holds_only_versioned(path)
            }
            Some(Some(_)) => Ok(true),
        }
    }

    /// Whether there is nothing to do.
    pub(crate) fn is_empty(&self) -> bool {
        self.remove.is_empty() && self.put == 0 && !self.edited.overwrites()
    }

    fn vouches(&self, reader: &cache::Reader) -> bool {
        self.from.as_ref().is_some_and(|from| from.to_ref() == reader.table)
    }

    /// Whether changing a path loses nothing: it is what either version says, or not there.
    fn untouched(&self, dirs: &mut Dirs<'_>, difference: &Difference, seen: Option<&Seen>) -> Result<bool> {
        let Difference { path, before, after } = difference;
        let stat = match dirs.stat(path)? {
            None => return self.reachable(dirs, path),
            Some(None) => return Ok(false),
            Some(Some(stat)) => stat,
        };
        if stat.kind == FileKind::Folder {
            let gives_way = after.as_ref().is_none_or(|after| after.kind == FileKind::Folder);
            return if gives_way { Ok(true) } else { self.holds_only_versioned(path) };
        }
        if before.is_some() && seen.is_some_and(|seen| seen.proves(&stat)) {
            return Ok(true);
        }
        if let (Edited::Keep | Edited::OverwriteOlder(_), None, Some(after)) = (self.edited, before, after)
            && read::is_begun(self.root, dirs, after)?
        {
            return Ok(true);
        }
        for entry in before.iter().chain(after) {
            if read::equals(self.root, dirs, self.store, entry)?.is_some() {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Whether nothing unversioned stands where a folder above `path` has to be.
    fn reachable(&self, dirs: &mut Dirs<'_>, path: &str) -> Result<bool> {
        if !matches!(dirs.parent(path, false)?, Err(Blocked::NotAFolder)) {
            return Ok(true);
        }
        for (end, _) in path.match_indices('/') {
            let above = &path[..end];
            if dirs.stat(above)?.is_some_and(|stat| stat.is_none_or(|stat| stat.kind != FileKind::Folder)) {
                // A file of the old version that the new one does not have gives way: then it is a difference, and is
                // looked at itself.
                return self.versioned(above);
            }
        }
        Ok(true)
    }

    fn versioned(&self, path: &str) -> Result<bool> {
        Ok(self.from.as_ref().map(|from| files::get(from, path)).transpose()?.flatten().is_some())
    }

    /// Whether every file in a folder, ignored or not, is one of the old version: those go before another file takes the folder's place.
    fn holds_only_versioned(&self, path: &str) -> Result<bool> {
        let mut folders = vec![path.to_owned()];
        while let Some(folder) = folders.pop() {
            let Some(listed) = list_all(self.root, &folder)? else { continue };
            // An empty folder of the user does not go with the files beside it.
            let kept = listed.empty && folder != path && !self.versioned(&folder)?;
            if kept || !listed.warnings.is_empty() {
                return Ok(false);
            }
            for item in &listed.items {
                let path = format!("{}{}", listed.path, item.name);
                match item.stat {
                    None => folders.push(path),
                    Some(_) if self.versioned(&path)? => {}
                    Some(_) => return Ok(false),
                }
            }
        }
        Ok(true)
    }

    /// Does it. Running it again after it was cut off finishes it.
    ///
    /// # Errors
    /// `conflict` when something that is not versioned is in the way; the file system's and the store's.
    pub(crate) fn carry_out(self) -> Result<Updated> {
        let mut done = Updated::default();
        if self.is_empty() {
            return Ok(done);
        }
        let writer = Writer::new(self.root, self.meta, self.store, self.fresh)?;
        // First, because a file may take the place of a folder.
        for group in self.remove.chunks(GROUP_FILES * 4) {
            let removed = read::each(self.root, group.to_vec(), |dirs, path| writer.remove(dirs, &path))?;
            done.removed += removed.into_iter().filter(|removed| *removed).count() as u64;
        }
        self.write(&writer, &mut done)?;
        if self.edited.overwrites() {
            self.restore(&writer, &mut done)?;
        }
        if done != Updated::default() {
            // The note about this checkout is dropped next: after a power cut nobody would finish it.
            rustix::fs::syncfs(self.root.fd()).map_err(|e| super::dirs::failed("syncing", &self.root.path)(e))?;
        }
        Ok(done)
    }

    /// Writes what differs, and brings the status cache up to date if it knew the old version.
    fn write(&self, writer: &Writer<'_>, done: &mut Updated) -> Result<()> {
        let reader = cache::Reader::open(self.meta).filter(|reader| self.vouches(reader));
        let known = reader.is_some() || self.from.as_ref().is_none_or(|from| from.to_ref().root == Hash::ZERO);
        let mut cache = match &self.to {
            Some(_) if known => Some(cache::Writer::begin(self.meta)?),
            _ => None,
        };
        let root = self.root;
        let mut old = Lookup::new(reader)?;
        let mut groups = Groups::new(self.store, self.from.as_ref(), self.to.as_ref())?;
        while let Some(group) = groups.next()? {
            let wanted = group.iter().map(|d| d.after.as_ref().filter(|_| !self.kept.contains(&d.path)));
            let stats = read::each(self.root, wanted.collect(), |dirs, entry: Option<&Entry>| {
                let Some(entry) = entry else { return Ok(None) };
                if root.is_partial() && !root.holds(&entry.path) && dirs.stat(&entry.path)?.is_none() {
                    return Ok(None);
                }
                writer.put(dirs, entry).map(Some)
            })?;
            for (difference, stat) in group.into_iter().zip(stats) {
                done.written += u64::from(stat.is_some());
                let Some(cache) = &mut cache else { continue };
                while let Some(seen) = old.before(&difference.path)? {
                    cache.push(&seen)?;
                }
                if difference.after.is_some() {
                    let racy = stat.is_none();
                    let found = Found { path: difference.path, stat: stat.unwrap_or(cache::NOTHING) };
                    cache.push(&Seen { found, racy })?;
                }
            }
        }
        if let (Some(mut cache), Some(to)) = (cache, &self.to) {
            while let Some(seen) = old.take()? {
                cache.push(&seen)?;
            }
            cache.finish(&to.to_ref(), cache::now(self.meta)?)?;
        }
        Ok(())
    }

    /// Writes every versioned file that is not what the version says.
    fn restore(&self, writer: &Writer<'_>, done: &mut Updated) -> Result<()> {
        let Some(to) = &self.to else { return Ok(()) };
        let mut compare = Compare::new(self.root, cache::Reader::open(self.meta), Some(to), false)?;
        loop {
            // The walk may come by what this writes; it has passed these paths already.
            let steps = compare.by_ref().take(GROUP_FILES).collect::<Result<Vec<Step>>>()?;
            if steps.is_empty() {
                return Ok(());
            }
            let paths = steps.into_iter().filter_map(|step| match step {
                Step::Suspect(Found { path, .. }, _) | Step::Gone(path) => Some(path),
                Step::Same(_) | Step::New(_) | Step::Elsewhere(_) => None,
            });
            let paths: Vec<String> = paths.filter(|path| !self.kept.contains(path)).collect();
            if self.root.is_partial() {
                let entries = paths.iter().map(|path| files::get(to, path)).collect::<Result<Vec<_>, _>>()?;
                self.root.bring(&contents(entries.iter().flatten()))?;
            }
            let written = read::each(self.root, paths, |dirs, path: String| {
                let Some(entry) = files::get(to, &path)? else { return Ok(false) };
                if read::equals(self.root, dirs, self.store, &entry)?.is_some() {
                    return Ok(false);
                }
                let stat = dirs.stat(&path)?.flatten();
                if entry.kind == FileKind::Folder && stat.is_some_and(|stat: Stat| stat.kind == FileKind::Folder) {
                    return Ok(false);
                }
                writer.put(dirs, &entry).map(|_| true)
            })?;
            done.written += written.into_iter().filter(|written| *written).count() as u64;
        }
    }
}

/// Those differences that concern a working directory that holds only some files: of paths that it holds, or where
/// something is. The contents that are to be written are brought here.
fn here(root: &Root, group: Vec<Difference>) -> Result<Vec<Difference>> {
    let here = read::each(root, group.iter().collect(), |dirs, difference: &Difference| {
        Ok(root.holds(&difference.path) || dirs.stat(&difference.path)?.is_some())
    })?;
    let here = group.into_iter().zip(here).filter(|(_, here)| *here);
    let group: Vec<Difference> = here.map(|(difference, _)| difference).collect();
    root.bring(&contents(group.iter().filter_map(|difference| difference.after.as_ref())))?;
    Ok(group)
}

/// Writes files where nothing is, bringing their contents first. Returns how many were written.
///
/// # Errors
/// `unavailable` when contents cannot be brought, `conflict` when something is in the way of a folder; the file system's
/// and the store's.
pub(crate) fn add(root: &Root, meta: &Path, store: &Store, source: &Source, entries: &[Entry]) -> Result<u64> {
    let absent =
        read::each(root, entries.iter().collect(), |dirs, entry: &Entry| Ok(dirs.stat(&entry.path)?.is_none()))?;
    let absent = entries.iter().zip(absent).filter(|(_, absent)| *absent);
    let wanted: Vec<&Entry> = absent.map(|(entry, _)| entry).collect();
    if wanted.is_empty() {
        return Ok(0);
    }
    source.bring(&contents(wanted.iter().copied()))?;
    let writer = Writer::new(root, meta, store, false)?;
    let count = wanted.len() as u64;
    read::each(root, wanted, |dirs, entry| writer.put(dirs, entry))?;
    rustix::fs::syncfs(root.fd()).map_err(|e| super::dirs::failed("syncing", &root.path)(e))?;
    Ok(count)
}

fn contents<'e>(entries: impl Iterator<Item = &'e Entry>) -> Vec<ContentRef> {
    let content = |entry: &Entry| match entry.content {
        Content::Chunks(content) => Some(content),
        Content::Inline(_) => None,
    };
    entries.filter_map(content).collect()
}

/// Differences in groups of bounded size.
struct Groups {
    differences: Box<dyn Iterator<Item = syncline_tree::Result<Difference>>>,
}

impl Groups {
    fn new(store: &Store, from: Option<&Table>, to: Option<&Table>) -> Result<Self> {
        Ok(Self { differences: Box::new(files::diff(store, from, to)?) })
    }

    fn next(&mut self) -> Result<Option<Vec<Difference>>> {
        let (mut group, mut bytes) = (Vec::new(), 0);
        while group.len() < GROUP_FILES && bytes < GROUP_BYTES {
            let Some(difference) = self.differences.next().transpose()? else { break };
            let inline = |entry: &Option<Entry>| entry.as_ref().map_or(0, |e| e.content.len().min(16 << 10));
            bytes += inline(&difference.before) + inline(&difference.after);
            group.push(difference);
        }
        Ok((!group.is_empty()).then_some(group))
    }
}

/// Finds paths in the status cache, asked for in order.
struct Lookup {
    reader: Option<cache::Reader>,
    next: Option<Seen>,
}

impl Lookup {
    fn new(reader: Option<cache::Reader>) -> Result<Self> {
        let mut lookup = Self { reader, next: None };
        lookup.take()?;
        Ok(lookup)
    }

    /// The next path.
    fn take(&mut self) -> Result<Option<Seen>> {
        let next = match &mut self.reader {
            Some(reader) => reader.next()?,
            None => None,
        };
        Ok(std::mem::replace(&mut self.next, next))
    }

    /// The next path before `path`; goes past `path` itself.
    fn before(&mut self, path: &str) -> Result<Option<Seen>> {
        while let Some(next) = &self.next {
            match next.found.path.as_str().cmp(path) {
                std::cmp::Ordering::Less => return self.take(),
                std::cmp::Ordering::Equal => drop(self.take()?),
                std::cmp::Ordering::Greater => break,
            }
        }
        Ok(None)
    }

    /// What the cache knows of `path`.
    fn find(&mut self, path: &str) -> Result<Option<Seen>> {
        while self.next.as_ref().is_some_and(|next| next.found.path.as_str() < path) {
            self.take()?;
        }
        if self.next.as_ref().is_some_and(|next| next.found.path == path) { self.take() } else { Ok(None) }
    }
}
