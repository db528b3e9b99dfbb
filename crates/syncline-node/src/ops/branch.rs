//! `branch` and `tag`: list, make and remove names; `undo`: take back the last move of a branch.

use serde::{Deserialize, Serialize};
use syncline_base::Hash;
use syncline_tree::refs::{self, Move};
use syncline_tree::{DatasetRoot, Refs};

use crate::replica::Replica;
use crate::work::{self, Updated};
use crate::{Error, Result, reach, revision};

/// Which sort of name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Sort {
    /// Moves with every commit.
    Branch,
    /// Stays where it was set.
    Tag,
}

/// What `branch` and `tag` are asked for.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Action {
    /// List the names.
    List,
    /// Make a name at a version (the current one when absent).
    Create {
        /// The name.
        name: String,
        /// The version it names.
        at: Option<String>,
        /// Whether to move a name that exists.
        force: bool,
    },
    /// Remove a name. Its commits stay until garbage collection.
    Delete {
        /// The name.
        name: String,
    },
}

/// A name.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Name {
    /// The name.
    pub name: String,
    /// The commit it points at.
    pub commit: Hash,
    /// Whether it is the branch that commits move.
    pub current: bool,
}

/// The names after the action.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Report {
    /// Branches or tags, in order.
    pub names: Vec<Name>,
    /// The move that was made, if any.
    #[serde(rename = "move", skip_serializing_if = "Option::is_none")]
    pub made: Option<Move>,
}

/// Lists, makes or removes branches or tags.
///
/// # Errors
/// `conflict` when a name is taken, `not-found` when a version or a name does not exist or `gc` has given up the version's
/// data, `invalid` for a bad name.
pub fn run(replica: &Replica, sort: Sort, action: &Action) -> Result<Report> {
    let before = replica.refs()?;
    let made = match action {
        Action::List => None,
        Action::Create { name, at, force } => {
            refs::check_name(name)?;
            let commit = revision::resolve(replica, &before, at.as_deref().unwrap_or("HEAD"))?;
            reach::check_whole(replica.store(), &before, &commit, || format!("a version to name {name:?}"))?;
            Some(set(replica, sort, name, Some(commit), *force)?)
        }
        Action::Delete { name } => Some(set(replica, sort, name, None, true)?),
    };
    let after = replica.refs()?;
    let names = match sort {
        Sort::Branch => &after.branches,
        Sort::Tag => &after.tags,
    };
    let names = names.iter().map(|(name, commit)| Name {
        name: name.clone(),
        commit: *commit,
        current: sort == Sort::Branch && *name == after.head,
    });
    Ok(Report { names: names.collect(), made })
}

fn set(replica: &Replica, sort: Sort, name: &str, to: Option<Hash>, force: bool) -> Result<Move> {
    work::recover(replica)?;
    let planned = replica.refs()?;
    let is_current = |refs: &Refs| sort == Sort::Branch && name == refs.head;
    let change = || change(replica, sort, name, to, force, &planned);
    match to.filter(|_| is_current(&planned)) {
        // The files go with it.
        Some(to) => {
            let (before, after) = (replica.head_root(&planned)?, replica.root_of(&to)?);
            Ok(work::transition(replica, &before, &after, false, change)?.0)
        }
        None => change(),
    }
}

