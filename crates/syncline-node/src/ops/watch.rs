//! `watch`: what is written to live tables, one transaction after another, as lines of JSON.
//!
//! A transaction is a line for each row that it wrote and one line that ends it, which has the position to go on from. Whoever
//! stops in between and goes on from the position before is given the whole transaction again.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use syncline_sync::live::{Coverage, Entry, RowKey, Write};

use crate::live::definition::Definition;
use crate::live::engine::Cursor;
use crate::live::tables::Look;
use crate::live::{Engine, token};
use crate::replica::Replica;
use crate::rows::Cells;
use crate::{Error, Result};

/// How often is looked whether the reader is still there.
const PATIENCE: Duration = Duration::from_secs(5);
/// Transactions that are taken in one go.
const BATCH: usize = 256;
/// So many bytes of lines go out at once.
const LINES: usize = 256 << 10;

/// Where to begin.
const START: &str = "start";

/// What `watch` is asked for.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct Request {
    /// Only this table.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub table: Option<String>,
    /// A position to go on from; `start` for all rows that are here and then what is written; `None` for what is written from now on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub from: Option<String>,
    /// End when everything that is here has been given.
    #[serde(default)]
    pub once: bool,
}

/// A row that was written.
#[derive(Debug, Serialize)]
struct Change<'a> {
    op: &'static str,
    table: &'a str,
    key: Cells,
    #[serde(skip_serializing_if = "Option::is_none")]
    row: Option<Cells>,
}

/// The end of a transaction, or of the rows that were there at the beginning.
#[derive(Debug, Serialize)]
struct End<'a> {
    op: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    transaction: Option<String>,
    position: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    time_ms: Option<u64>,
    changes: u64,
}

/// Lines that wait to go out.
struct Lines<'a> {
    text: Vec<u8>,
    out: &'a mut dyn FnMut(Vec<u8>) -> Result<bool>,
    /// Whether somebody still reads.
    read: bool,
}

impl Lines<'_> {
    fn push(&mut self, line: &impl Serialize) -> Result<()> {
        serde_json::to_writer(&mut self.text, line)
            .map_err(|error| Error::invalid("writing a change as JSON", error.to_string()))?;
        self.text.push(b'\n');
        if self.text.len() >= LINES { self.flush() } else { Ok(()) }
    }

    fn flush(&mut self) -> Result<()> {
        if !self.text.is_empty() && self.read {
            self.read = (self.out)(std::mem::take(&mut self.text))?;
        }
        Ok(())
    }
}

/// Gives what is written, in whole lines, to `out`, until that says that nobody reads any more.
///
/// # Errors
/// `invalid` when the position is none; `not-found` when what was written after it is not kept any more, or there is no such table; those of
/// `out`.
pub fn run(replica: &Replica, request: &Request, out: &mut dyn FnMut(Vec<u8>) -> Result<bool>) -> Result<()> {
    let engine = replica.live()?;
    if let Some(table) = &request.table {
        engine.table(table)?;
    }
    let mut lines = Lines { text: Vec::new(), out, read: true };
    let mut watch = Watch { engine: &engine, only: request.table.as_deref(), tables: BTreeMap::new() };
    let coverage = match request.from.as_deref() {
        Some(START) => watch.snapshot(&mut lines)?,
        Some(position) => token::parse(position)?.seen,
        None => {
            let coverage = engine.read(|node| node.state().coverage().clone())?;
            let position = token::of_coverage(&coverage);
            lines.push(&End { op: "begin", transaction: None, position: &position, time_ms: None, changes: 0 })?;
            coverage
        }
    };
    let mut cursor = Cursor::new(coverage.clone());
    let mut given = coverage;
    loop {
        lines.flush()?;
        if !lines.read {
            return Ok(());
        }
        let patience = if request.once { Duration::ZERO } else { PATIENCE };
        let Some(entries) = engine.entries_after(&mut cursor, BATCH, patience)? else {
            let why = "what was written after it is not kept here any more; begin with --from start";
            return Err(Error::not_found(format!("position {}", token::of_coverage(&given)), why));
        };
        if entries.is_empty() {
            if request.once {
                return Ok(());
            }
            // An empty piece finds out whether somebody still reads.
            lines.read = (lines.out)(Vec::new())?;
        }
        for entry in entries {
            let known = given.has(entry.stamp);
            given.raise(entry.stamp.hub, entry.stamp.n);
            if !known {
                watch.transaction(&entry, &given, &mut lines)?;
            }
        }
    }
}

