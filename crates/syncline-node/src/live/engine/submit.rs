//! Transactions of writers who do not wait on a thread of their own, and the rows of those that are on their way to the disk.
//!
//! Owns nothing that is durable: who is to be told stands in the core. After a crash they are told nothing, and look.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use syncline_sync::live::{Node, RowKey, Write};
use xxhash_rust::xxh3::{xxh3_64, xxh3_64_with_seed};

use super::{Committed, Engine, More, Reads, pace};
use crate::{Error, Result};

/// Is told what became of a transaction. Called under the engine's lock: it must not block, and must not call the engine.
pub type Done = Box<dyn FnOnce(Result<Committed>) + Send>;

/// Makes what a transaction writes of what is there.
type Make = Box<dyn FnMut(&Node) -> Result<Vec<Write>> + Send>;

/// Transactions of one writer that does not wait for each: when one of them has failed, none behind it is written. Cheap to clone.
#[derive(Debug, Clone, Default)]
pub struct Sequence(Arc<AtomicBool>);

impl Sequence {
    // All of it happens under the engine's lock, or after all before it were told.
    pub(crate) fn fail(&self) {
        self.0.store(true, Ordering::Relaxed);
    }

    pub(crate) fn check(&self) -> Result<()> {
        if self.0.load(Ordering::Relaxed) {
            return Err(Error::conflict("writing a transaction", "one before it failed, so it was not written"));
        }
        Ok(())
    }
}

/// Whether a transaction has begun.
pub(super) enum Begun {
    /// Under this number it is told that it is durable.
    Ticket(u64),
    /// It writes a row that is on its way to the disk.
    Waits,
    /// It was written before, under the identity that its writer gave it.
    Before(Committed),
}

/// A transaction that has not begun.
pub(super) struct Held {
    pub(super) reads: Reads,
    pub(super) write: Make,
    pub(super) done: Done,
}

/// The rows that are on their way to the disk, by hash: two of one hash wait for each other in vain, which costs time and nothing else.
#[derive(Debug, Default)]
pub(super) struct Flight {
    /// A hash table with open addressing, a power of two of slots or none: a row, and the position in the log after the transaction that
    /// wrote it last. Zero is none.
    slots: Vec<(u64, u64)>,
    used: usize,
}

impl Flight {
    /// What stands for the rows of a transaction.
    pub(super) fn rows<'w>(writes: &'w [Write]) -> Vec<u64> {
        let (mut table, mut seed) = ("", xxh3_64(b""));
        let hash = |Write { row, .. }: &'w Write| {
            if *row.table != *table {
                (table, seed) = (&row.table, xxh3_64(row.table.as_bytes()));
            }
            xxh3_64_with_seed(&row.key, seed)
        };
        writes.iter().map(hash).collect()
    }

    /// What stands for a row.
    pub(super) fn row(row: &RowKey) -> u64 {
        xxh3_64_with_seed(&row.key, xxh3_64(row.table.as_bytes()))
    }

    /// What stands for all rows of a table.
    pub(super) fn table(table: &str) -> u64 {
        xxh3_64(table.as_bytes())
    }

    /// The slot of a row, or the one where it would be.
    fn slot(&self, row: u64) -> usize {
        let mask = self.slots.len() - 1;
        let mut at = row as usize & mask;
        // Some are free.
        while self.slots[at].1 != 0 && self.slots[at].0 != row {
            at = (at + 1) & mask;
        }
        at
    }

    /// Whether one of them is not durable, when the log is to before `durable`.
    pub(super) fn has_any(&self, rows: &[u64], durable: u64) -> bool {
        !self.slots.is_empty() && rows.iter().any(|row| self.slots[self.slot(*row)].1 > durable)
    }

    /// They are durable when the log is to before `until`, which is not zero.
    pub(super) fn add(&mut self, rows: &[u64], until: u64, durable: u64) {
        if (self.used + rows.len()) * 2 > self.slots.len() {
            self.forget(rows.len(), durable);
        }
        for row in rows {
            let at = self.slot(*row);
            self.used += usize::from(self.slots[at].1 == 0);
            self.slots[at] = (*row, until);
        }
    }

    /// Gives up those that are durable, and makes room for so many more.
    fn forget(&mut self, more: usize, durable: u64) {
        let mut all = std::mem::take(&mut self.slots);
        all.retain(|(_, until)| *until > durable);
        // A quarter of it is in use then: it is long until the next time.
        self.slots = vec![(0, 0); ((all.len() + more) * 4).next_power_of_two().max(1 << 10)];
        self.used = all.len();
        for row in all {
            let at = self.slot(row.0);
            self.slots[at] = row;
        }
    }
}

impl Engine {
    /// As [`Engine::commit_with`], but returns at once, or, when nothing more comes and a sync is quick, after that: `done` is called when the
    /// transaction is durable. Transactions that were submitted one after another take effect in that order. After one that failed, no other one of its `sequence` is written.
    ///
    /// # Errors
    /// As [`Engine::commit`]; then `done` is not called. What is found only later is told to `done`.
    pub fn submit(
        &self,
        sequence: &Sequence,
        read: impl Into<Reads>,
        mut write: impl FnMut(&Node) -> Result<Vec<Write>> + Send + 'static,
        (more, done): (More, Done),
    ) -> Result<()> {
        let before = sequence.clone();
        let mut write = move |node: &Node| before.check().and_then(|()| write(node));
        let after = sequence.clone();
        let done: Done = Box::new(move |outcome| {
            if outcome.is_err() {
                after.fail();
            }
            done(outcome);
        });
        let reads = read.into();
        let mut core = self.lock()?;
        let begun = match core.held.is_empty() {
            true => core.begin(self.shared.clock.now_ms(), &reads, &mut write).inspect_err(|_| sequence.fail())?,
            false => Begun::Waits,
        };
        match begun {
            Begun::Ticket(ticket) => core.call(ticket, done),
            Begun::Before(committed) => done(Ok(committed)),
            Begun::Waits => core.held.push_back(Held { reads, write: Box::new(write), done }),
        }
        pace::settle(&self.shared, core, more);
        Ok(())
    }
}

#[cfg(test)]
mod tests;
