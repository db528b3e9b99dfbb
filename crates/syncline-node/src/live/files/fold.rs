//! Files' rows as the file tree of a version: of the same files the same root as a commit of the directory. Owns no state.

use std::collections::BTreeMap;

use bytes::Bytes;
use syncline_store::Store;
use syncline_tree::content;
use syncline_tree::files::{self, Content, Edit, INLINE_MAX};
use syncline_tree::{Table, TableRef};

use super::row::FileRow;
use super::shown;
use crate::live::Engine;
use crate::{Error, Result};

/// Files that are looked at at once.
const GROUP: usize = 1024;

/// Stores all files of a replica as its directory would show them; `None` when there are none.
///
/// # Errors
/// `unavailable` when the content of one has not come yet; the store's; the log's.
pub(crate) fn fold(engine: &Engine, store: &Store) -> Result<Option<TableRef>> {
    let shown: BTreeMap<String, Bytes> = engine.read(|node| {
        let paths = super::paths(node);
        let places = paths.iter().flat_map(|path| shown::places(node, path));
        places
            .filter_map(|path| Some((shown::want(node, &path).value?, path)))
            .map(|(value, path)| (path, value))
            .collect()
    })?;
    if shown.is_empty() {
        return Ok(None);
    }
    let mut failed = None;
    let shown: Vec<(String, Bytes)> = shown.into_iter().collect();
    let groups = shown.chunks(GROUP).map_while(|group| {
        let edits = group.iter().map(|(path, value)| edit(store, path, value)).collect::<Result<Vec<Edit>>>();
        match edits.and_then(|edits| Ok(files::changes(&edits)?)) {
            Ok(changes) => Some(Ok(changes)),
            Err(error) => {
                failed = Some(error);
                None
            }
        }
    });
    let groups: Vec<syncline_tree::Result<_>> = groups.collect();
    if let Some(error) = failed {
        return Err(error);
    }
    Ok(Some(Table::create(store, files::schema())?.apply(groups)?.0.to_ref()))
}

fn edit(store: &Store, path: &str, value: &Bytes) -> Result<Edit> {
    let row = FileRow::decode(value).ok_or_else(|| {
        let why = "a newer version of this program wrote it: update this one";
        Error::invalid(format!("making a version of the file {path}"), why)
    })?;
    let mut entry = row.entry(path);
    if let Content::Chunks(content) = &entry.content {
        if !store.contains(&content.root)? {
            let what = format!("making a version of the file {path}");
            return Err(Error::Unavailable {
                what,
                why: "its content has not come here yet; try again when it has".into(),
            });
        }
        if content.len <= INLINE_MAX as u64 {
            entry.content = Content::Inline(content::read_all(store, content, INLINE_MAX as u64)?);
        }
    }
    Ok(Edit::Put(entry))
}
