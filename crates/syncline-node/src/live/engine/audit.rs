//! Whether replicas that have the same transactions hold the same rows: connected replicas compare what their states hash to.
//!
//! A hub looks at its state every few seconds when it has changed: it takes the rows as they are (which costs little), tells who is
//! connected at which coverage it did so, and hashes them on a thread of its own. Who comes to that coverage, entry by entry, takes its
//! rows there too. Whoever has a root tells it; who has one of the same coverage compares. Equal coverage is equal root: so a root
//! that differs is a fault of somebody's disk, memory or program, and is an alarm that stays.
//!
//! Owns: the last few roots, one claim and one mark for each connection, proofs by replica. After a crash: alarms, which are in a file.
//!
//! Not here: who computes (`prove`), and mending what differs.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use syncline_base::Hash;
use syncline_sync::live::{Coverage, Digest, Frozen, PeerId, Scope as _, TableDigest};

use super::super::scopes::Named;
use super::super::token;
use super::core::Core;
use super::note::{Claim, Note};

/// A hub looks at its state so often, or so many times more seldom than it takes to.
const EVERY: Duration = Duration::from_secs(5);
const SHARE: u32 = 20;
/// So long is no time.
const QUICK: Duration = Duration::from_millis(100);
/// So many of the last roots are known.
const KNOWN: usize = 8;
/// So many states wait to be hashed.
const JOBS: usize = 2;
/// So many replicas and alarms are remembered.
const PROOFS: usize = 16_384;
const ALARMS: usize = 32;

/// That another replica held the same.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Proof {
    /// Who.
    pub replica: String,
    /// Its address, when it was connected to from here.
    pub url: Option<String>,
    /// What both covered.
    pub coverage: Coverage,
    /// Both their roots.
    pub root: Hash,
    /// When, by the clock of this machine, in milliseconds since the Unix epoch.
    pub time_ms: u64,
}

/// That another replica covered the same and held something else.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Alarm {
    /// Who.
    pub replica: String,
    /// Its address, when it was connected to from here.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub url: Option<String>,
    /// What both covered, when it was first noticed.
    pub position: String,
    /// The root here, and there.
    pub root: String,
    /// See `root`.
    pub theirs: String,
    /// When, by the clock of this machine, in milliseconds since the Unix epoch.
    pub time_ms: u64,
    /// The tables that differ.
    pub tables: Vec<Differs>,
}

/// A table that two replicas hold differently.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Differs {
    /// Its name.
    pub table: String,
    /// How many rows it has here, and there.
    pub rows: u64,
    /// See `rows`.
    pub theirs: u64,
}

/// A state of this replica, hashed.
#[derive(Debug, Clone)]
struct Known {
    coverage: Coverage,
    digest: Digest,
    /// What is inside scopes that connections are served within, by the scopes' bytes.
    parts: BTreeMap<Bytes, Digest>,
}

/// A state to be hashed.
#[derive(Debug)]
pub(super) struct Job {
    pub(super) frozen: Frozen,
    /// Inside these scopes, too.
    pub(super) scopes: Vec<Arc<Named>>,
    /// Before the replica came to hold something else.
    era: u64,
}

/// What a state was hashed to.
#[derive(Debug)]
pub(super) struct Hashed {
    coverage: Coverage,
    digest: Digest,
    parts: BTreeMap<Bytes, Digest>,
    era: u64,
}

impl Job {
    /// Hashes it. Reads every row, once for each scope and once more.
    pub(super) fn run(self) -> crate::Result<Hashed> {
        let Self { frozen, scopes, era } = self;
        let parts = scopes.iter().map(|scope| (scope.id().clone(), frozen.digest_within(&**scope)));
        let parts = parts.collect();
        let (coverage, digest) = (frozen.coverage().clone(), frozen.digest());
        super::sound(frozen.trouble())?;
        Ok(Hashed { coverage, digest, parts, era })
    }
}

#[derive(Debug, Default)]
pub(super) struct Audit {
    /// Where connected replicas look at their states, and this one has not been yet.
    marks: BTreeMap<PeerId, Coverage>,
    /// What they say that it is.
    claims: BTreeMap<PeerId, Claim>,
    /// The coverage of the last root that each was told.
    told: BTreeMap<PeerId, Coverage>,
    /// And at which each was last found equal.
    proved: BTreeMap<PeerId, Coverage>,
    known: VecDeque<Known>,
    jobs: VecDeque<Job>,
    era: u64,
    /// What is being hashed.
    busy: Option<Coverage>,
    /// Not before this another state is looked at: because this replica would, or because another one does.
    next: Duration,
    rest: Duration,
    /// Somebody wants to know now.
    wanted: bool,
    proofs: BTreeMap<String, Proof>,
    alarms: Vec<Alarm>,
}

