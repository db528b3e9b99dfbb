use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use syncline_base::{Clock, SystemClock};

use super::{WAITING_BYTES, stream};

/// A stream of items that weigh a fraction of what may wait, and how many have been made.
fn counted(items: usize, weight: usize) -> (super::Stream<usize>, Arc<AtomicUsize>) {
    let made = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&made);
    let make = move |sink: &mut dyn FnMut(usize) -> crate::Result<()>| {
        (0..items).try_for_each(|n| {
            count.fetch_add(1, Ordering::SeqCst);
            sink(n)
        })
    };
    (stream("test", 100, move |_| weight, make).unwrap(), made)
}

/// Waits until the number does not grow any more.
fn settled(made: &AtomicUsize) -> usize {
    let mut last = usize::MAX;
    while made.load(Ordering::SeqCst) != last {
        last = made.load(Ordering::SeqCst);
        SystemClock.sleep(Duration::from_millis(50));
    }
    last
}

#[test]
fn items_that_wait_are_bounded_by_their_bytes() {
    let (mut items, made) = counted(50, WAITING_BYTES / 3);
    assert!(settled(&made) <= 4, "three wait, one is held by its maker");
    assert_eq!(items.next().unwrap().unwrap(), 0);
    assert!(settled(&made) <= 5);
    assert_eq!(items.map(Result::unwrap).collect::<Vec<_>>(), (1..50).collect::<Vec<_>>());
}

#[test]
fn items_larger_than_what_may_wait_come_one_by_one() {
    let (items, made) = counted(10, 2 * WAITING_BYTES);
    assert!(settled(&made) <= 2);
    assert_eq!(items.count(), 10);
}

#[test]
fn a_maker_that_waits_for_room_ends_with_its_reader() {
    let (mut items, made) = counted(1000, WAITING_BYTES);
    assert_eq!(items.next().unwrap().unwrap(), 0);
    drop(items);
    while Arc::strong_count(&made) > 1 {
        SystemClock.sleep(Duration::from_millis(1));
    }
    assert!(made.load(Ordering::SeqCst) <= 5);
}
