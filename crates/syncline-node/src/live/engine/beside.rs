//! What the engine keeps beside the replication core, for readers and for proofs: nothing of replication depends on it.
//!
//! After a crash: alarms are read again, the rest begins anew.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use syncline_sync::live::{Context, Coverage, Dot, Frozen, Node, Origin, PeerId, Record, Stamp};

use super::super::scopes::Named;
use super::Engine;
use super::audit::{Alarm, Audit};
use super::beats::Beats;
use super::core::Core;
use super::note::{Link, Note, Parcel};
use crate::Result;

/// So long after another node's state has come, the rows from before are kept for those who follow.
const BEFORE: Duration = Duration::from_secs(60);

#[derive(Debug, Default)]
pub(super) struct Beside {
    /// What connections are.
    pub(super) links: BTreeMap<PeerId, Link>,
    /// Inside which scopes connections are sent what they are sent.
    pub(super) served_within: BTreeMap<PeerId, Arc<Named>>,
    pub(super) audit: Audit,
    pub(super) beats: Beats,
    /// Nodes that this one is to be connected to and is not, by address, and why. After a crash: they are tried again.
    pub(super) away: BTreeMap<String, String>,
    /// Whether this process serves the replica.
    pub(super) served: bool,
    /// Bytes of entries' transactions that went to the log since it was opened.
    bytes: u64,
    /// Where in the log another node's state takes effect.
    joins: VecDeque<u64>,
    /// The rows as they were before one did, and when that was.
    before: Option<(Frozen, Duration)>,
    /// The newest transaction of this replica that went to the log, and stamps of it.
    own: Option<(Dot, Vec<Stamp>)>,
}

impl Beside {
    pub(super) fn new(alarms: Vec<Alarm>) -> Self {
        Self { audit: Audit::with_alarms(alarms), ..Self::default() }
    }

    /// The log has been opened anew: what was told of connections and places in it is over.
    pub(super) fn begin_anew(&mut self) {
        self.links.clear();
        self.served_within.clear();
        self.joins.clear();
        self.beats.begin_anew();
        (self.before, self.own) = (None, None);
    }

    /// A record goes to the log, at a position.
    pub(super) fn appended(&mut self, record: &Record, name: Origin, at: u64) {
        match record {
            Record::Entry(entry) => {
                self.bytes += entry.txn.bytes().len() as u64;
                let dot = entry.txn.dot();
                match &mut self.own {
                    Some((own, stamps)) if *own == dot => stamps.push(entry.stamp),
                    own if dot.origin == name
                        && own.as_ref().is_none_or(|(own, _)| own.origin != name || own.seq < dot.seq) =>
                    {
                        *own = Some((dot, vec![entry.stamp]));
                    }
                    _ => {}
                }
            }
            Record::Own(txn) => self.own = Some((txn.dot(), Vec::new())),
            Record::Joined(_) | Record::Rescoped(_) => self.joins.push_back(at),
            _ => {}
        }
    }

    /// The newest of this replica's transactions, and whether somebody who has read this has read it, and with it all before it.
    fn has_read_own(&self, read: &Context) -> Option<(Dot, bool)> {
        let (own, stamps) = self.own.as_ref()?;
        let named = read.own.iter().any(|dot| dot.origin == own.origin && dot.seq >= own.seq);
        Some((*own, named || stamps.iter().any(|stamp| read.seen.has(*stamp))))
    }

    fn stamp_of(&self, dot: &Dot) -> Option<Stamp> {
        self.own.as_ref().filter(|(own, _)| own == dot).and_then(|(_, stamps)| stamps.first().copied())
    }

    /// What a client has read who had read `read` and then wrote `dot`; `had` says that it had read the transaction before that one.
    /// `None` when a context cannot say it: a transaction is read with all that its replica wrote before.
    pub(super) fn with_own(&self, mut read: Context, dot: Dot, had: bool) -> Option<Context> {
        if !had && dot.seq > 1 {
            return None;
        }
        match self.stamp_of(&dot) {
            // Nothing lies in between: the hub's count says it.
            Some(stamp) if read.seen.of(stamp.hub) + 1 == stamp.n => read.seen.raise(stamp.hub, stamp.n),
            _ => {
                read.own.retain(|own| own.origin != dot.origin);
                read.own.push(dot);
                read.own.sort();
            }
        }
        Some(read)
    }
}

