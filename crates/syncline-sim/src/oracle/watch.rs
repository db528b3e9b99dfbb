//! Single nodes over time: what they cover does not shrink, what was gone does not come back, and states with one
//! coverage have one root.

use super::Oracle;
use super::facts::{Claim, Rows, Snapshot, Stamp};
use super::ledger::Ledger;
use super::set::Set;
use super::violation::Violation;

/// What is known of one node.
#[derive(Debug, Clone, Default)]
pub(super) struct Node {
    /// What it has told that it covers, a number for each hub; those after the end are zero.
    floor: Vec<u64>,
    /// What it had pending when it last told.
    pending: Set,
    /// For each row (by slot), the transactions that it held and whose siblings were gone.
    pub(super) gone: Vec<Set>,
    restarted: bool,
    /// What it showed last, if that was found to be right and nothing has been forgotten since.
    right: Option<Shown>,
}

/// What a node showed, and how often something had been forgotten before.
#[derive(Debug, Clone, Default)]
struct Shown {
    forgets: u64,
    coverage: Vec<(u128, u64)>,
    rows: Rows,
}

impl Shown {
    fn is(&self, forgets: u64, coverage: &[(u128, u64)], rows: &Rows) -> bool {
        self.forgets == forgets && self.coverage == coverage && self.rows == *rows
    }

    fn become_of(&mut self, forgets: u64, coverage: &[(u128, u64)], rows: &Rows) {
        self.forgets = forgets;
        self.coverage.clear();
        self.coverage.extend_from_slice(coverage);
        self.rows.copy_from(rows);
    }
}

impl Oracle {
    /// A client read at a node. Both what it covers and what is pending there is from now on known to somebody.
    ///
    /// # Errors
    ///
    /// Those of [`progress`](Self::progress).
    pub fn read(&mut self, node: usize, claim: Claim<'_>) -> Result<Snapshot, Violation> {
        let (mut held, pending) = self.told(node, claim)?;
        held.unite(&pending);
        let hubs = self.dense.iter().rposition(|n| *n > 0).map_or(0, |last| last + 1);
        Ok(Snapshot { held, seen: self.dense[..hubs].to_vec() })
    }

    /// A node tells what it holds, to whomever: it can answer for that from now on, also after a crash.
    ///
    /// # Errors
    ///
    /// `WentBack`, `PendingDropped`, and what is wrong with the claim: `UnknownStamp`, `NotClosed`, `PendingCovered`,
    /// `PendingOutOfOrder`, `UnknownTransaction`, `Forgotten`.
    pub fn progress(&mut self, node: usize, claim: Claim<'_>) -> Result<(), Violation> {
        self.told(node, claim).map(|_| ())
    }

    /// A node tells what it holds and shows all its rows: [`progress`](Self::progress), no resurrection, and
    /// [`check`](Self::check), for the price of one.
    ///
    /// Rows follow from what is covered, of which all facts stay what they were until something is forgotten. So what was right is right
    /// when the same node shows the very same again, and is not computed again.
    ///
    /// # Errors
    ///
    /// Those of both, and `Resurrected`.
    pub fn observe(&mut self, node: usize, claim: Claim<'_>, rows: &Rows) -> Result<(), Violation> {
        let (covered, _) = self.told(node, claim)?;
        let Node { gone, right, .. } = &mut self.nodes[node];
        if right.as_ref().is_some_and(|right| right.is(self.forgets, claim.coverage, rows)) {
            return Ok(());
        }
        gone.resize(self.ledger.keys.len(), Set::default());
        self.ledger.judge(&covered, claim.coverage, rows, Some((node, gone)))?;
        right.get_or_insert_default().become_of(self.forgets, claim.coverage, rows);
        Ok(())
    }

    /// A node was started again: it must not have less than before.
    pub fn restarted(&mut self, node: usize) {
        self.node(node).restarted = true;
    }

    /// What a node showed before it was durable there, and others have, is gone with a crash: it may have less than before, but not less than `kept`.
    ///
    /// # Errors
    ///
    /// `UnknownStamp`.
    pub fn may_go_back(&mut self, node: usize, kept: &[(u128, u64)]) -> Result<(), Violation> {
        self.ledger.resolve(kept, &mut self.dense)?;
        self.node(node);
        let known = &mut self.nodes[node];
        let mut lower = false;
        for (hub, floor) in known.floor.iter_mut().enumerate() {
            let kept = self.dense.get(hub).copied().unwrap_or_default();
            lower |= kept < *floor;
            *floor = (*floor).min(kept);
        }
        if lower {
            // Who overwrote it may be gone again.
            known.gone.clear();
            known.right = None;
        }
        Ok(())
    }

