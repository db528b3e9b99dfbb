//! The engine's core: the replication core with its log, under one lock.
//!
//! Owns: the log's files and the ends of connections. After a crash: the log's records give everything back.
//!
//! Not here: who waits for what (`super`).

use std::collections::BTreeMap;
use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use syncline_base::rng::Rng;
use syncline_base::{Clock, Kind};
use syncline_sync::Error as SyncError;
use syncline_sync::live::{
    Config, Context, Dot, Group, Limits, Message, Node, Output, PeerId, Record, RunPlace, Txn, Write, Zoo,
};
use syncline_sync::log::{Log, LogId, Options, Ticket as Syncing};

use super::super::files;
use super::super::home::Home;
use super::super::scopes::Named;
use super::super::tables::Version;
use super::beside::Beside;
use super::certify::{ONCE, Reads, Strict};
use super::early::Early;
use super::heres::Heres;
use super::keep::Keep;
use super::note::Parcel;
use super::pace::Pace;
use super::renewal::Renewal;
use super::submit::{Begun, Done, Flight, Held};
use super::trust::Trusts;
use super::turns::Turns;
use super::{Committed, Outbox, Outcome, lost, refused, sound};
use crate::segments::Directory;
use crate::{Error, Result};

/// Small segments: a checkpoint gives up whole ones, and what is left of the oldest is read again when the log is opened.
const LOG: Options = Options { segment_bytes: 8 << 20, ..Options::DEFAULT };
/// So many bytes of entries stay in memory for those who follow; who is further behind is sent the rows.
const KEPT_BYTES: usize = 64 << 20;

/// A transaction that is on its way to the disk, or whose writer has not looked yet.
pub(super) struct Waiting {
    pub(super) who: Ticket,
    /// What its writer has read then, if that can be said.
    pub(super) read: Option<Context>,
}

/// Who waits for a transaction to be durable.
pub(super) enum Ticket {
    /// A thread, which looks.
    Waits,
    /// A thread, which has not looked yet.
    Durable(Dot),
    /// Nobody: this is called.
    Call(Done),
}

pub(super) struct Core {
    pub(super) home: Home,
    pub(super) clock: Arc<dyn Clock>,
    pub(super) node: Node,
    pub(super) log: Log<Arc<Directory>>,
    /// Records that go into the log together, when it is synced next.
    group: Group,
    /// Those that went there: the position after them, and how many they are.
    groups: VecDeque<(u64, u64)>,
    /// The position in the log after the last records that the node knows to be durable.
    pub(super) told: u64,
    /// Somebody syncs the log.
    pub(super) led: bool,
    /// The engine's thread has something to do, and was not told so.
    pub(super) wake: bool,
    pub(super) pace: Pace,
    pub(super) early: Early,
    /// How often the log has been opened: positions in memory count from there.
    pub(super) epoch: u64,
    /// Why rows are taken anew, if they are.
    pub(super) renewal: Option<Renewal>,
    /// Why nothing goes on until the log is opened anew.
    pub(super) broken: Option<String>,
    pub(super) closing: bool,
    /// Transactions whose writers have not been told yet.
    pub(super) tickets: BTreeMap<u64, Waiting>,
    pub(super) next_ticket: u64,
    pub(super) flight: Flight,
    /// Transactions that wait for rows in flight, and what came behind them.
    pub(super) held: VecDeque<Held>,
    pub(super) peers: BTreeMap<PeerId, Outbox>,
    pub(super) next_peer: PeerId,
    pub(super) heres: Heres,
    pub(super) turns: Turns,
    /// Grows with every change of what tables are.
    pub(super) tables_version: Version,
    /// Such a change is on its way to the log.
    pub(super) tables_change: bool,
    /// Grows when rows of files may have changed, and whether such a change is on its way to the log.
    pub(super) files: (u64, bool),
    /// What becomes of the log and of rows in memory.
    pub(super) keep: Keep,
    /// What the core told about itself since the engine was opened, for status.
    pub(super) renamed: u64,
    /// For readers and proofs.
    pub(super) beside: Beside,
    pub(super) strict: Strict,
    pub(super) trusts: Trusts,
    /// The clock when a message last came or time last passed.
    pub(super) now_ms: u64,
    /// The scope that the node holds, as far as it can be read, and its bytes.
    pub(super) scope: Option<(Option<Arc<Named>>, Bytes)>,
}

