//! A replica's live part at work: the replication core, its log, and everybody who waits for one of them.
//!
//! Callers come on threads of their own and block. Whoever finds records that are not durable, and nobody at it, makes them
//! durable for all (leader and followers: one sync serves everybody who came before it). A thread of the engine does so for
//! records that nobody waits for, and tells the core that time passes.
//!
//! Owns: the log's files, through the lock of [`Home`]; the core; the ends of connections. After a crash: the log's records give the core
//! back, nothing that was acknowledged, sent or shown is missing. When the disk fails, everybody who waits is told so, connections end,
//! and the next caller opens the log anew.
//!
//! Not here: rows and tables (`rows`), sockets, and what a verb means (`crate::ops`).

use std::collections::BTreeMap;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use syncline_base::rng::Rng;
use syncline_base::{Clock, Hash, Kind, task};
use syncline_sync::Error as SyncError;
use syncline_sync::live::{
    Config, Context, Coverage, Dot, Entry, Message, Node, Output, PeerId, Record, Refusal, Write,
};
use syncline_sync::log::{Disk, Log, LogId, Options};

use super::home::{self, Home};
use super::tables::Cache;
use super::token;
use crate::segments::Directory;
use crate::{Error, Result};

/// How often the core is told that time passes.
const TICK: Duration = Duration::from_millis(500);
/// Records are folded into a checkpoint when the log has grown by so many bytes since the last one, and by as much as that was.
const CHECKPOINT_BYTES: u64 = 64 << 20;
/// So many bytes of entries stay in memory for those who follow; who is further behind is sent the rows.
const KEPT_ENTRIES: usize = 200_000;

/// What a connection is sent. Called in order, under the engine's lock: it must not block.
pub type Outbox = Box<dyn Fn(Message) -> Outcome + Send>;

/// What became of a message that was to go out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// It is on its way.
    Sent,
    /// Nobody takes messages there any more.
    Gone,
}

/// A transaction that is durable.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Committed {
    /// Its identity.
    pub dot: Dot,
    /// What somebody has read who has read it and all that was here before.
    pub position: Context,
    /// Whether a hub has taken it in: this one.
    pub taken: bool,
}

/// The live part of one replica, open. Cheap to clone; the last one closes it.
#[derive(Debug, Clone)]
pub struct Engine {
    shared: Arc<Shared>,
    _open: Arc<Closer>,
}

/// What ends the engine's thread.
#[derive(Debug)]
struct Closer(Arc<Shared>, Mutex<Option<std::thread::JoinHandle<()>>>);

impl Drop for Closer {
    fn drop(&mut self) {
        self.0.lock().closing = true;
        self.0.work.notify_all();
        if let Some(thread) = self.1.lock().unwrap_or_else(PoisonError::into_inner).take() {
            // It says in its log why it failed, if it did.
            let _ = thread.join();
        }
    }
}

#[derive(Debug)]
struct Shared {
    clock: Arc<dyn Clock>,
    core: Mutex<Core>,
    /// Somebody's records became durable, or the disk failed.
    durable: Condvar,
    /// There is work for the engine's thread.
    work: Condvar,
    /// The state has changed.
    news: Condvar,
    tables: Cache,
}

struct Core {
    home: Home,
    node: Node,
    log: Log<Arc<Directory>>,
    /// The position after the last record that the node knows to be durable.
    told: u64,
    /// Somebody syncs the log.
    led: bool,
    /// Why nothing goes on until the log is opened anew.
    broken: Option<String>,
    closing: bool,
    /// Transactions that are durable and whose writers have not looked yet; `None` until they are.
    tickets: BTreeMap<u64, Option<Dot>>,
    next_ticket: u64,
    peers: BTreeMap<PeerId, Outbox>,
    next_peer: PeerId,
    /// Grows with every change of what tables are.
    tables_version: u64,
    /// Such a change is on its way to the log.
    tables_change: bool,
    /// Where the last checkpoint stands in the log, and the log's bytes then.
    checkpoint: (u64, u64),
    /// What the core told about itself since the engine was opened, for status.
    renamed: u64,
}

