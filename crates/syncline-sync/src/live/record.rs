//! What a node writes to its log. Reading the records of a log in order gives the node back.
//!
//! What a node calls a record is not always one for the log: those that are appended together lie in one, as a [`Group`].

use std::sync::Arc;

use bytes::{BufMut, Bytes};
use syncline_base::Hlc;

use super::context::Coverage;
use super::head::Head;
use super::id::{Dot, MAX_COUNT, Origin, Tag, read_nth};
use super::pack::{ENTRY, PARTIAL, Past};
use super::part::{Closing, Part, Teller};
use super::runs::RunName;
use super::scope::read_scope;
use super::state::Snapshot;
use super::table::{Count, Counts};
use super::txn::{Entry, Txn};
use crate::error::{Error, Result};
use crate::wire::fields::{put_bytes, put_text, put_uint};
use crate::wire::reader::Reader;

/// What records begin with. Those of version 1 began with their kind, which was less.
const VERSION: u8 = 0x20;
/// The kind of a checkpoint that stands on runs.
const ON_RUNS: u8 = 12;
/// The kind of a signed head.
const SIGNED: u8 = 13;
/// Records of about so many bytes lie in one record of a log, unless one has more.
const GROUP_BYTES: usize = 1 << 20;

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
    /// These of its waiting transactions stand on branches that hubs refuse; they are written again. It takes effect with the last.
    Rewritten(Arc<Rewritten>),
    /// Part of a snapshot or of a checkpoint, without effect until it is closed.
    Part(Arc<Part>),
    /// Another node's rows, in the parts before, joined with its own.
    Joined(Arc<Closing>),
    /// Everything before this but for what is in the parts before.
    Checkpoint(Arc<Checkpoint>),
    /// A signed head: the node's own, or one that fits the chain of its origin as it is here, or one that contradicts it.
    Signed(Arc<Head>),
    /// What the node holds is what is inside this scope, and nothing if it holds nothing yet. Empty: everything.
    Scope(Bytes),
    /// Another node's rows, in the parts before, in the place of its own: those inside another scope.
    Rescoped(Arc<Rescoped>),
}

/// What closes the parts of a state that takes the place of what was there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rescoped {
    /// Which, and what they cover.
    pub closing: Closing,
    /// The scope that they are inside, by its bytes; empty if they are everything.
    pub scope: Bytes,
}

/// Waiting transactions that are written again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rewritten {
    /// Whether more of them follow, in the next record.
    pub more: bool,
    /// The old ones.
    pub refused: Vec<Dot>,
    /// Each as the one at its place.
    pub again: Vec<Arc<Txn>>,
}

/// What closes the parts of a checkpoint.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Checkpoint {
    /// How many parts there are.
    pub parts: u64,
    /// The node's name.
    pub name: Origin,
    /// Whether it is a hub.
    pub hub: bool,
    /// Its newest transaction under this name: seq and tag; 0 when there is none.
    pub own: (u64, Tag),
    /// The newest time that it has given.
    pub clock: Hlc,
    /// What the rows follow from.
    pub coverage: Coverage,
    /// Where the rows lie that are not in the parts, if they do not all lie there.
    pub below: Option<Below>,
}

/// The runs that a checkpoint stands on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Below {
    /// How many rows there are, those in the parts included.
    pub counts: Counts,
    /// The oldest first.
    pub runs: Vec<RunName>,
}

/// A node at one moment, to stand for all records before. It shares its rows with the node: it costs memory only as those change.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Moment {
    /// All that is not in parts.
    pub(super) closing: Checkpoint,
    /// Its rows, and what it knows.
    pub(super) snapshot: Snapshot,
    /// Its own transactions that it has no entry of.
    pub(super) waiting: Vec<Arc<Txn>>,
    /// Signed heads of its own names that it may write under or has something waiting under.
    pub(super) heads: Vec<Arc<Head>>,
    /// What has come of a snapshot that is on its way: it is not to be sent again.
    pub(super) coming: Vec<Arc<Part>>,
    /// About how long a part may be.
    pub(super) room: usize,
    /// What all of it is inside of; empty if it is everything.
    pub(super) scope: Bytes,
}

impl Moment {
    /// The node's name and part, and how far it is.
    #[must_use]
    pub const fn closing(&self) -> &Checkpoint {
        &self.closing
    }

    /// Its rows, and what it knows.
    #[must_use]
    pub const fn snapshot(&self) -> &Snapshot {
        &self.snapshot
    }

    /// The scope that it is inside, by its bytes; empty if it is everything.
    #[must_use]
    pub const fn scope(&self) -> &Bytes {
        &self.scope
    }

    /// Its own transactions that it has no entry of.
    #[must_use]
    pub fn waiting(&self) -> &[Arc<Txn>] {
        &self.waiting
    }

