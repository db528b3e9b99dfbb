//! The verbs together, on real directories.

mod flows;
mod merges;
mod support;
mod transfers;
