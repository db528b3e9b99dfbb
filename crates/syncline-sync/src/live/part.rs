//! A state in parts: what a snapshot is sent as, and what it and a checkpoint lie in a log as.
//!
//! A state has no bound, a message and a record have one. So rows, chains and waiting transactions go in parts, which have no effect at
//! all, and what closes them makes them take effect in one step. Whoever has only some of the parts has nothing.
//!
//! Not here: when a state is sent or kept, and what happens when it takes effect (`node`).

use std::ops::Bound;
use std::sync::Arc;

use bytes::BufMut;
use syncline_base::Hash;

use super::chain::{ChainPiece, Chains};
use super::context::Coverage;
use super::head::Head;
use super::id::{Dot, Origin, read_nth};
use super::pack::Past;
use super::record::{put_txns, read_txns};
use super::row::Row;
use super::runs::Runs;
use super::scope::{Scope, row_within};
use super::state::Snapshot;
use super::table::{Counts, Rows};
use super::txn::{RowKey, Txn};
use crate::error::{Error, Result};
use crate::wire::fields::put_uint;
use crate::wire::reader::Reader;

/// Which state the parts are of. Drawn at random; of a checkpoint, whose records follow each other, it is zero.
pub type PartsId = u64;

/// One of the parts of a state.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Part {
    /// Of which.
    pub id: PartsId,
    /// How many came before it: the first one drops all parts of others that were not closed.
    pub nth: u64,
    /// What it brings.
    pub what: What,
}

/// What a part brings.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum What {
    /// Rows by key. The first may be the last of the part before, with further siblings.
    Rows(Vec<(RowKey, Arc<Row>)>),
    /// Rows of the runs that are gone since, by key. Only in checkpoints.
    Gone(Vec<RowKey>),
    /// Chains by origin. The first may go on with the last of the part before.
    Chains(Vec<ChainPiece>),
    /// Transactions that wait. Only in checkpoints.
    Waiting(Vec<Arc<Txn>>),
    /// What is signed of the chains, by origin.
    Attested(Vec<Attested>),
}

/// What is known of a chain beside its tags; something of it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Attested {
    /// Whose.
    pub(super) origin: Origin,
    /// The hash over the branch that came first.
    pub(super) sum: Option<Hash>,
    /// The newest signed head of it.
    pub(super) signed: Option<Arc<Head>>,
    /// One that contradicts.
    pub(super) against: Option<Arc<Head>>,
}

impl Attested {
    /// The heads.
    pub(super) fn heads(&self) -> impl Iterator<Item = &Arc<Head>> {
        self.signed.iter().chain(&self.against)
    }

    fn size(&self) -> usize {
        50 + self.heads().count() * Head::SIZE
    }

    fn put(&self, out: &mut Vec<u8>) {
        self.origin.put(out);
        let flag = |is: bool, flag: u8| if is { flag } else { 0 };
        out.put_u8(flag(self.sum.is_some(), 1) | flag(self.signed.is_some(), 2) | flag(self.against.is_some(), 4));
        if let Some(sum) = &self.sum {
            out.put_slice(sum.as_bytes());
        }
        self.heads().for_each(|head| head.put(out));
    }

    fn read(r: &mut Reader) -> Result<Self> {
        let (origin, flags) = (Origin::read(r)?, r.u8("attested")?);
        if flags == 0 || flags > 7 {
            return Err(Error::protocol("part", "nothing is told of a chain, or something that is not known"));
        }
        let sum = if flags & 1 != 0 { Some(Hash::from_bytes(r.array("chain hash")?)) } else { None };
        let mut head = |flag: u8| -> Result<Option<Arc<Head>>> {
            if flags & flag == 0 {
                return Ok(None);
            }
            let head = Head::read(r)?;
            if head.origin() != origin {
                return Err(Error::protocol("part", "a head of another origin"));
            }
            Ok(Some(Arc::new(head)))
        };
        Ok(Self { origin, sum, signed: head(2)?, against: head(4)? })
    }
}

/// What makes the parts of a snapshot take effect.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Closing {
    /// Of which.
    pub id: PartsId,
    /// How many parts there are.
    pub parts: u64,
    /// What the rows follow from.
    pub coverage: Coverage,
}

