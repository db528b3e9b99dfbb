//! Trees that the receiver may nearly have, under a history of its own: it asks, we answer.

use bytes::Bytes;
use syncline_base::Hash;
use syncline_tree::{TableRef, TreeName, reconcile};

use super::{Sender, Task};
use crate::error::{Error, Result};
use crate::graph;
use crate::session::is_store_down;
use crate::wire::Message;

impl Sender {
    /// Lets the receiver compare these trees with what it has.
    pub(super) fn propose(&mut self, trees: Vec<(TreeName, TableRef)>) {
        let named = trees.iter().map(|(name, tree)| (graph::tree_to_text(name), *tree)).collect();
        self.outbox.push_back(Message::Propose(named));
        self.proposed = Some(trees);
    }

    /// Answers one question about a tree.
    pub(super) fn answer(&mut self, tree: u32, body: &[u8]) -> Result<()> {
        let known = self.proposed.as_ref().is_some_and(|trees| (tree as usize) < trees.len());
        if !known {
            return Err(Error::protocol("query", format!("tree {tree} was not proposed")));
        }
        let body = match reconcile::serve(&self.store, body) {
            // Rows that are too long for an answer, say: without one the receiver takes the tree as objects.
            Err(error) if !is_store_down(error.kind()) => Bytes::new(),
            answer => answer?,
        };
        self.bytes += body.len() as u64;
        self.outbox.push_back(Message::Answer { tree, body });
        Ok(())
    }

    /// The receiver has asked enough: the rest goes as objects.
    pub(super) fn settled(&mut self, done: &[u32], need: &[(Hash, u8)]) -> Result<()> {
        let Some(trees) = self.proposed.take() else {
            return Err(Error::protocol("settled", "nothing was proposed"));
        };
        self.deltas += done.len() as u64;
        let left = (0u32..).zip(&trees).filter(|(at, _)| !done.contains(at));
        let whole: Vec<_> = left.flat_map(|(_, (name, tree))| graph::roots(name, tree, self.outline)).collect();
        self.stack.push(Task::Ask { items: whole, ask: true });
        let mut content = Vec::with_capacity(need.len());
        for (id, kind) in need {
            content.push((*id, graph::kind_of_byte(*kind)?));
        }
        // A receiver may ask for any object that it can name, as in a fetch; what is not here is an error.
        self.stack.push(Task::Ask { items: content, ask: true });
        Ok(())
    }
}
