//! A node's conversations: what it sends to whom, and what it makes of what comes.
//!
//! Both sides of a connection do the same. Each says what it has ([`Message::Hello`]) and streams from its own log what the
//! other lacks, in the log's order, which is an order of causes. Nothing relies on the transport's order or memory: an entry
//! that does not follow is dropped and a new hello asks for the rest.
//!
//! Not here: trust. A peer is believed; nothing is signed yet, and who may be a peer is for whoever makes the connection.

use std::sync::Arc;

use super::super::chain::{Chain, Place};
use super::super::context::Coverage;
use super::super::id::Dot;
use super::super::message::Message;
use super::super::record::Record;
use super::super::txn::{Entry, Txn};
use super::super::zoo::Bug;
use super::name::Answer;
use super::{Node, Output, PeerId};

/// Entries that may be on their way to one peer and not durable there.
const WINDOW: u64 = 1024;
/// The most entries or transactions in one message.
const BATCH: usize = 256;

/// One end of a connection.
#[derive(Debug, Default)]
pub(super) struct Peer {
    /// What the other end has, by its own words and by what it sent.
    coverage: Coverage,
    /// Whether it has said hello, and is a hub.
    met: bool,
    hub: bool,
    /// Where in this node's log to go on; `None` to look for it.
    next: Option<u64>,
    /// Entries that were sent to it, and how many of them it has made durable.
    sent: u64,
    durable: u64,
    /// The newest waiting transaction that was pushed to it.
    pushed: Option<Dot>,
    /// How far it was, and what waited first, when time last passed.
    last: (u64, Option<Dot>),
    /// How many records this node has to make durable before it tells the peer, and what it tells then.
    due: Option<(usize, u64)>,
    /// Whether it could not take in what was pushed, and nothing has changed since.
    pub(super) wait: bool,
    /// Whether it has been asked to begin again since something last followed.
    asked: bool,
}

impl Peer {
    /// The log has changed before the place that was reached.
    pub(super) fn lose_place(&mut self) {
        self.next = None;
    }

    /// What waits is offered again from the first on: it is something else now, or the other end may take it in now.
    pub(super) fn offer_again(&mut self) {
        (self.pushed, self.wait) = (None, false);
    }

    /// The other end has more than it had: maybe what it lacked to take in what was pushed.
    fn has_more(&mut self) {
        if self.wait {
            self.offer_again();
        }
    }
}

impl Node {
    /// A connection is there.
    pub fn connected(&mut self, peer: PeerId) {
        self.peers.insert(peer, Peer::default());
        self.say_hello(peer);
    }

    /// A connection is gone.
    pub fn disconnected(&mut self, peer: PeerId) {
        self.peers.remove(&peer);
    }

    /// How many entries the peers have by their own words, at most one of them, that are not durable here.
    #[must_use]
    pub fn behind(&self) -> u64 {
        let lacks = |peer: &Peer| {
            let ahead = peer.coverage.iter().map(|(hub, n)| n.saturating_sub(self.state.coverage.of(hub)));
            ahead.sum()
        };
        self.peers.values().map(lacks).max().unwrap_or(0)
    }

    fn send(&mut self, peer: PeerId, message: Message) {
        self.out.push(Output::Send(peer, message));
    }

    fn say_hello(&mut self, peer: PeerId) {
        // Only what is durable: a peer may throw away what it is told that others have.
        let coverage = self.state.coverage.clone();
        self.send(peer, Message::Hello { name: self.name, hub: self.hub, coverage, newest: self.newest });
    }

    /// The node's part has changed.
    pub(super) fn greet_all(&mut self) {
        for peer in self.peers.keys().copied().collect::<Vec<_>>() {
            self.say_hello(peer);
        }
    }

    /// A message from a peer. What it asks for goes out at once or when the log is durable.
    pub fn receive(&mut self, now_ms: u64, from: PeerId, message: Message) {
        self.now_ms = now_ms;
        if !self.peers.contains_key(&from) {
            return;
        }
        match message {
            Message::Hello { name, hub, coverage, newest } => {
                self.stamped_elsewhere(&coverage);
                if let Some(head) = self.chains.get(&name).and_then(Chain::head) {
                    let known = Dot { origin: name, seq: head.0, tag: head.1 };
                    if newest != Some(known) {
                        self.send(from, Message::Known(known));
                    }
                }
                self.met(from, hub, coverage);
            }
            Message::Known(dot) => self.known_elsewhere(dot),
            Message::Entries { through, entries } => self.entries_came(from, through, &entries),
            Message::Durable(through) => {
                if let Some(peer) = self.peers.get_mut(&from) {
                    peer.durable = peer.durable.max(through.min(peer.sent));
                    peer.has_more();
                }
                self.pump(from);
            }
            Message::Snapshot { through, snapshot } => self.snapshot_came(from, through, snapshot),
            Message::Ask => self.say_hello(from),
            Message::Push(txns) => self.pushed(from, &txns),
            // What does not wait any more, under that name, is nothing to wait for.
            Message::Later(dot) if self.is_pending(&dot) => {
                if let Some(peer) = self.peers.get_mut(&from) {
                    (peer.pushed, peer.wait) = (None, true);
                }
            }
            Message::Later(_) => {}
            Message::Refused(dot) => {
                // Nothing after it was looked at. What is written again in its place is pushed when that is durable.
                if let Some(peer) = self.peers.get_mut(&from) {
                    peer.pushed = None;
                }
                self.refused(dot);
                if !self.is_pending(&dot) {
                    self.pump(from);
                }
            }
        }
    }

