//! What a write builds on: the row as its writer had read it, and the marks that its value needs so that siblings can be merged.
//!
//! Owns nothing. A table whose siblings are not merged has no marks, and neither has a row that was written once. Not here: what marks mean
//! for readers (`super::super::resolve`), their bytes (`super::super::marks`).

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use syncline_base::Hlc;
use syncline_sync::live::{Dot, Sibling, Stamp, Tag};

use super::super::cells::{self, CellId, Cells, Fault};
use super::super::definition::{Column, Definition};
use super::super::marks::{Known, MAX_HISTORY, Mark, Marks, Past};
use super::super::resolve::Seen;
use super::super::resolve::sums::{self, Sum};
use super::super::resolve::views::{Claim, View, standing};

/// Whether the writer has read what a transaction wrote.
pub type HasRead<'a> = &'a dyn Fn(&Sibling) -> bool;

/// What a write of a row builds on.
#[derive(Debug, Clone, Default)]
pub struct Base {
    /// The row that a column keeps its cell of which is not given.
    value: Bytes,
    open: Option<Open>,
    counter: Option<Counted>,
    /// Whether the write decides what is in conflict.
    decides: bool,
}

/// Who wrote a cell, and what.
type Claimed = (Option<Dot>, Option<Bytes>);

/// Whose the columns are.
#[derive(Debug, Clone, Default)]
struct Open {
    /// By column: who wrote it, and what.
    claims: BTreeMap<CellId, Vec<Claimed>>,
    /// By column: what the writer had read there, as far as it is known here.
    read: BTreeMap<CellId, Vec<Option<Bytes>>>,
    writers: BTreeMap<Dot, Past>,
    history: Vec<Known>,
}

/// What is in a counter.
#[derive(Debug, Clone)]
struct Counted {
    sum: Sum,
    /// The number that the writer had read; none when the row was written again since.
    read: Option<i128>,
}

impl From<Bytes> for Base {
    /// A value that nothing is known of.
    fn from(value: Bytes) -> Self {
        Self { value, ..Self::default() }
    }
}

impl Base {
    /// The row.
    #[must_use]
    pub const fn value(&self) -> &Bytes {
        &self.value
    }

    /// The same for a write that decides all that is in conflict.
    #[must_use]
    pub const fn decided(mut self) -> Self {
        self.decides = true;
        self
    }
}

impl Definition {
    /// Whether values of this table can have marks.
    pub(super) fn has_marks(&self) -> bool {
        self.is_by_column() || self.counter().is_some()
    }

