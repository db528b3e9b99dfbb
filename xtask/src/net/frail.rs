//! Scenes on machines that are worse than most: their power fails, and what was not synced is gone; their wall clocks jump.
//!
//! What has to hold is what `docs/consistency.md` promises. After a power cut every acknowledged write is there. A hub shows what it has shown; a
//! spoke may be behind that for a moment, so clients at spokes ask for what they have seen (`cluster::client`).

use std::time::Duration;

use anyhow::{Result, ensure};
use syncline_base::{Clock, SystemClock};

use super::scenes::below;
use super::world::{SMALL, World};
use crate::cluster::TABLE;
use crate::cluster::node::Answer;
use crate::machine::{Leap, Lost};

/// What power cuts did.
#[derive(Debug, Default)]
struct Outages {
    /// Of hubs and of spokes.
    cuts: [u64; 2],
    /// Of those, while a node was coming up after the one before.
    again: u64,
    lost: Lost,
}

/// So many cuts have lost something of each kind, or something is wrong: most runs lose eight changes to names in thirty.
const MOST: u64 = 120;

/// Machines lose their power: one, some that hang on one line, and in the end all.
pub(super) fn power(world: &mut World, time: Duration) -> Result<String> {
    let until = SystemClock.monotonic() + time;
    let mut outages = Outages::default();
    while SystemClock.monotonic() < until || outages.cuts.contains(&0) || outages.were_kills() {
        SystemClock.sleep(Duration::from_millis(200 + below(world, 500) as u64));
        let many = if below(world, 3) == 0 { 2 + below(world, 2) } else { 1 };
        let mut victims = shuffled(world);
        victims.truncate(many);
        outages.cut(world, &victims)?;
    }
    SystemClock.sleep(Duration::from_millis(300));
    let all = shuffled(world);
    outages.cut(world, &all)?;
    let Outages { cuts, again, lost: Lost { names, writes, torn } } = outages;
    ensure!(
        names > 0 && writes > 0,
        "these were kills, not power cuts: {names} changes to names and {writes} writes were lost in {cuts:?}"
    );
    Ok(format!(
        "{} power cuts of hubs and {} of spokes, {again} while they came up; lost: {names} changes to names, {writes} writes; {torn} torn",
        cuts[0], cuts[1]
    ))
}

impl Outages {
    /// Whether nothing was lost of one kind, and more cuts may.
    fn were_kills(&self) -> bool {
        (self.lost.names == 0 || self.lost.writes == 0) && self.cuts.iter().sum::<u64>() < MOST
    }

    /// Cuts the power of some at once, and starts them again.
    fn cut(&mut self, world: &mut World, victims: &[usize]) -> Result<()> {
        for victim in victims {
            ensure!(world.nodes[*victim].runs(), "{} has ended by itself", world.nodes[*victim].name);
        }
        victims.iter().for_each(|victim| _ = world.nodes[*victim].kill());
        for victim in victims {
            self.one(world, *victim)?;
            // Who comes up is hit once more, in the middle of it.
            if below(world, 4) == 0 {
                world.nodes[*victim].begin()?;
                SystemClock.sleep(Duration::from_millis(below(world, 200) as u64));
                self.one(world, *victim)?;
                self.again += 1;
            }
        }
        SystemClock.sleep(Duration::from_millis(below(world, 300) as u64));
        victims.iter().try_for_each(|victim| world.nodes[*victim].start())
    }

    fn one(&mut self, world: &mut World, victim: usize) -> Result<()> {
        let Lost { names, writes, torn } = world.cut(victim)?;
        self.cuts[usize::from(victim > SMALL)] += 1;
        self.lost.names += names;
        self.lost.writes += writes;
        self.lost.torn += torn;
        Ok(())
    }
}

const HOUR: Duration = Duration::from_secs(3600);
const DAY: Duration = Duration::from_secs(86_400);
const LEAPS: [Leap; 5] = [
    Leap::ahead(HOUR),
    Leap::behind(HOUR),
    Leap::ahead(DAY.saturating_mul(10)),
    Leap::ahead(Duration::ZERO),
    Leap::behind(DAY),
];
/// A hub and a spoke of it, and a hub and a spoke of another one: each of these gets every leap.
const LEAPERS: [usize; 4] = [0, SMALL + 1, 1, SMALL + 3];

/// Wall clocks jump, while nodes run and while they do not. They stay wrong until all have one root.
pub(super) fn clocks(world: &mut World, time: Duration) -> Result<String> {
    let (mut leaps, mut starts) = (0, 0);
    let each = time / u32::try_from(LEAPS.len() * 2).unwrap_or(1);
    for nth in 0..LEAPS.len() {
        for (place, host) in LEAPERS.into_iter().enumerate() {
            // Each of them has each leap at some time, and no two the same.
            world.machines[host].leap(LEAPS[(nth + place) % LEAPS.len()])?;
            leaps += 1;
        }
        SystemClock.sleep(each);
        shows_its_clock(world, LEAPERS[nth % LEAPERS.len()])?;
        // One is away, and its clock is behind when it comes back.
        let host = below(world, world.nodes.len());
        ensure!(world.nodes[host].runs(), "{} has ended by itself", world.nodes[host].name);
        world.nodes[host].kill();
        world.machines[host].leap(Leap::behind(HOUR))?;
        world.nodes[host].start()?;
        (leaps, starts) = (leaps + 1, starts + 1);
        SystemClock.sleep(each);
    }
    for host in 0..world.nodes.len() {
        is_not_stuck(world, host)?;
    }
    Ok(format!("{leaps} leaps of clocks, and {starts} nodes started with theirs an hour behind"))
}

/// The node takes the time of its machine for the time: without that, none of this tries anything.
fn shows_its_clock(world: &World, host: usize) -> Result<()> {
    let node = &world.nodes[host];
    let Answer::Done(report) = node.door.ask(&["status"], "")? else { return Ok(()) };
    let (shown, meant) = (report["live"]["now_ms"].as_u64().unwrap_or_default(), world.machines[host].now_ms());
    ensure!(shown.abs_diff(meant) < 30_000, "{} takes {shown} for the time, and its clock shows {meant}", node.name);
    Ok(())
}

/// What waits for time to pass does not wait for a clock to come back: staleness is measured, and reads are answered.
fn is_not_stuck(world: &World, host: usize) -> Result<()> {
    let door = &world.nodes[host].door;
    let get = ["get", "--table", TABLE, "--key", "r0000", "--max-wait", "15000"];
    for more in [&["--max-staleness", "0s"][..], &["--strict"]] {
        let words: Vec<&str> = get.iter().chain(more).copied().collect();
        let answer = door.ask(&words, "")?;
        ensure!(matches!(answer, Answer::Done(_)), "{}: get {more:?}: {answer:?}", world.nodes[host].name);
    }
    Ok(())
}

/// All nodes, in some order.
fn shuffled(world: &mut World) -> Vec<usize> {
    let mut all: Vec<usize> = (0..world.nodes.len()).collect();
    for at in (1..all.len()).rev() {
        all.swap(at, below(world, at + 1));
    }
    all
}
