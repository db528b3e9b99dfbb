//! Catching up with the files that are there: what other processes have flushed, and what a crash has left.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use syncline_base::Kind;

use super::segment::{Cover, Segment};
use super::{CONDEMNED, Index, JOURNALS, Open, PACKS, SEGMENTS, State};
use crate::error::{Error, Result};
use crate::pack;

/// How often a listing is taken again because files vanished while they were read.
pub(super) const TRIES: usize = 5;

impl Index {
    /// Looks at which files are there, and reads those that are not indexed yet. True when something was new.
    pub(crate) fn refresh(&self) -> Result<bool> {
        let _one = self.maintenance.lock().expect("no code panics while it maintains the index");
        self.catch_up()
    }

    /// As `refresh`, for who maintains the index already.
    pub(super) fn catch_up(&self) -> Result<bool> {
        let mut tries = 0;
        loop {
            match self.refresh_once() {
                // Another process has merged or collected what was just listed: look again.
                Err(error) if error.kind() == Kind::NotFound && tries < TRIES => tries += 1,
                other => return other,
            }
        }
    }

    /// Drops damaged segments and reads everything that is not covered without them.
    pub(crate) fn reload(&self) -> Result<()> {
        {
            let _one = self.maintenance.lock().expect("no code panics while it maintains the index");
            let segments = Arc::clone(&self.read().segments);
            let mut whole = Vec::new();
            for open in segments.iter() {
                let good = open.segment.iter(&*self.backend).try_for_each(|entry| entry.map(drop));
                match good {
                    Ok(()) => whole.push(Arc::clone(open)),
                    Err(error) if error.kind() == Kind::NotFound => {}
                    Err(error) if error.kind() == Kind::Corrupt => self.discard(&open.segment.name),
                    Err(error) => return Err(error),
                }
            }
            let mut state = self.write();
            state.segments = Arc::new(whole);
            state.listed.clear();
        }
        self.refresh().map(drop)
    }

    /// A damaged segment holds nothing that packs do not: best is to get rid of it. If that fails it is only not used.
    fn discard(&self, name: &str) {
        tracing::warn!(name, "an index segment is damaged: making it again from packs");
        if let Err(error) = self.backend.delete(name) {
            tracing::warn!(name, %error, "the damaged segment stays, unused");
        }
    }

    fn refresh_once(&self) -> Result<bool> {
        let folders = self.backend.list_many(&[SEGMENTS, PACKS, JOURNALS, CONDEMNED])?;
        let notes = folders.last().cloned().unwrap_or_default();
        let listed: Vec<(String, u64)> = folders.into_iter().flatten().collect();
        if self.read().listed == listed {
            return Ok(false);
        }
        for (name, size) in &notes {
            match read_note(&self.backend.read(name, 0..*size)?, name) {
                Ok(files) => self.condemn(&files),
                // Then it condemns nothing: `verify` names it, and gc deletes it.
                Err(error) => tracing::warn!(%error, "a note about files to be deleted is damaged"),
            }
        }
        self.open_segments(&listed)?;
        let files: Vec<(u32, u64)> = self.note_files(&listed);
        let covers = self.covers_by_name();
        let mut whole = true;
        for (file, size) in files {
            whole &= self.read_uncovered(file, size, &covers)?;
            if self.read().tail.len() > self.fold_at {
                self.fold_quietly();
            }
        }
        // A torn tail may be replaced by something of the same length: that must not look unchanged.
        let mut state = self.write();
        let torn = |name: &str, size: u64| {
            let file = state.by_name.get(name).map(|&file| &state.files[file as usize]);
            file.is_some_and(|file| file.upload.is_none() && file.end < size)
        };
        // Nor must what could not be read: if only the reading went wrong, the next look finds it.
        if whole && !listed.iter().any(|(name, size)| torn(name, *size)) {
            state.listed = listed;
        }
        Ok(true)
    }

