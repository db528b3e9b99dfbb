//! The side that receives objects.
//!
//! Invariants:
//! - an object is stored after its bytes were checked against its hash, and after everything it refers to;
//! - a commit is stored after everything under it, and a ref moves after the commit is durable;
//! - so whatever the peer sends and wherever the session is cut, what is stored stays usable and no ref points at
//!   something incomplete.

mod arrived;
mod compare;
mod end;
mod objects;
mod past;
mod step;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

use bytes::Bytes;
use syncline_base::Hash;
use syncline_store::Store;
use syncline_store::codec::Registry;
use syncline_tree::{GivenUp, TreeName};

use super::{DELTA_BYTES, Local, PullRequest, Pulled, Served, Session, TAGS, frame_cost, unexpected};
use crate::error::{Error, Result};
use crate::graph;
use crate::have::Have;
use crate::history;
use crate::wire::{self, Message, Move, Want, Welcome};
use arrived::Arrived;
use compare::{Compared, Comparing};
use objects::Assembly;
use past::Past;

/// After so many bytes what has arrived is made durable and acknowledged.
const FLUSH_BYTES: usize = if cfg!(test) { 64 << 10 } else { 32 << 20 };
/// Over a slow line after so long, when it is so many bytes at least.
const FLUSH_AFTER: Duration = Duration::from_secs(5);
const FLUSH_WORTH: usize = 1 << 20;
/// How many of our commits a peer is told unasked.
const HEADS_MAX: usize = 64;
/// And how many a pusher, besides where the branch is that it moves.
const OTHERS_MAX: usize = 16;

/// What is received for.
enum Purpose {
    /// We are the client and fetch.
    Pull { result: Pulled },
    /// We are the server and are pushed to.
    Push(end::Moves),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    Welcome,
    Stream,
    Over,
}

/// The receiving side.
pub struct Receiver<'a> {
    local: &'a dyn Local,
    store: Store,
    registry: Registry,
    purpose: Purpose,
    phase: Phase,
    scope: Option<BTreeSet<TreeName>>,
    /// The file tree comes without the contents of files.
    outline: bool,
    have: Have,
    heads: Vec<Hash>,
    /// A large object whose parts are still coming.
    assembly: Option<Assembly>,
    deltas: BTreeMap<TreeName, Vec<Bytes>>,
    delta_bytes: usize,
    /// Trees that are being compared with what is here.
    comparing: Option<Comparing>,
    /// Trees that can be made from what is here.
    compared: BTreeMap<TreeName, Compared>,
    /// Everything is passed over until this step begins again.
    redo: Option<u64>,
    /// The last step that was begun again.
    redone: Option<u64>,
    /// Commits whose data was given up here: nothing can be made from them.
    gone: GivenUp,
    /// Commits that came whole in this session: another one may mark them as given up before a name leads to them.
    came: Vec<Hash>,
    arrived: Arrived,
    steps: u64,
    unflushed: usize,
    /// When that was done last.
    flushed: Duration,
    objects: u64,
    bytes: u64,
    applied: u64,
    commits: u64,
    /// Whether commits may come without their parents: that was asked for, or there is no history here that they would
    /// have to join, or one that ends early itself.
    partial: bool,
    /// Tags whose commits do not come with anything else are passed over.
    follow: bool,
    shallow: BTreeSet<Hash>,
    /// Commits that come without their data.
    past: Past,
    outbox: VecDeque<Message>,
}

impl std::fmt::Debug for Receiver<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Receiver").field("phase", &self.phase).field("steps", &self.steps).finish_non_exhaustive()
    }
}

impl<'a> Receiver<'a> {
    /// The client's side of a pull.
    ///
    /// # Errors
    /// The replica's.
    pub fn pull(local: &'a dyn Local, request: &PullRequest) -> Result<Self> {
        let heads = heads(local)?;
        let empty = heads.is_empty() && local.store().usage()?.objects == 0;
        let scope: Option<BTreeSet<TreeName>> =
            request.tables.as_ref().map(|names| names.iter().flat_map(graph::trees_of_name).collect());
        let want = Want::Pull {
            refs: request.refs.clone(),
            tables: scope.as_ref().map(|scope| scope.iter().map(graph::tree_to_text).collect()),
            depth: request.depth.unwrap_or(0),
            heads: heads.iter().take(HEADS_MAX).copied().collect(),
            lacks: history::lacks(local.store(), &local.shallow()?, wire::MAX_IDS)?,
            empty,
            outline: request.outline,
            follow: request.follow,
        };
        let mut this = Self::new(local, Purpose::Pull { result: Pulled::default() }, heads, request.outline)?;
        this.partial |= request.depth.is_some();
        this.follow = request.follow;
        this.scope = scope;
        // Complete is what is complete in the part that this replica holds.
        let part = local.part()?.unwrap_or_default();
        this.arrived.keep = part.trees() == this.scope && part.outline == this.outline;
        this.phase = Phase::Welcome;
        this.outbox.push_back(Message::Hello { version: wire::VERSION, want });
        Ok(this)
    }

