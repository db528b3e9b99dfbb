//! What can go wrong with a server.

use syncline_base::Kind;

/// Why a server could not start or a request could not be served.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The settings are not safe or contradict each other.
    #[error("{0}")]
    Settings(String),
    /// The socket cannot be had.
    #[error("listening on {address}: {reason}")]
    Listen {
        /// Where.
        address: String,
        /// What the operating system said.
        reason: String,
        /// What kind of fault it is.
        kind: Kind,
    },
    /// The data directory.
    #[error("{what} {path}: {source}")]
    Data {
        /// What was tried.
        what: &'static str,
        /// On what.
        path: String,
        /// Why it failed.
        source: std::io::Error,
    },
    /// A dataset's name that cannot be.
    #[error("{0}")]
    Name(String),
    /// A dataset that is not there.
    #[error("there is no dataset {name:?} on this node; {hint}")]
    NoDataset {
        /// Its name.
        name: String,
        /// What there is.
        hint: String,
    },
    /// A dataset that is there already.
    #[error("there is a dataset {0:?} on this node already")]
    Taken(String),
    /// Too much at once.
    #[error("this node serves {0} sessions already: try again later")]
    Busy(usize),
    /// The node's own.
    #[error(transparent)]
    Node(#[from] syncline_node::Error),
    /// The network's.
    #[error(transparent)]
    Api(#[from] syncline_api::Error),
    /// A session's.
    #[error(transparent)]
    Session(#[from] syncline_node::sync::Error),
}

/// This crate's result.
pub type Result<T, E = Error> = std::result::Result<T, E>;

impl Error {
    /// What kind of fault this is.
    #[must_use]
    pub fn kind(&self) -> Kind {
        match self {
            Self::Settings(_) | Self::Name(_) => Kind::Invalid,
            Self::Listen { kind, .. } => *kind,
            Self::Data { source, .. } => Kind::of_io(source),
            Self::NoDataset { .. } => Kind::NotFound,
            Self::Taken(_) => Kind::Conflict,
            Self::Busy(_) => Kind::Unavailable,
            Self::Node(error) => error.kind(),
            Self::Api(error) => error.kind(),
            Self::Session(error) => error.kind(),
        }
    }
}

impl From<Error> for tonic::Status {
    fn from(error: Error) -> Self {
        syncline_api::status::to_grpc(error.kind(), &error.to_string())
    }
}