    /// What a write of a row builds on whose writer has read some of it; nothing when the row does not exist.
    #[must_use]
    pub fn base(&self, siblings: &[Sibling], seen: &Seen, read: HasRead<'_>) -> Base {
        let plain = Base::from(seen.value.clone());
        if !self.has_marks() {
            return plain;
        }
        // Of a damaged row nothing is merged, and who writes it writes it anew.
        let Ok(views) = View::all(siblings) else { return plain };
        let (mut had, mut others) = (Vec::new(), Vec::new());
        for (view, sibling) in views.iter().zip(siblings) {
            if read(sibling) { had.push(view) } else { others.push(view) }
        }
        let counter = self.counter().map(|column| Counted {
            // What others added meanwhile is in there, too: it is no less added for not having been read.
            sum: Sum::of(views.iter(), column.cell, &column.ty),
            read: others.is_empty().then(|| Sum::of(had.iter().copied(), column.cell, &column.ty).total()),
        });
        if !self.is_by_column() {
            return Base { counter, ..plain };
        }
        let has_read = |claim: &Claim<'_>| {
            let known = |dot: &Dot| had.iter().any(|view| view.dot == Some(*dot) || view.marks.knows(dot));
            claim.dot.is_some_and(|dot| known(&dot) || has_read(read, dot, claim.stamp))
        };
        // The row is made whole with all that is here: what was read may be overwritten by now.
        let mut open = Open { history: history(&had, &others, read), ..Open::default() };
        for (cell, claims) in standing(&views) {
            let dots = claims.iter().filter_map(|claim| Some((claim.dot?, claim)));
            let past = |claim: &Claim<'_>| Past { time: claim.time, stamp: claim.stamp, read: has_read(claim) };
            open.writers.extend(dots.map(|(dot, claim)| (dot, past(claim))));
            open.read.insert(cell, was_read(&views, cell, &has_read));
            let own = claims.iter().map(|claim| (claim.dot, claim.text.map(Bytes::copy_from_slice)));
            open.claims.insert(cell, own.collect());
        }
        Base { open: Some(open), counter, ..plain }
    }

    /// What a second write of a row in one transaction builds on.
    ///
    /// # Errors
    /// When the first was not made here.
    pub fn base_of_own(&self, value: Bytes) -> Result<Base, Fault> {
        if !self.has_marks() {
            return Ok(value.into());
        }
        let view = View::uncommitted(&value)?;
        let counter = self.counter().map(|column| {
            let sum = Sum::of([&view], column.cell, &column.ty);
            Counted { read: Some(sum.total()), sum }
        });
        let open = self.is_by_column().then(|| {
            let Marks { writers, history, .. } = view.marks.clone();
            let mut open = Open { writers, history, ..Open::default() };
            for (cell, claims) in standing(std::slice::from_ref(&view)) {
                let text = |claim: &Claim<'_>| claim.text.map(Bytes::copy_from_slice);
                open.read.insert(cell, claims.iter().map(text).collect());
                open.claims.insert(cell, claims.iter().map(|claim| (claim.dot, text(claim))).collect());
            }
            open
        });
        Ok(Base { open, counter, value: value.clone(), decides: false })
    }

    /// Gives a value its marks. `plain` has its cells as they are to be; `given` says which columns the writer gave; `adds` is whether
    /// the number that it gave for the counter is to be added to it.
    ///
    /// # Errors
    /// Why the counter cannot become what it is to be.
    pub(super) fn mark(
        &self,
        plain: &[u8],
        given: &dyn Fn(CellId) -> bool,
        base: Option<&Base>,
        adds: bool,
    ) -> Result<Vec<u8>, String> {
        let cells = Cells::read(plain).and_then(Cells::all).map_err(|fault| fault.to_string())?;
        let mut cells: BTreeMap<CellId, Bytes> =
            cells.into_iter().map(|(cell, text)| (cell, Bytes::copy_from_slice(text))).collect();
        let mut marks = Marks::default();
        if let (Some(column), Some(counted)) = (self.counter(), base.and_then(|base| base.counter.as_ref()))
            && let Some(sum) = count(column, counted, given(column.cell), cells.get(&column.cell), adds)?
        {
            cells.extend(sum.text(&column.ty).map(|text| (column.cell, text.into())));
            marks.counters.insert(column.cell, sum.marks(&column.ty));
        }
        if let Some((base, open)) = base.and_then(|base| Some((base, base.open.as_ref()?))) {
            self.attribute(&mut marks, &mut cells, given, base, open);
        }
        let mut out = Vec::with_capacity(plain.len() + 64);
        if marks.is_empty() {
            cells::begin(&mut out);
        } else {
            cells::begin_marked(&mut out, &marks.encode());
        }
        cells.iter().for_each(|(cell, text)| cells::put(&mut out, *cell, |out| out.extend_from_slice(text)));
        Ok(out)
    }

    /// The value that takes what a transaction wrote: `value`, or of that these columns. What was added to a counter stays added.
    ///
    /// # Errors
    /// Why it cannot be read.
    pub fn take(&self, base: &Base, value: &Bytes, columns: Option<&[CellId]>) -> Result<Bytes, String> {
        if !self.has_marks() {
            return Ok(value.clone());
        }
        let read = |value: &[u8]| -> Result<BTreeMap<CellId, Bytes>, Fault> {
            let all = Cells::read(value)?.all()?.into_iter();
            Ok(all.map(|(cell, text)| (cell, Bytes::copy_from_slice(text))).collect())
        };
        let mut cells = read(value).map_err(|fault| fault.to_string())?;
        if let Some(columns) = columns {
            let mut all = read(&base.value).map_err(|fault| fault.to_string())?;
            for cell in columns {
                all.remove(cell);
                all.extend(cells.remove(cell).map(|text| (*cell, text)));
            }
            cells = all;
        }
        let mut plain = Vec::new();
        cells::begin(&mut plain);
        cells.iter().for_each(|(cell, text)| cells::put(&mut plain, *cell, |out| out.extend_from_slice(text)));
        let counter = self.counter().map(|column| column.cell);
        self.mark(&plain, &|cell| Some(cell) != counter, Some(base), false).map(Bytes::from)
    }

    /// Says whose each column is. One that is given as it was is not written by that: programs give whole rows of which they changed a part.
    fn attribute(
        &self,
        marks: &mut Marks,
        cells: &mut BTreeMap<CellId, Bytes>,
        given: &dyn Fn(CellId) -> bool,
        base: &Base,
        open: &Open,
    ) {
        let counter = self.counter().map(|column| column.cell);
        let seen = Cells::read(&base.value).and_then(Cells::all).unwrap_or_default();
        let seen: BTreeMap<CellId, &[u8]> = seen.into_iter().collect();
        let columns: BTreeSet<CellId> = cells.keys().chain(open.claims.keys()).copied().collect();
        let columns = columns.into_iter().filter(|cell| Some(*cell) != counter && !self.is_dropped(*cell));
        let mut singles: Vec<(CellId, Option<Dot>)> = Vec::new();
        for cell in columns.collect::<Vec<_>>() {
            let text = cells.get(&cell).cloned();
            let claims = open.claims.get(&cell).map_or(&[][..], |claims| claims);
            let read = open.read.get(&cell).map_or(&[][..], |read| read);
            let same = match read {
                [] => text.is_none() && claims.is_empty(),
                all => all.iter().all(|was| *was == text),
            };
            let decides = base.decides && claims.len() > 1;
            if decides || claims.is_empty() || given(cell) && !same {
                match text {
                    Some(_) => singles.push((cell, None)),
                    None if claims.is_empty() => {}
                    None => drop(marks.columns.insert(cell, Mark::One(None))),
                }
                continue;
            }
            // As it is here, which need not be as it was given: somebody else has changed it meanwhile.
            match seen.get(&cell) {
                Some(text) => drop(cells.insert(cell, Bytes::copy_from_slice(text))),
                None => drop(cells.remove(&cell)),
            }
            match claims {
                [(dot, Some(_))] => singles.push((cell, *dot)),
                [(dot, None)] => drop(marks.columns.insert(cell, Mark::One(*dot))),
                _ => {
                    let mut all = claims.to_vec();
                    all.sort();
                    marks.columns.insert(cell, Mark::Several(all));
                }
            }
        }
        let mut counts: BTreeMap<Option<Dot>, usize> = BTreeMap::new();
        singles.iter().for_each(|(_, dot)| *counts.entry(*dot).or_default() += 1);
        let most = counts.values().max().copied();
        marks.rest = counts.iter().find(|(_, count)| Some(**count) == most).and_then(|(dot, _)| *dot);
        let rest = marks.rest;
        let others = singles.into_iter().filter(|(_, dot)| *dot != rest);
        marks.columns.extend(others.map(|(cell, dot)| (cell, Mark::One(dot))));
        let of = marks.columns.values().flat_map(|mark| match mark {
            Mark::One(dot) => vec![*dot],
            Mark::Several(all) => all.iter().map(|(dot, _)| *dot).collect(),
        });
        let used: BTreeSet<Dot> = of.chain([rest]).flatten().collect();
        let writers = open.writers.iter().filter(|(dot, _)| used.contains(dot));
        marks.writers = writers.map(|(dot, past)| (*dot, past.clone())).collect();
        let mut history = open.history.clone();
        history.retain(|known| !marks.knows(&Dot { origin: known.origin, seq: known.seq, tag: Tag::NONE }));
        history.truncate(MAX_HISTORY);
        marks.history = history;
    }
}

