//! What happens in the demo, in order.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};
use serde::Serialize;
use syncline_base::rng::Rng;
use syncline_base::{Clock, SystemClock};

use super::node::{Done, Node, Server, number, text};
use super::{Args, edits, files, live, tpch};

/// The demo is the same every time.
const SEED: u64 = 20_260_101;
const DATASET: &str = "demo";

/// Everything that the demo shows.
#[derive(Debug, Serialize)]
pub(super) struct Report {
    pub steps: Vec<Step>,
    /// What the edit was, as `diff` shows it.
    pub diff: serde_json::Value,
    /// What happened to one of the edited rows.
    pub history: serde_json::Value,
    /// The conflict of the merge, as `conflicts` shows it.
    pub conflict: serde_json::Value,
    /// One for each node.
    pub nodes: Vec<Verified>,
    /// The live chapter.
    pub live: live::Live,
    /// Whether all have the same root.
    pub equal: bool,
    /// Bytes that a copy of everything would move.
    pub full_copy_bytes: u64,
    pub seconds: f64,
    /// With `--keep`: where it all is.
    pub kept: Option<Kept>,
}

/// One thing that was done.
#[derive(Debug, Serialize)]
pub(super) struct Step {
    pub what: String,
    pub seconds: f64,
    /// Bytes on the wire, both ways, for a transfer.
    pub wire_bytes: Option<u64>,
    pub round_trips: Option<u64>,
}

/// A node after every byte of it was checked.
#[derive(Debug, Serialize)]
pub(super) struct Verified {
    pub node: String,
    pub root: String,
    pub objects: u64,
    pub bytes: u64,
    pub seconds: f64,
}

/// What is left behind on request.
#[derive(Debug, Serialize)]
pub(super) struct Kept {
    pub dir: PathBuf,
    pub nodes: Vec<(String, u32)>,
}

/// The demo under way.
struct Story<'a> {
    binary: &'a Path,
    dir: &'a Path,
    quiet: bool,
    steps: Vec<Step>,
    rng: Rng,
}

impl Story<'_> {
    /// Notes a step that took so long.
    fn note(&mut self, what: impl Into<String>, seconds: f64) {
        self.add(Step { what: what.into(), seconds, wire_bytes: None, round_trips: None });
    }

    /// Notes a transfer with what it cost.
    fn transfer(&mut self, what: impl Into<String>, done: &Done) -> Result<()> {
        let wire = number(&done.report, "bytes_sent")? + number(&done.report, "bytes_received")?;
        let round_trips = Some(number(&done.report, "round_trips")?);
        self.add(Step { what: what.into(), seconds: done.seconds, wire_bytes: Some(wire), round_trips });
        Ok(())
    }

    fn add(&mut self, step: Step) {
        if !self.quiet {
            eprintln!("{:>8.2} s  {}", step.seconds, step.what);
        }
        self.steps.push(step);
    }

    fn file(&self, name: &str) -> PathBuf {
        self.dir.join(name)
    }

    /// Imports a file of edits into `lineitem`.
    fn edit(&mut self, node: &Node, file: &Path, more: &[&str]) -> Result<Done> {
        let file = file.display().to_string();
        let mut words = vec!["import", file.as_str(), "--table", "lineitem"];
        words.extend_from_slice(more);
        node.run(words)
    }
}

/// Tells the story and gathers what there is to show.
pub(super) fn tell(args: &Args, binary: &Path, dir: &Path) -> Result<Report> {
    let start = SystemClock.monotonic();
    let rng = Rng::from_seed(SEED);
    let mut story = Story { binary, dir, quiet: args.json, steps: Vec::new(), rng };
    let hub_dir = dir.join("hub").join(DATASET);
    let hub_here = Node::at(binary, &hub_dir);
    let input = create(&mut story, args, &hub_here, &hub_dir)?;

    let hub = Server::start(binary, &dir.join("hub"))?;
    let url = format!("{}/{DATASET}", hub.url);
    let [one, two] = clone(&mut story, &url)?;
    let keys = edits::random_keys(&input.lineitem, &mut story.rng, 1_500)?;
    let diff = change(&mut story, &one, &input, &keys)?;
    story.transfer("edge-1 syncs with the hub", &one.run(["sync"])?)?;
    story.transfer("edge-2 syncs with the hub", &two.run(["sync"])?)?;
    let history = look(&mut story, &two, keys[0])?;
    let conflict = merge(&mut story, &two, &keys)?;
    roll_back(&mut story, &two, &keys)?;
    story.transfer("edge-2 syncs the merge", &two.run(["sync"])?)?;
    story.transfer("edge-1 syncs the merge", &one.run(["sync"])?)?;

    let nodes = verify(&mut story, [("hub", &Node::on(binary, &url)), ("edge-1", &one), ("edge-2", &two)])?;
    let equal = nodes.iter().all(|node| node.root == nodes[0].root);
    let (live, steps) = live::tell(binary, &dir.join("live"))?;
    steps.into_iter().for_each(|(what, seconds)| story.note(format!("live: {what}"), seconds));
    let kept = if args.keep { Some(keep(binary, dir, hub)?) } else { None };
    let seconds = (SystemClock.monotonic() - start).as_secs_f64();
    let full_copy_bytes = input.bytes;
    Ok(Report { steps: story.steps, diff, history, conflict, nodes, live, equal, full_copy_bytes, seconds, kept })
}

