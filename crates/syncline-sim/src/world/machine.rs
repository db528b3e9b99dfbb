//! A machine: a node when it runs, a disk, a clock that is wrong, and what is left in the cupboard.

use std::sync::Arc;

use syncline_base::Hash;
use syncline_base::rng::Rng;
use syncline_sync::live::{Config, Dot, Fold, Limits, Merge, Node, Origin, Run, Zoo};

use super::disk::{Decoded, Disk, Image};

/// One machine.
#[derive(Debug)]
pub(super) struct Machine {
    /// `None` while it is down.
    pub(super) node: Option<Node>,
    pub(super) disk: Disk,
    /// Rows that were written to a run, of which the node has not been told; and runs that were merged.
    pub(super) folded: Option<(Fold, Arc<Run>)>,
    pub(super) merged: Option<(Merge, Arc<Run>)>,
    /// Runs that were merged, and that the last checkpoint may stand on.
    replaced: Vec<Arc<Run>>,
    /// Those that no checkpoint will stand on once the one is durable that is on its way.
    retiring: Vec<Arc<Run>>,
    /// How far its wall clock is off.
    pub(super) skew_ms: i64,
    /// An older copy of the disk.
    pub(super) backup: Option<Image>,
    /// Every name that it has had, and what it wrote under them, as far as it is not gone.
    pub(super) names: Vec<Origin>,
    pub(super) wrote: Vec<Dot>,
    /// Everything that it, or a disk that it got, ever wrote.
    pub(super) ever: Vec<Dot>,
    /// Names under which it has taken something in.
    pub(super) took: Vec<Origin>,
    /// Its disk is not the one on which its name was written down, and it notices.
    pub(super) moved: bool,
    /// Whether it may hold a part of the rows, and which one it wants.
    pub(super) may_scope: bool,
    pub(super) wants: Option<usize>,
    seed: u64,
    starts: u64,
    limits: Limits,
    zoo: Zoo,
}

/// Small ones for most, so that what is sent and kept comes in parts.
fn limits(seed: u64) -> Limits {
    let pick = |shift: u32, of: [u64; 4]| of[(seed >> shift) as usize % 4];
    Limits {
        message_bytes: pick(8, [1, 64, 300, 1 << 20]) as usize,
        message_entries: pick(16, [1, 2, 5, 1024]) as usize,
        window_bytes: pick(24, [200, 1000, 5000, 8 << 20]) as usize,
        window_entries: pick(32, [6, 12, 50, 8192]),
        window_messages: pick(56, [1, 2, 8, 256]) as usize,
        patience: pick(40, [1, 1, 1, 2]) as u32,
        snapshot_ms: pick(48, [100, 1000, 600_000, 600_000]),
        coming_bytes: pick(12, [0, 300, 2000, 16 << 20]) as usize,
        ..Limits::default()
    }
}

impl Machine {
    pub(super) fn create(seed: u64, at: usize, hub: bool, zoo: Zoo) -> syncline_sync::Result<Self> {
        let empty = Image::new(*Hash::of(&[at as u8]).as_bytes());
        let mut machine = Self {
            node: None,
            folded: None,
            merged: None,
            replaced: Vec::new(),
            retiring: Vec::new(),
            disk: Disk::new(&mut Rng::from_seed(!seed), &empty)?,
            skew_ms: 0,
            backup: None,
            names: Vec::new(),
            wrote: Vec::new(),
            ever: Vec::new(),
            took: Vec::new(),
            moved: false,
            may_scope: false,
            wants: None,
            seed,
            starts: 0,
            limits: limits(seed),
            zoo,
        };
        let config = machine.config(&empty);
        machine.node = Some(Node::create(config, hub));
        Ok(machine)
    }

    /// Whether it may hold a part, in a world where spokes do, and which at first.
    pub(super) fn draw_scope(&mut self) {
        self.may_scope = self.seed >> 60 & 1 == 1;
        self.wants = [None, Some(0), Some(1), Some(0)][(self.seed >> 61) as usize & 3].filter(|_| self.may_scope);
    }

