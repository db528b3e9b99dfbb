//! `files-large`: one large file of random bytes and three edits of it; what a version costs on disk, on the wire, in time.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};

use super::super::inputs::{self, blob};
use super::super::limits;
use super::super::measure::{self, Cmd};
use super::super::ours::Ours;
use super::super::record::{OURS, Recorder, Sample};
use super::super::stats;
use super::super::targets::{Bound, Metric, Target, at_most, times};
use super::super::world::World;
use super::rsync;

const FULL: blob::Size = blob::Size { bytes: 1 << 30, overwrites: 100, append: 10 << 20 };
const QUICK: blob::Size = blob::Size { bytes: 16 << 20, overwrites: 10, append: 1 << 20 };
const COPY: &str = "cp + sync";
const LIMITS: &str = "limits of the machine";

/// Runs the suite.
pub(super) fn run(world: &World, ours: Option<&Ours>, recorder: &mut Recorder) -> Result<Vec<String>> {
    let size = if world.quick { QUICK } else { FULL };
    let name = format!("blob-{}-{}-{}-v{}", size.bytes, size.overwrites, size.append, inputs::VERSION);
    let input = world.input(&name, |dir| blob::write(dir, size))?;
    for _ in 0..world.repetitions {
        if let Some(ours) = ours {
            we(world, ours, &input, recorder)?;
        }
        type Peer = fn(&World, &Path, &mut Recorder) -> Result<()>;
        let peers: [(&str, Peer); 5] =
            [("rsync", by_rsync), ("borg", borg), ("restic", restic), ("casync", casync), ("xdelta3", xdelta)];
        for (name, peer) in peers {
            if world.has(name) {
                peer(world, &input, recorder)?;
            }
        }
        copy(world, &input, recorder)?;
        recorder.limit(LIMITS, "BLAKE3, one thread", "of as many bytes", limits::blake3(size.bytes));
        recorder.limit(LIMITS, "TCP on loopback", "of as many bytes", limits::loopback(size.bytes)?);
    }
    #[expect(clippy::cast_precision_loss, reason = "sizes here are far below 2^52")]
    let (bytes, append) = (stats::bytes(size.bytes as f64), stats::bytes(size.append as f64));
    Ok(vec![
        format!(
            "Input: {bytes} of random bytes; then 1 byte inserted at the start, {} overwrites of 4 KiB at random places, {append} \
             appended, each on top of the one before. Everything is in the page cache (warm).",
            size.overwrites
        ),
        "borg and restic sync what they write; casync, xdelta3 and cp do not and are followed by a flush of the file system; rsync \
         runs with `--fsync`. borg does not encrypt here, restic always does."
            .to_owned(),
        "xdelta3 is given the old version whole as its source window (`-B`), which is where its memory goes; its disk growth is the \
         patch, and somebody has to keep the old version."
            .to_owned(),
    ])
}

fn commit_step(version: usize) -> String {
    let (_, what) = blob::VERSIONS[version];
    if version == 0 { what.to_owned() } else { format!("commit: {what}") }
}

fn push_step(version: usize) -> String {
    format!("push: {}", if version == 0 { "everything" } else { blob::VERSIONS[version].1 })
}

fn version(input: &Path, at: usize) -> PathBuf {
    input.join(blob::VERSIONS[at].0)
}

/// Puts a version of the file in its place, as an editor does: unmeasured, and on disk before anything is measured.
fn place(input: &Path, at: usize, to: &Path) -> Result<()> {
    fs::copy(version(input, at), to).with_context(|| format!("placing a version at {}", to.display()))?;
    Ok(())
}

fn we(world: &World, ours: &Ours, input: &Path, recorder: &mut Recorder) -> Result<()> {
    let dir = world.fresh("ours")?;
    let (work, data) = (dir.join("work"), dir.join("node"));
    fs::create_dir(&work)?;
    ours.init(&work, false)?;
    let store = work.join(".syncline");
    let node = ours.up(&data)?;
    let url = node.url("bench");
    for at in 0..blob::VERSIONS.len() {
        place(input, at, &work.join("blob.bin"))?;
        let size = measure::size(&store)?;
        let (mut sample, report) = ours.step(world, ours.at(&work, ["commit", "-m", "benchmark"]))?;
        ensure!(report["committed"].as_bool() == Some(true), "our commit says {report}");
        sample.disk = Some(measure::size(&store)?.cast_signed() - size.cast_signed());
        recorder.add(&commit_step(at), OURS, "", sample);
        let (sample, _) = ours.transfer(world, &node, ours.at(&work, ["push", &url]))?;
        ensure!(ours.root(&work)? == ours.root_on(&url)?, "after the push the two roots differ");
        recorder.add(&push_step(at), OURS, "both sides' CPU and memory", sample);
    }
    let copy = dir.join("copy");
    let (sample, _) = ours.transfer(world, &node, ours.cmd(["clone", &url]).arg(&copy))?;
    let last = version(input, blob::VERSIONS.len() - 1);
    ensure!(blob::same(&last, &copy.join("blob.bin"))?, "the cloned file differs from the last version");
    recorder.add("clone", OURS, "all versions, over loopback", sample);
    Ok(())
}

