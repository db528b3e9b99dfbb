//! Finding what differs between two tables that share no history, by lists of addresses and row tokens.
//!
//! One side asks (it holds [`Session`]), the other answers ([`serve`], stateless). Messages are opaque bytes; who carries them
//! is the caller's business. Round trips: one per level of the remote tree, one for row tokens, one or more for rows.
//! Format: `docs/format/delta.md`, part "reconciliation".
//!
//! Not here: I/O, retries, applying the changes, fetching content of long cells.
#![allow(clippy::unimplemented, unused_variables, reason = "signatures first")]

use bytes::Bytes;
use syncline_store::Store;

use crate::Result;
use crate::table::{Changes, Table, TableRef};

/// The asking side.
#[derive(Debug)]
pub struct Session {
    local: Table,
}

impl Session {
    /// Compares `local` with a remote table of the same schema. `salt` is random: it makes row tokens unpredictable.
    pub fn start(local: &Table, remote: &TableRef, salt: u64) -> Result<Self> {
        unimplemented!()
    }

    /// The next request to send, or `None` when everything is known. Each gets one reply, in order.
    pub fn request(&mut self) -> Result<Option<Bytes>> {
        unimplemented!("{:?}", self.local)
    }

    /// Takes the reply to the last request.
    pub fn reply(&mut self, reply: &Bytes) -> Result<()> {
        unimplemented!()
    }

    /// The changes that make the remote table out of the local one, in key order.
    pub fn finish(self) -> Result<Vec<Changes>> {
        unimplemented!()
    }
}

/// Answers a request from the objects in `store`. Replies stay below 4 MiB; a longer answer comes in parts that the session asks for.
pub fn serve(store: &Store, request: &[u8]) -> Result<Bytes> {
    unimplemented!()
}
