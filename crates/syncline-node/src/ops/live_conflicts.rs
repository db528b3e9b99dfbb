//! `conflicts` of live tables: rows that several have written of whom none had read the other, seen and decided.
//!
//! A row in conflict is no error: readers see the sibling that the table's resolver picks, and the others stay until somebody who has
//! read them all writes the row. To decide is to write it so. A delete beside a write that had not read it leaves no sibling, so
//! that is no conflict. Owns nothing.
//!
//! Not here: conflicts of a merge of versions (`conflicts`), which sibling is picked (`crate::live::resolve`).

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use syncline_sync::live::{Context, Node, Refusal, Row, RowKey, Write};

use super::get::{self, Version};
use super::put;
use crate::live::definition::Definition;
use crate::live::{Engine, tables, token};
use crate::replica::Replica;
use crate::rows::Cells;
use crate::{Error, Result};

/// So many of the first characters of a transaction have to be given.
const MIN_PREFIX: usize = 8;

/// What is asked for.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(tag = "do", rename_all = "kebab-case")]
pub enum Request {
    /// How many rows are in conflict.
    Count,
    /// The first rows that are, by table and key.
    List {
        /// Of this table only.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        table: Option<String>,
        /// At most so many.
        limit: usize,
    },
    /// One row.
    Show {
        /// Its table.
        table: String,
        /// Its key as text.
        key: String,
    },
}

/// A row in conflict.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Conflict {
    /// Its table.
    pub table: String,
    /// Its key as text.
    pub key: String,
    /// What picks the sibling that readers see.
    pub resolver: String,
    /// Whether that is for the time being only: it waits for somebody who decides.
    pub asks: bool,
    /// Its siblings; the visible one first, then the later written before the earlier.
    pub siblings: Vec<Version>,
}

/// Rows in conflict, as they are here now.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct Report {
    /// How many there are, of the tables that were asked for.
    pub open: u64,
    /// How many of them wait for somebody who decides.
    pub waiting: u64,
    /// Those that were asked for, by table and key.
    pub conflicts: Vec<Conflict>,
    /// Tables with rows in conflict that cannot be shown, and why.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub unreadable: BTreeMap<String, String>,
    /// What somebody has read who has read them: what to decide on.
    pub position: String,
}

/// Says which rows of live tables are in conflict.
///
/// # Errors
/// `not-found` when there is no such table, or the row that was named is not in conflict; `invalid` when the key is none.
pub fn run(replica: &Replica, request: &Request) -> Result<Report> {
    let Some(engine) = replica.live_if_there()? else {
        return match request {
            Request::List { table: Some(table), .. } | Request::Show { table, .. } => {
                Err(Error::not_found(format!("live table {table:?}"), "there are no live tables here yet"))
            }
            _ => Ok(Report { position: token::of_context(&Context::default()), ..Report::default() }),
        };
    };
    match request {
        Request::Count => list(&engine, None, 0),
        Request::List { table, limit } => list(&engine, table.as_deref(), *limit),
        Request::Show { table, key } => show(&engine, table, key),
    }
}

fn list(engine: &Engine, only: Option<&str>, limit: usize) -> Result<Report> {
    let named = only.map(|name| engine.table(name)).transpose()?;
    let (counts, rows, position) = engine.read(|node| {
        let keys = in_conflict(node, only);
        let mut counts = BTreeMap::<Arc<str>, u64>::new();
        for key in &keys {
            *counts.entry(Arc::clone(&key.table)).or_default() += 1;
        }
        let rows: Vec<(RowKey, Row)> = keys
            .into_iter()
            .take(limit)
            .map(|key| {
                let row = node.view(&key);
                (key, row)
            })
            .collect();
        (counts, rows, token::of_context(&node.context()))
    })?;
    let mut report = Report { open: counts.values().sum(), position, ..Report::default() };
    let mut known: BTreeMap<Arc<str>, Arc<Definition>> = BTreeMap::new();
    for (name, count) in &counts {
        let found = named.clone().map_or_else(|| engine.table(name), Ok);
        match found {
            Ok(table) => {
                report.waiting += if table.asks() { *count } else { 0 };
                known.insert(Arc::clone(name), table);
            }
            // What another node did to one table does not hide the others.
            Err(error) => {
                report.unreadable.insert(name.to_string(), error.to_string());
            }
        }
    }
    for (key, row) in &rows {
        let Some(table) = known.get(&key.table) else { continue };
        match conflict(table, key, row) {
            Ok(conflict) => report.conflicts.push(conflict),
            Err(error) => {
                report.unreadable.insert(key.table.to_string(), error.to_string());
            }
        }
    }
    Ok(report)
}

