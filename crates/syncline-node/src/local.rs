//! A replica as the sessions of `syncline-sync` see it: its objects, its refs, and one way to move a ref.
//!
//! Owns no state. Not here: the sessions (`syncline-sync`), the verbs that start one (`crate::ops::transfer`).

use std::collections::BTreeSet;

use bytes::Bytes;
use syncline_base::hash::IdSet;
use syncline_base::{Hash, Kind};
use syncline_store::Store;
use syncline_sync::wire::Left;
use syncline_sync::{Error as SyncError, Local, Part, RefMove};
use syncline_tree::{Commit, DatasetRoot, GivenUp, Log, Refs, commit as graph, refs};

use crate::replica::Replica;
use crate::{Error, Result, change, reach, tags, work};

/// Prefix of a branch's full name on the wire.
pub const BRANCHES: &str = "branches/";
/// Prefix of a tag's full name on the wire.
pub const TAGS: &str = syncline_sync::TAGS;

fn to_sync(error: impl Into<Error>) -> SyncError {
    let error = error.into();
    SyncError::Local { kind: error.kind(), message: error.to_string() }
}

impl Local for Replica {
    fn store(&self) -> &Store {
        Self::store(self)
    }

    fn refs(&self) -> syncline_sync::Result<Vec<(String, Hash)>> {
        let refs = Self::refs(self).map_err(to_sync)?;
        let branches = refs.branches.into_iter().map(|(name, id)| (format!("{BRANCHES}{name}"), id));
        Ok(branches.chain(refs.tags.into_iter().map(|(name, id)| (format!("{TAGS}{name}"), id))).collect())
    }

    fn head(&self) -> syncline_sync::Result<Option<String>> {
        let refs = Self::refs(self).map_err(to_sync)?;
        Ok(refs.head_commit().map(|_| format!("{BRANCHES}{}", refs.head)))
    }

    fn part(&self) -> syncline_sync::Result<Option<Part>> {
        let scope = Self::refs(self).map_err(to_sync)?.scope;
        Ok(scope.map(|scope| Part {
            tables: scope.tables.map(|tables| tables.into_iter().collect()),
            outline: scope.paths.is_some(),
        }))
    }

    fn given_up(&self) -> syncline_sync::Result<GivenUp> {
        let refs = Self::refs(self).map_err(to_sync)?;
        Ok(GivenUp::new(self.store(), &refs)?)
    }

    fn keep_past(&self, past: &[(Hash, Commit, Bytes)]) -> syncline_sync::Result<()> {
        keep_past(self, past).map_err(to_sync)
    }

    fn keep_whole(&self, came: &[Hash]) -> syncline_sync::Result<()> {
        refs::update(self.store(), |refs| Ok(note_whole(self.store(), refs, came))).map_err(to_sync)?.map_err(to_sync)
    }

    fn unnamed(&self) -> syncline_sync::Result<Vec<Hash>> {
        let refs = Self::refs(self).map_err(to_sync)?;
        let mut arrived: Vec<(Hash, u64)> = refs.arrived.into_iter().collect();
        arrived.sort_by_key(|(_, at)| std::cmp::Reverse(*at));
        let seen: BTreeSet<Hash> = refs.remotes.values().flat_map(|peer| peer.branches.values()).copied().collect();
        let mut unnamed: Vec<Hash> = arrived.into_iter().map(|(id, _)| id).collect();
        for id in seen {
            // What was seen of a peer need not have come. What has is kept by collections, and so is all that it stands on.
            if self.store().contains(&id)? {
                unnamed.push(id);
            }
        }
        Ok(unnamed)
    }

    fn keep_arrived(&self, tips: &[Hash], came: &[Hash]) -> syncline_sync::Result<()> {
        let (store, now_ms) = (self.store(), self.clock().now_ms());
        refs::update(store, |refs| Ok(note_whole(store, refs, came).map(|()| refs.note_arrived(store, tips, now_ms))))
            .map_err(to_sync)?
            .map_err(to_sync)
    }

    fn shallow(&self) -> syncline_sync::Result<Vec<Hash>> {
        Ok(Self::refs(self).map_err(to_sync)?.shallow.into_iter().collect())
    }

    fn keep_shallow(&self, shallow: &[Hash]) -> syncline_sync::Result<()> {
        refs::update(self.store(), |refs| {
            refs.shallow.extend(shallow);
            Ok(settle_shallow(self.store(), refs))
        })
        .map_err(to_sync)?
        .map_err(to_sync)
    }

    fn move_ref(&self, request: &RefMove, came: &[Hash]) -> syncline_sync::Result<()> {
        match try_move(self, request, came).map_err(to_sync)? {
            Outcome::Done => Ok(()),
            Outcome::Elsewhere(theirs) => {
                Err(SyncError::Moved { name: request.name.clone(), expected: request.expected, theirs })
            }
        }
    }

