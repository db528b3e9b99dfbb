//! One end of a transfer stream, for code that is not async: bounded queues, signs of life, a stall is an error.
//!
//! Used by the client and by the server; only the message types differ. What waits to be sent is bounded in bytes by
//! [`Limits::queue_bytes`], what has been received and not been taken by the HTTP/2 window.
//!
//! While the owner of a pipe works without sending, a small task sends a sign of life every [`Limits::heartbeat`], so
//! that the peer can tell work from death; it stops after [`Limits::busy`], so that a hang is noticed all the same, and
//! whoever is told nothing else for longer than that gives up as well. Only a call of a verb may be silent for ever
//! ([`Limits::of_call`]): nobody knows how long it may take.

use std::collections::VecDeque;
use std::future::poll_fn;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use syncline_base::Clock;
use tokio::runtime::Handle;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::task::JoinHandle;
use tokio_stream::Stream;
use tonic::{Status, Streaming};

use crate::{Error, Result, status};

/// Budgets of one stream.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// The largest message, either way.
    pub message_bytes: usize,
    /// The longest report of a verb, which takes as many messages as it needs.
    pub report_bytes: usize,
    /// How many bytes may wait to be sent.
    pub queue_bytes: u32,
    /// How long a peer may be silent while a message is expected.
    pub stall: Duration,
    /// After how much silence of ours we send a sign of life.
    pub heartbeat: Duration,
    /// How long we may work in silence before we stop pretending to be alive, and a little less than how long a peer may.
    pub busy: Duration,
    /// Bytes per second, each way; `None` is no limit.
    pub rate: Option<u64>,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            message_bytes: 16 << 20,
            report_bytes: 256 << 20,
            queue_bytes: 16 << 20,
            stall: Duration::from_secs(30),
            heartbeat: Duration::from_secs(8),
            busy: Duration::from_secs(900),
            rate: None,
        }
    }
}

impl Limits {
    /// The same for a call of a verb, which takes as long as it takes: nothing is wrong with a stream whose owner is at work.
    #[must_use]
    pub fn of_call(self) -> Self {
        Self { busy: Duration::MAX, ..self }
    }

    /// After how much silence of a connection its other end is asked for an answer, and how long that may take: together as
    /// long as a stall, so that who has gone without a word is noticed as soon as who says nothing. Most of it is for the
    /// answer: on a slow line the question waits behind what was sent before it.
    #[must_use]
    pub fn keepalive(&self) -> (Duration, Duration) {
        let silence = self.stall / 6;
        (silence, self.stall.saturating_sub(silence))
    }
}

/// What waits to be sent, with its share of the budget.
#[derive(Debug)]
pub struct Queued<T> {
    item: T,
    _room: Option<OwnedSemaphorePermit>,
}

/// The stream that tonic sends from.
#[derive(Debug)]
pub struct Outbound<T>(UnboundedReceiver<Queued<T>>);

impl<T> Stream for Outbound<T> {
    type Item = T;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<T>> {
        // The share of the budget is given back when HTTP/2 takes the message, which it does as its window allows.
        self.0.poll_recv(cx).map(|queued| queued.map(|queued| queued.item))
    }
}

/// A message that comes in on a stream.
pub trait Message: Send + 'static {
    /// Bytes it carries; none in a sign of life.
    fn len(&self) -> usize;

    /// Whether it says nothing but that the peer is alive.
    fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

impl Message for crate::v1::ClientMessage {
    fn len(&self) -> usize {
        self.body.len()
    }
}

impl Message for crate::v1::ServerMessage {
    fn len(&self) -> usize {
        self.body.len()
    }
}

impl Message for crate::v1::CallRequest {
    fn len(&self) -> usize {
        // The first one names a verb and may have no input.
        self.verb.len() + self.request.len() + self.input.len()
    }
}

impl Message for crate::v1::CallReply {
    fn len(&self) -> usize {
        use crate::v1::call_reply::Reply;
        match &self.reply {
            Some(Reply::Report(text) | Reply::Progress(text)) => text.len(),
            Some(Reply::Output(bytes)) => bytes.len(),
            None => 0,
        }
    }
}

/// Where received messages come from.
enum Inbound<I> {
    /// The peer has not answered yet.
    Opening(JoinHandle<std::result::Result<Streaming<I>, Status>>),
    Open(Box<Streaming<I>>),
    Ended,
}

