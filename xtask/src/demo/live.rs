//! The live chapter: three hubs beside each other, two nodes that follow them, a cable that is pulled.
//!
//! Rows are written on all five. Then one hub and one follower are cut off and the same rows are edited on both sides of the cut; when all
//! are back, the conflicts are shown and settled, and all five have one replica root. At last, how long a transaction takes from a writer on one
//! hub to a reader of a follower of another one.
//!
//! Owns: five processes, ended with the chapter.

use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use serde::Serialize;
use serde_json::{Value, json};
use syncline_base::{Clock, SystemClock};

use super::node::{Node, Server, number, text};

const HUBS: [&str; 3] = ["hub-a", "hub-b", "hub-c"];
const EDGES: [&str; 2] = ["edge-1", "edge-2"];
/// Rows that each of the five writes.
const ROWS: usize = 200;
/// Rows that are edited on both sides of the cut.
const CONTESTED: usize = 5;
/// Transactions whose way is timed.
const TIMED: usize = 300;
/// How long all may take to come to the same.
const PATIENCE: Duration = Duration::from_secs(60);

/// What the chapter shows.
#[derive(Debug, Serialize)]
pub(super) struct Live {
    pub nodes: usize,
    pub transactions: u64,
    /// Rows in conflict after the cut.
    pub conflicts: u64,
    /// One of them with both its values.
    pub sample: Value,
    /// Of all five, when everything was settled.
    pub root: String,
    /// From giving a transaction to a hub to reading it behind another one, in microseconds, ascending.
    pub latencies_us: Vec<u64>,
}

/// What was done, and how long it took.
type Steps = Vec<(String, f64)>;

struct Place {
    name: &'static str,
    dir: PathBuf,
    node: Node,
    server: Option<Server>,
    /// `127.0.0.1:PORT`, the same when it is started again.
    address: String,
    follows: Vec<String>,
}

impl Place {
    fn new(binary: &Path, dir: &Path, name: &'static str, follows: Vec<String>) -> Result<Self> {
        let dir = dir.join(name);
        let node = Node::at(binary, &dir);
        node.run(["init"])?;
        let mut place = Self { name, dir, node, server: None, address: "127.0.0.1:0".to_owned(), follows };
        place.start(binary)?;
        Ok(place)
    }

    fn start(&mut self, binary: &Path) -> Result<()> {
        let server = Server::of_one(binary, &self.dir, &self.address, &self.follows)?;
        self.address = server.url.trim_start_matches("http://").to_owned();
        self.server = Some(server);
        Ok(())
    }

    fn url(&self) -> String {
        format!("http://{}/{}", self.address, self.name)
    }

    fn put(&self, rows: &[Value]) -> Result<()> {
        let lines: Vec<String> = rows.iter().map(Value::to_string).collect();
        self.node.give(&lines.join("\n"), ["put", "--table", "offers"])?;
        Ok(())
    }

    fn live(&self) -> Result<Value> {
        Ok(self.node.run(["status"])?.report["live"].clone())
    }
}

/// Tells the chapter.
pub(super) fn tell(binary: &Path, dir: &Path) -> Result<(Live, Steps)> {
    std::fs::create_dir_all(dir)?;
    let mut steps = Steps::new();
    let start = SystemClock.monotonic();
    let mut places = five(binary, dir)?;
    let words = ["table", "create", "offers", "--key", "sku", "--column", "price:int64", "--writers", "many"];
    places[0].node.run(words)?;
    settle(&places)?;
    note(&mut steps, "three hubs in a row, a follower at each end", start);

    let start = SystemClock.monotonic();
    for (nth, place) in places.iter().enumerate() {
        let rows: Vec<Value> = (0..ROWS).map(|n| json!({ "sku": format!("{nth}-{n}"), "price": n })).collect();
        place.put(&rows)?;
    }
    settle(&places)?;
    note(&mut steps, format!("{} rows written on all five, and everywhere", 5 * ROWS), start);

    let start = SystemClock.monotonic();
    let sample = cut(binary, &mut places)?;
    note(&mut steps, "hub-b unplugged; the same rows edited on both sides; plugged in again", start);
    let conflicts = number(&places[0].live()?, "conflicts")?;
    ensure!(conflicts == CONTESTED as u64, "{conflicts} rows are in conflict, not {CONTESTED}");

    let start = SystemClock.monotonic();
    let rows: Vec<Value> = (0..CONTESTED).map(|n| json!({ "sku": format!("0-{n}"), "price": 1_000_000 })).collect();
    places[4].put(&rows)?;
    let root = settle(&places)?;
    ensure!(number(&places[0].live()?, "conflicts")? == 0, "conflicts are left");
    note(&mut steps, format!("{conflicts} conflicts settled at edge-2, and everywhere"), start);

    let start = SystemClock.monotonic();
    let latencies_us = latencies(binary, &places[0], &places[4])?;
    note(&mut steps, format!("{TIMED} transactions from hub-a to a reader of edge-2"), start);
    let transactions = number(&places[0].live()?, "transactions")?;
    Ok((Live { nodes: places.len(), transactions, conflicts, sample, root, latencies_us }, steps))
}

fn note(steps: &mut Steps, what: impl Into<String>, since: Duration) {
    steps.push((what.into(), (SystemClock.monotonic() - since).as_secs_f64()));
}

