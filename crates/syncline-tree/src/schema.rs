//! What a table's rows are made of: columns with stable ids, types, and the primary key.
//!
//! Format: `docs/format/schema.md`. Owns nothing; a schema is a value.
//!
//! Not here: how rows are laid out (`crate::leaf`), how keys are ordered (`crate::key`).

use std::collections::BTreeSet;

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use crate::leaf::MAX_DEPTH;
use crate::{Error, Result};

mod arrow;
mod evolve;
mod identity;
mod name;
mod portable;

pub use portable::portable;

/// The unit of times and timestamps.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Unit {
    /// Seconds.
    S,
    /// Milliseconds.
    Ms,
    /// Microseconds.
    Us,
    /// Nanoseconds.
    Ns,
}

impl Unit {
    /// Whether a time of day in this unit fits 32 bits.
    pub(crate) const fn is_coarse(self) -> bool {
        matches!(self, Self::S | Self::Ms)
    }
}

/// The type of a cell.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[expect(missing_docs, reason = "the names say it")]
pub enum Type {
    Bool,
    Int8,
    Int16,
    Int32,
    Int64,
    UInt8,
    UInt16,
    UInt32,
    UInt64,
    Float16,
    /// The upper half of a float32. In Arrow: `UInt16` with its bits.
    BFloat16,
    Float32,
    Float64,
    Decimal128 {
        precision: u8,
        scale: i8,
    },
    Decimal256 {
        precision: u8,
        scale: i8,
    },
    Utf8,
    Binary,
    /// Days since 1970-01-01.
    Date32,
    /// Time of day. In Arrow: `Time32` for seconds and milliseconds, `Time64` for the finer units.
    Time {
        unit: Unit,
    },
    Timestamp {
        unit: Unit,
        zone: Option<String>,
    },
    /// 16 bytes. In Arrow: `FixedSizeBinary(16)`.
    Uuid,
    /// JSON text, kept as it was written. In Arrow: `Utf8`.
    Json,
    List(Box<Field>),
    #[serde(rename = "fixed_size_list")]
    FixedSizeList(Box<Field>, u32),
    Struct(Vec<Field>),
    /// Sorted as it came; keys are not null.
    Map {
        key: Box<Field>,
        value: Box<Field>,
    },
}

/// A part of a nested type.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Field {
    /// Its name inside the parent.
    pub name: String,
    /// What it holds.
    pub ty: Type,
    /// Whether it may be null.
    pub nullable: bool,
}

/// A column of a table.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Column {
    /// Stable under rename. Columns are kept in ascending order of id.
    pub id: u32,
    /// Unique in the table.
    pub name: String,
    /// What its cells hold.
    pub ty: Type,
    /// Whether a cell may be null.
    pub nullable: bool,
    /// What tells it apart from every other column of the table that there is or was, where its name does not: the name that it was
    /// made under, before it was renamed. See [`Self::origin`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub born: Option<String>,
}

/// Columns, primary key and the mean number of rows in a leaf.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Schema {
    /// In ascending order of id. Batches have their columns in this order.
    pub columns: Vec<Column>,
    /// Ids of the key's columns, most significant first.
    pub key: Vec<u32>,
    /// The mean number of rows in a leaf.
    pub leaf_rows: u32,
    /// The id of the next column that is added, where it is not the largest id plus one: columns with larger ids were
    /// there once, and an id is never given twice.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next_id: Option<u32>,
}

const MAGIC: [u8; 4] = *b"SYSC";
const VERSION: u8 = 1;
/// A schema has at most so many columns.
pub const MAX_COLUMNS: usize = 4096;
const MAX_NAME: usize = 1024;
const LEAF_BYTES: usize = 32 * 1024;
const LEAF_ROWS: std::ops::RangeInclusive<u32> = 16..=8192;

impl Type {
    /// Bytes of a cell, estimated where the type does not fix them. In eighths of a byte for bools' sake.
    fn estimated_bits(&self) -> usize {
        match self {
            Self::Bool => 1,
            Self::Int8 | Self::UInt8 => 8,
            Self::Int16 | Self::UInt16 | Self::Float16 | Self::BFloat16 => 16,
            Self::Int32 | Self::UInt32 | Self::Float32 | Self::Date32 => 32,
            Self::Int64 | Self::UInt64 | Self::Float64 | Self::Timestamp { .. } => 64,
            Self::Time { unit } => {
                if unit.is_coarse() {
                    32
                } else {
                    64
                }
            }
            Self::Decimal128 { .. } | Self::Uuid => 128,
            Self::Decimal256 { .. } => 256,
            Self::Utf8 | Self::Binary | Self::Json => 20 * 8,
            Self::List(_) | Self::Map { .. } => 40 * 8,
            Self::FixedSizeList(item, size) => item.ty.estimated_bits().saturating_mul(*size as usize),
            Self::Struct(fields) => fields.iter().fold(0, |sum, field| field.ty.estimated_bits().saturating_add(sum)),
        }
    }