/// One end of a stream of messages `I` in and `O` out. All methods block: call them on threads that may.
pub struct Pipe<I, O> {
    peer: String,
    runtime: Handle,
    inbound: Inbound<I>,
    /// What came while we waited to send, and the bytes of it.
    early: VecDeque<I>,
    early_bytes: usize,
    outbound: Option<UnboundedSender<Queued<O>>>,
    wrap: Box<dyn FnMut(Bytes) -> O + Send>,
    room: Arc<Semaphore>,
    limits: Limits,
    throttle: Throttle,
    /// Counts our messages, for the task that sends signs of life.
    spoken: Arc<AtomicU64>,
}

impl<I, O> std::fmt::Debug for Pipe<I, O> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Pipe").field("peer", &self.peer).finish_non_exhaustive()
    }
}

/// Sends messages that may be lost, from any thread: while there is room in the queue, and until the pipe is closed.
#[derive(Debug)]
pub struct Notices<O> {
    outbound: Option<tokio::sync::mpsc::WeakUnboundedSender<Queued<O>>>,
    room: Arc<Semaphore>,
    spoken: Arc<AtomicU64>,
}

impl<O> Notices<O> {
    /// Whether the peer takes nothing any more, because it has gone or everything is said.
    #[must_use]
    pub fn is_closed(&self) -> bool {
        let outbound = self.outbound.as_ref().and_then(tokio::sync::mpsc::WeakUnboundedSender::upgrade);
        outbound.is_none_or(|outbound| outbound.is_closed())
    }

    /// Queues a message of about so many bytes, or drops it.
    pub fn send(&self, item: O, bytes: u32) {
        let Some(outbound) = self.outbound.as_ref().and_then(tokio::sync::mpsc::WeakUnboundedSender::upgrade) else {
            return;
        };
        if let Ok(room) = Arc::clone(&self.room).try_acquire_many_owned(bytes.max(1)) {
            self.spoken.fetch_add(1, Ordering::Relaxed);
            // Nobody listens any more: that shows where something matters.
            let _ = outbound.send(Queued { item, _room: Some(room) });
        }
    }
}

/// A queue of messages to send: the end that tonic reads, and the end that a pipe writes.
pub fn queue<O: Send + 'static>() -> (UnboundedSender<Queued<O>>, Outbound<O>) {
    let (sender, receiver) = unbounded_channel();
    (sender, Outbound(receiver))
}

