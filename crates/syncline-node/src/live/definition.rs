//! What a live table is: its columns, its key and what is decided about it; kept as rows of two reserved tables.
//!
//! Format: `docs/format/live-row.md`. There is one row for the table and one for each column that it has or had: two nodes that add
//! different columns at the same time are not in conflict. Owns nothing: a definition is a value, made of the rows that somebody reads.
//!
//! Invariants: the same rows are the same definition, whatever their order; a row's key depends on the types of the key's columns only, and
//! these never change.
//!
//! Not here: steps from one definition to the next (`evolve`), rows of the table itself (`super::rows`), who wins among siblings.

mod evolve;
mod settings;

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;
use std::sync::Arc;

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use syncline_sync::live::{RowKey, Write};
use syncline_tree::dataset::check_table_name;
use syncline_tree::key;
use syncline_tree::record::{self, Record};
use syncline_tree::schema::{Field, Schema, Type};

use super::cells::CellId;
use super::rows::Layout;
use crate::{Error, Result};
pub use settings::{Granularity, Resolver, Scope, Settings, Writers};

/// The reserved table with a row for each table.
pub const TABLES: &str = ".tables";
/// The reserved table with a row for each column.
pub const COLUMNS: &str = ".columns";

/// What may be done with a column.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum State {
    /// It is written and read.
    Live,
    /// The same; whoever still uses it is to stop, for it will be dropped.
    Deprecated,
    /// It is gone. Nothing shows its cells, and a row that is written anew has none of it.
    Dropped,
}

/// A column that a table has or had.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Column {
    /// What tells it from all others of the table that there are or were.
    pub origin: String,
    /// The number of its cells in rows' values.
    pub cell: CellId,
    /// What it is called; unique among those that are not dropped.
    pub name: String,
    /// What it is called in its own row: two of one name may have been made at the same time.
    stored_name: String,
    /// What its cells hold.
    pub ty: Type,
    /// Whether a cell may be null.
    pub nullable: bool,
    /// Where it stands among the others.
    pub ordinal: u32,
    /// What may be done with it.
    pub state: State,
}

impl Column {
    /// Whether it is there.
    #[must_use]
    pub fn is_there(&self) -> bool {
        self.state != State::Dropped
    }
}

/// The value of a row of [`TABLES`]. Version 2 is for tables whose siblings are merged or stand together: who does not know how must not
/// show or write their rows. Version 3 is for tables that are certified: who does not know of that must not write to them.
#[derive(Debug, Serialize, Deserialize)]
struct TableRow<const V: u32> {
    key: Vec<String>,
    writers: WritersWord,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    owner: Option<String>,
    granularity: Granularity,
    scope: Scope,
    resolver: Resolver,
}

#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum WritersWord {
    One,
    Many,
    /// Certified by the owner.
    Strict,
}

impl<const V: u32> Record for TableRow<V> {
    const KIND: &'static str = "live-table";
    const VERSION: u32 = V;
}

impl<const V: u32> TableRow<V> {
    fn read(bytes: &[u8]) -> Result<Self, (bool, String)> {
        read(bytes)
    }
}

impl From<TableRow<1>> for TableRow<2> {
    /// What version 1 has no rules for was read by it as if it were not said.
    fn from(old: TableRow<1>) -> Self {
        let TableRow { key, writers, owner, resolver, .. } = old;
        let resolver = if resolver.is_merge() { Resolver::Ask } else { resolver };
        Self { key, writers, owner, granularity: Granularity::Row, scope: Scope::Row, resolver }
    }
}

impl From<TableRow<2>> for TableRow<3> {
    fn from(old: TableRow<2>) -> Self {
        let TableRow { key, writers, owner, granularity, scope, resolver } = old;
        Self { key, writers, owner, granularity, scope, resolver }
    }
}

/// The value of a row of [`COLUMNS`].
#[derive(Debug, Serialize, Deserialize)]
struct ColumnRow {
    name: String,
    #[serde(rename = "type")]
    ty: Type,
    nullable: bool,
    ordinal: u32,
    state: State,
}

impl Record for ColumnRow {
    const KIND: &'static str = "live-column";
    const VERSION: u32 = 1;
}

/// A live table: what its rows are made of, and what is decided about it.
#[derive(Debug, Clone)]
pub struct Definition {
    name: Arc<str>,
    /// In the order of (ordinal, origin); dropped ones, too.
    columns: Vec<Column>,
    /// Origins, most significant first.
    key: Vec<String>,
    settings: Settings,
    schema: Arc<Schema>,
    layout: Arc<Layout>,
}

