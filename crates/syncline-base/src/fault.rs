//! The seven kinds of fault. A kind tells the caller what to *do*; the message tells a person what happened.
//!
//! Every crate has its own error enum with `fn kind(&self) -> Kind`. The kind alone decides retry, HTTP status, gRPC
//! code and exit code (the table is in `syncline-api`).

use serde::{Deserialize, Serialize};

/// What kind of fault an error is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Kind {
    /// The request makes no sense as it stands; sending it again will not help. Fix the input.
    Invalid,
    /// What was named does not exist. Look for the right name.
    NotFound,
    /// Somebody else changed what this was based on. Read again, decide, retry.
    Conflict,
    /// The caller may not do this. Get permission.
    Denied,
    /// Something outside is down, slow, full or locked. Wait and retry.
    Unavailable,
    /// Stored or received bytes are not what they claim to be. Verify and repair.
    Corrupt,
    /// What is here is older than what was asked for. Wait longer, or read elsewhere.
    Stale,
}

impl Kind {
    /// All kinds, for tables and tests.
    pub const ALL: [Self; 7] =
        [Self::Invalid, Self::NotFound, Self::Conflict, Self::Denied, Self::Unavailable, Self::Corrupt, Self::Stale];

    /// The kind's name as users see it in JSON and messages.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Invalid => "invalid",
            Self::NotFound => "not-found",
            Self::Conflict => "conflict",
            Self::Denied => "denied",
            Self::Unavailable => "unavailable",
            Self::Corrupt => "corrupt",
            Self::Stale => "stale",
        }
    }

    /// Whether the same call may succeed later without anybody changing anything.
    #[must_use]
    pub const fn is_retryable(self) -> bool {
        matches!(self, Self::Unavailable | Self::Stale)
    }

    /// The kind an operating system error stands for.
    #[must_use]
    pub fn of_io(error: &std::io::Error) -> Self {
        use std::io::ErrorKind as E;
        match error.kind() {
            E::NotFound => Self::NotFound,
            E::PermissionDenied | E::ReadOnlyFilesystem => Self::Denied,
            E::AlreadyExists => Self::Conflict,
            E::InvalidInput | E::NotADirectory | E::IsADirectory | E::InvalidFilename => Self::Invalid,
            E::InvalidData | E::UnexpectedEof => Self::Corrupt,
            _ => Self::Unavailable,
        }
    }
}

impl std::fmt::Display for Kind {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.name())
    }
}
