//! Verify: checking that what is stored is what it claims to be.
//!
//! Damage never ends the walk: it is reported, and the next frame is looked for. A file is reported as long as it has damage in
//! it; an object only when no good copy of it is left.
//!
//! What a crash leaves is no damage: a frame at the end of a journal that the end of the file cuts off. Unless it is known that
//! those bytes were acknowledged: from the mark in the head, from the index, or because this process wrote them.
//!
//! Owns: one frame at a time, and in a deep walk what its objects decode to.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use syncline_base::{Hash, Kind, task};

use crate::error::Result;
use crate::frame::{Frame, Stored};
use crate::index::{CONDEMNED, JOURNALS, Place, read_note};
use crate::pack::{self, Scanned};
use crate::store::Store;

/// One thing that is wrong with the store.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// The pack, journal or other file.
    pub file: String,
    /// The objects that cannot be read because of it, as far as known.
    pub ids: Vec<Hash>,
    /// What is wrong.
    pub reason: String,
}

/// What verify looked at.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Checked {
    /// Packs and journals.
    pub files: u64,
    /// Objects in them.
    pub objects: u64,
    /// Bytes read.
    pub bytes: u64,
    /// Findings reported.
    pub findings: u64,
}

struct Walk<'a> {
    store: &'a Store,
    deep: bool,
    report: &'a mut dyn FnMut(Finding),
    checked: Checked,
    /// How much of files was acknowledged, as far as known.
    durable: BTreeMap<u32, u64>,
}

impl Store {
    /// Checks the structure: frames, checksums, that the index knows every object and every object of the index is there, that no
    /// patch lacks its base. With `deep` also decodes and hashes every object. Findings go to `report` as they come up. What is
    /// put but not flushed is not looked at.
    ///
    /// # Errors
    /// The backend's, when it cannot be read at all. Damage is not an error but a finding.
    pub fn verify(&self, deep: bool, report: &mut dyn FnMut(Finding)) -> Result<Checked> {
        let head = self.head();
        // Segments are a cache: damaged ones are made again here, and are no finding.
        self.inner.index.reload()?;
        // What cannot be read because nobody waits for it is no damage.
        let steady = self.steady();
        let durable = self.acknowledged();
        let mut walk = Walk { store: &steady, deep, report, checked: Checked::default(), durable };
        if let Err(error) = head {
            if error.kind() != Kind::Corrupt {
                return Err(error);
            }
            walk.find("head", Vec::new(), error.to_string());
        }
        let count = self.inner.index.read().files.len();
        for file in 0..u32::try_from(count).expect("file numbers have 32 bits") {
            self.go_on()?;
            match walk.file(file) {
                // Collected by another process meanwhile.
                Err(error) if error.kind() == Kind::NotFound && self.is_gone(file)? => {}
                other => other?,
            }
        }
        walk.notes()?;
        walk.index()?;
        Ok(walk.checked)
    }

    fn is_gone(&self, file: u32) -> Result<bool> {
        self.inner.index.refresh()?;
        Ok(self.inner.index.read().files[file as usize].gone)
    }

    /// How much of each file was acknowledged, as far as known.
    fn acknowledged(&self) -> BTreeMap<u32, u64> {
        let mut durable: BTreeMap<u32, u64> = BTreeMap::new();
        let mark = self.newest_mark();
        let state = self.inner.index.read();
        let mut note = |file: u32, len: u64| {
            let known = durable.entry(file).or_default();
            *known = len.max(*known);
        };
        for (file, info) in (0..).zip(&state.files) {
            let marked = mark.as_ref().filter(|mark| *mark.journal == *info.name);
            note(file, marked.map_or(0, |mark| mark.len).max(info.durable));
        }
        for open in state.segments.iter() {
            for (cover, file) in open.segment.covers.iter().zip(&open.files) {
                note(*file, cover.to);
            }
        }
        durable
    }

    /// The ids that the index places in a stretch of a file and that cannot be read from anywhere.
    pub(super) fn lost_in(&self, file: u32, from: u64, to: u64) -> Result<Vec<Hash>> {
        let indexed = self.inner.index.healing(|| self.indexed_in(file, from, to))?;
        Ok(indexed.into_iter().filter(|id| self.get(id).is_err()).collect())
    }

    fn indexed_in(&self, file: u32, from: u64, to: u64) -> Result<BTreeSet<Hash>> {
        let within = |loc: &pack::Loc| loc.file == file && (from..to).contains(&u64::from(loc.offset));
        let state = self.inner.index.read();
        let mut found: BTreeSet<Hash> = state.tail.iter().filter(|(_, loc)| within(loc)).map(|(id, _)| id).collect();
        let segments = Arc::clone(&state.segments);
        drop(state);
        for open in segments.iter() {
            for entry in open.segment.iter(&*self.inner.backend) {
                let (id, loc) = entry?;
                found.extend(open.translate(loc).filter(within).map(|_| id));
            }
        }
        Ok(found)
    }
}

