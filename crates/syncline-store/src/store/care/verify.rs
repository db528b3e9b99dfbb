//! Verify: checking that what is stored is what it claims to be.
//!
//! Damage never ends the walk: it is reported, and the next frame is looked for. An object is only reported when no good
//! copy of it is left, so a store that was repaired verifies clean.
//!
//! Owns: one frame at a time, and in a deep walk what its objects decode to.

use std::collections::BTreeSet;
use std::sync::Arc;

use syncline_base::{Hash, Kind, task};

use crate::error::Result;
use crate::frame::{Frame, Stored};
use crate::index::{JOURNALS, Open, Place};
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
}

impl Store {
    /// Checks the structure: frames, checksums, that the index knows every object and every object of the index is there, that no
    /// patch lacks its base. With `deep` also decodes and hashes every object. Findings go to `report` as they come up. What is
    /// put but not flushed is not looked at.
    ///
    /// # Errors
    /// The backend's, when it cannot be read at all. Damage is not an error but a finding.
    pub fn verify(&self, deep: bool, report: &mut dyn FnMut(Finding)) -> Result<Checked> {
        self.inner.index.refresh()?;
        let mut walk = Walk { store: self, deep, report, checked: Checked::default() };
        if let Err(error) = self.head() {
            if error.kind() != Kind::Corrupt {
                return Err(error);
            }
            walk.find("head", Vec::new(), error.to_string());
        }
        let count = self.inner.index.read().files.len();
        for file in 0..u32::try_from(count).expect("file numbers have 32 bits") {
            match walk.file(file) {
                // Collected by another process meanwhile.
                Err(error) if error.kind() == Kind::NotFound && self.is_gone(file)? => {}
                other => other?,
            }
        }
        walk.index()?;
        Ok(walk.checked)
    }

    fn is_gone(&self, file: u32) -> Result<bool> {
        self.inner.index.refresh()?;
        Ok(self.inner.index.read().files[file as usize].gone)
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
            if object.depth > 0 {
                match inner.base_of(object).and_then(|base| inner.index.find(&base)) {
                    Ok(Some(Place::At(loc))) if loc.depth < object.depth => {}
                    Ok(Some(Place::Pending(base))) if base.depth < object.depth => {}
                    // Another copy may be whole, or lie lower in its chain.
                    Ok(_) | Err(_) if self.deep || self.store.get(&object.id).is_ok() => {}
                    _ => return wrong("its base is missing, or not lower in the chain".to_owned()),
                }
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
                self.find(name, vec![id], reason);
            }
        }
        Ok(())
    }

    fn is_condemned(&self, name: &str) -> bool {
        let mut state = self.store.inner.index.write();
        let file = state.file(name);
        state.files[file as usize].condemned
    }

    /// Reports the stretches of a file that are no frames.
    fn damage(&mut self, file: u32, name: &str, size: u64, scanned: &Scanned) -> Result<()> {
        let mut stretches = scanned.damage.clone();
        if scanned.end < size {
            stretches.push((scanned.end, size));
        }
        for (from, to) in stretches {
            let known = self.indexed_in(file, from, to)?;
            let torn = from == scanned.end && name.starts_with(JOURNALS);
            if known.is_empty() && torn {
                // An append that was never acknowledged.
                continue;
            }
            let lost: Vec<Hash> = known.iter().copied().filter(|id| self.store.get(id).is_err()).collect();
            if lost.is_empty() && !known.is_empty() {
                continue;
            }
            self.find(name, lost, format!("bytes {from} to {to} are no frames, or have wrong checksums"));
        }
        Ok(())
    }

    /// The ids that the index places in a stretch of a file.
    fn indexed_in(&self, file: u32, from: u64, to: u64) -> Result<BTreeSet<Hash>> {
        let within = |loc: &pack::Loc| loc.file == file && (from..to).contains(&u64::from(loc.offset));
        let state = self.store.inner.index.read();
        let mut found: BTreeSet<Hash> = state.tail.iter().filter(|(_, loc)| within(loc)).map(|(id, _)| *id).collect();
        let segments = Arc::clone(&state.segments);
        drop(state);
        for open in segments.iter() {
            for entry in open.segment.iter(&*self.store.inner.backend) {
                let (id, loc) = entry?;
                found.extend(open.translate(loc).filter(within).map(|_| id));
            }
        }
        Ok(found)
    }

    /// Checks that what the index places in a file lies within it.
    fn index(&mut self) -> Result<()> {
        let segments: Vec<Arc<Open>> = self.store.inner.index.read().segments.iter().cloned().collect();
        for open in segments {
            let mut outside = Vec::new();
            for entry in open.segment.iter(&*self.store.inner.backend) {
                let (id, loc) = match entry {
                    Ok(entry) => entry,
                    Err(error) if error.kind() == Kind::Corrupt => {
                        // It is made again from packs at the next look: no object is lost.
                        self.store.inner.index.reload()?;
                        break;
                    }
                    Err(error) => return Err(error),
                };
                let Some(loc) = open.translate(loc) else { continue };
                let info = self.store.inner.index.read().files[loc.file as usize].clone();
                let fits = u64::from(loc.offset) + u64::from(loc.len) <= info.end;
                if !info.gone && !fits && self.store.get(&id).is_err() {
                    outside.push(id);
                }
            }
            if !outside.is_empty() {
                self.find(&open.segment.name, outside, "it places objects beyond the end of their file");
            }
        }
        Ok(())
    }
}
