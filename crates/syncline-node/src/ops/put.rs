//! `put` and `delete`: rows of live tables, and live files, written as one transaction.

use std::cell::RefCell;
use std::io::Read;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use syncline_base::Clock;
use syncline_sync::live::{Context, Node, Row, RowKey, Write};

use super::apply::{self, ReadKey};
use super::strict;
use crate::live::definition::{Definition, Scope, Settings, Writers};
use crate::live::engine::{Committed, Reads};
use crate::live::files::{self, Files, Given};
use crate::live::rows::Base;
use crate::live::rows::quick::Writes;
use crate::live::tables::Look;
use crate::live::{Engine, rows, token};
use crate::replica::Replica;
use crate::{Error, Result};

/// The most bytes of rows that are read for one transaction.
const MAX_INPUT: usize = 64 << 20;

/// What `put` and `delete` are asked for; the rows come as input.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct Request {
    /// The table; none for files alone.
    #[serde(default)]
    pub table: String,
    /// Files that `put` writes in the same transaction.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub files: Vec<Given>,
    /// The key's columns: `put` makes the table when it is not there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key: Option<Vec<String>>,
    /// What the writer had read; else everything that is here.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub read: Option<String>,
    /// Keys of the table that the writer had read beside those that it writes, as text: for strict tables.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub read_keys: Vec<String>,
    /// The transaction's identity, given by the writer: see [`apply::Request::once`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub once: Option<String>,
}

impl Request {
    /// The same for changes of the one table.
    fn as_apply(&self) -> apply::Request {
        let key = |key: &String| ReadKey { table: None, key: Some(key.clone().into()) };
        apply::Request {
            read: self.read.clone(),
            table: Some(self.table.clone()),
            reads: self.read_keys.iter().map(key).collect(),
            once: self.once.clone(),
        }
    }
}

/// What was written.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Report {
    /// The table.
    pub table: String,
    /// The transaction's identity.
    pub transaction: String,
    /// What this replica had once it was durable: whoever waits for that elsewhere sees it. Its writer has not read it.
    pub position: String,
    /// What the writer has read now, who had said what it had read before: that, and this write. Not there when no position can say it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub read: Option<String>,
    /// How many rows it wrote or deleted.
    pub rows: u64,
    /// How many files it wrote or deleted.
    #[serde(default)]
    pub files: u64,
    /// Whether it made the table.
    pub created: bool,
    /// Whether a hub has taken it in; else it waits for one.
    pub taken: bool,
    /// How long it took.
    pub seconds: f64,
}

impl Report {
    /// Of so many rows and files.
    pub(super) fn new(
        table: &str,
        committed: &Committed,
        (rows, files): (usize, usize),
        created: bool,
        seconds: f64,
    ) -> Self {
        Self {
            table: table.to_owned(),
            transaction: token::of_dot(&committed.dot),
            position: token::of_wait(&committed.position),
            read: committed.read.as_ref().map(token::of_context),
            rows: rows as u64,
            files: files as u64,
            created,
            taken: committed.taken,
            seconds,
        }
    }
}

/// How many rows of tables, and how many files, are written.
pub(super) fn counted(writes: &[Write]) -> (usize, usize) {
    let files = writes.iter().filter(|write| &*write.row.table == files::TABLE).count();
    (writes.len() - files, files)
}

/// Sets rows, given as lines of JSON, and files, in one transaction. Without a table no input is read.
///
/// # Errors
/// `invalid` with the line when a row does not fit; `not-found` when there is no such table and no key for a new one, or a content is not
/// here; `conflict` when somebody
/// else is its writer, or the writer has read what is not here yet. Nothing was written then.
pub fn run(replica: &Replica, request: &Request, input: &mut dyn Read) -> Result<Report> {
    let started = replica.clock().monotonic();
    let engine = replica.live()?;
    let mut files = Files::of(request.files.iter().cloned())?;
    if !files.is_empty() {
        files.store(&engine.contents()?, true)?;
    }
    if request.table.is_empty() {
        return files_alone(&engine, replica.clock(), request, &files);
    }
    let text = read_all(input)?;
    let (table, new) = match (engine.find_table(&request.table)?, &request.key) {
        (Some(table), key) => {
            check_key(&table, key.as_deref())?;
            (table, Vec::new())
        }
        (None, Some(_)) if text.trim_ascii().is_empty() => {
            let why = "no row was given, and a new table has the columns of its rows; `syncline table create` makes an empty one";
            return Err(Error::invalid(format!("putting rows into {:?}", request.table), why));
        }
        (None, Some(key)) => {
            super::table::refuse_versioned(replica, &request.table)?;
            let schema = rows::infer(&request.table, &text, key)?;
            let settings = Settings { writers: Writers::One(engine.id()?), ..Settings::default() };
            let table = Definition::create(&request.table, &schema, settings)?;
            let made = table.changes(None);
            (Arc::new(table), made)
        }
        (None, None) => (engine.table(&request.table)?, Vec::new()),
    };
    if is_elsewhere(&engine, &table)? {
        let mut changes = strict::sets(&text)?;
        strict::set_files(&mut changes, &request.files)?;
        return apply::write(&engine, replica.clock(), &request.as_apply(), &changes.into());
    }
    check_writer(&engine, &table)?;
    let created = !new.is_empty();
    let reads = reads(&table, request)?;
    let quick = table.quick_writes(&text);
    let beside = (new, &files);
    let (committed, count) = write(&engine, &table, reads, beside, quick, |existing| table.writes(&text, existing))?;
    let seconds = (replica.clock().monotonic() - started).as_secs_f64();
    Ok(Report::new(&request.table, &committed, (count, files.len()), created, seconds))
}

