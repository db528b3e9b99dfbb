//! Telling a state in parts, one after the other, in an order that is the same each time.
//!
//! Owns: how far it is. Not here: to whom, and what the other end has of it already (`node/compare`).

use std::ops::Bound;
use std::sync::Arc;

use syncline_base::Hash;

use super::super::chain::{ChainPiece, Chains};
use super::super::id::{Dot, Origin};
use super::super::offer::{Range, Same, Summing, sum_of_chains};
use super::super::row::Row;
use super::super::scope::{Scope, row_within};
use super::super::state::Snapshot;
use super::super::table::Rows;
use super::super::txn::{RowKey, Txn};
use super::{Part, PartsId, What};

/// How far a state has been told.
#[derive(Debug, Clone)]
enum Place {
    /// The last row, and the last of its siblings.
    Rows(Option<(RowKey, Dot)>),
    /// The last row that is gone.
    Gone(Option<RowKey>),
    /// The last chain, and how many of it.
    Chains(Option<(Origin, (usize, usize))>),
    /// The last origin of which it was told what is signed.
    Attested(Option<Origin>),
    Waiting(usize),
    End,
}

/// A part of rows or chains, before it is told.
#[derive(Debug, Clone)]
pub(in super::super) struct Summed {
    /// Where it ends.
    place: Place,
    /// What is in it.
    pub(in super::super) range: Range,
    /// And what that hashes to, unless rows in it begin or end elsewhere, or a chain has branches.
    pub(in super::super) hash: Option<Hash>,
}

fn sum_chains(pieces: &[ChainPiece], place: &Place) -> Summed {
    let alone = pieces.iter().all(|piece| piece.others.is_empty());
    let spans = pieces.iter().map(|piece| (piece.origin, piece.after, piece.main.len() as u64));
    let range = Range::Chains(if alone { spans.collect() } else { Vec::new() });
    Summed { place: place.clone(), range, hash: alone.then(|| sum_of_chains(pieces)) }
}

/// Tells a state in parts of about a size. It holds no more than where it is.
#[derive(Debug, Clone)]
pub(in super::super) struct Teller {
    id: PartsId,
    nth: u64,
    place: Place,
    room: usize,
    /// Rows that lie in runs are left out, and said to be gone if they are.
    above: bool,
    /// What else there is, is left out.
    scope: Option<Arc<dyn Scope>>,
}

impl Teller {
    /// Parts of not much more than `room` bytes, unless one sibling or one transaction has more.
    pub(in super::super) const fn new(id: PartsId, room: usize) -> Self {
        Self { id, nth: 0, place: Place::Rows(None), room, above: false, scope: None }
    }

    /// The same of what lies above the runs, for a checkpoint that names these.
    pub(in super::super) fn above_runs(room: usize) -> Self {
        Self { above: true, ..Self::new(0, room) }
    }

    /// One that tells the same from the first part on.
    pub(in super::super) fn rewound(&self) -> Self {
        Self { nth: 0, place: Place::Rows(None), ..self.clone() }
    }

    /// Of what is inside a scope.
    pub(in super::super) fn within(self, scope: Option<Arc<dyn Scope>>) -> Self {
        Self { scope, ..self }
    }

    pub(in super::super) const fn id(&self) -> PartsId {
        self.id
    }

    /// The next part, of rows or chains, is not told but hashed, and the one after it is next.
    pub(in super::super) fn sum(&mut self, of: &Snapshot) -> Option<Summed> {
        loop {
            let (what, size, place) = match &self.place {
                Place::Rows(after) => self.rows(&of.rows, after.as_ref()),
                Place::Chains(after) => self.chains(&of.chains, after.as_ref()),
                _ => return None,
            };
            let summed = match &what {
                What::Rows(rows) => self.sum_rows(&of.rows, rows, &place),
                What::Chains(pieces) => Some(sum_chains(pieces, &place)),
                _ => None,
            };
            match summed.filter(|_| size > 0) {
                Some(summed) => {
                    self.go_behind(&summed);
                    return Some(summed);
                }
                None => self.place = place,
            }
        }
    }