impl Walk<'_> {
    fn find(&mut self, file: &str, ids: Vec<Hash>, reason: impl Into<String>) {
        self.checked.findings += 1;
        (self.report)(Finding { file: file.to_owned(), ids, reason: reason.into() });
    }

    fn file(&mut self, file: u32) -> Result<()> {
        let info = self.store.inner.index.read().files[file as usize].clone();
        if info.gone || info.upload.is_some() {
            return Ok(());
        }
        let backend = Arc::clone(&self.store.inner.backend);
        let Some(size) = backend.size(&info.name)? else { return Ok(()) };
        if size > info.end {
            // Another process has added to it since the index was read.
            self.store.inner.index.refresh()?;
        }
        self.checked.files += 1;
        self.checked.bytes += size;
        let scanned = pack::scan(&*backend, &info.name, 0, size, &mut |_, _, frame| self.frame(&info.name, &frame))?;
        self.damage(file, &info.name, size, &scanned)
    }

    fn frame(&mut self, name: &str, frame: &Frame) -> Result<()> {
        self.checked.objects += frame.objects.len() as u64;
        let inner = &self.store.inner;
        let check = |object: &Stored| -> Result<Option<(Hash, String)>> {
            let wrong = |reason: String| Ok(Some((object.id, reason)));
            if inner.index.healing(|| inner.index.find(&object.id))?.is_none() {
                return wrong(
                    "the index does not know it: delete the files of the index, they are made again".to_owned(),
                );
            }
            let lower = |base: &Hash| match inner.index.find(base) {
                Ok(Some(Place::At(loc))) => loc.depth < object.depth,
                Ok(Some(Place::Pending(base))) => base.depth < object.depth,
                _ => false,
            };
            // If not, another copy may be whole, or lie lower in its chain.
            if !inner.bases_of(object).is_ok_and(|bases| bases.iter().all(lower))
                && !self.deep
                && self.store.get(&object.id).is_err()
            {
                return wrong("its base is missing, or not lower in the chain".to_owned());
            }
            if !self.deep {
                return Ok(None);
            }
            match inner.decode(vec![object.clone()]) {
                Ok(_) => Ok(None),
                Err(error) if matches!(error.kind(), Kind::Corrupt | Kind::NotFound) => wrong(error.to_string()),
                Err(error) => Err(error),
            }
        };
        let found = task::try_map(frame.objects.iter().collect(), check)?;
        for (id, reason) in found.into_iter().flatten() {
            // A collection that was cut short may have deleted bases before the dead patches on them, which are next. What is live
            // has been copied out of condemned files.
            if !self.is_condemned(name) {
                // Another copy may be whole.
                let lost = if self.store.get(&id).is_ok() { Vec::new() } else { vec![id] };
                self.find(name, lost, reason);
            }
        }
        Ok(())
    }

    fn is_condemned(&self, name: &str) -> bool {
        let mut state = self.store.inner.index.write();
        let file = state.file(name);
        state.files[file as usize].condemned
    }

    /// Reports the stretches of a file that are no good frames.
    fn damage(&mut self, file: u32, name: &str, size: u64, scanned: &Scanned) -> Result<()> {
        for &(from, to) in &scanned.damage {
            let reason = format!("the frame at byte {from} is damaged, up to byte {to}");
            self.lost(file, name, (from, to), reason)?;
        }
        let known = scanned.known();
        let durable = self.durable.get(&file).copied().unwrap_or(0);
        // A pack is whole from its first moment on. Of a journal the last append may have been cut short.
        let whole = name.starts_with(JOURNALS) || known == size && (scanned.sealed || !scanned.damage.is_empty());
        if known < durable || !whole {
            let reason = if known < durable {
                format!("what is good ends at byte {known} of {size}, and {durable} bytes were acknowledged")
            } else {
                format!("what is good ends at byte {known} of {size}, without a footer")
            };
            self.lost(file, name, (known, durable.max(size)), reason)?;
        }
        Ok(())
    }

    /// Reports damage in a stretch of a file, with the objects that it takes away.
    fn lost(&mut self, file: u32, name: &str, (from, to): (u64, u64), reason: String) -> Result<()> {
        let lost = self.store.lost_in(file, from, to)?;
        self.find(name, lost, reason);
        Ok(())
    }

    /// Checks the notes about files to be deleted.
    fn notes(&mut self) -> Result<()> {
        let backend = Arc::clone(&self.store.inner.backend);
        for (name, size) in backend.list(CONDEMNED)? {
            match backend.read(&name, 0..size).and_then(|text| read_note(&text, &name)) {
                Err(error) if error.kind() == Kind::Corrupt => self.find(&name, Vec::new(), error.to_string()),
                // Done with meanwhile.
                Err(error) if error.kind() != Kind::NotFound => return Err(error),
                _ => {}
            }
        }
        Ok(())
    }

    /// Checks that the files that the index knows are there: files leave the index before they are deleted.
    fn index(&mut self) -> Result<()> {
        let store = self.store;
        let index = &store.inner.index;
        let look = || -> Result<(Vec<String>, BTreeMap<u32, u64>)> {
            index.refresh()?;
            let state = index.read();
            let mut missing = BTreeMap::new();
            for open in state.segments.iter() {
                let covers = open.segment.covers.iter().zip(&open.files);
                missing.extend(
                    covers.filter(|(_, file)| state.files[**file as usize].gone).map(|(c, file)| (*file, c.to)),
                );
            }
            Ok((state.segments.iter().map(|open| open.segment.name.clone()).collect(), missing))
        };
        let (segments, missing) = look()?;
        // Another process may have collected them while we looked: then the index is another one by now.
        if missing.is_empty() || look()?.0 != segments {
            return Ok(());
        }
        for (file, to) in missing {
            let lost = store.lost_in(file, 0, to)?;
            if !lost.is_empty() {
                let name = Arc::clone(&index.read().files[file as usize].name);
                self.find(&name, lost, "the file is gone");
            }
        }
        Ok(())
    }
}