impl<I: Message, O: Send + 'static> Pipe<I, O> {
    /// A pipe over a call that is being opened: `opening` gives the inbound stream once the peer has answered.
    pub fn opening(
        peer: String,
        runtime: Handle,
        opening: impl Future<Output = std::result::Result<Streaming<I>, Status>> + Send + 'static,
        outbound: UnboundedSender<Queued<O>>,
        settings: Settings<O>,
    ) -> Self {
        let inbound = Inbound::Opening(runtime.spawn(opening));
        // Nothing is said before the first message: it names the dataset.
        Self::with(peer, runtime, inbound, outbound, settings, 0)
    }

    /// A pipe over a call that is open.
    pub fn open(
        peer: String,
        runtime: Handle,
        inbound: Streaming<I>,
        outbound: UnboundedSender<Queued<O>>,
        settings: Settings<O>,
    ) -> Self {
        Self::with(peer, runtime, Inbound::Open(Box::new(inbound)), outbound, settings, 1)
    }

    fn with(
        peer: String,
        runtime: Handle,
        inbound: Inbound<I>,
        outbound: UnboundedSender<Queued<O>>,
        settings: Settings<O>,
        spoken: u64,
    ) -> Self {
        let Settings { limits, clock, wrap, alive } = settings;
        let spoken = Arc::new(AtomicU64::new(spoken));
        runtime.spawn(signs_of_life(outbound.downgrade(), Arc::clone(&spoken), alive, limits));
        Self {
            peer,
            runtime,
            inbound,
            early: VecDeque::new(),
            early_bytes: 0,
            outbound: Some(outbound),
            wrap,
            room: Arc::new(Semaphore::new(limits.queue_bytes as usize)),
            limits,
            throttle: Throttle::new(limits.rate, clock),
            spoken,
        }
    }

    /// A way to send messages that may be lost from other threads.
    #[must_use]
    pub fn notices(&self) -> Notices<O> {
        Notices {
            outbound: self.outbound.as_ref().map(UnboundedSender::downgrade),
            room: Arc::clone(&self.room),
            spoken: Arc::clone(&self.spoken),
        }
    }

    /// Budgets.
    #[must_use]
    pub fn limits(&self) -> &Limits {
        &self.limits
    }

    /// Host and port of the other end.
    #[must_use]
    pub fn peer(&self) -> &str {
        &self.peer
    }

    /// Queues a message; waits while the queue is full.
    ///
    /// # Errors
    /// `Unavailable` when the peer takes nothing for too long or has gone; the peer's own fault when it gave one.
    pub fn send(&mut self, body: Bytes) -> Result<()> {
        let bytes = body.len();
        if bytes > self.limits.message_bytes {
            return Err(Error::TooLong { bytes, cap: self.limits.message_bytes });
        }
        let item = (self.wrap)(body);
        self.send_item(item, bytes)
    }

    /// Waits for a share of the queue's budget. A message larger than the whole budget takes all of it.
    fn take_room(&mut self, bytes: usize) -> Result<OwnedSemaphorePermit> {
        let want = u32::try_from(bytes).unwrap_or(u32::MAX).clamp(1, self.limits.queue_bytes);
        if let Ok(room) = Arc::clone(&self.room).try_acquire_many_owned(want) {
            return Ok(room);
        }
        let begun = self.now();
        loop {
            let (room, stall) = (Arc::clone(&self.room), self.limits.stall);
            // A peer that is gone takes nothing either: look at both.
            let outbound = self.outbound.clone();
            let outcome = self.runtime.block_on(async move {
                let closed = async {
                    if let Some(outbound) = &outbound {
                        outbound.closed().await;
                    }
                };
                tokio::select! {
                    room = room.acquire_many_owned(want) => Some(room.ok()),
                    () = closed => Some(None),
                    () = tokio::time::sleep(stall) => None,
                }
            });
            match outcome {
                Some(Some(room)) => return Ok(room),
                Some(None) => return Err(self.why_closed()),
                // It may be at work on what it has.
                None if self.now().saturating_sub(begun) < self.patience() && self.hear()? => {}
                None => return Err(self.stalled("took nothing", begun)),
            }
        }
    }

    /// Takes what the peer has said meanwhile, as much as may wait here. Whether it said anything.
    fn hear(&mut self) -> Result<bool> {
        let mut heard = false;
        while self.early_bytes < self.limits.queue_bytes as usize {
            match self.poll_next()? {
                Poll::Ready(Some(message)) => {
                    heard = true;
                    if !message.is_empty() {
                        self.early_bytes += message.len().max(64);
                        self.early.push_back(message);
                    }
                }
                Poll::Ready(None) | Poll::Pending => break,
            }
        }
        Ok(heard)
    }

    fn take_early(&mut self) -> Option<I> {
        let message = self.early.pop_front()?;
        self.early_bytes -= message.len().max(64);
        self.throttle.pass(message.len());
        Some(message)
    }

    /// How long a peer may give nothing but signs of life: as long as an honest one gives them.
    fn patience(&self) -> Duration {
        self.limits.busy.saturating_add(self.limits.stall)
    }

    fn now(&self) -> Duration {
        self.throttle.clock.monotonic()
    }

    /// The next message of the peer; waits for it. `None` when the peer has said all it had to say.
    ///
    /// # Errors
    /// `Unavailable` when the peer is silent for too long; the peer's own fault when it gave one.
    pub fn receive_message(&mut self) -> Result<Option<I>> {
        self.receive_within(self.patience())
    }

    /// The first message of a peer that has opened the call. Waits as long as for a sign of life, and takes none for it: who
    /// calls has something to say.
    ///
    /// # Errors
    /// As [`Pipe::receive_message`].
    pub fn receive_first(&mut self) -> Result<Option<I>> {
        self.receive_within(self.limits.stall)
    }

    fn receive_within(&mut self, patience: Duration) -> Result<Option<I>> {
        if let Some(early) = self.take_early() {
            return Ok(Some(early));
        }
        let begun = self.now();
        loop {
            let left = patience.saturating_sub(self.now().saturating_sub(begun));
            let (wait, runtime) = (self.limits.stall.min(left), self.runtime.clone());
            let next = runtime.block_on(async { tokio::time::timeout(wait, self.next()).await });
            match next {
                Err(_) => return Err(self.stalled("sent nothing", begun)),
                Ok(message) => match message? {
                    Some(message) if message.is_empty() && left.is_zero() => {
                        return Err(self.stalled("sent nothing but signs of life", begun));
                    }
                    Some(message) if message.is_empty() => {}
                    Some(message) => {
                        self.throttle.pass(message.len());
                        return Ok(Some(message));
                    }
                    None => return Ok(None),
                },
            }
        }
    }

    /// Says that nothing more will be sent, and waits until the peer has closed its side: before that it may not have heard our
    /// last word.
    pub fn close(&mut self) {
        self.finish();
        // Everything that matters was said.
        let _ = self.last_words();
    }

    /// The next message of the peer if it is here already.
    ///
    /// # Errors
    /// The peer's fault, if it gave one.
    pub fn try_receive_message(&mut self) -> Result<Option<I>> {
        if let Some(early) = self.take_early() {
            return Ok(Some(early));
        }
        loop {
            match self.poll_next()? {
                Poll::Ready(Some(message)) if message.is_empty() => {}
                Poll::Ready(message) => return Ok(message),
                Poll::Pending => return Ok(None),
            }
        }
    }

    /// What is here of the peer's, signs of life included.
    fn poll_next(&mut self) -> Result<Poll<Option<I>>> {
        let runtime = self.runtime.clone();
        let ready = runtime.block_on(async {
            let mut next = std::pin::pin!(self.next());
            poll_fn(|cx| Poll::Ready(next.as_mut().poll(cx))).await
        });
        match ready {
            Poll::Ready(item) => Ok(Poll::Ready(item?)),
            Poll::Pending => Ok(Poll::Pending),
        }
    }

    /// Queues one last item as it is (a server's status), and says that nothing more will be sent.
    pub fn finish_with(&mut self, item: O) {
        if let Some(outbound) = self.outbound.take() {
            // A peer that has gone needs no status.
            let _ = outbound.send(Queued { item, _room: None });
        }
    }

    /// Queues an item that is not a body; waits while the queue is full.
    ///
    /// # Errors
    /// As [`Pipe::send`].
    pub fn send_item(&mut self, item: O, bytes: usize) -> Result<()> {
        self.throttle.pass(bytes);
        let room = self.take_room(bytes)?;
        self.spoken.fetch_add(1, Ordering::Relaxed);
        let sent = match &self.outbound {
            Some(outbound) => outbound.send(Queued { item, _room: Some(room) }).is_ok(),
            None => false,
        };
        if sent { Ok(()) } else { Err(self.why_closed()) }
    }

    /// Says that nothing more will be sent. Receiving goes on.
    pub fn finish(&mut self) {
        self.outbound = None;
    }

    /// The next message. Safe to drop half-way: nothing is lost.
    async fn next(&mut self) -> Result<Option<I>> {
        if let Inbound::Opening(opening) = &mut self.inbound {
            self.inbound = match opening.await {
                Ok(Ok(stream)) => Inbound::Open(Box::new(stream)),
                Ok(Err(fault)) => {
                    self.inbound = Inbound::Ended;
                    return Err(status::from_grpc(&self.peer, &fault));
                }
                Err(_) => {
                    self.inbound = Inbound::Ended;
                    return Err(Error::Closed { peer: self.peer.clone() });
                }
            };
        }
        let Inbound::Open(stream) = &mut self.inbound else { return Ok(None) };
        match stream.message().await {
            Ok(Some(message)) => Ok(Some(message)),
            Ok(None) => {
                self.inbound = Inbound::Ended;
                Ok(None)
            }
            Err(fault) => {
                self.inbound = Inbound::Ended;
                Err(status::from_grpc(&self.peer, &fault))
            }
        }
    }

    /// Why the peer does not take our messages any more: its own fault when it has sent one.
    fn why_closed(&mut self) -> Error {
        match self.last_words() {
            Some(fault) => fault,
            None => Error::Closed { peer: self.peer.clone() },
        }
    }

    /// Reads what the peer still says, which is of no use any more, until it has closed its side: the fault that it closed it
    /// with, if there is one. One that goes on for longer than a stall is left alone.
    fn last_words(&mut self) -> Option<Error> {
        let begun = self.now();
        loop {
            let left = self.limits.stall.saturating_sub(self.now().saturating_sub(begun));
            match self.receive_within(left) {
                Err(fault) => return Some(fault),
                Ok(Some(_)) if !left.is_zero() => {}
                Ok(_) => return None,
            }
        }
    }

    fn stalled(&self, what: &'static str, since: Duration) -> Error {
        let seconds = self.now().saturating_sub(since).as_secs();
        Error::Stalled { peer: self.peer.clone(), what, seconds }
    }
}

