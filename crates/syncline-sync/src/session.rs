//! The two sides of a transfer as state machines.
//!
//! One side *sends* objects and one *receives* them; in a pull the server sends, in a push the client does. A machine
//! is fed with [`Session::receive`] and drained with [`Session::next`]; it never waits.
#![allow(clippy::unimplemented, missing_docs, reason = "signatures first")]

use serde::{Deserialize, Serialize};
use syncline_base::Hash;
use syncline_store::Store;

use crate::error::Result;

/// The replica that a session works on. The node implements it; a test has its own.
///
/// `move_ref` is the only change that a session makes apart from adding objects: atomic, durable when it returns, and
/// refused with [`crate::Error::Moved`] when the ref is not where the mover thought.
pub trait Local: Send + Sync {
    /// Its objects.
    fn store(&self) -> &Store;

    /// All branches and tags, by full name (`branches/main`, `tags/v1`).
    fn refs(&self) -> Result<Vec<(String, Hash)>>;

    /// The branch that is checked out or served by default.
    fn head(&self) -> Result<Option<String>>;

    /// Moves a ref.
    fn move_ref(&self, request: &RefMove) -> Result<()>;
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
}

/// What a pull brought. The objects are stored and durable; moving refs is up to the caller.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pulled {
    /// The peer's refs that were asked for.
    pub refs: Vec<(String, Hash)>,
    /// The peer's default branch.
    pub head: Option<String>,
    /// Commits whose parents were left out because of `depth`.
    pub shallow: Vec<Hash>,
    /// Commits that are new here.
    pub commits: u64,
    /// Objects that were received.
    pub objects: u64,
    /// Tables that were brought up to date by their row delta.
    pub deltas: u64,
}

/// What to send.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct PushRequest {
    /// The refs to move on the peer. `expected` of each is what this replica last saw there; where `None`, what the
    /// peer says at the start of the session is taken, and it must be an ancestor unless `force` is set.
    pub moves: Vec<RefMove>,
}

/// What a push did.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pushed {
    /// Each ref: where it was and where it is.
    pub refs: Vec<Moved>,
    /// Commits that were sent.
    pub commits: u64,
    /// Objects that were sent.
    pub objects: u64,
    /// Tables that were brought up to date by their row delta.
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
}
