//! The way to another node that a transaction takes when its tables are certified there: the `Write` call, one transaction at a time on each
//! stream.
//!
//! Owns: streams that wait for the next transaction. After a crash: nothing is left of them; the node writes what has come whole.
//!
//! Invariant: what is on its way was given to a stream that had been answered, so a failure before that means that nothing was written.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use syncline_api::client::{self, Client, Options, Reply, Streaming};
use syncline_api::v1::{WriteReply, WriteRequest};
use syncline_api::{Target, status};
use syncline_base::Kind;
use syncline_node::live::engine::{Answer, Lost, Way};
use syncline_node::ops::reach;
use tokio::runtime::Handle;
use tokio::sync::mpsc;
use tokio_stream::StreamExt as _;
use tokio_stream::wrappers::UnboundedReceiverStream;

/// So many streams are kept when nobody needs them.
const KEPT: usize = 16;

/// A node that is connected to, and may certify, or know who does.
pub(crate) struct Certifying {
    url: String,
    target: Target,
    options: Options,
    runtime: Handle,
    idle: Mutex<Vec<Stream>>,
    /// For questions.
    client: Mutex<Option<Arc<Client>>>,
}

impl std::fmt::Debug for Certifying {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        // Never the token.
        f.debug_struct("Certifying").field("url", &self.url).finish_non_exhaustive()
    }
}

struct Stream {
    sender: mpsc::UnboundedSender<WriteRequest>,
    replies: Streaming<WriteReply>,
}

impl Stream {
    /// Whether it has not ended, as far as is known now.
    async fn is_open(&mut self) -> bool {
        tokio::select! {
            biased;
            ended = self.replies.next() => matches!(ended, Some(Ok(_))),
            () = std::future::ready(()) => true,
        }
    }
}

/// Why a stream gave no answer, and whether the transaction may have been written.
type Failed = (syncline_api::Error, bool);

impl Certifying {
    pub(crate) fn new(target: Target, options: Options, runtime: Handle) -> Self {
        Self { url: target.to_string(), target, options, runtime, idle: Mutex::default(), client: Mutex::default() }
    }

    fn client(&self) -> std::sync::MutexGuard<'_, Option<Arc<Client>>> {
        self.client.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn open(&self) -> Result<Stream, Failed> {
        let (sender, messages) = mpsc::unbounded_channel();
        let stream = UnboundedReceiverStream::new(messages);
        let replies = client::write(&self.target, &self.options, "", stream).await.map_err(|error| (error, false))?;
        Ok(Stream { sender, replies })
    }

    async fn ask(&self, stream: &mut Stream, changes: Bytes) -> Result<Answer, Failed> {
        let peer = self.target.peer();
        let closed = || (syncline_api::Error::Closed { peer: peer.clone() }, true);
        if !client::pieces(changes).all(|piece| stream.sender.send(piece).is_ok()) {
            return Err(closed());
        }
        loop {
            let reply = stream.replies.next().await.ok_or_else(closed)?;
            let reply = reply.map_err(|fault| (status::from_grpc(&peer, &fault), true))?;
            // Else a sign of life.
            if let Some(transaction) = reply.transactions.into_iter().next() {
                return Ok(Answer { transaction, read: Some(reply.read).filter(|read| !read.is_empty()) });
            }
        }
    }

    fn idle(&self) -> std::sync::MutexGuard<'_, Vec<Stream>> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn write(&self, changes: &Bytes) -> Result<Answer, Failed> {
        let mut stream = loop {
            let idle = self.idle().pop();
            let Some(mut stream) = idle else { break self.open().await? };
            // One whose node has gone is known to be of no use before anything is given to it.
            if stream.is_open().await {
                break stream;
            }
        };
        let answer = self.ask(&mut stream, changes.clone()).await?;
        let mut idle = self.idle();
        if idle.len() < KEPT {
            idle.push(stream);
        }
        Ok(answer)
    }
}

impl Way for Certifying {
    fn url(&self) -> &str {
        &self.url
    }

    fn write(&self, changes: &Bytes, patience: Duration) -> Result<Answer, Lost> {
        let written = self.runtime.block_on(async { tokio::time::timeout(patience, self.write(changes)).await });
        match written {
            Ok(Ok(answer)) => Ok(answer),
            Ok(Err((error, maybe))) => {
                if error.kind() == Kind::Unavailable {
                    // Others are of the same connection, or older.
                    self.idle().clear();
                }
                Err(Lost { error: fault(error.kind(), &self.url, error.to_string()), maybe })
            }
            Err(_) => {
                let why = format!("no answer came within {} ms", patience.as_millis());
                Err(Lost { error: fault(Kind::Unavailable, &self.url, why), maybe: true })
            }
        }
    }

    fn reach(&self, request: &reach::Request) -> syncline_node::Result<reach::Report> {
        let refused = |error: syncline_api::Error| fault(error.kind(), &self.url, error.to_string());
        let odd = |error: serde_json::Error| {
            fault(Kind::Unavailable, &self.url, format!("its answer cannot be read: {error}"))
        };
        let kept = self.client().clone();
        let client = match kept {
            Some(client) => client,
            None => {
                let made = Client::connect(self.target.clone(), self.options.clone()).map_err(refused)?;
                Arc::clone(self.client().insert(Arc::new(made)))
            }
        };
        let (mut report, request) = (String::new(), serde_json::to_string(request).map_err(odd)?);
        let answered = client.call(&self.target.dataset, "reach", &request, None, &mut |reply| {
            if let Reply::Report(json) = reply {
                report = json;
            }
            Ok(())
        });
        if let Err(error) = answered {
            if error.kind() == Kind::Unavailable {
                *self.client() = None;
            }
            return Err(refused(error));
        }
        serde_json::from_str(&report).map_err(odd)
    }
}

/// What another node said, as this one says it.
fn fault(kind: Kind, url: &str, why: String) -> syncline_node::Error {
    use syncline_node::Error;
    let what = format!("asking {url}, which certifies or knows who does");
    match kind {
        Kind::Invalid => Error::Invalid { what, why },
        Kind::NotFound => Error::NotFound { what, why },
        Kind::Conflict => Error::Conflict { what, why },
        Kind::Denied => Error::Denied { what, why },
        Kind::Corrupt => Error::Corrupt { what, why },
        Kind::Stale => Error::Stale { what, why },
        Kind::Unavailable => Error::Unavailable { what, why },
    }
}
