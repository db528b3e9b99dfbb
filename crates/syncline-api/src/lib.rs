//! The network face as types: protobuf messages, the table from fault kind to status codes, and the Rust client: [`live`] for programs,
//! [`client`] for nodes and the command line.
//!
//! Contains no behaviour of a dataset: what a session message means is known to `syncline-sync`, what a verb does to
//! `syncline-node`. Here both are bytes.
//!
//! Owns: in [`client::Client`] one connection and the small runtime that drives it. Nothing survives a crash and
//! nothing has to: sessions resume from what the replicas have stored.

pub mod client;
mod error;
pub mod gossip;
pub mod live;
pub mod meter;
pub mod pipe;
pub mod status;
pub mod target;

pub use error::Error;
pub use syncline_base::Kind;
pub use target::Target;

/// Generated messages and service; see `proto/syncline/v1/node.proto`.
#[allow(missing_docs, clippy::all, clippy::pedantic, clippy::nursery)]
pub mod v1 {
    tonic::include_proto!("syncline.v1");
}

/// The oldest protocol version that this build speaks.
pub const OLDEST_VERSION: u32 = 1;
/// The newest protocol version that this build speaks.
pub const NEWEST_VERSION: u32 = 1;

/// This crate's result.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Refuses a protocol version that this build does not speak, and says what to do.
///
/// # Errors
/// `Invalid`, naming both sides' versions.
pub fn check_version(theirs: u32) -> Result<()> {
    if (OLDEST_VERSION..=NEWEST_VERSION).contains(&theirs) {
        return Ok(());
    }
    let advice = if theirs > NEWEST_VERSION { "upgrade this node" } else { "upgrade the caller" };
    Err(Error::Version { theirs, oldest: OLDEST_VERSION, newest: NEWEST_VERSION, advice })
}