impl Part {
    /// Whether it says that a transaction is in the state.
    #[must_use]
    pub fn names(&self, dot: &Dot) -> bool {
        match &self.what {
            What::Rows(_) | What::Gone(_) => false,
            What::Chains(pieces) => pieces.iter().any(|piece| piece.names(dot)),
            What::Waiting(txns) => txns.iter().any(|txn| txn.dot() == *dot),
            What::Attested(_) => false,
        }
    }

    pub(super) fn put(&self, past: &mut Past, out: &mut Vec<u8>) {
        out.put_u64_le(self.id);
        put_uint(out, self.nth);
        match &self.what {
            What::Rows(rows) => {
                out.put_u8(1);
                put_uint(out, rows.len() as u64);
                rows.iter().for_each(|(key, row)| past.put_row(out, key, row));
            }
            What::Chains(pieces) => {
                out.put_u8(2);
                put_uint(out, pieces.len() as u64);
                pieces.iter().for_each(|piece| piece.put(out));
            }
            What::Waiting(txns) => {
                out.put_u8(3);
                put_txns(past, out, txns);
            }
            What::Attested(attested) => {
                out.put_u8(4);
                put_uint(out, attested.len() as u64);
                attested.iter().for_each(|attested| attested.put(out));
            }
            What::Gone(rows) => {
                out.put_u8(5);
                put_uint(out, rows.len() as u64);
                rows.iter().for_each(|key| {
                    past.put_row_key(out, key);
                });
            }
        }
    }

    pub(super) fn read(past: &mut Past, r: &mut Reader) -> Result<Self> {
        let (id, nth) = (u64::from_le_bytes(r.array("part")?), r.uint("part")?);
        let what = match r.u8("part")? {
            1 => What::Rows(read_rows(past, r)?),
            2 => {
                let mut pieces: Vec<ChainPiece> = Vec::new();
                for _ in 0..r.uint("chains")? {
                    let piece = ChainPiece::read(r)?;
                    if pieces.last().is_some_and(|last| last.origin >= piece.origin) {
                        return Err(Error::protocol("part", "origins out of order"));
                    }
                    pieces.push(piece);
                }
                What::Chains(pieces)
            }
            3 => What::Waiting(read_txns(past, r)?),
            4 => {
                let mut all: Vec<Attested> = Vec::new();
                for _ in 0..r.uint("attested")? {
                    let attested = Attested::read(r)?;
                    if all.last().is_some_and(|last| last.origin >= attested.origin) {
                        return Err(Error::protocol("part", "origins out of order"));
                    }
                    all.push(attested);
                }
                What::Attested(all)
            }
            5 => What::Gone(read_gone(past, r)?),
            other => {
                return Err(Error::protocol("part", format!("kind {other} is not known to this program: update it")));
            }
        };
        Ok(Self { id, nth, what })
    }
}

fn read_rows(past: &mut Past, r: &mut Reader) -> Result<Vec<(RowKey, Arc<Row>)>> {
    let mut rows: Vec<(RowKey, Arc<Row>)> = Vec::new();
    for _ in 0..r.uint("rows")? {
        let (key, row) = past.read_row(r)?;
        if rows.last().is_some_and(|(last, _)| *last >= key) || row.is_empty() {
            return Err(Error::protocol("part", "rows out of order, or one that does not exist"));
        }
        rows.push((key, Arc::new(row)));
    }
    Ok(rows)
}

fn read_gone(past: &mut Past, r: &mut Reader) -> Result<Vec<RowKey>> {
    let mut rows: Vec<RowKey> = Vec::new();
    for _ in 0..r.uint("rows")? {
        let key = past.read_row_key(r)?;
        if rows.last().is_some_and(|last| *last >= key) {
            return Err(Error::protocol("part", "rows out of order"));
        }
        rows.push(key);
    }
    if rows.is_empty() { Err(Error::protocol("part", "of nothing that is gone")) } else { Ok(rows) }
}

impl Closing {
    pub(super) fn put(&self, out: &mut Vec<u8>) {
        out.put_u64_le(self.id);
        put_uint(out, self.parts);
        self.coverage.put(out);
    }

    pub(super) fn read(r: &mut Reader) -> Result<Self> {
        let (id, parts) = (u64::from_le_bytes(r.array("part")?), read_nth(r, "parts")?);
        Ok(Self { id, parts, coverage: Coverage::read(r)? })
    }
}

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

