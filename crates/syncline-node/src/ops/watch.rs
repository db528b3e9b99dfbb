//! `watch`: what is written to live tables, one transaction after another, as lines of JSON.
//!
//! A transaction is a line for each row that it wrote and one line that ends it, which has the position to go on from. Whoever
//! stops in between and goes on from the position before is given the whole transaction again.
//!
//! Transactions that are not known one by one, because the node has given them up or got another node's rows in their place, come as one
//! that is marked `caught_up`: its lines are marked `state`. When the node knows the rows from before they are the difference, and it ends
//! with `commit`; else they are all rows of the tables that its end names, and it ends with `snapshot`.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use syncline_sync::live::{Coverage, Entry, Frozen, Row, RowKey, Scope as _, Write};

use super::live::Bounds;
use crate::live::definition::Definition;
use crate::live::engine::{Cursor, sound};
use crate::live::scopes::Named;
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
/// Transactions of so many bytes are little.
const LITTLE: usize = 64 << 10;

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
    /// What is asked of the rows that are here when it begins.
    #[serde(flatten)]
    pub bounds: Bounds,
}

/// A row that was written.
#[derive(Debug, Serialize)]
struct Change<'a> {
    op: &'static str,
    table: &'a str,
    key: Cells,
    #[serde(skip_serializing_if = "Option::is_none")]
    row: Option<Cells>,
    /// It is what has come of transactions that are not known one by one.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    state: bool,
}

/// The end of a transaction, or of the rows that were there at the beginning.
#[derive(Debug, Default, Serialize)]
struct End<'a> {
    op: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    transaction: Option<String>,
    position: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    time_ms: Option<u64>,
    changes: u64,
    /// It stands for transactions that are not known one by one.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    caught_up: bool,
    /// What was given is all rows of these tables: others are not there any more.
    #[serde(skip_serializing_if = "Option::is_none")]
    tables: Option<Vec<String>>,
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
/// As [`Follower::open`] and [`Follower::go_on`].
pub fn run(replica: &Replica, request: &Request, out: &mut dyn FnMut(Vec<u8>) -> Result<bool>) -> Result<()> {
    let (mut follower, mut more) = (Follower::open(replica, request)?, true);
    let patience = if request.once { Duration::ZERO } else { PATIENCE };
    while more {
        more = match follower.go_on(patience, out)? {
            Went::On => true,
            Went::Nowhere if request.once => false,
            // An empty piece finds out whether somebody still reads.
            Went::Nowhere => out(Vec::new())?,
            Went::Away => false,
        };
    }
    Ok(())
}

/// How a step of a [`Follower`] went.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Went {
    /// Something was given, or will be by the next step.
    On,
    /// There was nothing.
    Nowhere,
    /// Nobody reads any more.
    Away,
}

/// What a [`Follower`] has at once.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Ready {
    /// Whole lines: none, when nothing that is wanted was among what came. There may be more.
    Lines(Vec<u8>),
    /// Nothing new.
    Nothing,
    /// More than can be given quickly: [`Follower::go_on`] does.
    Much,
}

/// Somebody who follows what is written.
#[derive(Debug)]
pub struct Follower {
    engine: Engine,
    only: Option<String>,
    /// Where it begins, until it has begun.
    from: Option<Begins>,
    cursor: Cursor,
    given: Coverage,
    /// Taken from the engine, and not given yet.
    taken: Vec<Arc<Entry>>,
}

#[derive(Debug)]
enum Begins {
    /// With all rows that are here.
    Start,
    /// With what is written from now on.
    Now,
}

impl Follower {
    /// One at a replica, once what is asked of its rows holds there.
    ///
    /// # Errors
    /// `invalid` when the position is none; `not-found` when there is no such table; `stale` when what was asked of the rows does not come to
    /// hold.
    pub fn open(replica: &Replica, request: &Request) -> Result<Self> {
        let engine = replica.live()?;
        request.bounds.hold(&engine)?;
        if let Some(table) = &request.table {
            engine.table(table)?;
        }
        let (from, given) = match request.from.as_deref() {
            Some(START) => (Some(Begins::Start), Coverage::new()),
            Some(position) => (None, token::parse_wait(position)?.seen),
            None => (Some(Begins::Now), Coverage::new()),
        };
        let (only, cursor) = (request.table.clone(), Cursor::new(given.clone()));
        Ok(Self { engine, only, from, cursor, given, taken: Vec::new() })
    }

    /// What it follows.
    #[must_use]
    pub const fn engine(&self) -> &Engine {
        &self.engine
    }

