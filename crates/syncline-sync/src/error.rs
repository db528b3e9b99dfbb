//! What can go wrong in a transfer.

use syncline_base::{Hash, Kind};

/// This crate's result.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Why a transfer failed.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The connection failed or the peer is silent.
    #[error("{message}")]
    Transport {
        /// What kind of fault it is.
        kind: Kind,
        /// What happened.
        message: String,
    },
    /// The peer refused, in its own words.
    #[error("{message}")]
    Peer {
        /// What kind of fault the peer named.
        kind: Kind,
        /// Its words.
        message: String,
    },
    /// The peer broke the protocol.
    #[error("the peer sent {what}: {why}; the transfer was stopped and nothing was changed")]
    Protocol {
        /// The message or field.
        what: &'static str,
        /// What is wrong with it.
        why: String,
    },
    /// An object that arrived is not what it claims to be.
    #[error("object {} arrived damaged: {why}; nothing of it was stored, run the transfer again", id.short())]
    Damaged {
        /// Which object.
        id: Hash,
        /// What is wrong with it.
        why: String,
    },
    /// Something arrived before what it refers to, which should have been here already. Nothing is damaged: a collection has taken
    /// it since the transfer began, or the peer left it out.
    #[error(
        "{what} arrived, and what it refers to is not here: a collection has taken it meanwhile, or the other side left it out; \
             everything else that came is kept, run the transfer again"
    )]
    Lacking {
        /// What arrived.
        what: String,
    },
    /// A ref is not where the caller thought.
    #[error("{name} is at {} there, not at {}: pull, merge and push again; everything that was sent is kept", show(*theirs), show(*expected))]
    Moved {
        /// The ref.
        name: String,
        /// Where the caller thought it was.
        expected: Option<Hash>,
        /// Where it is.
        theirs: Option<Hash>,
    },
    /// The request cannot be carried out as it stands.
    #[error("{0}")]
    Invalid(String),
    /// What was asked for is not there.
    #[error("{0}")]
    NotFound(String),
    /// The store failed.
    #[error(transparent)]
    Store(#[from] syncline_store::Error),
    /// A table, commit or other object could not be read or made.
    #[error(transparent)]
    Tree(#[from] syncline_tree::Error),
    /// Bytes of the log that were durable are missing or changed.
    #[error(
        "the log is damaged in segment {segment} at byte {offset}, record {position}: {why}; nothing was cut off: verify the \
             disk, then begin anew with what other replicas have (`syncline repair --live --begin-anew`)"
    )]
    LogDamaged {
        /// The file.
        segment: String,
        /// Where in it.
        offset: u64,
        /// The position of the first record that is not what it was.
        position: u64,
        /// What is wrong there.
        why: String,
    },
    /// Rows of live tables that were durable are missing or changed.
    #[error("the rows of live tables in {file} are damaged: {why}; verify the disk")]
    RowsDamaged {
        /// The file.
        file: String,
        /// What is wrong with it.
        why: String,
    },
    /// Whoever holds the replica refused or failed.
    #[error("{message}")]
    Local {
        /// What kind of fault it is.
        kind: Kind,
        /// What happened.
        message: String,
    },
}

fn show(id: Option<Hash>) -> String {
    id.map_or_else(|| "nothing".to_owned(), |id| id.short())
}

impl Error {
    /// What kind of fault this is.
    #[must_use]
    pub fn kind(&self) -> Kind {
        match self {
            Self::Transport { kind, .. } | Self::Peer { kind, .. } | Self::Local { kind, .. } => *kind,
            Self::Protocol { .. } | Self::Invalid(_) => Kind::Invalid,
            Self::Damaged { .. } | Self::LogDamaged { .. } | Self::RowsDamaged { .. } => Kind::Corrupt,
            Self::Lacking { .. } => Kind::Unavailable,
            Self::Moved { .. } => Kind::Conflict,
            Self::NotFound(_) => Kind::NotFound,
            Self::Store(error) => error.kind(),
            Self::Tree(error) => error.kind(),
        }
    }

    /// The disk failed.
    pub(crate) fn disk(what: &str, on: &str, error: &std::io::Error) -> Self {
        Self::Local { kind: Kind::Unavailable, message: format!("{what} {on}: {error}") }
    }

    pub(crate) fn protocol(what: &'static str, why: impl Into<String>) -> Self {
        Self::Protocol { what, why: why.into() }
    }
}