fn by_rsync(world: &World, input: &Path, recorder: &mut Recorder) -> Result<()> {
    let copy = world.fresh("rsync")?.join("blob.bin");
    for at in 0..blob::VERSIONS.len() {
        let sample = rsync::copy(world, &version(input, at), &copy)?;
        ensure!(blob::same(&version(input, at), &copy)?, "rsync made another file");
        recorder.add(&push_step(at), "rsync", rsync::NOTE, sample);
    }
    Ok(())
}

/// A tool that adds versions of a file to a store of its own.
fn store_of(
    recorder: &mut Recorder,
    input: &Path,
    tool: &str,
    [file, store]: [&Path; 2],
    mut add: impl FnMut(usize) -> Result<Sample>,
) -> Result<()> {
    for at in 0..blob::VERSIONS.len() {
        place(input, at, file)?;
        let size = measure::size(store)?;
        let mut sample = add(at)?;
        sample.disk = Some(measure::size(store)?.cast_signed() - size.cast_signed());
        recorder.add(&commit_step(at), tool, "", sample);
    }
    Ok(())
}

fn borg(world: &World, input: &Path, recorder: &mut Recorder) -> Result<()> {
    let (work, base) = (world.fresh("borg")?, world.fresh("borg-base")?);
    let store = work.join("store");
    let file = work.join("blob.bin");
    // The cache is the tool's own affair, but it must not outlive the run.
    let borg = |word: &str| Cmd::new("borg").arg(word).env("BORG_BASE_DIR", &base).dir(&work);
    borg("init").args(["--encryption", "none"]).arg(&store).plain()?;
    store_of(recorder, input, "borg", [&file, &store], |at| {
        let create = borg("create").arg(format!("{}::v{at}", store.display())).arg("blob.bin");
        Ok(world.step(&[create])?.0)
    })
}

fn restic(world: &World, input: &Path, recorder: &mut Recorder) -> Result<()> {
    let (work, store) = (world.fresh("restic")?, world.fresh("restic-store")?);
    let cache = world.fresh("restic-cache")?;
    let file = work.join("blob.bin");
    let restic = |words: &[&str]| {
        let cmd = Cmd::new("restic").arg("--repo").arg(&store).arg("--cache-dir").arg(&cache).args(words);
        cmd.env("RESTIC_PASSWORD", "benchmark").dir(&work)
    };
    restic(&["init", "--quiet"]).plain()?;
    store_of(recorder, input, "restic", [&file, &store], |_| {
        Ok(world.step(&[restic(&["backup", "--quiet", "blob.bin"])])?.0)
    })
}

fn casync(world: &World, input: &Path, recorder: &mut Recorder) -> Result<()> {
    let (work, store) = (world.fresh("casync")?, world.fresh("casync-store")?);
    let file = work.join("blob.bin");
    store_of(recorder, input, "casync", [&file, &store], |at| {
        let mut place = std::ffi::OsString::from("--store=");
        place.push(store.join("chunks.castr"));
        let index = store.join(format!("v{at}.caibx"));
        let make = Cmd::new("casync").arg("make").arg(place).arg(index).arg(&file);
        Ok(world.step_flushed(&[make], &store)?.0)
    })
}

fn xdelta(world: &World, input: &Path, recorder: &mut Recorder) -> Result<()> {
    let patches = world.fresh("xdelta3")?;
    for at in 1..blob::VERSIONS.len() {
        let (old, new) = (version(input, at - 1), version(input, at));
        let patch = patches.join(format!("v{at}.xdelta"));
        let window = measure::size(&old)?.max(16 << 20);
        let encode = Cmd::new("xdelta3").args(["-e", "-f", "-B", &window.to_string(), "-s"]);
        let (mut sample, _) = world.step_flushed(&[encode.arg(&old).arg(&new).arg(&patch)], &patches)?;
        let size = measure::size(&patch)?;
        sample.disk = Some(size.cast_signed());
        recorder.add(&commit_step(at), "xdelta3", "a patch", sample.clone());
    }
    Ok(())
}

fn copy(world: &World, input: &Path, recorder: &mut Recorder) -> Result<()> {
    for at in [0, blob::VERSIONS.len() - 1] {
        let to = world.fresh("cp")?.join("blob.bin");
        let sample = limits::copy(world, &version(input, at), &to)?;
        let step = if at == 0 { commit_step(0) } else { "clone".to_owned() };
        recorder.limit(&step, COPY, "", sample);
    }
    Ok(())
}

/// What is aimed for.
pub(super) fn targets() -> Vec<Target> {
    let mut targets = vec![
        times(commit_step(0), 2.0, COPY),
        Target {
            bound: Bound::TimesBest(0.5, &["borg", "restic", "casync"]),
            ..at_most(commit_step(0), Metric::Wall, 0.0)
        },
        at_most(commit_step(0), Metric::Rss, 400e6),
    ];
    for (at, bytes) in [(1, 8e3), (2, 600e3), (3, 10.6e6)] {
        targets.push(at_most(commit_step(at), Metric::Disk, bytes));
        targets.push(at_most(commit_step(at), Metric::Wall, 0.7));
        targets.push(at_most(push_step(at), Metric::Wire, bytes));
        targets.push(at_most(push_step(at), Metric::Wall, 0.7));
    }
    targets
}
