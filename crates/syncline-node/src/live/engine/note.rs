//! What connected replicas tell each other beside replication: how far they are, and what their states hash to.
//!
//! Notes go over the connections of replication and in order with its messages. Nothing of replication depends on them: a replica that
//! does not know them leaves them, and one that is lost is made up for by a later one. Owns no state.
//!
//! Not here: their bytes (the wire's), and what is made of them (`audit`, `beats`).

use syncline_sync::live::{Coverage, Digest, Message};

/// One note.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Note {
    /// How far are you? Answered at once with [`Note::Here`].
    Ask(u64),
    /// What the sender had, durable, when it was asked.
    Here {
        /// The question's number.
        ask: u64,
        /// Of entries.
        coverage: Coverage,
        /// How many bytes of entries went to its log since it was opened.
        bytes: u64,
    },
    /// The sender's state is looked at as it is at this coverage; comes before any entry that is not in it.
    Mark(Coverage),
    /// What the sender's state hashes to at a coverage.
    Root(Claim),
    /// To a hub: look at your state now.
    Prove,
}

/// What a replica says that its state hashes to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Claim {
    /// Who it is.
    pub replica: String,
    /// At what coverage.
    pub coverage: Coverage,
    /// To what.
    pub digest: Digest,
}

/// What goes to a connected replica.
#[derive(Debug, Clone)]
pub enum Parcel {
    /// A message of replication.
    Message(Message),
    /// A note beside them.
    Note(Note),
}

/// What a connection is.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Link {
    /// The other end's address, when it was this end that connected.
    pub url: Option<String>,
    /// Whether this replica's transactions are taken there.
    pub upstream: bool,
    /// The scope inside which this end sends to the other one, by name; everything if there is none.
    pub serves: Option<String>,
}
