//! `apply`: changes as `watch` gives them, written as one transaction.

pub mod arrow;
mod quick;
mod runs;

use std::collections::{BTreeMap, BTreeSet};
use std::io::Read;
use std::sync::Arc;

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use syncline_base::Clock;
use syncline_sync::live::{Context, Node, RowKey, Write};

use self::runs::Run;
pub use self::runs::is_of_file;
use super::put::{self, Report, Seen};
use super::strict::{Asked, Forward};
pub use super::strict::{ReadKey, is_header};
use crate::live::Engine;
use crate::live::definition::Definition;
use crate::live::engine::{Done, More, Sequence};
use crate::live::files::Files;
use crate::live::rows::quick::Writes;
use crate::live::rows::{Base, Existing};
use crate::live::tables::Version;
use crate::replica::Replica;
use crate::{Error, Result};

/// What `apply` is asked for; the changes come as input.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct Request {
    /// What the writer had read; else everything that is here.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub read: Option<String>,
    /// The table of changes that name none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub table: Option<String>,
    /// What it depends on beside the rows that it writes: for strict tables.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub reads: Vec<ReadKey>,
    /// Its identity, given by the writer: of several transactions on strict tables with one identity the first is written.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub once: Option<String>,
}

/// Whether the end of a transaction says something about its rows: then it belongs to what is applied.
#[must_use]
pub fn is_whole(line: &[u8]) -> bool {
    memchr::memmem::find(line, b"caught_up").is_some()
        && serde_json::from_slice::<runs::Line<'_>>(line).is_ok_and(|line| line.caught_up && line.op == "snapshot")
}

/// Whether a line ends a transaction: for who cuts a stream of changes into transactions.
#[must_use]
pub fn is_end(line: &[u8]) -> bool {
    #[derive(Deserialize)]
    struct Op<'a> {
        op: &'a str,
    }
    // Most lines begin as programs write a change, and most of the others do not even have the word.
    let changes: [&[u8]; 2] = [b"{\"op\":\"set\",", b"{\"op\":\"delete\","];
    if changes.iter().any(|change| line.starts_with(change)) {
        return false;
    }
    let words: [&[u8]; 3] = [b"commit", b"snapshot", b"begin"];
    words.iter().any(|word| memchr::memmem::find(line, word).is_some())
        && serde_json::from_slice::<Op<'_>>(line).is_ok_and(|line| matches!(line.op, "commit" | "snapshot" | "begin"))
}

/// Changes of one transaction, with the tables that they are of.
struct Changes {
    runs: Vec<Run>,
    /// Tables that are given whole.
    whole: Vec<String>,
    files: Files,
    tables: BTreeMap<String, Arc<Definition>>,
}

/// Writes changes in one transaction. Of several changes of one row the last counts.
///
/// # Errors
/// `invalid` with the line when a change does not fit; `not-found` when there is no such table; `conflict` when somebody else is its
/// writer, or the writer of a strict table had not read what is there. Nothing was written then.
pub fn run(replica: &Replica, request: &Request, input: &mut dyn Read) -> Result<Report> {
    let text = Bytes::from(put::read_all(input)?);
    write(&replica.live()?, replica.clock(), request, &text)
}

/// As [`run`], of changes that have been read.
pub(super) fn write(engine: &Engine, clock: &dyn Clock, request: &Request, text: &Bytes) -> Result<Report> {
    let started = clock.monotonic();
    let mut asked = Asked::of(engine, request, text)?;
    let mut work = Work::read(engine, text, &mut asked)?;
    let (reads, mut count) = (asked.reads, (0, 0));
    let committed = match &mut work {
        Work::Elsewhere { forward, rows, .. } => {
            count = *rows;
            forward.run(engine)?
        }
        work => engine.commit_with(reads.clone(), |node| {
            let writes = work.writes(node, reads.at.as_ref())?;
            count = put::counted(&writes);
            Ok(writes)
        })?,
    };
    let seconds = (clock.monotonic() - started).as_secs_f64();
    let table = work.tables().into_iter().collect::<Vec<_>>().join(",");
    Ok(Report::new(&table, &committed, count, false, seconds))
}

/// What became of a transaction that was submitted.
pub enum Submitted {
    /// It was taken.
    Taken,
    /// Another replica certifies it: it is to be taken there, on a thread that may block, once those before it have been told.
    Elsewhere(Turn),
}

/// A transaction of a sequence that another replica certifies.
pub struct Turn {
    forward: Forward,
    sequence: Sequence,
    done: Done,
}

impl Turn {
    /// Has it written there, unless one before it failed, and tells what came of it.
    pub fn run(self, engine: &Engine) {
        let outcome = self.sequence.check().and_then(|()| self.forward.run(engine));
        if outcome.is_err() {
            self.sequence.fail();
        }
        (self.done)(outcome);
    }
}

