//! `reconcile`: two copies of lineitem that were imported apart, so that they share no history, and differ in 100 rows.

use std::fs;

use anyhow::{Context, Result, ensure};

use super::super::inputs::lineitem;
use super::super::measure;
use super::super::ours::Ours;
use super::super::record::{OURS, Recorder, Sample};
use super::super::targets::{Metric, Target, at_most};
use super::super::world::World;
use super::rsync;
use super::table_ops::Input;

const FETCH: &str = "fetch of 100 differences";

/// Runs the suite.
pub(super) fn run(world: &World, ours: Option<&Ours>, recorder: &mut Recorder) -> Result<Vec<String>> {
    let input = Input::make(world, 100, 100)?;
    for _ in 0..world.repetitions {
        if let Some(ours) = ours {
            we(world, ours, &input, recorder)?;
        }
        if world.has("rsync") {
            let copy = world.fresh("rsync")?.join("lineitem.parquet");
            fs::copy(input.file(lineitem::BASE), &copy).context("placing the base for rsync")?;
            let sample = rsync::copy(world, &input.file(lineitem::EDITED), &copy)?;
            recorder.add(FETCH, "rsync of Parquet", rsync::NOTE, sample);
        }
        let edits = measure::size(&input.file(lineitem::EDITS[0]))?;
        let note = "the differing rows, as a Parquet file of their own";
        recorder.limit(FETCH, "differences × row", note, Sample { wire: Some(edits), ..Sample::default() });
    }
    Ok(vec![
        format!(
            "Input: TPC-H lineitem at scale factor {}: {} rows, imported on two nodes each for itself; {} rows differ in a decimal \
             and a text.",
            input.scale, input.rows, input.edits
        ),
        "Fetching brings what the other side has that we lack; a merge would come after it and is not part of the step.".to_owned(),
    ])
}

fn we(world: &World, ours: &Ours, input: &Input, recorder: &mut Recorder) -> Result<()> {
    let dir = world.fresh("ours")?;
    let (here, there) = (dir.join("here"), dir.join("there"));
    for (replica, file) in [(&here, lineitem::BASE), (&there, lineitem::EDITED)] {
        ours.init(replica, true)?;
        let import = ours.at(replica, ["import"]).arg(input.file(file));
        ours.run(&import.args(["--table", "lineitem", "--key", lineitem::KEY, "-m", file]))?;
    }
    ensure!(ours.root(&here)? != ours.root(&there)?, "the two sides are to differ");
    let node = ours.up(&dir.join("node"))?;
    let url = node.url("bench");
    ours.run(&ours.at(&there, ["push", &url]))?;
    let size = measure::size(&here)?;
    let (mut sample, _) = ours.transfer(world, &node, ours.at(&here, ["pull", "--fetch-only", &url]))?;
    sample.disk = Some(measure::size(&here)?.cast_signed() - size.cast_signed());
    let fetched = ours.root_at(&here, "origin/main")?;
    ensure!(fetched == ours.root(&there)?, "what was fetched has another root than what was to be fetched");
    recorder.add(FETCH, OURS, "both sides' CPU and memory", sample);
    Ok(())
}

/// What is aimed for.
pub(super) fn targets() -> Vec<Target> {
    vec![
        at_most(FETCH, Metric::Wire, 1.5e6),
        at_most(FETCH, Metric::RoundTrips, 8.0),
        at_most(FETCH, Metric::Wall, 1.0),
    ]
}
