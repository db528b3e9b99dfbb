//! How far a replica is behind its upstream: by questions and answers, on this machine's clock alone.
//!
//! A question goes out at a moment t of the replica's own monotonic clock. The upstream answers with what it has, durable, when the question
//! comes: that is after t, so everything that it had acknowledged before t is in the answer. Once the replica has all that was in
//! the answer it is as fresh as t. Nobody's clock is compared with anybody's.
//!
//! Owns: questions under way and answers that were not reached, a few dozen at most. After a crash: nothing is known until the next answer.

use std::collections::VecDeque;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use syncline_sync::live::Coverage;

use super::core::Core;
use super::{Engine, Note};
use crate::{Error, Result};

/// The upstream is asked so often when nobody waits.
const EVERY: Duration = Duration::from_secs(5);
/// So many questions and answers are kept.
const MOST: usize = 64;

/// An answer.
#[derive(Debug, Clone)]
struct Beat {
    /// When the question went out.
    asked: Duration,
    coverage: Coverage,
    bytes: u64,
    /// Over which of all connections to the upstream.
    connection: u64,
}

/// What is known of the upstream.
#[derive(Debug, Default)]
pub(super) struct Beats {
    connection: u64,
    /// Where the upstream is.
    url: Option<String>,
    next: u64,
    /// Questions without an answer yet.
    asked: VecDeque<(u64, Duration)>,
    /// Answers with something that is not here yet.
    coming: VecDeque<Beat>,
    /// The last one all of which is here.
    reached: Option<Beat>,
}

/// How far a replica is behind its upstream.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Lag {
    /// Transactions that the upstream had when it answered last, and that are not here.
    pub positions: u64,
    /// About how many bytes they have; not known before the upstream was reached once on this connection.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bytes: Option<u64>,
    /// Everything that the upstream had acknowledged so many milliseconds ago is here; not known before it was reached once.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ms: Option<u64>,
    /// Whether the upstream is connected.
    pub connected: bool,
}

impl Beats {
    /// The upstream is connected anew. What another one had says nothing of what this one has.
    fn connected(&mut self, url: Option<String>) {
        self.connection += 1;
        self.asked.clear();
        if self.url != url {
            (self.reached, self.url) = (None, url);
            self.coming.clear();
        }
    }

    /// The log was opened anew: it may have lost what was here.
    pub(super) fn begin_anew(&mut self) {
        (self.reached, self.url) = (None, None);
        self.asked.clear();
        self.coming.clear();
    }

    fn ask(&mut self, now: Duration) -> u64 {
        self.next += 1;
        if self.asked.len() == MOST {
            self.asked.pop_front();
        }
        self.asked.push_back((self.next, now));
        self.next
    }

    fn answered(&mut self, ask: u64, coverage: Coverage, bytes: u64) {
        let Some(at) = self.asked.iter().position(|(is, _)| *is == ask) else { return };
        let (_, asked) = self.asked[at];
        // Those before it will not be answered any more: answers come in order.
        self.asked.drain(..=at);
        if self.coming.len() == MOST {
            self.coming.remove(MOST / 2);
        }
        self.coming.push_back(Beat { asked, coverage, bytes, connection: self.connection });
    }

    /// So much is here.
    pub(super) fn reach(&mut self, here: &Coverage) {
        while let Some(beat) = self.coming.pop_front_if(|beat| here.includes(&beat.coverage)) {
            self.reached = Some(beat);
        }
    }

    /// Whether everything that the upstream had at a moment is here.
    fn holds(&self, since: Duration) -> bool {
        self.reached.as_ref().is_some_and(|beat| beat.asked >= since)
    }

    /// Whether a question is under way whose answer will tell that.
    fn awaits(&self, since: Duration) -> bool {
        self.asked.iter().any(|(_, asked)| *asked >= since) || self.coming.iter().any(|beat| beat.asked >= since)
    }