impl std::fmt::Debug for Core {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Core").field("name", &self.node.name()).finish_non_exhaustive()
    }
}

impl Core {
    pub(super) fn open(home: Home, clock: Arc<dyn Clock>) -> Result<Self> {
        let (log, node, checkpoint) = open_log(&home)?;
        let told = log.next();
        let (beside, trusts) = (Beside::new(home.alarms()), Trusts::with(home.distrust()));
        let mut core = Self {
            home,
            clock,
            node,
            group: Group::default(),
            groups: VecDeque::new(),
            told,
            log,
            led: false,
            wake: false,
            pace: Pace::default(),
            early: Early::default(),
            epoch: 0,
            renewal: None,
            broken: None,
            closing: false,
            tickets: BTreeMap::new(),
            next_ticket: 1,
            flight: Flight::default(),
            held: VecDeque::new(),
            peers: BTreeMap::new(),
            next_peer: 1,
            heres: Heres::default(),
            turns: Turns::default(),
            tables_version: Version::default(),
            tables_change: false,
            files: (1, false),
            keep: Keep::new(checkpoint),
            renamed: 0,
            beside,
            strict: Strict::default(),
            trusts,
            now_ms: 0,
            scope: None,
        };
        core.settle_scope();
        core.resume_renewal();
        core.drain();
        Ok(core)
    }

    /// Everything anew from the log, after the disk failed. Who waited for records that were not durable has been told.
    pub(super) fn reopen(&mut self) -> Result<()> {
        let (log, node, checkpoint) = open_log(&self.home)?;
        self.keep = Keep::new(checkpoint);
        self.told = log.next();
        (self.log, self.node) = (log, node);
        self.group = Group::default();
        self.early = Early::default();
        self.groups.clear();
        self.epoch += 1;
        self.flight = Flight::default();
        self.give_up("the log was opened anew");
        self.peers.clear();
        self.heres = Heres::default();
        self.turns = Turns::default();
        self.beside.begin_anew();
        self.strict = Strict::default();
        self.settle_scope();
        self.broken = None;
        self.resume_renewal();
        self.tables_version.grow();
        self.files.0 += 1;
        self.drain();
        tracing::info!("the log of live replication was opened again");
        Ok(())
    }

    pub(super) fn fail(&mut self, error: &SyncError) {
        tracing::error!(%error, "live replication stops until the disk can be written to again");
        self.stop(&error.to_string());
    }

    /// Whether what was seen of rows can be believed. When some could not be read, what this holds is not what it should be: nobody is to be
    /// told of it, and the log is opened anew.
    pub(super) fn believe(&mut self) -> Result<()> {
        self.hidden()?;
        let Some(why) = self.node.trouble().map(ToOwned::to_owned) else { return Ok(()) };
        let known = self.renewal.is_some();
        self.damaged(&why);
        // Others, who may bring what is right, are not let go of for that.
        if !known || self.peers.is_empty() {
            self.stop(&why);
        }
        sound(Some(&why))
    }

    pub(super) fn stop(&mut self, why: &str) {
        self.broken = Some(why.to_owned());
        self.led = false;
        // They come again; what they are owed is in the log or with them.
        self.peers.clear();
        self.turns = Turns::default();
        self.give_up(why);
    }

