//! `get`: rows of live tables as they are here now.

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use syncline_sync::live::{Row, RowKey, Sibling};

use super::live::Bounds;
use crate::live::definition::Definition;
use crate::live::{tables, token};
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
/// `not-found` when there is no such table or a row that was named is not there; `stale` when what is to be waited for does not come.
pub fn run(replica: &Replica, request: &Request) -> Result<Report> {
    let engine = replica.live()?;
    let staleness_ms = request.bounds.hold(&engine)?;
    let table = engine.table(&request.table)?;
    let limit = request.limit.unwrap_or(LIMIT);
    let keys = request.keys.iter().map(|key| table.key_of(key)).collect::<Result<Vec<_>>>()?;
    let (rows, position) = engine.read(|node| {
        let rows: Vec<(RowKey, Row)> = if keys.is_empty() {
            node.view_from(&table.row(Bytes::new()), limit.saturating_add(1))
        } else {
            keys.iter().map(|key| (key.clone(), node.view(key))).collect()
        };
        (rows, token::of_context(&node.context()))
    })?;
    let more = keys.is_empty() && rows.len() > limit;
    let mut found = Vec::new();
    for (key, row) in rows.iter().take(if keys.is_empty() { limit } else { usize::MAX }) {
        match show(&table, &key.key, row, request.siblings)? {
            Some(row) => found.push(row),
            None => {
                let why = format!("the live table {:?} has no such row here now", request.table);
                return Err(Error::not_found(format!("row {}", table.key_text(&key.key)?), why));
            }
        }
    }
    Ok(Report { table: request.table.clone(), rows: found, more, position, staleness_ms })
}

/// A row for showing, if it exists.
pub(super) fn show(table: &Definition, key: &[u8], row: &Row, siblings: bool) -> Result<Option<Found>> {
    let Some(winner) = tables::winner(table, row) else { return Ok(None) };
    Ok(Some(Found {
        key: table.key_text(key)?,
        row: table.to_cells(key, &winner.value)?,
        conflict: row.is_in_conflict(),
        siblings: if siblings { versions(table, key, row) } else { Vec::new() },
    }))
}

/// Every sibling of a row for showing: the visible one first, then the later written before the earlier.
pub(super) fn versions(table: &Definition, key: &[u8], row: &Row) -> Vec<Version> {
    let visible = tables::winner(table, row).map(|sibling| sibling.dot);
    let mut all: Vec<_> = row.siblings().iter().collect();
    all.sort_by(|a, b| b.later(a));
    all.sort_by_key(|sibling| Some(sibling.dot) != visible);
    let version = |sibling: &Sibling| {
        // One that somebody damaged is no reason to hide the others.
        let (row, fault) = match table.to_cells(key, &sibling.value) {
            Ok(row) => (row, None),
            Err(error) => (Cells::default(), Some(error.to_string())),
        };
        Version {
            transaction: token::of_dot(&sibling.dot),
            origin: sibling.dot.origin.to_string(),
            time_ms: sibling.time.ms(),
            taken: !sibling.stamps.is_empty(),
            visible: Some(sibling.dot) == visible,
            row,
            fault,
        }
    };
    all.into_iter().map(version).collect()
}
