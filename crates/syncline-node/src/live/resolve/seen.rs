//! What readers see of a row with siblings: one of them, or what comes of merging them.
//!
//! A pure function of the table's definition and the set of siblings, as all of `super`. Owns nothing.

use std::cmp::Reverse;
use std::collections::BTreeMap;

use bytes::Bytes;
use syncline_base::Hlc;
use syncline_sync::live::{Dot, Sibling};

use super::super::cells::{self, CellId, Cells};
use super::super::definition::{Column, Definition, Granularity, Resolver};
use super::sums::Sum;
use super::views::{Claim, View, standing};
use super::{lists, order, place};

/// A row as readers see it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Seen {
    /// Its value.
    pub value: Bytes,
    /// The sibling that it is, or is made of first.
    pub dot: Dot,
    /// Whether something that was written, and not overwritten by anybody who had read it, is not in there.
    pub conflict: bool,
    /// The columns of which that is so, where columns are each for itself.
    pub columns: Vec<CellId>,
}

/// What one transaction wrote of columns that are in conflict.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rival {
    /// The transaction.
    pub dot: Dot,
    /// Its time, as far as hubs believe it.
    pub time: Hlc,
    /// Whether a hub is known to have taken it in.
    pub taken: bool,
    /// Whether readers see all of it.
    pub visible: bool,
    /// The columns.
    pub columns: Vec<CellId>,
    /// Their cells, as the value of a row.
    pub value: Bytes,
}

/// Cells of a row by column.
type CellMap<'a> = BTreeMap<CellId, std::borrow::Cow<'a, [u8]>>;

impl Definition {
    /// A row, of which these are the siblings in any order, as readers see it; nothing when it is deleted. `pick` is the sibling that is
    /// seen, where rows are not each for itself.
    #[must_use]
    pub fn seen(&self, siblings: &[Sibling], pick: Option<&Dot>) -> Option<Seen> {
        let picked = pick.and_then(|dot| siblings.iter().find(|sibling| sibling.dot == *dot));
        let winner = picked.or_else(|| self.pick(siblings))?;
        let merges = self.is_by_column() || self.merged_column().is_some();
        let alone = siblings.len() == 1 && !(self.is_by_column() && winner.value.first() == Some(&cells::MARKED));
        if !alone
            && merges
            && let Ok(views) = View::all(siblings)
        {
            return Some(self.merged(&views, winner.dot));
        }
        Some(Seen {
            value: winner.value.clone(),
            dot: winner.dot,
            conflict: siblings.windows(2).any(|pair| differ(&pair[0], &pair[1])),
            columns: Vec::new(),
        })
    }