fn change(replica: &Replica, sort: Sort, name: &str, to: Option<Hash>, force: bool, planned: &Refs) -> Result<Move> {
    let word = match sort {
        Sort::Branch => "branch",
        Sort::Tag => "tag",
    };
    let outcome = refs::update(replica.store(), |refs| {
        let hlc = replica.stamp(refs, []);
        let names = if sort == Sort::Branch { &refs.branches } else { &refs.tags };
        let from = names.get(name).copied();
        if let (Some(at), Some(_), false) = (from, to, force) {
            return Ok(Err(Error::conflict(
                format!("making {word} {name:?}"),
                format!("it exists already, at {}; choose another name or add --force", at.short()),
            )));
        }
        if from.is_none() && to.is_none() {
            return Ok(Err(Error::not_found(format!("{word} {name:?}"), format!("known: {:?}", names.keys()))));
        }
        let is_current = sort == Sort::Branch && name == refs.head;
        if is_current && (to.is_none() || refs.has_staged()) {
            return Ok(Err(Error::conflict(
                format!("changing branch {name:?}"),
                "it is the current branch, and cannot be removed, nor moved while changes are staged; check out another one first",
            )));
        }
        if is_current && (refs.head != planned.head || refs.head_commit() != planned.head_commit()) {
            let why = "it was moved or checked out meanwhile; run it again";
            return Ok(Err(Error::conflict(format!("changing branch {name:?}"), why)));
        }
        match sort {
            Sort::Branch => refs.move_branch(name, to, hlc, word),
            Sort::Tag => refs.move_tag(name, to, hlc, "tag"),
        }
        let made = Move { name: format!("{word}/{name}"), from, to, hlc, why: word.to_owned() };
        Ok(Ok(made))
    });
    outcome?
}

/// What `undo` did.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Undone {
    /// The move that took the last one back.
    #[serde(rename = "move")]
    pub made: Move,
    /// What was taken back: `commit`, `merge`, …
    pub undid: String,
    /// What happened to the files.
    #[serde(default)]
    pub files: Updated,
}

/// Moves that record what is there and leave the working directory alone.
const RECORDS: [&str; 3] = ["commit", "import", "alter"];
const UNDO: &str = "undo";

/// Moves the current branch back to where it was before its last move, and the files with it if that move changed them. The
/// commits stay; a second `undo` moves it forward again.
///
/// # Errors
/// `not-found` when no move of the branch is remembered; `conflict` when changes are staged, when files were edited that would
/// change, or when somebody else moves the branch.
pub fn undo(replica: &Replica) -> Result<Undone> {
    work::recover(replica)?;
    let refs = replica.refs()?;
    let last = last_move(&refs)?.clone();
    let made = || {
        refs::update(replica.store(), |now| {
            if now.head != refs.head || last_move(now).ok() != Some(&last) {
                let why = "somebody else moved the branch or staged changes meanwhile; run it again";
                return Ok(Err(Error::conflict(format!("undoing on branch {:?}", refs.head), why)));
            }
            let hlc = replica.stamp(now, []);
            let branch = now.head.clone();
            now.move_branch(&branch, last.from, hlc, UNDO);
            Ok(Ok(Move { name: last.name.clone(), from: last.to, to: last.from, hlc, why: UNDO.into() }))
        })?
    };
    // Undoing an undo does again what the move before all of them did.
    let moves = refs.history.iter().rev().filter(|step| step.name == last.name);
    let first = moves.map(|step| &*step.why).find(|why| *why != UNDO);
    let (made, files) = if first.is_some_and(|why| RECORDS.contains(&why)) {
        (made()?, Updated::default())
    } else {
        let root = |id: Option<Hash>| id.map_or_else(|| Ok(DatasetRoot::default()), |id| replica.root_of(&id));
        work::transition(replica, &root(last.to)?, &root(last.from)?, false, made)?
    };
    Ok(Undone { made, undid: last.why, files })
}

/// The move that would be undone.
fn last_move(refs: &Refs) -> Result<&Move> {
    let branch = &refs.head;
    if refs.has_staged() {
        let why = "changes are staged; commit them or drop them with `syncline checkout --force HEAD`";
        return Err(Error::conflict(format!("undoing on branch {branch:?}"), why));
    }
    let name = format!("branch/{branch}");
    let Some(last) = refs.history.iter().rev().find(|step| step.name == name) else {
        return Err(Error::not_found("a move to undo", format!("none is remembered for branch {branch:?}")));
    };
    if last.to != refs.head_commit() {
        let why =
            format!("the last move of branch {branch:?} is not remembered: `gc` gave up a version that it led from");
        return Err(Error::not_found("a move to undo", why));
    }
    if last.from.is_none() && last.why != UNDO && !RECORDS.contains(&&*last.why) {
        // It has come with its history: without it the next commit would begin one of its own.
        return Err(Error::not_found("a move to undo", format!("branch {branch:?} was only just made")));
    }
    Ok(last)
}
