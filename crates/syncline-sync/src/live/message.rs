//! What nodes say to each other. Both sides of a connection say the same things; who is a hub decides what is pushed.

use std::sync::Arc;

use bytes::{BufMut, Bytes};

use super::context::Coverage;
use super::head::Head;
use super::id::{Dot, Origin};
use super::offer::{Lacks, Offer};
use super::pack::Past;
use super::part::{Attested, Closing, Part, PartsId, What};
use super::record::{put_txns, read_txns};
use super::scope::Within;
use super::txn::{Batch, Txn};
use crate::error::{Error, Result};
use crate::wire::fields::put_uint;
use crate::wire::reader::Reader;

/// What messages begin with. Those of version 1 began with their kind, those of version 2 with 32; nothing was signed then.
const VERSION: u8 = 0x21;

/// Why a hub does not take a transaction in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Denial {
    /// No signed head came with it that attests it.
    Unsigned,
    /// A head that came with it is not signed by its origin's key, or is not one of what came.
    Forged,
    /// The key of its origin is revoked.
    Revoked,
}

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
        /// Which signed heads it has: the sum of what their hashes begin with. Who has others sends them.
        heads: u64,
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
    /// Everything up to this count is here: it has taken effect, which on a hub is when it is durable; of a state it is durable.
    Here(u64),
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
    /// Transactions for a hub to take in, in the order of their chains, and for each of their origins the signed head with the last of them.
    Push(Vec<Arc<Txn>>, Vec<Arc<Head>>),
    /// This transaction cannot be taken in yet: the hub lacks what it builds on. It will be told when to try again by what comes.
    Later(Dot),
    /// This transaction and those after it will never be taken in: its name stands for another one.
    Refused(Dot),
    /// This transaction and those after it are not taken in, and will not be as they are.
    Denied(Dot, Denial),
    /// Signed heads of what was sent before.
    Heads(Vec<Arc<Head>>),
    /// What the rows of the next parts of a state hash to, before they are sent.
    Offer(Offer),
    /// Which of them are to be sent.
    Lacks(Lacks),
}

impl Message {
    /// Its bytes.
    #[must_use]
    pub fn encode(&self) -> Bytes {
        let room = if let Self::Entries { entries, .. } = self { entries.bytes().len() } else { 128 };
        let mut out = Vec::with_capacity(16 + room);
        let mut past = Past::default();
        out.put_u8(VERSION);
        match self {
            Self::Hello { name, hub, coverage, newest, parts, within, heads } => {
                let everything = *within == Within::default();
                out.put_u8(if everything { 1 } else { 13 });
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
                out.put_u64_le(*heads);
            }
            Self::Known(dot) => put_dot(&mut out, 2, dot),
            Self::Entries { through, entries } => {
                put_counted(&mut out, 3, *through);
                out.put_slice(entries.bytes());
            }
            Self::Here(through) => put_counted(&mut out, 4, *through),
            Self::Part { through, part } => {
                put_counted(&mut out, 5, *through);
                part.put(&mut past, &mut out);
            }
            Self::Close { through, closing } => {
                put_counted(&mut out, 6, *through);
                closing.put(&mut out);
            }
            Self::Push(txns, heads) => {
                out.put_u8(7);
                put_txns(&mut past, &mut out, txns);
                put_heads(&mut out, heads);
            }
            Self::Later(dot) => put_dot(&mut out, 8, dot),
            Self::Refused(dot) => put_dot(&mut out, 9, dot),
            Self::Ask => out.put_u8(10),
            Self::Denied(dot, why) => {
                put_dot(&mut out, 11, dot);
                out.put_u8(why.code());
            }
            Self::Heads(heads) => {
                out.put_u8(12);
                put_heads(&mut out, heads);
            }
            Self::Offer(offer) => {
                out.put_u8(14);
                offer.put(&mut past, &mut out);
            }
            Self::Lacks(lacks) => {
                out.put_u8(15);
                lacks.put(&mut out);
            }
        }
        out.into()
    }

