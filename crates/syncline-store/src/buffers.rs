//! Buffers for objects on their way through memory, used again.
//!
//! A leaf or a read is written once, looked at and dropped, on whatever thread, thousands of times a second. An allocator takes new
//! pages for many of them, per thread and size; to touch a page for the first time costs more than to fill it when it is warm, in
//! a virtual machine many times more. So what was dropped last is taken first.
//!
//! State: at most 16 MiB that nobody uses, for the whole process. Nothing survives. Not here: short buffers (the allocator
//! is as good), the caches of objects.

use std::sync::{Mutex, PoisonError};

use bytes::Bytes;

/// Shorter ones are left to the allocator.
const SHORT: usize = 16 << 10;
/// Longer ones are not kept.
const LONG: usize = 4 << 20;
/// The most bytes that wait to be used again.
const KEPT: usize = 16 << 20;

/// Empty buffers.
#[derive(Debug)]
struct Shelf {
    /// The one that was put back last is the last.
    free: Vec<Vec<u8>>,
    bytes: usize,
}

static SHELF: Mutex<Shelf> = Mutex::new(Shelf { free: Vec::new(), bytes: 0 });

impl Shelf {
    /// One of this capacity, or of a little more.
    fn take(&mut self, capacity: usize) -> Option<Vec<u8>> {
        let fits = |buffer: &Vec<u8>| (capacity..=capacity + capacity / 2).contains(&buffer.capacity());
        let at = self.free.iter().rposition(fits)?;
        let buffer = self.free.remove(at);
        self.bytes -= buffer.capacity();
        Some(buffer)
    }

    fn put(&mut self, mut buffer: Vec<u8>) {
        buffer.clear();
        self.bytes += buffer.capacity();
        self.free.push(buffer);
        // The coldest go first.
        let mut cold = 0;
        while self.bytes > KEPT {
            self.bytes -= self.free[cold].capacity();
            cold += 1;
        }
        self.free.drain(..cold);
    }
}

/// An empty buffer for at least so many bytes.
#[must_use]
pub fn take(capacity: usize) -> Vec<u8> {
    if !(SHORT..=LONG).contains(&capacity) {
        return Vec::with_capacity(capacity);
    }
    // Few capacities fit many lengths, and each new one costs an allocator a page: two between a power of two and the next.
    let capacity = capacity.next_multiple_of(capacity.next_power_of_two() / 4);
    let found = SHELF.lock().unwrap_or_else(PoisonError::into_inner).take(capacity);
    found.unwrap_or_else(|| Vec::with_capacity(capacity))
}

/// What was written to a buffer. Its memory is used again once nobody looks at it any more.
#[must_use]
pub fn freeze(buffer: Vec<u8>) -> Bytes {
    if !(SHORT..=LONG + LONG / 4).contains(&buffer.capacity()) {
        return Bytes::from(buffer);
    }
    Bytes::from_owner(Borrowed(buffer))
}

struct Borrowed(Vec<u8>);

impl AsRef<[u8]> for Borrowed {
    fn as_ref(&self) -> &[u8] {
        &self.0
    }
}

impl Drop for Borrowed {
    fn drop(&mut self) {
        SHELF.lock().unwrap_or_else(PoisonError::into_inner).put(std::mem::take(&mut self.0));
    }
}

#[cfg(test)]
mod tests;
