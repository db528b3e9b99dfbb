//! The ground every layer stands on: hashes, signatures, clocks, chance, tasks and fault kinds.
//!
//! A closed list: a further module needs a decision record. Nothing here knows of datasets, formats or the network,
//! and nothing outside here reads a clock, draws randomness or spawns a thread.

pub mod clock;
pub mod fault;
pub mod hash;
pub mod rng;
pub mod sign;
pub mod task;

pub use clock::{Clock, Hlc, HlcClock, SystemClock};
pub use fault::Kind;
pub use hash::{Hash, Hasher};
