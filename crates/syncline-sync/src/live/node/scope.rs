//! Holding a part of a dataset: what a node holds, what it is sent, and how the one comes to be the other.
//!
//! A node holds what is inside one scope (or everything), and its coverage counts inside of it. It takes entries and states only from peers
//! that send exactly that. When its hub sends something else, because the node or the scope has changed, it asks for the whole state,
//! keeps what it has until that is complete, and then has that in the place of it, in one step: rows that are not in it were *evicted*, which
//! is told to nobody. Its own transactions that wait are not touched.
//!
//! A node that does not hold everything sends nothing but its own transactions, and is no hub.

use std::sync::Arc;

use bytes::Bytes;

use super::super::part::Closing;
use super::super::record::{Record, Rescoped};
use super::super::scope::{Scope, Within};
use super::super::txn::{RowKey, Write};
use super::super::zoo::Bug;
use super::renew::Renewal;
use super::{Node, PeerId};

impl Node {
    /// The scope that it holds everything inside of and nothing else, by its bytes; empty when it holds everything.
    #[must_use]
    pub const fn scope(&self) -> &Bytes {
        &self.state.scope
    }

    /// A connection is there whose other end is sent what is inside `scope` and nothing else. As [`Node::connected`].
    pub fn connected_within(&mut self, peer: PeerId, scope: Arc<dyn Scope>) {
        self.connect(peer, Some(scope));
    }

    /// What a hello to a peer says.
    pub(super) fn within(&self, peer: PeerId) -> Within {
        let Some(peer) = self.peers.get(&peer) else { return Within::default() };
        let scope = peer.scope.as_ref().map(|scope| scope.id().clone()).unwrap_or_default();
        Within { scope, whole: peer.wants_whole }
    }

    /// A peer has said inside which scope it sends. Whether it is to be told that all of that is wanted.
    pub(super) fn told_scope(&mut self, from: PeerId, hub: bool, scope: &Bytes) -> bool {
        let differs = *scope != self.scope;
        let blank = self.coverage.is_empty() && self.coming.is_none();
        let adopts = hub && differs && !self.hub && (blank || self.zoo.has(Bug::ScopeNotFilled));
        if adopts {
            self.append(Record::Scope(scope.clone()), None);
        }
        let (is_hub, renews) = (self.hub, self.renews_from(from));
        let Some(peer) = self.peers.get_mut(&from) else { return false };
        peer.told = Some(scope.clone());
        let wanted = peer.wants_whole;
        // One that is no hub any more goes on with what it has begun.
        peer.wants_whole = if differs { (hub || wanted) && !is_hub && !adopts } else { renews };
        let begins = peer.wants_whole && !wanted;
        if adopts {
            self.settle_scope();
        }
        begins
    }

    /// This node holds nothing, and that is inside the scope that a peer sends.
    pub(super) fn adopt_scope(&mut self, from: PeerId) {
        let Some(scope) = self.peers.get(&from).and_then(|peer| peer.told.clone()) else { return };
        self.append(Record::Scope(scope), None);
        self.settle_scope();
        self.greet_put_off();
    }

    /// Another scope is held now. Whoever sends that need not send all of it, and is told what is here: what he sent was not taken in.
    fn settle_scope(&mut self) {
        let mut alike: Vec<PeerId> = Vec::new();
        for (id, peer) in self.peers.iter_mut().filter(|(_, peer)| peer.told.as_ref() == Some(&self.scope)) {
            peer.wants_whole = false;
            alike.push(*id);
        }
        alike.into_iter().for_each(|peer| self.say_hello(peer));
    }

    /// Whether what a peer sends can be taken in among what is held.
    pub(super) fn sends_alike(&self, from: PeerId) -> bool {
        self.renewal != Renewal::Wanted
            && self.peers.get(&from).and_then(|peer| peer.told.as_ref()) == Some(&self.scope)
    }

    /// Whether a peer's state is to take the place of what is held.
    pub(super) fn wants_whole(&self, from: PeerId) -> bool {
        self.peers.get(&from).is_some_and(|peer| peer.wants_whole)
    }

    /// The state of a peer that sends inside another scope is complete.
    pub(super) fn rescope(&mut self, from: PeerId, closing: Closing) {
        let Some(scope) = self.peers.get(&from).and_then(|peer| peer.told.clone()) else { return };
        self.note_peer_has(from, &closing.coverage);
        self.append(Record::Rescoped(Arc::new(Rescoped { closing, scope })), None);
        self.renewal_closed();
        self.settle_scope();
        if self.zoo.has(Bug::EvictedIsDeleted) {
            self.delete_evicted();
        }
    }

    /// Deletes what is gone from here. Only in the zoo.
    fn delete_evicted(&mut self) {
        let joins = self.queue.back().and_then(|queued| queued.joins.as_ref());
        let Some(rows) = joins.map(|joins| joins.snapshot.rows.clone()) else { return };
        let gone = |(key, _): &(RowKey, _)| rows.get(key).is_none();
        let held: Vec<(RowKey, ())> = self.state.rows().map(|(key, _)| (key.clone(), ())).collect();
        let writes = held.into_iter().filter(gone).map(|(row, ())| Write { row, value: None });
        let writes: Vec<Write> = writes.collect();
        if !writes.is_empty() {
            // Refused when the node has something else to do first.
            let _ = self.commit(self.now_ms, 0, self.context(), writes);
        }
    }
}
