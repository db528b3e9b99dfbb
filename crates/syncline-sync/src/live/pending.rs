//! Transactions that wait, in the order in which they were written: found by name, by place and by the rows that they write.
//!
//! All that is asked again and again costs the same however many wait.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use super::id::{Dot, Origin};
use super::txn::{RowKey, Txn};

/// One of them, and how many bytes came before it.
#[derive(Debug, Clone)]
struct Held {
    txn: Arc<Txn>,
    before: u64,
}

/// Transactions in an order. Each has a place, which it keeps: places are numbers that go up.
#[derive(Debug, Clone, Default)]
pub(super) struct Pending {
    held: VecDeque<Option<Held>>,
    /// The place of the first of `held`.
    first: u64,
    len: usize,
    /// Bytes of all that ever came.
    bytes: u64,
    /// By origin: seq and place, ascending.
    origins: BTreeMap<Origin, VecDeque<(u64, u64)>>,
    /// Where it is asked for: the places of those that write a row, ascending.
    rows: Option<BTreeMap<RowKey, Vec<u64>>>,
}

impl Pending {
    /// None, which will be found by row, too.
    pub(super) fn by_row() -> Self {
        Self { rows: Some(BTreeMap::new()), ..Self::default() }
    }

    /// These after those.
    pub(super) fn of(mut pending: Self, txns: impl Iterator<Item = Arc<Txn>>) -> Self {
        txns.for_each(|txn| pending.push(txn));
        pending
    }

    pub(super) const fn is_empty(&self) -> bool {
        self.len == 0
    }

    fn at(&self, place: u64) -> Option<&Held> {
        let at = usize::try_from(place.checked_sub(self.first)?).ok()?;
        self.held.get(at)?.as_ref()
    }

    /// The place of the first, or of the next that comes; and how many bytes came before it.
    pub(super) fn begin(&self) -> (u64, u64) {
        let front = self.held.front().and_then(Option::as_ref);
        (self.first, front.map_or(self.bytes, |held| held.before))
    }

    /// The place after the last.
    pub(super) fn end(&self) -> u64 {
        self.first + self.held.len() as u64
    }

