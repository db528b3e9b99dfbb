//! Whether the simulator would have found what others found late.
//!
//! Any failure of a seed that is clean without the bug counts, whatever its shape: some bugs are caught by another symptom than
//! the one that made them known.

use std::sync::Mutex;

use syncline_sync::live::{Bug, Zoo};

use crate::report::{Range, each};
use crate::world::World;

/// The smallest seed among those tried that fails with this bug, and how.
#[must_use]
pub fn find(bug: Bug, seeds: Range, nodes: usize, steps: usize, threads: usize) -> Option<(u64, String)> {
    let found: Mutex<Option<(u64, String)>> = Mutex::new(None);
    each(seeds, threads, |seed| {
        let Err(failure) = World::new(seed, nodes, steps, Zoo::with(bug), false).run() else { return true };
        // A seed that fails anyway says nothing about the bug.
        if World::new(seed, nodes, steps, Zoo::none(), false).run().is_err() {
            return true;
        }
        let mut found = found.lock().expect("no thread panics while it holds what was found");
        if found.as_ref().is_none_or(|(first, _)| seed < *first) {
            *found = Some((seed, failure.to_string()));
        }
        false
    });
    found.into_inner().expect("no thread panics while it holds what was found")
}
