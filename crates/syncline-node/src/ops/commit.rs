//! `commit`: make what is staged, the files and the live tables as they are now, a version.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use syncline_base::Hash;
use syncline_tree::{Commit, Conflicts, DatasetRoot, Refs, refs};

use crate::change::{self, TreeChange};
use crate::live::files;
use crate::live::fold::fold;
use crate::progress::{self, Progress};
use crate::replica::Replica;
use crate::{Error, Result, work};

/// The fact of a version that says at which position its live tables were what it holds.
pub const LIVE_POSITION: &str = "live.position";

/// What `commit` is asked for.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct Request {
    /// Why.
    pub message: String,
    /// Who, when it is not the replica's user.
    #[serde(default)]
    pub author: Option<String>,
    /// Facts that travel with the version.
    #[serde(default)]
    pub meta: BTreeMap<String, String>,
    /// Whether it may delete more than half of a table or of the files.
    #[serde(default)]
    pub allow_mass_delete: bool,
    /// Whether to make a version that holds the same as the one before.
    #[serde(default)]
    pub allow_empty: bool,
    /// Whether to read every file again instead of trusting sizes and times.
    #[serde(default)]
    pub checksum: bool,
}

/// What `commit` did.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Report {
    /// The new commit; the current one when there was nothing to commit.
    pub commit: Option<Hash>,
    /// The content root.
    pub root: Hash,
    /// The branch that moved.
    pub branch: String,
    /// Whether a commit was made.
    pub committed: bool,
    /// What changed against the version before.
    pub changes: Vec<TreeChange>,
    /// What users should know about their files: skipped special files, ignored tracked paths.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub warnings: Vec<String>,
    /// How long it took.
    pub seconds: f64,
}

/// Makes what is staged, the files and the live tables as they are now, a version.
///
/// # Errors
/// `conflict` when a merge still has conflicts or somebody else committed meanwhile; `denied` when most of a tree
/// would be deleted; `invalid` when file names collide, or the live tables here are those of a scope.
pub fn run(replica: &Replica, request: &Request, progress: &dyn Progress) -> Result<Report> {
    let started = replica.clock().monotonic();
    let refs = replica.refs()?;
    if let Some(merging) = &refs.merging {
        let left = Conflicts::load(replica.store(), &merging.conflicts)?.items.len();
        if left > 0 {
            let why = format!("{left} conflicts of the merge of {:?} are open; see `syncline conflicts`", merging.name);
            return Err(Error::conflict("committing", why));
        }
    }
    let before = replica.head_root(&refs)?;
    let mut after = replica.working_root(&refs)?;
    let engine = replica.live_if_there()?;
    // What is outside would be missing in it.
    engine.as_ref().map_or(Ok(()), |engine| engine.check_whole("committing a version"))?;
    let live = engine.as_ref().map(|engine| fold(engine, replica.store())).transpose()?;
    // With a directory its files are the version's; without one, those that live rows name.
    if let (Some(engine), None) = (&engine, replica.worktree()) {
        after.files = files::fold::fold(engine, replica.store())?.or(after.files);
    }
    let mut meta = request.meta.clone();
    if let Some(live) = live.filter(|live| !live.tables.is_empty()) {
        after.tables.extend(live.tables);
        meta.insert(LIVE_POSITION.to_owned(), live.position);
    }
    let mut scanned = work::scan(replica, &after, request.checksum, progress)?;
    after.files = scanned.files;
    let changes = change::between(replica, &before, &after)?;
    change::guard(&changes, request.allow_mass_delete)?;
    progress::go_on(progress, "committing")?;
    let nothing = changes.is_empty() && refs.merging.is_none() && !request.allow_empty;
    let (commit, root) = if nothing && refs.head_commit().is_some() {
        (refs.head_commit(), after.hash())
    } else {
        let new = NewCommit {
            parents: refs.head_commit().into_iter().chain(refs.merging.iter().map(|m| m.theirs)).collect(),
            root: after,
            author: request.author.clone(),
            message: request.message.clone(),
            meta,
            why: if refs.merging.is_some() { "merge" } else { "commit" },
        };
        let (commit, root) = append(replica, &refs, &new)?;
        (Some(commit), root)
    };
    scanned.remember();
    let seconds = (replica.clock().monotonic() - started).as_secs_f64();
    let committed = commit != refs.head_commit();
    let warnings = scanned.warnings;
    Ok(Report { commit, root, branch: refs.head, committed, changes, warnings, seconds })
}

/// A commit to be made on the current branch.
#[derive(Debug)]
pub(crate) struct NewCommit {
    /// First the commit that the branch must still point at.
    pub parents: Vec<Hash>,
    /// What it holds.
    pub root: DatasetRoot,
    /// Who, when it is not the replica's user.
    pub author: Option<String>,
    /// Why.
    pub message: String,
    /// Facts that travel with it.
    pub meta: BTreeMap<String, String>,
    /// The verb, for the history of the branch.
    pub why: &'static str,
}

/// Stores a commit and moves the current branch to it, if the branch and what is staged still are as in `planned`. Clears
/// what was staged: the commit holds it. Returns the commit's id and its content root; both are durable.
///
/// # Errors
/// `conflict` when somebody else moved the branch or staged something; what was stored stays and costs a later attempt nothing.
pub(crate) fn append(replica: &Replica, planned: &Refs, new: &NewCommit) -> Result<(Hash, Hash)> {
    let store = replica.store();
    let root = new.root.put(store)?;
    let parents = new.parents.iter().map(|id| Commit::load(store, id)).collect::<Result<Vec<_>, _>>()?;
    let before = replica.refs()?;
    let commit = Commit {
        parents: new.parents.clone(),
        generation: parents.iter().map(|parent| parent.generation).max().unwrap_or(0) + 1,
        root,
        author: new.author.clone().unwrap_or_else(|| replica.author().to_owned()),
        hlc: replica.stamp(&before, &parents),
        message: new.message.clone(),
        meta: new.meta.clone(),
    };
    let id = commit.put(store)?;
    let moved = refs::update(store, |refs: &mut Refs| {
        if !refs.has_work_of(planned) {
            return Ok(Err(Error::conflict(
                format!("committing to branch {:?}", planned.head),
                "somebody else committed or staged changes meanwhile; run it again on top of them",
            )));
        }
        let branch = refs.head.clone();
        refs.move_branch(&branch, Some(id), commit.hlc, new.why);
        refs.staged = None;
        refs.merging = None;
        Ok(Ok(()))
    })?;
    moved?;
    Ok((id, root))
}
