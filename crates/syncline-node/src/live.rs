//! The live part of a replica: tables whose rows are written anywhere and come to every replica, whole transactions in causal order.
//!
//! [`engine`] drives the replication core of `syncline_sync::live` with a log on disk; [`home`] is the directory that both live in. Above them
//! stand users' rows: a table's [`definition`] is rows of two reserved tables, so it is replicated as they are; [`tables`] reads
//! them, [`cells`] is the layout of one row's value, [`marks`] what merging it takes, [`rows`] takes users' rows in and gives them out, [`resolve`]
//! says which sibling readers see, [`fold`] makes a version's tables of live ones; [`files`] keeps a directory in step; [`scopes`] are the parts of all that that a spoke can hold. [`token`] is a position as
//! text. Format of rows: `docs/format/live-row.md`.
//!
//! Not here: the rules of replication (`syncline_sync::live`), verbs (`crate::ops`), sockets.

pub mod anew;
pub mod cells;
pub mod definition;
pub mod engine;
pub mod files;
pub mod fold;
pub mod home;
pub mod marks;
pub mod resolve;
pub mod rows;
pub mod scopes;
pub mod tables;
pub mod token;

pub use engine::Engine;
