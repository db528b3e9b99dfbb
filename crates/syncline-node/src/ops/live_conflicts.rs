//! `conflicts` of live datasets: rows and files that several have written of whom none had read the other, seen and decided.
//!
//! A row in conflict is no error: readers see the sibling that the table's resolver picks, and the others stay until somebody who has
//! read them all writes the row. To decide is to write it so. A delete beside a write that had not read it leaves no sibling, so
//! that is no conflict. Owns nothing.
//!
//! Not here: conflicts of a merge of versions (`conflicts`), which sibling is picked or what comes of merging them (`crate::live::resolve`).

pub mod files;
mod find;

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use syncline_sync::live::{Context, Dot, Node, Refusal, Row, RowKey, Sibling, Write};

use self::find::Found;
use super::get::{self, Version};
use super::put;
use crate::live::cells::CellId;
use crate::live::definition::Definition;
use crate::live::resolve::Seen;
use crate::live::tables::Look;
use crate::live::{Engine, rows, token};
use crate::replica::Replica;
use crate::rows::Cells;
use crate::{Error, Result};

/// So many of the first characters of a transaction have to be given.
const MIN_PREFIX: usize = 8;

/// What is asked for.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(tag = "do", rename_all = "kebab-case")]
pub enum Request {
    /// How many rows and files are in conflict.
    Count,
    /// The first rows that are, by table and key, and then the first files, by path.
    List {
        /// Of this table only, and no files.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        table: Option<String>,
        /// At most so many.
        limit: usize,
    },
    /// The first files that are, by path.
    ListFiles {
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
    /// One file.
    ShowFile {
        /// Its path.
        file: String,
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
    /// The columns that are in conflict, where columns are each for itself; else the row is.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub columns: Vec<String>,
    /// Its siblings; the visible one first, then the later written before the earlier. Of single columns, what each wrote of them.
    pub siblings: Vec<Version>,
}

/// Rows and files in conflict, as they are here now.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct Report {
    /// How many rows there are, of the tables that were asked for.
    pub open: u64,
    /// How many files there are, if they were asked for.
    #[serde(default)]
    pub open_files: u64,
    /// How many of the rows wait for somebody who decides.
    pub waiting: u64,
    /// How many transactions readers see in some rows and not in others; when rows were asked for.
    #[serde(default)]
    pub torn: u64,
    /// Rows that were asked for, by table and key.
    pub conflicts: Vec<Conflict>,
    /// Files that were asked for, by path.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub files: Vec<files::Conflict>,
    /// Tables with rows in conflict that cannot be shown, and why.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub unreadable: BTreeMap<String, String>,
    /// What somebody has read who has read them: what to decide on.
    pub position: String,
}

/// Says which rows of live tables, and which files, are in conflict.
///
/// # Errors
/// `not-found` when there is no such table, or the row or file that was named is not in conflict; `invalid` when the key is none.
pub fn run(replica: &Replica, request: &Request) -> Result<Report> {
    let Some(engine) = replica.live_if_there()? else {
        return match request {
            Request::List { table: Some(table), .. } | Request::Show { table, .. } => {
                Err(Error::not_found(format!("live table {table:?}"), "there are no live tables here yet"))
            }
            Request::ShowFile { file } => Err(files::not_in_conflict(file, 0)),
            _ => Ok(Report { position: token::of_context(&Context::default()), ..Report::default() }),
        };
    };
    match request {
        Request::Count => both(&engine, 0),
        Request::List { table: None, limit } => both(&engine, *limit),
        Request::List { table, limit } => list(&engine, table.as_deref(), *limit),
        Request::ListFiles { limit } => files::list(&engine, *limit),
        Request::Show { table, key } => show(&engine, table, key),
        Request::ShowFile { file } => files::show(&engine, file),
    }
}

/// Rows, and then files as far as there is room. The position is that of the rows, which are looked at first: what is said of it was there.
fn both(engine: &Engine, limit: usize) -> Result<Report> {
    let rows = list(engine, None, limit)?;
    let Report { open_files, files, .. } = files::list(engine, limit.saturating_sub(rows.conflicts.len()))?;
    Ok(Report { open_files, files, ..rows })
}

/// How many rows are in conflict.
pub(super) fn count(engine: &Engine) -> Result<u64> {
    let tables = find::tables(engine, None)?;
    engine.read(|node| find::in_conflict(node, &tables, None).len() as u64)
}

fn list(engine: &Engine, only: Option<&str>, limit: usize) -> Result<Report> {
    let tables = find::tables(engine, only)?;
    let (found, torn, position) = engine.read(|node| {
        let found = find::in_conflict(node, &tables, only);
        let torn = if limit == 0 { BTreeSet::new() } else { find::torn(node, &tables, &found) };
        (found, torn, token::of_context(&node.context()))
    })?;
    let mut report = Report { open: found.len() as u64, position, torn: torn.len() as u64, ..Report::default() };
    for Found { key, .. } in &found {
        match tables.get(&*key.table) {
            Some(Ok(table)) => report.waiting += u64::from(table.asks()),
            // What another node did to one table does not hide the others.
            Some(Err(error)) => drop(report.unreadable.insert(key.table.to_string(), error.to_string())),
            None => {
                let why = engine.table(&key.table).err().map_or_else(String::new, |error| error.to_string());
                report.unreadable.insert(key.table.to_string(), why);
            }
        }
    }
    for Found { key, row, seen } in found.iter().take(limit) {
        let (Some(Ok(table)), Some(seen)) = (tables.get(&*key.table), seen) else { continue };
        match conflict(table, key, row, seen, &torn) {
            Ok(conflict) => report.conflicts.push(conflict),
            Err(error) => {
                report.unreadable.insert(key.table.to_string(), error.to_string());
            }
        }
    }
    Ok(report)
}

fn show(engine: &Engine, table: &str, key: &str) -> Result<Report> {
    let tables = find::tables(engine, Some(table))?;
    let table = engine.table(table)?;
    let key = table.key_of(key)?;
    let (found, row, torn, position) = engine.read(|node| {
        let mut found = find::in_conflict(node, &tables, Some(table.name()));
        let torn = find::torn(node, &tables, &found);
        found.retain(|found| found.key == key);
        (found.pop(), node.view(&key), torn, token::of_context(&node.context()))
    })?;
    let Some(Found { row, seen: Some(seen), .. }) = found else {
        return Err(not_in_conflict(&table, &key, &row));
    };
    let conflicts = vec![conflict(&table, &key, &row, &seen, &torn)?];
    let torn = conflicts[0].siblings.iter().filter(|version| version.torn).count() as u64;
    let waiting = u64::from(table.asks());
    Ok(Report { open: 1, waiting, torn, conflicts, position, ..Report::default() })
}

fn conflict(table: &Definition, key: &RowKey, row: &Row, seen: &Seen, torn: &BTreeSet<Dot>) -> Result<Conflict> {
    let mut siblings = get::versions(table, &key.key, row, seen);
    let torn: BTreeSet<String> = torn.iter().map(token::of_dot).collect();
    siblings.iter_mut().for_each(|version| version.torn = torn.contains(&version.transaction));
    Ok(Conflict {
        table: table.name().to_owned(),
        key: table.key_text(&key.key)?,
        resolver: table.settings().resolver.to_string(),
        asks: table.asks(),
        columns: table.names_of(&seen.columns).into_iter().map(str::to_owned).collect(),
        siblings,
    })
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
            check_seen(node, &|| doing(&table, &key), row.siblings(), read)?;
        }
        let seen = Look::new(&table, node).seen(&key.key, &row).filter(|seen| seen.conflict);
        let Some(seen) = seen else { return Err(not_in_conflict(&table, &key, &row)) };
        let base = table.base(row.siblings(), &seen, &|_| true).decided();
        let value = match &request.decision {
            Decision::Take(transaction) => Some(taken(&table, &key, &row, &seen, &base, transaction)?),
            Decision::Row(text) => Some(given(&table, &key, &base, text)?),
            Decision::Delete => None,
        };
        Ok(vec![Write { row: key.clone(), value }])
    })?;
    let seconds = (replica.clock().monotonic() - started).as_secs_f64();
    Ok(put::Report::new(&request.table, &committed, (1, 0), false, seconds))
}

