//! A commit as it arrives: its deltas applied, its trees checked, itself stored last.

use bytes::Bytes;
use syncline_base::{Hash, Kind};
use syncline_tree::schema::Schema;
use syncline_tree::walk::ObjectKind;
use syncline_tree::{Changes, Commit, DatasetRoot, Table, TableRef, TreeName, delta};

use super::Receiver;
use super::compare::Compared;
use crate::error::{Error, Result};
use crate::graph;
use crate::session::is_store_down;
use crate::squeeze;
use crate::wire::{Message, Step};

/// The commit that a step is based on.
struct Base {
    id: Hash,
    bytes: Bytes,
    commit: Commit,
    root_bytes: Bytes,
    root: DatasetRoot,
}

/// How applying a delta ended.
enum Rebuilt {
    Equal,
    /// The rows do not give the root that the sender has.
    Different,
}

impl Receiver<'_> {
    pub(super) fn step(&mut self, step: &Step) -> Result<()> {
        let base = match self.base(step) {
            // Its record is here and its data was given up.
            Err(error) if error.kind() == Kind::NotFound && self.redone != Some(self.steps) => {
                self.ask_again();
                return Ok(());
            }
            base => base?,
        };
        let root_prefix = squeeze::root_prefix(base.as_ref().map(|base| &base.root_bytes[..]));
        let root_bytes = squeeze::unsqueeze("a dataset root", &step.root, &root_prefix)?;
        let root = DatasetRoot::decode(&root_bytes)?;
        let root_id = Hash::of(&root_bytes);
        let commit_prefix = squeeze::commit_prefix(base.as_ref().map(|base| (base.id, &base.bytes[..])), root_id);
        let commit_bytes = squeeze::unsqueeze("a commit", &step.commit, &commit_prefix)?;
        let commit = Commit::decode(&commit_bytes)?;
        let id = Hash::of(&commit_bytes);
        if commit.root != root_id {
            return Err(Error::protocol("a commit", format!("{} has another content root", id.short())));
        }
        self.check_parents(id, &commit)?;
        if let Rebuilt::Different = self.trees(base.as_ref(), id, &root)? {
            self.ask_again();
            return Ok(());
        }
        if !self.deltas.is_empty() {
            return Err(Error::protocol("delta", "it names a tree that the commit does not have"));
        }
        let delta_bytes = self.delta_bytes;
        self.forget_deltas();
        let known = self.have.has_commit(id)?;
        match &base {
            Some(base) => {
                self.store.put_with_base(&root_bytes, &base.commit.root)?;
                self.store.put_with_base(&commit_bytes, &base.id)?;
            }
            None => {
                self.store.put(&root_bytes)?;
                self.store.put(&commit_bytes)?;
            }
        }
        self.have.note_commit(id);
        self.past.forget(&id);
        if self.gone.contains(&id, commit.generation)? {
            self.gone.forget(&id);
        }
        self.came.push(id);
        self.arrived.add(id, &commit.parents);
        self.steps += 1;
        self.commits += u64::from(!known);
        self.stored(step.root.payload.len() + step.commit.payload.len() + delta_bytes)
    }

    /// The step as objects.
    fn ask_again(&mut self) {
        self.outbox.push_back(Message::Redo { step: self.steps });
        self.redo = Some(self.steps);
        self.redone = self.redo;
        // Its parts are passed over, too.
        self.assembly = None;
        self.forget_deltas();
    }

    /// Where data was given up, the sender may count on what is not here any more: it sends the step once again, whole.
    pub(super) fn or_again(&mut self, taken: Result<()>) -> Result<()> {
        match taken {
            Err(Error::Damaged { .. } | Error::Lacking { .. })
                if !self.gone.is_empty() && self.redone != Some(self.steps) =>
            {
                self.ask_again();
                Ok(())
            }
            taken => taken,
        }
    }

    fn base(&mut self, step: &Step) -> Result<Option<Base>> {
        let Some(id) = step.base else { return Ok(None) };
        if !self.have.has_commit(id)? {
            return Err(Error::protocol("a commit", format!("it builds on {}, which is not here", id.short())));
        }
        let bytes = self.store.get(&id)?;
        let commit = Commit::decode(&bytes)?;
        if self.gone.contains(&id, commit.generation)? {
            return Err(Error::NotFound(format!("the data of {} was given up here", id.short())));
        }
        let root_bytes = self.store.get(&commit.root)?;
        let root = DatasetRoot::decode(&root_bytes)?;
        Ok(Some(Base { id, bytes, commit, root_bytes, root }))
    }

    /// A commit's parents are here, or were left out, where that may be; its generation is what they make it.
    fn check_parents(&mut self, id: Hash, commit: &Commit) -> Result<()> {
        let mut generation = 0;
        for parent in &commit.parents {
            if let Some(past) = self.past.generation(parent) {
                generation = generation.max(past);
            } else if self.have.has_commit(*parent)? {
                generation = generation.max(Commit::load(&self.store, parent)?.generation);
            } else if self.partial {
                self.shallow.insert(id);
            } else {
                return Err(apart(&id, parent));
            }
        }
        if !self.shallow.contains(&id) && commit.generation != generation + 1 {
            return Err(Error::protocol("a commit", format!("{} has a wrong generation", id.short())));
        }
        Ok(())
    }

    /// Brings every tree of the new root here: by its delta, or by checking that it is here.
    fn trees(&mut self, base: Option<&Base>, id: Hash, root: &DatasetRoot) -> Result<Rebuilt> {
        for (name, tree) in root.trees() {
            if self.scope.as_ref().is_some_and(|scope| !scope.contains(&name)) {
                continue;
            }
            let old = base.and_then(|base| base.root.tree(&name));
            if let Some(frames) = self.deltas.remove(&name) {
                let Some(old) = old else {
                    return Err(Error::protocol("delta", format!("the base has no {name}")));
                };
                if let Rebuilt::Different = self.rebuild(&name, old, tree, frames)? {
                    return Ok(Rebuilt::Different);
                }
                self.applied += 1;
            } else if let Some(Compared { base, changes, .. }) = self.compared.remove(&name) {
                if let Rebuilt::Different = self.apply(&name, &base, changes.into_iter().map(Ok), tree)? {
                    return Ok(Rebuilt::Different);
                }
                self.applied += 1;
            } else if old != Some(tree) && !self.have.has_all(&graph::roots(&name, tree, self.outline))? {
                // A delta without a changed row has no frames: the columns are all that differs.
                let Some(old) = old.filter(|old| old.schema != tree.schema) else {
                    return Err(Error::Lacking { what: format!("commit {} with {name}", id.short()) });
                };
                if let Rebuilt::Different = self.rebuild(&name, old, tree, Vec::new())? {
                    return Ok(Rebuilt::Different);
                }
                self.applied += 1;
            } else if old != Some(tree) {
                // Its objects are here and right; what the root record says about them is the sender's word so far.
                Table::open(&self.store, tree)?.check_root()?;
            }
        }
        Ok(Rebuilt::Equal)
    }

    fn rebuild(&mut self, name: &TreeName, old: &TableRef, new: &TableRef, frames: Vec<Bytes>) -> Result<Rebuilt> {
        let mut table = match Table::open(&self.store, old) {
            Ok(table) => table,
            Err(error) => return different(error),
        };
        if old.schema != new.schema {
            if !self.have.has_all(&[(new.schema, ObjectKind::Schema)])? {
                return Err(Error::protocol("delta", format!("the schema of {name} was not sent")));
            }
            let schema = Schema::decode(&self.store.get(&new.schema)?)?;
            table = match table.with_schema(schema) {
                Ok(table) => table,
                Err(error) => return different(error),
            };
        }
        let schema = table.schema().clone();
        self.apply(name, &table, frames.into_iter().map(|frame| delta::decode_frame(&schema, &frame)), new)
    }

    /// Makes `new` out of `base`. Content that the changes refer to has to be here.
    fn apply(
        &mut self,
        name: &TreeName,
        base: &Table,
        changes: impl Iterator<Item = syncline_tree::Result<Changes>>,
        new: &TableRef,
    ) -> Result<Rebuilt> {
        let left_out = self.outline && *name == TreeName::Files;
        let have = &mut self.have;
        let mut failed = None;
        let changes = changes.map(|changes| {
            let changes = changes?;
            if left_out {
                return Ok(changes);
            }
            let why = match have.has_all(&graph::long_cells(&changes.externals)) {
                Ok(true) => return Ok(changes),
                Ok(false) => "it refers to content that was not sent",
                Err(error) => {
                    failed = Some(error);
                    "the store failed"
                }
            };
            Err(syncline_tree::Error::corrupt(why))
        });
        let outcome = base.apply_expecting(changes, new);
        if let Some(error) = failed {
            return Err(error);
        }
        match outcome {
            Ok(Some(_)) => {
                let roots = graph::roots(name, new, self.outline);
                roots.into_iter().for_each(|(id, kind)| self.have.note(id, kind));
                Ok(Rebuilt::Equal)
            }
            Ok(None) => Ok(Rebuilt::Different),
            Err(error) => different(error),
        }
    }

    fn forget_deltas(&mut self) {
        self.deltas.clear();
        self.compared.clear();
        self.delta_bytes = 0;
    }
}

/// What is sent has to join the history that is here, or to come whole.
pub(super) fn apart(id: &Hash, parent: &Hash) -> Error {
    Error::NotFound(format!(
        "version {} came without its parent {}, which is not here either: the other side is shallow or has given up what was \
         before, and none of what is left is in this replica's history; exchange with a replica that has all of it, or `syncline \
         clone` the other side anew; nothing was changed",
        id.short(),
        parent.short()
    ))
}

/// A delta that cannot be applied is answered like one that gives the wrong rows; a store that fails is not.
fn different(error: syncline_tree::Error) -> Result<Rebuilt> {
    if is_store_down(error.kind()) { Err(error.into()) } else { Ok(Rebuilt::Different) }
}
