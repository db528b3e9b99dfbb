//! Who is told that a replica's state has changed: threads that wait, and listeners that are called.
//!
//! A thread that waits is woken by the kernel, and what it finds has to be handed on to whoever sends it: two changes of threads. A listener that
//! runs on the thread that made the change, or wakes a task there, saves both.
//!
//! Owns: the listeners, for as long as somebody else does. Nothing of it survives a crash, or has to.

use std::fmt::{self, Debug, Formatter};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use super::Engine;
use super::core::Core;

/// Is called when the state may have changed, under the engine's lock: it must not block, and must not call the engine.
pub type Listener = dyn Fn() + Send + Sync;

#[derive(Default)]
pub(super) struct News {
    changed: Condvar,
    listeners: Mutex<Vec<Weak<Listener>>>,
}

impl Debug for News {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.write_str("News")
    }
}

impl News {
    /// The state has changed.
    pub(super) fn tell(&self) {
        self.changed.notify_all();
        let mut listeners = self.listeners.lock().unwrap_or_else(PoisonError::into_inner);
        listeners.retain(|listener| listener.upgrade().map(|listener| listener()).is_some());
    }

    /// Waits until it has, or for so long.
    pub(super) fn wait<'a>(&self, core: MutexGuard<'a, Core>, patience: Duration) -> MutexGuard<'a, Core> {
        self.changed.wait_timeout(core, patience).unwrap_or_else(PoisonError::into_inner).0
    }
}

impl Engine {
    /// Has a listener called whenever the state may have changed, until it is dropped. Who looks at the state after this has missed nothing.
    pub fn listen(&self, listener: &Arc<Listener>) {
        let mut listeners = self.shared.news.listeners.lock().unwrap_or_else(PoisonError::into_inner);
        listeners.push(Arc::downgrade(listener));
    }
}