/// The row of [`TABLES`] for a table.
#[must_use]
pub fn table_row(name: &str) -> RowKey {
    RowKey { table: TABLES.into(), key: encoded(&[name]) }
}

/// The row of [`COLUMNS`] for a column.
#[must_use]
pub fn column_row(table: &str, origin: &str) -> RowKey {
    RowKey { table: COLUMNS.into(), key: encoded(&[table, origin]) }
}

/// Where the rows of a table's columns lie.
#[must_use]
pub fn column_rows(table: &str) -> Range<RowKey> {
    let start = encoded(&[table]);
    let mut end = start.to_vec();
    // It ends with a zero: one more is behind everything that begins like it.
    if let Some(last) = end.last_mut() {
        *last = 1;
    }
    let row = |key: Bytes| RowKey { table: COLUMNS.into(), key };
    row(start)..row(end.into())
}

/// The table that a row of [`TABLES`] is of.
///
/// # Errors
/// `corrupt` when the key is not that of such a row.
pub fn table_of(key: &[u8]) -> Result<String> {
    match decoded(key).as_deref() {
        Some([name]) => Ok(name.clone()),
        _ => Err(Error::Corrupt {
            what: format!("a row of {TABLES}"),
            why: format!("its key of {} bytes is not the name of a table", key.len()),
        }),
    }
}

/// Texts as a key: `docs/format/key.md`.
fn encoded(parts: &[&str]) -> Bytes {
    let mut out = Vec::with_capacity(parts.iter().map(|part| part.len() + 2).sum());
    for part in parts {
        for byte in part.bytes() {
            out.push(byte);
            if byte == 0 {
                out.push(0xff);
            }
        }
        out.extend_from_slice(&[0, 0]);
    }
    out.into()
}

fn decoded(mut key: &[u8]) -> Option<Vec<String>> {
    let mut parts = Vec::new();
    while !key.is_empty() {
        let mut part = Vec::new();
        loop {
            let zero = memchr::memchr(0, key)?;
            part.extend_from_slice(&key[..zero]);
            let mark = *key.get(zero + 1)?;
            key = &key[zero + 2..];
            match mark {
                0 => break,
                0xff => part.push(0),
                _ => return None,
            }
        }
        parts.push(String::from_utf8(part).ok()?);
    }
    Some(parts)
}

impl Definition {
    /// A new table. `schema` says its columns in their order, and its key.
    ///
    /// # Errors
    /// `invalid` when the name is none for a table, when two columns cannot be told apart, or when the settings do not fit.
    pub fn create(name: &str, schema: &Schema, settings: Settings) -> Result<Self> {
        check_table_name(name)?;
        schema.check()?;
        let column = |(ordinal, column): (u32, &syncline_tree::schema::Column)| Column {
            origin: column.origin().to_owned(),
            cell: CellId::of(column.origin()),
            name: column.name.clone(),
            stored_name: column.name.clone(),
            ty: column.ty.clone(),
            nullable: column.nullable,
            ordinal,
            state: State::Live,
        };
        let columns = (0..).zip(&schema.columns).map(column).collect();
        let key = schema.key_positions().into_iter().map(|at| schema.columns[at].origin().to_owned()).collect();
        let made = Self::of(name, columns, key, Settings::default())?;
        made.check_cells()?;
        made.set(settings)
    }