    /// Does what the core wants done.
    pub(super) fn drain(&mut self) {
        while self.node.has_outputs() {
            // Rows that could not be read are missing in what others would be sent.
            if self.broken.is_none() && self.renewal.is_none() && self.believe().is_err() {
                return;
            }
            for output in self.node.outputs() {
                if self.broken.is_some() {
                    return;
                }
                match output {
                    Output::Append(record) => self.append(&record),
                    Output::Send(peer, message) => self.send(peer, message),
                    Output::Committed(ticket, dot) => self.committed(ticket, dot),
                    Output::Renamed(name) => {
                        self.renamed += 1;
                        tracing::info!(%name, "this replica writes under a new name");
                    }
                    Output::Rewritten(txns) => {
                        tracing::info!(transactions = txns.len(), "waiting transactions were written again");
                    }
                    Output::Denied(peer, dot, why) => self.denied(peer, dot, why),
                    Output::Doubted(peer, dot, why) => self.doubted(peer, dot, why),
                    Output::Contradicted(peer, head) => self.contradicted(peer, &head),
                }
            }
        }
    }

    fn committed(&mut self, ticket: u64, dot: Dot) {
        match self.tickets.remove(&ticket) {
            Some(Waiting { who: Ticket::Call(done), read }) => done(Ok(self.receipt(dot, read))),
            Some(Waiting { read, .. }) => {
                self.tickets.insert(ticket, Waiting { who: Ticket::Durable(dot), read });
            }
            // Its writer has given up.
            None => {}
        }
    }

    /// What the writer of a durable transaction is told.
    pub(super) fn receipt(&self, dot: Dot, read: Option<Context>) -> Committed {
        let taken = self.node.is_hub() && self.node.state().pending().len() == 0;
        Committed { dot, position: self.node.context(), read, taken }
    }

    /// Gives the node a transaction, unless it writes a row in flight: then it waits until that is durable. What is in flight nobody can
    /// have read; two writers of one row at one node are to overwrite each other, not to be in conflict.
    pub(super) fn begin(
        &mut self,
        now_ms: u64,
        reads: &Reads,
        write: &mut dyn FnMut(&Node) -> Result<Vec<Write>>,
    ) -> Result<Begun> {
        if let Some(begun) = self.before(reads) {
            return Ok(begun);
        }
        self.hidden()?;
        let mut writes = write(&self.node)?;
        self.believe()?;
        self.check_scope(&writes)?;
        let mut rows = Flight::rows(&writes);
        if self.flight.has_any(&rows, self.told) {
            return Ok(Begun::Waits);
        }
        if !self.certify(reads, &mut writes, &mut rows)? {
            return Ok(Begun::Waits);
        }
        let read = reads.at.as_ref();
        let had = read.is_some_and(|read| self.has_read_own(read));
        let context = read.cloned().unwrap_or_else(|| self.node.context());
        let ticket = self.next_ticket;
        let dot = self.node.commit(now_ms, ticket, context, writes).map_err(refused)?;
        self.next_ticket += 1;
        self.tickets.insert(ticket, Waiting { who: Ticket::Waits, read: None });
        self.drain();
        let read = read.and_then(|read| self.beside.with_own(read.clone(), dot, had));
        if let Some(waiting) = self.tickets.get_mut(&ticket) {
            waiting.read = read;
        }
        // Where the group that has it will end.
        let until = self.log.next() + u64::from(!self.group.is_empty());
        self.flight.add(&rows, until, self.told);
        Ok(Begun::Ticket(ticket))
    }

    /// Has `done` called for a transaction that has begun.
    pub(super) fn call(&mut self, ticket: u64, done: Done) {
        match self.tickets.get_mut(&ticket) {
            Some(waiting) => waiting.who = Ticket::Call(done),
            None => done(Err(lost(self.broken.as_deref().unwrap_or("the log was opened anew")))),
        }
    }

    /// Gives the node what waited for rows that were in flight, as far as they are durable.
    pub(super) fn release(&mut self, now_ms: u64) {
        while self.broken.is_none()
            && let Some(mut held) = self.held.pop_front()
        {
            match self.begin(now_ms, &held.reads, &mut held.write) {
                Ok(Begun::Waits) => {
                    self.held.push_front(held);
                    return;
                }
                Ok(Begun::Ticket(ticket)) => self.call(ticket, held.done),
                Ok(Begun::Before(committed)) => (held.done)(Ok(committed)),
                Err(error) => (held.done)(Err(error)),
            }
        }
    }

