//! Which commits one side has and the other lacks.
//!
//! Owns nothing. Relies on a commit's generation being larger than its parents', so that a walk from the largest
//! generation down sees every child before its parents; the receiver checks that before it stores a commit.

use std::collections::{BTreeMap, BTreeSet, BinaryHeap};

use syncline_base::hash::IdSet;
use syncline_base::{Hash, Kind};
use syncline_store::Store;
use syncline_tree::{Commit, GivenUp, Log};

use crate::error::{Error, Result};

/// Commits to send.
#[derive(Debug, Clone, Default)]
pub(crate) struct Plan {
    /// The commits, parents first.
    pub(crate) commits: Vec<Hash>,
    /// Commits the receiver has, on which the first of `commits` stand.
    pub(crate) common: IdSet,
    /// Commits between the two that only their record is left of.
    pub(crate) past: Vec<Hash>,
}

#[derive(Debug, Clone, Copy)]
struct Mark {
    /// In the history of what is wanted.
    wanted: bool,
    /// In the history of what the receiver has.
    known: bool,
    /// Steps from the nearest wanted head.
    distance: u32,
}

/// What the receiver says of itself.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Theirs<'a> {
    /// Commits that it has.
    pub(crate) heads: &'a [Hash],
    /// Commits that it lacks although it has some that follow from them.
    pub(crate) lacks: &'a IdSet,
}

/// What this side has.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Ours<'a> {
    pub(crate) store: &'a Store,
    /// Commits that came without all of their parents: the history here ends there.
    pub(crate) shallow: &'a IdSet,
}

/// The commits in the history of `wants` that are not in that of the receiver, at most `depth` from a want.
/// Heads that this store does not have are passed over. Of what is in `gone` only the records can be sent: that joins the
/// histories of both sides when there is something common before it; otherwise nothing from there on back is sent.
///
/// # Errors
/// The store's; `corrupt` when a commit to send is missing, or its parent is although it is not where a shallow history ends:
/// the receiver could not tell what it was sent from all there is.
pub(crate) fn plan(
    ours: Ours<'_>,
    wants: &[Hash],
    theirs: Theirs<'_>,
    depth: Option<u32>,
    gone: &mut GivenUp,
) -> Result<Plan> {
    let joins = depth.is_none() && !theirs.heads.is_empty();
    let depth = depth.unwrap_or(u32::MAX);
    let mut walk = Walk { store: ours.store, marks: BTreeMap::new(), heap: BinaryHeap::new(), pending: 0 };
    for want in wants {
        if !walk.enter(*want, Mark { wanted: true, known: false, distance: 0 })? {
            return Err(lost(want));
        }
    }
    // A look for each of them would be a listing of the store for each that is not here.
    let absent: IdSet = ours.store.missing(theirs.heads)?.into_iter().collect();
    for head in theirs.heads.iter().filter(|head| !absent.contains(*head)) {
        walk.enter(*head, Mark { wanted: false, known: true, distance: u32::MAX })?;
    }
    let mut plan = Plan::default();
    while walk.pending > 0 {
        let Some((generation, id)) = walk.heap.pop() else { break };
        let mark = walk.marks[&id];
        let send = mark.wanted && !mark.known;
        if send {
            walk.pending -= 1;
            // Commits come by generation: by now it is known whether the receiver has this one.
            if !gone.contains(&id, generation)? {
                plan.commits.push(id);
            } else if joins {
                plan.past.push(id);
            } else {
                continue;
            }
        }
        let distance = mark.distance.saturating_add(1);
        if send && distance >= depth {
            continue;
        }
        for parent in Commit::load(ours.store, &id)?.parents {
            // Where the receiver's history ends, nothing follows from what it has; what is wanted for itself may go on.
            if mark.known && theirs.lacks.contains(&parent) {
                continue;
            }
            if !walk.enter(parent, Mark { distance, ..mark })? && send && !ours.shallow.contains(&id) {
                return Err(lost(&parent));
            }
        }
    }
    plan.commits.reverse();
    // Both sides' histories meet in these; most of them were never taken from the heap.
    plan.common = walk.marks.iter().filter(|(_, mark)| mark.wanted && mark.known).map(|(id, _)| *id).collect();
    if plan.common.is_empty() && !plan.past.is_empty() {
        return self::plan(ours, wants, Theirs { heads: &[], lacks: theirs.lacks }, None, gone);
    }
    plan.past.reverse();
    Ok(plan)
}

struct Walk<'a> {
    store: &'a Store,
    marks: BTreeMap<Hash, Mark>,
    heap: BinaryHeap<(u64, Hash)>,
    /// How many commits in the heap would be sent as things stand.
    pending: usize,
}

impl Walk<'_> {
    /// False when it is not here.
    fn enter(&mut self, id: Hash, mark: Mark) -> Result<bool> {
        let send = |mark: &Mark| usize::from(mark.wanted && !mark.known);
        if let Some(old) = self.marks.get_mut(&id) {
            self.pending -= send(old);
            old.wanted |= mark.wanted;
            old.known |= mark.known;
            old.distance = old.distance.min(mark.distance);
            self.pending += send(old);
            return Ok(true);
        }
        if !self.store.contains(&id)? {
            return Ok(false);
        }
        let generation = Commit::load(self.store, &id)?.generation;
        self.pending += send(&mark);
        self.marks.insert(id, mark);
        self.heap.push((generation, id));
        Ok(true)
    }
}