    fn sum_rows(&self, all: &Rows, rows: &[(RowKey, Arc<Row>)], place: &Place) -> Option<Summed> {
        let (Place::Rows(after), Place::Rows(Some((end, dot)))) = (&self.place, place) else { return None };
        let begins = after.as_ref().map(|(key, _)| key) != rows.first().map(|(key, _)| key);
        let last = all.get(end).and_then(|row| row_within(self.scope.as_deref(), end, &row));
        let ends = last.is_some_and(|row| row.siblings().last().map(|last| last.dot) == Some(*dot));
        let hash = (begins && ends).then(|| {
            let mut sum = Summing::default();
            rows.iter().for_each(|(key, row)| sum.add(key, row));
            sum.finish()
        });
        Some(Summed { place: place.clone(), range: Range::Rows(end.clone()), hash })
    }

    /// Goes on after the next part as if it had been told.
    pub(in super::super) fn go_behind(&mut self, summed: &Summed) {
        self.place = summed.place.clone();
        self.nth += 1;
    }

    /// Tells, in the place of the next part, that it is the same at the other end.
    pub(in super::super) fn same(&mut self, summed: &Summed, hash: Hash) -> (Part, usize) {
        let after = match (&self.place, &summed.range) {
            (Place::Rows(Some((after, _))), Range::Rows(_)) => Some(after.clone()),
            _ => None,
        };
        let same = Same { after, range: summed.range.clone(), hash };
        let size = same.size();
        let part = Part { id: self.id, nth: self.nth, what: What::Same(same) };
        self.go_behind(summed);
        (part, size)
    }

    /// How many parts it has told.
    pub(in super::super) const fn nth(&self) -> u64 {
        self.nth
    }

    /// The next part of this state and of what waits, and about how many bytes it takes.
    pub(in super::super) fn next(&mut self, of: &Snapshot, waiting: &[Arc<Txn>]) -> Option<(Part, usize)> {
        loop {
            let (what, size, place) = match &self.place {
                Place::Rows(after) => self.rows(&of.rows, after.as_ref()),
                Place::Gone(after) => self.gone(&of.rows, after.as_ref()),
                Place::Chains(after) => self.chains(&of.chains, after.as_ref()),
                Place::Attested(after) => self.attested(&of.chains, *after),
                Place::Waiting(from) => self.waiting(waiting, *from),
                // The first part is what drops those of another state: there is always one.
                Place::End if self.nth == 0 => (What::Rows(Vec::new()), 1, Place::End),
                Place::End => return None,
            };
            self.place = place;
            if size > 0 {
                self.nth += 1;
                return Some((Part { id: self.id, nth: self.nth - 1, what }, size));
            }
        }
    }

    fn rows(&self, rows: &Rows, after: Option<&(RowKey, Dot)>) -> (What, usize, Place) {
        let mut part: Vec<(RowKey, Arc<Row>)> = Vec::new();
        let (mut size, mut last) = (0, None);
        let start = after.map_or_else(RowKey::first, |(key, _)| key.clone());
        let (mut all, mut above);
        let rows: &mut dyn Iterator<Item = _> = if self.above {
            let exist = rows.over_from(&start).filter(|(_, row)| !row.is_empty());
            above = exist.map(|(key, row)| (key.clone(), row.clone()));
            &mut above
        } else {
            all = rows.from(&start);
            &mut all
        };
        for (key, row) in rows {
            let Some(row) = row_within(self.scope.as_deref(), &key, &row) else { continue };
            let told = after.filter(|(last, _)| *last == key).map(|(_, dot)| dot);
            let (row, of_row) = match told {
                None => {
                    let size = row.size();
                    (Some(row), size)
                }
                Some(told) => row.after(told).map_or((None, 0), |row| {
                    let size = row.size();
                    (Some(Arc::new(row)), size)
                }),
            };
            let Some(mut row) = row else { continue };
            let of_key = 12 + key.table.len() + key.key.len();
            if size > 0 && size + of_key + of_row > self.room {
                break;
            }
            size += of_key + of_row;
            let fills = of_row > self.room;
            if fills {
                // A row that fills parts of its own.
                let piece = row.first_in(self.room);
                size = of_key + piece.size();
                row = Arc::new(piece);
            }
            last = row.siblings().last().map(|sibling| (key.clone(), sibling.dot));
            part.push((key, row));
            // Of a row in pieces the next piece comes next, however little there was in this one.
            if fills || size >= self.room {
                break;
            }
        }
        let next = if self.above { Place::Gone(None) } else { Place::Chains(None) };
        let place = last.map_or(next, |last| Place::Rows(Some(last)));
        (What::Rows(part), size, place)
    }

