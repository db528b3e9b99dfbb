//! What a node keeps of its past: checkpoints in the place of records, snapshots in the place of entries.

use std::sync::Arc;

use super::super::chain::Chains;
use super::super::context::Coverage;
use super::super::record::{Below, Checkpoint, Moment, Record};
use super::super::state::Snapshot;
use super::super::txn::Entry;
use super::super::zoo::Bug;
use super::Node;

impl Node {
    /// Everything that is durable here, to stand for all records before; `None` while something is on its way to the log, and while parts of
    /// another node's state are in the log alone. Whoever drives
    /// the node appends its records, one after the other with nothing in between, makes them durable, and cuts the log before the first
    /// of them; the node is not told of them. Taking it costs little, whatever the node holds.
    #[must_use]
    pub fn checkpoint(&self) -> Option<Moment> {
        if self.is_spilled() { None } else { self.holds() }
    }

    /// The same to be looked at alone: of another node's state that is on its way there may be nothing in it.
    #[must_use]
    pub fn holds(&self) -> Option<Moment> {
        // What is queued would stand before the checkpoint in the log and after it in time.
        if !(self.queue.is_empty() && self.shown.is_empty()) {
            return None;
        }
        let coming = self.coming.as_ref().and_then(|coming| coming.collected.parts()).unwrap_or_default();
        let snapshot = self.snapshot();
        let coverage = snapshot.coverage.clone();
        let (name, hub, own, clock) = (self.name, self.hub, self.own, self.clock);
        let runs = snapshot.rows.runs().filter(|runs| !runs.is_empty());
        let below = runs.map(|runs| Below { counts: snapshot.rows.counts().clone(), runs: runs.names() });
        Some(Moment {
            closing: Checkpoint { parts: 0, name, hub, own, clock, coverage, below },
            snapshot,
            waiting: self.state.pending.iter().cloned().collect(),
            heads: self.own_heads(),
            coming: coming.to_vec(),
            room: self.limits.message_bytes,
            scope: self.state.scope.clone(),
        })
    }

    /// Its rows and coverage, for somebody else.
    pub(super) fn snapshot(&self) -> Snapshot {
        let chains = if self.zoo.has(Bug::RepairNamesMoreThanItHas) { self.chains.clone() } else { self.applied() };
        Snapshot { coverage: self.state.coverage.clone(), rows: self.state.rows.clone(), chains }
    }

    /// The transactions that have been applied: all that are known, but for those on their way to the log.
    pub(super) fn applied(&self) -> Chains {
        let join = self.queue.iter().position(|queued| queued.joins.is_some());
        let had = join.and_then(|at| self.queue[at].joins.as_deref()).map(|joins| &joins.had);
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

    /// Gives up the oldest entries that it could send, all but the newest `keep`. Whoever still needs them gets its state.
    pub fn cut_log(&mut self, keep: usize) {
        self.cut_while(|node| node.kept.len() > keep);
    }

    /// The same, all but so many that they take about `bytes` or less.
    pub fn cut_log_to(&mut self, bytes: usize) {
        self.cut_while(|node| node.kept.bytes() > bytes);
    }

    fn cut_while(&mut self, more: impl Fn(&Self) -> bool) {
        let covered = !self.zoo.has(Bug::ServedFromCutLog);
        while self.kept.len() > 0 && more(self) {
            self.kept.pop(covered);
        }
    }

    /// About how many bytes the entries take that it keeps in memory to send them.
    #[must_use]
    pub const fn kept_bytes(&self) -> usize {
        self.kept.bytes()
    }

    /// The position of the oldest entry that it keeps. Positions count entries as they took effect here, since the node was opened.
    #[must_use]
    pub const fn first(&self) -> u64 {
        self.kept.first()
    }

    /// The position of the next entry that will take effect here.
    #[must_use]
    pub fn end(&self) -> u64 {
        self.kept.end()
    }

    /// What took effect here from a position on, in that order; `None` when some of it is not kept, or came with another node's state:
    /// then only the rows tell what has changed.
    #[must_use]
    pub fn entries_from(&self, position: u64) -> Option<impl Iterator<Item = &Arc<Entry>>> {
        self.kept.from(position)
    }

    /// Whether the entries that it keeps bring up somebody who covers this much: those of them that are not in there, in their order.
    #[must_use]
    pub fn resumes(&self, coverage: &Coverage) -> bool {
        coverage.includes(&self.kept.base)
    }
}
