//! What a node sends to those who lack something: entries, or its state in parts; and its own transactions to hubs.
//!
//! Nothing here looks at a peer that has everything for longer than it takes to see that.

use std::collections::BTreeMap;
use std::sync::Arc;

use syncline_base::Hash;

use super::super::context::Coverage;
use super::super::head::Head;
use super::super::id::Origin;
use super::super::message::Message;
use super::super::offer::{Answered, Lacks, Sums};
use super::super::part::{Closing, Part, PartsId, Teller};
use super::super::scope::Scope;
use super::super::state::Snapshot;
use super::super::txn::{Batch, Entry, Txn};
use super::super::zoo::Bug;
use super::peers::Peer;
use super::{Node, Output, PeerId};

/// A node's state at one moment, to be sent to any number of peers. It shares its rows with the node.
#[derive(Debug)]
pub(super) struct Frozen {
    id: PartsId,
    snapshot: Snapshot,
}

impl Frozen {
    fn covers(&self, coverage: &Coverage) -> bool {
        self.snapshot.coverage.includes(coverage)
    }
}

/// A peer's place in it.
#[derive(Debug)]
pub(super) struct Sending {
    of: Arc<Frozen>,
    teller: Teller,
    answered: Answered,
}

impl Sending {
    /// Whether it covers so much.
    pub(super) fn has(&self, coverage: &Coverage) -> bool {
        self.of.covers(coverage)
    }

    /// Whether the peer has been offered something and has not answered.
    pub(super) const fn waits(&self) -> bool {
        matches!(self.answered, Answered::Asked)
    }

    /// It has. Whether that is what was asked.
    pub(super) fn answered(&mut self, lacks: Lacks) -> bool {
        let asked = self.waits() && (lacks.id, lacks.first) == (self.teller.id(), self.teller.nth());
        if asked {
            self.answered = Answered::Lacks(lacks.first, lacks.lacks);
        }
        asked
    }

    /// What tells the peer, which needs no state any more, that the parts it was sent go no further: others may send it theirs.
    pub(super) fn gives_up(&self) -> Option<Closing> {
        let (id, parts) = (self.teller.id(), self.teller.nth());
        (parts > 0).then(|| Closing { id, parts, coverage: Coverage::new() })
    }
}

/// What comes next of a state.
enum Next {
    /// A part, and about how many bytes it takes.
    Part(Part, usize),
    /// Nothing, until the other end has answered.
    Answer,
    /// Nothing.
    End,
}

/// Entries from a position to before another one, all of them.
#[derive(Debug)]
pub(super) struct Made {
    scope: Option<Arc<dyn Scope>>,
    from: u64,
    to: u64,
    batch: Arc<Batch>,
}

/// A spoke is sent signed heads so often, in milliseconds: one says all that those before it say, and to look at it costs a spoke more than to
/// apply what it attests. They go with entries; when there are none, after twice as long: else all spokes would be sent theirs at once.
const HEADS_MS: u64 = 250;

/// So many scopes are told in the same messages to all who are in them.
const SCOPES: usize = 64;

/// The name of a state, as it is told inside a scope: who changes scopes does not go on where he was.
fn within(id: PartsId, scope: Option<&Arc<dyn Scope>>) -> PartsId {
    scope.map_or(id, |scope| (id ^ Hash::of(scope.id()).prefix_u64()) | 1)
}

/// Of each origin the last, which says all that those before it say; by origin.
fn newest(heads: Vec<Arc<Head>>) -> Vec<Arc<Head>> {
    if heads.len() <= 1 {
        return heads;
    }
    let newest: BTreeMap<Origin, Arc<Head>> = heads.into_iter().map(|head| (head.origin(), head)).collect();
    newest.into_values().collect()
}

/// Who lacks more entries is catching up.
const CLOSE: u64 = 1024;

impl Node {
    /// Whether a peer is a spoke that is sent what is new, and nothing else: it has nearly all, and is sent no state.
    #[must_use]
    pub fn follows_closely(&self, peer: PeerId) -> bool {
        self.peers.get(&peer).is_some_and(|peer| {
            let close = peer.next.is_some_and(|next| self.kept.end().saturating_sub(next) <= CLOSE);
            peer.met && !peer.hub && peer.sending.is_none() && close
        })
    }

    pub(super) fn send(&mut self, peer: PeerId, message: Message) {
        self.out.push(Output::Send(peer, message));
    }

