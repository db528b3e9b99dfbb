//! A pack while it is written: its upload, and what the index knows of it meanwhile.
//!
//! Owns: the upload. After a crash: nothing is left but a temporary file.
//!
//! Invariant: what the index says of an upload ends with it, unless it was published.
//!
//! Not here: when packs are started and published (`write`).

use std::sync::{Arc, Weak};

use bytes::Bytes;
use syncline_base::Hash;

use super::{Inner, Store};
use crate::backend::Upload;
use crate::error::Result;
use crate::frame::Built;
use crate::index::PACKS;
use crate::pack::{self, Loc};

/// A pack that is being written. Dropped before it is published, it takes along what the index knows of it.
#[derive(Debug)]
pub(super) struct OpenPack {
    pub(super) file: u32,
    upload: Arc<dyn Upload>,
    pub(super) len: u64,
    pub(super) entries: Vec<(Hash, Loc)>,
    footed: bool,
    published: bool,
    store: Weak<Inner>,
}

impl OpenPack {
    pub(super) fn start(store: &Store) -> Result<Self> {
        let name = store.new_name(PACKS);
        let upload = store.inner.backend.create(&name)?;
        let mut state = store.inner.index.write();
        let file = state.file(&name);
        state.files[file as usize].upload = Some(Arc::clone(&upload));
        state.files[file as usize].finished = true;
        drop(state);
        let store = Arc::downgrade(&store.inner);
        Ok(Self { file, upload, len: 0, entries: Vec::new(), footed: false, published: false, store })
    }

    /// Writes frames, and tells the index where their objects are now.
    pub(super) fn write(&mut self, store: &Store, frames: &[Built]) -> Result<()> {
        let mut added = Vec::new();
        let mut at = self.len;
        for built in frames {
            added.extend(pack::locate_built(
                self.file,
                pack::check_room("a pack", at + u64::from(built.len))? - built.len,
                built,
            ));
            at += u64::from(built.len);
        }
        let parts: Vec<Bytes> = frames.iter().flat_map(|built| built.parts.iter().cloned()).collect();
        self.upload.write(&parts)?;
        self.len = at;
        let mut state = store.inner.index.write();
        added.iter().for_each(|(id, loc)| state.tail.insert(*id, *loc));
        drop(state);
        self.entries.extend(added);
        Ok(())
    }

    /// Makes the pack durable and visible. May be called again when it failed.
    pub(super) fn publish(&mut self, index: &crate::index::Index) -> Result<()> {
        if !self.footed {
            let footer = pack::footer(self.len, &mut self.entries)?;
            self.upload.write(std::slice::from_ref(&footer))?;
            self.len += footer.len() as u64;
            self.footed = true;
        }
        self.upload.publish()?;
        let mut state = index.write();
        let info = &mut state.files[self.file as usize];
        (info.upload, info.end, info.durable) = (None, self.len, self.len);
        state.cover(self.file, 0, self.len);
        self.published = true;
        Ok(())
    }
}

impl Drop for OpenPack {
    fn drop(&mut self) {
        if !self.published
            && let Some(inner) = self.store.upgrade()
        {
            inner.index.write().abandon(self.file, &self.entries);
        }
    }
}
