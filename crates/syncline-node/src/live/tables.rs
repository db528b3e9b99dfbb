//! The tables that a replica's live part has, as its readers see them.
//!
//! Owns: definitions that were read before, for as long as no table has changed. Not here: what a definition is (`definition`), which sibling
//! of a row is seen (`resolve`).

use std::cell::OnceCell;
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use syncline_sync::live::{Frozen, Node, Row, RowKey, Sibling, Zoo};

use super::Engine;
use super::cells::CellId;
use super::definition::{self, Definition, TABLES};
use super::resolve::views::own_columns;
use super::resolve::{Picks, Seen};
use crate::rows::Cells;
use crate::{Error, Result};

/// Rows that are looked at in one go.
const STEP: usize = 1024;

/// The value of a row whose cells are all null.
const EMPTY: &[u8] = &[super::cells::VERSION];

/// Definitions by name, of a moment.
#[derive(Debug, Default)]
pub(super) struct Cache(Mutex<(u64, BTreeMap<String, Arc<Definition>>)>);

/// A number that grows with every change of what tables are. It changes under the engine's lock only; whoever has it can look at any time.
#[derive(Debug, Clone, Default)]
pub(crate) struct Version(Arc<AtomicU64>);

impl Version {
    pub(super) fn grow(&self) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn now(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// How readers see the rows of a table, at one moment.
#[derive(Debug)]
pub struct Look<'a> {
    table: &'a Definition,
    held: Held<'a>,
    /// Which siblings are seen where rows are not each for itself, once that was asked for.
    picks: OnceCell<Picks>,
}

#[derive(Debug)]
enum Held<'a> {
    /// As clients of the node see them.
    Node(&'a Node),
    /// As hubs have taken them in: without what waits for one.
    Frozen(&'a Frozen),
}

impl<'a> Look<'a> {
    /// As clients of the node see them.
    #[must_use]
    pub const fn new(table: &'a Definition, node: &'a Node) -> Self {
        Self { table, held: Held::Node(node), picks: OnceCell::new() }
    }

    /// As hubs have taken them in.
    #[must_use]
    pub const fn of(table: &'a Definition, frozen: &'a Frozen) -> Self {
        Self { table, held: Held::Frozen(frozen), picks: OnceCell::new() }
    }

    /// A row, of which `row` is what is held; nothing when there is none.
    #[must_use]
    pub fn seen(&self, key: &Bytes, row: &Row) -> Option<Seen> {
        // One sibling alone is seen in any case.
        let pick = match row.siblings() {
            [_, _, ..] if self.table.is_by_txn() => self.picks.get_or_init(|| self.picks()).get(key),
            _ => None,
        };
        self.table.seen(row.siblings(), pick)
    }

    /// Whether a row can be in conflict: whether it is worth looking at.
    #[must_use]
    pub fn may_conflict(&self, row: &Row) -> bool {
        match row.siblings() {
            [] => false,
            [one] => self.table.is_by_column() && one.value.first() == Some(&super::cells::MARKED),
            _ => true,
        }
    }

    /// All rows that exist, one after another: keys and values.
    pub fn all(&self) -> impl Iterator<Item = (Bytes, Bytes)> {
        self.rows().filter_map(|(key, row)| Some((key.key.clone(), self.seen(&key.key, &row)?.value)))
    }

    fn rows(&self) -> Box<dyn Iterator<Item = (RowKey, Arc<Row>)> + '_> {
        let from = self.table.row(Bytes::new());
        match self.held {
            Held::Node(node) => Box::new(node.rows_from(&from)),
            Held::Frozen(frozen) => {
                Box::new(frozen.rows_from(&from).take_while(move |(key, _)| key.table == from.table))
            }
        }
    }

    fn picks(&self) -> Picks {
        let rows: Vec<_> = self.rows().filter(|(_, row)| row.siblings().len() > 1).collect();
        self.table.picks(rows.iter().map(|(key, row)| (&key.key, row.siblings())))
    }
}

/// The sibling of a row of a reserved table that readers see: the last written.
fn newest(row: &Row) -> Option<&Sibling> {
    row.visible(Zoo::default())
}

/// All rows of a table from a key on that are before `end`, as readers see them.
fn visible_in(node: &Node, range: &std::ops::Range<RowKey>) -> Vec<(Bytes, Bytes)> {
    let mut found = Vec::new();
    let mut from = range.start.clone();
    loop {
        let rows = node.view_from(&from, STEP);
        let last = rows.last().map(|(key, _)| key.clone());
        let rows = rows.iter().filter(|(key, _)| *key < range.end);
        found.extend(rows.filter_map(|(key, row)| Some((key.key.clone(), newest(row)?.value.clone()))));
        match last.filter(|last| *last < range.end) {
            Some(last) => from = after(&last),
            None => return found,
        }
    }
}

/// The first key behind another one.
#[must_use]
pub fn after(row: &RowKey) -> RowKey {
    let mut key = row.key.to_vec();
    key.push(0);
    RowKey { table: row.table.clone(), key: key.into() }
}

/// Reads a table's definition, if there is such a table.
///
/// # Errors
/// `invalid` when a newer program made it, `corrupt` when it cannot be read.
pub fn load(node: &Node, name: &str) -> Result<Option<Definition>> {
    let row = node.view(&definition::table_row(name));
    let Some(table) = newest(&row) else { return Ok(None) };
    let columns = visible_in(node, &definition::column_rows(name));
    Definition::load(name, &table.value, columns).map(Some)
}

impl Engine {
    /// A table, if there is one of that name.
    ///
    /// # Errors
    /// As [`load`]; the log's.
    pub fn find_table(&self, name: &str) -> Result<Option<Arc<Definition>>> {
        let cache = &self.cache().0;
        let (found, version) = self.read_tables(|node, version| {
            let mut cache = cache.lock().unwrap_or_else(PoisonError::into_inner);
            if cache.0 != version {
                *cache = (version, BTreeMap::new());
            }
            if let Some(known) = cache.1.get(name) {
                return (Ok(Some(Arc::clone(known))), version);
            }
            (load(node, name).map(|found| found.map(Arc::new)), version)
        })?;
        let found = found?;
        if let Some(found) = &found {
            let mut cache = cache.lock().unwrap_or_else(PoisonError::into_inner);
            if cache.0 == version {
                cache.1.insert(name.to_owned(), Arc::clone(found));
            }
        }
        Ok(found)
    }

