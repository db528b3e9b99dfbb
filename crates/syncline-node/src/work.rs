//! The working directory and the refs, kept in step.
//!
//! A verb that changes both (checkout, merge, rollback, pull) goes through [`transition`], which leaves a note in the
//! meta directory before it moves the refs and takes it away after the files are in place. Whoever comes next after a
//! crash finds the note: when the refs have moved, the files are finished; when they have not, the note is dropped.
//! So an unfinished checkout is never mistaken for edits of the user. One that cannot be finished (a full disk) is replaced by a
//! checkout of something else: of all files that either of its versions has.
//!
//! Who changes files holds a lock, which ends with its process: a note beside it belongs to work that goes on, and is left alone.
//!
//! State: the note, `checkout.json`, and the file that is locked, both in the meta directory. Not here: how a directory is
//! listed, read and written (`crate::worktree`).

use std::collections::BTreeMap;
use std::io::Write as _;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use syncline_base::Hash;
use syncline_tree::files;
use syncline_tree::{DatasetRoot, Table, TableRef, TreeName};

use crate::contents::Source;
use crate::ops::diff::Kind;
use crate::part::Part;
use crate::progress::{Progress, Unit};
use crate::replica::Replica;
use crate::worktree::cache;
use crate::worktree::commit::Collect;
use crate::worktree::dirs::{Held, Root};
use crate::worktree::status::{Status, status};
use crate::worktree::update::{self, Edited, Plan};
use crate::{Error, Result};

/// What is refused where files are in the way.
pub(crate) const CHANGING: &str = "changing files of the working directory";
const NOTE: &str = "checkout.json";
const LOCK: &str = "checkout.lock";
/// Files that are looked at at once when more of them are wanted.
const WIDEN_GROUP: usize = 512;
/// How many colliding paths an error names.
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

/// What a working directory looks like beside a version: paths that differ, in byte order, and warnings.
pub(crate) type Compared = Status;

/// What a working directory holds, as a files table.
#[derive(Debug, Default)]
pub(crate) struct Scanned {
    pub files: Option<TableRef>,
    pub warnings: Vec<String>,
    /// To be put in place once the table is committed.
    cache: Option<cache::Writer>,
}

impl Scanned {
    /// Remembers that the directory equals the table. A hint: when it cannot be written the next look takes longer.
    pub(crate) fn remember(&mut self) {
        if let (Some(cache), Some(files)) = (self.cache.take(), self.files)
            && let Err(error) = cache.finish(&files, i64::MAX)
        {
            tracing::warn!(%error, "the status cache was not saved");
        }
    }
}

/// The places of a replica with a working directory.
struct Place<'a> {
    root: &'a Path,
    meta: &'a Path,
}

fn place(replica: &Replica) -> Result<Option<Place<'_>>> {
    let (Some(root), Some(meta)) = (replica.worktree(), replica.meta()) else { return Ok(None) };
    // A part without the files leaves the directory alone.
    Ok(replica.part()?.tree(&TreeName::Files).then_some(Place { root, meta }))
}

/// The working directory, with what of a version belongs there.
fn root_of(replica: &Replica, place: &Place<'_>) -> Result<Root> {
    let root = Root::open(place.root)?;
    let part = replica.part()?;
    if !part.is_outline() {
        return Ok(root);
    }
    Ok(root.holding(Held { part, source: Source::of(replica)? }))
}

fn open(replica: &Replica, files: Option<&TableRef>) -> Result<Option<Table>> {
    Ok(files.map(|table| Table::open(replica.store(), table)).transpose()?)
}

/// Lists what differs between the working directory and the files of `base`; changes nothing.
///
/// # Errors
/// The file system's and the store's.
pub(crate) fn compare(
    replica: &Replica,
    base: &DatasetRoot,
    checksum: bool,
    progress: &dyn Progress,
) -> Result<Compared> {
    let Some(place) = place(replica)? else { return Ok(Compared::default()) };
    let table = open(replica, base.files.as_ref())?;
    progress.stage("comparing files", table.as_ref().map_or(0, Table::rows), Unit::Files);
    let root = root_of(replica, &place)?;
    status(&root, place.meta, replica.store(), table.as_ref(), checksum, &|files| progress.advance(files))
}

