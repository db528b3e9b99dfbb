//! Trees that we may nearly have, under a history of our own: we ask which rows differ, and make the tree ourselves.
//!
//! Worth it when few leaves differ. Whatever goes wrong, the tree is sent as objects instead.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use syncline_base::Hash;
use syncline_base::rng::Rng;
use syncline_tree::node::MAX_HEIGHT;
use syncline_tree::reconcile::Session;
use syncline_tree::{Changes, Commit, DatasetRoot, Table, TableRef, TreeName};

use super::Receiver;
use crate::error::{Error, Result};
use crate::graph;
use crate::session::is_store_down;
use crate::wire::{MAX_IDS, Message};

/// Fewer differing leaves than this are always worth asking about.
const FEW_LEAVES: usize = 64;
/// The most bytes of answers about one tree.
const ANSWER_BYTES: usize = 32 << 20;
/// The most bytes of rows in memory, of all trees of a step together.
const HELD_BYTES: usize = 64 << 20;
/// The most bytes of everything else that comparisons under way keep, together.
const KEPT_BYTES: usize = if cfg!(test) { 64 << 10 } else { 192 << 20 };
/// How many local refs are looked at for a tree to compare with.
const LOCAL_HEADS: usize = 4;

/// Comparisons under way, by place in the proposal.
pub(super) struct Comparing {
    trees: Vec<(TreeName, TableRef)>,
    open: BTreeMap<u32, Comparison>,
    done: BTreeSet<u32>,
    need: BTreeMap<Hash, u8>,
    /// What they and those that are done hold of rows, and what they keep besides.
    held: usize,
    kept: usize,
}

struct Comparison {
    base: Table,
    session: Session,
    bytes: usize,
}

/// A tree that can be made: from this local table, by these changes.
pub(super) struct Compared {
    pub(super) base: Table,
    pub(super) changes: Vec<Changes>,
    /// Bytes of their rows.
    held: usize,
}

impl Comparing {
    /// Takes the reply to the last question about a tree that is open.
    fn reply(&mut self, tree: u32, body: &Bytes) -> Option<syncline_tree::Result<()>> {
        let comparison = self.open.get_mut(&tree)?;
        let session = &mut comparison.session;
        comparison.bytes += body.len();
        (self.held, self.kept) = (self.held - session.held(), self.kept - session.kept());
        let outcome = session.reply(body);
        (self.held, self.kept) = (self.held + session.held(), self.kept + session.kept());
        Some(outcome)
    }

    /// No comparison of this tree any more.
    fn take(&mut self, tree: u32) -> Option<Comparison> {
        let comparison = self.open.remove(&tree)?;
        self.held -= comparison.session.held();
        self.kept -= comparison.session.kept();
        Some(comparison)
    }
}

