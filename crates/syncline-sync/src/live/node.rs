//! A node as a state machine: clients, peers and its log go in, records and messages come out. No I/O, no clock, no threads.
//!
//! Owns: what is durable ([`State`]), and what has been appended to the log and is not yet. Whoever drives it writes every
//! [`Output::Append`] in order and calls [`Node::synced`] when they are durable. Only then do they take effect: nothing that
//! is not durable is shown to a reader, sent to a peer or acknowledged to a writer, so there is nothing to take back after a crash.
//! One exception is for whoever drives the node to make ([`Node::show`]): a spoke shows what hubs have before its own disk has it.
//!
//! After a crash: [`Node::open`] reads the log's records again. Peers are met anew.
//!
//! Not here: bytes on disk (`crate::log`), connections, and how conflicts are shown.

mod coming;
mod compare;
mod durable;
mod fold;
mod keep;
mod kept;
mod limits;
mod name;
mod peers;
mod pump;
mod renew;
mod scope;
mod strict;
mod trust;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

use bytes::Bytes;
use syncline_base::Hlc;
use syncline_base::rng::Rng;

use super::chain::{Chains, knows};
use super::context::{Context, Coverage, MAX_HUBS};
use super::head::{Head, Signer};
use super::id::{Dot, Origin, Stamp, Tag};
use super::message::{Denial, Message};
use super::offer::Sums;
use super::part::PartsId;
use super::pending::Pending;
use super::record::{Record, Rewritten};
use super::row::{Row, Sibling};
use super::runs::{Place as RunPlace, RunName, Runs};
use super::state::{Snapshot, State};
use super::table::Rows;
use super::txn::{Body, Entry, RowKey, Txn, Write, too_long};
use super::zoo::{Bug, Zoo};
use crate::error::{Error, Result};
use coming::Coming;
pub use fold::{Fold, Merge};
use kept::Kept;
pub use limits::Limits;
use peers::{Due, Peer};
use pump::{Frozen, Made};
use renew::Renewal;
pub use strict::Clash;
pub use trust::KEYS;
use trust::Trust;

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
    /// The node writes under another name now, and that is durable: it is new, or was restored, copied or rolled back.
    Renamed(Origin),
    /// Waiting transactions stood on a branch that hubs refuse, and were written again, and that is durable: old and new.
    Rewritten(Vec<(Dot, Arc<Txn>)>),
    /// A hub, which the peer is, does not take this transaction of the node in, nor those after it, and says why. They wait on.
    Denied(PeerId, Dot, Denial),
    /// What a peer sent was not taken, because of its signature: the first transaction of it, without its tag, and why.
    Doubted(PeerId, Dot, Denial),
    /// A peer sent a signed head that contradicts the chain that is here. It is in the log.
    Contradicted(PeerId, Arc<Head>),
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
    /// No hub would take it in.
    #[error(
        "the key of this replica is revoked, so no hub takes in what is written here; what was written before and waits is kept: \
         `syncline get` shows it; write at another replica"
    )]
    Revoked,
    /// Rows are being taken anew.
    #[error(
        "rows of this replica are damaged and are being taken anew from another one: write again when they are here, or at another replica"
    )]
    Damaged,
}

/// Something that was appended and is not durable yet.
#[derive(Debug)]
struct Queued {
    record: Record,
    /// Whether it is an entry that another node made.
    others: bool,
    /// Whether an entry's transaction had not come before.
    new: bool,
    /// What had been appended before a join or a checkpoint, and what is joined.
    joins: Option<Box<Joins>>,
    /// All that is written again, with the last of it.
    again: Option<Rewritten>,
    ticket: Option<u64>,
}

