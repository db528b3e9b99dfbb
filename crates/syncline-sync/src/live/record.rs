//! What a node writes to its log. Reading the records of a log in order gives the node back.

use std::sync::Arc;

use bytes::{BufMut, Bytes, BytesMut};
use syncline_base::Hlc;

use super::id::{Dot, MAX_COUNT, Origin, Tag};
use super::state::Snapshot;
use super::txn::{Entry, Txn};
use crate::error::{Error, Result};
use crate::wire::fields::{put_bytes, put_uint};
use crate::wire::reader::Reader;

/// One record of a node's log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Record {
    /// The node writes under this name from here on.
    Named(Origin),
    /// The node takes transactions in from here on, or no longer.
    Hub(bool),
    /// A transaction of its own, which waits for a hub.
    Own(Arc<Txn>),
    /// An entry that it made or was sent.
    Entry(Arc<Entry>),
    /// These of its waiting transactions stand on branches that hubs refuse; they are written again, each as the one at its place.
    Rewritten(Vec<Dot>, Vec<Arc<Txn>>),
    /// Another node's rows, joined with its own.
    Joined(Arc<Snapshot>),
    /// Everything before this.
    Checkpoint(Box<Checkpoint>),
}

/// A node at one moment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Checkpoint {
    /// Its name.
    pub name: Origin,
    /// Whether it is a hub.
    pub hub: bool,
    /// Its newest transaction under this name: seq and tag; 0 when there is none.
    pub own: (u64, Tag),
    /// The newest time that it has given.
    pub clock: Hlc,
    /// Its rows.
    pub snapshot: Snapshot,
    /// Its own transactions that it has no entry of.
    pub pending: Vec<Arc<Txn>>,
}

impl Record {
    /// Its bytes.
    #[must_use]
    pub fn encode(&self) -> Bytes {
        let mut out = BytesMut::with_capacity(160);
        match self {
            Self::Named(name) => {
                out.put_u8(1);
                name.put(&mut out);
            }
            Self::Hub(hub) => {
                out.put_u8(2);
                out.put_u8(u8::from(*hub));
            }
            Self::Own(txn) => {
                out.put_u8(3);
                put_bytes(&mut out, txn.bytes());
            }
            Self::Entry(entry) => {
                out.put_u8(4);
                entry.put(&mut out);
            }
            Self::Rewritten(from, txns) => {
                out.put_u8(5);
                put_uint(&mut out, from.len() as u64);
                from.iter().for_each(|dot| dot.put(&mut out));
                put_txns(&mut out, txns);
            }
            Self::Joined(snapshot) => {
                out.put_u8(6);
                snapshot.put(&mut out);
            }
            Self::Checkpoint(checkpoint) => {
                out.put_u8(7);
                checkpoint.put(&mut out);
            }
        }
        out.freeze()
    }

    /// Reads a record.
    ///
    /// # Errors
    /// `invalid` when the bytes are not one.
    pub fn decode(bytes: Bytes) -> Result<Self> {
        let mut r = Reader::new(bytes);
        let record = match r.u8("record")? {
            1 => Self::Named(Origin::read(&mut r)?),
            2 => Self::Hub(r.flag("role")?),
            3 => Self::Own(read_txn(&mut r)?),
            4 => Self::Entry(Arc::new(Entry::read(&mut r)?)),
            5 => {
                let mut from = Vec::new();
                for _ in 0..r.uint("refused")? {
                    from.push(Dot::read(&mut r)?);
                }
                let txns = read_txns(&mut r)?;
                if txns.len() > from.len() {
                    return Err(Error::protocol("record", "more transactions written again than were refused"));
                }
                Self::Rewritten(from, txns)
            }
            6 => Self::Joined(Arc::new(Snapshot::read(&mut r)?)),
            7 => Self::Checkpoint(Box::new(Checkpoint::read(&mut r)?)),
            other => {
                return Err(Error::protocol("record", format!("kind {other} is not known to this program: update it")));
            }
        };
        r.end("record")?;
        Ok(record)
    }
}

pub(super) fn put_txns(out: &mut BytesMut, txns: &[Arc<Txn>]) {
    put_uint(out, txns.len() as u64);
    txns.iter().for_each(|txn| put_bytes(out, txn.bytes()));
}

fn read_txn(r: &mut Reader) -> Result<Arc<Txn>> {
    Ok(Arc::new(Txn::decode(r.bytes("transaction")?)?))
}

pub(super) fn read_txns(r: &mut Reader) -> Result<Vec<Arc<Txn>>> {
    let mut txns = Vec::new();
    for _ in 0..r.uint("transactions")? {
        txns.push(read_txn(r)?);
    }
    Ok(txns)
}

impl Checkpoint {
    fn put(&self, out: &mut BytesMut) {
        self.name.put(out);
        out.put_u8(u8::from(self.hub));
        put_uint(out, self.own.0);
        self.own.1.put(out);
        put_uint(out, self.clock.as_u64());
        self.snapshot.put(out);
        put_txns(out, &self.pending);
    }

    fn read(r: &mut Reader) -> Result<Self> {
        let (name, hub, own) = (Origin::read(r)?, r.flag("role")?, (r.uint("seq")?, Tag::read(r)?));
        if own.0 > MAX_COUNT || (own.0 == 0) != (own.1 == Tag::NONE) {
            return Err(Error::protocol("checkpoint", "a place in its chain that cannot be"));
        }
        Ok(Self {
            name,
            hub,
            own,
            clock: Hlc::from_u64(r.uint("clock")?),
            snapshot: Snapshot::read(r)?,
            pending: read_txns(r)?,
        })
    }
}
