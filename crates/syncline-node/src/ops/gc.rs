//! `gc`: remove what no kept version needs.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};
use syncline_base::{Hash, Kind, hash::IdSet};
use syncline_store::Store;
use syncline_store::store::{GcOptions, Marker};
use syncline_tree::{Commit, Log, Refs, refs};

use crate::live::files::contents;
use crate::progress::{Progress, Unit};
use crate::replica::Replica;
use crate::{Error, Result, reach, work};

/// What `gc` is asked for.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Request {
    /// Of each branch keep the last so many versions; all when absent. Older commits stay in the log, without their data.
    #[serde(default)]
    pub keep_last: Option<u64>,
    /// Keep every version made within so many milliseconds.
    #[serde(default)]
    pub keep_within_ms: Option<u64>,
    /// What is found dead is removed by a later `gc`, at least so many milliseconds after; an hour when absent. Protects
    /// writers that are at work now: 0 is for when there is none.
    #[serde(default = "hour")]
    pub grace_ms: u64,
}

/// So long, in milliseconds, what a cut-off transfer has brought waits to be taken up again; with a grace of 0 not at all.
const ARRIVED_MS: u64 = 24 * 60 * 60 * 1000;

const fn hour() -> u64 {
    60 * 60 * 1000
}

impl Default for Request {
    fn default() -> Self {
        Self { keep_last: None, keep_within_ms: None, grace_ms: hour() }
    }
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
/// `invalid` when retention would keep nothing, `corrupt` when a version is missing; the store's.
pub fn run(replica: &Replica, request: &Request, progress: &dyn Progress) -> Result<Report> {
    if request.keep_last == Some(0) {
        return Err(Error::invalid(
            "collecting garbage",
            "--keep-last must be at least 1: a branch's version always stays",
        ));
    }
    let started = replica.clock().monotonic();
    match work::recover(replica) {
        // It may be the room that is lacking. What the checkout needs is kept.
        Err(error) if error.kind() == Kind::Unavailable => {}
        recovered => recovered?,
    }
    forget_arrived(replica, request)?;
    let kept = match request.keep_last.is_some() || request.keep_within_ms.is_some() {
        true => give_up(replica, request)?,
        false => {
            let refs = replica.refs()?;
            kept_versions(replica, &refs, &reach::given_up(replica.store(), &refs)?, request)?
        }
    };
    let mut report = Report {
        versions_kept: kept.values().filter(|version| version.keep).count() as u64,
        versions_dropped: kept.values().filter(|version| !version.keep).count() as u64,
        ..Report::default()
    };
    progress.stage("finding what is needed", 0, Unit::Objects);
    let options = GcOptions { grace_ms: request.grace_ms, min_live_percent: 50 };
    let done = replica.store().gc(&options, |marker| mark_all(replica, kept, marker, progress))?;
    report.live_objects = done.live_objects;
    report.dead_objects = done.dead_objects;
    report.files_condemned = done.files_condemned;
    report.files_deleted = done.files_deleted;
    report.bytes_deleted = done.bytes_deleted;
    report.bytes_rewritten = done.bytes_rewritten;
    report.seconds = (replica.clock().monotonic() - started).as_secs_f64();
    Ok(report)
}

/// Lets go of what transfers have brought that were cut off and not taken up again since.
fn forget_arrived(replica: &Replica, request: &Request) -> Result<()> {
    let keep_ms = if request.grace_ms == 0 { 0 } else { request.grace_ms.max(ARRIVED_MS) };
    let now_ms = replica.clock().now_ms();
    refs::update(replica.store(), |refs| {
        refs.arrived.retain(|_, at| now_ms.saturating_sub(*at) < keep_ms);
        Ok(())
    })?;
    Ok(())
}

/// A commit that can be reached.
#[derive(Debug, Default)]
struct Version {
    /// Whether its data is kept.
    keep: bool,
    /// Whether its data was given up before: what is left of it is kept if `keep` says so.
    given_up: bool,
    parents: Vec<Hash>,
}

type Versions = BTreeMap<Hash, Version>;

/// Every commit that can be reached, and whether its data is kept.
fn kept_versions(replica: &Replica, refs: &Refs, gone: &IdSet, request: &Request) -> Result<Versions> {
    let store = replica.store();
    let all = request.keep_last.is_none() && request.keep_within_ms.is_none();
    let since = request.keep_within_ms.map(|within| replica.clock().now_ms().saturating_sub(within));
    let mut kept = Versions::new();
    history(store, refs, |id, commit| {
        let recent = since.is_some_and(|since| commit.hlc.ms() >= since);
        let given_up = gone.contains(&id);
        kept.insert(id, Version { keep: (all || recent) && !given_up, given_up, parents: commit.parents });
    })?;
    let last = usize::try_from(request.keep_last.unwrap_or(1)).unwrap_or(usize::MAX);
    for branch in refs.branches.values() {
        for step in Log::of_what_is_here(store, [*branch]).take(last) {
            let version = kept.entry(step?.0).or_default();
            version.keep = !version.given_up;
        }
    }
    let named = refs.branches.values().chain(refs.tags.values());
    let named = named.chain(refs.remotes.values().flat_map(|remote| remote.branches.values()));
    let named = named.chain(refs.arrived.keys());
    let merging = refs.merging.iter().flat_map(|merging| std::iter::once(&merging.theirs).chain(&merging.base));
    for id in named.chain(merging) {
        kept.entry(*id).or_default().keep = true;
    }
    Ok(kept)
}

/// Shows every commit that can be reached. A shallow clone does not have all of its history; where anything else is missing, what was
/// before it would be taken for dead.
fn history(store: &Store, refs: &Refs, mut visit: impl FnMut(Hash, Commit)) -> Result<()> {
    let mut log = Log::of_refs(store, refs);
    while let Some((id, commit)) = log.next().transpose()? {
        visit(id, commit);
    }
    log.take_gaps().first().map_or(Ok(()), |gap| Err(reach::gap(&gap.id)))
}

/// Notes in the refs what is about to be given up, and forgets moves from and to it: undo must not lead to a version
/// whose data is gone. What is kept is decided with the names that are there at that moment.
fn give_up(replica: &Replica, request: &Request) -> Result<Versions> {
    let decide = |refs: &mut Refs| -> Result<Versions> {
        let gone = reach::given_up(replica.store(), refs)?;
        let kept = kept_versions(replica, refs, &gone, request)?;
        let loose = loose_versions(replica, &gone, &kept)?;
        note(refs, &kept, &loose);
        Ok(kept)
    };
    refs::update(replica.store(), |refs| Ok(decide(refs)))?
}

/// What was given up and no name leads to: a push notes that first and moves its ref last.
fn loose_versions(replica: &Replica, gone: &IdSet, kept: &Versions) -> Result<Versions> {
    let mut loose = Versions::new();
    for id in gone.iter().filter(|id| !kept.contains_key(*id)) {
        match Commit::load(replica.store(), id) {
            Ok(Commit { parents, .. }) => drop(loose.insert(*id, Version { keep: false, given_up: true, parents })),
            // It was collected since.
            Err(error) if error.kind() == Kind::NotFound => {}
            Err(error) => return Err(error.into()),
        }
    }
    Ok(loose)
}

/// Which versions are given up, and what of the history still leads to whole ones.
fn note(refs: &mut Refs, kept: &Versions, loose: &Versions) {
    let whole = |version: &Version| version.keep && !version.given_up;
    let is_whole = |id: &Hash| kept.get(id).is_some_and(whole);
    // What is below a version of the other sort starts a line of its own sort.
    let below = |sort: bool| -> BTreeSet<Hash> {
        let others = kept.values().chain(loose.values()).filter(|version| whole(version) != sort);
        let parents = others.flat_map(|version| &version.parents);
        parents.filter(|id| kept.get(id).is_some_and(|version| whole(version) == sort)).copied().collect()
    };
    let (mut dropped, mut held) = (below(false), below(true));
    // Given up before, and named since.
    dropped.extend(kept.iter().filter(|(_, version)| version.keep && version.given_up).map(|(id, _)| *id));
    // Not named yet; what it stands on may not be either.
    dropped.extend(refs.dropped.iter().filter(|id| loose.contains_key(id)));
    let stands_on = loose.values().flat_map(|version| &version.parents);
    held.extend(stands_on.filter(|id| refs.held.contains(id) && !kept.contains_key(id)));
    let named = |id: Option<Hash>| id.is_none_or(|id| is_whole(&id));
    refs.history.retain(|step| named(step.from) && named(step.to));
    (refs.dropped, refs.held) = (dropped, held);
}

/// Marks what `kept` says, and whatever was named since that was decided.
fn mark_all(replica: &Replica, mut kept: Versions, marker: &mut Marker<'_>, progress: &dyn Progress) -> Result<()> {
    let visit = |marker: &mut Marker<'_>, id: &Hash| -> Result<bool> {
        let first = marker.mark(id)?;
        progress.advance(u64::from(first));
        Ok(first)
    };
    let (store, part, refs) = (replica.store(), replica.part()?, replica.refs()?);
    history(store, &refs, |id, _| {
        kept.entry(id).or_insert_with(|| Version { keep: true, ..Version::default() });
    })?;
    let mut roots = IdSet::default();
    for (id, version) in &kept {
        match Commit::load(store, id) {
            Ok(commit) => {
                marker.mark(id)?;
                if version.keep && roots.insert(commit.root) {
                    match reach::dataset(store, &part, &commit.root, &mut |id| visit(marker, id)) {
                        // Something was named whose data had been given up: what is left of it stays.
                        Err(error) if version.given_up && error.kind() == Kind::NotFound => {}
                        marked => marked?,
                    }
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
    if let Some(engine) = replica.live_if_there()? {
        for content in engine.read(contents::named)? {
            reach::content(store, &content, &mut |id| visit(marker, id))?;
        }
    }
    for files in work::noted(replica)? {
        match reach::tree(store, &part, &syncline_tree::TreeName::Files, &files, &mut |id| visit(marker, id)) {
            // The note may be of a checkout that never began.
            Err(error) if error.kind() == Kind::NotFound => {}
            marked => marked?,
        }
    }
    Ok(())
}
