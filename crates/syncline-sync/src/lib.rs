//! Moving datasets between replicas: messages, and sessions that take messages and give messages.
//!
//! [`session`] has the two sides of a transfer as state machines; [`run`] lets one talk over a [`Transport`]. Nothing
//! here opens a socket or a file, starts a thread or reads a clock: a simulation and the network drive the same code.
//! Format of the messages: `docs/format/wire.md`. [`log`] keeps a replica's records in their order; its files come through a trait.
//!
//! After a crash: what a receiver had flushed is there, no ref has moved, and the next session does not send it again.
//!
//! Not here: what conflicts mean, when to sync, and which refs are taken under which names (the node's `ops`).

mod error;
#[cfg(any(test, fuzzing))]
pub mod fuzz;
pub mod graph;
mod have;
mod history;
pub mod live;
pub mod log;
pub mod run;
mod seen;
pub mod session;
mod squeeze;
pub mod transport;
pub mod wire;

pub use error::{Error, Result};
pub use run::{Traffic, Watch, fetch, fetch_each, pull, push, serve};
pub use session::{Local, Moved, Part, PullRequest, Pulled, PushRequest, Pushed, RefMove, Served, TAGS};
pub use transport::{Counters, Transport};
