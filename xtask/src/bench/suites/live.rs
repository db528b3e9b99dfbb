//! `live`: durable transactions, and how long until a reader elsewhere sees them.
//!
//! Ours is `syncline bench live`: a hub and a node that follows it, and clients in a process of their own. Peers are
//! driven by one program in `peers/live` that does the same to each, so that they differ by nothing else.
//!
//! Steps have a given length: what counts is how much was done in it and how long each took. Who did nothing, or whose
//! rows did not all arrive where they belong, fails.

mod away;

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;

use anyhow::{Context, Result, ensure};
use serde_json::Value;

use super::super::measure::Cmd;
use super::super::ours::Ours;
use super::super::parse;
use super::super::record::{OURS, Recorder, Sample};
use super::super::servers;
use super::super::targets::{Metric, Target, at_least, at_most};
use super::super::world::World;
use super::{count, take_turns};
use away::Away;

/// Who takes part beside us.
pub(super) const PEERS: &[&str] = &["postgresql", "redis", "nats"];

/// How much.
#[derive(Debug, Clone, Copy)]
struct Sizes {
    seconds: f64,
    writers: usize,
    rows: usize,
    rate: usize,
    spokes: usize,
    spoke_rate: usize,
    away: Away,
}

const FULL: Sizes = Sizes {
    seconds: 5.0,
    writers: 64,
    rows: 1_000,
    rate: 5_000,
    spokes: 1_000,
    spoke_rate: 100,
    away: Away { missed: 100_000, held: 6_000_000, changed: 10_000, hubs: 5, conflicts: 10_000, idle: 5_000 },
};
const QUICK: Sizes = Sizes {
    seconds: 0.4,
    writers: 4,
    rows: 20,
    rate: 100,
    spokes: 5,
    spoke_rate: 50,
    away: Away { missed: 1_000, held: 10_000, changed: 100, hubs: 3, conflicts: 100, idle: 20 },
};

/// What is done, by ours and by every peer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Work {
    One,
    Many,
    Batch,
    Visible,
}

const ALL: [Work; 4] = [Work::One, Work::Many, Work::Batch, Work::Visible];

impl Work {
    /// Its name for `syncline bench live --only` and for the driver of the peers.
    fn word(self) -> &'static str {
        match self {
            Self::One => "one",
            Self::Many => "many",
            Self::Batch => "batch",
            Self::Visible => "visible",
        }
    }

    /// The step in our report.
    fn step(self, sizes: &Sizes) -> String {
        match self {
            Self::One => "1 writer, txn/s".to_owned(),
            Self::Many => format!("{} writers, txn/s", sizes.writers),
            Self::Batch => format!("{} rows per transaction, rows/s", count(sizes.rows)),
            Self::Visible => format!("seen by a reader elsewhere, {} txn/s", count(sizes.rate)),
        }
    }

    /// The step in the report of `syncline bench live`.
    fn ours(self, sizes: &Sizes) -> String {
        match self {
            Self::One => "1 writer".to_owned(),
            Self::Many => format!("{} writers", sizes.writers),
            Self::Batch => format!("{} rows each", sizes.rows),
            Self::Visible => format!("seen by a reader, {}/s", sizes.rate),
        }
    }
}

fn in_process(work: Work, sizes: &Sizes) -> String {
    format!("in one process: {}", work.step(sizes))
}

fn seen_by_spokes(sizes: &Sizes) -> String {
    format!("seen by {} replicas, {} txn/s", count(sizes.spokes), count(sizes.spoke_rate))
}

/// What the peers' driver is told of.
#[derive(Debug)]
struct Input {
    sizes: Sizes,
    driver: PathBuf,
}

/// Runs the suite.
pub(super) fn run(world: &World, ours: Option<&Ours>, recorder: &mut Recorder) -> Result<Vec<String>> {
    let sizes = if world.quick { QUICK } else { FULL };
    let peers = PEERS.iter().any(|name| world.has(name));
    let driver = if peers { servers::driver(world.cache())? } else { PathBuf::new() };
    // PostgreSQL does not run as root, and who it runs as has to come through here.
    fs::set_permissions(world.scratch(), fs::Permissions::from_mode(0o711)).context("opening the scratch directory")?;
    let input = Input { sizes, driver };
    for _ in 0..world.repetitions {
        if let Some(ours) = ours {
            we(world, ours, &sizes, recorder)?;
        }
        take_turns(world, PEERS.iter().copied(), peer, &input, recorder)?;
        world.clear()?;
    }
    Ok(notes(&sizes))
}

