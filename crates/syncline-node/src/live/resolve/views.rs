//! Siblings taken apart, and what they say of each column.
//!
//! A sibling's value says all of its row: columns that its transaction wrote, and others as it had read them. What one sibling carries
//! along and another had read and overwritten is over; that the core cannot see, for which rows are whole. So each column keeps by itself
//! what the core keeps of rows: the writes that nobody who had read them has overwritten.
//!
//! Owns nothing. Invariant: the order of the siblings does not matter. Not here: which of several claims readers see (`super`).

use std::collections::{BTreeMap, BTreeSet};

use syncline_base::Hlc;
use syncline_sync::live::{Dot, Sibling, Stamp};

use super::super::cells::{self, CellId, Cells, Fault};
use super::super::marks::{Mark, Marks};

/// A value taken apart.
#[derive(Debug)]
pub(in crate::live) struct View<'a> {
    /// Its transaction; none while it is not committed.
    pub(in crate::live) dot: Option<Dot>,
    pub(in crate::live) time: Hlc,
    pub(in crate::live) stamp: Option<Stamp>,
    pub(in crate::live) cells: BTreeMap<CellId, &'a [u8]>,
    pub(in crate::live) marks: Marks,
}

/// A write of a column that nothing which is known overwrote.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::live) struct Claim<'a> {
    pub(in crate::live) dot: Option<Dot>,
    pub(in crate::live) time: Hlc,
    pub(in crate::live) stamp: Option<Stamp>,
    /// The cell; null if there is none.
    pub(in crate::live) text: Option<&'a [u8]>,
}

impl Claim<'_> {
    /// The order of last writers.
    pub(in crate::live) fn age(&self) -> (Hlc, Option<Dot>, Option<&[u8]>) {
        (self.time, self.dot, self.text)
    }
}

impl<'a> View<'a> {
    /// Takes a sibling apart.
    pub(in crate::live) fn of(sibling: &'a Sibling) -> Result<Self, Fault> {
        let read = Self::uncommitted(&sibling.value)?;
        Ok(Self { dot: Some(sibling.dot), time: sibling.time, stamp: sibling.stamps.first().copied(), ..read })
    }

    /// Takes the value of a transaction that is being made apart.
    pub(in crate::live) fn uncommitted(value: &'a [u8]) -> Result<Self, Fault> {
        let cells = Cells::read(value)?.all()?.into_iter().collect();
        let marks = cells::split(value)?.0.map(Marks::decode).transpose()?.unwrap_or_default();
        Ok(Self { dot: None, time: Hlc::from_u64(0), stamp: None, cells, marks })
    }

    /// All siblings.
    pub(in crate::live) fn all(siblings: &'a [Sibling]) -> Result<Vec<Self>, Fault> {
        siblings.iter().map(View::of).collect()
    }

    /// Columns that it says something of.
    fn columns(&self) -> impl Iterator<Item = CellId> + '_ {
        self.cells.keys().chain(self.marks.columns.keys()).copied()
    }

    /// What it says of a column. Of one without a cell, and without a mark that somebody emptied it, nothing.
    pub(in crate::live) fn claims(&self, cell: CellId) -> Vec<Claim<'_>> {
        let text = self.cells.get(&cell).copied();
        match self.marks.columns.get(&cell) {
            Some(Mark::One(dot)) => vec![self.claim(*dot, text)],
            Some(Mark::Several(all)) => all.iter().map(|(dot, text)| self.claim(*dot, text.as_deref())).collect(),
            None => text.map(|text| self.claim(self.marks.rest, Some(text))).into_iter().collect(),
        }
    }

    fn claim<'c>(&self, dot: Option<Dot>, text: Option<&'c [u8]>) -> Claim<'c> {
        match dot.and_then(|dot| Some((dot, self.marks.writers.get(&dot)?))) {
            // It came before; and what hubs do not believe of this one, they do not believe of what it carries along.
            Some((dot, past)) => Claim { dot: Some(dot), time: past.time.min(self.time), stamp: past.stamp, text },
            None => Claim { dot: self.dot, time: self.time, stamp: self.stamp, text },
        }
    }
}

/// The columns that a value's own transaction wrote; nothing when that is all of them, or it cannot be read.
pub(in crate::live) fn own_columns(value: &[u8]) -> Option<Vec<CellId>> {
    cells::split(value).ok()?.0?;
    let view = View::uncommitted(value).ok()?;
    let own = |cell: &CellId| {
        let claims = view.claims(*cell);
        claims.is_empty() || claims.iter().any(|claim| claim.dot.is_none())
    };
    Some(view.columns().filter(own).collect())
}

/// For each column that one of them says something of: the claims that stand, by (transaction, cell).
pub(in crate::live) fn standing<'v>(views: &'v [View<'_>]) -> BTreeMap<CellId, Vec<Claim<'v>>> {
    let columns: BTreeSet<CellId> = views.iter().flat_map(View::columns).collect();
    let siblings: BTreeSet<Dot> = views.iter().filter_map(|view| view.dot).collect();
    let of = |cell: CellId| {
        let all: Vec<Vec<Claim<'v>>> = views.iter().map(|view| view.claims(cell)).collect();
        // Of siblings the core knows that none had read another. What is carried along is over once somebody has read it and has
        // something else.
        let over = |dot: &Dot| {
            !siblings.contains(dot)
                && views
                    .iter()
                    .zip(&all)
                    .any(|(view, has)| view.marks.knows(dot) && has.iter().all(|claim| claim.dot.as_ref() != Some(dot)))
        };
        let mut stand: BTreeMap<(Option<Dot>, Option<&[u8]>), Claim<'v>> = BTreeMap::new();
        for claim in all.iter().flatten().filter(|claim| !claim.dot.is_some_and(|dot| over(&dot))) {
            let known = stand.entry((claim.dot, claim.text)).or_insert(*claim);
            // Two may have carried it along knowing different things of it.
            known.time = known.time.min(claim.time);
            known.stamp = match (known.stamp, claim.stamp) {
                (Some(a), Some(b)) => Some(a.min(b)),
                (a, b) => a.or(b),
            };
        }
        (cell, stand.into_values().collect())
    };
    columns.into_iter().map(of).collect()
}
