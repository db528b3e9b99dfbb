//! A replica's live part at work: the replication core, its log, and everybody who waits for one of them.
//!
//! Callers come on threads of their own and block. Whoever finds records that are not durable, and nobody at it, makes them
//! durable for all (leader and followers: one sync serves everybody who came before it). A thread of the engine does so for
//! records that nobody waits for, and tells the core that time passes.
//!
//! Owns: the log's files, through the lock of [`Home`]; the core; the ends of connections. After a crash: the log's records give the core
//! back, nothing that was acknowledged, sent or shown is missing, but for what a spoke has shown early when its machine loses power (`early`). When the disk fails, everybody who waits is told so, connections end,
//! and the next caller opens the log anew.
//!
//! Not here: rows and tables (`rows`), sockets, and what a verb means (`crate::ops`).

mod audit;
mod beats;
mod beside;
mod certify;
mod core;
mod early;
mod follow;
mod heres;
mod keep;
mod members;
mod news;
mod note;
mod pace;
mod prove;
mod renewal;
mod scoped;
mod status;
mod stored;
mod submit;
mod trust;
mod turns;
mod ways;

use std::sync::{Arc, Condvar, Mutex, MutexGuard, OnceLock, PoisonError, Weak};
use std::time::Duration;

use syncline_base::{Clock, Hash, task};
use syncline_store::Store;
use syncline_sync::live::{Context, Dot, Message, Node, PeerId, Refusal, Write};
use syncline_sync::log::Disk;

pub use self::audit::{Alarm, Differs, Proof};
pub use self::beats::Lag;
pub use self::certify::Reads;
pub(crate) use self::certify::two_certifiers;
pub(super) use self::core::new_id as new_log_id;
use self::core::{Core, Ticket, Waiting};
pub use self::follow::Cursor;
pub use self::members::{Member, State as MemberState};
pub use self::news::Listener;
use self::news::News;
pub use self::note::{Claim, Link, Note, Parcel};
pub use self::pace::More;
pub use self::prove::Proofs;
pub use self::renewal::Renewal;
pub use self::scoped::Held;
pub use self::status::{Away, LogStatus, Status};
use self::submit::Begun;
pub use self::submit::{Done, Sequence};
pub use self::trust::{Denied, Distrust, Evidence, OriginTrust, TrustStatus};
pub use self::ways::{Answer, Leads, Lost, Outgoing, Way};
use super::home::{self, Home};
use super::scopes::Named;
use super::tables::{Cache, Version};
use super::token;
use crate::{Error, Result};

/// How often the core is told that time passes.
const TICK: Duration = Duration::from_millis(500);

