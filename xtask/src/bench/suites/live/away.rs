//! What is not a rate: replicas that come back, hubs that meet again, and the memory of replicas that do nothing. Ours alone.

use anyhow::{Context, Result};
use serde_json::Value;

use super::super::super::ours::Ours;
use super::super::super::parse;
use super::super::super::record::{OURS, Recorder, Sample};
use super::super::super::targets::{Metric, Target, at_most};
use super::super::super::world::World;
use super::super::count;
use super::{FULL, Sizes, bench};

/// How much.
#[derive(Debug, Clone, Copy)]
pub(super) struct Away {
    pub(super) missed: usize,
    pub(super) held: usize,
    pub(super) changed: usize,
    pub(super) hubs: usize,
    pub(super) conflicts: usize,
    pub(super) idle: usize,
}

impl Away {
    pub(super) fn catch_up(&self) -> String {
        format!("catch up with {} transactions", count(self.missed))
    }

    pub(super) fn copy(&self) -> String {
        format!("first copy of {} rows", count(self.held))
    }

    pub(super) fn rejoin(&self) -> String {
        format!("rejoin with {} rows, {} changed", count(self.held), count(self.changed))
    }

    pub(super) fn heal(&self) -> String {
        format!("{} hubs heal, {} rows in conflict", self.hubs, count(self.conflicts))
    }

    pub(super) fn idle(&self) -> String {
        format!("a hub with {} idle replicas", count(self.idle))
    }
}

/// Does all of it once.
pub(super) fn run(world: &World, ours: &Ours, sizes: &Sizes, recorder: &mut Recorder) -> Result<()> {
    let away = &sizes.away;
    let option = |name: &str, value: usize| [name.to_owned(), value.to_string()];
    let timed = |report: &Value, begins: &str, sample: &Sample| -> Result<Sample> {
        let seconds = parse::live_step_like(report, begins)?["seconds"].as_f64();
        let inside = Some(seconds.with_context(|| format!("{begins}: no seconds"))?);
        // Memory and CPU time are of several nodes and of what prepares them.
        Ok(Sample { cpu: None, rss: None, inside, ..sample.clone() })
    };
    let (sample, report) = bench(world, ours, "catch-up", sizes, &option("--missed", away.missed))?;
    let note = "connected, cut off, connected again: until all is durable and shown";
    recorder.add(&away.catch_up(), OURS, note, timed(&report, "catch up", &sample)?);

    let more = [option("--held", away.held), option("--changed", away.changed)].concat();
    let (sample, report) = bench(world, ours, "rejoin", sizes, &more)?;
    recorder.add(&away.copy(), OURS, "by transactions of 1 k rows", timed(&report, "first copy", &sample)?);
    let note = "the process is started again; until all is durable and shown";
    recorder.add(&away.rejoin(), OURS, note, timed(&report, "rejoin", &sample)?);

    let more = [option("--hubs", away.hubs), option("--conflicts", away.conflicts)].concat();
    let (sample, report) = bench(world, ours, "heal", sizes, &more)?;
    let note = "each has written all of those rows; equal roots, and no transaction that nobody asked for, or it fails";
    recorder.add(&away.heal(), OURS, note, timed(&report, &format!("{} hubs heal", away.hubs), &sample)?);

    let (sample, report) = bench(world, ours, "idle", sizes, &option("--idle", away.idle))?;
    let memory = parse::live_step_like(&report, "a hub, ")?["memory_bytes"].as_u64();
    let memory = Some(memory.context("a hub: no memory")?);
    let sample = Sample { rss: memory, ..timed(&report, "a hub, ", &sample)? };
    recorder.add(&away.idle(), OURS, "memory of the hub; the time is until all are connected", sample);
    Ok(())
}

/// What is aimed for.
pub(super) fn targets() -> [Target; 4] {
    let away = &FULL.away;
    [
        at_most(away.catch_up(), Metric::Report, 0.5),
        at_most(away.rejoin(), Metric::Report, 1.0),
        at_most(away.heal(), Metric::Report, 2.0),
        at_most(away.idle(), Metric::Memory, 600e6),
    ]
}
