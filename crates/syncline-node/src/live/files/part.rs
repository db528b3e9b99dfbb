//! A directory that holds a part: which paths are inside of the scope that the replica holds, and what lies here outside of it.
//!
//! What is outside stays where it is, is told to nobody, and is named in the status. A file that leaves the scope goes from the directory
//! when it is what the rows said (`super::remote` does that: no row says any more what is to be there); what was changed here stays. Until a scope
//! that is followed has come, paths have to be in what is held and in what is followed, and one that is not known has none.
//!
//! Owns nothing that is durable: after a crash the directory is looked at anew. Not here: what a scope says (`crate::live::scopes`).

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use syncline_sync::live::Scope as _;
use syncline_tree::files::FileKind;

use super::worker::Desk;
use super::{key, shown};
use crate::Result;
use crate::live::Engine;
use crate::live::scopes::{self, Named};
use crate::replica::Replica;
use crate::worktree::dirs::Root;
use crate::worktree::stat::Stat;
use crate::worktree::walk::{Found, Walk};

/// So many paths are named that are outside.
pub(super) const NAMED: usize = 100;

/// Which paths a directory is kept in step about.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Part {
    /// The scope that is held, by its bytes; empty when everything is.
    id: Bytes,
    /// A path has to be in each of these.
    scopes: Vec<Arc<Named>>,
    /// What is followed, or else held, by name.
    name: Option<String>,
    /// A scope is followed or held that cannot be known yet: no path is in it.
    unknown: bool,
}

impl Part {
    /// As it is now.
    ///
    /// # Errors
    /// As [`Engine::read`].
    pub(super) fn now(engine: &Engine) -> Result<Self> {
        let (follows, id, held) = engine.scope_state()?;
        let mut unknown = !id.is_empty() && held.is_none();
        let is_held = |name: &String| held.as_ref().is_some_and(|held| held.name() == name);
        let mut scopes = Vec::new();
        if let Some(name) = follows.as_ref().filter(|name| !is_held(name)) {
            match engine.read(|node| scopes::load(node, name))? {
                Ok(Some(named)) => scopes.push(Arc::new(named)),
                Ok(None) | Err(_) => unknown = true,
            }
        }
        let name = follows.or_else(|| held.as_ref().map(|held| held.name().to_owned()));
        scopes.extend(held);
        Ok(Self { id, scopes, name, unknown })
    }

    /// Whether it is all paths that there may be.
    pub(super) const fn is_everything(&self) -> bool {
        self.scopes.is_empty() && !self.unknown
    }

    /// Whether it cannot be known yet.
    pub(super) const fn is_unknown(&self) -> bool {
        self.unknown
    }

    /// The name of the scope.
    pub(super) fn name(&self) -> Option<&str> {
        self.name.as_deref()
    }

    /// Whether the row of a path is inside.
    pub(super) fn has(&self, path: &str) -> bool {
        !self.unknown && self.scopes.iter().all(|scope| scope.includes(&key(path)))
    }
}

/// What lies in a directory outside of the scope that its replica holds.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Outside {
    /// How many files: they are on this disk only.
    pub count: u64,
    /// The first of them, by path.
    pub paths: Vec<String>,
}

/// Says what lies in a replica's directory outside of the scope that it holds; `None` when it holds everything, or no directory is kept in step.
///
/// # Errors
/// The file system's and the log's.
pub fn outside(replica: &Replica, engine: &Engine) -> Result<Option<Outside>> {
    let (Some(worktree), Some(meta)) = (replica.worktree(), replica.meta()) else { return Ok(None) };
    let part = Part::now(engine)?;
    if part.is_everything() || part.is_unknown() || !super::base::exists(&meta.join("live")) {
        return Ok(None);
    }
    let root = Root::open(worktree)?;
    let mut paths = Vec::new();
    for found in &mut Walk::new(&root) {
        let Found { path, stat } = found?;
        if stat.kind != FileKind::Folder && !part.has(&path) {
            paths.push(path);
        }
    }
    // What is shown of a row is on its way to the hub, or goes in a moment.
    engine.read(|node| paths.retain(|path| shown::want(node, path).value.is_none()))?;
    let count = paths.len() as u64;
    paths.truncate(NAMED);
    Ok(Some(Outside { count, paths }))
}

impl Desk {
    /// Takes notice of the scope; whether it is another one than before.
    ///
    /// # Errors
    /// The log's.
    pub(super) fn refresh_part(&mut self) -> Result<bool> {
        let now = Part::now(&self.engine)?;
        self.status.scope = now.name().map(ToOwned::to_owned);
        self.status.scope_waits = now.is_unknown();
        let changed = now != self.part;
        self.part = now;
        Ok(changed)
    }

    /// Whether another scope is held than was taken notice of.
    ///
    /// # Errors
    /// The log's.
    pub(super) fn part_is_old(&self) -> Result<bool> {
        self.engine.read(|node| *node.scope() != self.part.id)
    }

    /// Whether what is at a path is told to others: a file beside another one is of that one's row.
    pub(super) fn is_inside(&self, path: &str) -> bool {
        self.part.is_everything() || {
            let of = self.base.get(path).and_then(|known| known.of.as_deref());
            self.part.has(of.unwrap_or(path))
        }
    }

    /// Takes out of what has changed what is outside: it stays as it is, and nobody is told of it.
    ///
    /// # Errors
    /// The file system's and the log's.
    pub(super) fn set_outside_aside(
        &mut self,
        suspects: &mut Vec<Found>,
        gone: &mut Vec<String>,
        busy: &BTreeSet<String>,
    ) -> Result<()> {
        let mut before = std::mem::take(&mut self.outside);
        if self.part.is_everything() {
            return Ok(());
        }
        let mut outside: BTreeMap<String, Option<Stat>> = BTreeMap::new();
        for found in suspects.extract_if(.., |found| !self.is_inside(&found.path)) {
            // Nothing is lost with an empty folder.
            if found.stat.kind != FileKind::Folder {
                let known = before.remove(&found.path).flatten().filter(|stat| *stat == found.stat);
                outside.insert(found.path, known);
            }
        }
        outside.extend(before.into_iter().filter(|(path, _)| busy.contains(path)));
        self.outside = outside;
        let mut left: Vec<String> = gone.extract_if(.., |path| !self.is_inside(path)).collect();
        if self.part.is_unknown() {
            // Whether others are to be told shows later.
            return Ok(());
        }
        // What a row says still is as it was; and it goes without being told.
        self.engine.read(|node| left.retain(|path| shown::want(node, path).value.is_none()))?;
        if left.is_empty() { Ok(()) } else { self.base.set(Vec::new(), left) }
    }

    /// Whether it is known that a file which left the scope was changed here, and has been since: it stays.
    pub(super) fn stays(&self, path: &str, stat: Option<&Stat>) -> bool {
        stat.is_some() && self.outside.get(path).is_some_and(|known| known.as_ref() == stat)
    }

    /// Remembers paths that rows say something about though they are outside: that ends when a hub has taken it in.
    pub(super) fn note_leaving(&mut self, path: &str, is_shown: bool) {
        if is_shown && !self.is_inside(path) {
            self.leaving.insert(path.to_owned());
        } else {
            self.leaving.remove(path);
        }
    }

    /// Looks again at what was to leave.
    ///
    /// # Errors
    /// As [`Self::settle`].
    pub(super) fn settle_leaving(&mut self) -> Result<()> {
        let leaving: Vec<String> = self.leaving.iter().cloned().collect();
        if leaving.is_empty() { Ok(()) } else { self.settle(&leaving) }
    }
}
