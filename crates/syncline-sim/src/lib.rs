//! Simulated replicas, and the judge of what they claim. Never shipped.
//!
//! [`World`] runs a cluster of the product's nodes from one seed: clients, connections, disks, clocks and everything that can go
//! wrong with them. [`oracle`] is `docs/format/replication.md` once more, as a program that is slow in its logic and fast in its
//! bits. It shares no code with the implementation: where the two differ, one of them, or the document, is wrong.
//!
//! Nothing here outlives a run.

pub mod oracle;
mod profile;
mod report;
mod sights;
mod world;
pub mod zoo;

pub use profile::{Act, KEYS, Profile};
pub use report::{Range, Report};
pub use sights::{Sight, Sights};
pub use world::{Failure, Summary, Unfinished, World};
