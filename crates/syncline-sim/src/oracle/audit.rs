//! The end of a run: the world has healed, and everything that was acknowledged must be accounted for.

use super::Oracle;
use super::facts::{Audit, Claim, Rows};
use super::set::Set;
use super::violation::Violation;

impl Oracle {
    /// All is quiet: every node covers the same and has nothing pending; every acknowledged transaction is covered (or
    /// gone with a disk, or covered as what it was written again); and each value that it set is visible, a sibling that
    /// the last writer beats, or overwritten by somebody who had read it. `nodes` are the claims and rows of all nodes,
    /// which [`observe`](Self::observe) judges.
    ///
    /// # Errors
    ///
    /// `NotQuiet`, `Unequal`, `Missing`, `Vanished`, and what is wrong with the claims.
    pub fn fates(&self, nodes: &[(Claim<'_>, &Rows)]) -> Result<Audit, Violation> {
        let mut audit = Audit::default();
        let Some((first, _)) = nodes.first() else { return Ok(audit) };
        let covered = self.ledger.covered(first.coverage)?;
        for (node, (claim, _)) in nodes.iter().enumerate() {
            self.ledger.covered(claim.coverage)?;
            if let Some(first) = claim.pending.first() {
                return Err(Violation::NotQuiet { node, pending: claim.pending.len(), first: *first });
            }
            for hub in &self.ledger.hubs {
                let (has, first) = (reach(claim.coverage, hub.name), reach(first.coverage, hub.name));
                if has != first {
                    return Err(Violation::Unequal { node, hub: hub.name, has, first });
                }
            }
        }
        for number in self.ledger.acknowledged.iter() {
            audit.acknowledged += 1;
            if covered.has(number) {
                self.fate(number, &covered, nodes, &mut audit)?;
                continue;
            }
            let again = self.ledger.again(number);
            if let Some(again) = again.iter().find(|again| covered.has(**again)) {
                audit.rewritten += 1;
                self.fate(*again, &covered, nodes, &mut audit)?;
            } else if again.iter().chain([&number]).any(|any| self.ledger.lost.has(*any)) {
                audit.lost += 1;
            } else {
                return Err(Violation::Missing { id: self.ledger.id(number) });
            }
        }
        Ok(audit)
    }

    /// What became of the writes of a transaction on every node; counts that of the first node.
    fn fate(
        &self,
        number: u32,
        covered: &Set,
        nodes: &[(Claim<'_>, &Rows)],
        audit: &mut Audit,
    ) -> Result<(), Violation> {
        let txn = self.ledger.txn(number);
        let id = txn.id;
        for &(key, value) in &txn.writes {
            if value.is_none() {
                audit.deletions += 1;
                continue;
            }
            for (node, (_, rows)) in nodes.iter().enumerate() {
                if rows.leaves_out(key) {
                    continue;
                }
                let row = rows.of(key);
                let visible = row.iter().max_by_key(|s| (s.time, s.id)).is_some_and(|s| s.id == id);
                let sibling = row.iter().any(|s| s.id == id);
                let written = self.ledger.key(key);
                if !sibling && written.and_then(|key| self.ledger.overwriter(key, covered, number)).is_none() {
                    return Err(Violation::Vanished { node, id, key });
                }
                if node == 0 {
                    audit.visible += usize::from(visible);
                    audit.outvoted += usize::from(sibling && !visible);
                    audit.overwritten += usize::from(!sibling);
                }
            }
        }
        Ok(())
    }
}

fn reach(coverage: &[(u128, u64)], hub: u128) -> u64 {
    coverage.iter().filter(|(name, _)| *name == hub).map(|(_, n)| *n).max().unwrap_or(0)
}
