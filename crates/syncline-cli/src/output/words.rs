//! Parts that many reports share: what changed, what a transfer cost, names of trees.

use syncline_base::Hash;
use syncline_node::change::{ColumnChange, Presence, TreeChange};
use syncline_node::ops::transfer::Cost;
use syncline_tree::TreeName;

use super::page::{Align, Page, Table};
use crate::units;

/// How a tree is called in a table of trees.
pub(crate) fn tree_name(tree: &TreeName) -> String {
    match tree {
        TreeName::Table(name) => name.clone(),
        TreeName::Files => "(files)".to_owned(),
    }
}

/// The first digits of a hash; `-` when there is none.
pub(crate) fn short(hash: Option<Hash>) -> String {
    hash.map_or_else(|| "-".to_owned(), |hash| hash.short().to_string())
}

/// What differs between two versions, tree by tree.
pub(crate) fn changes(page: &mut Page, changes: &[TreeChange]) {
    let right = |name| (name, Align::Right);
    let mut table = Table::new([
        ("tree", Align::Left),
        right("inserted"),
        right("updated"),
        right("deleted"),
        right("rows"),
        ("", Align::Left),
    ]);
    for change in changes {
        let note = match (change.presence, change.schema_changed) {
            (Presence::Added, _) => "new",
            (Presence::Removed, _) => "removed",
            (Presence::Kept, _) if change.replaced => "replaced: another key",
            (Presence::Kept, true) if change.columns.is_empty() => "columns changed",
            (Presence::Kept, true) => &columns(&change.columns),
            (Presence::Kept, false) => "",
        };
        table.row([
            tree_name(&change.tree),
            units::count(change.inserted),
            units::count(change.updated),
            units::count(change.deleted),
            units::count(change.rows_after),
            note.to_owned(),
        ]);
    }
    page.table(&table);
}

/// What became of columns, in one line.
fn columns(changes: &[ColumnChange]) -> String {
    let word = |change: &ColumnChange| match change {
        ColumnChange::Added { name, ty } => format!("+ {name} {ty}"),
        ColumnChange::Dropped { name } => format!("- {name}"),
        ColumnChange::Renamed { from, name } => format!("{from} -> {name}"),
        ColumnChange::Retyped { name, from, ty } => format!("{name} {from} -> {ty}"),
    };
    let words: Vec<String> = changes.iter().map(word).collect();
    format!("columns: {}", words.join(", "))
}

/// What a transfer cost, in one line.
pub(crate) fn cost(page: &mut Page, cost: &Cost) {
    page.line(format!(
        "sent {}, received {}, {}, {}",
        units::bytes(cost.bytes_sent),
        units::bytes(cost.bytes_received),
        units::counted(cost.round_trips, "round trip", "round trips"),
        units::seconds(cost.seconds),
    ));
}
