//! Sending of a state only what differs: before its rows go, the other end is told what they hash to.
//!
//! A state is told in the same parts to everybody, so what they hash to is computed once for all who are sent it. Who covers something is offered
//! the next few parts; those that it does not lack are said to be the [`Same`](super::super::offer::Same). It takes its own rows then, if they still
//! hash to that, and goes on as if they had come: all that follows, the log included, knows nothing of this. If they do not, it says what it has, as
//! after anything that was lost, and is offered again what follows on that.
//!
//! State: what the parts of the state that is sent hash to. After a crash: nothing; who has some of the parts goes on there.
//!
//! Not here: what a range is and hashes to (`offer`), when a state is sent (`pump`).

use std::sync::Arc;

use super::super::chain::Chains;
use super::super::message::Message;
use super::super::offer::{Lacks, Offer};
use super::super::part::{Part, What};
use super::super::runs::Runs;
use super::super::table::Rows;
use super::super::zoo::Bug;
use super::{Node, PeerId};

impl Node {
    /// A peer is about to send a state.
    pub(super) fn offer_came(&mut self, from: PeerId, offer: &Offer) {
        if !self.sends_alike(from) && !self.wants_whole(from) {
            return self.not_alike(from);
        }
        if self.is_put_off(from) {
            return;
        }
        let (rows, chains) = self.own();
        let lacks = offer.answer(rows, chains);
        self.send(from, Message::Lacks(lacks));
    }

    /// A peer has compared what it was offered.
    pub(super) fn lacks_came(&mut self, from: PeerId, lacks: Lacks) {
        let sending = self.peers.get_mut(&from).and_then(|peer| peer.sending.as_mut());
        if sending.is_some_and(|sending| sending.answered(lacks)) {
            self.pump(from);
        }
    }

    /// A part as it goes to the log: with the rows that are the same here. `None` when they are not, any more.
    pub(super) fn with_own(&mut self, part: &Arc<Part>) -> Option<Arc<Part>> {
        let What::Same(same) = &part.what else { return Some(part.clone()) };
        let unchecked = self.zoo.has(Bug::SameUnchecked);
        let (rows, chains) = self.own();
        let found = if unchecked { same.take_from(rows, chains) } else { same.find_in(rows, chains) };
        found.map(|what| Arc::new(Part { id: part.id, nth: part.nth, what }))
    }

    /// What is here, to be compared. Rows, when they are damaged, to be read without anybody else noticing, and without the runs that
    /// cannot be opened: what they hash to tells whether they are what they should be.
    fn own(&mut self) -> (&Rows, &Chains) {
        if !self.renews() {
            self.aside = None;
            return (&self.state.rows, &self.chains);
        }
        let (rows, named, place) = (&self.state.rows, &self.named, &self.runs);
        let aside = self.aside.get_or_insert_with(|| match (rows.runs(), place) {
            (Some(runs), Some(place)) => {
                let names = if runs.is_empty() { named.clone() } else { runs.names() };
                rows.on_merged(Arc::new(Runs::open_some(place.clone(), &names)))
            }
            _ => rows.clone(),
        });
        (aside, &self.chains)
    }
}
