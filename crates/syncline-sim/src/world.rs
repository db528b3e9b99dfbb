//! A whole cluster in one thread: nodes, disks, connections, clocks, clients and bad luck, all from one seed.
//!
//! The nodes are the product's ([`syncline_sync::live::Node`]); everything around them is simulated. Each step does one thing.
//! In the end the world heals: all nodes run, all are connected, and within a bounded number of rounds they must hold the same.
//!
//! Not here: what is right. That is for the oracle, which is told everything that happens.

mod clients;
mod disk;
mod faults;
mod heal;
mod judge;
mod machine;
mod net;
mod rot;
mod scopes;
mod strict;
mod trace;

use std::fmt;

use syncline_base::Hash;
use syncline_base::rng::Rng;
use syncline_sync::live::{Denial, Message, Origin, Output, Record, SLACK_MS, What, Zoo};

use crate::oracle::{Audit, Oracle, Violation};
use crate::profile::{Act, Profile};
use crate::sights::{Sight, Sights};
use clients::Client;
use disk::Decoded;
use judge::Judge;
use machine::Machine;
use net::Net;
use trace::Trace;

/// Where wall clocks begin.
const START_MS: u64 = 1_700_000_000_000;

/// Why a run failed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Failure {
    /// A rule was broken.
    #[error(transparent)]
    Violation(#[from] Violation),
    /// A node wrote something that no client asked for.
    #[error("node {0} wrote a transaction that no client asked for")]
    WrittenByMachine(usize),
    /// A writer's clock went back.
    #[error("node {0} gave a transaction a time that is not after the one before it in its chain")]
    ClockWentBack(usize),
    /// Healed, and still not done.
    #[error("the world has healed, but after {rounds} rounds {}{unfinished}: {standing}", if *.ticks { "" } else { "without a tick, which nobody needs who lost nothing on connections, " })]
    NeverQuiet {
        /// How long it had.
        rounds: usize,
        /// Whether time passed for nodes.
        ticks: bool,
        /// What was left to do.
        unfinished: Unfinished,
        /// What each node has.
        standing: String,
    },
    /// A node is not what its log says.
    #[error("node {0} and the node that its disk gives have different {1}: {2}")]
    Reopened(usize, &'static str, String),
    /// A signature was doubted, and nobody forges any.
    #[error("node {0} does not believe what an honest one has signed: {1}")]
    Distrusted(usize, String),
    /// An update of a strict row was let in whose writer had not read another one that was let in before.
    #[error(
        "entry {1} of the certifier was let in and overwrites, or builds on what was so before, entry {0}, which its writer had not read"
    )]
    LostUpdate(u64, u64),
    /// A strict row is in conflict.
    #[error("all writes of a strict row were let in one after another, and it is in conflict")]
    StrictConflict,
    /// Everybody has everything, and not the signatures for it.
    #[error("node {0} has all transactions, and not all signatures: {1}")]
    Unattested(usize, String),
    /// A log could not be read, or a message.
    #[error("what was written could not be read: {0}")]
    Unreadable(String),
}

/// What a healed world has left to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unfinished {
    /// Nodes cover different entries.
    Coverage,
    /// All cover the same, and a transaction waits that nobody takes in.
    Waiting,
    /// Something is always on its way to a node or to a disk.
    Busy,
}

impl fmt::Display for Unfinished {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Coverage => "nodes still differ",
            Self::Waiting => "nobody has taken in what waits",
            Self::Busy => "nodes have no end of it",
        })
    }
}

impl From<syncline_sync::Error> for Failure {
    fn from(error: syncline_sync::Error) -> Self {
        Self::Unreadable(error.to_string())
    }
}

/// What a run was like.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Summary {
    /// What became of the transactions.
    pub audit: Audit,
    /// What it met.
    pub sights: Sights,
    /// Over everything that happened, in order: equal for equal seeds.
    pub trace: Hash,
}

/// The cluster.
#[derive(Debug)]
pub struct World {
    rng: Rng,
    /// Chance of its own for rows on their way to a disk: what else a seed does is as it was before there was such a thing.
    folds: Rng,
    /// The same for what spokes show before it is on their disks.
    shows: Rng,
    strict: strict::Strict,
    rot: Option<Rng>,
    profile: Profile,
    machines: Vec<Machine>,
    net: Net,
    clients: Vec<Client>,
    judge: Judge,
    /// Every name under which something was taken in.
    hubs: Vec<Origin>,
    zoo: Zoo,
    decoded: Decoded,
    now_ms: u64,
    next_value: u64,
    trace: Trace,
    /// Room for what a node wants done; empty.
    outputs: Vec<Output>,
    sights: Sights,
    told: Option<Vec<String>>,
}