/// As [`run`], but returns when the transaction has been taken; `done` is called when it is durable. Of a `sequence`, none is written after
/// one that failed.
///
/// # Errors
/// As [`run`]; then `done` is not called.
pub fn submit(
    engine: &Engine,
    sequence: &Sequence,
    request: &Request,
    text: &Bytes,
    (more, done): (More, Done),
) -> Result<Submitted> {
    let mut asked = Asked::of(engine, request, text)?;
    let mut work = match Work::read(engine, text, &mut asked)? {
        Work::Elsewhere { forward, .. } => {
            return Ok(Submitted::Elsewhere(Turn { forward, sequence: sequence.clone(), done }));
        }
        work => work,
    };
    let read = asked.reads.at.clone();
    engine.submit(sequence, asked.reads, move |node| work.writes(node, read.as_ref()), (more, done))?;
    Ok(Submitted::Taken)
}

/// A transaction that was read, and what it writes as of before everybody waits.
enum Work {
    /// Whole rows. They are read once more when something is there that has to be looked at.
    Quick(Quick),
    Looked {
        changes: Changes,
        looked: Option<(Vec<Write>, Seen)>,
    },
    /// Another replica certifies it.
    Elsewhere {
        forward: Forward,
        tables: BTreeSet<String>,
        /// How many rows, and how many files.
        rows: (usize, usize),
    },
}

struct Quick {
    rows: Option<Writes>,
    tables: Vec<Arc<Definition>>,
    /// What tables were like when they were looked up.
    version: (Version, u64),
    text: Bytes,
    default: Option<String>,
}

impl Quick {
    fn writes(&mut self, node: &Node, read: Option<&Context>) -> Result<Vec<Write>> {
        let Self { rows, tables, version: (version, looked_up), text, default } = self;
        let find = |name: &str| tables.iter().find(|table| table.name() == name).cloned();
        let rows = rows.take().or_else(|| quick::read(text, default.as_deref(), &mut { find }));
        if let Some(rows) = rows.filter(|rows| rows.hold(node, version.now() == *looked_up)) {
            return Ok(rows.writes);
        }
        let find =
            |name: &str| find(name).ok_or_else(|| Error::not_found(format!("live table {name:?}"), "it is gone"));
        Changes::read(text, default.as_deref(), &mut { find })?.writes(node, None, read)
    }
}

impl Work {
    fn read(engine: &Engine, text: &Bytes, asked: &mut Asked) -> Result<Self> {
        if let Some(certifier) = asked.header.certifier.clone().filter(|_| !asked.header.via.is_empty())
            && let Some(certifier) = asked.elsewhere(engine)?.filter(|other| *other == certifier)
        {
            // It goes on as it came.
            let forward = asked.forward(engine, certifier, text)?;
            return Ok(Self::Elsewhere { forward, tables: BTreeSet::new(), rows: (0, 0) });
        }
        let default = asked.header.table.clone();
        let mut find = |name: &str| {
            let table = engine.find_table(name).ok()??;
            put::check_writer(engine, &table).ok().map(|()| table)
        };
        let version = engine.tables_version()?;
        let version = (version.clone(), version.now());
        if asked.elsewhere(engine)?.is_none()
            && let Some(rows) = quick::read(text, default.as_deref(), &mut find)
        {
            let text = text.clone();
            return Ok(Self::Quick(Quick { tables: rows.tables.clone(), rows: Some(rows), version, text, default }));
        }
        let mut refused = None;
        let mut changes = Changes::read(text, default.as_deref(), &mut |name| {
            let table = engine.table(name)?;
            // Who certifies the transaction writes to all of its tables.
            if !asked.note(&table)
                && let Err(error) = put::check_writer(engine, &table)
            {
                refused.get_or_insert(error);
            }
            Ok(table)
        })?;
        // Before anything names them. What is here for another replica, which is to write the transaction, goes there as any content does.
        if !changes.files.is_empty() {
            changes.files.store(&engine.contents()?, asked.header.via.is_empty())?;
        }
        if let Some(certifier) = asked.elsewhere(engine)? {
            let forward = asked.forward(engine, certifier, text)?;
            let rows = (changes.runs.iter().map(|run| run.lines.len()).sum(), changes.files.len());
            return Ok(Self::Elsewhere { forward, tables: changes.tables.into_keys().collect(), rows });
        }
        if let Some(error) = refused {
            return Err(error);
        }
        let looked = changes.look(engine, asked.reads.at.as_ref())?;
        Ok(Self::Looked { changes, looked })
    }

    fn tables(&self) -> BTreeSet<&str> {
        match self {
            Self::Quick(quick) => quick.tables.iter().map(|table| table.name()).collect(),
            Self::Looked { changes, .. } => changes.tables.keys().map(|name| &name[..]).collect(),
            Self::Elsewhere { tables, .. } => tables.iter().map(|name| &name[..]).collect(),
        }
    }

