//! Backends: where a store's bytes live.
//!
//! `Backend` asks for the least that a store can be built on; memory, a directory and an object store implement it, and
//! the wrappers in [`wrap`] add retries, limits, meters and faults to any of them. [`conformance`] is the contract as
//! a test: every backend passes it.
//!
//! Not here: what the byte objects hold (`crate::store`).

pub mod conformance;
pub mod directory;
pub mod memory;
pub mod object;
pub mod wrap;

use std::fmt::Debug;
use std::ops::Range;
use std::sync::Arc;

use bytes::Bytes;

use crate::error::Result;

/// What a backend can do beyond the least.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Caps {
    /// Whether [`Backend::append`] works.
    pub append: bool,
}

/// Identifies one state of a byte object that is changed by [`Backend::swap`]. Opaque: compare and pass on, only.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Version(pub String);

/// Named byte objects in one place.
///
/// **Names** are relative paths of `/`-separated parts of `[a-z0-9._-]`, none of which starts with a dot.
///
/// **Durability**: when `put`, `append`, `swap` or `Upload::publish` returns, the bytes and the name survive a power cut.
///
/// **Atomicity**: an object made by `put`, `swap` or an upload is seen whole or not at all. An append may be seen in part
/// while it runs, and may stay in part after a crash; the format above must recognise that.
///
/// **Concurrency**: all methods may be called from many threads, and by other processes on the same place.
///
/// **Errors**: `NotFound` for a name that is not there, `Conflict` for one that is there and must not be (`put`, uploads)
/// or has changed (`swap`), `Unavailable` when trying again may help. A method that failed with `Unavailable` may have taken
/// effect or not, except that an upload's name never appears with other bytes than were written.
pub trait Backend: Send + Sync + Debug {
    /// Where this is, for messages.
    fn describe(&self) -> String;

    /// What it can do.
    fn caps(&self) -> Caps;

    /// The bytes of a range. A range that reaches beyond the end is a `Corrupt` error: callers know the sizes.
    ///
    /// # Errors
    /// See the trait.
    fn read(&self, name: &str, range: Range<u64>) -> Result<Bytes>;

    /// Several ranges of one object, in the order asked for.
    ///
    /// # Errors
    /// As `read`.
    fn read_many(&self, name: &str, ranges: &[Range<u64>]) -> Result<Vec<Bytes>> {
        ranges.iter().map(|range| self.read(name, range.clone())).collect()
    }

    /// The size of an object; `None` when there is none of that name.
    ///
    /// # Errors
    /// See the trait.
    fn size(&self, name: &str) -> Result<Option<u64>>;

    /// Starts an object that becomes visible when it is published. Dropped without that, it leaves nothing visible.
    ///
    /// # Errors
    /// See the trait.
    fn create(&self, name: &str) -> Result<Arc<dyn Upload>>;

    /// Makes a whole object in one step. `Conflict` when the name is taken.
    ///
    /// # Errors
    /// See the trait.
    fn put(&self, name: &str, bytes: Bytes) -> Result<()>;

    /// Makes an object's content its first `at` bytes followed by `parts`; makes the object when `at` is 0 and there is
    /// none. What was beyond `at` is gone. Only for the holder of the writer lock, and only if `caps().append`.
    ///
    /// # Errors
    /// See the trait; `Corrupt` when the object is shorter than `at`.
    fn append(&self, name: &str, at: u64, parts: &[Bytes]) -> Result<()>;

    /// Makes the name of an object durable that was made by an append whose process may have been stopped before it had done so.
    ///
    /// # Errors
    /// See the trait.
    fn sync_name(&self, name: &str) -> Result<()> {
        let _ = name;
        Ok(())
    }

    /// Names that start with `prefix`, with sizes, in order of name. `prefix` ends at a `/` or is empty. Objects that are
    /// being uploaded are not listed.
    ///
    /// # Errors
    /// See the trait.
    fn list(&self, prefix: &str) -> Result<Vec<(String, u64)>>;

    /// As `list`, for several prefixes.
    ///
    /// # Errors
    /// See the trait.
    fn list_many(&self, prefixes: &[&str]) -> Result<Vec<Vec<(String, u64)>>> {
        prefixes.iter().map(|prefix| self.list(prefix)).collect()
    }

    /// Removes an object. Removing what is not there is fine.
    ///
    /// # Errors
    /// See the trait.
    fn delete(&self, name: &str) -> Result<()>;

    /// An object that is changed by `swap`, with its version; `None` when there is none.
    ///
    /// # Errors
    /// See the trait.
    fn read_versioned(&self, name: &str) -> Result<Option<(Bytes, Version)>>;

    /// Replaces an object if its version still is `expect` (`None`: if there is none). `Conflict` otherwise.
    ///
    /// The caller makes every content unique (it carries a write id), so that "the object already holds exactly these bytes"
    /// means that an earlier try of this very call took effect and only its reply was lost: that counts as success.
    ///
    /// # Errors
    /// See the trait.
    fn swap(&self, name: &str, expect: Option<&Version>, bytes: Bytes) -> Result<Version>;

    /// Tries to take a lock among all processes that use this place; `None` when another holder has it. It is held until
    /// the guard is dropped or the process ends. Places that cannot lock return a guard that does nothing: there, only
    /// operations that need no lock are offered (no append).
    ///
    /// # Errors
    /// See the trait.
    fn lock(&self, name: &str) -> Result<Option<Box<dyn Guard>>>;

    /// Removes what uploads that will never be published have left behind, when it is older than `age_ms`.
    ///
    /// # Errors
    /// See the trait.
    fn clean(&self, age_ms: u64) -> Result<()> {
        let _ = age_ms;
        Ok(())
    }
}

/// A lock that is held. Dropping it lets it go.
pub trait Guard: Send + Debug {}

/// An object that is being written.
pub trait Upload: Send + Sync + Debug {
    /// Adds bytes at the end. After an error nothing was added, and the same call may be made again.
    ///
    /// # Errors
    /// As the backend's.
    fn write(&self, parts: &[Bytes]) -> Result<()>;

    /// Reads back what was written.
    ///
    /// # Errors
    /// As the backend's.
    fn read(&self, range: Range<u64>) -> Result<Bytes>;

    /// Makes the object durable and visible, at once. `Conflict` when something else has the name. It may be called again after
    /// an error, which may have come after the object was there, and even after it has succeeded: what is there already as it
    /// was written is published.
    ///
    /// # Errors
    /// As the backend's.
    fn publish(&self) -> Result<()>;
}
