//! A machine: a node when it runs, a disk, a clock that is wrong, and what is left in the cupboard.

use syncline_base::Hash;
use syncline_base::rng::Rng;
use syncline_sync::live::{Config, Dot, Node, Origin, Zoo};

use super::disk::{Decoded, Disk, Image};

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
    key: [u8; 32],
    zoo: Zoo,
}

impl Machine {
    pub(super) fn create(seed: u64, at: usize, hub: bool, zoo: Zoo) -> syncline_sync::Result<Self> {
        let key = *Hash::of(&[at as u8]).as_bytes();
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
            key,
            zoo,
        };
        let config = machine.config();
        machine.node = Some(Node::create(config, hub));
        Ok(machine)
    }

    /// Names are drawn from the operating system at every start: no two starts draw the same.
    pub(super) fn config(&mut self) -> Config {
        self.starts += 1;
        Config { key: self.key, rng: Rng::from_seed(self.seed ^ (self.starts << 48)), zoo: self.zoo }
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
