//! Scopes: named parts of a dataset that a spoke can hold in the place of all.
//!
//! A scope is a row of the reserved table [`SCOPES`], so it is replicated as tables' definitions are. Its row says all that there is to it:
//! conditions are kept as comparisons of bytes of keys, so that whoever reads them comes to the same, whatever else it knows of the table.
//! Format: `docs/format/live-scope.md`.
//!
//! Owns nothing. Not here: the text that conditions are written in (`condition`), what spokes are sent (`syncline_sync::live`).

mod condition;
mod glob;

use std::sync::Arc;

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use syncline_sync::live::{Node, RowKey, Scope, Write, Zoo};
use syncline_tree::record::{self, Record};

use super::cells::{self, CellId};
use super::definition::Definition;
use super::{Engine, files};
use crate::{Error, Result};
pub use condition::{Condition, Test};

/// The reserved table with a row for each scope.
pub const SCOPES: &str = ".scopes";
/// The most rules that a scope has, of tables and of paths.
const MAX_RULES: usize = 256;
/// The longest name of a scope, and the longest pattern.
const MAX_NAME: usize = 255;

/// A column that a rule gives.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Given {
    /// What it was called when the scope was made.
    pub name: String,
    /// The number of its cells.
    pub cell: u32,
}

/// Rows of tables.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Rule {
    /// Which tables: `*` stands for any characters, `?` for one.
    pub table: String,
    /// Which of their rows; all when there is no condition.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub condition: Option<Condition>,
    /// Which of their columns, beside the key's; all when none are named.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub columns: Option<Vec<Given>>,
}

/// What a row of [`SCOPES`] says, and the bytes that a spoke and its hub know a scope by.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Said {
    /// Its name.
    pub name: String,
    /// Rows that are in it: those of any rule.
    pub tables: Vec<Rule>,
    /// Files that are in it, by their paths: `*` stands for any characters but `/`, `**` for any, `?` for one.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub paths: Vec<String>,
}

impl Record for Said {
    const KIND: &'static str = "live-scope";
    const VERSION: u32 = 1;
}

/// A scope, ready to be asked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Named {
    said: Said,
    id: Bytes,
}

impl Named {
    /// From what it says.
    ///
    /// # Errors
    /// `invalid` when it says nothing, too much, or has a name that none has.
    pub fn new(said: Said) -> Result<Self> {
        let wrong = |why: String| Err(Error::invalid(format!("making scope {:?}", said.name), why));
        if said.name.is_empty() || said.name.len() > MAX_NAME || said.name.chars().any(char::is_control) {
            return wrong(format!("a scope has a name of 1 to {MAX_NAME} bytes without control characters"));
        }
        if said.tables.is_empty() && said.paths.is_empty() {
            return wrong("it has neither tables nor paths: say what is in it with --table or --path".to_owned());
        }
        if said.tables.len() + said.paths.len() > MAX_RULES {
            return wrong(format!("it has more than {MAX_RULES} rules: say it with fewer patterns"));
        }
        let patterns = said.tables.iter().map(|rule| &rule.table).chain(&said.paths);
        if patterns.clone().any(|pattern| pattern.is_empty() || pattern.len() > MAX_NAME * 4) {
            return wrong(format!("a pattern has 1 to {} bytes", MAX_NAME * 4));
        }
        let id = Bytes::from(record::encode(&said));
        if id.len() > syncline_sync::live::MAX_SCOPE_BYTES {
            return wrong("it is longer than a megabyte: make several of it".to_owned());
        }
        Ok(Self { said, id })
    }

    /// From its bytes.
    ///
    /// # Errors
    /// `invalid` when a newer program made it; `corrupt` when they are none.
    pub fn read(id: &[u8]) -> Result<Self> {
        Self::new(record::decode(id)?)
    }

    /// What it says.
    #[must_use]
    pub const fn said(&self) -> &Said {
        &self.said
    }

    /// Its name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.said.name
    }

    /// What tells it from what it was before it was changed: the first 8 hex digits of the hash of its bytes.
    #[must_use]
    pub fn version(&self) -> String {
        syncline_base::Hash::of(&self.id).to_string().chars().take(8).collect()
    }

    /// The write that makes it what it is.
    #[must_use]
    pub fn write(&self) -> Write {
        Write { row: row_of(self.name()), value: Some(self.id.clone()) }
    }

    fn rules<'a>(&'a self, row: &'a RowKey) -> impl Iterator<Item = &'a Rule> {
        let meets = move |rule: &&Rule| rule.condition.as_ref().is_none_or(|condition| condition.holds(&row.key));
        self.said.tables.iter().filter(move |rule| glob::table(&rule.table, &row.table)).filter(meets)
    }

    /// The columns that are in it of a row; `None` when all are.
    fn columns(&self, row: &RowKey) -> Option<Vec<CellId>> {
        let mut all = Vec::new();
        for rule in self.rules(row) {
            all.extend(rule.columns.as_ref()?.iter().map(|given| CellId::from_u32(given.cell)));
        }
        Some(all)
    }

    /// Why somebody who holds no more than this does not write a row.
    fn refuses(&self, row: &RowKey) -> Option<String> {
        let scope = format!("this replica holds scope {:?} and nothing else", self.name());
        if !self.includes(row) {
            return Some(format!("it is outside of the scope: {scope}; write it at the hub (--on URL)"));
        }
        if is_reserved(&row.table) || self.columns(row).is_none() {
            return None;
        }
        Some(format!("{scope}, which has some columns of it only: write it at the hub (--on URL)"))
    }
}