/// Another node's state, or a checkpoint's, and what had been appended before it.
#[derive(Debug)]
struct Joins {
    had: Chains,
    snapshot: Snapshot,
    waiting: Vec<Arc<Txn>>,
    /// Whether it takes the place of what was there.
    replaces: bool,
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
    /// Entries before those that took effect and are not durable.
    shown: VecDeque<Stamp>,
    /// How many records were ever queued, and how many of them are durable.
    records: u64,
    durable: u64,
    /// Its own transactions that it has no entry of, with what is queued.
    waiting: Pending,
    /// Transactions that come with entries in the queue and were not here before.
    arriving: BTreeSet<Dot>,
    /// Those that are being written again.
    rewriting: BTreeSet<Dot>,
    /// What has been read or written of a rewriting that more records belong to.
    again: Option<Rewritten>,
    /// What it holds is what is inside this, with what is queued; empty: everything.
    scope: Bytes,
    /// Another node's state, on its way here.
    coming: Option<Coming>,
    /// Whether rows are being taken anew.
    renewal: Renewal,
    /// Where runs of rows lie, if there is such a place; and those of the checkpoint that is being read.
    runs: Option<RunPlace>,
    /// Whether it is opened although some of them cannot be.
    damaged: bool,
    below: Option<Arc<Runs>>,
    /// Those that the checkpoint names from which it was opened.
    named: Vec<RunName>,
    kept: Kept,
    changed: strict::Changed,
    peers: BTreeMap<PeerId, Peer>,
    /// How many connections there have been.
    connections: u64,
    /// Whom to tell what, once so many records are durable.
    dues: VecDeque<Due>,
    /// Room for those who are told; empty.
    told: Vec<PeerId>,
    /// The entries that were made into messages last, one of each scope.
    made: Vec<Made>,
    /// The state that is sent to those who cannot be brought up by entries.
    frozen: Option<Arc<Frozen>>,
    /// When that was last asked for.
    frozen_ms: u64,
    /// What the rows of its parts hash to, by what it is called inside each scope.
    sums: BTreeMap<PartsId, Sums>,
    /// Damaged rows, to be compared.
    aside: Option<Rows>,
    limits: Limits,
    /// How many messages may be on their way to a peer.
    messages: usize,
    signer: Arc<dyn Signer>,
    trust: Trust,
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
    /// The node's key.
    pub signer: Arc<dyn Signer>,
    /// Draws names. Seed it from the operating system ([`Rng::from_os`]) each time that a node is created or opened, never from anything
    /// that is kept: a copy of a process or of a disk would draw the same name again, and two nodes would write under it. For the same
    /// reason a process that may be copied while it runs (forked, a virtual machine resumed from a snapshot) is opened anew after that,
    /// as moved.
    pub rng: Rng,
    /// How much at once.
    pub limits: Limits,
    /// Where rows lie that need not be in memory; without it all are.
    pub runs: Option<RunPlace>,
    /// Opens it although runs are not there or not what was written: [`Node::trouble`] says so then, and its rows are none.
    pub damaged: bool,
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

    /// A spoke that holds nothing but transactions that wait for a hub, written under names that it had before.
    #[must_use]
    pub fn create_with(config: Config, waiting: impl Iterator<Item = Arc<Txn>>) -> Self {
        let mut node = Self::create(config, false);
        waiting.for_each(|txn| node.append(Record::Own(txn), None));
        node
    }

    fn blank(config: Config) -> Self {
        let Config { signer, rng, limits, runs, damaged, zoo } = config;
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
            shown: VecDeque::new(),
            records: 0,
            durable: 0,
            waiting: Pending::default(),
            arriving: BTreeSet::new(),
            rewriting: BTreeSet::new(),
            again: None,
            scope: Bytes::new(),
            coming: None,
            renewal: Renewal::None,
            runs,
            damaged,
            below: None,
            named: Vec::new(),
            kept: Kept::default(),
            changed: strict::Changed::default(),
            peers: BTreeMap::new(),
            connections: 0,
            dues: VecDeque::new(),
            told: Vec::new(),
            made: Vec::new(),
            frozen: None,
            frozen_ms: 0,
            sums: BTreeMap::new(),
            aside: None,
            limits,
            messages: limits.messages(1),
            signer,
            trust: Trust::default(),
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
        // A log may begin anywhere in what a checkpoint further on stands for: in the middle of an older checkpoint's parts, too.
        let (mut stands, mut cut) = (false, None);
        let mut records = records.peekable();
        while let Some(record) = records.next() {
            // As if rows were recorded one by one, and a crash had come after the first of the last transaction.
            node.state.torn = node.zoo.has(Bug::TornTransactions) && records.peek().is_none();
            let record = record?;
            match node.check(&record) {
                Ok(()) => {}
                // Its runs may have been given up since, for those of a checkpoint further on.
                Err(error) if matches!(&record, Record::Checkpoint(checkpoint) if checkpoint.below.is_some()) => {
                    (stands, cut) = (false, cut.or(Some(error)));
                    continue;
                }
                Err(error) if !stands => {
                    cut = cut.or(Some(error));
                    continue;
                }
                Err(error) => return Err(error),
            }
            if let Record::Checkpoint(checkpoint) = &record {
                (stands, cut) = (true, None);
                node.begin_anew();
                node.named = checkpoint.below.as_ref().map(|below| below.runs.clone()).unwrap_or_default();
            }
            node.append(record, None);
            node.apply_queued();
            // It has been done.
            node.out.clear();
            node.cut_log_to(node.limits.kept_bytes);
        }
        if let Some(error) = cut {
            return Err(error);
        }
        node.state.torn = false;
        // What a crash left of a rewriting has never happened.
        node.again = None;
        if node.name == Origin::from_bytes([0; 16]) {
            return Err(Error::Invalid(
                "a replica's log does not say its name: it was never made, or its beginning is gone".into(),
            ));
        }
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

    #[cfg(test)]
    pub(super) fn signer(&self) -> Arc<dyn Signer> {
        self.signer.clone()
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

    /// The same, without a copy where nothing waits.
    #[must_use]
    pub fn look(&self, key: &RowKey) -> Arc<Row> {
        self.state.look(key, &self.chains)
    }

    /// Rows of one table as clients see them, by key, from a key on.
    pub fn rows_from<'a>(&'a self, from: &RowKey) -> impl Iterator<Item = (RowKey, Arc<Row>)> + use<'a> {
        self.state.look_from(from, &self.chains)
    }

