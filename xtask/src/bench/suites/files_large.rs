//! `files-large`: one large file of random bytes and three edits of it; what a version costs on disk, on the wire, in time.

use std::path::Path;

use anyhow::Result;

use super::super::inputs::{self, blob};
use super::super::limits;
use super::super::ours::Ours;
use super::super::record::{OURS, Recorder};
use super::super::stats;
use super::super::targets::{Bound, Metric, Target, at_most, times};
use super::super::world::World;
use super::versions::{self, Version, Versions};

/// Who keeps or moves versions of a file.
pub(super) const PEERS: &[&str] = &["rsync", "borg", "restic", "casync", "xdelta3"];
const FULL: blob::Size = blob::Size { bytes: 1 << 30, overwrites: 100, append: 10 << 20 };
const QUICK: blob::Size = blob::Size { bytes: 16 << 20, overwrites: 10, append: 1 << 20 };
const COPY: &str = "cp + sync";
const LIMITS: &str = "limits of the machine";
const CLONE: &str = "clone";

/// Runs the suite.
pub(super) fn run(world: &World, ours: Option<&Ours>, recorder: &mut Recorder) -> Result<Vec<String>> {
    let size = if world.quick { QUICK } else { FULL };
    let name = format!("blob-{}-{}-{}-v{}", size.bytes, size.overwrites, size.append, inputs::VERSION);
    let input = world.input(&name, |dir| blob::write(dir, size))?;
    let version = |(at, (file, _))| Version { file: input.join(file), commit: commit_step(at), push: push_step(at) };
    let list = blob::VERSIONS.into_iter().enumerate().map(version).collect();
    let versions = Versions { world, list, suffix: "" };
    for _ in 0..world.repetitions {
        if let Some(ours) = ours {
            let sample = versions.by_us(ours, OURS, recorder)?;
            recorder.add(CLONE, OURS, "all versions, over loopback", sample);
        }
        versions.by_peers(PEERS, recorder)?;
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
        versions::NOTES.to_owned(),
    ])
}

fn commit_step(version: usize) -> String {
    let (_, what) = blob::VERSIONS[version];
    if version == 0 { what.to_owned() } else { format!("commit: {what}") }
}

fn push_step(version: usize) -> String {
    format!("push: {}", if version == 0 { "everything" } else { blob::VERSIONS[version].1 })
}

fn copy(world: &World, input: &Path, recorder: &mut Recorder) -> Result<()> {
    let last = blob::VERSIONS.len() - 1;
    for (at, step) in [(0, commit_step(0)), (last, CLONE.to_owned())] {
        let to = world.fresh("cp")?.join("file");
        let sample = limits::copy(world, &input.join(blob::VERSIONS[at].0), &to)?;
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
    ];
    for (at, bytes) in [(1, 8e3), (2, 600e3), (3, 10.6e6)] {
        targets.push(at_most(commit_step(at), Metric::Disk, bytes));
        targets.push(at_most(commit_step(at), Metric::Wall, 0.7));
        targets.push(at_most(push_step(at), Metric::Wire, bytes));
        targets.push(at_most(push_step(at), Metric::Wall, 0.7));
    }
    targets
}