/// What the dataset was made from.
struct Input {
    lineitem: tpch::Table,
    files: files::Copied,
    /// Of all Parquet files and all files.
    bytes: u64,
}

fn create(story: &mut Story<'_>, args: &Args, hub: &Node, hub_dir: &Path) -> Result<Input> {
    let start = SystemClock.monotonic();
    let tables = tpch::write_all(&story.file("tpch"), args.sf)?;
    let rows: u64 = tables.iter().map(|table| table.rows).sum();
    let spent = (SystemClock.monotonic() - start).as_secs_f64();
    story.note(format!("TPC-H scale {}: 8 tables, {} rows, as Parquet", args.sf, super::table::count(rows)), spent);

    Node::at(story.binary, hub_dir).run(["init"])?;
    let start = SystemClock.monotonic();
    let files = files::copy(args.files.as_deref(), hub_dir)?;
    let spent = (SystemClock.monotonic() - start).as_secs_f64();
    let size = super::table::bytes(files.bytes);
    story.note(format!("copy {} real files ({size}) into the dataset", super::table::count(files.files)), spent);

    let mut spent = 0.0;
    for table in &tables {
        let path = table.path.display().to_string();
        spent += hub.run(["import", path.as_str(), "--table", table.name, "--key", table.key])?.seconds;
    }
    story.note(format!("import {} rows from Parquet", super::table::count(rows)), spent);
    let done = hub.run(["commit", "-m", "TPC-H and sources"])?;
    story.note("commit tables and files on the hub", done.seconds);
    hub.run(["tag", "v1"])?;
    let bytes = tables.iter().map(|table| table.bytes).sum::<u64>() + files.bytes;
    let lineitem = tables.into_iter().find(|table| table.name == "lineitem").context("there is no lineitem")?;
    Ok(Input { lineitem, files, bytes })
}

fn clone(story: &mut Story<'_>, url: &str) -> Result<[Node; 2]> {
    let names = ["edge-1", "edge-2"];
    for name in names {
        let dir = story.file(name).join(DATASET).display().to_string();
        std::fs::create_dir_all(story.file(name))?;
        let done = Node::at(story.binary, story.dir).run(["clone", url, dir.as_str()])?;
        story.transfer(format!("{name} clones the hub"), &done)?;
    }
    Ok(names.map(|name| Node::at(story.binary, &story.file(name).join(DATASET))))
}

/// Edits, inserts, deletes and file changes on one node, and their commit. Returns what `diff` says.
fn change(story: &mut Story<'_>, node: &Node, input: &Input, keys: &[(i64, i32)]) -> Result<serde_json::Value> {
    let (updates, inserts, deletes) = (story.file("u.ndjson"), story.file("i.ndjson"), story.file("d.ndjson"));
    edits::updates(&updates, &keys[..1_000], &mut story.rng, "edge-1")?;
    edits::inserts(&inserts, &keys[1_000..1_200], &mut story.rng)?;
    edits::keys(&deletes, &keys[1_200..1_300])?;
    let mut spent = story.edit(node, &updates, &[])?.seconds;
    spent += story.edit(node, &inserts, &["--mode", "append"])?.seconds;
    spent += story.edit(node, &deletes, &["--mode", "delete"])?.seconds;
    story.note("edge-1 edits 1,000 random rows, inserts 200, deletes 100", spent);
    let (changed, added, removed) = files::edit(&story.file("edge-1").join(DATASET), &input.files.paths)?;
    let done = node.run(["commit", "-m", "corrections"])?;
    story.note(format!("commit, with {changed} files changed, {added} added, {removed} removed"), done.seconds);
    let done = node.run(["diff", "v1", "main"])?;
    story.note("diff against v1", done.seconds);
    Ok(done.report)
}

