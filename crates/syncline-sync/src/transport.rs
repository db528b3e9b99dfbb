//! What a session needs from the outside: messages there and back.

use bytes::Bytes;

use crate::error::Result;

/// What has passed so far.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counters {
    /// Bytes sent, as near to the wire as the transport can tell.
    pub sent: u64,
    /// Bytes received.
    pub received: u64,
}

/// A connection to one peer that carries whole messages, in order, both ways.
///
/// Contract: a message arrives once and unchanged or not at all; after an error no further message arrives. `send`
/// waits while the queue is full, so a slow peer slows the sender down and memory stays bounded. A peer that is silent
/// or takes nothing for too long is an error of kind `unavailable` that names it: no call waits for ever.
pub trait Transport: Send {
    /// The other end, for messages.
    fn peer(&self) -> String;

    /// Queues a message.
    ///
    /// # Errors
    /// When the connection is gone or stalls.
    fn send(&mut self, message: Bytes) -> Result<()>;

    /// Waits for the next message; `None` when the peer has said all it had to say.
    ///
    /// # Errors
    /// When the connection is gone or stalls.
    fn receive(&mut self) -> Result<Option<Bytes>>;

    /// The next message if it is here already. `None` is "not yet" or "no more": `receive` tells them apart.
    ///
    /// # Errors
    /// When the connection is gone.
    fn try_receive(&mut self) -> Result<Option<Bytes>>;

    /// Says that nothing more will be sent.
    fn finish(&mut self);

    /// What has passed so far.
    fn counters(&self) -> Counters;
}
