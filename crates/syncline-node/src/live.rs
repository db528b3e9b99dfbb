//! Live tables: what stands between users' rows and the opaque values that live replication carries.
//!
//! A table's [`definition`] is rows of two reserved tables, so it is replicated as they are. [`cells`] is the layout of one row's value,
//! [`rows`] takes users' rows in and gives them out. Formats: `docs/format/live-row.md`.
//!
//! Owns no state: every function takes values and gives values.

pub mod cells;
pub mod definition;
pub mod rows;
