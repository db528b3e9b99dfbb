//! What nodes say to each other. Both sides of a connection say the same things; who is a hub decides what is pushed.

use std::sync::Arc;

use bytes::{BufMut, Bytes, BytesMut};

use super::context::Coverage;
use super::id::{Dot, Origin};
use super::pack::Past;
use super::part::{Closing, Part, PartsId};
use super::record::{VERSION, put_txns, read_txns, read_version};
use super::scope::Within;
use super::txn::{Batch, Txn};
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
        /// The snapshot of which it has some parts, and how many.
        parts: Option<(PartsId, u64)>,
        /// Inside which scope it sends.
        within: Within,
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
        entries: Arc<Batch>,
    },
    /// Everything up to this count is durable here.
    Durable(u64),
    /// To somebody whom the sender's log cannot bring up: part of its rows and of what it knows.
    Part {
        /// As with entries.
        through: u64,
        /// The next.
        part: Arc<Part>,
    },
    /// The parts are complete and take effect.
    Close {
        /// As with entries.
        through: u64,
        /// Which, and what they cover.
        closing: Closing,
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
        let room = if let Self::Entries { entries, .. } = self { entries.bytes().len() } else { 128 };
        let mut out = BytesMut::with_capacity(16 + room);
        let mut past = Past::default();
        out.put_u8(VERSION);
        match self {
            Self::Hello { name, hub, coverage, newest, parts, within } => {
                let everything = *within == Within::default();
                out.put_u8(if everything { 1 } else { 11 });
                if !everything {
                    within.put(&mut out);
                }
                name.put(&mut out);
                out.put_u8(u8::from(*hub));
                coverage.put(&mut out);
                put_uint(&mut out, u64::from(newest.is_some()));
                newest.iter().for_each(|dot| dot.put(&mut out));
                put_uint(&mut out, u64::from(parts.is_some()));
                if let Some((id, parts)) = parts {
                    out.put_u64_le(*id);
                    put_uint(&mut out, *parts);
                }
            }
            Self::Known(dot) => put_dot(&mut out, 2, dot),
            Self::Entries { through, entries } => {
                out.put_u8(3);
                put_uint(&mut out, *through);
                out.put_slice(entries.bytes());
            }
            Self::Durable(through) => {
                out.put_u8(4);
                put_uint(&mut out, *through);
            }
            Self::Part { through, part } => {
                out.put_u8(5);
                put_uint(&mut out, *through);
                part.put(&mut past, &mut out);
            }
            Self::Close { through, closing } => {
                out.put_u8(6);
                put_uint(&mut out, *through);
                closing.put(&mut out);
            }
            Self::Push(txns) => {
                out.put_u8(7);
                put_txns(&mut past, &mut out, txns);
            }
            Self::Later(dot) => put_dot(&mut out, 8, dot),
            Self::Refused(dot) => put_dot(&mut out, 9, dot),
            Self::Ask => out.put_u8(10),
        }
        out.freeze()
    }

    /// Reads a message.
    ///
    /// # Errors
    /// `invalid` when the bytes are not one.
    pub fn decode(bytes: Bytes) -> Result<Self> {
        let (mut r, mut past) = (Reader::new(bytes), Past::default());
        read_version("message", &mut r)?;
        let message = match r.u8("message")? {
            kind @ (1 | 11) => {
                let within = if kind == 11 { Within::read(&mut r)? } else { Within::default() };
                let (name, hub, coverage) = (Origin::read(&mut r)?, r.flag("role")?, Coverage::read(&mut r)?);
                let newest = (0..r.count("newest", 1)?).map(|_| Dot::read(&mut r)).last().transpose()?;
                let parts = (0..r.count("parts", 1)?).map(|_| read_parts(&mut r)).last().transpose()?;
                Self::Hello { name, hub, coverage, newest, parts, within }
            }
            2 => Self::Known(Dot::read(&mut r)?),
            3 => Self::Entries { through: r.uint("through")?, entries: Arc::new(Batch::read(&mut r)?) },
            4 => Self::Durable(r.uint("through")?),
            5 => Self::Part { through: r.uint("through")?, part: Arc::new(Part::read(&mut past, &mut r)?) },
            6 => Self::Close { through: r.uint("through")?, closing: Closing::read(&mut r)? },
            7 => Self::Push(read_txns(&mut past, &mut r)?),
            8 => Self::Later(Dot::read(&mut r)?),
            9 => Self::Refused(Dot::read(&mut r)?),
            10 => Self::Ask,
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

fn read_parts(r: &mut Reader) -> Result<(PartsId, u64)> {
    Ok((u64::from_le_bytes(r.array("parts")?), r.uint("parts")?))
}