    /// Whether a key may have a column of this type.
    #[must_use]
    pub const fn can_be_key(&self) -> bool {
        !matches!(
            self,
            Self::Float16
                | Self::BFloat16
                | Self::Float32
                | Self::Float64
                | Self::Json
                | Self::List(_)
                | Self::FixedSizeList(..)
                | Self::Struct(_)
                | Self::Map { .. }
        )
    }

    fn check(&self, depth: usize) -> Result<(), String> {
        if depth >= MAX_DEPTH {
            return Err(format!("it is nested deeper than {MAX_DEPTH}"));
        }
        match self {
            Self::Decimal128 { precision, scale } => check_decimal(*precision, *scale, 38),
            Self::Decimal256 { precision, scale } => check_decimal(*precision, *scale, 76),
            Self::Timestamp { zone: Some(zone), .. } if zone.is_empty() || zone.len() > 64 => {
                Err("its time zone needs 1 to 64 bytes".to_owned())
            }
            Self::List(item) => item.check_part("item", depth),
            Self::FixedSizeList(item, size) => {
                if !(1..=1 << 20).contains(size) {
                    return Err(format!("a fixed list has 1 to {} items, not {size}", 1 << 20));
                }
                item.check_part("item", depth)
            }
            Self::Struct(fields) => {
                if fields.is_empty() {
                    return Err("a struct needs at least one field".to_owned());
                }
                if fields.iter().map(|field| &field.name).collect::<BTreeSet<_>>().len() < fields.len() {
                    return Err("two fields of a struct have the same name".to_owned());
                }
                fields.iter().try_for_each(|field| field.check(depth))
            }
            Self::Map { key, value } => {
                if key.nullable {
                    return Err("a map's keys may not be null".to_owned());
                }
                key.check_part("key", depth)?;
                value.check_part("value", depth)
            }
            _ => Ok(()),
        }
    }
}

impl Field {
    /// A field.
    pub fn new(name: impl Into<String>, ty: Type, nullable: bool) -> Self {
        Self { name: name.into(), ty, nullable }
    }

    /// Parts that have no name of their own have one name: programs disagree about it, and equal data must have equal schemas.
    fn check_part(&self, name: &str, depth: usize) -> Result<(), String> {
        if self.name != name {
            return Err(format!("a part of a list or a map is called {:?} and not {name:?}", self.name));
        }
        self.check(depth)
    }

    fn check(&self, depth: usize) -> Result<(), String> {
        check_name(&self.name)?;
        self.ty.check(depth + 1)
    }
}

fn check_decimal(precision: u8, scale: i8, max: u8) -> Result<(), String> {
    if precision == 0 || precision > max || scale.unsigned_abs() > max || scale > 0 && scale as u8 > precision {
        return Err(format!("a decimal of precision {precision} and scale {scale} does not exist"));
    }
    Ok(())
}

fn check_name(name: &str) -> Result<(), String> {
    if name.is_empty() || name.len() > MAX_NAME {
        return Err(format!("a name needs 1 to {MAX_NAME} bytes, {:?} has {}", short(name), name.len()));
    }
    Ok(())
}

fn short(name: &str) -> String {
    name.chars().take(40).collect()
}

impl Schema {
    /// A schema with ids 0.. in the order given and `leaf_rows` from the types.
    pub fn new(fields: Vec<Field>, key: &[&str]) -> Result<Self> {
        let columns = fields.into_iter().zip(0..).map(|(field, id)| Column {
            id,
            name: field.name,
            ty: field.ty,
            nullable: field.nullable,
            born: None,
        });
        let (columns, leaf_rows) = (columns.collect(), *LEAF_ROWS.start());
        let mut schema = Self { columns, key: Vec::new(), leaf_rows, next_id: None };
        for name in key {
            let column = schema.column(name).ok_or_else(|| schema.no_column(name))?;
            schema.key.push(column.id);
        }
        for id in &schema.key {
            let position = schema.position(*id).expect("the id was just taken from a column");
            schema.columns[position].nullable = false;
        }
        let bits = schema.columns.iter().fold(0_usize, |sum, column| sum.saturating_add(column.ty.estimated_bits()));
        let rows = u32::try_from(LEAF_BYTES * 8 / bits.max(1)).unwrap_or(u32::MAX);
        schema.leaf_rows = rows.clamp(*LEAF_ROWS.start(), *LEAF_ROWS.end());
        schema.check()?;
        Ok(schema)
    }

    /// The same with another mean number of rows in a leaf.
    pub fn with_leaf_rows(mut self, rows: u32) -> Result<Self> {
        self.leaf_rows = rows;
        self.check()?;
        Ok(self)
    }

    /// Checks everything a decoded schema is checked for.
    pub fn check(&self) -> Result<()> {
        self.faults().map_err(|fault| Error::invalid(format!("the schema cannot be used: {fault}")))
    }

