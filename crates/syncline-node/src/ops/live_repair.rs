//! `live-repair`: takes all rows of live tables anew from another replica, because those that are here are damaged.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::live::anew;
use crate::live::engine::Renewal;
use crate::live::home::{Home, Taken};
use crate::replica::Replica;
use crate::{Error, Result};

/// What `live-repair` is asked for.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct Request {
    /// The address of the replica whose rows are right; any that is connected when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub from: Option<String>,
    /// Put the alarms aside, and take nothing: what is here is right.
    #[serde(default)]
    pub settle: bool,
    /// It is waited for rows for so long, in milliseconds.
    #[serde(default)]
    pub wait_ms: u64,
}

/// What came of it.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Report {
    /// Why rows are still being taken, if they are.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub renewal: Option<Renewal>,
    /// How many rows of tables are here.
    pub rows: u64,
    /// How many replicas are connected.
    pub connected: u64,
    /// How many alarms were put aside.
    pub settled: u64,
}

/// Takes all rows anew, or says that those that are here are right.
///
/// # Errors
/// `not-found` when there are no live tables; as opening them.
pub fn run(replica: &Replica, request: &Request) -> Result<Report> {
    let Some(engine) = replica.live_if_there()? else {
        let (what, why) = ("taking rows of live tables anew".to_owned(), "this replica has no live tables".to_owned());
        return Err(Error::NotFound { what, why });
    };
    let before = engine.status()?;
    let settled = before.proofs.alarms.len() as u64;
    if request.settle {
        engine.settle_alarms()?;
    } else {
        let alone = before.peers == 0 && before.upstream.is_none() && before.members.is_empty();
        if alone && request.from.is_none() {
            let why = "no other replica is connected or known, so nobody could bring others and those that are here would be hidden: connect one \
                     first (`syncline up` with --upstream or --peer, or another one that connects here), or name one with --from";
            return Err(Error::conflict("taking rows of live tables anew", why));
        }
        engine.renew(request.from.as_deref())?;
        engine.wait_renewed(Duration::from_millis(request.wait_ms))?;
    }
    let renewal = engine.renewal()?;
    let settled = if renewal.is_none() { settled } else { 0 };
    let status = engine.status()?;
    let rows = if renewal.is_none() {
        let frozen = engine.frozen()?;
        let tables = frozen.counts().iter().filter(|(table, _)| !table.starts_with('.'));
        tables.map(|(_, count)| count.rows).sum()
    } else {
        0
    };
    Ok(Report { renewal, rows, connected: status.peers, settled })
}

/// Says that the replica's directory was brought back as it was before, in its place: it goes on under a new name once it is opened.
///
/// # Errors
/// [`Error::Served`] when another process has it open; `not-found` when there are no live tables; the file system's.
pub fn restored(replica: &Replica) -> Result<()> {
    alone(replica, "going on under a new name")?.is_restored()
}

/// Live tables that no other process has open.
fn alone(replica: &Replica, doing: &str) -> Result<Home> {
    let Some(meta) = replica.meta().filter(|_| replica.has_live()) else {
        let (what, why) = (doing.to_owned(), "this replica has no live tables".to_owned());
        return Err(Error::NotFound { what, why });
    };
    match Home::take(meta)? {
        Taken::Ours(home) => Ok(home),
        Taken::Others(holder) => Err(Error::Served { dir: meta.to_owned(), pid: holder.pid, url: holder.url }),
    }
}

/// Begins live tables anew whose log is damaged; see [`anew`].
///
/// # Errors
/// [`Error::Served`] when another process has them; `not-found` when there are none; those of [`anew::begin`].
pub fn begin_anew(replica: &Replica, from: Option<&str>) -> Result<anew::Report> {
    let home = alone(replica, "beginning live tables anew")?;
    if from.is_some() {
        home.set_upstream(from)?;
    }
    anew::begin(&home, replica.clock())
}
