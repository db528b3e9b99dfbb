//! What the tests of this crate share.

use std::sync::Arc;

use syncline_base::SystemClock;
use syncline_store::{Store, backend};

/// An empty store in memory, with this crate's codecs.
pub(crate) fn memory_store() -> Store {
    crate::open_store(Arc::new(backend::memory::Memory::new()), true, Arc::new(SystemClock))
        .expect("memory takes a new store")
}
