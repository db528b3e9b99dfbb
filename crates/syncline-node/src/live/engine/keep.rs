//! What keeps a replica's live part small: rows go from memory to the disk, and a checkpoint takes the place of the log before it.
//!
//! Both happen when the log has grown enough. Rows are written to runs, and runs merged, by threads that have neither the engine nor its
//! lock meanwhile: writers go on, and an engine that is closed is closed. Then a checkpoint is written that names the runs and says what
//! has changed meanwhile, which is little.
//!
//! Owns: which of this is going on. After a crash: the last checkpoint and the log after it say everything; runs that it does not name are
//! removed.

use std::sync::{Arc, Weak};
use std::time::Duration;

use syncline_base::task;
use syncline_sync::Error as SyncError;
use syncline_sync::live::{Fold, Merge, Run};
use syncline_sync::log::Position;

use super::Shared;
use super::core::Core;
#[cfg(test)]
use {super::Engine, crate::Result};

/// A checkpoint is made when the log has grown by so many bytes since the last one, and by as much as that took.
const CHECKPOINT_BYTES: u64 = 16 << 20;
/// While much is written that would be many times a second, of the same rows perhaps: not before so long after the last one, unless the
/// log has grown by so many times as much, or so many rows are in memory.
const PAUSE: Duration = Duration::from_secs(2);
const HURRY: u64 = 4;
const HURRY_ROWS: usize = 150_000;
/// Runs of so many bytes that were merged do not wait for that: until a checkpoint names the new one they take room on the disk, and would
/// be merged again after a restart.
const REPLACED_BYTES: u64 = 64 << 20;
/// So many rows may be in memory then; more go to the disk before. While they do, others change, which a checkpoint would have to tell while
/// everybody waits: they go, too, but not more often than so many times in a row.
const ROWS: usize = 10_000;
const ROUNDS: u32 = 3;
/// What failed is tried again after so long.
const PATIENCE: Duration = Duration::from_secs(10);

/// What is going on, and when it is to go on.
#[derive(Debug)]
pub(super) struct Keep {
    /// The log's bytes after the last checkpoint.
    checkpoint: u64,
    /// A checkpoint is made when it has grown by so many.
    bytes: u64,
    /// And not before so long after the last one, unless it has grown by much more.
    pause: Duration,
    /// So many rows may be in memory then.
    rows: usize,
    folding: bool,
    merging: bool,
    /// How often rows have gone to the disk since the last checkpoint.
    rounds: u32,
    /// When that was made.
    last: Duration,
    /// Nothing is begun before that.
    not_before: Duration,
    /// Runs that were merged, and that the last checkpoint may name.
    replaced: Vec<Arc<Run>>,
    /// A checkpoint that is in the log and may not be durable yet.
    written: Option<Written>,
    /// How many checkpoints were made since the log was opened.
    made: u64,
}

/// A checkpoint on its way to the disk, with what follows it.
#[derive(Debug)]
struct Written {
    /// The positions of its first record, and after its last.
    at: Position,
    end: Position,
    /// Runs that nobody needs once it is durable.
    replaced: Vec<Arc<Run>>,
}

impl Keep {
    /// With a log whose last checkpoint has so many bytes.
    pub(super) const fn new(checkpoint: u64) -> Self {
        Self {
            checkpoint,
            bytes: CHECKPOINT_BYTES,
            pause: PAUSE,
            rows: ROWS,
            folding: false,
            merging: false,
            rounds: 0,
            last: Duration::ZERO,
            not_before: Duration::ZERO,
            replaced: Vec::new(),
            written: None,
            made: 0,
        }
    }

    /// Whether rows are being written.
    pub(super) const fn is_folding(&self) -> bool {
        self.folding
    }

    /// Whether runs were merged that are worth a checkpoint.
    fn has_replaced(&self) -> bool {
        self.replaced.iter().map(|run| run.name().bytes).sum::<u64>() >= REPLACED_BYTES
    }

    /// Whether rows have gone to the disk, and no checkpoint says so yet.
    const fn is_due(&self) -> bool {
        self.rounds > 0
    }
}

impl Core {
    fn log_bytes(&self) -> u64 {
        self.log.segments().map(|(_, bytes)| bytes).sum()
    }

    /// So many times as much as a checkpoint is made for.
    fn has_grown(&self, times: u64) -> bool {
        let Keep { checkpoint, bytes, .. } = self.keep;
        self.log_bytes().saturating_sub(checkpoint) >= bytes.saturating_mul(times).max(checkpoint)
    }