    /// The server's side of a push.
    pub(super) fn push(local: &'a dyn Local, moves: Vec<Move>) -> Result<Self> {
        if local.part()?.is_some() {
            let why = "the replica there holds only a part of the dataset, so it cannot tell whether a version is complete: \
                       push to the one that it was cloned from";
            return Err(Error::Invalid(why.into()));
        }
        let refs: BTreeMap<String, Hash> = local.refs()?.into_iter().collect();
        let heads = heads(local)?;
        let empty = heads.is_empty() && local.store().usage()?.objects == 0;
        let (moves, named) = end::Moves::of(moves, &refs)?;
        // The refs that are to move say most; the others help when a branch is new here, or what comes lies on another one.
        let told: BTreeSet<Hash> = named.iter().map(|(_, id)| *id).collect();
        let others = match named.iter().all(|(name, _)| name.starts_with(TAGS)) {
            true => HEADS_MAX,
            // What was given up in their history would be taken for here, and what comes may bring it back.
            false if !local.given_up()?.is_empty() => 0,
            false => OTHERS_MAX,
        };
        let welcome = Welcome {
            refs: named,
            head: String::new(),
            heads: heads.iter().filter(|id| !told.contains(id)).take(others).copied().collect(),
            lacks: history::lacks(local.store(), &local.shallow()?, wire::MAX_IDS)?,
            empty,
        };
        let mut this = Self::new(local, Purpose::Push(moves), heads, false)?;
        this.arrived.keep = true;
        this.outbox.push_back(Message::Welcome(welcome));
        Ok(this)
    }

    fn new(local: &'a dyn Local, purpose: Purpose, heads: Vec<Hash>, outline: bool) -> Result<Self> {
        Ok(Self {
            local,
            store: local.store().clone(),
            registry: graph::registry()?,
            purpose,
            phase: Phase::Stream,
            scope: None,
            outline,
            have: Have::new(local.store(), heads.clone(), outline),
            // Where the history here ends early, that of the peer may end earlier than what comes joins it.
            partial: heads.is_empty() || !local.shallow()?.is_empty(),
            follow: false,
            heads,
            assembly: None,
            deltas: BTreeMap::new(),
            delta_bytes: 0,
            comparing: None,
            compared: BTreeMap::new(),
            redo: None,
            redone: None,
            gone: local.given_up()?,
            came: Vec::new(),
            arrived: Arrived::default(),
            steps: 0,
            unflushed: 0,
            flushed: local.store().clock().monotonic(),
            objects: 0,
            bytes: 0,
            applied: 0,
            commits: 0,
            shallow: BTreeSet::new(),
            past: Past::default(),
            outbox: VecDeque::new(),
        })
    }

    /// What the pull brought, once it is over.
    #[must_use]
    pub fn pulled(&self) -> Option<Pulled> {
        let Purpose::Pull { result } = &self.purpose else { return None };
        if self.phase != Phase::Over {
            return None;
        }
        Some(Pulled {
            shallow: self.shallow.iter().copied().collect(),
            commits: self.commits,
            objects: self.objects,
            deltas: self.applied,
            ..result.clone()
        })
    }

    /// What was served, once it is over.
    pub(super) fn served(&self) -> Option<Served> {
        let Purpose::Push(moves) = &self.purpose else { return None };
        (self.phase == Phase::Over).then(|| Served::Pushed { refs: moves.moved.clone(), commits: self.commits })
    }

    fn welcome(&mut self, welcome: Welcome) -> Result<()> {
        let Purpose::Pull { result } = &mut self.purpose else {
            return Err(unexpected(&Message::Welcome(welcome), "being pushed to"));
        };
        result.refs = welcome.refs;
        result.head = Some(welcome.head).filter(|head| !head.is_empty());
        self.phase = Phase::Stream;
        Ok(())
    }

    fn offer(&mut self, items: &[(Hash, u8)]) -> Result<()> {
        let mut asked = Vec::with_capacity(items.len());
        for (id, kind) in items {
            asked.push((*id, graph::kind_of_byte(*kind)?));
        }
        let lacks = self.have.lacks(&asked)?;
        let mut bits = vec![0u8; lacks.len().div_ceil(8)];
        for (i, lacks) in lacks.into_iter().enumerate() {
            bits[i / 8] |= u8::from(lacks) << (i % 8);
        }
        self.outbox.push_back(Message::Lack(bits.into()));
        Ok(())
    }

