//! `table-ops`: TPC-H lineitem; import, scan, 10 k edits committed, diffed and pushed, a merge, a clone.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};

use super::super::inputs::{self, lineitem};
use super::super::measure::{self, Cmd};
use super::super::ours::Ours;
use super::super::record::{OURS, Recorder};
use super::super::targets::{Bound, Metric, Target, at_most, rate};
use super::super::world::World;
use super::table_delta::{done, updated};
use super::{count, rsync};

/// Rows of lineitem at scale factor 1.
const ROWS: f64 = 6_001_215.0;
const IMPORT: &str = "import";
const IMPORT_CSV: &str = "import of CSV";
const SCAN: &str = "full scan to Arrow";
const COMMIT: &str = "commit of edits";
const DIFF: &str = "diff of edits";
const PUSH: &str = "push of edits";
const MERGE: &str = "merge of two branches";
const CLONE: &str = "clone";

pub(super) struct Input {
    pub(super) scale: f64,
    pub(super) edits: usize,
    pub(super) rows: u64,
    dir: PathBuf,
    csv: PathBuf,
}

impl Input {
    /// `full` edits in each set at scale factor 1, `tiny` at a hundredth.
    pub(super) fn make(world: &World, full: usize, tiny: usize) -> Result<Self> {
        let (scale, edits) = if world.quick { (0.01, tiny) } else { (1.0, full) };
        let name = format!("lineitem-{scale}-{edits}-v{}", inputs::VERSION);
        let dir = world.input(&name, |dir| lineitem::write(dir, scale, edits))?;
        let rows = lineitem::rows(&dir.join(lineitem::BASE))?;
        Ok(Self { scale, edits, rows, dir, csv: PathBuf::new() })
    }

    /// With the table as CSV, too.
    fn with_csv(self, world: &World) -> Result<Self> {
        let name = format!("lineitem-csv-{}-v{}", self.scale, inputs::VERSION);
        let csv = world.input(&name, |dir| lineitem::write_csv(dir, self.scale))?;
        Ok(Self { csv, ..self })
    }

    pub(super) fn file(&self, name: &str) -> PathBuf {
        self.dir.join(name)
    }

    fn key() -> Vec<&'static str> {
        lineitem::KEY.split(',').collect()
    }
}

/// Runs the suite.
pub(super) fn run(world: &World, ours: Option<&Ours>, recorder: &mut Recorder) -> Result<Vec<String>> {
    let input = Input::make(world, 10_000, 500)?.with_csv(world)?;
    for _ in 0..world.repetitions {
        if let Some(ours) = ours {
            we(world, ours, &input, recorder)?;
        }
        for peer in ["lance", "delta"] {
            if world.has(peer) {
                lake(world, &input, peer, recorder)?;
            }
        }
        if world.has("doltlite") {
            doltlite(world, &input, recorder)?;
        }
        if world.has("rsync") {
            parquet_by_rsync(world, &input, recorder)?;
        }
        if world.has("datafusion") {
            let (sample, said) =
                world.table_peer("datafusion", "scan", &json!({"input": input.file(lineitem::BASE)}))?;
            done("datafusion", "scan", &said, usize::try_from(input.rows)?)?;
            recorder.limit(SCAN, "DataFusion on zstd Parquet", "", sample);
            let (sample, said) =
                world.table_peer("datafusion", "scan", &json!({"input": input.csv.join(lineitem::CSV)}))?;
            done("datafusion", "scan", &said, usize::try_from(input.rows)?)?;
            recorder.limit(IMPORT_CSV, "DataFusion's scan of the CSV", "", sample);
        }
    }
    Ok(vec![
        format!(
            "Input: TPC-H lineitem at scale factor {}: {} rows, {} as zstd Parquet; sets of {} random edits that change a decimal \
             and a text and share no row.",
            input.scale,
            input.rows,
            super::super::stats::bytes(measure::size(&input.file(lineitem::BASE))? as f64),
            count(input.edits),
        ),
        "Our time includes the start of the process; Python peers are timed inside it. DoltLite takes rows one by one, converted \
         from Parquet in Python, which its import pays for. Our scan writes Arrow IPC into a pipe that drops it."
            .to_owned(),
        "Lance and Delta have neither merge nor push: their new files go by rsync, whose clone is a copy of all files. DoltLite's \
         wire is the growth of the remote file."
            .to_owned(),
    ])
}