    fn gone(&self, rows: &Rows, after: Option<&RowKey>) -> (What, usize, Place) {
        let (mut part, mut size): (Vec<RowKey>, usize) = (Vec::new(), 0);
        let start = after.cloned().unwrap_or_else(RowKey::first);
        let gone = rows.over_from(&start).filter(|(key, row)| row.is_empty() && after != Some(key));
        for (key, _) in gone {
            if size > 0 && size >= self.room {
                break;
            }
            size += 12 + key.table.len() + key.key.len();
            part.push(key.clone());
        }
        let place = part.last().map_or(Place::Chains(None), |last| Place::Gone(Some(last.clone())));
        (What::Gone(part), size, place)
    }

    fn chains(&self, chains: &Chains, after: Option<&(Origin, (usize, usize))>) -> (What, usize, Place) {
        let mut part: Vec<ChainPiece> = Vec::new();
        let (mut size, mut last) = (0, None);
        let start = after.map_or(Origin::from_bytes([0; 16]), |(origin, _)| *origin);
        for (origin, chain) in chains.range(start..) {
            let told = after.filter(|(last, _)| last == origin).map_or((0, 0), |(_, told)| *told);
            if told == chain.told() {
                continue;
            }
            // One at least, however little room there is.
            if size > 0 && size >= self.room {
                break;
            }
            let piece = chain.piece(*origin, told, self.room.saturating_sub(size));
            size += piece.size();
            last = Some((*origin, (told.0 + piece.main.len(), told.1 + piece.others.len())));
            let whole = last.map(|(_, told)| told) == Some(chain.told());
            part.push(piece);
            if !whole {
                break;
            }
        }
        let place = last.map_or(Place::Attested(None), |last| Place::Chains(Some(last)));
        (What::Chains(part), size, place)
    }

    fn attested(&self, chains: &Chains, after: Option<Origin>) -> (What, usize, Place) {
        let (mut part, mut size, mut last) = (Vec::new(), 0, None);
        let from = after.map_or(Bound::Unbounded, Bound::Excluded);
        for (origin, chain) in chains.range((from, Bound::Unbounded)) {
            let Some(attested) = chain.attested(*origin) else { continue };
            if size > 0 && size + attested.size() > self.room {
                break;
            }
            size += attested.size();
            last = Some(*origin);
            part.push(attested);
        }
        let place = last.map_or(Place::Waiting(0), |last| Place::Attested(Some(last)));
        (What::Attested(part), size, place)
    }

    fn waiting(&self, waiting: &[Arc<Txn>], from: usize) -> (What, usize, Place) {
        let (mut part, mut size) = (Vec::new(), 0);
        for txn in waiting.iter().skip(from) {
            let of_txn = 5 + txn.bytes().len();
            if size > 0 && size + of_txn > self.room {
                break;
            }
            size += of_txn;
            part.push(txn.clone());
        }
        let place = if part.is_empty() { Place::End } else { Place::Waiting(from + part.len()) };
        (What::Waiting(part), size, place)
    }
}