impl std::fmt::Debug for Core {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Core").field("name", &self.node.name()).finish_non_exhaustive()
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Core> {
        // A thread that panicked with the lock has left a core that may be half changed; its records are as good as before.
        self.core.lock().unwrap_or_else(|poisoned| {
            let mut core = poisoned.into_inner();
            core.broken.get_or_insert_with(|| "a thread failed while it worked on it".to_owned());
            self.core.clear_poison();
            core
        })
    }
}

impl Engine {
    /// Opens the live part of a replica, or makes it: a hub, unless the home names an upstream.
    ///
    /// # Errors
    /// The log's; `corrupt` when records that were durable are missing.
    pub fn open(home: Home, clock: Arc<dyn Clock>) -> Result<Self> {
        let core = Core::open(home)?;
        let shared = Arc::new(Shared {
            clock,
            core: Mutex::new(core),
            durable: Condvar::new(),
            work: Condvar::new(),
            news: Condvar::new(),
            tables: Cache::default(),
        });
        let worker = Arc::clone(&shared);
        let thread = task::spawn("syncline-live", move || run(&worker))
            .map_err(|error| unavailable("starting live replication", &error.to_string()))?;
        let closer = Closer(Arc::clone(&shared), Mutex::new(Some(thread)));
        let engine = Self { shared, _open: Arc::new(closer) };
        engine.settle_identity()?;
        Ok(engine)
    }

    /// Makes the first records durable, among them a new name where this may be a copy, and remembers that.
    fn settle_identity(&self) -> Result<()> {
        let mut core = self.lock()?;
        let hub = core.home.upstream()?.is_none();
        core.node.set_hub(self.shared.clock.now_ms(), hub);
        core.drain();
        let mut core = self.wait_durable(core)?;
        core.home.settle()
    }

