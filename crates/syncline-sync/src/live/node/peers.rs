//! A node's conversations: what it sends to whom, and what it makes of what comes.
//!
//! Both sides of a connection do the same. Each says what it has ([`Message::Hello`]) and streams from its own log what the
//! other lacks, in the log's order, which is an order of causes. Nothing relies on the transport's order or memory: an entry
//! that does not follow is dropped and a new hello asks for the rest.
//!
//! Not here: whose transactions are taken (`trust`), and who may be a peer, which is for whoever makes the connection.

use std::collections::VecDeque;
use std::sync::Arc;

use bytes::Bytes;

use super::super::chain::{Chain, Place};
use super::super::context::Coverage;
use super::super::head::Head;
use super::super::id::Dot;
use super::super::message::Message;
use super::super::part::PartsId;
use super::super::record::Record;
use super::super::scope::Scope;
use super::super::txn::{Entry, Txn};
use super::super::zoo::Bug;
use super::name::Answer;
use super::pump::Sending;
use super::{Limits, Node, Output, PeerId};

/// One end of a connection.
#[derive(Debug, Default)]
pub(super) struct Peer {
    /// Which of all connections this is.
    connection: u64,
    /// What the other end has, by its own words and by what it sent.
    pub(super) coverage: Coverage,
    /// Whether it has said hello, and is a hub.
    pub(super) met: bool,
    pub(super) hub: bool,
    /// Where among the kept entries to go on; `None` to look for it.
    pub(super) next: Option<u64>,
    /// A state that it is sent.
    pub(super) sending: Option<Sending>,
    /// Entries and parts that were sent to it, and how many of them are there.
    sent: u64,
    here: u64,
    /// Messages in between: what was sent with them, and their bytes; and all those bytes.
    flying: VecDeque<(u64, usize)>,
    flying_bytes: usize,
    /// The place of the first waiting transaction that was not pushed to it.
    pub(super) pushed: u64,
    /// How far it was, and what waited first, when time last passed; and for how many ticks that has been so.
    last: (u64, u64),
    stands: u32,
    /// What is here of what it sent, to be said.
    due: Option<u64>,
    /// Whether it could not take in what was pushed, and nothing has changed since.
    pub(super) wait: bool,
    /// Whether it has been asked to begin again since something last followed.
    asked: bool,
    /// Whether it said that it takes nothing of what waits.
    pub(super) denied: bool,
    /// The next of the kept heads to send it, and whether it is to be sent all that there are, once it has all entries.
    pub(super) heads: u64,
    pub(super) all_heads: bool,
    /// When it was sent some last.
    pub(super) heads_ms: u64,
    /// Whether its state was not taken, because another was on its way.
    pub(super) put_off: bool,
    /// What it is sent is what is inside this; `None`: everything.
    pub(super) scope: Option<Arc<dyn Scope>>,
    /// Inside which scope it sends, by its words; `None` before it has said hello.
    pub(super) told: Option<Bytes>,
    /// Whether that is another one than the node's, or rows are taken anew, and all of it is wanted.
    pub(super) wants_whole: bool,
    /// Whether its rows may take the place of what is damaged.
    pub(super) renews: bool,
    /// Whether the other end wants all of what it is sent, whatever it has.
    pub(super) whole: bool,
}

/// Once so many records have taken effect here, a peer is told what of the things that it sent has.
#[derive(Debug, Clone, Copy)]
pub(super) struct Due {
    records: u64,
    peer: PeerId,
    connection: u64,
    through: u64,
}

impl Peer {
    /// The log has changed before the place that was reached.
    pub(super) fn lose_place(&mut self) {
        self.next = None;
    }

    /// What waits is offered again from the first on: it is something else now, or the other end may take it in now.
    pub(super) fn offer_again(&mut self) {
        (self.pushed, self.wait) = (0, false);
    }

    /// The other end has more than it had: maybe what it lacked to take in what was pushed.
    fn has_more(&mut self) {
        if self.wait {
            self.offer_again();
        }
    }

    /// How much was sent to it.
    pub(super) const fn sent(&self) -> u64 {
        self.sent
    }

    /// How much is on its way.
    pub(super) const fn flies(&self) -> u64 {
        self.sent - self.here
    }