    fn open_segments(&self, listed: &[(String, u64)]) -> Result<()> {
        let known = Arc::clone(&self.read().segments);
        let mut opened: Vec<Arc<Open>> = Vec::new();
        let names = listed.iter().filter(|(name, _)| name.starts_with(SEGMENTS));
        // Names begin with the time: the newest comes last in the listing and first here.
        for (name, size) in names.rev() {
            if let Some(open) = known.iter().find(|open| open.segment.name == *name) {
                opened.push(Arc::clone(open));
                continue;
            }
            match Segment::open(&*self.backend, name, *size) {
                Ok(segment) => {
                    let mut state = self.write();
                    let files = segment.covers.iter().map(|cover| state.file(&cover.name)).collect();
                    opened.push(Arc::new(Open { segment, files }));
                }
                Err(error) if error.kind() == Kind::Corrupt => self.discard(name),
                Err(error) => return Err(error),
            }
        }
        let contains = |outer: &Open, inner: &Cover| {
            outer.segment.covers.iter().any(|c| c.name == inner.name && c.from <= inner.from && inner.to <= c.to)
        };
        let superseded = |n: usize| {
            let mine = &opened[n].segment.covers;
            (0..opened.len()).any(|other| {
                let all = other != n && mine.iter().all(|cover| contains(&opened[other], cover));
                // Of two that cover the same, the newer one stays.
                all && (other < n || !opened[other].segment.covers.iter().all(|c| contains(&opened[n], c)))
            })
        };
        let (gone, keep): (Vec<usize>, Vec<usize>) = (0..opened.len()).partition(|&n| superseded(n));
        let mut state = self.write();
        state.superseded = gone.into_iter().map(|n| opened[n].segment.name.clone()).collect();
        state.segments = Arc::new(keep.into_iter().map(|n| Arc::clone(&opened[n])).collect());
        Ok(())
    }

    /// Gives numbers to new files, and forgets those that are gone.
    fn note_files(&self, listed: &[(String, u64)]) -> Vec<(u32, u64)> {
        let mut state = self.write();
        let mut present = BTreeSet::new();
        let mut files = Vec::new();
        for (name, size) in listed.iter().filter(|(name, _)| name.starts_with(PACKS) || name.starts_with(JOURNALS)) {
            let file = state.file(name);
            present.insert(file);
            let info = &mut state.files[file as usize];
            info.gone = false;
            files.push((file, *size));
        }
        // The head may have been read before its journal was listed.
        let marked = self.marked.lock().expect("no code panics while it holds the mark").clone();
        if let Some((name, len)) = marked {
            state.acknowledge(&name, len);
        }
        // A stretch is in a segment only after it was synced.
        let segments = Arc::clone(&state.segments);
        for (cover, file) in segments.iter().flat_map(|open| open.segment.covers.iter().zip(&open.files)) {
            let info = &mut state.files[*file as usize];
            info.durable = info.durable.max(cover.to);
        }
        let mut gone = Vec::new();
        for (file, info) in (0u32..).zip(&mut state.files) {
            if info.upload.is_none() && !present.contains(&file) {
                info.gone = true;
                gone.push(file);
            }
        }
        if gone.iter().any(|file| state.tail_covers.contains_key(file)) {
            let State { tail, files, tail_covers, .. } = &mut *state;
            tail.retain(|loc| !files[loc.file as usize].gone);
            gone.iter().for_each(|file| drop(tail_covers.remove(file)));
        }
        files
    }

    fn covers_by_name(&self) -> BTreeMap<u32, Vec<(u64, u64)>> {
        let state = self.read();
        let mut covers = state.tail_covers.clone();
        for open in state.segments.iter() {
            for (cover, file) in open.segment.covers.iter().zip(&open.files) {
                covers.entry(*file).or_default().push((cover.from, cover.to));
            }
        }
        covers.values_mut().for_each(|list| list.sort_unstable());
        covers
    }

