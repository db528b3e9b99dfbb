//! What a receiver has, complete: the only thing it may answer a question with.
//!
//! That an object is in the store says nothing about what it refers to: a killed transfer or a collection may have left
//! a node without its leaves. So an object counts as had only when everything below it has been seen: it is reachable
//! from a local ref, it arrived in this session (children first), or its whole subtree was walked just now. What a collection
//! is about to remove is not here, and what was found here the store keeps an eye on until it is flushed.
//!
//! State: addresses found complete in this session, the last ones of leaves and lists (see [`crate::seen`]); chunks are not
//! remembered, the store's index has them.

use syncline_base::Hash;
use syncline_base::hash::IdSet;
use syncline_store::Store;
use syncline_tree::walk::ObjectKind;
use syncline_tree::{Commit, DatasetRoot};

use crate::error::Result;
use crate::graph::{children, is_end, roots};
use crate::history;
use crate::seen::Seen;

/// How many local refs are looked at for what is complete.
const SEED_HEADS: usize = 16;

/// What is complete here.
pub(crate) struct Have {
    store: Store,
    heads: Vec<Hash>,
    whole: Seen,
    /// Nodes of the file tree that are complete but for the contents of files.
    outlines: Seen,
    /// Local refs hold the file tree like that.
    outline: bool,
    commits: IdSet,
    seeded: bool,
}

impl Have {
    /// Everything under `heads` is complete: the local refs.
    /// With `outline` the contents of files may be missing.
    pub(crate) fn new(store: &Store, heads: Vec<Hash>, outline: bool) -> Self {
        let (whole, outlines, commits) = (Seen::default(), Seen::default(), IdSet::default());
        Self { store: store.clone(), heads, whole, outlines, outline, commits, seeded: false }
    }

    fn set(&mut self, kind: ObjectKind) -> &mut Seen {
        if matches!(kind, ObjectKind::Outline { .. }) { &mut self.outlines } else { &mut self.whole }
    }

    fn knows(&self, id: &Hash, kind: ObjectKind) -> bool {
        // What is complete is complete without contents, too.
        self.whole.contains(id) || (matches!(kind, ObjectKind::Outline { .. }) && self.outlines.contains(id))
    }

    /// An object has been stored after everything that it refers to.
    pub(crate) fn note(&mut self, id: Hash, kind: ObjectKind) {
        if !is_end(kind) {
            self.set(kind).insert(id, kind);
        }
    }

    /// A commit has been stored after everything that it refers to.
    pub(crate) fn note_commit(&mut self, id: Hash) {
        self.commits.insert(id);
    }

    /// Whether a commit and everything under it is here.
    pub(crate) fn has_commit(&mut self, id: Hash) -> Result<bool> {
        if self.commits.contains(&id) {
            return Ok(true);
        }
        let known = history::reaches(&self.store, &self.heads, id)?;
        if known {
            self.commits.insert(id);
        }
        Ok(known)
    }

    /// Those of these commits that are here with everything under them.
    pub(crate) fn has_commits(&mut self, ids: &[Hash]) -> Result<IdSet> {
        let open: Vec<Hash> = ids.iter().filter(|id| !self.commits.contains(*id)).copied().collect();
        self.commits.extend(history::reached(&self.store, &self.heads, &open)?);
        Ok(ids.iter().filter(|id| self.commits.contains(*id)).copied().collect())
    }

    /// For each of these whether it, or anything below it, is not here.
    pub(crate) fn lacks(&mut self, items: &[(Hash, ObjectKind)]) -> Result<Vec<bool>> {
        self.seed()?;
        let unsure: Vec<Hash> = items.iter().filter(|(id, kind)| !self.knows(id, *kind)).map(|(id, _)| *id).collect();
        let missing: IdSet = self.store.lacking(&unsure)?.into_iter().collect();
        let mut lacks = Vec::with_capacity(items.len());
        for (id, kind) in items {
            lacks.push(missing.contains(id) || !self.complete(*id, *kind)?);
        }
        Ok(lacks)
    }

    /// Whether all of these are here with everything below them.
    pub(crate) fn has_all(&mut self, items: &[(Hash, ObjectKind)]) -> Result<bool> {
        let ends: Vec<Hash> = items.iter().filter(|(_, kind)| is_end(*kind)).map(|(id, _)| *id).collect();
        if !self.store.lacking(&ends)?.is_empty() {
            return Ok(false);
        }
        for (id, kind) in items.iter().filter(|(_, kind)| !is_end(*kind)) {
            if !self.complete(*id, *kind)? {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// Whether this object is here with everything below it. Reads what is not known yet. The depth of the recursion is
    /// bounded by the heights in the kinds, which fall from level to level.
    fn complete(&mut self, id: Hash, kind: ObjectKind) -> Result<bool> {
        if self.knows(&id, kind) {
            return Ok(true);
        }
        if !self.store.lacking(&[id])?.is_empty() {
            return Ok(false);
        }
        if is_end(kind) {
            return Ok(true);
        }
        // A damaged object is as good as none: it will be sent again.
        let Ok(bytes) = self.store.get(&id) else { return Ok(false) };
        let Ok(below) = children(kind, &bytes) else { return Ok(false) };
        let whole = self.has_all(&below)?;
        if whole {
            self.set(kind).insert(id, kind);
        }
        Ok(whole)
    }

    /// Learns what lies under the local refs: the inner nodes are read, the leaves only named.
    fn seed(&mut self) -> Result<()> {
        if std::mem::replace(&mut self.seeded, true) {
            return Ok(());
        }
        let mut stack = Vec::new();
        for head in self.heads.iter().take(SEED_HEADS) {
            // A ref to something that cannot be read is what `verify` is for; here it only helps less.
            let Ok(commit) = Commit::load(&self.store, head) else { continue };
            let Ok(root) = DatasetRoot::load(&self.store, &commit.root) else { continue };
            stack.extend(root.trees().flat_map(|(name, tree)| roots(&name, tree, self.outline)));
        }
        while let Some((id, kind)) = stack.pop() {
            let (ObjectKind::Tree { height } | ObjectKind::Outline { height }) = kind else { continue };
            // A partial replica has refs to trees that it does not hold.
            if self.knows(&id, kind) || !self.store.lacking(&[id])?.is_empty() {
                continue;
            }
            if height > 1 {
                let Ok(bytes) = self.store.get(&id) else { continue };
                let Ok(below) = children(kind, &bytes) else { continue };
                if height == 2 && !self.store.lacking(&below.iter().map(|(id, _)| *id).collect::<Vec<_>>())?.is_empty()
                {
                    continue;
                }
                stack.extend(below);
            }
            self.set(kind).insert(id, kind);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
