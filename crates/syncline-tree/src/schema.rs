//! What a table's rows are made of: columns with stable ids, types, and the primary key.
//!
//! Format: `docs/format/schema.md`. Owns nothing; a schema is a value.

use arrow_array::RecordBatch;
use arrow_schema::SchemaRef;
use bytes::Bytes;
use serde::{Deserialize, Serialize};

use crate::Result;

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
}

impl Schema {
    /// A schema with ids 0.. in the order given and `leaf_rows` from the types.
    pub fn new(fields: Vec<Field>, key: &[&str]) -> Result<Self> {
        unimplemented!("{fields:?} {key:?}")
    }

    /// Checks everything a decoded schema is checked for.
    pub fn check(&self) -> Result<()> {
        unimplemented!()
    }

    /// Canonical bytes: what the schema's hash is taken of.
    #[must_use]
    pub fn encode(&self) -> Bytes {
        unimplemented!()
    }

    /// Reads canonical bytes; refuses what does not encode to the same bytes again.
    pub fn decode(bytes: &[u8]) -> Result<Self> {
        unimplemented!("{bytes:?}")
    }

    /// The Arrow schema batches of this table have. Cheap enough per batch, but keep it when you can.
    #[must_use]
    pub fn arrow(&self) -> SchemaRef {
        unimplemented!()
    }

    /// The Arrow schema of some columns (positions in `columns`).
    #[must_use]
    pub fn arrow_of(&self, positions: &[usize]) -> SchemaRef {
        unimplemented!("{positions:?}")
    }

    /// The table schema for batches of an Arrow schema.
    pub fn from_arrow(arrow: &arrow_schema::Schema, key: &[String]) -> Result<Self> {
        unimplemented!("{arrow:?} {key:?}")
    }

    /// Brings a batch into this schema: columns by name, casts, missing nullable columns as nulls.
    pub fn conform(&self, batch: &RecordBatch) -> Result<RecordBatch> {
        unimplemented!("{batch:?}")
    }

    /// A column by name.
    #[must_use]
    pub fn column(&self, name: &str) -> Option<&Column> {
        self.columns.iter().find(|column| column.name == name)
    }

    /// Where in `columns` the column with this id is.
    #[must_use]
    pub fn position(&self, id: u32) -> Option<usize> {
        self.columns.binary_search_by_key(&id, |column| column.id).ok()
    }

    /// Positions in `columns` of the key's columns, most significant first.
    #[must_use]
    pub fn key_positions(&self) -> Vec<usize> {
        self.key.iter().filter_map(|id| self.position(*id)).collect()
    }

    /// With one more nullable column at the end. Rewrites no leaf.
    pub fn add_column(&self, name: &str, ty: Type) -> Result<Self> {
        unimplemented!("{name} {ty:?}")
    }

    /// With a column renamed. Rewrites no leaf.
    pub fn rename_column(&self, from: &str, to: &str) -> Result<Self> {
        unimplemented!("{from} {to}")
    }

    /// Without a column (not of the key). Leaves are rewritten with [`crate::patch::drop_columns`].
    pub fn drop_column(&self, name: &str) -> Result<Self> {
        unimplemented!("{name}")
    }

    /// With a column's type widened without loss, or made nullable. Leaves are rewritten when the type changes.
    pub fn widen_column(&self, name: &str, ty: Type, nullable: bool) -> Result<Self> {
        unimplemented!("{name} {ty:?} {nullable}")
    }
}
