//! Transactions of a client that does not wait for each: taken in as they come, answered as they become durable.
//!
//! Owns: a task for each stream. After a crash: nothing is left of it; the client knows how many of its transactions are durable, and looks
//! for the identities of the others before it writes them again.
//!
//! Invariants: what waits of one stream is bounded in bytes and in number; replies come in the order of the transactions; after one that
//! failed none behind it was written.
//!
//! Not here: what changes mean (`syncline_node::ops::apply`).

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::{Bytes, BytesMut};
use syncline_api::v1::{WriteReply, WriteRequest};
use syncline_node::live::engine::{Committed, More, Sequence};
use syncline_node::live::{Engine, token};
use syncline_node::ops::apply::{self, Submitted};
use syncline_node::ops::put;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc, watch};
use tokio_stream::Stream;
use tonic::{Status, Streaming};

use crate::ahead::Ahead;
use crate::{Error, Result};

/// Transactions of one stream that wait for the disk.
const MOST_WAITING: u32 = 4096;
/// What they weigh at the most, in units of [`UNIT`] bytes.
const UNIT: usize = 4 << 10;
/// A transaction of more is read on a thread that may take its time.
const LARGE: usize = 64 << 10;
/// So many acknowledgements go into one reply.
const BATCH: usize = 256;

/// What became of the transactions of a stream, in their order.
enum Told {
    Durable(Committed),
    Failed(Status),
}

/// Takes in what comes until nothing more does.
pub(crate) fn serve(
    engine: Engine,
    request: apply::Request,
    first: WriteRequest,
    inbound: Streaming<WriteRequest>,
    stopped: watch::Receiver<bool>,
) -> Replies {
    let (tell, told) = mpsc::unbounded_channel();
    tokio::spawn(async move {
        let room = Arc::new(Semaphore::new(MOST_WAITING as usize));
        let failed = tokio::select! {
            failed = take_in(&engine, &request, first, inbound, &room, &tell) => failed,
            () = stops(stopped) => Err(Status::unavailable("this node stops")),
        };
        // What was submitted before is told first.
        let all = room.acquire_many(MOST_WAITING).await;
        if let (Err(status), Ok(_)) = (failed, all) {
            // Nobody reads it: the client has gone.
            let _ = tell.send(Told::Failed(status));
        }
    });
    Replies { told, ready: Vec::new(), durable: 0, ended: false }
}

/// Waits until the node stops.
pub(crate) async fn stops(mut stopped: watch::Receiver<bool>) {
    // An error means that the node is gone.
    let _ = stopped.wait_for(|stop| *stop).await;
}

/// A transaction that comes in pieces.
#[derive(Default)]
struct Gathered(BytesMut);

impl Gathered {
    /// Adds a piece; gives the transaction when it was the last one.
    fn add(&mut self, message: WriteRequest) -> Result<Option<Bytes>> {
        put::check_size(self.0.len() + message.changes.len())?;
        if !message.more && self.0.is_empty() {
            return Ok(Some(message.changes).filter(|changes| !changes.is_empty()));
        }
        self.0.extend_from_slice(&message.changes);
        Ok((!message.more).then(|| self.0.split().freeze()))
    }
}

/// Takes in what comes; says why it stopped when the client did not end it. What has begun and not ended was no transaction.
async fn take_in(
    engine: &Engine,
    request: &apply::Request,
    first: WriteRequest,
    inbound: Streaming<WriteRequest>,
    room: &Arc<Semaphore>,
    tell: &mpsc::UnboundedSender<Told>,
) -> Result<(), Status> {
    let (mut next, mut gathered, sequence) = (Some(first), Gathered::default(), Sequence::default());
    let mut inbound = Ahead::new(inbound);
    while let Some(message) = next {
        if let Some(changes) = gathered.add(message)? {
            let permits = u32::try_from(1 + changes.len() / UNIT).unwrap_or(MOST_WAITING).min(MOST_WAITING);
            let place = Arc::clone(room).acquire_many_owned(permits).await;
            let place = place.map_err(|_| Status::internal("the room for transactions was closed"))?;
            if tell.is_closed() {
                return Ok(());
            }
            let more = inbound.more().await;
            submit(engine, &sequence, request, changes, (more, place, room), tell.clone()).await?;
        }
        next = inbound.next().await.transpose()?;
    }
    Ok(())
}

async fn submit(
    engine: &Engine,
    sequence: &Sequence,
    request: &apply::Request,
    changes: Bytes,
    (more, place, room): (More, OwnedSemaphorePermit, &Arc<Semaphore>),
    tell: mpsc::UnboundedSender<Told>,
) -> Result<()> {
    let permits = place.num_permits() as u32;
    let done = Box::new(move |outcome: syncline_node::Result<Committed>| {
        // Nobody reads it when the client has gone.
        let _ = tell.send(match outcome {
            Ok(committed) => Told::Durable(committed),
            Err(error) => Told::Failed(Error::from(error).into()),
        });
        drop(place);
    });
    let submitted = if changes.len() < LARGE {
        apply::submit(engine, sequence, request, &changes, (more, done))?
    } else {
        let (engine, sequence, request) = (engine.clone(), sequence.clone(), request.clone());
        blocking(move || apply::submit(&engine, &sequence, &request, &changes, (More::Comes, done))).await??
    };
    if let Submitted::Elsewhere(turn) = submitted {
        // In its turn: those before it are told first. Its own place is taken.
        let others = MOST_WAITING - permits;
        let before = room.acquire_many(others).await;
        let engine = engine.clone();
        blocking(move || turn.run(&engine)).await?;
        drop(before);
    }
    Ok(())
}

/// Does what may take its time.
async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Result<T> {
    let done = tokio::task::spawn_blocking(work).await;
    done.map_err(|error| Error::Settings(format!("the transaction failed inside the node: {error}")))
}

/// What the client is told: many transactions in one reply when many became durable at once.
pub(crate) struct Replies {
    told: mpsc::UnboundedReceiver<Told>,
    ready: Vec<Told>,
    durable: u64,
    ended: bool,
}

impl Stream for Replies {
    type Item = Result<WriteReply, Status>;

    fn poll_next(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let this = self.get_mut();
        if this.ended {
            return Poll::Ready(None);
        }
        if this.ready.is_empty() && ready!(this.told.poll_recv_many(context, &mut this.ready, BATCH)) == 0 {
            return Poll::Ready(None);
        }
        let failed = this.ready.iter().position(|told| matches!(told, Told::Failed(_)));
        let rest = this.ready.split_off(failed.unwrap_or(this.ready.len()));
        let before = std::mem::replace(&mut this.ready, rest);
        if before.is_empty() {
            this.ended = true;
            return match this.ready.drain(..).next() {
                Some(Told::Failed(status)) => Poll::Ready(Some(Err(status))),
                _ => Poll::Ready(None),
            };
        }
        let durable = |told: &Told| match told {
            Told::Durable(committed) => Some(token::of_dot(&committed.dot)),
            Told::Failed(_) => None,
        };
        let transactions: Vec<String> = before.iter().filter_map(durable).collect();
        let (position, read) = match before.last() {
            Some(Told::Durable(committed)) => (token::of_wait(&committed.position), committed.read.as_ref()),
            _ => (String::new(), None),
        };
        let read = read.map(token::of_context).unwrap_or_default();
        this.durable += transactions.len() as u64;
        Poll::Ready(Some(Ok(WriteReply { durable: this.durable, transactions, position, read })))
    }
}