/// One call of ours: the sample and the report.
fn bench(world: &World, ours: &Ours, only: &str, sizes: &Sizes, more: &[String]) -> Result<(Sample, Value)> {
    let dir = world.fresh("ours")?;
    let cmd = ours.cmd(["bench", "live", "--only", only, "--scratch"]).arg(&dir);
    let cmd = cmd.args(["--seconds", &sizes.seconds.to_string(), "--writers", &sizes.writers.to_string()]);
    let cmd = cmd.args(["--rows", &sizes.rows.to_string()]).args(more);
    // Its memory is that of a client and two nodes together: it is not judged as that of one process.
    let (sample, output) = world.step(std::slice::from_ref(&cmd))?;
    let report = parse::last_object(&output[0]).with_context(|| cmd.line())?;
    Ok((sample, report))
}

fn we(world: &World, ours: &Ours, sizes: &Sizes, recorder: &mut Recorder) -> Result<()> {
    let (sample, report) = bench(world, ours, "embedded", sizes, &[])?;
    // One process for several steps: what it used belongs to none of them.
    let shared = Sample { cpu: None, rss: None, ..sample };
    let part = |name: &str, rows: bool| -> Result<Sample> {
        Ok(Sample { pace: Some(parse::pace(parse::live_step(&report, name)?, rows)?), ..shared.clone() })
    };
    for work in [Work::One, Work::Many, Work::Batch] {
        let sample = part(&format!("in one process, {}", work.ours(sizes)), work == Work::Batch)?;
        recorder.add(&in_process(work, sizes), OURS, "the library, without a network", sample);
    }
    for step in [in_process(Work::One, sizes), Work::One.step(sizes)] {
        let note = "256 bytes appended and synced, one after the other";
        recorder.limit(&step, "the disk", note, part("the disk: 256 bytes and a sync", false)?);
    }
    for work in ALL {
        let rate = ["--rate".to_owned(), sizes.rate.to_string()];
        let (mut sample, report) = bench(world, ours, work.word(), sizes, &rate)?;
        let step = parse::live_step(&report, &work.ours(sizes))?;
        if work == Work::Visible {
            all_seen(step, sizes.rate, 1, sizes)?;
        }
        sample.pace = Some(parse::pace(step, work == Work::Batch)?);
        recorder.add(&work.step(sizes), OURS, "hub and a node that follows it", sample);
    }
    let spokes = ["--rate", &sizes.spoke_rate.to_string(), "--spokes", &sizes.spokes.to_string()].map(str::to_owned);
    let (mut sample, report) = bench(world, ours, "visible", sizes, &spokes)?;
    let step = parse::live_step(&report, &format!("seen by {} replicas", sizes.spokes))?;
    all_seen(step, sizes.spoke_rate, sizes.spokes, sizes)?;
    sample.pace = Some(parse::pace(step, false)?);
    let note = "rate: what all replicas together saw; they have no disk and share one process, whose CPU and memory are in here";
    recorder.add(&seen_by_spokes(sizes), OURS, note, sample);
    away::run(world, ours, sizes, recorder)
}

/// Each of so many readers has seen each transaction.
fn all_seen(step: &Value, rate: usize, readers: usize, sizes: &Sizes) -> Result<()> {
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a small number of transactions")]
    #[expect(clippy::cast_precision_loss, reason = "a small number of transactions")]
    let each = (sizes.seconds * rate as f64) as u64;
    let (wanted, seen) = (each * readers as u64, step["transactions"].as_u64());
    ensure!(seen == Some(wanted), "{wanted} transactions were to be seen: {step}");
    Ok(())
}

/// A peer's way to do it: its row, options of the driver, and what one has to know of its writes and of its reader.
#[derive(Debug)]
struct Way {
    row: &'static str,
    options: &'static [&'static str],
    writes: &'static str,
    seen: &'static str,
}

const POSTGRESQL: Way = Way {
    row: "postgresql",
    options: &[],
    writes: "a publisher that syncs each commit, and a subscriber",
    seen: "a client of the subscriber is told by NOTIFY",
};
const AT_INSERT: Way = Way {
    row: "postgresql, at the insert",
    options: &["-at-their-insert"],
    seen: "the subscriber inserts it; before its commit, and nobody is told",
    ..POSTGRESQL
};
const REDIS: Way = Way {
    row: "redis",
    options: &[],
    writes: "a primary with appendfsync always, and a replica",
    seen: "a client of the replica is told by a keyspace event",
};
const NATS: Way = Way {
    row: "nats",
    options: &[],
    writes: "**not durable**: it syncs every two minutes; one server",
    seen: "**not durable**: it syncs every two minutes; a consumer at the same server",
};
const NATS_SYNC: Way = Way {
    row: "nats, sync always",
    options: &["-sync-always"],
    writes: "each message is synced; one server",
    seen: "each message is synced; a consumer at the same server",
};

