//! Revisions: how users name a version.
//!
//! `HEAD`, a branch, a tag, `REMOTE/BRANCH`, a commit's hash or at least 8 digits of it; then any number of `~N` (the
//! N-th first parent) and `^` (the first parent). Owns no state.

use syncline_base::Hash;
use syncline_tree::{Commit, Log, Refs};

use crate::Replica;
use crate::error::{Error, Result};

/// The commit that `text` names.
///
/// # Errors
/// `not-found` when nothing has that name, `invalid` when a shortened hash fits several commits.
pub fn resolve(replica: &Replica, refs: &Refs, text: &str) -> Result<Hash> {
    let end = text.find(['~', '^']).unwrap_or(text.len());
    let (name, mut steps) = text.split_at(end);
    let mut commit = resolve_name(replica, refs, name)?;
    while let Some(kind) = steps.chars().next() {
        steps = &steps[1..];
        let digits = steps.len() - steps.trim_start_matches(|c: char| c.is_ascii_digit()).len();
        let (number, rest) = steps.split_at(if kind == '~' { digits } else { 0 });
        let count: u64 = if number.is_empty() { 1 } else { number.parse().map_err(|_| unreadable(text))? };
        if !(rest.is_empty() || rest.starts_with(['~', '^'])) {
            return Err(unreadable(text));
        }
        for _ in 0..count {
            let parents = Commit::load(replica.store(), &commit)?.parents;
            let parent = *parents.first().ok_or_else(|| {
                Error::not_found(format!("version {text:?}"), format!("{} has no parent", commit.short()))
            })?;
            if !replica.store().contains(&parent)? {
                let why = format!("what is before {} is not in this replica; it is a shallow clone", commit.short());
                return Err(Error::not_found(format!("version {text:?}"), why));
            }
            commit = parent;
        }
        steps = rest;
    }
    Ok(commit)
}

fn unreadable(text: &str) -> Error {
    Error::invalid(format!("version {text:?}"), "write NAME, NAME~2 or NAME^")
}

fn resolve_name(replica: &Replica, refs: &Refs, name: &str) -> Result<Hash> {
    if name.is_empty() || name == "HEAD" || name == "@" {
        return refs.head_commit().ok_or_else(Error::no_commit_yet);
    }
    if let Some(commit) = refs.branches.get(name).or_else(|| refs.tags.get(name)) {
        return Ok(*commit);
    }
    if let Some((remote, branch)) = name.split_once('/')
        && let Some(commit) = refs.remotes.get(remote).and_then(|remote| remote.branches.get(branch))
    {
        return Ok(*commit);
    }
    if let Ok(id) = name.parse::<Hash>() {
        return by_hash(replica, refs, id);
    }
    if name.len() >= 8 && name.chars().all(|c| c.is_ascii_hexdigit()) {
        return by_prefix(replica, refs, &name.to_ascii_lowercase());
    }
    let known: Vec<&String> = refs.branches.keys().chain(refs.tags.keys()).take(12).collect();
    Err(Error::not_found(format!("version {name:?}"), format!("known branches and tags: {known:?}")))
}

/// Remembered moves may name commits that garbage collection has taken since.
fn starts(replica: &Replica, refs: &Refs) -> Vec<Hash> {
    refs.commits().filter(|id| replica.store().contains(id).unwrap_or(false)).collect()
}

/// The record of a commit may be here when its data is not: only what a name leads to is kept.
fn by_hash(replica: &Replica, refs: &Refs, id: Hash) -> Result<Hash> {
    let generation = Commit::load(replica.store(), &id)?.generation;
    for step in Log::of_what_is_here(replica.store(), starts(replica, refs)) {
        let (found, commit) = step?;
        if found == id {
            return Ok(id);
        }
        // The newest come first.
        if commit.generation < generation {
            break;
        }
    }
    let why = "its record is here, but no branch, tag or remembered move leads to it, so its data may be gone; name it in a \
               replica that still has it, and bring it from there";
    Err(Error::not_found(format!("version {}", id.short()), why))
}

fn by_prefix(replica: &Replica, refs: &Refs, prefix: &str) -> Result<Hash> {
    let mut found = Vec::new();
    // A shallow clone does not have all of its history.
    for step in Log::of_what_is_here(replica.store(), starts(replica, refs)) {
        let (id, _) = step?;
        if id.to_string().starts_with(prefix) {
            found.push(id);
        }
    }
    match found[..] {
        [id] => Ok(id),
        [] => {
            Err(Error::not_found(format!("version {prefix:?}"), "no commit in the history of any ref starts with it"))
        }
        _ => Err(Error::invalid(
            format!("version {prefix:?}"),
            format!("{} commits start with it; give more digits", found.len()),
        )),
    }
}
