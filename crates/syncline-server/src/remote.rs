//! The two ends of a transfer stream as the transport that the node's sessions want.

use std::collections::VecDeque;
use std::sync::Arc;

use bytes::Bytes;
use syncline_api::client::{Client, Exchange, Options};
use syncline_api::pipe::Pipe;
use syncline_api::v1::{ClientMessage, ServerMessage};
use syncline_api::{Error, Target};
use syncline_node::sync;
use tonic::Status;

/// The client's end.
#[derive(Debug)]
pub struct Remote {
    client: Arc<Client>,
    exchange: Exchange,
    baseline: (u64, u64),
    /// The peer is silent or has gone: nothing more is to be heard from it.
    broken: bool,
}

impl Remote {
    /// A transfer with the dataset that the client's address names.
    #[must_use]
    pub fn new(client: &Arc<Client>) -> Self {
        let dataset = client.target().dataset.clone();
        Self {
            client: Arc::clone(client),
            exchange: client.transfer(&dataset),
            baseline: client.baseline(),
            broken: false,
        }
    }
}

/// Connects to a node and opens a transfer with one of its datasets.
///
/// # Errors
/// `Invalid` for an address that is none, `Unavailable` when nothing answers.
pub fn connect(url: &str, options: Options) -> syncline_api::Result<Remote> {
    let target = Target::parse(url)?;
    if target.dataset.is_empty() {
        let reason = "it names no dataset".to_owned();
        return Err(Error::Target { text: url.to_owned(), reason });
    }
    Ok(Remote::new(&Arc::new(Client::connect(target, options)?)))
}

#[expect(clippy::needless_pass_by_value, reason = "it is what map_err hands over")]
fn transport(error: Error) -> sync::Error {
    sync::Error::Transport { kind: error.kind(), message: error.to_string() }
}

impl Remote {
    fn noted<T>(&mut self, outcome: syncline_api::Result<T>) -> sync::Result<T> {
        self.broken |= outcome.is_err();
        outcome.map_err(transport)
    }
}

impl sync::Transport for Remote {
    fn peer(&self) -> String {
        self.client.target().peer()
    }

    fn send(&mut self, message: Bytes) -> sync::Result<()> {
        let sent = self.exchange.send(message);
        self.noted(sent)
    }

    fn receive(&mut self) -> sync::Result<Option<Bytes>> {
        let received = self.exchange.receive();
        self.noted(received)
    }

    fn try_receive(&mut self) -> sync::Result<Option<Bytes>> {
        let received = self.exchange.try_receive();
        self.noted(received)
    }

    fn finish(&mut self) {
        // Who was waited for in vain is not waited for once more.
        if self.broken {
            self.exchange.finish();
        } else {
            self.exchange.close();
        }
    }

    fn counters(&self) -> sync::Counters {
        let meter = self.client.meter();
        sync::Counters {
            sent: meter.sent().saturating_sub(self.baseline.0),
            received: meter.received().saturating_sub(self.baseline.1),
        }
    }
}

/// The server's end. Counts the bytes of messages: it does not see the socket.
#[derive(Debug)]
pub(crate) struct Incoming {
    pipe: Pipe<ClientMessage, Result<ServerMessage, Status>>,
    /// What was read before the session began.
    early: VecDeque<Bytes>,
    counters: sync::Counters,
}

impl Incoming {
    pub(crate) fn new(pipe: Pipe<ClientMessage, Result<ServerMessage, Status>>, first: Bytes) -> Self {
        let early = VecDeque::from_iter((!first.is_empty()).then_some(first));
        Self { pipe, early, counters: sync::Counters::default() }
    }

    fn count(&mut self, message: Option<Bytes>) -> Option<Bytes> {
        self.counters.received += message.as_ref().map_or(0, Bytes::len) as u64;
        message
    }
}

impl sync::Transport for Incoming {
    fn peer(&self) -> String {
        self.pipe.peer().to_owned()
    }

    fn send(&mut self, message: Bytes) -> sync::Result<()> {
        self.counters.sent += message.len() as u64;
        self.pipe.send(message).map_err(transport)
    }

    fn receive(&mut self) -> sync::Result<Option<Bytes>> {
        let message = match self.early.pop_front() {
            Some(early) => Some(early),
            None => self.pipe.receive().map_err(transport)?,
        };
        Ok(self.count(message))
    }

    fn try_receive(&mut self) -> sync::Result<Option<Bytes>> {
        let message = match self.early.pop_front() {
            Some(early) => Some(early),
            None => self.pipe.try_receive().map_err(transport)?,
        };
        Ok(self.count(message))
    }

    fn finish(&mut self) {
        self.pipe.finish();
    }

    fn counters(&self) -> sync::Counters {
        self.counters
    }
}
