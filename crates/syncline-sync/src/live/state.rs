//! What a replica holds: rows and the coverage that they follow from.
//!
//! Everything in here is durable on this node; what is appended to its log and not durable yet is kept by [`super::node`] and
//! shown to nobody. Equal coverage is equal rows, whatever the order in which entries came: `docs/format/replication.md`.

use std::sync::Arc;

use bytes::Bytes;
use syncline_base::{Hash, Hasher};

use super::chain::{Chains, knows};
use super::context::{Context, Coverage};
use super::pending::{Pending, Waiting};
use super::row::{Row, Sibling, Writer};
use super::table::Rows;
use super::txn::{Entry, RowKey, Txn};
use super::zoo::{Bug, Zoo};
use crate::wire::fields::{put_bytes, put_text};

/// Rows, what they cover, and this node's own transactions that no entry has come of.
#[derive(Debug, Clone, Default)]
pub struct State {
    pub(super) coverage: Coverage,
    pub(super) rows: Rows,
    pub(super) pending: Pending,
    /// What the rows are inside of, by its bytes; empty: everything.
    pub(super) scope: Bytes,
    pub(super) zoo: Zoo,
    /// Of the next transaction only the first row is there. Only in the zoo.
    pub(super) torn: bool,
}

/// Rows and coverage of a node, for one that its log cannot bring up. It shares them with the node: a copy costs little.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Snapshot {
    /// What the rows follow from.
    pub coverage: Coverage,
    /// Every row that exists.
    pub rows: Rows,
    /// Which transactions are in it.
    pub chains: Chains,
}

impl State {
    pub(super) fn new(zoo: Zoo) -> Self {
        Self { zoo, pending: Pending::by_row(), ..Self::default() }
    }

    /// Which entries it has.
    #[must_use]
    pub const fn coverage(&self) -> &Coverage {
        &self.coverage
    }