    pub(super) fn iter(&self) -> Waiting<'_> {
        Waiting { held: self.held.iter(), left: self.len }
    }

    /// Those from a place on, with it and with the bytes that came before.
    pub(super) fn from(&self, place: u64) -> impl Iterator<Item = (u64, u64, &Arc<Txn>)> {
        let first = place.max(self.first);
        let skip = usize::try_from(first - self.first).unwrap_or(usize::MAX).min(self.held.len());
        let held = self.held.range(skip..).zip(first..);
        held.filter_map(|(held, place)| held.as_ref().map(|held| (place, held.before, &held.txn)))
    }

    fn place(&self, dot: &Dot) -> Option<u64> {
        let places = self.origins.get(&dot.origin)?;
        let from = places.partition_point(|(seq, _)| *seq < dot.seq);
        let places = places.range(from..).take_while(|(seq, _)| *seq == dot.seq);
        let is = |place: &u64| self.at(*place).is_some_and(|held| held.txn.dot() == *dot);
        places.map(|(_, place)| *place).find(is)
    }

    pub(super) fn contains(&self, dot: &Dot) -> bool {
        self.place(dot).is_some()
    }

    pub(super) fn push(&mut self, txn: Arc<Txn>) {
        let place = self.end();
        self.note(&txn, place);
        let before = self.bytes;
        self.bytes += txn.bytes().len() as u64;
        self.held.push_back(Some(Held { txn, before }));
        self.len += 1;
    }

    fn note(&mut self, txn: &Txn, place: u64) {
        let Dot { origin, seq, .. } = txn.dot();
        let places = self.origins.entry(origin).or_default();
        let at = places.partition_point(|is| *is < (seq, place));
        places.insert(at, (seq, place));
        if let Some(rows) = &mut self.rows {
            for write in &txn.body().writes {
                let places = rows.entry(write.row.clone()).or_default();
                let at = places.partition_point(|is| *is < place);
                places.insert(at, place);
            }
        }
    }

    fn unnote(&mut self, txn: &Txn, place: u64) {
        let Dot { origin, seq, .. } = txn.dot();
        if let Some(places) = self.origins.get_mut(&origin) {
            if let Ok(at) = places.binary_search(&(seq, place)) {
                places.remove(at);
            }
            if places.is_empty() {
                self.origins.remove(&origin);
            }
        }
        let Some(rows) = &mut self.rows else { return };
        for write in &txn.body().writes {
            if let Some(places) = rows.get_mut(&write.row) {
                if let Ok(at) = places.binary_search(&place) {
                    places.remove(at);
                }
                if places.is_empty() {
                    rows.remove(&write.row);
                }
            }
        }
    }

    /// Takes one out. Whether it was there.
    pub(super) fn remove(&mut self, dot: &Dot) -> bool {
        let Some(place) = self.place(dot) else { return false };
        self.take(place);
        true
    }

    fn take(&mut self, place: u64) {
        let at = place.checked_sub(self.first).and_then(|at| usize::try_from(at).ok());
        let Some(held) = at.and_then(|at| self.held.get_mut(at)).and_then(Option::take) else { return };
        self.len -= 1;
        self.unnote(&held.txn, place);
        while matches!(self.held.front(), Some(None)) {
            self.held.pop_front();
            self.first += 1;
        }
    }

    pub(super) fn retain(&mut self, keep: impl Fn(&Dot) -> bool) {
        let all = self.from(self.first).filter(|(_, _, txn)| !keep(&txn.dot())).map(|(place, ..)| place);
        for place in all.collect::<Vec<_>>() {
            self.take(place);
        }
    }

    /// Puts transactions in the places of those that they were written again for: whoever reads one of a node's transactions
    /// reads all that it wrote before, and they have to stay before. What has none in its place goes.
    pub(super) fn rewrite(&mut self, old: &[Dot], new: &[Arc<Txn>]) {
        for (at, dot) in old.iter().enumerate() {
            let Some(place) = self.place(dot) else { continue };
            let Some(txn) = new.get(at) else {
                self.take(place);
                continue;
            };
            let at = usize::try_from(place - self.first).unwrap_or(usize::MAX);
            let Some(Some(held)) = self.held.get_mut(at) else { continue };
            let was = std::mem::replace(&mut held.txn, txn.clone());
            self.unnote(&was, place);
            self.note(txn, place);
        }
    }

    /// Each origin, and the last of its transactions.
    pub(super) fn newest(&self) -> impl Iterator<Item = Dot> + '_ {
        let last = |places: &VecDeque<(u64, u64)>| places.back().and_then(|(_, place)| self.at(*place));
        self.origins.values().filter_map(last).map(|held| held.txn.dot())
    }

    /// Each origin, and its transactions by seq.
    pub(super) fn origins(&self) -> impl Iterator<Item = (Origin, impl Iterator<Item = &Arc<Txn>>)> {
        self.origins.iter().map(|(origin, places)| {
            let held = places.iter().filter_map(|(_, place)| self.at(*place)).map(|held| &held.txn);
            (*origin, held)
        })
    }

    /// Those that write a row.
    pub(super) fn of_row(&self, key: &RowKey) -> impl Iterator<Item = &Arc<Txn>> {
        let places = self.rows.as_ref().and_then(|rows| rows.get(key));
        places.into_iter().flatten().filter_map(|place| self.at(*place)).map(|held| &held.txn)
    }

    /// The rows that they write, from a key on.
    pub(super) fn rows_from<'a>(&'a self, key: &RowKey) -> impl Iterator<Item = &'a RowKey> + use<'a> {
        self.rows.as_ref().map(|rows| rows.range::<RowKey, _>(key..)).into_iter().flatten().map(|(key, _)| key)
    }
}

/// Transactions that wait, in their order.
#[derive(Debug, Clone)]
pub struct Waiting<'a> {
    held: std::collections::vec_deque::Iter<'a, Option<Held>>,
    left: usize,
}

impl<'a> Iterator for Waiting<'a> {
    type Item = &'a Arc<Txn>;

    fn next(&mut self) -> Option<Self::Item> {
        let held = self.held.by_ref().flatten().next()?;
        self.left -= 1;
        Some(&held.txn)
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        (self.left, Some(self.left))
    }
}

impl ExactSizeIterator for Waiting<'_> {}
