//! `checkout`: make a branch the current one, and the working directory what its version holds.

use serde::{Deserialize, Serialize};
use syncline_base::{Hash, Kind};
use syncline_tree::refs;

use crate::replica::Replica;
use crate::work::{self, Updated};
use crate::{Error, Result, reach, revision};

/// What `checkout` is asked for.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Request {
    /// A branch to continue on; or any other version, whose content is then staged on the current branch.
    pub name: String,
    /// Whether to drop staged changes and edits of files.
    #[serde(default)]
    pub force: bool,
}

/// What `checkout` did.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Report {
    /// The current branch.
    pub branch: String,
    /// The version that was checked out.
    pub commit: Hash,
    /// Its content root.
    pub root: Hash,
    /// Whether the content is staged: the version is not the branch's own.
    pub staged: bool,
    /// What happened to the files.
    pub files: Updated,
    /// How long it took.
    pub seconds: f64,
}

/// Checks out a branch, or stages an older version's content on the current branch.
///
/// # Errors
/// `conflict` when staged changes or edited files would be lost and `force` is not set; `not-found` for an unknown name.
pub fn run(replica: &Replica, request: &Request) -> Result<Report> {
    let started = replica.clock().monotonic();
    let force = request.force || is_stuck(replica)?;
    let before = replica.refs()?;
    let commit = revision::resolve(replica, &before, &request.name)?;
    if !request.force && before.has_staged() {
        let why = "changes are staged and would be lost; commit them first or add --force";
        return Err(Error::conflict(format!("checking out {:?}", request.name), why));
    }
    // What is staged is committed without a look at tables that one side does not have.
    reach::check_whole(replica.store(), &before, &commit, || format!("the data of {:?} to check out", request.name))?;
    let from = replica.working_root(&before)?;
    let after = replica.root_of(&commit)?;
    let is_branch = before.branches.contains_key(&request.name);
    let branch = if is_branch { request.name.clone() } else { before.head.clone() };
    let staged = !is_branch && before.head_commit() != Some(commit);
    let staged_root = if staged { Some(after.put(replica.store())?) } else { None };
    let (_, files) = work::transition(replica, &from, &after, force, || {
        refs::update(replica.store(), |refs| {
            if *refs != before {
                let why = "somebody else changed the refs meanwhile; run it again";
                return Ok(Err(Error::conflict(format!("checking out {:?}", request.name), why)));
            }
            refs.head = branch.clone();
            refs.staged = staged_root;
            refs.merging = None;
            Ok(Ok(()))
        })?
    })?;
    let seconds = (replica.clock().monotonic() - started).as_secs_f64();
    Ok(Report { branch, commit, root: after.hash(), staged, files, seconds })
}

/// Whether an earlier checkout was cut off and cannot be finished, and no file was edited beside it: then nothing is lost where this
/// one drops what is there.
fn is_stuck(replica: &Replica) -> Result<bool> {
    match work::recover(replica) {
        Err(error) if error.kind() == Kind::Unavailable && !work::is_edited_beside_note(replica)? => Ok(true),
        // Where an edit is in question the word has to be given.
        Err(error) if error.kind() != Kind::Conflict => Ok(false),
        recovered => recovered.map(|()| false),
    }
}