    pub(super) fn pump_all(&mut self) {
        self.messages = self.limits.messages(self.peers.len());
        let mut peers = std::mem::take(&mut self.peers);
        peers.iter_mut().for_each(|(id, peer)| self.pump_peer(*id, peer));
        self.peers = peers;
    }

    /// Sends a peer what it lacks, as far as its window goes.
    pub(super) fn pump(&mut self, to: PeerId) {
        let mut peers = std::mem::take(&mut self.peers);
        if let Some(peer) = peers.get_mut(&to) {
            self.pump_peer(to, peer);
        }
        self.peers = peers;
    }

    fn pump_peer(&mut self, to: PeerId, peer: &mut Peer) {
        if !peer.met {
            return;
        }
        // Nobody else could tell what is missing in what it has.
        // Until another scope is durable its rows are not here, nor whole entries.
        let holds_all = self.scope.is_empty() && self.state.scope.is_empty();
        if !holds_all && !self.zoo.has(Bug::ServedWithinScope) {
            return self.pump_waiting(to, peer);
        }
        if !self.serves_rows() && (peer.whole || self.needs_state(peer)) {
            return self.pump_waiting(to, peer);
        }
        // What would take the place of more than is in it waits until it has that.
        if peer.whole && !self.state.coverage.includes(&peer.coverage) {
            return self.pump_waiting(to, peer);
        }
        // More than one when the log is cut while a state is sent.
        while peer.sending.is_some() || peer.whole || self.needs_state(peer) {
            if peer.sending.is_none() {
                let of = self.freeze(peer.whole.then_some(&peer.coverage));
                peer.sending = Some(self.sending(of, peer.scope.clone(), &peer.coverage));
                peer.whole = false;
            }
            self.pump_parts(to, peer);
            if peer.sending.is_some() {
                break;
            }
        }
        if peer.sending.is_none() {
            let before = peer.sent();
            self.pump_entries(to, peer);
            self.pump_heads(to, peer, peer.sent() > before);
        }
        self.pump_waiting(to, peer);
    }

    /// Sends the signed heads of what the peer has been sent; all of them, when it has all entries and may lack some. Those that a spoke is not
    /// sent yet it is sent when time passes.
    fn pump_heads(&mut self, to: PeerId, peer: &mut Peer, beside: bool) {
        let Some(reached) = peer.next else { return };
        let pause = if beside { HEADS_MS } else { 2 * HEADS_MS };
        // Clocks are set back, too.
        if !peer.hub && !peer.all_heads && self.now_ms.abs_diff(peer.heads_ms) < pause {
            return;
        }
        let mut heads: Vec<Arc<Head>> = Vec::new();
        if peer.all_heads && reached == self.kept.end() {
            (peer.all_heads, peer.heads) = (false, self.kept.heads_end());
            heads.extend(
                self.chains.values().flat_map(|chain| chain.signed().into_iter().chain(chain.against())).cloned(),
            );
        } else {
            let (next, fresh) = self.kept.heads_from(peer.heads, reached, to);
            peer.heads = next;
            if fresh.is_empty() {
                return;
            }
            heads = newest(fresh);
        }
        if !heads.is_empty() {
            peer.heads_ms = self.now_ms;
        }
        let most = (self.limits.message_bytes / Head::SIZE).max(1);
        while heads.len() > most {
            let rest = heads.split_off(most);
            self.send(to, Message::Heads(std::mem::replace(&mut heads, rest)));
        }
        if !heads.is_empty() {
            self.send(to, Message::Heads(heads));
        }
    }

    /// Another node's state has taken effect: whoever is connected is sent all heads.
    pub(super) fn lose_heads(&mut self) {
        for peer in self.peers.values_mut() {
            (peer.heads, peer.all_heads) = (self.kept.heads_end(), true);
        }
    }

    /// Whether the kept entries do not bring it up.
    fn needs_state(&self, peer: &Peer) -> bool {
        let reached = peer.next.is_some_and(|next| next >= self.kept.first());
        !reached && !peer.coverage.includes(&self.kept.base)
    }

    fn sending(&self, of: Arc<Frozen>, scope: Option<Arc<dyn Scope>>, had: &Coverage) -> Sending {
        // Who has some of the rows is sent parts in which something differs.
        let room = (self.limits.message_bytes / 4).max(1);
        let teller = Teller::new(within(of.id, scope.as_ref()), room).within(scope);
        let answered = if had.is_empty() { Answered::All } else { Answered::Ask };
        Sending { of, teller, answered }
    }

