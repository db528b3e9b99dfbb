//! A row as the set of writes that nothing covers, and the three things that happen to it: a write, a second stamp, a join.
//!
//! The rules and why they converge: `docs/format/replication.md`, which follows dotted version vectors (Preguiça, Baquero,
//! Almeida, Fonte, Gonçalves, 2010) with what hubs took in instead of one counter for each writer.

use std::cmp::Ordering;

use bytes::Bytes;
use syncline_base::Hlc;

use super::chain::{Chains, has_read, knows};
use super::context::{Context, Coverage};
use super::id::{Dot, Stamp};
use super::zoo::{Bug, Zoo};
use crate::wire::fields::{put_bytes, put_uint};

/// How far behind a hub's clock a write may claim to be from.
pub const SLACK_MS: u64 = 1_000;
/// The most siblings that are read of one row.
pub(super) const MAX_SIBLINGS: usize = 1 << 20;

/// A write that nothing which is known covers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sibling {
    /// Which transaction wrote it.
    pub dot: Dot,
    /// Which hubs took the transaction in, as far as is known; sorted. None while no hub has.
    pub stamps: Vec<Stamp>,
    /// Its writer's clock, or what the hubs would still believe.
    pub time: Hlc,
    /// The row.
    pub value: Bytes,
}

/// The latest time that a hub lets a write claim which it took in at `attested`.
#[must_use]
pub const fn believed(attested: Hlc) -> Hlc {
    Hlc::from_u64(attested.as_u64().saturating_add(SLACK_MS << 16))
}

impl Sibling {
    fn add(&mut self, stamp: Stamp, attested: Hlc) {
        if let Err(at) = self.stamps.binary_search(&stamp) {
            if self.stamps.is_empty() {
                self.stamps.reserve_exact(1);
            }
            self.stamps.insert(at, stamp);
        }
        self.time = self.time.min(believed(attested));
    }

    /// Becomes what a writer writes who had read it.
    fn become_of(&mut self, writer: Writer<'_>, value: &Bytes) {
        (self.dot, self.time) = (writer.dot, writer.hlc);
        self.stamps.clear();
        self.value = Bytes::copy_from_slice(value);
        if let Some((stamp, attested)) = writer.stamp {
            self.add(stamp, attested);
        }
    }

    /// About how many bytes it takes.
    fn size(&self) -> usize {
        48 + self.stamps.len() * 26 + self.value.len()
    }

    fn is_in(&self, coverage: &Coverage) -> bool {
        self.stamps.iter().any(|stamp| coverage.has(*stamp))
    }

    /// The order of last writers: time, then name, so that no two are equal.
    #[must_use]
    pub fn later(&self, other: &Self) -> Ordering {
        (self.time, self.dot).cmp(&(other.time, other.dot))
    }
}

/// The siblings of a row, by dot. A row that does not exist has none.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Row {
    siblings: Vec<Sibling>,
}

/// What applying a write needs to know beside the row.
#[derive(Debug, Clone, Copy)]
pub(super) struct Writer<'a> {
    pub(super) dot: Dot,
    pub(super) read: &'a Context,
    pub(super) hlc: Hlc,
    pub(super) stamp: Option<(Stamp, Hlc)>,
    pub(super) chains: &'a Chains,
    /// Chains that are otherwise in the eyes of who writes.
    pub(super) own: Option<&'a Chains>,
    pub(super) zoo: Zoo,
}

impl Writer<'_> {
    /// Whether the writer had read what a sibling's transaction wrote.
    pub(super) fn covers(&self, sibling: &Sibling) -> bool {
        if self.zoo.has(Bug::ClockDecides) {
            return sibling.time < self.hlc;
        }
        let chain = |newest: &Dot| {
            let own = self.own.and_then(|own| own.get(&newest.origin));
            own.or_else(|| self.chains.get(&newest.origin))
        };
        let own = |newest: &Dot| has_read(chain(newest), &sibling.dot, newest);
        let own = !self.zoo.has(Bug::OwnWritesNotRead) && self.read.own.iter().any(own);
        own || sibling.is_in(&self.read.seen)
    }
}

impl Row {
    /// Its siblings, by dot.
    #[must_use]
    pub fn siblings(&self) -> &[Sibling] {
        &self.siblings
    }

