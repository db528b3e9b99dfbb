//! What two versions were made from, to merge them: their common ancestor, or one made up when histories were merged crosswise.
//!
//! Two replicas that merge each other at the same time have two best common ancestors afterwards. Taking one of them for the base
//! would bring rows back that one side deleted, and undo what it changed, since it saw both. So the ancestors are merged first, and
//! what comes out is the base ("recursive" merge; it is git's way, too). Where the ancestors exclude each other and the two sides then
//! decided differently nobody can say which side changed its mind: that is refused and named.
//!
//! Owns no state. What is made up is stored like any commit, so that it can be shown and looked at.

use std::collections::BTreeMap;

use syncline_base::Hash;
use syncline_store::Store;

use super::DatasetRoot;
use super::merge::merge_all;
use crate::commit::{self, Commit};
use crate::conflicts::Item;
use crate::schema::{Column, Schema};
use crate::table::{Rows, Table, differing};
use crate::{Error, Result};

/// More best common ancestors than histories have that were not made to have many.
const MAX_BASES: usize = 64;
/// How many rows an error counts up.
const SHOWN: usize = 5;

/// What the parts of a base could not agree on.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Disputed {
    item: Item,
    /// Origins of the columns in conflict, whatever their ids on either side.
    columns: Vec<String>,
}

impl Disputed {
    fn of(store: &Store, merged: &DatasetRoot, item: Item) -> Result<Self> {
        let table = merged.tree(&item.tree).filter(|_| !item.columns.is_empty());
        let columns = match table.map(|tree| Table::open(store, tree)).transpose()? {
            Some(table) => {
                let columns = table.schema().columns.iter().filter(|column| item.columns.contains(&column.id));
                columns.map(|column| column.origin().to_owned()).collect()
            }
            None => Vec::new(),
        };
        Ok(Self { item, columns })
    }
}

/// The commit that a merge of `ours` and `theirs` starts from; `None` when the histories are unrelated.
///
/// # Errors
/// `conflict` when both merged what excluded each other and decided differently; the store's.
pub fn merge_base(store: &Store, ours: &Hash, theirs: &Hash) -> Result<Option<Hash>> {
    let mut disputed = Vec::new();
    let base = base_of(store, *ours, *theirs, &mut disputed)?;
    if !disputed.is_empty() {
        disputed.sort_unstable();
        disputed.dedup();
        check(store, &disputed, [ours, theirs])?;
    }
    Ok(base)
}

/// The base, and what its parts could not agree on.
fn base_of(store: &Store, ours: Hash, theirs: Hash, disputed: &mut Vec<Disputed>) -> Result<Option<Hash>> {
    let bases = commit::merge_bases(store, ours, theirs)?;
    if bases.len() > MAX_BASES {
        let text = format!("the histories were merged crosswise: they have {} best common versions", bases.len());
        return Err(Error::Conflict(text));
    }
    let mut bases = bases.into_iter();
    let Some(mut base) = bases.next() else { return Ok(None) };
    for next in bases {
        let below = base_of(store, base, next, disputed)?;
        let root = |id: &Hash| DatasetRoot::load(store, &Commit::load(store, id)?.root);
        let below = below.as_ref().map(root).transpose()?.unwrap_or_default();
        let (merged, items) = merge_all(store, [&below, &root(&base)?, &root(&next)?], false)?;
        for item in items {
            disputed.push(Disputed::of(store, &merged, item)?);
        }
        base = made_up(store, [base, next], &merged)?;
    }
    Ok(Some(base))
}

/// Stores the version that two make together; every replica makes the same one.
fn made_up(store: &Store, parents: [Hash; 2], root: &DatasetRoot) -> Result<Hash> {
    let (one, two) = (Commit::load(store, &parents[0])?, Commit::load(store, &parents[1])?);
    Commit {
        parents: parents.to_vec(),
        generation: one.generation.max(two.generation) + 1,
        root: root.put(store)?,
        author: String::new(),
        hlc: one.hlc.max(two.hlc),
        message: "the base of a merge".to_owned(),
        meta: BTreeMap::new(),
    }
    .put(store)
}

/// Whether two sides have one row alike, in these columns (all when there are none). A column that one side lacks is null there.
fn same_row(ours: Option<&(Schema, Rows)>, theirs: Option<&(Schema, Rows)>, columns: &[String]) -> Result<bool> {
    let (Some((ours, our_row)), Some((theirs, their_row))) = (ours, theirs) else {
        return Ok(ours.is_none() && theirs.is_none());
    };
    let counts = |column: &Column| columns.is_empty() || columns.iter().any(|origin| origin == column.origin());
    Ok(!differing((theirs, their_row), (ours, our_row))?.into_iter().any(counts))
}

/// Refuses rows that the two sides have decided differently.
fn check(store: &Store, disputed: &[Disputed], sides: [&Hash; 2]) -> Result<()> {
    let roots = sides.map(|id| DatasetRoot::load(store, &Commit::load(store, id)?.root));
    let [ours, theirs] = roots;
    let (ours, theirs) = (ours?, theirs?);
    let mut open = Vec::new();
    for Disputed { item, columns } in disputed {
        let (ours, theirs) = (ours.tree(&item.tree), theirs.tree(&item.tree));
        if ours == theirs {
            continue;
        }
        let row = |tree: Option<&crate::TableRef>| -> Result<Option<(Schema, Rows)>> {
            let Some(table) = tree.map(|tree| Table::open(store, tree)).transpose()? else { return Ok(None) };
            Ok(table.get_rows(&item.key_bytes()?)?.map(|row| (table.schema().clone(), row)))
        };
        if item.key.is_empty() {
            open.push(item.tree.to_string());
        } else if !same_row(row(ours)?.as_ref(), row(theirs)?.as_ref(), columns)? {
            let schema = ours.or(theirs).map(|tree| Table::open(store, tree)).transpose()?;
            // The table may have another key by now.
            let bytes = item.key_bytes()?;
            let key = schema.and_then(|table| crate::key::to_json(table.schema(), &bytes).ok());
            let key = key.map(|key| serde_json::Value::Object(key).to_string()).unwrap_or_default();
            open.push(format!("{} {key}", item.tree));
        }
    }
    if open.is_empty() {
        return Ok(());
    }
    let (shown, more) = (&open[..open.len().min(SHOWN)], open.len().saturating_sub(SHOWN));
    let more = if more > 0 { format!(" and {more} more") } else { String::new() };
    Err(Error::Conflict(format!(
        "both sides have merged the same two versions and decided conflicts differently in {}{more}: make them equal on one side, \
         commit, and merge again",
        shown.join(", ")
    )))
}

#[cfg(test)]
mod tests;
