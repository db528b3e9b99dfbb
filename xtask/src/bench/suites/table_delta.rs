//! `table-delta`: random row edits on a table of small rows; commit, diff, push to a peer that has the base.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};
use serde_json::Value;

use super::super::inputs::{self, rows::Plan};
use super::super::measure;
use super::super::ours::Ours;
use super::super::record::{OURS, Recorder};
use super::super::targets::{Metric, Target, at_most};
use super::super::world::World;
use super::table_peers::{PEERS, TablePeer};
use super::{count, rsync};

/// How many rows are edited, in this order, each round on top of the one before.
const FULL: [usize; 6] = [1, 1, 1, 1_000, 1_000, 10_000];
const QUICK: [usize; 3] = [1, 100, 1_000];

struct Input {
    rows: usize,
    rounds: Vec<usize>,
    dir: PathBuf,
}

impl Input {
    fn make(world: &World) -> Result<Self> {
        let rows = if world.quick { 5_000 } else { 500_000 };
        let rounds = if world.quick { QUICK.to_vec() } else { FULL.to_vec() };
        let sizes: Vec<String> = rounds.iter().map(usize::to_string).collect();
        let name = format!("rows-{rows}-{}-v{}", sizes.join("-"), inputs::VERSION);
        let dir = world.input(&name, |dir| {
            let mut plan = Plan::new(rows as u64);
            plan.parquet(&dir.join("base.parquet"))?;
            plan.csv(&csv(dir, 0))?;
            rounds.iter().enumerate().try_for_each(|(at, edits)| {
                plan.edit(*edits, &edits_of(dir, at))?;
                plan.csv(&csv(dir, at + 1))
            })
        })?;
        Ok(Self { rows, rounds, dir })
    }

    fn base(&self) -> PathBuf {
        self.dir.join("base.parquet")
    }
}

fn csv(dir: &Path, version: usize) -> PathBuf {
    dir.join(format!("v{version}.csv"))
}

fn edits_of(dir: &Path, round: usize) -> PathBuf {
    dir.join(format!("edits-{round}.parquet"))
}

fn step(verb: &str, edits: usize) -> String {
    format!("{verb} {} {}", count(edits), if edits == 1 { "edit" } else { "edits" })
}

/// Runs the suite.
pub(super) fn run(world: &World, ours: Option<&Ours>, recorder: &mut Recorder) -> Result<Vec<String>> {
    let input = Input::make(world)?;
    for _ in 0..world.repetitions {
        if let Some(ours) = ours {
            we(world, ours, &input, recorder)?;
        }
        super::take_turns(world, PEERS, table_peer, &input, recorder)?;
        super::take_turns(world, ["rsync"], csv_by_rsync, &input, recorder)?;
    }
    Ok(vec![
        format!(
            "Input: {} rows, {} as CSV: an integer key, four cells that stay and two that an edit changes (a float and a text of \
             seven words). Edits hit random rows; each round is on top of the one before.",
            count(input.rows),
            super::super::stats::bytes(measure::size(&csv(&input.dir, 0))? as f64),
        ),
        "A commit reads the edited rows from Parquet, applies them by key and makes them a version that is on disk. Our time \
         includes the start of the process; Python peers are timed inside it, with the edits in memory already."
            .to_owned(),
        "A push moves the version to a copy that has the one before. DoltLite's wire is the growth of the remote file; Lance and \
         Delta have no push, so their new files go by rsync."
            .to_owned(),
    ])
}

fn we(world: &World, ours: &Ours, input: &Input, recorder: &mut Recorder) -> Result<()> {
    let dir = world.fresh("ours")?;
    let (here, data) = (dir.join("here"), dir.join("node"));
    ours.init(&here, true)?;
    let import = |path: &Path| {
        let cmd = ours.at(&here, ["import"]).arg(path);
        cmd.args(["--table", "rows", "--key", "id", "-m", "benchmark"])
    };
    let (mut sample, _) = ours.step(world, import(&input.base()))?;
    let mut size = measure::size(&here)?;
    sample.disk = Some(size.cast_signed());
    recorder.add("import", OURS, "", sample);
    let node = ours.up(&data)?;
    let url = node.url("bench");
    ours.run(&ours.at(&here, ["push", &url]))?;
    for (at, &edits) in input.rounds.iter().enumerate() {
        let (mut sample, _) = ours.step(world, import(&edits_of(&input.dir, at)))?;
        let grown = measure::size(&here)?;
        sample.disk = Some(grown.cast_signed() - size.cast_signed());
        recorder.add(&step("commit", edits), OURS, "", sample);

        let (sample, report) = ours.step(world, ours.at(&here, ["diff", "HEAD~1", "HEAD", "--table", "rows"]))?;
        ensure!(updated(&report) == Some(edits as u64), "our diff of {edits} edits says {report}");
        recorder.add(&step("diff", edits), OURS, "", sample);

        let (sample, _) = ours.transfer(world, &node, ours.at(&here, ["push", &url]))?;
        ensure!(ours.root(&here)? == ours.root_on(&url)?, "after the push the two roots differ");
        recorder.add(&step("push", edits), OURS, "both sides' CPU and memory", sample);
        // What a push notes of the peer belongs to no commit.
        size = measure::size(&here)?;
    }
    Ok(())
}

/// Rows updated by our `diff --json`.
pub(super) fn updated(report: &Value) -> Option<u64> {
    report["trees"].as_array()?.iter().map(|tree| tree["updated"].as_u64()).sum()
}

/// Lance, Delta or DoltLite.
fn table_peer(world: &World, input: &Input, name: &str, recorder: &mut Recorder) -> Result<()> {
    let peer = TablePeer::new(world, name, vec!["id"])?;
    peer.load("import", &input.base(), input.rows, recorder)?;
    peer.push()?;
    for (at, &edits) in input.rounds.iter().enumerate() {
        peer.edit(&step("commit", edits), &edits_of(&input.dir, at), edits, recorder)?;
        peer.diff(&step("diff", edits), edits, recorder)?;
        recorder.add(&step("push", edits), name, peer.push_note(), peer.push()?);
    }
    Ok(())
}

fn csv_by_rsync(world: &World, input: &Input, _: &str, recorder: &mut Recorder) -> Result<()> {
    let copy = world.fresh("rsync")?.join("rows.csv");
    fs::copy(csv(&input.dir, 0), &copy).context("placing the base for rsync")?;
    for (at, &edits) in input.rounds.iter().enumerate() {
        let sample = rsync::copy(world, &csv(&input.dir, at + 1), &copy)?;
        recorder.add(&step("push", edits), "rsync of CSV", rsync::NOTE, sample);
    }
    Ok(())
}

/// What is aimed for.
pub(super) fn targets() -> Vec<Target> {
    let mut targets = Vec::new();
    let aims =
        [(1, 2e3, 0.010, 0.001, 1.5e3), (1_000, 130e3, 0.040, 0.010, 100e3), (10_000, 1.1e6, 0.150, 0.050, 0.9e6)];
    for (edits, disk, commit, diff, wire) in aims {
        targets.push(at_most(step("commit", edits), Metric::Wall, commit));
        targets.push(at_most(step("commit", edits), Metric::Disk, disk));
        targets.push(at_most(step("diff", edits), Metric::Report, diff));
        targets.push(at_most(step("push", edits), Metric::Wire, wire));
    }
    targets
}