/// What a connection is sent. Called in order, under the engine's lock: it must not block.
pub type Outbox = Box<dyn Fn(Parcel) -> Outcome + Send>;

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
    /// What somebody has read who has read it and everything else that is here now: to wait for it elsewhere.
    pub position: Context,
    /// What its writer has read, who had given what it had read: that and its own write. `None` when it had given nothing, or when that cannot
    /// be said: a context that names a transaction names all that its replica wrote before, and the writer had not read that.
    pub read: Option<Context>,
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
    news: News,
    /// Rows of files have changed.
    files: Condvar,
    tables: Cache,
    ways: ways::Ways,
    members: members::Seen,
    /// Where contents of files are.
    store: OnceLock<Store>,
    /// For threads that must not keep it.
    me: Weak<Self>,
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
        let core = Core::open(home, Arc::clone(&clock))?;
        let shared = Arc::new_cyclic(|me| Shared {
            me: me.clone(),
            clock,
            core: Mutex::new(core),
            durable: Condvar::new(),
            work: Condvar::new(),
            news: News::default(),
            files: Condvar::new(),
            tables: Cache::default(),
            ways: ways::Ways::default(),
            members: members::Seen::default(),
            store: OnceLock::new(),
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
            self.shared.news.tell();
        }
        Ok(core)
    }

    /// Commits a transaction of a client who has read `read`, or, with `None`, all that is here. Returns when it is durable.
    ///
    /// # Errors
    /// `conflict` when the client has read what is not here yet; `invalid` when the writes are no transaction; `unavailable` when the disk
    /// failed: then the transaction may be durable or not, which opening the log again tells.
    pub fn commit(&self, read: Option<Context>, writes: Vec<Write>) -> Result<Committed> {
        self.commit_with(read, |_| Ok(writes.clone()))
    }

    /// As [`Self::commit`]; `write` makes the writes of what is here when the transaction is made. It is asked again when it writes rows
    /// that are on their way to the disk, once they are there.
    ///
    /// # Errors
    /// As [`Self::commit`], and those of `write`.
    pub fn commit_with(
        &self,
        read: impl Into<Reads>,
        mut write: impl FnMut(&Node) -> Result<Vec<Write>>,
    ) -> Result<Committed> {
        let reads = read.into();
        let mut core = self.lock()?;
        let ticket = loop {
            match core.begin(self.shared.clock.now_ms(), &reads, &mut write)? {
                Begun::Ticket(ticket) => break ticket,
                Begun::Before(committed) => return Ok(committed),
                Begun::Waits => core = self.step(core),
            }
            if let Some(why) = &core.broken {
                return Err(unavailable("writing a transaction", why));
            }
        };
        loop {
            let broken = core.broken.is_some();
            match core.tickets.get_mut(&ticket) {
                Some(Waiting { who: Ticket::Durable(dot), read }) => {
                    let (dot, read) = (*dot, read.take());
                    core.tickets.remove(&ticket);
                    return Ok(core.receipt(dot, read));
                }
                Some(_) if !broken => core = self.step(core),
                _ => {
                    core.tickets.remove(&ticket);
                    return Err(lost(core.broken.as_deref().unwrap_or("the log was opened anew")));
                }
            }
        }
    }

    /// Waits until all that was appended is durable.
    fn wait_durable<'a>(&'a self, mut core: MutexGuard<'a, Core>) -> Result<MutexGuard<'a, Core>> {
        let until = core.appended();
        while !core.is_told(until) || core.broken.is_some() {
            if let Some(why) = &core.broken {
                return Err(unavailable("writing to the log", why));
            }
            core = self.step(core);
        }
        Ok(core)
    }

    /// Makes what waits durable, or waits for who does.
    fn step<'a>(&'a self, core: MutexGuard<'a, Core>) -> MutexGuard<'a, Core> {
        if core.led || !core.unsynced() {
            return self.shared.durable.wait(core).unwrap_or_else(PoisonError::into_inner);
        }
        let mut core = lead(&self.shared, core);
        if std::mem::replace(&mut core.wake, false) {
            self.shared.work.notify_one();
        }
        core
    }

    /// Who this replica is, whatever name it writes under: 32 hex digits.
    ///
    /// # Errors
    /// As [`Self::read`].
    pub fn id(&self) -> Result<String> {
        Ok(replica_of(&self.lock()?.home))
    }

    pub(super) fn cache(&self) -> &Cache {
        &self.shared.tables
    }

    /// Looks at what is here. Nobody writes meanwhile: be quick.
    ///
    /// # Errors
    /// When the log cannot be opened again after the disk failed.
    pub fn read<R>(&self, look: impl FnOnce(&Node) -> R) -> Result<R> {
        let mut core = self.lock()?;
        let seen = look(&core.node);
        core.believe().map(|()| seen)
    }

    /// As [`Self::read`], once everything in `position` is here.
    ///
    /// # Errors
    /// `stale` when it has not come in time.
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
                return Err(Error::Stale { what: "reading after a position".to_owned(), why });
            }
            core = self.shared.news.wait(core, until - now);
        }
        let seen = look(&core.node);
        core.believe().map(|()| seen)
    }

    /// A number that grows with every change of what tables are, with `look`'s answer at that moment.
    ///
    /// # Errors
    /// As [`Self::read`].
    pub fn read_tables<R>(&self, look: impl FnOnce(&Node, u64) -> R) -> Result<R> {
        let mut core = self.lock()?;
        let seen = look(&core.node, core.tables_version.now());
        core.believe().map(|()| seen)
    }

    /// See [`Self::read_tables`].
    pub(crate) fn tables_version(&self) -> Result<Version> {
        Ok(self.lock()?.tables_version.clone())
    }

    /// A connection to another replica is there: what it is to be sent goes to `outbox`, until [`Self::disconnect`], or until the disk
    /// fails; then the outbox is dropped.
    ///
    /// # Errors
    /// As [`Self::read`].
    pub fn connect(&self, link: Link, outbox: Outbox) -> Result<PeerId> {
        self.connect_within(link, None, outbox)
    }

    fn connect_within(&self, link: Link, scope: Option<Arc<Named>>, outbox: Outbox) -> Result<PeerId> {
        let mut core = self.lock()?;
        let peer = core.next_peer;
        core.next_peer += 1;
        core.peers.insert(peer, outbox);
        match scope {
            Some(scope) => {
                core.beside.served_within.insert(peer, Arc::clone(&scope));
                core.node.connected_within(peer, scope);
            }
            None => core.node.connected(peer),
        }
        core.renew_from(peer, &link);
        core.drain();
        let upstream = link.upstream;
        if let Some(url) = &link.url {
            core.beside.away.remove(url);
        }
        core.beside.links.insert(peer, link);
        if upstream {
            core.begin_beats(self.shared.clock.monotonic());
        }
        Ok(peer)
    }

    /// A node that this one is to be connected to is not, and why. Until it is.
    pub fn set_away(&self, url: &str, why: String) {
        self.shared.lock().beside.away.insert(url.to_owned(), why);
    }

    /// A connection is gone.
    pub fn disconnect(&self, peer: PeerId) {
        let mut core = self.shared.lock();
        if core.peers.remove(&peer).is_some() {
            core.heres.forget(peer);
            core.turns.forget(peer);
            core.node.disconnected(peer);
            core.drain();
        }
    }

    /// A message came. False when the connection was given up here.
    ///
    /// # Errors
    /// As [`Self::read`].
    pub fn receive(&self, peer: PeerId, message: Message, more: More) -> Result<bool> {
        self.check_signatures(&message)?;
        let mut core = self.lock()?;
        if !core.peers.contains_key(&peer) {
            return Ok(false);
        }
        if core.waits_for_its_turn(peer, &message) {
            let wake = core.turns.is_fresh();
            drop(core);
            if wake {
                self.shared.work.notify_one();
            }
            return Ok(true);
        }
        core.check_hello(peer, &message)?;
        core.now_ms = self.shared.clock.now_ms();
        let now_ms = core.now_ms;
        core.node.receive(now_ms, peer, message);
        core.drain();
        let wake = match early::show(&self.shared, &mut core) {
            Some(wake) => {
                drop(core);
                wake
            }
            None => {
                let wake = core.heres.is_fresh();
                pace::settle(&self.shared, core, more);
                wake
            }
        };
        // Without the lock, which it takes first.
        if wake {
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
        if let (None, Some((Some(held), _))) = (url, &core.scope) {
            let why = format!(
                "it holds scope {:?} and nothing else, so it is no hub: follow an upstream with `--no-scope` first",
                held.name()
            );
            return Err(Error::invalid("taking transactions in here", why));
        }
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
        let mut core = self.lock()?;
        core.beside.served = url.is_some();
        core.home.tell(url)
    }
}

