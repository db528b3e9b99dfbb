//! Walking two trees side by side, from the top down, to the leaves that are not in both.
//!
//! Owns: the pairs of node lists still to be opened. Memory: about the entries of the nodes on the way down.
//!
//! Equal ids mean equal rows (unless the ids of columns mean other columns), so they cancel out wherever they stand. What is left is cut where both trees have a
//! boundary at the same key, so a region's two sides hold the rows of one stretch of keys.

use std::cmp::Ordering;

use bytes::Bytes;
use syncline_base::Hash;

use crate::Result;
use crate::node::Entry;
use crate::table::edit::keys_of;
use crate::table::{Shared, Table, node_at};

/// Pairs whose nodes are read together.
const TOGETHER: usize = 32;

/// Leaves of two trees over one stretch of keys; at least one of them is not in both.
#[derive(Debug)]
pub(crate) struct Region {
    pub(crate) old: Vec<Entry>,
    pub(crate) new: Vec<Entry>,
}

/// Subtrees of some level.
#[derive(Debug)]
struct Side {
    /// 0: leaves.
    level: u8,
    entries: Vec<Entry>,
}

/// Finds the regions in key order.
#[derive(Debug)]
pub(crate) struct Regions<'a> {
    old: &'a Shared,
    new: &'a Shared,
    /// Whether equal ids mean equal rows.
    related: bool,
    /// What is still to be looked at, first on top.
    stack: Vec<(Side, Side)>,
}

impl<'a> Regions<'a> {
    pub(crate) fn new(old: &'a Table, new: &'a Table, related: bool) -> Result<Self> {
        let mut stack = Vec::new();
        if old.root() != new.root() || !related {
            // Roots of one level are opened together, so nobody asks for their keys.
            let keys = old.height() != new.height();
            stack.push((root(old, keys)?, root(new, keys)?));
        }
        Ok(Self { old: &old.shared, new: &new.shared, related, stack })
    }

    fn step(&mut self) -> Result<Option<Region>> {
        loop {
            let Some((old, new)) = self.stack.last() else { return Ok(None) };
            if old.level() == 0 && new.level() == 0 {
                let Some((old, new)) = self.stack.pop() else { return Ok(None) };
                return Ok(Some(Region { old: old.entries, new: new.entries }));
            }
            self.open()?;
        }
    }

    /// Opens the nodes of the next pairs and puts what differs below them in their place.
    fn open(&mut self) -> Result<()> {
        let inner = |pair: &(Side, Side)| pair.0.level() > 0 || pair.1.level() > 0;
        let from = self.stack.iter().rposition(|pair| !inner(pair)).map_or(0, |leaf| leaf + 1);
        let from = from.max(self.stack.len().saturating_sub(TOGETHER));
        let mut pairs = self.stack.split_off(from);
        // The higher side is opened, or both.
        let tops: Vec<u8> = pairs.iter().map(|(old, new)| old.level().max(new.level())).collect();
        expand(self.old, pairs.iter_mut().map(|pair| &mut pair.0).zip(&tops))?;
        expand(self.new, pairs.iter_mut().map(|pair| &mut pair.1).zip(&tops))?;
        for (old, new) in pairs {
            let at = self.stack.len();
            split(old, new, self.related, &mut self.stack);
            self.stack[at..].reverse();
        }
        Ok(())
    }
}

impl Iterator for Regions<'_> {
    type Item = Result<Region>;

    fn next(&mut self) -> Option<Self::Item> {
        self.step().transpose()
    }
}

impl Side {
    /// The level that has to be opened; nothing has none.
    fn level(&self) -> u8 {
        if self.entries.is_empty() { 0 } else { self.level }
    }
}

fn root(table: &Table, with_key: bool) -> Result<Side> {
    let Some(level) = table.height().checked_sub(1) else { return Ok(Side { level: 0, entries: Vec::new() }) };
    let (id, rows) = (table.root(), table.rows());
    let last = match level {
        _ if !with_key => Bytes::new(),
        0 => {
            let keys = keys_of(&table.shared, &table.shared.leaf(&id, rows)?)?;
            keys.iter().last().map(Bytes::copy_from_slice).unwrap_or_default()
        }
        _ => table.shared.node(&id, level)?.entries().last().map(|entry| entry.last).unwrap_or_default(),
    };
    Ok(Side { level, entries: vec![Entry { id, rows, last }] })
}

/// Replaces the entries of those sides that are at the level given by what is below them.
fn expand<'s>(shared: &Shared, sides: impl Iterator<Item = (&'s mut Side, &'s u8)>) -> Result<()> {
    let sides: Vec<_> = sides.filter(|(side, top)| side.level() == **top && **top > 0).map(|(side, _)| side).collect();
    let ids: Vec<Hash> = sides.iter().flat_map(|side| side.entries.iter().map(|entry| entry.id)).collect();
    let mut nodes = ids.iter().zip(shared.store.get_many(&ids)?);
    for side in sides {
        let mut below = Vec::new();
        for (id, bytes) in nodes.by_ref().take(side.entries.len()) {
            below.extend(node_at(id, bytes, side.level)?.entries());
        }
        side.entries = below;
        side.level -= 1;
    }
    Ok(())
}

/// Cuts a pair into smaller ones, in key order, without what is in both.
fn split(old: Side, new: Side, related: bool, out: &mut Vec<(Side, Side)>) {
    let (old_level, new_level) = (old.level, new.level);
    let same_level = old_level == new_level && related;
    let (mut olds, mut news) = (old.entries.into_iter().peekable(), new.entries.into_iter().peekable());
    let (mut left, mut right) = (Vec::new(), Vec::new());
    let mut emit = |left: &mut Vec<Entry>, right: &mut Vec<Entry>| {
        if !left.is_empty() || !right.is_empty() {
            out.push((
                Side { level: old_level, entries: std::mem::take(left) },
                Side { level: new_level, entries: std::mem::take(right) },
            ));
        }
    };
    loop {
        let order = match (olds.peek(), news.peek()) {
            (None, None) => break,
            (Some(_), None) => Ordering::Less,
            (None, Some(_)) => Ordering::Greater,
            (Some(a), Some(b)) => a.last.cmp(&b.last),
        };
        let a = if order.is_le() { olds.next() } else { None };
        let b = if order.is_ge() { news.next() } else { None };
        let alone = order.is_ne() && (olds.peek().is_none() && order.is_gt() || news.peek().is_none() && order.is_lt());
        match (a, b) {
            (Some(a), Some(b)) if same_level && a.id == b.id => {}
            (a, b) => {
                left.extend(a);
                right.extend(b);
            }
        }
        // Both sides end at this key, or one has ended for good: what follows cannot share rows with what is here.
        if order.is_eq() || alone {
            emit(&mut left, &mut right);
        }
    }
    emit(&mut left, &mut right);
}
