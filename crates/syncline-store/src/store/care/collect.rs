//! Gc: removing what is dead, in two phases.
//!
//! One run condemns files: it copies what is live in them to new packs, and leaves a note with their names. A later run,
//! `grace_ms` after, deletes them, after it has copied what has become live again. So an object that was put before its
//! reference was set survives, as long as that takes less than the grace period.
//!
//! Order, which makes a crash between any two steps harmless: copies, then index, then note; later: index without the
//! files, then the files, then the note.
//!
//! Invariant: a file that stays keeps the bases of all its objects, dead ones too. So no object that can be found lacks its base.
//!
//! Owns: two bits for each object, and lists of files. Nothing in memory grows with the bytes that are stored.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::Marker;
use crate::error::{Error, Result};
use crate::frame::Stored;
use crate::index::{CONDEMNED, Open, read_note, write_note};
use crate::pack::{self, Loc};
use crate::store::Store;
use crate::store::write::Copier;
use bytes::Bytes;

/// So many packs much shorter than they could be are worth joining.
const SMALL_PACKS: usize = 8;

/// How gc goes about it.
#[derive(Debug, Clone)]
pub struct GcOptions {
    /// What is dead is only removed by a gc that runs this much later, and only if it still is dead then. 0 removes at
    /// once: only when nothing else writes.
    pub grace_ms: u64,
    /// Packs with a smaller share of live bytes are rewritten, in percent.
    pub min_live_percent: u8,
}

impl Default for GcOptions {
    fn default() -> Self {
        Self { grace_ms: 24 * 60 * 60 * 1000, min_live_percent: 50 }
    }
}

/// What gc did.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct GcReport {
    /// Objects that stay because they were marked, or are bases of such.
    pub live_objects: u64,
    /// Objects that nothing marked, and further copies of those that stay.
    pub dead_objects: u64,
    /// Files whose live objects were copied.
    pub files_rewritten: u64,
    /// Files that a later gc will delete.
    pub files_condemned: u64,
    /// Files that were deleted.
    pub files_deleted: u64,
    /// Their bytes.
    pub bytes_deleted: u64,
    /// Bytes of live objects that were copied.
    pub bytes_rewritten: u64,
}

/// A note's name, and the files it condemns.
type Note = (String, Vec<String>);

