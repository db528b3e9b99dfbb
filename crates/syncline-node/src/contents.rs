//! Contents of files that a partial replica left elsewhere: brought when they are needed, many at a time.
//!
//! A content is a tree of chunks. Its lists are kept back until everything below them is stored and durable, wherever a
//! transfer is cut. That a list is here still says nothing about what is below it: a collection keeps no children of a list
//! that nothing needs, which may itself stay for long in a file with others. So what is below is looked at, too.
//!
//! State: a tally for reports. Memory: a batch of lists per level. Not here: what is needed (`crate::work`, `crate::part`).

use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use syncline_base::Hash;
use syncline_base::hash::IdSet;
use syncline_store::Store;
use syncline_sync::{Traffic, Transport};
use syncline_tree::content::ContentRef;
use syncline_tree::files::{self, Content};
use syncline_tree::walk::{self, ObjectKind};
use syncline_tree::{DatasetRoot, Table};

use crate::ops::transfer::ORIGIN;
use crate::part::Part;
use crate::replica::{Env, Replica};
use crate::{Error, Result};

/// Lists that are asked for at once.
const LISTS: usize = 512;
/// Chunks that are asked for at once: about a gigabyte.
const CHUNKS: usize = 16 << 10;
/// After so many bytes what has come is made durable.
const FLUSH_BYTES: usize = 32 << 20;
/// Files of a version that are looked at at once.
const FILES: usize = 4096;

/// What contents have cost since somebody asked last.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Brought {
    pub objects: u64,
    pub traffic: Traffic,
}

/// Where contents come from.
#[derive(Debug)]
pub(crate) struct Source {
    store: Store,
    env: Env,
    url: Option<String>,
    tally: Arc<Mutex<Brought>>,
}

/// An object of a content and how many levels of lists it has.
type Item = (Hash, u8);

impl Source {
    /// The replica that this one was cloned from.
    ///
    /// # Errors
    /// The store's.
    pub(crate) fn of(replica: &Replica) -> Result<Self> {
        let url = replica.refs()?.remotes.get(ORIGIN).map(|origin| origin.url.clone());
        let (store, env, tally) = (replica.store().clone(), replica.env().clone(), replica.tally());
        Ok(Self { store, env, url, tally })
    }

    /// The replica at an address, for another one's contents.
    pub(crate) fn at(store: Store, env: Env, url: String) -> Self {
        Self { store, env, url: Some(url), tally: Arc::default() }
    }

    /// Nobody: for looking at what is here.
    pub(crate) fn none(store: Store) -> Self {
        Self { store, env: Env::default(), url: None, tally: Arc::default() }
    }

    /// Those of these contents that are not here whole, each once.
    ///
    /// # Errors
    /// The store's.
    pub(crate) fn lacks(&self, contents: &[ContentRef]) -> Result<Vec<ContentRef>> {
        let items = contents.iter().filter(|c| c.len > 0).map(|c| (c.root, c.height)).collect();
        let mut lacking: std::collections::BTreeSet<Item> = self.lacking(items)?.into_iter().collect();
        Ok(contents.iter().filter(|c| lacking.remove(&(c.root, c.height))).copied().collect())
    }

    /// Brings what is not here of these contents. Durable when it returns.
    ///
    /// # Errors
    /// `unavailable` when the origin cannot be reached, `not-found` when it does not have them; the store's.
    pub(crate) fn bring(&self, contents: &[ContentRef]) -> Result<()> {
        let items: Vec<Item> = contents.iter().filter(|c| c.len > 0).map(|c| (c.root, c.height)).collect();
        let items = self.lacking(items)?;
        if items.is_empty() {
            return Ok(());
        }
        let files = items.len();
        self.complete(items).and_then(|()| Ok(self.store.flush()?)).map_err(|error| self.failed(files, error))
    }

    fn failed(&self, files: usize, error: Error) -> Error {
        let from = self.url.as_deref().unwrap_or("the replica that this one was cloned from");
        let what = format!("fetching the contents of {files} files from {from}");
        let why =
            format!("{error}; they are not in this partial replica, so run it again when that one can be reached");
        match error.kind() {
            syncline_base::Kind::Unavailable | syncline_base::Kind::Denied => Error::Unavailable { what, why },
            syncline_base::Kind::NotFound => Error::NotFound { what, why: error.to_string() },
            _ => error,
        }
    }

    /// Those that are not in the store with everything below them, each once.
    fn lacking(&self, items: Vec<Item>) -> Result<Vec<Item>> {
        let mut seen = IdSet::default();
        let items: Vec<Item> = items.into_iter().filter(|(id, _)| seen.insert(*id)).collect();
        let mut lacks = vec![false; items.len()];
        // Level by level, as deep as the highest content: lists of one level are read together.
        let mut level = self.here(items.iter().copied().enumerate().collect(), &mut lacks)?;
        while !level.is_empty() {
            let mut below = Vec::new();
            for batch in level.chunks(LISTS) {
                let children = self.children(batch, &mut lacks);
                below.extend(self.here(children, &mut lacks)?);
            }
            level = below;
        }
        Ok(items.into_iter().zip(lacks).filter(|(_, lacks)| *lacks).map(|(item, _)| item).collect())
    }

    /// Of items, each with the place in `lacks` of what it belongs to, the lists that are here; notes those that are not.
    fn here(&self, items: Vec<(usize, Item)>, lacks: &mut [bool]) -> Result<Vec<(usize, Item)>> {
        let ids: Vec<Hash> = items.iter().map(|(_, (id, _))| *id).collect();
        let absent: IdSet = self.store.lacking(&ids)?.into_iter().collect();
        for (of, (id, _)) in &items {
            lacks[*of] |= absent.contains(id);
        }
        Ok(items.into_iter().filter(|(of, (_, height))| *height > 0 && !lacks[*of]).collect())
    }

