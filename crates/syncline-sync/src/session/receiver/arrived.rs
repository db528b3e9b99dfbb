//! Commits that are complete here before the session's end: a session that goes on after a cut is not sent them again.
//!
//! Noted through [`crate::Local::keep_arrived`] whenever what has come was made durable. Not noted are commits that stand on
//! others whose data was given up on the other side, or that came without their parents: those are kept at the end of the session only.

use syncline_base::Hash;
use syncline_tree::refs::ARRIVED_MAX;

use super::Receiver;
use crate::error::Result;

/// The newest commits of each line that have come whole in this session.
#[derive(Debug, Default)]
pub(super) struct Arrived {
    /// Whether they are noted at all: not when less comes than the replica holds.
    pub(super) keep: bool,
    /// Oldest first.
    tips: Vec<Hash>,
    /// Whether there are others since they were noted.
    changed: bool,
}

impl Arrived {
    /// A commit has come whole, after its parents.
    pub(super) fn add(&mut self, id: Hash, parents: &[Hash]) {
        self.tips.retain(|tip| !parents.contains(tip) && *tip != id);
        if self.tips.len() == ARRIVED_MAX {
            self.tips.remove(0);
        }
        self.tips.push(id);
        self.changed = true;
    }
}

impl Receiver<'_> {
    /// Notes what is complete. Everything that was stored is durable.
    pub(super) fn keep_arrived(&mut self) -> Result<()> {
        // What ends early is what this session asked for: the next one may ask for more, and would not get it.
        if !self.arrived.keep || !self.arrived.changed || !self.past.is_empty() || !self.shallow.is_empty() {
            return Ok(());
        }
        self.local.keep_arrived(&self.arrived.tips, &self.came)?;
        self.arrived.changed = false;
        Ok(())
    }
}