impl Store {
    /// Removes what `mark` does not name, in two phases: see [`GcOptions`]. What is put while it runs stays.
    ///
    /// # Errors
    /// Those of `mark`, `Unavailable` when another process collects, or the backend's.
    pub fn gc<E: From<Error>>(
        &self,
        options: &GcOptions,
        mark: impl FnOnce(&mut Marker<'_>) -> std::result::Result<(), E>,
    ) -> std::result::Result<GcReport, E> {
        self.go_on()?;
        let steady = self.steady();
        let _guard = self.lock("gc")?;
        // Before anything is marked: what is named later may not be seen, so a grace period must not end in between.
        let now = self.inner.options.clock.now_ms();
        let whole = self.whole_index()?;
        let mut marker = Marker::new(&steady, whole);
        mark(&mut marker)?;
        self.go_on()?;
        let report = steady.sweep(options, marker, now)?;
        // Whoever collects has said what it needs.
        self.work.settle();
        Ok(report)
    }

    /// Puts everything that is stored into one index segment.
    fn whole_index(&self) -> Result<Option<Arc<Open>>> {
        self.flush_all()?;
        self.inner.index.refresh()?;
        self.seal_journal()?;
        self.inner.index.merge_all()?;
        Ok(self.inner.index.read().segments.first().cloned())
    }

    fn sweep(&self, options: &GcOptions, mut marker: Marker<'_>, now: u64) -> Result<GcReport> {
        self.inner.backend.clean(options.grace_ms.max(60 * 60 * 1000))?;
        let Some(whole) = marker.whole.clone() else { return Ok(GcReport::default()) };
        let notes = self.notes()?;
        let condemned: BTreeSet<&String> = notes.iter().flat_map(|note| &note.1).collect();
        let mut report = GcReport::default();
        let going = self.choose(options, &marker, &whole, &condemned, &mut report)?;
        self.keep_bases(&mut marker, &whole, &going)?;
        let copied = self.copy_live(&marker, &whole, &going, &mut report)?;
        self.inner.index.maintain()?;
        let fresh: Vec<String> = copied.iter().filter(|name| !condemned.contains(name)).cloned().collect();
        report.files_condemned = fresh.len() as u64;
        let mut due: Vec<Note> = Vec::new();
        if !fresh.is_empty() {
            let name = self.new_name(CONDEMNED);
            self.inner.backend.put(&name, Bytes::from(write_note(&fresh)))?;
            self.inner.index.condemn(&fresh);
            due.push((name, fresh));
        }
        due.extend(notes);
        due.retain(|(name, _)| {
            let since =
                name.strip_prefix(CONDEMNED).and_then(|rest| u64::from_str_radix(rest.split('-').next()?, 16).ok());
            since.is_some_and(|since| since.saturating_add(options.grace_ms) <= now.max(since))
        });
        self.delete(due, &copied, &mut report)?;
        Ok(report)
    }

    /// All notes. Those that cannot be read count for nothing, and are deleted: what they were about is condemned anew.
    fn notes(&self) -> Result<Vec<Note>> {
        let mut notes = Vec::new();
        for (name, size) in self.inner.backend.list(CONDEMNED)? {
            match read_note(&self.inner.backend.read(&name, 0..size)?, &name) {
                Ok(files) => notes.push((name, files)),
                Err(_) => self.inner.backend.delete(&name)?,
            }
        }
        Ok(notes)
    }

    /// The files that go: condemned ones, those with little live in them, and many short ones.
    fn choose(
        &self,
        options: &GcOptions,
        marker: &Marker<'_>,
        whole: &Open,
        condemned: &BTreeSet<&String>,
        report: &mut GcReport,
    ) -> Result<BTreeSet<u32>> {
        let mut live: BTreeMap<u32, u64> = whole.files.iter().map(|file| (*file, 0)).collect();
        for (ordinal, entry) in (0..).zip(whole.segment.iter(&*self.inner.backend)) {
            let (_, loc) = entry?;
            if !marker.is_live(ordinal) {
                report.dead_objects += 1;
                continue;
            }
            report.live_objects += 1;
            if let Some(loc) = whole.translate(loc) {
                *live.entry(loc.file).or_default() += u64::from(loc.len / u32::from(loc.count.max(1)));
            }
        }
        let state = self.inner.index.read();
        let mut going = BTreeSet::new();
        let mut short = Vec::new();
        for (file, live) in live {
            let info = &state.files[file as usize];
            if info.gone || !info.finished {
                continue;
            }
            let few = live * 100 < info.end * u64::from(options.min_live_percent);
            if few || live == 0 || condemned.contains(&info.name.to_string()) {
                going.insert(file);
            } else if info.end < self.inner.options.pack_bytes / 4 {
                short.push(file);
            }
        }
        if short.len() >= SMALL_PACKS {
            going.extend(short);
        }
        Ok(going)
    }

    /// Marks the bases of dead patches in files that stay.
    fn keep_bases(&self, marker: &mut Marker<'_>, whole: &Open, going: &BTreeSet<u32>) -> Result<()> {
        for (ordinal, entry) in (0..).zip(whole.segment.iter(&*self.inner.backend)) {
            let (id, loc) = entry?;
            if loc.depth == 0 || marker.is_live(ordinal) {
                continue;
            }
            if let Some(loc) = whole.translate(loc).filter(|loc| !going.contains(&loc.file)) {
                match marker.mark_bases(&id, Some(loc)) {
                    // A dead object that is damaged or lacks its base already keeps nothing alive.
                    Err(error)
                        if matches!(error.kind(), syncline_base::Kind::Corrupt | syncline_base::Kind::NotFound) => {}
                    other => other?,
                }
            }
        }
        Ok(())
    }

    /// Copies what is live in `going` to new packs. Gives the names of the files that nothing needs any more.
    fn copy_live(
        &self,
        marker: &Marker<'_>,
        whole: &Open,
        going: &BTreeSet<u32>,
        report: &mut GcReport,
    ) -> Result<BTreeSet<String>> {
        let mut copier = Copier::default();
        let mut emptied = BTreeSet::new();
        for &file in going {
            let (name, size) = {
                let state = self.inner.index.read();
                let info = &state.files[file as usize];
                (Arc::clone(&info.name), info.end)
            };
            let mut copied = 0;
            let scanned = pack::scan(&*self.inner.backend, &name, 0, size, &mut |at, len, frame| {
                let at = pack::check_room(&name, at)?;
                for (slot, object) in (0u16..).zip(frame.objects) {
                    if self.is_live_here(
                        marker,
                        whole,
                        &object,
                        Loc { file, offset: at, len, slot, count: 0, depth: 0 },
                    )? {
                        copied += object.payload.len() as u64;
                        copier.add(self, object)?;
                    }
                }
                Ok(())
            })?;
            report.bytes_rewritten += copied;
            report.files_rewritten += u64::from(copied > 0);
            if scanned.damage.is_empty() && scanned.end >= size {
                emptied.insert(name.to_string());
            } else {
                tracing::warn!(%name, "a damaged file is not collected: run verify, then repair from a good copy");
            }
        }
        copier.finish(self)?;
        Ok(emptied)
    }

    fn is_live_here(&self, marker: &Marker<'_>, whole: &Open, object: &Stored, at: Loc) -> Result<bool> {
        let places = whole.segment.places(&*self.inner.backend, &object.id)?;
        Ok(places.into_iter().any(|(ordinal, loc)| {
            let here = |loc: Loc| (loc.file, loc.offset, loc.slot) == (at.file, at.offset, at.slot);
            marker.is_live(ordinal) && whole.translate(loc).is_some_and(here)
        }))
    }

    /// Deletes the files of `due` that were emptied in this run, and the notes whose files are all gone.
    fn delete(&self, mut due: Vec<Note>, emptied: &BTreeSet<String>, report: &mut GcReport) -> Result<()> {
        if due.is_empty() {
            return Ok(());
        }
        let index = &self.inner.index;
        let (mut doomed, mut going) = (Vec::new(), BTreeSet::new());
        for name in due.iter().flat_map(|note| &note.1) {
            let mut state = index.write();
            let file = state.file(name);
            let info = &state.files[file as usize];
            // A file that is no longer there was deleted by a run that crashed before it deleted its note.
            if info.gone || emptied.contains(name) {
                going.insert(file);
                doomed.push((name.clone(), info.end));
            }
        }
        index.merge_without(&going)?;
        for (name, size) in &doomed {
            self.inner.backend.delete(name)?;
            report.files_deleted += 1;
            report.bytes_deleted += size;
        }
        due.retain(|(_, files)| files.iter().all(|name| doomed.iter().any(|file| file.0 == *name)));
        due.iter().try_for_each(|(name, _)| self.inner.backend.delete(name))?;
        index.forget_deleted()
    }

    /// Seals the open journal, so that its objects can be collected: what comes next goes to a new one.
    fn seal_journal(&self) -> Result<()> {
        if !self.inner.backend.caps().append {
            return Ok(());
        }
        let _guard = self.lock("writer")?;
        self.seal_open()
    }
}
