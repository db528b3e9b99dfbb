//! A state in parts: what a snapshot is sent as, and what it and a checkpoint lie in a log as.
//!
//! A state has no bound, a message and a record have one. So rows, chains and waiting transactions go in parts, which have no effect at
//! all, and what closes them makes them take effect in one step. Whoever has only some of the parts has nothing.
//!
//! Not here: when a state is sent or kept, and what happens when it takes effect (`node`).

use std::sync::Arc;

use bytes::BufMut;
use syncline_base::Hash;

use super::chain::ChainPiece;
use super::context::Coverage;
use super::head::Head;
use super::id::{Dot, Origin, read_nth};
use super::offer::Same;
use super::pack::Past;
use super::record::{put_txns, read_txns};
use super::row::Row;
use super::txn::{RowKey, Txn};
use crate::error::{Error, Result};
use crate::wire::fields::put_uint;
use crate::wire::reader::Reader;

mod collected;
mod teller;

pub(super) use collected::Collected;
pub(super) use teller::{Summed, Teller};

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
    /// Rows or chains that the receiver has. Only in messages: what goes to a log are these.
    Same(Same),
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
            What::Rows(_) | What::Gone(_) | What::Same(_) => false,
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
            What::Same(same) => {
                out.put_u8(6);
                same.put(past, out);
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
            6 => What::Same(Same::read(past, r)?),
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
