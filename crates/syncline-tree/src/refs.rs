//! Refs: the names of a dataset (branches, tags, what peers were seen to have) and the work in progress, as one
//! document that moves by compare-and-swap.
//!
//! Layout: `docs/format/records.md`. State: the store's head document, nothing in memory between calls.
//! After a crash: the document is the old one or the new one, whole. It only ever names objects that were durable
//! before it was swapped in.
//!
//! Not here: how the swap is made atomic (`syncline-store`), which moves are allowed (`syncline-node`).

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use serde::{Deserialize, Serialize};
use syncline_base::{Hash, Hlc, Kind};
use syncline_store::{HeadVersion, Store};

use crate::record::{self, Record};
use crate::{Commit, Error, GivenUp, Log, Result};

/// How many moves the document remembers. Older ones are dropped, so that a commit costs the same whatever the age.
pub const HISTORY_MAX: usize = 200;
/// How many commits without a name are remembered at most.
pub const ARRIVED_MAX: usize = 16;
/// How often [`update`] tries again when somebody else was faster.
const SWAP_TRIES: usize = 64;

/// All names of a dataset and its work in progress.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Refs {
    /// The branch that a commit moves.
    pub head: String,
    /// Branches: name to commit.
    pub branches: BTreeMap<String, Hash>,
    /// Tags: name to commit. A tag is not moved once it is set.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub tags: BTreeMap<String, Hash>,
    /// Peers by name: where they are and what their branches were when last seen.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub remotes: BTreeMap<String, Remote>,
    /// What this replica holds, when that is not everything.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub scope: Option<Scope>,
    /// The content root of changes that are not committed yet.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub staged: Option<Hash>,
    /// A merge that waits for its conflicts to be resolved.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub merging: Option<Merging>,
    /// Versions whose data garbage collection has given up, and with it that of their ancestors down to what is `held`:
    /// the newest of each line.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub dropped: BTreeSet<Hash>,
    /// Ancestors of what is `dropped` whose data is kept, and with it that of their own ancestors: the newest of each line.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub held: BTreeSet<Hash>,
    /// Commits that came without all of their parents: the history that this replica has ends there.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub shallow: BTreeSet<Hash>,
    /// Commits that transfers have brought whole before they were cut off, and when, in Unix milliseconds: no name leads to
    /// them yet. The newest of each line.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub arrived: BTreeMap<Hash, u64>,
    /// The last moves, oldest first: what undo goes back along, and what garbage collection keeps.
    #[serde(default, skip_serializing_if = "VecDeque::is_empty")]
    pub history: VecDeque<Move>,
}

/// A peer.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Remote {
    /// Where it is.
    pub url: String,
    /// Its branches when last seen.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub branches: BTreeMap<String, Hash>,
}

/// The part of a dataset that a replica holds. Every commit and every root is here in any case.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Scope {
    /// Only these tables (`files` is the file tree); all when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tables: Option<BTreeSet<String>>,
    /// Only the contents of files that match, by patterns as in `.gitignore`; all when absent, none when empty. Which
    /// files there are, and the contents of short ones, is here in any case.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub paths: Option<Vec<String>>,
}

/// A merge under way: the staged root holds what is merged so far, with our side in every conflicting cell.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Merging {
    /// The commit that is being merged in.
    pub theirs: Hash,
    /// The best common ancestor, if any.
    pub base: Option<Hash>,
    /// What the merge was asked for, for the message of its commit.
    pub name: String,
    /// The record that lists what is still in conflict.
    pub conflicts: Hash,
}

/// One move of one name.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Move {
    /// `branch/NAME` or `tag/NAME`.
    pub name: String,
    /// Where it was; absent when the move created it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub from: Option<Hash>,
    /// Where it went; absent when the move removed it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub to: Option<Hash>,
    /// When.
    pub hlc: Hlc,
    /// What did it: `commit`, `merge`, `rollback`, `push`, …
    pub why: String,
}

impl Record for Refs {
    const KIND: &'static str = "refs";
    const VERSION: u32 = 1;
}

impl Refs {
    /// The names of a new, empty dataset.
    #[must_use]
    pub fn new(head: &str) -> Self {
        Self {
            head: head.to_owned(),
            branches: BTreeMap::new(),
            tags: BTreeMap::new(),
            remotes: BTreeMap::new(),
            scope: None,
            staged: None,
            merging: None,
            dropped: BTreeSet::new(),
            shallow: BTreeSet::new(),
            held: BTreeSet::new(),
            arrived: BTreeMap::new(),
            history: VecDeque::new(),
        }
    }

    /// Reads the current names and the version to swap against. A store without a document has no names yet.
    ///
    /// # Errors
    /// The store's; `corrupt` when the document is damaged.
    pub fn load(store: &Store) -> Result<(Self, HeadVersion)> {
        let (bytes, version) = store.head()?;
        if bytes.is_empty() {
            return Ok((Self::new("main"), version));
        }
        let refs = record::decode(&bytes).map_err(|error| match error.kind() {
            Kind::Corrupt => Error::corrupt(format!(
                "{error}; `syncline repair --from URL` takes branches and tags from another copy, or put the head back from a backup"
            )),
            _ => error,
        })?;
        Ok((refs, version))
    }

