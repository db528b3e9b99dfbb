//! Simulated replicas, and the judge of what they claim. Never shipped.
//!
//! [`oracle`] is `docs/format/replication.md` once more, as a program that is slow in its logic and fast in its bits. It
//! shares no code with the implementation: where the two differ, one of them, or the document, is wrong.
//!
//! Nothing here outlives a run.

pub mod oracle;
