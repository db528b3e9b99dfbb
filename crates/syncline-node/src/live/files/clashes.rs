//! Finding files in conflict: paths of which not everything that was written is where it was written to.
//!
//! All rows of files are looked at as they are frozen, and nobody waits for that; what may be in conflict is looked at again where it counts
//! (`super::shown::clash`). Owns nothing.

use std::collections::BTreeSet;

use bytes::Bytes;
use syncline_sync::live::RowKey;
use syncline_tree::files::path;

use super::{TABLE, key, path_of, paths_of, shown};
use crate::Result;
use crate::live::Engine;
use crate::live::engine::sound;

/// Paths that may be in conflict, in order: all that are, and some others.
///
/// # Errors
/// The log's.
pub(crate) fn suspects(engine: &Engine) -> Result<Vec<String>> {
    let (frozen, own) = engine.read(|node| {
        let own = node.state().pending().flat_map(|txn| paths_of(&txn.body().writes)).map(ToOwned::to_owned);
        (node.state().frozen(), own.collect::<BTreeSet<String>>())
    })?;
    let (mut found, mut folders) = (own.clone(), BTreeSet::new());
    let from = RowKey { table: TABLE.into(), key: Bytes::new() };
    let mut parent: Option<String> = None;
    for (key, row) in frozen.rows_from(&from).take_while(|(key, _)| &*key.table == TABLE) {
        let Some(path) = path_of(&key) else { continue };
        if row.siblings().len() > 1 {
            found.insert(path.to_owned());
        }
        // Rows of one folder follow each other.
        if path::parent(path) != parent.as_deref() {
            parent = path::parent(path).map(ToOwned::to_owned);
            note_above(path, &mut folders);
        }
    }
    own.iter().for_each(|path| note_above(path, &mut folders));
    // What has something below it and a row of its own.
    found.extend(folders.into_iter().filter(|folder| frozen.row(&key(folder)).is_some()));
    sound(frozen.trouble())?;
    Ok(found.into_iter().collect())
}

/// Notes the folders that a path is in.
fn note_above(path: &str, folders: &mut BTreeSet<String>) {
    let mut above = path::parent(path);
    while let Some(folder) = above {
        if !folders.insert(folder.to_owned()) {
            return;
        }
        above = path::parent(folder);
    }
}

/// How many files are in conflict.
///
/// # Errors
/// The log's.
pub(crate) fn count(engine: &Engine) -> Result<u64> {
    let suspects = suspects(engine)?;
    engine.read(|node| suspects.iter().filter(|path| shown::clash(node, path).is_some()).count() as u64)
}