    fn faults(&self) -> Result<(), String> {
        if self.columns.is_empty() || self.columns.len() > MAX_COLUMNS {
            return Err(format!("a table has 1 to {MAX_COLUMNS} columns, not {}", self.columns.len()));
        }
        let (mut names, mut origins) = (BTreeSet::new(), BTreeSet::new());
        for (i, column) in self.columns.iter().enumerate() {
            if i > 0 && self.columns[i - 1].id >= column.id {
                return Err(format!("column ids do not ascend at {}", column.id));
            }
            check_name(&column.name)?;
            if !names.insert(&column.name) {
                return Err(format!("two columns are called {:?}", short(&column.name)));
            }
            if let Some(born) = &column.born {
                check_name(born)?;
                if *born == column.name {
                    return Err(format!("column {:?} is said to be renamed and has its first name", short(born)));
                }
            }
            if !origins.insert(column.origin()) {
                return Err(format!("two columns were made as {:?}", short(column.origin())));
            }
            column.ty.check(0).map_err(|fault| format!("column {:?}: {fault}", short(&column.name)))?;
        }
        if self.key.is_empty() {
            return Err("there is no key: name the columns that identify a row".to_owned());
        }
        for (i, id) in self.key.iter().enumerate() {
            let position =
                self.position(*id).ok_or_else(|| format!("the key names column {id}, which is not there"))?;
            let column = &self.columns[position];
            let name = short(&column.name);
            if self.key[..i].contains(id) {
                return Err(format!("column {name:?} is in the key twice"));
            }
            if column.nullable || !column.ty.can_be_key() {
                return Err(format!(
                    "column {name:?} cannot be in the key: a key column is not null and is a bool, an integer, a decimal, utf8, binary, a date, a time, a timestamp or a uuid"
                ));
            }
        }
        if self.next_id.is_some_and(|next| next <= self.after_largest()) {
            return Err(format!("next_id is not larger than {}", self.after_largest()));
        }
        if !LEAF_ROWS.contains(&self.leaf_rows) {
            return Err(format!("leaf_rows is {} to {}, not {}", LEAF_ROWS.start(), LEAF_ROWS.end(), self.leaf_rows));
        }
        Ok(())
    }

    /// Canonical bytes: what the schema's hash is taken of.
    #[must_use]
    pub fn encode(&self) -> Bytes {
        let mut out = MAGIC.to_vec();
        out.push(VERSION);
        serde_json::to_writer(&mut out, self).expect("a schema has string keys only and a Vec takes every byte");
        Bytes::from(out)
    }

    /// Reads canonical bytes; refuses what does not encode to the same bytes again.
    pub fn decode(bytes: &[u8]) -> Result<Self> {
        let wrong =
            |fault: String| Error::corrupt(format!("{} bytes cannot be read as a schema: {fault}", bytes.len()));
        let rest = bytes.strip_prefix(&MAGIC).ok_or_else(|| wrong("they do not start like one".to_owned()))?;
        let json = match rest {
            [VERSION, json @ ..] => json,
            [version, ..] => {
                return Err(wrong(format!("its version is {version}, this program knows {VERSION}: use a newer one")));
            }
            [] => return Err(wrong("there is no version".to_owned())),
        };
        let schema: Self = serde_json::from_slice(json).map_err(|error| wrong(error.to_string()))?;
        schema.faults().map_err(&wrong)?;
        if schema.encode() != bytes {
            return Err(wrong("they are not in canonical form".to_owned()));
        }
        Ok(schema)
    }

    /// The id that the next new column gets: larger than every id that the table has ever had.
    #[must_use]
    pub fn next_id(&self) -> u32 {
        self.next_id.unwrap_or_else(|| self.after_largest())
    }

    /// Notes which id comes next, in the one form that a schema has for it.
    pub(crate) fn set_next_id(&mut self, next: u32) {
        self.next_id = Some(next).filter(|next| *next > self.after_largest());
    }

    fn after_largest(&self) -> u32 {
        self.columns.last().map_or(0, |column| column.id.saturating_add(1))
    }

    /// A column by name.
    #[must_use]
    pub fn column(&self, name: &str) -> Option<&Column> {
        self.columns.iter().find(|column| column.name == name)
    }

    /// Where in `columns` the column with this id is.
    #[must_use]
    pub fn position(&self, id: u32) -> Option<usize> {
        // Most schemas have ids 0.. without gaps.
        if self.columns.get(id as usize).is_some_and(|column| column.id == id) {
            return Some(id as usize);
        }
        self.columns.binary_search_by_key(&id, |column| column.id).ok()
    }

    /// Positions in `columns` of the key's columns, most significant first.
    #[must_use]
    pub fn key_positions(&self) -> Vec<usize> {
        self.key.iter().filter_map(|id| self.position(*id)).collect()
    }

    fn no_column(&self, name: &str) -> Error {
        let names: Vec<_> = self.columns.iter().take(20).map(|column| column.name.as_str()).collect();
        Error::NotFound(format!("there is no column {:?}; there are {}", short(name), names.join(", ")))
    }
}

#[cfg(test)]
mod tests;
