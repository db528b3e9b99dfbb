//! See the workspace's ARCHITECTURE.md.

pub mod content;
pub mod files;
