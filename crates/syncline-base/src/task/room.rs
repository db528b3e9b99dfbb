//! A bound on what waits between two threads, by weight: a channel bounds how many items wait, not how large they are.
//!
//! Owns a number. One side enters with an item's weight before it sends the item, the other leaves with it.

use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};

/// Room for items of some weight together, or for one item of any weight.
#[derive(Debug)]
pub struct Room {
    most: usize,
    /// What is inside; `None` when nobody takes items out any more.
    inside: Mutex<Option<usize>>,
    less: Condvar,
}

impl Room {
    /// Room for so much.
    #[must_use]
    pub fn new(most: usize) -> Self {
        Self { most, inside: Mutex::new(Some(0)), less: Condvar::new() }
    }

    fn inside(&self) -> MutexGuard<'_, Option<usize>> {
        self.inside.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits until there is room, or the room is closed.
    pub fn enter(&self, weight: usize) {
        let full = |inside: &mut Option<usize>| {
            inside.is_some_and(|inside| inside > 0 && inside.saturating_add(weight) > self.most)
        };
        let inside = self.less.wait_while(self.inside(), full);
        let mut inside = inside.unwrap_or_else(PoisonError::into_inner);
        *inside = inside.map(|inside| inside.saturating_add(weight));
    }

    /// Gives room back.
    pub fn leave(&self, weight: usize) {
        let mut inside = self.inside();
        *inside = inside.map(|inside| inside.saturating_sub(weight));
        self.less.notify_one();
    }

    /// Lets whoever waits go on, now and later: there is nobody to wait for.
    pub fn close(&self) {
        *self.inside() = None;
        self.less.notify_all();
    }
}
