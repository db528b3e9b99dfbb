//! `status`: what is staged, which files were edited, what waits.

use serde::{Deserialize, Serialize};
use syncline_base::{Hash, Kind};
use syncline_tree::Conflicts;
use syncline_tree::refs::Scope;

use crate::Result;
use crate::change::{self, TreeChange};
use crate::progress::Progress;
use crate::replica::Replica;
use crate::work::{self, FileChange};

/// What `status` is asked for.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct Request {
    /// Whether to read every file again instead of trusting sizes and times.
    #[serde(default)]
    pub checksum: bool,
}

/// A peer's branch beside ours.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Peer {
    /// The peer's name.
    pub name: String,
    /// Where it is.
    pub url: String,
    /// Its current-branch commit when last seen.
    pub commit: Option<Hash>,
    /// Whether that is the commit we have.
    pub same: bool,
}

/// The state of a replica.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Report {
    /// The current branch.
    pub branch: String,
    /// Its commit.
    pub commit: Option<Hash>,
    /// The content root of that commit.
    pub root: Option<Hash>,
    /// Tables in that version or staged, with their rows.
    pub tables: Vec<(String, u64)>,
    /// What is staged, against that version.
    pub staged: Vec<TreeChange>,
    /// Files that were edited since.
    pub files: Vec<FileChange>,
    /// What is being merged, and how many conflicts are open.
    pub merging: Option<(String, usize)>,
    /// Peers.
    pub peers: Vec<Peer>,
    /// What this replica holds, when that is not everything.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub scope: Option<Scope>,
    /// Things to know: skipped special files, ignored tracked paths.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub warnings: Vec<String>,
    /// Whether there is nothing to commit.
    pub clean: bool,
    /// How long it took.
    pub seconds: f64,
}

/// Looks at a replica and its working directory without changing either.
///
/// # Errors
/// The store's and the file system's.
pub fn run(replica: &Replica, request: &Request, progress: &dyn Progress) -> Result<Report> {
    let started = replica.clock().monotonic();
    let (is_busy, stuck) = match work::recover_unless_busy(replica) {
        Err(error) if error.kind() == Kind::Corrupt => return Err(error),
        Err(error) => (false, Some(error)),
        Ok(done) => (!done, None),
    };
    let refs = replica.refs()?;
    let store = replica.store();
    let commit = refs.head_commit();
    let head = replica.head_root(&refs)?;
    let working = replica.working_root(&refs)?;
    let staged = change::between(replica, &head, &working)?;
    let mut seen = work::compare(replica, &working, request.checksum, progress)?;
    if is_busy {
        seen.warnings.push("another command is changing files here: what is listed may be half of that".to_owned());
    }
    if let Some(error) = stuck {
        seen.warnings.push(format!(
            "a checkout was cut off and cannot be finished: {error}; what it has not written yet is listed as edited; make that \
             possible, or go elsewhere with `syncline checkout REF`"
        ));
    }
    let merging = match &refs.merging {
        Some(merging) => Some((merging.name.clone(), Conflicts::load(store, &merging.conflicts)?.items.len())),
        None => None,
    };
    let peers = refs.remotes.iter().map(|(name, remote)| {
        let theirs = remote.branches.get(&refs.head).copied();
        Peer { name: name.clone(), url: remote.url.clone(), commit: theirs, same: theirs == commit }
    });
    Ok(Report {
        commit,
        root: commit.map(|_| head.hash()),
        tables: working.tables.iter().map(|(name, table)| (name.clone(), table.rows)).collect(),
        clean: refs.staged.is_none() && seen.changes.is_empty() && merging.is_none(),
        staged,
        files: seen.changes,
        merging,
        peers: peers.collect(),
        warnings: seen.warnings,
        scope: refs.scope,
        branch: refs.head,
        seconds: (replica.clock().monotonic() - started).as_secs_f64(),
    })
}
