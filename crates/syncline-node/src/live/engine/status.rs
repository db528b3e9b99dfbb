//! How a replica's live part is, in numbers.

use serde::{Deserialize, Serialize};
use syncline_sync::live::Coverage;

use super::super::token;
use super::{Engine, Held, Lag, Member, Proofs, Renewal};
use crate::Result;

/// How a replica's live part is.
#[derive(Debug, Clone)]
pub struct Status {
    /// Under which name it writes.
    pub name: String,
    /// Whether it takes transactions in.
    pub hub: bool,
    /// The node that it takes its own to.
    pub upstream: Option<String>,
    /// The hub that it is connected to, when it takes its own to one.
    pub connected_to: Option<String>,
    /// The hubs of the dataset, as far as it knows.
    pub members: Vec<Member>,
    /// Nodes that it is to be connected to and is not.
    pub away: Vec<Away>,
    /// What a reader here has read.
    pub position: String,
    /// Of entries.
    pub coverage: Coverage,
    /// Its own transactions that no hub has taken in, as far as it knows.
    pub pending: u64,
    /// Connections.
    pub peers: u64,
    /// Entries that others that are connected have said to have, and are not here.
    pub behind: u64,
    /// The log.
    pub log: LogStatus,
    /// How often it took a new name since it was opened.
    pub renamed: u64,
    /// Bytes of its own transactions that no hub has taken in.
    pub pending_bytes: u64,
    /// How far it is behind its upstream, if it has one.
    pub lag: Option<Lag>,
    /// Whether others hold the same.
    pub proofs: Proofs,
    /// Why all rows are being taken anew, if they are.
    pub renewal: Option<Renewal>,
    /// The scope that it follows at its upstream, if not everything.
    pub follows: Option<String>,
    /// The scope that it holds, if not everything.
    pub held: Option<Held>,
}

/// A node that is not connected.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Away {
    /// Its address.
    pub url: String,
    /// Why, by the last attempt.
    pub why: String,
}

/// A log's extent.
#[derive(Debug, Clone, Copy)]
pub struct LogStatus {
    /// The position of its oldest record, and the one that the next gets.
    pub first: u64,
    /// See `first`.
    pub next: u64,
    /// Of its files.
    pub bytes: u64,
}

impl Engine {
    /// How it is.
    ///
    /// # Errors
    /// As [`Self::read`].
    pub fn status(&self) -> Result<Status> {
        let (follows, held) = self.scopes_here()?;
        let core = self.lock()?;
        let bytes = core.log.segments().map(|(_, bytes)| bytes).sum();
        Ok(Status {
            name: core.node.name().to_string(),
            hub: core.node.is_hub(),
            upstream: core.home.upstream()?,
            connected_to: core.connected_to(),
            members: self.members(),
            away: core.beside.away.iter().map(|(url, why)| Away { url: url.clone(), why: why.clone() }).collect(),
            position: token::of_context(&core.node.context()),
            coverage: core.node.state().coverage().clone(),
            pending: core.node.state().pending().len() as u64,
            peers: core.peers.len() as u64,
            behind: core.node.behind(),
            log: LogStatus { first: core.log.first(), next: core.log.next(), bytes },
            renamed: core.renamed,
            pending_bytes: core.node.state().pending().map(|txn| txn.bytes().len() as u64).sum(),
            lag: core.lag(self.shared.clock.monotonic()),
            proofs: Proofs {
                proofs: core.beside.audit.proofs().cloned().collect(),
                alarms: core.beside.audit.alarms().to_vec(),
            },
            renewal: core.renewal.clone(),
            follows,
            held,
        })
    }
}
