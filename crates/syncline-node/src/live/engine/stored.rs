//! Where the contents are that rows of files name. Owns nothing: the store is the replica's.

use std::sync::Arc;

use syncline_base::Clock;
use syncline_store::Store;

use super::Engine;
use crate::live::home::Home;
use crate::{Error, Result};

impl Engine {
    /// As [`Engine::open`], of a replica whose contents are in this store.
    ///
    /// # Errors
    /// As [`Engine::open`].
    pub fn of(home: Home, clock: &Arc<dyn Clock>, store: &Store) -> Result<Self> {
        let engine = Self::open(home, Arc::clone(clock))?;
        // It was opened just now.
        let _ = engine.shared.store.set(store.work());
        Ok(engine)
    }

    /// The store of contents, for a piece of work.
    ///
    /// # Errors
    /// `invalid` when this is the live part of no replica.
    pub(crate) fn contents(&self) -> Result<Store> {
        let store = self.shared.store.get().map(Store::work);
        store.ok_or_else(|| Error::invalid("looking for contents of files", "there is no object store here"))
    }
}