    fn age(&self, now: Duration) -> Option<Duration> {
        self.reached.as_ref().map(|beat| now.saturating_sub(beat.asked))
    }

    fn lag(&self, now: Duration, here: &Coverage) -> Lag {
        let newest = self.coming.back();
        let lacks = |beat: &Beat| beat.coverage.iter().map(|(hub, n)| n.saturating_sub(here.of(hub))).sum();
        let bytes = match (&self.reached, newest) {
            (Some(reached), Some(newest)) => {
                (reached.connection == newest.connection).then(|| newest.bytes.saturating_sub(reached.bytes))
            }
            (Some(_), None) => Some(0),
            (None, _) => None,
        };
        let ms = self.age(now).map(|age| u64::try_from(age.as_millis()).unwrap_or(u64::MAX));
        Lag { positions: newest.map_or(0, lacks), bytes, ms, connected: false }
    }
}

impl Core {
    fn upstream_link(&self) -> Option<u64> {
        let mut links = self.beside.links.iter();
        links.find(|(peer, link)| link.upstream && self.peers.contains_key(peer)).map(|(peer, _)| *peer)
    }

    /// Where its transactions are taken at present.
    pub(super) fn connected_to(&self) -> Option<String> {
        self.upstream_link().and_then(|peer| self.beside.links.get(&peer)?.url.clone())
    }

    /// A connection to the upstream is there.
    pub(super) fn begin_beats(&mut self, now: Duration) {
        let url = self.connected_to();
        self.beside.beats.connected(url);
        self.ask_upstream(now);
    }

    fn ask_upstream(&mut self, now: Duration) {
        if let Some(peer) = self.upstream_link() {
            let ask = self.beside.beats.ask(now);
            self.say(peer, Note::Ask(ask));
        }
    }

    /// Time passes.
    pub(super) fn tick_beats(&mut self, now: Duration) {
        if !self.beside.beats.awaits(now.saturating_sub(EVERY)) && !self.beside.beats.holds(now.saturating_sub(EVERY)) {
            self.ask_upstream(now);
        }
    }

    /// The upstream has answered.
    pub(super) fn beat(&mut self, ask: u64, coverage: Coverage, bytes: u64) {
        self.beside.beats.answered(ask, coverage, bytes);
        self.beside.beats.reach(self.node.state().coverage());
    }

    /// How far it is behind its upstream; `None` for one that has none.
    pub(super) fn lag(&self, now: Duration) -> Option<Lag> {
        if self.node.is_hub() {
            return None;
        }
        let lag = self.beside.beats.lag(now, self.node.state().coverage());
        Some(Lag { connected: self.upstream_link().is_some(), ..lag })
    }
}

impl Engine {
    /// Waits until everything is here that the upstream had acknowledged `bound` before now; says how long ago the moment is for which that
    /// is known when it returns. On a hub, which has what it acknowledged, that is at once.
    ///
    /// # Errors
    /// `stale` when that does not come to be known in time.
    pub fn fresh(&self, bound: Duration, patience: Duration) -> Result<Duration> {
        let mut core = self.lock()?;
        let begun = self.shared.clock.monotonic();
        let since = begun.saturating_sub(bound);
        loop {
            let now = self.shared.clock.monotonic();
            if core.node.is_hub() {
                return Ok(Duration::ZERO);
            }
            if core.beside.beats.holds(since) {
                return Ok(core.beside.beats.age(now).unwrap_or_default());
            }
            let until = begun + patience;
            if now >= until || !core.beside.served {
                return Err(too_old(&core, now, bound, patience)?);
            }
            if !core.beside.beats.awaits(since) {
                core.ask_upstream(now);
            }
            // Somebody has to ask once it is connected.
            let pause = (until - now).min(Duration::from_millis(100));
            core = self.shared.news.wait(core, pause);
        }
    }
}