    /// A table.
    ///
    /// # Errors
    /// `not-found` when there is none of that name; else as [`Self::find_table`].
    pub fn table(&self, name: &str) -> Result<Arc<Definition>> {
        match self.find_table(name)? {
            Some(found) => Ok(found),
            None => {
                let there = self.table_names()?;
                let there =
                    if there.is_empty() { "there are none yet".to_owned() } else { format!("there are {there:?}") };
                let why = format!("{there}; make one with `syncline table create`, or `syncline put --key`");
                Err(Error::not_found(format!("live table {name:?}"), why))
            }
        }
    }

    /// The names of all tables, sorted.
    ///
    /// # Errors
    /// `corrupt` when a row that says what tables there are cannot be read; the log's.
    pub fn table_names(&self) -> Result<Vec<String>> {
        let rows = self.read(|node| {
            let from = RowKey { table: TABLES.into(), key: Bytes::new() };
            node.view_from(&from, usize::MAX).into_iter().map(|(row, _)| row.key).collect::<Vec<_>>()
        })?;
        rows.iter().map(|key| definition::table_of(key)).collect()
    }
}

impl Definition {
    /// The key of a row as an object, a member for each of its columns.
    ///
    /// # Errors
    /// `corrupt` when it is not a key of this table.
    pub fn key_cells(&self, key: &[u8]) -> Result<Cells> {
        let mut cells = self.to_cells(key, EMPTY)?;
        let names = self.key_names();
        cells.retain(|name| names.contains(&name));
        Ok(cells)
    }

    /// A row as a transaction wrote it, for showing: where columns are each for itself, those that it wrote.
    ///
    /// # Errors
    /// As [`Self::to_cells`].
    pub fn written(&self, key: &[u8], value: &[u8]) -> Result<Cells> {
        let mut cells = self.to_cells(key, value)?;
        if self.is_by_column()
            && let Some(own) = own_columns(value)
        {
            let (keys, own) = (self.key_names(), self.names_of(&own));
            cells.retain(|name| keys.contains(&name) || own.contains(&name));
        }
        Ok(cells)
    }

    /// The columns of its key.
    pub(crate) fn key_names(&self) -> Vec<&str> {
        let schema = self.schema();
        schema.key_positions().into_iter().map(|at| &schema.columns[at].name[..]).collect()
    }

    /// What columns that are there are called.
    pub(crate) fn names_of(&self, cells: &[CellId]) -> Vec<&str> {
        let there = self.columns().iter().filter(|column| column.is_there() && cells.contains(&column.cell));
        there.map(|column| &column.name[..]).collect()
    }
}