/// Reads what differs from `base` into the store and returns the files table that the directory is now. Not durable
/// before the store's flush.
///
/// # Errors
/// `invalid` when paths collide, `unavailable` when a file keeps changing; the file system's and the store's.
pub(crate) fn scan(replica: &Replica, base: &DatasetRoot, checksum: bool, progress: &dyn Progress) -> Result<Scanned> {
    recover(replica)?;
    let Some(place) = place(replica)? else { return Ok(Scanned { files: base.files, ..Scanned::default() }) };
    let table = open(replica, base.files.as_ref())?;
    progress.stage("reading files", 0, Unit::Files);
    let root = root_of(replica, &place)?;
    let advance = |files| progress.advance(files);
    let mut collect = Collect::new(&root, place.meta, replica.store(), table.as_ref(), checksum, &advance)?;
    let start = match &table {
        Some(table) => table.clone(),
        None => Table::create(replica.store(), files::schema())?,
    };
    let mut failed = None;
    let applied = start.apply(std::iter::from_fn(|| {
        let changes = collect.next().transpose()?;
        Some(changes.map_err(|error| {
            let text = error.to_string();
            failed = Some(error);
            syncline_tree::Error::invalid(text)
        }))
    }));
    if let Some(error) = failed {
        return Err(error);
    }
    let (applied, _) = applied?;
    let grown = collect.grown;
    let collected = collect.finish();
    if grown && !collected.collisions.is_empty() {
        let shown: Vec<String> = collected.collisions.iter().take(SHOWN).map(ToString::to_string).collect();
        let more = collected.collisions.len() - shown.len();
        let more = collected.more_collisions + more as u64;
        let rest = if more > 0 { format!(" and {more} more") } else { String::new() };
        let why = format!(
            "some systems cannot tell these paths apart: {}{rest}; rename or ignore one of each",
            shown.join("; ")
        );
        return Err(Error::invalid("committing files", why));
    }
    let files = Some(applied.to_ref()).filter(|files| files.rows > 0);
    Ok(Scanned { files, warnings: collected.warnings, cache: Some(collected.cache) })
}

#[derive(Debug, Serialize, Deserialize)]
struct Note {
    from: Option<TableRef>,
    to: Option<TableRef>,
    /// The working root once the refs have moved.
    root: Hash,
    force: bool,
    /// What could not be finished and is replaced by this once the refs have moved.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    before: Option<Box<Note>>,
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
    let Some(place) = place(replica)? else { return Ok((move_refs()?, Updated::default())) };
    let _turn = Turn::take(&place)?.ok_or_else(busy)?;
    let path = place.meta.join(NOTE);
    let (mut held, mut before, mut old) = (from.files, None, None);
    if let Err(error) = finish(replica, &place) {
        let Some((note, _)) = unfinished(replica, &place)?.filter(|_| force) else { return Err(stuck(error)) };
        held = held_by_either(replica, &note, held)?;
        (before, old) = (Some(Box::new(note)), Some(std::fs::read(&path).map_err(Error::io("reading", &path))?));
    }
    let edited = if force { Edited::Overwrite } else { Edited::Refuse };
    let root = root_of(replica, &place)?;
    let tables = (open(replica, held.as_ref())?, open(replica, to.files.as_ref())?);
    let plan = Plan::make(&root, place.meta, replica.store(), tables, edited)?;
    if !plan.is_empty() {
        let note = Note { from: held, to: to.files, root: to.hash(), force, before };
        let text = serde_json::to_vec(&note).map_err(|e| Error::invalid("noting a checkout", e.to_string()))?;
        // Durable before the refs are: a note that is lost would leave files that look like edits which take the move back.
        write_durably(&path, &text).map_err(Error::io("writing", &path))?;
    }
    let moved = match move_refs() {
        Ok(moved) => moved,
        Err(error) => {
            let _ = match old {
                Some(old) => write_durably(&path, &old),
                None => std::fs::remove_file(&path),
            };
            return Err(error);
        }
    };
    let updated = plan.carry_out()?;
    drop_note(&path)?;
    Ok((moved, updated))
}

/// Writes a file that is whole and on the disk, or not there at all.
fn write_durably(path: &Path, bytes: &[u8]) -> std::io::Result<()> {
    let dir = path.parent().unwrap_or(Path::new("."));
    let mut file = tempfile::NamedTempFile::new_in(dir)?;
    file.write_all(bytes)?;
    file.as_file().sync_all()?;
    file.persist(path).map_err(|error| error.error)?;
    std::fs::File::open(dir)?.sync_all()
}

