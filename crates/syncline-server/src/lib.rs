//! The gRPC face of a node: datasets under one directory, served on one port.
//!
//! [`start`] listens; [`hub`] has the datasets; [`live`] keeps replicas connected, `contents` brings the contents of their files; [`remote`] is the client's end, a transport for the node's transfers.
//! Work on a store runs on threads that may block, never on the threads that drive the sockets.
//!
//! Owns: a listening socket, a runtime, and the opened replicas. After a crash: nothing is lost, sessions begin again.
//!
//! Not here: what a verb or a session does (`syncline-node`).

mod ahead;
mod auth;
mod connections;
mod contents;
mod error;
mod grpc;
pub mod hub;
mod listen;
pub mod live;
mod members;
mod notes;
pub mod remote;
mod scratch;
mod watching;
mod ways;
mod write;

pub use error::{Error, Result};
pub use hub::Hub;
pub use listen::{Running, Settings, Signals, Tls, start};
pub use members::Membership;