impl Core {
    /// Whether somebody who has read this has read all that this replica wrote.
    pub(super) fn has_read_own(&self, read: &Context) -> bool {
        match self.beside.has_read_own(read) {
            Some((own, has)) if own.origin == self.node.name() => has,
            // Nothing was written under this name since the log was opened.
            _ => {
                let named = |dot: &Dot| read.own.iter().any(|own| own.origin == dot.origin && own.seq >= dot.seq);
                read.seen.includes(self.node.appended()) && self.node.context().own.iter().all(named)
            }
        }
    }

    /// So many more records are durable: they take effect. Stops on the way where another replica looks at its state.
    pub(super) fn take_effect(&mut self, fresh: u64, now: Duration) {
        let mut joins = false;
        while self.beside.joins.pop_front_if(|at| *at < self.told).is_some() {
            joins = true;
        }
        if joins {
            self.beside.before = Some((self.node.state().frozen(), now));
        }
        let mut left = fresh;
        while left > 0 && self.comes_to_a_mark() {
            self.node.synced(1);
            left -= 1;
            self.pass_marks(now);
        }
        if left > 0 || fresh == 0 {
            self.node.synced(left);
        }
        self.settle_scope();
        self.pass_marks(now);
        self.reach_beats();
    }

    pub(super) fn reach_beats(&mut self) {
        self.beside.beats.reach(self.node.state().coverage());
    }

    /// Sends a note.
    pub(super) fn say(&mut self, peer: PeerId, note: Note) {
        self.send_parcel(peer, Parcel::Note(note));
    }

    /// A note came.
    pub(super) fn noted(&mut self, peer: PeerId, note: Note, now: Duration, now_ms: u64) {
        match note {
            Note::Ask(ask) => {
                let coverage = self.node.state().coverage().clone();
                let bytes = self.beside.bytes;
                self.say(peer, Note::Here { ask, coverage, bytes });
                // What is in that and is not there yet is to go there at once.
                self.give_turn(peer);
            }
            Note::Here { ask, coverage, bytes } => {
                if self.beside.links.get(&peer).is_some_and(|link| link.upstream) {
                    self.beat(ask, coverage, bytes);
                }
            }
            Note::Mark(coverage) => self.marked(peer, coverage, now),
            Note::Root(claim) => self.claimed(peer, claim, now, now_ms),
            Note::Prove => self.asked_to_prove(peer, now),
        }
    }

    /// Time passes.
    pub(super) fn tick_beside(&mut self, now: Duration) {
        let peers = &self.peers;
        self.beside.links.retain(|peer, _| peers.contains_key(peer));
        self.beside.served_within.retain(|peer, _| peers.contains_key(peer));
        if self.beside.before.as_ref().is_some_and(|(_, at)| now.saturating_sub(*at) > BEFORE) {
            self.beside.before = None;
        }
        if !self.peers.is_empty() {
            self.tick_beats(now);
            self.tick_audit(now);
        }
    }
}

impl Engine {
    /// A note came from a connected replica. False when the connection was given up here.
    ///
    /// # Errors
    /// As [`Self::read`].
    pub fn note(&self, peer: PeerId, note: Note) -> Result<bool> {
        let mut core = self.lock()?;
        if !core.peers.contains_key(&peer) {
            return Ok(false);
        }
        let awaited = matches!(note, Note::Here { .. } | Note::Root(_));
        core.noted(peer, note, self.shared.clock.monotonic(), self.shared.clock.now_ms());
        core.drain();
        super::prove::kick(&self.shared, &mut core);
        if awaited {
            self.shared.news.tell();
        }
        Ok(true)
    }

    /// The rows as they are, and as they were at `coverage`, if that is known: right before another node's state came in place of entries.
    ///
    /// # Errors
    /// As [`Self::read`].
    pub fn frozen_since(&self, coverage: &Coverage) -> Result<(Option<Frozen>, Frozen)> {
        let core = self.lock()?;
        let before = core.beside.before.as_ref().map(|(frozen, _)| frozen).filter(|was| was.coverage() == coverage);
        Ok((before.cloned(), core.node.state().frozen()))
    }

    /// The rows as they are, to look at without anybody waiting.
    ///
    /// # Errors
    /// As [`Self::read`].
    pub fn frozen(&self) -> Result<Frozen> {
        self.read(|node: &Node| node.state().frozen())
    }
}