/// Writes the files of a version that a partial replica is to hold from now on and did not before; what is there already
/// stays. Returns how many were written.
///
/// # Errors
/// `unavailable` when contents cannot be brought; the file system's and the store's.
pub(crate) fn widen(
    replica: &Replica,
    version: &DatasetRoot,
    old: &Part,
    new: &Part,
    progress: &dyn Progress,
) -> Result<u64> {
    recover(replica)?;
    let (Some(place), Some(table)) = (place(replica)?, open(replica, version.files.as_ref())?) else {
        return Ok(0);
    };
    let root = Root::open(place.root)?;
    let source = Source::of(replica)?;
    progress.stage("fetching files", 0, Unit::Files);
    let mut written = 0;
    let mut entries = files::scan(&table)?.peekable();
    while entries.peek().is_some() {
        let mut group = Vec::new();
        for entry in entries.by_ref().take(WIDEN_GROUP) {
            let entry = entry?;
            if new.path(&entry.path) && !old.path(&entry.path) {
                group.push(entry);
            }
        }
        let files = update::add(&root, place.meta, replica.store(), &source, &group)?;
        progress.advance(files);
        written += files;
    }
    Ok(written)
}

/// The right to change the files of a working directory.
struct Turn {
    /// `None` where files cannot be locked. Unlocked when it is closed.
    _file: Option<std::fs::File>,
}

impl Turn {
    /// `None` when somebody else has it.
    fn take(place: &Place<'_>) -> Result<Option<Self>> {
        let path = place.meta.join(LOCK);
        let opened = std::fs::OpenOptions::new().write(true).create(true).truncate(false).open(&path);
        let file = opened.map_err(Error::io("opening", &path))?;
        match file.try_lock() {
            Ok(()) => Ok(Some(Self { _file: Some(file) })),
            Err(std::fs::TryLockError::WouldBlock) => Ok(None),
            Err(std::fs::TryLockError::Error(_)) => Ok(Some(Self { _file: None })),
        }
    }
}

fn busy() -> Error {
    let why = "another command is changing them; run it again when that has ended";
    Error::conflict("working on the files of the working directory", why)
}

/// Finishes a checkout that was cut off, or drops its note when the refs never moved. Every verb that moves refs or
/// removes versions does this first: afterwards the note would no longer say what the files are.
///
/// # Errors
/// As [`transition`]; `conflict` while another command changes the files.
pub(crate) fn recover(replica: &Replica) -> Result<()> {
    if recover_unless_busy(replica)? { Ok(()) } else { Err(busy()) }
}

/// As [`recover`]; false, and nothing is done, while another command changes the files.
///
/// # Errors
/// As [`transition`].
pub(crate) fn recover_unless_busy(replica: &Replica) -> Result<bool> {
    let Some(place) = place(replica)? else { return Ok(true) };
    // Most often there is none, and what cannot be written can be looked at.
    if !place.meta.join(NOTE).exists() {
        return Ok(true);
    }
    let Some(_turn) = Turn::take(&place)? else { return Ok(false) };
    finish(replica, &place)?;
    Ok(true)
}

/// Finishes what a note tells of. Only in one's turn.
fn finish(replica: &Replica, place: &Place<'_>) -> Result<()> {
    if let Some((note, edited)) = unfinished(replica, place)? {
        let root = root_of(replica, place)?;
        let tables = (open(replica, note.from.as_ref())?, open(replica, note.to.as_ref())?);
        Plan::make(&root, place.meta, replica.store(), tables, edited)?.carry_out()?;
    }
    drop_note(&place.meta.join(NOTE))
}

/// What a note tells of when the refs have moved, and what becomes of edits then. The one that it replaces counts where they have
/// not moved from there yet.
fn unfinished(replica: &Replica, place: &Place<'_>) -> Result<Option<(Note, Edited)>> {
    let path = place.meta.join(NOTE);
    let read = || -> std::io::Result<(Vec<u8>, i64)> {
        let note = std::fs::metadata(&path)?;
        // By the same clock as the times of the files; so is what was edited after it.
        let begun = note.mtime().saturating_mul(1_000_000_000).saturating_add(note.mtime_nsec());
        Ok((std::fs::read(&path)?, begun))
    };
    let (text, begun) = match read() {
        Ok(read) => read,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(Error::io("reading", &path)(error)),
    };
    // A note that was cut off while it was written belongs to a checkout that never began.
    let Ok(mut note) = serde_json::from_slice::<Note>(&text) else { return Ok(None) };
    let root = replica.working_root(&replica.refs()?)?.hash();
    let before = note.before.take();
    if note.root == root {
        // What was edited before or after the cut stays, unless the user wanted it gone then.
        let edited = if note.force { Edited::OverwriteOlder(begun) } else { Edited::Keep };
        return Ok(Some((note, edited)));
    }
    Ok(before.filter(|before| before.root == root).map(|before| (*before, Edited::Keep)))
}