    /// The records, to be appended one after the other with nothing in between. They are made as they are asked for.
    pub fn records(&self) -> impl Iterator<Item = Record> + '_ {
        let above = self.closing.below.is_some();
        let mut teller = if above { Teller::above_runs(self.room) } else { Teller::new(0, self.room) };
        let mut closed = false;
        let own = std::iter::from_fn(move || match teller.next(&self.snapshot, &self.waiting) {
            Some((part, _)) => Some(Record::Part(Arc::new(part))),
            None if closed => None,
            None => {
                closed = true;
                Some(Record::Checkpoint(Arc::new(Checkpoint { parts: teller.nth(), ..self.closing.clone() })))
            }
        });
        let scope = (!self.scope.is_empty()).then(|| Record::Scope(self.scope.clone()));
        let heads = self.heads.iter().cloned().map(Record::Signed);
        own.chain(scope).chain(heads).chain(self.coming.iter().cloned().map(Record::Part))
    }
}

impl Record {
    /// The bytes of a record of a log that holds this one alone.
    #[must_use]
    pub fn encode(&self) -> Bytes {
        let mut group = Group::default();
        let _ = group.push(self);
        group.take()
    }

    /// Reads what lies in one record of a log.
    ///
    /// # Errors
    /// `invalid` when the bytes are not one.
    pub fn decode(bytes: Bytes) -> Result<Vec<Self>> {
        Reading::default().records(bytes)
    }

    fn put(&self, past: &mut Past, out: &mut Vec<u8>) {
        match self {
            Self::Named(name) => {
                out.put_u8(1);
                name.put(out);
            }
            Self::Hub(hub) => {
                out.put_u8(2);
                out.put_u8(u8::from(*hub));
            }
            Self::Own(txn) => {
                out.put_u8(3);
                past.put_txn(out, txn, None);
            }
            Self::Entry(entry) => past.put_entry(out, entry),
            Self::Rewritten(rewritten) => {
                out.put_u8(5);
                out.put_u8(u8::from(rewritten.more));
                put_uint(out, rewritten.refused.len() as u64);
                rewritten.refused.iter().for_each(|dot| past.put_dot(out, dot));
                put_txns(past, out, &rewritten.again);
            }
            Self::Part(part) => {
                out.put_u8(6);
                part.put(past, out);
            }
            Self::Joined(closing) => {
                out.put_u8(7);
                closing.put(out);
            }
            Self::Checkpoint(checkpoint) => {
                out.put_u8(if checkpoint.below.is_some() { ON_RUNS } else { 8 });
                checkpoint.put(out);
            }
            Self::Signed(head) => {
                out.put_u8(SIGNED);
                head.put(out);
            }
            Self::Scope(scope) => {
                out.put_u8(10);
                put_bytes(out, scope);
            }
            Self::Rescoped(rescoped) => {
                out.put_u8(11);
                rescoped.closing.put(out);
                put_bytes(out, &rescoped.scope);
            }
        }
    }

    fn read(past: &mut Past, r: &mut Reader) -> Result<Self> {
        Ok(match r.u8("record")? {
            1 => Self::Named(Origin::read(r)?),
            2 => Self::Hub(r.flag("role")?),
            3 => Self::Own(past.read_txn(r, None)?),
            5 => {
                let (more, mut refused) = (r.flag("more")?, Vec::new());
                for _ in 0..r.uint("refused")? {
                    refused.push(past.read_dot(r)?);
                }
                let again = read_txns(past, r)?;
                if again.len() > refused.len() {
                    return Err(Error::protocol("record", "more transactions written again than were refused"));
                }
                Self::Rewritten(Arc::new(Rewritten { more, refused, again }))
            }
            6 => Self::Part(Arc::new(Part::read(past, r)?)),
            7 => Self::Joined(Arc::new(Closing::read(r)?)),
            kind @ (8 | ON_RUNS) => Self::Checkpoint(Arc::new(Checkpoint::read(kind == ON_RUNS, r)?)),
            PARTIAL => Self::Entry(past.read_partial(r)?),
            10 => Self::Scope(read_scope(r)?),
            11 => Self::Rescoped(Arc::new(Rescoped { closing: Closing::read(r)?, scope: read_scope(r)? })),
            SIGNED => Self::Signed(Arc::new(Head::read(r)?)),
            first if first & ENTRY != 0 => Self::Entry(past.read_entry(first, r)?),
            other => {
                return Err(Error::protocol("record", format!("kind {other} is not known to this program: update it")));
            }
        })
    }

    /// About how many bytes are made of it when it is read.
    fn size(&self) -> usize {
        match self {
            Self::Own(txn) => txn.bytes().len(),
            Self::Entry(entry) => entry.size(),
            Self::Signed(_) => Head::SIZE,
            // As long as a message; and others that are rare.
            _ => GROUP_BYTES,
        }
    }
}

/// Reads what lies in records of a log, one after another, in the room that it has.
#[derive(Debug, Default)]
pub struct Reading {
    past: Past,
}

impl Reading {
    /// What lies in one record of a log.
    ///
    /// # Errors
    /// `invalid` when the bytes are not one.
    pub fn records(&mut self, bytes: Bytes) -> Result<Vec<Record>> {
        let mut r = Reader::new(bytes);
        self.past.clear();
        read_version(&mut r)?;
        let mut records = Vec::new();
        loop {
            records.push(Record::read(&mut self.past, &mut r)?);
            if r.is_empty() {
                return Ok(records);
            }
        }
    }
}

