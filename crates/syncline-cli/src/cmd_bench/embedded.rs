//! Live tables in this process, without a network: what the log and the disk give.

use std::fs::File;
use std::io::Write as _;
use std::sync::mpsc;
use std::time::Duration;

use anyhow::Context as _;
use syncline_node::live::Engine;
use syncline_node::live::engine::{More, Sequence};
use syncline_node::ops::{apply, put};
use syncline_node::{Location, Replica};

use super::live::{self, Prepared, Sizes};
use super::local::Local;
use super::samples::{Moment, Step};
use crate::context::Context;
use crate::fault::Result;

/// Large transactions that wait for the disk at once: one is made while another one is written.
const DEEP: usize = 2;

/// Measures the disk, then one writer, many writers, and large transactions.
pub(super) fn run(context: &Context, local: &Local, sizes: &Sizes) -> Result<Vec<Step>> {
    let location = Location::parse(&local.dir().join("embedded").display().to_string())?;
    let replica = Replica::create(&location, context.env())?;
    put::run(&replica, &live::table(), &mut &live::plain_row(sizes.bytes)[..])?;
    let engine = replica.live()?;
    let many = format!("in one process, {} writers", sizes.writers);
    let large = format!("in one process, {} rows each", sizes.rows);
    Ok(vec![
        disk(local, sizes)?,
        writers(&engine, "in one process, 1 writer", 1, 1, sizes)?,
        writers(&engine, &many, sizes.writers, 1, sizes)?,
        writers(&engine, &large, DEEP, sizes.rows, sizes)?,
    ])
}

/// What the disk takes to make a few bytes durable: nobody who keeps promises is faster with one writer.
fn disk(local: &Local, sizes: &Sizes) -> Result<Step> {
    let path = local.dir().join("disk");
    let mut file = File::create(&path).with_context(|| format!("creating {}", path.display()))?;
    let (begin, mut took) = (Moment::now(), Vec::new());
    while begin.elapsed() < sizes.time.min(Duration::from_secs(1)) {
        let at = Moment::now();
        let written = file.write_all(&[7; 256]).and_then(|()| file.sync_data());
        written.with_context(|| format!("writing {}", path.display()))?;
        took.push(at.elapsed());
    }
    Ok(Step::new("the disk: 256 bytes and a sync", 1, begin.elapsed(), took))
}

/// So many transactions wait at any time; for each that is durable the next one is written. What is timed is what a program does that has
/// rows: they are read, become a transaction, and are durable.
fn writers(engine: &Engine, name: &str, writers: usize, rows: usize, sizes: &Sizes) -> Result<Step> {
    let (tell, told) = mpsc::channel();
    let prepared = Prepared::new(rows, sizes.bytes, writers);
    let (sequence, request, begin) = (Sequence::default(), apply::Request::default(), Moment::now());
    let (mut next, mut waiting, mut took) = (0, 0, Vec::new());
    let mut free: Vec<usize> = (0..writers).collect();
    let mut began = vec![begin; writers];
    loop {
        if begin.elapsed() < sizes.time {
            for writer in free.drain(..) {
                let text = prepared.get(next);
                next += 1;
                began[writer] = Moment::now();
                let tell = tell.clone();
                // Nobody reads it when the measurement has failed.
                let done = Box::new(move |outcome| drop(tell.send((writer, outcome))));
                let more = if writers == 1 { More::Not } else { More::Comes };
                apply::submit(engine, &sequence, &request, text, (more, done))?;
                waiting += 1;
            }
        }
        if waiting == 0 {
            return Ok(Step::new(name, rows as u64, begin.elapsed(), took));
        }
        let (writer, outcome) = told.recv().context("waiting for the log")?;
        outcome.map(drop)?;
        waiting -= 1;
        took.push(began[writer].elapsed());
        free.push(writer);
    }
}
