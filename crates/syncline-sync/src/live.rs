//! Live replication: transactions, what covers what, and nodes as state machines that do no I/O.
//!
//! The rules are in `docs/format/replication.md`. [`Node`] does no I/O; whoever drives it does: the simulator, so far.
//!
//! What is kept for ever, and why: `docs/adr/0029-nothing-is-collected-by-agreement.md`. Not here yet: formats that are frozen.

mod chain;
mod context;
mod frozen;
#[cfg(any(test, fuzzing))]
pub(crate) mod fuzz;
mod head;
mod id;
mod message;
mod node;
mod offer;
mod pack;
mod part;
mod pending;
mod record;
mod row;
mod runs;
mod salvage;
mod scope;
mod shape;
mod state;
mod table;
mod txn;
mod unpack;
mod zoo;

pub use chain::{Chain, ChainPiece, Chains, Place};
pub use context::{Context, Coverage, MAX_HUBS, MAX_OWN};
pub use frozen::{Digest, Frozen, TableDigest};
pub use head::{Head, Signer, Unsigned};
pub use id::{Dot, Origin, Stamp, Tag};
pub use message::{Denial, Message};
pub use node::{Clash, Config, Fold, KEYS, Limits, Merge, Node, Output, PeerId, Refusal};
pub use offer::{Lacks, Offer, Range, Same};
pub use part::{Attested, Closing, Part, PartsId, What};
pub use pending::Waiting;
pub use record::{Below, Checkpoint, Group, Moment, Reading, Record, Rescoped, Rewritten};
pub use row::{Row, SLACK_MS, Sibling, believed};
pub use runs::{Place as RunPlace, Run, RunName, Runs};
pub use salvage::Salvage;
pub use scope::{MAX_SCOPE_BYTES, Scope, Within};
pub use state::{Snapshot, State};
pub use table::{Count, Counts, Rows};
pub use txn::{Batch, Body, Entry, MAX_TXN_BYTES, MAX_WRITES, RowKey, Txn, Write};
pub use zoo::{Bug, Zoo};

#[cfg(test)]
mod tests;
