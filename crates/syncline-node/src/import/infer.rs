//! Types from text: what a column's cells look like, and the narrowest type that keeps all of them as they are.
//!
//! CSV: bool (`true`/`false`), int64, float64, date, timestamp (with `UTC` when all have an offset), else utf8. Numbers
//! with leading zeros or a plus sign are text (postal codes, telephone numbers), and so are integers beyond 64 bits.
//! Integers among floats become floats only when they are exact. NDJSON: the types JSON has (text stays text), arrays
//! of scalars become lists, anything with objects or of mixed kinds keeps its JSON.

use std::collections::BTreeMap;

use syncline_tree::schema::{Field, MAX_COLUMNS, Type, Unit};

use super::grid::{Grid, Kind};
use super::ndjson::each_member;
use super::scalar::{self, Offset};
use super::text::Block;
use super::{Error, Result};

const BOOL: u16 = 1;
const INT: u16 = 1 << 1;
/// Integers that a float64 would change.
const BIG: u16 = 1 << 2;
const FLOAT: u16 = 1 << 3;
/// `NaN` and infinities: floats when there are other numbers.
const SPECIAL: u16 = 1 << 4;
const DATE: u16 = 1 << 5;
const NAIVE: u16 = 1 << 6;
const ZONED: u16 = 1 << 7;
/// Timestamps finer than a microsecond.
const NANOS: u16 = 1 << 8;
const TEXT: u16 = 1 << 9;
const LIST: u16 = 1 << 10;
const OBJECT: u16 = 1 << 11;
/// It was JSON, which says itself what a value is.
const JSON: u16 = 1 << 12;
/// It was text of a table, which leaves that open.
const PLAIN: u16 = 1 << 13;
/// Dates outside of the years that nanoseconds reach.
const FAR: u16 = 1 << 14;
const SOURCES: u16 = JSON | PLAIN;

/// What a column's type was taken from.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) enum Origin {
    /// It is declared, or the table's: a cell is converted where nothing of it is lost.
    #[default]
    Declared,
    /// What the first records look like, which are JSON: no other cell fits than one that would have made it this type.
    Json,
    /// The same of other text, or of that too.
    Text,
}

/// Lists in lists are not looked into any further: no type is deeper.
const MAX_DEPTH: usize = 32;

/// What has been seen of a column.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Guess {
    seen: u16,
    items: Option<Box<Guess>>,
}

impl Guess {
    fn see(&mut self, kind: Kind, text: &[u8]) {
        match kind {
            Kind::Null | Kind::NullText | Kind::Absent => {}
            // An empty quoted field says nothing: many programs quote everything.
            Kind::Quoted if text.is_empty() => {}
            Kind::Text | Kind::Quoted if self.seen & TEXT == 0 => self.seen |= PLAIN | csv_class(text),
            Kind::Text | Kind::Quoted => self.seen |= PLAIN,
            Kind::Json => self.see_json(text, 0),
        }
    }

    fn see_json(&mut self, raw: &[u8], depth: usize) {
        self.seen |= JSON;
        match raw.first() {
            Some(b't' | b'f') => self.seen |= BOOL,
            Some(b'"') => self.seen |= TEXT,
            Some(b'{') => self.seen |= OBJECT,
            Some(b'[') if depth >= MAX_DEPTH => self.seen |= OBJECT,
            Some(b'[') => {
                self.seen |= LIST;
                let items = self.items.get_or_insert_default();
                let parsed: Vec<&serde_json::value::RawValue> = serde_json::from_slice(raw).unwrap_or_default();
                parsed.iter().map(|item| item.get()).filter(|item| *item != "null").for_each(|item| {
                    items.see_json(item.as_bytes(), depth + 1);
                });
            }
            _ => self.seen |= number_class(raw).unwrap_or(TEXT),
        }
    }

    /// Takes in what another part of the input looked like.
    pub(super) fn merge(&mut self, other: &Self) {
        self.seen |= other.seen;
        if let Some(items) = &other.items {
            self.items.get_or_insert_default().merge(items);
        }
    }

