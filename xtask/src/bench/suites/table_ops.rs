//! `table-ops`: TPC-H lineitem; import, scan, 10 k edits committed, diffed and pushed, a merge, a clone.

use std::path::{Path, PathBuf};

use anyhow::{Result, ensure};
use serde_json::json;

use super::super::inputs::{self, lineitem};
use super::super::measure::{self, Cmd};
use super::super::ours::Ours;
use super::super::record::{OURS, Recorder};
use super::super::targets::{Bound, Metric, Target, at_most, rate};
use super::super::world::World;
use super::table_delta::updated;
use super::table_peers::{PEERS, TablePeer, done};
use super::{count, rsync};

/// Rows of lineitem at scale factor 1.
const ROWS: f64 = 6_001_215.0;
/// The table's name.
pub(super) const TABLE: &str = "lineitem";
const IMPORT: &str = "import";
const IMPORT_CSV: &str = "import of CSV";
const SCAN: &str = "full scan to Arrow";
const PARQUET_SCAN: &str = "DataFusion on zstd Parquet";
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
        super::take_turns(world, PEERS, table_peer, &input, recorder)?;
        super::take_turns(world, ["rsync"], parquet_by_rsync, &input, recorder)?;
        super::take_turns(world, ["datafusion"], datafusion, &input, recorder)?;
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
        cmd.args(["--table", TABLE, "--key", lineitem::KEY, "-m", "benchmark"])
    };
    let (mut sample, _) = ours.step(world, import(lineitem::BASE))?;
    let size = measure::size(&here)?;
    sample.disk = Some(size.cast_signed());
    recorder.add(IMPORT, OURS, "", sample);
    ensure!(ours.table_root(&here, TABLE)? == csv_root, "CSV and Parquet of the same rows give two roots");
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
    let (sample, report) = ours.step(world, ours.at(&here, ["diff", "HEAD~1", "HEAD", "--table", TABLE]))?;
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
    let import = import.arg(input.csv.join(lineitem::SCHEMA)).args(["--table", TABLE, "--key", lineitem::KEY]);
    let (mut sample, _) = ours.step(world, import.args(["-m", "benchmark"]))?;
    sample.disk = Some(measure::size(&here)?.cast_signed());
    recorder.add(IMPORT_CSV, OURS, "with declared types", sample);
    ours.table_root(&here, TABLE)
}

fn scan(world: &World, ours: &Ours, here: &Path, input: &Input, recorder: &mut Recorder) -> Result<()> {
    let export = ours.at(here, ["-q", "export", "--table", TABLE, "--format", "arrow", "-o", "-"]);
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

/// Lance, Delta or DoltLite.
fn table_peer(world: &World, input: &Input, name: &str, recorder: &mut Recorder) -> Result<()> {
    let peer = TablePeer::new(world, name, Input::key())?;
    let all = usize::try_from(input.rows)?;
    peer.load(IMPORT, &input.file(lineitem::BASE), all, recorder)?;
    if !peer.has_versions() {
        peer.load_csv(IMPORT_CSV, &input.csv.join(lineitem::CSV), all, recorder)?;
    }
    peer.scan(SCAN, all, recorder)?;
    peer.clone_all(CLONE, all, recorder)?;
    peer.edit(COMMIT, &input.file(lineitem::EDITS[0]), input.edits, recorder)?;
    peer.diff(DIFF, input.edits, recorder)?;
    recorder.add(PUSH, name, peer.push_note(), peer.push()?);
    if peer.has_versions() {
        peer.merge(MERGE, [&input.file(lineitem::EDITS[1]), &input.file(lineitem::EDITS[2])], recorder)?;
    }
    Ok(())
}

/// DataFusion's scans of the input: what a scan and an import can be at best.
fn datafusion(world: &World, input: &Input, name: &str, recorder: &mut Recorder) -> Result<()> {
    let files = [
        (SCAN, PARQUET_SCAN, input.file(lineitem::BASE)),
        (IMPORT_CSV, "DataFusion's scan of the CSV", input.csv.join(lineitem::CSV)),
    ];
    for (step, limit, file) in files {
        let (sample, said) = world.table_peer(name, "scan", &json!({"input": file}))?;
        done(name, "scan", &said, usize::try_from(input.rows)?)?;
        recorder.limit(step, limit, "", sample);
    }
    Ok(())
}

fn parquet_by_rsync(world: &World, input: &Input, _: &str, recorder: &mut Recorder) -> Result<()> {
    rsync::edited_table(world, input, PUSH, recorder)
}

/// What is aimed for.
pub(super) fn targets() -> Vec<Target> {
    vec![
        rate(IMPORT, 3e6, ROWS),
        at_most(IMPORT, Metric::Disk, 260e6),
        Target { bound: Bound::Times(2.0, PARQUET_SCAN), ..at_most(SCAN, Metric::Wall, 0.0) },
        at_most(COMMIT, Metric::Wall, 0.3),
        at_most(COMMIT, Metric::Disk, 1.6e6),
        at_most(DIFF, Metric::Report, 0.06),
        at_most(PUSH, Metric::Wall, 0.3),
        at_most(PUSH, Metric::Wire, 1.2e6),
        at_most(MERGE, Metric::Wall, 1.0),
        rate(CLONE, 3e6, ROWS),
    ]
}
