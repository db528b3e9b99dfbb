//! `gc`: remove what no kept version needs.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use syncline_base::{Hash, Kind, hash::IdSet};
use syncline_store::store::{GcOptions, Marker};
use syncline_tree::{Commit, Log, Refs, refs};

use crate::progress::{Progress, Unit};
use crate::replica::Replica;
use crate::{Error, Result, reach};

/// What `gc` is asked for.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct Request {
    /// Of each branch keep the last so many versions; all when absent. Older commits stay in the log, without their data.
    #[serde(default)]
    pub keep_last: Option<u64>,
    /// Keep every version made within so many milliseconds.
    #[serde(default)]
    pub keep_within_ms: Option<u64>,
    /// What is found dead is removed by a later `gc`, at least so many milliseconds after. Protects writers that are
    /// at work now.
    #[serde(default)]
    pub grace_ms: u64,
}

/// What `gc` did.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct Report {
    /// Versions whose data is kept.
    pub versions_kept: u64,
    /// Versions whose data is no longer kept.
    pub versions_dropped: u64,
    /// Objects that are needed.
    pub live_objects: u64,
    /// Objects that nothing needs.
    pub dead_objects: u64,
    /// Pack files that wait for their grace to pass.
    pub files_condemned: u64,
    /// Pack files that were removed.
    pub files_deleted: u64,
    /// Bytes that were given back.
    pub bytes_deleted: u64,
    /// Bytes that were copied out of files that held little else.
    pub bytes_rewritten: u64,
    /// How long it took.
    pub seconds: f64,
}

/// Removes what no kept version needs. Kept are: every version that a branch, a tag or a peer's branch points at, the
/// versions that retention asks for, what the remembered moves of refs name, and work in progress.
///
/// # Errors
/// `invalid` when retention would keep nothing; the store's.
pub fn run(replica: &Replica, request: &Request, progress: &dyn Progress) -> Result<Report> {
    if request.keep_last == Some(0) {
        return Err(Error::invalid(
            "collecting garbage",
            "--keep-last must be at least 1: a branch's version always stays",
        ));
    }
    let started = replica.clock().monotonic();
    let refs = replica.refs()?;
    let kept = kept_versions(replica, &refs, request)?;
    let mut report = Report {
        versions_kept: kept.values().filter(|keep| **keep).count() as u64,
        versions_dropped: kept.values().filter(|keep| !**keep).count() as u64,
        ..Report::default()
    };
    if request.keep_last.is_some() || request.keep_within_ms.is_some() {
        // Undo must not lead to a version whose data is gone.
        forget_moves(replica, &kept)?;
    }
    let refs = replica.refs()?;
    progress.stage("finding what is needed", 0, Unit::Objects);
    let options = GcOptions { grace_ms: request.grace_ms, min_live_percent: 50 };
    let done = replica.store().gc(&options, |marker| mark_all(replica, &refs, &kept, marker, progress))?;
    report.live_objects = done.live_objects;
    report.dead_objects = done.dead_objects;
    report.files_condemned = done.files_condemned;
    report.files_deleted = done.files_deleted;
    report.bytes_deleted = done.bytes_deleted;
    report.bytes_rewritten = done.bytes_rewritten;
    report.seconds = (replica.clock().monotonic() - started).as_secs_f64();
    Ok(report)
}

/// Every commit that can be reached, and whether its data is kept.
fn kept_versions(replica: &Replica, refs: &Refs, request: &Request) -> Result<BTreeMap<Hash, bool>> {
    let store = replica.store();
    let all = request.keep_last.is_none() && request.keep_within_ms.is_none();
    let since = request.keep_within_ms.map(|within| replica.clock().now_ms().saturating_sub(within));
    let mut kept = BTreeMap::new();
    let starts: Vec<Hash> = refs.commits().filter(|id| store.contains(id).unwrap_or(false)).collect();
    for step in Log::new(store, starts) {
        match step {
            Ok((id, commit)) => {
                let recent = since.is_some_and(|since| commit.hlc.ms() >= since);
                kept.insert(id, all || recent);
            }
            // A shallow clone ends somewhere.
            Err(error) if error.kind() == Kind::NotFound => break,
            Err(error) => return Err(error.into()),
        }
    }
    let last = request.keep_last.unwrap_or(1);
    for branch in refs.branches.values() {
        for (id, _) in Log::new(store, [*branch])
            .map_while(std::result::Result::ok)
            .take(usize::try_from(last).unwrap_or(usize::MAX))
        {
            kept.insert(id, true);
        }
    }
    let named = refs.tags.values().chain(refs.remotes.values().flat_map(|remote| remote.branches.values()));
    let merging = refs.merging.iter().flat_map(|merging| std::iter::once(&merging.theirs).chain(&merging.base));
    for id in named.chain(merging) {
        kept.insert(*id, true);
    }
    Ok(kept)
}

fn forget_moves(replica: &Replica, kept: &BTreeMap<Hash, bool>) -> Result<()> {
    let keep = |id: &Option<Hash>| id.is_none_or(|id| kept.get(&id).copied().unwrap_or(false));
    refs::update(replica.store(), |refs| {
        refs.history.retain(|step| keep(&step.from) && keep(&step.to));
        Ok(())
    })?;
    Ok(())
}

fn mark_all(
    replica: &Replica,
    refs: &Refs,
    kept: &BTreeMap<Hash, bool>,
    marker: &mut Marker<'_>,
    progress: &dyn Progress,
) -> Result<()> {
    let visit = |marker: &mut Marker<'_>, id: &Hash| -> Result<bool> {
        let first = marker.mark(id)?;
        progress.advance(u64::from(first));
        Ok(first)
    };
    let (store, part) = (replica.store(), replica.part()?);
    let mut roots = IdSet::default();
    for (id, keep) in kept {
        match Commit::load(store, id) {
            Ok(commit) => {
                marker.mark(id)?;
                if *keep && roots.insert(commit.root) {
                    reach::dataset(store, &part, &commit.root, &mut |id| visit(marker, id))?;
                }
            }
            // The tip of another replica's branch that was seen but never fetched.
            Err(error) if error.kind() == Kind::NotFound && !refs.branches.values().any(|tip| tip == id) => {}
            Err(error) => return Err(error.into()),
        }
    }
    if let Some(staged) = refs.staged {
        reach::dataset(store, &part, &staged, &mut |id| visit(marker, id))?;
    }
    if let Some(merging) = &refs.merging {
        marker.mark(&merging.conflicts)?;
    }
    Ok(())
}
