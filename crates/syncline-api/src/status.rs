//! One table from the kind of a fault to its gRPC code, HTTP status and exit code, and back.

use syncline_base::Kind;
use tonic::{Code, Status};

use crate::Error;

/// How one kind of fault is written on every face.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Row {
    /// The kind of fault.
    pub kind: Kind,
    /// Its gRPC code.
    pub grpc: Code,
    /// Its HTTP status.
    pub http: u16,
    /// The exit code of a command that ends with it. 0 is success and 1 is a bug in the program.
    pub exit: u8,
}

/// The table, one row per kind.
pub const TABLE: [Row; 7] = [
    Row { kind: Kind::Invalid, grpc: Code::InvalidArgument, http: 400, exit: 2 },
    Row { kind: Kind::NotFound, grpc: Code::NotFound, http: 404, exit: 3 },
    Row { kind: Kind::Conflict, grpc: Code::Aborted, http: 409, exit: 4 },
    Row { kind: Kind::Denied, grpc: Code::PermissionDenied, http: 403, exit: 5 },
    Row { kind: Kind::Unavailable, grpc: Code::Unavailable, http: 503, exit: 6 },
    Row { kind: Kind::Corrupt, grpc: Code::DataLoss, http: 500, exit: 7 },
    Row { kind: Kind::Stale, grpc: Code::FailedPrecondition, http: 412, exit: 8 },
];

/// The row of a kind.
#[must_use]
pub fn row(kind: Kind) -> Row {
    TABLE.into_iter().find(|row| row.kind == kind).expect("the table has a row for every kind; a test says so")
}

/// The kind that a gRPC code from a peer stands for. Total: what a proxy or an older peer may answer has a kind too.
#[must_use]
pub fn kind_of_grpc(code: Code) -> Kind {
    match code {
        Code::InvalidArgument | Code::OutOfRange | Code::Unimplemented => Kind::Invalid,
        Code::NotFound => Kind::NotFound,
        Code::Aborted | Code::AlreadyExists => Kind::Conflict,
        Code::PermissionDenied | Code::Unauthenticated => Kind::Denied,
        Code::DataLoss => Kind::Corrupt,
        Code::FailedPrecondition => Kind::Stale,
        Code::Ok
        | Code::Unavailable
        | Code::Cancelled
        | Code::Unknown
        | Code::DeadlineExceeded
        | Code::ResourceExhausted
        | Code::Internal => Kind::Unavailable,
    }
}

/// The kind that an HTTP status from a peer stands for.
#[must_use]
pub fn kind_of_http(status: u16) -> Kind {
    match status {
        401 | 403 | 407 => Kind::Denied,
        404 | 410 => Kind::NotFound,
        409 => Kind::Conflict,
        408 | 425 | 429 | 501..=599 => Kind::Unavailable,
        412 => Kind::Stale,
        500 => Kind::Corrupt,
        _ => Kind::Invalid,
    }
}

/// The kind that an exit code of the program stands for; `None` for success and for a crash.
#[must_use]
pub fn kind_of_exit(code: u8) -> Option<Kind> {
    TABLE.into_iter().find(|row| row.exit == code).map(|row| row.kind)
}

/// A fault as a gRPC status.
#[must_use]
pub fn to_grpc(kind: Kind, message: &str) -> Status {
    Status::new(row(kind).grpc, message)
}

/// What a gRPC status from `peer` says, as an error.
#[must_use]
pub fn from_grpc(peer: &str, status: &Status) -> Error {
    let kind = kind_of_grpc(status.code());
    // A cause beside it: no peer has sent it, it was made here of what broke.
    let known = row(kind).grpc == status.code() && std::error::Error::source(status).is_none();
    let message = status.message();
    // A status that our table never sends did not come from a node's own code: say which it was.
    let message = match (known, message.is_empty()) {
        (true, false) => message.to_owned(),
        (true, true) => format!("{peer} answered {kind} without a reason"),
        // What a TLS port does to a request in the clear.
        (false, _) if message == "transport error" || message.contains("http2 error") => {
            format!("the connection to {peer} broke; if the node has a certificate, its address is https://{peer}")
        }
        (false, _) => format!("the connection to {peer} broke: {message} ({})", status.code()),
    };
    Error::Peer { kind, message }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_survives_every_face() {
        for kind in Kind::ALL {
            let row = row(kind);
            assert_eq!(kind_of_grpc(row.grpc), kind);
            assert_eq!(kind_of_http(row.http), kind);
            assert_eq!(kind_of_exit(row.exit), Some(kind));
            let back = from_grpc("hub", &to_grpc(kind, "why it failed"));
            assert_eq!((back.kind(), back.to_string()), (kind, "why it failed".to_owned()));
        }
    }

    #[test]
    fn success_and_crashes_are_no_kind() {
        assert_eq!(kind_of_exit(0), None);
        assert_eq!(kind_of_exit(1), None);
    }

    #[test]
    fn every_grpc_code_has_a_kind_and_foreign_ones_are_named() {
        for code in (0..=16).map(Code::from_i32) {
            let error = from_grpc("hub:1", &Status::new(code, "x"));
            let ours = TABLE.iter().any(|row| row.grpc == code);
            assert_eq!(error.to_string().contains("hub:1"), !ours, "{code:?}");
        }
        // Nobody has sent this one.
        let mut broken = Status::new(Code::Unavailable, "Connection refused");
        broken.set_source(std::sync::Arc::new(std::io::Error::from(std::io::ErrorKind::ConnectionRefused)));
        let error = from_grpc("hub:1", &broken);
        assert!(error.to_string().contains("hub:1"), "{error}");
        assert_eq!(error.kind(), Kind::Unavailable);
    }
}
