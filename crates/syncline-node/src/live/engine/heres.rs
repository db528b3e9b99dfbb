//! How often peers are told how far what they sent has come: at once, and then not again for a moment.
//!
//! `Here` counts, so the newest says all. While much comes in small messages an answer to each costs both ends more than the message did, and
//! who sent it has room for many more.
//!
//! Owns: what peers are to be told still. After a crash: they are told anew what is here.

use std::collections::BTreeMap;
use std::time::Duration;

use syncline_sync::live::{Message, PeerId};

use super::core::Core;
use super::note::Parcel;

/// So long after one the next one goes out.
const PAUSE: Duration = Duration::from_millis(2);
/// So long after one the engine's thread looks by itself whether others are due: to wake it takes as long as a message.
const LIVELY: Duration = Duration::from_millis(10);

/// What peers were told, and are to be told.
#[derive(Debug, Default)]
pub(super) struct Heres {
    /// When each was told last.
    told: BTreeMap<PeerId, Duration>,
    held: BTreeMap<PeerId, u64>,
    /// When those that are held go out.
    due: Option<Duration>,
    /// The engine's thread does not know of that yet, unless it looks by itself.
    fresh: bool,
    looks: bool,
    /// When somebody was told last.
    last: Option<Duration>,
}

impl Heres {
    /// What to tell a peer now of what has come up to `through`: that, or nothing yet.
    fn tell(&mut self, peer: PeerId, through: u64, now: Duration) -> Option<u64> {
        let last = self.told.get(&peer);
        if last.is_none_or(|last| now.saturating_sub(*last) >= PAUSE) {
            self.told.insert(peer, now);
            self.held.remove(&peer);
            self.last = Some(now);
            return Some(through);
        }
        self.held.insert(peer, through);
        self.fresh |= self.due.is_none();
        self.due = self.due.or(Some(now + PAUSE));
        None
    }

    /// Whether the engine's thread is to look when some are due.
    pub(super) const fn is_fresh(&mut self) -> bool {
        std::mem::replace(&mut self.fresh, false) && !self.looks
    }

    /// In how long the engine's thread is to look.
    pub(super) fn next_look(&mut self, now: Duration) -> Option<Duration> {
        let lively = self.last.is_some_and(|last| now.saturating_sub(last) < LIVELY);
        let due = self.due.map(|due| due.saturating_sub(now));
        let next = due.or(lively.then_some(PAUSE));
        (self.looks, self.fresh) = (next.is_some(), false);
        next
    }

    /// Those that are due.
    fn take(&mut self, now: Duration) -> BTreeMap<PeerId, u64> {
        if self.due.is_none_or(|due| now < due) {
            return BTreeMap::new();
        }
        (self.due, self.fresh, self.last) = (None, false, Some(now));
        self.told.extend(self.held.keys().map(|peer| (*peer, now)));
        std::mem::take(&mut self.held)
    }

    pub(super) fn forget(&mut self, peer: PeerId) {
        self.told.remove(&peer);
        self.held.remove(&peer);
    }
}

impl Core {
    /// Tells a peer, or notes that it is to be told.
    pub(super) fn say_here(&mut self, peer: PeerId, through: u64) {
        let now = self.clock.monotonic();
        if let Some(through) = self.heres.tell(peer, through, now) {
            self.send_parcel(peer, Parcel::Message(Message::Here(through)));
        }
    }

    /// Tells those who are to be told by now.
    pub(super) fn say_heres(&mut self, now: Duration) {
        for (peer, through) in self.heres.take(now) {
            self.send_parcel(peer, Parcel::Message(Message::Here(through)));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_goes_out_at_once_and_the_newest_of_the_rest_after_a_moment() {
        let (mut heres, at) = (Heres::default(), Duration::from_micros);
        assert_eq!(heres.tell(1, 5, at(10)), Some(5));
        assert_eq!((heres.tell(1, 6, at(200)), heres.tell(1, 7, at(400))), (None, None));
        assert_eq!(heres.tell(2, 1, at(500)), Some(1), "each connection for itself");
        assert_eq!(heres.due, Some(at(2200)));
        assert!(heres.take(at(2100)).is_empty());
        assert_eq!(heres.take(at(2300)), BTreeMap::from([(1, 7)]));
        assert!(heres.take(at(9000)).is_empty(), "once");
        assert_eq!(heres.tell(1, 8, at(2400)), None);
        assert_eq!(heres.tell(1, 9, at(4400)), Some(9), "what was held is in it");
        assert!(heres.take(at(9000)).is_empty());
        heres.tell(1, 10, at(4500));
        heres.forget(1);
        assert!(heres.take(at(9000)).is_empty());
    }

    #[test]
    fn the_engine_is_woken_when_it_does_not_look_by_itself() {
        let (mut heres, at) = (Heres::default(), Duration::from_micros);
        assert_eq!(heres.next_look(at(0)), None);
        heres.tell(1, 1, at(10));
        assert!(!heres.is_fresh(), "nothing is held");
        heres.tell(1, 2, at(20));
        assert!(heres.is_fresh());
        assert!(!heres.is_fresh(), "once");
        assert_eq!(heres.next_look(at(100)), Some(at(1920)));
        heres.tell(1, 3, at(120));
        assert!(!heres.is_fresh(), "it looks");
        assert_eq!(heres.take(at(2020)), BTreeMap::from([(1, 3)]));
        assert_eq!(heres.next_look(at(2020)), Some(PAUSE), "more may come");
        heres.tell(1, 4, at(2040));
        assert!(!heres.is_fresh());
        assert_eq!(heres.take(at(4050)), BTreeMap::from([(1, 4)]));
        assert_eq!(heres.next_look(at(20_000)), None, "nothing comes any more");
        heres.tell(1, 5, at(20_010));
        assert!(!heres.is_fresh(), "it went out");
        heres.tell(1, 6, at(20_020));
        assert!(heres.is_fresh());
    }
}