fn we(world: &World, ours: &Ours, input: &Input, recorder: &mut Recorder) -> Result<()> {
    let dir = world.fresh("ours")?;
    let (here, data) = (dir.join("here"), dir.join("node"));
    ours.init(&here, true)?;
    let csv_root = csv(world, ours, input, recorder)?;
    let import = |path: &str| {
        let cmd = ours.at(&here, ["import"]).arg(input.file(path));
        cmd.args(["--table", "lineitem", "--key", lineitem::KEY, "-m", "benchmark"])
    };
    let (mut sample, _) = ours.step(world, import(lineitem::BASE))?;
    let size = measure::size(&here)?;
    sample.disk = Some(size.cast_signed());
    recorder.add(IMPORT, OURS, "", sample);
    ensure!(table_root(ours, &here)? == csv_root, "CSV and Parquet of the same rows give two roots");
    scan(world, ours, &here, input, recorder)?;

    let node = ours.up(&data)?;
    let url = node.url("bench");
    ours.run(&ours.at(&here, ["push", &url]))?;
    let copy = dir.join("copy");
    let (mut sample, _) = ours.transfer(world, &node, ours.cmd(["clone", "--bare", &url]).arg(&copy))?;
    ensure!(ours.root(&here)? == ours.root(&copy)?, "after the clone the two roots differ");
    sample.disk = Some(measure::size(&copy)?.cast_signed());
    recorder.add(CLONE, OURS, "over loopback; both sides' CPU and memory", sample);

    let size = measure::size(&here)?;
    let (mut sample, _) = ours.step(world, import(lineitem::EDITS[0]))?;
    sample.disk = Some(measure::size(&here)?.cast_signed() - size.cast_signed());
    recorder.add(COMMIT, OURS, "", sample);
    let (sample, report) = ours.step(world, ours.at(&here, ["diff", "HEAD~1", "HEAD", "--table", "lineitem"]))?;
    ensure!(updated(&report) == Some(input.edits as u64), "our diff of {} edits says {report}", input.edits);
    recorder.add(DIFF, OURS, "", sample);
    let (sample, _) = ours.transfer(world, &node, ours.at(&here, ["push", &url]))?;
    ensure!(ours.root(&here)? == ours.root_on(&url)?, "after the push the two roots differ");
    recorder.add(PUSH, OURS, "both sides' CPU and memory", sample);
    merge(world, ours, &here, import, recorder)
}

/// Imports the table from CSV into a replica of its own; its root.
fn csv(world: &World, ours: &Ours, input: &Input, recorder: &mut Recorder) -> Result<String> {
    let here = world.fresh("ours-csv")?.join("here");
    ours.init(&here, true)?;
    let import = ours.at(&here, ["import"]).arg(input.csv.join(lineitem::CSV)).arg("--schema");
    let import = import.arg(input.csv.join(lineitem::SCHEMA)).args(["--table", "lineitem", "--key", lineitem::KEY]);
    let (mut sample, _) = ours.step(world, import.args(["-m", "benchmark"]))?;
    sample.disk = Some(measure::size(&here)?.cast_signed());
    recorder.add(IMPORT_CSV, OURS, "with declared types", sample);
    table_root(ours, &here)
}

fn table_root(ours: &Ours, replica: &Path) -> Result<String> {
    ours.run(&ours.at(replica, ["root", "--table", "lineitem"]))
}

