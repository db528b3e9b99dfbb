//! What a directory shows of the rows: a pure function of each row's siblings and of which paths have rows.
//!
//! The last writer's file is at its path. What others wrote meanwhile, and it had not seen, is beside it as `NAME.conflict-WRITER-N`: the first
//! digits of the writer's name, and the number of its transaction. So is a file where a folder has to be because something else lies below
//! its path. A row of its own at such a path goes first. Every replica shows the same. Owns nothing.
//!
//! Invariant: a path shows at most one sibling of one row, and a sibling is shown at most once.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use syncline_base::Hash;
use syncline_sync::live::{Node, Row, RowKey, Sibling};
use syncline_tree::files::{FileKind, path};

use super::row::FileRow;
use super::{TABLE, key};

const MARK: &str = ".conflict-";
/// So many digits of a writer's name are shown.
const DIGITS: usize = 12;

/// What is to be at a path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Want {
    /// The row's value; nothing is to be there without one.
    pub value: Option<Bytes>,
    /// The path whose row it is of.
    pub of: String,
    /// The values that that row had.
    pub seen: Hash,
}

/// The values of a row, whatever their order and however often each was written.
pub(super) fn seen<'a>(values: impl Iterator<Item = &'a Bytes>) -> Hash {
    let hashes: BTreeSet<Hash> = values.map(|value| Hash::of(value)).collect();
    if hashes.is_empty() {
        return Hash::ZERO;
    }
    Hash::of(&hashes.iter().flat_map(|hash| *hash.as_bytes()).collect::<Vec<u8>>())
}

/// The values that the row of a path has.
pub(super) fn seen_at(node: &Node, path: &str) -> Hash {
    seen(node.view(&key(path)).siblings().iter().map(|sibling| &sibling.value))
}

/// What is to be at a path.
pub(super) fn want(node: &Node, path: &str) -> Want {
    let row = node.view(&key(path));
    let values = |row: &Row| seen(row.siblings().iter().map(|sibling| &sibling.value));
    if let Some(winner) = winner(&row) {
        let value = (!is_hidden(node, path)).then(|| winner.value.clone());
        return Want { value, of: path.to_owned(), seen: values(&row) };
    }
    let none = || Want { value: None, of: path.to_owned(), seen: Hash::ZERO };
    let Some((of, name)) = parse(path) else { return none() };
    let row = node.view(&key(of));
    let found = beside(node, of, &row).into_iter().find(|sibling| name == mark(sibling));
    match found {
        Some(sibling) => Want { value: Some(sibling.value.clone()), of: of.to_owned(), seen: values(&row) },
        None => none(),
    }
}

/// All paths where something of a path's row may be shown now: its own, and those beside it.
pub(super) fn places(node: &Node, path: &str) -> Vec<String> {
    let row = node.view(&key(path));
    let beside = beside(node, path, &row).into_iter().map(|sibling| format!("{path}{}", mark(sibling)));
    std::iter::once(path.to_owned()).chain(beside).collect()
}

/// The beginning of every path that is beside a file.
pub(super) fn beside_prefix(path: &str) -> String {
    format!("{path}{MARK}")
}

/// A file of which not everything that was written is at its path.
#[derive(Debug, Clone)]
pub(crate) struct Clash {
    /// What was written, with where a directory shows it: what is at the path first, then the later written before the earlier.
    pub siblings: Vec<(Sibling, Option<String>)>,
    /// Something below the path, for which it has to be a folder.
    pub below: Option<String>,
}

/// How a path is in conflict, if it is.
pub(crate) fn clash(node: &Node, path: &str) -> Option<Clash> {
    let row = node.view(&key(path));
    let beside = beside(node, path, &row);
    if beside.is_empty() {
        return None;
    }
    let places: BTreeMap<&Bytes, String> =
        beside.iter().map(|sibling| (&sibling.value, format!("{path}{}", mark(sibling)))).collect();
    let here = want(node, path).value;
    let place = |sibling: &Sibling| match places.get(&sibling.value) {
        // A row of its own at such a path goes first.
        Some(place) => (want(node, place).of == path).then(|| place.clone()),
        None => (here.as_ref() == Some(&sibling.value)).then(|| path.to_owned()),
    };
    let mut siblings: Vec<(Sibling, Option<String>)> =
        row.siblings().iter().map(|sibling| (sibling.clone(), place(sibling))).collect();
    siblings.sort_by(|(a, _), (b, _)| b.later(a));
    siblings.sort_by_key(|(_, place)| place.as_deref() != Some(path));
    Some(Clash { siblings, below: below(node, path) })
}

