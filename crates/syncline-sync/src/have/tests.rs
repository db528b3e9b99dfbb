//! What a receiver says that it has, while somebody else collects.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use syncline_base::{Clock, Kind};
use syncline_store::backend::memory::Memory;
use syncline_store::store::GcOptions;

use super::*;

#[derive(Debug, Default)]
struct Manual(AtomicU64);

impl Clock for Manual {
    fn now_ms(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
    fn monotonic(&self) -> Duration {
        Duration::from_millis(self.now_ms())
    }
    fn sleep(&self, _: Duration) {}
}

const GRACE: u64 = 3_600_000;
const CHUNK: ObjectKind = ObjectKind::Content { height: 0 };

/// Removes everything.
fn collect(store: &Store) -> u64 {
    let options = GcOptions { grace_ms: GRACE, min_live_percent: 50 };
    store.gc::<syncline_store::Error>(&options, |_| Ok(())).unwrap().files_deleted
}

/// A replica, another process on the same place, and a chunk in it that no ref needs.
fn scene() -> (Arc<Manual>, Store, Store, Hash) {
    let (memory, clock) = (Memory::new(), Arc::new(Manual::default()));
    let open = |create| syncline_tree::open_store(Arc::new(memory.clone()), create, clock.clone()).unwrap();
    let killed = open(true);
    let dead = killed.put(b"a chunk of a push that was killed").unwrap();
    killed.flush().unwrap();
    (clock.clone(), open(false), open(false), dead)
}

#[test]
fn what_waits_to_be_collected_is_asked_for_again() {
    let (clock, here, other, dead) = scene();
    assert_eq!(Have::new(&here, Vec::new(), false).lacks(&[(dead, CHUNK)]).unwrap(), [false]);
    assert_eq!(collect(&other), 0);
    clock.0.fetch_add(GRACE / 2, Ordering::Relaxed);
    // This process has seen the note of the other one.
    assert_eq!(here.missing(&[Hash::of(b"nothing")]).unwrap().len(), 1);
    assert_eq!(Have::new(&here, Vec::new(), false).lacks(&[(dead, CHUNK)]).unwrap(), [true]);
    assert!(!Have::new(&here, Vec::new(), false).has_all(&[(dead, CHUNK)]).unwrap());
}

#[test]
fn what_was_answered_for_must_still_be_here_in_the_end() {
    let (clock, here, other, dead) = scene();
    let mut have = Have::new(&here, Vec::new(), false);
    assert_eq!(have.lacks(&[(dead, CHUNK)]).unwrap(), [false]);
    assert_eq!(collect(&other), 0);
    clock.0.fetch_add(GRACE, Ordering::Relaxed);
    assert!(collect(&other) > 0);
    // So a session ends before it moves a ref.
    assert_eq!(here.flush().unwrap_err().kind(), Kind::Conflict);
}
