//! The node's errors. Kinds of the layers below pass through unchanged.

use std::path::{Path, PathBuf};

use syncline_base::{Hash, Kind};

/// What went wrong in a verb.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The store could not do it.
    #[error(transparent)]
    Store(#[from] syncline_store::Error),
    /// The tables, files or records could not be read or made.
    #[error(transparent)]
    Tree(#[from] syncline_tree::Error),
    /// A source could not be imported.
    #[error(transparent)]
    Import(#[from] crate::import::Error),
    /// A table could not be exported.
    #[error(transparent)]
    Export(#[from] crate::export::Error),
    /// A transfer failed.
    #[error(transparent)]
    Sync(#[from] syncline_sync::Error),
    /// A file or directory outside the store.
    #[error("{what} {}: {source}", path.display())]
    Io {
        /// What was tried, for example `reading`.
        what: &'static str,
        /// On what.
        path: PathBuf,
        /// Why it failed.
        source: std::io::Error,
    },
    /// The request makes no sense.
    #[error("{what}: {why}")]
    Invalid {
        /// What was asked for.
        what: String,
        /// Why it cannot be, and what to do.
        why: String,
    },
    /// Something named does not exist.
    #[error("{what} does not exist: {why}")]
    NotFound {
        /// What was looked for.
        what: String,
        /// Where, and what there is instead.
        why: String,
    },
    /// Somebody else changed what this was based on, or work in progress is in the way.
    #[error("{what}: {why}")]
    Conflict {
        /// What was tried.
        what: String,
        /// What is in the way, and what to do.
        why: String,
    },
    /// A commit or a sync would delete more than half of a tree.
    #[error(
        "refused: this would delete {deleted} of {of} rows of {tree}; if that is meant, run it again with --allow-mass-delete"
    )]
    MassDelete {
        /// Which tree.
        tree: String,
        /// How many rows or files would go.
        deleted: u64,
        /// How many there are.
        of: u64,
    },
    /// A version of the dataset has bytes that are missing or damaged.
    #[error("{what} is damaged: {why}")]
    Corrupt {
        /// What is damaged.
        what: String,
        /// How it shows, and what to do.
        why: String,
    },
    /// Another process has the live part of a replica.
    #[error(
        "the live tables of {} are in use by process {pid}{}: ask there, or stop it and try again",
        dir.display(),
        url.as_ref().map_or_else(String::new, |url| format!(", which serves them at {url}"))
    )]
    Served {
        /// The replica's meta directory.
        dir: PathBuf,
        /// The process; 0 when it did not say.
        pid: u32,
        /// Where it serves them.
        url: Option<String>,
    },
    /// What is here is older than what was asked for.
    #[error("{what}: {why}")]
    Stale {
        /// What was tried.
        what: String,
        /// How far it is, and what to do.
        why: String,
    },
    /// It is not for this replica to do.
    #[error("{what}: {why}")]
    Denied {
        /// What was tried.
        what: String,
        /// Why it may not, and what to do.
        why: String,
    },
    /// A peer or a device did not answer as it should.
    #[error("{what}: {why}")]
    Unavailable {
        /// What was tried.
        what: String,
        /// Why it did not work.
        why: String,
    },
}

/// A result of the node.
pub type Result<T, E = Error> = std::result::Result<T, E>;

impl Error {
    /// What the caller can do about it.
    #[must_use]
    pub fn kind(&self) -> Kind {
        match self {
            Self::Store(error) => error.kind(),
            Self::Tree(error) => error.kind(),
            Self::Import(error) => error.kind(),
            Self::Export(error) => error.kind(),
            Self::Sync(error) => error.kind(),
            Self::Io { source, .. } => Kind::of_io(source),
            Self::Invalid { .. } => Kind::Invalid,
            Self::NotFound { .. } => Kind::NotFound,
            Self::Conflict { .. } => Kind::Conflict,
            Self::MassDelete { .. } | Self::Denied { .. } => Kind::Denied,
            Self::Corrupt { .. } => Kind::Corrupt,
            Self::Stale { .. } => Kind::Stale,
            Self::Served { .. } | Self::Unavailable { .. } => Kind::Unavailable,
        }
    }

    pub(crate) fn io(what: &'static str, path: &Path) -> impl FnOnce(std::io::Error) -> Self {
        let path = path.to_owned();
        move |source| Self::Io { what, path, source }
    }

    pub(crate) fn invalid(what: impl Into<String>, why: impl Into<String>) -> Self {
        Self::Invalid { what: what.into(), why: why.into() }
    }

    pub(crate) fn not_found(what: impl Into<String>, why: impl Into<String>) -> Self {
        Self::NotFound { what: what.into(), why: why.into() }
    }

    pub(crate) fn conflict(what: impl Into<String>, why: impl Into<String>) -> Self {
        Self::Conflict { what: what.into(), why: why.into() }
    }

    pub(crate) fn no_commit_yet() -> Self {
        Self::not_found("a version", "nothing is committed yet; import a table or add files, then commit")
    }

    pub(crate) fn no_such_table(name: &str, at: Option<Hash>, there: &[&String]) -> Self {
        let version = at.map_or("the staged version".into(), |id| format!("version {}", id.short()));
        let names = if there.is_empty() { "it has no tables".into() } else { format!("it has {there:?}") };
        Self::not_found(format!("table {name:?}"), format!("looked in {version}; {names}"))
    }
}