impl Audit {
    pub(super) fn with_alarms(alarms: Vec<Alarm>) -> Self {
        Self { alarms, ..Self::default() }
    }

    fn known(&self, coverage: &Coverage) -> Option<&Known> {
        self.known.iter().find(|known| known.coverage == *coverage)
    }

    /// What a state hashes to, if that is known.
    pub(super) fn digest_at(&self, coverage: &Coverage) -> Option<&Digest> {
        self.known(coverage).map(|known| &known.digest)
    }

    pub(super) fn learn(&mut self, coverage: Coverage, digest: Digest) {
        if self.known(&coverage).is_none() {
            if self.known.len() == KNOWN {
                self.known.pop_front();
            }
            self.known.push_back(Known { coverage, digest, parts: BTreeMap::new() });
        }
    }

    fn is_looked_at(&self, coverage: &Coverage) -> bool {
        self.known(coverage).is_some()
            || self.busy.as_ref() == Some(coverage)
            || self.jobs.iter().any(|job| job.frozen.coverage() == coverage)
    }

    fn is_underway(&self, coverage: &Coverage) -> bool {
        self.busy.as_ref() == Some(coverage) || self.jobs.iter().any(|job| job.frozen.coverage() == coverage)
    }

    /// The next state to hash, if nobody is at one.
    pub(super) fn begin(&mut self) -> Option<Job> {
        if self.busy.is_some() {
            return None;
        }
        let job = self.jobs.pop_front()?;
        self.busy = Some(job.frozen.coverage().clone());
        Some(job)
    }

    fn job(&self, frozen: Frozen, scopes: Vec<Arc<Named>>) -> Job {
        Job { frozen, scopes, era: self.era }
    }

    /// What the alarms are of has been dealt with.
    pub(super) fn settle_alarms(&mut self) {
        self.alarms.clear();
    }

    /// The replica holds another part of the rows, or others: what states of it hashed to says nothing any more.
    pub(super) fn begin_anew(&mut self) {
        let alarms = std::mem::take(&mut self.alarms);
        *self = Self { alarms, era: self.era + 1, ..Self::default() };
    }

    /// Nobody is at it after all.
    pub(super) fn give_up(&mut self) {
        self.busy = None;
    }

    pub(super) fn proofs(&self) -> impl Iterator<Item = &Proof> {
        self.proofs.values()
    }

    pub(super) fn alarms(&self) -> &[Alarm] {
        &self.alarms
    }

    /// Whether a connection's other end was found equal at so much or more.
    pub(super) fn has_proved(&self, peer: PeerId, coverage: &Coverage) -> bool {
        self.proved.get(&peer).is_some_and(|proved| proved.includes(coverage))
    }
}

impl Core {
    /// Whether the next records bring this replica to a coverage at which another one looks at its state.
    pub(super) fn comes_to_a_mark(&self) -> bool {
        let (here, soon) = (self.node.state().coverage(), self.node.appended());
        let marks = &self.beside.audit.marks;
        marks.values().any(|mark| mark != here && mark.includes(here) && soon.includes(mark))
    }

    /// Takes the rows when this is where another replica does.
    pub(super) fn pass_marks(&mut self, now: Duration) {
        let audit = &mut self.beside.audit;
        if audit.marks.is_empty() {
            return;
        }
        let here = self.node.state().coverage();
        let is_there = audit.marks.values().any(|mark| mark == here);
        audit.marks.retain(|_, mark| mark != here && mark.includes(here));
        let may = now >= audit.rest && audit.jobs.len() < JOBS;
        if is_there && may && !audit.is_looked_at(here) {
            let job = audit.job(self.node.state().frozen(), Vec::new());
            audit.jobs.push_back(job);
        }
    }

    pub(super) fn marked(&mut self, peer: PeerId, coverage: Coverage, now: Duration) {
        self.beside.audit.marks.insert(peer, coverage);
        self.pass_marks(now);
    }

