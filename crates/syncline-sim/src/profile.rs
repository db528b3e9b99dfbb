//! What a seed does to its world: how many nodes, how much of each trouble.
//!
//! Every trouble is absent in half of the seeds, so that each is also seen without the others ("swarm testing", Groce,
//! Zhang, Eide, Chen, Regehr, 2012).

use syncline_base::rng::Rng;

/// The most rows that clients write.
pub const KEYS: u8 = 4;

/// Something that can happen in a step.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Act {
    /// A client reads and keeps what it was told.
    Read,
    /// A client writes one or more rows.
    Write,
    /// A message arrives.
    Deliver,
    /// A disk makes what was appended durable, or part of it.
    Sync,
    /// Time passes for a node.
    Tick,
    /// Two nodes are connected, or cut off from each other.
    Connect,
    /// See [`Act::Connect`].
    Cut,
    /// A message is lost, doubled or overtaken.
    Garble,
    /// A process is killed, or the power fails.
    Crash,
    /// A node that is down is started.
    Start,
    /// A wall clock jumps.
    Jump,
    /// A copy of a disk is put aside.
    Backup,
    /// A disk is replaced by the copy that was put aside.
    Restore,
    /// A disk is replaced by that of another node, which goes on.
    Copy,
    /// A node takes or gives up a hub's part.
    Role,
    /// A log is replaced by a checkpoint, and old entries are given up.
    Checkpoint,
    /// The entries that can be served are cut.
    CutLog,
    /// A spoke wants another part of the rows.
    Scope,
    /// A disk fails some calls from now on.
    Fail,
}

/// Acts and how often they happen beside each other: without trouble, then with.
const WORK: [(Act, u64); 6] =
    [(Act::Read, 12), (Act::Write, 16), (Act::Deliver, 40), (Act::Sync, 30), (Act::Connect, 8), (Act::Tick, 4)];
const TROUBLE: [(Act, u64); 12] = [
    (Act::Cut, 4),
    (Act::Garble, 4),
    (Act::Crash, 4),
    (Act::Start, 8),
    (Act::Jump, 4),
    (Act::Backup, 3),
    (Act::Restore, 2),
    (Act::Copy, 1),
    (Act::Role, 2),
    (Act::Checkpoint, 3),
    (Act::CutLog, 4),
    (Act::Fail, 3),
];

/// The shape of one run.
#[derive(Debug, Clone)]
pub struct Profile {
    /// How many nodes.
    pub nodes: usize,
    /// How many of them begin as hubs.
    pub hubs: usize,
    /// How many steps before the world heals.
    pub steps: usize,
    /// How many clients read and write.
    pub clients: usize,
    /// In how many of 8 cases a client writes after what it read last, not after what it reads now.
    pub stale: u64,
    /// Whether time passes for nodes at all. Where connections lose nothing nobody needs it.
    pub ticks: bool,
    /// Whether rows go from memory to the disk.
    pub folds: bool,
    /// Whether some spokes may hold a part of the rows only. Drawn of each of them.
    pub scopes: bool,
    /// Whether some rows are of a strict table.
    pub strict: bool,
    /// Whether rows may rot, in worlds that have such luck.
    pub rots: bool,
    acts: Vec<(Act, u64)>,
    total: u64,
}

impl Profile {
    /// The profile of a seed: `nodes` and `steps` as given, the rest drawn.
    pub fn draw(rng: &mut Rng, nodes: usize, steps: usize) -> Self {
        let mut acts: Vec<(Act, u64)> = WORK.to_vec();
        for (act, most) in TROUBLE {
            if act == Act::Start || rng.below(2) == 0 {
                acts.push((act, 1 + rng.below(most)));
            }
        }
        let total = acts.iter().map(|(_, weight)| weight).sum();
        let hubs = 1 + rng.below(nodes.min(3) as u64) as usize;
        let (clients, stale) = (1 + rng.below(4) as usize, rng.below(7));
        let reliable = !acts.iter().any(|(act, _)| *act == Act::Garble);
        // Looks at the next number without taking it.
        let mut ahead = rng.clone();
        let ticks = !reliable || ahead.below(2) == 0;
        let scopes = ahead.below(8) == 0;
        let folds = ahead.below(2) == 0;
        let strict = ahead.below(8) == 0;
        Self { nodes, hubs, steps, clients, stale, ticks, folds, scopes, strict, rots: true, acts, total }
    }

    /// The same with spokes that change the part of the rows that they hold.
    #[must_use]
    pub fn with_scopes(mut self) -> Self {
        self.acts.push((Act::Scope, 3));
        self.total += 3;
        self
    }

    /// What happens next.
    pub fn act(&self, rng: &mut Rng) -> Act {
        let mut at = rng.below(self.total);
        for (act, weight) in &self.acts {
            if at < *weight {
                return *act;
            }
            at -= weight;
        }
        Act::Deliver
    }
}
