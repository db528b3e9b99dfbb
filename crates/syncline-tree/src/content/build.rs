//! Builds list nodes over a stream of chunks, one open node per level.

use syncline_base::Hash;
use syncline_store::Store;

use super::ContentRef;
use super::node::{Child, ListNode, MAX_HEIGHT, ends};
use crate::{Error, Result};

/// One level of list nodes: the node that is open, and what it will be stored against.
#[derive(Debug, Default)]
struct Level {
    children: Vec<Child>,
    /// How many children this level was given in all.
    given: u64,
    /// The node at this place in the previous version.
    base: Option<Hash>,
}

/// Takes chunks in content order; memory is one open node per level.
#[derive(Debug)]
pub(super) struct Builder<'a> {
    store: &'a Store,
    levels: Vec<Level>,
    len: u64,
}

impl<'a> Builder<'a> {
    pub(super) fn new(store: &'a Store) -> Self {
        Self { store, levels: Vec::new(), len: 0 }
    }

    /// Takes the next chunk, which is in the store. `path` holds the list nodes above the chunk that was here in the previous
    /// version, lowest first.
    pub(super) fn push(&mut self, chunk: Child, path: &[Hash]) -> Result<()> {
        let len = self.len.checked_add(chunk.len);
        self.len = len.ok_or_else(|| Error::invalid("a content is longer than 2^64 bytes: no dataset can hold it"))?;
        let mut child = chunk;
        for level in 0.. {
            if self.levels.len() == level {
                self.levels.push(Level::default());
            }
            let open = &mut self.levels[level];
            if open.children.is_empty() {
                open.base = path.get(level).copied();
            }
            open.given += 1;
            open.children.push(child);
            if !ends(open.children.len(), &child.id) {
                return Ok(());
            }
            child = self.close(level)?;
        }
        Ok(())
    }

    /// Stores the open node of a level.
    fn close(&mut self, level: usize) -> Result<Child> {
        let open = &mut self.levels[level];
        let height = u8::try_from(level + 1).ok().filter(|height| *height <= MAX_HEIGHT);
        let height = height.ok_or_else(|| Error::invalid("a content is longer than any chunk tree can hold"))?;
        let node = ListNode { level: height, children: std::mem::take(&mut open.children) };
        let bytes = node.encode();
        let id = match open.base.take() {
            Some(base) if Hash::of(&bytes) == base => base,
            Some(base) => self.store.put_with_base(&bytes, &base)?,
            None => self.store.put(&bytes)?,
        };
        Ok(Child { id, len: node.len() })
    }

    /// Closes what is open. The root is the only entry of the lowest level that has only one.
    pub(super) fn finish(mut self) -> Result<ContentRef> {
        let mut carried: Option<Child> = None;
        let mut level = 0;
        loop {
            if self.levels.len() == level {
                let root = carried.map_or(Hash::ZERO, |child| child.id);
                return self.done(root, level);
            }
            let open = &mut self.levels[level];
            if let Some(child) = carried.take() {
                open.given += 1;
                open.children.push(child);
            }
            if open.given == 1 && self.levels.len() == level + 1 {
                let root = self.levels[level].children[0].id;
                return self.done(root, level);
            }
            if !self.levels[level].children.is_empty() {
                carried = Some(self.close(level)?);
            }
            level += 1;
        }
    }

    fn done(&self, root: Hash, level: usize) -> Result<ContentRef> {
        let height = u8::try_from(level).ok().filter(|height| *height <= MAX_HEIGHT);
        let height = height.ok_or_else(|| Error::invalid("a content is longer than any chunk tree can hold"))?;
        Ok(ContentRef { root, len: self.len, height })
    }
}
