//! A node as a state machine: clients, peers and its log go in, records and messages come out. No I/O, no clock, no threads.
//!
//! Owns: what is durable ([`State`]), and what has been appended to the log and is not yet. Whoever drives it writes every
//! [`Output::Append`] in order and calls [`Node::synced`] when they are durable. Only then do they take effect: nothing that
//! is not durable is shown to a reader, sent to a peer or acknowledged to a writer, so there is nothing to take back after a crash.
//!
//! After a crash: [`Node::open`] reads the log's records again. Peers are met anew.
//!
//! Not here: bytes on disk (`crate::log`), connections, and how conflicts are shown.

mod durable;
mod keep;
mod name;
mod peers;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

use syncline_base::Hlc;
use syncline_base::rng::Rng;

use super::chain::{Chains, knows};
use super::context::{Context, Coverage};
use super::id::{Dot, Origin, Stamp, Tag};
use super::message::Message;
use super::record::Record;
use super::row::{Row, Sibling};
use super::state::{Snapshot, State};
use super::txn::{Body, Entry, RowKey, Txn, Write};
use super::zoo::{Bug, Zoo};
use crate::error::{Error, Result};
use peers::Peer;

/// Who is on the other end of a connection; given by whoever drives the node.
pub type PeerId = u64;

/// How far ahead of its own clock a node lets another's draw it.
const DRAWN_MS: u64 = 5_000;

/// What a node wants done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Output {
    /// Append to the log, after everything appended before.
    Append(Record),
    /// Send, after everything sent to the same peer before.
    Send(PeerId, Message),
    /// A client's transaction is durable. Its ticket, and the identity to remember it by.
    Committed(u64, Dot),
    /// The node writes under another name now: it was restored, copied or rolled back.
    Renamed(Origin),
    /// Waiting transactions stood on a branch that hubs refuse, and were written again: old and new.
    Rewritten(Vec<(Dot, Arc<Txn>)>),
}

/// Why a transaction was not committed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// The reader was elsewhere, and saw more than is here yet.
    #[error("the transaction builds on something that has not come here yet: wait for it, or write where it was read")]
    Behind,
    /// The writes are not a transaction.
    #[error("{0}")]
    Invalid(String),
}

/// Something that was appended and is not durable yet.
#[derive(Debug)]
struct Queued {
    record: Record,
    /// Whether an entry's transaction had not come before.
    new: bool,
    /// What had been appended before a join.
    had: Option<Box<Chains>>,
    ticket: Option<u64>,
}

/// One replica.
#[derive(Debug)]
pub struct Node {
    name: Origin,
    hub: bool,
    /// The newest of its own transactions under this name: seq and tag.
    own: (u64, Tag),
    /// The newest of them that is durable.
    newest: Option<Dot>,
    /// How many it has taken in under this name.
    taken: u64,
    /// With what is queued.
    coverage: Coverage,
    chains: Chains,
    clock: Hlc,
    state: State,
    queue: VecDeque<Queued>,
    /// Entries in the order in which they were applied, from the one after `base` on.
    entries: VecDeque<Arc<Entry>>,
    /// How many entries came before `entries`, and what they cover.
    first: u64,
    base: Coverage,
    generation: u64,
    peers: BTreeMap<PeerId, Peer>,
    key: [u8; 32],
    rng: Rng,
    out: Vec<Output>,
    zoo: Zoo,
    /// The time of the last call.
    now_ms: u64,
    /// Transactions that were sent to some hub, and what was sent to peers. Only in the zoo.
    sent: Vec<Dot>,
    remembered: BTreeMap<PeerId, Coverage>,
}

/// What a node is made with.
#[derive(Debug, Clone)]
pub struct Config {
    /// The node's public key.
    pub key: [u8; 32],
    /// Draws names. Never seeded with the same number on two machines.
    pub rng: Rng,
    /// Mistakes to make.
    pub zoo: Zoo,
}

impl Node {
    /// A node that holds nothing.
    #[must_use]
    pub fn create(config: Config, hub: bool) -> Self {
        let mut node = Self::blank(config);
        node.rename();
        node.append(Record::Hub(hub), None);
        node
    }

    fn blank(config: Config) -> Self {
        let Config { key, rng, zoo } = config;
        Self {
            name: Origin::from_bytes([0; 16]),
            hub: false,
            own: (0, Tag::NONE),
            newest: None,
            taken: 0,
            coverage: Coverage::new(),
            chains: Chains::new(),
            clock: Hlc::default(),
            state: State::new(zoo),
            queue: VecDeque::new(),
            entries: VecDeque::new(),
            first: 0,
            base: Coverage::new(),
            generation: 0,
            peers: BTreeMap::new(),
            key,
            rng,
            out: Vec::new(),
            zoo,
            now_ms: 0,
            sent: Vec::new(),
            remembered: BTreeMap::new(),
        }
    }