    /// Tells everybody who waits for a transaction that nobody knows what became of it.
    fn give_up(&mut self, why: &str) {
        for held in std::mem::take(&mut self.held) {
            (held.done)(Err(lost(why)));
        }
        for (_, waiting) in std::mem::take(&mut self.tickets) {
            if let Ticket::Call(done) = waiting.who {
                done(Err(lost(why)));
            }
        }
    }

    fn append(&mut self, record: &Record) {
        self.tables_change |= changes(record, |table| table.starts_with('.') && ![files::TABLE, ONCE].contains(&table));
        self.files.1 |= changes(record, |table| table == files::TABLE);
        self.note_early(record);
        if self.group.is_full_for(record)
            && let Err(error) = self.gather()
        {
            return self.fail(&error);
        }
        // What is gathered goes there.
        self.beside.appended(record, self.node.name(), self.log.next());
        self.group.push(record);
    }

    /// Gives the log what was appended.
    pub(super) fn gather(&mut self) -> Result<(), SyncError> {
        if !self.group.is_empty() {
            let records = self.group.len();
            let position = self.log.append(&self.group.take())?;
            self.groups.push_back((position + 1, records));
        }
        Ok(())
    }

    /// Whether something was appended that the node does not know to be durable.
    pub(super) fn unsynced(&self) -> bool {
        !self.group.is_empty() || self.log.next() > self.told
    }

    /// The position in the log after all that was appended.
    pub(super) fn appended(&mut self) -> u64 {
        if let Err(error) = self.gather() {
            self.fail(&error);
        }
        self.log.next()
    }

    /// Whether everything before a position is durable, and the node knows it.
    pub(super) const fn is_told(&self, position: u64) -> bool {
        self.told >= position
    }

    /// Writes what was appended; the file that is to be synced then, if there is one.
    pub(super) fn start_sync(&mut self) -> Result<Option<Syncing>, SyncError> {
        self.gather()?;
        self.early.syncs();
        self.log.start_sync()
    }

    /// Tells the node what has become durable; how many records that are.
    pub(super) fn tell_durable(&mut self, now: Duration) -> u64 {
        self.told = self.log.durable();
        self.early.synced();
        let mut fresh = 0;
        while let Some((_, records)) = self.groups.pop_front_if(|(position, _)| *position <= self.told) {
            fresh += records;
        }
        self.take_effect(fresh, now);
        self.end_renewal();
        // As they come, not many at once: nobody waits for that, and their memory is that of the next ones.
        self.node.cut_log_to(KEPT_BYTES);
        if self.tables_change {
            self.tables_version.grow();
            self.tables_change = self.unsynced();
            self.recheck_served();
        }
        if self.files.1 {
            self.files = (self.files.0 + 1, self.unsynced());
        }
        fresh
    }

    /// The bytes that go to the log next, when all before them is durable.
    pub(super) fn gathered_bytes(&self) -> Option<usize> {
        (self.log.next() == self.told).then(|| self.group.bytes())
    }

    fn send(&mut self, peer: PeerId, message: Message) {
        match message {
            Message::Here(through) => self.say_here(peer, through),
            message => self.send_parcel(peer, Parcel::Message(message)),
        }
    }

    pub(super) fn send_parcel(&mut self, peer: PeerId, parcel: Parcel) {
        let gone = self.peers.get(&peer).is_some_and(|outbox| outbox(parcel) == Outcome::Gone);
        if gone {
            self.peers.remove(&peer);
            self.heres.forget(peer);
            self.turns.forget(peer);
            self.node.disconnected(peer);
        }
    }

    pub(super) fn tick(&mut self, now_ms: u64) {
        self.now_ms = now_ms;
        self.node.log_heads();
        self.drain();
        if !self.peers.is_empty() {
            self.node.tick_peers(now_ms);
            self.drain();
        }
    }
}

