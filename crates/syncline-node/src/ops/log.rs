//! `log`: the commits that led to a version.

use serde::{Deserialize, Serialize};
use syncline_base::Hash;
use syncline_tree::{Commit, Log};

use crate::replica::Replica;
use crate::{Result, revision};

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
}

/// Lists the commits that led to a version. A dataset without commits has an empty log.
///
/// # Errors
/// `not-found` when the starting version does not exist.
pub fn run(replica: &Replica, request: &Request) -> Result<Report> {
    let refs = replica.refs()?;
    let start = match &request.at {
        Some(name) => Some(revision::resolve(replica, &refs, name)?),
        None => refs.head_commit(),
    };
    let mut report = Report { commits: Vec::new(), shallow: false };
    let limit = request.limit.unwrap_or(usize::MAX);
    for step in Log::new(replica.store(), start) {
        if report.commits.len() >= limit {
            break;
        }
        match step {
            Ok((id, commit)) => report.commits.push(entry(&refs, id, commit)),
            Err(error) if error.kind() == syncline_base::Kind::NotFound && !report.commits.is_empty() => {
                report.shallow = true;
                break;
            }
            Err(error) => return Err(error.into()),
        }
    }
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
