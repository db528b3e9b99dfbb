//! What has been covered and what has been read.

use super::id::{Dot, MAX_COUNT, Origin, Stamp, read_nth};
use crate::error::{Error, Result};
use crate::wire::fields::put_uint;
use crate::wire::reader::Reader;

/// The most hubs that a coverage may name.
pub const MAX_HUBS: usize = 4096;
/// The most origins whose unstamped transactions a context may name.
pub const MAX_OWN: usize = 64;

/// For each of some hubs, how many of its entries: all from 1 to that number. Its size is that of the mesh, whatever the
/// number of writers.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Default)]
pub struct Coverage {
    /// Sorted by hub; no zeros.
    hubs: Vec<(Origin, u64)>,
}

impl Coverage {
    /// Of nothing.
    #[must_use]
    pub const fn new() -> Self {
        Self { hubs: Vec::new() }
    }

    /// The first `n` of one hub.
    pub(super) fn of_one(hub: Origin, n: u64) -> Self {
        Self { hubs: (n > 0).then_some((hub, n)).into_iter().collect() }
    }

    /// Becomes that of nothing.
    pub(super) fn clear(&mut self) {
        self.hubs.clear();
    }

    /// How many entries of a hub.
    #[must_use]
    pub fn of(&self, hub: Origin) -> u64 {
        self.find(hub).map_or(0, |at| self.hubs[at].1)
    }

    /// How many hubs it names.
    #[must_use]
    pub const fn len(&self) -> usize {
        self.hubs.len()
    }

    /// Whether it is of nothing.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.hubs.is_empty()
    }

    /// Whether it names a hub, or could name one more.
    #[must_use]
    pub fn has_room(&self, hub: Origin) -> bool {
        self.hubs.len() < MAX_HUBS || self.of(hub) > 0
    }

    fn find(&self, hub: Origin) -> Result<usize, usize> {
        // A mesh has a handful of hubs: a search from the front beats a binary one.
        match self.hubs.iter().position(|(is, _)| *is >= hub) {
            Some(at) if self.hubs[at].0 == hub => Ok(at),
            Some(at) => Err(at),
            None => Err(self.hubs.len()),
        }
    }

    /// Whether an entry is in it.
    #[must_use]
    pub fn has(&self, stamp: Stamp) -> bool {
        stamp.n <= self.of(stamp.hub)
    }

    /// Whether it is at least `other` at every hub.
    #[must_use]
    pub fn includes(&self, other: &Self) -> bool {
        let mut mine = self.hubs.iter();
        other.hubs.iter().all(|(hub, n)| mine.find(|(is, _)| is >= hub).is_some_and(|(is, m)| is == hub && n <= m))
    }

    /// At how many hubs it is above `other`; `None` when it does not include it.
    pub(super) fn hubs_above(&self, other: &Self) -> Option<usize> {
        let mut rest = other.hubs.iter().peekable();
        let mut above = 0;
        for (hub, n) in &self.hubs {
            let below = rest.next_if(|(is, _)| is == hub).map_or(0, |(_, n)| *n);
            above += usize::from(n.checked_sub(below)? > 0);
        }
        rest.next().is_none().then_some(above)
    }

    /// How it compares with `other` if that had at least `n` of one hub: whether it is more than that; `None` when it does not include it.
    pub(super) fn more_than_raised(&self, other: &Self, (hub, n): (Origin, u64)) -> Option<bool> {
        if self.of(hub) < n {
            return None;
        }
        let (mut rest, mut more) = (other.hubs.iter().peekable(), false);
        for (is, has) in &self.hubs {
            let below = rest.next_if(|(other, _)| other == is).map_or(0, |(_, n)| *n);
            if *has < below {
                return None;
            }
            more |= *has > if *is == hub { below.max(n) } else { below };
        }
        rest.next().is_none().then_some(more)
    }

    /// By how much it is above `other` at which hubs, by hub; `None` when it does not include it.
    pub(super) fn above(&self, other: &Self) -> Option<Vec<(Origin, u64)>> {
        let (mut above, mut rest) = (Vec::new(), other.hubs.iter().peekable());
        for (hub, n) in &self.hubs {
            let below = rest.next_if(|(is, _)| is == hub).map_or(0, |(_, n)| *n);
            match n.checked_sub(below)? {
                0 => {}
                by => above.push((*hub, by)),
            }
        }
        rest.next().is_none().then_some(above)
    }

    /// It with so much more at these hubs, which ascend; `None` when a number or the hubs become too many.
    pub(super) fn plus(&self, above: &[(Origin, u64)]) -> Option<Self> {
        let mut hubs = Vec::with_capacity(self.hubs.len() + above.len());
        let mut rest = self.hubs.iter().copied().peekable();
        for (hub, by) in above {
            hubs.extend(std::iter::from_fn(|| rest.next_if(|(is, _)| is < hub)));
            let below = rest.next_if(|(is, _)| is == hub).map_or(0, |(_, n)| n);
            hubs.push((*hub, below.checked_add(*by).filter(|n| *n <= MAX_COUNT)?));
        }
        hubs.extend(rest);
        (hubs.len() <= MAX_HUBS).then_some(Self { hubs })
    }

    /// It with so much less at these hubs, which ascend; `None` when it has not so much.
    pub(super) fn minus(&self, below: &[(Origin, u64)]) -> Option<Self> {
        let (mut hubs, mut rest) = (Vec::with_capacity(self.hubs.len()), below.iter().peekable());
        for (hub, n) in &self.hubs {
            let by = rest.next_if(|(is, _)| is == hub).map_or(0, |(_, by)| *by);
            match n.checked_sub(by)? {
                0 => {}
                n => hubs.push((*hub, n)),
            }
        }
        rest.next().is_none().then_some(Self { hubs })
    }

    /// Raises one hub's number to at least `n`.
    pub fn raise(&mut self, hub: Origin, n: u64) {
        match self.find(hub) {
            Ok(at) => self.hubs[at].1 = self.hubs[at].1.max(n),
            Err(at) if n > 0 => self.hubs.insert(at, (hub, n)),
            Err(_) => {}
        }
    }

    /// Lowers one hub's number to at most `n`.
    pub(super) fn lower(&mut self, hub: Origin, n: u64) {
        if let Ok(at) = self.find(hub) {
            self.hubs[at].1 = self.hubs[at].1.min(n);
            if self.hubs[at].1 == 0 {
                self.hubs.remove(at);
            }
        }
    }

    /// Raises every number to at least that of `other`.
    pub fn join(&mut self, other: &Self) {
        // Most often it names no further hubs.
        let mut mine = self.hubs.iter_mut();
        let raised = other.hubs.iter().all(|(hub, n)| match mine.find(|(is, _)| is >= hub) {
            Some((is, m)) if is == hub => {
                *m = (*m).max(*n);
                true
            }
            _ => false,
        });
        if raised {
            return;
        }
        let mine = std::mem::take(&mut self.hubs);
        self.hubs.reserve(mine.len() + other.hubs.len());
        let mut rest = mine.into_iter().peekable();
        for (hub, n) in &other.hubs {
            self.hubs.extend(std::iter::from_fn(|| rest.next_if(|(is, _)| is < hub)));
            let had = rest.next_if(|(is, _)| is == hub).map_or(0, |(_, n)| n);
            self.hubs.push((*hub, had.max(*n)));
        }
        self.hubs.extend(rest);
    }

    /// Hubs and their numbers, by hub.
    pub fn iter(&self) -> impl Iterator<Item = (Origin, u64)> + '_ {
        self.hubs.iter().copied()
    }

    pub(super) fn put(&self, out: &mut Vec<u8>) {
        put_uint(out, self.hubs.len() as u64);
        for (hub, n) in &self.hubs {
            hub.put(out);
            put_uint(out, *n);
        }
    }

    pub(super) fn read(r: &mut Reader) -> Result<Self> {
        let mut coverage = Self::new();
        for _ in 0..r.count("coverage", MAX_HUBS)? {
            let (hub, n) = (Origin::read(r)?, read_nth(r, "coverage")?);
            if coverage.hubs.last().is_some_and(|(last, _)| *last >= hub) {
                return Err(Error::protocol("coverage", "hubs out of order"));
            }
            coverage.hubs.push((hub, n));
        }
        Ok(coverage)
    }
}

