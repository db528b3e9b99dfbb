//! Siblings: a row shows what was written and not overwritten by somebody who had read it, no more and no less; and what became of each
//! acknowledged write.
//!
//! Who overwrites a value has seen it, or has seen a value that overwrote it. So, whatever a row shows, each value that came before the
//! look in causal order is there itself, or one is there that overwrote it, over any number of steps: its *descendant*. And none is there that
//! was overwritten by something that the look has to show.

use std::collections::BTreeMap;

use serde::Serialize;

use super::order::{Id, Order};
use super::{Fate, Row, TOLD, Written};

/// What became of the acknowledged writes of rows.
#[derive(Debug, Default, Clone, Serialize)]
pub(crate) struct Audit {
    pub(crate) acknowledged: usize,
    /// The row's only value.
    pub(crate) visible: usize,
    /// One of several that are kept.
    pub(crate) siblings: usize,
    /// Overwritten by somebody who had read it.
    pub(crate) overwritten: usize,
    pub(crate) lost: usize,
}

/// The values of one row, and which overwrote which.
struct Line {
    /// Who wrote the values, in the order of the values' names.
    values: Vec<(Written, Id)>,
    place: BTreeMap<Written, usize>,
    /// Of each value, all that it overwrote, over any number of steps, and itself.
    covered: Vec<Bits>,
    /// Of each value, those that overwrote it in one step.
    over: Vec<Vec<usize>>,
}

#[derive(Clone)]
struct Bits(Vec<u64>);

impl Bits {
    fn of(n: usize) -> Self {
        Self(vec![0; n.div_ceil(64)])
    }

    fn set(&mut self, at: usize) {
        self.0[at / 64] |= 1 << (at % 64);
    }

    fn has(&self, at: usize) -> bool {
        self.0[at / 64] >> (at % 64) & 1 == 1
    }

    fn join(&mut self, other: &Self) {
        for (mine, theirs) in self.0.iter_mut().zip(&other.0) {
            *mine |= theirs;
        }
    }
}

/// Looks at every row of every look, and at the end.
pub(super) fn judge(order: &Order, end: &BTreeMap<Row, Vec<Written>>) -> (Audit, Vec<String>) {
    let lines: BTreeMap<Row, Line> = order.writers.keys().map(|row| (*row, Line::of(order, *row))).collect();
    let mut wrong = Vec::new();
    for (id, node) in order.nodes.iter().enumerate() {
        for read in &node.txn.reads {
            if let Some(line) = lines.get(&read.row)
                && wrong.len() < TOLD
            {
                wrong.extend(line.look(order, id, &read.siblings));
            }
        }
    }
    let mut audit = Audit::default();
    let none = Vec::new();
    for (row, line) in &lines {
        line.close(order, (*row, end.get(row).unwrap_or(&none)), &mut audit, &mut wrong);
    }
    wrong.truncate(2 * TOLD);
    (audit, wrong)
}

impl Line {
    fn of(order: &Order, row: Row) -> Self {
        let ids = order.writers.get(&row).into_iter().flat_map(|chains| chains.values().flatten());
        let mut values: Vec<(Written, Id)> = Vec::new();
        for id in ids.copied() {
            let writes = order.nodes[id].txn.writes.iter().filter(|write| write.row == row);
            values.extend(writes.map(|write| (write.value, id)));
        }
        let place: BTreeMap<Written, usize> = values.iter().enumerate().map(|(at, (value, _))| (*value, at)).collect();
        let mut over = vec![Vec::new(); values.len()];
        let mut under = vec![Vec::new(); values.len()];
        for (at, (value, id)) in values.iter().enumerate() {
            let write = order.nodes[*id].txn.writes.iter().find(|write| write.value == *value);
            for old in write.into_iter().flat_map(|write| &write.over).filter_map(|old| place.get(old)) {
                over[*old].push(at);
                under[at].push(*old);
            }
        }
        let covered = (0..values.len()).map(|at| covered(at, &under)).collect();
        Self { values, place, covered, over }
    }

    /// What these cover together.
    fn covers(&self, siblings: &[Written]) -> Bits {
        let mut all = Bits::of(self.values.len());
        for at in siblings.iter().filter_map(|value| self.place.get(value)) {
            all.join(&self.covered[*at]);
        }
        all
    }

    fn look(&self, order: &Order, id: Id, siblings: &[Written]) -> Option<String> {
        for at in siblings.iter().filter_map(|value| self.place.get(value)) {
            if let Some(by) = self.over[*at].iter().find(|by| order.before(self.values[**by].1, id)) {
                return Some(format!(
                    "siblings: {} shows {}, which was overwritten before by {}",
                    order.name(id),
                    self.values[*at].0,
                    order.name(self.values[*by].1)
                ));
            }
        }
        let covered = self.covers(siblings);
        let missing = (0..self.values.len()).find(|at| !covered.has(*at) && order.before(self.values[*at].1, id))?;
        Some(format!(
            "siblings: {} shows neither {} nor what overwrote it, after {}",
            order.name(id),
            self.values[missing].0,
            order.name(self.values[missing].1)
        ))
    }

    /// Every acknowledged write is there in the end, or something that overwrote it; nothing is there that an acknowledged one overwrote.
    fn close(&self, order: &Order, (row, end): (Row, &Vec<Written>), audit: &mut Audit, wrong: &mut Vec<String>) {
        let covered = self.covers(end);
        for (at, (value, id)) in self.values.iter().enumerate() {
            let done = order.nodes[*id].txn.fate == Fate::Done;
            audit.acknowledged += usize::from(done);
            let there = end.contains(value);
            let by = self.over[at].iter().find(|by| order.nodes[self.values[**by].1].txn.fate == Fate::Done);
            match (there, by) {
                (true, Some(by)) => wrong.push(format!(
                    "audit: row {row} ends with {value}, which {} overwrote",
                    order.name(self.values[*by].1)
                )),
                (true, None) if end.len() == 1 => audit.visible += usize::from(done),
                (true, None) => audit.siblings += usize::from(done),
                (false, _) if covered.has(at) => audit.overwritten += usize::from(done),
                (false, _) if done => {
                    audit.lost += 1;
                    wrong.push(format!("audit: LOST: row {row} ends with {end:?}, without {}", order.name(*id)));
                }
                (false, _) => {}
            }
        }
        let strange = end.iter().filter(|value| !self.place.contains_key(value));
        wrong.extend(strange.map(|value| format!("audit: row {row} ends with {value}, which nobody wrote there")));
    }
}

/// All that a value overwrote, over any number of steps, and itself.
fn covered(at: usize, under: &[Vec<usize>]) -> Bits {
    let mut bits = Bits::of(under.len());
    let mut open = vec![at];
    while let Some(one) = open.pop() {
        if !bits.has(one) {
            bits.set(one);
            open.extend(&under[one]);
        }
    }
    bits
}
