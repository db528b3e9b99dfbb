//! What can go wrong in an import.

use syncline_base::Kind;

use super::report::Report;

/// An import's error.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A source cannot be read.
    #[error("read {name}: {source}")]
    Read {
        /// The source.
        name: String,
        /// What the system says.
        source: std::io::Error,
    },
    /// Writing a temporary or reject file.
    #[error("write {name}: {source}")]
    Write {
        /// The file.
        name: String,
        /// What the system says.
        source: std::io::Error,
    },
    /// A source is not what its format demands (as a whole, not one row).
    #[error("{name}: {reason}")]
    Source {
        /// The source.
        name: String,
        /// What is wrong and what to do.
        reason: String,
    },
    /// The request does not fit: schema, key, columns, options.
    #[error("{0}")]
    Invalid(String),
    /// Rows that do not fit; nothing is imported.
    #[error("{}", .0.bad_rows_text())]
    BadRows(Box<Report>),
    /// Keys that come more than once; nothing is imported.
    #[error("{}", .0.duplicates_text())]
    Duplicates(Box<Report>),
    /// Whoever is told of the progress has said that it is to end.
    #[error("importing: whoever asked for it has gone; nothing was changed")]
    Abandoned,
    /// From the table layer.
    #[error(transparent)]
    Tree(#[from] syncline_tree::Error),
    /// Arrow refused something that had been checked before.
    #[error("{during}: {source}")]
    Arrow {
        /// What was being done.
        during: &'static str,
        /// Arrow's words.
        source: arrow_schema::ArrowError,
    },
}

impl Error {
    /// What the caller should do about it.
    #[must_use]
    pub fn kind(&self) -> Kind {
        match self {
            Self::Read { source, .. } | Self::Write { source, .. } => Kind::of_io(source),
            Self::Abandoned => Kind::Unavailable,
            Self::Tree(error) => error.kind(),
            Self::Source { .. } | Self::Invalid(_) | Self::BadRows(_) | Self::Duplicates(_) | Self::Arrow { .. } => {
                Kind::Invalid
            }
        }
    }

    pub(crate) fn source(name: &str, reason: impl std::fmt::Display) -> Self {
        Self::Source { name: name.to_owned(), reason: reason.to_string() }
    }

    pub(crate) fn invalid(reason: impl Into<String>) -> Self {
        Self::Invalid(reason.into())
    }

    /// For `map_err` around Arrow calls.
    pub(crate) fn arrow(during: &'static str) -> impl Fn(arrow_schema::ArrowError) -> Self + Copy {
        move |source| Self::Arrow { during, source }
    }
}
