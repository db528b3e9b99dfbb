//! Work ahead of the consumer: an iterator on a thread of its own, and a stream through parallel workers in order.
//!
//! Both end when their consumer is dropped: the next thing a thread wants to hand over finds nobody. A panic of a
//! thread is a panic of the consumer, never a quiet end of the stream.

use std::io;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;

use syncline_base::task::{self, Room};

/// The items of an iterator that runs on its own thread, at most `depth` items ahead.
#[derive(Debug)]
pub(crate) struct Ahead<T> {
    items: Receiver<(T, usize)>,
    room: Arc<Room>,
    thread: Option<JoinHandle<()>>,
}

/// Moves an iterator to its own thread.
pub(crate) fn ahead<T: Send + 'static>(
    name: &str,
    depth: usize,
    source: impl Iterator<Item = T> + Send + 'static,
) -> io::Result<Ahead<T>> {
    ahead_within(name, (depth, usize::MAX), |_| 0, source)
}

/// As [`ahead`], for items that may be large: those that wait weigh at most so much together, or are one.
pub(crate) fn ahead_within<T: Send + 'static>(
    name: &str,
    (depth, most): (usize, usize),
    weigh: impl Fn(&T) -> usize + Send + 'static,
    source: impl Iterator<Item = T> + Send + 'static,
) -> io::Result<Ahead<T>> {
    let (send, items) = sync_channel(depth);
    let room = Arc::new(Room::new(most));
    let enter = Arc::clone(&room);
    let thread = task::spawn(name, move || {
        for item in source {
            let weight = weigh(&item);
            enter.enter(weight);
            if send.send((item, weight)).is_err() {
                return;
            }
        }
    })?;
    Ok(Ahead { items, room, thread: Some(thread) })
}

impl<T> Iterator for Ahead<T> {
    type Item = T;

    fn next(&mut self) -> Option<T> {
        let item = self.items.recv().ok().map(|(item, weight)| {
            self.room.leave(weight);
            item
        });
        if item.is_none()
            && let Some(thread) = self.thread.take()
        {
            thread.join().expect("the thread that reads ahead does not panic");
        }
        item
    }
}

impl<T> Drop for Ahead<T> {
    fn drop(&mut self) {
        // The thread, when it is let into the room, must find that nobody reads, or it would go on.
        let (_, nobody) = std::sync::mpsc::sync_channel(0);
        drop(std::mem::replace(&mut self.items, nobody));
        self.room.close();
    }
}

type Answer<R, E> = Receiver<Result<R, E>>;

/// Results of parallel work in the order of their source.
#[derive(Debug)]
pub(crate) struct Parallel<R, E> {
    answers: Ahead<Answer<R, E>>,
}

struct Job<T, R, E> {
    item: T,
    answer: SyncSender<Result<R, E>>,
}

/// Runs `work` over the items of `source` on `width` threads, at most `depth` items ahead. Ends after the first error
/// of the source.
pub(crate) fn parallel<T, R, E>(
    name: &str,
    (width, depth): (usize, usize),
    source: impl Iterator<Item = Result<T, E>> + Send + 'static,
    work: impl Fn(T) -> Result<R, E> + Send + Sync + 'static,
) -> io::Result<Parallel<R, E>>
where
    T: Send + 'static,
    R: Send + 'static,
    E: Send + 'static,
{
    let (jobs, queue) = sync_channel::<Job<T, R, E>>(depth);
    let (queue, work) = (Arc::new(Mutex::new(queue)), Arc::new(work));
    for _ in 0..width {
        let (queue, work) = (Arc::clone(&queue), Arc::clone(&work));
        task::spawn(name, move || {
            loop {
                let job = queue.lock().unwrap_or_else(PoisonError::into_inner).recv();
                let Ok(Job { item, answer }) = job else { return };
                // A consumer that is gone wants no answer.
                let _ = answer.send(work(item));
            }
        })?;
    }
    let feed = source.map_while(move |item| {
        let (answer, result) = sync_channel(1);
        match item {
            Ok(item) => jobs.send(Job { item, answer }).ok()?,
            Err(error) => answer.send(Err(error)).ok()?,
        }
        Some(result)
    });
    Ok(Parallel { answers: ahead(name, depth, feed)? })
}

impl<R, E> Iterator for Parallel<R, E> {
    type Item = Result<R, E>;

    fn next(&mut self) -> Option<Self::Item> {
        let answer = self.answers.next()?;
        Some(answer.recv().expect("a worker answers every job"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keeps_order_and_ends_at_an_error_of_the_source() {
        let source = (0..1000).map(|n| if n == 700 { Err(n) } else { Ok(n) });
        let results: Vec<Result<i32, i32>> =
            parallel("test", (3, 4), source, |n| Ok(n * 2)).unwrap().take(701).collect();
        assert_eq!(results[..700], (0..700).map(|n| Ok(n * 2)).collect::<Vec<_>>());
        assert_eq!(results[700], Err(700));
    }

    #[test]
    fn large_items_do_not_wait_in_numbers() {
        let (made, count) = sync_channel::<usize>(100);
        let source = (0..20_usize).inspect(move |n| made.send(*n).unwrap());
        let mut items = ahead_within("test", (10, 100), |_| 60, source).unwrap();
        // One waits; the next has been made and finds no room, and nothing is made before it does.
        assert_eq!((count.recv(), count.recv()), (Ok(0), Ok(1)));
        for n in 0..18 {
            assert!(count.try_recv().is_err(), "{n}");
            assert_eq!(items.next(), Some(n));
            assert_eq!(count.recv(), Ok(n + 2));
        }
        drop(items);
        assert!(count.recv().is_err(), "its thread ends although it waits for room");
    }

    #[test]
    fn a_dropped_consumer_ends_the_threads() {
        let (alive, gone) = sync_channel::<()>(1);
        let source = (0..).inspect(move |_| {
            let _ = &alive;
        });
        let mut items = ahead("test", 1, source).unwrap();
        assert_eq!(items.next(), Some(0));
        drop(items);
        assert!(gone.recv().is_err(), "the source is dropped when its thread ends");
    }
}
