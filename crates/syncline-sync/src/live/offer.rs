//! What two replicas say of the parts of a state before these are sent: what they hash to, so that only that goes which differs.
//!
//! Who is about to send a state says what its next parts hash to (an [`Offer`]); the other end answers which of them it does not hold
//! as they are there ([`Lacks`]). In the place of a part that it holds comes its range and hash alone ([`Same`]), and the receiver takes its own rows
//! or chains once more, and its own hash of them: nothing depends on who said what before.
//!
//! Not here: when a state is offered, and who answers (`node/compare`).

use bytes::BufMut;
use syncline_base::{Hash, Hasher};

use super::chain::{ChainPiece, Chains};
use super::id::{Origin, Tag};
use super::pack::Past;
use super::part::{Part, PartsId, Summed, Teller, What};
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

/// What lies in a part of a state, or in somebody else's that is the same.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Range {
    /// Rows from after those of the part before up to this key.
    Rows(RowKey),
    /// Of chains: whose, how many came before, and how many there are. None of them has a branch.
    Chains(Vec<(Origin, u64, u64)>),
}

/// What the receiver of a part has: what lies in it, and what that hashes to. Of rows BLAKE3 over those of the bytes of the replica root that are
/// theirs, of chains over their pieces.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Same {
    /// Rows come after this key; `None`: from the first on.
    pub after: Option<RowKey>,
    /// What.
    pub range: Range,
    /// Of it.
    pub hash: Hash,
}

/// What parts of a state hash to that follow each other.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Offer {
    /// Which state.
    pub id: PartsId,
    /// The number of the first of these parts.
    pub first: u64,
    /// The last row before them.
    pub after: Option<RowKey>,
    /// Of each part what lies in it, and the hash unless it is to be sent in any case.
    pub sums: Vec<(Range, Option<Hash>)>,
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

impl Range {
    /// About how many bytes it takes.
    fn size(&self) -> usize {
        match self {
            Self::Rows(end) => 12 + end.table.len() + end.key.len(),
            Self::Chains(spans) => 22 * spans.len(),
        }
    }

    /// This of what somebody has, and what it hashes to; `None` when it is not there, or too much for a part.
    fn find(&self, after: Option<&RowKey>, rows: &Rows, chains: &Chains) -> Option<(Hash, What)> {
        match self {
            Self::Rows(end) => read_rows(rows, after, end),
            Self::Chains(spans) => {
                let room = spans.iter().fold(0u64, |all, (_, _, len)| all.saturating_add(*len));
                if room > (MAX_RANGE_BYTES / size_of::<Tag>()) as u64 {
                    return None;
                }
                let piece = |(origin, after, len): &(Origin, u64, u64)| chains.get(origin)?.span(*origin, *after, *len);
                let pieces: Vec<ChainPiece> = spans.iter().map(piece).collect::<Option<_>>()?;
                Some((sum_of_chains(&pieces), What::Chains(pieces)))
            }
        }
    }

    fn put(&self, past: &mut Past, out: &mut Vec<u8>) {
        match self {
            Self::Rows(end) => {
                out.put_u8(1);
                past.put_row_key(out, end);
            }
            Self::Chains(spans) => {
                out.put_u8(2);
                put_uint(out, spans.len() as u64);
                for (origin, after, len) in spans {
                    origin.put(out);
                    put_uint(out, *after);
                    put_uint(out, *len);
                }
            }
        }
    }

    fn read(past: &mut Past, r: &mut Reader) -> Result<Self> {
        match r.u8("range")? {
            1 => Ok(Self::Rows(past.read_row_key(r)?)),
            2 => {
                let mut spans: Vec<(Origin, u64, u64)> = Vec::new();
                for _ in 0..r.uint("chains")? {
                    let span = (Origin::read(r)?, r.uint("chain")?, r.uint("chain")?);
                    if spans.last().is_some_and(|last| last.0 >= span.0) || span.2 == 0 {
                        return Err(Error::protocol("range", "origins out of order, or nothing of one"));
                    }
                    spans.push(span);
                }
                Ok(Self::Chains(spans))
            }
            kind => Err(Error::protocol("range", format!("kind {kind} is not known to this program: update it"))),
        }
    }
}

impl Same {
    /// That as it is somewhere else, if it is the same there.
    pub(super) fn find_in(&self, rows: &Rows, chains: &Chains) -> Option<What> {
        let (hash, found) = self.range.find(self.after.as_ref(), rows, chains)?;
        (hash == self.hash).then_some(found)
    }

