//! Lets a session talk over a transport, on the calling thread.
#![allow(clippy::unimplemented, unused_variables, missing_docs, reason = "signatures first")]

use serde::{Deserialize, Serialize};

use crate::error::Result;
use crate::session::{Local, PullRequest, Pulled, PushRequest, Pushed, Served};
use crate::transport::Transport;

/// What a session cost.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Traffic {
    /// Bytes sent, as near to the wire as the transport can tell.
    pub bytes_sent: u64,
    /// Bytes received.
    pub bytes_received: u64,
    /// How often this side had to wait for an answer before it could go on.
    pub round_trips: u64,
}

/// Is told how far a transfer has come, often. Must be quick.
pub trait Watch {
    /// Objects and payload bytes so far, in either direction.
    fn progress(&mut self, objects: u64, bytes: u64);
}

impl Watch for () {
    fn progress(&mut self, _: u64, _: u64) {}
}

/// Fetches what `request` names; refs do not move.
///
/// # Errors
/// The peer's fault, the transport's, or the store's. What has arrived is kept.
pub fn pull(
    local: &dyn Local,
    transport: &mut dyn Transport,
    request: &PullRequest,
    watch: &mut dyn Watch,
) -> Result<(Pulled, Traffic)> {
    unimplemented!()
}

/// Sends what the peer lacks and moves its refs.
///
/// # Errors
/// `Conflict` when a ref has moved there; the peer's fault, the transport's, or the store's.
pub fn push(
    local: &dyn Local,
    transport: &mut dyn Transport,
    request: &PushRequest,
    watch: &mut dyn Watch,
) -> Result<(Pushed, Traffic)> {
    unimplemented!()
}

/// The other side of both.
///
/// # Errors
/// The fault that the peer was told, too.
pub fn serve(local: &dyn Local, transport: &mut dyn Transport) -> Result<Served> {
    unimplemented!()
}