    /// The commit that the current branch points at.
    #[must_use]
    pub fn head_commit(&self) -> Option<Hash> {
        self.branches.get(&self.head).copied()
    }

    /// Whether the current branch, where it is, and what is staged or waits to be merged are as in `planned`. Whoever replaces any
    /// of it asks, as somebody else may have put work there since.
    #[must_use]
    pub fn has_work_of(&self, planned: &Self) -> bool {
        self.head == planned.head
            && self.head_commit() == planned.head_commit()
            && self.staged == planned.staged
            && self.merging == planned.merging
    }

    /// Whether changes or a merge are staged on the current branch.
    #[must_use]
    pub fn has_staged(&self) -> bool {
        self.staged.is_some() || self.merging.is_some()
    }

    /// Moves a branch and remembers the move. `None` removes it.
    pub fn move_branch(&mut self, name: &str, to: Option<Hash>, hlc: Hlc, why: &str) {
        let from = match to {
            Some(to) => self.branches.insert(name.to_owned(), to),
            None => self.branches.remove(name),
        };
        self.remember(Move { name: format!("branch/{name}"), from, to, hlc, why: why.to_owned() });
    }

    /// Sets or removes a tag and remembers the move.
    pub fn move_tag(&mut self, name: &str, to: Option<Hash>, hlc: Hlc, why: &str) {
        let from = match to {
            Some(to) => self.tags.insert(name.to_owned(), to),
            None => self.tags.remove(name),
        };
        self.remember(Move { name: format!("tag/{name}"), from, to, hlc, why: why.to_owned() });
    }

    /// Sets a tag as another replica has it. That is no move to remember: many of them would push out those that undo needs.
    pub fn take_tag(&mut self, name: &str, to: Hash) {
        self.tags.insert(name.to_owned(), to);
    }

    fn remember(&mut self, step: Move) {
        if step.from == step.to {
            return;
        }
        self.history.push_back(step);
        while self.history.len() > HISTORY_MAX {
            self.history.pop_front();
        }
    }

    /// Every commit that some name holds now or held in the remembered past: what must not be collected.
    pub fn commits(&self) -> impl Iterator<Item = Hash> + '_ {
        let seen = self.remotes.values().flat_map(|remote| remote.branches.values().copied());
        self.own_commits().chain(seen)
    }

    /// Those of [`Self::commits`] that have to be here: what peers were seen to have need not be.
    pub fn own_commits(&self) -> impl Iterator<Item = Hash> + '_ {
        let named = self.branches.values().chain(self.tags.values()).copied();
        let merging = self.merging.iter().flat_map(|m| std::iter::once(m.theirs).chain(m.base));
        let past = self.history.iter().flat_map(|m| m.from.into_iter().chain(m.to));
        named.chain(merging).chain(past).chain(self.arrived.keys().copied())
    }

    /// Notes commits that have come whole and durable before a name leads to them, at this time. What they stand on needs no
    /// note of its own any more; of more than [`ARRIVED_MAX`] the oldest are forgotten.
    pub fn note_arrived(&mut self, store: &Store, tips: &[Hash], now_ms: u64) {
        let mut older = std::mem::take(&mut self.arrived);
        older.retain(|id, _| !tips.contains(id));
        forget_reached(store, &mut older, tips);
        self.arrived = older;
        self.arrived.extend(tips.iter().map(|id| (*id, now_ms)));
        while self.arrived.len() > ARRIVED_MAX {
            let Some(oldest) = self.arrived.iter().min_by_key(|(_, at)| **at).map(|(id, _)| *id) else { return };
            self.arrived.remove(&oldest);
        }
    }

    /// The newest timestamp in the document.
    #[must_use]
    pub fn newest(&self) -> Hlc {
        self.history.iter().map(|m| m.hlc).max().unwrap_or_default()
    }
}

