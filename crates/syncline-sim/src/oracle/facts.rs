//! The words in which a simulated world and the oracle talk: plain facts, in no type of the implementation.
//!
//! Names of origins and hubs are 16 bytes, tags are 8; they are numbers here, made with `from_be_bytes`, so that numbers
//! compare as the bytes do. Times are milliseconds. Rows are named by numbers of the world's choice, whatever their
//! tables; so are values.

use std::fmt;

use super::set::Set;

/// The identity of a transaction: its dot and its tag.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct TxnId {
    /// Who wrote it.
    pub origin: u128,
    /// The how-manieth of its origin it is, from 1.
    pub seq: u64,
    /// What its bytes hash to.
    pub tag: u64,
}

impl fmt::Display for TxnId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:x}/{}#{:x}", self.origin, self.seq, self.tag)
    }
}

/// A place in the order of a hub.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Stamp {
    /// Who took the transaction in.
    pub hub: u128,
    /// The how-manieth it is, from 1.
    pub n: u64,
}

impl fmt::Display for Stamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:x}@{}", self.hub, self.n)
    }
}

/// What a node says that it holds.
#[derive(Debug, Clone, Copy, Default)]
pub struct Claim<'a> {
    /// Hubs, and up to which stamp of each it has applied everything. A hub that is not named stands at 0.
    pub coverage: &'a [(u128, u64)],
    /// The transactions of its own origins of which it has applied no entry, in chain order.
    pub pending: &'a [TxnId],
}

/// What a client has read: a set of transactions, each for itself.
///
/// Made by `Oracle::read`; the empty one is somebody who has read nothing.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Snapshot {
    pub(super) held: Set,
    /// The coverage where it was read, a number for each hub, without zeros at the end. Only delivery asks for it.
    pub(super) seen: Vec<u64>,
}

impl Snapshot {
    /// Adds what was read elsewhere: a client that has read here and there has read both.
    pub fn join(&mut self, other: &Self) {
        self.held.unite(&other.held);
        if self.seen.len() < other.seen.len() {
            self.seen.resize(other.seen.len(), 0);
        }
        for (mine, theirs) in self.seen.iter_mut().zip(&other.seen) {
            *mine = (*mine).max(*theirs);
        }
    }
}

/// One write of a transaction: which row, and the value it sets or `None` when it deletes.
pub type Write = (u32, Option<u64>);

/// A transaction as its writer made it.
#[derive(Debug, Clone, Copy)]
pub struct Written<'a> {
    /// Its identity.
    pub id: TxnId,
    /// The transaction of the same origin before it, none for the first.
    pub prev: Option<TxnId>,
    /// What its writer had read. May be older than what the node held, never newer.
    pub read: &'a Snapshot,
    /// The writer's hybrid logical clock.
    pub hlc: u64,
    /// Its writes, each row once.
    pub writes: &'a [Write],
    /// What the node held just before it took the write, durable or not.
    pub at: Claim<'a>,
}

/// A row's value that a node shows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Winner {
    /// Whose value it is.
    pub id: TxnId,
    /// The sibling's time.
    pub time: u64,
    /// The value.
    pub value: u64,
    /// Whether the row is shown to be in conflict.
    pub conflict: bool,
}

/// The rows of a node: all of them, with their siblings. A buffer to be used again and again.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Rows {
    siblings: Vec<Sibling>,
    stamps: Vec<Stamp>,
    /// The only ones that the node is to hold, if it is not to hold all.
    only: Option<Vec<u32>>,
}

impl Rows {
    /// No rows.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Becomes the same as others, in the room that it has.
    pub(super) fn copy_from(&mut self, other: &Self) {
        self.siblings.clone_from(&other.siblings);
        self.stamps.clone_from(&other.stamps);
        self.only.clone_from(&other.only);
    }

    /// Forgets the rows and keeps the room.
    pub fn clear(&mut self) {
        self.siblings.clear();
        self.stamps.clear();
        self.only = None;
    }

    /// The node holds the rows under these keys and no others.
    pub fn only(&mut self, keys: impl IntoIterator<Item = u32>) {
        self.only = Some(keys.into_iter().collect());
    }

    /// Whether the row under a key is none that the node is to hold.
    pub(super) fn leaves_out(&self, key: u32) -> bool {
        self.only.as_ref().is_some_and(|only| !only.contains(&key))
    }

    /// Adds a sibling of a row, with the stamps that the node knows of it.
    ///
    /// # Panics
    ///
    /// When rows are not given in the order of their keys. The siblings of one row come in any order.
    pub fn push(&mut self, key: u32, id: TxnId, time: u64, value: u64, stamps: impl IntoIterator<Item = Stamp>) {
        assert!(self.siblings.last().is_none_or(|last| last.key <= key), "rows are given in the order of their keys");
        let from = self.stamps.len();
        self.stamps.extend(stamps);
        self.siblings.push(Sibling { key, id, time, value, from, to: self.stamps.len() });
    }

    pub(super) fn siblings(&self) -> &[Sibling] {
        &self.siblings
    }

    /// The siblings of one row.
    pub(super) fn of(&self, key: u32) -> &[Sibling] {
        let from = self.siblings.partition_point(|s| s.key < key);
        let to = self.siblings.partition_point(|s| s.key <= key);
        &self.siblings[from..to]
    }

    pub(super) fn stamps(&self, sibling: &Sibling) -> &[Stamp] {
        &self.stamps[sibling.from..sibling.to]
    }
}

/// A sibling as a node tells it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Sibling {
    pub(super) key: u32,
    pub(super) id: TxnId,
    pub(super) time: u64,
    pub(super) value: u64,
    /// Its stamps are `stamps[from..to]`.
    from: usize,
    to: usize,
}

/// How something came to be gone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Loss {
    /// The node stopped and came back with what its disk had: nothing that anybody had been told of may be missing.
    Crash,
    /// The disk was destroyed, or replaced by an older copy: what no other node and no message held is gone, and that is
    /// nobody's fault.
    Disk,
}

/// What became of everything that was acknowledged: the result of `Oracle::fates`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Audit {
    /// Transactions whose writers were told that they are durable.
    pub acknowledged: usize,
    /// Of these: gone with a disk.
    pub lost: usize,
    /// Of these: there under another identity, because their own had been forked.
    pub rewritten: usize,
    /// Values that were set and are shown.
    pub visible: usize,
    /// Values that were set and are siblings which the last writer beats.
    pub outvoted: usize,
    /// Values that were set and then overwritten or deleted by somebody who had read them.
    pub overwritten: usize,
    /// Deletions.
    pub deletions: usize,
}
