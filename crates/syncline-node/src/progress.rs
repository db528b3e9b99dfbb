//! Progress of long work, told to whoever shows it, here or on the other end of a connection.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use serde::{Deserialize, Serialize};
use syncline_base::Clock;

use crate::{Error, Result};

/// Hears how far a verb has come. Called often and from several threads: it must be cheap.
pub trait Progress: Send + Sync {
    /// A new stage begins: what it does, how much there is of it (0 when that is not known), and in which unit.
    fn stage(&self, what: &str, total: u64, unit: Unit);

    /// So much more of the current stage is done.
    fn advance(&self, amount: u64);

    /// Whether whoever asked for the work is gone and nobody waits for its end. Then nothing is published.
    fn is_abandoned(&self) -> bool {
        false
    }
}

/// Refuses to publish for somebody who is gone.
///
/// # Errors
/// `unavailable` when the work is abandoned.
pub(crate) fn go_on(progress: &dyn Progress, what: &str) -> Result<()> {
    if !progress.is_abandoned() {
        return Ok(());
    }
    let why = "whoever asked for it has gone; nothing was changed".into();
    Err(Error::Unavailable { what: what.to_owned(), why })
}

/// What a stage counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Unit {
    /// Bytes.
    Bytes,
    /// Rows of a table.
    Rows,
    /// Files.
    Files,
    /// Objects of the store.
    Objects,
}

/// Nobody listens.
#[derive(Debug, Clone, Copy, Default)]
pub struct Silent;

impl Progress for Silent {
    fn stage(&self, _: &str, _: u64, _: Unit) {}
    fn advance(&self, _: u64) {}
}

/// How far a verb has come, as a message. Any of them may be lost: each says everything.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Step {
    /// Counts the stages of the verb.
    pub number: u64,
    /// What the stage does.
    pub what: String,
    /// How much there is of it; 0 when that is not known.
    pub total: u64,
    /// What it counts.
    pub unit: Unit,
    /// How much of it is done.
    pub done: u64,
}

/// A message is sent at most so often.
const PAUSE_MS: u64 = 200;

/// The other end of a connection.
pub trait Listener: Send + Sync {
    /// Sends a message, or drops it. Must not wait.
    fn tell(&self, step: &Step);

    /// Whether nobody is there any more.
    fn is_gone(&self) -> bool;
}

/// Sends progress as messages, a few in a second.
pub struct Sent<L> {
    listener: L,
    clock: Arc<dyn Clock>,
    stage: Mutex<Step>,
    done: AtomicU64,
    /// When the next message may be sent.
    next_ms: AtomicU64,
}

impl<L> std::fmt::Debug for Sent<L> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Sent").field("done", &self.done).finish_non_exhaustive()
    }
}

impl<L: Listener> Sent<L> {
    /// Sends to `listener`.
    pub fn new(clock: Arc<dyn Clock>, listener: L) -> Self {
        let stage = Step { number: 0, what: String::new(), total: 0, unit: Unit::Objects, done: 0 };
        Self { listener, clock, stage: Mutex::new(stage), done: AtomicU64::new(0), next_ms: AtomicU64::new(0) }
    }

    fn now_ms(&self) -> u64 {
        u64::try_from(self.clock.monotonic().as_millis()).unwrap_or(u64::MAX)
    }

    fn tell(&self, change: impl FnOnce(&mut Step)) {
        let mut stage = self.stage.lock().unwrap_or_else(PoisonError::into_inner);
        change(&mut stage);
        if stage.number > 0 {
            stage.done = self.done.load(Ordering::Relaxed);
            self.listener.tell(&stage);
        }
    }
}

impl<L: Listener> Progress for Sent<L> {
    fn is_abandoned(&self) -> bool {
        self.listener.is_gone()
    }

    fn stage(&self, what: &str, total: u64, unit: Unit) {
        self.tell(|stage| {
            self.done.store(0, Ordering::Relaxed);
            *stage = Step { number: stage.number + 1, what: what.to_owned(), total, unit, done: 0 };
        });
        self.next_ms.store(self.now_ms() + PAUSE_MS, Ordering::Relaxed);
    }

    fn advance(&self, amount: u64) {
        self.done.fetch_add(amount, Ordering::Relaxed);
        let (now, next) = (self.now_ms(), self.next_ms.load(Ordering::Relaxed));
        let mine = now >= next
            && self.next_ms.compare_exchange(next, now + PAUSE_MS, Ordering::Relaxed, Ordering::Relaxed).is_ok();
        if mine {
            self.tell(|_| {});
        }
    }
}

/// Shows progress that comes as messages.
#[derive(Debug, Clone, Copy, Default)]
pub struct Received {
    number: u64,
    done: u64,
}

impl Received {
    /// Takes the next message.
    pub fn take(&mut self, step: &Step, progress: &dyn Progress) {
        if step.number != self.number {
            *self = Self { number: step.number, done: 0 };
            progress.stage(&step.what, step.total, step.unit);
        }
        if step.done > self.done {
            progress.advance(step.done - self.done);
            self.done = step.done;
        }
    }
}

#[cfg(test)]
mod tests;
