//! Where transactions go: the live tables of this process, or a node that has them. Many wait for the disk at once.

use std::collections::VecDeque;
use std::io::Read;
use std::sync::mpsc;

use anyhow::Context as _;
use bytes::Bytes;
use syncline_api::client;
use syncline_api::client::{Client, Options, Streaming};
use syncline_api::v1::{WriteReply, WriteRequest};
use syncline_api::{Target, status};
use syncline_node::live::engine::{Committed, More, Sequence};
use syncline_node::live::files::contents::{self, Put};
use syncline_node::live::{Engine, token};
use syncline_node::ops::apply::{self, Request, Submitted};
use syncline_node::progress::Silent;
use syncline_node::{Error as NodeError, Replica};
use tokio::runtime::Runtime;
use tokio::sync::mpsc as tokio_mpsc;
use tokio_stream::StreamExt as _;
use tokio_stream::wrappers::UnboundedReceiverStream;

use super::{Applied, Changes};
use crate::context::{Context, Place, call};
use crate::fault::{Fault, Result};

/// Transactions that wait for the disk, and their bytes.
const WINDOW: (usize, usize) = (1024, 8 << 20);

type Told = syncline_node::Result<Committed>;

/// What was told next.
enum Next {
    Here(Told),
    Node(Option<Result<WriteReply, syncline_api::client::Status>>),
}

enum Way {
    Here {
        engine: Engine,
        sequence: Sequence,
        request: Request,
        tell: mpsc::Sender<Told>,
        told: mpsc::Receiver<Told>,
    },
    Node {
        runtime: Runtime,
        sender: tokio_mpsc::UnboundedSender<WriteRequest>,
        replies: Box<Streaming<WriteReply>>,
        peer: String,
        contents: Box<Contents>,
    },
}

/// Where contents go on a node: a connection of its own, when there is one to send.
struct Contents {
    target: Target,
    options: Options,
    client: Option<Client>,
}

impl Contents {
    fn put(&mut self, input: &mut (dyn Read + Send)) -> Result<Put> {
        let client = match &mut self.client {
            Some(client) => client,
            None => self.client.insert(Client::connect(self.target.clone(), self.options.clone())?),
        };
        call(client, "contents-put", &(), Some(input), &mut std::io::sink(), &Silent)
    }
}

/// Writes transactions in their order.
pub(super) struct Sink {
    way: Way,
    /// Those that are not durable yet: their changes and their bytes.
    waiting: VecDeque<(Changes, usize)>,
    bytes: usize,
    applied: Applied,
}

impl Sink {
    /// Where this command's live tables are.
    pub(super) fn open(context: &Context, request: &Request) -> Result<Self> {
        let way = match context.place()? {
            Place::Here(replica) => match Self::here(&replica, request) {
                Err(NodeError::Served { url: Some(url), .. }) => Self::node(context, &url, request)?,
                way => way?,
            },
            Place::Node(client) => Self::node(context, &client.target().to_string(), request)?,
        };
        Ok(Self { way, waiting: VecDeque::new(), bytes: 0, applied: Applied::default() })
    }

    fn here(replica: &Replica, request: &Request) -> syncline_node::Result<Way> {
        let (tell, told) = mpsc::channel();
        Ok(Way::Here { engine: replica.live()?, sequence: Sequence::default(), request: request.clone(), tell, told })
    }

    fn node(context: &Context, url: &str, request: &Request) -> Result<Way> {
        let target = Target::parse(url)?;
        if target.dataset.is_empty() {
            return Err(Fault::invalid(format!("apply on {target}: it names no dataset; write {target}DATASET")));
        }
        let (options, request) = (context.options()?, serde_json::to_string(request)?);
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build();
        let runtime = runtime.context("starting the client")?;
        let (sender, messages) = tokio_mpsc::unbounded_channel();
        let stream = UnboundedReceiverStream::new(messages);
        let replies = Box::new(runtime.block_on(client::write(&target, &options, &request, stream))?);
        let contents = Box::new(Contents { target: target.clone(), options, client: None });
        Ok(Way::Node { runtime, sender, replies, peer: target.peer(), contents })
    }

