//! Another node's state on its way here: parts go to the log as they come, and take effect when it is closed.
//!
//! One at a time: a peer that sends another one meanwhile is put off, and told what is here once that one is closed or given up. When its
//! sender is gone the parts stay for a while: it may go on where it was.

use std::sync::Arc;

use super::super::chain::Chain;
use super::super::context::MAX_HUBS;
use super::super::id::Dot;
use super::super::part::{Attested, Closing, Collected, Part, Teller, What};
use super::super::record::Record;
use super::super::runs::Runs;
use super::super::state::Snapshot;
use super::super::zoo::Bug;
use super::{Node, PeerId};
use crate::error::{Error, Result};

/// Parts that are not closed yet.
#[derive(Debug, Default)]
pub(super) struct Coming {
    pub(super) collected: Collected,
    /// Who sends them; nobody when he is gone.
    from: Option<PeerId>,
    /// How many there were when time last passed, for how many ticks nothing came, and since when.
    last: u64,
    stands: u32,
    since_ms: u64,
}

impl Coming {
    /// Whether some came from a peer since time last passed, or are about to.
    pub(super) fn flows_from(&self, peer: PeerId) -> bool {
        self.from == Some(peer) && self.stands == 0
    }
}

impl Node {
    /// Takes a part before it goes to the log.
    pub(super) fn collect(&mut self, from: Option<PeerId>, part: &Arc<Part>) -> Result<()> {
        if part.nth == 0 {
            self.coming = Some(Coming { since_ms: self.now_ms, ..Coming::default() });
        }
        let Some(coming) = &mut self.coming else {
            return Err(Error::protocol("part", "it belongs to a state whose first parts are not here"));
        };
        coming.from = from;
        let taken = coming.collected.add(part);
        if taken.is_err() {
            self.coming = None;
        }
        taken
    }

    /// Whether a record that lies in the log can stand there; takes it, if it is a part.
    pub(super) fn check(&mut self, record: &Record) -> Result<()> {
        let wrong = |why: &str| Err(Error::protocol("log", why));
        let coming = self.coming.as_ref().map(|coming| &coming.collected);
        let parts = coming.map_or(0, Collected::len);
        match record {
            Record::Part(part) => {
                self.collect(None, part)?;
                self.spill_what_was_read();
                Ok(())
            }
            Record::Joined(closing) if !self.is_complete(closing) => {
                wrong("a state is closed that is not there in all its parts")
            }
            Record::Rescoped(rescoped) if !self.is_complete(&rescoped.closing) => {
                wrong("a state is closed that is not there in all its parts")
            }
            Record::Checkpoint(checkpoint) if checkpoint.parts != parts => {
                wrong("a checkpoint is not there in all its parts")
            }
            Record::Checkpoint(checkpoint) => {
                self.again = None;
                let gone = coming.is_some_and(|parts| !parts.gone.is_empty());
                self.below = match (&checkpoint.below, &self.runs) {
                    (None, _) if gone => return wrong("rows are gone from runs that a checkpoint does not name"),
                    (None, _) => None,
                    (Some(below), Some(place)) => {
                        let runs = match Runs::open(place.clone(), &below.runs) {
                            Err(error) if self.damaged => Runs::lost(place.clone(), &error),
                            runs => runs?,
                        };
                        Some(Arc::new(runs))
                    }
                    (Some(_), None) => return wrong("a checkpoint stands on runs, and there is no place for them"),
                };
                Ok(())
            }
            Record::Rewritten(_) => Ok(()),
            // What a crash left of a rewriting has never happened.
            _ => {
                self.again = None;
                Ok(())
            }
        }
    }

    fn is_complete(&self, closing: &Closing) -> bool {
        let complete = |coming: &Coming| {
            let Collected { waiting, gone, .. } = &coming.collected;
            let alone = waiting.is_empty() && gone.is_empty();
            coming.collected.id() == Some(closing.id) && coming.collected.len() == closing.parts && alone
        };
        self.coming.as_ref().is_some_and(complete)
    }

    /// What to tell peers of it.
    pub(super) fn has_parts(&self) -> Option<(u64, u64)> {
        let collected = &self.coming.as_ref()?.collected;
        collected.id().map(|id| (id, collected.len()))
    }

    /// A part from a peer.
    pub(super) fn part_came(&mut self, from: PeerId, through: u64, part: &Arc<Part>) {
        if !self.sends_alike(from) && !self.wants_whole(from) {
            return self.not_alike(from);
        }
        if self.is_put_off(from) {
            return;
        }
        let coming = self.coming.as_ref().map(|coming| &coming.collected).filter(|parts| parts.id() == Some(part.id));
        let has = coming.map_or(0, Collected::len);
        if part.nth >= has {
            if part.nth > has {
                return self.ask_once(from);
            }
            let valid = match &part.what {
                What::Waiting(_) | What::Gone(_) => false,
                What::Attested(all) => all.iter().flat_map(Attested::heads).all(|head| head.is_valid(&*self.signer)),
                What::Rows(_) | What::Chains(_) | What::Same(_) => true,
            };
            // What was the same here is not any more: it is sent then.
            let Some(part) = self.with_own(part) else { return self.ask_once(from) };
            if !valid || self.collect(Some(from), &part).is_err() {
                // He would send the same again.
                return self.hold_back(from);
            }
            self.append(Record::Part(part), None);
            self.followed(from);
        }
        self.owe(from, through);
        self.tell_here();
    }

