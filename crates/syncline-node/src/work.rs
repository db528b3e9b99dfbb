//! The working directory and the refs, kept in step.
//!
//! A verb that changes both (checkout, merge, rollback, pull) goes through [`transition`], which leaves a note in the
//! meta directory before it moves the refs and takes it away after the files are in place. Whoever comes next after a
//! crash finds the note: when the refs have moved, the files are finished; when they have not, the note is dropped.
//! So an unfinished checkout is never mistaken for edits of the user.
//!
//! State: the note, `checkout.json` in the meta directory. Not here: how a directory is listed, read and written
//! (`crate::worktree`).

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use syncline_base::Hash;
use syncline_tree::files::{self, Entry, FileKind};
use syncline_tree::{DatasetRoot, Table, TableRef};

use crate::ops::diff::Kind;
use crate::progress::{Progress, Unit};
use crate::replica::Replica;
use crate::worktree::cache::Cache;
use crate::worktree::checkout::Writer;
use crate::worktree::compare::{self, Suspect};
use crate::worktree::scan::{self, Found, Listing, Stat};
use crate::{Error, Result};

const NOTE: &str = "checkout.json";
/// How many paths an error names.
const SHOWN: usize = 10;

/// A file that differs from the version it is compared with.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FileChange {
    /// Its path.
    pub path: String,
    /// What happened to it.
    pub kind: Kind,
}

/// What happened to the files of a working directory.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Updated {
    /// Files, links and empty directories that were written.
    pub written: u64,
    /// Those that were removed.
    pub removed: u64,
}

/// What a working directory looks like beside a version.
#[derive(Debug, Default)]
pub(crate) struct Compared {
    /// Paths that differ, in byte order.
    pub changes: Vec<FileChange>,
    pub warnings: Vec<String>,
}

/// What a working directory holds, as a files table.
#[derive(Debug, Default)]
pub(crate) struct Scanned {
    pub files: Option<TableRef>,
    pub warnings: Vec<String>,
    /// To be saved once the table is committed.
    cache: Option<Cache>,
}

impl Scanned {
    /// Remembers that the directory equals the table. A hint: when it cannot be written the next look takes longer.
    pub(crate) fn remember(&self) {
        if let Some(cache) = &self.cache {
            if let Err(error) = cache.save() {
                tracing::warn!(%error, "the status cache was not saved");
            }
        }
    }
}

/// The places of a replica with a working directory.
struct Place<'a> {
    replica: &'a Replica,
    root: &'a Path,
    meta: &'a Path,
}

fn place(replica: &Replica) -> Option<Place<'_>> {
    Some(Place { replica, root: replica.worktree()?, meta: replica.meta()? })
}

fn open(replica: &Replica, files: Option<&TableRef>) -> Result<Option<Table>> {
    Ok(files.map(|table| Table::open(replica.store(), table)).transpose()?)
}

fn root_of(files: Option<&TableRef>) -> Hash {
    files.map_or(Hash::ZERO, |table| table.root)
}

/// Lists what differs between the working directory and the files of `base`; changes nothing.
///
/// # Errors
/// The file system's and the store's.
pub(crate) fn compare(replica: &Replica, base: &DatasetRoot, checksum: bool, progress: &dyn Progress) -> Result<Compared> {
    let Some(place) = place(replica) else { return Ok(Compared::default()) };
    let table = open(replica, base.files.as_ref())?;
    let cache = Cache::load(place.meta);
    let listing = scan::scan(place.root)?;
    let (suspects, mut warnings) = compare::suspects(place.root, &listing, &cache, table.as_ref(), checksum)?;
    warnings.extend(listing.warnings.iter().cloned());
    progress.stage("comparing files", suspects.len() as u64, Unit::Files);
    let judged = syncline_base::task::try_map(suspects, |suspect| {
        let change = judge(&place, table.as_ref(), &listing, suspect);
        progress.advance(1);
        change
    })?;
    Ok(Compared { changes: judged.into_iter().flatten().collect(), warnings })
}

/// What a suspect turns out to be.
fn judge(place: &Place<'_>, table: Option<&Table>, listing: &Listing, suspect: Suspect) -> Result<Option<FileChange>> {
    let (path, known) = match suspect {
        Suspect::Gone(path) => return Ok(Some(FileChange { path, kind: Kind::Delete })),
        Suspect::New(n) => return Ok(Some(FileChange { path: listing.found[n].path.clone(), kind: Kind::Insert })),
        Suspect::Changed(n) => {
            let path = &listing.found[n].path;
            (path.clone(), table.map(|table| files::get(table, path)).transpose()?.flatten())
        }
    };
    let same = match &known {
        Some(entry) => compare::equals(place.root, place.replica.store(), entry)?,
        None => false,
    };
    let kind = if known.is_some() { Kind::Update } else { Kind::Insert };
    Ok((!same).then_some(FileChange { path, kind }))
}

