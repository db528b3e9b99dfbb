//! `diff`: what differs between two versions, in counts or row by row.

use serde::{Deserialize, Serialize};
use syncline_base::Hash;
use syncline_tree::{DatasetRoot, Table, TableRef, TreeName, diff};

use crate::change::{self, TreeChange};
use crate::replica::Replica;
use crate::rows::Cells;
use crate::{Result, revision, rows};

/// What `diff` is asked for.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct Request {
    /// The older version; the current branch's when absent.
    #[serde(default)]
    pub from: Option<String>,
    /// The newer version; what is staged when absent.
    #[serde(default)]
    pub to: Option<String>,
    /// Only this tree.
    #[serde(default)]
    pub tree: Option<TreeName>,
    /// How many rows to show, over all trees; 0 for counts only.
    #[serde(default)]
    pub rows: usize,
}

/// What happened to a row.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Kind {
    /// Only in the newer version.
    Insert,
    /// In both, with different cells.
    Update,
    /// Only in the older version.
    Delete,
}

/// A row that differs.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Row {
    /// Where it is.
    pub tree: TreeName,
    /// What happened to it.
    pub kind: Kind,
    /// The key as text.
    pub key: String,
    /// For an update: the columns that differ.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub changed: Vec<String>,
    /// The row before.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub before: Option<Cells>,
    /// The row after.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub after: Option<Cells>,
}

/// What differs.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Report {
    /// The content root of the older version.
    pub from: Hash,
    /// The content root of the newer version.
    pub to: Hash,
    /// Whether the two are the same.
    pub equal: bool,
    /// Counts, tree by tree; trees that are equal are left out.
    pub trees: Vec<TreeChange>,
    /// The first rows that differ, in tree and key order; of a table with another key those that went, then those that came.
    pub rows: Vec<Row>,
    /// Whether more rows differ than are shown.
    pub truncated: bool,
    /// How long it took.
    pub seconds: f64,
}

/// Compares two versions. The cost follows what differs, not what there is.
///
/// # Errors
/// `not-found` when a version does not exist; the store's.
pub fn run(replica: &Replica, request: &Request) -> Result<Report> {
    let started = replica.clock().monotonic();
    let refs = replica.refs()?;
    let load = |name: &str| replica.root_of(&revision::resolve(replica, &refs, name)?);
    let from = request.from.as_deref().map_or_else(|| replica.head_root(&refs), load)?;
    let to = request.to.as_deref().map_or_else(|| replica.working_root(&refs), load)?;
    let mut trees = change::between(replica, &from, &to)?;
    trees.retain(|change| request.tree.as_ref().is_none_or(|only| *only == change.tree));
    let mut report = Report {
        from: from.hash(),
        to: to.hash(),
        equal: from == to,
        trees,
        rows: Vec::new(),
        truncated: false,
        seconds: 0.0,
    };
    if request.rows > 0 {
        for change in report.trees.clone().into_iter().filter(|change| !change.elsewhere) {
            show_rows(replica, [&from, &to], &change.tree, request.rows, &mut report)?;
        }
    }
    report.seconds = (replica.clock().monotonic() - started).as_secs_f64();
    Ok(report)
}

fn show_rows(
    replica: &Replica,
    [from, to]: [&DatasetRoot; 2],
    tree: &TreeName,
    limit: usize,
    report: &mut Report,
) -> Result<()> {
    let store = replica.store();
    let open = |side: Option<&TableRef>| side.map(|table| Table::open(store, table)).transpose();
    let pairs = match (open(from.tree(tree))?, open(to.tree(tree))?) {
        (Some(old), Some(new)) if diff::comparable(old.schema(), new.schema()) => vec![(old, new)],
        (old, new) => {
            // One of them is not there, or they are two tables of one name: each is shown as itself.
            let mut pairs = Vec::new();
            if let Some(old) = old {
                let none = Table::create(store, old.schema().clone())?;
                pairs.push((old, none));
            }
            if let Some(new) = new {
                pairs.push((Table::create(store, new.schema().clone())?, new));
            }
            pairs
        }
    };
    for (old, new) in pairs {
        for batch in diff::diff(&old, &new)? {
            for row in rows::diff_rows(tree, new.schema(), &batch?)? {
                if report.rows.len() >= limit {
                    report.truncated = true;
                    return Ok(());
                }
                report.rows.push(row);
            }
        }
    }
    Ok(())
}
