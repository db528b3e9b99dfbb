//! `reconcile`: two copies of lineitem that were imported apart, so that they share no history, and differ in some rows.

use anyhow::{Result, ensure};

use super::super::inputs::lineitem;
use super::super::measure;
use super::super::ours::Ours;
use super::super::record::{OURS, Recorder, Sample};
use super::super::targets::{Metric, Target, at_most};
use super::super::world::World;
use super::table_ops::{Input, TABLE};
use super::{count, rsync};

/// How many rows differ: the one that targets are about, and more.
const FULL: [usize; 2] = [100, 10_000];
const QUICK: [usize; 2] = [100, 500];

fn fetch(differences: usize) -> String {
    format!("fetch of {} differences", count(differences))
}

/// Runs the suite.
pub(super) fn run(world: &World, ours: Option<&Ours>, recorder: &mut Recorder) -> Result<Vec<String>> {
    let inputs =
        [0, 1].map(|at| Input::make(world, FULL[at], QUICK[at])).into_iter().collect::<Result<Vec<Input>>>()?;
    for _ in 0..world.repetitions {
        for input in &inputs {
            let step = fetch(input.edits);
            if let Some(ours) = ours {
                we(world, ours, input, &step, recorder)?;
            }
            if world.has("rsync") {
                rsync::edited_table(world, input, &step, recorder)?;
            }
            let edits = measure::size(&input.file(lineitem::EDITS[0]))?;
            let note = "the differing rows, as a Parquet file of their own";
            recorder.limit(&step, "differences × row", note, Sample { wire: Some(edits), ..Sample::default() });
        }
    }
    Ok(vec![
        format!(
            "Input: TPC-H lineitem at scale factor {}: {} rows, imported on two nodes each for itself; the differing rows differ in \
             a decimal and a text.",
            inputs[0].scale, inputs[0].rows
        ),
        "Fetching brings what the other side has that we lack; a merge would come after it and is not part of the step.".to_owned(),
    ])
}

fn we(world: &World, ours: &Ours, input: &Input, step: &str, recorder: &mut Recorder) -> Result<()> {
    let dir = world.fresh("ours")?;
    let (here, there) = (dir.join("here"), dir.join("there"));
    for (replica, file) in [(&here, lineitem::BASE), (&there, lineitem::EDITED)] {
        ours.init(replica, true)?;
        let import = ours.at(replica, ["import"]).arg(input.file(file));
        ours.run(&import.args(["--table", TABLE, "--key", lineitem::KEY, "-m", file]))?;
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
    recorder.add(step, OURS, "both sides' CPU and memory", sample);
    Ok(())
}

/// What is aimed for.
pub(super) fn targets() -> Vec<Target> {
    vec![
        at_most(fetch(100), Metric::Wire, 1.5e6),
        at_most(fetch(100), Metric::RoundTrips, 8.0),
        at_most(fetch(100), Metric::Wall, 1.0),
    ]
}
