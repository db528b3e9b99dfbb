//! Replicas without a disk: the replication core in this process, each on a connection of its own to a hub.
//!
//! What would be written to a log counts as durable at once, so that many fit on one machine: they measure the hub, not themselves.

use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use syncline_api::client::{self, Options};
use syncline_api::v1::ClientMessage;
use syncline_api::{Target, status};
use syncline_base::rng::Rng;
use syncline_base::sign::KeyPair;
use syncline_base::{Clock as _, SystemClock};
use syncline_node::sync::live::{Config, Limits, Message, Node, Output, Record, Zoo};
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio_stream::StreamExt as _;
use tokio_stream::wrappers::UnboundedReceiverStream;

use super::live::mark;
use super::samples::Moment;
use crate::fault::Result;

/// So many connections are opened at once.
const AT_ONCE: usize = 64;
/// The one connection of each.
const HUB: u64 = 1;

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
    let mut secret = [0; 32];
    rng.fill(&mut secret);
    let signer = Arc::new(KeyPair::of(&secret));
    let config = Config { signer, rng, limits: Limits::default(), runs: None, zoo: Zoo::default() };
    let mut node = Node::create(config, false);
    settle(&mut node, &sender, seen);
    node.connected(HUB);
    let mut tell = Some(tell);
    loop {
        settle(&mut node, &sender, seen);
        let Some(reply) = inbound.next().await else {
            return Err(syncline_api::Error::Closed { peer: hub.peer() }.into());
        };
        let body = reply.map_err(|fault| status::from_grpc(&hub.peer(), &fault))?.body;
        if body.is_empty() {
            continue;
        }
        node.receive(SystemClock.now_ms(), HUB, Message::decode(body).map_err(syncline_node::Error::from)?);
        if let Some(tell) = tell.take() {
            // Nobody waits any more when the measurement has failed.
            let _ = tell.send(());
        }
    }
}

/// Does what the core wants done; what it wants written is durable at once.
fn settle(node: &mut Node, sender: &mpsc::UnboundedSender<Bytes>, seen: &Seen) {
    while node.has_outputs() {
        let mut records = 0;
        for output in node.outputs() {
            match output {
                Output::Append(record) => {
                    records += 1;
                    note(&record, seen);
                }
                // It is told when the connection is read.
                Output::Send(_, message) => drop(sender.send(message.encode())),
                _ => {}
            }
        }
        node.synced(records);
    }
}

fn note(record: &Record, seen: &Seen) {
    let (Record::Entry(entry), Some(begin)) = (record, seen.begin.get()) else { return };
    let marks = entry.txn.body().writes.iter().filter_map(|write| mark(write.value.as_deref()?));
    let now = begin.elapsed();
    let mut took = seen.took.lock().unwrap_or_else(PoisonError::into_inner);
    took.extend(marks.map(|mark| now.saturating_sub(Duration::from_micros(mark))));
}
