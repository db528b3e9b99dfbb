//! `fetch`: have the contents of more files in a partial replica.

use serde::{Deserialize, Serialize};
use syncline_tree::refs;
use syncline_tree::refs::Scope;

use super::transfer::Cost;
use crate::part::Part;
use crate::progress::Progress;
use crate::replica::Replica;
use crate::{Error, Result, contents, work};

/// What `fetch` is asked for.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Request {
    /// Patterns as in `.gitignore`: matching files are here from now on.
    pub paths: Vec<String>,
}

/// What `fetch` did.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Report {
    /// All patterns of files that are here now.
    pub paths: Vec<String>,
    /// Files that were written to the working directory.
    pub files: u64,
    /// Objects that were received.
    pub objects: u64,
    /// What it cost.
    #[serde(flatten)]
    pub cost: Cost,
}

/// Brings files that match from the replica that this one was cloned from, and keeps them up to date from now on.
///
/// # Errors
/// `invalid` when this replica holds every file or none by its tables, or a pattern is none; `unavailable` when the
/// origin cannot be reached: what has come is kept.
pub fn run(replica: &Replica, request: &Request, progress: &dyn Progress) -> Result<Report> {
    let started = replica.clock().monotonic();
    let refs = replica.refs()?;
    let Some(Scope { tables, paths: Some(mut paths) }) = refs.scope.clone() else {
        let why = "this replica holds the contents of all its files; only one that was cloned with --lazy or --path lacks any";
        return Err(Error::invalid("fetching files", why));
    };
    let old = replica.part()?;
    old.check(&syncline_tree::TreeName::Files)?;
    if let Some(pattern) = request.paths.iter().find(|pattern| pattern.starts_with('!')) {
        return Err(Error::invalid(format!("pattern {pattern:?}"), "fetch brings files and takes none away"));
    }
    for pattern in &request.paths {
        // The last pattern wins, so one that is there already may still have to be said again.
        paths.retain(|known| known != pattern);
        paths.push(pattern.clone());
    }
    let scope = Scope { tables, paths: Some(paths.clone()) };
    let new = Part::of(Some(&scope))?;
    let root = replica.working_root(&refs)?;
    let files = match replica.worktree() {
        Some(_) => work::widen(replica, &root, &old, &new, progress)?,
        None => {
            contents::bring_version(replica, &new, &root)?;
            0
        }
    };
    // Last: until a file is there, nobody may take it for deleted.
    refs::update(replica.store(), |now| {
        if now.scope != refs.scope {
            return Ok(Err(Error::conflict("fetching files", "somebody else fetched files meanwhile; run it again")));
        }
        now.scope = Some(scope.clone());
        Ok(Ok(()))
    })??;
    let mut cost = Cost::default();
    let objects = cost.add_brought(replica);
    cost.seconds = (replica.clock().monotonic() - started).as_secs_f64();
    Ok(Report { paths, files, objects, cost })
}
