//! Parts of a state that have come and are not closed yet.
//!
//! A state has no bound, and memory has one: once rows that have come take much room they are written to a run, as rows are that were changed
//! here. They come by key and none comes twice, so these runs lie one behind the other. When the state takes effect they are among its runs;
//! when it never does, they are removed.
//!
//! Owns: those runs. After a crash: the parts are in the log, and come anew from there, to runs as before; those of before are nobody's.

use std::sync::Arc;

use super::super::chain::Chains;
use super::super::context::Coverage;
use super::super::id::Origin;
use super::super::row::Row;
use super::super::runs::{Place, Run, RunName, Runs};
use super::super::state::Snapshot;
use super::super::table::{Counts, Rows};
use super::super::txn::{RowKey, Txn};
use super::{Part, PartsId, What};
use crate::error::{Error, Result};

/// Parts that have come and are not closed yet.
#[derive(Debug, Default)]
#[cfg_attr(test, derive(Clone))]
pub(in super::super) struct Collected {
    id: Option<PartsId>,
    len: u64,
    /// As they came; those from before rows were spilled are not here any more.
    parts: Vec<Arc<Part>>,
    /// Rows that are not in a run, and about how many bytes they take. More may come of the last one.
    rows: Vec<(RowKey, Arc<Row>)>,
    bytes: usize,
    spilled: Spilled,
    /// The run that is being written, and of how many of the rows.
    spills: Option<(u64, usize)>,
    pub(in super::super) gone: Vec<RowKey>,
    chains: Chains,
    /// The last origin of which came what is signed.
    attested: Option<Origin>,
    pub(in super::super) waiting: Vec<Arc<Txn>>,
}

/// Rows in runs that nobody else knows of.
#[derive(Debug, Default)]
#[cfg_attr(test, derive(Clone))]
struct Spilled {
    runs: Option<Runs>,
    counts: Counts,
    /// Whether some rows were ever to be.
    begun: bool,
}

impl Drop for Spilled {
    fn drop(&mut self) {
        self.runs.iter().flat_map(Runs::iter).for_each(|run| run.retire());
    }
}

impl Collected {
    pub(in super::super) const fn id(&self) -> Option<PartsId> {
        self.id
    }

    /// How many.
    pub(in super::super) const fn len(&self) -> u64 {
        self.len
    }

    /// As they came. `None` when they are not all in memory.
    pub(in super::super) fn parts(&self) -> Option<&[Arc<Part>]> {
        (!self.spilled.begun).then_some(&self.parts[..])
    }

    /// Whether its rows take more than about so many bytes in memory, and some can go.
    pub(in super::super) const fn crowds(&self, most: usize) -> bool {
        self.bytes > most && self.rows.len() > 1
    }

    /// Takes the next part.
    ///
    /// # Errors
    /// `invalid` when it is not the next, or does not go on where the last one ended. What came before cannot be used then.
    pub(in super::super) fn add(&mut self, part: &Arc<Part>) -> Result<()> {
        let follows = part.nth == self.len && self.id.is_none_or(|id| id == part.id);
        if !follows || !self.take(&part.what) {
            return Err(Error::protocol("part", "it does not go on where the part before ended"));
        }
        (self.id, self.len) = (Some(part.id), self.len + 1);
        if !self.spilled.begun {
            self.parts.push(part.clone());
        }
        Ok(())
    }

    fn take(&mut self, what: &What) -> bool {
        match what {
            What::Rows(rows) => {
                self.rows.reserve(rows.len());
                rows.iter().all(|(key, row)| {
                    self.bytes += size(key, row);
                    match self.rows.last_mut() {
                        Some((last, _)) if *last > *key => false,
                        Some((last, sofar)) if last == key => Arc::make_mut(sofar).extend(row),
                        _ => {
                            self.rows.push((key.clone(), row.clone()));
                            true
                        }
                    }
                })
            }
            What::Gone(rows) => {
                let ascends = self.gone.last() < rows.first();
                self.gone.extend(rows.iter().cloned());
                ascends
            }
            What::Chains(_) if self.attested.is_some() => false,
            What::Chains(pieces) => pieces.iter().all(|piece| {
                let ascends = self.chains.last_key_value().is_none_or(|(last, _)| *last <= piece.origin);
                ascends && self.chains.entry(piece.origin).or_default().extend(piece)
            }),
            What::Attested(all) => all.iter().all(|attested| {
                let ascends = self.attested.is_none_or(|last| last < attested.origin);
                self.attested = Some(attested.origin);
                ascends && self.chains.get_mut(&attested.origin).is_some_and(|chain| chain.attest(attested))
            }),
            What::Waiting(txns) => {
                self.waiting.extend(txns.iter().cloned());
                true
            }
            // Whoever takes it puts the rows in its place.
            What::Same(_) => false,
        }
    }

