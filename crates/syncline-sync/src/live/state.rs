//! What a replica holds: rows and the coverage that they follow from.
//!
//! Everything in here is durable on this node; what is appended to its log and not durable yet is kept by [`super::node`] and
//! shown to nobody. Equal coverage is equal rows, whatever the order in which entries came: `docs/format/replication.md`.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use syncline_base::Hash;

use super::chain::{Chain, Chains, knows};
use super::context::{Context, Coverage};
use super::id::{Dot, Origin};
use super::row::{Row, Sibling, Writer};
use super::txn::{Entry, RowKey, Txn};
use super::zoo::{Bug, Zoo};
use crate::error::{Error, Result};
use crate::wire::fields::{put_bytes, put_text, put_uint};
use crate::wire::reader::Reader;

/// Rows, what they cover, and this node's own transactions that no entry has come of.
#[derive(Debug, Clone, Default)]
pub struct State {
    pub(super) coverage: Coverage,
    pub(super) rows: BTreeMap<RowKey, Row>,
    pub(super) pending: VecDeque<Arc<Txn>>,
    pub(super) zoo: Zoo,
    /// Of the next transaction only the first row is there. Only in the zoo.
    pub(super) torn: bool,
}

/// Rows and coverage of a node, for one that its log cannot bring up.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Snapshot {
    /// What the rows follow from.
    pub coverage: Coverage,
    /// Every row that exists.
    pub rows: Vec<(RowKey, Row)>,
    /// Which transactions are in it.
    pub chains: Chains,
}

impl State {
    pub(super) fn new(zoo: Zoo) -> Self {
        Self { zoo, ..Self::default() }
    }

    /// Which entries it has.
    #[must_use]
    pub const fn coverage(&self) -> &Coverage {
        &self.coverage
    }

    /// This node's transactions that it has no entry of, in the order of their chains.
    pub fn pending(&self) -> impl ExactSizeIterator<Item = &Arc<Txn>> {
        self.pending.iter()
    }

    /// Applies an entry that follows on what is covered; `new` unless its transaction came with another entry before.
    pub(super) fn apply(&mut self, entry: &Arc<Entry>, new: bool, chains: &Chains) {
        let dot = entry.txn.dot();
        let stamp = (entry.stamp, entry.attested);
        if self.pending.front().is_some_and(|txn| txn.dot() == dot) {
            self.pending.pop_front();
        } else {
            self.pending.retain(|txn| txn.dot() != dot);
        }
        let body = entry.txn.body();
        if new || self.zoo.has(Bug::AppliedTwice) {
            let writer =
                Writer { dot, read: &body.read, hlc: body.hlc, stamp: Some(stamp), chains, own: None, zoo: self.zoo };
            let rows = if self.torn { 1 } else { body.writes.len() };
            for write in body.writes.iter().take(rows) {
                self.write(&write.row, writer, write.value.as_ref());
            }
        } else if !self.zoo.has(Bug::OneStampKept) {
            for write in &body.writes {
                if let Some(row) = self.rows.get_mut(&write.row) {
                    row.stamp(dot, entry.stamp, entry.attested);
                }
            }
        }
        self.coverage.raise(entry.stamp.hub, entry.stamp.n);
    }

    fn write(&mut self, key: &RowKey, writer: Writer<'_>, value: Option<&Bytes>) {
        match self.rows.get_mut(key) {
            Some(row) => {
                row.write(writer, value);
                if row.is_empty() {
                    self.rows.remove(key);
                }
            }
            None => {
                let mut row = Row::default();
                row.write(writer, value);
                if !row.is_empty() {
                    self.rows.insert(key.clone(), row);
                }
            }
        }
    }

