//! `rollback`: a new commit that holds what an older version held.
//!
//! History is never rewritten: the versions in between stay, and a rollback can itself be rolled back.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use syncline_base::Hash;
use syncline_tree::{Commit, DatasetRoot};

use super::commit::{self, NewCommit};
use crate::change::{self, TreeChange};
use crate::replica::Replica;
use crate::{Error, Result, reach, revision, work};

/// What `rollback` is asked for.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct Request {
    /// The version to go back to.
    pub to: String,
    /// Why; made up from the version when absent.
    #[serde(default)]
    pub message: Option<String>,
    /// Who commits, when it is not the replica's user.
    #[serde(default)]
    pub author: Option<String>,
    /// Whether it may delete more than half of a table or of the files.
    #[serde(default)]
    pub allow_mass_delete: bool,
}

/// What `rollback` did.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Report {
    /// The new commit; the current one when it held the same data already.
    pub commit: Hash,
    /// The content root, the same as that of the version gone back to.
    pub root: Hash,
    /// The version gone back to.
    pub to: Hash,
    /// What changed against the version before.
    pub changes: Vec<TreeChange>,
    /// How long it took.
    pub seconds: f64,
}

/// Goes back to an older version with a new commit, in the dataset and in the working directory.
///
/// # Errors
/// `conflict` when changes are staged or files were edited, `denied` when it would delete most of a tree, `not-found` when
/// `gc` has given up the version's data.
pub fn run(replica: &Replica, request: &Request) -> Result<Report> {
    let started = replica.clock().monotonic();
    let seconds = || (replica.clock().monotonic() - started).as_secs_f64();
    // One that was cut off may have moved the refs and not the files: then all that is left is to finish those.
    work::recover(replica)?;
    let refs = replica.refs()?;
    let store = replica.store();
    let to = revision::resolve(replica, &refs, &request.to)?;
    let current = refs.head_commit().ok_or_else(Error::no_commit_yet)?;
    if refs.has_staged() {
        let why = "changes are staged; commit them or drop them with `syncline checkout --force HEAD` first";
        return Err(Error::conflict(format!("rolling back to {:?}", request.to), why));
    }
    let target = Commit::load(store, &to)?;
    let before = replica.root_of(&current)?;
    if before.hash() != target.root {
        reach::check_whole(store, &refs, &to, || format!("the data of {:?} to roll back to", request.to))?;
    }
    let after = DatasetRoot::load(store, &target.root)?;
    let changes = change::between(replica, &before, &after)?;
    change::guard(&changes, request.allow_mass_delete)?;
    if before == after {
        return Ok(Report { commit: current, root: target.root, to, changes, seconds: seconds() });
    }
    let message = request.message.clone().unwrap_or_else(|| format!("roll back to {} ({})", request.to, to.short()));
    let new = NewCommit {
        parents: vec![current],
        root: after.clone(),
        author: request.author.clone(),
        message,
        meta: BTreeMap::from([("rollback-to".into(), to.to_string())]),
        why: "rollback",
    };
    let ((commit, _), _) = work::transition(replica, &before, &after, false, || commit::append(replica, &refs, &new))?;
    Ok(Report { commit, root: target.root, to, changes, seconds: seconds() })
}
