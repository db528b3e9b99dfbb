//! The oracle: `docs/format/replication.md` as a program that judges what nodes claim.
//!
//! A simulated world tells it the facts (who wrote what having read what, which hub took what in, what crashed) and shows
//! it what nodes say; the oracle says whether the document allows that. Contexts are sets of transactions here, not
//! vectors, and a row is computed from all its writers each time: there is nothing clever that could be wrong in the same
//! way as the implementation, with which it shares no code.
//!
//! How a world uses it:
//!
//! - [`read`](Oracle::read) gives a client what it has read, [`written`](Oracle::written) takes what it wrote;
//!   [`stamped`](Oracle::stamped), [`sent`](Oracle::sent) and [`acknowledged`](Oracle::acknowledged) say what nodes did.
//! - [`observe`](Oracle::observe) judges a node after a step: its coverage and its rows. [`check_view`](Oracle::check_view)
//!   and [`check_winner`](Oracle::check_winner) judge what clients are shown, [`root`](Oracle::root) the replica root.
//!   [`check`](Oracle::check) is for states that nobody has been told of, say before they are durable.
//! - [`restarted`](Oracle::restarted), [`restored`](Oracle::restored), [`forget_stamps`](Oracle::forget_stamps),
//!   [`forget_chain`](Oracle::forget_chain), [`lost`](Oracle::lost), [`may_fork`](Oracle::may_fork) and
//!   [`rewritten`](Oracle::rewritten) say what went wrong and what was done about it.
//! - [`fates`](Oracle::fates) closes the books.
//!
//! After a violation the oracle is of no further use. It lives for one run and survives nothing. Not here: where claims
//! come from, and whether a quiet world should have come this far.

mod audit;
mod check;
mod events;
mod facts;
mod ledger;
mod loss;
mod set;
mod violation;
mod watch;

use std::collections::BTreeMap;

pub use facts::{Audit, Claim, Loss, Rows, Snapshot, Stamp, TxnId, Winner, Write, Written};
use ledger::Ledger;
pub use violation::{Evidence, Unexpected, Violation};
use watch::Node;

/// Judges one run.
#[derive(Debug, Clone)]
pub struct Oracle {
    ledger: Ledger,
    nodes: Vec<Node>,
    /// The root that was seen inside a scope with a coverage (a number for each hub, without zeros at the end).
    roots: BTreeMap<(u64, Box<[u64]>), [u8; 32]>,
    /// A coverage as a number for each hub, for the call that is being made.
    dense: Vec<u64>,
    /// How often a stamp or a transaction has been forgotten: its name may come to stand for another.
    forgets: u64,
}

impl Oracle {
    /// An oracle that knows of nothing. Times are in any unit in which a second is so long.
    #[must_use]
    pub fn new(second: u64) -> Self {
        let ledger = Ledger { ahead: second, ..Ledger::default() };
        Self { ledger, nodes: Vec::new(), roots: BTreeMap::new(), dense: Vec::new(), forgets: 0 }
    }
}

#[cfg(test)]
mod tests;

/// Times are milliseconds.
impl Default for Oracle {
    fn default() -> Self {
        Self::new(1000)
    }
}
