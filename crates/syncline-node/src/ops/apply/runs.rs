//! A transaction's lines, cut into changes of rows and of files.
//!
//! Owns nothing. Not here: what rows become (`super`), what files do (`crate::live::files`).

use std::borrow::Cow;

use serde::Deserialize;
use serde_json::value::RawValue;

use crate::live::files::{Files, Given};
use crate::{Error, Result};

/// One line. What else it has is not looked at.
#[derive(Debug, Deserialize)]
pub(super) struct Line<'a> {
    pub(super) op: &'a str,
    #[serde(borrow, default)]
    table: Option<Cow<'a, str>>,
    #[serde(borrow, default)]
    key: Option<&'a RawValue>,
    #[serde(borrow, default)]
    row: Option<&'a RawValue>,
    #[serde(borrow, default)]
    file: Option<Cow<'a, str>>,
    /// Of the end of a transaction that stands for others: the tables of which it has all rows.
    #[serde(default)]
    pub(super) caught_up: bool,
    #[serde(default)]
    tables: Vec<String>,
}

/// Changes of one table and one kind that follow each other.
pub(super) struct Run {
    pub(super) table: String,
    pub(super) sets: bool,
    pub(super) text: Vec<u8>,
    /// Of the input, in which its lines stand.
    pub(super) lines: Vec<usize>,
}

/// A transaction's changes.
#[derive(Default)]
pub(super) struct Cut {
    /// Of rows, in runs, so that many are read at once.
    pub(super) runs: Vec<Run>,
    /// The tables that are given whole.
    pub(super) whole: Vec<String>,
    /// Of files.
    pub(super) files: Files,
}

/// Whether a line is a change of a file. Most lines do not even have the word.
#[must_use]
pub fn is_of_file(line: &[u8]) -> bool {
    #[derive(Deserialize)]
    struct Of {
        #[serde(default)]
        file: Option<serde::de::IgnoredAny>,
    }
    memchr::memmem::find(line, b"\"file\"").is_some()
        && serde_json::from_slice::<Of>(line).is_ok_and(|line| line.file.is_some())
}

/// Cuts a transaction into its changes.
///
/// # Errors
/// `invalid` with the line when one is no change.
pub(super) fn cut(text: &[u8], default: Option<&str>) -> Result<Cut> {
    let mut cut = Cut::default();
    for (at, line) in text.split(|byte| *byte == b'\n').enumerate() {
        if line.trim_ascii().is_empty() {
            continue;
        }
        let failed = |why: String| {
            // Some say so themselves.
            let why = why.trim_end_matches("; nothing was written");
            Error::invalid(format!("applying line {}", at + 1), format!("{why}; nothing was written"))
        };
        let parsed: Line<'_> = serde_json::from_slice(line).map_err(|error| failed(error.to_string()))?;
        let sets = match parsed.op {
            "set" => true,
            "delete" => false,
            "snapshot" if parsed.caught_up => {
                cut.whole.extend(parsed.tables);
                continue;
            }
            "commit" | "snapshot" | "begin" => continue,
            other => return Err(failed(format!("{other:?} is no change: there are set and delete"))),
        };
        if let Some(path) = &parsed.file {
            if parsed.table.is_some() || parsed.row.is_some() || parsed.key.is_some() {
                return Err(failed("it names a file and a row: one line is one change".into()));
            }
            file(&mut cut.files, path, sets, line).map_err(|error| failed(error.to_string()))?;
            continue;
        }
        let table = parsed.table.as_deref().or(default);
        let table =
            table.ok_or_else(|| failed("it names no table, and none was given with --table; nor a file".into()))?;
        let body = if sets { parsed.row } else { parsed.key.or(parsed.row) };
        let body = body.ok_or_else(|| failed(format!("it has no {}", if sets { "row" } else { "key" })))?;
        add(&mut cut.runs, table, sets, body.get(), at + 1);
    }
    Ok(cut)
}

fn file(files: &mut Files, path: &str, sets: bool, line: &[u8]) -> Result<()> {
    if !sets {
        return files.delete(path);
    }
    let given: Given = serde_json::from_slice(line)
        .map_err(|error| Error::invalid(format!("writing the file {path:?}"), error.to_string()))?;
    files.set(given)
}

fn add(runs: &mut Vec<Run>, table: &str, sets: bool, body: &str, line: usize) {
    let mut body = Cow::Borrowed(body);
    // A plain text is a key as people write it.
    if body.starts_with('"')
        && let Ok(plain) = serde_json::from_str::<String>(&body)
    {
        body = Cow::Owned(plain);
    }
    // A line end inside of the text would be taken for the end of a row.
    if memchr::memchr2(b'\n', b'\r', body.as_bytes()).is_some() {
        body = Cow::Owned(body.replace(['\n', '\r'], " "));
    }
    match runs.last_mut().filter(|run| run.table == table && run.sets == sets) {
        Some(run) => {
            run.text.push(b'\n');
            run.text.extend_from_slice(body.as_bytes());
            run.lines.push(line);
        }
        None => runs.push(Run { table: table.to_owned(), sets, text: body.as_bytes().to_vec(), lines: vec![line] }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn changes_of_files_are_told_from_rows_that_have_the_word() {
        for line in [r#"{"op":"set","file":"a","text":""}"#, r#"{"file":7}"#, "{\"op\":\"delete\", \"file\" : \"a\"}\n"]
        {
            assert!(is_of_file(line.as_bytes()), "{line}");
        }
        let rows =
            [r#"{"op":"set","table":"t","row":{"file":"a"}}"#, r#""file""#, "", r#"{"file":"#, r#"{"op":"file"}"#];
        assert!(rows.iter().all(|line| !is_of_file(line.as_bytes())));
    }
}