impl World {
    /// The world of a seed. `tell` keeps an account of what happens for people to read.
    #[must_use]
    pub fn new(seed: u64, nodes: usize, steps: usize, zoo: Zoo, tell: bool) -> Self {
        Self::make(seed, nodes, steps, (zoo, true), tell)
    }

    /// The same, where everybody holds everything, no table is strict, and no row rots.
    #[must_use]
    pub fn without_scopes(seed: u64, nodes: usize, steps: usize, zoo: Zoo, tell: bool) -> Self {
        Self::make(seed, nodes, steps, (zoo, false), tell)
    }

    fn make(seed: u64, nodes: usize, steps: usize, (zoo, scopes): (Zoo, bool), tell: bool) -> Self {
        let mut rng = Rng::from_seed(seed);
        let mut profile = Profile::draw(&mut rng, nodes, steps);
        profile.scopes &= scopes;
        profile.strict &= scopes;
        profile.rots = scopes;
        if profile.scopes {
            profile = profile.with_scopes();
        }
        let mut world = Self {
            machines: Vec::new(),
            net: Net::new(nodes),
            clients: vec![Client::default(); profile.clients],
            judge: Judge::new(Oracle::new(SLACK_MS << 16)),
            hubs: Vec::new(),
            zoo,
            decoded: Decoded::default(),
            now_ms: START_MS,
            next_value: 1,
            trace: Trace::default(),
            outputs: Vec::new(),
            sights: Sights::default(),
            told: tell.then(Vec::new),
            folds: Rng::from_seed(seed ^ 0x666f_6c64),
            shows: Rng::from_seed(seed ^ 0x7368_6f77),
            strict: strict::Strict::new(seed),
            rot: rot::chance(seed),
            rng,
            profile,
        };
        for at in 0..nodes {
            let machine = Machine::create(world.rng.next_u64(), at, at < world.profile.hubs, zoo);
            let mut machine = machine.expect("a new disk in memory takes a new log");
            if world.profile.scopes && at >= world.profile.hubs {
                machine.draw_scope();
            }
            world.machines.push(machine);
        }
        world
    }

    /// Runs to the end.
    ///
    /// # Errors
    /// The first thing that was wrong.
    pub fn run(&mut self) -> Result<Summary, Failure> {
        for at in 0..self.machines.len() {
            self.absorb(at, None)?;
            self.sync_all(at)?;
        }
        for _ in 0..self.profile.steps {
            self.now_ms += self.rng.below(40);
            let act = self.profile.act(&mut self.rng);
            self.step(act)?;
            if self.profile.strict {
                self.certify_some()?;
            }
            if self.profile.folds && self.folds.below(8) == 0 {
                self.fold_some()?;
            }
            self.rot_some()?;
        }
        let audit = self.heal()?;
        Ok(Summary { audit, sights: self.sights, trace: self.trace.finish() })
    }

    /// What happened, when it was asked for.
    pub fn account(&self) -> impl Iterator<Item = &str> {
        self.told.iter().flatten().map(String::as_str)
    }

    fn tell(&mut self, what: impl FnOnce() -> String) {
        if let Some(told) = &mut self.told {
            told.push(what());
        }
    }

    fn pick(&mut self, n: usize) -> usize {
        usize::try_from(self.rng.below(n as u64)).unwrap_or_default()
    }

    fn step(&mut self, act: Act) -> Result<(), Failure> {
        let at = self.pick(self.machines.len());
        match act {
            Act::Read => self.read(at),
            Act::Write => self.write(at),
            Act::Deliver => self.deliver_some(),
            Act::Sync => self.sync_some(at),
            Act::Tick if self.profile.ticks => self.tick(at),
            Act::Tick => Ok(()),
            Act::Connect => self.connect_some(at),
            Act::Cut => self.cut_some(),
            Act::Garble => {
                self.net.garble(&mut self.rng);
                Ok(())
            }
            Act::Crash => self.crash(at),
            Act::Start => self.start_some(at),
            Act::Jump => {
                self.jump(at);
                Ok(())
            }
            Act::Backup => self.back_up(at),
            Act::Fail => {
                self.machines[at].disk.fail(&mut self.rng);
                Ok(())
            }
            Act::Restore => self.restore(at),
            Act::Copy => self.copy(at),
            Act::Role => self.change_role(at),
            Act::Checkpoint => self.checkpoint(at),
            Act::CutLog => self.cut_log(at),
            Act::Scope => self.change_scope(at),
        }
    }

    fn now(&self, at: usize) -> u64 {
        self.now_ms.saturating_add_signed(self.machines[at].skew_ms)
    }