impl<O: Send + 'static> Pipe<crate::v1::ServerMessage, O> {
    /// [`Pipe::receive_message`], the body alone.
    ///
    /// # Errors
    /// As there.
    pub fn receive(&mut self) -> Result<Option<Bytes>> {
        Ok(self.receive_message()?.map(|message| message.body))
    }

    /// [`Pipe::try_receive_message`], the body alone.
    ///
    /// # Errors
    /// As there.
    pub fn try_receive(&mut self) -> Result<Option<Bytes>> {
        Ok(self.try_receive_message()?.map(|message| message.body))
    }
}

impl<O: Send + 'static> Pipe<crate::v1::ClientMessage, O> {
    /// [`Pipe::receive_message`], the body alone.
    ///
    /// # Errors
    /// As there.
    pub fn receive(&mut self) -> Result<Option<Bytes>> {
        Ok(self.receive_message()?.map(|message| message.body))
    }

    /// [`Pipe::try_receive_message`], the body alone.
    ///
    /// # Errors
    /// As there.
    pub fn try_receive(&mut self) -> Result<Option<Bytes>> {
        Ok(self.try_receive_message()?.map(|message| message.body))
    }
}

/// How a pipe treats its messages.
pub struct Settings<O> {
    /// Budgets.
    pub limits: Limits,
    /// For the rate limit.
    pub clock: Arc<dyn Clock>,
    /// Makes a message of a body.
    pub wrap: Box<dyn FnMut(Bytes) -> O + Send>,
    /// Makes a sign of life.
    pub alive: fn() -> O,
}

