//! The inner levels of a table's tree: built from a stream of entries, or updated where entries below have changed.
//!
//! Owns: nodes that are being filled. After a crash: nodes that were put are garbage until a table names them.
//!
//! Places in an old tree are given as ranges of row numbers: those are the same on every level.
//!
//! Not here: leaves (`super::build`, `super::apply`).

use std::ops::Range;

use syncline_base::Hash;
use syncline_store::{Bases, Encoded};

use super::Shared;
use super::cursor::Cursor;
use crate::boundary::key_hash;
use crate::node::{self, Entry, NODE_PATCH, Node};
use crate::{Error, Result};

/// What a finished tree is named by: id and height; nothing without rows.
pub(crate) type Root = Option<(Hash, u8)>;

/// Old rows `rows` are now in these children (of one level). The range begins and ends where old children did.
#[derive(Debug)]
pub(crate) struct Splice {
    pub(crate) rows: Range<u64>,
    pub(crate) entries: Vec<Entry>,
}

/// Levels being built from a stream of entries.
#[derive(Debug)]
pub(crate) struct Levels<'a> {
    shared: &'a Shared,
    /// The level of the nodes in `open[0]`.
    lowest: u8,
    open: Vec<Open>,
}

#[derive(Debug, Default)]
struct Open {
    entries: Vec<Entry>,
    since: u32,
    /// Whether a node of this level has been put.
    any: bool,
}

impl<'a> Levels<'a> {
    /// Above children of level `lowest - 1` (0: leaves).
    pub(crate) fn new(shared: &'a Shared, lowest: u8) -> Self {
        Self { shared, lowest, open: Vec::new() }
    }

    /// Takes the next child.
    pub(crate) fn push(&mut self, entry: Entry) -> Result<()> {
        self.push_at(0, entry)
    }

    fn push_at(&mut self, index: usize, mut entry: Entry) -> Result<()> {
        for index in index.. {
            if self.open.len() == index {
                self.open.push(Open::default());
            }
            let level = self.lowest + index as u8;
            let open = &mut self.open[index];
            let ends = self.shared.node_rule.ends(&mut open.since, key_hash(level, &entry.last));
            open.entries.push(entry);
            if !ends {
                break;
            }
            entry = open.close(self.shared, level)?;
        }
        Ok(())
    }

    /// The root above everything that was pushed.
    pub(crate) fn finish(mut self) -> Result<Root> {
        let mut index = 0;
        while index < self.open.len() {
            let level = self.lowest + index as u8;
            let open = &mut self.open[index];
            match &open.entries[..] {
                [only] if !open.any => return Ok(Some((only.id, level))),
                [] => {}
                _ => {
                    let entry = open.close(self.shared, level)?;
                    self.push_at(index + 1, entry)?;
                }
            }
            index += 1;
        }
        Ok(None)
    }
}

impl Open {
    fn close(&mut self, shared: &Shared, level: u8) -> Result<Entry> {
        let entries = std::mem::take(&mut self.entries);
        (self.since, self.any) = (0, true);
        put_node(shared, level, &entries, None)
    }
}

/// Stores a node, as an edit of `base` when that pays. The entry for it.
fn put_node(shared: &Shared, level: u8, entries: &[Entry], base: Option<(Hash, &Node)>) -> Result<Entry> {
    let bytes = node::encode(level, entries)?;
    let last = entries.last().map(|entry| entry.last.clone()).unwrap_or_default();
    let rows = entries.iter().map(|entry| entry.rows).sum();
    let id = Hash::of(&bytes);
    let entry = Entry { id, rows, last };
    if let Some((base_id, base)) = base {
        let patch = node::encode_patch(base, entries);
        let pays = patch.len() < bytes.len() / 2 && base_id != id;
        if pays && shared.store.patch_room(&Bases::one(base_id), patch.len(), bytes.len()) {
            let raw_len = bytes.len() as u32;
            shared.store.put_encoded(Encoded::patch(id, NODE_PATCH, Bases::one(base_id), raw_len, patch.into()))?;
            return Ok(entry);
        }
        if pays
            && let Some(below) = shared.store.encode_below(&bytes, &base_id)?
            && below.payload.len() < bytes.len() / 4
        {
            shared.store.put_encoded(below)?;
            return Ok(entry);
        }
    }
    shared.store.put(&bytes)?;
    Ok(entry)
}

