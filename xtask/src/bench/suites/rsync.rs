//! rsync as a peer: both sides on this machine, talking its protocol over a pipe, with the bytes that it counts itself.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result};

use super::super::inputs::lineitem;
use super::super::measure::Cmd;
use super::super::parse;
use super::super::record::{Recorder, Sample};
use super::super::world::World;
use super::table_ops::Input;

/// What one has to know of these numbers.
pub(super) const NOTE: &str = "over a pipe, `--fsync`";

/// Makes `to` the same as `from` by rsync's delta algorithm.
pub(super) fn copy(world: &World, from: &Path, to: &Path) -> Result<Sample> {
    // Versions may agree in size and time; only the delta algorithm is to be measured, not that guess.
    let cmd = Cmd::new("rsync").args(["-a", "--no-whole-file", "--ignore-times", "--fsync", "--stats"]);
    let (mut sample, output) = world.step(&[cmd.arg(from).arg(to)])?;
    sample.wire = Some(parse::rsync_wire(&output[0])?);
    Ok(sample)
}

/// Brings a copy of lineitem as Parquet to the edited one, and records that.
pub(super) fn edited_table(world: &World, input: &Input, step: &str, recorder: &mut Recorder) -> Result<()> {
    let place = world.fresh("rsync")?.join(lineitem::BASE);
    fs::copy(input.file(lineitem::BASE), &place).context("placing the base for rsync")?;
    let sample = copy(world, &input.file(lineitem::EDITED), &place)?;
    recorder.add(step, "rsync of Parquet", NOTE, sample);
    Ok(())
}

/// Copies what is new in the directory `from` to `to`, whole files: how tools without a push of their own are moved.
pub(super) fn new_files(world: &World, from: &Path, to: &Path) -> Result<Sample> {
    let mut inside = from.as_os_str().to_owned();
    inside.push("/");
    let cmd = Cmd::new("rsync").args(["-a", "--fsync", "--stats"]).arg(inside).arg(to);
    let (mut sample, output) = world.step(&[cmd]).context("copying new files")?;
    sample.wire = Some(parse::rsync_wire(&output[0])?);
    Ok(sample)
}