struct Watch<'a> {
    engine: &'a Engine,
    only: Option<&'a str>,
    /// As they were last read.
    tables: BTreeMap<String, Option<Arc<Definition>>>,
}

impl Watch<'_> {
    fn wants(&self, table: &str) -> bool {
        !table.starts_with('.') && self.only.is_none_or(|only| only == table)
    }

    /// What a table is now. A row that was written when it was something else is shown as far as that goes.
    fn table(&mut self, name: &str) -> Result<Option<Arc<Definition>>> {
        let found = self.engine.find_table(name)?;
        self.tables.insert(name.to_owned(), found.clone());
        Ok(found)
    }

    fn change(&mut self, write: &Write, lines: &mut Lines<'_>) -> Result<()> {
        let Some(table) = self.table(&write.row.table)? else {
            // Nobody knows its columns: its definition was overtaken by something newer, or is not readable here.
            tracing::warn!(table = %write.row.table, "a row of a table that is not known was left out");
            return Ok(());
        };
        let key = table.key_cells(&write.row.key)?;
        let row = write.value.as_ref().map(|value| table.written(&write.row.key, value)).transpose()?;
        let op = if row.is_some() { "set" } else { "delete" };
        lines.push(&Change { op, table: &write.row.table, key, row })
    }

    fn transaction(&mut self, entry: &Entry, given: &Coverage, lines: &mut Lines<'_>) -> Result<()> {
        let mut changes = 0;
        for write in &entry.txn.body().writes {
            if self.wants(&write.row.table) {
                self.change(write, lines)?;
                changes += 1;
            }
        }
        // Nothing that is wanted: the position of the next one says that this is over, too.
        if changes == 0 {
            return Ok(());
        }
        let position = token::of_coverage(given);
        lines.push(&End {
            op: "commit",
            transaction: Some(token::of_dot(&entry.txn.dot())),
            position: &position,
            time_ms: Some(entry.txn.body().hlc.ms()),
            changes,
        })
    }

    /// All rows that are here, as one transaction.
    fn snapshot(&mut self, lines: &mut Lines<'_>) -> Result<Coverage> {
        let names: Vec<String> = self.engine.table_names()?.into_iter().filter(|name| self.wants(name)).collect();
        let definitions = names.iter().map(|name| self.engine.table(name)).collect::<Result<Vec<_>>>()?;
        // One moment for all tables; what waits for a hub comes when one has taken it in.
        let (rows, coverage) = self.engine.read(|node| {
            let mut rows: Vec<(usize, RowKey, Bytes)> = Vec::new();
            for (nth, table) in definitions.iter().enumerate() {
                let all = Look::taken(table, node).all().into_iter();
                rows.extend(all.map(|(key, value)| (nth, table.row(key), value)));
            }
            (rows, node.state().coverage().clone())
        })?;
        for (nth, key, value) in &rows {
            let table = &definitions[*nth];
            let (key, row) = (table.key_cells(&key.key)?, table.to_cells(&key.key, value)?);
            lines.push(&Change { op: "set", table: table.name(), key, row: Some(row) })?;
            if !lines.read {
                break;
            }
        }
        let position = token::of_coverage(&coverage);
        lines.push(&End {
            op: "snapshot",
            transaction: None,
            position: &position,
            time_ms: None,
            changes: rows.len() as u64,
        })?;
        Ok(coverage)
    }
}