    /// The type; utf8 when nothing was seen.
    pub(super) fn ty(&self) -> Type {
        let only = |mask: u16| self.seen & !(mask | SOURCES) == 0;
        let unit = if self.seen & NANOS == 0 { Unit::Us } else { Unit::Ns };
        if self.seen == 0 {
            Type::Utf8
        } else if self.seen & (LIST | OBJECT) != 0 {
            self.nested()
        } else if only(BOOL) {
            Type::Bool
        } else if only(INT | BIG) {
            Type::Int64
        } else if only(INT | FLOAT | SPECIAL) && self.seen & !SOURCES != SPECIAL {
            Type::Float64
        } else if only(DATE | FAR) {
            Type::Date32
        } else if self.seen & (FAR | NANOS) == FAR | NANOS {
            // No unit holds all of them.
            Type::Utf8
        } else if only(DATE | NAIVE | NANOS | FAR) {
            Type::Timestamp { unit, zone: None }
        } else if only(ZONED | NANOS | FAR) {
            Type::Timestamp { unit, zone: Some("UTC".to_owned()) }
        } else if self.seen & SOURCES == JSON && !only(TEXT) {
            // 1 and "1" are not the same.
            Type::Json
        } else {
            Type::Utf8
        }
    }

    fn origin(&self) -> Origin {
        if self.seen & PLAIN == 0 { Origin::Json } else { Origin::Text }
    }

    fn nested(&self) -> Type {
        let item = self.items.as_ref().map(|items| items.ty());
        match item {
            Some(item) if self.seen & !SOURCES == LIST && item != Type::Json => {
                Type::List(Box::new(Field { name: "item".to_owned(), ty: item, nullable: true }))
            }
            _ => Type::Json,
        }
    }
}

fn number_class(text: &[u8]) -> Option<u16> {
    let digits = text.strip_prefix(b"-").unwrap_or(text);
    match digits {
        [b'0', b'0'..=b'9', ..] => return None,
        [b'0'..=b'9', ..] | [b'.', b'0'..=b'9', ..] => {}
        _ => return None,
    }
    if let Some(value) = scalar::int64(text) {
        return Some(if value.unsigned_abs() <= 1 << 53 { INT } else { BIG });
    }
    if digits.iter().all(u8::is_ascii_digit) {
        return None;
    }
    scalar::float64(text).map(|_| FLOAT)
}

/// Why a cell does not fit that would have made its column another type.
pub(super) const NOT_KEPT: &str = "would not be kept as it is written by the type that the first rows have; declare the column's type \
                        with --schema";

/// A cell of a column that is a bool because all that was looked at are `true` and `false`.
///
/// # Errors
/// Why it is none, or would have made the column another type.
pub(super) fn boolean(text: &[u8]) -> Result<bool, &'static str> {
    let value = scalar::boolean(text).ok_or("is not a boolean")?;
    if text.len() == 1 { Err(NOT_KEPT) } else { Ok(value) }
}

/// Whether a bare value of JSON is text to a column, as it is beyond all numbers.
pub(super) fn is_text(raw: &[u8]) -> bool {
    !matches!(raw.first(), Some(b't' | b'f')) && number_class(raw).is_none()
}

/// A cell of a column that is an int64 because all that was looked at are such numbers.
///
/// # Errors
/// Why it is none, or would have made the column text.
pub(super) fn int64(text: &[u8]) -> Result<i64, &'static str> {
    let value = scalar::int64(text).ok_or("is not an int64")?;
    // Signs and zeros come before all other digits.
    match text.first() {
        Some(..=b'0') if number_class(text).is_none() => Err(NOT_KEPT),
        _ => Ok(value),
    }
}

/// A cell of a column that is a float64 because all that was looked at are such numbers.
///
/// # Errors
/// Why it is none, or would have made the column text.
pub(super) fn float64(text: &[u8]) -> Result<f64, &'static str> {
    let value = scalar::float64(text).ok_or("is not a float64")?;
    let digits = text.strip_prefix(b"-").unwrap_or(text);
    // Fifteen digits are exact, however they are written.
    let plain = digits.len() <= 15 && matches!(digits, [b'1'..=b'9', ..] | [b'0', b'.', ..] | [b'0']);
    if plain || csv_class(text) & (INT | FLOAT | SPECIAL) != 0 { Ok(value) } else { Err(NOT_KEPT) }
}