    fn make_tags(&self, tags: &[(String, Hash)], came: &[Hash]) -> syncline_sync::Result<Vec<Left>> {
        let named = || tags.iter().filter_map(|(full, id)| Some((full.strip_prefix(TAGS)?, *id)));
        let taken = refs::update(self.store(), |refs| {
            // All of them or, on any error, none.
            let mut after = refs.clone();
            let taken =
                note_whole(self.store(), &mut after, came).and_then(|()| tags::take(self.store(), &mut after, named()));
            Ok(taken.inspect(|_| *refs = after))
        });
        let left = taken.map_err(to_sync)?.map_err(to_sync)?.left;
        Ok(left.into_iter().map(|(name, at)| (format!("{TAGS}{name}"), at)).collect())
    }
}

/// Notes first that the data of these commits is not here: one that is stored without that note counts as complete.
fn keep_past(replica: &Replica, past: &[(Hash, Commit, Bytes)]) -> Result<()> {
    let store = replica.store();
    let mut absent = IdSet::default();
    refs::update(store, |refs| {
        let noted = absent_of(store, refs, past).and_then(|found| {
            absent = found;
            note_past(store, refs, past, &absent)
        });
        Ok(noted)
    })??;
    for (.., record) in past {
        store.put(record)?;
    }
    store.flush()?;
    // A collection in between forgets what it does not find yet.
    refs::update(store, |refs| Ok(note_past(store, refs, past, &absent)))?
}

/// Which of these are not here whole. They were not when they were sent: somebody else may have brought them since.
fn absent_of(store: &Store, refs: &Refs, past: &[(Hash, Commit, Bytes)]) -> Result<IdSet> {
    let given_up = reach::given_up(store, refs)?;
    let mut absent: IdSet = past.iter().map(|(id, ..)| *id).collect();
    let oldest = past.iter().map(|(_, commit, _)| commit.generation).min().unwrap_or_default();
    for step in Log::of_what_is_here(store, refs.commits()) {
        let (id, commit) = step?;
        if commit.generation < oldest {
            break;
        }
        if !given_up.contains(&id) {
            absent.remove(&id);
        }
    }
    Ok(absent)
}

fn note_past(store: &Store, refs: &mut Refs, past: &[(Hash, Commit, Bytes)], absent: &IdSet) -> Result<()> {
    let given_up = reach::given_up(store, refs)?;
    let past = past.iter().filter(|(id, ..)| absent.contains(id));
    let parents: IdSet = past.flat_map(|(_, commit, _)| &commit.parents).copied().collect();
    refs.dropped.extend(absent.difference(&parents));
    refs.held.extend(parents.iter().filter(|id| !absent.contains(*id) && !given_up.contains(*id)));
    Ok(())
}

/// Takes the marks off these commits, where there are any, and leaves them on what is before them.
fn note_whole(store: &Store, refs: &mut Refs, came: &[Hash]) -> Result<()> {
    if refs.dropped.is_empty() {
        return Ok(());
    }
    let given_up = reach::given_up(store, refs)?;
    let whole: IdSet = came.iter().filter(|id| given_up.contains(*id)).copied().collect();
    let mut before = IdSet::default();
    for id in &whole {
        before.extend(Commit::load(store, id)?.parents.into_iter().filter(|id| given_up.contains(id)));
    }
    refs.dropped.extend(before);
    refs.dropped.retain(|id| !whole.contains(id));
    refs.held.extend(whole);
    Ok(())
}

/// Takes the marks off commits before which the history goes on by now, as far as other marks let it.
fn settle_shallow(store: &Store, refs: &mut Refs) -> Result<()> {
    let mut marked = Vec::new();
    for id in &refs.shallow {
        match Commit::load(store, id) {
            Ok(commit) => marked.push((id, commit.parents)),
            // It was collected since, or is damaged.
            Err(error) if matches!(error.kind(), Kind::NotFound | Kind::Corrupt) => {}
            Err(error) => return Err(error.into()),
        }
    }
    let parents: Vec<Hash> = marked.iter().flat_map(|(_, parents)| parents).copied().collect();
    let lacking: IdSet = store.lacking(&parents)?.into_iter().collect();
    let mut joined = Vec::new();
    for (id, parents) in marked {
        if parents.iter().any(|parent| lacking.contains(parent)) {
            continue;
        }
        let mut others = refs.shallow.clone();
        others.remove(id);
        let mut log = Log::with_gaps(store, parents, &others);
        while log.next().transpose()?.is_some() {}
        if log.take_gaps().is_empty() {
            joined.push(*id);
        }
    }
    joined.iter().for_each(|id| _ = refs.shallow.remove(id));
    Ok(())
}