    fn is_pending(&self, dot: &Dot) -> bool {
        self.state.pending.iter().any(|txn| txn.dot() == *dot)
    }

    fn met(&mut self, from: PeerId, hub: bool, coverage: Coverage) {
        let Some(peer) = self.peers.get_mut(&from) else { return };
        let coverage = match self.remembered.get(&from) {
            Some(sent) if self.zoo.has(Bug::SentIsCovered) => sent.clone(),
            _ => coverage,
        };
        peer.coverage = coverage;
        (peer.met, peer.hub, peer.next, peer.pushed, peer.wait) = (true, hub, None, None, false);
        peer.durable = peer.sent;
        self.pump(from);
    }

    fn entries_came(&mut self, from: PeerId, through: u64, entries: &[Arc<Entry>]) {
        for entry in entries {
            if let Some(peer) = self.peers.get_mut(&from) {
                peer.coverage.raise(entry.stamp.hub, entry.stamp.n);
                peer.has_more();
            }
            match self.accept(entry) {
                Accepted::Followed => {
                    if let Some(peer) = self.peers.get_mut(&from) {
                        peer.asked = false;
                    }
                }
                Accepted::Had => {}
                Accepted::Gap => {
                    // What was lost in between is asked for once; the rest of the message does not follow either.
                    let ask = self.peers.get_mut(&from).is_some_and(|peer| !std::mem::replace(&mut peer.asked, true));
                    if ask {
                        self.say_hello(from);
                    }
                    return;
                }
            }
        }
        self.owe(from, through);
        self.tell_durable();
        // Other peers, and transactions that waited for this.
        self.serve_waiting();
    }

    /// Takes an entry that follows on what is here.
    fn accept(&mut self, entry: &Arc<Entry>) -> Accepted {
        let stamp = entry.stamp;
        let mut seen = Coverage::new();
        seen.raise(stamp.hub, stamp.n);
        self.stamped_elsewhere(&seen);
        if self.coverage.has(stamp) {
            return Accepted::Had;
        }
        let body = entry.txn.body();
        let chain = self.chains.get(&body.origin);
        let linked =
            chain.map_or(body.seq == 1, |chain| chain.place(body.seq, entry.txn.dot().tag, body.prev) != Place::Gap);
        let follows = linked && stamp.n == self.coverage.of(stamp.hub) + 1 && self.coverage.includes(&entry.deps);
        if !follows && !self.zoo.has(Bug::GapsIgnored) {
            return Accepted::Gap;
        }
        self.known_elsewhere(entry.txn.dot());
        self.follow(self.now_ms, entry.attested);
        self.append(Record::Entry(entry.clone()), None);
        Accepted::Followed
    }

    fn snapshot_came(&mut self, from: PeerId, through: u64, snapshot: Arc<super::Snapshot>) {
        if let Some(peer) = self.peers.get_mut(&from) {
            peer.coverage.join(&snapshot.coverage);
            peer.asked = false;
            peer.has_more();
        }
        if !self.coverage.includes(&snapshot.coverage) {
            self.stamped_elsewhere(&snapshot.coverage);
            if let Some((seq, tag)) = snapshot.chains.get(&self.name).and_then(Chain::head) {
                self.known_elsewhere(Dot { origin: self.name, seq, tag });
            }
            self.join(snapshot);
        }
        self.owe(from, through);
        self.tell_durable();
        self.serve_waiting();
    }

    fn join(&mut self, snapshot: Arc<super::Snapshot>) {
        if !self.zoo.has(Bug::PartsInstalledApart) && !self.zoo.has(Bug::CoverageAfterPartOfRepair) {
            self.append(Record::Joined(snapshot), None);
            return;
        }
        // Half of the rows, then all: with both of them everything is as it should be, and a crash in between shows.
        let mut part = (*snapshot).clone();
        part.rows.truncate(part.rows.len() / 2);
        part.chains.clear();
        if self.zoo.has(Bug::PartsInstalledApart) {
            part.coverage = self.coverage.clone();
        }
        self.append(Record::Joined(Arc::new(part)), None);
        self.append(Record::Joined(snapshot), None);
    }

    fn pushed(&mut self, from: PeerId, txns: &[Arc<Txn>]) {
        for txn in txns {
            let answer = if self.hub { self.offer(self.now_ms, txn) } else { Answer::Later };
            match answer {
                Answer::Taken => {}
                // What comes after builds on it.
                Answer::Later => return self.send(from, Message::Later(txn.dot())),
                Answer::Refused => return self.send(from, Message::Refused(txn.dot())),
            }
        }
    }