fn show(engine: &Engine, table: &str, key: &str) -> Result<Report> {
    let table = engine.table(table)?;
    let key = table.key_of(key)?;
    let (row, position) = engine.read(|node| (node.view(&key), token::of_context(&node.context())))?;
    if !row.is_in_conflict() {
        return Err(not_in_conflict(&table, &key, &row));
    }
    let conflicts = vec![conflict(&table, &key, &row)?];
    Ok(Report { open: 1, waiting: u64::from(table.asks()), conflicts, unreadable: BTreeMap::new(), position })
}

fn conflict(table: &Definition, key: &RowKey, row: &Row) -> Result<Conflict> {
    Ok(Conflict {
        table: table.name().to_owned(),
        key: table.key_text(&key.key)?,
        resolver: table.settings().resolver.to_string(),
        asks: table.asks(),
        siblings: get::versions(table, &key.key, row),
    })
}

/// The rows in conflict as clients of this node see them, by table and key; reserved tables left out.
fn in_conflict(node: &Node, only: Option<&str>) -> BTreeSet<RowKey> {
    let state = node.state();
    let asked = |key: &RowKey| only.map_or_else(|| !key.table.starts_with('.'), |only| *key.table == *only);
    let mut found = BTreeSet::new();
    let mut look = |(key, row): (&RowKey, &Row)| {
        if row.is_in_conflict() && asked(key) {
            found.insert(key.clone());
        }
    };
    match only {
        None => state.rows().for_each(&mut look),
        Some(name) => {
            let from = RowKey { table: name.into(), key: Bytes::new() };
            state.rows_from(&from).take_while(|(key, _)| *key.table == *name).for_each(&mut look);
        }
    }
    // What waits for a hub may have decided some, and be in conflict itself.
    let pending = state.pending().flat_map(|txn| &txn.body().writes).map(|write| &write.row);
    let pending: BTreeSet<&RowKey> = pending.filter(|key| asked(key)).collect();
    for key in pending {
        if node.view(key).is_in_conflict() {
            found.insert(key.clone());
        } else {
            found.remove(key);
        }
    }
    found
}

/// How a row in conflict is decided.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Decision {
    /// As this transaction wrote it: as text, or so much of its beginning that no other is meant.
    Take(String),
    /// As this JSON object says. A column that it leaves out keeps the cell that readers see; the key may be left out.
    Row(String),
    /// It is deleted.
    Delete,
}

/// What `resolve` is asked for.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Resolve {
    /// The table.
    pub table: String,
    /// The row's key as text.
    pub key: String,
    /// What the row becomes.
    pub decision: Decision,
    /// What was seen: when siblings have come since, nothing is decided. Else all are decided on that are here.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub read: Option<String>,
}

/// Decides a row in conflict: writes it so that all siblings that are here are covered.
///
/// # Errors
/// `not-found` when there is no such table, the row is not in conflict, or none of its siblings is of that transaction; `conflict` when
/// siblings have come that were not seen, or somebody else is the table's writer; `invalid` when the row does not fit. Nothing was written
/// then.
pub fn resolve(replica: &Replica, request: &Resolve) -> Result<put::Report> {
    let started = replica.clock().monotonic();
    let engine = replica.live()?;
    let table = engine.table(&request.table)?;
    put::check_writer(&engine, &table)?;
    let key = table.key_of(&request.key)?;
    let read = request.read.as_deref().map(token::parse).transpose()?;
    // All that is here is read: what the row is decided on, and with it every sibling that there is at this moment.
    let committed = engine.commit_with(None, |node| {
        let row = node.view(&key);
        if let Some(read) = &read {
            check_seen(node, &table, &key, &row, read)?;
        }
        if !row.is_in_conflict() {
            return Err(not_in_conflict(&table, &key, &row));
        }
        let value = match &request.decision {
            Decision::Take(transaction) => Some(taken(&table, &key, &row, transaction)?),
            Decision::Row(text) => Some(given(&table, &key, &row, text)?),
            Decision::Delete => None,
        };
        Ok(vec![Write { row: key.clone(), value }])
    })?;
    let seconds = (replica.clock().monotonic() - started).as_secs_f64();
    Ok(put::Report::new(&request.table, &committed, 1, false, seconds))
}