    /// The core, ready for work.
    fn lock(&self) -> Result<MutexGuard<'_, Core>> {
        let mut core = self.shared.lock();
        if let Some(why) = core.broken.clone() {
            if core.led {
                return Err(unavailable("live replication", &why));
            }
            core.reopen()?;
            self.shared.news.notify_all();
        }
        Ok(core)
    }

    /// Commits a transaction of a client who has read `read`, or, with `None`, all that is here. Returns when it is durable.
    ///
    /// # Errors
    /// `conflict` when the client has read what is not here yet; `invalid` when the writes are no transaction; `unavailable` when the disk
    /// failed: then the transaction may be durable or not, which opening the log again tells.
    pub fn commit(&self, read: Option<Context>, writes: Vec<Write>) -> Result<Committed> {
        self.commit_with(read, |_| Ok(writes))
    }

    /// As [`Self::commit`]; `write` makes the writes of what is here when the transaction is made.
    ///
    /// # Errors
    /// As [`Self::commit`], and those of `write`.
    pub fn commit_with(
        &self,
        read: Option<Context>,
        write: impl FnOnce(&Node) -> Result<Vec<Write>>,
    ) -> Result<Committed> {
        let mut core = self.lock()?;
        let writes = write(&core.node)?;
        let ticket = core.next_ticket;
        core.next_ticket += 1;
        let read = read.unwrap_or_else(|| core.node.context());
        core.node.commit(self.shared.clock.now_ms(), ticket, read, writes).map_err(refused)?;
        core.tickets.insert(ticket, None);
        core.drain();
        loop {
            if let Some(Some(dot)) = core.tickets.get(&ticket) {
                let dot = *dot;
                core.tickets.remove(&ticket);
                let position = core.node.context();
                return Ok(Committed { dot, position, taken: core.node.is_hub() });
            }
            if !core.tickets.contains_key(&ticket) || core.broken.is_some() {
                core.tickets.remove(&ticket);
                let why = core.broken.clone().unwrap_or_else(|| "the log was opened anew".to_owned());
                let why = format!("{why}; it may have become durable all the same: look before you write it again");
                return Err(unavailable("writing a transaction", &why));
            }
            core = self.step(core);
        }
    }

    /// Waits until all that was appended is durable.
    fn wait_durable<'a>(&'a self, mut core: MutexGuard<'a, Core>) -> Result<MutexGuard<'a, Core>> {
        let until = core.log.next();
        while core.told < until {
            if let Some(why) = &core.broken {
                return Err(unavailable("writing to the log", why));
            }
            core = self.step(core);
        }
        Ok(core)
    }

    /// Makes what waits durable, or waits for who does.
    fn step<'a>(&'a self, core: MutexGuard<'a, Core>) -> MutexGuard<'a, Core> {
        if core.led || core.log.next() == core.told {
            return self.shared.durable.wait(core).unwrap_or_else(PoisonError::into_inner);
        }
        lead(&self.shared, core)
    }

    /// Who this replica is, whatever name it writes under: 32 hex digits.
    ///
    /// # Errors
    /// As [`Self::read`].
    pub fn id(&self) -> Result<String> {
        let key = self.lock()?.home.key();
        Ok(home::hex(&Hash::of(&key).as_bytes()[..16]))
    }

    pub(super) fn cache(&self) -> &Cache {
        &self.shared.tables
    }

    /// Looks at what is here. Nobody writes meanwhile: be quick.
    ///
    /// # Errors
    /// When the log cannot be opened again after the disk failed.
    pub fn read<R>(&self, look: impl FnOnce(&Node) -> R) -> Result<R> {
        Ok(look(&self.lock()?.node))
    }

    /// As [`Self::read`], once everything in `position` is here.
    ///
    /// # Errors
    /// `unavailable` when it has not come in time.
    pub fn read_at<R>(&self, position: &Context, patience: Duration, look: impl FnOnce(&Node) -> R) -> Result<R> {
        let mut core = self.lock()?;
        let until = self.shared.clock.monotonic() + patience;
        while !core.node.shows(position) {
            let now = self.shared.clock.monotonic();
            if now >= until {
                let why = format!(
                    "it has not come here within {} ms (here is {}); wait longer, or read where it was written",
                    patience.as_millis(),
                    token::of_context(&core.node.context())
                );
                return Err(unavailable("reading after a position", &why));
            }
            core = self.shared.news.wait_timeout(core, until - now).unwrap_or_else(PoisonError::into_inner).0;
        }
        Ok(look(&core.node))
    }

    /// A number that grows with every change of what tables are, with `look`'s answer at that moment.
    ///
    /// # Errors
    /// As [`Self::read`].
    pub fn read_tables<R>(&self, look: impl FnOnce(&Node, u64) -> R) -> Result<R> {
        let core = self.lock()?;
        Ok(look(&core.node, core.tables_version))
    }

    /// Entries that are not in `after`, in this replica's order, at most `most`; waits for the first until `patience` is over. `None`
    /// when `after` is older than what is kept.
    ///
    /// # Errors
    /// As [`Self::read`].
    pub fn entries_after(
        &self,
        cursor: &mut Cursor,
        most: usize,
        patience: Duration,
    ) -> Result<Option<Vec<Arc<Entry>>>> {
        let mut core = self.lock()?;
        let until = self.shared.clock.monotonic() + patience;
        loop {
            let (generation, at) = cursor.at.unwrap_or((core.node.generation(), 0));
            if generation != core.node.generation() || at < core.node.first() {
                if !cursor.coverage.includes(core.node.base()) {
                    return Ok(None);
                }
                cursor.at = Some((core.node.generation(), core.node.first()));
                continue;
            }
            let mut found = Vec::new();
            let mut next = at;
            for entry in core.node.entries_from(at) {
                if found.len() == most {
                    break;
                }
                next += 1;
                if !cursor.coverage.has(entry.stamp) {
                    found.push(Arc::clone(entry));
                }
            }
            cursor.at = Some((generation, next));
            if !found.is_empty() {
                for entry in &found {
                    cursor.coverage.raise(entry.stamp.hub, entry.stamp.n);
                }
                return Ok(Some(found));
            }
            let now = self.shared.clock.monotonic();
            if now >= until || core.closing {
                return Ok(Some(found));
            }
            core = self.shared.news.wait_timeout(core, until - now).unwrap_or_else(PoisonError::into_inner).0;
            if core.broken.is_some() {
                return Ok(Some(found));
            }
        }
    }

    /// A connection to another replica is there: what it is to be sent goes to `outbox`, until [`Self::disconnect`], or until the disk
    /// fails; then the outbox is dropped.
    ///
    /// # Errors
    /// As [`Self::read`].
    pub fn connect(&self, outbox: Outbox) -> Result<PeerId> {
        let mut core = self.lock()?;
        let peer = core.next_peer;
        core.next_peer += 1;
        core.peers.insert(peer, outbox);
        core.node.connected(peer);
        core.drain();
        Ok(peer)
    }

    /// A connection is gone.
    pub fn disconnect(&self, peer: PeerId) {
        let mut core = self.shared.lock();
        if core.peers.remove(&peer).is_some() {
            core.node.disconnected(peer);
            core.drain();
        }
    }

    /// A message came. False when the connection was given up here.
    ///
    /// # Errors
    /// As [`Self::read`].
    pub fn receive(&self, peer: PeerId, message: Message) -> Result<bool> {
        let mut core = self.lock()?;
        if !core.peers.contains_key(&peer) {
            return Ok(false);
        }
        core.node.receive(self.shared.clock.now_ms(), peer, message);
        core.drain();
        if core.log.next() > core.told {
            self.shared.work.notify_one();
        }
        Ok(true)
    }

    /// Takes transactions to `url` from here on, or, with `None`, takes them in itself.
    ///
    /// # Errors
    /// The file system's and the log's.
    pub fn set_upstream(&self, url: Option<&str>) -> Result<()> {
        let mut core = self.lock()?;
        core.home.set_upstream(url)?;
        core.node.set_hub(self.shared.clock.now_ms(), url.is_none());
        core.drain();
        self.wait_durable(core).map(|_| ())
    }

    /// Tells other processes on this machine where this one serves the replica.
    ///
    /// # Errors
    /// The file system's.
    pub fn tell(&self, url: Option<&str>) -> Result<()> {
        self.lock()?.home.tell(url)
    }

    /// How it is.
    ///
    /// # Errors
    /// As [`Self::read`].
    pub fn status(&self) -> Result<Status> {
        let core = self.lock()?;
        let bytes = core.log.segments().map(|(_, bytes)| bytes).sum();
        Ok(Status {
            name: core.node.name().to_string(),
            hub: core.node.is_hub(),
            upstream: core.home.upstream()?,
            position: token::of_context(&core.node.context()),
            coverage: core.node.state().coverage().clone(),
            pending: core.node.state().pending().len() as u64,
            peers: core.peers.len() as u64,
            behind: core.node.behind(),
            log: LogStatus { first: core.log.first(), next: core.log.next(), bytes },
            renamed: core.renamed,
        })
    }
}

