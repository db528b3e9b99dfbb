//! What goes missing: unwritten ends after crashes, whole disks, and writers that go on from an older state.
//!
//! After a crash, the end of a hub's stamps and of a chain may be gone, and their names may be given to something else,
//! if and only if nobody had been told of them. After a disk was replaced, the world, which sees all nodes and messages,
//! says what is gone; nodes are not to blame for that.

use super::Oracle;
use super::facts::{Loss, Stamp, TxnId};
use super::ledger::Ledger;
use super::set::Set;
use super::violation::{Evidence, Violation};

impl Oracle {
    /// A hub's stamps end at `kept` now.
    ///
    /// After [`Loss::Crash`], `kept` is what the hub came back with. After [`Loss::Disk`] it is the highest that any node
    /// or any message still has; clients of the node must read anew, since what they have read may be named by nothing
    /// any more. Told before [`forget_chain`](Self::forget_chain).
    ///
    /// # Errors
    ///
    /// `ForgotStamp` when somebody had been told of a later one (and the loss is a crash); `UnknownStamp` when the hub
    /// never gave `kept`.
    pub fn forget_stamps(&mut self, hub: u128, kept: u64, loss: Loss) -> Result<(), Violation> {
        let Some(at) = self.ledger.hub(hub).filter(|at| kept <= self.ledger.hubs[*at].last()) else {
            let last = self.ledger.hub(hub).map_or(0, |at| self.ledger.hubs[at].last());
            return if kept == 0 {
                Ok(())
            } else {
                Err(Violation::UnknownStamp { stamp: Stamp { hub, n: kept }, last })
            };
        };
        let public = self.ledger.hubs[at].told;
        if loss == Loss::Crash && public > kept {
            return Err(Violation::ForgotStamp { hub, kept, public });
        }
        self.forgets += 1;
        self.ledger.hubs[at].told = public.min(kept);
        while self.ledger.hubs[at].last() > kept {
            if let Some(entry) = self.ledger.hubs[at].entries.pop() {
                self.ledger.txns[entry.txn as usize].stamps.retain(|(hub, n)| *hub != at || *n <= kept);
            }
        }
        self.roots.retain(|(_, coverage), _| coverage.get(at).is_none_or(|n| *n <= kept));
        Ok(())
    }

    /// A writer's chain, whose newest transaction was `newest`, ends at `kept` now.
    ///
    /// After [`Loss::Crash`], `kept` is what the writer came back with. After [`Loss::Disk`] it is the newest of this
    /// chain that any node or any message still has; what is gone counts as [`lost`](Self::lost).
    ///
    /// # Errors
    ///
    /// `ForgotTransaction` when one that is gone was acknowledged, sent or shown (and the loss is a crash), or has a
    /// stamp; `NotInChain`; `UnknownTransaction`; `Forgotten`.
    pub fn forget_chain(&mut self, newest: TxnId, kept: Option<TxnId>, loss: Loss) -> Result<(), Violation> {
        let newest_number = self.ledger.live(newest)?;
        let mut gone = self.ledger.txn(newest_number).chain.clone();
        if let Some(kept) = kept {
            let number = self.ledger.live(kept)?;
            if !gone.has(number) {
                return Err(Violation::NotInChain { newest, kept });
            }
            gone.subtract(&self.ledger.txn(number).chain);
        }
        for number in gone.iter() {
            if let Some(because) = self.ledger.evidence(number, loss) {
                return Err(Violation::ForgotTransaction { id: self.ledger.id(number), because });
            }
        }
        self.forgets += 1;
        self.ledger.forget(&gone, loss);
        Ok(())
    }

    /// A transaction has gone with a disk: no other node has it, and no message. It may still come to light; its absence
    /// from the end is excused.
    ///
    /// # Errors
    ///
    /// `UnknownTransaction`.
    pub fn lost(&mut self, id: TxnId) -> Result<(), Violation> {
        let number = self.ledger.find(id).ok_or(Violation::UnknownTransaction { id })?;
        self.ledger.lost.insert(number);
        Ok(())
    }

    /// From here on there are two states from which this origin may go on: its node was copied, or its disk replaced by
    /// an older copy. Without this, a second transaction with one dot is a violation.
    pub fn may_fork(&mut self, origin: u128) {
        let at = self.ledger.origin_or_new(origin);
        self.ledger.origins[at].may_fork = true;
    }
}

impl Ledger {
    /// Why a transaction must not be gone.
    fn evidence(&self, number: u32, loss: Loss) -> Option<Evidence> {
        if let Some((hub, n)) = self.txn(number).stamps.first() {
            return Some(Evidence::Stamped(Stamp { hub: self.hubs[*hub].name, n: *n }));
        }
        match loss {
            Loss::Disk => None,
            Loss::Crash if self.acknowledged.has(number) => Some(Evidence::Acknowledged),
            Loss::Crash => self.told.has(number).then_some(Evidence::Told),
        }
    }

    fn forget(&mut self, gone: &Set, loss: Loss) {
        self.forgotten.unite(gone);
        if loss == Loss::Disk {
            self.lost.unite(gone);
        }
        for txn in 0..self.txns.len() {
            // What was written again under a name that is gone has to be written again again.
            let again = &mut self.txns[txn].again;
            let known = again.len();
            again.retain(|again| !gone.has(*again));
            if again.is_empty() && known > 0 {
                self.rewritten.remove(u32::try_from(txn).expect("transactions have 32-bit numbers"));
            }
        }
    }
}