    /// What lists refer to. One that cannot be read is as good as none: it is brought again.
    fn children(&self, lists: &[(usize, Item)], lacks: &mut [bool]) -> Vec<(usize, Item)> {
        let ids: Vec<Hash> = lists.iter().map(|(_, (id, _))| *id).collect();
        let read: Vec<Option<Bytes>> = match self.store.get_many(&ids) {
            Ok(read) => read.into_iter().map(Some).collect(),
            Err(_) => ids.iter().map(|id| self.store.get(id).ok()).collect(),
        };
        let mut children = Vec::new();
        for ((of, (_, height)), bytes) in lists.iter().zip(read) {
            let kind = ObjectKind::Content { height: *height };
            match bytes.and_then(|bytes| walk::children(kind, &bytes).ok()) {
                Some(below) => children.extend(below.into_iter().map(|(id, _)| (*of, (id, height - 1)))),
                None => lacks[*of] = true,
            }
        }
        children
    }

    /// Stores these and everything below them, what is below first. As deep as the highest content, no deeper.
    fn complete(&self, items: Vec<Item>) -> Result<()> {
        let (lists, mut next): (Vec<Item>, Vec<Item>) = items.into_iter().partition(|(_, height)| *height > 0);
        if lists.is_empty() {
            let mut unflushed = 0;
            for batch in next.chunks(CHUNKS) {
                self.fetch(batch, &mut |_, bytes| {
                    unflushed += bytes.len();
                    self.store.put(&bytes)?;
                    if unflushed >= FLUSH_BYTES {
                        unflushed = 0;
                        self.store.flush()?;
                    }
                    Ok(())
                })?;
            }
            return Ok(());
        }
        for batch in lists.chunks(LISTS) {
            let mut fetched: Vec<(Hash, Bytes)> = Vec::with_capacity(batch.len());
            self.fetch(batch, &mut |id, bytes| {
                fetched.push((id, bytes));
                Ok(())
            })?;
            let heights: std::collections::BTreeMap<Hash, u8> = batch.iter().copied().collect();
            for (id, bytes) in &fetched {
                let height = heights.get(id).copied().unwrap_or_default();
                let below = walk::children(ObjectKind::Content { height }, bytes)?;
                next.extend(below.into_iter().map(|(id, _)| (id, height - 1)));
            }
            let below = self.lacking(std::mem::take(&mut next))?;
            self.complete(below)?;
            for (_, bytes) in fetched {
                self.store.put(&bytes)?;
            }
        }
        Ok(())
    }

    /// Asks for these; each is shown once, checked.
    fn fetch(&self, items: &[Item], each: &mut dyn FnMut(Hash, Bytes) -> syncline_sync::Result<()>) -> Result<()> {
        let content = |(id, height): &Item| (*id, ObjectKind::Content { height: *height });
        let wanted: Vec<(Hash, ObjectKind)> = items.iter().map(content).collect();
        let mut left: IdSet = items.iter().map(|(id, _)| *id).collect();
        let asked = items.len() as u64;
        let traffic = syncline_sync::fetch_each(&mut *self.connect()?, &wanted, &mut |id, bytes| {
            left.remove(&id);
            each(id, bytes)
        })?;
        let mut tally = self.tally.lock().unwrap_or_else(PoisonError::into_inner);
        tally.objects += asked - left.len() as u64;
        tally.traffic.bytes_sent += traffic.bytes_sent;
        tally.traffic.bytes_received += traffic.bytes_received;
        tally.traffic.round_trips += traffic.round_trips;
        match left.iter().next() {
            None => Ok(()),
            Some(id) => Err(Error::not_found(
                format!("object {}", id.short()),
                format!("{} of {asked} objects are not there either", left.len()),
            )),
        }
    }

    fn connect(&self) -> Result<Box<dyn Transport>> {
        let Some(url) = &self.url else {
            return Err(Error::not_found("an origin", "this replica remembers none"));
        };
        self.env.connect.connect(url)
    }
}

/// Shows the files of a version that have a content of their own, in groups.
///
/// # Errors
/// The store's, and those of `each`.
pub(crate) fn files_of(
    replica: &Replica,
    root: &DatasetRoot,
    each: &mut dyn FnMut(Vec<(String, ContentRef)>) -> Result<()>,
) -> Result<()> {
    let Some(table) = &root.files else { return Ok(()) };
    let table = Table::open(replica.store(), table)?;
    let mut group = Vec::new();
    for entry in files::scan(&table)? {
        let entry = entry?;
        if let Content::Chunks(content) = entry.content {
            group.push((entry.path, content));
        }
        if group.len() == FILES {
            each(std::mem::take(&mut group))?;
        }
    }
    each(group)
}

/// Brings the contents that a replica without a working directory has to hold of a version.
///
/// # Errors
/// As [`Source::bring`].
pub(crate) fn bring_version(replica: &Replica, part: &Part, root: &DatasetRoot) -> Result<()> {
    if !part.is_outline() || !part.tree(&syncline_tree::TreeName::Files) {
        return Ok(());
    }
    let source = Source::of(replica)?;
    files_of(replica, root, &mut |group| {
        let held = group.into_iter().filter(|(path, _)| part.path(path)).map(|(_, content)| content);
        source.bring(&held.collect::<Vec<_>>())
    })
}