/// hub-a, hub-b and hub-c each know the next one; edge-1 follows hub-a, edge-2 hub-c.
fn five(binary: &Path, dir: &Path) -> Result<Vec<Place>> {
    let mut places: Vec<Place> = Vec::new();
    for name in HUBS {
        let peer = places.last().map(|last| ["--peer".to_owned(), last.url()].into()).unwrap_or_default();
        places.push(Place::new(binary, dir, name, peer)?);
    }
    for (name, hub) in EDGES.into_iter().zip([0, 2]) {
        let upstream = vec!["--upstream".to_owned(), places[hub].url()];
        places.push(Place::new(binary, dir, name, upstream)?);
    }
    Ok(places)
}

/// The hub in the middle goes, and with it the way from one end to the other.
fn cut(binary: &Path, places: &mut [Place]) -> Result<Value> {
    places[1].server = None;
    for (at, price) in [(3, 7), (4, 8)] {
        let rows: Vec<Value> = (0..CONTESTED).map(|n| json!({ "sku": format!("0-{n}"), "price": price })).collect();
        places[at].put(&rows)?;
    }
    places[1].start(binary)?;
    settle(places)?;
    let found = places[1].node.run(["get", "--table", "offers", "--key", "0-0", "--siblings"])?.report;
    Ok(found["rows"][0].clone())
}

/// Waits until all have the same and nothing waits; gives the replica root.
fn settle(places: &[Place]) -> Result<String> {
    let begun = SystemClock.monotonic();
    loop {
        let all = places.iter().map(Place::live).collect::<Result<Vec<Value>>>()?;
        if all.iter().all(|one| one["root"] == all[0]["root"] && one["unsent"] == 0) {
            return text(&all[0], "root");
        }
        ensure!(SystemClock.monotonic() - begun < PATIENCE, "the five do not come to the same: {all:?}");
        SystemClock.sleep(Duration::from_millis(20));
    }
}

/// A process that ends with the value.
struct Background(Child);

impl Drop for Background {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// From giving a transaction to `apply` on one node to its line of `watch` on another, one after the other.
fn latencies(binary: &Path, from: &Place, to: &Place) -> Result<Vec<u64>> {
    let spawn = |place: &Place, words: &[&str]| -> Result<Background> {
        let mut command = Node::on(binary, &place.url()).command(words);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null());
        Ok(Background(command.spawn().context("starting a command")?))
    };
    let mut watch = spawn(to, &["watch", "--table", "offers"])?;
    let mut apply = spawn(from, &["apply", "--table", "offers", "--quiet"])?;
    let mut lines = BufReader::new(watch.0.stdout.take().context("the output of watch")?).lines();
    let mut given = apply.0.stdin.take().context("the input of apply")?;
    // Its first line says from where on it watches.
    lines.next().context("watch says nothing")??;
    let mut taken = Vec::with_capacity(TIMED);
    for n in 0..TIMED {
        let row = json!({ "op": "set", "row": { "sku": format!("timed-{n}"), "price": n } });
        let start = SystemClock.monotonic();
        given.write_all(format!("{row}\n{{\"op\":\"commit\"}}\n").as_bytes())?;
        loop {
            let line = lines.next().context("watch has ended")??;
            if line.starts_with("{\"op\":\"commit\"") {
                break;
            }
        }
        taken.push(u64::try_from((SystemClock.monotonic() - start).as_micros()).unwrap_or(u64::MAX));
    }
    taken.sort_unstable();
    Ok(taken)
}

/// Value at a share of the way.
pub(super) fn at(sorted: &[u64], per_mille: usize) -> u64 {
    let last = sorted.len().saturating_sub(1);
    sorted.get((sorted.len() * per_mille / 1000).min(last)).copied().unwrap_or(0)
}

/// The closing lines of the chapter.
pub(super) fn render(live: &Live) -> Vec<String> {
    let mut lines =
        vec![format!("live: {} nodes, {} transactions, one replica root {}", live.nodes, live.transactions, live.root)];
    let siblings = live.sample["siblings"].as_array().into_iter().flatten();
    let values: Vec<String> = siblings.map(|sibling| sibling["row"]["price"].to_string()).collect();
    let key = live.sample["key"].as_str().unwrap_or_default();
    lines.push(format!(
        "live: {} conflicts after the cut, such as row {key}: price {}",
        live.conflicts,
        values.join(" and ")
    ));
    let ms = |us: u64| format!("{:.2} ms", us as f64 / 1_000.0);
    let sorted = &live.latencies_us;
    lines.push(format!(
        "live: from a writer at hub-a to a reader at edge-2, four disks in a row: p50 {}, p90 {}, p99 {}, most {}",
        ms(at(sorted, 500)),
        ms(at(sorted, 900)),
        ms(at(sorted, 990)),
        ms(at(sorted, 1000))
    ));
    let mut bound = 250;
    while bound / 2 < at(sorted, 1000) {
        let within = sorted.iter().filter(|us| **us > bound / 2 || bound == 250).filter(|us| **us <= bound).count();
        if within > 0 {
            let bar = "#".repeat((within * 50).div_ceil(sorted.len().max(1)));
            lines.push(format!("  up to {:>9} {within:>5} {bar}", ms(bound)));
        }
        bound *= 2;
    }
    lines
}
