//! What a node keeps of its past: checkpoints in the place of records, snapshots in the place of entries.

use super::super::chain::Chains;
use super::super::record::{Checkpoint, Record};
use super::super::state::Snapshot;
use super::super::zoo::Bug;
use super::Node;

impl Node {
    /// Everything that is durable here, to stand for all records before; `None` while something is on its way to the log.
    #[must_use]
    pub fn checkpoint(&self) -> Option<Checkpoint> {
        // What is queued would stand before the checkpoint in the log and after it in time.
        if !self.queue.is_empty() {
            return None;
        }
        Some(Checkpoint {
            name: self.name,
            hub: self.hub,
            own: self.own,
            clock: self.clock,
            snapshot: self.snapshot(),
            pending: self.state.pending.iter().cloned().collect(),
        })
    }

    /// Its rows and coverage, for somebody else.
    pub(super) fn snapshot(&self) -> Snapshot {
        let chains = if self.zoo.has(Bug::RepairNamesMoreThanItHas) { self.chains.clone() } else { self.applied() };
        let rows = self.state.rows.iter().map(|(key, row)| (key.clone(), row.clone())).collect();
        Snapshot { coverage: self.state.coverage.clone(), rows, chains }
    }

    /// The transactions that have been applied: all that are known, but for those on their way to the log.
    pub(super) fn applied(&self) -> Chains {
        let join = self.queue.iter().position(|queued| queued.had.is_some());
        let had = join.and_then(|at| self.queue[at].had.as_deref());
        let mut chains = had.unwrap_or(&self.chains).clone();
        for queued in self.queue.iter().take(join.unwrap_or(self.queue.len())).rev() {
            if let (Record::Entry(entry), true) = (&queued.record, queued.new)
                && let Some(chain) = chains.get_mut(&entry.txn.body().origin)
            {
                chain.forget(&entry.txn.dot());
            }
        }
        chains.retain(|_, chain| chain.head().is_some());
        chains
    }

    /// Gives up the oldest entries of its log, all but the newest `keep`. Whoever still needs them gets a snapshot.
    pub fn cut_log(&mut self, keep: usize) {
        while self.entries.len() > keep {
            let Some(entry) = self.entries.pop_front() else { return };
            if !self.zoo.has(Bug::ServedFromCutLog) {
                self.base.raise(entry.stamp.hub, entry.stamp.n);
            }
            self.first += 1;
        }
    }
}