    /// Whether more may be sent.
    pub(super) fn has_room(&self, limits: &Limits, messages: usize) -> bool {
        let room = self.flies() < limits.window_entries && self.flying_bytes < limits.window_bytes;
        self.flies() == 0 || (room && self.flying.len() < messages)
    }

    /// So much is sent in one message. Returns the count for it.
    pub(super) fn sends(&mut self, count: u64, bytes: usize) -> u64 {
        self.sent += count;
        self.flying_bytes += bytes;
        self.flying.push_back((self.sent, bytes));
        self.sent
    }

    /// It has what was sent up to there.
    fn has_come_to(&mut self, through: u64) {
        self.here = self.here.max(through.min(self.sent));
        while let Some((_, bytes)) = self.flying.pop_front_if(|(sent, _)| *sent <= self.here) {
            self.flying_bytes -= bytes;
        }
    }

    /// It has said what it has: nothing is on its way any more.
    fn meets(&mut self, hub: bool, coverage: Coverage, sending: Option<Sending>) {
        (self.met, self.hub, self.coverage, self.sending) = (true, hub, coverage, sending);
        self.next = None;
        self.offer_again();
        self.has_come_to(self.sent);
    }
}

impl Node {
    /// A connection is there.
    pub fn connected(&mut self, peer: PeerId) {
        self.connect(peer, None);
    }

    pub(super) fn connect(&mut self, peer: PeerId, scope: Option<Arc<dyn Scope>>) {
        self.disconnected(peer);
        self.connections += 1;
        self.peers.insert(peer, Peer { connection: self.connections, scope, ..Peer::default() });
        // What a crash left unsigned waits for that.
        self.sign();
        self.say_hello(peer);
    }

    /// A connection is gone.
    pub fn disconnected(&mut self, peer: PeerId) {
        self.peers.remove(&peer);
        self.sender_gone(peer);
    }

    /// How many entries the peers have by their own words, at most one of them, that are not durable here.
    #[must_use]
    pub fn behind(&self) -> u64 {
        let lacks = |peer: &Peer| {
            let ahead = peer.coverage.iter().map(|(hub, n)| n.saturating_sub(self.state.coverage.of(hub)));
            ahead.fold(0, u64::saturating_add)
        };
        self.peers.values().map(lacks).max().unwrap_or(0)
    }