    /// Reads a message.
    ///
    /// # Errors
    /// `invalid` when the bytes are not one.
    pub fn decode(bytes: Bytes) -> Result<Self> {
        let (mut r, mut past) = (Reader::new(bytes), Past::default());
        read_version(&mut r)?;
        let message = match r.u8("message")? {
            kind @ (1 | 13) => {
                let within = if kind == 13 { Within::read(&mut r)? } else { Within::default() };
                let (name, hub, coverage) = (Origin::read(&mut r)?, r.flag("role")?, Coverage::read(&mut r)?);
                let newest = (0..r.count("newest", 1)?).map(|_| Dot::read(&mut r)).last().transpose()?;
                let parts = (0..r.count("parts", 1)?).map(|_| read_parts(&mut r)).last().transpose()?;
                let heads = u64::from_le_bytes(r.array("heads")?);
                Self::Hello { name, hub, coverage, newest, parts, within, heads }
            }
            2 => Self::Known(Dot::read(&mut r)?),
            3 => Self::Entries { through: r.uint("through")?, entries: Arc::new(Batch::read(&mut r)?) },
            4 => Self::Here(r.uint("through")?),
            5 => Self::Part { through: r.uint("through")?, part: Arc::new(Part::read(&mut past, &mut r)?) },
            6 => Self::Close { through: r.uint("through")?, closing: Closing::read(&mut r)? },
            7 => Self::Push(read_txns(&mut past, &mut r)?, read_heads(&mut r)?),
            8 => Self::Later(Dot::read(&mut r)?),
            9 => Self::Refused(Dot::read(&mut r)?),
            10 => Self::Ask,
            11 => Self::Denied(Dot::read(&mut r)?, Denial::read(&mut r)?),
            12 => Self::Heads(read_heads(&mut r)?),
            14 => Self::Offer(Offer::read(&mut past, &mut r)?),
            15 => Self::Lacks(Lacks::read(&mut r)?),
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

impl Message {
    /// Signed heads that came in it.
    pub fn heads(&self) -> impl Iterator<Item = &Arc<Head>> {
        let (heads, attested): (&[Arc<Head>], &[Attested]) = match self {
            Self::Push(_, heads) | Self::Heads(heads) => (heads, &[]),
            Self::Part { part, .. } => match &part.what {
                What::Attested(attested) => (&[], attested),
                _ => (&[], &[]),
            },
            _ => (&[], &[]),
        };
        heads.iter().chain(attested.iter().flat_map(Attested::heads))
    }
}

impl Denial {
    const fn code(self) -> u8 {
        match self {
            Self::Unsigned => 1,
            Self::Forged => 2,
            Self::Revoked => 3,
        }
    }

    fn read(r: &mut Reader) -> Result<Self> {
        match r.u8("denial")? {
            1 => Ok(Self::Unsigned),
            2 => Ok(Self::Forged),
            3 => Ok(Self::Revoked),
            other => Err(Error::protocol("message", format!("denial {other} is not known to this program: update it"))),
        }
    }
}

/// Reads the version that messages begin with.
fn read_version(r: &mut Reader) -> Result<()> {
    match r.u8("message")? {
        VERSION => Ok(()),
        old if old < VERSION => {
            let version = if old < 0x20 { 1 } else { 2 };
            let why = format!(
                "it is of version {version}, which this program no longer reads, for nothing was signed then: update the program of \
                 the replica at the other end"
            );
            Err(Error::protocol("message", why))
        }
        new => Err(Error::protocol("message", format!("version {new} is not known to this program: update it"))),
    }
}

fn put_heads(out: &mut Vec<u8>, heads: &[Arc<Head>]) {
    put_uint(out, heads.len() as u64);
    heads.iter().for_each(|head| head.put(out));
}

fn read_heads(r: &mut Reader) -> Result<Vec<Arc<Head>>> {
    let mut heads = Vec::new();
    for _ in 0..r.uint("heads")? {
        heads.push(Arc::new(Head::read(r)?));
    }
    Ok(heads)
}

/// The kind of a message, and the sender's count with it.
fn put_counted(out: &mut Vec<u8>, kind: u8, through: u64) {
    out.put_u8(kind);
    put_uint(out, through);
}

fn put_dot(out: &mut Vec<u8>, kind: u8, dot: &Dot) {
    out.put_u8(kind);
    dot.put(out);
}

fn read_parts(r: &mut Reader) -> Result<(PartsId, u64)> {
    Ok((u64::from_le_bytes(r.array("parts")?), r.uint("parts")?))
}
