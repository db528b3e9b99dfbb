//! Who syncs the log: the engine's thread, or whoever has just appended to it.
//!
//! To hand a sync over takes two wake-ups, which a transaction that is alone waits for longer than for a good disk. So who has
//! nothing else to do syncs on its own thread, which may be one of a network's few: only while syncs have been quick, what is written is
//! little, and others do not come meanwhile. When many write at once, or the disk is slow, the engine's thread does it, and they go on.
//!
//! Owns: what the last syncs were like. Nothing of it survives a crash, or has to.

use std::sync::MutexGuard;
use std::time::Duration;

use super::core::Core;
use super::{Shared, sync};

/// Longer syncs are left to the engine's thread.
const QUICK: Duration = Duration::from_micros(500);
/// Of the last syncs so many in a row must have been quick and of few records.
const ENOUGH: u32 = 2;
/// So many records are few.
const FEW: u64 = 4;
/// More bytes than that take their time.
const SMALL: usize = 16 << 10;

/// Whether whoever gives the engine something has more to give.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum More {
    /// Something else comes at once: all of it is to become durable together.
    Comes,
    /// Nothing until this is done.
    Not,
}

/// What the last syncs were like.
#[derive(Debug, Default)]
pub(super) struct Pace {
    easy: u32,
}

impl Pace {
    /// A sync took so long, and made so many records durable.
    pub(super) fn synced(&mut self, took: Duration, records: u64) {
        let easy = took <= QUICK && records <= FEW;
        self.easy = if easy { self.easy.saturating_add(1) } else { 0 };
    }

    const fn is_easy(&self) -> bool {
        self.easy >= ENOUGH
    }
}

/// Has what was appended made durable: here and now when that is quick, else soon.
pub(super) fn settle(shared: &Shared, core: MutexGuard<'_, Core>, more: More) {
    if core.led || !core.unsynced() {
        return;
    }
    let alone = more == More::Not && core.pace.is_easy() && core.gathered_bytes().is_some_and(|bytes| bytes <= SMALL);
    if alone {
        let mut core = sync(shared, core);
        let wake = std::mem::replace(&mut core.wake, false);
        drop(core);
        if !wake {
            return;
        }
    } else {
        drop(core);
    }
    // Without the lock, which it takes first.
    shared.work.notify_one();
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn callers_sync_while_it_is_quick_and_nobody_else_comes() {
        let mut pace = Pace::default();
        let (quick, slow) = (Duration::from_micros(120), Duration::from_millis(4));
        assert!(!pace.is_easy(), "nothing is known of the disk");
        for (took, records, easy) in [
            (quick, 1, false),
            (quick, 1, true),
            (quick, 2, true),
            (slow, 1, false),
            (quick, 1, false),
            (quick, 1, true),
            (quick, 64, false),
            (quick, 1, false),
            (quick, 4, true),
        ] {
            pace.synced(took, records);
            assert_eq!(pace.is_easy(), easy, "{took:?} {records}");
        }
    }
}
