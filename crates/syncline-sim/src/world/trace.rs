//! One hash over what happens in a run, in order.
//!
//! What happens is told in pieces of some bytes; hashing is faster by the ten thousand.

use syncline_base::{Hash, Hasher};

/// So many bytes are hashed together.
const TOGETHER: usize = 16 << 10;

/// What has happened.
#[derive(Debug, Default)]
pub(super) struct Trace {
    hasher: Hasher,
    /// What comes after what was hashed.
    rest: Vec<u8>,
}

impl Trace {
    pub(super) fn add(&mut self, bytes: &[u8]) {
        self.rest.extend_from_slice(bytes);
        if self.rest.len() >= TOGETHER {
            self.hasher.update(&self.rest);
            self.rest.clear();
        }
    }

    /// The hash over all of it.
    pub(super) fn finish(&mut self) -> Hash {
        self.hasher.update(&self.rest);
        self.rest.clear();
        self.hasher.finish()
    }
}