fn ways(peer: &str, work: Work) -> &'static [Way] {
    match (peer, work) {
        ("postgresql", Work::Visible) => &[POSTGRESQL, AT_INSERT],
        ("postgresql", _) => &[POSTGRESQL],
        ("redis", _) => &[REDIS],
        _ => &[NATS, NATS_SYNC],
    }
}

fn peer(world: &World, input: &Input, name: &str, recorder: &mut Recorder) -> Result<()> {
    let (server, sizes) = (world.server(name)?, &input.sizes);
    for work in ALL {
        for way in ways(name, work) {
            let dir = world.fresh("peer")?;
            let cmd = Cmd::new(&input.driver).args(["-peer", name, "-work", work.word(), "-dir"]).arg(&dir);
            let cmd = cmd.arg("-bin").arg(&server.program).args(["-seconds", &sizes.seconds.to_string()]);
            let cmd = cmd.args(["-writers", &sizes.writers.to_string(), "-rows", &sizes.rows.to_string()]);
            let cmd = server.tell(cmd.args(["-rate", &sizes.rate.to_string()]).args(way.options.iter().copied()));
            cmd.clone().arg("-prepare").plain()?;
            let (mut sample, output) = world.step(std::slice::from_ref(&cmd))?;
            let step = parse::last_object(&output[0]).with_context(|| cmd.line())?;
            if work == Work::Visible {
                all_seen(&step, sizes.rate, 1, sizes)?;
            }
            sample.pace = Some(parse::pace(&step, work == Work::Batch)?);
            let note = if work == Work::Visible { way.seen } else { way.writes };
            recorder.add(&work.step(sizes), way.row, note, sample);
        }
    }
    Ok(())
}

fn notes(sizes: &Sizes) -> Vec<String> {
    vec![
        format!(
            "Rows of about 100 bytes with 100 k keys, which are written again and again. Each step takes {} s. A writer writes its next \
             transaction when the one before is durable; {} rows each are written by 2 writers. Everything is on this machine, clients \
             included; times are in the client.",
            sizes.seconds,
            count(sizes.rows)
        ),
        "Durability is equal where the note does not say otherwise: what is acknowledged is synced to disk. Redis with `appendfsync \
         always`, NATS with `sync_interval: always`; NATS with its default acknowledges what is not on disk."
            .to_owned(),
        format!(
            "Seen: from when a transaction is due to be sent until a reader elsewhere has it, its way to the disk included; {} \
             transactions a second, evenly. Ours writes them on one connection without waiting for each; peers on {} connections, \
             each of which waits. A peer that does not reach the rate is late by its queue.",
            count(sizes.rate),
            sizes.writers
        ),
        "Readers: ours is a client that watches the node that follows the hub, PostgreSQL's one of the subscriber, Redis's one of the \
         replica. NATS has one server here, and its reader reads there."
            .to_owned(),
        "Batches: PostgreSQL one INSERT of many rows with ON CONFLICT DO UPDATE, Redis one MSET; NATS messages that are sent together \
         and are no transaction. NATS keeps a log and no keys."
            .to_owned(),
        "Rates are per second, `×` of a rate is ours divided by theirs. CPU and memory are of clients and servers together, with their \
         start: of ours that is a client, a hub and a node, so the target for one process is not judged here. Peers are \
         driven by one Go program (pgx, nats.go, and a client of Redis's protocol)."
            .to_owned(),
        "Targets of throughput are of the library in one process, those of latency are of the network.".to_owned(),
        "Replicas that come back, and hubs that meet again, are in the process that measures, with disks and connections of their own; \
         the hub that they were away from is another process. Idle replicas have no disk."
            .to_owned(),
    ]
}

/// What is aimed for.
pub(super) fn targets() -> Vec<Target> {
    let seen = || Work::Visible.step(&FULL);
    let rates = [
        at_least(in_process(Work::One, &FULL), 7_500.0),
        at_least(in_process(Work::Many, &FULL), 70_000.0),
        at_least(in_process(Work::Batch, &FULL), 600_000.0),
        at_most(seen(), Metric::P50, 200e-6),
        at_most(seen(), Metric::P99, 700e-6),
        at_most(seen(), Metric::P999, 4e-3),
        at_most(seen_by_spokes(&FULL), Metric::P99, 50e-3),
    ];
    rates.into_iter().chain(away::targets()).collect()
}

#[cfg(test)]
mod tests;