/// What somebody has read: everything in a coverage, and transactions that no hub had stamped yet, each with those before it in its
/// chain. It is what a reader is given and what a writer gives back.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Context {
    /// Entries.
    pub seen: Coverage,
    /// The newest of each origin that was read unstamped, by origin.
    pub own: Vec<Dot>,
}

impl Context {
    /// Puts what it names in order.
    ///
    /// # Errors
    /// Why it has no bytes: an origin is named twice, or there are too many hubs or origins.
    pub(super) fn settle(&mut self) -> Result<(), String> {
        self.own.sort();
        if self.own.windows(2).any(|pair| pair[0].origin == pair[1].origin) {
            return Err(
                "what was read names two transactions of one origin; give back the context as it was read".into()
            );
        }
        let (hubs, own) = (self.seen.hubs.len(), self.own.len());
        if hubs > MAX_HUBS || own > MAX_OWN {
            return Err(format!(
                "what was read names {hubs} hubs and {own} origins; {MAX_HUBS} and {MAX_OWN} are the most: wait until hubs have \
                 taken in what was written before"
            ));
        }
        Ok(())
    }

    pub(super) fn put(&self, out: &mut Vec<u8>) {
        self.seen.put(out);
        put_uint(out, self.own.len() as u64);
        self.own.iter().for_each(|dot| dot.put(out));
    }

    pub(super) fn read(r: &mut Reader) -> Result<Self> {
        let seen = Coverage::read(r)?;
        let mut own: Vec<Dot> = Vec::new();
        for _ in 0..r.count("own", MAX_OWN)? {
            let dot = Dot::read(r)?;
            if own.last().is_some_and(|last| last.origin >= dot.origin) {
                return Err(Error::protocol("own", "origins out of order"));
            }
            own.push(dot);
        }
        Ok(Self { seen, own })
    }
}