/// Records on their way to one record of a log, which lies there whole or not at all. What follows on what is told in few bytes, so the
/// more there are the less each takes.
#[derive(Debug, Default)]
pub struct Group {
    past: Past,
    out: Vec<u8>,
    len: u64,
    size: usize,
}

impl Group {
    /// Whether a further record belongs into the next group: this one would become too long.
    #[must_use]
    pub fn is_full_for(&self, record: &Record) -> bool {
        self.len > 0 && self.size + record.size() > GROUP_BYTES
    }

    /// Adds one. Returns the bytes that it takes.
    pub fn push(&mut self, record: &Record) -> &[u8] {
        if self.len == 0 {
            // What is told takes less than it is; much of it is told by one record.
            if let Record::Own(_) | Record::Entry(_) = record {
                self.out.reserve(record.size());
            }
            self.out.put_u8(VERSION);
        }
        let from = self.out.len();
        record.put(&mut self.past, &mut self.out);
        self.size += record.size();
        self.len += 1;
        &self.out[from..]
    }

    /// How many there are.
    #[must_use]
    pub const fn len(&self) -> u64 {
        self.len
    }

    /// Whether there are none.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// How many bytes they take.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.out.len()
    }

    /// The bytes of all.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        &self.out
    }

    /// There are none afterwards. The next ones take the room that these had.
    pub fn clear(&mut self) {
        self.past.clear();
        self.out.clear();
        (self.len, self.size) = (0, 0);
    }

    /// The bytes of all; there are none afterwards.
    #[must_use]
    pub fn take(&mut self) -> Bytes {
        std::mem::take(self).out.into()
    }
}

/// Reads the version that records begin with.
fn read_version(r: &mut Reader) -> Result<()> {
    match r.u8("record")? {
        VERSION => Ok(()),
        old if old < VERSION => Err(Error::protocol(
            "record",
            "it is of version 1, which this program no longer reads: export the tables with the program that wrote it, and put them \
             into a replica of this one",
        )),
        new => Err(Error::protocol("record", format!("version {new} is not known to this program: update it"))),
    }
}

pub(super) fn put_txns(past: &mut Past, out: &mut Vec<u8>, txns: &[Arc<Txn>]) {
    put_uint(out, txns.len() as u64);
    txns.iter().for_each(|txn| past.put_txn(out, txn, None));
}

pub(super) fn read_txns(past: &mut Past, r: &mut Reader) -> Result<Vec<Arc<Txn>>> {
    let mut txns = Vec::new();
    for _ in 0..r.uint("transactions")? {
        txns.push(past.read_txn(r, None)?);
    }
    Ok(txns)
}

impl Checkpoint {
    fn put(&self, out: &mut Vec<u8>) {
        put_uint(out, self.parts);
        self.name.put(out);
        out.put_u8(u8::from(self.hub));
        put_uint(out, self.own.0);
        self.own.1.put(out);
        put_uint(out, self.clock.as_u64());
        self.coverage.put(out);
        if let Some(Below { counts, runs }) = &self.below {
            put_uint(out, counts.len() as u64);
            for (table, Count { rows, open }) in counts {
                put_text(out, table);
                put_uint(out, *rows);
                put_uint(out, *open);
            }
            put_uint(out, runs.len() as u64);
            runs.iter().for_each(|run| run.put(out));
        }
    }

    fn read(below: bool, r: &mut Reader) -> Result<Self> {
        let parts = read_nth(r, "parts")?;
        let (name, hub, own) = (Origin::read(r)?, r.flag("role")?, (r.uint("seq")?, Tag::read(r)?));
        if own.0 > MAX_COUNT || (own.0 == 0) != (own.1 == Tag::NONE) {
            return Err(Error::protocol("checkpoint", "a place in its chain that cannot be"));
        }
        let (clock, coverage) = (Hlc::from_u64(r.uint("clock")?), Coverage::read(r)?);
        let below = if below { Some(Below::read(r)?) } else { None };
        Ok(Self { parts, name, hub, own, clock, coverage, below })
    }
}

impl Below {
    fn read(r: &mut Reader) -> Result<Self> {
        let (mut counts, mut runs) = (Counts::new(), Vec::new());
        for _ in 0..r.uint("tables")? {
            let table: Arc<str> = r.text("table")?.into();
            let count = Count { rows: read_nth(r, "rows")?, open: r.uint("rows")? };
            let ascends = counts.last_key_value().is_none_or(|(last, _)| *last < table);
            if !ascends || count.open > count.rows {
                return Err(Error::protocol("checkpoint", "tables out of order, or with more rows than they have"));
            }
            counts.insert(table, count);
        }
        for _ in 0..r.uint("runs")? {
            runs.push(RunName::read(r)?);
        }
        if runs.is_empty() {
            return Err(Error::protocol("checkpoint", "one on no runs"));
        }
        Ok(Self { counts, runs })
    }
}