impl Receiver<'_> {
    /// The sender has trees that are new to it that we have: look for local ones to compare them with.
    pub(super) fn propose(&mut self, proposed: Vec<(String, TableRef)>) -> Result<()> {
        if self.comparing.is_some() {
            return Err(Error::protocol("propose", "the last proposal is not settled"));
        }
        let mut names = BTreeSet::new();
        for (name, table) in &proposed {
            if table.height > MAX_HEIGHT || !names.insert(name) {
                let why = format!("{name:?} has {} levels, or is named twice", table.height);
                return Err(Error::protocol("propose", why));
            }
        }
        let local = self.local_roots();
        let mut trees = Vec::with_capacity(proposed.len());
        let mut open = BTreeMap::new();
        for (at, (text, table)) in (0u32..).zip(proposed) {
            let name = graph::tree_of_text(&text)?;
            let here = local.iter().filter_map(|root| root.tree(&name));
            let near = here.filter(|near| near.schema == table.schema && near.rows > 0 && near.root != table.root);
            if let Some(near) = near.copied().next()
                && table.height > 1
                && let Some(comparison) = self.start(&near, &table)
            {
                open.insert(at, comparison);
            }
            trees.push((name, table));
        }
        let held = self.compared.values().map(|compared| compared.held).sum();
        let kept = open.values().map(|comparison: &Comparison| comparison.session.kept()).sum();
        self.comparing = Some(Comparing { trees, open, done: BTreeSet::new(), need: BTreeMap::new(), held, kept });
        let all: Vec<u32> = self.comparing.iter().flat_map(|comparing| comparing.open.keys().copied()).collect();
        for at in all {
            self.go_on(at)?;
        }
        self.settle();
        Ok(())
    }

    /// What the newest local commits hold, as far as it can be read.
    fn local_roots(&self) -> Vec<DatasetRoot> {
        let heads = self.heads.iter().take(LOCAL_HEADS);
        let root = |id| DatasetRoot::load(&self.store, &Commit::load(&self.store, id).ok()?.root).ok();
        heads.filter_map(root).collect()
    }

    /// A partial or damaged local tree is nothing to compare with.
    fn start(&self, near: &TableRef, table: &TableRef) -> Option<Comparison> {
        let base = Table::open(&self.store, near).ok()?;
        let session = Session::start(&base, table, Rng::from_os().next_u64()).ok()?;
        Some(Comparison { base, session, bytes: 0 })
    }

    pub(super) fn answer(&mut self, tree: u32, body: &Bytes) -> Result<()> {
        let Some(replied) = self.comparing.as_mut().and_then(|comparing| comparing.reply(tree, body)) else {
            return Err(Error::protocol("answer", format!("nothing was asked about tree {tree}")));
        };
        self.bytes += body.len() as u64;
        match replied {
            Ok(()) => self.go_on(tree)?,
            Err(error) => self.close(tree, error)?,
        }
        self.settle();
        Ok(())
    }

    /// Asks the next question about a tree, or closes its comparison.
    fn go_on(&mut self, at: u32) -> Result<()> {
        let Some(comparing) = &mut self.comparing else { return Ok(()) };
        let full = comparing.held > HELD_BYTES || comparing.kept > KEPT_BYTES;
        let Some(comparison) = comparing.open.get_mut(&at) else { return Ok(()) };
        let Some((name, table)) = comparing.trees.get(at as usize).cloned() else { return Ok(()) };
        let leaf_rows = u64::from(comparison.base.schema().leaf_rows).max(1);
        let quarter = usize::try_from(table.rows / leaf_rows / 4).unwrap_or(usize::MAX);
        let many = comparison.session.leaves().0 > quarter.max(FEW_LEAVES) || comparison.bytes > ANSWER_BYTES || full;
        if !many {
            let before = comparison.session.kept();
            let request = comparison.session.request();
            comparing.kept = comparing.kept - before + comparison.session.kept();
            match request {
                Ok(Some(body)) => {
                    self.outbox.push_back(Message::Query { tree: at, body });
                    return Ok(());
                }
                Ok(None) => {}
                Err(error) => return self.close(at, error),
            }
        }
        let Some(comparison) = comparing.take(at) else { return Ok(()) };
        if many {
            return Ok(());
        }
        let held = comparison.session.held();
        let changes = match comparison.session.finish() {
            Ok(changes) => changes,
            Err(error) => return self.close(at, error),
        };
        let left_out = self.outline && name == TreeName::Files;
        for (id, kind) in changes.iter().filter(|_| !left_out).flat_map(|changes| graph::long_cells(&changes.externals))
        {
            if !self.have.has_all(&[(id, kind)])? {
                comparing.need.insert(id, graph::kind_to_byte(kind));
            }
        }
        // More than one message can ask for: let the sender walk the tree.
        if comparing.need.len() <= MAX_IDS {
            comparing.done.insert(at);
            comparing.held += held;
            self.compared.insert(name, Compared { base: comparison.base, changes, held });
        }
        Ok(())
    }

    /// Gives a comparison up: an answer that is none, or a tree here with holes, only means that the tree comes as objects.
    fn close(&mut self, at: u32, error: syncline_tree::Error) -> Result<()> {
        if is_store_down(error.kind()) {
            return Err(error.into());
        }
        if let Some(comparing) = &mut self.comparing {
            comparing.take(at);
        }
        Ok(())
    }

    /// Says so when there is nothing more to ask.
    fn settle(&mut self) {
        let Some(comparing) = self.comparing.take_if(|comparing| comparing.open.is_empty()) else { return };
        let mut need: Vec<(Hash, u8)> = comparing.need.into_iter().collect();
        need.truncate(MAX_IDS);
        // By kind, so that it is short on the wire.
        need.sort_unstable_by_key(|(id, kind)| (*kind, *id));
        self.outbox.push_back(Message::Settled { trees: comparing.done.into_iter().collect(), need });
    }
}
