//! The end of a run: all nodes have the same, each of them shows the same rows, and the history is judged against them.

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use syncline_base::{Clock, SystemClock};

use super::TABLE;
use super::client::{Client, reads};
use super::node::{Answer, Live, Node};
use crate::history::{History, Row, Verdict, Written};

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

/// All rows of a node, with all their values.
pub(crate) fn rows(node: &Node) -> Result<BTreeMap<Row, Vec<Written>>> {
    let answer = node.door.ask(&["get", "--table", TABLE, "--siblings", "--limit", "1000000"], "")?;
    let Answer::Done(report) = answer else { anyhow::bail!("{} does not show its rows: {answer:?}", node.name) };
    let mut rows = BTreeMap::new();
    for mut read in reads(&report)? {
        read.siblings.sort_unstable();
        rows.insert(read.row, read.siblings);
    }
    Ok(rows)
}

/// Looks at all nodes, which have the same, and judges what the clients have kept. A history that cannot be is left in `place`.
pub(crate) fn judge(nodes: &[&Node], clients: &[&Client], place: &std::path::Path) -> Result<Verdict> {
    let (first, others) = nodes.split_first().context("no nodes")?;
    let end = rows(first)?;
    for other in others {
        ensure!(rows(other)? == end, "{} and {} have one root and show other rows", first.name, other.name);
    }
    let mut history = History::default();
    for client in clients {
        if history.sessions.len() <= client.session {
            history.sessions.resize_with(client.session + 1, Vec::new);
        }
        history.sessions[client.session].clone_from(&client.txns);
    }
    let verdict = history.judge(&end);
    if !verdict.wrong.is_empty() {
        let file = place.join("history.json");
        std::fs::write(&file, history.as_dbcop().to_string()).with_context(|| format!("writing {}", file.display()))?;
        eprintln!("the history is in {}", file.display());
    }
    Ok(verdict)
}
