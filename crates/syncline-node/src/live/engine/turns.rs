//! When answers of many peers are taken in: each after a pause, which is longer the more there are.
//!
//! A peer of many is sent something new once it has answered what it was sent before. Answers come at once, so that all of a machine goes into
//! messages of one transaction each, which then wait for each other. With a pause what comes meanwhile goes out in one message, and each peer
//! has its turn at another time. Who has been sent nothing for as long as that is sent the next thing at once.
//!
//! Owns: answers that have come and were not taken in. After a crash: connections are gone, and with them what was on its way.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::LazyLock;
use std::time::Duration;

use syncline_sync::live::{Message, PeerId};

use super::core::Core;

/// Fewer peers are no crowd.
const CROWD: usize = 128;
/// Of one core, for each peer: a message to it and its answer cost some 26 µs of this end, and 16 of the other one, which may be on the same
/// machine. What is left is for moments in which the machine has less to give: where it is all taken, turns are late and all wait for all.
const SHARE: Duration = Duration::from_micros(80);
/// No turn is longer, however many there are.
const LONGEST: Duration = Duration::from_millis(100);
/// The engine's thread looks so often at the most.
const STEP: Duration = Duration::from_millis(1);

static CORES: LazyLock<u32> =
    LazyLock::new(|| std::thread::available_parallelism().map_or(1, |cores| u32::try_from(cores.get()).unwrap_or(1)));

/// Between two answers of one of so many peers that are taken in.
fn pause(peers: usize, cores: u32) -> Duration {
    if peers < CROWD {
        return Duration::ZERO;
    }
    SHARE.saturating_mul(u32::try_from(peers).unwrap_or(u32::MAX)).min(LONGEST.saturating_mul(cores)) / cores
}

/// The first turn of a peer after `now`. Turns of one are a pause apart; those of all are spread over it evenly, whatever came to all at once:
/// multiples of the golden ratio are.
fn next_turn(peer: PeerId, pause: Duration, now: Duration) -> Duration {
    let pause = u64::try_from(pause.as_nanos()).unwrap_or(u64::MAX).max(1);
    let now = u64::try_from(now.as_nanos()).unwrap_or(u64::MAX);
    let part = peer.wrapping_mul(0x9E37_79B9_7F4A_7C15);
    let first = u64::try_from((u128::from(part) * u128::from(pause)) >> 64).unwrap_or(0);
    let since = (now % pause + pause - first) % pause;
    Duration::from_nanos(now.saturating_add(pause) - since)
}

/// Whose turn is when.
#[derive(Debug, Default)]
pub(super) struct Turns {
    /// When an answer of each whose last one was taken in is taken in again.
    turns: BTreeMap<PeerId, Duration>,
    /// What each has answered, and its turn.
    held: BTreeMap<PeerId, (u64, Duration)>,
    order: BTreeSet<(Duration, PeerId)>,
    /// The engine's thread is to look earlier than it knows.
    fresh: bool,
}

impl Turns {
    /// A peer has answered: what of that is to be taken in now.
    fn answered(&mut self, peer: PeerId, through: u64, pause: Duration, now: Duration) -> Option<u64> {
        if let Some((held, _)) = self.held.get_mut(&peer) {
            *held = through.max(*held);
            return None;
        }
        let turn = self.turns.get(&peer).copied().unwrap_or(now);
        if turn <= now {
            self.turns.insert(peer, next_turn(peer, pause, now));
            return Some(through);
        }
        self.fresh |= self.order.first().is_none_or(|(first, _)| turn + STEP <= *first);
        self.held.insert(peer, (through, turn));
        self.order.insert((turn, peer));
        None
    }

    /// Whether the engine's thread is to look earlier than it knows.
    pub(super) const fn is_fresh(&mut self) -> bool {
        std::mem::replace(&mut self.fresh, false)
    }

    /// In how long it is to look.
    pub(super) fn next_look(&mut self, now: Duration) -> Option<Duration> {
        self.fresh = false;
        self.order.first().map(|(turn, _)| turn.saturating_sub(now).max(STEP))
    }

    /// The next whose turn it is.
    fn next(&mut self, pause: Duration, now: Duration) -> Option<(PeerId, u64)> {
        let (turn, peer) = self.order.pop_first()?;
        if turn > now {
            self.order.insert((turn, peer));
            return None;
        }
        let (through, _) = self.held.remove(&peer)?;
        self.turns.insert(peer, next_turn(peer, pause, now));
        Some((peer, through))
    }

    /// What a peer has answered, whosever turn it is; its next answer does not wait either.
    fn give(&mut self, peer: PeerId) -> Option<u64> {
        self.turns.remove(&peer);
        let (through, turn) = self.held.remove(&peer)?;
        self.order.remove(&(turn, peer));
        Some(through)
    }

    pub(super) fn forget(&mut self, peer: PeerId) {
        self.turns.remove(&peer);
        if let Some((_, turn)) = self.held.remove(&peer) {
            self.order.remove(&(turn, peer));
        }
    }
}

impl Core {
    /// Whether what a peer says is taken in later.
    pub(super) fn waits_for_its_turn(&mut self, peer: PeerId, message: &Message) -> bool {
        let Message::Here(through) = message else { return false };
        let pause = pause(self.peers.len(), *CORES);
        // What a hub answers, or who catches up, makes way for much, and not for one transaction.
        if (pause.is_zero() && self.turns.held.is_empty()) || !self.node.follows_closely(peer) {
            return false;
        }
        self.turns.answered(peer, *through, pause, self.clock.monotonic()).is_none()
    }