    /// The node that a log's records give. `moved` when the log may be a copy, or older than what peers have seen (restored,
    /// copied, another disk): it takes a new name before anything else.
    ///
    /// # Errors
    /// What reading a record fails with; `invalid` when there are none.
    pub fn open(config: Config, records: impl Iterator<Item = Result<Record>>, moved: bool) -> Result<Self> {
        let mut node = Self::blank(config);
        let mut records = records.peekable();
        while let Some(record) = records.next() {
            // As if rows were recorded one by one, and a crash had come after the first of the last transaction.
            node.state.torn = node.zoo.has(Bug::TornTransactions) && records.peek().is_none();
            node.append(record?, None);
            node.apply_queued();
        }
        node.state.torn = false;
        if node.name == Origin::from_bytes([0; 16]) {
            return Err(Error::Invalid(
                "a replica's log does not say its name: it was never made, or its beginning is gone".into(),
            ));
        }
        node.out.clear();
        if node.zoo.has(Bug::ClockNotKept) {
            node.clock = Hlc::default();
        }
        if moved && !(node.hub && node.zoo.has(Bug::SameHubAfterRestore)) {
            node.rename();
        }
        Ok(node)
    }

    /// Its name.
    #[must_use]
    pub const fn name(&self) -> Origin {
        self.name
    }

    /// Whether it takes transactions in.
    #[must_use]
    pub const fn is_hub(&self) -> bool {
        self.hub
    }

    /// What it holds.
    #[must_use]
    pub const fn state(&self) -> &State {
        &self.state
    }

    /// What a reader has read who reads now.
    #[must_use]
    pub fn context(&self) -> Context {
        self.state.context()
    }

    /// What clients see of a row.
    #[must_use]
    pub fn view(&self, key: &RowKey) -> Row {
        self.state.view(key, &self.chains)
    }

    /// What clients see of a table from a key on: at most `most` rows that exist, by key.
    #[must_use]
    pub fn view_from(&self, from: &RowKey, most: usize) -> Vec<(RowKey, Row)> {
        let here = |row: &RowKey| row.table == from.table && row >= from;
        let pending = self.state.pending.iter().flat_map(|txn| &txn.body().writes).map(|write| &write.row);
        let mut pending: BTreeSet<&RowKey> = pending.filter(|row| here(row)).collect();
        let mut rows = Vec::new();
        let mut held = self.state.rows.range(from.clone()..).take_while(|(key, _)| key.table == from.table).peekable();
        while rows.len() < most {
            let key = match (held.peek(), pending.first()) {
                (Some((held, _)), Some(waits)) => (*held).min(*waits),
                (Some((held, _)), None) => *held,
                (None, Some(waits)) => *waits,
                (None, None) => break,
            };
            let held = held.next_if(|(is, _)| *is == key).map(|(_, row)| row);
            let row = match held {
                Some(row) if !pending.contains(key) => row.clone(),
                _ => self.view(key),
            };
            pending.remove(key);
            if !row.is_empty() {
                rows.push((key.clone(), row));
            }
        }
        rows
    }

    /// Whether a client who has read `read`, which is here, has read a sibling of a row that is here: a write of that client's would
    /// cover it.
    #[must_use]
    pub fn has_read(&self, read: &Context, sibling: &Sibling) -> bool {
        self.state.has_read(read, sibling, &self.chains)
    }

    /// What is to be done, in order.
    pub fn outputs(&mut self) -> Vec<Output> {
        std::mem::take(&mut self.out)
    }

    /// Whether some outputs wait.
    #[must_use]
    pub fn has_outputs(&self) -> bool {
        !self.out.is_empty()
    }

    /// A client's transaction. [`Output::Committed`] with `ticket` follows when it is durable.
    ///
    /// # Errors
    /// When the client has read something that is not here, or its writes are not a transaction. Nothing has changed then.
    pub fn commit(
        &mut self,
        now_ms: u64,
        ticket: u64,
        read: Context,
        writes: Vec<Write>,
    ) -> std::result::Result<Dot, Refusal> {
        self.now_ms = now_ms;
        if !self.shows(&read) {
            return Err(Refusal::Behind);
        }
        let read = if self.zoo.has(Bug::CommitTimeContext) { self.context() } else { read };
        let hlc = self.tick(now_ms);
        let body = Body { origin: self.name, seq: self.own.0 + 1, prev: self.own.1, read, hlc, writes };
        let txn = Arc::new(Txn::new(body).map_err(|error| Refusal::Invalid(error.to_string()))?);
        let dot = txn.dot();
        // What it wrote before it was a hub, and may have read, is taken in first.
        if self.hub && !self.waits() {
            self.take_in(now_ms, txn, Some(ticket));
        } else {
            self.append(Record::Own(txn), Some(ticket));
        }
        Ok(dot)
    }

    /// Entries that are kept in memory, in the order in which they were applied here, from the `from`-th on. Numbers begin at
    /// [`Self::first`] and stand for the same entries as long as [`Self::generation`] is the same.
    pub fn entries_from(&self, from: u64) -> impl Iterator<Item = &Arc<Entry>> {
        let skip = usize::try_from(from.saturating_sub(self.first)).unwrap_or(usize::MAX);
        self.entries.iter().skip(skip)
    }

    /// The number of the first entry that is kept.
    #[must_use]
    pub const fn first(&self) -> u64 {
        self.first
    }

