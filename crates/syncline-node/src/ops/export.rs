//! `export`: write a table, at any version, to a file.

use std::ops::Bound;

use serde::{Deserialize, Serialize};
use syncline_base::Hash;
use syncline_tree::TreeName;
use syncline_tree::table::Scan;

use crate::export::{self, Options, Target};
use crate::import::Format;
use crate::progress::{Progress, Unit};
use crate::replica::Replica;
use crate::{Error, Result, revision};

/// What `export` is asked for.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct Request {
    /// The table.
    pub table: String,
    /// Which version; what is staged, or else the current branch's, when absent.
    #[serde(default)]
    pub at: Option<String>,
    /// The format; by the target's name when absent.
    #[serde(default)]
    pub format: Option<Format>,
    /// Only these columns, in this order.
    #[serde(default)]
    pub columns: Option<Vec<String>>,
    /// At most so many rows.
    #[serde(default)]
    pub limit: Option<u64>,
}

/// What `export` did.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Report {
    /// The table.
    pub table: String,
    /// The root of the table that was written.
    pub root: Hash,
    /// What was written.
    #[serde(flatten)]
    pub written: export::Report,
}

/// Writes a table to a file, which appears whole or not at all.
///
/// # Errors
/// `not-found` when the version, the table or a column does not exist; `invalid` when the format cannot hold it.
pub fn run(replica: &Replica, request: &Request, target: &Target, progress: &dyn Progress) -> Result<Report> {
    let refs = replica.refs()?;
    let (root, at) = match &request.at {
        Some(name) => {
            let commit = revision::resolve(replica, &refs, name)?;
            (replica.root_of(&commit)?, Some(commit))
        }
        None => (replica.working_root(&refs)?, refs.head_commit()),
    };
    let name = TreeName::Table(request.table.clone());
    let tree = root
        .tree(&name)
        .ok_or_else(|| Error::no_such_table(&request.table, at, &root.tables.keys().collect::<Vec<_>>()))?;
    let table = replica.table(&name, tree)?;
    let scan = Scan {
        columns: request.columns.clone(),
        range: (Bound::Unbounded, Bound::Unbounded),
        limit: request.limit,
        ..Scan::default()
    };
    let schema = match &request.columns {
        Some(names) => {
            let position = |name: &String| {
                table.schema().columns.iter().position(|column| column.name == *name).ok_or_else(|| {
                    let there: Vec<&str> = table.schema().columns.iter().map(|column| column.name.as_str()).collect();
                    Error::not_found(format!("column {name:?}"), format!("table {:?} has {there:?}", request.table))
                })
            };
            table.schema().arrow_of(&names.iter().map(position).collect::<Result<Vec<_>>>()?)
        }
        None => table.schema().arrow(),
    };
    progress.stage("exporting", table.rows().min(request.limit.unwrap_or(u64::MAX)), Unit::Rows);
    let batches = table.scan(scan)?.map(|batch| {
        let batch = batch?;
        progress.advance(batch.num_rows() as u64);
        Ok::<_, Error>(batch)
    });
    let options = Options { format: request.format, ..Options::default() };
    let written = export::write(&schema, batches, target, &options)?;
    Ok(Report { table: request.table.clone(), root: super::root::tree_root(tree), written })
}