    /// This node's transactions that it has no entry of, in the order of their chains.
    pub fn pending(&self) -> Waiting<'_> {
        self.pending.iter()
    }

    /// Applies an entry that follows on what is covered; `new` unless its transaction came with another entry before.
    pub(super) fn apply(&mut self, entry: &Arc<Entry>, new: bool, chains: &Chains) {
        let dot = entry.txn.dot();
        let stamp = (entry.stamp, entry.attested);
        self.pending.remove(&dot);
        let body = entry.txn.body();
        if new || self.zoo.has(Bug::AppliedTwice) {
            let writer =
                Writer { dot, read: &body.read, hlc: body.hlc, stamp: Some(stamp), chains, own: None, zoo: self.zoo };
            let rows = if self.torn { body.writes.len().min(1) } else { body.writes.len() };
            self.rows.change_each(&body.writes[..rows], |write, row| row.write(writer, write.value.as_ref()));
        } else if !self.zoo.has(Bug::OneStampKept) {
            for write in &body.writes {
                self.rows.change(&write.row, |row| row.stamp(dot, entry.stamp, entry.attested));
            }
        }
        self.coverage.raise(entry.stamp.hub, entry.stamp.n);
    }

    /// Joins another node's rows and coverage, at once; `had` is what was applied here before. What was pending and is in there
    /// is pending no more.
    pub(super) fn join(&mut self, had: &Chains, snapshot: &Snapshot) {
        let theirs = &snapshot.chains;
        if had.values().all(|chain| chain.head().is_none()) && self.rows.is_nothing() {
            // All of it is new: its runs are this node's.
            self.rows = snapshot.rows.clone();
            self.coverage.join(&snapshot.coverage);
            self.pending.retain(|dot| !knows(theirs, dot));
            return;
        }
        let nothing = Row::default();
        // What is here stays where it is; only rows that come to differ are touched. What was too much for memory stays where that is.
        let here = self.rows.clone();
        let theirs_stay = snapshot.rows.runs().is_some();
        let stay = if theirs_stay { &snapshot.rows } else { &here };
        let (mut mine, mut brought) = (here.iter().peekable(), snapshot.rows.iter().peekable());
        let joined = std::iter::from_fn(|| {
            // The next key of both.
            let first = match (mine.peek(), brought.peek()) {
                (Some((a, _)), Some((b, _))) => a.min(b),
                (Some((key, _)), None) | (None, Some((key, _))) => key,
                (None, None) => return None,
            }
            .clone();
            let ours = mine.next_if(|(key, _)| *key == first).map(|(_, row)| row);
            let new = brought.next_if(|(key, _)| *key == first).map(|(_, row)| row);
            Some((first, ours, new))
        });
        let changed = joined.filter_map(|(key, ours, new)| {
            // Nobody to differ from.
            if ours == new {
                return None;
            }
            let (mine, brought) = (ours.as_deref().unwrap_or(&nothing), new.as_deref().unwrap_or(&nothing));
            let row = mine.join(had, brought, theirs, self.zoo);
            let differs = row != *if theirs_stay { brought } else { mine };
            let row = if row == *brought { new.unwrap_or_default() } else { Arc::new(row) };
            differs.then_some((key, row))
        });
        if stay.is_nothing() {
            self.rows = changed.collect();
        } else {
            self.rows = stay.clone();
            changed.for_each(|(key, row)| self.rows.set(&key, row));
        }
        self.coverage.join(&snapshot.coverage);
        self.pending.retain(|dot| !knows(theirs, dot));
    }

    /// Holds what a checkpoint says, and nothing else.
    pub(super) fn adopt(&mut self, snapshot: &Snapshot) {
        self.rows = snapshot.rows.clone();
        self.coverage = snapshot.coverage.clone();
    }

    /// Another node's rows in the place of its own; they follow from all that it covers, inside another scope. What was pending and is in
    /// there is pending no more.
    pub(super) fn replace(&mut self, snapshot: &Snapshot) {
        self.rows = snapshot.rows.clone();
        self.coverage.join(&snapshot.coverage);
        self.pending.retain(|dot| !knows(&snapshot.chains, dot));
    }

    /// What clients of this node see of a row: what is covered, then what is pending.
    #[must_use]
    pub fn view(&self, key: &RowKey, chains: &Chains) -> Row {
        Arc::unwrap_or_clone(self.look(key, chains))
    }

    /// The same, without a copy where nothing is pending.
    pub(super) fn look(&self, key: &RowKey, chains: &Chains) -> Arc<Row> {
        self.look_at(key, self.rows.get(key), chains)
    }

    /// What clients see of a row of which this is covered.
    fn look_at(&self, key: &RowKey, durable: Option<Arc<Row>>, chains: &Chains) -> Arc<Row> {
        let mut row = durable.unwrap_or_default();
        let mut pending = self.pending.of_row(key).peekable();
        if pending.peek().is_none() {
            return row;
        }
        let changed = Arc::make_mut(&mut row);
        let own = self.with_pending(chains);
        for txn in pending {
            let body = txn.body();
            let writer = Writer {
                dot: txn.dot(),
                read: &body.read,
                hlc: body.hlc,
                stamp: None,
                chains,
                own: Some(&own),
                zoo: self.zoo,
            };
            for write in body.writes.iter().filter(|write| write.row == *key) {
                changed.write(writer, write.value.as_ref());
            }
        }
        row
    }

    /// Rows of one table as clients of this node see them, from a key on.
    pub(super) fn look_from<'a>(
        &'a self,
        from: &RowKey,
        chains: &'a Chains,
    ) -> impl Iterator<Item = (RowKey, Arc<Row>)> + use<'a> {
        let table = from.table.clone();
        let (mut rows, mut pending) = (self.rows.from(from).peekable(), self.pending.rows_from(from).peekable());
        let keys = std::iter::from_fn(move || {
            let first = match (rows.peek(), pending.peek()) {
                (Some((a, _)), Some(b)) => a.min(b),
                (Some((key, _)), None) => key,
                (None, Some(key)) => *key,
                (None, None) => return None,
            }
            .clone();
            let durable = rows.next_if(|(key, _)| *key == first).map(|(_, row)| row);
            pending.next_if(|key| **key == first);
            Some((first, durable))
        });
        let of_table = keys.take_while(move |(key, _)| key.table == table);
        let looked = of_table.map(move |(key, durable)| {
            let row = self.look_at(&key, durable, chains);
            (key, row)
        });
        looked.filter(|(_, row)| !row.is_empty())
    }

    /// Whether a client of this node who has read `read` has read a sibling of a row: a write of that client's would cover it.
    pub(super) fn has_read(&self, read: &Context, sibling: &Sibling, chains: &Chains) -> bool {
        let own = self.with_pending(chains);
        let (dot, hlc, zoo) = (sibling.dot, sibling.time, self.zoo);
        Writer { dot, read, hlc, stamp: None, chains, own: Some(&own), zoo }.covers(sibling)
    }

    /// The chains of this node's origins as it sees them. Numbers alone tell ancestors until somebody else is known to have written
    /// under the same name, so only then its own transactions have to be in there.
    fn with_pending(&self, chains: &Chains) -> Chains {
        let mut own = Chains::new();
        for (origin, mut waiting) in self.pending.origins() {
            let Some(chain) = chains.get(&origin) else { continue };
            // What comes after all that is known is nobody else's, unless the origin has forked before.
            let newest = chain.head().map_or(0, |(seq, _)| seq);
            let near = |txn: &&Arc<Txn>| chain.is_forked() || txn.dot().seq <= newest;
            if waiting.by_ref().take_while(near).any(|txn| chain.excludes(txn.dot().seq, txn.dot().tag)) {
                let mut chain = chain.clone();
                let before = self.pending.iter().filter(|txn| txn.body().origin == origin);
                before.for_each(|txn| chain.add(txn.body().seq, txn.dot().tag, txn.body().prev));
                own.insert(origin, chain);
            }
        }
        own
    }

    /// What a reader of this node has read.
    #[must_use]
    pub fn context(&self) -> Context {
        Context { seen: self.coverage.clone(), own: self.pending.newest().collect() }
    }

    /// Rows that exist, pending transactions left out.
    pub fn rows(&self) -> impl Iterator<Item = (RowKey, Arc<Row>)> + '_ {
        self.rows.iter()
    }

    /// Those from a key on.
    pub fn rows_from<'a>(&'a self, key: &RowKey) -> impl Iterator<Item = (RowKey, Arc<Row>)> + use<'a> {
        self.rows.from(key)
    }

    /// The rows themselves.
    #[must_use]
    pub const fn held(&self) -> &Rows {
        &self.rows
    }

    /// One hash over coverage and rows: equal on all nodes that cover the same.
    #[must_use]
    pub fn root(&self) -> Hash {
        let mut hasher = Hasher::new();
        // Most states that are looked at often are small.
        let mut out = Vec::with_capacity(1 << 12);
        self.coverage.put(&mut out);
        for (key, row) in self.rows.iter() {
            put_key(&mut out, &key);
            row.put(&mut out);
            if out.len() >= 1 << 15 {
                hasher.update(&out);
                out.clear();
            }
        }
        hasher.update(&out);
        hasher.finish()
    }
}

pub(super) fn put_key(out: &mut Vec<u8>, key: &RowKey) {
    put_text(out, &key.table);
    put_bytes(out, &key.key);
}