/// Reads what differs from `base` into the store and returns the files table that the directory is now. Not durable
/// before the store's flush.
///
/// # Errors
/// `invalid` when paths collide, `unavailable` when a file keeps changing; the file system's and the store's.
pub(crate) fn scan(replica: &Replica, base: &DatasetRoot, checksum: bool, progress: &dyn Progress) -> Result<Scanned> {
    recover(replica)?;
    let Some(place) = place(replica) else { return Ok(Scanned { files: base.files, ..Scanned::default() }) };
    let table = open(replica, base.files.as_ref())?;
    let cache = Cache::load(place.meta);
    let mut listing = scan::scan(place.root)?;
    let (suspects, mut warnings) = compare::suspects(place.root, &listing, &cache, table.as_ref(), checksum)?;
    warnings.append(&mut listing.warnings);
    if suspects.is_empty() {
        return Ok(Scanned { files: base.files, warnings, cache: None });
    }
    if suspects.iter().any(|suspect| matches!(suspect, Suspect::New(_))) {
        compare::check_collisions(&listing)?;
    }
    progress.stage("reading files", suspects.len() as u64, Unit::Files);
    let start = match &table {
        Some(table) => table.clone(),
        None => Table::create(replica.store(), files::schema())?,
    };
    let applied = {
        let mut failed = None;
        let advance = |files| progress.advance(files);
        let changes = compare::changes(place.root, replica.store(), table.as_ref(), &suspects, &mut listing, &advance);
        let applied = start.apply(changes.map(|group| {
            group.map_err(|error| {
                let text = error.to_string();
                failed = Some(error);
                syncline_tree::Error::invalid(text)
            })
        }));
        match failed {
            Some(error) => return Err(error),
            None => applied?,
        }
    };
    let files = Some(applied.0.to_ref()).filter(|files| files.rows > 0 || table.is_some());
    let cache = Cache::new(place.meta, root_of(files.as_ref()), listing.found);
    Ok(Scanned { files, warnings, cache: Some(cache) })
}

#[derive(Debug, Serialize, Deserialize)]
struct Note {
    from: Option<TableRef>,
    to: Option<TableRef>,
    /// The working root once the refs have moved.
    root: Hash,
    force: bool,
}

/// Moves the refs by `move_refs` and makes the files what `to` says; they were what `from` says. Edits of the user are
/// kept where the two versions agree; where they differ the transition is refused unless `force` is set, and then all
/// edits of versioned files are dropped.
///
/// # Errors
/// `conflict` with the paths that were edited; those of `move_refs`, and then no file is touched; the file system's,
/// and then running any verb again finishes the files.
pub(crate) fn transition<T>(
    replica: &Replica,
    from: &DatasetRoot,
    to: &DatasetRoot,
    force: bool,
    move_refs: impl FnOnce() -> Result<T>,
) -> Result<(T, Updated)> {
    let Some(place) = place(replica) else { return Ok((move_refs()?, Updated::default())) };
    recover(replica)?;
    let plan = Plan::make(&place, from.files, to.files, force)?;
    let path = place.meta.join(NOTE);
    if !plan.is_empty() {
        let note = Note { from: from.files, to: to.files, root: to.hash(), force };
        let text = serde_json::to_vec(&note).map_err(|e| Error::invalid("noting a checkout", e.to_string()))?;
        std::fs::write(&path, text).map_err(Error::io("writing", &path))?;
    }
    let moved = match move_refs() {
        Ok(moved) => moved,
        Err(error) => {
            let _ = std::fs::remove_file(&path);
            return Err(error);
        }
    };
    let updated = plan.carry_out(&place)?;
    drop_note(&path)?;
    Ok((moved, updated))
}

/// Finishes a checkout that was cut off, or drops its note when the refs never moved.
///
/// # Errors
/// As [`transition`].
pub(crate) fn recover(replica: &Replica) -> Result<()> {
    let Some(place) = place(replica) else { return Ok(()) };
    let path = place.meta.join(NOTE);
    let text = match std::fs::read(&path) {
        Ok(text) => text,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(Error::io("reading", &path)(error)),
    };
    // A note that was cut off while it was written belongs to a checkout that never began.
    if let Ok(note) = serde_json::from_slice::<Note>(&text) {
        let refs = replica.refs()?;
        if replica.working_root(&refs)?.hash() == note.root {
            Plan::make(&place, note.from, note.to, true)?.carry_out(&place)?;
        }
    }
    drop_note(&path)
}

fn drop_note(path: &PathBuf) -> Result<()> {
    match std::fs::remove_file(path) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(Error::io("removing", path)(error)),
        _ => Ok(()),
    }
}

/// What has to be written and removed.
struct Plan {
    remove: Vec<String>,
    put: Vec<Entry>,
    from: Option<TableRef>,
    to: Option<TableRef>,
}