    /// A node's disk was replaced by an older copy, or by an empty one: it may have less than before.
    pub fn restored(&mut self, node: usize) {
        *self.node(node) = Node::default();
    }

    /// A replica with this coverage has this root, at whatever moment of the run. Pending transactions do not matter.
    ///
    /// # Errors
    ///
    /// `RootDiffers`, `UnknownStamp`.
    pub fn root(&mut self, coverage: &[(u128, u64)], root: [u8; 32]) -> Result<(), Violation> {
        self.root_within(coverage, 0, root)
    }

    /// The same of what is inside a scope, by a number of the world's choice that is not 0.
    ///
    /// # Errors
    ///
    /// As [`root`](Self::root).
    pub fn root_within(&mut self, coverage: &[(u128, u64)], scope: u64, root: [u8; 32]) -> Result<(), Violation> {
        self.ledger.resolve(coverage, &mut self.dense)?;
        while self.dense.last() == Some(&0) {
            self.dense.pop();
        }
        let at = (scope, self.dense.as_slice().into());
        match self.roots.get(&at) {
            Some(was) if *was == root => Ok(()),
            Some(was) => {
                let coverage = coverage.iter().map(|(hub, n)| Stamp { hub: *hub, n: *n }.to_string());
                let (coverage, was, now) = (coverage.collect::<Vec<_>>().join(" "), hex(was), hex(&root));
                Err(Violation::RootDiffers { coverage, was, now })
            }
            None => {
                self.roots.insert(at, root);
                Ok(())
            }
        }
    }

    fn node(&mut self, node: usize) -> &mut Node {
        if self.nodes.len() <= node {
            self.nodes.resize_with(node + 1, Node::default);
        }
        &mut self.nodes[node]
    }

    /// The node covers what is in `self.dense`, and maybe more.
    pub(super) fn raise(&mut self, node: usize) {
        self.node(node);
        let floor = &mut self.nodes[node].floor;
        if floor.len() < self.dense.len() {
            floor.resize(self.dense.len(), 0);
        }
        for (floor, n) in floor.iter_mut().zip(&self.dense) {
            *floor = (*floor).max(*n);
        }
    }

    /// A node tells what it covers and what is pending there.
    fn told(&mut self, node: usize, claim: Claim<'_>) -> Result<(Set, Set), Violation> {
        let covered = self.ledger.resolve(claim.coverage, &mut self.dense)?;
        self.ledger.closed(&self.dense)?;
        let pending = self.ledger.pending(claim.pending, &covered)?;
        self.node(node);
        let known = &mut self.nodes[node];
        for (hub, was) in known.floor.iter().enumerate() {
            let now = self.dense[hub];
            if now < *was {
                let was = Stamp { hub: self.ledger.hubs[hub].name, n: *was };
                return Err(Violation::WentBack { node, was, now, restarted: known.restarted });
            }
        }
        known.pending.subtract(&covered);
        known.pending.subtract(&pending);
        if let Some(dropped) = known.pending.first_outside(&self.ledger.rewritten) {
            return Err(Violation::PendingDropped { node, id: self.ledger.id(dropped) });
        }
        known.floor.clone_from(&self.dense);
        known.pending.clone_from(&pending);
        known.restarted = false;
        self.ledger.tell(&self.dense, &covered);
        self.ledger.told.unite(&pending);
        Ok((covered, pending))
    }
}

impl Ledger {
    /// A coverage has what its entries depend on.
    fn closed(&self, dense: &[u64]) -> Result<(), Violation> {
        for (hub, n) in self.hubs.iter().zip(dense).filter(|(_, n)| **n > 0) {
            // Dependencies grow along the entries of a hub, so that the last has those of all.
            for (at, needs) in hub.entry(*n).deps.iter().enumerate() {
                if dense[at] < *needs {
                    let stamp = Stamp { hub: hub.name, n: *n };
                    let needs = Stamp { hub: self.hubs[at].name, n: *needs };
                    return Err(Violation::NotClosed { stamp, needs, has: dense[at] });
                }
            }
        }
        Ok(())
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