/// Who a replica is.
fn replica_of(home: &Home) -> String {
    home::hex(&Hash::of(&home.key()).as_bytes()[..16])
}

/// Whether what was seen of rows can be believed. To be asked after looking, before anybody is told.
///
/// # Errors
/// `corrupt` when something could not be read.
pub(crate) fn sound(trouble: Option<&str>) -> Result<()> {
    match trouble {
        None => Ok(()),
        Some(why) => {
            let why =
                format!("{why}; all rows come anew from the next replica that is connected, see `syncline status`");
            Err(Error::Corrupt { what: "what live tables hold".to_owned(), why })
        }
    }
}

fn refused(refusal: Refusal) -> Error {
    match refusal {
        Refusal::Behind => Error::conflict("writing a transaction", refusal.to_string()),
        Refusal::Invalid(why) => Error::invalid("writing a transaction", why),
        Refusal::Revoked => Error::Denied { what: "writing a transaction".to_owned(), why: refusal.to_string() },
        Refusal::Damaged => Error::Corrupt { what: "what live tables hold".to_owned(), why: refusal.to_string() },
    }
}

/// What the writer of a transaction is told when nobody knows what became of it.
fn lost(why: &str) -> Error {
    let why = format!("{why}; it may have become durable all the same: look before you write it again");
    unavailable("writing a transaction", &why)
}