impl Plan {
    fn make(place: &Place<'_>, from: Option<TableRef>, to: Option<TableRef>, force: bool) -> Result<Self> {
        let store = place.replica.store();
        let mut plan = Self { remove: Vec::new(), put: Vec::new(), from, to };
        let (old, new) = (open(place.replica, from.as_ref())?, open(place.replica, to.as_ref())?);
        let mut edited = Vec::new();
        let cache = Cache::load(place.meta);
        let vouched = cache.files == root_of(from.as_ref());
        if from != to {
            files::differences(store, old.as_ref(), new.as_ref(), &mut |path, before, after| {
                if !force && !untouched(place, &cache, vouched, path, before, after).unwrap_or(false) {
                    edited.push(path.to_owned());
                }
                match after {
                    Some(entry) => plan.put.push(entry.clone()),
                    None => plan.remove.push(path.to_owned()),
                }
                Ok(())
            })?;
        }
        if !edited.is_empty() {
            let shown = edited[..edited.len().min(SHOWN)].join(", ");
            let why = format!(
                "{} files were edited here and would be overwritten: {shown}; commit them, move them away, or add --force",
                edited.len()
            );
            return Err(Error::conflict("changing files of the working directory", why));
        }
        if force {
            plan.restore_edited(place, &cache, old.as_ref(), new.as_ref())?;
        }
        Ok(plan)
    }

    fn is_empty(&self) -> bool {
        self.remove.is_empty() && self.put.is_empty()
    }

    /// Adds every versioned file that is not what it should be.
    fn restore_edited(
        &mut self,
        place: &Place<'_>,
        cache: &Cache,
        old: Option<&Table>,
        new: Option<&Table>,
    ) -> Result<()> {
        let listing = scan::scan(place.root)?;
        let (suspects, _) = compare::suspects(place.root, &listing, cache, old, false)?;
        let planned: std::collections::BTreeSet<String> = self.put.iter().map(|entry| entry.path.clone()).collect();
        for suspect in suspects {
            let path = match suspect {
                Suspect::Gone(path) => path,
                Suspect::Changed(n) | Suspect::New(n) => listing.found[n].path.clone(),
            };
            let wanted = new.map(|table| files::get(table, &path)).transpose()?.flatten();
            if let Some(entry) = wanted.filter(|_| !planned.contains(&path)) {
                if !compare::equals(place.root, place.replica.store(), &entry)? {
                    self.put.push(entry);
                }
            }
        }
        Ok(())
    }

    fn carry_out(mut self, place: &Place<'_>) -> Result<Updated> {
        if self.is_empty() {
            return Ok(Updated::default());
        }
        let before = Cache::load(place.meta);
        let mut writer = Writer::new(place.root, place.meta, place.replica.store())?;
        // Deepest first, so that a directory is empty when its turn comes; and before writing, because a file may take
        // the place of a directory.
        self.remove.sort_unstable_by(|a, b| b.cmp(a));
        for path in &self.remove {
            writer.remove(path)?;
        }
        for entry in &self.put {
            writer.put(entry)?;
        }
        if before.files == root_of(self.from.as_ref()) {
            self.remember(place, before)?;
        }
        Ok(writer.done)
    }

    /// Brings the status cache up to date with what was written.
    fn remember(&self, place: &Place<'_>, before: Cache) -> Result<()> {
        let mut seen: std::collections::BTreeMap<String, Stat> =
            before.seen.into_iter().map(|found| (found.path, found.stat)).collect();
        for path in &self.remove {
            seen.remove(path);
        }
        for entry in &self.put {
            let full = place.root.join(&entry.path);
            let stat = full.symlink_metadata().ok().and_then(|meta| Stat::of(&meta));
            if let Some(stat) = stat.filter(|stat| stat.kind == entry.kind) {
                seen.insert(entry.path.clone(), stat);
            }
        }
        // A directory that has entries now is not listed any more.
        let found: Vec<Found> = seen.into_iter().map(|(path, stat)| Found { path, stat }).collect();
        Cache::new(place.meta, root_of(self.to.as_ref()), found).save()
    }
}

/// Whether writing over a path loses nothing: it is what either version says.
fn untouched(
    place: &Place<'_>,
    cache: &Cache,
    vouched: bool,
    path: &str,
    before: Option<&Entry>,
    after: Option<&Entry>,
) -> Result<bool> {
    let now = place.root.join(path).symlink_metadata().ok().and_then(|meta| Stat::of(&meta));
    let Some(now) = now else { return Ok(true) };
    // A directory is not content; what is in it has its own rows.
    if now.kind == FileKind::Folder {
        return Ok(true);
    }
    if vouched && before.is_some() {
        if let Ok(at) = cache.seen.binary_search_by(|found| found.path.as_str().cmp(path)) {
            if cache.proves(&cache.seen[at].stat, &now) {
                return Ok(true);
            }
        }
    }
    let store = place.replica.store();
    for entry in before.into_iter().chain(after) {
        if compare::equals(place.root, store, entry)? {
            return Ok(true);
        }
    }
    Ok(false)
}