/// The files that may be in the directory beside a note that cannot be finished: those of `now`, and those that it starts from. A
/// path that both have is as in `now`.
fn held_by_either(replica: &Replica, note: &Note, now: Option<TableRef>) -> Result<Option<TableRef>> {
    let store = replica.store();
    let mut table = match open(replica, now.as_ref())? {
        Some(table) => table,
        None => Table::create(store, files::schema())?,
    };
    for other in [&note.from, &note.to] {
        let more = files::diff(store, Some(&table), open(replica, other.as_ref())?.as_ref())?;
        let mut more = more
            .filter_map(|difference| match difference {
                Ok(files::Difference { before: None, after: Some(entry), .. }) => Some(Ok(files::Edit::Put(entry))),
                Ok(_) => None,
                Err(error) => Some(Err(error)),
            })
            .peekable();
        let groups = std::iter::from_fn(|| {
            more.peek()?;
            let group: syncline_tree::Result<Vec<_>> = more.by_ref().take(WIDEN_GROUP).collect();
            Some(group.and_then(|edits| files::changes(&edits)))
        });
        table = table.apply(groups)?.0;
    }
    // The note is to find it.
    store.flush()?;
    Ok(Some(table.to_ref()).filter(|files| files.rows > 0))
}

fn stuck(error: Error) -> Error {
    let what = "finishing a checkout that was cut off";
    let why = format!("{error}; make that possible and run it again, or go elsewhere with `syncline checkout REF`");
    match error.kind() {
        syncline_base::Kind::Unavailable => Error::Unavailable { what: what.into(), why },
        _ => error,
    }
}

/// Whether files were edited beside a checkout that was cut off: they are neither what was there before nor what it was to
/// make of them.
///
/// # Errors
/// The file system's and the store's.
pub(crate) fn is_edited_beside_note(replica: &Replica) -> Result<bool> {
    let Some(place) = place(replica)? else { return Ok(false) };
    let Some((note, _)) = unfinished(replica, &place)? else { return Ok(false) };
    let root = root_of(replica, &place)?;
    let differing = |table: Option<&TableRef>| -> Result<Vec<FileChange>> {
        Ok(status(&root, place.meta, replica.store(), open(replica, table)?.as_ref(), false, &|_| ())?.changes)
    };
    let old: BTreeMap<String, Kind> =
        differing(note.from.as_ref())?.into_iter().map(|change| (change.path, change.kind)).collect();
    // What neither version has is not lost.
    let is_edit =
        |new: &FileChange| old.get(&new.path).is_some_and(|kind| (*kind, new.kind) != (Kind::Insert, Kind::Insert));
    Ok(differing(note.to.as_ref())?.iter().any(is_edit))
}

/// The files that a note tells of: a collection keeps them, since only with them the checkout can be finished.
pub(crate) fn noted(replica: &Replica) -> Result<Vec<TableRef>> {
    let Some(place) = place(replica)? else { return Ok(Vec::new()) };
    let text = match std::fs::read(place.meta.join(NOTE)) {
        Ok(text) => text,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(Error::io("reading", &place.meta.join(NOTE))(error)),
    };
    let mut tables = Vec::new();
    let mut next = serde_json::from_slice::<Note>(&text).ok().map(Box::new);
    while let Some(note) = next {
        tables.extend(note.from.into_iter().chain(note.to));
        next = note.before;
    }
    Ok(tables)
}

/// Whether a checkout was cut off that [`recover`] has not finished.
pub(crate) fn is_unfinished(replica: &Replica) -> bool {
    place(replica).ok().flatten().is_some_and(|place| place.meta.join(NOTE).exists())
}

fn drop_note(path: &PathBuf) -> Result<()> {
    match std::fs::remove_file(path) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(Error::io("removing", path)(error)),
        _ => Ok(()),
    }
}
