//! Replicas that were away: one that has missed many transactions, and a large one in which little has changed.
//!
//! The hub is a process of its own. The replica is in this process and keeps all that it promises: it counts as caught up when what the hub had
//! is durable and shown here.

use std::fmt::Write as _;

use syncline_api::Target;
use syncline_api::client::{Client, Options};
use syncline_node::ops::put;
use syncline_server::live::Role;
use tokio::runtime::Runtime;

use super::here::Here;
use super::live::{self, Sizes, Writer};
use super::local::Local;
use super::samples::{Moment, Step};
use crate::context::{Context, call};
use crate::fault::{Fault, Result};
use crate::units;

/// Small transactions on their way to the hub at once, and large ones.
const DEEP: (u64, u64) = (512, 4);
/// Rows of a large one.
const LARGE: u64 = 1000;

/// A hub that is another process.
struct Far<'a> {
    context: &'a Context,
    target: Target,
    options: Options,
    runtime: Runtime,
    bytes: usize,
    process: u32,
}

impl<'a> Far<'a> {
    fn start(context: &'a Context, local: &mut Local, name: &str, sizes: &Sizes) -> Result<Self> {
        let (url, process) = local.one_more(name)?;
        let (target, options) = (Target::parse(&url)?, context.options()?);
        let far = Self { context, target, options, runtime: live::runtime()?, bytes: sizes.bytes, process };
        far.put()?;
        Ok(far)
    }

    /// Writes one row; what has to be elsewhere for everything up to there to be.
    fn put(&self) -> Result<String> {
        let client = Client::connect(self.target.clone(), self.options.clone())?;
        let (row, progress) = (live::plain_row(self.bytes), self.context.progress());
        let mut input = &row[..];
        let report: put::Report =
            call(&client, "put", &live::table(), Some(&mut input), &mut std::io::sink(), &*progress)?;
        Ok(report.position)
    }

    fn write(&self, all: impl Iterator<Item = String>, deep: u64) -> Result<()> {
        self.runtime.block_on(async { Writer::open(&self.target, &self.options).await?.pour(all, deep).await })
    }

    /// Connects a replica, and waits until it has a position.
    fn brings(&self, here: &mut Here, position: &str) -> Result<()> {
        here.listen()?;
        here.follow(&self.target, &self.options, Role::Upstream)?;
        here.sees(position)
    }
}

fn expect(what: &str, wanted: u64, is: u64) -> Result<()> {
    if wanted == is {
        return Ok(());
    }
    Err(Fault::from(anyhow::anyhow!("{what}: {is} of {wanted} rows are there: this is a bug")))
}

/// A replica that was connected comes back after many small transactions.
pub(super) fn catch_up(context: &Context, local: &mut Local, sizes: &Sizes) -> Result<Vec<Step>> {
    let (name, missed) = ("catch-up", sizes.missed);
    let far = Far::start(context, local, name, sizes)?;
    let mut here = Here::open(&local.dir().join("missed"), context.env())?;
    far.brings(&mut here, &far.put()?)?;
    here.cut();
    far.write((0..missed).map(|nth| live::changes(nth, 1, sizes.bytes, None)), DEEP.0)?;
    let position = far.put()?;
    let begin = Moment::now();
    far.brings(&mut here, &position)?;
    let took = begin.elapsed();
    expect("catching up", missed.clamp(1, live::KEYS), here.rows()?)?;
    drop(here);
    local.end(name, far.process);
    Ok(vec![Step::once(format!("catch up with {} transactions", units::count(missed)), missed, missed, took)])
}

/// A replica with many rows is opened again, a few of which others have changed.
pub(super) fn rejoin(context: &Context, local: &mut Local, sizes: &Sizes) -> Result<Vec<Step>> {
    let (name, held, changed) = ("rejoin", sizes.held, sizes.changed);
    let far = Far::start(context, local, name, sizes)?;
    let row = |text: &mut String, id: u64, mark: u64| live::change(text, id, sizes.bytes, Some(mark));
    let all = (0..held).step_by(LARGE as usize).map(|first| {
        let mut text = String::new();
        (first..held.min(first + LARGE)).for_each(|id| row(&mut text, id, 1));
        text
    });
    far.write(all, DEEP.1)?;
    let dir = local.dir().join("away");
    let mut here = Here::open(&dir, context.env())?;
    let begin = Moment::now();
    far.brings(&mut here, &far.put()?)?;
    let (first, many) = (begin.elapsed(), units::count(held));
    expect("copying", held.max(1), here.rows()?)?;
    drop(here);
    // Who was away had time: what there was to write after so much is written when it can be opened again.
    drop(Here::open(&dir, context.env())?.engine()?);
    // All over the table.
    let each = (held / changed.max(1)).max(1);
    let few = (0..changed).map(|nth| {
        let mut text = String::new();
        row(&mut text, nth * each, 2);
        text
    });
    far.write(few, DEEP.0)?;
    let position = far.put()?;
    let begin = Moment::now();
    let mut here = Here::open(&dir, context.env())?;
    here.engine()?;
    let opened = begin.elapsed();
    far.brings(&mut here, &position)?;
    let took = begin.elapsed();
    expect("rejoining", held.max(1), here.rows()?)?;
    drop(here);
    local.end(name, far.process);
    let mut rejoined = format!("rejoin with {many} rows, ");
    let _ = write!(rejoined, "{} changed", units::count(changed));
    Ok(vec![
        Step::once(format!("first copy of {many} rows"), held.div_ceil(LARGE), held, first),
        Step::once(format!("open {many} rows"), 0, held, opened),
        Step::once(rejoined, changed, changed, took),
    ])
}
