//! Files of live datasets: a directory whose files appear elsewhere as they change, and change as they do elsewhere.
//!
//! A file is a row of the reserved table [`TABLE`], keyed by its path: kind, executable bit, and its content, in the row when it is short,
//! else the name of its chunks in the object store, which is the one that a version of the same file has. So file changes are transactions
//! like any: durable, whole, in causal order, with siblings where two wrote at once. `row` is the layout, `shown` what a directory shows
//! of the rows, [`contents`] moves chunks between replicas, [`worker`] keeps one directory in step: it is told by `watching` what changed on
//! disk, reads it (`local`), writes what came (`remote`, `place`), and remembers in `base` what the directory held when both agreed; `following`
//! tells it which rows change. What commands write and no directory does is [`Given`]; `clashes` finds files in conflict.
//! `fold` makes a version's file tree of the rows, `part` says what of a directory is outside of the
//! scope that its replica holds. Format: `docs/format/live-files.md`.
//!
//! After a crash: the rows are the log's, contents were durable before the row that names them was written, and a path of the directory
//! holds an old or a new file, never half of one.
//!
//! Not here: the rules of replication (`syncline_sync::live`), sockets (`syncline-server`), who wins among siblings of other tables.

mod base;
mod base64;
pub(crate) mod clashes;
pub mod contents;
pub(crate) mod fold;
mod following;
mod given;
mod local;
mod part;
mod place;
mod remote;
pub(crate) mod row;
pub(crate) mod shown;
mod watching;
pub mod worker;

use bytes::Bytes;
pub(crate) use given::Files;
pub use given::Given;
pub use part::{Outside, outside};
use syncline_sync::live::{Node, RowKey, Write};

/// The reserved table with a row for each file.
pub const TABLE: &str = ".files";

/// The row of the file at a path.
pub(crate) fn key(path: &str) -> RowKey {
    RowKey { table: TABLE.into(), key: Bytes::copy_from_slice(path.as_bytes()) }
}

/// The path that a row of [`TABLE`] is of, if its key is one.
pub(crate) fn path_of(key: &RowKey) -> Option<&str> {
    if &*key.table != TABLE {
        return None;
    }
    std::str::from_utf8(&key.key).ok().filter(|path| syncline_tree::files::path::check(path).is_ok())
}

/// The paths of files that a transaction writes.
pub(crate) fn paths_of(writes: &[Write]) -> impl Iterator<Item = &str> {
    writes.iter().filter_map(|write| path_of(&write.row))
}

/// All paths that have a row, in order.
pub(crate) fn paths(node: &Node) -> Vec<String> {
    let from = RowKey { table: TABLE.into(), key: Bytes::new() };
    node.rows_from(&from).filter_map(|(key, _)| path_of(&key).map(ToOwned::to_owned)).collect()
}