    pub(super) fn claimed(&mut self, peer: PeerId, claim: Claim, now: Duration, now_ms: u64) {
        if !self.beside.audit.is_looked_at(&claim.coverage) {
            self.marked(peer, claim.coverage.clone(), now);
        }
        self.beside.audit.claims.insert(peer, claim);
        self.compare(now_ms);
    }

    /// Another replica wants to know whether it holds what this one does.
    pub(super) fn asked_to_prove(&mut self, peer: PeerId, now: Duration) {
        self.beside.audit.told.remove(&peer);
        self.want_proof(now);
    }

    /// Compares now: looks at the state, or asks who does.
    pub(super) fn want_proof(&mut self, now: Duration) {
        if self.node.is_hub() {
            self.beside.audit.wanted = true;
            self.look(now);
        } else {
            self.beside.audit.rest = now;
            self.peers.keys().copied().collect::<Vec<_>>().into_iter().for_each(|peer| self.say(peer, Note::Prove));
        }
    }

    pub(super) fn tick_audit(&mut self, now: Duration) {
        let (peers, audit) = (&self.peers, &mut self.beside.audit);
        audit.marks.retain(|peer, _| peers.contains_key(peer));
        audit.claims.retain(|peer, _| peers.contains_key(peer));
        audit.told.retain(|peer, _| peers.contains_key(peer));
        audit.proved.retain(|peer, _| peers.contains_key(peer));
        if self.node.is_hub() {
            self.look(now);
        }
    }

    /// Looks at this hub's state, when it is time; tells those who are connected what it is, or where it is being looked at.
    fn look(&mut self, now: Duration) {
        let here = self.node.state().coverage().clone();
        if here.is_empty() {
            return;
        }
        let scopes = self.scopes_unknown(&here);
        let known = self.beside.audit.known(&here).is_some();
        if known {
            self.tell_root(&here);
        }
        if known && scopes.is_empty() {
            self.beside.audit.wanted = false;
            return;
        }
        let audit = &mut self.beside.audit;
        if (!known && audit.is_looked_at(&here))
            || (known && audit.is_underway(&here))
            || audit.jobs.len() == JOBS
            || (now < audit.next && !audit.wanted)
        {
            return;
        }
        audit.wanted = false;
        let job = audit.job(self.node.state().frozen(), scopes);
        audit.jobs.push_back(job);
        for peer in self.peers.keys().copied().collect::<Vec<_>>() {
            self.say(peer, Note::Mark(here.clone()));
        }
    }

    /// Tells everybody who was not what the state hashes to at a coverage.
    fn tell_root(&mut self, coverage: &Coverage) {
        let told = &self.beside.audit.told;
        let untold = self.peers.keys().filter(|peer| told.get(peer) != Some(coverage)).copied();
        for peer in untold.collect::<Vec<_>>() {
            self.tell_root_to(peer, coverage);
        }
    }

    fn tell_root_to(&mut self, peer: PeerId, coverage: &Coverage) {
        let Some(digest) = self.digest_for(peer, coverage).cloned() else { return };
        self.beside.audit.told.insert(peer, coverage.clone());
        let replica = super::replica_of(&self.home);
        self.say(peer, Note::Root(Claim { replica, coverage: coverage.clone(), digest }));
    }

    /// What the other end of a connection has to hold at a coverage hashes to, if that is known.
    fn digest_for(&self, peer: PeerId, coverage: &Coverage) -> Option<&Digest> {
        let known = self.beside.audit.known(coverage)?;
        match self.beside.served_within.get(&peer) {
            Some(scope) => known.parts.get(scope.id()),
            None => Some(&known.digest),
        }
    }

    /// The scopes that connections are served within, and of which it is not known what a state is inside of them.
    fn scopes_unknown(&self, coverage: &Coverage) -> Vec<Arc<Named>> {
        let known = self.beside.audit.known(coverage);
        let has = |scope: &Named| known.is_some_and(|known| known.parts.contains_key(scope.id()));
        let mut all: Vec<Arc<Named>> = Vec::new();
        for scope in self.beside.served_within.values() {
            if !has(scope) && all.iter().all(|known| known.id() != scope.id()) {
                all.push(Arc::clone(scope));
            }
        }
        all
    }

