//! From appended to durable: what a record changes at once for the records after it, and what it changes when it is on the disk.

use std::sync::Arc;

use super::super::chain::{Chains, Place};
use super::super::id::{Dot, Stamp, Tag};
use super::super::record::{Checkpoint, Record};
use super::super::row::Row;
use super::super::state::Snapshot;
use super::super::txn::{Entry, RowKey, Txn, Write};
use super::super::zoo::Bug;
use super::peers::Peer;
use super::{Node, Output, Queued, dot_of, rewrite};

impl Node {
    /// Notes what a record changes for the records after it, and asks for it to be made durable.
    pub(super) fn append(&mut self, record: Record, ticket: Option<u64>) {
        let mut new = false;
        let had = matches!(record, Record::Joined(_)).then(|| Box::new(self.chains.clone()));
        match &record {
            Record::Named(name) => {
                self.name = *name;
                self.own = (0, Tag::NONE);
                self.taken = 0;
            }
            Record::Hub(hub) => self.hub = *hub,
            Record::Own(txn) => self.wrote(txn),
            Record::Entry(entry) => new = self.note_entry(entry),
            Record::Rewritten(_, txns) => txns.iter().for_each(|txn| self.wrote(txn)),
            Record::Joined(snapshot) => self.note_joined(snapshot),
            Record::Checkpoint(checkpoint) => self.note_checkpoint(checkpoint),
        }
        self.out.push(Output::Append(record.clone()));
        let (early, dot) = (self.zoo.has(Bug::AcknowledgedBeforeDurable), dot_of(&record));
        if let (true, Some(ticket), Some(dot)) = (early, ticket, dot) {
            self.out.push(Output::Committed(ticket, dot));
        }
        let ticket = ticket.filter(|_| !early);
        self.queue.push_back(Queued { record, new, had, ticket });
        if self.zoo.has(Bug::SentBeforeDurable) {
            self.apply_queued();
            self.pump_all();
        }
    }

    pub(super) fn wrote(&mut self, txn: &Arc<Txn>) {
        let Dot { origin, seq, tag } = txn.dot();
        if origin == self.name {
            self.own = (seq, tag);
        }
        self.clock = self.clock.max(txn.body().hlc);
    }

    pub(super) fn note_entry(&mut self, entry: &Arc<Entry>) -> bool {
        let Stamp { hub, n } = entry.stamp;
        self.coverage.raise(hub, n);
        if hub == self.name {
            self.taken = self.taken.max(n);
            self.clock = self.clock.max(entry.attested);
        }
        let Dot { origin, seq, tag } = entry.txn.dot();
        if hub == self.name && origin == self.name && seq > self.own.0 {
            self.wrote(&entry.txn);
        }
        let prev = entry.txn.body().prev;
        let chain = self.chains.entry(origin).or_default();
        let new = chain.place(seq, tag, prev) != Place::Known;
        chain.add(seq, tag, prev);
        new
    }

    pub(super) fn note_joined(&mut self, snapshot: &Snapshot) {
        self.coverage.join(&snapshot.coverage);
        if self.zoo.has(Bug::RepairForgetsNames) {
            return;
        }
        for (origin, chain) in &snapshot.chains {
            self.chains.entry(*origin).or_default().join(chain);
        }
    }

    pub(super) fn note_checkpoint(&mut self, checkpoint: &Checkpoint) {
        self.name = checkpoint.name;
        self.hub = checkpoint.hub;
        self.own = checkpoint.own;
        self.taken = checkpoint.snapshot.coverage.of(self.name);
        self.clock = self.clock.max(checkpoint.clock);
        self.note_joined(&checkpoint.snapshot);
    }

    /// The first `records` that were appended and not yet reported are durable: they take effect.
    pub fn synced(&mut self, records: u64) {
        for _ in 0..records {
            self.apply_queued();
        }
        self.tell_durable();
        self.serve_waiting();
        self.pump_all();
        if self.zoo.has(Bug::ResolutionsWrittenBack) {
            self.write_back();
        }
    }

    /// Writes the visible value of rows in conflict, having read all. Only in the zoo.
    pub(super) fn write_back(&mut self) {
        let conflicts = self.state.rows.iter().filter(|(_, row)| row.is_in_conflict());
        let winner = |(key, row): (&RowKey, &Row)| {
            let value = row.visible(self.zoo).map(|sibling| sibling.value.clone());
            Write { row: key.clone(), value }
        };
        let writes: Vec<Write> = conflicts.map(winner).collect();
        if !writes.is_empty() {
            // Refused when the node has something else to do first.
            let _ = self.commit(self.now_ms, 0, self.context(), writes);
        }
    }

    pub(super) fn apply_queued(&mut self) {
        let Some(Queued { record, new, had, ticket }) = self.queue.pop_front() else { return };
        self.one_durable();
        if let (Some(ticket), Some(dot)) = (ticket, dot_of(&record)) {
            self.out.push(Output::Committed(ticket, dot));
        }
        match record {
            Record::Named(_) => self.newest = None,
            Record::Hub(_) => self.greet_all(),
            Record::Own(txn) => {
                self.note_newest(txn.dot());
                self.state.pending.push_back(txn);
            }
            Record::Entry(entry) => {
                self.note_newest(entry.txn.dot());
                self.state.apply(&entry, new, &self.chains);
                self.entries.push_back(entry);
            }
            Record::Rewritten(old, new) => {
                new.iter().for_each(|txn| self.note_newest(txn.dot()));
                rewrite(&mut self.state.pending, &old, &new);
                self.peers.values_mut().for_each(Peer::offer_again);
            }
            Record::Joined(snapshot) => self.joined(&had.unwrap_or_default(), &snapshot),
            Record::Checkpoint(checkpoint) => {
                self.joined(&Chains::new(), &checkpoint.snapshot);
                let (seq, tag) = checkpoint.own;
                self.newest = (seq > 0).then_some(Dot { origin: checkpoint.name, seq, tag });
                self.state.pending = checkpoint.pending.into();
            }
        }
    }

    /// A transaction is durable here.
    pub(super) fn note_newest(&mut self, dot: Dot) {
        if dot.origin == self.name && self.newest.is_none_or(|newest| newest.seq < dot.seq) {
            self.newest = Some(dot);
        }
    }

    pub(super) fn joined(&mut self, had: &Chains, snapshot: &Snapshot) {
        self.state.join(had, snapshot);
        // What the snapshot covers cannot be served from this log any more; what it does not, still stands in a good order.
        let before = self.entries.len();
        self.entries.retain(|entry| !snapshot.coverage.has(entry.stamp));
        self.first += (before - self.entries.len()) as u64;
        self.generation += 1;
        self.base.join(&snapshot.coverage);
        self.peers.values_mut().for_each(Peer::lose_place);
    }
}