fn doing(table: &Definition, key: &RowKey) -> Result<String> {
    Ok(format!("resolving the conflict of row {} of table {:?}", table.key_text(&key.key)?, table.name()))
}

fn not_in_conflict(table: &Definition, key: &RowKey, row: &Row) -> Error {
    let why = match row.siblings() {
        [] => "there is no such row here now; nothing has to be decided",
        [_] => "the row has one value here now; nothing has to be decided",
        _ if row.is_in_conflict() => "all that was written is in the row that readers see; nothing has to be decided",
        _ => "all values that were written are the same; nothing has to be decided",
    };
    match table.key_text(&key.key) {
        Ok(text) => Error::not_found(format!("a conflict of row {text} of table {:?}", table.name()), why),
        Err(error) => error,
    }
}

/// Whether all siblings are among what was seen.
fn check_seen(node: &Node, doing: &dyn Fn() -> Result<String>, siblings: &[Sibling], read: &Context) -> Result<()> {
    if !node.shows(read) {
        return Err(Error::conflict(doing()?, Refusal::Behind.to_string()));
    }
    let new = siblings.iter().filter(|sibling| !node.has_read(read, sibling)).count();
    if new == 0 {
        return Ok(());
    }
    let why = format!(
        "{new} of its {} values came after the position that was given; see them with `syncline conflicts show`, and decide again \
         with the position that it prints",
        siblings.len()
    );
    Err(Error::conflict(doing()?, why))
}

