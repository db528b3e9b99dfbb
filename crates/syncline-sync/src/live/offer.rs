//! What two replicas say of ranges of rows before these are sent: what they hash to, so that of a state only that goes which differs.
//!
//! Who is about to send a state says what the rows of its next parts hash to (an [`Offer`]); the other end answers which of them it does not hold
//! as they are there ([`Lacks`]). In the place of a part that it holds comes its range and hash alone ([`Same`]), and the receiver takes its own rows
//! once more, and its own hash of them: nothing depends on who said what before.
//!
//! Not here: when a state is offered, and who answers (`node/compare`).

use std::sync::Arc;

use bytes::BufMut;
use syncline_base::{Hash, Hasher};

use super::pack::Past;
use super::part::{Part, PartsId, Summed, Teller};
use super::row::Row;
use super::state::{Snapshot, put_key};
use super::table::Rows;
use super::txn::RowKey;
use crate::error::{Error, Result};
use crate::wire::fields::put_uint;
use crate::wire::reader::Reader;

/// The most parts in an offer: whoever answers reads the rows of all of them before it does anything else.
const MAX_SUMS: usize = 16;
/// A range in which somebody holds more bytes than this is one that he lacks: it would be a part of that size.
const MAX_RANGE_BYTES: usize = 16 << 20;

/// Rows from after one key up to another one, and what they hash to: BLAKE3 over those of the bytes of the replica root that are theirs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Same {
    /// They come after this key; `None`: from the first on.
    pub after: Option<RowKey>,
    /// The last of them.
    pub end: RowKey,
    /// Of them.
    pub hash: Hash,
}

/// What the rows of parts of a state hash to that follow each other.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Offer {
    /// Which state.
    pub id: PartsId,
    /// The number of the first of these parts.
    pub first: u64,
    /// The last row before them.
    pub after: Option<RowKey>,
    /// Of each part its last row, and the hash unless it begins or ends inside a row.
    pub sums: Vec<(RowKey, Option<Hash>)>,
}

/// What somebody says of an offer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lacks {
    /// Which state.
    pub id: PartsId,
    /// The number of the first of the parts.
    pub first: u64,
    /// Of each, whether its rows are to be sent.
    pub lacks: Vec<bool>,
}

impl Same {
    /// These rows as somebody else has them, if they are the same there.
    pub(super) fn find_in(&self, rows: &Rows) -> Option<Vec<(RowKey, Arc<Row>)>> {
        let (hash, found) = read_range(rows, self.after.as_ref(), &self.end)?;
        (hash == self.hash).then_some(found)
    }

    /// The same without a look at the hash. Only in the zoo.
    pub(super) fn take_from(&self, rows: &Rows) -> Option<Vec<(RowKey, Arc<Row>)>> {
        read_range(rows, self.after.as_ref(), &self.end).map(|(_, found)| found)
    }

    /// About how many bytes it takes.
    pub(super) fn size(&self) -> usize {
        let key = |key: &RowKey| 12 + key.table.len() + key.key.len();
        40 + self.after.as_ref().map_or(0, key) + key(&self.end)
    }

    pub(super) fn put(&self, past: &mut Past, out: &mut Vec<u8>) {
        put_after(past, out, self.after.as_ref());
        past.put_row_key(out, &self.end);
        out.put_slice(self.hash.as_bytes());
    }

    pub(super) fn read(past: &mut Past, r: &mut Reader) -> Result<Self> {
        let (after, end) = (read_after(past, r)?, past.read_row_key(r)?);
        if after.as_ref().is_some_and(|after| *after >= end) {
            return Err(Error::protocol("part", "a range that ends before it begins"));
        }
        Ok(Self { after, end, hash: Hash::from_bytes(r.array("range")?) })
    }
}

impl Offer {
    /// Its answer by somebody who holds these rows.
    pub(super) fn answer(&self, rows: &Rows) -> Lacks {
        let mut after = self.after.as_ref();
        let lacks = self.sums.iter().map(|(end, hash)| {
            let from = after.replace(end);
            let Some(hash) = hash else { return true };
            read_range(rows, from, end).is_none_or(|(is, _)| is != *hash)
        });
        Lacks { id: self.id, first: self.first, lacks: lacks.collect() }
    }

    pub(super) fn put(&self, past: &mut Past, out: &mut Vec<u8>) {
        out.put_u64_le(self.id);
        put_uint(out, self.first);
        put_after(past, out, self.after.as_ref());
        put_uint(out, self.sums.len() as u64);
        for (end, hash) in &self.sums {
            past.put_row_key(out, end);
            out.put_u8(u8::from(hash.is_some()));
            hash.iter().for_each(|hash| out.put_slice(hash.as_bytes()));
        }
    }

    pub(super) fn read(past: &mut Past, r: &mut Reader) -> Result<Self> {
        let (id, first, after) = (u64::from_le_bytes(r.array("offer")?), r.uint("offer")?, read_after(past, r)?);
        let mut sums: Vec<(RowKey, Option<Hash>)> = Vec::new();
        for _ in 0..read_len(r)? {
            let end = past.read_row_key(r)?;
            let before = sums.last().map(|(end, _)| end).or(after.as_ref());
            let hash = if r.flag("sum")? { Some(Hash::from_bytes(r.array("sum")?)) } else { None };
            // A part that ends inside a row has the row of the one before.
            if before.is_some_and(|before| *before > end || (*before == end && hash.is_some())) {
                return Err(Error::protocol("offer", "ranges out of order"));
            }
            sums.push((end, hash));
        }
        Ok(Self { id, first, after, sums })
    }
}

