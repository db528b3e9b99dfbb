use super::{KEPT, LONG, SHORT, Shelf, freeze, take};

#[test]
fn what_was_put_back_last_is_taken_first() {
    let mut shelf = Shelf { free: Vec::new(), bytes: 0 };
    let (one, two) = (Vec::with_capacity(1 << 17), Vec::with_capacity(1 << 17));
    let (first, second) = (one.as_ptr(), two.as_ptr());
    shelf.put(one);
    shelf.put(two);
    assert_eq!(shelf.take(1 << 17).map(|buffer| buffer.as_ptr()), Some(second));
    // One that is a little longer will do, one that is much longer or too short will not.
    assert!(shelf.take(3 << 14).is_none());
    assert!(shelf.take((1 << 17) + 1).is_none());
    assert_eq!(shelf.take((1 << 17) - (1 << 14)).map(|buffer| buffer.as_ptr()), Some(first));
    assert_eq!(shelf.bytes, 0);
}

#[test]
fn what_waits_is_bounded() {
    let mut shelf = Shelf { free: Vec::new(), bytes: 0 };
    for n in 0..100 {
        shelf.put(Vec::with_capacity((1 << 20) + n));
        assert!(shelf.bytes <= KEPT);
        assert_eq!(shelf.bytes, shelf.free.iter().map(Vec::capacity).sum::<usize>());
    }
    assert!(shelf.free.len() > 10);
    // The last ones are there.
    assert!(shelf.free.iter().all(|buffer| buffer.capacity() > (1 << 20) + 80));
}

#[test]
fn a_buffer_holds_what_was_asked_for_and_bytes_what_was_written() {
    for capacity in [0, 1, SHORT - 1, SHORT, SHORT + 1, 100_000, LONG, LONG + 1] {
        let mut buffer = take(capacity);
        assert!(buffer.is_empty() && buffer.capacity() >= capacity);
        assert!(buffer.capacity() <= capacity + capacity / 2 + 1, "{} for {capacity}", buffer.capacity());
        buffer.resize(capacity, 7);
        let bytes = freeze(buffer);
        assert!(bytes.len() == capacity && bytes.iter().all(|byte| *byte == 7));
        // Parts outlive the whole.
        let part = bytes.slice(capacity / 2..);
        drop(bytes);
        let other = take(capacity);
        assert!(part.iter().all(|byte| *byte == 7));
        drop(freeze(other));
    }
}