/// How far somebody has followed a replica's entries.
#[derive(Debug, Clone, Default)]
pub struct Cursor {
    /// What has been given.
    pub coverage: Coverage,
    /// Where to go on in memory.
    at: Option<(u64, u64)>,
}

impl Cursor {
    /// From here on.
    #[must_use]
    pub const fn new(coverage: Coverage) -> Self {
        Self { coverage, at: None }
    }
}

/// How a replica's live part is.
#[derive(Debug, Clone)]
pub struct Status {
    /// Under which name it writes.
    pub name: String,
    /// Whether it takes transactions in.
    pub hub: bool,
    /// The node that it takes its own to.
    pub upstream: Option<String>,
    /// What a reader here has read.
    pub position: String,
    /// Of entries.
    pub coverage: Coverage,
    /// Its own transactions that no hub has taken in, as far as it knows.
    pub pending: u64,
    /// Connections.
    pub peers: u64,
    /// Entries that others that are connected have said to have, and are not here.
    pub behind: u64,
    /// The log.
    pub log: LogStatus,
    /// How often it took a new name since it was opened.
    pub renamed: u64,
}

/// A log's extent.
#[derive(Debug, Clone, Copy)]
pub struct LogStatus {
    /// The position of its oldest record, and the one that the next gets.
    pub first: u64,
    /// See `first`.
    pub next: u64,
    /// Of its files.
    pub bytes: u64,
}

