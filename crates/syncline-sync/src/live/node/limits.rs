//! How much a node takes, sends and keeps at once.

use super::super::txn::MAX_TXN_BYTES;

/// Bounds of messages, of records and of what is on its way. None of them is part of the format: every node has its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// A message of entries or transactions, or a part of a state, has not much more bytes in full, unless one thing in it has. Nobody takes
    /// one of which more than 66 MiB are made.
    pub message_bytes: usize,
    /// The most entries or transactions in one message.
    pub message_entries: usize,
    /// To a peer whose messages of so many bytes are on their way nothing further is sent until some of it is durable there.
    pub window_bytes: usize,
    /// The same in entries, parts and transactions.
    pub window_entries: u64,
    /// To all peers together about so many messages are on their way; to each of them one at least, and [`Limits::PEER_MESSAGES`] at the most.
    /// With many peers what comes while one waits for an answer goes out in one message with what comes after it: each message costs
    /// a system call and more on both ends, whatever is in it.
    pub window_messages: usize,
    /// About so many bytes of entries stay in memory while a log is read, to be sent to others.
    pub kept_bytes: usize,
    /// Rows of another node's state that is on its way here go to the disk once they take about so many bytes in memory.
    pub coming_bytes: usize,
    /// The largest transaction that is taken from a client, in bytes.
    pub txn_bytes: usize,
    /// After so many ticks in which a peer did not get on, it is asked what it has.
    pub patience: u32,
    /// For so long a state that was sent to a peer is kept, in milliseconds: one that was cut off meanwhile goes on where it was.
    pub snapshot_ms: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            message_bytes: 1 << 20,
            message_entries: 1024,
            window_bytes: 8 << 20,
            // Who catches up has something to do while its disk makes durable what came before.
            window_entries: 32_768,
            window_messages: 256,
            kept_bytes: usize::MAX,
            coming_bytes: 16 << 20,
            // What is written again under another name may name more of what was read.
            txn_bytes: MAX_TXN_BYTES - (64 << 10),
            patience: 3,
            snapshot_ms: 600_000,
        }
    }
}

impl Limits {
    /// The most messages of entries or of parts that are on their way to one peer.
    pub const PEER_MESSAGES: usize = 64;

    /// How many of them to each of so many peers.
    pub(super) fn messages(&self, peers: usize) -> usize {
        (self.window_messages / peers.max(1)).clamp(1, Self::PEER_MESSAGES)
    }
}