    /// Gives what is there to `out`, or what comes first within `patience`.
    ///
    /// # Errors
    /// Those of reading rows, and of `out`.
    pub fn go_on(&mut self, patience: Duration, out: &mut dyn FnMut(Vec<u8>) -> Result<bool>) -> Result<Went> {
        let mut lines = Lines { text: Vec::new(), out, read: true };
        let went = match self.from.take() {
            Some(begins) => self.begin(&begins, &mut lines)?,
            None => self.step(patience, &mut lines)?,
        };
        lines.flush()?;
        Ok(if lines.read { went } else { Went::Away })
    }

    /// What is there, if that is little: without waiting, and without keeping who asks for long.
    ///
    /// # Errors
    /// Those of reading rows.
    pub fn ready(&mut self) -> Result<Ready> {
        if self.from.is_some() || !self.taken.is_empty() {
            return Ok(Ready::Much);
        }
        match self.engine.entries_after(&mut self.cursor, BATCH, Duration::ZERO)? {
            None => return Ok(Ready::Much),
            Some(entries) if entries.is_empty() => return Ok(Ready::Nothing),
            Some(entries) => self.taken = entries,
        }
        if self.taken.iter().map(|entry| entry.txn.bytes().len()).sum::<usize>() > LITTLE {
            return Ok(Ready::Much);
        }
        let mut all = Vec::new();
        let mut out = |piece: Vec<u8>| {
            all.extend(piece);
            Ok(true)
        };
        let mut lines = Lines { text: Vec::new(), out: &mut out, read: true };
        self.give(&mut lines)?;
        lines.flush()?;
        Ok(Ready::Lines(all))
    }

    fn begin(&mut self, begins: &Begins, lines: &mut Lines<'_>) -> Result<Went> {
        self.given = match begins {
            Begins::Start => self.all(&self.engine.frozen()?, false, lines)?,
            Begins::Now => {
                let coverage = self.engine.read(|node| node.state().coverage().clone())?;
                let position = token::of_coverage(&coverage);
                lines.push(&End { op: "begin", position: &position, ..End::default() })?;
                coverage
            }
        };
        self.cursor = Cursor::new(self.given.clone());
        Ok(Went::On)
    }

    fn step(&mut self, patience: Duration, lines: &mut Lines<'_>) -> Result<Went> {
        if self.taken.is_empty() {
            match self.engine.entries_after(&mut self.cursor, BATCH, patience)? {
                Some(entries) if entries.is_empty() => return Ok(Went::Nowhere),
                Some(entries) => self.taken = entries,
                None => {
                    // Transactions that are not kept, or came as another node's rows: what has come of them.
                    self.given = self.catch_up(&self.given, lines)?;
                    self.cursor = Cursor::new(self.given.clone());
                    return Ok(Went::On);
                }
            }
        }
        self.give(lines)?;
        Ok(Went::On)
    }

    /// Gives what was taken.
    fn give(&mut self, lines: &mut Lines<'_>) -> Result<()> {
        for entry in std::mem::take(&mut self.taken) {
            let known = self.given.has(entry.stamp);
            self.given.raise(entry.stamp.hub, entry.stamp.n);
            if !known {
                self.transaction(&entry, lines)?;
            }
        }
        Ok(())
    }

    fn wants(&self, table: &str) -> bool {
        !table.starts_with('.') && self.only.as_deref().is_none_or(|only| only == table)
    }

    fn change(&self, write: &Write, lines: &mut Lines<'_>) -> Result<()> {
        // What it is now. A row that was written when it was something else is shown as far as that goes.
        let Some(table) = self.engine.find_table(&write.row.table)? else {
            // Nobody knows its columns: its definition was overtaken by something newer, or is not readable here.
            tracing::warn!(table = %write.row.table, "a row of a table that is not known was left out");
            return Ok(());
        };
        let key = table.key_cells(&write.row.key)?;
        let row = write.value.as_ref().map(|value| table.written(&write.row.key, value)).transpose()?;
        let op = if row.is_some() { "set" } else { "delete" };
        lines.push(&Change { op, table: &write.row.table, key, row, state: false })
    }

    fn transaction(&self, entry: &Entry, lines: &mut Lines<'_>) -> Result<()> {
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
        let position = token::of_coverage(&self.given);
        lines.push(&End {
            op: "commit",
            transaction: Some(token::of_dot(&entry.txn.dot())),
            position: &position,
            time_ms: Some(entry.txn.body().hlc.ms()),
            changes,
            ..End::default()
        })
    }