fn is_reserved(table: &str) -> bool {
    table.starts_with('.')
}

impl Scope for Named {
    fn id(&self) -> &Bytes {
        &self.id
    }

    fn includes(&self, row: &RowKey) -> bool {
        if &*row.table == files::TABLE {
            return self.said.paths.iter().any(|pattern| glob::path(pattern.as_bytes(), &row.key));
        }
        // What tables and scopes there are, everybody knows.
        is_reserved(&row.table) || self.rules(row).next().is_some()
    }

    fn project(&self, row: &RowKey, value: &Bytes) -> Bytes {
        if is_reserved(&row.table) {
            return value.clone();
        }
        // What is not the plain cells of a row is not cut: whoever merges it needs all of it.
        let (Some(columns), Some(&cells::VERSION)) = (self.columns(row), value.first()) else { return value.clone() };
        let Ok(cells) = cells::Cells::read(value).and_then(cells::Cells::all) else { return value.clone() };
        let mut out = Vec::with_capacity(value.len());
        cells::begin(&mut out);
        for (cell, text) in cells.into_iter().filter(|(cell, _)| columns.contains(cell)) {
            cells::put(&mut out, cell, |out| out.extend_from_slice(text));
        }
        out.into()
    }
}

/// Where a scope is.
#[must_use]
pub fn row_of(name: &str) -> RowKey {
    RowKey { table: SCOPES.into(), key: Bytes::copy_from_slice(name.as_bytes()) }
}

/// Reads a scope, if there is one of that name.
///
/// # Errors
/// As [`Named::read`].
pub fn load(node: &Node, name: &str) -> Result<Option<Named>> {
    let row = node.view(&row_of(name));
    let Some(value) = row.visible(Zoo::default()).map(|sibling| sibling.value.clone()) else { return Ok(None) };
    let named = Named::read(&value)?;
    if named.name() != name {
        let why = format!("its row says that it is called {:?}; make it anew with `syncline scope set`", named.name());
        return Err(Error::Corrupt { what: format!("scope {name:?}"), why });
    }
    Ok(Some(named))
}

/// Refuses to write what is not in what a node holds.
///
/// # Errors
/// `invalid`, with the row and the scope.
pub(super) fn check_writes(node: &Node, held: Option<&Named>, writes: &[Write]) -> Result<()> {
    let Some(held) = held else { return Ok(()) };
    let Some((row, why)) = writes.iter().find_map(|write| Some((&write.row, held.refuses(&write.row)?))) else {
        return Ok(());
    };
    let key = match super::tables::load(node, &row.table) {
        Ok(Some(table)) => table.key_text(&row.key).ok(),
        _ => String::from_utf8(row.key.to_vec()).ok(),
    };
    let key = key.unwrap_or_else(|| format!("of {} bytes", row.key.len()));
    Err(Error::invalid(format!("writing row {key} of table {:?}", row.table), why))
}

impl Engine {
    /// A scope.
    ///
    /// # Errors
    /// `not-found` when there is none of that name; as [`load`].
    pub fn scope(&self, name: &str) -> Result<Arc<Named>> {
        if let Some(found) = self.read(|node| load(node, name))?? {
            return Ok(Arc::new(found));
        }
        let there = self.scope_names()?;
        let there = if there.is_empty() { "there are none yet".to_owned() } else { format!("there are {there:?}") };
        let why = format!("{there}; make one with `syncline scope set`");
        Err(Error::not_found(format!("scope {name:?}"), why))
    }

    /// The names of all scopes, sorted.
    ///
    /// # Errors
    /// The log's.
    pub fn scope_names(&self) -> Result<Vec<String>> {
        let from = RowKey { table: SCOPES.into(), key: Bytes::new() };
        let rows = self.read(|node| node.view_from(&from, usize::MAX))?;
        Ok(rows.iter().map(|(row, _)| String::from_utf8_lossy(&row.key).into_owned()).collect())
    }
}

/// A rule of a table, from what a person says.
///
/// # Errors
/// `invalid` when the condition is none of the table's, or there is no such column.
pub fn rule(table: &Definition, condition: Option<&str>, columns: Option<&[String]>) -> Result<Rule> {
    let condition = condition.map(|text| condition::compile(table, text)).transpose()?;
    let given = |name: &String| {
        let doing = || format!("making a scope of table {:?}", table.name());
        let Some(column) = table.column(name) else {
            return Err(Error::invalid(doing(), format!("there is no column {name:?}")));
        };
        Ok(Given { name: name.clone(), cell: column.cell.as_u32() })
    };
    let columns = columns.map(|names| names.iter().map(given).collect::<Result<Vec<_>>>()).transpose()?;
    let merges = table.is_by_column() || table.settings().resolver.is_merge();
    if columns.is_some() && merges {
        let why = "its rows are merged of all their columns: leave --columns out";
        return Err(Error::invalid(format!("making a scope of some columns of table {:?}", table.name()), why));
    }
    Ok(Rule { table: table.name().to_owned(), condition, columns })
}

#[cfg(test)]
mod tests;