/// Writes files and no row.
fn files_alone(engine: &Engine, clock: &dyn Clock, request: &Request, files: &Files) -> Result<Report> {
    let started = clock.monotonic();
    let refused = |why: &str| Err(Error::invalid("putting rows and files", why));
    if files.is_empty() {
        return refused("there is neither a table nor a file");
    }
    if request.key.is_some() || !request.read_keys.is_empty() {
        return refused("a key is one of a table, and there is none");
    }
    let at = request.read.as_deref().map(token::parse).transpose()?;
    let reads = Reads { at, once: request.once.clone(), ..Reads::default() };
    let committed = engine.commit_with(reads, |node| files.writes(node))?;
    let seconds = (clock.monotonic() - started).as_secs_f64();
    Ok(Report::new("", &committed, (0, files.len()), false, seconds))
}

/// Deletes rows, given as keys, in one transaction. Rows that are not there are no error.
///
/// # Errors
/// As [`run`].
pub fn delete(replica: &Replica, request: &Request, input: &mut dyn Read) -> Result<Report> {
    let started = replica.clock().monotonic();
    let engine = replica.live()?;
    let text = read_all(input)?;
    let table = engine.table(&request.table)?;
    if is_elsewhere(&engine, &table)? {
        return apply::write(&engine, replica.clock(), &request.as_apply(), &strict::deletes(&text)?.into());
    }
    check_writer(&engine, &table)?;
    let writes = table.deletes(&text)?;
    if writes.is_empty() {
        return Err(Error::invalid(format!("deleting rows of {:?}", request.table), "no key was given"));
    }
    let count = writes.len();
    let committed = engine.commit_with(reads(&table, request)?, |_| Ok(writes.clone()))?;
    let seconds = (replica.clock().monotonic() - started).as_secs_f64();
    Ok(Report::new(&request.table, &committed, (count, 0), false, seconds))
}

/// Commits what `make` makes of the rows that exist, with what is written beside them: a new table, and files. It is asked without anybody waiting for it, and once more with all waiting only if
/// what it looked at has changed meanwhile.
fn write(
    engine: &Engine,
    table: &Definition,
    reads: Reads,
    (new, files): (Vec<Write>, &Files),
    mut quick: Option<Writes>,
    make: impl Fn(rows::Existing<'_>) -> Result<Vec<Write>>,
) -> Result<(Committed, usize)> {
    let read = reads.at.as_ref();
    let commit = |writes: &mut dyn FnMut(&Node) -> Result<Vec<Write>>| {
        let mut count = 0;
        let committed = engine.commit_with(reads.clone(), |node| {
            let made = writes(node)?;
            count = made.len();
            Ok(new.iter().cloned().chain(files.writes(node)?).chain(made).collect())
        })?;
        Ok((committed, count))
    };
    let anew = |node: &Node| make(&|row| base(table, node, row, read));
    if quick.is_some() {
        // All that there is to see is whether it may be written over.
        return commit(&mut |node| match quick.take().filter(|quick| quick.hold(node, false)) {
            Some(quick) => Ok(quick.writes),
            None => anew(node),
        });
    }
    let seen = Seen::default();
    let made = make(&|row| seen.base(engine, table, row, read))?;
    let mut writes = Some(made).filter(|writes| !writes.is_empty());
    if writes.is_none() {
        return Err(Error::invalid(format!("putting rows into table {:?}", table.name()), "no row was given"));
    }
    commit(&mut |node| match writes.take().filter(|_| seen.holds(node, &|_| Some(table))) {
        Some(made) => Ok(made),
        None => anew(node),
    })
}

/// Rows that were looked at while nobody waited.
#[derive(Debug, Default)]
pub(super) struct Seen(RefCell<Vec<(RowKey, Row)>>);

impl Seen {
    /// What a write of a row builds on.
    pub(super) fn base(
        &self,
        engine: &Engine,
        table: &Definition,
        row: &RowKey,
        read: Option<&Context>,
    ) -> Option<Base> {
        let (found, is) = engine.read(|node| (base(table, node, row, read), node.view(row))).ok()?;
        self.0.borrow_mut().push((row.clone(), is));
        found
    }

    /// Whether what a write builds on is the same still. What is seen of a row in conflict may depend on others.
    pub(super) fn holds<'a>(&self, node: &Node, table: &dyn Fn(&RowKey) -> Option<&'a Definition>) -> bool {
        let by_row = |key: &RowKey| table(key).is_some_and(|table| table.settings().scope == Scope::Row);
        let alone = |key: &RowKey, row: &Row| row.siblings().len() < 2 || by_row(key);
        self.0.borrow().iter().all(|(key, was)| alone(key, was) && *node.look(key) == *was)
    }
}