    fn is_time(&self, now: Duration) -> bool {
        let hurry = || self.has_grown(HURRY) || self.node.state().held().in_memory() >= HURRY_ROWS;
        (self.has_grown(1) || self.keep.has_replaced())
            && (now.saturating_sub(self.keep.last) >= self.keep.pause || hurry())
    }

    /// What is to be written to a run, if something is.
    fn begin_fold(&mut self) -> Option<Fold> {
        let many = self.node.state().held().in_memory() > self.keep.rows && self.keep.rounds < ROUNDS;
        let fold = if (many || self.node.is_crowded()) && !self.keep.folding { self.node.begin_fold() } else { None };
        self.keep.folding |= fold.is_some();
        fold
    }

    /// Rows were written to a run, or could not be.
    fn end_fold(&mut self, fold: &Fold, run: std::result::Result<Arc<Run>, SyncError>, now: Duration) {
        self.keep.folding = false;
        match run {
            Ok(run) => {
                self.node.folded(fold, run);
                // While the log cannot be cut no checkpoint ends the rounds.
                self.keep.rounds += u32::from(!fold.spills() && !self.node.is_spilled());
            }
            Err(error) => {
                self.keep.not_before = now + PATIENCE;
                tracing::warn!(%error, "rows stay in memory until they can be written");
                self.note_damage();
            }
        }
    }

    fn end_merge(&mut self, merge: &Merge, run: std::result::Result<Arc<Run>, SyncError>, now: Duration) {
        self.keep.merging = false;
        match run {
            Ok(run) => self.keep.replaced.extend(self.node.merged(merge, &run)),
            Err(error) => {
                self.keep.not_before = now + PATIENCE;
                tracing::warn!(%error, "runs of rows could not be merged; they stay as they are");
                self.note_damage();
            }
        }
    }

    /// Appends a checkpoint. It becomes durable with what comes next: nobody waits for the disk here who does not wait for it anyway.
    fn write_checkpoint(&mut self, now: Duration) -> std::result::Result<(), SyncError> {
        // While others write something is always on its way to the disk; nobody else gets in between here.
        for _ in 0..8 {
            if !self.unsynced() {
                break;
            }
            self.appended();
            self.log.sync()?;
            self.tell_durable(now);
            self.drain();
        }
        let Some(moment) = self.node.checkpoint().filter(|_| self.broken.is_none() && !self.unsynced()) else {
            return Ok(());
        };
        let at = self.log.next();
        // The core has no part in these records: they say what it holds.
        for record in moment.records() {
            self.log.append(&record.encode())?;
        }
        let replaced = std::mem::take(&mut self.keep.replaced);
        self.keep.written = Some(Written { at, end: self.log.next(), replaced });
        (self.keep.rounds, self.keep.last) = (0, now);
        Ok(())
    }

    /// Gives up what is before a checkpoint that is durable.
    fn end_checkpoint(&mut self, now: Duration) {
        let durable = self.log.durable();
        let Some(Written { at, replaced, .. }) = self.keep.written.take_if(|written| written.end <= durable) else {
            return;
        };
        replaced.iter().for_each(|run| run.retire());
        self.keep.made += 1;
        if let Err(error) = self.log.truncate_before(at) {
            self.keep.not_before = now + PATIENCE;
            tracing::warn!(%error, "the log before its checkpoint could not be removed; it is with the next one");
        }
        self.keep.checkpoint = self.log_bytes();
    }

    fn try_checkpoint(&mut self, now: Duration) {
        if let Err(error) = self.write_checkpoint(now) {
            self.keep.not_before = now + PATIENCE;
            tracing::warn!(%error, "no checkpoint was made; the log stays longer until one is");
        }
    }
}

/// Begins what is to be done, if something is. Nobody syncs the log.
pub(super) fn house(shared: &Shared, core: &mut Core) {
    let now = shared.clock.monotonic();
    if core.led || core.broken.is_some() {
        return;
    }
    core.end_checkpoint(now);
    if core.closing || now < core.keep.not_before {
        return;
    }
    if !core.keep.folding && core.node.is_crowded() {
        core.begin_fold().into_iter().for_each(|fold| write(shared, core, fold));
    }
    // What is damaged is not written anew.
    if core.renewal.is_some() || core.keep.written.is_some() {
        return;
    }
    if !core.keep.folding && (core.keep.is_due() || core.is_time(now)) {
        match core.begin_fold() {
            Some(fold) => write(shared, core, fold),
            // While another replica's state is on its way, and too much for memory, the log is where it is.
            None if core.node.is_spilled() => {}
            None => {
                core.try_checkpoint(now);
                shared.work.notify_one();
            }
        }
    }
    if !core.keep.merging
        && let Some(merge) = core.node.begin_merge()
    {
        core.keep.merging = true;
        let (weak, epoch) = (shared.me.clone(), core.epoch);
        spawn(core, "syncline-merge", move || {
            let run = merge.write();
            with(&weak, epoch, |shared, core| core.end_merge(&merge, run, shared.clock.monotonic()));
        });
    }
}

