//! CSV and TSV: records and fields by RFC 4180, with the positions kept.
//!
//! A field is quoted when its first byte is a quote; a quote inside is doubled. A quote inside an unquoted field is
//! plain text. A record ends with LF or CR LF; blank lines are skipped. An unquoted empty field is null, a quoted empty
//! one is the empty string.
//!
//! Own code instead of a library's, because we need three things at once: which fields were quoted (null or empty),
//! the exact line of every record, and to go on after a record that does not fit.

use std::collections::BTreeSet;

use memchr::{memchr, memchr_iter, memchr2, memchr2_iter, memrchr};
use syncline_tree::schema::MAX_COLUMNS;

use super::grid::{Grid, Kind, Record};

/// How fields are separated.
#[derive(Debug, Clone)]
pub(super) struct Dialect {
    pub(super) delimiter: u8,
    /// Unquoted text that is null too.
    pub(super) null: Option<Vec<u8>>,
}

const QUOTE: u8 = b'"';

/// Where the last whole record of the buffer ends (0 when there is none). The buffer begins with a record.
pub(super) fn last_record_end(buffer: &[u8], delimiter: u8) -> usize {
    if memchr(QUOTE, buffer).is_none() {
        return memrchr(b'\n', buffer).map_or(0, |at| at + 1);
    }
    let mut end = 0;
    while let Some(next) = record_end(buffer, end, delimiter) {
        end = next;
    }
    end
}

/// Where the first record ends; in a buffer that ends with the input, the last line end may be missing.
pub(super) fn first_record_end(buffer: &[u8], delimiter: u8, ended: bool) -> Option<usize> {
    record_end(buffer, 0, delimiter).or_else(|| ended.then_some(buffer.len()))
}

pub(super) fn record_end(buffer: &[u8], mut at: usize, delimiter: u8) -> Option<usize> {
    loop {
        if *buffer.get(at)? == QUOTE {
            // A quote that is the buffer's last byte may be the first half of a doubled one.
            at = closing_quote(buffer, at + 1).filter(|quote| quote + 1 < buffer.len())? + 1;
        }
        at += memchr2(delimiter, b'\n', &buffer[at..])? + 1;
        if buffer[at - 1] == b'\n' {
            return Some(at);
        }
    }
}

/// The quote that closes a field whose text begins at `at`.
fn closing_quote(buffer: &[u8], mut at: usize) -> Option<usize> {
    loop {
        at += memchr(QUOTE, buffer.get(at..)?)?;
        if buffer.get(at + 1) != Some(&QUOTE) {
            return Some(at);
        }
        at += 2;
    }
}

/// A record that is not one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Ragged {
    pub(super) record: Record,
    pub(super) reason: String,
}

impl PartialEq for Record {
    fn eq(&self, other: &Self) -> bool {
        (self.line, self.start, self.end) == (other.line, other.start, other.end)
    }
}

impl Eq for Record {}

/// Finds the fields of a block of whole records. Records with another number of fields than the grid's width are
/// returned, not put into the grid.
pub(super) fn split(grid: &mut Grid, dialect: &Dialect, first_line: u64) -> Vec<Ragged> {
    let block = std::mem::take(&mut grid.block);
    let mut ragged = Vec::new();
    let (mut at, mut line) = (0, first_line);
    while at < block.len() {
        if let Some(blank) = blank_line(&block[at..]) {
            at += blank;
            line += 1;
            continue;
        }
        let first_cell = grid.cells();
        let outcome = split_record(grid, &block, at, dialect, grid.width);
        let text_end = trim_line_end(&block, at, outcome.next);
        let record = Record { line, start: at as u32, end: text_end as u32 };
        let fields = outcome.fields;
        let reason = outcome
            .fault
            .map(str::to_owned)
            .or_else(|| (fields != grid.width).then(|| format!("has {}, not {}", count(fields, "field"), grid.width)));
        match reason {
            Some(reason) => {
                grid.truncate(first_cell);
                ragged.push(Ragged { record, reason });
            }
            None => grid.records.push(record),
        }
        line += if outcome.multiline { memchr_iter(b'\n', &block[at..outcome.next]).count() as u64 } else { 1 };
        at = outcome.next;
    }
    grid.block = block;
    ragged
}

pub(super) fn count(number: usize, what: &str) -> String {
    format!("{number} {what}{}", if number == 1 { "" } else { "s" })
}

fn blank_line(rest: &[u8]) -> Option<usize> {
    match rest {
        [b'\n', ..] => Some(1),
        [b'\r', b'\n', ..] => Some(2),
        _ => None,
    }
}

fn trim_line_end(block: &[u8], start: usize, end: usize) -> usize {
    let text = &block[start..end];
    let text = text.strip_suffix(b"\n").unwrap_or(text);
    start + text.strip_suffix(b"\r").unwrap_or(text).len()
}