    /// A peer waits for what is here: it is its turn.
    pub(super) fn give_turn(&mut self, peer: PeerId) {
        if let Some(through) = self.turns.give(peer) {
            self.node.receive(self.clock.now_ms(), peer, Message::Here(through));
            self.drain();
        }
    }

    /// Takes in answers whose turn it is.
    pub(super) fn take_turns(&mut self, now: Duration) {
        if self.broken.is_some() || self.turns.order.is_empty() {
            return;
        }
        let pause = pause(self.peers.len(), *CORES);
        self.now_ms = self.clock.now_ms();
        while let Some((peer, through)) = self.turns.next(pause, now) {
            self.node.receive(self.now_ms, peer, Message::Here(through));
        }
        self.drain();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn few_peers_do_not_wait_and_many_share_the_machine() {
        assert_eq!(pause(CROWD - 1, 2), Duration::ZERO);
        assert_eq!(pause(1000, 2), Duration::from_millis(40));
        assert_eq!(pause(1000, 80), Duration::from_millis(1));
        assert_eq!(pause(1_000_000, 2), LONGEST);
        assert_eq!(pause(usize::MAX, 1), LONGEST);
    }

    #[test]
    fn turns_of_one_are_a_pause_apart_and_those_of_all_spread_over_it() {
        let pause = Duration::from_millis(30);
        let mut all = BTreeSet::new();
        for peer in 1..=1000 {
            for now in [Duration::ZERO, Duration::from_micros(12_345), Duration::from_secs(86_400)] {
                let turn = next_turn(peer, pause, now);
                assert!(turn > now && turn <= now + pause, "{peer} {now:?} {turn:?}");
                assert_eq!(next_turn(peer, pause, turn), turn + pause);
                // Who is late for one has the next one at its time all the same.
                assert_eq!(next_turn(peer, pause, turn + pause / 2), turn + pause);
            }
            all.insert(next_turn(peer, pause, Duration::from_secs(5)));
        }
        for begin in 0..30 {
            let begin = Duration::from_secs(5) + Duration::from_millis(begin);
            let many = all.range(begin..begin + Duration::from_millis(1)).count();
            assert!((30..=37).contains(&many), "{many} of 1,000 in one of 30 ms");
        }
    }

    #[test]
    fn answers_are_taken_in_when_it_is_their_turn() {
        let (mut turns, pause) = (Turns::default(), Duration::from_millis(30));
        let at = |ms| Duration::from_secs(1) + Duration::from_millis(ms);
        assert_eq!(turns.answered(1, 5, pause, at(0)), Some(5), "the first one");
        assert_eq!(turns.next_look(at(0)), None);
        let turn = next_turn(1, pause, at(0));
        assert_eq!((turns.answered(1, 6, pause, at(0)), turns.is_fresh()), (None, true));
        assert_eq!((turns.answered(1, 7, pause, at(0)), turns.is_fresh()), (None, false), "it has a turn");
        assert_eq!(turns.next_look(at(0)), Some((turn - at(0)).max(STEP)));
        assert_eq!(turns.next(pause, turn - Duration::from_nanos(1)), None);
        assert_eq!((turns.next(pause, turn), turns.next(pause, turn)), (Some((1, 7)), None));
        assert_eq!(turns.next_look(turn), None);
        assert_eq!(turns.answered(1, 8, pause, turn + pause), Some(8), "nothing was sent to it meanwhile");
        // Who has an earlier turn wakes the engine's thread, and is the first.
        let now = turn + pause;
        assert_eq!(turns.answered(1, 9, pause, now), None);
        let early = (2..).find(|peer| next_turn(*peer, pause, now) + STEP < now + pause).unwrap_or_default();
        assert!(turns.is_fresh());
        assert_eq!(turns.answered(early, 1, pause, now), Some(1), "each for itself");
        assert_eq!((turns.answered(early, 2, pause, now), turns.is_fresh()), (None, true));
        let end = now + pause;
        assert_eq!([turns.next(pause, end), turns.next(pause, end)], [Some((early, 2)), Some((1, 9))]);
    }

    #[test]
    fn who_asks_has_its_turn_at_once() {
        let (mut turns, at, pause) = (Turns::default(), Duration::from_millis, Duration::from_millis(30));
        turns.answered(1, 5, pause, at(1));
        turns.answered(1, 6, pause, at(1));
        assert_eq!((turns.give(1), turns.give(1), turns.give(2)), (Some(6), None, None));
        assert_eq!((turns.next(pause, at(100)), turns.next_look(at(100))), (None, None));
        assert_eq!(turns.answered(1, 7, pause, at(2)), Some(7), "nor does it wait for the next one");
    }

    #[test]
    fn nothing_is_left_of_who_is_gone() {
        let (mut turns, at, pause) = (Turns::default(), Duration::from_millis, Duration::from_millis(30));
        turns.answered(1, 5, pause, at(0));
        turns.answered(1, 6, pause, at(0));
        turns.forget(1);
        assert_eq!((turns.next(pause, at(100)), turns.next_look(at(100))), (None, None));
        assert!(turns.turns.is_empty() && turns.held.is_empty() && turns.order.is_empty());
    }
}
