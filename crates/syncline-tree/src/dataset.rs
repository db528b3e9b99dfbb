//! Dataset roots: everything a version holds, as one record.
//!
//! The record's hash is the *content root*: two replicas with the same content root hold the same tables and files.
//! Layout: `docs/format/records.md`. Owns no state.
//!
//! Not here: who made a version and when (`crate::commit`).

mod base;
mod merge;

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};
use syncline_base::Hash;
use syncline_store::Store;

use crate::record::{self, Record};
use crate::table::TableRef;
use crate::{Error, Result};

pub use base::merge_base;
pub use merge::merge_roots;

/// Everything that a version of a dataset holds.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct DatasetRoot {
    /// The tables by name.
    pub tables: BTreeMap<String, TableRef>,
    /// The files, themselves a table keyed by path; absent when there are none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub files: Option<TableRef>,
}

impl Record for DatasetRoot {
    const KIND: &'static str = "root";
    const VERSION: u32 = 1;
}

/// One of the trees in a dataset: a table by name, or the files.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum TreeName {
    /// The table of this name.
    Table(String),
    /// The file tree.
    Files,
}

impl std::fmt::Display for TreeName {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Table(name) => write!(f, "table {name}"),
            Self::Files => f.write_str("files"),
        }
    }
}

impl DatasetRoot {
    /// Its canonical bytes. Their hash is the content root.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        record::encode(self)
    }

    /// The content root.
    #[must_use]
    pub fn hash(&self) -> Hash {
        Hash::of(&self.encode())
    }

    /// Reads a dataset root and checks the table names in it.
    ///
    /// # Errors
    /// `corrupt` when the bytes are not a canonical dataset root.
    pub fn decode(bytes: &[u8]) -> Result<Self> {
        let root: Self = record::decode(bytes)?;
        if let Some(name) = root.tables.keys().find(|name| check_table_name(name).is_err()) {
            return Err(Error::corrupt(format!("reading a root record: {name:?} is not a table name")));
        }
        Ok(root)
    }

    /// Stores it and returns the content root. Not durable before `Store::flush`.
    ///
    /// # Errors
    /// The store's.
    pub fn put(&self, store: &Store) -> Result<Hash> {
        Ok(store.put(&self.encode())?)
    }

    /// Loads a dataset root by its content root.
    ///
    /// # Errors
    /// `not-found` when the store does not have it, `corrupt` when the object is something else.
    pub fn load(store: &Store, id: &Hash) -> Result<Self> {
        Self::decode(&store.get(id)?)
    }

    /// One of its trees.
    #[must_use]
    pub fn tree(&self, name: &TreeName) -> Option<&TableRef> {
        match name {
            TreeName::Table(table) => self.tables.get(table),
            TreeName::Files => self.files.as_ref(),
        }
    }

    /// Puts a tree in place, or takes it out.
    pub fn set_tree(&mut self, name: &TreeName, tree: Option<TableRef>) {
        match (name, tree) {
            (TreeName::Table(table), Some(tree)) => {
                self.tables.insert(table.clone(), tree);
            }
            (TreeName::Table(table), None) => {
                self.tables.remove(table);
            }
            // No files and an empty tree of them are one thing, and have one root.
            (TreeName::Files, tree) => self.files = tree.filter(|tree| tree.rows > 0),
        }
    }

    /// All its trees: tables in name order, then the files.
    pub fn trees(&self) -> impl Iterator<Item = (TreeName, &TableRef)> {
        let tables = self.tables.iter().map(|(name, tree)| (TreeName::Table(name.clone()), tree));
        tables.chain(self.files.as_ref().map(|tree| (TreeName::Files, tree)))
    }

    /// The names of all trees in any of `roots`, each once, tables first.
    pub fn names<'a>(roots: impl IntoIterator<Item = &'a Self>) -> BTreeSet<TreeName> {
        roots.into_iter().flat_map(|root| root.trees().map(|(name, _)| name).collect::<Vec<_>>()).collect()
    }
}

/// Checks a name for a table: 1 to 128 bytes; letters, digits, `_`, `-` and `.`; no `.` or `-` at the start.
///
/// # Errors
/// `invalid`, with the rule.
pub fn check_table_name(name: &str) -> Result<()> {
    let allowed = |c: char| c.is_alphanumeric() || matches!(c, '_' | '-' | '.');
    if name.is_empty() || name.len() > 128 || !name.chars().all(allowed) || name.starts_with(['.', '-']) {
        return Err(Error::invalid(format!(
            "table name {name:?}: use 1 to 128 bytes of letters, digits, '_', '-' and '.', not starting with '.' or '-'"
        )));
    }
    Ok(())
}

#[cfg(test)]
mod tests;
