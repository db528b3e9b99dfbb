//! Mend: getting rid of files with damage in them, once what they held has been replaced.
//!
//! Every object that such a file still holds whole is copied to new packs; then the file leaves the index; then it is deleted. A
//! crash between any two steps leaves the file, or copies of what it held, or both. Nobody who reads or relies on one of its
//! objects loses it, so no grace period is needed.
//!
//! Not here: finding damage (`verify`), replacing objects (`Store::replace`).

use std::collections::BTreeSet;
use std::sync::Arc;

use syncline_base::Hash;

use crate::error::Result;
use crate::frame::Stored;
use crate::index::{CONDEMNED, JOURNALS, PACKS, read_note};
use crate::pack::{self, Loc};
use crate::store::Store;
use crate::store::write::Copier;

/// What mending did.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Mended {
    /// Files that were rewritten without their damage.
    pub files: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Objects that were copied out of them.
    pub copied: u64,
    /// Objects that could not be read and were given up.
    pub forgotten: u64,
    /// Files that stay because they hold objects of which there is no good copy.
    pub kept: u64,
}

impl Store {
    /// Rewrites `files`, which are those that `verify` names, without what is damaged in them. A file that holds an object of
    /// which no good copy is left stays, unless `forget` is set: then the object is given up. A damaged note of a collection is
    /// deleted; damaged files of other kinds (the head) are left alone.
    ///
    /// # Errors
    /// `Unavailable` when another process collects or writes, or the backend's. Nothing is lost then; it may be called again.
    pub fn mend(&self, files: &BTreeSet<String>, forget: bool) -> Result<Mended> {
        self.go_on()?;
        self.steady().mend_now(files, forget)
    }

    fn mend_now(&self, files: &BTreeSet<String>, forget: bool) -> Result<Mended> {
        let _collecting = self.lock("gc")?;
        self.flush_all()?;
        let _writing = if self.inner.backend.caps().append { Some(self.lock("writer")?) } else { None };
        let index = &self.inner.index;
        index.refresh()?;
        let going: BTreeSet<u32> = {
            let state = index.read();
            let known = (0..).zip(&state.files).filter(|(_, info)| !info.gone && info.upload.is_none());
            let named = known.filter(|(_, info)| files.contains(&*info.name));
            named
                .filter(|(_, info)| info.name.starts_with(PACKS) || info.name.starts_with(JOURNALS))
                .map(|f| f.0)
                .collect()
        };
        let mut mended = Mended { files: self.drop_notes(files)?, ..Mended::default() };
        let mut copier = Copier::default();
        let mut emptied: Vec<(u32, Arc<str>)> = Vec::new();
        for &file in &going {
            let name = Arc::clone(&index.read().files[file as usize].name);
            let Some(size) = self.inner.backend.size(&name)? else { continue };
            if self.salvage(&mut copier, &going, (file, &name, size), forget, &mut mended)? {
                emptied.push((file, name));
                mended.bytes += size;
                mended.files += 1;
            } else {
                mended.kept += 1;
            }
        }
        copier.finish(self)?;
        if emptied.is_empty() {
            return Ok(mended);
        }
        emptied.iter().for_each(|(file, _)| self.work.leaves(*file));
        index.merge_without(&emptied.iter().map(|(file, _)| *file).collect())?;
        emptied.iter().try_for_each(|(_, name)| self.inner.backend.delete(name))?;
        index.forget_deleted()?;
        Ok(mended)
    }

    /// Deletes those notes of collections among `files` that cannot be read: they count for nothing.
    fn drop_notes(&self, files: &BTreeSet<String>) -> Result<u64> {
        let backend = &self.inner.backend;
        let mut dropped = 0;
        for name in files.iter().filter(|name| name.starts_with(CONDEMNED)) {
            let Some(size) = backend.size(name)? else { continue };
            if read_note(&backend.read(name, 0..size)?, name).is_err() {
                backend.delete(name)?;
                dropped += 1;
            }
        }
        Ok(dropped)
    }

    /// Copies what is whole in a file. False when the file must stay.
    fn salvage(
        &self,
        copier: &mut Copier,
        going: &BTreeSet<u32>,
        (file, name, size): (u32, &str, u64),
        forget: bool,
        mended: &mut Mended,
    ) -> Result<bool> {
        let mut lost: BTreeSet<Hash> = BTreeSet::new();
        let scanned = pack::scan(&*self.inner.backend, name, 0, size, &mut |_, _, frame| {
            for object in frame.objects {
                if !self.inner.is_whole(&object)? {
                    if self.get(&object.id).is_err() {
                        lost.insert(object.id);
                    }
                } else if !self.lies_elsewhere(copier, &object, going)? {
                    mended.copied += 1;
                    copier.add(self, object)?;
                }
            }
            Ok(())
        })?;
        for (from, to) in scanned.damage.iter().copied().chain([(scanned.known(), u64::MAX)]) {
            lost.extend(self.lost_in(file, from, to)?);
        }
        if forget {
            mended.forgotten += lost.len() as u64;
        }
        Ok(forget || lost.is_empty())
    }

    /// Whether a good copy of an object lies in a file that stays, or that `copier` will have published before anything is deleted.
    /// What somebody else is writing may never be published.
    fn lies_elsewhere(&self, copier: &Copier, object: &Stored, going: &BTreeSet<u32>) -> Result<bool> {
        let index = &self.inner.index;
        let mut places = index.all(&object.id)?;
        {
            let state = index.read();
            let stays = |loc: &Loc| state.files[loc.file as usize].upload.is_none() && !state.is_unsure(loc);
            places.retain(|loc| !going.contains(&loc.file) && (copier.writes(loc.file) || stays(loc)));
        }
        let good = |loc: &Loc| {
            let copy = self.inner.load_at(&object.id, loc);
            copy.is_ok_and(|copy| self.inner.is_whole(&copy).is_ok_and(|whole| whole))
        };
        Ok(places.iter().any(good))
    }
}
