//! NDJSON: one object per line; its keys are columns.
//!
//! A key that a record does not have is `Absent` (an update keeps the old cell), `null` is null. Numbers keep their
//! text, so no digit is lost on the way to a decimal or a 64-bit integer.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt;

use memchr::memchr;
use serde::de::{Deserializer as _, MapAccess, Visitor};
use serde_json::value::RawValue;

use super::csv::Ragged;
use super::grid::{Grid, Kind, Record};

/// What to look for in records.
#[derive(Debug, Clone, Default)]
pub(super) struct Keys {
    names: Vec<String>,
    by_name: BTreeMap<String, usize>,
    /// Columns that keep JSON as it is written.
    raw: Vec<bool>,
    /// Whether keys that are no columns are skipped instead of refused.
    skips_unknown: bool,
    /// The command that adds a column.
    alter: &'static str,
}

impl Keys {
    pub(super) fn new(names: Vec<String>, raw: Vec<bool>, skips_unknown: bool, alter: &'static str) -> Self {
        let by_name = names.iter().cloned().enumerate().map(|(i, name)| (name, i)).collect();
        Self { names, by_name, raw, skips_unknown, alter }
    }

    /// How many columns there are.
    pub(super) fn len(&self) -> usize {
        self.names.len()
    }

    /// Records of one source have their keys in the same order nearly always: try the next one first.
    fn find(&self, name: &str, guess: usize) -> Option<usize> {
        match self.names.get(guess) {
            Some(guessed) if guessed == name => Some(guess),
            _ => self.by_name.get(name).copied(),
        }
    }
}

/// Finds the cells of a block of whole lines. Lines that are no object, or have unknown keys, are returned.
pub(super) fn split(grid: &mut Grid, keys: &Keys, first_line: u64) -> Vec<Ragged> {
    let block = std::mem::take(&mut grid.block);
    let mut ragged = Vec::new();
    let (mut at, mut line) = (0, first_line);
    while at < block.len() {
        let stop = memchr(b'\n', &block[at..]).map_or(block.len(), |found| at + found);
        let text = block[at..stop].trim_ascii();
        let start = at + (block[at..stop].len() - block[at..stop].trim_ascii_start().len());
        let record = Record { line, start: start as u32, end: (start + text.len()) as u32 };
        if !text.is_empty() {
            let first_cell = grid.cells();
            match split_line(grid, text, start, keys) {
                Ok(()) => grid.records.push(record),
                Err(reason) => {
                    grid.truncate(first_cell);
                    ragged.push(Ragged { record, reason });
                }
            }
        }
        at = stop + 1;
        line += 1;
    }
    grid.block = block;
    ragged
}

fn split_line(grid: &mut Grid, text: &[u8], start: usize, keys: &Keys) -> Result<(), String> {
    let text = std::str::from_utf8(text).map_err(|_| "is not UTF-8".to_owned())?;
    let first_cell = grid.cells();
    (0..keys.names.len()).for_each(|_| grid.push_empty(Kind::Absent));
    let mut guess = 0;
    each_member(text, |name, raw| {
        let Some(column) = keys.find(name, guess) else {
            if keys.skips_unknown {
                return Ok(());
            }
            return Err(format!(
                "has the key `{name}`, which is not a column of the table; add it first with `{} --add {name}:TYPE`",
                keys.alter
            ));
        };
        guess = column + 1;
        if !grid.is_absent(first_cell + column) {
            return Err(format!("has the key `{name}` twice"));
        }
        // The raw text is a part of the line, so its address says where.
        let at = start + (raw.as_ptr() as usize - text.as_ptr() as usize);
        push_value(grid, raw, at, keys.raw[column])?;
        grid.move_last_to(first_cell + column);
        Ok(())
    })
}

/// Adds the cell of a value, which is the raw text at `at` in the block; `keep` is whether it keeps JSON as it is.
///
/// # Errors
/// When a text has escapes that cannot be read.
pub(super) fn push_value(grid: &mut Grid, raw: &str, at: usize, keep: bool) -> Result<(), String> {
    let end = at + raw.len();
    match raw.as_bytes() {
        b"null" => grid.push_empty(Kind::Null),
        [b'"', inner @ .., b'"'] if !keep => match memchr(b'\\', inner) {
            None => grid.push_range(at + 1, end - 1, Kind::Text),
            Some(_) => {
                let text: String = serde_json::from_str(raw).map_err(|error| plain(&error))?;
                grid.push_bytes(text.as_bytes(), Kind::Text);
            }
        },
        _ => grid.push_range(at, end, Kind::Json),
    }
    Ok(())
}

/// Calls `f` with each key and raw value of a JSON object.
///
/// # Errors
/// When the text is not one object, or the first error of `f`.
pub(super) fn each_member<'a>(
    text: &'a str,
    mut f: impl FnMut(&str, &'a str) -> Result<(), String>,
) -> Result<(), String> {
    struct Members<'f, F>(&'f mut F, &'f mut Option<String>);
    impl<'a, F: FnMut(&str, &'a str) -> Result<(), String>> Visitor<'a> for Members<'_, F> {
        type Value = ();

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("a JSON object")
        }

        fn visit_map<A: MapAccess<'a>>(self, mut map: A) -> Result<(), A::Error> {
            while let Some(Name(name)) = map.next_key()? {
                let raw: &'a RawValue = map.next_value()?;
                if self.1.is_none() {
                    *self.1 = (self.0)(&name, raw.get()).err();
                }
            }
            Ok(())
        }
    }
    let mut failed = None;
    let mut json = serde_json::Deserializer::from_str(text);
    json.deserialize_map(Members(&mut f, &mut failed)).and_then(|()| json.end()).map_err(|error| plain(&error))?;
    failed.map_or(Ok(()), Err)
}

/// A key, borrowed unless it has escapes.
#[derive(serde::Deserialize)]
struct Name<'a>(#[serde(borrow)] Cow<'a, str>);

/// A JSON error without its position: ours is better.
pub(super) fn plain(error: &serde_json::Error) -> String {
    let text = error.to_string();
    let text = text.split(" at line ").next().unwrap_or_default();
    format!("is not valid JSON: {text} (column {})", error.column())
}
