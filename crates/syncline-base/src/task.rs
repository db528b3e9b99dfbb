//! Threads: the only door to running things side by side.
//!
//! Two shapes cover what the layers above need: `map` for a batch that is already in memory, and `pipeline` for a
//! stream that is not. Both keep the order of their input, so results never depend on how threads were scheduled.

mod room;

use std::collections::VecDeque;
use std::sync::mpsc;

use rayon::prelude::*;

pub use room::Room;

/// How many threads are worth using.
#[must_use]
pub fn width() -> usize {
    rayon::current_num_threads().max(1)
}

/// Applies `f` to every item on all cores and keeps the order. Small batches are not worth a thread: give work that
/// takes at least some tens of microseconds per item.
pub fn map<T: Send, R: Send>(items: Vec<T>, f: impl Fn(T) -> R + Send + Sync) -> Vec<R> {
    if items.len() < 2 {
        return items.into_iter().map(f).collect();
    }
    items.into_par_iter().map(f).collect()
}

/// Like [`map`], and stops early at the first error (in input order among those that ran).
///
/// # Errors
/// The first error that `f` returned.
pub fn try_map<T: Send, R: Send, E: Send>(
    items: Vec<T>,
    f: impl Fn(T) -> Result<R, E> + Send + Sync,
) -> Result<Vec<R>, E> {
    if items.len() < 2 {
        return items.into_iter().map(f).collect();
    }
    items.into_par_iter().map(f).collect()
}

/// Runs both and returns both results; on two threads when they are free.
pub fn join<A: Send, B: Send>(a: impl FnOnce() -> A + Send, b: impl FnOnce() -> B + Send) -> (A, B) {
    rayon::join(a, b)
}

/// Feeds the items of `source` through `work` on all cores and hands the results to `sink` on the calling thread, in
/// the order of the source. At most `ahead` items are in flight, which is what bounds the memory.
///
/// # Errors
/// The first error of the source, of `work` or of `sink`; what is in flight is dropped.
pub fn pipeline<T, R, E, S>(
    source: S,
    ahead: usize,
    work: impl Fn(T) -> Result<R, E> + Send + Sync,
    sink: impl FnMut(R) -> Result<(), E>,
) -> Result<(), E>
where
    T: Send,
    R: Send,
    E: Send,
    S: Iterator<Item = Result<T, E>>,
{
    pipeline_within(source.map(|item| Ok((item?, 0))), (ahead, usize::MAX), work, sink)
}

/// As [`pipeline`], for items that may be large: each comes with its weight (bytes, about), and in flight are at most so
/// many items of at most so much weight together, or one.
///
/// # Errors
/// As [`pipeline`].
pub fn pipeline_within<T, R, E, S>(
    source: S,
    (ahead, most): (usize, usize),
    work: impl Fn(T) -> Result<R, E> + Send + Sync,
    mut sink: impl FnMut(R) -> Result<(), E>,
) -> Result<(), E>
where
    T: Send,
    R: Send,
    E: Send,
    S: Iterator<Item = Result<(T, usize), E>>,
{
    let work = &work;
    rayon::in_place_scope(|scope| {
        let mut in_flight: VecDeque<(mpsc::Receiver<Result<R, E>>, usize)> = VecDeque::new();
        let mut held = 0_usize;
        for item in source {
            let (item, weight) = item?;
            while (in_flight.len() >= ahead.max(1) || held.saturating_add(weight) > most)
                && let Some((receiver, done)) = in_flight.pop_front()
            {
                sink(wait(receiver)?)?;
                held -= done;
            }
            let (send, receive) = mpsc::sync_channel(1);
            scope.spawn(move |_| {
                // A receiver that is gone means that the pipeline has failed already: nobody wants the result.
                let _ = send.send(work(item));
            });
            in_flight.push_back((receive, weight));
            held += weight;
        }
        in_flight.into_iter().try_for_each(|(receiver, _)| sink(wait(receiver)?))
    })
}

/// Waits for one result. On a thread of the pool it works on other tasks meanwhile, so a pipeline inside a pipeline
/// cannot starve.
fn wait<R>(receiver: mpsc::Receiver<R>) -> R {
    loop {
        match receiver.try_recv() {
            Ok(result) => return result,
            Err(mpsc::TryRecvError::Disconnected) => panic!("a pipeline task panicked"),
            Err(mpsc::TryRecvError::Empty) => {}
        }
        match rayon::yield_now() {
            Some(rayon::Yield::Executed) => {}
            // Not a pool thread, or nothing to help with: sleep until the result is there.
            Some(rayon::Yield::Idle) | None => {
                return receiver.recv().expect("a pipeline task panicked");
            }
        }
    }
}

/// Starts a named thread that outlives the caller. Join it, or let it end by closing the channel that it reads.
///
/// # Errors
/// The operating system's, when it has no thread to give.
#[expect(clippy::disallowed_methods, reason = "this is the door to long-lived threads")]
pub fn spawn<R: Send + 'static>(
    name: &str,
    f: impl FnOnce() -> R + Send + 'static,
) -> std::io::Result<std::thread::JoinHandle<R>> {
    std::thread::Builder::new().name(name.to_owned()).spawn(f)
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;

    #[test]
    fn pipeline_keeps_order_and_stops_at_the_first_error() {
        let mut seen = Vec::new();
        let ok: Result<(), String> = pipeline(
            (0..1000).map(Ok),
            8,
            |n| Ok(n * 2),
            |n| {
                seen.push(n);
                Ok(())
            },
        );
        assert_eq!(ok, Ok(()));
        assert_eq!(seen, (0..1000).map(|n| n * 2).collect::<Vec<_>>());

        let failed = pipeline((0..1000).map(Ok), 8, |n| if n == 10 { Err(n) } else { Ok(n) }, |_| Ok(()));
        assert_eq!(failed, Err(10));
    }

    #[test]
    fn a_pipeline_holds_items_of_bounded_weight() {
        let held = AtomicUsize::new(0);
        let source = (0..200_usize).map(|n| {
            let weight = if n % 50 == 49 { 500 } else { n % 50 };
            // What is in flight now, this one not yet among it.
            assert!(held.load(Ordering::Relaxed) <= 500, "before {n}");
            Ok::<_, ()>(((n, weight), weight))
        });
        let mut next = 0;
        let work = |(n, weight): (usize, usize)| {
            let now = held.fetch_add(weight, Ordering::Relaxed) + weight;
            assert!(now <= 100.max(weight), "{now} at {n}");
            Ok((n, weight))
        };
        let done = pipeline_within(source, (8, 100), work, |(n, weight)| {
            held.fetch_sub(weight, Ordering::Relaxed);
            assert_eq!(n, next);
            next += 1;
            Ok(())
        });
        assert_eq!((done, next), (Ok(()), 200));
    }

    #[test]
    fn a_pipeline_inside_a_pipeline_ends() {
        let inner = |n: u64| {
            let mut sum = 0;
            pipeline((0..n).map(Ok::<_, ()>), 4, Ok, |x| {
                sum += x;
                Ok(())
            })?;
            Ok(sum)
        };
        let mut total = 0;
        pipeline((0..100).map(Ok::<_, ()>), 4, inner, |x| {
            total += x;
            Ok(())
        })
        .expect("nothing in it fails");
        assert_eq!(total, (0..100u64).map(|n| n * n.saturating_sub(1) / 2).sum::<u64>());
    }
}
