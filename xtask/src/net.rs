//! `cargo xtask net`: real nodes on a real network that is bad to them.
//!
//! Three hubs beside each other and four spokes, each on a host of its own: a network namespace with a TUN device. A switch of ours (`switch`)
//! moves the packets between them, and delays, loses, reorders, slows and cuts as it is told (`link`). Meanwhile a client at each node
//! writes and reads. After every scene (`scenes`) the trouble ends, all nodes have to come to one root, and the history of all clients is judged:
//! read atomicity, causal consistency, siblings, and what became of every acknowledged write (`crate::history`).
//!
//! The last scenes (`frail`) have nodes of their own, on machines whose power fails and whose clocks jump (`crate::machine`).
//!
//! Everything is in namespaces that end with the process. Owns: a directory with the replicas, kept when something was found.

mod frail;
mod link;
mod rooms;
mod scenes;
mod switch;
mod world;

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use serde::Serialize;
use syncline_base::rng::Rng;
use syncline_base::{Clock, SystemClock};

use crate::cluster::Program;
use crate::cluster::client::Client;
use crate::cluster::crew::Crew;
use crate::cluster::end::{self, Followed, Left};
use crate::history::Verdict;
use crate::machine::{self, Syncs};
use crate::run;

use scenes::{SCENES, Scene};
use switch::Packets;
use world::{Ground, World};

/// How long all may take to come to the same.
const PATIENCE: Duration = Duration::from_secs(60);

/// Options of `cargo xtask net`.
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    program: Program,
    /// The long scenes, too, and more time for each
    #[arg(long)]
    all: bool,
    /// Only this scene; may be given several times
    #[arg(long, value_name = "NAME")]
    scene: Vec<String>,
    /// How long the trouble of a scene lasts, in seconds
    #[arg(long, value_name = "N")]
    seconds: Option<u64>,
    /// What the faults and the clients are drawn from. Packets and processes go their own ways: no run is quite as another one
    #[arg(long, value_name = "N")]
    seed: Option<u64>,
    /// Once all nodes are up, disks say that they have synced files, and have not: the scene `power` has to find that, or it finds nothing
    #[arg(long)]
    lying_disks: bool,
    /// Says whether this machine can have machines whose power fails and whose clocks jump, and ends
    #[arg(long, hide = true)]
    probe: bool,
    /// Writes what all clients did and saw to a file, in the text format of Plume, which AWDIT reads, too (docs/consistency.md); for the scenes `power` and
    /// `clocks`, whose nodes are others, to FILE.frail
    #[arg(long, value_name = "FILE")]
    history: Option<PathBuf>,
    /// One JSON object on standard output
    #[arg(long)]
    json: bool,
}

/// What a scene came to.
#[derive(Debug, Serialize)]
struct Report {
    scene: &'static str,
    /// What the trouble was, as far as it can be counted.
    trouble: String,
    packets: Packets,
    /// Until all had one root, once the trouble was over.
    converged_s: f64,
    /// Commands that failed; they may.
    failed: u64,
    verdict: Verdict,
}

/// Whether this machine lets us run the scenes.
///
/// # Errors
/// What it lacks, and where that comes from.
pub(crate) fn possible() -> Result<()> {
    rooms::possible()
}

/// Whether it lets us run those on machines whose power fails and whose clocks jump, too. Wants `cargo build` to have run.
///
/// # Errors
/// What it lacks, and where that comes from.
pub(crate) fn frail_possible() -> Result<()> {
    let probe = built().args(["net", "--probe"]).output().context("starting this program")?;
    let said = String::from_utf8_lossy(&probe.stderr);
    ensure!(probe.status.success(), "{}", said.lines().next().unwrap_or_default().trim_start_matches("error: "));
    Ok(())
}

/// What every change has to pass: the short scenes. Wants `cargo build` to have run.
pub(crate) fn check() -> Result<()> {
    run::check(built().arg("net"))
}

/// This program as it was built last: this one may have been replaced since it was started.
fn built() -> Command {
    Command::new(run::root().join("target/debug/xtask"))
}

/// Runs the scenes, in namespaces of their own.
pub(crate) fn run(args: &Args) -> Result<()> {
    if args.probe {
        return if rooms::inside() { machine::possible() } else { rooms::enter() };
    }
    let program = args.program.find()?;
    if !rooms::inside() {
        return rooms::enter();
    }
    let seed = args.seed.unwrap_or_else(|| Rng::from_os().next_u64() >> 32);
    eprintln!("seed {seed}");
    let scenes = chosen(args)?;
    let target = run::root().join("target");
    std::fs::create_dir_all(&target)?;
    let place = tempfile::Builder::new().prefix("net-").tempdir_in(target).context("making a directory")?;
    match play_all(args, &program, place.path(), &scenes, &mut Rng::from_seed(seed)) {
        Ok(reports) => {
            if args.json {
                println!("{}", serde_json::to_string_pretty(&reports)?);
            } else {
                reports.iter().for_each(|report| println!("{}", report.line()));
            }
            Ok(())
        }
        Err(error) => {
            let place = place.keep();
            Err(error.context(format!("seed {seed}; the replicas and what they said are in {}", place.display())))
        }
    }
}