    fn jump(&mut self, at: usize) {
        let span = [50, 2_000, 60_000, 315_360_000_000][self.pick(4)];
        let back = self.rng.below(2) == 0;
        let by = i64::try_from(self.rng.below(span)).unwrap_or_default();
        self.machines[at].skew_ms = if back { -by } else { by };
        if by > 31_536_000_000 {
            self.sights.saw(Sight::YearOff);
        }
        self.tell(|| format!("the clock of {at} is {by} ms {}", if back { "behind" } else { "ahead" }));
    }

    fn tick(&mut self, at: usize) -> Result<(), Failure> {
        let now = self.now(at);
        let Some(node) = &mut self.machines[at].node else { return Ok(()) };
        node.tick_peers(now);
        self.absorb(at, None)
    }

    fn sync_some(&mut self, at: usize) -> Result<(), Failure> {
        let machine = &self.machines[at];
        if machine.node.is_none() || (machine.disk.unsynced() == 0 && !machine.disk.awaits_checkpoint()) {
            return Ok(());
        }
        let done = match self.rng.below(4) {
            0 => self.machines[at].disk.begin().map(|()| 0),
            1 => self.machines[at].disk.finish(),
            _ => self.machines[at].disk.sync(),
        };
        self.synced(at, done)
    }

    fn sync_all(&mut self, at: usize) -> Result<(), Failure> {
        let done = self.machines[at].disk.sync();
        self.synced(at, done)
    }

    /// So many records are durable; or the disk has failed, and the process with it.
    fn synced(&mut self, at: usize, done: syncline_sync::Result<u64>) -> Result<(), Failure> {
        let Ok(n) = done else { return self.disk_failed(at) };
        let machine = &mut self.machines[at];
        machine.retire();
        // Its new name is written down.
        machine.moved &= machine.disk.unsynced() > 0;
        let Some(node) = &mut machine.node else { return Ok(()) };
        let renewed = node.renews();
        node.synced(n);
        if renewed && !node.renews() {
            self.sights.saw(Sight::Renewed);
        }
        if n > 0 && self.told.is_some() {
            let coverage = node.state().coverage().clone();
            self.tell(|| format!("{at} has {n} more records on its disk and covers {coverage:?}"));
        }
        self.absorb(at, None)?;
        self.observe(at)
    }

    /// A spoke shows some of what has come and is not on its disk yet.
    fn show_some(&mut self, at: usize) -> Result<(), Failure> {
        let most = [0, 0, 1, u64::MAX][self.shows.below(4) as usize];
        let Some(node) = &mut self.machines[at].node else { return Ok(()) };
        if node.show(most) == 0 {
            return Ok(());
        }
        self.sights.saw(Sight::ShownEarly);
        if self.told.is_some() {
            let coverage = node.state().coverage().clone();
            self.tell(|| format!("{at} shows {coverage:?}"));
        }
        self.absorb(at, None)?;
        if self.shows.below(4) == 0 { self.observe(at) } else { Ok(()) }
    }

    fn change_role(&mut self, at: usize) -> Result<(), Failure> {
        let now = self.now(at);
        if self.machines[at].may_scope {
            return Ok(());
        }
        let Some(node) = &mut self.machines[at].node else { return Ok(()) };
        let hub = !node.is_hub();
        node.set_hub(now, hub);
        self.sights.saw(Sight::Role);
        self.tell(|| format!("{at} is {} a hub", if hub { "now" } else { "no longer" }));
        self.absorb(at, None)
    }

    fn checkpoint(&mut self, at: usize) -> Result<(), Failure> {
        let machine = &mut self.machines[at];
        if machine.renews() {
            return Ok(());
        }
        let Some(checkpoint) = machine.node.as_ref().and_then(syncline_sync::live::Node::checkpoint) else {
            return Ok(());
        };
        self.tell(|| format!("{at} writes a checkpoint"));
        let below = checkpoint.closing().below.is_some();
        match self.machines[at].disk.checkpoint(checkpoint.records()) {
            Ok(false) => Ok(()),
            Ok(true) => {
                self.sights.saw(Sight::Checkpoint);
                if below {
                    self.sights.saw(Sight::OnRuns);
                }
                self.machines[at].wrote_checkpoint();
                Ok(())
            }
            Err(_) => self.disk_failed(at),
        }
    }

