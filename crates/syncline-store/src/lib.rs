//! Content-addressed objects in packs, over memory, a directory or an object store.
//!
//! `Store` keeps immutable objects under the BLAKE3-256 hash of their canonical bytes, and one small mutable document,
//! the head. `Backend` is what it needs from the place it lives in. Formats: `docs/format/{store,pack,chunk}.md`.
//!
//! After a crash: every object that was flushed is readable, the head is the last one that was swapped in, and what
//! was put but not flushed is gone.
//!
//! Not here: what objects mean. This crate knows no schema, no key, no version.

pub mod backend;
mod bases;
pub mod buffers;
mod cache;
pub mod chunk;
pub mod codec;
pub mod error;
mod frame;
#[cfg(any(test, fuzzing))]
pub mod fuzz;
mod index;
mod pack;
pub mod store;

pub use backend::Backend;
pub use bases::Bases;
pub use codec::{Codec, Encoded};
pub use error::{Error, Result};
pub use store::{HeadVersion, Options, Stop, Store};
