//! The verbs together, on real directories.

mod flows;
mod merges;
mod partial;
mod support;
mod transfers;