fn doing(table: &Definition, key: &RowKey) -> Result<String> {
    Ok(format!("resolving the conflict of row {} of table {:?}", table.key_text(&key.key)?, table.name()))
}

fn not_in_conflict(table: &Definition, key: &RowKey, row: &Row) -> Error {
    let why = match row.siblings() {
        [] => "there is no such row here now; nothing has to be decided",
        [_] => "the row has one value here now; nothing has to be decided",
        _ => "all values that were written are the same; nothing has to be decided",
    };
    match table.key_text(&key.key) {
        Ok(text) => Error::not_found(format!("a conflict of row {text} of table {:?}", table.name()), why),
        Err(error) => error,
    }
}

/// Whether all siblings are among what was seen.
fn check_seen(node: &Node, table: &Definition, key: &RowKey, row: &Row, read: &Context) -> Result<()> {
    if !node.shows(read) {
        return Err(Error::conflict(doing(table, key)?, Refusal::Behind.to_string()));
    }
    let new = row.siblings().iter().filter(|sibling| !node.has_read(read, sibling)).count();
    if new == 0 {
        return Ok(());
    }
    let why = format!(
        "{new} of its {} values came after the position that was given; see them with `syncline conflicts show`, and decide again \
         with the position that it prints",
        row.siblings().len()
    );
    Err(Error::conflict(doing(table, key)?, why))
}

/// The value that a transaction wrote.
fn taken(table: &Definition, key: &RowKey, row: &Row, transaction: &str) -> Result<Bytes> {
    let part = |full: &str| match full.strip_prefix(transaction) {
        None => false,
        Some(rest) => rest.is_empty() || rest.starts_with(':') || !transaction.contains(':'),
    };
    let named: Vec<(String, &Bytes)> =
        row.siblings().iter().map(|sibling| (token::of_dot(&sibling.dot), &sibling.value)).collect();
    let fits: Vec<_> = named.iter().filter(|(full, _)| transaction.len() >= MIN_PREFIX && part(full)).collect();
    let all = || named.iter().map(|(full, _)| &full[..]).collect::<Vec<_>>().join("\n  ");
    match fits[..] {
        [(_, value)] => Ok(Bytes::clone(value)),
        [] => {
            let why = format!("{}; it has\n  {}", doing(table, key)?, all());
            Err(Error::not_found(format!("a value of transaction {transaction:?}"), why))
        }
        _ => Err(Error::invalid(
            doing(table, key)?,
            format!("{transaction:?} may be several of its values; it has\n  {}", all()),
        )),
    }
}

/// The value that a row as JSON is.
fn given(table: &Definition, key: &RowKey, row: &Row, text: &str) -> Result<Bytes> {
    let mut cells: Cells = serde_json::from_str(text).map_err(|error| {
        Error::invalid(format!("reading the row {text:?}"), format!("it is no JSON object: {error}"))
    })?;
    for (name, cell) in table.key_cells(&key.key)?.iter() {
        if cells.get(name).is_none() {
            cells.push(name, cell);
        }
    }
    let line = serde_json::to_string(&cells).map_err(|error| Error::invalid("reading the row", error.to_string()))?;
    // Line ends in JSON are between its tokens, never inside text.
    let line = line.replace(['\n', '\r'], " ");
    let visible = |_: &RowKey| tables::winner(table, row).map(|sibling| sibling.value.clone());
    let mut writes = table.writes(line.as_bytes(), &visible)?;
    match (writes.pop(), writes.is_empty()) {
        (Some(Write { row, value: Some(value) }), true) if row == *key => Ok(value),
        _ => Err(Error::invalid(doing(table, key)?, "the row that was given has another key; leave its key out")),
    }
}

#[cfg(test)]
mod tests;