    /// A state to send: the one that others are sent, as long as the log goes on from there, and it has what he has who wants all of it.
    fn freeze(&mut self, had: Option<&Coverage>) -> Arc<Frozen> {
        self.frozen_ms = self.now_ms;
        let frozen = match self.frozen.take() {
            Some(frozen) if [Some(&self.kept.base), had].into_iter().flatten().all(|had| frozen.covers(had)) => frozen,
            _ => {
                self.sums.clear();
                Arc::new(Frozen { id: self.rng.next_u64() | 1, snapshot: self.snapshot() })
            }
        };
        self.frozen = Some(frozen.clone());
        frozen
    }

    /// Gives up the state that was sent when nobody has been sent it for a while.
    pub(super) fn thaw(&mut self) {
        // Whoever is being sent it has it, too.
        if self.frozen.as_ref().is_some_and(|frozen| Arc::strong_count(frozen) > 1) {
            self.frozen_ms = self.now_ms;
        } else if self.now_ms.saturating_sub(self.frozen_ms) > self.limits.snapshot_ms {
            self.frozen = None;
            self.sums.clear();
        }
    }

    /// What a peer needs that has so many parts of a state: to go on there, if that state is still known.
    pub(super) fn resume(
        &self,
        parts: Option<(PartsId, u64)>,
        scope: Option<Arc<dyn Scope>>,
        had: &Coverage,
    ) -> Option<Sending> {
        let (id, parts) = parts?;
        let of = self.frozen.clone().filter(|frozen| within(frozen.id, scope.as_ref()) == id)?;
        let mut sending = self.sending(of, scope, had);
        if let Some(sums) = self.sums.get(&id) {
            sums.skip(&mut sending.teller, parts);
        }
        while sending.teller.nth() < parts {
            sending.teller.next(&sending.of.snapshot, &[])?;
        }
        Some(sending)
    }

    fn pump_parts(&mut self, to: PeerId, peer: &mut Peer) {
        while peer.has_room(&self.limits, self.messages) {
            let Some(sending) = &mut peer.sending else { return };
            match self.next_part(to, sending) {
                Next::Part(part, size) => {
                    let through = peer.sends(1, size);
                    self.send(to, Message::Part { through, part: Arc::new(part) });
                    continue;
                }
                Next::Answer => return,
                Next::End => {}
            }
            let Sending { of, teller, .. } = sending;
            let coverage = of.snapshot.coverage.clone();
            let closing = Closing { id: teller.id(), parts: teller.nth(), coverage };
            peer.coverage.join(&closing.coverage);
            (peer.sending, peer.next) = (None, None);
            let through = peer.sends(1, 32 + closing.coverage.len() * 20);
            self.send(to, Message::Close { through, closing });
        }
    }

    /// The next part for a peer, of which it is asked first whether it has it.
    fn next_part(&mut self, to: PeerId, sending: &mut Sending) -> Next {
        let Sending { of, teller, answered } = sending;
        loop {
            match answered.of(teller.nth()) {
                None if matches!(answered, Answered::Asked) => return Next::Answer,
                None => {
                    if self.sums.len() >= SCOPES && !self.sums.contains_key(&teller.id()) {
                        self.sums.clear();
                    }
                    let sums = self.sums.entry(teller.id()).or_insert_with(|| Sums::new(teller.rewound()));
                    let offer = sums.offer(teller.id(), teller.nth(), &of.snapshot);
                    *answered = if offer.is_some() { Answered::Asked } else { Answered::All };
                    offer.into_iter().for_each(|offer| self.send(to, Message::Offer(offer)));
                }
                Some(lacks) => {
                    let same = if lacks { None } else { self.same(teller) };
                    let next = same.or_else(|| teller.next(&of.snapshot, &[]));
                    return next.map_or(Next::End, |(part, size)| Next::Part(part, size));
                }
            }
        }
    }

    fn same(&self, teller: &mut Teller) -> Option<(Part, usize)> {
        self.sums.get(&teller.id())?.same(teller)
    }