fn scan(world: &World, ours: &Ours, here: &Path, input: &Input, recorder: &mut Recorder) -> Result<()> {
    let export = ours.at(here, ["-q", "export", "--table", "lineitem", "--format", "arrow", "-o", "-"]);
    let rows = ours.run(&ours.at(here, ["status"]))?;
    let status = super::super::parse::last_object(&rows)?;
    ensure!(status["tables"][0][1].as_u64() == Some(input.rows), "not all rows were imported: {status}");
    let drain = Cmd::new("sh").arg("-c").arg(format!("{} > /dev/null", export.line().replace("--json ", "")));
    let (sample, _) = ours.measured(world, &drain)?;
    recorder.add(SCAN, OURS, "", sample);
    Ok(())
}

fn merge(world: &World, ours: &Ours, here: &Path, import: impl Fn(&str) -> Cmd, recorder: &mut Recorder) -> Result<()> {
    for words in [["branch", "theirs"], ["checkout", "theirs"]] {
        ours.run(&ours.at(here, words))?;
    }
    ours.run(&import(lineitem::EDITS[1]))?;
    ours.run(&ours.at(here, ["checkout", "main"]))?;
    ours.run(&import(lineitem::EDITS[2]))?;
    let size = measure::size(here)?;
    let (mut sample, report) = ours.step(world, ours.at(here, ["merge", "theirs"]))?;
    ensure!(report["conflicts"].as_u64() == Some(0), "our merge says {report}");
    sample.disk = Some(measure::size(here)?.cast_signed() - size.cast_signed());
    recorder.add(MERGE, OURS, "", sample);
    Ok(())
}

/// Lance or Delta.
fn lake(world: &World, input: &Input, peer: &str, recorder: &mut Recorder) -> Result<()> {
    let dir = world.fresh(peer)?;
    let (store, copy) = (dir.join("store"), dir.join("copy"));
    let call = |step: &str, name: &str| {
        world.table_peer(peer, step, &json!({"store": store, "input": input.file(name), "key": Input::key()}))
    };
    let all = usize::try_from(input.rows)?;
    let (mut sample, said) = call("load", lineitem::BASE)?;
    done(peer, "load", &said, all)?;
    let size = measure::size(&store)?;
    sample.disk = Some(size.cast_signed());
    recorder.add(IMPORT, peer, "", sample);
    let from_csv = json!({"store": dir.join("csv"), "input": input.csv.join(lineitem::CSV), "key": Input::key()});
    let (mut sample, said) = world.table_peer(peer, "load", &from_csv)?;
    done(peer, "load", &said, all)?;
    sample.disk = Some(measure::size(&dir.join("csv"))?.cast_signed());
    recorder.add(IMPORT_CSV, peer, "types are guessed: decimals become floats", sample);
    let (sample, said) = call("scan", lineitem::BASE)?;
    done(peer, "scan", &said, all)?;
    recorder.add(SCAN, peer, "", sample);
    let mut sample = rsync::new_files(world, &store, &copy)?;
    sample.disk = Some(measure::size(&copy)?.cast_signed());
    recorder.add(CLONE, peer, "all files by rsync", sample);
    let (mut sample, said) = call("edit", lineitem::EDITS[0])?;
    done(peer, "edit", &said, input.edits)?;
    sample.disk = Some(measure::size(&store)?.cast_signed() - size.cast_signed());
    recorder.add(COMMIT, peer, "", sample);
    let (sample, said) = call("diff", lineitem::BASE)?;
    done(peer, "diff", &said, input.edits)?;
    recorder.add(DIFF, peer, "", sample);
    let sample = rsync::new_files(world, &store, &copy)?;
    recorder.add(PUSH, peer, "new files by rsync", sample);
    Ok(())
}