    /// The same without a look at the hash. Only in the zoo.
    pub(super) fn take_from(&self, rows: &Rows, chains: &Chains) -> Option<What> {
        self.range.find(self.after.as_ref(), rows, chains).map(|(_, found)| found)
    }

    /// About how many bytes it takes.
    pub(super) fn size(&self) -> usize {
        40 + self.after.as_ref().map_or(0, |key| 12 + key.table.len() + key.key.len()) + self.range.size()
    }

    pub(super) fn put(&self, past: &mut Past, out: &mut Vec<u8>) {
        put_after(past, out, self.after.as_ref());
        self.range.put(past, out);
        out.put_slice(self.hash.as_bytes());
    }

    pub(super) fn read(past: &mut Past, r: &mut Reader) -> Result<Self> {
        let (after, range) = (read_after(past, r)?, Range::read(past, r)?);
        let begins = match &range {
            Range::Rows(end) => after.as_ref().is_none_or(|after| after < end),
            Range::Chains(spans) => after.is_none() && !spans.is_empty(),
        };
        if !begins {
            return Err(Error::protocol("part", "a range that ends before it begins"));
        }
        Ok(Self { after, range, hash: Hash::from_bytes(r.array("range")?) })
    }
}

impl Offer {
    /// Its answer by somebody who holds this.
    pub(super) fn answer(&self, rows: &Rows, chains: &Chains) -> Lacks {
        let mut after = self.after.as_ref();
        let lacks = self.sums.iter().map(|(range, hash)| {
            let from = if let Range::Rows(end) = range { after.replace(end) } else { None };
            let Some(hash) = hash else { return true };
            range.find(from, rows, chains).is_none_or(|(is, _)| is != *hash)
        });
        Lacks { id: self.id, first: self.first, lacks: lacks.collect() }
    }

    pub(super) fn put(&self, past: &mut Past, out: &mut Vec<u8>) {
        out.put_u64_le(self.id);
        put_uint(out, self.first);
        put_after(past, out, self.after.as_ref());
        put_uint(out, self.sums.len() as u64);
        for (range, hash) in &self.sums {
            range.put(past, out);
            out.put_u8(u8::from(hash.is_some()));
            hash.iter().for_each(|hash| out.put_slice(hash.as_bytes()));
        }
    }

    pub(super) fn read(past: &mut Past, r: &mut Reader) -> Result<Self> {
        let (id, first, after) = (u64::from_le_bytes(r.array("offer")?), r.uint("offer")?, read_after(past, r)?);
        let mut sums: Vec<(Range, Option<Hash>)> = Vec::new();
        for _ in 0..read_len(r)? {
            let range = Range::read(past, r)?;
            let hash = if r.flag("sum")? { Some(Hash::from_bytes(r.array("sum")?)) } else { None };
            let follows = match (&range, sums.last().map(|(range, _)| range)) {
                // A part that ends inside a row has the row of the one before.
                (Range::Rows(end), Some(Range::Rows(before))) => before < end || (before == end && hash.is_none()),
                (Range::Rows(end), None) => after.as_ref().is_none_or(|before| before < end || hash.is_none()),
                (Range::Rows(_), Some(Range::Chains(_))) => false,
                (Range::Chains(spans), _) => hash.is_none() == spans.is_empty(),
            };
            if !follows {
                return Err(Error::protocol("offer", "ranges out of order"));
            }
            sums.push((range, hash));
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

/// What the parts of one state hash to, as far as that was asked for.
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

    /// The next parts from one on, which is one of rows or of chains or the first after these; `None` when there are none.
    pub(super) fn offer(&mut self, id: PartsId, first: u64, of: &Snapshot) -> Option<Offer> {
        let at = first as usize;
        while self.summed.len() < at + MAX_SUMS {
            let Some(next) = self.teller.sum(of) else { break };
            self.summed.push(next);
        }
        let next = self.summed.get(at..)?;
        let sums: Vec<_> = next.iter().take(MAX_SUMS).map(|part| (part.range.clone(), part.hash)).collect();
        let before = at.checked_sub(1).and_then(|at| self.summed.get(at)).map(|part| &part.range);
        let after = if let Some(Range::Rows(end)) = before { Some(end.clone()) } else { None };
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
fn read_rows(rows: &Rows, after: Option<&RowKey>, end: &RowKey) -> Option<(Hash, What)> {
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
    Some((sum.finish(), What::Rows(found)))
}

/// What pieces of chains hash to.
pub(super) fn sum_of_chains(pieces: &[ChainPiece]) -> Hash {
    let mut out = Vec::new();
    pieces.iter().for_each(|piece| piece.put(&mut out));
    Hash::of(&out)
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