fn unavailable(what: &str, why: &str) -> Error {
    Error::Unavailable { what: what.to_owned(), why: why.to_owned() }
}

/// Syncs the log for everybody, and does what else has become due.
fn lead<'a>(shared: &'a Shared, core: MutexGuard<'a, Core>) -> MutexGuard<'a, Core> {
    let mut core = sync(shared, core);
    if core.broken.is_none() {
        keep::house(shared, &mut core);
        prove::kick(shared, &mut core);
    }
    core
}

/// Syncs the log for everybody, without the lock while the disk works, and tells who waits; but not the engine's thread, see [`Core::wake`].
fn sync<'a>(shared: &'a Shared, mut core: MutexGuard<'a, Core>) -> MutexGuard<'a, Core> {
    let begun = shared.clock.monotonic();
    let ticket = match core.start_sync() {
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
    let now = shared.clock.monotonic();
    let files = core.files.0;
    let records = core.tell_durable(now);
    core.pace.synced(now.saturating_sub(begun), records);
    core.drain();
    // Whoever waits is told that it is broken.
    let _ = core.believe();
    core.release(shared.clock.now_ms());
    shared.durable.notify_all();
    shared.news.tell();
    if core.files.0 > files {
        shared.files.notify_all();
    }
    core.wake = core.unsynced() | core.is_to_be_signed() | core.heres.is_fresh();
    core
}

/// The engine's thread.
fn run(shared: &Shared) {
    let mut core = shared.lock();
    let mut ticked = shared.clock.monotonic();
    loop {
        let due = core.closing || core.is_due(shared.clock.monotonic());
        let idle = core.led || core.broken.is_some() || !core.unsynced() || !due;
        if core.closing && idle {
            break;
        }
        let (now, to_sign) = trust::sign(shared, core);
        core = now;
        if to_sign.is_some_and(|wait| wait.is_zero()) {
            continue;
        }
        let now = shared.clock.monotonic();
        core.say_heres(now);
        core.take_turns(now);
        if !idle {
            core = lead(shared, core);
            core.wake = false;
            continue;
        }
        let now = shared.clock.monotonic();
        if now.saturating_sub(ticked) >= TICK {
            ticked = now;
            core.tick(shared.clock.now_ms());
            core.tick_beside(now);
            core.drain();
            keep::house(shared, &mut core);
            core.release(shared.clock.now_ms());
            shared.durable.notify_all();
            prove::kick(shared, &mut core);
            if core.unsynced() && core.is_due(now) {
                continue;
            }
        }
        let looks = [core.heres.next_look(now), core.turns.next_look(now)].into_iter().flatten().min();
        let pause = to_sign.unwrap_or(TICK).min(core.pause(now)).min(looks.unwrap_or(TICK));
        core = shared.work.wait_timeout(core, pause).unwrap_or_else(PoisonError::into_inner).0;
    }
    while core.keep.is_folding() && core.broken.is_none() {
        core = shared.durable.wait(core).unwrap_or_else(PoisonError::into_inner);
    }
    keep::at_the_end(shared, &mut core);
    // The end is marked, so that the next opening can tell damage from a crash. Without it nothing is lost.
    if core.broken.is_none()
        && let Err(error) = core.log.settle()
    {
        tracing::warn!(%error, "the end of the log could not be marked");
    }
    shared.news.tell();
}

#[cfg(test)]
pub(crate) mod tests;