    /// Whether the row does not exist.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.siblings.is_empty()
    }

    /// Whether there are values that differ and of which no writer had read the other.
    #[must_use]
    pub fn is_in_conflict(&self) -> bool {
        self.siblings.windows(2).any(|pair| pair[0].value != pair[1].value)
    }

    /// What readers see: the last writer's.
    #[must_use]
    pub fn visible(&self, zoo: Zoo) -> Option<&Sibling> {
        if zoo.has(Bug::NoTieBreak) {
            return self.siblings.iter().rev().max_by_key(|sibling| sibling.time);
        }
        if zoo.has(Bug::FloatTimes) {
            return self.siblings.iter().max_by(|a, b| {
                let seconds = |sibling: &Sibling| sibling.time.as_u64() as f32;
                seconds(a).total_cmp(&seconds(b)).then(a.dot.cmp(&b.dot))
            });
        }
        self.siblings.iter().max_by(|a, b| a.later(b))
    }

    /// Applies a write of a transaction that was not applied before.
    pub(super) fn write(&mut self, writer: Writer<'_>, value: Option<&Bytes>) {
        let zoo = writer.zoo;
        if let (Some(value), [only]) = (value, &mut self.siblings[..])
            && writer.covers(only)
        {
            // What most writes are. It takes the place of the one before, in whose memory.
            return only.become_of(writer, value);
        }
        match value {
            None if zoo.has(Bug::DeleteWins) => self.siblings.clear(),
            None if zoo.has(Bug::DeleteLoses) => {
                self.siblings.retain(|sibling| !writer.covers(sibling) || sibling.time > writer.hlc);
            }
            _ => self.siblings.retain(|sibling| !writer.covers(sibling)),
        }
        let Some(value) = value else { return };
        if zoo.has(Bug::SiblingsCapped) && self.siblings.len() >= 2 {
            return;
        }
        // A copy: it is a piece of a transaction or of a message, which would stay in memory as long as one row of it does.
        let value = Bytes::copy_from_slice(value);
        let mut sibling = Sibling { dot: writer.dot, stamps: Vec::new(), time: writer.hlc, value };
        if let Some((stamp, attested)) = writer.stamp {
            sibling.add(stamp, attested);
        }
        if let Err(at) = self.siblings.binary_search_by(|is| is.dot.cmp(&sibling.dot)) {
            // Most rows have one for good.
            if self.siblings.is_empty() {
                self.siblings.reserve_exact(1);
            }
            self.siblings.insert(at, sibling);
        }
        if zoo.has(Bug::LoserDropped) && self.siblings.len() > 1 {
            let last = self.visible(zoo).cloned();
            self.siblings = last.into_iter().collect();
        }
    }

    /// Adds what a second hub says of a transaction that was applied.
    pub(super) fn stamp(&mut self, dot: Dot, stamp: Stamp, attested: Hlc) {
        if let Ok(at) = self.siblings.binary_search_by(|sibling| sibling.dot.cmp(&dot)) {
            self.siblings[at].add(stamp, attested);
        }
    }

    /// Joins two states of one row: what both have, and of each what the other has never had. That is asked of transactions, not
    /// of stamps: the other may have had one by a stamp that is not known here.
    pub(super) fn join(&self, had: &Chains, other: &Self, other_had: &Chains, zoo: Zoo) -> Self {
        let union = zoo.has(Bug::UnionRepair);
        let has = |row: &Self, dot: &Dot| row.siblings.binary_search_by(|sibling| sibling.dot.cmp(dot)).ok();
        let mut siblings = Vec::new();
        for sibling in &self.siblings {
            match has(other, &sibling.dot) {
                Some(at) => {
                    let theirs = &other.siblings[at];
                    let mut both = sibling.clone();
                    both.stamps.extend(&theirs.stamps);
                    both.stamps.sort_unstable();
                    both.stamps.dedup();
                    both.time = both.time.min(theirs.time);
                    siblings.push(both);
                }
                None if union || !knows(other_had, &sibling.dot) => siblings.push(sibling.clone()),
                None => {}
            }
        }
        let new = other.siblings.iter().filter(|sibling| has(self, &sibling.dot).is_none());
        siblings.extend(new.filter(|sibling| union || !knows(had, &sibling.dot)).cloned());
        siblings.sort_by_key(|sibling| sibling.dot);
        Self { siblings }
    }

    /// About how many bytes it takes.
    pub(super) fn size(&self) -> usize {
        self.siblings.iter().map(Sibling::size).sum()
    }

    /// Its siblings after this one, if there are any.
    pub(super) fn after(&self, dot: &Dot) -> Option<Self> {
        let at = self.siblings.partition_point(|sibling| sibling.dot <= *dot);
        (at < self.siblings.len()).then(|| Self { siblings: self.siblings[at..].to_vec() })
    }

    /// As many of its siblings as go into so many bytes, but one at least.
    pub(super) fn first_in(&self, room: usize) -> Self {
        let mut size = 0;
        let fits = |sibling: &&Sibling| {
            let first = size == 0;
            size += sibling.size();
            first || size <= room
        };
        Self { siblings: self.siblings.iter().take_while(fits).cloned().collect() }
    }

    /// Adds siblings that come after all that it has. Whether they do.
    pub(super) fn extend(&mut self, more: &Self) -> bool {
        let ascends = self.siblings.last().map(|last| last.dot) < more.siblings.first().map(|first| first.dot);
        self.siblings.extend(more.siblings.iter().cloned());
        ascends
    }

    pub(super) fn put(&self, out: &mut Vec<u8>) {
        put_uint(out, self.siblings.len() as u64);
        for Sibling { dot, stamps, time, value } in &self.siblings {
            dot.put(out);
            put_uint(out, stamps.len() as u64);
            stamps.iter().for_each(|stamp| stamp.put(out));
            put_uint(out, time.as_u64());
            put_bytes(out, value);
        }
    }

    /// These, by dot.
    pub(super) const fn of(siblings: Vec<Sibling>) -> Self {
        Self { siblings }
    }
}
