//! A place in a table's tree: a node of one level, found by key or by row number, and its neighbours.
//!
//! Owns: the path from the root to the place. Reads inner nodes only; leaves are named, not opened.

use bytes::Bytes;
use syncline_base::Hash;

use super::Shared;
use crate::node::Node;
use crate::{Error, Result};

/// A node of the cursor's level, as its parent describes it.
#[derive(Debug, Clone)]
pub(crate) struct Place {
    pub(crate) id: Hash,
    /// Number of its first row.
    pub(crate) start: u64,
    pub(crate) rows: u64,
    /// Its largest key; `None` for the root, where nobody says.
    pub(crate) last_key: Option<Bytes>,
    /// Whether nothing comes after it.
    pub(crate) is_last: bool,
}

impl Place {
    pub(crate) fn end(&self) -> u64 {
        self.start + self.rows
    }
}

/// Walks over the nodes of one level (0: leaves).
#[derive(Debug)]
pub(crate) struct Cursor<'a> {
    shared: &'a Shared,
    root: Hash,
    /// Levels of the whole tree.
    height: u8,
    level: u8,
    /// From the root down to the parents of the level's nodes; empty when the root is of this level.
    path: Vec<Step>,
}

#[derive(Debug, Clone)]
struct Step {
    node: Node,
    /// Number of the node's first row.
    origin: u64,
    /// The child that the path goes through.
    at: usize,
    /// Number of that child's first row.
    start: u64,
}

impl Step {
    fn new(node: Node, origin: u64) -> Self {
        Self { node, origin, at: 0, start: origin }
    }

    /// Chooses child `at`, or the last one.
    fn choose(&mut self, at: usize) {
        let at = at.min(self.node.len() - 1);
        if at < self.at {
            (self.at, self.start) = (0, self.origin);
        }
        while self.at < at {
            self.start += self.node.rows(self.at);
            self.at += 1;
        }
    }

    fn end(&self) -> u64 {
        self.start + self.node.rows(self.at)
    }
}

impl<'a> Cursor<'a> {
    /// At the first node of `level` in a tree with at least that level.
    pub(crate) fn new(shared: &'a Shared, root: &Hash, height: u8, level: u8) -> Result<Self> {
        let mut cursor = Self { shared, root: *root, height, level, path: Vec::new() };
        cursor.descend(|_| 0)?;
        Ok(cursor)
    }

    /// From the end of the path down to the level; `pick` chooses a child of each node.
    fn descend(&mut self, pick: impl Fn(&Step) -> usize) -> Result<()> {
        let depth = usize::from(self.height - 1 - self.level);
        while self.path.len() < depth {
            let (id, start) = match self.path.last() {
                None => (self.root, 0),
                Some(step) => (step.node.id(step.at), step.start),
            };
            let node = self.shared.node(&id, self.height - 1 - self.path.len() as u8)?;
            if let Some(step) = self.path.last()
                && node.total_rows() != step.node.rows(step.at)
            {
                return Err(Error::corrupt(format!("node {id}: its parent counts its rows differently")));
            }
            let mut step = Step::new(node, start);
            step.choose(pick(&step));
            self.path.push(step);
        }
        Ok(())
    }

    /// Goes to another place: `covers` says whether the child that a step goes through leads there, `pick` which child does.
    fn seek(&mut self, covers: impl Fn(&Step) -> bool, pick: impl Fn(&Step) -> usize) -> Result<()> {
        let covering = self.path.iter().take_while(|step| covers(step)).count();
        self.path.truncate(covering + 1);
        if covering < self.path.len()
            && let Some(step) = self.path.last_mut()
        {
            step.choose(pick(step));
        }
        self.descend(pick)
    }

    /// Goes to the node that holds row `row`, or to the last one.
    pub(crate) fn seek_row(&mut self, row: u64) -> Result<()> {
        let child = |step: &Step| {
            let mut end = step.origin;
            let holds = |i: &usize| {
                end += step.node.rows(*i);
                row < end
            };
            (0..step.node.len()).find(holds).unwrap_or(step.node.len())
        };
        self.seek(|step| (step.start..step.end()).contains(&row), child)
    }

    /// Goes to the first node whose largest key is not below `key`, or to the last one.
    pub(crate) fn seek_key(&mut self, key: &[u8]) -> Result<()> {
        let covers =
            |step: &Step| (step.at == 0 || step.node.last(step.at - 1) < key) && step.node.last(step.at) >= key;
        self.seek(covers, |step| step.node.find(key))
    }

    /// Goes to the next node of the level; false (and nothing happens) at the last one.
    pub(crate) fn next(&mut self) -> Result<bool> {
        let Some(depth) = self.path.iter().rposition(|step| step.at + 1 < step.node.len()) else {
            return Ok(false);
        };
        self.path.truncate(depth + 1);
        let step = &mut self.path[depth];
        step.choose(step.at + 1);
        self.descend(|_| 0)?;
        Ok(true)
    }

    /// The node it is at.
    pub(crate) fn place(&self, rows: u64) -> Place {
        let is_last = self.path.iter().all(|step| step.at + 1 == step.node.len());
        match self.path.last() {
            None => Place { id: self.root, start: 0, rows, last_key: None, is_last },
            Some(step) => {
                let entry = step.node.entry(step.at);
                Place { id: entry.id, start: step.start, rows: entry.rows, last_key: Some(entry.last), is_last }
            }
        }
    }

    /// Number of the first row of the node it is at.
    pub(crate) fn start(&self) -> u64 {
        self.path.last().map_or(0, |step| step.start)
    }

    /// The inner node it is at, opened.
    pub(crate) fn node(&self) -> Result<(Hash, Node)> {
        let id = self.path.last().map_or(self.root, |step| step.node.id(step.at));
        Ok((id, self.shared.node(&id, self.level)?))
    }
}
