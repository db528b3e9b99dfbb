//! `log`: the commits that led to a version.

use serde::{Deserialize, Serialize};
use syncline_base::Hash;
use syncline_tree::{Commit, Log};

use crate::replica::Replica;
use crate::{Result, reach, revision};

/// What `log` is asked for.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct Request {
    /// Where to start; the current branch when absent.
    #[serde(default)]
    pub at: Option<String>,
    /// How many commits at most; all when absent.
    #[serde(default)]
    pub limit: Option<usize>,
}

/// A commit as users see it.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Entry {
    /// The commit's id.
    pub id: Hash,
    /// The commit.
    #[serde(flatten)]
    pub commit: Commit,
    /// When it was made, in milliseconds since the Unix epoch.
    pub time_ms: u64,
    /// Names that point at it now.
    pub names: Vec<String>,
}

/// What `log` found: children before parents.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Report {
    /// The commits.
    pub commits: Vec<Entry>,
    /// Whether older commits are known to exist but are not in this replica (a shallow clone).
    pub shallow: bool,
    /// A version of the history that should be here and cannot be read: what came before it is not listed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub damaged: Option<Hash>,
}

/// Lists the commits that led to a version. A dataset without commits has an empty log.
///
/// # Errors
/// `not-found` when the starting version does not exist, `corrupt` when its record cannot be read. Damage further back is
/// reported.
pub fn run(replica: &Replica, request: &Request) -> Result<Report> {
    let refs = replica.refs()?;
    let start = match &request.at {
        Some(name) => Some(revision::resolve(replica, &refs, name)?),
        None => refs.head_commit(),
    };
    let limit = request.limit.unwrap_or(usize::MAX);
    // A merge in a shallow clone: where one line ends early, the other goes on.
    let mut log = Log::with_gaps(replica.store(), start, &refs.shallow);
    let commits = log.by_ref().take(limit).map(|step| step.map(|(id, commit)| entry(&refs, id, commit)));
    let commits = commits.collect::<Result<Vec<_>, _>>()?;
    let damaged = log.take_gaps().first().map(|gap| gap.id);
    if let Some(id) = damaged.filter(|id| Some(*id) == start) {
        return Err(reach::gap(&id));
    }
    let report = Report { commits, shallow: log.missing().is_some(), damaged };
    Ok(report)
}

pub(crate) fn entry(refs: &syncline_tree::Refs, id: Hash, commit: Commit) -> Entry {
    let named = |names: &std::collections::BTreeMap<String, Hash>, prefix: &str| {
        let hits = names.iter().filter(|(_, at)| **at == id);
        hits.map(|(name, _)| format!("{prefix}{name}")).collect::<Vec<_>>()
    };
    let mut names = named(&refs.branches, "");
    names.extend(named(&refs.tags, "tag: "));
    for (remote, seen) in &refs.remotes {
        names.extend(named(&seen.branches, &format!("{remote}/")));
    }
    Entry { id, time_ms: commit.hlc.ms(), commit, names }
}