/// Whether a transaction may be the one that is named: in full, or by enough of its beginning.
fn is_meant(full: &str, named: &str) -> bool {
    let rest = full.strip_prefix(named).filter(|_| named.len() >= MIN_PREFIX);
    rest.is_some_and(|rest| rest.is_empty() || rest.starts_with(':') || !named.contains(':'))
}

/// The value that a transaction wrote; of single columns in conflict, with those as it wrote them.
fn taken(
    table: &Definition,
    key: &RowKey,
    row: &Row,
    seen: &Seen,
    base: &rows::Base,
    transaction: &str,
) -> Result<Bytes> {
    let rivals = table.rivals(row.siblings(), seen);
    let named: Vec<(String, &Bytes, Option<&[CellId]>)> = if rivals.is_empty() {
        row.siblings().iter().map(|sibling| (token::of_dot(&sibling.dot), &sibling.value, None)).collect()
    } else {
        rivals.iter().map(|rival| (token::of_dot(&rival.dot), &rival.value, Some(&rival.columns[..]))).collect()
    };
    let fits: Vec<_> = named.iter().filter(|(full, ..)| is_meant(full, transaction)).collect();
    let all = || named.iter().map(|(full, ..)| &full[..]).collect::<Vec<_>>().join("\n  ");
    match fits[..] {
        [(_, value, columns)] => {
            let value = table.take(base, value, *columns);
            let doing = doing(table, key)?;
            value.map_err(|why| Error::invalid(doing, why))
        }
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
fn given(table: &Definition, key: &RowKey, base: &rows::Base, text: &str) -> Result<Bytes> {
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
    let mut writes = table.writes(line.as_bytes(), &|_: &RowKey| Some(base.clone()))?;
    match (writes.pop(), writes.is_empty()) {
        (Some(Write { row, value: Some(value) }), true) if row == *key => Ok(value),
        _ => Err(Error::invalid(doing(table, key)?, "the row that was given has another key; leave its key out")),
    }
}

#[cfg(test)]
mod tests;
