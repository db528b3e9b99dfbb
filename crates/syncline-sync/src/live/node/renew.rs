//! Taking all rows anew, because those that are here cannot be believed: a disk gave back something else than was written, or another replica
//! holds other rows at the same coverage and a person has said which of the two is wrong.
//!
//! What a node holds is a function of what it covers, so another node's state that includes this coverage is what should be here. It is asked
//! for as a whole and takes the place of all rows in one step, as a state does that is inside another scope. Until then the node shows
//! nothing, takes no writes and sends no rows, so what is damaged goes nowhere. It goes on sending entries and what waits: these it has as they
//! were signed.
//!
//! State: whether that is so. After a crash: the log gives the rows again, as far as it can be read; whoever drives the node looks again.
//!
//! Not here: how damage is found (whoever drives the node; [`Node::trouble`]).

use syncline_base::Kind;

use super::super::runs::Runs;
use super::super::table::Rows;
use super::super::txn::RowKey;
use super::super::zoo::Bug;
use super::{Node, PeerId};
use crate::error::{Error, Result};

/// How far it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) enum Renewal {
    /// The rows are what they should be, as far as is known.
    #[default]
    None,
    /// They are not; nobody's state has come yet.
    Wanted,
    /// One has, and is on its way to the log.
    Closed,
}

impl Node {
    /// What is here of rows is not to be believed. Another node's state, of those that [`Self::may_renew_from`] was called for, takes its place.
    pub fn renew(&mut self, now_ms: u64) {
        self.now_ms = now_ms;
        if self.renews() {
            return;
        }
        if self.coverage.is_empty() {
            // Nothing follows from that.
            self.state.rows = Rows::default();
            return;
        }
        self.renewal = Renewal::Wanted;
        // Rows that were made ready for others may be among those that are wrong.
        if !self.zoo.has(Bug::DamagedIsServed) {
            self.frozen = None;
            self.sums.clear();
            self.peers.values_mut().for_each(|peer| peer.sending = None);
        }
        let may = self.peers.iter().filter(|(_, peer)| peer.renews).map(|(id, _)| *id);
        may.collect::<Vec<_>>().into_iter().for_each(|peer| self.want_whole(peer));
    }

    /// Whether rows are not to be believed, and others have not taken their place yet.
    #[must_use]
    pub fn renews(&self) -> bool {
        self.renewal != Renewal::None
    }

    /// Reads all rows that lie on the disk as they lie there now, whatever was found out about them before.
    ///
    /// # Errors
    /// `corrupt` when something is not what was written; the disk's.
    pub fn scrub(&self) -> Result<()> {
        let (Some(place), Some(runs)) = (&self.runs, self.state.rows.runs()) else { return Ok(()) };
        let names = if runs.is_empty() { self.named.clone() } else { runs.names() };
        let again = Runs::open(place.clone(), &names)?;
        // Reads every block.
        let _ = again.scan(&RowKey::first()).count();
        let why = again.trouble().map(ToOwned::to_owned);
        why.map_or(Ok(()), |message| Err(Error::Local { kind: Kind::Corrupt, message }))
    }

    /// This peer's state may take the place of what is here, if one is to. To be said once for each connection.
    pub fn may_renew_from(&mut self, peer: PeerId) {
        let Some(end) = self.peers.get_mut(&peer).filter(|end| !end.renews) else { return };
        end.renews = true;
        self.want_whole(peer);
    }

    fn want_whole(&mut self, peer: PeerId) {
        let wanted = self.renewal == Renewal::Wanted;
        let end = self.peers.get_mut(&peer).filter(|end| wanted && end.told.as_ref() == Some(&self.scope));
        if let Some(end) = end {
            end.wants_whole = true;
            self.say_hello(peer);
        }
    }

    /// Whether all of a peer's state is wanted that sends inside the scope that is held.
    pub(super) fn renews_from(&self, peer: PeerId) -> bool {
        self.renewal == Renewal::Wanted && self.peers.get(&peer).is_some_and(|peer| peer.renews)
    }

    /// Whether rows may be sent.
    pub(super) fn serves_rows(&self) -> bool {
        !self.renews() || self.zoo.has(Bug::DamagedIsServed)
    }

    /// Another state is on its way to the log in the place of what is here.
    pub(super) fn renewal_closed(&mut self) {
        if self.renewal == Renewal::Wanted {
            self.renewal = Renewal::Closed;
        }
    }

    /// It has taken effect.
    pub(super) fn renewed(&mut self) {
        self.renewal = Renewal::None;
        self.aside = None;
    }
}

#[cfg(any(test, feature = "zoo"))]
impl Node {
    /// Has a row be what another one is, without anybody having written that.
    pub fn damage(&mut self, row: &RowKey, like: &RowKey) {
        let other = self.state.rows.get(like).unwrap_or_default();
        self.state.rows.set(row, other);
    }
}