/// The scenes that are asked for, as far as this machine can play them. What it cannot is said.
fn chosen(args: &Args) -> Result<Vec<&'static Scene>> {
    let wanted = |scene: &&Scene| match args.scene.as_slice() {
        [] => args.all || !scene.long,
        named => named.iter().any(|name| name == scene.name),
    };
    let mut scenes: Vec<&Scene> = SCENES.iter().filter(wanted).collect();
    ensure!(!scenes.is_empty(), "there is no such scene: {}", names());
    if scenes.iter().any(|scene| scene.frail)
        && let Err(why) = machine::possible()
    {
        // Who asks for one of them by its name wants it or nothing.
        ensure!(args.scene.is_empty(), "{why:#}");
        scenes.retain(|scene| !scene.frail);
        eprintln!("power, clocks: NOT RUN: {why:#}");
    }
    Ok(scenes)
}

/// Plays them: first those on good machines, then those on frail ones, whose nodes are others.
fn play_all(args: &Args, program: &Path, place: &Path, scenes: &[&Scene], rng: &mut Rng) -> Result<Vec<Report>> {
    let time = Duration::from_secs(args.seconds.unwrap_or(if args.all { 60 } else { 8 }));
    let syncs = if args.lying_disks { Syncs::Lie } else { Syncs::Kept };
    let mut reports = Vec::new();
    for (ground, name) in [(Ground::Good, "good"), (Ground::Frail(syncs), "frail")] {
        let frail = ground != Ground::Good;
        let scenes: Vec<&Scene> = scenes.iter().copied().filter(|scene| scene.frail == frail).collect();
        let place = place.join(name);
        let file = args.history.clone().map(|path| if frail { with(path, ".frail") } else { path });
        let left = Left { place: &place, file: file.as_deref() };
        reports.extend(play(program, left, (&scenes, ground), time, rng)?);
    }
    Ok(reports)
}

fn names() -> String {
    SCENES.iter().map(|scene| format!("\n  {:<10} {}", scene.name, scene.what)).collect()
}

/// The path with something after it.
fn with(path: PathBuf, after: &str) -> PathBuf {
    let mut text = path.into_os_string();
    text.push(after);
    text.into()
}

/// Plays scenes one after the other, with the same nodes.
fn play(
    program: &Path,
    left: Left<'_>,
    (scenes, ground): (&[&Scene], Ground),
    time: Duration,
    rng: &mut Rng,
) -> Result<Vec<Report>> {
    if scenes.is_empty() {
        return Ok(Vec::new());
    }
    std::fs::create_dir_all(left.place).with_context(|| format!("making {}", left.place.display()))?;
    let begun = SystemClock.monotonic();
    let (mut world, mut clients) = World::new(program, left.place, ground, rng)?;
    eprintln!("{} nodes are up after {:.1} s", world.nodes.len(), (SystemClock.monotonic() - begun).as_secs_f64());
    let mut reports = Vec::new();
    for scene in scenes {
        eprintln!("== {}: {}", scene.name, scene.what);
        let report = one(&mut world, &mut clients, scene, time, left).inspect_err(|_| world.keep(left.place));
        let report = report.with_context(|| format!("scene {}", scene.name))?;
        eprintln!("{}", report.line());
        reports.push(report);
    }
    Ok(reports)
}

fn one(world: &mut World, clients: &mut Vec<Client>, scene: &Scene, time: Duration, left: Left<'_>) -> Result<Report> {
    let before = world.switch.packets();
    let founder = clients.pop().context("the founder is gone")?;
    let crew = Crew::start(std::mem::take(clients))?;
    let trouble = (scene.play)(world, time);
    *clients = crew.stop()?;
    clients.push(founder);
    let trouble = trouble?;
    if !scene.lasts {
        world.switch.all(link::Rule::default());
    }
    let nodes: Vec<_> = world.nodes.iter().collect();
    let (_, took) = end::agree(&nodes, PATIENCE)?;
    world.switch.all(link::Rule::default());
    let packets = world.switch.packets().since(before);
    (scene.shows)(packets)?;
    let founder = clients.last_mut().context("the founder is gone")?;
    let (_, last) = end::mark(founder, &nodes, PATIENCE)?;
    let all: Vec<&Client> = clients.iter().collect();
    let followed = Followed { watchers: &world.watchers, last, clocks: scene.clocks };
    let verdict = end::judge(&nodes, &all, followed, left)?;
    verdict.check()?;
    let failed = clients.iter_mut().flat_map(|client| std::mem::take(&mut client.failed));
    let failed: Vec<(String, u64)> = failed.collect();
    failed.iter().for_each(|(why, n)| eprintln!("  {n:>5} x {why}"));
    let failed = failed.iter().map(|(_, n)| n).sum();
    Ok(Report { scene: scene.name, trouble, packets, converged_s: took.as_secs_f64(), failed, verdict })
}

impl Report {
    fn line(&self) -> String {
        let Verdict { looks, transactions, unknown, told, audit, .. } = &self.verdict;
        let Packets { arrived, overtook, lost, cut, full, slowed } = self.packets;
        format!(
            "{:<9} ok  {}; packets: {arrived} arrived, {overtook} overtook, {lost} lost, {cut} cut off, {slowed} slowed, {full} too many; {} commands \
             failed; one root after {:.1} s; so far {looks} looks, {transactions} transactions ({unknown} unanswered), {told} told to followers; {} rows \
             acknowledged: {} visible, {} beside others, {} overwritten, {} lost",
            self.scene,
            self.trouble,
            self.failed,
            self.converged_s,
            audit.acknowledged,
            audit.visible,
            audit.siblings,
            audit.overwritten,
            audit.lost
        )
    }
}
