//! One direction between two hosts: what becomes of a packet on it. No I/O, no clock: the caller says what time it is.
//!
//! Delay and jitter keep the order; a packet that overtakes is one that skips the delay. A line with a rate sends one packet after the
//! other, and drops what would wait for more than a second. Owns: until when the line is busy, and when its last packet arrives.

use std::time::Duration;

use syncline_base::rng::Rng;

/// What a line does to packets. The default lets all pass at once.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Rule {
    pub(crate) delay: Duration,
    /// Up to so much more delay.
    pub(crate) jitter: Duration,
    /// So many of 10,000 packets are lost.
    pub(crate) loss: u64,
    /// So many of 10,000 packets overtake those that are under way.
    pub(crate) overtake: u64,
    /// Bits per second.
    pub(crate) rate: Option<u64>,
    /// Nothing passes.
    pub(crate) cut: bool,
}

/// What becomes of a packet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Way {
    /// It arrives then.
    Arrives(Duration),
    /// It arrives then, before others that were sent earlier.
    Overtakes(Duration),
    Lost,
    /// The line is cut.
    Cut,
    /// Too much waits for a slow line.
    Full,
}

/// How much may wait for a slow line.
const QUEUE: Duration = Duration::from_secs(1);

/// The state of one direction.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Line {
    /// A line with a rate sends until then.
    busy: Duration,
    /// The last packet arrives then.
    last: Duration,
}

impl Line {
    /// A packet of so many bytes comes now.
    pub(super) fn pass(&mut self, rule: &Rule, now: Duration, bytes: usize, rng: &mut Rng) -> Way {
        if rule.cut {
            return Way::Cut;
        }
        if rng.below(10_000) < rule.loss {
            return Way::Lost;
        }
        let mut sent = now;
        if let Some(rate) = rule.rate {
            let begins = self.busy.max(now);
            if begins - now > QUEUE {
                return Way::Full;
            }
            sent = begins + Duration::from_nanos(bytes as u64 * 8 * 1_000_000_000 / rate.max(1));
            self.busy = sent;
        }
        if rng.below(10_000) < rule.overtake && self.last > sent {
            return Way::Overtakes(sent);
        }
        let jitter = u64::try_from(rule.jitter.as_nanos()).unwrap_or(u64::MAX);
        self.last = self.last.max(sent + rule.delay + Duration::from_nanos(rng.below(jitter)));
        Way::Arrives(self.last)
    }
}

#[cfg(test)]
mod tests;
