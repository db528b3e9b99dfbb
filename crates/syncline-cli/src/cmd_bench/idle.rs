//! What a hub's memory is with many replicas that are connected and have nothing to do.

use std::time::Duration;

use anyhow::Context as _;
use syncline_api::Target;
use syncline_api::client::Client;
use syncline_node::ops::put;

use super::crowd::Crowd;
use super::live::{self, Sizes};
use super::local::Local;
use super::samples::{Moment, Step};
use crate::context::{Context, call};
use crate::fault::Result;
use crate::units;

/// So long nothing is done before it is looked at.
const REST: Duration = Duration::from_secs(2);

/// Connects them to a hub of its own.
pub(super) fn run(context: &Context, local: &mut Local, sizes: &Sizes) -> Result<Vec<Step>> {
    let (name, count) = ("idle", sizes.idle);
    let (url, process) = local.one_more(name)?;
    let (target, options) = (Target::parse(&url)?, context.options()?);
    let (row, progress) = (live::plain_row(sizes.bytes), context.progress());
    let client = Client::connect(target.clone(), options.clone())?;
    let mut input = &row[..];
    call::<_, put::Report>(&client, "put", &live::table(), Some(&mut input), &mut std::io::sink(), &*progress)?;
    drop(client);
    let runtime = live::runtime()?;
    let alone = memory(process)?;
    let begin = Moment::now();
    let crowd = runtime.block_on(Crowd::join(&target, &options, count))?;
    let took = begin.elapsed();
    runtime.block_on(async { tokio::time::sleep(REST).await });
    let with = memory(process)?;
    drop(crowd);
    drop(runtime);
    local.end(name, process);
    let step = |name: String, count: u64, memory: u64| Step {
        memory_bytes: Some(memory),
        ..Step::once(name, count, 0, if count == 0 { REST } else { took })
    };
    Ok(vec![
        step("a hub alone".to_owned(), 0, alone),
        step(format!("a hub, {} connected", units::count(count as u64)), count as u64, with),
    ])
}

/// Bytes of memory that a process has.
fn memory(process: u32) -> Result<u64> {
    let path = format!("/proc/{process}/status");
    let text = std::fs::read_to_string(&path)
        .with_context(|| format!("reading {path}, which says how much memory a node has (on Linux)"))?;
    let line = text.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let kib = line.and_then(|line| line.split_whitespace().next()).and_then(|kib| kib.parse::<u64>().ok());
    Ok(kib.with_context(|| format!("{path} does not say how much memory the node has"))? << 10)
}
