//! Whether what a transaction had read is still so: for tables of which one replica, the certifier, lets transactions in one after another.
//!
//! Optimistic concurrency control with backward validation (Kung and Robinson, "On Optimistic Methods for Concurrency Control", ACM TODS 6(2),
//! 1981): a transaction is let in when nothing that it has read or writes was changed by one that was let in after its reader had read. Who is
//! asked decides by its own log, so the order of its log is the serial order. Bayou's dependency checks (Terry and others, SOSP 1995) ask the same
//! question with a query.
//!
//! A row that exists says itself who wrote it. Of rows that were deleted nothing is left, so the newest of those are remembered here, and of each
//! table what changed it last.
//!
//! Owns: that memory, which is bounded. After a crash it begins anew with what is read of the log; what was before is not known, and who had
//! read less than that is told to read again where it would matter.
//!
//! Not here: which tables are like that, and who certifies them (`syncline_node`).

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use super::super::chain::has_read;
use super::super::context::{Context, Coverage};
use super::super::id::{Dot, Stamp};
use super::super::record::Record;
use super::super::txn::{Entry, RowKey};
use super::super::zoo::Bug;
use super::Node;

/// So many deleted rows are remembered.
const REMEMBERED: usize = 1 << 14;

/// Why a transaction is not let in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Clash {
    /// This transaction wrote a row which its reader had not read so, or which is not there now and was deleted by it.
    Row(RowKey, Dot),
    /// The row is not there, and nobody knows any more whether it was when it was read.
    Forgotten(RowKey),
    /// Something in a table was changed that was read as a whole, or nobody knows any more whether it was.
    Table(Arc<str>),
}

/// What has changed lately.
#[derive(Debug, Default)]
pub(super) struct Changed {
    /// Rows that were deleted, by which transactions: several hubs let in deletions of one row, and who has read the last one has not read all.
    deleted: BTreeMap<RowKey, Vec<(Dot, Stamp)>>,
    /// In which order.
    order: VecDeque<(RowKey, Stamp)>,
    /// What changed tables last, of each hub.
    tables: BTreeMap<Arc<str>, Coverage>,
    /// Of what is in here nothing is known: about rows, and about tables.
    floor: Coverage,
    tables_floor: Coverage,
}

impl Changed {
    /// What is here follows from all that, and nobody knows how.
    pub(super) fn begin(&mut self, coverage: &Coverage) {
        *self = Self { floor: coverage.clone(), tables_floor: coverage.clone(), ..Self::default() };
    }

    /// An entry of a transaction takes effect that had not come before.
    pub(super) fn note(&mut self, entry: &Entry) {
        let (dot, stamp) = (entry.txn.dot(), entry.stamp);
        let mut table: Option<&Arc<str>> = None;
        for write in &entry.txn.body().writes {
            if table.is_none_or(|table| *table != write.row.table) {
                table = Some(&write.row.table);
                match self.tables.get_mut(&write.row.table) {
                    Some(changed) => changed.raise(stamp.hub, stamp.n),
                    None => {
                        // What changed it before that nobody knows.
                        let mut changed = self.tables_floor.clone();
                        changed.raise(stamp.hub, stamp.n);
                        self.tables.insert(write.row.table.clone(), changed);
                    }
                }
            }
            if write.value.is_none() {
                self.delete(&write.row, dot, stamp);
            }
        }
    }

    fn delete(&mut self, row: &RowKey, dot: Dot, stamp: Stamp) {
        // A copy: the key is a piece of a transaction, which would stay in memory.
        let row = RowKey { table: row.table.clone(), key: bytes::Bytes::copy_from_slice(&row.key) };
        self.order.push_back((row.clone(), stamp));
        self.deleted.entry(row).or_default().push((dot, stamp));
        while self.order.len() > REMEMBERED
            && let Some((row, stamp)) = self.order.pop_front()
        {
            self.floor.raise(stamp.hub, stamp.n);
            if let Some(by) = self.deleted.get_mut(&row) {
                by.retain(|(_, is)| *is != stamp);
                if by.is_empty() {
                    self.deleted.remove(&row);
                }
            }
        }
    }
}

impl Node {
    /// Whether a writer who has read `read`, which is here, has read these rows and tables as they are here: all that is there, and that
    /// what is not there is not. What is on its way to the disk is not looked at: see [`Self::is_in_flight`].
    ///
    /// # Errors
    /// What it had not read.
    pub fn certify<'a>(
        &self,
        read: &Context,
        rows: impl IntoIterator<Item = &'a RowKey>,
        tables: impl IntoIterator<Item = &'a Arc<str>>,
    ) -> Result<(), Clash> {
        if self.zoo.has(Bug::CertificationSkipped) {
            return Ok(());
        }
        for row in rows {
            let is = self.look(row);
            if let Some(unread) = is.siblings().iter().find(|sibling| !self.has_read(read, sibling)) {
                return Err(Clash::Row(row.clone(), unread.dot));
            }
            if !is.is_empty() {
                continue;
            }
            let by = self.changed.deleted.get(row);
            if let Some((unread, _)) = by.into_iter().flatten().find(|(dot, stamp)| !self.is_read(read, dot, *stamp)) {
                return Err(Clash::Row(row.clone(), *unread));
            }
            if !read.seen.includes(&self.changed.floor) {
                return Err(Clash::Forgotten(row.clone()));
            }
        }
        for table in tables {
            let changed = self.changed.tables.get(table).unwrap_or(&self.changed.tables_floor);
            if !read.seen.includes(changed) {
                return Err(Clash::Table(table.clone()));
            }
        }
        Ok(())
    }

    fn is_read(&self, read: &Context, dot: &Dot, stamp: Stamp) -> bool {
        read.seen.has(stamp) || read.own.iter().any(|own| has_read(self.chains.get(&own.origin), dot, own))
    }

    /// Whether a write of a row is on its way to the disk. Looks at all that is: for who has no index of that.
    #[must_use]
    pub fn is_in_flight(&self, row: &RowKey) -> bool {
        self.writes_in_flight(|written| written == row)
    }

    /// The same of any row that `touches`.
    pub fn writes_in_flight(&self, mut touches: impl FnMut(&RowKey) -> bool) -> bool {
        self.queue.iter().any(|queued| match &queued.record {
            Record::Own(txn) => txn.body().writes.iter().any(|write| touches(&write.row)),
            Record::Entry(entry) => entry.txn.body().writes.iter().any(|write| touches(&write.row)),
            // Rare, and nobody looks inside: whatever it brings.
            Record::Joined(_) | Record::Rescoped(_) | Record::Rewritten(_) => true,
            _ => false,
        })
    }
}
