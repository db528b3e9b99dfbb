//! The one error type of this crate.
//!
//! A variant is one of the seven kinds; its text says what was tried, on what, why it failed and what to do.

use syncline_base::Kind;

/// What went wrong with a tree, a table, a commit or a ref.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The request makes no sense as it stands.
    #[error("{0}")]
    Invalid(String),
    /// What was named does not exist.
    #[error("{0}")]
    NotFound(String),
    /// Somebody else changed what this was based on.
    #[error("{0}")]
    Conflict(String),
    /// The caller may not do this.
    #[error("{0}")]
    Denied(String),
    /// Something outside is down, slow, full or locked.
    #[error("{0}")]
    Unavailable(String),
    /// Stored or received bytes are not what they claim to be.
    #[error("{0}")]
    Corrupt(String),
    /// The store below refused or failed.
    #[error(transparent)]
    Store(#[from] syncline_store::Error),
}

/// The result of everything in this crate that can fail.
pub type Result<T, E = Error> = std::result::Result<T, E>;

impl Error {
    /// What the caller can do about it.
    #[must_use]
    pub fn kind(&self) -> Kind {
        match self {
            Self::Invalid(_) => Kind::Invalid,
            Self::NotFound(_) => Kind::NotFound,
            Self::Conflict(_) => Kind::Conflict,
            Self::Denied(_) => Kind::Denied,
            Self::Unavailable(_) => Kind::Unavailable,
            Self::Corrupt(_) => Kind::Corrupt,
            Self::Store(error) => error.kind(),
        }
    }

    /// The request makes no sense as it stands.
    pub fn invalid(text: impl Into<String>) -> Self {
        Self::Invalid(text.into())
    }

    /// Stored or received bytes are not what they claim to be.
    pub fn corrupt(text: impl Into<String>) -> Self {
        Self::Corrupt(text.into())
    }
}