    /// Remembers to tell a peer when everything that it sent is durable here.
    fn owe(&mut self, to: PeerId, through: u64) {
        let waiting = self.queue.len();
        if let Some(peer) = self.peers.get_mut(&to) {
            peer.due = Some((waiting, through));
        }
    }

    /// One more record is durable.
    pub(super) fn one_durable(&mut self) {
        for peer in self.peers.values_mut() {
            if let Some((waiting, _)) = &mut peer.due {
                *waiting = waiting.saturating_sub(1);
            }
        }
    }

    pub(super) fn tell_durable(&mut self) {
        let mut out = Vec::new();
        for (id, peer) in &mut self.peers {
            if let Some((0, through)) = peer.due {
                peer.due = None;
                out.push(Output::Send(*id, Message::Durable(through)));
            }
        }
        self.out.append(&mut out);
    }

    /// Time passes: what could not be taken in is offered again.
    pub fn tick_peers(&mut self, now_ms: u64) {
        self.now_ms = now_ms;
        let first = self.state.pending.front().map(|txn| txn.dot());
        let mut ask = Vec::new();
        for (id, peer) in &mut self.peers {
            peer.wait = false;
            peer.asked = false;
            let now = (peer.durable, first);
            let stands = std::mem::replace(&mut peer.last, now) == now;
            if !peer.met || (stands && (peer.durable < peer.sent || first.is_some())) {
                ask.push(*id);
            }
            if stands {
                peer.pushed = None;
            }
        }
        for peer in ask {
            self.send(peer, Message::Ask);
        }
        self.serve_waiting();
        self.pump_all();
    }

    /// A hub's own transactions from before it was one.
    pub(super) fn serve_waiting(&mut self) {
        if !self.hub || self.state.pending.is_empty() {
            return;
        }
        for txn in self.state.pending.iter().cloned().collect::<Vec<_>>() {
            match self.offer(self.now_ms, &txn) {
                Answer::Taken => {}
                Answer::Later => return,
                Answer::Refused => return self.refused(txn.dot()),
            }
        }
    }

    pub(super) fn pump_all(&mut self) {
        let peers: Vec<PeerId> = self.peers.keys().copied().collect();
        for peer in peers {
            self.pump(peer);
        }
    }

    /// Sends a peer what it lacks, as far as its window goes.
    fn pump(&mut self, to: PeerId) {
        let Some(peer) = self.peers.get_mut(&to) else { return };
        if !peer.met {
            return;
        }
        if !peer.coverage.includes(&self.base) {
            let snapshot = self.snapshot();
            let Some(peer) = self.peers.get_mut(&to) else { return };
            peer.coverage.join(&snapshot.coverage);
            peer.next = None;
            peer.sent += 1;
            let through = peer.sent;
            self.send(to, Message::Snapshot { through, snapshot: Arc::new(snapshot) });
        }
        self.pump_entries(to);
        self.pump_waiting(to);
    }

    fn pump_entries(&mut self, to: PeerId) {
        let end = self.first + self.entries.len() as u64;
        while let Some(peer) = self.peers.get_mut(&to) {
            let mut next = peer.next.unwrap_or(self.first).max(self.first);
            let mut batch = Vec::new();
            while next < end && batch.len() < BATCH && peer.sent - peer.durable < WINDOW {
                let Some(entry) = usize::try_from(next - self.first).ok().and_then(|at| self.entries.get(at)) else {
                    break;
                };
                next += 1;
                if !peer.coverage.has(entry.stamp) {
                    peer.coverage.raise(entry.stamp.hub, entry.stamp.n);
                    peer.sent += 1;
                    batch.push(entry.clone());
                }
            }
            peer.next = Some(next);
            if batch.is_empty() {
                return;
            }
            let through = peer.sent;
            if self.zoo.has(Bug::SentIsCovered) {
                let coverage = peer.coverage.clone();
                self.remembered.insert(to, coverage);
            }
            self.send(to, Message::Entries { through, entries: batch });
        }
    }

    fn pump_waiting(&mut self, to: PeerId) {
        let Some(peer) = self.peers.get_mut(&to) else { return };
        if self.hub || !peer.hub || peer.wait || self.state.pending.is_empty() {
            return;
        }
        let after = peer.pushed.and_then(|last| self.state.pending.iter().position(|txn| txn.dot() == last));
        let waiting = self.state.pending.iter().skip(after.map_or(0, |at| at + 1));
        let sent_once = self.zoo.has(Bug::SentOnce);
        let fresh = waiting.filter(|txn| !sent_once || !self.sent.contains(&txn.dot()));
        let batch: Vec<Arc<Txn>> = fresh.take(BATCH).cloned().collect();
        let Some(last) = batch.last() else { return };
        peer.pushed = Some(last.dot());
        if sent_once {
            self.sent.extend(batch.iter().map(|txn| txn.dot()));
        }
        self.send(to, Message::Push(batch));
    }
}

/// What became of an entry that came.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Accepted {
    /// It followed and is on its way to the log.
    Followed,
    /// It was here.
    Had,
    /// Something before it is missing.
    Gap,
}
