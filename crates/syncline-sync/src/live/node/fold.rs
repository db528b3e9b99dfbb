//! Rows on their way from memory to the disk.
//!
//! Writing a run takes a while, and needs nothing of the node: the node says what is to be written, whoever drives it has that written, without
//! the node, and says that it was. Two such jobs may go on at once: one that writes what is in memory, and one that merges runs.
//!
//! After a crash: a run that no checkpoint names has never been. So what a node was told to be written counts in its next checkpoint only, and
//! the files of runs that were merged are removed when that checkpoint is durable.

use std::ops::Range;
use std::sync::Arc;

use super::super::runs::{Run, RunName, Runs};
use super::super::table::Rows;
use super::Node;
use super::renew::Renewal;
use crate::error::Result;

/// Rows that are to be written to a run.
#[derive(Debug)]
pub struct Fold {
    rows: Rows,
    runs: Runs,
    id: u64,
    spills: bool,
}

impl Fold {
    /// Whether these are rows of another node's state that is on its way here.
    #[must_use]
    pub const fn spills(&self) -> bool {
        self.spills
    }

    /// Writes them.
    ///
    /// # Errors
    /// The disk's. Nothing has happened then.
    pub fn write(&self) -> Result<Arc<Run>> {
        self.rows.write(&self.runs, self.id)
    }
}

/// Runs that are to become one.
#[derive(Debug)]
pub struct Merge {
    runs: Arc<Runs>,
    of: Range<usize>,
    id: u64,
}

impl Merge {
    /// Writes it.
    ///
    /// # Errors
    /// The disk's; that one of them cannot be read. Nothing has happened then.
    pub fn write(&self) -> Result<Arc<Run>> {
        self.runs.merge(self.id, &self.of)
    }

    fn names(&self) -> Vec<RunName> {
        self.runs.names()[self.of.clone()].to_vec()
    }
}

impl Node {
    /// Why what is shown here cannot be believed, if it cannot: rows could not be read. To be asked after each look, before anybody is told
    /// what was seen, and before a transaction that follows from it is made. The node has to be opened again then.
    #[must_use]
    pub fn trouble(&self) -> Option<&str> {
        self.state.rows.trouble()
    }

    /// Whether rows of another node's state that is on its way here take much room in memory: they are what [`Self::begin_fold`] gives then.
    #[must_use]
    pub fn is_crowded(&self) -> bool {
        let most = self.limits.coming_bytes;
        self.runs.is_some() && self.coming.as_ref().is_some_and(|coming| coming.collected.crowds(most))
    }

    /// Whether parts of another node's state are in the log alone, so that it cannot be cut.
    #[must_use]
    pub fn is_spilled(&self) -> bool {
        self.coming.as_ref().is_some_and(|coming| coming.collected.parts().is_none())
    }

    /// Has rows of parts that were read from the log written to a run, here and now, if they are too many: what lay on the disk before a crash is
    /// not to be in memory after it.
    pub(super) fn spill_what_was_read(&mut self) {
        if !self.is_crowded() {
            return;
        }
        let Some(fold) = self.begin_fold() else { return };
        // Where they cannot be written they stay.
        if let Ok(run) = fold.write() {
            self.folded(&fold, run);
        }
    }

    /// The rows that are in memory, to be written to a run: [`Fold::write`], then [`Self::folded`]. `None` when there are none, or no place
    /// for runs. There is to be one such job at a time.
    pub fn begin_fold(&mut self) -> Option<Fold> {
        if self.is_crowded() {
            let (id, place) = (self.rng.next_u64(), self.runs.as_ref()?);
            let spill = self.coming.as_mut().and_then(|coming| coming.collected.begin_spill(id, place));
            if let Some((rows, runs)) = spill {
                return Some(Fold { rows, runs, id, spills: true });
            }
        }
        let rows = &mut self.state.rows;
        if rows.in_memory() == 0 || self.renewal != Renewal::None {
            return None;
        }
        let runs = rows.runs().map(|runs| Runs::clone(runs)).or_else(|| self.runs.clone().map(Runs::none))?;
        let id = self.rng.next_u64();
        rows.begin_fold(id);
        Some(Fold { rows: rows.clone(), runs, id, spills: false })
    }

    /// They were written. What has not changed since is not in memory any more. When other rows have taken their place meanwhile, nothing
    /// has happened.
    pub fn folded(&mut self, fold: &Fold, run: Arc<Run>) {
        if let Some(coming) = self.coming.as_mut().filter(|coming| coming.collected.spills(fold.id)) {
            return coming.collected.spilled(&fold.rows, &fold.runs, run);
        }
        let rows = &self.state.rows;
        if !rows.folds(fold.id) {
            return run.retire();
        }
        // As they are now: some may have been merged meanwhile.
        let runs = rows.runs().map_or(&fold.runs, |runs| runs).with(run);
        self.state.rows = rows.on(Arc::new(runs), &fold.rows);
    }

    /// Runs that are to be merged: [`Merge::write`], then [`Self::merged`]. `None` when they are few enough. There is to be one such job at
    /// a time.
    pub fn begin_merge(&mut self) -> Option<Merge> {
        let due = |runs: &Runs| runs.due().map(|of| (Arc::new(runs.clone()), of));
        let own = self.state.rows.runs().filter(|_| !self.renews()).and_then(|runs| due(runs));
        let coming = || self.coming.as_ref().and_then(|coming| coming.collected.runs()).and_then(due);
        let (runs, of) = own.or_else(coming)?;
        Some(Merge { runs, of, id: self.rng.next_u64() })
    }

    /// They were merged. Returns those that nobody needs any more ([`Run::retire`]) once a checkpoint is durable that is made after this.
    pub fn merged(&mut self, merge: &Merge, run: &Arc<Run>) -> Vec<Arc<Run>> {
        if self.coming.as_mut().is_some_and(|coming| coming.collected.merged(&merge.names(), run)) {
            return Vec::new();
        }
        let rows = &self.state.rows;
        match rows.runs().and_then(|runs| runs.with_merged(&merge.names(), run)) {
            Some(runs) => {
                self.state.rows = rows.on_merged(Arc::new(runs));
                merge.runs.some(&merge.of)
            }
            None => vec![run.clone()],
        }
    }

    /// The runs without which its log cannot be read, to be asked once it is open: those that it stands on, those of the checkpoint that the
    /// log has, which other rows may have taken the place of since, and those of a state that is on its way. All others are nobody's.
    #[must_use]
    pub fn needs(&self) -> Vec<RunName> {
        let mut names = self.named.clone();
        names.extend(self.stands_on().into_iter().flat_map(|runs| runs.names()));
        let coming = self.coming.as_ref().and_then(|coming| coming.collected.runs());
        names.extend(coming.into_iter().flat_map(Runs::names));
        names
    }

    /// The runs that it stands on now.
    #[must_use]
    pub fn stands_on(&self) -> Option<&Arc<Runs>> {
        self.state.rows.runs()
    }
}