fn doltlite(world: &World, input: &Input, recorder: &mut Recorder) -> Result<()> {
    let (store, remote, copy) =
        (world.fresh("doltlite")?, world.fresh("doltlite-remote")?, world.fresh("doltlite-copy")?);
    let call = |step: &str, store: &Path, name: &str| -> Result<(_, Value)> {
        let branches = [input.file(lineitem::EDITS[1]), input.file(lineitem::EDITS[2])];
        let args = json!({
            "store": store, "remote": remote.join("remote.db"), "input": input.file(name), "inputs": branches,
            "key": Input::key(),
        });
        world.table_peer("doltlite", step, &args)
    };
    let all = usize::try_from(input.rows)?;
    let add = |recorder: &mut Recorder, step: &str, note: &str, sample| recorder.add(step, "doltlite", note, sample);
    let (mut sample, said) = call("load", &store, lineitem::BASE)?;
    done("doltlite", "load", &said, all)?;
    let size = measure::size(&store)?;
    sample.disk = Some(size.cast_signed());
    add(recorder, IMPORT, "rows from Python", sample);
    let (sample, said) = call("scan", &store, lineitem::BASE)?;
    done("doltlite", "scan", &said, all)?;
    add(recorder, SCAN, "to Python tuples", sample);
    call("push", &store, lineitem::BASE)?;
    let (mut sample, said) = call("clone", &copy, lineitem::BASE)?;
    done("doltlite", "clone", &said, all)?;
    let cloned = measure::size(&copy)?;
    (sample.disk, sample.wire) = (Some(cloned.cast_signed()), Some(cloned));
    add(recorder, CLONE, "from a file; wire = size of the copy", sample);
    let size = measure::size(&store)?;
    let (mut sample, said) = call("edit", &store, lineitem::EDITS[0])?;
    done("doltlite", "edit", &said, input.edits)?;
    sample.disk = Some(measure::size(&store)?.cast_signed() - size.cast_signed());
    add(recorder, COMMIT, "", sample);
    let (sample, said) = call("diff", &store, lineitem::BASE)?;
    done("doltlite", "diff", &said, input.edits)?;
    add(recorder, DIFF, "", sample);
    let before = measure::size(&remote)?;
    let (mut sample, _) = call("push", &store, lineitem::BASE)?;
    sample.wire = Some(measure::size(&remote)?.saturating_sub(before));
    add(recorder, PUSH, "to a file; wire = growth of it", sample);
    call("branches", &store, lineitem::BASE)?;
    let size = measure::size(&store)?;
    let (mut sample, _) = call("merge", &store, lineitem::BASE)?;
    sample.disk = Some(measure::size(&store)?.cast_signed() - size.cast_signed());
    add(recorder, MERGE, "", sample);
    Ok(())
}

fn parquet_by_rsync(world: &World, input: &Input, recorder: &mut Recorder) -> Result<()> {
    let copy = world.fresh("rsync")?.join("lineitem.parquet");
    fs::copy(input.file(lineitem::BASE), &copy).context("placing the base for rsync")?;
    let sample = rsync::copy(world, &input.file(lineitem::EDITED), &copy)?;
    recorder.add(PUSH, "rsync of Parquet", rsync::NOTE, sample);
    Ok(())
}

/// What is aimed for.
pub(super) fn targets() -> Vec<Target> {
    vec![
        rate(IMPORT, 3e6, ROWS),
        at_most(IMPORT, Metric::Disk, 260e6),
        Target { bound: Bound::Times(2.0, "DataFusion on zstd Parquet"), ..at_most(SCAN, Metric::Wall, 0.0) },
        at_most(COMMIT, Metric::Wall, 0.3),
        at_most(COMMIT, Metric::Disk, 1.6e6),
        at_most(DIFF, Metric::Report, 0.06),
        at_most(PUSH, Metric::Wall, 0.3),
        at_most(PUSH, Metric::Wire, 1.2e6),
        at_most(MERGE, Metric::Wall, 1.0),
        rate(CLONE, 3e6, ROWS),
    ]
}