/// The log with the node that it gives, and the bytes of its last checkpoint; makes both when there is none.
///
/// Rows that cannot be read are no reason not to open it: the node says so ([`Node::trouble`]).
fn open_log(home: &Home) -> Result<(Log<Arc<Directory>>, Node, u64)> {
    match open_log_with(home, false) {
        Err(error) if error.kind() == Kind::Corrupt => open_log_with(home, true).map_err(|_| error),
        opened => opened,
    }
}

fn open_log_with(home: &Home, damaged: bool) -> Result<(Log<Arc<Directory>>, Node, u64)> {
    let mut log = open_files(home)?;
    let path = home.rows();
    let place = RunPlace::new(Directory::create(&path).map_err(Error::io("creating", &path))?);
    let config = || Config {
        signer: home.signer(),
        rng: Rng::from_os(),
        limits: Limits { kept_bytes: KEPT_BYTES, ..Limits::default() },
        runs: Some(place.clone()),
        damaged,
        zoo: Zoo::default(),
    };
    let (mut at, end) = (log.first(), log.next());
    if at == end {
        let hub = home.upstream()?.is_none();
        let mut node = Node::create(config(), hub);
        node.sign_elsewhere();
        return Ok((log, node, 0));
    }
    let mut ready = VecDeque::new();
    // Of the last checkpoint, and of parts that may become one.
    let (mut checkpoint, mut parts) = (0, 0);
    let records = std::iter::from_fn(|| {
        if ready.is_empty() {
            if at == end {
                return None;
            }
            match log.read(at..end, 1 << 20) {
                Ok(records) => {
                    at = records.next();
                    ready.extend(records.iter().map(|(_, bytes)| bytes));
                }
                Err(error) => {
                    at = end;
                    return Some(Err(error));
                }
            }
        }
        ready.pop_front().map(|bytes: Bytes| {
            let len = bytes.len() as u64;
            let records = Record::decode(bytes)?;
            // Each of them has one for itself.
            match &records[..] {
                [Record::Part(_)] => parts += len,
                [Record::Checkpoint(_)] => (checkpoint, parts) = (parts + len, 0),
                _ => parts = 0,
            }
            Ok(records)
        })
    });
    let records = records.flat_map(|records| match records {
        Ok(records) => records.into_iter().map(Ok).collect(),
        Err(error) => vec![Err(error)],
    });
    let mut node = Node::open(config(), records, home.moved())?;
    node.sign_elsewhere();
    // What a crash left behind of others.
    place.keep_only(&node.needs())?;
    Ok((log, node, checkpoint))
}

fn open_files(home: &Home) -> Result<Log<Arc<Directory>>> {
    let path = home.log();
    let disk = Arc::new(Directory::create(&path).map_err(Error::io("creating", &path))?);
    match Log::open(Arc::clone(&disk), None, LOG) {
        Ok((log, recovered)) => {
            if recovered.cut_bytes > 0 {
                tracing::info!(bytes = recovered.cut_bytes, "the log ended in what a crash left half written");
            }
            Ok(log)
        }
        Err(error) if error.kind() == Kind::NotFound => Ok(Log::create(disk, new_id(), 0, LOG)?),
        Err(error) => Err(error.into()),
    }
}

/// A log's id, drawn at random.
pub(in crate::live) fn new_id() -> LogId {
    let mut id = [0; 16];
    id.chunks_mut(8).for_each(|part| Rng::from_os().fill(part));
    id
}

/// Whether a record may change one of some tables.
pub(super) fn changes(record: &Record, table: impl Fn(&str) -> bool) -> bool {
    let writes = |txn: &Txn| txn.body().writes.iter().any(|write| table(&write.row.table));
    match record {
        Record::Own(txn) => writes(txn),
        Record::Entry(entry) => writes(&entry.txn),
        Record::Named(_) | Record::Hub(_) | Record::Scope(_) | Record::Signed(_) => false,
        _ => true,
    }
}
