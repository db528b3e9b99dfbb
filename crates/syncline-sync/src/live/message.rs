//! What nodes say to each other. Both sides of a connection say the same things; who is a hub decides what is pushed.

use std::sync::Arc;

use bytes::{BufMut, Bytes, BytesMut};

use super::context::Coverage;
use super::id::{Dot, Origin};
use super::record::{put_txns, read_txns};
use super::state::Snapshot;
use super::txn::{Entry, Txn};
use crate::error::{Error, Result};
use crate::wire::fields::put_uint;
use crate::wire::reader::Reader;

/// One message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Message {
    /// The first on a connection, and again whenever something is missing: what the sender has, all of it durable.
    Hello {
        /// Its name.
        name: Origin,
        /// Whether it takes transactions in.
        hub: bool,
        /// Which entries it has.
        coverage: Coverage,
        /// The newest transaction that it wrote under its name.
        newest: Option<Dot>,
    },
    /// Something that was sent does not seem to have come: what is there?
    Ask,
    /// The newest transaction that the sender knows of the receiver's name, entries that it was just sent left out.
    Known(Dot),
    /// Entries, in an order in which each comes after what it builds on.
    Entries {
        /// The sender's own count of what it has sent, to be said back.
        through: u64,
        /// Entries.
        entries: Vec<Arc<Entry>>,
    },
    /// Everything up to this count is durable here.
    Durable(u64),
    /// To somebody whom the sender's log cannot bring up.
    Snapshot {
        /// As with entries.
        through: u64,
        /// The sender's rows and coverage.
        snapshot: Arc<Snapshot>,
    },
    /// Transactions for a hub to take in, in the order of their chains.
    Push(Vec<Arc<Txn>>),
    /// This transaction cannot be taken in yet: the hub lacks what it builds on. It will be told when to try again by what comes.
    Later(Dot),
    /// This transaction and those after it will never be taken in: its name stands for another one.
    Refused(Dot),
}

impl Message {
    /// Its bytes.
    #[must_use]
    pub fn encode(&self) -> Bytes {
        let mut out = BytesMut::with_capacity(128);
        match self {
            Self::Hello { name, hub, coverage, newest } => {
                out.put_u8(1);
                name.put(&mut out);
                out.put_u8(u8::from(*hub));
                coverage.put(&mut out);
                put_uint(&mut out, u64::from(newest.is_some()));
                newest.iter().for_each(|dot| dot.put(&mut out));
            }
            Self::Known(dot) => put_dot(&mut out, 2, dot),
            Self::Entries { through, entries } => {
                out.put_u8(3);
                put_uint(&mut out, *through);
                put_uint(&mut out, entries.len() as u64);
                entries.iter().for_each(|entry| entry.put(&mut out));
            }
            Self::Durable(through) => {
                out.put_u8(4);
                put_uint(&mut out, *through);
            }
            Self::Snapshot { through, snapshot } => {
                out.put_u8(5);
                put_uint(&mut out, *through);
                snapshot.put(&mut out);
            }
            Self::Push(txns) => {
                out.put_u8(6);
                put_txns(&mut out, txns);
            }
            Self::Later(dot) => put_dot(&mut out, 7, dot),
            Self::Refused(dot) => put_dot(&mut out, 8, dot),
            Self::Ask => out.put_u8(9),
        }
        out.freeze()
    }

    /// Reads a message.
    ///
    /// # Errors
    /// `invalid` when the bytes are not one.
    pub fn decode(bytes: Bytes) -> Result<Self> {
        let mut r = Reader::new(bytes);
        let message = match r.u8("message")? {
            1 => {
                let (name, hub, coverage) = (Origin::read(&mut r)?, r.flag("role")?, Coverage::read(&mut r)?);
                let newest = (0..r.count("newest", 1)?).map(|_| Dot::read(&mut r)).last().transpose()?;
                Self::Hello { name, hub, coverage, newest }
            }
            2 => Self::Known(Dot::read(&mut r)?),
            3 => {
                let through = r.uint("through")?;
                let mut entries = Vec::new();
                for _ in 0..r.uint("entries")? {
                    entries.push(Arc::new(Entry::read(&mut r)?));
                }
                Self::Entries { through, entries }
            }
            4 => Self::Durable(r.uint("through")?),
            5 => Self::Snapshot { through: r.uint("through")?, snapshot: Arc::new(Snapshot::read(&mut r)?) },
            6 => Self::Push(read_txns(&mut r)?),
            7 => Self::Later(Dot::read(&mut r)?),
            8 => Self::Refused(Dot::read(&mut r)?),
            9 => Self::Ask,
            other => {
                return Err(Error::protocol(
                    "message",
                    format!("kind {other} is not known to this program: update it"),
                ));
            }
        };
        r.end("message")?;
        Ok(message)
    }
}

fn put_dot(out: &mut BytesMut, kind: u8, dot: &Dot) {
    out.put_u8(kind);
    dot.put(out);
}
