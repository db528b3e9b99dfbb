//! Replicas without a disk, each on a connection of its own to a hub.
//!
//! They say what replicas say, and hold nothing: what comes counts as durable at once, rows are not kept, signatures are not looked at, and
//! what comes to all is read once. So thousands fit on one machine, and measure the hub: what they would do is done on thousands of machines.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use syncline_api::client::{self, Options};
use syncline_api::v1::ClientMessage;
use syncline_api::{Target, status};
use syncline_base::rng::Rng;
use syncline_node::sync::live::{Coverage, Entry, Message, Origin, Within};
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio_stream::StreamExt as _;
use tokio_stream::wrappers::UnboundedReceiverStream;

use super::live::mark;
use super::samples::Moment;
use crate::fault::Result;

/// So many connections are opened at once.
const AT_ONCE: usize = 64;
/// So many of the last messages are known.
const LAST: usize = 8;

/// Replicas that follow one hub.
pub(super) struct Crowd {
    members: JoinSet<Result<()>>,
    seen: Arc<Seen>,
    count: usize,
}

/// When they saw what.
#[derive(Default)]
struct Seen {
    begin: OnceLock<Moment>,
    took: Mutex<Vec<Duration>>,
    last: Mutex<VecDeque<(Bytes, Arc<Message>)>>,
}

impl Crowd {
    /// Connects so many, and returns when each has what the hub has.
    pub(super) async fn join(hub: &Target, options: &Options, count: usize) -> Result<Self> {
        let mut crowd = Self { members: JoinSet::new(), seen: Arc::default(), count };
        let (tell, mut told) = mpsc::unbounded_channel();
        for nth in 0..count {
            let (hub, options) = (hub.clone(), options.clone());
            let (seen, tell) = (Arc::clone(&crowd.seen), tell.clone());
            crowd.members.spawn(async move { member(&hub, &options, &seen, tell).await });
            if nth % AT_ONCE == AT_ONCE - 1 {
                crowd.met(&mut told, AT_ONCE).await?;
            }
        }
        crowd.met(&mut told, count % AT_ONCE).await?;
        Ok(crowd)
    }

    /// Waits until so many more have been answered.
    async fn met(&mut self, told: &mut mpsc::UnboundedReceiver<()>, count: usize) -> Result<()> {
        for _ in 0..count {
            tokio::select! {
                _ = told.recv() => {}
                Some(ended) = self.members.join_next() => {
                    ended.map_err(anyhow::Error::from)??;
                    return Err(anyhow::anyhow!("a replica of the crowd has left").into());
                }
            }
        }
        Ok(())
    }

    /// From here on what is seen counts.
    pub(super) fn begin(&self, begin: Moment) {
        // Nobody begins twice.
        let _ = self.seen.begin.set(begin);
    }

    /// How long each of so many transactions took to each replica.
    pub(super) async fn took(mut self, transactions: u64, patience: Duration) -> Result<Vec<Duration>> {
        let begin = Moment::now();
        loop {
            let have = self.seen.took.lock().unwrap_or_else(PoisonError::into_inner).len() as u64;
            if have >= transactions * self.count as u64 {
                break;
            }
            if begin.elapsed() > patience {
                let all = transactions * self.count as u64;
                return Err(anyhow::anyhow!("{have} of {all} came to the replicas of the crowd").into());
            }
            if let Some(Ok(Err(fault))) = self.members.try_join_next() {
                return Err(fault.after("a replica of the crowd has left"));
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        Ok(std::mem::take(&mut *self.seen.took.lock().unwrap_or_else(PoisonError::into_inner)))
    }
}

/// One replica, as long as the hub keeps the connection.
async fn member(hub: &Target, options: &Options, seen: &Seen, tell: mpsc::UnboundedSender<()>) -> Result<()> {
    let (sender, messages) = mpsc::unbounded_channel();
    // The first message says which dataset is meant.
    let first = tokio_stream::once(ClientMessage::default());
    let rest = UnboundedReceiverStream::new(messages).map(|body| ClientMessage { body, ..ClientMessage::default() });
    let mut inbound = client::replicate(hub, options, first.chain(rest)).await?;
    let mut rng = Rng::from_os();
    let mut name = [0; 16];
    rng.fill(&mut name[..8]);
    rng.fill(&mut name[8..]);
    let mut member = Member { name: Origin::from_bytes(name), has: None, digest: 0, tell: Some(tell) };
    loop {
        let Some(reply) = inbound.next().await else {
            return Err(syncline_api::Error::Closed { peer: hub.peer() }.into());
        };
        let body = reply.map_err(|fault| status::from_grpc(&hub.peer(), &fault))?.body;
        if body.is_empty() {
            continue;
        }
        if let Some(answer) = member.hears(body, seen)? {
            // It is told when the connection is read.
            let _ = sender.send(answer.encode());
        }
    }
}

/// What a replica knows of itself: what it has, and which signed heads.
struct Member {
    name: Origin,
    /// What the hub had when they met, and what has come since; `None` before.
    has: Option<Coverage>,
    digest: u64,
    tell: Option<mpsc::UnboundedSender<()>>,
}

impl Member {
    /// What it answers.
    fn hears(&mut self, body: Bytes, seen: &Seen) -> Result<Option<Message>> {
        let told = seen.read(body)?;
        Ok(match &*told {
            // It has what the hub has: rows that were there before are not what is measured.
            Message::Hello { coverage, heads, .. } if self.has.is_none() => {
                (self.has, self.digest) = (Some(coverage.clone()), *heads);
                Some(self.hello())
            }
            Message::Ask => Some(self.hello()),
            Message::Entries { through, entries } => {
                let has = self.has.get_or_insert_default();
                entries.iter().for_each(|entry| has.raise(entry.stamp.hub, entry.stamp.n));
                seen.note(entries);
                Some(Message::Here(*through))
            }
            Message::Part { through, .. } | Message::Close { through, .. } => Some(Message::Here(*through)),
            _ => None,
        })
        .inspect(|_| {
            if let Some(tell) = self.tell.take() {
                // Nobody waits any more when the measurement has failed.
                let _ = tell.send(());
            }
        })
    }

    fn hello(&self) -> Message {
        Message::Hello {
            name: self.name,
            hub: false,
            coverage: self.has.clone().unwrap_or_default(),
            newest: None,
            parts: None,
            heads: self.digest,
            within: Within::default(),
        }
    }
}

impl Seen {
    /// What a message says. Most of them come to all, one after another: they are read once.
    fn read(&self, body: Bytes) -> Result<Arc<Message>> {
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((_, message)) = last.iter().find(|(bytes, _)| *bytes == body) {
            return Ok(Arc::clone(message));
        }
        let message = Arc::new(Message::decode(body.clone()).map_err(syncline_node::Error::from)?);
        if last.len() == LAST {
            last.pop_back();
        }
        last.push_front((body, Arc::clone(&message)));
        Ok(message)
    }

    /// When somebody has these.
    fn note(&self, entries: &[Arc<Entry>]) {
        let Some(begin) = self.begin.get() else { return };
        let writes = entries.iter().flat_map(|entry| &entry.txn.body().writes);
        let marks = writes.filter_map(|write| mark(write.value.as_deref()?));
        let now = begin.elapsed();
        let mut took = self.took.lock().unwrap_or_else(PoisonError::into_inner);
        took.extend(marks.map(|mark| now.saturating_sub(Duration::from_micros(mark))));
    }
}