    /// What has become of the rows since `given`, as one transaction: the difference when the rows of then are known, else all rows.
    fn catch_up(&self, given: &Coverage, lines: &mut Lines<'_>) -> Result<Coverage> {
        let (before, now) = self.engine.frozen_since(given)?;
        match before {
            Some(before) => self.difference(&before, &now, lines),
            None => self.all(&now, true, lines),
        }
    }

    /// All rows of a moment, as one transaction. What waits for a hub comes when one has taken it in.
    fn all(&self, now: &Frozen, caught_up: bool, lines: &mut Lines<'_>) -> Result<Coverage> {
        let names: Vec<String> = self.engine.table_names()?.into_iter().filter(|name| self.wants(name)).collect();
        let mut changes = 0;
        for name in &names {
            let table = self.engine.table(name)?;
            for (key, value) in Look::of(&table, now).all() {
                if !lines.read {
                    break;
                }
                set(&table, &table.row(key), &value, caught_up, lines)?;
                changes += 1;
            }
        }
        sound(now.trouble())?;
        let position = token::of_coverage(now.coverage());
        let tables = caught_up.then_some(names);
        lines.push(&End { op: "snapshot", position: &position, changes, caught_up, tables, ..End::default() })?;
        Ok(now.coverage().clone())
    }

    /// What differs between two moments, as one transaction.
    fn difference(&self, before: &Frozen, now: &Frozen, lines: &mut Lines<'_>) -> Result<Coverage> {
        let mut changes = 0;
        for name in self.engine.table_names()? {
            if self.wants(&name) {
                let held = self.engine.held_scope()?;
                changes += difference_of(&*self.engine.table(&name)?, held.as_deref(), (before, now), lines)?;
            }
        }
        sound(before.trouble()).and_then(|()| sound(now.trouble()))?;
        let position = token::of_coverage(now.coverage());
        lines.push(&End { op: "commit", position: &position, changes, caught_up: true, ..End::default() })?;
        Ok(now.coverage().clone())
    }
}

/// What differs in a table between two moments. How many rows.
fn difference_of(
    table: &Definition,
    held: Option<&Named>,
    (before, now): (&Frozen, &Frozen),
    lines: &mut Lines<'_>,
) -> Result<u64> {
    let from = table.row(Bytes::new());
    let of_table = |(key, _): &(RowKey, Arc<Row>)| key.table == from.table;
    let mut old = before.rows_from(&from).take_while(of_table).peekable();
    let mut new = now.rows_from(&from).take_while(of_table).peekable();
    let (was_seen, is_seen) = (Look::of(table, before), Look::of(table, now));
    let mut changes = 0;
    while lines.read {
        let key = match (old.peek(), new.peek()) {
            (Some((a, _)), Some((b, _))) => a.min(b),
            (Some((key, _)), None) | (None, Some((key, _))) => key,
            (None, None) => break,
        }
        .clone();
        let was = old.next_if(|(at, _)| *at == key).map(|(_, row)| row);
        let is = new.next_if(|(at, _)| *at == key).map(|(_, row)| row);
        let same = match (was, &is) {
            // What is seen of a row may depend on others.
            (Some(was), Some(is)) if table.is_by_txn() => {
                let value = |look: &Look<'_>, row| look.seen(&key.key, row).map(|seen| seen.value);
                value(&was_seen, &was) == value(&is_seen, is)
            }
            (Some(was), Some(is)) => was.siblings().iter().map(|s| s.dot).eq(is.siblings().iter().map(|s| s.dot)),
            _ => false,
        };
        if same {
            continue;
        }
        changes += 1;
        match is.and_then(|is| is_seen.seen(&key.key, &is)) {
            Some(seen) => set(table, &key, &seen.value, true, lines)?,
            None => {
                // What is not held any more is not gone for that.
                let op = if held.is_none_or(|held| held.includes(&key)) { "delete" } else { "evict" };
                let key = table.key_cells(&key.key)?;
                lines.push(&Change { op, table: table.name(), key, row: None, state: true })?;
            }
        }
    }
    Ok(changes)
}

/// Gives a row as readers see it.
fn set(table: &Definition, key: &RowKey, value: &[u8], state: bool, lines: &mut Lines<'_>) -> Result<()> {
    let (key, row) = (table.key_cells(&key.key)?, table.to_cells(&key.key, value)?);
    lines.push(&Change { op: "set", table: table.name(), key, row: Some(row), state })
}

#[cfg(test)]
mod tests;