fn csv_class(text: &[u8]) -> u16 {
    let text = text.trim_ascii();
    if let Some(class) = number_class(text) {
        return class;
    }
    if text.eq_ignore_ascii_case(b"true") || text.eq_ignore_ascii_case(b"false") {
        return BOOL;
    }
    if matches!(text, b"NaN" | b"inf" | b"-inf") {
        return SPECIAL;
    }
    if scalar::date32(text).is_some() {
        return DATE | far(text);
    }
    let fine = |unit| scalar::iso_timestamp(text, unit).map(|(_, offset)| offset);
    let (offset, nanos) = match fine(Unit::Us) {
        Some(offset) => (Some(offset), far(text)),
        None => (fine(Unit::Ns), NANOS),
    };
    match offset {
        Some(Offset::Given) => ZONED | nanos,
        Some(Offset::Missing) => NAIVE | nanos,
        None => TEXT,
    }
}

fn far(date: &[u8]) -> u16 {
    if scalar::iso_timestamp(date, Unit::Ns).is_none() { FAR } else { 0 }
}

/// Guesses for columns by name, in the order they were first seen.
#[derive(Debug, Clone, Default)]
pub(super) struct Guesses {
    columns: Vec<(String, Guess)>,
    by_name: BTreeMap<String, usize>,
}

impl Guesses {
    /// What is known of a column; `None` when it would be one more than a table can have.
    fn column(&mut self, name: &str) -> Option<&mut Guess> {
        let at = match self.by_name.get(name) {
            Some(at) => *at,
            None if self.columns.len() == MAX_COLUMNS => return None,
            None => {
                self.columns.push((name.to_owned(), Guess::default()));
                self.by_name.insert(name.to_owned(), self.columns.len() - 1);
                self.columns.len() - 1
            }
        };
        Some(&mut self.columns[at].1)
    }

    /// Takes in what another part of a source looked like.
    ///
    /// # Errors
    /// When there are more columns than a table can have.
    pub(super) fn merge(&mut self, source: &str, other: &Self) -> Result<()> {
        for (name, guess) in &other.columns {
            self.column(name).ok_or_else(|| too_many(source, "its records"))?.merge(guess);
        }
        Ok(())
    }

    /// The columns: all may be null, as no sample can say that none is.
    pub(super) fn fields(&self) -> Vec<(Field, Origin)> {
        let field = |(name, guess): &(String, Guess)| {
            (Field { name: name.clone(), ty: guess.ty(), nullable: true }, guess.origin())
        };
        self.columns.iter().map(field).collect()
    }
}

fn too_many(source: &str, what: &str) -> Error {
    let why = "have more different keys than the 4096 columns that a table can have; a column of type json takes any number of \
               keys";
    Error::source(source, format!("{what} {why}"))
}

/// Looks at a CSV grid with these columns, which are no more than a table can have.
pub(super) fn see_grid(names: &[String], grid: &Grid) -> Guesses {
    let mut guesses = Guesses::default();
    for (column, name) in names.iter().enumerate() {
        let Some(guess) = guesses.column(name) else { break };
        grid.column(column).for_each(|(kind, text)| guess.see(kind, text));
    }
    guesses
}

/// Looks at lines of NDJSON. What is no object is not looked at: it will be a bad row.
///
/// # Errors
/// When there are more keys than a table can have columns.
pub(super) fn see_lines(source: &str, block: &Block) -> Result<Guesses> {
    let mut guesses = Guesses::default();
    for (number, line) in (block.line..).zip(block.bytes.split(|byte| *byte == b'\n')) {
        let Ok(text) = std::str::from_utf8(line.trim_ascii()) else { continue };
        let mut full = false;
        let _ = each_member(text, |name, raw| {
            match guesses.column(name) {
                Some(guess) if raw != "null" => guess.see_json(raw.as_bytes(), 0),
                guess => full |= guess.is_none(),
            }
            Ok(())
        });
        if full {
            return Err(too_many(source, &format!("the records up to line {number}")));
        }
    }
    Ok(guesses)
}
