//! Following a replica's entries in the order in which they took effect there.
//!
//! Owns nothing: a cursor says how far somebody has come.

use std::sync::{Arc, PoisonError};
use std::time::Duration;

use syncline_sync::live::{Coverage, Entry};

use super::Engine;
use super::core::Core;
use crate::Result;

/// How far somebody has followed a replica's entries.
#[derive(Debug, Clone, Default)]
pub struct Cursor {
    /// What has been given.
    pub coverage: Coverage,
    /// Where to go on in memory: which opening of the log, and the position since then.
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
    /// Waits until rows of files may have changed since this was asked last and said `seen`, or until `patience` is over; 0 is before everything.
    ///
    /// # Errors
    /// As [`Self::read`].
    pub fn wait_for_files(&self, seen: u64, patience: Duration) -> Result<u64> {
        let mut core = self.lock()?;
        let until = self.shared.clock.monotonic() + patience;
        while core.files.0 == seen && !core.closing {
            let now = self.shared.clock.monotonic();
            if now >= until {
                break;
            }
            core = self.shared.files.wait_timeout(core, until - now).unwrap_or_else(PoisonError::into_inner).0;
        }
        Ok(core.files.0)
    }

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
            let Some((found, next)) = look(&core, cursor, most) else { return Ok(None) };
            cursor.at = Some((core.epoch, next));
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
            core = self.shared.news.wait(core, until - now);
            if core.broken.is_some() {
                return Ok(Some(found));
            }
        }
    }
}

/// Entries behind a cursor that are kept, at most `most`, and the position behind them; `None` when some before them are not kept.
fn look(core: &Core, cursor: &Cursor, most: usize) -> Option<(Vec<Arc<Entry>>, u64)> {
    let known = cursor.at.filter(|(epoch, _)| *epoch == core.epoch).map(|(_, at)| at);
    let mut found = Vec::new();
    let mut take = |mut at: u64, entries: &mut dyn Iterator<Item = &Arc<Entry>>| {
        while found.len() < most {
            let Some(entry) = entries.next() else { break };
            at += 1;
            if !cursor.coverage.has(entry.stamp) {
                found.push(Arc::clone(entry));
            }
        }
        at
    };
    if let Some(at) = known
        && let Some(mut entries) = core.node.entries_from(at)
    {
        let next = take(at, &mut entries);
        return Some((found, next));
    }
    // Without a place, or with one that is not kept any more: from the oldest on, if nothing that is lacking came before that.
    if !core.node.resumes(&cursor.coverage) {
        return None;
    }
    let first = core.node.first();
    let next = take(first, &mut core.node.entries_from(first)?);
    Some((found, next))
}
