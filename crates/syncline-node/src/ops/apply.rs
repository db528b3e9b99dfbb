//! `apply`: changes as `watch` gives them, written as one transaction.

use std::collections::BTreeMap;
use std::io::Read;
use std::sync::Arc;

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use syncline_sync::live::{Node, RowKey, Write};

use super::put::{self, Report};
use crate::live::definition::Definition;
use crate::live::{tables, token};
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
}

/// One line. What else it has is not looked at.
#[derive(Debug, Deserialize)]
struct Line<'a> {
    op: &'a str,
    #[serde(default)]
    table: Option<String>,
    #[serde(borrow, default)]
    key: Option<&'a RawValue>,
    #[serde(borrow, default)]
    row: Option<&'a RawValue>,
    /// Of the end of a transaction that stands for others: the tables of which it has all rows.
    #[serde(default)]
    caught_up: bool,
    #[serde(default)]
    tables: Vec<String>,
}

/// Whether the end of a transaction says something about its rows: then it belongs to what is applied.
#[must_use]
pub fn is_whole(line: &[u8]) -> bool {
    memchr::memmem::find(line, b"caught_up").is_some()
        && serde_json::from_slice::<Line<'_>>(line).is_ok_and(|line| line.caught_up && line.op == "snapshot")
}

/// Whether a line ends a transaction: for who cuts a stream of changes into transactions.
#[must_use]
pub fn is_end(line: &[u8]) -> bool {
    #[derive(Deserialize)]
    struct Op<'a> {
        op: &'a str,
    }
    // Most lines do not even have the word.
    let words: [&[u8]; 3] = [b"commit", b"snapshot", b"begin"];
    words.iter().any(|word| memchr::memmem::find(line, word).is_some())
        && serde_json::from_slice::<Op<'_>>(line).is_ok_and(|line| matches!(line.op, "commit" | "snapshot" | "begin"))
}

/// Changes of one table and one kind that follow each other.
struct Run {
    table: String,
    sets: bool,
    text: Vec<u8>,
    /// Of the input, in which its lines stand.
    lines: Vec<usize>,
}

/// Writes changes in one transaction. Of several changes of one row the last counts.
///
/// # Errors
/// `invalid` with the line when a change does not fit; `not-found` when there is no such table; `conflict` when somebody else is its
/// writer. Nothing was written then.
pub fn run(replica: &Replica, request: &Request, input: &mut dyn Read) -> Result<Report> {
    let started = replica.clock().monotonic();
    let engine = replica.live()?;
    let text = put::read_all(input)?;
    let read = request.read.as_deref().map(token::parse).transpose()?;
    let (runs, whole) = runs(&text, request.table.as_deref())?;
    let mut known: BTreeMap<String, Arc<Definition>> = BTreeMap::new();
    for name in runs.iter().map(|run| &run.table).chain(&whole) {
        if !known.contains_key(name) {
            let table = engine.table(name)?;
            put::check_writer(&engine, &table)?;
            known.insert(name.clone(), table);
        }
    }
    let mut count = 0;
    let committed = engine.commit_with(read, |node| {
        let mut writes: BTreeMap<RowKey, Write> = BTreeMap::new();
        for run in &runs {
            apply_run(node, &known[&run.table], run, &mut writes)?;
        }
        for name in &whole {
            delete_others(node, &known[name], &mut writes);
        }
        count = writes.len();
        if writes.is_empty() {
            return Err(Error::invalid("applying changes", "there are none"));
        }
        Ok(writes.into_values().collect())
    })?;
    let seconds = (replica.clock().monotonic() - started).as_secs_f64();
    let table = known.keys().cloned().collect::<Vec<_>>().join(",");
    Ok(Report::new(&table, &committed, count, false, seconds))
}

/// Of a table that has been given whole, what was not given is not there any more.
fn delete_others(node: &Node, table: &Definition, writes: &mut BTreeMap<RowKey, Write>) {
    for (key, _) in node.rows_from(&table.row(Bytes::new())) {
        writes.entry(key.clone()).or_insert_with(|| Write { row: key.clone(), value: None });
    }
}

/// Adds what a run writes to what was written before it. All at once; or line by line, when that cannot be: one row may come twice.
fn apply_run(node: &Node, table: &Definition, run: &Run, writes: &mut BTreeMap<RowKey, Write>) -> Result<()> {
    match made(node, table, run.sets, &run.text, writes) {
        Ok(made) => writes.extend(made),
        Err(_) if run.lines.len() > 1 => {
            for (text, line) in run.text.split(|byte| *byte == b'\n').zip(&run.lines) {
                let made = made(node, table, run.sets, text, writes);
                writes.extend(made.map_err(|error| at_line(&run.table, *line, &error))?);
            }
        }
        Err(error) => return Err(at_line(&run.table, run.lines[0], &error)),
    }
    Ok(())
}

fn made(
    node: &Node,
    table: &Definition,
    sets: bool,
    text: &[u8],
    before: &BTreeMap<RowKey, Write>,
) -> Result<Vec<(RowKey, Write)>> {
    // What this transaction wrote before counts as there.
    let existing = |row: &RowKey| match before.get(row) {
        Some(write) => write.value.clone(),
        None => tables::winner(table, &node.view(row)).map(|sibling| sibling.value.clone()),
    };
    let made = if sets { table.writes(text, &existing)? } else { table.deletes(text)? };
    Ok(made.into_iter().map(|write| (write.row.clone(), write)).collect())
}

fn at_line(table: &str, line: usize, error: &Error) -> Error {
    Error::invalid(format!("applying line {line}, a change of table {table:?}"), error.to_string())
}

/// Cuts changes into runs, so that many rows are read at once; and the tables that are given whole.
fn runs(text: &[u8], default: Option<&str>) -> Result<(Vec<Run>, Vec<String>)> {
    let mut runs: Vec<Run> = Vec::new();
    let mut whole = Vec::new();
    for (at, line) in text.split(|byte| *byte == b'\n').enumerate() {
        if line.trim_ascii().is_empty() {
            continue;
        }
        let failed =
            |why: String| Error::invalid(format!("applying line {}", at + 1), format!("{why}; nothing was written"));
        let parsed: Line<'_> = serde_json::from_slice(line).map_err(|error| failed(error.to_string()))?;
        let sets = match parsed.op {
            "set" => true,
            "delete" => false,
            "snapshot" if parsed.caught_up => {
                whole.extend(parsed.tables);
                continue;
            }
            "commit" | "snapshot" | "begin" => continue,
            other => return Err(failed(format!("{other:?} is no change: there are set and delete"))),
        };
        let table = parsed.table.as_deref().or(default);
        let table = table.ok_or_else(|| failed("it names no table, and none was given with --table".into()))?;
        let body = if sets { parsed.row } else { parsed.key.or(parsed.row) };
        let body = body.ok_or_else(|| failed(format!("it has no {}", if sets { "row" } else { "key" })))?;
        // A plain text is a key as people write it.
        let plain = serde_json::from_str::<String>(body.get()).ok();
        let body = plain.as_deref().unwrap_or_else(|| body.get());
        // A line end inside of the text would be taken for the end of a row.
        let body = body.replace(['\n', '\r'], " ");
        match runs.last_mut().filter(|run| run.table == table && run.sets == sets) {
            Some(run) => {
                run.text.push(b'\n');
                run.text.extend_from_slice(body.as_bytes());
                run.lines.push(at + 1);
            }
            None => {
                runs.push(Run { table: table.to_owned(), sets, text: body.as_bytes().to_vec(), lines: vec![at + 1] });
            }
        }
    }
    Ok((runs, whole))
}