fn too_old(core: &Core, now: Duration, bound: Duration, patience: Duration) -> Result<Error> {
    let upstream = core.home.upstream()?.unwrap_or_default();
    let known = match core.beside.beats.age(now) {
        Some(age) => format!("what is here is known to be complete up to {} ms ago", age.as_millis()),
        None => "how old what is here may be is not known".to_owned(),
    };
    let why = if !core.beside.served {
        "no node runs here that is connected to it: run `syncline up`".to_owned()
    } else if core.upstream_link().is_none() {
        format!("it was not connected within {} ms", patience.as_millis())
    } else {
        let lag = core.beside.beats.lag(now, core.node.state().coverage());
        format!("{} transactions have not come within {} ms", lag.positions, patience.as_millis())
    };
    Ok(Error::Stale {
        what: format!("reading what {upstream} had {} ms ago or later", bound.as_millis()),
        why: format!("{known}; {why}; wait longer (--max-wait), allow more (--max-staleness), or read there"),
    })
}

#[cfg(test)]
mod tests {
    use syncline_sync::live::Origin;

    use super::*;

    fn had(n: u64) -> Coverage {
        let mut coverage = Coverage::new();
        coverage.raise(Origin::from_bytes([1; 16]), n);
        coverage
    }

    const fn at(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    #[test]
    fn it_is_as_fresh_as_the_question_whose_answer_is_here() {
        let mut beats = Beats::default();
        let hub = || Some("http://a".to_owned());
        beats.connected(hub());
        let first = beats.ask(at(100));
        assert!(beats.awaits(at(100)) && !beats.awaits(at(101)) && !beats.holds(at(0)));
        beats.answered(first, had(5), 1_000);
        beats.reach(&had(4));
        assert!(beats.awaits(at(100)) && !beats.holds(at(0)), "one is missing");
        assert_eq!(beats.lag(at(200), &had(4)), Lag { positions: 1, ..Lag::default() });
        beats.reach(&had(5));
        assert!(beats.holds(at(100)) && !beats.holds(at(101)), "not as of when the answer came");
        let second = beats.ask(at(300));
        beats.answered(second, had(9), 1_500);
        beats.reach(&had(6));
        let lag = beats.lag(at(400), &had(6));
        assert_eq!((lag.positions, lag.bytes, lag.ms), (3, Some(500), Some(300)));
        // An answer that nobody asked for tells nothing.
        beats.answered(second, had(1), 0);
        beats.reach(&had(6));
        assert!(!beats.holds(at(101)));
        // What was counted on another connection cannot be compared.
        beats.connected(hub());
        let third = beats.ask(at(500));
        beats.answered(third, had(10), 10);
        assert_eq!(beats.lag(at(600), &had(6)).bytes, None);
        beats.reach(&had(10));
        assert_eq!(beats.lag(at(600), &had(10)), Lag { positions: 0, bytes: Some(0), ms: Some(100), connected: false });
        // What one upstream had another one may never have heard of.
        beats.connected(hub());
        assert!(beats.holds(at(500)));
        let fourth = beats.ask(at(700));
        beats.answered(fourth, had(11), 10);
        beats.connected(Some("http://b".to_owned()));
        beats.reach(&had(11));
        assert!(!beats.holds(at(0)) && !beats.awaits(at(0)));
        let fifth = beats.ask(at(800));
        beats.answered(fifth, had(3), 10);
        beats.reach(&had(11));
        assert!(beats.holds(at(800)));
        // Nor does anything from before the log was opened again.
        beats.begin_anew();
        assert!(!beats.holds(at(0)));
    }

    #[test]
    fn questions_and_answers_are_bounded() {
        let mut beats = Beats::default();
        for n in 0..1_000 {
            let ask = beats.ask(at(n));
            if n % 2 == 0 {
                beats.answered(ask, had(n + 1), 0);
            }
        }
        assert!(beats.asked.len() <= MOST && beats.coming.len() <= MOST);
        beats.reach(&had(1));
        assert!(beats.holds(at(0)), "the first to be reached is kept");
        beats.reach(&had(1_000));
        assert!(beats.holds(at(998)));
    }
}
