//! restic and borg, each with a repository and a cache of its own.
//!
//! A cache is the tool's own affair, but it must not outlive the run.

use std::path::{Path, PathBuf};

use anyhow::Result;

use super::super::measure::Cmd;
use super::super::world::World;

/// A restic repository.
#[derive(Debug)]
pub(super) struct Restic {
    /// The repository.
    pub(super) store: PathBuf,
    cache: PathBuf,
    work: PathBuf,
}

impl Restic {
    /// Makes an empty repository for what lies in `work`.
    pub(super) fn init(world: &World, work: &Path) -> Result<Self> {
        let (store, cache) = (world.fresh("restic-store")?, world.fresh("restic-cache")?);
        let restic = Self { store, cache, work: work.to_owned() };
        restic.cmd(&["init", "--quiet"]).plain()?;
        Ok(restic)
    }

    /// A command on it.
    pub(super) fn cmd(&self, words: &[&str]) -> Cmd {
        let cmd = Cmd::new("restic").arg("--repo").arg(&self.store).arg("--cache-dir").arg(&self.cache).args(words);
        cmd.env("RESTIC_PASSWORD", "benchmark").dir(&self.work)
    }
}

/// A borg repository, not encrypted.
#[derive(Debug)]
pub(super) struct Borg {
    /// The repository.
    pub(super) store: PathBuf,
    base: PathBuf,
    work: PathBuf,
}

impl Borg {
    /// Makes an empty repository for what lies in `work`.
    pub(super) fn init(world: &World, work: &Path) -> Result<Self> {
        let (store, base) = (world.fresh("borg-store")?, world.fresh("borg-base")?);
        let borg = Self { store, base, work: work.to_owned() };
        borg.cmd("init").args(["--encryption", "none"]).arg(&borg.store).plain()?;
        Ok(borg)
    }

    /// A command without its arguments.
    pub(super) fn cmd(&self, word: &str) -> Cmd {
        Cmd::new("borg").arg(word).env("BORG_BASE_DIR", &self.base).dir(&self.work)
    }

    /// The name of an archive in it.
    pub(super) fn archive(&self, name: &str) -> String {
        format!("{}::{name}", self.store.display())
    }
}
