//! The entries that a node keeps to send them: in the order in which they were applied, found by position and by what a peer has.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use super::super::context::Coverage;
use super::super::head::Head;
use super::super::id::Origin;
use super::super::txn::Entry;
use super::PeerId;

/// Entries in order. Each has a position, which it keeps until another node's state is joined.
#[derive(Debug, Default)]
pub(super) struct Kept {
    entries: VecDeque<Arc<Entry>>,
    /// The position of the first.
    first: u64,
    /// What came before them.
    pub(super) base: Coverage,
    bytes: usize,
    /// Signed heads, each with the position before which all that it attests came, and who sent it; and how many were given up before them.
    heads: VecDeque<(u64, Arc<Head>, Option<PeerId>)>,
    heads_first: u64,
    /// Of each hub: the number of its first entry in here, and the positions of that and all that follow.
    hubs: BTreeMap<Origin, (u64, VecDeque<u64>)>,
}

impl Kept {
    pub(super) const fn first(&self) -> u64 {
        self.first
    }

    pub(super) fn end(&self) -> u64 {
        self.first + self.entries.len() as u64
    }

    pub(super) fn len(&self) -> usize {
        self.entries.len()
    }

    /// About how many bytes they take.
    pub(super) const fn bytes(&self) -> usize {
        self.bytes
    }

    pub(super) fn push(&mut self, entry: Arc<Entry>) {
        let (end, stamp) = (self.end(), entry.stamp);
        self.hubs.entry(stamp.hub).or_insert_with(|| (stamp.n, VecDeque::new())).1.push_back(end);
        self.bytes += entry.size();
        self.entries.push_back(entry);
    }

    /// Of what came so far.
    pub(super) fn push_head(&mut self, head: Arc<Head>, from: Option<PeerId>) {
        self.heads.push_back((self.end(), head, from));
    }

    /// The count of the next head.
    pub(super) fn heads_end(&self) -> u64 {
        self.heads_first + self.heads.len() as u64
    }

    /// The count of the first head of what came at a position or after it.
    pub(super) fn heads_after(&self, position: u64) -> u64 {
        self.heads_first + self.heads.partition_point(|(at, ..)| *at <= position) as u64
    }

    /// Heads from a count on, of what came before a position, but for those that `to` sent; and the count of the next.
    pub(super) fn heads_from(&self, count: u64, position: u64, to: PeerId) -> (u64, Vec<Arc<Head>>) {
        let skip = usize::try_from(count.saturating_sub(self.heads_first)).unwrap_or(usize::MAX).min(self.heads.len());
        let mut next = self.heads_first + skip as u64;
        let heads = self.heads.range(skip..).take_while(|(at, ..)| *at <= position).inspect(|_| next += 1);
        let heads = heads.filter(|(.., from)| *from != Some(to)).map(|(_, head, _)| head.clone()).collect();
        (next, heads)
    }

    /// Gives up the first one. `base` covers it from then on, if it should.
    pub(super) fn pop(&mut self, covered: bool) {
        let Some(entry) = self.entries.pop_front() else { return };
        let stamp = entry.stamp;
        if covered {
            self.base.raise(stamp.hub, stamp.n);
        }
        self.first += 1;
        self.bytes -= entry.size();
        while self.heads.pop_front_if(|(at, ..)| *at <= self.first).is_some() {
            self.heads_first += 1;
        }
        if let Some((n, positions)) = self.hubs.get_mut(&stamp.hub) {
            positions.pop_front();
            *n += 1;
            if positions.is_empty() {
                self.hubs.remove(&stamp.hub);
            }
        }
    }

    /// Another node's state has been joined: what it covers cannot be sent from here any more; what it does not, still stands in a
    /// good order. All of it gets new positions, after a gap: whoever followed them has to look at the rows.
    pub(super) fn joined(&mut self, coverage: &Coverage) {
        let entries = std::mem::take(&mut self.entries);
        (self.first, self.bytes) = (self.first + entries.len() as u64 + 1, 0);
        self.hubs.clear();
        self.heads_first += self.heads.len() as u64;
        self.heads.clear();
        self.base.join(coverage);
        entries.into_iter().filter(|entry| !coverage.has(entry.stamp)).for_each(|entry| self.push(entry));
    }

    pub(super) fn get(&self, position: u64) -> Option<&Arc<Entry>> {
        self.entries.get(usize::try_from(position.checked_sub(self.first)?).ok()?)
    }

    /// Those from a position on, if it is not too old.
    pub(super) fn from(&self, position: u64) -> Option<impl Iterator<Item = &Arc<Entry>>> {
        let skip = usize::try_from(position.checked_sub(self.first)?).ok()?;
        Some(self.entries.range(skip.min(self.entries.len())..))
    }

    /// The position of the first entry that somebody lacks who covers this much.
    pub(super) fn lacks(&self, coverage: &Coverage) -> u64 {
        let first = |(hub, (n, positions)): (&Origin, &(u64, VecDeque<u64>))| {
            let has = (coverage.of(*hub) + 1).saturating_sub(*n);
            usize::try_from(has).ok().and_then(|at| positions.get(at)).copied()
        };
        self.hubs.iter().filter_map(first).min().unwrap_or_else(|| self.end())
    }
}