    /// Joins another node's rows and coverage, at once; `had` is what was applied here before. What was pending and is in there
    /// is pending no more.
    pub(super) fn join(&mut self, had: &Chains, snapshot: &Snapshot) {
        let theirs = &snapshot.chains;
        let nothing = Row::default();
        let mut joined: BTreeMap<RowKey, Row> = BTreeMap::new();
        for (key, row) in &snapshot.rows {
            let mine = self.rows.remove(key);
            let row = mine.as_ref().unwrap_or(&nothing).join(had, row, theirs, self.zoo);
            joined.insert(key.clone(), row);
        }
        for (key, row) in std::mem::take(&mut self.rows) {
            let row = row.join(had, &nothing, theirs, self.zoo);
            joined.insert(key, row);
        }
        joined.retain(|_, row| !row.is_empty());
        self.rows = joined;
        self.coverage.join(&snapshot.coverage);
        self.pending.retain(|txn| !knows(theirs, &txn.dot()));
    }

    /// What clients of this node see of a row: what is covered, then what is pending.
    #[must_use]
    pub fn view(&self, key: &RowKey, chains: &Chains) -> Row {
        let mut row = self.rows.get(key).cloned().unwrap_or_default();
        let writes = |txn: &&Arc<Txn>| txn.body().writes.iter().any(|write| write.row == *key);
        if !self.pending.iter().any(|txn| writes(&txn)) {
            return row;
        }
        let own = self.with_pending(chains);
        for txn in self.pending.iter().filter(writes) {
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
                row.write(writer, write.value.as_ref());
            }
        }
        row
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
        for txn in &self.pending {
            let Dot { origin, seq, tag } = txn.dot();
            let Some(chain) = chains.get(&origin) else { continue };
            if !own.contains_key(&origin) && chain.excludes(seq, tag) {
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
        let mut newest: BTreeMap<Origin, Dot> = BTreeMap::new();
        for txn in &self.pending {
            newest.insert(txn.body().origin, txn.dot());
        }
        Context { seen: self.coverage.clone(), own: newest.into_values().collect() }
    }

    /// Rows that exist, pending transactions left out.
    pub fn rows(&self) -> impl Iterator<Item = (&RowKey, &Row)> {
        self.rows.iter()
    }

    /// Rows from a key on that exist, pending transactions left out, by key.
    pub fn rows_from(&self, from: &RowKey) -> impl Iterator<Item = (&RowKey, &Row)> {
        self.rows.range(from.clone()..)
    }

    /// One hash over coverage and rows: equal on all nodes that cover the same.
    #[must_use]
    pub fn root(&self) -> Hash {
        let mut out = BytesMut::with_capacity(1024);
        self.coverage.put(&mut out);
        for (key, row) in &self.rows {
            put_key(&mut out, key);
            row.put(&mut out);
        }
        Hash::of(&out)
    }
}

fn put_key(out: &mut BytesMut, key: &RowKey) {
    put_text(out, &key.table);
    put_bytes(out, &key.key);
}

fn read_key(r: &mut Reader) -> Result<RowKey> {
    Ok(RowKey { table: r.text("table")?.into(), key: r.bytes("key")? })
}

impl Snapshot {
    pub(super) fn put(&self, out: &mut BytesMut) {
        self.coverage.put(out);
        put_uint(out, self.rows.len() as u64);
        for (key, row) in &self.rows {
            put_key(out, key);
            row.put(out);
        }
        put_uint(out, self.chains.len() as u64);
        for (origin, chain) in &self.chains {
            origin.put(out);
            chain.put(out);
        }
    }

    pub(super) fn read(r: &mut Reader) -> Result<Self> {
        let coverage = Coverage::read(r)?;
        let mut rows: Vec<(RowKey, Row)> = Vec::new();
        for _ in 0..r.uint("rows")? {
            let (key, row) = (read_key(r)?, Row::read(r)?);
            if rows.last().is_some_and(|(last, _)| *last >= key) || row.is_empty() {
                return Err(Error::protocol("snapshot", "rows out of order, or one that does not exist"));
            }
            rows.push((key, row));
        }
        let mut chains = Chains::new();
        for _ in 0..r.uint("chains")? {
            let (origin, chain) = (Origin::read(r)?, Chain::read(r)?);
            if chains.last_key_value().is_some_and(|(last, _)| *last >= origin) || chain.head().is_none() {
                return Err(Error::protocol("snapshot", "origins out of order, or one with nothing"));
            }
            chains.insert(origin, chain);
        }
        Ok(Self { coverage, rows, chains })
    }
}
