//! Transactions of writers who do not wait on a thread of their own, and the rows of those that are on their way to the disk.
//!
//! Owns nothing that is durable: who is to be told stands in the core. After a crash they are told nothing, and look.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use syncline_sync::live::{Context, Node, RowKey, Write};
use xxhash_rust::xxh3::{xxh3_64, xxh3_64_with_seed};

use super::{Committed, Engine};
use crate::{Error, Result};

/// Is told what became of a transaction. Called under the engine's lock: it must not block, and must not call the engine.
pub type Done = Box<dyn FnOnce(Result<Committed>) + Send>;

/// Makes what a transaction writes of what is there.
type Make = Box<dyn FnMut(&Node) -> Result<Vec<Write>> + Send>;

/// Transactions of one writer that does not wait for each: when one of them has failed, none behind it is written. Cheap to clone.
#[derive(Debug, Clone, Default)]
pub struct Sequence(Arc<AtomicBool>);

impl Sequence {
    // All of it happens under the engine's lock.
    fn fail(&self) {
        self.0.store(true, Ordering::Relaxed);
    }

    fn check(&self) -> Result<()> {
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
}

/// A transaction that has not begun.
pub(super) struct Held {
    pub(super) read: Option<Context>,
    pub(super) write: Make,
    pub(super) done: Done,
}

/// So many rows are remembered before those that are durable are forgotten.
const ROWS: usize = 1 << 16;

/// The rows that are on their way to the disk, by hash: two of one hash wait for each other in vain, which costs time and nothing else.
#[derive(Debug, Default)]
pub(super) struct Flight {
    /// The position in the log after the transaction that wrote it last.
    until: BTreeMap<u64, u64>,
}

impl Flight {
    /// What stands for the rows of a transaction.
    pub(super) fn rows(writes: &[Write]) -> Vec<u64> {
        let hash = |RowKey { table, key }: &RowKey| xxh3_64_with_seed(key, xxh3_64(table.as_bytes()));
        writes.iter().map(|write| hash(&write.row)).collect()
    }

    /// Whether one of them is not durable, when the log is to before `durable`.
    pub(super) fn has_any(&self, rows: &[u64], durable: u64) -> bool {
        rows.iter().any(|row| self.until.get(row).is_some_and(|until| *until > durable))
    }

    /// They are durable when the log is to before `until`.
    pub(super) fn add(&mut self, rows: Vec<u64>, until: u64, durable: u64) {
        self.until.extend(rows.into_iter().map(|row| (row, until)));
        if self.until.len() >= ROWS {
            self.until.retain(|_, until| *until > durable);
        }
    }
}

impl Engine {
    /// As [`Engine::commit_with`], but returns at once: `done` is called when the transaction is durable. Transactions that were submitted
    /// one after another take effect in that order. After one that failed, no other one of its `sequence` is written.
    ///
    /// # Errors
    /// As [`Engine::commit`]; then `done` is not called. What is found only later is told to `done`.
    pub fn submit(
        &self,
        sequence: &Sequence,
        read: Option<Context>,
        mut write: impl FnMut(&Node) -> Result<Vec<Write>> + Send + 'static,
        done: Done,
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
        let mut core = self.lock()?;
        let begun = match core.held.is_empty() {
            true => {
                core.begin(self.shared.clock.now_ms(), read.as_ref(), &mut write).inspect_err(|_| sequence.fail())?
            }
            false => Begun::Waits,
        };
        match begun {
            Begun::Ticket(ticket) => core.call(ticket, done),
            Begun::Waits => core.held.push_back(Held { read, write: Box::new(write), done }),
        }
        if !core.led {
            self.shared.work.notify_one();
        }
        Ok(())
    }
}