    /// A state has been hashed, which took a while.
    pub(super) fn hashed(&mut self, hashed: Hashed, took: Duration, now: Duration, now_ms: u64) {
        let Hashed { coverage, digest, parts, era } = hashed;
        let audit = &mut self.beside.audit;
        if era != audit.era || self.renewal.is_some() {
            return;
        }
        let coverage = &coverage;
        audit.busy = None;
        audit.next = now + EVERY.max(took * SHARE);
        // What takes no time is done as often as others ask for it.
        audit.rest = if took < QUICK { now } else { now + took * (SHARE / 2) };
        audit.learn(coverage.clone(), digest);
        if let Some(known) = audit.known.iter_mut().find(|known| known.coverage == *coverage) {
            known.parts.extend(parts);
        }
        if self.node.is_hub() {
            self.tell_root(coverage);
        }
        self.compare(now_ms);
    }

    /// Compares what others say with what is known here.
    fn compare(&mut self, now_ms: u64) {
        let known = |peer, coverage: &Coverage| self.digest_for(peer, coverage).is_some();
        let audit = &self.beside.audit;
        let ready: Vec<PeerId> =
            audit.claims.iter().filter(|(peer, claim)| known(**peer, &claim.coverage)).map(|(peer, _)| *peer).collect();
        let (here, audit) = (self.node.state().coverage(), &mut self.beside.audit);
        let claims: Vec<_> = ready.iter().filter_map(|peer| Some((*peer, audit.claims.remove(peer)?))).collect();
        // What cannot be come to any more is not waited for.
        let mut gone = std::mem::take(&mut audit.claims);
        gone.retain(|_, claim| claim.coverage.includes(here) || audit.is_looked_at(&claim.coverage));
        audit.claims = gone;
        for (peer, claim) in claims {
            self.judge(peer, &claim, now_ms);
            if self.beside.audit.told.get(&peer) != Some(&claim.coverage) {
                self.tell_root_to(peer, &claim.coverage);
            }
        }
    }

    fn judge(&mut self, peer: PeerId, claim: &Claim, now_ms: u64) {
        let Some(mine) = self.digest_for(peer, &claim.coverage).cloned() else { return };
        let url = self.beside.links.get(&peer).and_then(|link| link.url.clone());
        let audit = &mut self.beside.audit;
        if mine.root == claim.digest.root {
            if audit.proofs.len() >= PROOFS && !audit.proofs.contains_key(&claim.replica) {
                audit.proofs.clear();
            }
            let (replica, coverage, root) = (claim.replica.clone(), claim.coverage.clone(), claim.digest.root);
            audit.proved.insert(peer, coverage.clone());
            audit.proofs.insert(replica.clone(), Proof { replica, url, coverage, root, time_ms: now_ms });
            return;
        }
        let alarm = Alarm {
            replica: claim.replica.clone(),
            url,
            position: token::of_coverage(&claim.coverage),
            root: mine.root.to_string(),
            theirs: claim.digest.root.to_string(),
            time_ms: now_ms,
            tables: differing(&mine.tables, &claim.digest.tables),
        };
        audit.proofs.remove(&claim.replica);
        tracing::error!(
            replica = alarm.replica, position = alarm.position, root = alarm.root, theirs = alarm.theirs, tables = ?alarm.tables,
            "this replica and another one have the same transactions and hold different rows"
        );
        // The first of each replica says most; it stays.
        if audit.alarms.len() < ALARMS && audit.alarms.iter().all(|known| known.replica != alarm.replica) {
            audit.alarms.push(alarm);
            if let Err(error) = self.home.write_alarms(&self.beside.audit.alarms) {
                tracing::error!(%error, "the alarm could not be written down; it is lost when this process ends");
            }
        }
    }
}

/// The tables of two states that are not the same.
fn differing(mine: &[TableDigest], theirs: &[TableDigest]) -> Vec<Differs> {
    let mut tables: BTreeMap<&str, [Option<&TableDigest>; 2]> = BTreeMap::new();
    for (at, side) in [mine, theirs].into_iter().enumerate() {
        side.iter().for_each(|table| tables.entry(&table.table).or_default()[at] = Some(table));
    }
    let differs = tables.into_iter().filter(|(_, [mine, theirs])| mine != theirs);
    let rows = |table: Option<&TableDigest>| table.map_or(0, |table| table.rows);
    differs
        .map(|(table, [mine, there])| Differs { table: table.to_owned(), rows: rows(mine), theirs: rows(there) })
        .collect()
}