/// Changes the names: reads them, applies `change`, and swaps the result in; again from the start when somebody else
/// was faster, so `change` must decide from what it is given. Makes every object put before it durable first.
///
/// A swap that took effect while its reply was lost looks like somebody else's once others have gone on from it: when the history
/// has the very moves that were tried, they were made.
///
/// No name comes to lead to data that garbage collection has given up; one that leads there already may stay.
///
/// # Errors
/// What `change` returns; the store's; `not-found` when a name would lead to what was given up; `unavailable` when others were
/// faster 64 times in a row.
pub fn update<T>(store: &Store, mut change: impl FnMut(&mut Refs) -> Result<T>) -> Result<T> {
    let mut tried: Option<(Vec<Move>, T)> = None;
    for _ in 0..SWAP_TRIES {
        let (before, version) = Refs::load(store)?;
        if let Some((moves, result)) = tried.take()
            && !moves.is_empty()
            && moves.iter().all(|step| before.history.contains(step))
        {
            return Ok(result);
        }
        let mut after = before.clone();
        let result = change(&mut after)?;
        forget_named(store, &before, &mut after);
        if after == before {
            return Ok(result);
        }
        check_named(store, &before, &after)?;
        store.flush()?;
        match store.swap_head(&version, &record::encode(&after)) {
            Ok(_) => return Ok(result),
            Err(error) if error.kind() == Kind::Conflict => {
                let new = after.history.into_iter().filter(|step| !before.history.contains(step));
                tried = Some((new.collect(), result));
            }
            Err(error) => return Err(error.into()),
        }
    }
    Err(Error::Unavailable(format!("moving a ref: other writers were faster {SWAP_TRIES} times in a row; try again")))
}

/// What to [`restore`] against when the document is damaged or gone; `None` while it can be read.
///
/// # Errors
/// The store's.
pub fn lost(store: &Store) -> Result<Option<HeadVersion>> {
    if let Some(version) = store.broken_head()? {
        return Ok(Some(version));
    }
    match Refs::load(store) {
        Err(error) if error.kind() == Kind::Corrupt => Ok(Some(store.head()?.1)),
        other => other.map(|_| None),
    }
}

/// Puts a document where it was [`lost`].
///
/// # Errors
/// `conflict` when somebody else has put one there; the store's.
pub fn restore(store: &Store, lost: &HeadVersion, refs: &Refs) -> Result<()> {
    store.flush()?;
    store.swap_head(lost, &record::encode(refs))?;
    Ok(())
}

/// What a name leads to by now has arrived for good.
fn forget_named(store: &Store, before: &Refs, after: &mut Refs) {
    if after.arrived.is_empty() {
        return;
    }
    let named = |refs: &Refs| -> BTreeSet<Hash> {
        let merging = refs.merging.iter().map(|merging| merging.theirs);
        refs.branches.values().chain(refs.tags.values()).copied().chain(merging).collect()
    };
    let new: Vec<Hash> = named(after).difference(&named(before)).copied().collect();
    forget_reached(store, &mut after.arrived, &new);
}

/// Takes out what is in the history of `from`. Where that cannot be told it stays: it only takes room until `gc` forgets it.
fn forget_reached(store: &Store, arrived: &mut BTreeMap<Hash, u64>, from: &[Hash]) {
    if from.is_empty() {
        return;
    }
    let generation = |id: &Hash| Commit::load(store, id).map_or(0, |commit| commit.generation);
    let Some(floor) = arrived.keys().map(generation).min() else { return };
    for step in Log::of_what_is_here(store, from.iter().copied()) {
        let Ok((id, commit)) = step else { return };
        if arrived.is_empty() || commit.generation < floor {
            return;
        }
        arrived.remove(&id);
    }
}

/// Refuses names that newly lead to what was given up: whoever follows them would find nothing.
fn check_named(store: &Store, before: &Refs, after: &Refs) -> Result<()> {
    if after.dropped.is_empty() {
        return Ok(());
    }
    let named: BTreeSet<Hash> = before.branches.values().chain(before.tags.values()).copied().collect();
    let names = after.branches.iter().chain(&after.tags);
    let mut given_up = None;
    for (name, id) in names.filter(|(_, id)| !named.contains(*id)) {
        let given_up = match &mut given_up {
            Some(known) => known,
            none => none.insert(GivenUp::new(store, after)?),
        };
        if given_up.contains(id, Commit::load(store, id)?.generation)? {
            return Err(Error::NotFound(format!(
                "naming {} {name:?}: `gc` was told to give up the data of that version; clone a replica that still has it, and \
                 do it there",
                id.short()
            )));
        }
    }
    Ok(())
}

/// Checks a name for a branch or a tag: 1 to 200 bytes of letters, digits, `_`, `-`, `.` and `/`; no empty part, no
/// part that starts with `.` or `-`, and not something that reads as a hash.
///
/// # Errors
/// `invalid`, with the rule.
pub fn check_name(name: &str) -> Result<()> {
    let allowed = |c: char| c.is_alphanumeric() || matches!(c, '_' | '-' | '.');
    let part = |p: &str| !p.is_empty() && p.chars().all(allowed) && !p.starts_with(['.', '-']);
    let like_a_hash = name.len() >= 8 && name.chars().all(|c| c.is_ascii_hexdigit());
    if name.is_empty() || name.len() > 200 || !name.split('/').all(part) || name == "HEAD" || like_a_hash {
        return Err(Error::invalid(format!(
            "ref name {name:?}: use 1 to 200 bytes of letters, digits, '_', '-', '.' and '/', no part starting with \
             '.' or '-', not HEAD, and nothing that could be a hash"
        )));
    }
    Ok(())
}

#[cfg(test)]
mod tests;
