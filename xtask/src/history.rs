//! What clients of live tables did and saw, and whether a system that keeps its promises can have shown it.
//!
//! A history has sessions: what one client did at one replica, in order. A look is one `get`; a write is one transaction, with the
//! values that its writer had seen of the rows that it wrote. Every written value is one of a kind, so a read tells who wrote it.
//!
//! Its judges: `weak` (read atomicity and causal consistency, after a published algorithm), `delivery` (what `watch` told), `rows` (siblings:
//! none too many, none too few; and what became of every acknowledged write). `order` is what happened before what. `plume` says a history to
//! checkers of others.
//!
//! Not here: how a history comes about (`crate::cluster`).

mod delivery;
mod order;
mod plume;
mod rows;
mod weak;

use std::collections::BTreeMap;

use anyhow::{Result, ensure};
use serde::Serialize;
use serde_json::{Value, json};

use order::Order;

pub(crate) use rows::Audit;

/// A value that was written; no two writes have the same.
pub(crate) type Written = u64;
/// A row by a number.
pub(crate) type Row = usize;

/// How a transaction ended, as far as its client knows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fate {
    /// Acknowledged; of a look: answered.
    Done,
    /// There was no answer, or one that leaves it open.
    Unknown,
    /// It was said that nothing was written.
    Refused,
}

/// What one look showed of one row.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Read {
    pub(crate) row: Row,
    /// What readers see; none when there is no row.
    pub(crate) visible: Option<Written>,
    /// All values that it has.
    pub(crate) siblings: Vec<Written>,
}

/// One row of a transaction.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Write {
    pub(crate) row: Row,
    pub(crate) value: Written,
    /// The values that it overwrites: those that its writer had seen.
    pub(crate) over: Vec<Written>,
}

/// A look or a transaction.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Txn {
    pub(crate) reads: Vec<Read>,
    pub(crate) writes: Vec<Write>,
    pub(crate) fate: Fate,
}

/// What somebody who follows a node was told at once: the values of rows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Step {
    /// One transaction.
    Txn(Vec<(Row, Written)>),
    /// What rows are, or have become, in place of the transactions that made them so.
    State(Vec<(Row, Written)>),
}

/// What all clients did and saw.
#[derive(Debug, Clone, Default)]
pub(crate) struct History {
    /// Each in its order.
    pub(crate) sessions: Vec<Vec<Txn>>,
    /// What each of those who follow a node was told, up to the end.
    pub(crate) watchers: Vec<Vec<Step>>,
    /// Wall clocks were wrong, so of several values of a row readers may see now the one and now the other: see `weak`.
    pub(crate) clocks: bool,
}

/// What the judges found.
#[derive(Debug, Default, Serialize)]
pub(crate) struct Verdict {
    pub(crate) looks: usize,
    pub(crate) transactions: usize,
    /// Transactions without an answer; those among them that somebody saw.
    pub(crate) unknown: usize,
    pub(crate) unknown_seen: usize,
    /// Transactions that somebody who follows a node was told.
    pub(crate) told: usize,
    pub(crate) audit: Audit,
    /// What cannot be; empty is good.
    pub(crate) wrong: Vec<String>,
}

/// At most so many findings of one kind are told: they tend to come together.
const TOLD: usize = 5;

impl History {
    /// Judges everything; `end` is what each row holds in the end, on all replicas alike.
    pub(crate) fn judge(&self, end: &BTreeMap<Row, Vec<Written>>) -> Verdict {
        let mut verdict = Verdict::default();
        for txn in self.sessions.iter().flatten() {
            verdict.looks += usize::from(txn.writes.is_empty());
            verdict.transactions += usize::from(!txn.writes.is_empty());
            verdict.unknown += usize::from(txn.fate == Fate::Unknown);
        }
        let order = match Order::of(self, end) {
            Ok(order) => order,
            Err(wrong) => {
                verdict.wrong = wrong;
                return verdict;
            }
        };
        verdict.unknown_seen = order.unknown_seen();
        verdict.wrong.extend(weak::read_atomic(&order, self.clocks).err());
        verdict.wrong.extend(weak::causal(&order, self.clocks).err());
        verdict.told = self.watchers.iter().map(Vec::len).sum();
        verdict.wrong.extend(delivery::judge(&order, self));
        let (audit, wrong) = rows::judge(&order, end);
        verdict.audit = audit;
        verdict.wrong.extend(wrong);
        verdict
    }

    /// The history as `dbcop` reads it: its sessions, rows as variables and values as versions; of siblings the one that readers see.
    pub(crate) fn as_dbcop(&self) -> Value {
        let txn = |txn: &Txn| {
            let reads = txn.reads.iter().map(|r| json!({ "Read": { "variable": r.row, "version": r.visible } }));
            let writes = txn.writes.iter().map(|w| json!({ "Write": { "variable": w.row, "version": w.value } }));
            json!({ "events": reads.chain(writes).collect::<Vec<_>>(), "committed": true })
        };
        let known =
            |session: &Vec<Txn>| -> Vec<Value> { session.iter().filter(|t| t.fate == Fate::Done).map(txn).collect() };
        let unknown = self.sessions.iter().flatten().filter(|t| t.fate == Fate::Unknown).map(|t| vec![txn(t)]);
        Value::from_iter(self.sessions.iter().map(known).chain(unknown))
    }
}

impl Verdict {
    /// Fails when anything is wrong, with the findings.
    pub(crate) fn check(&self) -> Result<()> {
        ensure!(self.wrong.is_empty(), "the history cannot be:\n  {}", self.wrong.join("\n  "));
        Ok(())
    }
}

#[cfg(test)]
mod tests;