/// What a path's row says to who reads it, if it is one that this version knows.
pub(super) fn row_at(node: &Node, path: &str) -> Option<FileRow> {
    FileRow::decode(&winner(&node.look(&key(path)))?.value)
}

fn winner(row: &Row) -> Option<&Sibling> {
    row.siblings().iter().max_by(|a, b| a.later(b))
}

/// Siblings that are shown beside the path: other values than the winner's, each once; and the winner's, where a folder is in its way.
fn beside<'a>(node: &Node, path: &str, row: &'a Row) -> Vec<&'a Sibling> {
    let Some(winner) = winner(row) else { return Vec::new() };
    let mut all: Vec<&Sibling> = row.siblings().iter().collect();
    all.sort_by(|a, b| b.later(a));
    let mut given = BTreeSet::from([&winner.value]);
    let mut shown: Vec<&Sibling> = Vec::new();
    if is_hidden(node, path) && kind(winner) != Some(FileKind::Folder) {
        shown.push(winner);
    }
    // Nothing is lost with an empty folder.
    shown.extend(
        all.into_iter().filter(|sibling| given.insert(&sibling.value) && kind(sibling) != Some(FileKind::Folder)),
    );
    shown
}

fn kind(sibling: &Sibling) -> Option<FileKind> {
    FileRow::decode(&sibling.value).map(|row| row.kind)
}

/// Whether a path is a folder because something lies below it.
fn is_hidden(node: &Node, path: &str) -> bool {
    all_below(node, path).next().is_some()
}

/// The first path below a path.
fn below(node: &Node, path: &str) -> Option<String> {
    all_below(node, path).next().map(|key| String::from_utf8_lossy(&key.key).into_owned())
}

/// The rows of all that lies below a path.
pub(super) fn all_below<'a>(node: &'a Node, path: &str) -> impl Iterator<Item = RowKey> + use<'a> {
    let below = format!("{path}/");
    let from = RowKey { table: TABLE.into(), key: Bytes::copy_from_slice(below.as_bytes()) };
    let is_below = move |key: &RowKey| &*key.table == TABLE && key.key.starts_with(below.as_bytes());
    node.rows_from(&from).map(|(key, _)| key).take_while(is_below)
}

/// What is behind the name of a file that is shown beside its path.
fn mark(sibling: &Sibling) -> String {
    let writer = sibling.dot.origin.to_string();
    format!("{MARK}{}-{}", writer.get(..DIGITS).unwrap_or(&writer), sibling.dot.seq)
}

/// Of a path that may be beside another one: that one, and the rest.
fn parse(beside: &str) -> Option<(&str, &str)> {
    let at = beside.rfind(MARK)?;
    let (of, rest) = beside.split_at(at);
    (path::check(of).is_ok() && !rest.contains('/')).then_some((of, rest))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_beside_another_says_whose_it_is() {
        assert_eq!(parse("a/b.txt.conflict-0123-7"), Some(("a/b.txt", ".conflict-0123-7")));
        assert_eq!(parse("a.conflict-1-1.conflict-2-2"), Some(("a.conflict-1-1", ".conflict-2-2")));
        assert_eq!(parse("a.conflict-1-1/b"), None);
        assert_eq!(parse(".conflict-1-1"), None);
        assert_eq!(parse("plain"), None);
    }

    #[test]
    fn what_was_seen_is_a_set_of_values() {
        let (a, b) = (Bytes::from_static(b"a"), Bytes::from_static(b"b"));
        assert_eq!(seen([&a, &b].into_iter()), seen([&b, &a, &b].into_iter()));
        assert_ne!(seen([&a].into_iter()), seen([&b].into_iter()));
        assert_eq!(seen(std::iter::empty()), Hash::ZERO);
    }
}