    fn delta(&mut self, tree: &str, frame: Bytes) -> Result<()> {
        let name = graph::tree_of_text(tree)?;
        self.delta_bytes += frame_cost(&frame);
        if self.delta_bytes > DELTA_BYTES {
            return Err(Error::protocol("delta", format!("more than {DELTA_BYTES} bytes for one commit")));
        }
        self.bytes += frame.len() as u64;
        self.deltas.entry(name).or_default().push(frame);
        Ok(())
    }

    /// Counts what has been stored, and makes it durable now and then.
    fn stored(&mut self, bytes: usize) -> Result<()> {
        self.unflushed += bytes;
        let long_ago = || self.store.clock().monotonic().saturating_sub(self.flushed) >= FLUSH_AFTER;
        if self.unflushed >= FLUSH_BYTES || (self.unflushed >= FLUSH_WORTH && long_ago()) {
            self.flush()?;
            self.keep_arrived()?;
            self.outbox.push_back(Message::Ack { steps: self.steps });
        }
        Ok(())
    }

    fn flush(&mut self) -> Result<()> {
        self.store.flush()?;
        self.unflushed = 0;
        self.flushed = self.store.clock().monotonic();
        Ok(())
    }
}

/// All commits that local refs point at, and those that are complete without, each once.
fn heads(local: &dyn Local) -> Result<Vec<Hash>> {
    let mut seen = BTreeSet::new();
    let mut refs = local.refs()?;
    // The default branch first: what is cut off is the least likely to help.
    let head = local.head()?;
    refs.sort_by_key(|(name, _)| Some(name) != head.as_ref());
    let first = usize::from(refs.first().is_some_and(|(name, _)| Some(name) == head.as_ref()));
    let mut heads: Vec<Hash> = refs.into_iter().map(|(_, id)| id).collect();
    heads.splice(first..first, local.unnamed()?);
    heads.retain(|id| seen.insert(*id));
    Ok(heads)
}

impl Session for Receiver<'_> {
    fn receive(&mut self, message: Message) -> Result<()> {
        if let Some(step) = self.redo {
            match message {
                Message::Restart { step: begins } if begins == step => self.redo = None,
                Message::Fault(fault) => return Err(super::of_fault(fault)),
                // Sent before the peer knew that this step has to be done again.
                _ => {}
            }
            return Ok(());
        }
        if self.assembly.is_some() && !matches!(message, Message::Part(_) | Message::Fault(_)) {
            return Err(unexpected(&message, "parts of an object were missing"));
        }
        match (self.phase, message) {
            (_, Message::Fault(fault)) => Err(super::of_fault(fault)),
            (Phase::Welcome, Message::Welcome(welcome)) => self.welcome(welcome),
            (Phase::Stream, Message::AskHaves) => {
                let haves = history::haves(&self.store, &self.heads)?;
                self.outbox.push_back(Message::Haves(haves));
                Ok(())
            }
            (Phase::Stream, Message::Plan { .. }) => Ok(()),
            (Phase::Stream, Message::Past(records)) => self.past(&records),
            (Phase::Stream, Message::Objects(objects)) => {
                let taken = self.objects(objects);
                self.or_again(taken)
            }
            (Phase::Stream, Message::Part(bytes)) => {
                let taken = self.part(&bytes);
                self.or_again(taken)
            }
            (Phase::Stream, Message::Offer(items)) => self.offer(&items),
            (Phase::Stream, Message::Propose(trees)) => self.propose(trees),
            (Phase::Stream, Message::Answer { tree, body }) => self.answer(tree, &body),
            (Phase::Stream, Message::Delta { tree, frame }) => self.delta(&tree, frame),
            (Phase::Stream, Message::Step(step)) => self.step(&step),
            (Phase::Stream, Message::Finish) => self.finish(),
            (phase, message) => Err(unexpected(&message, &format!("{phase:?}").to_lowercase())),
        }
    }

    fn next(&mut self) -> Result<Option<Message>> {
        Ok(self.outbox.pop_front())
    }

    fn is_over(&self) -> bool {
        self.phase == Phase::Over && self.outbox.is_empty()
    }

    fn progress(&self) -> (u64, u64) {
        (self.objects, self.bytes)
    }

    fn cut(&mut self) {
        // Best effort: the session has failed, and why is told already.
        let _ = self.flush().and_then(|()| self.keep_arrived());
    }
}
