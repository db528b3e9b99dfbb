//! An iterator over what a function makes on a thread of its own, some items ahead of the reader.
//!
//! Owns: the thread, which ends when its work is done or its reader goes away.

use std::sync::mpsc;

use syncline_base::task;

use crate::{Error, Result};

/// An iterator that can be handed to another thread.
pub(crate) type Stream<T> = Box<dyn Iterator<Item = Result<T>> + Send>;

/// Runs `make` on its own thread. It gives items to the function that it gets, which fails when nobody reads any more.
pub(crate) fn stream<T: Send + 'static>(
    name: &str,
    ahead: usize,
    make: impl FnOnce(&mut dyn FnMut(T) -> Result<()>) -> Result<()> + Send + 'static,
) -> Result<Stream<T>> {
    let (send, receive) = mpsc::sync_channel(ahead);
    let work = move || {
        let gone = || Error::invalid("nobody reads any more");
        let result = make(&mut |item| send.send(Ok(item)).map_err(|_| gone()));
        if let Err(error) = result {
            // When the reader is gone there is nobody left to tell.
            let _ = send.send(Err(error));
        }
    };
    task::spawn(name, work).map_err(|error| Error::Unavailable(format!("starting a thread for {name}: {error}")))?;
    Ok(Box::new(receive.into_iter()))
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