    pub(super) fn say_hello(&mut self, peer: PeerId) {
        // Only what is durable: a peer may throw away what it is told that others have.
        let coverage = self.durable_coverage();
        let (name, hub, newest, parts) = (self.name, self.hub, self.newest, self.has_parts());
        let (within, heads) = (self.within(peer), self.heads_digest());
        self.send(peer, Message::Hello { name, hub, coverage, newest, parts, within, heads });
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
            Message::Hello { name, hub, coverage, newest, parts, within, heads } => {
                self.stamped_elsewhere(&coverage);
                if let Some(head) = self.chains.get(&name).and_then(Chain::head) {
                    let known = Dot { origin: name, seq: head.0, tag: head.1 };
                    if newest != Some(known) {
                        self.send(from, Message::Known(known));
                    }
                }
                let wants = self.told_scope(from, hub, &within.scope);
                self.met(from, (hub, within.whole), coverage, parts, heads);
                if wants {
                    self.say_hello(from);
                }
            }
            Message::Known(dot) => self.known_elsewhere(dot),
            Message::Entries { through, entries } => self.entries_came(from, through, &entries),
            Message::Here(through) => {
                if let Some(peer) = self.peers.get_mut(&from) {
                    peer.has_come_to(through);
                    peer.has_more();
                }
                self.pump(from);
            }
            Message::Part { through, part } => self.part_came(from, through, &part),
            Message::Close { through, closing } => self.close_came(from, through, closing),
            Message::Ask => self.say_hello(from),
            Message::Push(txns, heads) => self.pushed(from, &txns, &heads),
            Message::Denied(dot, why) => self.denied(from, dot, why),
            Message::Heads(heads) => self.heads_came(from, &heads),
            Message::Offer(offer) => self.offer_came(from, &offer),
            Message::Lacks(lacks) => self.lacks_came(from, lacks),
            Message::Later(dot) if self.is_pending(&dot) => {
                if let Some(peer) = self.peers.get_mut(&from) {
                    (peer.pushed, peer.wait) = (0, true);
                }
            }
            // What does not wait any more, under that name, is nothing to wait for. But nothing after it was looked at.
            Message::Later(_) => {
                if let Some(peer) = self.peers.get_mut(&from) {
                    peer.pushed = 0;
                }
                self.pump(from);
            }
            Message::Refused(dot) => {
                // Nothing after it was looked at. What is written again in its place is pushed when that is durable.
                if let Some(peer) = self.peers.get_mut(&from) {
                    peer.pushed = 0;
                }
                self.refused(dot);
                if !self.is_pending(&dot) {
                    self.pump(from);
                }
            }
        }
    }

    fn is_pending(&self, dot: &Dot) -> bool {
        self.state.pending.contains(dot)
    }

    fn met(
        &mut self,
        from: PeerId,
        (hub, whole): (bool, bool),
        coverage: Coverage,
        parts: Option<(PartsId, u64)>,
        heads: u64,
    ) {
        let brought_up = !whole && coverage.includes(&self.kept.base);
        let differ = heads != self.heads_digest();
        let scope = self.peers.get(&from).and_then(|peer| peer.scope.clone());
        let sending = if brought_up { None } else { self.resume(parts, scope, &coverage) };
        let sending = sending.filter(|sending| !whole || sending.has(&coverage));
        let Some(peer) = self.peers.get_mut(&from) else { return };
        let coverage = match self.remembered.get(&from) {
            Some(sent) if self.zoo.has(Bug::SentIsCovered) => sent.clone(),
            _ => coverage,
        };
        let given_up = peer.sending.take().filter(|_| brought_up).and_then(|sending| sending.gives_up());
        peer.heads = self.kept.heads_after(self.kept.lacks(&coverage));
        peer.all_heads = differ;
        peer.whole = whole && sending.is_none();
        peer.meets(hub, coverage, sending);
        if let Some(closing) = given_up {
            let through = peer.sends(1, 32);
            self.send(from, Message::Close { through, closing });
        }
        if hub && differ {
            self.offer_heads(from);
        }
        self.pump(from);
    }

    /// What a peer sent shows that it has this.
    pub(super) fn note_peer_has(&mut self, from: PeerId, coverage: &Coverage) {
        if let Some(peer) = self.peers.get_mut(&from) {
            peer.coverage.join(coverage);
            peer.has_more();
        }
    }

    /// What a peer sent followed on what was here.
    pub(super) fn followed(&mut self, from: PeerId) {
        if let Some(peer) = self.peers.get_mut(&from) {
            peer.asked = false;
        }
    }

    /// What a peer sent cannot be: it is not asked for anything before time has passed.
    pub(super) fn hold_back(&mut self, from: PeerId) {
        if let Some(peer) = self.peers.get_mut(&from) {
            peer.asked = true;
        }
    }

    /// What a peer sent does not follow: what was lost in between is asked for, once.
    pub(super) fn ask_once(&mut self, from: PeerId) {
        if self.peers.get_mut(&from).is_some_and(|peer| !std::mem::replace(&mut peer.asked, true)) {
            self.say_hello(from);
        }
    }

    /// A peer sends what cannot be taken in among what is held: it is asked anew, if it has not said what it sends.
    pub(super) fn not_alike(&mut self, from: PeerId) {
        if self.peers.get(&from).is_some_and(|peer| !peer.met) {
            self.ask_once(from);
        }
    }

    fn entries_came(&mut self, from: PeerId, through: u64, entries: &[Arc<Entry>]) {
        if !self.sends_alike(from) {
            return self.not_alike(from);
        }
        for entry in entries {
            if let Some(peer) = self.peers.get_mut(&from) {
                peer.coverage.raise(entry.stamp.hub, entry.stamp.n);
                peer.has_more();
            }
            match self.accept(entry) {
                Accepted::Followed => self.followed(from),
                Accepted::Had => {}
                // The rest of the message does not follow either.
                Accepted::Gap => return self.ask_once(from),
                Accepted::Full => return,
            }
        }
        self.owe(from, through);
        self.tell_here();
        // Other peers, and transactions that waited for this.
        self.serve_waiting();
    }

    /// Takes an entry that follows on what is here.
    fn accept(&mut self, entry: &Arc<Entry>) -> Accepted {
        let stamp = entry.stamp;
        self.stamped_once(stamp);
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
        if !self.coverage.has_room(stamp.hub) {
            return Accepted::Full;
        }
        self.known_elsewhere(entry.txn.dot());
        self.follow(self.now_ms, entry.attested);
        self.append(Record::Entry(entry.clone()), None);
        Accepted::Followed
    }

    fn pushed(&mut self, from: PeerId, txns: &[Arc<Txn>], heads: &[Arc<Head>]) {
        if self.hub && !self.vouched(from, txns, heads) {
            return;
        }
        self.offer_all(from, txns);
        if self.hub {
            self.pushed_heads(from, heads);
        }
    }

    fn offer_all(&mut self, from: PeerId, txns: &[Arc<Txn>]) {
        for txn in txns {
            let answer = if self.hub && !self.renews() { self.offer(self.now_ms, txn) } else { Answer::Later };
            match answer {
                Answer::Taken => {}
                // What comes after builds on it.
                Answer::Later => return self.send(from, Message::Later(txn.dot())),
                Answer::Refused => return self.send(from, Message::Refused(txn.dot())),
            }
        }
    }

    /// Remembers to tell a peer when everything that it sent is durable here.
    pub(super) fn owe(&mut self, to: PeerId, through: u64) {
        if let Some(peer) = self.peers.get(&to) {
            self.dues.push_back(Due { records: self.records, peer: to, connection: peer.connection, through });
        }
    }

    /// Says what of the things that came is here: in effect, which everything is that is durable.
    pub(super) fn tell_here(&mut self) {
        // Asked with every message: the room is kept.
        let mut told = std::mem::take(&mut self.told);
        let here = self.durable + self.shown.len() as u64;
        while let Some(due) = self.dues.pop_front_if(|due| due.records <= here) {
            let peer = self.peers.get_mut(&due.peer).filter(|peer| peer.connection == due.connection);
            if let Some(peer) = peer
                && peer.due.replace(due.through).is_none()
            {
                told.push(due.peer);
            }
        }
        for id in told.drain(..) {
            if let Some(through) = self.peers.get_mut(&id).and_then(|peer| peer.due.take()) {
                self.out.push(Output::Send(id, Message::Here(through)));
            }
        }
        self.told = told;
    }

    /// Time passes: what could not be taken in is offered again, and peers with whom nothing goes on are asked what they have. To be
    /// called every few seconds: not before a message can have come and been answered.
    pub fn tick_peers(&mut self, now_ms: u64) {
        self.now_ms = now_ms;
        let (first, waits) = (self.state.pending.begin().0, !self.state.pending.is_empty());
        let patience = self.limits.patience;
        let (mut ask, mut want) = (Vec::new(), Vec::new());
        let flows = |peer| self.coming.as_ref().is_some_and(|coming| coming.flows_from(peer));
        for (id, peer) in &mut self.peers {
            peer.wait = false;
            peer.asked = false;
            let now = (peer.here, first);
            let stood = std::mem::replace(&mut peer.last, now) == now;
            peer.stands = if stood { peer.stands.saturating_add(1) } else { 0 };
            let stands = peer.stands >= patience.max(1);
            let asked = peer.sending.as_ref().is_some_and(Sending::waits);
            if !peer.met || (stands && (peer.here < peer.sent || waits || asked)) {
                ask.push(*id);
            }
            if stands && peer.wants_whole && !flows(*id) {
                want.push(*id);
            }
            if stands {
                (peer.pushed, peer.stands) = (0, 0);
            }
        }
        for peer in ask {
            self.send(peer, Message::Ask);
        }
        self.log_heads();
        want.into_iter().for_each(|peer| self.say_hello(peer));
        self.tick_coming();
        self.thaw();
        self.serve_waiting();
        self.pump_all();
    }

    /// A hub's own transactions from before it was one.
    pub(super) fn serve_waiting(&mut self) {
        if !self.hub || self.renews() {
            return;
        }
        let mut from = 0;
        loop {
            let next = self.waiting.from(from).next().map(|(place, _, txn)| (place, txn.clone()));
            let Some((place, txn)) = next else { return };
            if !self.state.pending.contains(&txn.dot()) {
                return;
            }
            match self.offer(self.now_ms, &txn) {
                Answer::Taken => from = place + 1,
                Answer::Later => return,
                Answer::Refused => return self.refused(txn.dot()),
            }
        }
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
    /// Its hub would be one more than can be counted.
    Full,
}
