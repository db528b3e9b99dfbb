//! Following a replica's entries in the order in which they took effect there.
//!
//! Owns nothing: a cursor says how far somebody has come.

use std::sync::{Arc, PoisonError};
use std::time::Duration;

use syncline_sync::live::{Coverage, Entry};

use super::Engine;
use crate::Result;

/// How far somebody has followed a replica's entries.
#[derive(Debug, Clone, Default)]
pub struct Cursor {
    /// What has been given.
    pub coverage: Coverage,
    /// Where to go on in memory.
    at: Option<(u64, u64)>,
}

impl Cursor {
    /// From here on.
    #[must_use]
    pub const fn new(coverage: Coverage) -> Self {
        Self { coverage, at: None }
    }
}

impl Engine {
    /// Entries that are not in `after`, in this replica's order, at most `most`; waits for the first until `patience` is over. `None`
    /// when `after` is older than what is kept.
    ///
    /// # Errors
    /// As [`Self::read`].
    pub fn entries_after(
        &self,
        cursor: &mut Cursor,
        most: usize,
        patience: Duration,
    ) -> Result<Option<Vec<Arc<Entry>>>> {
        let mut core = self.lock()?;
        let until = self.shared.clock.monotonic() + patience;
        loop {
            let (generation, at) = cursor.at.unwrap_or((core.node.generation(), 0));
            if generation != core.node.generation() || at < core.node.first() {
                if !cursor.coverage.includes(core.node.base()) {
                    return Ok(None);
                }
                cursor.at = Some((core.node.generation(), core.node.first()));
                continue;
            }
            let mut found = Vec::new();
            let mut next = at;
            for entry in core.node.entries_from(at) {
                if found.len() == most {
                    break;
                }
                next += 1;
                if !cursor.coverage.has(entry.stamp) {
                    found.push(Arc::clone(entry));
                }
            }
            cursor.at = Some((generation, next));
            if !found.is_empty() {
                for entry in &found {
                    cursor.coverage.raise(entry.stamp.hub, entry.stamp.n);
                }
                return Ok(Some(found));
            }
            let now = self.shared.clock.monotonic();
            if now >= until || core.closing {
                return Ok(Some(found));
            }
            core = self.shared.news.wait_timeout(core, until - now).unwrap_or_else(PoisonError::into_inner).0;
            if core.broken.is_some() {
                return Ok(Some(found));
            }
        }
    }
}
