//! What a merge makes of two file trees has to be a directory again.
//!
//! Each side was one. Rows are merged path by path, so a file of one side can come to lie where the other side has a folder,
//! and two names can come together that some systems cannot tell apart: then the merge is refused before anything is changed.
//! The mark of an empty folder goes when the other side put something into it.
//!
//! Owns no state. Reads the paths of the merged tree once, and only when both sides had a part in it.

use std::collections::BTreeSet;

use syncline_store::Store;
use syncline_tree::files::clash::{Clash, Clashes};
use syncline_tree::files::collide::Collisions;
use syncline_tree::files::{self, Edit, FileKind};
use syncline_tree::{DatasetRoot, Table, TableRef, TreeName};

use crate::{Error, Result};

/// How many paths an error names.
const SHOWN: usize = 10;

/// Makes the files of `merged`, which come from both `sides`, those of a directory. `what` and `advice` are for the error.
///
/// # Errors
/// `conflict` when they cannot be one; the store's.
pub(crate) fn settle(
    store: &Store,
    sides: [&DatasetRoot; 2],
    merged: &mut DatasetRoot,
    what: &str,
    advice: &str,
) -> Result<()> {
    let Some(tree) = merged.files else { return Ok(()) };
    if sides.iter().any(|side| side.files == Some(tree)) {
        return Ok(());
    }
    let table = Table::open(store, &tree)?;
    let mut clashes = Clashes::default();
    let mut collisions = Collisions::new();
    for listed in files::list(&table, None)? {
        let listed = listed?;
        clashes.push(&listed.path, listed.kind);
        collisions.push(&listed.path);
    }
    let (marks, clashes): (Vec<Clash>, _) =
        clashes.finish().into_iter().partition(|clash| clash.kind == FileKind::Folder);
    if !clashes.is_empty() {
        let why = format!("{}; {advice}", shown(&clashes));
        return Err(Error::conflict(what, why));
    }
    let mut pairs = collisions.finish().0;
    if !pairs.is_empty() {
        for side in sides {
            let known = colliding(store, side.files.as_ref())?;
            pairs.retain(|pair| !known.contains(&(pair.first.clone(), pair.second.clone())));
        }
    }
    if !pairs.is_empty() {
        let why = format!("some systems cannot tell these paths apart: {}; {advice}", shown(&pairs));
        return Err(Error::conflict(what, why));
    }
    let mut marks: Vec<String> = marks.into_iter().map(|mark| mark.above).collect();
    if !marks.is_empty() {
        marks.sort_unstable();
        let edits: Vec<Edit> = marks.into_iter().map(Edit::Remove).collect();
        let (table, _) = table.apply([files::changes(&edits)])?;
        merged.set_tree(&TreeName::Files, Some(table.to_ref()));
    }
    Ok(())
}

/// The pairs of paths that some systems cannot tell apart.
fn colliding(store: &Store, tree: Option<&TableRef>) -> Result<BTreeSet<(String, String)>> {
    let mut collisions = Collisions::new();
    if let Some(tree) = tree {
        for listed in files::list(&Table::open(store, tree)?, None)? {
            collisions.push(&listed?.path);
        }
    }
    Ok(collisions.finish().0.into_iter().map(|pair| (pair.first, pair.second)).collect())
}

fn shown<T: std::fmt::Display>(items: &[T]) -> String {
    let mut text: Vec<String> = items.iter().take(SHOWN).map(ToString::to_string).collect();
    if items.len() > SHOWN {
        text.push(format!("and {} more", items.len() - SHOWN));
    }
    text.join("; ")
}
