//! What the product can do: replicas in directories and buckets, and one function per verb over them.
//!
//! [`ops`] is the whole list of verbs. Below it: `import` and `export` (formats), `sort` (external merge sort),
//! `worktree` (files on disk), `work` (keeping files and refs in step), `change` (what differs, and the guard),
//! `reach` (what a version needs), `local` (a replica as transfer sessions see it).
//!
//! Not here: gRPC, HTTP, terminals.

pub mod change;
pub mod error;
pub mod export;
pub mod import;
pub mod local;
pub mod ops;
pub mod progress;
pub mod reach;
pub mod replica;
pub mod revision;
pub mod rows;
mod sort;
mod work;

pub use error::{Error, Result};
pub use replica::{Env, Location, Replica};
pub use work::{FileChange, Updated};
