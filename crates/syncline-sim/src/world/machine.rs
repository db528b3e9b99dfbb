//! A machine: a node when it runs, a disk, a clock that is wrong, and what is left in the cupboard.

use std::sync::Arc;

use syncline_base::Hash;
use syncline_base::rng::Rng;
use syncline_sync::live::{Config, Dot, Limits, Node, Origin, Signer, Zoo};

use super::disk::{Decoded, Disk, Image};

/// Signatures that anybody could make, and that cost next to nothing: nobody forges any here.
#[derive(Debug)]
struct Cheap([u8; 32]);

fn cheap(public: &[u8; 32], bytes: &[u8]) -> [u8; 64] {
    let hash = Hash::of(&[&public[..], bytes].concat());
    std::array::from_fn(|at| hash.as_bytes()[at % 32])
}

impl Signer for Cheap {
    fn public(&self) -> [u8; 32] {
        self.0
    }

    fn sign(&self, bytes: &[u8]) -> [u8; 64] {
        cheap(&self.0, bytes)
    }

    fn verify(&self, public: &[u8; 32], bytes: &[u8], signature: &[u8; 64]) -> bool {
        cheap(public, bytes) == *signature
    }
}

/// One machine.
#[derive(Debug)]
pub(super) struct Machine {
    /// `None` while it is down.
    pub(super) node: Option<Node>,
    pub(super) disk: Disk,
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
    seed: u64,
    starts: u64,
    signer: Arc<Cheap>,
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
        ..Limits::default()
    }
}

impl Machine {
    pub(super) fn create(seed: u64, at: usize, hub: bool, zoo: Zoo) -> syncline_sync::Result<Self> {
        let signer = Arc::new(Cheap(*Hash::of(&[at as u8]).as_bytes()));
        let mut machine = Self {
            node: None,
            disk: Disk::new(&mut Rng::from_seed(!seed), &Image::new())?,
            skew_ms: 0,
            backup: None,
            names: Vec::new(),
            wrote: Vec::new(),
            ever: Vec::new(),
            took: Vec::new(),
            moved: false,
            seed,
            starts: 0,
            signer,
            limits: limits(seed),
            zoo,
        };
        let config = machine.config();
        machine.node = Some(Node::create(config, hub));
        Ok(machine)
    }

    /// Names are drawn from the operating system at every start: no two starts draw the same.
    pub(super) fn config(&mut self) -> Config {
        self.starts += 1;
        let rng = Rng::from_seed(self.seed ^ (self.starts << 48));
        Config { signer: self.signer.clone(), rng, limits: self.limits, zoo: self.zoo }
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

    /// A node that these records give.
    pub(super) fn node_of(&mut self, decoded: &mut Decoded, image: &Image, moved: bool) -> syncline_sync::Result<Node> {
        let config = self.config();
        Node::open(config, decoded.of(image), moved)
    }
}
