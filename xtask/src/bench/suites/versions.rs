//! Tools that keep or move versions of one file: the same steps for every suite that has such a file.
//!
//! Not here: what the versions are.

use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};

use super::super::inputs::blob;
use super::super::measure::{self, Cmd};
use super::super::ours::Ours;
use super::super::record::{Recorder, Sample};
use super::super::world::World;
use super::backups::{Borg, Restic};
use super::rsync;

/// What one has to know of these numbers.
pub(super) const NOTES: &str = "borg and restic sync what they write; casync, xdelta3 and cp do not and are followed by a flush of the \
    file system; rsync runs with `--fsync`. borg does not encrypt here, restic always does. xdelta3 is given the old version whole as its \
    source window (`-B`), which is where its memory goes; its disk growth and its wire are the patch, and somebody has to keep the old \
    version.";

/// One version of the file: where it lies, and what its steps are called.
#[derive(Debug)]
pub(super) struct Version {
    /// The file.
    pub(super) file: PathBuf,
    /// The step that keeps it.
    pub(super) commit: String,
    /// The step that moves it to a copy that has the version before.
    pub(super) push: String,
}

/// The versions of one file, oldest first, and what is said of the tools that get it.
#[derive(Debug)]
pub(super) struct Versions<'a> {
    pub(super) world: &'a World,
    pub(super) list: Vec<Version>,
    /// Follows the name of every tool, when a suite has more than one such file.
    pub(super) suffix: &'static str,
}

impl Versions<'_> {
    /// Every peer of `peers` that takes part does its steps.
    pub(super) fn by_peers(&self, peers: &[&str], recorder: &mut Recorder) -> Result<()> {
        for &peer in peers.iter().filter(|peer| self.world.has(peer)) {
            match peer {
                "rsync" => self.by_rsync(recorder),
                "borg" => self.by_borg(recorder),
                "restic" => self.by_restic(recorder),
                "casync" => self.by_casync(recorder),
                "xdelta3" => self.by_xdelta(recorder),
                other => anyhow::bail!("{other} keeps no versions of a file"),
            }
            .with_context(|| peer.to_owned())?;
        }
        Ok(())
    }

    /// We, with the file in a working directory: commits, pushes to a node, and in the end a clone, whose sample is
    /// returned.
    pub(super) fn by_us(&self, ours: &Ours, tool: &str, recorder: &mut Recorder) -> Result<Sample> {
        let world = self.world;
        let dir = world.fresh("ours-file")?;
        let (work, data) = (dir.join("work"), dir.join("node"));
        fs::create_dir(&work)?;
        ours.init(&work, false)?;
        let store = work.join(".syncline");
        let node = ours.up(&data)?;
        let url = node.url("bench");
        for version in &self.list {
            place(version, &work.join("file"))?;
            let size = measure::size(&store)?;
            let (mut sample, report) = ours.step(world, ours.at(&work, ["commit", "-m", "benchmark"]))?;
            ensure!(report["committed"].as_bool() == Some(true), "our commit says {report}");
            sample.disk = Some(measure::size(&store)?.cast_signed() - size.cast_signed());
            recorder.add(&version.commit, tool, "", sample);
            let (sample, _) = ours.transfer(world, &node, ours.at(&work, ["push", &url]))?;
            ensure!(ours.root(&work)? == ours.root_on(&url)?, "after the push the two roots differ");
            recorder.add(&version.push, tool, "both sides' CPU and memory", sample);
        }
        let copy = dir.join("copy");
        let (sample, _) = ours.transfer(world, &node, ours.cmd(["clone", &url]).arg(&copy))?;
        let last = self.list.last().context("a file has versions")?;
        ensure!(blob::same(&last.file, &copy.join("file"))?, "the cloned file differs from the last version");
        Ok(sample)
    }

    fn tool(&self, name: &str) -> String {
        format!("{name}{}", self.suffix)
    }

    fn by_rsync(&self, recorder: &mut Recorder) -> Result<()> {
        let copy = self.world.fresh("rsync")?.join("file");
        for version in &self.list {
            let sample = rsync::copy(self.world, &version.file, &copy)?;
            ensure!(blob::same(&version.file, &copy)?, "rsync made another file");
            recorder.add(&version.push, &self.tool("rsync"), rsync::NOTE, sample);
        }
        Ok(())
    }

    /// A tool that adds versions of a file to a store of its own.
    fn kept(
        &self,
        tool: &str,
        [file, store]: [&Path; 2],
        recorder: &mut Recorder,
        mut add: impl FnMut(usize) -> Result<Sample>,
    ) -> Result<()> {
        for (at, version) in self.list.iter().enumerate() {
            place(version, file)?;
            let size = measure::size(store)?;
            let mut sample = add(at)?;
            sample.disk = Some(measure::size(store)?.cast_signed() - size.cast_signed());
            recorder.add(&version.commit, &self.tool(tool), "", sample);
        }
        Ok(())
    }

    fn by_borg(&self, recorder: &mut Recorder) -> Result<()> {
        let work = self.world.fresh("borg")?;
        let borg = Borg::init(self.world, &work)?;
        self.kept("borg", [&work.join("file"), &borg.store], recorder, |at| {
            let create = borg.cmd("create").arg(borg.archive(&format!("v{at}"))).arg("file");
            Ok(self.world.step(&[create])?.0)
        })
    }

    fn by_restic(&self, recorder: &mut Recorder) -> Result<()> {
        let work = self.world.fresh("restic")?;
        let restic = Restic::init(self.world, &work)?;
        self.kept("restic", [&work.join("file"), &restic.store], recorder, |_| {
            Ok(self.world.step(&[restic.cmd(&["backup", "--quiet", "file"])])?.0)
        })
    }

    fn by_casync(&self, recorder: &mut Recorder) -> Result<()> {
        let (work, store) = (self.world.fresh("casync")?, self.world.fresh("casync-store")?);
        let file = work.join("file");
        self.kept("casync", [&file, &store], recorder, |at| {
            let mut place = OsString::from("--store=");
            place.push(store.join("chunks.castr"));
            let index = store.join(format!("v{at}.caibx"));
            let make = Cmd::new("casync").arg("make").arg(place).arg(index).arg(&file);
            Ok(self.world.step_flushed(&[make], &store)?.0)
        })
    }

    fn by_xdelta(&self, recorder: &mut Recorder) -> Result<()> {
        let patches = self.world.fresh("xdelta3")?;
        for (at, pair) in self.list.windows(2).enumerate() {
            let [old, new] = pair else { continue };
            let patch = patches.join(format!("v{}.xdelta", at + 1));
            let window = measure::size(&old.file)?.max(16 << 20);
            let encode = Cmd::new("xdelta3").args(["-e", "-f", "-B", &window.to_string(), "-s"]);
            let encode = encode.arg(&old.file).arg(&new.file).arg(&patch);
            let (mut sample, _) = self.world.step_flushed(&[encode], &patches)?;
            let size = measure::size(&patch)?;
            sample.disk = Some(size.cast_signed());
            recorder.add(&new.commit, &self.tool("xdelta3"), "a patch", sample);
            let sample = Sample { wire: Some(size), ..Sample::default() };
            recorder.add(&new.push, &self.tool("xdelta3"), "the patch", sample);
        }
        Ok(())
    }
}

/// Puts a version of the file in its place, as an editor does: unmeasured, and on disk before anything is measured.
fn place(version: &Version, to: &Path) -> Result<()> {
    fs::copy(&version.file, to).with_context(|| format!("placing {} at {}", version.file.display(), to.display()))?;
    Ok(())
}
