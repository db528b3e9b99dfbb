//! What the product can do: replicas in directories and buckets, and one function per verb over them.
//!
//! [`ops`] is the whole list of verbs. Below it: `import` and `export` (formats), `sort` (external merge sort),
//! `worktree` (files on disk), `work` (keeping files and refs in step), `change` (what differs, and the guard), `blend` (merged files),
//! `part` (what a partial replica holds), `contents` (bringing what it left elsewhere), `reach` (what a version needs),
//! `live` (rows of live tables and what the tables are), `local` (a replica as transfer sessions see it).
//!
//! Not here: gRPC, HTTP, terminals.

mod blend;
pub mod change;
mod contents;
pub mod error;
pub mod export;
#[cfg(any(test, fuzzing))]
pub mod fuzz;
pub mod import;
pub mod live;
pub mod local;
pub mod location;
pub mod loopback;
pub mod ops;
pub mod part;
pub mod progress;
pub mod reach;
pub mod replica;
pub mod revision;
pub mod rows;
pub mod segments;
mod sort;
pub mod tags;
mod work;
mod worktree;

pub use error::{Error, Result};
pub use location::Location;
pub use replica::{Connect, Env, Replica};
/// What a face needs to bring its own transport: the trait, its errors, and the session that serves a peer.
pub use syncline_store::backend::directory::make_directory;
pub use syncline_sync as sync;
pub use work::{FileChange, Updated};