/// What happened to one row.
fn look(story: &mut Story<'_>, node: &Node, (order, line): (i64, i32)) -> Result<serde_json::Value> {
    let key = format!("{order},{line}");
    let done = node.run(["history", "--table", "lineitem", "--key", key.as_str()])?;
    story.note(format!("history of the row {key}"), done.seconds);
    Ok(done.report)
}

/// Two branches that change many rows, and one cell both.
fn merge(story: &mut Story<'_>, node: &Node, keys: &[(i64, i32)]) -> Result<serde_json::Value> {
    let (ours, theirs) = (story.file("ours.ndjson"), story.file("theirs.ndjson"));
    // The first row gets another comment on each side; the others are changed in different columns.
    let contested = 1;
    let (hot, rest) = (&keys[1_300..1_300 + contested], &keys[1_300 + contested..]);
    let step = |story: &mut Story<'_>, file: &Path, column: &str, who: &str| -> Result<f64> {
        edits::one_cell(file, rest, column, "TRUCK")?;
        let mut spent = story.edit(node, file, &[])?.seconds;
        edits::one_cell(file, hot, "l_comment", who)?;
        spent += story.edit(node, file, &["-m", who])?.seconds;
        Ok(spent)
    };
    node.run(["branch", "review"])?;
    node.run(["checkout", "review"])?;
    let mut spent = step(story, &theirs, "l_shipmode", "as the review says")?;
    node.run(["checkout", "main"])?;
    spent += step(story, &ours, "l_shipinstruct", "as the edge says")?;
    story.note(format!("two branches change the same {} rows", rest.len() + contested), spent);
    let done = node.ends_with(4, ["merge", "review"])?;
    let found = number(&done.report, "conflicts")?;
    ensure!(found == contested as u64, "the merge has {found} conflicts, not {contested}");
    story.note(format!("merge: {} rows cell by cell, {found} conflict", rest.len()), done.seconds);
    let conflict = node.run(["conflicts"])?.report;
    let mut spent = node.run(["resolve", "--theirs"])?.seconds;
    spent += node.run(["commit", "-m", "merge the review"])?.seconds;
    story.note("resolve it and commit the merge", spent);
    Ok(conflict)
}

/// A bad import, and the way back.
fn roll_back(story: &mut Story<'_>, node: &Node, keys: &[(i64, i32)]) -> Result<()> {
    let good = node.root()?;
    let file = story.file("bad.ndjson");
    edits::one_cell(&file, keys[..1_000].iter().as_slice(), "l_comment", "oops")?;
    story.edit(node, &file, &["-m", "a bad import"])?;
    ensure!(node.root()? != good, "the bad import has changed nothing");
    let done = node.run(["rollback", "main~1"])?;
    ensure!(text(&done.report, "root")? == good, "the rollback did not bring the old root back");
    story.note("roll a bad import back: the root is the one before", done.seconds);
    Ok(())
}

fn verify(story: &mut Story<'_>, nodes: [(&str, &Node); 3]) -> Result<Vec<Verified>> {
    let mut verified = Vec::new();
    for (name, node) in nodes {
        let done = node.run(["verify", "--deep"])?;
        ensure!(done.report["sound"] == true, "{name} is damaged: {}", done.report);
        story.note(format!("verify every byte of {name}"), done.seconds);
        verified.push(Verified {
            node: name.to_owned(),
            root: node.root()?,
            objects: number(&done.report, "objects")?,
            bytes: number(&done.report, "bytes")?,
            seconds: done.seconds,
        });
    }
    Ok(verified)
}

/// Leaves all three nodes running.
fn keep(binary: &Path, dir: &Path, hub: Server) -> Result<Kept> {
    let edges = ["edge-1", "edge-2"].map(|name| Server::start(binary, &dir.join(name)));
    let mut nodes = Vec::new();
    for server in std::iter::once(Ok(hub)).chain(edges) {
        let server = server?;
        nodes.push((format!("{}/{DATASET}", server.url), server.pid()));
        server.leave();
    }
    Ok(Kept { dir: dir.to_owned(), nodes })
}
