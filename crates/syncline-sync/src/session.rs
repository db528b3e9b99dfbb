//! The two sides of a transfer as state machines.
//!
//! One side *sends* objects and one *receives* them; in a pull the server sends, in a push the client does. A machine
//! is fed with [`Session::receive`] and drained with [`Session::next`]; it never waits.
//!
//! State: in memory only. What the receiving side has flushed survives; refs move last, one by one, by
//! compare-and-swap, through [`Local::move_ref`].

mod fetch;
mod receiver;
mod sender;
mod server;

use std::collections::BTreeSet;

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use syncline_base::{Hash, Kind};
use syncline_store::Store;
use syncline_tree::{Commit, GivenUp, TreeName};

use crate::error::{Error, Result};
use crate::graph;
use crate::wire::{Fault, Left, Message};

pub use fetch::Fetcher;
pub use receiver::Receiver;
pub use sender::Sender;
pub use server::Server;

/// The most bytes of row deltas that wait for their step at the receiver.
const DELTA_BYTES: usize = if cfg!(test) { 64 << 10 } else { 64 << 20 };

/// Tags have full names that begin so.
pub const TAGS: &str = "tags/";

/// What a frame of a row delta counts for: a short one is kept in memory, too.
fn frame_cost(frame: &Bytes) -> usize {
    frame.len().max(64)
}

/// The replica that a session works on. The node implements it; a test has its own.
///
/// `move_ref` is the only change that a session makes apart from adding objects: atomic, durable when it returns, and
/// refused with [`crate::Error::Moved`] when the ref is not where the mover thought. The session has made sure that the
/// target's history and content are complete and durable before it calls it, and that it follows from the old one
/// unless `force` is set.
pub trait Local: Send + Sync {
    /// Its objects.
    fn store(&self) -> &Store;

    /// All branches and tags, by full name (`branches/main`, `tags/v1`). Everything under them is complete here, as far as
    /// this replica holds it.
    ///
    /// # Errors
    /// Whatever keeps it from reading them.
    fn refs(&self) -> Result<Vec<(String, Hash)>>;

    /// The branch that is checked out or served by default, by its full name.
    ///
    /// # Errors
    /// Whatever keeps it from reading it.
    fn head(&self) -> Result<Option<String>>;

    /// The part of the dataset that it holds; `None` when it holds all of it.
    ///
    /// # Errors
    /// Whatever keeps it from reading that.
    fn part(&self) -> Result<Option<Part>> {
        Ok(None)
    }

    /// Commits whose data was given up here: nobody can be sent it.
    ///
    /// # Errors
    /// Whatever keeps it from reading them.
    fn given_up(&self) -> Result<GivenUp> {
        Ok(GivenUp::default())
    }

    /// Keeps the records of commits whose data was given up on the other side, and notes that their data is not here,
    /// before it stores the first. Parents are among them or here.
    ///
    /// # Errors
    /// Whatever keeps it from writing; `invalid` where nothing can be given up.
    fn keep_past(&self, past: &[(Hash, Commit, Bytes)]) -> Result<()> {
        let why = format!("{} versions were given up on the other side, and this side cannot be without", past.len());
        Err(Error::Invalid(why))
    }

    /// Notes that these commits have come complete: those of them that are given up are so no more. They are durable.
    ///
    /// # Errors
    /// Whatever keeps it from writing.
    fn keep_whole(&self, _came: &[Hash]) -> Result<()> {
        Ok(())
    }

    /// Commits that are complete here though none of [`Self::refs`] leads to them, the likeliest to help first: what sessions
    /// brought that were cut off, what peers were seen to have.
    ///
    /// # Errors
    /// Whatever keeps it from reading them.
    fn unnamed(&self) -> Result<Vec<Hash>> {
        Ok(Vec::new())
    }

    /// Notes commits that have come complete and durable before the session's end, so that they are not sent again when it is
    /// cut off: `tips`, and with them all that they stand on. `came` as for [`Self::move_ref`].
    ///
    /// # Errors
    /// Whatever keeps it from writing.
    fn keep_arrived(&self, _tips: &[Hash], _came: &[Hash]) -> Result<()> {
        Ok(())
    }

    /// Commits that came without all of their parents, as [`Self::keep_shallow`] was told.
    ///
    /// # Errors
    /// Whatever keeps it from reading them.
    fn shallow(&self) -> Result<Vec<Hash>>;

    /// Notes that these commits came without all of their parents, before a ref leads to them.
    ///
    /// # Errors
    /// Whatever keeps it from writing.
    fn keep_shallow(&self, shallow: &[Hash]) -> Result<()>;

    /// Moves a ref. Of the commits that `came` whole in this session none stays given up, in the same step: another session
    /// may have marked them before a name led to them.
    ///
    /// # Errors
    /// [`Error::Moved`] when it is not at `expected`; whatever keeps it from writing.
    fn move_ref(&self, request: &RefMove, came: &[Hash]) -> Result<()>;

    /// Makes tags, by their full names, all in one step that is durable when it returns, as is what it says about what `came`. The session has made sure of their
    /// targets as for [`Self::move_ref`]. One that is there, elsewhere, stays where it is, and one whose target's data is
    /// given up here is not made: those are returned.
    ///
    /// # Errors
    /// Whatever keeps it from writing; then none is made.
    fn make_tags(&self, tags: &[(String, Hash)], came: &[Hash]) -> Result<Vec<Left>>;
}

