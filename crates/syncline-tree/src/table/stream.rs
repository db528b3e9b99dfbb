//! An iterator over what a function makes on a thread of its own, some items ahead of the reader.
//!
//! Owns: the thread, which ends when its work is done or its reader goes away.

use std::sync::{Arc, mpsc};

use syncline_base::task::{self, Room};

use crate::{Error, Result};

/// An iterator that can be handed to another thread.
pub(crate) type Stream<T> = Box<dyn Iterator<Item = Result<T>> + Send>;

/// The items that wait for a reader have at most so many bytes together, or are one.
const WAITING_BYTES: usize = 16 << 20;

/// Runs `make` on its own thread. It gives items to the function that it gets, which fails when nobody reads any more. At most
/// `ahead` items wait for the reader; `weigh` says how many bytes one has, about.
pub(crate) fn stream<T: Send + 'static>(
    name: &str,
    ahead: usize,
    weigh: impl Fn(&T) -> usize + Send + 'static,
    make: impl FnOnce(&mut dyn FnMut(T) -> Result<()>) -> Result<()> + Send + 'static,
) -> Result<Stream<T>> {
    let (send, items) = mpsc::sync_channel(ahead);
    let room = Arc::new(Room::new(WAITING_BYTES));
    let reader = Reader { items, room: Closing(Arc::clone(&room)) };
    let work = move || {
        let gone = || Error::invalid("nobody reads any more");
        let result = make(&mut |item| {
            let weight = weigh(&item);
            room.enter(weight);
            send.send((Ok(item), weight)).map_err(|_| gone())
        });
        if let Err(error) = result {
            // When the reader is gone there is nobody left to tell.
            let _ = send.send((Err(error), 0));
        }
    };
    task::spawn(name, work).map_err(|error| Error::Unavailable(format!("starting a thread for {name}: {error}")))?;
    Ok(Box::new(reader))
}

struct Reader<T> {
    // First: a maker that is let into the room must find that nobody reads, or it would go on making.
    items: mpsc::Receiver<(Result<T>, usize)>,
    room: Closing,
}

/// Lets all in that wait, when it is dropped.
struct Closing(Arc<Room>);

impl Drop for Closing {
    fn drop(&mut self) {
        self.0.close();
    }
}

impl<T> Iterator for Reader<T> {
    type Item = Result<T>;

    fn next(&mut self) -> Option<Self::Item> {
        let (item, weight) = self.items.recv().ok()?;
        self.room.0.leave(weight);
        Some(item)
    }
}

/// Runs `make` at once and keeps its items: for few of them.
pub(crate) fn collected<T: Send + 'static>(
    make: impl FnOnce(&mut dyn FnMut(T) -> Result<()>) -> Result<()>,
) -> Result<Stream<T>> {
    let mut items = Vec::new();
    make(&mut |item| {
        items.push(Ok(item));
        Ok(())
    })?;
    Ok(Box::new(items.into_iter()))
}

#[cfg(test)]
mod tests;
