//! `get`: rows of live tables as they are here now.

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use syncline_base::Hlc;
use syncline_sync::live::{Dot, Row, RowKey, Sibling};

use super::live::Bounds;
use super::reach;
use crate::live::definition::Definition;
use crate::live::resolve::{Rival, Seen};
use crate::live::tables::Look;
use crate::live::token;
use crate::replica::Replica;
use crate::rows::Cells;
use crate::{Error, Result};

/// How many rows are given when nobody says.
const LIMIT: usize = 1000;

/// What `get` is asked for.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct Request {
    /// The table.
    pub table: String,
    /// Keys as text; none is all rows.
    #[serde(default)]
    pub keys: Vec<String>,
    /// Whether to give every sibling of a row.
    #[serde(default)]
    pub siblings: bool,
    /// Whether they are to be as they are at the replica that decides what the table holds: the certifier of a strict table, else the hub.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub strict: bool,
    /// What is asked of them.
    #[serde(flatten)]
    pub bounds: Bounds,
    /// At most so many rows.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub limit: Option<usize>,
}

/// One value of a row that somebody wrote, and nobody overwrote who had seen it.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Version {
    /// The transaction that wrote it.
    pub transaction: String,
    /// The writer, by the name that it wrote under.
    pub origin: String,
    /// When, by the writer's clock as far as hubs believed it, in milliseconds since the Unix epoch.
    pub time_ms: u64,
    /// Whether a hub has taken it in.
    pub taken: bool,
    /// Whether readers see it.
    pub visible: bool,
    /// Whether readers see its transaction in some rows and not in others. Only said of rows in conflict.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub torn: bool,
    /// The row; empty when it cannot be read.
    pub row: Cells,
    /// Why it cannot be read.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fault: Option<String>,
}

/// A row.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Found {
    /// Its key as text.
    pub key: String,
    /// What readers see.
    pub row: Cells,
    /// Whether it has siblings with other values.
    pub conflict: bool,
    /// All siblings, if they were asked for; the visible one first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub siblings: Vec<Version>,
}

/// Rows of a table.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Report {
    /// The table.
    pub table: String,
    /// The rows, by key.
    pub rows: Vec<Found>,
    /// Whether there are more than were asked for.
    pub more: bool,
    /// What somebody has read who has read them: for writing on top of them, and for reading no less elsewhere.
    pub position: String,
    /// Everything that the upstream had acknowledged so many milliseconds ago is in there. When it was asked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub staleness_ms: Option<u64>,
}

/// Gives rows as they are here now.
///
/// # Errors
/// `not-found` when there is no such table or a row that was named is not there; `stale` when what is to be waited for does not come;
/// `unavailable` when a strict read reaches nobody who knows.
pub fn run(replica: &Replica, request: &Request) -> Result<Report> {
    let engine = replica.live()?;
    let staleness_ms = request.bounds.hold(&engine)?;
    let mut table = engine.table(&request.table)?;
    if request.strict {
        reach::wait(&engine, &table, request.bounds.patience())?;
        table = engine.table(&request.table)?;
    }
    let limit = request.limit.unwrap_or(LIMIT);
    let keys = request.keys.iter().map(|key| table.key_of(key)).collect::<Result<Vec<_>>>()?;
    let (rows, position) = engine.read(|node| {
        let rows: Vec<(RowKey, Row)> = if keys.is_empty() {
            node.view_from(&table.row(Bytes::new()), limit.saturating_add(1))
        } else {
            keys.iter().map(|key| (key.clone(), node.view(key))).collect()
        };
        let look = Look::new(&table, node);
        let seen = |(key, row): (RowKey, Row)| (look.seen(&key.key, &row), key, row);
        let rows: Vec<(Option<Seen>, RowKey, Row)> = rows.into_iter().map(seen).collect();
        (rows, token::of_context(&node.context()))
    })?;
    let more = keys.is_empty() && rows.len() > limit;
    let mut found = Vec::new();
    for (seen, key, row) in rows.iter().take(if keys.is_empty() { limit } else { usize::MAX }) {
        match seen {
            Some(seen) => found.push(show(&table, &key.key, row, seen, request.siblings)?),
            None => {
                let why = format!("the live table {:?} has no such row here now", request.table);
                return Err(Error::not_found(format!("row {}", table.key_text(&key.key)?), why));
            }
        }
    }
    Ok(Report { table: request.table.clone(), rows: found, more, position, staleness_ms })
}

/// A row for showing.
fn show(table: &Definition, key: &[u8], row: &Row, seen: &Seen, siblings: bool) -> Result<Found> {
    Ok(Found {
        key: table.key_text(key)?,
        row: table.to_cells(key, &seen.value)?,
        conflict: seen.conflict,
        siblings: if siblings { versions(table, key, row, seen) } else { Vec::new() },
    })
}

/// Every value of a row for showing: the visible one first, then the later written before the earlier. Where columns are each for
/// itself, of those in conflict, what each transaction wrote.
pub(super) fn versions(table: &Definition, key: &[u8], row: &Row, seen: &Seen) -> Vec<Version> {
    let shown = |value: &[u8]| match table.to_cells(key, value) {
        Ok(row) => (row, None),
        // One that somebody damaged is no reason to hide the others.
        Err(error) => (Cells::default(), Some(error.to_string())),
    };
    let version = |dot: &Dot, time: Hlc, taken: bool, visible: bool, (row, fault): (Cells, Option<String>)| Version {
        transaction: token::of_dot(dot),
        origin: dot.origin.to_string(),
        time_ms: time.ms(),
        taken,
        visible,
        torn: false,
        row,
        fault,
    };
    let rivals = table.rivals(row.siblings(), seen);
    let mut all: Vec<Version> = if rivals.is_empty() {
        let mut all: Vec<&Sibling> = row.siblings().iter().collect();
        all.sort_by(|a, b| b.later(a));
        let text = |row: &Cells| serde_json::to_string(row).unwrap_or_default();
        let merged = text(&shown(&seen.value).0);
        let one = |is: &&Sibling| {
            let value = shown(&is.value);
            // One that is merged with others is not seen as it is.
            version(&is.dot, is.time, !is.stamps.is_empty(), is.dot == seen.dot && text(&value.0) == merged, value)
        };
        all.iter().map(one).collect()
    } else {
        let row = |rival: &Rival| {
            let (mut row, fault) = shown(&rival.value);
            let names = table.names_of(&rival.columns);
            let keys = table.key_names();
            row.retain(|name| keys.contains(&name) || names.contains(&name));
            (row, fault)
        };
        rivals.iter().map(|rival| version(&rival.dot, rival.time, rival.taken, rival.visible, row(rival))).collect()
    };
    all.sort_by_key(|version| !version.visible);
    all
}