/// A commit has to be here and is not.
fn lost(id: &Hash) -> Error {
    let why = format!(
        "the history is damaged: version {} is not in the replica that sends it; `syncline verify` there says what else is \
         missing, `syncline repair --from URL` brings it from another copy",
        id.short()
    );
    syncline_tree::Error::corrupt(why).into()
}

/// Says so when one of `heads` does not have all of its history here although it should.
///
/// # Errors
/// `corrupt` then; the store's.
pub(crate) fn check(store: &Store, heads: &[Hash], shallow: &[Hash]) -> Result<()> {
    let mut log = Log::with_gaps(store, heads.iter().copied(), &shallow.iter().copied().collect());
    while log.next().transpose()?.is_some() {}
    let Some(gap) = log.take_gaps().into_iter().next() else { return Ok(()) };
    let why = format!(
        "the history of this replica is damaged: version {} is not in it; `syncline verify` says what else is missing, \
         `syncline repair --from URL` brings it from another copy",
        gap.id.short()
    );
    Err(syncline_tree::Error::corrupt(why).into())
}

/// The most ancestors that are told to a peer that knows none of our heads.
const HAVES_MAX: usize = 512;
/// How many heads are followed for that.
const HAVES_HEADS: usize = 16;

/// Ancestors of `heads`: the nearest eight of each, then ever sparser ones. A common base is at most twice as far away as
/// the best one.
///
/// # Errors
/// The store's.
pub(crate) fn haves(store: &Store, heads: &[Hash]) -> Result<Vec<Hash>> {
    let mut haves = Vec::new();
    let mut seen = IdSet::default();
    for head in heads.iter().take(HAVES_HEADS) {
        let (mut id, mut distance, mut next) = (*head, 0u64, 0u64);
        while haves.len() < HAVES_MAX && store.contains(&id)? {
            if distance >= next {
                if !seen.insert(id) {
                    break;
                }
                haves.push(id);
                next = if distance < 8 { distance + 1 } else { distance * 2 };
            }
            let Some(parent) = Commit::load(store, &id)?.parents.first().copied() else {
                if seen.insert(id) {
                    haves.push(id);
                }
                break;
            };
            (id, distance) = (parent, distance + 1);
        }
    }
    Ok(haves)
}

/// The parents that these shallow commits came without and that are not here yet, at most `most`.
///
/// # Errors
/// The store's.
pub(crate) fn lacks(store: &Store, shallow: &[Hash], most: usize) -> Result<Vec<Hash>> {
    let mut parents = Vec::new();
    for id in shallow {
        match Commit::load(store, id) {
            Ok(commit) => {
                parents.extend(commit.parents);
            }
            // It was collected since.
            Err(error) if error.kind() == Kind::NotFound => {}
            Err(error) => return Err(error.into()),
        }
    }
    let lacks: BTreeSet<Hash> = store.missing(&parents)?.into_iter().collect();
    Ok(lacks.into_iter().take(most).collect())
}

/// Whether `id` is one of `heads` or in their history.
///
/// # Errors
/// The store's.
pub(crate) fn reaches(store: &Store, heads: &[Hash], id: Hash) -> Result<bool> {
    Ok(heads.contains(&id) || reached(store, heads, &[id])?.contains(&id))
}

/// Which of `ids` are among `heads` or in their history, by one walk.
///
/// # Errors
/// The store's.
pub(crate) fn reached(store: &Store, heads: &[Hash], ids: &[Hash]) -> Result<IdSet> {
    let named: IdSet = heads.iter().copied().collect();
    let (mut found, mut open) = (IdSet::default(), IdSet::default());
    let mut floor = u64::MAX;
    let absent: IdSet = store.missing(ids)?.into_iter().collect();
    for id in ids {
        if named.contains(id) {
            found.insert(*id);
        } else if !absent.contains(id) && open.insert(*id) {
            floor = floor.min(Commit::load(store, id)?.generation);
        }
    }
    let mut seen = IdSet::default();
    let mut heap = BinaryHeap::new();
    let mut enter = |heap: &mut BinaryHeap<(u64, Hash)>, id: Hash| -> Result<()> {
        if seen.insert(id) && store.contains(&id)? {
            heap.push((Commit::load(store, &id)?.generation, id));
        }
        Ok(())
    };
    for head in heads {
        if open.is_empty() {
            break;
        }
        enter(&mut heap, *head)?;
    }
    while let Some((generation, next)) = heap.pop() {
        if open.remove(&next) {
            found.insert(next);
        }
        if open.is_empty() {
            break;
        }
        if generation <= floor {
            continue;
        }
        for parent in Commit::load(store, &next)?.parents {
            enter(&mut heap, parent)?;
        }
    }
    Ok(found)
}

#[cfg(test)]
mod tests;