enum Outcome {
    Done,
    /// The ref is here, not where the request expects it.
    Elsewhere(Option<Hash>),
}

fn try_move(replica: &Replica, request: &RefMove, came: &[Hash]) -> Result<Outcome> {
    let (name, is_branch) = match (request.name.strip_prefix(BRANCHES), request.name.strip_prefix(TAGS)) {
        (Some(name), _) => (name, true),
        (_, Some(name)) => (name, false),
        _ => return Err(Error::invalid(format!("moving ref {:?}", request.name), "it is neither a branch nor a tag")),
    };
    refs::check_name(name)?;
    let now = replica.refs()?;
    let at = |refs: &Refs| if is_branch { refs.branches.get(name).copied() } else { refs.tags.get(name).copied() };
    let current = at(&now);
    if current != request.expected {
        // A reply that was lost makes a peer ask again for what is done already.
        return Ok(if current == request.target { Outcome::Done } else { Outcome::Elsewhere(current) });
    }
    let (before, after) = check(replica, request, current, is_branch)?;
    let commit = || {
        refs::update(replica.store(), |refs| {
            let found = at(refs);
            if found != request.expected {
                return Ok(Ok(Outcome::Elsewhere(found)));
            }
            // Another session may have marked what came with this one: no name led to it yet. And `gc` may have been told to
            // give the target up since it was looked at.
            if let Err(error) =
                note_whole(replica.store(), refs, came).and_then(|()| check_is_kept(replica, refs, request))
            {
                return Ok(Err(error));
            }
            // What is staged was made on the version that the branch is at: committed on another one it would undo that.
            if is_branch && name == refs.head && refs.has_staged() {
                let why = "it is the current branch there and changes are staged; commit them there or push to another branch";
                return Ok(Err(Error::conflict(format!("moving branch {name:?}"), why)));
            }
            // The files there go along with the branch that was current when they were looked at.
            if replica.worktree().is_some() && refs.head != now.head {
                let why = "another branch was checked out there meanwhile; run it again";
                return Ok(Err(Error::conflict(format!("moving {name:?}"), why)));
            }
            let hlc = replica.stamp(refs, []);
            if is_branch {
                refs.move_branch(name, request.target, hlc, "push");
            } else {
                refs.move_tag(name, request.target, hlc, "push");
            }
            Ok(Ok(Outcome::Done))
        })?
    };
    if is_branch && name == now.head && replica.worktree().is_some() {
        return Ok(work::transition(replica, &before, &after, false, commit).map_err(there)?.0);
    }
    commit()
}

/// What keeps the files of this replica from going along, for who is elsewhere and can do nothing about them.
fn there(error: Error) -> Error {
    match error {
        Error::Conflict { what, why } if what == work::CHANGING => {
            let why = why.rsplit_once("; ").map_or(&*why, |(why, _)| why).replace("edited here", "edited there");
            let what = "moving the branch that is checked out there";
            Error::conflict(what, format!("{why}; commit them or move them away there, or push another branch"))
        }
        other => other,
    }
}

/// A name must not lead to a version whose data was given up.
fn check_is_kept(replica: &Replica, refs: &Refs, request: &RefMove) -> Result<()> {
    let Some(target) = request.target else { return Ok(()) };
    if !reach::is_given_up(replica.store(), refs, &target)? {
        return Ok(());
    }
    let why = format!("the data of {} was given up by `gc` there", target.short());
    Err(Error::not_found(format!("a version to name {:?}", request.name), why))
}

/// Checks that a move may be made; returns the dataset roots before and after it.
fn check(
    replica: &Replica,
    request: &RefMove,
    current: Option<Hash>,
    is_branch: bool,
) -> Result<(DatasetRoot, DatasetRoot)> {
    let root = |id: Option<Hash>| id.map_or_else(|| Ok(DatasetRoot::default()), |id| replica.root_of(&id));
    check_is_kept(replica, &replica.refs()?, request)?;
    let (before, after) = (root(current)?, root(request.target)?);
    if let (Some(from), Some(to), false) = (current, request.target, request.force) {
        if !is_branch && from != to {
            return Err(Error::conflict(
                format!("moving {}", request.name),
                "a tag stays where it was set; use --force",
            ));
        }
        if !graph::is_ancestor(replica.store(), from, to)? {
            let why = format!(
                "it is at {}, which is not in the history of {}; pull and merge first",
                from.short(),
                to.short()
            );
            return Err(Error::conflict(format!("moving {}", request.name), why));
        }
    }
    if is_branch && request.target.is_some() {
        change::guard_between(replica, &before, &after, request.allow_mass_delete)?;
    }
    Ok((before, after))
}