    /// Stores a content that a transaction is to name.
    pub(super) fn send(&mut self, input: &mut (dyn Read + Send)) -> Result<Put> {
        match &mut self.way {
            Way::Here { engine, .. } => Ok(contents::write(engine, input)?),
            Way::Node { contents, .. } => contents.put(input),
        }
    }

    /// Gives a transaction of so many changes; waits when too many wait.
    pub(super) fn write(&mut self, changes: Bytes, count: Changes) -> Result<()> {
        self.look()?;
        while self.waiting.len() >= WINDOW.0 || self.bytes >= WINDOW.1 {
            self.wait()?;
        }
        self.waiting.push_back((count, changes.len()));
        self.bytes += changes.len();
        match &mut self.way {
            Way::Here { engine, sequence, request, tell, .. } => {
                let tell = tell.clone();
                // Nobody reads it when another transaction has failed.
                let done = Box::new(move |outcome| drop(tell.send(outcome)));
                let submitted = apply::submit(engine, sequence, request, &changes, (More::Comes, done));
                if submitted.is_err() {
                    self.waiting.pop_back();
                }
                if let Submitted::Elsewhere(turn) = submitted? {
                    turn.run(engine);
                }
            }
            Way::Node { sender, .. } => {
                // When nobody takes it, the replies say why.
                let _ = client::pieces(changes).all(|piece| sender.send(piece).is_ok());
            }
        }
        Ok(())
    }

    /// Takes what is told without waiting for it: a transaction that failed ends the command at the next one.
    fn look(&mut self) -> Result<()> {
        loop {
            let next = match &mut self.way {
                Way::Here { told, .. } => told.try_recv().ok().map(Next::Here),
                Way::Node { runtime, replies, .. } => runtime.block_on(async {
                    tokio::select! {
                        biased;
                        reply = replies.next() => Some(Next::Node(reply)),
                        () = std::future::ready(()) => None,
                    }
                }),
            };
            match next {
                Some(next) => self.take(next)?,
                None => return Ok(()),
            }
        }
    }

    /// Waits until at least one more is durable.
    fn wait(&mut self) -> Result<()> {
        let next = match &mut self.way {
            Way::Here { told, .. } => Next::Here(told.recv().context("waiting for the log")?),
            Way::Node { runtime, replies, .. } => Next::Node(runtime.block_on(replies.next())),
        };
        self.take(next)
    }

    fn take(&mut self, next: Next) -> Result<()> {
        match (next, &self.way) {
            (Next::Node(Some(reply)), Way::Node { peer, .. }) => {
                let reply = reply.map_err(|fault| status::from_grpc(peer, &fault))?;
                self.durable(reply.transactions, reply.position);
            }
            (Next::Node(_), Way::Node { peer, .. }) => {
                return Err(syncline_api::Error::Closed { peer: peer.clone() }.into());
            }
            (Next::Here(told), _) => {
                let committed = told?;
                self.durable(vec![token::of_dot(&committed.dot)], token::of_wait(&committed.position));
            }
            (Next::Node(_), Way::Here { .. }) => {}
        }
        Ok(())
    }

    fn durable(&mut self, mut transactions: Vec<String>, position: String) {
        for (Changes { rows, files }, bytes) in self.waiting.drain(..transactions.len().min(self.waiting.len())) {
            self.applied.transactions += 1;
            self.applied.rows += rows;
            self.applied.files += files;
            self.bytes -= bytes;
        }
        self.applied.transaction = transactions.pop().or(self.applied.transaction.take());
        self.applied.position = Some(position);
    }

    /// Waits for all that was given; what was applied, and why no more was.
    pub(super) fn end(mut self) -> (Applied, Result<()>) {
        while !self.waiting.is_empty() {
            if let Err(fault) = self.wait() {
                return (self.applied, Err(fault));
            }
        }
        (self.applied, Ok(()))
    }
}