    /// At most `most` of them, to keep.
    #[must_use]
    pub fn view_from(&self, from: &RowKey, most: usize) -> Vec<(RowKey, Row)> {
        self.rows_from(from).take(most).map(|(key, row)| (key, Arc::unwrap_or_clone(row))).collect()
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

    /// The same, into a buffer whose room the node goes on with; what was in there is gone.
    pub fn outputs_into(&mut self, buffer: &mut Vec<Output>) {
        buffer.clear();
        std::mem::swap(&mut self.out, buffer);
    }

    /// Whether some outputs wait.
    #[must_use]
    pub fn has_outputs(&self) -> bool {
        !self.out.is_empty()
    }

    /// A client's transaction. [`Output::Committed`] with `ticket` follows when it is durable.
    ///
    /// # Errors
    /// When the client has read something that is not here, or its writes are not a transaction, or one that is too large. Nothing has
    /// changed then.
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
        if self.is_revoked(&self.signer.public()) {
            return Err(Refusal::Revoked);
        }
        if self.renews() {
            return Err(Refusal::Damaged);
        }
        let read = if self.zoo.has(Bug::CommitTimeContext) { self.context() } else { read };
        let hlc = self.tick(now_ms);
        let body = Body { origin: self.name, seq: self.own.0 + 1, prev: self.own.1, read, hlc, writes };
        let txn = Arc::new(Txn::new(body).map_err(|error| Refusal::Invalid(error.to_string()))?);
        if txn.bytes().len() > self.limits.txn_bytes {
            return Err(Refusal::Invalid(too_long(txn.bytes().len(), self.limits.txn_bytes)));
        }
        let dot = txn.dot();
        // What it wrote before it was a hub, and may have read, is taken in first.
        if self.hub && self.waiting.is_empty() {
            if !self.coverage.has_room(self.name) {
                return Err(Refusal::Invalid(format!(
                    "this hub would be one more than the {MAX_HUBS} that replicas of a dataset can count: write at one of the others"
                )));
            }
            self.take_in(now_ms, txn, Some(ticket));
        } else {
            self.append(Record::Own(txn), Some(ticket));
        }
        Ok(dot)
    }

    /// Whether a reader could have been shown all of a context here.
    #[must_use]
    pub fn shows(&self, read: &Context) -> bool {
        let came = |dot: &Dot| knows(&self.chains, dot) && !self.arriving.contains(dot);
        // What is being written again will be called otherwise in a moment.
        let waits = |dot: &Dot| self.state.pending.contains(dot) && !self.rewriting.contains(dot);
        self.state.coverage.includes(&read.seen) && read.own.iter().all(|dot| waits(dot) || came(dot))
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
    pub fn waiting(&self) -> impl Iterator<Item = &Arc<Txn>> {
        self.waiting.iter()
    }

    fn knows(&self, dot: &Dot) -> bool {
        knows(&self.chains, dot) || self.waiting.contains(dot)
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

    /// Takes a hub's part from here on, or gives it up. What waited is taken in, once it is durable. A node that does not hold everything
    /// takes no hub's part.
    pub fn set_hub(&mut self, now_ms: u64, hub: bool) {
        self.now_ms = now_ms;
        if hub == self.hub || (hub && !self.scope.is_empty()) {
            return;
        }
        // A copy of this node may be made a hub too: nobody counts stamps under a name that was written under before.
        if hub {
            self.rename();
        }
        self.append(Record::Hub(hub), None);
    }
}

fn dot_of(record: &Record) -> Option<Dot> {
    match record {
        Record::Own(txn) => Some(txn.dot()),
        Record::Entry(entry) => Some(entry.txn.dot()),
        _ => None,
    }
}