    pub(in super::super) const fn chains(&self) -> &Chains {
        &self.chains
    }

    /// The rows of which no more can come, to be written to a run with this number among these; `None` when there are none.
    pub(in super::super) fn begin_spill(&mut self, id: u64, place: &Place) -> Option<(Rows, Runs)> {
        let (_, all) = self.rows.split_last().filter(|(_, all)| !all.is_empty())?;
        self.spills = Some((id, all.len()));
        // The log has them: they are not to be written to it again, but until this is closed it cannot be cut.
        (self.parts, self.spilled.begun) = (Vec::new(), true);
        let runs = self.spilled.runs.clone().unwrap_or_else(|| Runs::none(place.clone()));
        Some((all.iter().cloned().collect(), runs))
    }

    /// Whether a run with this number is being made of its rows.
    pub(in super::super) fn spills(&self, id: u64) -> bool {
        self.spills.is_some_and(|(is, _)| is == id)
    }

    /// They were written: they need not be in memory any more.
    pub(in super::super) fn spilled(&mut self, rows: &Rows, runs: &Runs, run: Arc<Run>) {
        let Some((_, count)) = self.spills.take() else { return run.retire() };
        self.rows.drain(..count);
        self.rows.shrink_to(2 * self.rows.len());
        self.bytes = self.rows.iter().map(|(key, row)| size(key, row)).sum();
        // As they are now: some may have been merged meanwhile.
        self.spilled.runs = Some(self.spilled.runs.as_ref().unwrap_or(runs).with(run));
        for (table, more) in rows.counts() {
            self.spilled.counts.entry(table.clone()).or_default().add(*more);
        }
    }

    /// Where rows lie that are not in memory.
    pub(in super::super) const fn runs(&self) -> Option<&Runs> {
        self.spilled.runs.as_ref()
    }

    /// Some of the runs were merged into one. Whether they were there.
    pub(in super::super) fn merged(&mut self, names: &[RunName], run: &Arc<Run>) -> bool {
        let Some(merged) = self.spilled.runs.as_ref().and_then(|runs| runs.with_merged(names, run)) else {
            return false;
        };
        let was = self.spilled.runs.replace(merged);
        let was = was.iter().flat_map(Runs::iter).filter(|run| names.contains(&run.name()));
        was.for_each(|run| run.retire());
        true
    }

    /// The state, once it is closed.
    pub(in super::super) fn close(mut self, coverage: Coverage) -> Snapshot {
        let rows: Rows = self.rows.into_iter().collect();
        let rows = match self.spilled.runs.take() {
            Some(runs) => rows.above(runs, &self.spilled.counts),
            None => rows,
        };
        Snapshot { coverage, rows, chains: self.chains }
    }

    /// The state of a checkpoint whose other rows lie in runs; so many there are with these.
    pub(in super::super) fn close_over(mut self, coverage: Coverage, runs: Arc<Runs>, counts: Counts) -> Snapshot {
        let runs = match self.spilled.runs.take() {
            // What is newer hides what is below.
            Some(spilled) => Arc::new(spilled.iter().fold(Runs::clone(&runs), |runs, run| runs.with(run.clone()))),
            None => runs,
        };
        Snapshot {
            coverage,
            rows: Rows::over_runs(runs, counts, self.rows, self.gone.into_iter()),
            chains: self.chains,
        }
    }
}

/// About how many bytes a row takes.
fn size(key: &RowKey, row: &Row) -> usize {
    key.key.len() + row.size() + 64
}
