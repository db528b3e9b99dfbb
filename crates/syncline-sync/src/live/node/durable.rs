//! From appended to durable: what a record changes at once for the records after it, and what it changes when it is on the disk.

use std::sync::Arc;

use super::super::chain::{Chains, Place, knows};
use super::super::context::Coverage;
use super::super::id::{Dot, Stamp, Tag};
use super::super::part::Closing;
use super::super::pending::Pending;
use super::super::record::{Checkpoint, Record, Rewritten};
use super::super::row::Row;
use super::super::state::{Snapshot, State};
use super::super::txn::{Entry, RowKey, Txn, Write};
use super::super::zoo::Bug;
use super::kept::Kept;
use super::peers::Peer;
use super::strict::Changed;
use super::{Joins, Node, Output, Queued, dot_of};

impl Node {
    /// Notes what a record changes for the records after it, and asks for it to be made durable.
    pub(super) fn append(&mut self, record: Record, ticket: Option<u64>) {
        let (mut new, mut joins, mut again) = (false, None, None);
        match &record {
            Record::Named(name) => {
                self.name = *name;
                self.own = (0, Tag::NONE);
                self.taken = 0;
            }
            Record::Hub(hub) => self.hub = *hub,
            Record::Own(txn) => {
                self.wrote(txn);
                if !knows(&self.chains, &txn.dot()) {
                    self.waiting.push(txn.clone());
                    self.note_waiting(txn);
                }
            }
            Record::Entry(entry) => new = self.note_entry(entry),
            Record::Rewritten(rewritten) => again = self.note_rewritten(rewritten),
            // It was taken before.
            Record::Part(_) => {}
            Record::Joined(closing) => joins = self.note_joined(closing),
            Record::Checkpoint(checkpoint) => joins = self.note_checkpoint(checkpoint),
            Record::Signed(head) => {
                self.keep_head(head);
            }
            Record::Scope(scope) => self.scope = scope.clone(),
            Record::Rescoped(rescoped) => {
                self.scope = rescoped.scope.clone();
                joins = self.note_joined(&rescoped.closing);
                if let Some(joins) = &mut joins {
                    joins.replaces = true;
                }
            }
        }
        self.records += 1;
        self.out.push(Output::Append(record.clone()));
        let (early, dot) = (self.zoo.has(Bug::AcknowledgedBeforeDurable), dot_of(&record));
        if let (true, Some(ticket), Some(dot)) = (early, ticket, dot) {
            self.out.push(Output::Committed(ticket, dot));
        }
        let ticket = ticket.filter(|_| !early);
        let others = matches!(&record, Record::Entry(entry) if entry.stamp.hub != self.name);
        self.queue.push_back(Queued { record, others, new, joins, again, ticket });
        if self.zoo.has(Bug::SentBeforeDurable) {
            self.apply_queued();
            self.sign();
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
        chain.add_txn(&entry.txn);
        if new {
            self.arriving.insert(entry.txn.dot());
            self.note_keys(&entry.txn.body().writes);
        }
        if self.waiting.remove(&entry.txn.dot()) {
            self.attest_own(&entry.txn.dot());
            self.note_gone(&entry.txn.dot());
        }
        new
    }

    /// It takes effect with the last of it, whose records follow each other.
    fn note_rewritten(&mut self, rewritten: &Rewritten) -> Option<Rewritten> {
        let again = self.again.get_or_insert_with(|| Rewritten { more: true, refused: Vec::new(), again: Vec::new() });
        again.refused.extend(&rewritten.refused);
        again.again.extend(rewritten.again.iter().cloned());
        if rewritten.more {
            return None;
        }
        let again = self.again.take()?;
        again.again.iter().for_each(|txn| self.wrote(txn));
        self.waiting.rewrite(&again.refused, &again.again);
        again.refused.iter().for_each(|dot| self.note_gone(dot));
        again.again.iter().for_each(|txn| self.note_waiting(txn));
        self.rewriting.extend(&again.refused);
        Some(again)
    }

    fn note_snapshot(&mut self, snapshot: Snapshot, waiting: Vec<Arc<Txn>>) -> Box<Joins> {
        let had = self.chains.clone();
        self.coverage.join(&snapshot.coverage);
        if !self.zoo.has(Bug::RepairForgetsNames) {
            for (origin, chain) in &snapshot.chains {
                self.chains.entry(*origin).or_default().join(chain);
            }
        }
        self.waiting.retain(|dot| !knows(&self.chains, dot));
        Box::new(Joins { had, snapshot, waiting, replaces: false })
    }

    fn note_joined(&mut self, closing: &Closing) -> Option<Box<Joins>> {
        let parts = self.coming.take()?.collected;
        Some(self.note_snapshot(parts.close(closing.coverage.clone()), Vec::new()))
    }

    /// Forgets what a checkpoint stands for: what a log still has from before it would have a say in which branch came first. Only while
    /// the log is read: nothing is queued and nobody is connected.
    pub(super) fn begin_anew(&mut self) {
        self.coverage = Coverage::new();
        self.chains = Chains::new();
        let scope = std::mem::take(&mut self.state.scope);
        self.state = State { scope, ..State::new(self.zoo) };
        self.kept = Kept::default();
        self.changed = Changed::default();
    }

    fn note_checkpoint(&mut self, checkpoint: &Checkpoint) -> Option<Box<Joins>> {
        let mut parts = self.coming.take().map(|coming| coming.collected).unwrap_or_default();
        self.name = checkpoint.name;
        self.hub = checkpoint.hub;
        self.own = checkpoint.own;
        self.taken = checkpoint.coverage.of(self.name);
        self.clock = self.clock.max(checkpoint.clock);
        let waiting = std::mem::take(&mut parts.waiting);
        let coverage = checkpoint.coverage.clone();
        let snapshot = match (&checkpoint.below, self.below.take()) {
            (Some(below), Some(runs)) => parts.close_over(coverage, runs, below.counts.clone()),
            _ => parts.close(coverage),
        };
        let mut joins = self.note_snapshot(snapshot, waiting);
        joins.had = Chains::new();
        self.waiting = Pending::of(Pending::default(), joins.waiting.iter().cloned());
        Some(joins)
    }

    /// The first `records` that were appended and not yet reported are durable: they take effect.
    pub fn synced(&mut self, records: u64) {
        for _ in 0..records {
            match self.shown.pop_front() {
                Some(_) => self.durable += 1,
                None => self.apply_queued(),
            }
        }
        self.relay_heads();
        self.sign();
        self.tell_here();
        self.serve_waiting();
        if self.coming.is_none() && !self.hub {
            self.greet_put_off();
        }
        if records > 0 {
            self.pump_all();
        }
        if self.zoo.has(Bug::ResolutionsWrittenBack) {
            self.write_back();
        }
    }

    /// On a spoke, entries of hubs that were appended take effect before they are durable, up to `most` of them, and up to the first record of
    /// another kind; how many did. Readers see them. Whatever the node tells others of what it has is durable all the same, and what it writes
    /// comes after them in the log. When a crash loses them, the hubs have them: readers of this node go back to an earlier state, which positions tell.
    ///
    /// A hub shows nothing early: others count on what it has shown.
    pub fn show(&mut self, most: u64) -> u64 {
        let (mut shown, early) = (0, self.zoo.has(Bug::HubShowsEarly));
        let may = |queued: &Queued| queued.others || early && matches!(queued.record, Record::Entry(_));
        while shown < most && (early || !self.hub) && self.queue.front().is_some_and(may) {
            if let Some(Queued { record: Record::Entry(entry), .. }) = self.queue.front() {
                self.shown.push_back(entry.stamp);
            }
            self.apply_next();
            shown += 1;
        }
        if shown > 0 {
            self.tell_here();
        }
        shown
    }

    /// What of [`State::coverage`] a crash does not take back.
    #[must_use]
    pub fn durable_coverage(&self) -> Coverage {
        let mut coverage = self.state.coverage.clone();
        for stamp in &self.shown {
            coverage.lower(stamp.hub, stamp.n - 1);
        }
        coverage
    }

    /// Writes the visible value of rows in conflict, having read all. Only in the zoo.
    pub(super) fn write_back(&mut self) {
        let conflicts = self.state.rows().filter(|(_, row)| row.is_in_conflict());
        let winner = |(key, row): (RowKey, Arc<Row>)| {
            let value = row.visible(self.zoo).map(|sibling| sibling.value.clone());
            Write { row: key, value }
        };
        let writes: Vec<Write> = conflicts.map(winner).collect();
        if !writes.is_empty() {
            // Refused when the node has something else to do first.
            let _ = self.commit(self.now_ms, 0, self.context(), writes);
        }
    }

    pub(super) fn apply_queued(&mut self) {
        if !self.queue.is_empty() {
            self.durable += 1;
            self.apply_next();
        }
    }

    fn apply_next(&mut self) {
        let Some(Queued { record, new, joins, again, ticket, .. }) = self.queue.pop_front() else { return };
        if let (Some(ticket), Some(dot)) = (ticket, dot_of(&record)) {
            self.out.push(Output::Committed(ticket, dot));
        }
        match record {
            Record::Named(name) => {
                self.newest = None;
                self.out.push(Output::Renamed(name));
            }
            Record::Hub(_) => self.greet_all(),
            Record::Own(txn) => {
                self.note_newest(txn.dot());
                self.state.pending.push(txn);
            }
            Record::Entry(entry) => {
                let dot = entry.txn.dot();
                self.note_newest(dot);
                if new {
                    self.arriving.remove(&dot);
                    self.changed.note(&entry);
                }
                self.state.apply(&entry, new, &self.chains);
                self.kept.push(entry);
            }
            Record::Rewritten(_) => self.rewritten(again),
            Record::Part(_) => {}
            Record::Scope(scope) => self.state.scope = scope,
            Record::Joined(_) | Record::Rescoped(_) => {
                if let Record::Rescoped(rescoped) = record {
                    self.state.scope = rescoped.scope.clone();
                    self.renewed();
                }
                if let Some(joins) = joins {
                    self.joined(&joins);
                }
                self.trust_anew();
                self.greet_put_off();
            }
            Record::Checkpoint(checkpoint) => {
                let Some(joins) = joins else { return };
                self.state.adopt(&joins.snapshot);
                self.kept.joined(&joins.snapshot.coverage);
                self.changed.begin(self.state.coverage());
                let (seq, tag) = checkpoint.own;
                self.newest = (seq > 0).then_some(Dot { origin: checkpoint.name, seq, tag });
                self.state.pending = Pending::of(Pending::by_row(), joins.waiting.into_iter());
                self.trust_anew();
            }
            Record::Signed(head) => self.head_applied(&head),
        }
    }

    fn rewritten(&mut self, again: Option<Rewritten>) {
        let Some(Rewritten { refused, again, .. }) = again else { return };
        again.iter().for_each(|txn| self.note_newest(txn.dot()));
        self.state.pending.rewrite(&refused, &again);
        refused.iter().for_each(|dot| {
            self.rewriting.remove(dot);
        });
        // They keep the places of the old ones, which were sent.
        self.peers.values_mut().for_each(Peer::offer_again);
        self.out.push(Output::Rewritten(refused.into_iter().zip(again).collect()));
    }

    /// A transaction is durable here.
    pub(super) fn note_newest(&mut self, dot: Dot) {
        if dot.origin == self.name && self.newest.is_none_or(|newest| newest.seq < dot.seq) {
            self.newest = Some(dot);
        }
    }

    fn joined(&mut self, joins: &Joins) {
        if joins.replaces {
            self.state.replace(&joins.snapshot);
        } else {
            self.state.join(&joins.had, &joins.snapshot);
        }
        self.kept.joined(&joins.snapshot.coverage);
        self.changed.begin(self.state.coverage());
        self.peers.values_mut().for_each(Peer::lose_place);
        self.lose_heads();
    }
}