    /// Indexes the stretches of a file that are not covered. False when something in them is damaged.
    fn read_uncovered(&self, file: u32, size: u64, covers: &BTreeMap<u32, Vec<(u64, u64)>>) -> Result<bool> {
        let (name, uploading) = {
            let state = self.read();
            let info = &state.files[file as usize];
            (Arc::clone(&info.name), info.upload.is_some())
        };
        if uploading {
            return Ok(true);
        }
        let journal = name.starts_with(JOURNALS);
        let mut covers = covers.get(&file).cloned().unwrap_or_default();
        if journal && covers.last().is_some_and(|last| last.1 > size) {
            // Its writer took back what it could not make durable. If what it lacks had been acknowledged, that is damage, and
            // what the index knows of it says which objects are lost.
            let mut state = self.write();
            let from = size.max(state.files[file as usize].durable);
            state.forget_from(file, from);
            covers.iter_mut().for_each(|cover| cover.1 = cover.1.min(from));
            covers.retain(|cover| cover.0 < cover.1);
        }
        let (mut at, mut whole) = (0, true);
        for &(from, to) in &covers {
            if from > at {
                whole &= self.read_stretch(file, &name, at, from)?;
            }
            at = at.max(to);
        }
        if at >= size {
            // Nothing of it has to be read, but whether it goes on must be known: nothing is ever appended to a footer.
            let known = self.read().files[file as usize].finished;
            let finished = known || !journal || pack::has_footer(&*self.backend, &name, size)?;
            let mut state = self.write();
            let info = &mut state.files[file as usize];
            info.end = info.end.max(at.min(size));
            info.finished = finished;
            info.durable = info.durable.max(if finished { info.end } else { 0 });
            return Ok(whole);
        }
        if at == 0
            && let Some(entries) = pack::read_footer(&*self.backend, &name, size, file)?
        {
            let mut state = self.write();
            state.tail.extend(entries);
            state.cover(file, 0, size);
            let info = &mut state.files[file as usize];
            (info.end, info.finished, info.durable) = (size, true, size);
            return Ok(true);
        }
        let durable = {
            let state = self.read();
            let info = &state.files[file as usize];
            if journal && !info.finished { info.durable } else { at }
        };
        if at <= durable {
            return Ok(self.read_stretch(file, &name, at, size)? && whole);
        }
        // What was indexed may have been taken back and written over since: then what follows does not go on from there.
        if pack::goes_on(&*self.backend, &name, at, size)? {
            return Ok(self.read_stretch(file, &name, at, size)? && whole);
        }
        self.write().forget_from(file, durable);
        self.read_stretch(file, &name, durable, size)
    }

    /// Indexes one stretch. False when something in it is damaged.
    fn read_stretch(&self, file: u32, name: &str, from: u64, to: u64) -> Result<bool> {
        let mut entries = Vec::new();
        let mut last = None;
        let scanned = pack::scan(&*self.backend, name, from, to, &mut |at, len, frame| {
            let names: Vec<_> = frame.objects.iter().map(|object| (object.id, object.depth)).collect();
            entries.extend(pack::locate(file, pack::check_room(name, at)?, len, &names));
            last = Some(at);
            Ok(())
        })?;
        if !scanned.damage.is_empty() {
            tracing::warn!(name, damage = ?scanned.damage, "a file is damaged: run verify, then repair from a good copy");
        }
        let mut state = self.write();
        state.tail.extend(entries);
        // Damaged stretches stay uncovered: if only the reading went wrong, the next look finds their objects.
        let mut at = from;
        for (bad, good) in scanned.damage.iter().copied().chain([(scanned.end, scanned.end)]) {
            if bad > at {
                state.cover(file, at, bad);
            }
            at = good;
        }
        let info = &mut state.files[file as usize];
        info.end = info.end.max(scanned.end);
        info.finished |= scanned.sealed || !scanned.damage.is_empty() || !name.starts_with(JOURNALS);
        if scanned.sealed || !name.starts_with(JOURNALS) {
            info.durable = info.end;
        }
        Ok(scanned.damage.is_empty())
    }
}

/// A note about files that a later gc deletes.
#[derive(Debug, Serialize, Deserialize)]
struct Note {
    files: Vec<String>,
}

/// The files that a note names: packs and journals.
pub(crate) fn read_note(text: &[u8], name: &str) -> Result<Vec<String>> {
    let note: Note = serde_json::from_slice(text).map_err(|error| Error::format(name, error.to_string()))?;
    let good = |file: &str| {
        let own = file.strip_prefix(PACKS).or_else(|| file.strip_prefix(JOURNALS));
        own.is_some_and(|own| !own.is_empty() && own.bytes().all(|b| matches!(b, b'-' | b'0'..=b'9' | b'a'..=b'f')))
    };
    // What it names is deleted one day.
    match note.files.iter().find(|file| !good(file)) {
        Some(other) => Err(Error::format(name, format!("it names {other:?}, which is neither a pack nor a journal"))),
        None => Ok(note.files),
    }
}

/// The note that names `files`.
pub(crate) fn write_note(files: &[String]) -> Vec<u8> {
    serde_json::to_vec(&Note { files: files.to_vec() }).expect("a list of names can be written as JSON")
}
