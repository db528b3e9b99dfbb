//! Memory: the largest peaks of our own processes over a whole suite, verb by verb, and of the nodes.
//!
//! A command's peak is what the system counted for it when it ended; a node's is its high-water mark, read before every
//! reset and before it is stopped. Every command of ours that a suite runs is in here, measured step or not.
//!
//! Not here: the memory of peers, which stands in the rows of the steps.

use std::collections::BTreeMap;

use serde::Serialize;

use super::stats;
use super::targets::Verdict;

/// What no process of ours may exceed, in bytes.
pub(super) const LIMIT: u64 = 400_000_000;
/// The nodes' name among the verbs.
pub(super) const NODE: &str = "up";

/// The largest peak that was seen.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub(super) struct Peak {
    /// Resident memory, in bytes.
    pub(super) bytes: u64,
    /// The command, as one would type it.
    pub(super) command: String,
    /// How many processes were looked at.
    pub(super) processes: u64,
}

/// The largest peaks of a suite.
#[derive(Debug, Clone, Default, Serialize)]
pub(super) struct Memory {
    /// What no process may exceed, in bytes.
    limit: u64,
    /// The largest peak of each verb; `up` is the nodes.
    verbs: BTreeMap<String, Peak>,
}

impl Memory {
    /// Nothing seen yet.
    pub(super) fn new() -> Self {
        Self { limit: LIMIT, verbs: BTreeMap::new() }
    }

    /// A process has ended, or a node was looked at: `fresh` when it is one that was not looked at before.
    pub(super) fn saw(&mut self, verb: &str, bytes: u64, command: &str, fresh: bool) {
        let peak = self.verbs.entry(verb.to_owned()).or_default();
        peak.processes += u64::from(fresh);
        if bytes > peak.bytes {
            (peak.bytes, peak.command) = (bytes, command.to_owned());
        }
    }

    /// Verbs with their peaks, the largest first.
    pub(super) fn peaks(&self) -> Vec<(&str, &Peak)> {
        let mut peaks: Vec<_> = self.verbs.iter().map(|(verb, peak)| (verb.as_str(), peak)).collect();
        peaks.sort_by_key(|(_, peak)| std::cmp::Reverse(peak.bytes));
        peaks
    }

    /// Makes the commands short by `f`.
    pub(super) fn shorten(&mut self, f: impl Fn(&str) -> String) {
        self.verbs.values_mut().for_each(|peak| peak.command = f(&peak.command));
    }

    /// Whether the limit held; nothing to say when nothing of ours ran.
    #[expect(clippy::cast_precision_loss, reason = "main memory is far below 2^52 bytes")]
    pub(super) fn verdict(&self) -> Option<Verdict> {
        let (verb, peak) = self.peaks().into_iter().next()?;
        Some(Verdict {
            step: "every command and node".to_owned(),
            target: format!("peak memory of a process ≤ {}", stats::bytes(LIMIT as f64)),
            measured: format!("{} ({verb})", stats::bytes(peak.bytes as f64)),
            beside: Vec::new(),
            met: Some(peak.bytes <= LIMIT),
        })
    }
}

#[cfg(test)]
mod tests;
