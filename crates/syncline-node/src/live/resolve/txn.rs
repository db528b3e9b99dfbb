//! Which siblings readers see where the rows of a transaction stand or fall together.
//!
//! Transactions that are siblings of one row, with values that differ, compete. Those that compete, and those that compete with these,
//! are ranked together, whatever the row: the first wins, whoever competes with a winner loses, in all rows; then the next that has
//! not lost, and so on. A row is its winner's. Where all that there is has lost, as in a row that a loser alone wrote, the best
//! of it is seen: what was there before is not kept. Such a transaction is torn.
//!
//! A pure function of the sibling sets of the table's rows. Owns nothing.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use syncline_sync::live::{Dot, Sibling};

use super::super::definition::{Definition, Resolver, Scope};
use super::{place, seen};

/// The sibling that is seen of each row that several transactions compete for, by key.
pub type Picks = BTreeMap<Bytes, Dot>;

impl Definition {
    /// Whether the rows that a transaction wrote stand or fall together.
    pub(crate) fn is_by_txn(&self) -> bool {
        self.settings().scope == Scope::Txn
    }

    /// Who wins the rows of this table that have several siblings; of all of them, in any order. None where each row is for itself.
    pub fn picks<'a>(&self, rows: impl Iterator<Item = (&'a Bytes, &'a [Sibling])>) -> Picks {
        if !self.is_by_txn() {
            return Picks::new();
        }
        let rows: Vec<(&Bytes, &[Sibling])> = rows.filter(|(_, siblings)| siblings.len() > 1).collect();
        let mut against: BTreeMap<Dot, BTreeSet<Dot>> = BTreeMap::new();
        let mut known: BTreeMap<Dot, &Sibling> = BTreeMap::new();
        for (_, siblings) in &rows {
            for sibling in *siblings {
                let others = siblings.iter().filter(|other| seen::differ(sibling, other)).map(|other| other.dot);
                against.entry(sibling.dot).or_default().extend(others);
                known.insert(sibling.dot, sibling);
            }
        }
        let mut ranked: Vec<&Sibling> = known.into_values().collect();
        ranked.sort_by(|a, b| self.rank(b).cmp(&self.rank(a)));
        let order: BTreeMap<Dot, usize> = ranked.iter().map(|sibling| sibling.dot).zip(0..).collect();
        let (mut won, mut lost) = (BTreeSet::new(), BTreeSet::new());
        for dot in ranked.iter().map(|sibling| sibling.dot) {
            if !lost.contains(&dot) {
                won.insert(dot);
                lost.extend(against.get(&dot).into_iter().flatten().copied());
            }
        }
        let pick = |siblings: &[Sibling]| {
            let dots = siblings.iter().map(|sibling| sibling.dot);
            dots.min_by_key(|dot| (!won.contains(dot), order.get(dot).copied()))
        };
        rows.into_iter().filter_map(|(key, siblings)| Some((key.clone(), pick(siblings)?))).collect()
    }

    /// Where a transaction stands among others, whatever it wrote; the greatest is the best.
    fn rank(&self, sibling: &Sibling) -> impl Ord {
        let age = (sibling.time, sibling.dot);
        match &self.settings().resolver {
            Resolver::FirstWriter => (Reverse(0), Err(Reverse(age))),
            Resolver::Origin { order } => (Reverse(place(order, sibling.dot.origin)), Ok(age)),
            _ => (Reverse(0), Ok(age)),
        }
    }
}

#[cfg(test)]
mod tests;