    /// Who is in conflict about which columns, where columns are each for itself; the latest first.
    #[must_use]
    pub fn rivals(&self, siblings: &[Sibling], seen: &Seen) -> Vec<Rival> {
        if seen.columns.is_empty() {
            return Vec::new();
        }
        let Ok(views) = View::all(siblings) else { return Vec::new() };
        let visible = Cells::read(&seen.value).and_then(Cells::all).unwrap_or_default();
        let visible: BTreeMap<CellId, &[u8]> = visible.into_iter().collect();
        let standing = standing(&views);
        let mut all: BTreeMap<Dot, (Rival, CellMap<'_>)> = BTreeMap::new();
        for (cell, claims) in seen.columns.iter().filter_map(|cell| Some((cell, standing.get(cell)?))) {
            for claim in claims {
                let Some(dot) = claim.dot else { continue };
                let (time, columns, value) = (claim.time, Vec::new(), Bytes::new());
                let new = || (Rival { dot, time, taken: false, visible: true, columns, value }, CellMap::new());
                let (rival, cells) = all.entry(dot).or_insert_with(new);
                rival.columns.push(*cell);
                rival.time = rival.time.min(claim.time);
                rival.taken |= claim.stamp.is_some();
                rival.visible &= visible.get(cell).copied() == claim.text;
                cells.extend(claim.text.map(|text| (*cell, text.into())));
            }
        }
        let rival = |(rival, cells): (Rival, CellMap<'_>)| Rival { value: value_of(&cells), ..rival };
        let mut all: Vec<Rival> = all.into_values().map(rival).collect();
        all.sort_by_key(|rival| Reverse((rival.time, rival.dot)));
        all
    }

    /// Whether columns are each for itself.
    pub(crate) fn is_by_column(&self) -> bool {
        self.settings().granularity == Granularity::Column
    }

    /// The column whose cells are merged.
    pub(in crate::live) fn merged_column(&self) -> Option<&Column> {
        match &self.settings().resolver {
            Resolver::Union { column } | Resolver::Counter { column } => self.column(column),
            _ => None,
        }
    }

    /// The column that is a counter.
    pub(in crate::live) fn counter(&self) -> Option<&Column> {
        self.merged_column().filter(|_| matches!(self.settings().resolver, Resolver::Counter { .. }))
    }

    /// Siblings merged, of which `winner` is the one that is seen where nothing is merged.
    pub(in crate::live) fn merged(&self, views: &[View<'_>], winner: Dot) -> Seen {
        let (mut cells, mut conflict, columns) =
            if self.is_by_column() { self.by_column(views) } else { self.by_row(views, winner) };
        conflict |= !columns.is_empty();
        if let Some(counter) = self.counter() {
            match Sum::of(views, counter.cell, &counter.ty).text(&counter.ty) {
                Some(text) => cells.insert(counter.cell, text.into()),
                None => cells.remove(&counter.cell),
            };
        }
        Seen { value: value_of(&cells), dot: winner, conflict, columns }
    }

    /// One sibling's cells, those that are merged apart.
    fn by_row<'v>(&self, views: &'v [View<'_>], winner: Dot) -> (CellMap<'v>, bool, Vec<CellId>) {
        let mut latest: Vec<&View<'_>> = views.iter().collect();
        latest.sort_by_key(|view| Reverse((view.time, view.dot)));
        let first = latest.iter().find(|view| view.dot == Some(winner)).or_else(|| latest.first());
        let Some(first) = first else { return <(CellMap<'v>, bool, Vec<CellId>)>::default() };
        let mut cells: CellMap<'v> = first.cells.iter().map(|(cell, text)| (*cell, (*text).into())).collect();
        let mut merged = self.counter().map(|column| column.cell);
        if let Some(column) = self.merged_column().filter(|_| merged.is_none()) {
            let texts: Vec<&[u8]> = latest.iter().filter_map(|view| view.cells.get(&column.cell).copied()).collect();
            if texts.is_empty() {
                merged = Some(column.cell);
            } else if let Some(union) = lists::union(&texts) {
                cells.insert(column.cell, union.into());
                merged = Some(column.cell);
            }
        }
        let rest = |view: &'v View<'_>| view.cells.iter().filter(move |(cell, _)| Some(**cell) != merged);
        let conflict = views.windows(2).any(|pair| !rest(&pair[0]).eq(rest(&pair[1])));
        (cells, conflict, Vec::new())
    }

    /// Each column's own, and those that are in conflict.
    fn by_column<'v>(&self, views: &'v [View<'_>]) -> (CellMap<'v>, bool, Vec<CellId>) {
        let (mut cells, mut open) = (CellMap::new(), Vec::new());
        let (counter, merged) = (self.counter().map(|column| column.cell), self.merged_column());
        for (cell, mut claims) in standing(views) {
            if Some(cell) == counter {
                continue;
            }
            if merged.is_some_and(|column| column.cell == cell) {
                claims.sort_by(|a, b| b.age().cmp(&a.age()));
                let texts: Vec<&[u8]> = claims.iter().filter_map(|claim| claim.text).collect();
                if let Some(union) = lists::union(&texts) {
                    cells.insert(cell, union.into());
                    continue;
                }
            }
            if claims.windows(2).any(|pair| pair[0].text != pair[1].text) {
                open.push(cell);
            }
            if let Some(text) = self.chosen(cell, &claims).and_then(|claim| claim.text) {
                cells.insert(cell, text.into());
            }
        }
        (cells, false, open)
    }

    /// The claim to a column that readers see.
    pub(in crate::live) fn chosen<'c, 'v>(&self, cell: CellId, claims: &'c [Claim<'v>]) -> Option<&'c Claim<'v>> {
        let by = |column: &str| self.column(column).filter(|column| column.cell == cell);
        let rank = |column: &Column, claim: &Claim<'_>| claim.text.and_then(|text| order::rank(&column.ty, text));
        match &self.settings().resolver {
            Resolver::FirstWriter => claims.iter().min_by(|a, b| a.age().cmp(&b.age())),
            Resolver::Origin { order } => {
                let place = |claim: &Claim<'_>| Reverse(claim.dot.map(|dot| place(order, dot.origin)));
                claims.iter().max_by(|a, b| (place(a), a.age()).cmp(&(place(b), b.age())))
            }
            Resolver::Max { column } if let Some(column) = by(column) => {
                claims.iter().max_by(|a, b| (rank(column, a), a.age()).cmp(&(rank(column, b), b.age())))
            }
            Resolver::Min { column } if let Some(column) = by(column) => {
                let rank = |claim: &Claim<'_>| rank(column, claim).map(Reverse);
                claims.iter().max_by(|a, b| (rank(a), a.age()).cmp(&(rank(b), b.age())))
            }
            _ => claims.iter().max_by(|a, b| a.age().cmp(&b.age())),
        }
    }
}

/// The value that is these cells.
fn value_of(cells: &CellMap<'_>) -> Bytes {
    let mut value = Vec::new();
    cells::begin(&mut value);
    cells.iter().for_each(|(cell, text)| cells::put(&mut value, *cell, |out| out.extend_from_slice(text)));
    value.into()
}

/// Whether two siblings show different rows. Marks are not shown.
pub(crate) fn differ(a: &Sibling, b: &Sibling) -> bool {
    match (cells::split(&a.value), cells::split(&b.value)) {
        (Ok((_, a)), Ok((_, b))) => a != b,
        _ => a.value != b.value,
    }
}