    /// The parts of a peer's state are complete, it says.
    pub(super) fn close_came(&mut self, from: PeerId, through: u64, closing: Closing) {
        if self.wants_whole(from) {
            return self.close_of_whole_came(from, through, closing);
        }
        if !self.sends_alike(from) {
            return self.not_alike(from);
        }
        if !self.coverage.includes(&closing.coverage) {
            if self.is_put_off(from) {
                return;
            }
            let full =
                closing.coverage.iter().filter(|(hub, _)| self.coverage.of(*hub) == 0).count() + self.coverage.len();
            if !self.is_complete(&closing) || full > MAX_HUBS {
                return self.ask_once(from);
            }
            self.stamped_elsewhere(&closing.coverage);
            let chains = self.coming.as_ref().map(|coming| coming.collected.chains());
            if let Some((seq, tag)) = chains.and_then(|chains| chains.get(&self.name)).and_then(Chain::head) {
                self.known_elsewhere(Dot { origin: self.name, seq, tag });
            }
            self.note_peer_has(from, &closing.coverage);
            self.join(closing);
        } else if self.has_parts().is_some_and(|(id, _)| id == closing.id) {
            // All of it has come by other ways, or enough for its sender to go on with entries.
            self.coming = None;
            self.note_peer_has(from, &closing.coverage);
            self.greet_put_off();
        }
        self.followed(from);
        self.owe(from, through);
        self.tell_here();
        self.serve_waiting();
    }

    /// The same, of what is to take the place of all that is here.
    fn close_of_whole_came(&mut self, from: PeerId, through: u64, closing: Closing) {
        if self.is_put_off(from) {
            return;
        }
        if closing.coverage.is_empty() && self.coverage.is_empty() {
            // Nothing is to take the place of nothing: what comes from here on can be taken in.
            self.coming = None;
            return self.adopt_scope(from);
        }
        // One of nothing says that its sender goes no further.
        let is_whole = self.is_complete(&closing) && !closing.coverage.is_empty();
        if !is_whole || !closing.coverage.includes(&self.coverage) {
            // Something has come meanwhile, or was lost: from the beginning, with more in it, once what has come is durable.
            self.coming = None;
            if let Some(peer) = self.peers.get_mut(&from) {
                peer.put_off = true;
            }
            if self.queue.is_empty() {
                self.greet_put_off();
            }
            return;
        }
        self.stamped_elsewhere(&closing.coverage);
        let chains = self.coming.as_ref().map(|coming| coming.collected.chains());
        if let Some((seq, tag)) = chains.and_then(|chains| chains.get(&self.name)).and_then(Chain::head) {
            self.known_elsewhere(Dot { origin: self.name, seq, tag });
        }
        self.rescope(from, closing);
        self.followed(from);
        self.owe(from, through);
        self.tell_here();
    }

    fn join(&mut self, closing: Closing) {
        if !self.zoo.has(Bug::PartsInstalledApart) && !self.zoo.has(Bug::CoverageAfterPartOfRepair) {
            self.append(Record::Joined(Arc::new(closing)), None);
            return;
        }
        let Some(coming) = self.coming.take() else { return };
        // Half of the rows, then all: with both of them everything is as it should be, and a crash in between shows.
        let all = coming.collected.close(closing.coverage);
        let mut part = all.clone();
        part.rows = all.rows.iter().take((all.rows.len() / 2) as usize).collect();
        part.chains.clear();
        if self.zoo.has(Bug::PartsInstalledApart) {
            part.coverage = self.coverage.clone();
        }
        self.append_snapshot(1, part);
        self.append_snapshot(2, all);
    }

    /// Only in the zoo.
    fn append_snapshot(&mut self, id: u64, snapshot: Snapshot) {
        let mut teller = Teller::new(id, usize::MAX);
        while let Some((part, _)) = teller.next(&snapshot, &[]) {
            let part = Arc::new(part);
            if self.collect(None, &part).is_ok() {
                self.append(Record::Part(part), None);
            }
        }
        let closing = Closing { id, parts: teller.nth(), coverage: snapshot.coverage };
        self.append(Record::Joined(Arc::new(closing)), None);
    }

    /// Whether somebody else's state is coming; the peer is told when it is here.
    pub(super) fn is_put_off(&mut self, from: PeerId) -> bool {
        let other = self.coming.as_ref().and_then(|coming| coming.from).is_some_and(|other| other != from);
        if let Some(peer) = self.peers.get_mut(&from) {
            peer.put_off |= other;
        }
        other
    }

    /// Who sends them is gone, or silent.
    pub(super) fn sender_gone(&mut self, peer: PeerId) {
        if let Some(coming) = self.coming.as_mut().filter(|coming| coming.from == Some(peer)) {
            coming.from = None;
            self.greet_put_off();
        }
    }

    /// Tells peers that were put off what is here.
    pub(super) fn greet_put_off(&mut self) {
        let put_off = self.peers.iter_mut().filter_map(|(id, peer)| std::mem::take(&mut peer.put_off).then_some(*id));
        for peer in put_off.collect::<Vec<_>>() {
            self.say_hello(peer);
        }
    }

    /// Time passes.
    pub(super) fn tick_coming(&mut self) {
        let Some(coming) = &mut self.coming else { return };
        let now = coming.collected.len();
        if std::mem::replace(&mut coming.last, now) != now {
            (coming.stands, coming.since_ms) = (0, self.now_ms);
            return;
        }
        coming.stands = coming.stands.saturating_add(1);
        match coming.from {
            Some(peer) if coming.stands > self.limits.patience.saturating_mul(4) => self.sender_gone(peer),
            None if self.now_ms.saturating_sub(coming.since_ms) > self.limits.snapshot_ms => self.coming = None,
            _ => {}
        }
    }
}