/// The part of a dataset that a replica holds.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Part {
    /// Only these tables (`files` is the file tree); `None` for all.
    pub tables: Option<Vec<String>>,
    /// Contents of files may be missing.
    pub outline: bool,
}

impl Part {
    pub(crate) fn trees(&self) -> Option<BTreeSet<TreeName>> {
        self.tables.as_ref().map(|names| names.iter().flat_map(graph::trees_of_name).collect())
    }
}

/// A ref that is to move.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RefMove {
    /// Its full name on the side where it moves.
    pub name: String,
    /// Where it is thought to be; `None` when it is thought not to exist.
    pub expected: Option<Hash>,
    /// Where it is to be; `None` removes it.
    pub target: Option<Hash>,
    /// Whether it may move to a commit that does not follow from where it is.
    pub force: bool,
    /// Whether a commit that deletes more than half of a table may come in this way.
    pub allow_mass_delete: bool,
    /// Whether it is only made, for a tag: one that is elsewhere stays there, and the rest goes on.
    #[serde(default)]
    pub only_new: bool,
}

/// What to fetch.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct PullRequest {
    /// Full names of refs on the peer; empty for all.
    pub refs: Vec<String>,
    /// Only these tables (`files` is the file tree); `None` for everything.
    pub tables: Option<Vec<String>>,
    /// Only so many of the newest commits of each ref; `None` for the whole history.
    pub depth: Option<u32>,
    /// The file tree without the contents of files that are too long for a row.
    #[serde(default)]
    pub outline: bool,
    /// Nothing for tags alone: those come whose commits are here then. Only without `refs`.
    #[serde(default)]
    pub follow: bool,
}

/// What a pull brought. The objects are stored and durable; moving refs is up to the caller.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pulled {
    /// The peer's refs that were asked for. Everything under them is here.
    pub refs: Vec<(String, Hash)>,
    /// The peer's default branch, by its full name.
    pub head: Option<String>,
    /// Commits whose parents were left out: because of `depth`, or because the peer has given them up.
    pub shallow: Vec<Hash>,
    /// Commits that are new here.
    pub commits: u64,
    /// Objects that were received.
    pub objects: u64,
    /// Trees that were brought up to date by their row delta.
    pub deltas: u64,
}

/// What to send.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct PushRequest {
    /// The refs to move on the peer. Where `expected` is `None`, what the peer says at the start of the session is taken.
    pub moves: Vec<RefMove>,
}

/// What a push did.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pushed {
    /// Each ref that was moved or made: where it was and where it is.
    pub refs: Vec<Moved>,
    /// Tags that were to be made and were not: where they are there; `None` when the peer does not have their commit.
    pub left: Vec<Left>,
    /// Commits that were sent.
    pub commits: u64,
    /// Objects that were sent.
    pub objects: u64,
    /// Trees that were brought up to date by their row delta.
    pub deltas: u64,
}

/// A ref that has moved.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Moved {
    /// Its full name.
    pub name: String,
    /// Where it was.
    pub old: Option<Hash>,
    /// Where it is.
    pub new: Option<Hash>,
}

/// What the serving side of a session did.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Served {
    /// The peer pulled.
    Pulled {
        /// Commits sent.
        commits: u64,
        /// Objects sent.
        objects: u64,
    },
    /// The peer pushed.
    Pushed {
        /// Refs that moved.
        refs: Vec<Moved>,
        /// Commits that are new here.
        commits: u64,
    },
    /// The peer fetched single objects.
    Fetched {
        /// How many were sent.
        objects: u64,
    },
}

/// One side of a session.
pub trait Session {
    /// Takes a message of the peer.
    ///
    /// # Errors
    /// The session is over then: tell the peer.
    fn receive(&mut self, message: Message) -> Result<()>;

    /// The next message to send; `None` while there is nothing to say before the peer has spoken.
    ///
    /// # Errors
    /// The session is over then: tell the peer.
    fn next(&mut self) -> Result<Option<Message>>;

    /// Whether the session has come to its end.
    fn is_over(&self) -> bool;

    /// Objects and payload bytes so far.
    fn progress(&self) -> (u64, u64);

    /// The session has failed or the connection is gone: whatever can be of use to the next one is kept.
    fn cut(&mut self) {}
}

/// An error as the peer is told.
#[must_use]
pub fn to_fault(error: &Error) -> Fault {
    let moved = match error {
        Error::Moved { name, expected, theirs } => Some((name.clone(), *expected, *theirs)),
        _ => None,
    };
    Fault { kind: error.kind(), message: error.to_string(), moved }
}

/// What the peer has told, as an error.
#[must_use]
pub fn of_fault(fault: Fault) -> Error {
    match fault.moved {
        Some((name, expected, theirs)) => Error::Moved { name, expected, theirs },
        None => Error::Peer { kind: fault.kind, message: fault.message },
    }
}

/// Whether an error of this kind means that the store does not work, so that another way would not either.
fn is_store_down(kind: Kind) -> bool {
    match kind {
        Kind::Unavailable | Kind::Denied => true,
        Kind::Invalid | Kind::NotFound | Kind::Conflict | Kind::Corrupt | Kind::Stale => false,
    }
}

fn unexpected(message: &Message, when: &str) -> Error {
    Error::protocol("a message out of turn", format!("{} while {when}", message.name()))
}

#[cfg(test)]
mod tests;