/// The root of the tree of `height` under `root` after its leaves have changed as `splices` (in order) say.
pub(crate) fn update(shared: &Shared, root: &Hash, height: u8, rows: u64, splices: Vec<Splice>) -> Result<Root> {
    if splices.is_empty() {
        return Ok(Some((*root, height)));
    }
    let mut splices = splices;
    for level in 1..height {
        if let Some(root) = whole(&splices, rows, level) {
            return root.map(|(id, height)| lowered(shared, id, height)).transpose();
        }
        splices = update_level(shared, root, height, level, splices)?;
    }
    // Everything is replaced by the new entries of the root's level: usually by one.
    if let Some(root) = whole(&splices, rows, height) {
        return root.map(|(id, height)| lowered(shared, id, height)).transpose();
    }
    let mut levels = Levels::new(shared, height);
    splices.into_iter().flat_map(|splice| splice.entries).try_for_each(|entry| levels.push(entry))?;
    levels.finish()
}

/// The root, when the splices replace all rows by at most one child of height `height`.
fn whole(splices: &[Splice], rows: u64, height: u8) -> Option<Root> {
    let [splice] = splices else { return None };
    if splice.rows != (0..rows) {
        return None;
    }
    match &splice.entries[..] {
        [] => Some(None),
        [only] => Some(Some((only.id, height))),
        _ => None,
    }
}

/// The root below nodes of one child: there are none when a tree is built from its rows.
fn lowered(shared: &Shared, mut id: Hash, mut height: u8) -> Result<(Hash, u8)> {
    while height > 1 {
        let node = shared.node(&id, height - 1)?;
        if node.len() > 1 {
            break;
        }
        (id, height) = (node.id(0), height - 1);
    }
    Ok((id, height))
}

/// Applies splices of the children of `level` to its nodes: splices for the level above.
fn update_level(shared: &Shared, root: &Hash, height: u8, level: u8, splices: Vec<Splice>) -> Result<Vec<Splice>> {
    let mut cursor = Cursor::new(shared, root, height, level)?;
    let mut splices = splices.into_iter().peekable();
    let mut out = Vec::new();
    while let Some(splice) = splices.peek() {
        cursor.seek_row(splice.rows.start)?;
        let (start, first) = (cursor.start(), splice.rows.start);
        let (mut open, mut entries) = (Refill::default(), Vec::new());
        let end = loop {
            let (id, old) = cursor.node()?;
            open.bases.push((id, old.clone()));
            let mut at = cursor.start();
            for i in 0..old.len() {
                let child = at;
                at += old.rows(i);
                // What a splice covers is gone; its entries stand where it began.
                if let Some(splice) = splices.next_if(|splice| splice.rows.start == child) {
                    open.covered = splice.rows.end;
                    for entry in splice.entries {
                        open.push(shared, level, entry, &mut entries)?;
                    }
                }
                if child >= open.covered {
                    open.push(shared, level, old.entry(i), &mut entries)?;
                }
            }
            if open.entries.is_empty() && open.covered <= at {
                break at;
            }
            if !cursor.next()? {
                open.close(shared, level, &mut entries)?;
                break at;
            }
        };
        if splices.peek().is_some_and(|splice| splice.rows.start == first) {
            return Err(Error::corrupt(format!("tree {root}: no node begins at row {first} as one should")));
        }
        out.push(Splice { rows: start..end, entries });
    }
    Ok(out)
}

/// A stretch of one level being cut anew.
#[derive(Debug, Default)]
struct Refill {
    entries: Vec<Entry>,
    since: u32,
    /// Old rows before this one are replaced.
    covered: u64,
    /// Old nodes of the stretch.
    bases: Vec<(Hash, Node)>,
}

impl Refill {
    fn push(&mut self, shared: &Shared, level: u8, entry: Entry, out: &mut Vec<Entry>) -> Result<()> {
        let ends = shared.node_rule.ends(&mut self.since, key_hash(level, &entry.last));
        self.entries.push(entry);
        if ends { self.close(shared, level, out) } else { Ok(()) }
    }

    fn close(&mut self, shared: &Shared, level: u8, out: &mut Vec<Entry>) -> Result<()> {
        self.since = 0;
        let entries = std::mem::take(&mut self.entries);
        let Some(first) = entries.first() else { return Ok(()) };
        // The old node that ends nearest to where this one begins, but not before: it has most in common.
        let base = self.bases.iter().find(|(_, base)| base.last(base.len() - 1) >= &first.last[..]);
        let base = base.or(self.bases.last()).map(|(id, base)| (*id, base));
        out.push(put_node(shared, level, &entries, base)?);
        Ok(())
    }
}