/// What a counter becomes; nothing while it is null.
fn count(
    column: &Column,
    counted: &Counted,
    given: bool,
    text: Option<&Bytes>,
    adds: bool,
) -> Result<Option<Sum>, String> {
    let Counted { sum, read } = counted;
    let number = text.and_then(|text| sums::number(&column.ty, text));
    let more = match (given, number) {
        (false, _) => 0,
        (true, Some(number)) if adds => number,
        (true, None) if !sum.any => return Ok(None),
        (true, number) => {
            let Some(read) = read else {
                return Err(format!(
                    "somebody else wrote the row after the position that was read, so what `{0}` was then is not known: read it again, or \
                     say how much is added, {{\"{0}\": {{\"add\": 1}}}}",
                    column.name
                ));
            };
            number.unwrap_or(0).saturating_sub(*read)
        }
    };
    if !given && !sum.any {
        return Ok(None);
    }
    let sum = sum.clone().plus(more);
    let (min, max) = sums::range(&column.ty);
    if more != 0 && !(min..=max).contains(&sum.total()) {
        return Err(format!("`{}` would be {}, which is no {}", column.name, sum.total(), column.ty));
    }
    Ok(Some(sum))
}

/// What had been read of the row's past: all that led to siblings that were read; of others what was read of it, as far as that is known.
fn history(had: &[&View<'_>], others: &[&View<'_>], read: HasRead<'_>) -> Vec<Known> {
    let mut all: Vec<Known> = Vec::new();
    let mut add = |new: Known| match all.iter_mut().find(|known| known.origin == new.origin) {
        Some(known) if known.seq < new.seq => *known = new,
        Some(_) => {}
        None => all.push(new),
    };
    let writers = |view: &View<'_>| -> Vec<Known> {
        let writers = view.marks.writers.iter().filter(|(_, past)| past.read);
        writers.map(|(dot, past)| Known { origin: dot.origin, seq: dot.seq, stamp: past.stamp }).collect()
    };
    let mut latest = had.to_vec();
    latest.sort_by_key(|view| std::cmp::Reverse((view.time, view.dot)));
    for (dot, stamp) in latest.iter().filter_map(|view| Some((view.dot?, view.stamp))) {
        add(Known { origin: dot.origin, seq: dot.seq, stamp });
    }
    for view in &latest {
        writers(view).into_iter().for_each(&mut add);
        view.marks.history.iter().copied().for_each(&mut add);
    }
    for view in others {
        let known = writers(view).into_iter().chain(view.marks.history.iter().copied());
        let dot = |known: &Known| Dot { origin: known.origin, seq: known.seq, tag: Tag::NONE };
        known.filter(|known| has_read(read, dot(known), known.stamp)).for_each(&mut add);
    }
    all
}

/// What a reader had read of a column: the claims of any sibling that were read, but for those that a sibling knows to be over by others
/// that were read.
fn was_read(views: &[View<'_>], cell: CellId, has_read: &dyn Fn(&Claim<'_>) -> bool) -> Vec<Option<Bytes>> {
    let all: Vec<Vec<Claim<'_>>> = views.iter().map(|view| view.claims(cell)).collect();
    let over = |dot: &Dot| {
        views.iter().zip(&all).any(|(view, claims)| {
            let other = |claim: &Claim<'_>| claim.dot.as_ref() != Some(dot) && has_read(claim);
            view.marks.knows(dot) && claims.iter().all(other)
        })
    };
    let read = all.iter().flatten().filter(|claim| has_read(claim) && !claim.dot.is_some_and(|dot| over(&dot)));
    let texts: BTreeSet<Option<&[u8]>> = read.map(|claim| claim.text).collect();
    texts.into_iter().map(|text| text.map(Bytes::copy_from_slice)).collect()
}

fn has_read(read: HasRead<'_>, dot: Dot, stamp: Option<Stamp>) -> bool {
    read(&Sibling { dot, stamps: stamp.into_iter().collect(), time: Hlc::from_u64(0), value: Bytes::new() })
}