    /// Reads a table: the value of its row of [`TABLES`], and keys and values of the rows in [`column_rows`]. Of rows with siblings,
    /// those that readers see.
    ///
    /// # Errors
    /// `invalid` when a newer program wrote a part of it, `corrupt` when one cannot be read or they do not fit each other.
    pub fn load<K: AsRef<[u8]>, V: AsRef<[u8]>>(
        name: &str,
        table: &[u8],
        columns: impl IntoIterator<Item = (K, V)>,
    ) -> Result<Self> {
        let corrupt = |why: String| Error::Corrupt { what: format!("the definition of table {name:?}"), why };
        check_table_name(name).map_err(|error| corrupt(error.to_string()))?;
        let row = TableRow::<1>::read(table)
            .map(TableRow::<2>::from)
            .or_else(|(newer, why)| if newer { TableRow::<2>::read(table) } else { Err((newer, why)) })
            .map(TableRow::<3>::from)
            .or_else(|(newer, why)| if newer { TableRow::<3>::read(table) } else { Err((newer, why)) });
        let TableRow { key, writers, owner, granularity, scope, resolver } =
            row.map_err(|(newer, why)| if newer { newer_part(name, "its settings", why) } else { corrupt(why) })?;
        let writers = match (writers, owner) {
            (WritersWord::Many, None) => Writers::Many,
            (WritersWord::One, Some(owner)) => Writers::One(owner),
            (WritersWord::Strict, Some(certifier)) => Writers::Strict(certifier),
            _ => return Err(corrupt("a table has an owner when one writes or certifies, and only then".to_owned())),
        };
        let mut found: BTreeMap<String, Column> = BTreeMap::new();
        for (row, value) in columns {
            let Some([table, origin]) = decoded(row.as_ref()).and_then(|parts| <[String; 2]>::try_from(parts).ok())
            else {
                return Err(corrupt(format!("the key of a row of {COLUMNS} is not a table and a column")));
            };
            if table != name {
                continue;
            }
            let part = || format!("its column {origin:?}");
            let ColumnRow { name: called, ty, nullable, ordinal, state } =
                read(value.as_ref()).map_err(|(newer, why)| {
                    if newer { newer_part(name, &part(), why) } else { corrupt(format!("{}: {why}", part())) }
                })?;
            let (cell, stored_name) = (CellId::of(&origin), called.clone());
            let column =
                Column { origin: origin.clone(), cell, name: called, stored_name, ty, nullable, ordinal, state };
            found.insert(origin, column);
        }
        let mut columns: Vec<Column> = found.into_values().collect();
        columns.sort_by(|a, b| (a.ordinal, &a.origin).cmp(&(b.ordinal, &b.origin)));
        tell_apart(&mut columns);
        for origin in &key {
            let column = columns.iter_mut().find(|column| column.origin == *origin);
            let column = column.ok_or_else(|| corrupt(format!("there is no column {origin:?}, which its key has")))?;
            // Rows are found by it, whatever was written of it.
            (column.state, column.nullable) = (if column.is_there() { column.state } else { State::Live }, false);
        }
        let settings = Settings { writers, granularity, scope, resolver: Resolver::LastWriter };
        let mut made = Self::of(name, columns, key, settings).map_err(|error| corrupt(error.to_string()))?;
        made.settings.resolver = made.by_name(resolver);
        Ok(made)
    }

    /// Puts a definition together of parts that were looked at.
    fn of(name: &str, columns: Vec<Column>, key: Vec<String>, settings: Settings) -> Result<Self> {
        let there: Vec<&Column> = columns.iter().filter(|column| column.is_there()).collect();
        let fields = there.iter().map(|column| Field::new(&column.name, column.ty.clone(), column.nullable));
        let called =
            |origin: &String| there.iter().find(|column| column.origin == *origin).map(|column| &column.name[..]);
        let names: Option<Vec<&str>> = key.iter().map(called).collect();
        let names =
            names.ok_or_else(|| Error::invalid(format!("table {name:?}"), "a column of its key is not there"))?;
        let mut schema = Schema::new(fields.collect(), &names)?;
        for (column, is) in schema.columns.iter_mut().zip(&there) {
            column.born = Some(is.origin.clone()).filter(|origin| *origin != is.name);
        }
        schema.check()?;
        let cells: Vec<CellId> = there.iter().map(|column| column.cell).collect();
        if cells.iter().collect::<BTreeSet<_>>().len() < cells.len() {
            return Err(Error::invalid(format!("table {name:?}"), "two of its columns have the same cells"));
        }
        let layout = Arc::new(Layout::new(&schema, &cells, &columns)?);
        Ok(Self { name: name.into(), columns, key, settings, schema: Arc::new(schema), layout })
    }

    /// Its name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Its columns in their order; dropped ones, too.
    #[must_use]
    pub fn columns(&self) -> &[Column] {
        &self.columns
    }

    /// A column that is there, by name.
    #[must_use]
    pub fn column(&self, name: &str) -> Option<&Column> {
        self.columns.iter().find(|column| column.is_there() && column.name == name)
    }

    /// What is decided about it.
    #[must_use]
    pub const fn settings(&self) -> &Settings {
        &self.settings
    }

    /// What batches of its rows have: the columns that are there, with their positions as ids, and their origins.
    #[must_use]
    pub fn schema(&self) -> &Schema {
        &self.schema
    }

    pub(super) fn layout(&self) -> &Layout {
        &self.layout
    }

    /// The row of this table with an encoded key.
    #[must_use]
    pub fn row(&self, key: Bytes) -> RowKey {
        RowKey { table: self.name.clone(), key }
    }

