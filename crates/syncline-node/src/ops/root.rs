//! `root`: the one hash that says whether two copies are the same.

use serde::{Deserialize, Serialize};
use syncline_base::Hash;
use syncline_tree::{TableRef, TreeName};

use crate::replica::Replica;
use crate::{Error, Result, revision};

/// What `root` is asked for.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct Request {
    /// Which version; the current branch's when absent.
    #[serde(default)]
    pub at: Option<String>,
    /// Which tree; the whole dataset when absent.
    #[serde(default)]
    pub tree: Option<TreeName>,
}

/// A root.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Report {
    /// The hash.
    pub root: Hash,
    /// The commit it was read from.
    pub commit: Hash,
}

/// Reads the root of a version or of one tree in it.
///
/// # Errors
/// `not-found` when the version or the tree does not exist.
pub fn run(replica: &Replica, request: &Request) -> Result<Report> {
    let refs = replica.refs()?;
    let commit = revision::resolve(replica, &refs, request.at.as_deref().unwrap_or("HEAD"))?;
    let Some(name) = &request.tree else {
        let root = syncline_tree::Commit::load(replica.store(), &commit)?.root;
        return Ok(Report { root, commit });
    };
    let root = replica.root_of(&commit)?;
    match (root.tree(name), name) {
        (Some(tree), _) => Ok(Report { root: tree_root(tree), commit }),
        (None, TreeName::Table(table)) => {
            Err(Error::no_such_table(table, Some(commit), &root.tables.keys().collect::<Vec<_>>()))
        }
        (None, TreeName::Files) => Err(Error::not_found("a file tree", format!("version {} has none", commit.short()))),
    }
}

/// The root of one tree: covers its schema and its rows.
pub(crate) fn tree_root(tree: &TableRef) -> Hash {
    syncline_base::Hasher::new().update(tree.schema.as_bytes()).update(tree.root.as_bytes()).finish()
}
