//! Which rows: a condition on the columns of a table's key, as text and as what is kept.
//!
//! The text is a small part of SQL: comparisons, `IN`, `BETWEEN`, `LIKE 'beginning%'`, `AND`, `OR`, `NOT` and parentheses. It is read once, where
//! the scope is made. What is kept compares bytes of encoded keys, whose order is that of values: it has an answer for every key,
//! and the same one everywhere.
//!
//! Owns nothing.

mod parse;

use serde::{Deserialize, Serialize};
use syncline_tree::key::{KeyEncoder, parse_key};
use syncline_tree::schema::{Field, Schema, Type};

use super::super::definition::Definition;
use crate::{Error, Result};
use parse::{Literal, Op};

/// A condition as it is kept.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Condition {
    /// As it was written. Nothing follows from it.
    pub text: String,
    /// How many bytes each column of the key takes, the most significant first; 0 when it ends with two zeros.
    pub key: Vec<u32>,
    /// What has to hold.
    pub test: Test,
}

/// What has to hold of a key. Columns are counted from 0, the most significant first; values are hex.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub enum Test {
    /// The column is this.
    Equal(u32, String),
    /// It comes before.
    Less(u32, String),
    /// It is this or comes before.
    AtMost(u32, String),
    /// It begins with this.
    Begins(u32, String),
    /// It is one of these.
    In(u32, Vec<String>),
    /// All hold.
    All(Vec<Test>),
    /// One holds at least.
    Any(Vec<Test>),
    /// It does not hold.
    Not(Box<Test>),
}

impl Condition {
    /// Whether it holds of a key. Of what is no key of its table it does not.
    #[must_use]
    pub fn holds(&self, key: &[u8]) -> bool {
        split(&self.key, key).is_some_and(|columns| self.test.holds(&columns))
    }
}

impl Test {
    fn holds(&self, columns: &[&[u8]]) -> bool {
        let of = |at: u32| usize::try_from(at).ok().and_then(|at| columns.get(at)).copied().unwrap_or_default();
        match self {
            Self::Equal(at, value) => compare(of(*at), value).is_eq(),
            Self::Less(at, value) => compare(of(*at), value).is_lt(),
            Self::AtMost(at, value) => compare(of(*at), value).is_le(),
            Self::Begins(at, value) => {
                let beginning = of(*at).get(..value.len() / 2);
                beginning.is_some_and(|beginning| compare(beginning, value).is_eq())
            }
            Self::In(at, values) => values.iter().any(|value| compare(of(*at), value).is_eq()),
            Self::All(tests) => tests.iter().all(|test| test.holds(columns)),
            Self::Any(tests) => tests.iter().any(|test| test.holds(columns)),
            Self::Not(test) => !test.holds(columns),
        }
    }
}

/// Compares bytes with hex digits, two lower-case ones for each; the order of both is the same.
fn compare(bytes: &[u8], hex: &str) -> std::cmp::Ordering {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let digits = bytes.iter().flat_map(|byte| [DIGITS[usize::from(byte >> 4)], DIGITS[usize::from(byte & 15)]]);
    digits.cmp(hex.bytes())
}

/// The columns of a key, if it is one.
fn split<'a>(widths: &[u32], mut key: &'a [u8]) -> Option<Vec<&'a [u8]>> {
    let mut columns = Vec::with_capacity(widths.len());
    for width in widths {
        let len = match usize::try_from(*width).ok()? {
            0 => {
                let mut at = 0;
                loop {
                    at += memchr::memchr(0, key.get(at..)?)? + 2;
                    if *key.get(at - 1)? == 0 {
                        break at;
                    }
                }
            }
            width => width,
        };
        let (column, rest) = key.split_at_checked(len)?;
        columns.push(column);
        key = rest;
    }
    key.is_empty().then_some(columns)
}