    /// What it writes as of that moment. Everybody waits for it.
    fn writes(&mut self, node: &Node, read: Option<&Context>) -> Result<Vec<Write>> {
        match self {
            Self::Looked { changes, looked } => changes.writes(node, looked.take(), read),
            Self::Quick(quick) => quick.writes(node, read),
            Self::Elsewhere { .. } => Err(Error::invalid("writing a transaction", "another replica certifies it")),
        }
    }
}

impl Changes {
    fn read(text: &[u8], default: Option<&str>, find: &mut dyn FnMut(&str) -> Result<Arc<Definition>>) -> Result<Self> {
        let runs::Cut { runs, whole, files } = runs::cut(text, default)?;
        let mut tables: BTreeMap<String, Arc<Definition>> = BTreeMap::new();
        for name in runs.iter().map(|run| &run.table).chain(&whole) {
            if !tables.contains_key(name) {
                tables.insert(name.clone(), find(name)?);
            }
        }
        Ok(Self { runs, whole, files, tables })
    }

    /// What it writes as of now, and what it looked at. Nobody waits for it.
    fn look(&self, engine: &Engine, read: Option<&Context>) -> Result<Option<(Vec<Write>, Seen)>> {
        if !self.whole.is_empty() {
            // All rows of a table would have been looked at.
            return Ok(None);
        }
        let seen = Seen::default();
        let writes = self.make(&|table, row| seen.base(engine, table, row, read), &|_, _| {})?;
        Ok(Some((writes, seen)))
    }

    /// What it writes: as of that moment, when what it looked at is the same still. Everybody waits for it.
    fn writes(&self, node: &Node, looked: Option<(Vec<Write>, Seen)>, read: Option<&Context>) -> Result<Vec<Write>> {
        let table = |row: &RowKey| self.tables.get(&*row.table).map(|table| &**table);
        let mut writes = match looked {
            Some((writes, seen)) if seen.holds(node, &table) => writes,
            _ => self.make(&|table, row| put::base(table, node, row, read), &|table, writes| {
                delete_others(node, table, writes);
            })?,
        };
        writes.extend(self.files.writes(node)?);
        Ok(writes)
    }

    /// `others` deletes of a table that was given whole what was not given.
    fn make(
        &self,
        existing: &dyn Fn(&Definition, &RowKey) -> Option<Base>,
        others: &dyn Fn(&Definition, &mut BTreeMap<RowKey, Write>),
    ) -> Result<Vec<Write>> {
        let mut writes: BTreeMap<RowKey, Write> = BTreeMap::new();
        for run in &self.runs {
            let table = &self.tables[&run.table];
            apply_run(&|row| existing(table, row), table, run, &mut writes)?;
        }
        for name in &self.whole {
            others(&self.tables[name], &mut writes);
        }
        if writes.is_empty() && self.files.is_empty() {
            return Err(Error::invalid("applying changes", "there are none"));
        }
        Ok(writes.into_values().collect())
    }
}

/// Of a table that has been given whole, what was not given is not there any more.
fn delete_others(node: &Node, table: &Definition, writes: &mut BTreeMap<RowKey, Write>) {
    for (key, _) in node.rows_from(&table.row(Bytes::new())) {
        writes.entry(key.clone()).or_insert_with(|| Write { row: key.clone(), value: None });
    }
}

/// Adds what a run writes to what was written before it. All at once; or line by line, when that cannot be: one row may come twice.
fn apply_run(there: Existing<'_>, table: &Definition, run: &Run, writes: &mut BTreeMap<RowKey, Write>) -> Result<()> {
    match made(there, table, run.sets, &run.text, writes) {
        Ok(made) => writes.extend(made),
        Err(_) if run.lines.len() > 1 => {
            for (text, line) in run.text.split(|byte| *byte == b'\n').zip(&run.lines) {
                let made = made(there, table, run.sets, text, writes);
                writes.extend(made.map_err(|error| at_line(&run.table, *line, &error))?);
            }
        }
        Err(error) => return Err(at_line(&run.table, run.lines[0], &error)),
    }
    Ok(())
}

fn made(
    there: Existing<'_>,
    table: &Definition,
    sets: bool,
    text: &[u8],
    before: &BTreeMap<RowKey, Write>,
) -> Result<Vec<(RowKey, Write)>> {
    // What this transaction wrote before counts as there.
    let existing = |row: &RowKey| match before.get(row) {
        Some(write) => {
            write.value.clone().map(|value| table.base_of_own(value.clone()).unwrap_or_else(|_| value.into()))
        }
        None => there(row),
    };
    let made = if sets { table.writes(text, &existing)? } else { table.deletes(text)? };
    Ok(made.into_iter().map(|write| (write.row.clone(), write)).collect())
}

fn at_line(table: &str, line: usize, error: &Error) -> Error {
    Error::invalid(format!("applying line {line}, a change of table {table:?}"), error.to_string())
}
