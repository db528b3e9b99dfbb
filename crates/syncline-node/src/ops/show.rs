//! `show`: one version, what it holds and what it changed.

use serde::{Deserialize, Serialize};
use syncline_base::Hash;
use syncline_tree::{Commit, DatasetRoot, TreeName};

use super::log::{self, Entry};
use crate::change::{self, TreeChange};
use crate::replica::Replica;
use crate::{Result, revision};

/// What `show` is asked for.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct Request {
    /// Which version; the current branch's when absent.
    #[serde(default)]
    pub at: Option<String>,
}

/// A tree in a version.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Tree {
    /// Which tree.
    pub tree: TreeName,
    /// Its root: equal root, equal rows and schema.
    pub root: Hash,
    /// Rows, or files, symlinks and empty directories.
    pub rows: u64,
    /// The columns, each as `NAME TYPE`, key columns marked.
    pub columns: Vec<String>,
}

/// A version.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Report {
    /// The commit.
    #[serde(flatten)]
    pub entry: Entry,
    /// What it holds.
    pub trees: Vec<Tree>,
    /// What it changed, against its first parent.
    pub changes: Vec<TreeChange>,
}

/// Shows one version.
///
/// # Errors
/// `not-found` when it does not exist; the store's.
pub fn run(replica: &Replica, request: &Request) -> Result<Report> {
    let refs = replica.refs()?;
    let store = replica.store();
    let id = revision::resolve(replica, &refs, request.at.as_deref().unwrap_or("HEAD"))?;
    let commit = Commit::load(store, &id)?;
    let root = DatasetRoot::load(store, &commit.root)?;
    let before = match commit.parents.first() {
        Some(parent) => replica.root_of(parent)?,
        None => DatasetRoot::default(),
    };
    let changes = change::between(replica, &before, &root)?;
    let part = replica.part()?;
    let trees = root
        .trees()
        .map(|(tree, table)| {
            // A partial replica does not know the columns of what it does not hold.
            let opened = part.tree(&tree).then(|| syncline_tree::Table::open(store, table)).transpose()?;
            let columns = opened.iter().flat_map(|opened| {
                let schema = opened.schema();
                schema.columns.iter().map(|column| {
                    let key = if schema.key.contains(&column.id) { " (key)" } else { "" };
                    format!("{} {}{key}", column.name, column.ty)
                })
            });
            Ok(Tree { tree, root: super::root::tree_root(table), rows: table.rows, columns: columns.collect() })
        })
        .collect::<Result<_>>()?;
    Ok(Report { entry: log::entry(&refs, id, commit), trees, changes })
}