/// Takes a condition on a table's key.
///
/// # Errors
/// `invalid` when it is none, or names a column that is not of the key, or a value that the column cannot have.
pub(super) fn compile(table: &Definition, text: &str) -> Result<Condition> {
    let failed =
        |why: String| Error::invalid(format!("taking the condition {text:?} on table {:?}", table.name()), why);
    let parsed = parse::parse(text).map_err(failed)?;
    let schema = table.schema();
    let keys: Vec<_> = schema.key_positions().into_iter().map(|at| schema.columns[at].clone()).collect();
    let arrow = KeyEncoder::new(schema)?;
    let width = |field: &arrow_schema::Field| match field.data_type() {
        arrow_schema::DataType::Boolean => 1,
        arrow_schema::DataType::FixedSizeBinary(width) => u32::try_from(*width).unwrap_or_default(),
        other => other.primitive_width().and_then(|width| u32::try_from(width).ok()).unwrap_or_default(),
    };
    let key: Vec<u32> = arrow.arrow().fields().iter().map(|field| width(field)).collect();
    let column = |name: &str| {
        let names = || keys.iter().map(|column| column.name.as_str()).collect::<Vec<_>>().join(", ");
        let at = keys.iter().position(|column| column.name == name);
        at.ok_or_else(|| {
            failed(format!(
                "`{name}` is not a column of the key, which is {}: what is in a scope is decided by the key alone, which never changes",
                names()
            ))
        })
    };
    let value = |at: usize, literal: &Literal| -> Result<Vec<u8>> {
        let ty = &keys[at].ty;
        // As text a key has signs of its own, which a value here has not.
        if *ty == Type::Utf8 {
            let bytes = literal.text.bytes().flat_map(|byte| if byte == 0 { vec![0, 0xff] } else { vec![byte] });
            return Ok(bytes.chain([0, 0]).collect());
        }
        let one = Schema::new(vec![Field::new(&keys[at].name, ty.clone(), false)], &[&keys[at].name])?;
        let shown = &literal.text;
        parse_key(&one, shown).map_err(|error| failed(format!("{shown:?} is no value of `{}`: {error}", keys[at].name)))
    };
    let test = build(&parsed, &column, &value, &|at| keys[at].ty == Type::Utf8, &failed)?;
    Ok(Condition { text: text.to_owned(), key, test })
}

/// How names and values are taken.
type Column<'a> = &'a dyn Fn(&str) -> Result<usize>;
type Value<'a> = &'a dyn Fn(usize, &Literal) -> Result<Vec<u8>>;

fn build(
    parsed: &parse::Parsed,
    column: Column<'_>,
    value: Value<'_>,
    is_text: &dyn Fn(usize) -> bool,
    failed: &dyn Fn(String) -> Error,
) -> Result<Test> {
    let all = |parts: &[parse::Parsed]| {
        parts.iter().map(|part| build(part, column, value, is_text, failed)).collect::<Result<Vec<_>>>()
    };
    let place = |at: usize| u32::try_from(at).expect("a key has few columns");
    Ok(match parsed {
        parse::Parsed::All(parts) => Test::All(all(parts)?),
        parse::Parsed::Any(parts) => Test::Any(all(parts)?),
        parse::Parsed::Not(part) => Test::Not(Box::new(build(part, column, value, is_text, failed)?)),
        parse::Parsed::Compare(name, op, literal) => {
            let at = column(name)?;
            let (place, value) = (place(at), hex(&value(at, literal)?));
            let not = |test| Test::Not(Box::new(test));
            match op {
                Op::Equal => Test::Equal(place, value),
                Op::NotEqual => not(Test::Equal(place, value)),
                Op::Less => Test::Less(place, value),
                Op::AtMost => Test::AtMost(place, value),
                Op::More => not(Test::AtMost(place, value)),
                Op::AtLeast => not(Test::Less(place, value)),
            }
        }
        parse::Parsed::In(name, literals) => {
            let at = column(name)?;
            let values = literals.iter().map(|literal| Ok(hex(&value(at, literal)?))).collect::<Result<Vec<_>>>()?;
            Test::In(place(at), values)
        }
        parse::Parsed::Like(name, beginning) => {
            let at = column(name)?;
            if !is_text(at) {
                return Err(failed(format!("LIKE is for text, and `{name}` is none")));
            }
            let mut bytes = value(at, beginning)?;
            // Without its end.
            bytes.truncate(bytes.len().saturating_sub(2));
            Test::Begins(place(at), hex(&bytes))
        }
    })
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
