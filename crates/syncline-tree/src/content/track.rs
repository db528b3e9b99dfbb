//! The chunks of the previous version, in order, with a window ahead in which moved chunks are found again.

use std::collections::VecDeque;
use std::sync::Arc;

use syncline_base::Hash;
use syncline_base::hash::IdMap;
use syncline_store::{Bases, Store, chunk};

use super::ContentRef;
use super::node::{Child, ListNode};
use crate::Result;

/// How many chunks ahead are known: 256 MiB of content, a few hundred kilobytes of memory.
const WINDOW: usize = 4096;
/// For fewer bytes a second base is not worth naming.
const LITTLE: u64 = 256;

/// A chunk of the previous version.
#[derive(Debug, Clone)]
pub(super) struct Old {
    pub(super) id: Hash,
    pub(super) len: usize,
    /// The list nodes above it, lowest first.
    pub(super) path: Arc<[Hash]>,
}

/// Walks the chunks of a content in order. Holds one list node per level.
#[derive(Debug)]
struct Walk<'a> {
    store: &'a Store,
    /// Open nodes, root first: id, node, next child.
    open: Vec<(Hash, ListNode, usize)>,
    path: Arc<[Hash]>,
    /// A content of a single chunk.
    single: Option<Child>,
}

impl<'a> Walk<'a> {
    fn new(store: &'a Store, content: &ContentRef) -> Result<Self> {
        let mut walk = Self { store, open: Vec::new(), path: Arc::from([]), single: None };
        let root = Child { id: content.root, len: content.len };
        if content.len > 0 && content.height == 0 {
            walk.single = Some(root);
        } else if content.len > 0 {
            walk.enter(root, content.height)?;
        }
        Ok(walk)
    }

    fn enter(&mut self, child: Child, level: u8) -> Result<()> {
        let node = ListNode::expect(&self.store.get(&child.id)?, level, child.len)?;
        self.open.push((child.id, node, 0));
        if level == 1 {
            self.path = self.open.iter().rev().map(|(id, ..)| *id).collect();
        }
        Ok(())
    }

    fn next(&mut self) -> Result<Option<Old>> {
        let old = |child: Child, path: &Arc<[Hash]>| Old {
            id: child.id,
            len: usize::try_from(child.len).unwrap_or(usize::MAX),
            path: Arc::clone(path),
        };
        if let Some(child) = self.single.take() {
            return Ok(Some(old(child, &self.path)));
        }
        while let Some((_, node, at)) = self.open.last_mut() {
            let Some(child) = node.children.get(*at).copied() else {
                self.open.pop();
                continue;
            };
            *at += 1;
            if node.level == 1 {
                return Ok(Some(old(child, &self.path)));
            }
            let below = node.level - 1;
            self.enter(child, below)?;
        }
        Ok(None)
    }
}

/// The previous version's chunks from the current place on.
#[derive(Debug)]
pub(super) struct Track<'a> {
    walk: Walk<'a>,
    window: VecDeque<Old>,
    /// Position in the window, counted from the first chunk ever, by id. The first of equal chunks wins.
    places: IdMap<u64>,
    /// Number of the window's first chunk.
    first: u64,
    ended: bool,
}

impl<'a> Track<'a> {
    pub(super) fn new(store: &'a Store, content: &ContentRef) -> Result<Self> {
        let walk = Walk::new(store, content)?;
        let mut track = Self { walk, window: VecDeque::new(), places: IdMap::default(), first: 0, ended: false };
        track.fill()?;
        Ok(track)
    }

    fn fill(&mut self) -> Result<()> {
        while !self.ended && self.window.len() < WINDOW {
            let Some(old) = self.walk.next()? else {
                self.ended = true;
                break;
            };
            self.places.entry(old.id).or_insert(self.first + self.window.len() as u64);
            self.window.push_back(old);
        }
        Ok(())
    }

    /// Chunks from here on.
    pub(super) fn ahead(&self) -> &VecDeque<Old> {
        &self.window
    }

    /// Whether the chunk at this place of [`Track::ahead`] is the last of its content: it may have been ended by the end.
    pub(super) fn is_last(&self, place: usize) -> bool {
        self.ended && place + 1 == self.window.len()
    }

    /// Whether every chunk up to the end of the previous version is in [`Track::ahead`].
    pub(super) fn sees_end(&self) -> bool {
        self.ended
    }

    /// Where in [`Track::ahead`] a chunk is.
    pub(super) fn find(&self, id: &Hash) -> Option<usize> {
        usize::try_from(self.places.get(id)?.checked_sub(self.first)?).ok()
    }

    /// Goes past `count` chunks.
    pub(super) fn pass(&mut self, count: usize) -> Result<()> {
        for _ in 0..count {
            let Some(old) = self.window.pop_front() else { break };
            // An equal chunk further on is found again only by its neighbours; rare, and never wrong.
            if self.places.get(&old.id) == Some(&self.first) {
                self.places.remove(&old.id);
            }
            self.first += 1;
        }
        // In batches: filling for every chunk would look at the window's length too often.
        if self.window.len() < WINDOW / 2 { self.fill() } else { Ok(()) }
    }

    /// The list nodes above the chunk that is next, lowest first.
    pub(super) fn path(&self) -> Option<Arc<[Hash]>> {
        self.window.front().map(|old| Arc::clone(&old.path))
    }

    /// Of the chunks ahead, the two neighbours that have the most of the bytes `from..to`, counted from the first chunk ahead; one
    /// when that has nearly all.
    pub(super) fn covering(&self, from: u64, to: u64) -> Bases {
        let mut start = 0u64;
        let mut best = (0, Bases::none());
        let mut last: Option<(u64, Hash)> = None;
        for old in self.window.iter().take(2 * WINDOW) {
            let end = start + old.len as u64;
            if start >= to {
                break;
            }
            let shared = end.min(to).saturating_sub(start.max(from));
            if shared > best.0 {
                best = (shared, Bases::one(old.id));
            }
            if let Some((before, id)) = last.filter(|(before, _)| *before.min(&shared) >= LITTLE)
                && before + shared > best.0
            {
                best = (before + shared, Bases::two(id, old.id));
            }
            last = Some((shared, old.id));
            start = end;
        }
        best.1
    }
}

/// Longest run of old chunks that fits into `room` bytes, from the next one on; all of them if the content ends there.
pub(super) fn fitting(track: &Track<'_>, room: usize, at_end: bool) -> Vec<usize> {
    let mut lens = Vec::new();
    let mut used = 0;
    for (place, old) in track.ahead().iter().enumerate() {
        if old.len > chunk::MAX || used + old.len > room {
            break;
        }
        used += old.len;
        // The end of the old content may have ended this chunk; only the same end here makes it the same cut.
        if track.is_last(place) && !(at_end && used == room) {
            break;
        }
        lens.push(old.len);
    }
    lens
}
