//! A history as text for checkers that others have published: the format of Plume, which AWDIT reads, too.
//!
//! A line is one event, `r(key,value,session,transaction)` or `w(…)`; keys, values, sessions and transactions are numbers. A transaction has one
//! number in all sessions, and -1 is one that did not take effect. Before all that is said every key has the value 0.
//!
//! Such checkers know registers of one value. What `weak` judges of a history can be said to them all the same, no more and no less, with
//! further keys beside the rows, each of which somebody writes once at most:
//!
//! - of the values that a look shows, what readers see is read from the row; each other one is read from a key of its own, which its writer
//!   wrote beside the row. So the look comes after all their writers;
//! - a transaction without an answer is a session of its own, for it may take effect later than what its client did next. It comes after what its client
//!   had done before by reading a key that the last of that wrote;
//! - a session begins with a read of a key that nobody writes. So it comes after the beginning, and may not read from there what it has to have seen.
//!
//! Rows have their numbers, and values theirs and one more: 0 is taken. Not said: what a writer had seen of the rows that it wrote, what those were
//! told who follow a node, and what there was in the end. Siblings, delivery and the fates of writes are for our own judges.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;

use super::{Fate, History, Read, Txn, Written};

/// What stands for a transaction that did not take effect.
const REFUSED: &str = "-1";

/// Keys beside the rows.
#[derive(Debug, Default)]
struct Keys {
    /// The one that nobody writes.
    beginning: usize,
    /// Those of values that were shown beside others.
    beside: BTreeMap<Written, usize>,
    /// Those of transactions that something without an answer came after, by session and place.
    then: BTreeMap<(usize, usize), usize>,
}

/// Lines, and the number of the next transaction.
#[derive(Debug, Default)]
struct Text {
    lines: String,
    sessions: usize,
    txns: usize,
}

impl Text {
    fn event(&mut self, op: char, (key, value): (usize, u64), session: usize, txn: &str) {
        // Writing to a string does not fail.
        let _ = writeln!(self.lines, "{op}({key},{value},{session},{txn})");
    }

    /// A transaction, after what is read and before what is written for its place.
    fn txn(&mut self, session: usize, txn: &Txn, keys: &Keys, (after, then): (Option<(usize, u64)>, Option<usize>)) {
        let name = if txn.fate == Fate::Refused { REFUSED.to_owned() } else { self.txns.to_string() };
        self.txns += 1;
        after.into_iter().for_each(|key| self.event('r', key, session, &name));
        for read in &txn.reads {
            self.event('r', (read.row, read.visible.map_or(0, value)), session, &name);
            for other in others(read) {
                self.event('r', (keys.beside[&other], value(other)), session, &name);
            }
        }
        for write in &txn.writes {
            self.event('w', (write.row, value(write.value)), session, &name);
            if let Some(key) = keys.beside.get(&write.value) {
                self.event('w', (*key, value(write.value)), session, &name);
            }
        }
        then.into_iter().for_each(|key| self.event('w', (key, 1), session, &name));
    }
}

/// As a value that is not the one from the beginning.
const fn value(value: Written) -> u64 {
    value + 1
}

/// The values beside the one that readers see.
fn others(read: &Read) -> impl Iterator<Item = Written> {
    read.siblings.iter().copied().filter(|value| Some(*value) != read.visible)
}

impl Keys {
    fn of(history: &History) -> Self {
        let all = || history.sessions.iter().flatten();
        let rows = all().flat_map(|txn| {
            let written = txn.writes.iter().map(|write| write.row);
            txn.reads.iter().map(|read| read.row).chain(written)
        });
        let mut next = rows.max().map_or(0, |last| last + 1);
        let mut key = || {
            next += 1;
            next - 1
        };
        let beginning = key();
        let shown: BTreeSet<Written> = all().flat_map(|txn| &txn.reads).flat_map(others).collect();
        let beside = shown.into_iter().map(|value| (value, key())).collect();
        let mut then = BTreeMap::new();
        for (session, txns) in history.sessions.iter().enumerate() {
            let mut last = None;
            for (place, txn) in txns.iter().enumerate() {
                match (txn.fate, last) {
                    (Fate::Done, _) => last = Some(place),
                    (Fate::Unknown, Some(last)) => {
                        then.entry((session, last)).or_insert_with(&mut key);
                    }
                    (Fate::Unknown | Fate::Refused, _) => {}
                }
            }
        }
        Self { beginning, beside, then }
    }
}

impl History {
    /// The history as text in the format of Plume.
    pub(crate) fn as_plume(&self) -> String {
        let keys = Keys::of(self);
        let beginning = Some((keys.beginning, 0));
        let mut text = Text { sessions: self.sessions.len(), ..Text::default() };
        for (session, txns) in self.sessions.iter().enumerate() {
            let mut last = None;
            for (place, txn) in txns.iter().enumerate() {
                match txn.fate {
                    Fate::Done => {
                        let then = keys.then.get(&(session, place)).copied();
                        text.txn(session, txn, &keys, (beginning.filter(|_| last.is_none()), then));
                        last = Some(place);
                    }
                    Fate::Unknown => {
                        let after = last.and_then(|last| keys.then.get(&(session, last))).map(|key| (*key, 1));
                        let alone = text.sessions;
                        text.sessions += 1;
                        text.txn(alone, txn, &keys, (after.or(beginning), None));
                    }
                    Fate::Refused => text.txn(session, txn, &keys, (None, None)),
                }
            }
        }
        text.lines
    }
}