impl<O> std::fmt::Debug for Settings<O> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Settings").field("limits", &self.limits).finish_non_exhaustive()
    }
}

/// Sends a sign of life whenever the pipe has been silent for a while, until it is closed or silent for too long.
async fn signs_of_life<O: Send + 'static>(
    outbound: tokio::sync::mpsc::WeakUnboundedSender<Queued<O>>,
    spoken: Arc<AtomicU64>,
    alive: fn() -> O,
    limits: Limits,
) {
    let mut seen = spoken.load(Ordering::Relaxed);
    let mut silent = Duration::ZERO;
    while silent < limits.busy {
        tokio::time::sleep(limits.heartbeat).await;
        let Some(outbound) = outbound.upgrade() else { return };
        let now = spoken.load(Ordering::Relaxed);
        if now != seen {
            (seen, silent) = (now, Duration::ZERO);
            continue;
        }
        silent = silent.saturating_add(limits.heartbeat);
        if now > 0 && outbound.send(Queued { item: alive(), _room: None }).is_err() {
            return;
        }
    }
}

/// Keeps a stream below a number of bytes per second.
#[derive(Debug)]
struct Throttle {
    rate: Option<u64>,
    clock: Arc<dyn Clock>,
    /// When everything that has passed will have been paid for.
    free_at: Duration,
}

impl Throttle {
    fn new(rate: Option<u64>, clock: Arc<dyn Clock>) -> Self {
        Self { rate: rate.filter(|rate| *rate > 0), clock, free_at: Duration::ZERO }
    }

    /// Waits until `bytes` more may pass.
    fn pass(&mut self, bytes: usize) {
        let Some(rate) = self.rate else { return };
        let now = self.clock.monotonic();
        if self.free_at > now {
            self.clock.sleep(self.free_at - now);
        }
        let cost =
            Duration::from_nanos(u64::try_from(bytes as u128 * 1_000_000_000 / u128::from(rate)).unwrap_or(u64::MAX));
        self.free_at = self.free_at.max(now) + cost;
    }
}
