//! What can go wrong between two nodes.

use syncline_base::Kind;

/// Why a call or a transfer over the network failed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// The peer answered with a fault, or the connection broke.
    #[error("{message}")]
    Peer {
        /// What kind of fault it is.
        kind: Kind,
        /// The peer's words, or what broke.
        message: String,
    },
    /// The text does not name a node.
    #[error("{text:?} does not name a node: {reason}; write http(s)://HOST:PORT/DATASET")]
    Target {
        /// The text.
        text: String,
        /// What is wrong with it.
        reason: String,
    },
    /// The settings of the connection contradict each other.
    #[error("{0}")]
    Settings(String),
    /// Nothing answers there.
    #[error("connecting to {peer}: {reason}; is a node listening there?")]
    Connect {
        /// Host and port.
        peer: String,
        /// What the operating system or TLS said.
        reason: String,
    },
    /// Something answers there, and it cannot be trusted to be the node.
    #[error("connecting to {peer}: {reason}")]
    Untrusted {
        /// Host and port.
        peer: String,
        /// What is wrong with its certificate, and what to do.
        reason: String,
    },
    /// Something answers there, in the clear or not as the address says.
    #[error("connecting to {peer}: {reason}; is it {other}://{peer}?")]
    Scheme {
        /// Host and port.
        peer: String,
        /// What shows it.
        reason: String,
        /// The other scheme.
        other: &'static str,
    },
    /// The peer is connected and silent.
    #[error("{peer} {what} for {seconds} s: the transfer was given up; what has arrived is kept, run it again")]
    Stalled {
        /// Host and port.
        peer: String,
        /// What it should have done.
        what: &'static str,
        /// For how long we waited.
        seconds: u64,
    },
    /// The stream was closed under a sender.
    #[error("{peer} closed the transfer before it was complete; what has arrived is kept, run it again")]
    Closed {
        /// Host and port.
        peer: String,
    },
    /// A message above the cap, from our side.
    #[error("a message of {bytes} bytes is over the cap of {cap} bytes")]
    TooLong {
        /// Its size.
        bytes: usize,
        /// The largest allowed.
        cap: usize,
    },
    /// A report above the cap, of a verb that has ended.
    #[error("{verb} was carried out, and its report is longer than {cap} bytes: ask for less, as with --limit")]
    Report {
        /// The verb.
        verb: String,
        /// The longest allowed.
        cap: usize,
    },
    /// The two builds have no protocol version in common.
    #[error("protocol version {theirs} is not spoken here, only {oldest} to {newest}: {advice}")]
    Version {
        /// What the peer speaks.
        theirs: u32,
        /// Our oldest.
        oldest: u32,
        /// Our newest.
        newest: u32,
        /// Who has to do what.
        advice: &'static str,
    },
}

impl Error {
    /// What kind of fault this is.
    #[must_use]
    pub fn kind(&self) -> Kind {
        match self {
            Self::Peer { kind, .. } => *kind,
            Self::Target { .. }
            | Self::Settings(_)
            | Self::Scheme { .. }
            | Self::TooLong { .. }
            | Self::Report { .. }
            | Self::Version { .. } => Kind::Invalid,
            Self::Untrusted { .. } => Kind::Denied,
            Self::Connect { .. } | Self::Stalled { .. } | Self::Closed { .. } => Kind::Unavailable,
        }
    }
}
