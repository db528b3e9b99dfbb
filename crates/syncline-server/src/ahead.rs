//! Streams of which is known whether more has come already.
//!
//! Owns: at most one item that has come and was not asked for yet.

use std::future::poll_fn;
use std::pin::Pin;
use std::task::Poll;

use syncline_node::live::engine::More;
use tokio_stream::{Stream, StreamExt as _};

/// Such a stream.
#[derive(Debug)]
pub(crate) struct Ahead<S: Stream> {
    inbound: S,
    /// What has come: an item, or the end.
    next: Option<Option<S::Item>>,
}

impl<S: Stream + Unpin> Ahead<S> {
    pub(crate) const fn new(inbound: S) -> Self {
        Self { inbound, next: None }
    }

    /// What comes next. Not to be asked after the end.
    pub(crate) async fn next(&mut self) -> Option<S::Item> {
        match self.next.take() {
            Some(next) => next,
            None => self.inbound.next().await,
        }
    }

    /// Whether something has come already.
    pub(crate) async fn more(&mut self) -> More {
        if self.next.is_none() {
            let inbound = &mut self.inbound;
            let come = poll_fn(|context| Poll::Ready(Pin::new(&mut *inbound).poll_next(context))).await;
            self.next = match come {
                Poll::Ready(next) => Some(next),
                Poll::Pending => None,
            };
        }
        if matches!(self.next, Some(Some(_))) { More::Comes } else { More::Not }
    }
}

#[cfg(test)]
mod tests {
    use tokio::sync::mpsc;
    use tokio_stream::wrappers::UnboundedReceiverStream;

    use super::*;

    #[tokio::test]
    async fn what_has_come_is_seen_before_it_is_taken() {
        let (sender, items) = mpsc::unbounded_channel();
        let mut ahead = Ahead::new(UnboundedReceiverStream::new(items));
        assert_eq!(ahead.more().await, More::Not);
        sender.send(1).expect("it is open");
        sender.send(2).expect("it is open");
        assert_eq!(ahead.more().await, More::Comes);
        assert_eq!(ahead.next().await, Some(1));
        assert_eq!(ahead.more().await, More::Comes);
        assert_eq!(ahead.more().await, More::Comes);
        assert_eq!(ahead.next().await, Some(2));
        assert_eq!(ahead.more().await, More::Not);
        drop(sender);
        assert_eq!(ahead.more().await, More::Not);
        assert_eq!(ahead.next().await, None);
    }
}