struct Outcome {
    fields: usize,
    /// Where the next record begins.
    next: usize,
    /// Whether a line end lies inside a quoted field.
    multiline: bool,
    fault: Option<&'static str>,
}

/// Puts the fields of a record into the grid, and counts those that are more than `most`.
fn split_record(grid: &mut Grid, block: &[u8], mut at: usize, dialect: &Dialect, most: usize) -> Outcome {
    let (mut fields, mut multiline, mut fault) = (0, false, None);
    loop {
        let kept = fields < most;
        fields += 1;
        let quoted = block.get(at) == Some(&QUOTE);
        let start = at;
        let close = if quoted { closing_quote(block, at + 1) } else { Some(at) };
        let Some(close) = close else {
            return Outcome {
                fields,
                next: block.len(),
                multiline: true,
                fault: Some("a quote is opened and never closed"),
            };
        };
        let from = if quoted { close + 1 } else { at };
        let stop = memchr2(dialect.delimiter, b'\n', &block[from..]).map_or(block.len(), |found| from + found);
        let ends_record = block.get(stop) != Some(&dialect.delimiter);
        let end = if ends_record { trim_line_end(block, from, stop) } else { stop };
        if quoted {
            multiline |= memchr(b'\n', &block[start..close]).is_some();
            if end != close + 1 {
                fault = Some("has text behind a closing quote");
            }
            if kept {
                push_quoted(grid, block, start + 1, close);
            }
        } else if !kept {
            // It is no record of the grid's; all that is left to say is how many fields it has.
        } else if start == end {
            grid.push_empty(Kind::Null);
        } else if dialect.null.as_deref() == Some(&block[start..end]) {
            grid.push_empty(Kind::NullText);
        } else {
            grid.push_range(start, end, Kind::Text);
        }
        if ends_record {
            return Outcome { fields, next: (stop + 1).min(block.len()), multiline, fault };
        }
        at = stop + 1;
    }
}

fn push_quoted(grid: &mut Grid, block: &[u8], start: usize, end: usize) {
    let text = &block[start..end];
    if memchr(QUOTE, text).is_none() {
        grid.push_range(start, end, Kind::Quoted);
        return;
    }
    let mut plain = Vec::with_capacity(text.len());
    let mut rest = text;
    while let Some(quote) = memchr(QUOTE, rest) {
        plain.extend_from_slice(&rest[..=quote]);
        rest = rest.get(quote + 2..).unwrap_or_default();
    }
    plain.extend_from_slice(rest);
    grid.push_bytes(&plain, Kind::Quoted);
}

/// Refuses more columns than a table can have.
pub(super) fn check_width(fields: usize) -> Result<(), String> {
    if fields <= MAX_COLUMNS {
        return Ok(());
    }
    Err(format!(
        "its first line has {fields} fields, and a table at most {MAX_COLUMNS} columns; is the separator another?"
    ))
}

/// How many fields a record has.
pub(super) fn count_fields(record: &[u8], delimiter: u8) -> usize {
    let mut grid = Grid::new(Vec::new(), 1);
    split_record(&mut grid, record, 0, &Dialect { delimiter, null: None }, 0).fields
}

/// Refuses a first record (without its line end) that has a CR inside which no quotes are around: then lines end with CR
/// alone, and what looks like one record is the whole of the input.
pub(super) fn refuse_bare_cr(record: &[u8]) -> Result<(), String> {
    let mut quoted = false;
    for at in memchr2_iter(QUOTE, b'\r', record) {
        if record[at] == QUOTE {
            quoted = !quoted;
        } else if !quoted {
            let why = "its first line has a carriage return (CR) that no line feed (LF) follows: lines end with LF or CR LF; \
                       convert it first";
            return Err(why.to_owned());
        }
    }
    Ok(())
}

/// A record without its line end.
pub(super) fn without_line_end(record: &[u8]) -> &[u8] {
    &record[..trim_line_end(record, 0, record.len())]
}

/// The fields of a header line.
pub(super) fn header(line: &[u8], delimiter: u8) -> Result<Vec<String>, String> {
    refuse_bare_cr(line)?;
    let dialect = Dialect { delimiter, null: None };
    let mut grid = Grid::new(Vec::new(), 1);
    let outcome = split_record(&mut grid, line, 0, &dialect, MAX_COLUMNS);
    if let Some(fault) = outcome.fault {
        return Err(format!("the header {fault}"));
    }
    check_width(outcome.fields)?;
    grid.block = line.to_vec();
    let names = grid.column(0).enumerate().map(|(i, (_, text))| match text {
        [] => Ok(format!("column_{}", i + 1)),
        _ => String::from_utf8(text.to_vec()).map_err(|_| "the header is not UTF-8".to_owned()),
    });
    let names = names.collect::<Result<Vec<_>, _>>()?;
    let mut known = BTreeSet::new();
    match names.iter().find(|name| !known.insert(*name)) {
        Some(name) => Err(format!("the header has column `{name}` twice")),
        None => Ok(names),
    }
}