/// What a write of a row builds on whose writer has read so much, or everything that is here.
pub(super) fn base(table: &Definition, node: &Node, row: &RowKey, read: Option<&Context>) -> Option<Base> {
    let view = node.view(row);
    let seen = Look::new(table, node).seen(&row.key, &view)?;
    Some(table.base(view.siblings(), &seen, &|sibling| read.is_none_or(|read| node.has_read(read, sibling))))
}

/// What the writer has read.
fn reads(table: &Definition, request: &Request) -> Result<Reads> {
    let at = request.read.as_deref().map(token::parse).transpose()?;
    let rows = request.read_keys.iter().map(|key| table.key_of(key)).collect::<Result<_>>()?;
    if let Some(once) = &request.once {
        strict::check_once(once)?;
    }
    Ok(Reads { at, rows, tables: Vec::new(), once: request.once.clone() })
}

/// Whether another replica certifies what is written to a table.
fn is_elsewhere(engine: &Engine, table: &Definition) -> Result<bool> {
    match &table.settings().writers {
        Writers::Strict(certifier) => Ok(*certifier != engine.id()?),
        Writers::Many | Writers::One(_) => Ok(false),
    }
}

/// A table has the key that it was made with.
fn check_key(table: &Definition, key: Option<&[String]>) -> Result<()> {
    let schema = table.schema();
    let is: Vec<&str> = schema.key_positions().into_iter().map(|at| &schema.columns[at].name[..]).collect();
    match key {
        Some(key) if key != is => {
            let why = format!("its key is {}; leave --key out, or name that", is.join(","));
            Err(Error::invalid(format!("putting rows into table {:?} by {}", table.name(), key.join(",")), why))
        }
        _ => Ok(()),
    }
}

/// Somebody else's table is not written to here.
pub(super) fn check_writer(engine: &Engine, table: &Definition) -> Result<()> {
    match &table.settings().writers {
        Writers::Many => Ok(()),
        Writers::One(owner) | Writers::Strict(owner) if *owner == engine.id()? => Ok(()),
        Writers::Strict(owner) => {
            let why = format!("it is strict, and replica {owner} certifies it: do this there (--on URL)");
            Err(Error::conflict(format!("changing table {:?} here", table.name()), why))
        }
        Writers::One(owner) => {
            let why = format!(
                "replica {owner} alone writes to it; write there (--on URL), or let everybody write with \
                 `syncline table set {} --writers many` there",
                table.name()
            );
            Err(Error::conflict(format!("writing to table {:?} here", table.name()), why))
        }
    }
}

pub(super) fn read_all(input: &mut dyn Read) -> Result<Vec<u8>> {
    let mut text = Vec::new();
    let read = input.take(MAX_INPUT as u64 + 1).read_to_end(&mut text);
    read.map_err(|error| Error::Unavailable { what: "reading the rows".into(), why: error.to_string() })?;
    check_size(text.len())?;
    Ok(text)
}

/// Refuses a transaction of more input than is read for one.
///
/// # Errors
/// `invalid` when it is more.
pub fn check_size(bytes: usize) -> Result<()> {
    if bytes > MAX_INPUT {
        let why = format!("one transaction takes at most {} MiB of input: give it in several", MAX_INPUT >> 20);
        return Err(Error::invalid("reading the rows", why));
    }
    Ok(())
}
