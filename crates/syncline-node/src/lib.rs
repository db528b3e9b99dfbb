//! See the workspace's ARCHITECTURE.md.

pub mod export;
pub mod import;
mod sort;