/// Has rows written to a run by a thread.
fn write(shared: &Shared, core: &mut Core, fold: Fold) {
    let (weak, epoch) = (shared.me.clone(), core.epoch);
    spawn(core, "syncline-rows", move || {
        let run = fold.write();
        with(&weak, epoch, |shared, core| core.end_fold(&fold, run, shared.clock.monotonic()));
    });
}

fn spawn(core: &mut Core, name: &str, work: impl FnOnce() + Send + 'static) {
    if let Err(error) = task::spawn(name, work) {
        // Until the log is opened anew. Nobody is at it, so nobody is waited for.
        tracing::warn!(%error, "rows of live tables stay as they are");
        (core.keep.folding, core.keep.merging) = (false, false);
        core.keep.not_before = Duration::MAX;
    }
}

/// Tells an engine that is still the one for which something was done.
fn with(shared: &Weak<Shared>, epoch: u64, tell: impl FnOnce(&Shared, &mut Core)) {
    let Some(shared) = shared.upgrade() else { return };
    let mut core = shared.lock();
    if core.epoch == epoch {
        tell(&shared, &mut core);
    }
    drop(core);
    shared.work.notify_one();
    shared.durable.notify_all();
}

/// A command that is over before time passes has its turn, too.
pub(super) fn at_the_end(shared: &Shared, core: &mut Core) {
    let now = shared.clock.monotonic();
    if core.led || core.broken.is_some() {
        return;
    }
    core.end_checkpoint(now);
    let may = core.renewal.is_none() && !core.node.is_spilled() && !core.unsynced();
    if !may || !(core.keep.is_due() || core.has_grown(1) || core.keep.has_replaced()) {
        return;
    }
    if let Some(fold) = core.begin_fold() {
        let run = fold.write();
        core.end_fold(&fold, run, now);
    }
    core.try_checkpoint(now);
    if core.keep.written.is_none() {
        return;
    }
    match core.log.sync() {
        Ok(_) => {
            core.tell_durable(now);
            core.end_checkpoint(now);
        }
        Err(error) => tracing::warn!(%error, "no checkpoint was made; the log stays longer until one is"),
    }
}

#[cfg(test)]
impl Engine {
    /// Has rows written to the disk and a checkpoint made, whatever the log has; waits until that is done, and runs are merged.
    pub(crate) fn checkpoint(&self) -> Result<()> {
        self.keep_little(0, 0)?;
        let mut core = self.lock()?;
        core.keep.checkpoint = 0;
        let made = core.keep.made;
        loop {
            house(&self.shared, &mut core);
            let busy = core.keep.folding || core.keep.merging || core.keep.is_due() || core.keep.written.is_some();
            if (!busy && core.keep.made > made) || core.broken.is_some() {
                (core.keep.rows, core.keep.bytes, core.keep.pause) = (ROWS, CHECKPOINT_BYTES, PAUSE);
                return Ok(());
            }
            let waited = self.shared.durable.wait_timeout(core, Duration::from_millis(20));
            core = waited.unwrap_or_else(std::sync::PoisonError::into_inner).0;
        }
    }

    /// Has that done by itself whenever there are so many rows in memory, and the log has grown by so many bytes.
    pub(crate) fn keep_little(&self, rows: usize, bytes: u64) -> Result<()> {
        let mut core = self.lock()?;
        (core.keep.rows, core.keep.bytes, core.keep.pause) = (rows, bytes, Duration::ZERO);
        Ok(())
    }

    /// Has checkpoints wait for so long after each other.
    pub(crate) fn keep_pause(&self, pause: Duration) -> Result<()> {
        self.lock()?.keep.pause = pause;
        Ok(())
    }

    /// How many checkpoints were made.
    pub(crate) fn checkpoints(&self) -> Result<u64> {
        Ok(self.lock()?.keep.made)
    }
}