fn refused(refusal: Refusal) -> Error {
    match refusal {
        Refusal::Behind => Error::conflict("writing a transaction", refusal.to_string()),
        Refusal::Invalid(why) => Error::invalid("writing a transaction", why),
    }
}

fn unavailable(what: &str, why: &str) -> Error {
    Error::Unavailable { what: what.to_owned(), why: why.to_owned() }
}

/// Syncs the log for everybody, without the lock while the disk works.
fn lead<'a>(shared: &'a Shared, mut core: MutexGuard<'a, Core>) -> MutexGuard<'a, Core> {
    let ticket = match core.log.start_sync() {
        Ok(ticket) => ticket,
        Err(error) => {
            core.fail(&error);
            shared.durable.notify_all();
            return core;
        }
    };
    if let Some(ticket) = ticket {
        core.led = true;
        let disk = Arc::clone(core.log.disk());
        drop(core);
        let outcome = disk.sync(ticket.file());
        core = shared.lock();
        core.led = false;
        if let Err(error) = core.log.finish_sync(ticket, outcome) {
            core.fail(&error);
            shared.durable.notify_all();
            return core;
        }
    }
    let durable = core.log.durable();
    let fresh = durable - core.told;
    core.told = durable;
    core.node.synced(fresh);
    if core.tables_change {
        core.tables_version += 1;
        core.tables_change = core.log.next() > durable;
    }
    core.drain();
    shared.durable.notify_all();
    shared.news.notify_all();
    if core.log.next() > core.told {
        shared.work.notify_one();
    }
    core
}

/// The engine's thread.
fn run(shared: &Shared) {
    let mut core = shared.lock();
    let mut ticked = shared.clock.monotonic();
    loop {
        let idle = core.led || core.broken.is_some() || core.log.next() == core.told;
        if core.closing && idle {
            break;
        }
        if !idle {
            core = lead(shared, core);
            continue;
        }
        let now = shared.clock.monotonic();
        if now.saturating_sub(ticked) >= TICK {
            ticked = now;
            core.tick(shared.clock.now_ms());
            if core.log.next() > core.told {
                continue;
            }
        }
        core = shared.work.wait_timeout(core, TICK).unwrap_or_else(PoisonError::into_inner).0;
    }
    // The end is marked, so that the next opening can tell damage from a crash. Without it nothing is lost.
    if core.broken.is_none()
        && let Err(error) = core.log.settle()
    {
        tracing::warn!(%error, "the end of the log could not be marked");
    }
    shared.news.notify_all();
}

impl Core {
    fn open(home: Home) -> Result<Self> {
        let (log, node) = open_log(&home)?;
        let told = log.next();
        let mut core = Self {
            home,
            node,
            told,
            log,
            led: false,
            broken: None,
            closing: false,
            tickets: BTreeMap::new(),
            next_ticket: 1,
            peers: BTreeMap::new(),
            next_peer: 1,
            tables_version: 0,
            tables_change: false,
            checkpoint: (0, 0),
            renamed: 0,
        };
        core.drain();
        Ok(core)
    }

    /// Everything anew from the log, after the disk failed. Who waited for records that were not durable has been told.
    fn reopen(&mut self) -> Result<()> {
        let (log, node) = open_log(&self.home)?;
        self.told = log.next();
        (self.log, self.node) = (log, node);
        self.tickets.clear();
        self.peers.clear();
        self.broken = None;
        self.tables_version += 1;
        self.drain();
        tracing::info!("the log of live replication was opened again");
        Ok(())
    }

    fn fail(&mut self, error: &SyncError) {
        tracing::error!(%error, "live replication stops until the disk can be written to again");
        self.broken = Some(error.to_string());
        self.led = false;
        // They come again; what they are owed is in the log or with them.
        self.peers.clear();
    }

