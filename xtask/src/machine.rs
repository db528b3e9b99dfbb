//! Machines for nodes that are worse than this one: their power fails (`disk`, `mount`), and their wall clocks jump (`clock`).
//!
//! A machine is a directory that is a disk of its own, and what the programs on it take for the time. The disk lies in memory and knows what was
//! synced and what was not; when its power is cut, what was not is gone: all of it, some of it, in any order, torn. The model is that of LazyFS
//! (Maria Ramos, João Azevedo, Kyle Kingsbury, José Pereira, Tânia Esteves, Ricardo Macedo and João Paulo, *When Amnesia Strikes: Understanding
//! and Reproducing Data Loss Bugs with Fault Injection*, VLDB 2024), which keeps contents only; ours keeps names of files, too. No code is theirs.
//!
//! Owns: mounts and files of clocks, until the value is dropped.
//!
//! Not here: who is on the machine, and when it fails (`crate::net`).

mod clock;
mod content;
mod disk;
mod mount;

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::Result;
use syncline_base::rng::Rng;

use crate::run;

pub(crate) use clock::Library;
pub(crate) use disk::{Lost, Syncs};

use clock::Wall;
use mount::Mounted;

/// A machine.
#[derive(Debug)]
pub(crate) struct Machine {
    disk: Mounted,
    wall: Wall,
    library: Library,
}

/// Whether this machine lets us have such machines; else what it lacks. To be asked where they are to be.
pub(crate) fn possible() -> Result<()> {
    let dir = tempfile::tempdir()?;
    let library = Library::build(dir.path())?;
    let mut machine = Machine::new(&library, dir.path(), "try", Rng::from_seed(0))?;
    std::fs::write(machine.dir().join("file"), "text")?;
    machine.cut().map(|_| ())
}

impl Machine {
    /// A machine of this name, with an empty disk and the right time. Its disk is `place/NAME`.
    pub(crate) fn new(library: &Library, place: &Path, name: &str, rng: Rng) -> Result<Self> {
        let wall = Wall::new(&place.join(name).with_extension("clock"))?;
        let disk = Mounted::new(&place.join(name), wall.clone(), rng)?;
        Ok(Self { disk, wall, library: library.clone() })
    }

    /// Its disk.
    pub(crate) fn dir(&self) -> &Path {
        self.disk.at()
    }

    /// What the programs on it have to have in their environment to see its time.
    pub(crate) fn env(&self) -> Vec<(String, String)> {
        self.wall.env(&self.library)
    }

    /// What syncs of its disk do from now on.
    pub(crate) fn set_syncs(&self, syncs: Syncs) {
        self.disk.set_syncs(syncs);
    }

    /// Cuts its power: what was not synced is gone, as chance will have it. All programs that use its disk have been killed before.
    pub(crate) fn cut(&mut self) -> Result<Lost> {
        self.disk.cut()
    }

    /// Its clock is so far ahead of the right time from now on, or behind it.
    pub(crate) fn leap(&self, ahead: Leap) -> Result<()> {
        self.wall.leap(ahead)
    }

    /// What its clock shows, in milliseconds since the Unix epoch.
    pub(crate) fn now_ms(&self) -> u64 {
        self.wall.now_ms()
    }

    /// Copies its disk, as it is, to a directory that stays.
    pub(crate) fn keep(&self, to: &Path) -> Result<()> {
        std::fs::create_dir_all(to)?;
        let from: PathBuf = self.dir().join(".");
        run::capture(Command::new("cp").arg("-a").arg(from).arg(to)).map(|_| ())
    }
}

/// How far a clock is ahead of the right time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Leap {
    pub(crate) by: Duration,
    pub(crate) back: bool,
}

impl Leap {
    /// So far ahead.
    pub(crate) const fn ahead(by: Duration) -> Self {
        Self { by, back: false }
    }

    /// So far behind.
    pub(crate) const fn behind(by: Duration) -> Self {
        Self { by, back: true }
    }

    fn nanos(self) -> i64 {
        let nanos = i64::try_from(self.by.as_nanos()).unwrap_or(i64::MAX);
        if self.back { -nanos } else { nanos }
    }
}
