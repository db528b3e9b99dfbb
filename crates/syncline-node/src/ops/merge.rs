//! `merge`: bring another version's changes into the current branch, row by row and cell by cell.

use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use syncline_base::Hash;
use syncline_tree::conflicts::Item;
use syncline_tree::refs::{self, Merging};
use syncline_tree::{Conflicts, DatasetRoot, Refs, dataset};

use super::commit::{self, NewCommit};
use crate::change::{self, TreeChange};
use crate::replica::Replica;
use crate::{Error, Result, blend, reach, revision, work};

/// What `merge` is asked for.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct Request {
    /// The version to merge in: a branch, or any other name of a version.
    pub name: String,
    /// Why; made up from the names when absent.
    #[serde(default)]
    pub message: Option<String>,
    /// Who commits, when it is not the replica's user.
    #[serde(default)]
    pub author: Option<String>,
    /// Whether it may delete more than half of a table or of the files.
    #[serde(default)]
    pub allow_mass_delete: bool,
}

/// How a merge ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Outcome {
    /// The current branch already has all of it.
    UpToDate,
    /// The current branch had nothing of its own: it moved forward.
    FastForward,
    /// A merge commit was made.
    Merged,
    /// Rows are in conflict; everything else is staged. Nothing was committed.
    Conflicts,
}

/// What `merge` did.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Report {
    /// How it ended.
    pub outcome: Outcome,
    /// The commit of the current branch now.
    pub commit: Hash,
    /// The content root: of that commit, or of what is staged when there are conflicts.
    pub root: Hash,
    /// The best common ancestor.
    pub base: Option<Hash>,
    /// What changed against the version before.
    pub changes: Vec<TreeChange>,
    /// How many rows are in conflict.
    pub conflicts: usize,
    /// How long it took.
    pub seconds: f64,
}

/// Merges another version into the current branch. With conflicts nothing is committed: what could be merged is
/// staged, and the merge waits for `resolve` and `commit`.
///
/// # Errors
/// `conflict` when changes are staged or files were edited; `not-found` when the version does not exist or `gc` has given
/// up its data; `denied` when most of a tree would be deleted.
pub fn run(replica: &Replica, request: &Request) -> Result<Report> {
    work::recover(replica)?;
    let theirs = revision::resolve(replica, &replica.refs()?, &request.name)?;
    merge(replica, request, theirs)
}

/// As `run`, of the commit `theirs`: the request's name is only told.
///
/// # Errors
/// As `run`.
pub(super) fn merge(replica: &Replica, request: &Request, theirs: Hash) -> Result<Report> {
    let started = replica.clock().monotonic();
    work::recover(replica)?;
    let refs = replica.refs()?;
    let store = replica.store();
    let ours = refs.head_commit().ok_or_else(Error::no_commit_yet)?;
    if refs.has_staged() {
        let why = "a merge or other changes are staged; commit them or drop them with `syncline checkout --force HEAD`";
        return Err(Error::conflict(format!("merging {:?}", request.name), why));
    }
    let ours_root = replica.root_of(&ours)?;
    let base = dataset::merge_base(store, &ours, &theirs)?;
    let mut report = Report {
        outcome: Outcome::UpToDate,
        commit: ours,
        root: ours_root.hash(),
        base,
        changes: Vec::new(),
        conflicts: 0,
        seconds: 0.0,
    };
    if base != Some(theirs) {
        reach::check_whole(store, &refs, &theirs, || format!("the data of {:?} to merge", request.name))?;
        let theirs_root = replica.root_of(&theirs)?;
        let base_root = base.map(|id| replica.root_of(&id)).transpose()?.unwrap_or_default();
        let plan = Plan { request, refs: &refs, ours, theirs, base, ours_root };
        if base == Some(ours) {
            plan.fast_forward(replica, &theirs_root, &mut report)?;
        } else {
            let (mut merged, items) = dataset::merge_roots(store, &base_root, &plan.ours_root, &theirs_root)?;
            let what = format!("merging {:?}", request.name);
            let advice = "rename or remove one of each here, commit, and merge again";
            blend::settle(store, [&plan.ours_root, &theirs_root], &mut merged, &what, advice)?;
            plan.finish(replica, merged, items, &mut report)?;
        }
    }
    report.seconds = (replica.clock().monotonic() - started).as_secs_f64();
    Ok(report)
}

struct Plan<'a> {
    request: &'a Request,
    /// What it was planned on.
    refs: &'a Refs,
    ours: Hash,
    theirs: Hash,
    base: Option<Hash>,
    ours_root: DatasetRoot,
}

impl Plan<'_> {
    fn check(&self, replica: &Replica, after: &DatasetRoot, report: &mut Report) -> Result<()> {
        report.changes = change::between(replica, &self.ours_root, after)?;
        report.root = after.hash();
        change::guard(&report.changes, self.request.allow_mass_delete)
    }

    fn fast_forward(&self, replica: &Replica, after: &DatasetRoot, report: &mut Report) -> Result<()> {
        self.check(replica, after, report)?;
        work::transition(replica, &self.ours_root, after, false, || {
            refs::update(replica.store(), |refs| {
                if !refs.has_work_of(self.refs) {
                    return Ok(Err(self.overtaken()));
                }
                let (branch, hlc) = (refs.head.clone(), replica.stamp(refs, []));
                refs.move_branch(&branch, Some(self.theirs), hlc, "merge");
                Ok(Ok(()))
            })?
        })?;
        report.commit = self.theirs;
        report.outcome = Outcome::FastForward;
        Ok(())
    }

    fn overtaken(&self) -> Error {
        Error::conflict(
            format!("merging {:?}", self.request.name),
            "somebody else committed or staged changes meanwhile; run it again",
        )
    }

    fn finish(&self, replica: &Replica, merged: DatasetRoot, items: Vec<Item>, report: &mut Report) -> Result<()> {
        self.check(replica, &merged, report)?;
        report.conflicts = items.len();
        let (moved, _) = if items.is_empty() {
            report.outcome = Outcome::Merged;
            work::transition(replica, &self.ours_root, &merged, false, || self.commit(replica, &merged))?
        } else {
            report.outcome = Outcome::Conflicts;
            work::transition(replica, &self.ours_root, &merged, false, || self.wait(replica, &merged, items))?
        };
        report.commit = moved;
        Ok(())
    }

    fn commit(&self, replica: &Replica, merged: &DatasetRoot) -> Result<Hash> {
        let message = self.request.message.clone().unwrap_or_else(|| format!("merge {}", self.request.name));
        let new = NewCommit {
            parents: vec![self.ours, self.theirs],
            root: merged.clone(),
            author: self.request.author.clone(),
            message,
            meta: BTreeMap::new(),
            why: "merge",
        };
        Ok(commit::append(replica, self.refs, &new)?.0)
    }

    fn wait(&self, replica: &Replica, merged: &DatasetRoot, items: Vec<Item>) -> Result<Hash> {
        let staged = merged.put(replica.store())?;
        let conflicts = Conflicts { items }.put(replica.store())?;
        let name = self.request.name.clone();
        let waiting = Merging { theirs: self.theirs, base: self.base, name, conflicts };
        refs::update(replica.store(), |refs| {
            if !refs.has_work_of(self.refs) {
                return Ok(Err(self.overtaken()));
            }
            refs.staged = Some(staged);
            refs.merging = Some(waiting.clone());
            Ok(Ok(self.ours))
        })?
    }
}