    /// Does what the core wants done.
    fn drain(&mut self) {
        while self.node.has_outputs() {
            for output in self.node.outputs() {
                if self.broken.is_some() {
                    return;
                }
                match output {
                    Output::Append(record) => self.append(&record),
                    Output::Send(peer, message) => self.send(peer, message),
                    Output::Committed(ticket, dot) => {
                        if let Some(waiting) = self.tickets.get_mut(&ticket) {
                            *waiting = Some(dot);
                        }
                    }
                    Output::Renamed(name) => {
                        self.renamed += 1;
                        tracing::info!(%name, "this replica writes under a new name");
                    }
                    Output::Rewritten(txns) => {
                        tracing::info!(transactions = txns.len(), "waiting transactions were written again");
                    }
                }
            }
        }
    }

    fn append(&mut self, record: &Record) {
        self.tables_change |= changes_tables(record);
        if let Err(error) = self.log.append(&record.encode()) {
            self.fail(&error);
        }
    }

    fn send(&mut self, peer: PeerId, message: Message) {
        let gone = self.peers.get(&peer).is_some_and(|outbox| outbox(message) == Outcome::Gone);
        if gone {
            self.peers.remove(&peer);
            self.node.disconnected(peer);
        }
    }

    fn tick(&mut self, now_ms: u64) {
        if !self.peers.is_empty() {
            self.node.tick_peers(now_ms);
            self.drain();
        }
        self.node.cut_log(KEPT_ENTRIES);
        if let Err(error) = self.fold() {
            tracing::warn!(%error, "no checkpoint was made; the log stays longer until one is");
        }
    }

    /// Writes a checkpoint when the log has grown enough, and gives up the records before it.
    fn fold(&mut self) -> Result<(), SyncError> {
        if self.led || self.broken.is_some() || self.log.next() != self.told {
            return Ok(());
        }
        let bytes: u64 = self.log.segments().map(|(_, bytes)| bytes).sum();
        if bytes.saturating_sub(self.checkpoint.1) < CHECKPOINT_BYTES.max(self.checkpoint.1) {
            return Ok(());
        }
        let Some(checkpoint) = self.node.checkpoint() else { return Ok(()) };
        let at = self.log.next();
        self.log.append(&Record::Checkpoint(Box::new(checkpoint)).encode())?;
        // The core has no part in this record: it says what the core holds.
        self.log.sync()?;
        self.told = self.log.next();
        self.log.truncate_before(at)?;
        self.checkpoint = (at, self.log.segments().map(|(_, bytes)| bytes).sum());
        Ok(())
    }
}

/// The log with the node that it gives; makes both when there is none.
fn open_log(home: &Home) -> Result<(Log<Arc<Directory>>, Node)> {
    let path = home.log();
    let disk = Arc::new(Directory::create(&path).map_err(Error::io("creating", &path))?);
    let mut log = match Log::open(Arc::clone(&disk), None, Options::default()) {
        Ok((log, recovered)) => {
            if recovered.cut_bytes > 0 {
                tracing::info!(bytes = recovered.cut_bytes, "the log ended in what a crash left half written");
            }
            log
        }
        Err(error) if error.kind() == Kind::NotFound => Log::create(disk, new_id(), 0, Options::default())?,
        Err(error) => return Err(error.into()),
    };
    let config = || Config { key: home.key(), rng: Rng::from_os(), zoo: syncline_sync::live::Zoo::default() };
    let (mut at, end) = (log.first(), log.next());
    if at == end {
        let hub = home.upstream()?.is_none();
        return Ok((log, Node::create(config(), hub)));
    }
    let mut ready = std::collections::VecDeque::new();
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
        ready.pop_front().map(Record::decode)
    });
    let node = Node::open(config(), records, home.moved())?;
    Ok((log, node))
}

fn new_id() -> LogId {
    let mut id = [0; 16];
    id.chunks_mut(8).for_each(|part| Rng::from_os().fill(part));
    id
}

/// Whether a record writes to one of the tables that say what tables there are.
fn changes_tables(record: &Record) -> bool {
    let defines = |write: &Write| write.row.table.starts_with('.');
    match record {
        Record::Own(txn) => txn.body().writes.iter().any(defines),
        Record::Entry(entry) => entry.txn.body().writes.iter().any(defines),
        Record::Named(_) | Record::Hub(_) => false,
        _ => true,
    }
}

#[cfg(test)]
mod tests;