    fn pump_entries(&mut self, to: PeerId, peer: &mut Peer) {
        let end = self.kept.end();
        loop {
            let from = peer.next.unwrap_or_else(|| self.kept.lacks(&peer.coverage)).max(self.kept.first());
            peer.next = Some(from);
            if from == end || !peer.has_room(&self.limits, self.messages) {
                return;
            }
            let (next, count, size) = self.reach(from, peer);
            peer.next = Some(next);
            if count == 0 {
                return;
            }
            let entries = self.batch(from, next, count, peer);
            entries.iter().for_each(|entry| peer.coverage.raise(entry.stamp.hub, entry.stamp.n));
            let through = peer.sends(count, size);
            if self.zoo.has(Bug::SentIsCovered) {
                self.remembered.insert(to, peer.coverage.clone());
            }
            self.send(to, Message::Entries { through, entries });
        }
    }

    /// How far one message goes for a peer: to before which position, with how many entries and bytes.
    fn reach(&self, from: u64, peer: &Peer) -> (u64, u64, usize) {
        let (limits, mut next, mut count, mut size) = (&self.limits, from, 0, 0);
        let most = (limits.message_entries as u64).min(limits.window_entries.saturating_sub(peer.flies())).max(1);
        while let Some(entry) = self.kept.get(next) {
            if !peer.coverage.has(entry.stamp) {
                if count > 0 && (count == most || size + entry.size() > limits.message_bytes) {
                    break;
                }
                count += 1;
                size += entry.size();
            }
            next += 1;
        }
        (next, count, size)
    }

    /// The entries that a peer lacks from a position to before another: for most peers the same.
    fn batch(&mut self, from: u64, to: u64, count: u64, peer: &Peer) -> Arc<Batch> {
        let all = to - from == count;
        let scope = peer.scope.as_ref();
        let alike = |made: &Made| match (made.scope.as_ref(), scope) {
            (None, None) => true,
            (Some(one), Some(other)) => one.id() == other.id(),
            _ => false,
        };
        let made = self.made.iter().find(|made| all && alike(made) && (made.from, made.to) == (from, to));
        if let Some(made) = made {
            return made.batch.clone();
        }
        let lacks = |entry: &&Arc<Entry>| !peer.coverage.has(entry.stamp);
        let entries = (from..to).filter_map(|at| self.kept.get(at)).filter(lacks);
        let entries = entries.map(|entry| self.inside(entry, peer)).collect();
        let batch = Arc::new(Batch::new(entries));
        if all {
            self.made.retain(|made| !alike(made));
            if self.made.len() >= SCOPES {
                self.made.clear();
            }
            self.made.push(Made { scope: scope.cloned(), from, to, batch: batch.clone() });
        }
        batch
    }

    /// What a peer is sent of an entry.
    fn inside(&self, entry: &Arc<Entry>, peer: &Peer) -> Arc<Entry> {
        let Some(scope) = &peer.scope else { return entry.clone() };
        let inside = entry.within(&**scope);
        if let Some(inside) = &inside
            && self.zoo.has(Bug::ScopeSkipsTorn)
        {
            return Arc::new(inside.emptied());
        }
        inside.map_or_else(|| entry.clone(), Arc::new)
    }

    fn pump_waiting(&mut self, to: PeerId, peer: &mut Peer) {
        if self.hub || !peer.hub || peer.wait || peer.denied {
            return;
        }
        let (first, before) = self.state.pending.begin();
        let sent_once = self.zoo.has(Bug::SentOnce);
        while peer.pushed < self.state.pending.end() {
            let (limits, mut next, mut size) = (&self.limits, peer.pushed, 0);
            let mut batch: Vec<Arc<Txn>> = Vec::new();
            for (place, at, txn) in self.state.pending.from(peer.pushed) {
                let flies = place - first >= limits.window_entries || at - before >= limits.window_bytes as u64;
                let full = batch.len() == limits.message_entries || size + txn.bytes().len() > limits.message_bytes;
                if (flies && place > first) || (full && !batch.is_empty()) || !self.may_push(txn) {
                    break;
                }
                next = place + 1;
                if !sent_once || !self.sent.contains(&txn.dot()) {
                    size += txn.bytes().len();
                    batch.push(txn.clone());
                }
            }
            if next == peer.pushed {
                return;
            }
            peer.pushed = next;
            if sent_once {
                self.sent.extend(batch.iter().map(|txn| txn.dot()));
            }
            if !batch.is_empty() {
                let heads = self.heads_of(&batch);
                self.send(to, Message::Push(batch, heads));
            }
        }
    }
}
