//! Care: usage, repair, and what verify and gc have in common.

mod collect;
mod mark;
mod mend;
mod verify;

#[cfg(test)]
mod rot_tests;
#[cfg(test)]
mod tests;
#[cfg(test)]
mod together_tests;

use std::sync::Arc;

use bytes::Bytes;
use syncline_base::{Clock, Hash};

use super::Store;
use super::open_pack::OpenPack;
use crate::error::Result;
use crate::index::{JOURNALS, PACKS, SEGMENTS};

pub use collect::{GcOptions, GcReport};
pub use mark::Marker;
pub use mend::Mended;
pub use verify::{Checked, Finding};

/// How much is stored.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Usage {
    /// Objects, counting those that lie in two places twice.
    pub objects: u64,
    /// Packs.
    pub packs: u64,
    /// Their bytes.
    pub pack_bytes: u64,
    /// Bytes of journals.
    pub journal_bytes: u64,
    /// Bytes of the index.
    pub index_bytes: u64,
}

impl Store {
    /// Stores good copies of objects whose stored copies are damaged or missing, durably. They win over the damaged ones.
    ///
    /// # Errors
    /// As `put`.
    pub fn replace(&self, objects: &[Bytes]) -> Result<Vec<Hash>> {
        if objects.is_empty() {
            return Ok(Vec::new());
        }
        self.go_on()?;
        let mut ids = Vec::new();
        let mut frames = Vec::new();
        for bytes in objects {
            let stored = self.stored(Self::encode(bytes)?)?;
            ids.push(stored.id);
            frames.push(crate::frame::build(&[stored])?);
        }
        // In a pack of their own: newer than anything, whatever journal is open.
        let mut pack = OpenPack::start(self)?;
        pack.write(self, &frames)?;
        pack.publish(&self.inner.index)?;
        Ok(ids)
    }

    /// The time that it goes by.
    #[must_use]
    pub fn clock(&self) -> &Arc<dyn Clock> {
        &self.inner.options.clock
    }

    /// How much is stored, by what is listed now.
    ///
    /// # Errors
    /// The backend's.
    pub fn usage(&self) -> Result<Usage> {
        self.inner.index.refresh()?;
        let (packs, pack_bytes) = self.listed(PACKS)?;
        let state = self.inner.index.read();
        let in_segments: u64 = state.segments.iter().map(|open| open.segment.entries).sum();
        let objects = in_segments + (state.tail.len() + state.pending.len()) as u64;
        drop(state);
        let (journal_bytes, index_bytes) = (self.listed(JOURNALS)?.1, self.listed(SEGMENTS)?.1);
        Ok(Usage { objects, packs, pack_bytes, journal_bytes, index_bytes })
    }

    fn listed(&self, prefix: &str) -> Result<(u64, u64)> {
        let files = self.inner.backend.list(prefix)?;
        Ok((files.len() as u64, files.iter().map(|file| file.1).sum()))
    }
}
