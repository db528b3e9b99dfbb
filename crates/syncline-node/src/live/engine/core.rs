//! The engine's core: the replication core with its log, under one lock.
//!
//! Owns: the log's files and the ends of connections. After a crash: the log's records give everything back.
//!
//! Not here: who waits for what (`super`).

use std::collections::BTreeMap;
use std::collections::VecDeque;
use std::sync::Arc;

use bytes::Bytes;
use syncline_base::Kind;
use syncline_base::rng::Rng;
use syncline_sync::Error as SyncError;
use syncline_sync::live::{Config, Dot, Limits, Message, Node, Output, PeerId, Record, Write, Zoo};
use syncline_sync::log::{Log, LogId, Options};

use super::super::files;
use super::super::home::Home;
use super::{Outbox, Outcome};
use crate::segments::Directory;
use crate::{Error, Result};

/// Records are folded into a checkpoint when the log has grown by so many bytes since the last one, and by as much as that was.
const CHECKPOINT_BYTES: u64 = 64 << 20;
/// So many bytes of entries stay in memory for those who follow; who is further behind is sent the rows.
const KEPT_BYTES: usize = 64 << 20;

pub(super) struct Core {
    pub(super) home: Home,
    pub(super) node: Node,
    pub(super) log: Log<Arc<Directory>>,
    /// The position after the last record that the node knows to be durable.
    pub(super) told: u64,
    /// Somebody syncs the log.
    pub(super) led: bool,
    /// How often the log has been opened: positions in memory count from there.
    pub(super) epoch: u64,
    /// Why nothing goes on until the log is opened anew.
    pub(super) broken: Option<String>,
    pub(super) closing: bool,
    /// Transactions that are durable and whose writers have not looked yet; `None` until they are.
    pub(super) tickets: BTreeMap<u64, Option<Dot>>,
    pub(super) next_ticket: u64,
    pub(super) peers: BTreeMap<PeerId, Outbox>,
    pub(super) next_peer: PeerId,
    /// Grows with every change of what tables are.
    pub(super) tables_version: u64,
    /// Such a change is on its way to the log.
    pub(super) tables_change: bool,
    /// The bytes of the last checkpoint.
    pub(super) checkpoint: u64,
    /// A checkpoint is made when the log has grown by so many.
    pub(super) checkpoint_bytes: u64,
    /// What the core told about itself since the engine was opened, for status.
    pub(super) renamed: u64,
}

impl std::fmt::Debug for Core {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Core").field("name", &self.node.name()).finish_non_exhaustive()
    }
}

impl Core {
    pub(super) fn open(home: Home) -> Result<Self> {
        let (log, node, checkpoint) = open_log(&home)?;
        let told = log.next();
        let mut core = Self {
            home,
            node,
            told,
            log,
            led: false,
            epoch: 0,
            broken: None,
            closing: false,
            tickets: BTreeMap::new(),
            next_ticket: 1,
            peers: BTreeMap::new(),
            next_peer: 1,
            tables_version: 0,
            tables_change: false,
            checkpoint,
            checkpoint_bytes: CHECKPOINT_BYTES,
            renamed: 0,
        };
        core.drain();
        Ok(core)
    }

    /// Everything anew from the log, after the disk failed. Who waited for records that were not durable has been told.
    pub(super) fn reopen(&mut self) -> Result<()> {
        let (log, node, checkpoint) = open_log(&self.home)?;
        self.checkpoint = checkpoint;
        self.told = log.next();
        (self.log, self.node) = (log, node);
        self.epoch += 1;
        self.tickets.clear();
        self.peers.clear();
        self.broken = None;
        self.tables_version += 1;
        self.drain();
        tracing::info!("the log of live replication was opened again");
        Ok(())
    }

    pub(super) fn fail(&mut self, error: &SyncError) {
        tracing::error!(%error, "live replication stops until the disk can be written to again");
        self.broken = Some(error.to_string());
        self.led = false;
        // They come again; what they are owed is in the log or with them.
        self.peers.clear();
    }

    /// Does what the core wants done.
    pub(super) fn drain(&mut self) {
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

    pub(super) fn tick(&mut self, now_ms: u64) {
        if !self.peers.is_empty() {
            self.node.tick_peers(now_ms);
            self.drain();
        }
        self.node.cut_log_to(KEPT_BYTES);
        if let Err(error) = self.fold() {
            tracing::warn!(%error, "no checkpoint was made; the log stays longer until one is");
        }
    }

    /// Writes a checkpoint when the log has grown enough, and gives up the records before it.
    pub(super) fn fold(&mut self) -> Result<(), SyncError> {
        if self.led || self.broken.is_some() || self.log.next() != self.told {
            return Ok(());
        }
        let bytes: u64 = self.log.segments().map(|(_, bytes)| bytes).sum();
        if bytes.saturating_sub(self.checkpoint) < self.checkpoint_bytes.max(self.checkpoint) {
            return Ok(());
        }
        let Some(moment) = self.node.checkpoint() else { return Ok(()) };
        let at = self.log.next();
        for record in moment.records() {
            self.log.append(&record.encode())?;
        }
        // The core has no part in these records: they say what it holds.
        self.log.sync()?;
        self.told = self.log.next();
        self.log.truncate_before(at)?;
        self.checkpoint = self.log.segments().map(|(_, bytes)| bytes).sum();
        Ok(())
    }
}

/// The log with the node that it gives, and the bytes of its last checkpoint; makes both when there is none.
fn open_log(home: &Home) -> Result<(Log<Arc<Directory>>, Node, u64)> {
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
    let config = || Config { key: home.key(), rng: Rng::from_os(), limits: Limits::default(), zoo: Zoo::default() };
    let (mut at, end) = (log.first(), log.next());
    if at == end {
        let hub = home.upstream()?.is_none();
        return Ok((log, Node::create(config(), hub), 0));
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
            let record = Record::decode(bytes)?;
            match &record {
                Record::Part(_) => parts += len,
                Record::Checkpoint(_) => (checkpoint, parts) = (parts + len, 0),
                _ => parts = 0,
            }
            Ok(record)
        })
    });
    let node = Node::open(config(), records, home.moved())?;
    Ok((log, node, checkpoint))
}

fn new_id() -> LogId {
    let mut id = [0; 16];
    id.chunks_mut(8).for_each(|part| Rng::from_os().fill(part));
    id
}

/// Whether a record writes to one of the tables that say what tables there are.
fn changes_tables(record: &Record) -> bool {
    let defines = |write: &Write| write.row.table.starts_with('.') && &*write.row.table != files::TABLE;
    match record {
        Record::Own(txn) => txn.body().writes.iter().any(defines),
        Record::Entry(entry) => entry.txn.body().writes.iter().any(defines),
        Record::Named(_) | Record::Hub(_) => false,
        _ => true,
    }
}