    /// Grows when entries are numbered anew.
    #[must_use]
    pub const fn generation(&self) -> u64 {
        self.generation
    }

    /// What entries that are not kept any more cover: who has not all of that cannot be brought up from those that are.
    #[must_use]
    pub const fn base(&self) -> &Coverage {
        &self.base
    }

    /// Whether a reader could have been shown all of a context here.
    #[must_use]
    pub fn shows(&self, read: &Context) -> bool {
        let queued = |dot: &Dot| self.queue.iter().any(|queued| queued.new && dot_of(&queued.record) == Some(*dot));
        let waits = |dot: &Dot| self.state.pending.iter().any(|txn| txn.dot() == *dot);
        let came = |dot: &Dot| self.chains.get(&dot.origin).is_some_and(|chain| chain.knows(dot.seq, dot.tag));
        // What is being written again will be called otherwise in a moment.
        let own = |dot: &Dot| (waits(dot) && !self.is_rewriting(dot)) || (came(dot) && !queued(dot));
        self.state.coverage.includes(&read.seen) && read.own.iter().all(own)
    }

    /// Whether a transaction has come here, or waits here, on its way to the log or in it.
    #[must_use]
    pub fn has(&self, dot: &Dot) -> bool {
        self.knows(dot)
    }

    /// Which entries are in the log or on their way to it.
    #[must_use]
    pub const fn appended(&self) -> &Coverage {
        &self.coverage
    }

    /// Its own transactions that it has no entry of, durable or on their way to the log, in the order in which they were written.
    #[must_use]
    pub fn waiting(&self) -> Vec<Arc<Txn>> {
        let mut waiting = self.state.pending.clone();
        for queued in &self.queue {
            match &queued.record {
                Record::Own(txn) => waiting.push_back(txn.clone()),
                Record::Rewritten(old, new) => rewrite(&mut waiting, old, new),
                _ => {}
            }
        }
        waiting.into_iter().filter(|txn| !knows(&self.chains, &txn.dot())).collect()
    }

    /// Whether it has any.
    fn waits(&self) -> bool {
        let own = |queued: &Queued| matches!(queued.record, Record::Own(_) | Record::Rewritten(..));
        (!self.state.pending.is_empty() || self.queue.iter().any(own)) && !self.waiting().is_empty()
    }

    fn knows(&self, dot: &Dot) -> bool {
        self.chains.get(&dot.origin).is_some_and(|chain| chain.knows(dot.seq, dot.tag)) || self.is_own_waiting(dot)
    }

    fn is_own_waiting(&self, dot: &Dot) -> bool {
        self.waiting().iter().any(|txn| txn.dot() == *dot)
    }

    /// The next time: later than any that this node gave, and at least its clock.
    fn tick(&mut self, now_ms: u64) -> Hlc {
        let wall = Hlc::from_ms(now_ms);
        let next = Hlc::from_u64(self.clock.as_u64().saturating_add(1));
        self.clock =
            if self.zoo.has(Bug::ClockCounterReset) && self.clock.ms() == now_ms { wall } else { wall.max(next) };
        self.clock
    }

    /// Follows another node's clock, but not far: one that is years ahead would take everybody along.
    fn follow(&mut self, now_ms: u64, seen: Hlc) {
        if seen.ms() <= now_ms.saturating_add(DRAWN_MS) {
            self.clock = self.clock.max(seen);
        }
    }

    /// Makes an entry of a transaction whose place is `Next`.
    fn take_in(&mut self, now_ms: u64, txn: Arc<Txn>, ticket: Option<u64>) {
        let stamp = Stamp { hub: self.name, n: self.taken + 1 };
        let attested = self.tick(now_ms);
        let entry = Entry { stamp, deps: self.coverage.clone(), attested, txn };
        self.append(Record::Entry(Arc::new(entry)), ticket);
    }

    /// Takes a hub's part from here on, or gives it up. What waited is taken in, once it is durable.
    pub fn set_hub(&mut self, now_ms: u64, hub: bool) {
        self.now_ms = now_ms;
        if hub == self.hub {
            return;
        }
        // A copy of this node may be made a hub too: nobody counts stamps under a name that was written under before.
        if hub {
            self.rename();
        }
        self.append(Record::Hub(hub), None);
    }
}

/// Puts transactions in the places of those that they were written again for: whoever reads one of this node's transactions reads
/// all that it wrote before, and they have to stay before.
fn rewrite(waiting: &mut VecDeque<Arc<Txn>>, old: &[Dot], new: &[Arc<Txn>]) {
    for txn in waiting.iter_mut() {
        let at = old.iter().position(|old| *old == txn.dot());
        if let Some(new) = at.and_then(|at| new.get(at)) {
            *txn = new.clone();
        }
    }
    waiting.retain(|txn| !old.contains(&txn.dot()));
}

fn dot_of(record: &Record) -> Option<Dot> {
    match record {
        Record::Own(txn) => Some(txn.dot()),
        Record::Entry(entry) => Some(entry.txn.dot()),
        _ => None,
    }
}
