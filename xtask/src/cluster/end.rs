//! The end of a run: all nodes have the same, each of them shows the same rows, and the history is judged against them.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use syncline_base::{Clock, SystemClock};

use super::TABLE;
use super::client::{Client, reads};
use super::node::{Answer, Live, Node};
use super::watch::Watcher;
use crate::history::{History, Read, Row, Verdict, Written};

/// Waits until all have one root and nothing waits; gives the root and how long that took.
pub(crate) fn agree(nodes: &[&Node], most: Duration) -> Result<(String, Duration)> {
    let begun = SystemClock.monotonic();
    loop {
        let all = nodes.iter().map(|node| node.live()).collect::<Result<Vec<Option<Live>>>>()?;
        let took = SystemClock.monotonic() - begun;
        if let Some(Some(first)) = all.first()
            && all.iter().flatten().filter(|one| one.root == first.root && one.unsent == 0).count() == all.len()
        {
            return Ok((first.root.clone(), took));
        }
        let table =
            || nodes.iter().zip(&all).map(|(node, live)| format!("\n  {}: {live:?}", node.name)).collect::<String>();
        ensure!(took < most, "not all have the same {most:?} after everything was mended:{}", table());
        SystemClock.sleep(Duration::from_millis(50));
    }
}

/// Writes a last transaction, when all have the same, and waits until all have that, too: who follows a node was told everything when it is told
/// this one. Gives the root then, and the last value.
pub(crate) fn mark(founder: &mut Client, nodes: &[&Node], most: Duration) -> Result<(String, Written)> {
    ensure!(founder.write_own()?, "the last write failed: {:?}", founder.failed);
    let last = founder.txns.last().and_then(|txn| txn.writes.last()).context("nothing was written")?.value;
    Ok((agree(nodes, most)?.0, last))
}

/// All rows of a node, with all their values.
pub(crate) fn rows(node: &Node) -> Result<BTreeMap<Row, Read>> {
    let answer = node.door.ask(&["get", "--table", TABLE, "--siblings", "--limit", "1000000"], "")?;
    let Answer::Done(report) = answer else { anyhow::bail!("{} does not show its rows: {answer:?}", node.name) };
    let mut rows = BTreeMap::new();
    for mut read in reads(&report)? {
        read.siblings.sort_unstable();
        rows.insert(read.row, read);
    }
    Ok(rows)
}

/// Where a history is left.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Left<'a> {
    /// One that cannot be, for `dbcop`: in this directory.
    pub(crate) place: &'a Path,
    /// Any, for other checkers, if somebody wants it: in this file.
    pub(crate) file: Option<&'a Path>,
}

/// What those who follow were told up to this value, and whether wall clocks were wrong meanwhile.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Followed<'a> {
    pub(crate) watchers: &'a [Watcher],
    pub(crate) last: Written,
    pub(crate) clocks: bool,
}

/// Looks at all nodes, which have the same, and judges what the clients have kept and what those who follow were told.
pub(crate) fn judge(nodes: &[&Node], clients: &[&Client], followed: Followed<'_>, left: Left<'_>) -> Result<Verdict> {
    let mut history = History { clocks: followed.clocks, ..History::default() };
    let first = nodes.first().context("no nodes")?;
    let end = rows(first)?;
    for node in nodes {
        ensure!(rows(node)? == end, "{} and {} have one root and show other rows", first.name, node.name);
    }
    let until = |one: &Watcher| one.until(followed.last, Duration::from_secs(10));
    history.watchers = followed.watchers.iter().map(until).collect::<Result<_>>()?;
    for client in clients {
        if history.sessions.len() <= client.session {
            history.sessions.resize_with(client.session + 1, Vec::new);
        }
        history.sessions[client.session].clone_from(&client.txns);
    }
    if let Some(file) = left.file {
        std::fs::write(file, history.as_plume()).with_context(|| format!("writing {}", file.display()))?;
    }
    let end = end.into_iter().map(|(row, read)| (row, read.siblings)).collect();
    let verdict = history.judge(&end);
    if !verdict.wrong.is_empty() {
        let file = left.place.join("history.json");
        std::fs::write(&file, history.as_dbcop().to_string()).with_context(|| format!("writing {}", file.display()))?;
        eprintln!("the history is in {}", file.display());
    }
    Ok(verdict)
}