    /// Names are drawn from the operating system at every start: no two starts draw the same.
    fn config(&mut self, image: &Image) -> Config {
        self.starts += 1;
        let rng = Rng::from_seed(self.seed ^ (self.starts << 48));
        let (limits, runs) = (self.limits, Some(self.disk.place()));
        Config { signer: image.signer(), rng, limits, runs, damaged: false, zoo: self.zoo }
    }

    /// Whether it takes its rows anew.
    pub(super) fn renews(&self) -> bool {
        self.node.as_ref().is_some_and(Node::renews)
    }

    /// It wrote a transaction.
    pub(super) fn note(&mut self, dot: Dot) {
        self.wrote.push(dot);
        self.ever.push(dot);
    }

    pub(super) fn back_up(&mut self) -> syncline_sync::Result<()> {
        self.backup = Some(self.disk.image()?);
        Ok(())
    }

    /// The node that a disk's image gives, to be looked at.
    pub(super) fn node_of(&mut self, decoded: &mut Decoded, image: &Image) -> syncline_sync::Result<Node> {
        let config = Config { runs: Some(image.place()?), ..self.config(image) };
        Node::open(config, decoded.of(image), false)
    }

    /// The node that its disk gives, of which this is the image: it runs from here on.
    pub(super) fn start(&mut self, decoded: &mut Decoded, image: &Image) -> syncline_sync::Result<Node> {
        let (config, moved) = (self.config(image), self.moved);
        let node = Node::open(config, decoded.of(image), moved)?;
        self.tidy(&node)?;
        Ok(node)
    }

    /// It starts with this node: what a crash left behind of runs that nothing names is removed.
    fn tidy(&mut self, node: &Node) -> syncline_sync::Result<()> {
        self.replaced.clear();
        self.retiring.clear();
        self.disk.place().keep_only(&node.needs())
    }

    /// Begins to write rows to a run. Whether there are some.
    pub(super) fn begin_fold(&mut self) -> syncline_sync::Result<bool> {
        let (Some(node), None) = (&mut self.node, &self.folded) else { return Ok(false) };
        let Some(fold) = node.begin_fold() else { return Ok(false) };
        let run = fold.write()?;
        self.folded = Some((fold, run));
        Ok(true)
    }

    /// Whether rows of a state on its way here are to be written to a run, or are being written.
    pub(super) fn spills(&self) -> bool {
        let folding = self.folded.as_ref().is_some_and(|(fold, _)| fold.spills());
        folding || self.folded.is_none() && self.node.as_ref().is_some_and(Node::is_crowded)
    }

    pub(super) fn end_fold(&mut self) -> bool {
        let (Some(node), Some((fold, run))) = (&mut self.node, self.folded.take()) else { return false };
        node.folded(&fold, run);
        true
    }

    /// Begins to merge runs. Whether there are some.
    pub(super) fn begin_merge(&mut self) -> syncline_sync::Result<bool> {
        let (Some(node), None) = (&mut self.node, &self.merged) else { return Ok(false) };
        let Some(merge) = node.begin_merge() else { return Ok(false) };
        let run = merge.write()?;
        self.merged = Some((merge, run));
        Ok(true)
    }

    pub(super) fn end_merge(&mut self) -> bool {
        let (Some(node), Some((merge, run))) = (&mut self.node, self.merged.take()) else { return false };
        self.replaced.extend(node.merged(&merge, &run));
        true
    }

    /// A checkpoint is in the log: the runs that it does not stand on are nobody's once it is durable.
    pub(super) fn wrote_checkpoint(&mut self) {
        self.retiring = std::mem::take(&mut self.replaced);
    }

    /// It is, if it is.
    pub(super) fn retire(&mut self) {
        if self.disk.has_checkpoint() {
            self.retiring.drain(..).for_each(|run| run.retire());
        }
    }
}
