//! What can go wrong in a store.
//!
//! Errors are values that can be cloned, because one failed sync answers every caller that shared it.

use syncline_base::{Hash, Kind};

/// The result of anything that touches a store.
pub type Result<T> = std::result::Result<T, Error>;

/// What went wrong.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// The place where the bytes live refused or failed.
    #[error("{action} {name:?} in {place}: {reason}")]
    Backend {
        /// What the caller should do about it.
        kind: Kind,
        /// What was tried.
        action: &'static str,
        /// On which byte object.
        name: String,
        /// Where.
        place: String,
        /// Why it failed, and what to do when that is known.
        reason: String,
    },
    /// An object is not there.
    #[error("object {id} is not in the store at {place}: fetch it from a replica that has it")]
    Missing {
        /// The object.
        id: Hash,
        /// The store.
        place: String,
    },
    /// Stored bytes are not what they claim to be.
    #[error("object {id} cannot be read from {file:?} in {place}: {reason}; run verify, then repair from a good copy")]
    Damaged {
        /// The object.
        id: Hash,
        /// The pack or journal.
        file: String,
        /// The store.
        place: String,
        /// What is wrong with it.
        reason: String,
    },
    /// Bytes that should follow a format do not.
    #[error("{what} is not valid: {reason}")]
    Format {
        /// Which bytes.
        what: String,
        /// What is wrong with them.
        reason: String,
    },
    /// The store was written by a version of the program that this one does not know.
    #[error("the store at {place} has format {found}, this program reads up to {known}: use a newer program")]
    Version {
        /// The store.
        place: String,
        /// Its format.
        found: u32,
        /// The newest format known here.
        known: u32,
    },
    /// The caller asked for something that makes no sense.
    #[error("{action}: {reason}")]
    Invalid {
        /// What was asked for.
        action: &'static str,
        /// Why it cannot be.
        reason: String,
    },
    /// Another process writes, and did not finish in time.
    #[error(
        "waited {waited_ms} ms for the {lock} lock of the store at {place}: another process holds it; wait for it to end"
    )]
    Locked {
        /// Which lock.
        lock: &'static str,
        /// The store.
        place: String,
        /// How long we waited.
        waited_ms: u64,
    },
}

impl Error {
    /// What the caller should do about it.
    #[must_use]
    pub const fn kind(&self) -> Kind {
        match self {
            Self::Backend { kind, .. } => *kind,
            Self::Missing { .. } => Kind::NotFound,
            Self::Damaged { .. } | Self::Format { .. } => Kind::Corrupt,
            Self::Version { .. } | Self::Invalid { .. } => Kind::Invalid,
            Self::Locked { .. } => Kind::Unavailable,
        }
    }

    /// An operating system error, as seen by a backend.
    #[must_use]
    pub fn io(action: &'static str, name: &str, place: &str, error: &std::io::Error) -> Self {
        Self::backend(Kind::of_io(error), action, name, place, error)
    }

    /// A backend's own error.
    #[must_use]
    pub fn backend(kind: Kind, action: &'static str, name: &str, place: &str, reason: impl std::fmt::Display) -> Self {
        Self::Backend { kind, action, name: name.to_owned(), place: place.to_owned(), reason: reason.to_string() }
    }

    pub(crate) fn format(what: impl Into<String>, reason: impl Into<String>) -> Self {
        Self::Format { what: what.into(), reason: reason.into() }
    }
}
