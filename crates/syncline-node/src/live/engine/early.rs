//! What a spoke shows before its own disk has it: what hubs have.
//!
//! A hub is asked to keep what it has taken in, a spoke is not: when a crash of its machine takes what came last, the hub sends it again. So
//! entries that come to a spoke are written to the log's file, which the end of the process does not undo, and take effect at once. Their sync
//! is left for a moment, and serves many. What the spoke itself writes, and all else that goes to the log, is synced as soon as it can be, and with
//! it what came before it; what it tells others of itself is durable, but for `Here`. Entries of hubs it may pass on before they are.
//!
//! Owns: since when entries wait for a sync. After a crash of the machine the spoke may have less than it showed, by what came in the last [`LAZY`];
//! after one of the process it has all.

use std::time::Duration;

use syncline_sync::live::Record;

use super::Shared;
use super::core::{Core, changes};

/// So long after it was shown it is on the disk, or on its way there.
const LAZY: Duration = Duration::from_millis(50);
/// So many bytes are not left any longer.
const BYTES: usize = 1 << 20;

/// What waits for a sync.
#[derive(Debug, Default)]
pub(super) struct Early {
    /// There is something among it that is not to be left, and in what is being synced.
    urgent: bool,
    syncing: bool,
    /// Since when the oldest of it waits, and how many bytes of entries there are.
    since: Option<Duration>,
    bytes: usize,
}

impl Early {
    /// All of it is being synced.
    pub(super) const fn syncs(&mut self) {
        *self = Self { urgent: false, syncing: self.urgent, since: None, bytes: 0 };
    }

    /// What was being synced is durable.
    pub(super) const fn synced(&mut self) {
        self.syncing = false;
    }
}

impl Core {
    /// A record goes to the log.
    pub(super) fn note_early(&mut self, record: &Record) {
        match record {
            // Definitions of tables, and rows of files, are acted on: these are to stay.
            Record::Entry(entry) if !self.node.is_hub() && !changes(record, |table| table.starts_with('.')) => {
                self.early.bytes += entry.txn.bytes().len();
            }
            _ => self.early.urgent = true,
        }
    }

    /// Whether what was appended is to be synced now.
    pub(super) fn is_due(&self, now: Duration) -> bool {
        let Early { urgent, since, bytes, .. } = self.early;
        urgent || bytes >= BYTES || since.is_none_or(|since| now.saturating_sub(since) >= LAZY)
    }

    /// For how long it can be left.
    pub(super) fn pause(&self, now: Duration) -> Duration {
        self.early.since.map_or(Duration::MAX, |since| (since + LAZY).saturating_sub(now))
    }
}

/// Shows what came, if that is all that waits for the disk. `None` when it is not; else whether the engine's thread is to be woken.
pub(super) fn show(shared: &Shared, core: &mut Core) -> Option<bool> {
    let early = &core.early;
    if early.urgent || early.syncing || early.bytes == 0 || core.node.is_hub() || core.broken.is_some() {
        return None;
    }
    if let Err(error) = core.gather().and_then(|()| core.log.flush()) {
        core.fail(&error);
        shared.durable.notify_all();
        return Some(false);
    }
    let now = shared.clock.monotonic();
    // Where another replica looks at its state this one does, too.
    while core.comes_to_a_mark() && core.node.show(1) > 0 {
        core.pass_marks(now);
    }
    core.node.show(u64::MAX);
    core.pass_marks(now);
    core.reach_beats();
    core.drain();
    // Whoever reads is told when rows cannot be read.
    let _ = core.believe();
    shared.news.tell();
    let first = core.early.since.is_none();
    core.early.since.get_or_insert(now);
    // The engine's thread is told when to wake, or that it is time.
    Some(first | core.is_due(now) | core.heres.is_fresh())
}
