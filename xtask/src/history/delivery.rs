//! What `watch` tells: each transaction whole, once, after all that came before it in causal order, and none left out.
//!
//! A node that was away for long tells what has become of the rows in place of transactions. From then on something that has not been told may
//! have been among that; it must not come later any more.

use std::collections::BTreeSet;

use super::order::{Id, Order};
use super::{Fate, History, Row, Step, TOLD, Written};

/// What one watcher was told so far.
struct Told<'a, 'b> {
    order: &'a Order<'b>,
    /// Of each chain, those that wrote, in order, and how many of them were told or count so.
    chains: Vec<(Vec<Id>, usize)>,
    told: BTreeSet<Id>,
    /// Not told, but something that came after it was: may have been among what has become of the rows.
    assumed: BTreeSet<Id>,
    /// Transactions may have been told as what has become of the rows.
    gaps: bool,
}

/// Looks at what each watcher was told.
pub(super) fn judge(order: &Order, history: &History) -> Vec<String> {
    let mut wrong = Vec::new();
    for (watcher, steps) in history.watchers.iter().enumerate() {
        let mut told = Told::new(order);
        let found = steps.iter().enumerate().find_map(|(at, step)| told.step(at, step).err());
        let found = found.or_else(|| told.close().err());
        wrong.extend(found.map(|found| format!("watch: watcher {watcher} {found}")));
    }
    wrong.truncate(TOLD);
    wrong
}

impl<'a, 'b> Told<'a, 'b> {
    fn new(order: &'a Order<'b>) -> Self {
        let count = order.nodes.iter().map(|node| node.chain + 1).max().unwrap_or_default();
        let mut chains = vec![(Vec::new(), 0); count];
        for (id, node) in order.nodes.iter().enumerate().filter(|(_, node)| !node.txn.writes.is_empty()) {
            chains[node.chain].0.push(id);
        }
        Self { order, chains, told: BTreeSet::new(), assumed: BTreeSet::new(), gaps: false }
    }

    fn step(&mut self, at: usize, step: &Step) -> Result<(), String> {
        match step {
            Step::State(values) => {
                // What is there in the beginning is all that there is.
                self.gaps |= at > 0;
                for (value, _) in values.iter().filter_map(|(_, value)| self.order.writer.get(value)) {
                    self.told.insert(*value);
                }
                Ok(())
            }
            Step::Txn(values) => self.txn(values),
        }
    }

    fn txn(&mut self, values: &[(Row, Written)]) -> Result<(), String> {
        let Some((_, first)) = values.first() else { return Ok(()) };
        let Some((id, _)) = self.order.writer.get(first).copied() else {
            return Err(format!("was told the value {first}, which nobody wrote"));
        };
        let name = self.order.name(id);
        let writes: BTreeSet<(Row, Written)> =
            self.order.nodes[id].txn.writes.iter().map(|w| (w.row, w.value)).collect();
        if writes != values.iter().copied().collect() {
            return Err(format!("was told {values:?} as one transaction, of {name}"));
        }
        if self.assumed.contains(&id) {
            return Err(format!("was told {name} after what came after it"));
        }
        if !self.told.insert(id) {
            return Err(format!("was told {name} twice"));
        }
        for chain in 0..self.chains.len() {
            while let Some(before) = self.next(chain).filter(|before| self.order.before(*before, id)) {
                if !self.told.contains(&before) {
                    if !self.gaps {
                        return Err(format!("was told {name} before {}", self.order.name(before)));
                    }
                    self.assumed.insert(before);
                }
                self.chains[chain].1 += 1;
            }
        }
        Ok(())
    }

    /// The first one of a chain that nothing was told after.
    fn next(&self, chain: usize) -> Option<Id> {
        let (ids, done) = &self.chains[chain];
        ids.get(*done).copied()
    }

    fn close(&self) -> Result<(), String> {
        let done = |id: &&Id| self.order.nodes[**id].txn.fate == Fate::Done;
        let mut missing = self.chains.iter().flat_map(|(ids, _)| ids).filter(done).filter(|id| !self.told.contains(id));
        match missing.next() {
            Some(id) if !self.gaps => Err(format!("was never told {}", self.order.name(*id))),
            _ => Ok(()),
        }
    }
}