/// Tells a state in parts of about a size. It holds no more than where it is.
#[derive(Debug, Clone)]
pub(super) struct Teller {
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
    pub(super) const fn new(id: PartsId, room: usize) -> Self {
        Self { id, nth: 0, place: Place::Rows(None), room, above: false, scope: None }
    }

    /// The same of what lies above the runs, for a checkpoint that names these.
    pub(super) fn above_runs(room: usize) -> Self {
        Self { above: true, ..Self::new(0, room) }
    }

    /// Of what is inside a scope.
    pub(super) fn within(self, scope: Option<Arc<dyn Scope>>) -> Self {
        Self { scope, ..self }
    }

    pub(super) const fn id(&self) -> PartsId {
        self.id
    }

    /// How many parts it has told.
    pub(super) const fn nth(&self) -> u64 {
        self.nth
    }

    /// The next part of this state and of what waits, and about how many bytes it takes.
    pub(super) fn next(&mut self, of: &Snapshot, waiting: &[Arc<Txn>]) -> Option<(Part, usize)> {
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

/// Parts that have come and are not closed yet.
#[derive(Debug, Clone, Default)]
pub(super) struct Collected {
    /// As they came.
    pub(super) parts: Vec<Arc<Part>>,
    rows: Vec<(RowKey, Arc<Row>)>,
    pub(super) gone: Vec<RowKey>,
    chains: Chains,
    /// The last origin of which came what is signed.
    attested: Option<Origin>,
    pub(super) waiting: Vec<Arc<Txn>>,
}

impl Collected {
    pub(super) fn id(&self) -> Option<PartsId> {
        self.parts.first().map(|part| part.id)
    }

    /// How many.
    pub(super) fn len(&self) -> u64 {
        self.parts.len() as u64
    }

    /// Takes the next part.
    ///
    /// # Errors
    /// `invalid` when it is not the next, or does not go on where the last one ended. What came before cannot be used then.
    pub(super) fn add(&mut self, part: &Arc<Part>) -> Result<()> {
        let follows = part.nth == self.len() && self.id().is_none_or(|id| id == part.id);
        if !follows || !self.take(&part.what) {
            return Err(Error::protocol("part", "it does not go on where the part before ended"));
        }
        self.parts.push(part.clone());
        Ok(())
    }

    fn take(&mut self, what: &What) -> bool {
        match what {
            What::Rows(rows) => {
                self.rows.reserve(rows.len());
                rows.iter().all(|(key, row)| match self.rows.last_mut() {
                    Some((last, _)) if *last > *key => false,
                    Some((last, sofar)) if last == key => Arc::make_mut(sofar).extend(row),
                    _ => {
                        self.rows.push((key.clone(), row.clone()));
                        true
                    }
                })
            }
            What::Gone(rows) => {
                let ascends = self.gone.last() < rows.first();
                self.gone.extend(rows.iter().cloned());
                ascends
            }
            What::Chains(_) if self.attested.is_some() => false,
            What::Chains(pieces) => pieces.iter().all(|piece| {
                let ascends = self.chains.last_key_value().is_none_or(|(last, _)| *last <= piece.origin);
                ascends && self.chains.entry(piece.origin).or_default().extend(piece)
            }),
            What::Attested(all) => all.iter().all(|attested| {
                let ascends = self.attested.is_none_or(|last| last < attested.origin);
                self.attested = Some(attested.origin);
                ascends && self.chains.get_mut(&attested.origin).is_some_and(|chain| chain.attest(attested))
            }),
            What::Waiting(txns) => {
                self.waiting.extend(txns.iter().cloned());
                true
            }
        }
    }

    pub(super) const fn chains(&self) -> &Chains {
        &self.chains
    }

    /// The state, once it is closed.
    pub(super) fn close(self, coverage: Coverage) -> Snapshot {
        Snapshot { coverage, rows: self.rows.into_iter().collect(), chains: self.chains }
    }

    /// The state of a checkpoint whose other rows lie in runs; so many there are with these.
    pub(super) fn close_over(self, coverage: Coverage, runs: Arc<Runs>, counts: Counts) -> Snapshot {
        Snapshot {
            coverage,
            rows: Rows::over_runs(runs, counts, self.rows, self.gone.into_iter()),
            chains: self.chains,
        }
    }
}