    /// A key as people write it: what [`Self::key_of`] and a line of [`Self::deletes`] take for this key.
    ///
    /// # Errors
    /// `corrupt` when the bytes are not a key of this table.
    pub fn key_text(&self, key: &[u8]) -> Result<String> {
        let text = key::to_text(&self.schema, key)?;
        let is_line = !text.contains(['\n', '\r']) && !text.trim().is_empty() && !text.trim_start().starts_with('{');
        Ok(if is_line { text } else { serde_json::Value::Object(key::to_json(&self.schema, key)?).to_string() })
    }

    /// What has to be written for this definition to follow on the one before; for the table to be made, when there is none.
    #[must_use]
    pub fn changes(&self, before: Option<&Self>) -> Vec<Write> {
        let old: BTreeMap<RowKey, Bytes> = before.map(|before| before.rows().collect()).unwrap_or_default();
        let new = self.rows().filter(|(row, value)| old.get(row) != Some(value));
        new.map(|(row, value)| Write { row, value: Some(value) }).collect()
    }

    /// Every row that it is kept as.
    fn rows(&self) -> impl Iterator<Item = (RowKey, Bytes)> {
        let column = |column: &Column| {
            let value = ColumnRow {
                name: column.stored_name.clone(),
                ty: column.ty.clone(),
                nullable: column.nullable,
                ordinal: column.ordinal,
                state: column.state,
            };
            (column_row(&self.name, &column.origin), Bytes::from(record::encode(&value)))
        };
        let Settings { writers, granularity, scope, resolver } = self.settings.clone();
        let (writers, owner) = match writers {
            Writers::Many => (WritersWord::Many, None),
            Writers::One(owner) => (WritersWord::One, Some(owner)),
            Writers::Strict(certifier) => (WritersWord::Strict, Some(certifier)),
        };
        let strict = matches!(writers, WritersWord::Strict);
        let resolver = self.by_origin(resolver);
        let key = self.key.clone();
        let merges = granularity == Granularity::Column || scope == Scope::Txn || resolver.is_merge();
        let value = if strict {
            record::encode(&TableRow::<3> { key, writers, owner, granularity, scope, resolver })
        } else if merges {
            record::encode(&TableRow::<2> { key, writers, owner, granularity, scope, resolver })
        } else {
            record::encode(&TableRow::<1> { key, writers, owner, granularity, scope, resolver })
        };
        let table = (table_row(&self.name), Bytes::from(value));
        std::iter::once(table).chain(self.columns.iter().map(column)).collect::<Vec<_>>().into_iter()
    }

    /// A resolver as it is kept: columns keep their origin when they are renamed.
    fn by_origin(&self, resolver: Resolver) -> Resolver {
        match resolver.column().and_then(|name| self.column(name)) {
            Some(column) => resolver.with_column(&column.origin),
            None => resolver,
        }
    }

    /// A resolver as it is shown. By a column that is not there, or has come to be of another type, nothing can be decided.
    fn by_name(&self, resolver: Resolver) -> Resolver {
        let Some(origin) = resolver.column() else { return resolver };
        let is = self.columns.iter().find(|column| column.is_there() && column.origin == origin);
        match is.filter(|column| resolver.refuses(&column.ty).is_none()) {
            Some(column) => resolver.with_column(&column.name),
            None => Resolver::Ask,
        }
    }
}

/// Columns that were given one name at the same time: all but the first get another, the same one everywhere.
fn tell_apart(columns: &mut [Column]) {
    let mut taken: BTreeSet<String> = BTreeSet::new();
    let given: BTreeSet<String> =
        columns.iter().filter(|column| column.is_there()).map(|column| column.name.clone()).collect();
    for column in columns.iter_mut().filter(|column| column.is_there()) {
        if !taken.insert(column.name.clone()) {
            let names = (2_u64..).map(|n| format!("{}#{n}", column.stored_name));
            let free = names.into_iter().find(|name| !taken.contains(name) && !given.contains(name));
            column.name = free.unwrap_or_default();
            taken.insert(column.name.clone());
        }
    }
}

/// Reads a part of a definition; an error says whether a newer program wrote it.
fn read<R: Record>(bytes: &[u8]) -> Result<R, (bool, String)> {
    record::decode(bytes).map_err(|error| (error.kind() == syncline_base::Kind::Invalid, error.to_string()))
}

fn newer_part(name: &str, part: &str, why: String) -> Error {
    Error::invalid(format!("reading the definition of table {name:?}, {part}"), why)
}

#[cfg(test)]
mod tests;