    /// Rows go from memory to the disk; sometimes more happens between the beginning of that and its end.
    fn fold_some(&mut self) -> Result<(), Failure> {
        let mut at = self.folds.below(self.machines.len() as u64) as usize;
        // A state is not on its way for long.
        if self.folds.below(2) == 0 {
            at = self.machines.iter().position(Machine::spills).unwrap_or(at);
        }
        let machine = &mut self.machines[at];
        let what = self.folds.below(4);
        // What is damaged is not written anew.
        if machine.renews() && !(machine.spills() || what < 2) {
            return Ok(());
        }
        if machine.spills() {
            self.sights.saw(Sight::Spilled);
        }
        let told = match what {
            0 => machine.begin_merge()?.then_some("merges runs"),
            1 => machine.end_merge().then_some("has merged runs"),
            2 => machine.begin_fold()?.then_some("writes rows to a run"),
            _ => machine.end_fold().then_some("has written rows to a run"),
        };
        let Some(told) = told else { return Ok(()) };
        self.sights.saw(Sight::Folded);
        self.tell(|| format!("{at} {told}"));
        self.observe(at)
    }

    fn cut_log(&mut self, at: usize) -> Result<(), Failure> {
        let keep = self.pick(4);
        let Some(node) = &mut self.machines[at].node else { return Ok(()) };
        node.cut_log(keep);
        self.tell(|| format!("{at} keeps {keep} entries of its log"));
        Ok(())
    }

    /// A log that failed takes nothing more: its process ends.
    fn disk_failed(&mut self, at: usize) -> Result<(), Failure> {
        self.tell(|| format!("the disk of {at} fails"));
        self.sights.saw(Sight::DiskFailed);
        self.crash(at)
    }

    /// Notes what an output shows.
    fn sight(&mut self, output: &Output) {
        let sight = match output {
            Output::Send(_, message) => match message {
                Message::Known(_) => Sight::Known,
                Message::Close { .. } => Sight::Snapshot,
                Message::Part { part, .. } if matches!(part.what, What::Same(_)) => Sight::Same,
                Message::Hello { parts: Some(_), .. } => Sight::PartsKept,
                Message::Later(_) => Sight::Later,
                Message::Refused(_) => Sight::Refused,
                Message::Ask => Sight::Asked,
                _ => return,
            },
            Output::Append(Record::Joined(_)) => Sight::Joined,
            Output::Append(Record::Scope(_)) => Sight::Scoped,
            Output::Append(Record::Rescoped(_)) => Sight::Rescoped,
            Output::Append(Record::Entry(entry)) if !entry.txn.is_whole() => Sight::Partial,
            Output::Append(Record::Part(part)) if part.nth > 0 => Sight::Parts,
            Output::Renamed(_) => Sight::Renamed,
            Output::Rewritten(_) => Sight::Rewritten,
            _ => return,
        };
        self.sights.saw(sight);
    }

    /// Takes what a node wants done to where it is done, and tells the oracle.
    fn absorb(&mut self, at: usize, client: Option<&clients::Asked>) -> Result<(), Failure> {
        let Some(node) = &mut self.machines[at].node else { return Ok(()) };
        let mut outputs = std::mem::take(&mut self.outputs);
        node.outputs_into(&mut outputs);
        let mut done = Ok(true);
        for output in outputs.drain(..) {
            done = self.absorb_one(at, output, client);
            if !matches!(done, Ok(true)) {
                break;
            }
        }
        self.outputs = outputs;
        done.map(|_| ())
    }

    /// One of these. Whether what comes after it happens.
    fn absorb_one(&mut self, at: usize, output: Output, client: Option<&clients::Asked>) -> Result<bool, Failure> {
        self.trace.add(&[at as u8]);
        self.sight(&output);
        self.judge_output(at, &output, client)?;
        match output {
            Output::Append(record) => {
                if let Record::Named(name) = record {
                    self.tell(|| format!("{at} is called {name:?} now"));
                    self.machines[at].names.push(name);
                }
                let trace = &mut self.trace;
                if self.machines[at].disk.append(&record, |bytes| trace.add(bytes)).is_err() {
                    self.disk_failed(at)?;
                    return Ok(false);
                }
            }
            Output::Send(to, message) => {
                self.trace.add(&to.to_le_bytes());
                self.tell(|| format!("{at} -> {to}: {message:?}"));
                self.net.send(at, usize::try_from(to).unwrap_or_default(), message);
            }
            Output::Committed(..) | Output::Renamed(_) => {}
            Output::Contradicted(peer, head) => {
                self.tell(|| format!("{at} has {head:?} of {peer}, which contradicts"));
            }
            Output::Denied(peer, dot, why) | Output::Doubted(peer, dot, why) => {
                // Copies that are run without knowing sign two histories; nobody forges, and no key is revoked.
                self.tell(|| format!("{at} and {peer}: {dot:?} is not taken: {why:?}"));
                if why != Denial::Unsigned {
                    return Err(Failure::Distrusted(at, format!("{dot:?}: {why:?}")));
                }
            }
            Output::Rewritten(pairs) => self.tell(|| format!("{at} has written again: {pairs:?}")),
        }
        Ok(true)
    }
}