impl Lacks {
    pub(super) fn put(&self, out: &mut Vec<u8>) {
        out.put_u64_le(self.id);
        put_uint(out, self.first);
        put_uint(out, self.lacks.len() as u64);
        self.lacks.iter().for_each(|lacks| out.put_u8(u8::from(*lacks)));
    }

    pub(super) fn read(r: &mut Reader) -> Result<Self> {
        let (id, first) = (u64::from_le_bytes(r.array("offer")?), r.uint("offer")?);
        let lacks = (0..read_len(r)?).map(|_| r.flag("lacks")).collect::<Result<_>>()?;
        Ok(Self { id, first, lacks })
    }
}

/// What rows that come by key hash to.
#[derive(Debug, Default)]
pub(super) struct Summing {
    hasher: Hasher,
    out: Vec<u8>,
}

impl Summing {
    pub(super) fn add(&mut self, key: &RowKey, row: &Row) {
        put_key(&mut self.out, key);
        row.put(&mut self.out);
        if self.out.len() >= 1 << 15 {
            self.hasher.update(&self.out);
            self.out.clear();
        }
    }

    pub(super) fn finish(mut self) -> Hash {
        self.hasher.update(&self.out);
        self.hasher.finish()
    }
}

/// What the parts of rows of one state hash to, as far as that was asked for.
#[derive(Debug)]
pub(super) struct Sums {
    teller: Teller,
    summed: Vec<Summed>,
}

impl Sums {
    /// None yet of what this is to tell, from the beginning.
    pub(super) const fn new(teller: Teller) -> Self {
        Self { teller, summed: Vec::new() }
    }

    /// The next parts from one on, which is one of rows or the first after these; `None` when there are none.
    pub(super) fn offer(&mut self, id: PartsId, first: u64, of: &Snapshot) -> Option<Offer> {
        let at = first as usize;
        while self.summed.len() < at + MAX_SUMS {
            let Some(next) = self.teller.sum(of) else { break };
            self.summed.push(next);
        }
        let next = self.summed.get(at..)?;
        let sums: Vec<_> = next.iter().take(MAX_SUMS).map(|part| (part.end.clone(), part.hash)).collect();
        let after = at.checked_sub(1).and_then(|at| self.summed.get(at)).map(|part| part.end.clone());
        (!sums.is_empty()).then_some(Offer { id, first, after, sums })
    }

    /// Says in the place of a teller's next part that it is the same, if that is known of it.
    pub(super) fn same(&self, teller: &mut Teller) -> Option<(Part, usize)> {
        let summed = self.summed.get(teller.nth() as usize)?;
        Some(teller.same(summed, summed.hash?))
    }

    /// Puts a teller behind so many parts, or as many as are known.
    pub(super) fn skip(&self, teller: &mut Teller, parts: u64) {
        self.summed.iter().take(parts as usize).for_each(|summed| teller.go_behind(summed));
    }
}

/// What the other end says of the parts that it was offered.
#[derive(Debug, Default)]
pub(super) enum Answered {
    /// It is not asked: it has nothing, or there are no rows any more.
    #[default]
    All,
    /// It is to be asked about the next part.
    Ask,
    /// It has been.
    Asked,
    /// It has answered, of parts from this one on.
    Lacks(u64, Vec<bool>),
}

impl Answered {
    /// What it says of a part; `None` when it is to be asked or waited for.
    pub(super) fn of(&self, nth: u64) -> Option<bool> {
        match self {
            Self::All => Some(true),
            Self::Ask | Self::Asked => None,
            Self::Lacks(first, lacks) => nth.checked_sub(*first).and_then(|at| lacks.get(at as usize)).copied(),
        }
    }
}

/// Rows of a range and what they hash to; `None` when they are too many for a part. Of what cannot be read nothing comes, and so another hash.
fn read_range(rows: &Rows, after: Option<&RowKey>, end: &RowKey) -> Option<(Hash, Vec<(RowKey, Arc<Row>)>)> {
    let start = after.cloned().unwrap_or_else(RowKey::first);
    let (mut sum, mut found, mut size) = (Summing::default(), Vec::new(), 0);
    for (key, row) in rows.from(&start).take_while(|(key, _)| key <= end) {
        if after == Some(&key) {
            continue;
        }
        size += key.key.len() + row.size();
        if size > MAX_RANGE_BYTES {
            return None;
        }
        sum.add(&key, &row);
        found.push((key, row));
    }
    Some((sum.finish(), found))
}

fn read_len(r: &mut Reader) -> Result<u64> {
    match r.uint("offer")? {
        len if (1..=MAX_SUMS as u64).contains(&len) => Ok(len),
        len => Err(Error::protocol("offer", format!("of {len} parts; 1 to {MAX_SUMS} can be"))),
    }
}

fn put_after(past: &mut Past, out: &mut Vec<u8>, after: Option<&RowKey>) {
    out.put_u8(u8::from(after.is_some()));
    if let Some(after) = after {
        past.put_row_key(out, after);
    }
}

fn read_after(past: &mut Past, r: &mut Reader) -> Result<Option<RowKey>> {
    Ok(if r.flag("after")? { Some(past.read_row_key(r)?) } else { None })
}

#[cfg(test)]
mod tests;
