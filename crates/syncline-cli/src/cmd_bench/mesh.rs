//! Hubs that were cut off from each other, each of which has written the same rows: how long until all hold the same.
//!
//! All are in this process, with disks and connections of their own.

use std::sync::mpsc;

use anyhow::Context as _;
use syncline_api::Target;
use syncline_node::live::Engine;
use syncline_node::live::engine::{More, Sequence};
use syncline_node::ops::apply;
use syncline_node::sync::live::{Context as Position, Coverage};
use syncline_server::live::Role;

use super::here::Here;
use super::live::{self, Sizes};
use super::local::Local;
use super::samples::{Moment, Step};
use crate::context::Context;
use crate::fault::{Fault, Result};
use crate::units;

/// Rows of a transaction.
const ROWS: u64 = 5;

/// Cuts hubs off from each other, has each write the same rows, and connects them again.
pub(super) fn run(context: &Context, local: &Local, sizes: &Sizes) -> Result<Vec<Step>> {
    let (count, rows) = (sizes.hubs.max(2), sizes.conflicts);
    let open = |nth| Here::open(&local.dir().join(format!("mesh-{nth}")), context.env());
    let mut hubs = (0..count).map(open).collect::<Result<Vec<_>>>()?;
    hubs[0].make_table(&live::plain_row(sizes.bytes))?;
    meet(context, &mut hubs)?;
    let all = everything(&hubs)?;
    wait(&hubs, &all)?;
    hubs.iter_mut().for_each(Here::cut);
    for (nth, hub) in hubs.iter().enumerate() {
        let mark = Some(nth as u64 + 1);
        let all = (0..rows).step_by(ROWS as usize);
        let all = all.map(|first| live::changes(first, ROWS.min(rows - first) as usize, sizes.bytes, mark));
        write(&hub.engine()?, all)?;
    }
    let all = everything(&hubs)?;
    let before: u64 = all.seen.iter().map(|(_, n)| n).sum();
    let begin = Moment::now();
    meet(context, &mut hubs)?;
    wait(&hubs, &all)?;
    let took = begin.elapsed();
    let after: u64 = everything(&hubs)?.seen.iter().map(|(_, n)| n).sum();
    if after != before {
        return Err(wrong(&format!("hubs wrote {} transactions that nobody asked for", after - before)));
    }
    let roots = hubs.iter().map(|hub| hub.engine().and_then(|engine| Ok(engine.root_of(&engine.frozen()?)?)));
    let roots = roots.collect::<Result<Vec<_>>>()?;
    if roots.iter().any(|root| *root != roots[0]) {
        return Err(wrong("hubs that have the same transactions hold different rows"));
    }
    let name = format!("{count} hubs heal, {} rows in conflict", units::count(rows));
    Ok(vec![Step::once(name, rows.div_ceil(ROWS) * count as u64, rows * count as u64, took)])
}

fn wrong(what: &str) -> Fault {
    Fault::from(anyhow::anyhow!("{what}: this is a bug"))
}

/// Connects each with each.
fn meet(context: &Context, hubs: &mut [Here]) -> Result<()> {
    let options = context.options()?;
    let places = hubs.iter_mut().map(Here::listen).collect::<Result<Vec<Target>>>()?;
    for (nth, hub) in hubs.iter().enumerate() {
        places[..nth].iter().try_for_each(|place| hub.follow(place, &options, Role::Peer))?;
    }
    Ok(())
}

/// What all of them together have.
fn everything(hubs: &[Here]) -> Result<Position> {
    let mut seen = Coverage::new();
    for hub in hubs {
        seen.join(&hub.engine()?.status()?.coverage);
    }
    Ok(Position { seen, own: Vec::new() })
}

fn wait(hubs: &[Here], position: &Position) -> Result<()> {
    hubs.iter().try_for_each(|hub| hub.has(position))
}

/// Writes transactions and waits until all are durable.
fn write(engine: &Engine, all: impl Iterator<Item = String>) -> Result<()> {
    let (tell, told) = mpsc::channel();
    let (sequence, request, mut waiting) = (Sequence::default(), apply::Request::default(), 0);
    for changes in all {
        let tell = tell.clone();
        // Nobody reads it when the measurement has failed.
        let done = Box::new(move |outcome: syncline_node::Result<_>| drop(tell.send(outcome.map(drop))));
        apply::submit(engine, &sequence, &request, &changes.into(), (More::Comes, done))?;
        waiting += 1;
    }
    for _ in 0..waiting {
        told.recv().context("waiting for the log")??;
    }
    Ok(())
}
