//! Live tables over the network: writers who wait for each transaction, and how long until a reader elsewhere sees one.
//!
//! Owns: the rows of one table, which are deleted at the end.

use std::fmt::Write as _;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use anyhow::Context as _;
use bytes::Bytes;
use syncline_api::client::Streaming;
use syncline_api::client::{self, Client, Options};
use syncline_api::v1::{WatchReply, WriteReply, WriteRequest};
use syncline_api::{Target, status};
use syncline_base::{Clock as _, Kind as FaultKind, SystemClock, task};
use syncline_node::ops::put;
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio_stream::StreamExt as _;
use tokio_stream::wrappers::UnboundedReceiverStream;

use super::crowd::Crowd;
use super::samples::{Moment, Step};
use crate::context::{Context, call};
use crate::fault::{Fault, Result};

/// The table that is written to.
pub(super) const TABLE: &str = "syncline_bench";
/// Rows have so many keys; they are written again and again.
pub(super) const KEYS: u64 = 100_000;
/// Transactions that are made beforehand take about so much memory.
const PREPARED_BYTES: u64 = 256 << 20;
/// What rows are filled up with.
const PAD: &str = "0123456789abcdef";
/// How long a reader may take to see what was written last.
const PATIENCE: Duration = Duration::from_secs(30);

/// What is measured.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(super) enum Kind {
    /// The log in this process, without a network.
    Embedded,
    /// One writer.
    One,
    /// Many writers.
    Many,
    /// Large transactions.
    Batch,
    /// The way to a reader.
    Visible,
    /// A replica that has missed transactions.
    CatchUp,
    /// A large replica that was away.
    Rejoin,
    /// Hubs that were cut off from each other.
    Heal,
    /// The hub's memory with replicas that are connected.
    Idle,
}

/// How much.
#[derive(Debug, Clone, Copy)]
pub(super) struct Sizes {
    pub writers: usize,
    pub rows: usize,
    pub bytes: usize,
    pub rate: u64,
    pub time: Duration,
    pub spokes: usize,
    pub missed: u64,
    pub held: u64,
    pub changed: u64,
    pub hubs: usize,
    pub conflicts: u64,
    pub idle: usize,
}

/// A deployment that is measured.
#[derive(Debug)]
pub(super) struct Bench {
    pub hub: Target,
    pub reader: Target,
    pub options: Options,
    pub sizes: Sizes,
}

/// How the table is made.
pub(super) fn table() -> put::Request {
    put::Request { table: TABLE.to_owned(), key: Some(vec!["id".to_owned()]), ..put::Request::default() }
}

/// A row as `put` takes it.
pub(super) fn plain_row(bytes: usize) -> Vec<u8> {
    let mut text = String::new();
    row(&mut text, 0, bytes, None);
    text.into_bytes()
}

/// A transaction of rows from `first` on, as `apply` takes it.
pub(super) fn changes(first: u64, rows: usize, bytes: usize, mark: Option<u64>) -> String {
    let mut text = String::with_capacity(rows * (bytes + 100));
    for nth in first..first + rows as u64 {
        change(&mut text, nth % KEYS, bytes, mark);
    }
    text
}

/// Transactions that are made before the clock runs: what makes them is no part of what is measured.
#[derive(Debug)]
pub(super) struct Prepared(Vec<Bytes>);

impl Prepared {
    /// Transactions of so many rows, all keys once; as many as go into bounded memory, but more than are under way at once.
    pub(super) fn new(rows: usize, bytes: usize, writers: usize) -> Self {
        let count = Self::count(rows as u64, bytes as u64, writers as u64);
        Self((0..count).map(|nth| changes(nth * rows as u64, rows, bytes, None).into()).collect())
    }

    fn count(rows: u64, bytes: u64, writers: u64) -> u64 {
        let fit = PREPARED_BYTES / rows.saturating_mul(bytes + 100).max(1);
        KEYS.div_ceil(rows).min(fit).max(2 * writers)
    }

    /// The `nth` of them, from the first on again after the last.
    pub(super) fn get(&self, nth: u64) -> &Bytes {
        &self.0[(nth % self.0.len() as u64) as usize]
    }
}

/// A row with a key of its own, as `apply` takes it.
pub(super) fn change(text: &mut String, id: u64, bytes: usize, mark: Option<u64>) {
    let _ = write!(text, "{{\"op\":\"set\",\"table\":\"{TABLE}\",\"row\":");
    row(text, id, bytes, mark);
    text.push_str("}\n");
}

fn row(text: &mut String, id: u64, bytes: usize, mark: Option<u64>) {
    let _ = write!(text, "{{\"id\":{id},\"mark\":\"@{}@\",\"pad\":\"{id}", mark.unwrap_or(0));
    // What a row is beside that.
    text.extend(std::iter::repeat_n(PAD, bytes.saturating_sub(34) / PAD.len()));
    text.push_str("\"}");
}

/// The mark in a row, wherever it stands; 0 is none.
pub(super) fn mark(text: &[u8]) -> Option<u64> {
    let from = text.iter().position(|byte| *byte == b'@')? + 1;
    let len = text[from..].iter().position(|byte| *byte == b'@')?;
    std::str::from_utf8(&text[from..from + len]).ok()?.parse().ok().filter(|mark| *mark > 0)
}

/// What drives clients: one thread, for the nodes need the others.
pub(super) fn runtime() -> Result<tokio::runtime::Runtime> {
    let mut one = tokio::runtime::Builder::new_multi_thread();
    Ok(one.worker_threads(1).enable_all().build().context("starting the clients")?)
}

impl Kind {
    /// Whether it is measured on nodes that are made for it, on this machine.
    pub(super) const fn is_local(self) -> bool {
        matches!(self, Self::Embedded | Self::CatchUp | Self::Rejoin | Self::Heal | Self::Idle)
    }
}

impl Bench {
    /// Measures what is wanted.
    pub(super) fn run(&self, context: &Context, wanted: &dyn Fn(Kind) -> bool) -> Result<Vec<Step>> {
        let client = Client::connect(self.hub.clone(), self.options.clone())?;
        let first = plain_row(self.sizes.bytes);
        let progress = context.progress();
        call::<_, put::Report>(&client, "put", &table(), Some(&mut &first[..]), &mut std::io::sink(), &*progress)?;
        drop(client);
        let runtime = runtime()?;
        let steps = runtime.block_on(self.measure(wanted));
        let deleted = runtime.block_on(self.delete());
        let steps = steps?;
        deleted?;
        Ok(steps)
    }

    async fn measure(&self, wanted: &dyn Fn(Kind) -> bool) -> Result<Vec<Step>> {
        let (sizes, mut steps) = (&self.sizes, Vec::new());
        if wanted(Kind::One) {
            steps.push(self.writers("1 writer".to_owned(), 1, 1).await?);
        }
        if wanted(Kind::Many) {
            steps.push(self.writers(format!("{} writers", sizes.writers), sizes.writers, 1).await?);
        }
        if wanted(Kind::Batch) {
            steps.push(self.writers(format!("{} rows each", sizes.rows), 2, sizes.rows).await?);
        }
        if wanted(Kind::Visible) {
            let crowd = Crowd::join(&self.hub, &self.options, sizes.spokes).await?;
            steps.extend(self.visible(crowd).await?);
        }
        Ok(steps)
    }

    /// Writers on connections of their own, each its next transaction when the one before is durable.
    async fn writers(&self, name: String, writers: usize, rows: usize) -> Result<Step> {
        let next = Arc::new(AtomicU64::new(0));
        let mut all = JoinSet::new();
        let mut open = Vec::new();
        for _ in 0..writers {
            open.push(Writer::open(&self.hub, &self.options).await?);
        }
        let (begin, sizes) = (Moment::now(), self.sizes);
        for mut writer in open {
            let next = Arc::clone(&next);
            all.spawn(async move {
                let mut took = Vec::new();
                while begin.elapsed() < sizes.time {
                    let first = next.fetch_add(rows as u64, Ordering::Relaxed);
                    let at = Moment::now();
                    writer.write(changes(first, rows, sizes.bytes, None)).await?;
                    took.push(at.elapsed());
                }
                Ok::<_, Fault>(took)
            });
        }
        let mut took = Vec::new();
        while let Some(ended) = all.join_next().await {
            took.extend(ended.context("a writer failed")??);
        }
        Ok(Step::new(name, rows as u64, begin.elapsed(), took))
    }

    /// Single rows at an even rate, and when a reader and the crowd have them.
    async fn visible(&self, crowd: Crowd) -> Result<Vec<Step>> {
        let sizes = self.sizes;
        let mut lines = self.watch().await?;
        let begin = Moment::now();
        let since = move || (begin.elapsed().as_micros() as u64).max(1);
        crowd.begin(begin);
        let count = (sizes.time.as_secs_f64() * sizes.rate as f64) as u64;
        let peer = self.reader.peer();
        let reading = tokio::spawn(async move {
            let mut took = Vec::new();
            while (took.len() as u64) < count {
                let Some(reply) = lines.next().await else {
                    return Err(syncline_api::Error::Closed { peer }.into());
                };
                let reply = reply.map_err(|fault| status::from_grpc(&peer, &fault))?;
                let now = since();
                let marks = reply.lines.split(|byte| *byte == b'\n').filter_map(mark);
                took.extend(marks.map(|mark| Duration::from_micros(now.saturating_sub(mark))));
            }
            Ok::<_, Fault>(took)
        });
        let mut writer = Writer::open(&self.hub, &self.options).await?;
        let sender = writer.sender.clone();
        // A thread of its own: timers of the runtime are a millisecond wide.
        let pace = task::spawn("syncline-pace", move || {
            for nth in 0..count {
                let due = Duration::from_secs_f64(nth as f64 / sizes.rate as f64);
                SystemClock.sleep(due.saturating_sub(begin.elapsed()));
                let text = changes(nth, 1, sizes.bytes, Some(since()));
                if client::pieces(text.into()).any(|piece| sender.send(piece).is_err()) {
                    break;
                }
            }
        });
        let pace = pace.context("starting the thread that paces the writer")?;
        writer.drained(count).await?;
        // An idle watch is not silent, so it is the whole that is waited for.
        let took = tokio::time::timeout(PATIENCE, reading).await.context("the reader does not see what was written")?;
        let took = took.context("the reader failed")??;
        let time = begin.elapsed();
        if pace.join().is_err() {
            return Err(anyhow::anyhow!("the thread that paces the writer failed").into());
        }
        let mut steps = vec![Step::new(format!("seen by a reader, {}/s", sizes.rate), 1, time, took)];
        if sizes.spokes > 0 {
            let took = crowd.took(count, PATIENCE).await?;
            steps.push(Step::new(format!("seen by {} replicas", sizes.spokes), 1, time, took));
        }
        Ok(steps)
    }

    /// Follows the table at the reader, once it is there.
    async fn watch(&self) -> Result<Streaming<WatchReply>> {
        let (begin, request) = (Moment::now(), format!("{{\"table\":\"{TABLE}\"}}"));
        loop {
            let mut lines = client::watch(&self.reader, &self.options, &request).await?;
            // The first reply says where it begins.
            let fault = match lines.next().await {
                Some(Ok(_)) => return Ok(lines),
                Some(Err(fault)) => status::from_grpc(&self.reader.peer(), &fault),
                None => syncline_api::Error::Closed { peer: self.reader.peer() },
            };
            if fault.kind() != FaultKind::NotFound || begin.elapsed() > PATIENCE {
                return Err(fault.into());
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    async fn delete(&self) -> Result<()> {
        let mut writer = Writer::open(&self.hub, &self.options).await?;
        for first in (0..KEYS).step_by(10_000) {
            let mut text = String::new();
            for id in first..first + 10_000 {
                let _ = writeln!(text, "{{\"op\":\"delete\",\"table\":\"{TABLE}\",\"key\":{{\"id\":{id}}}}}");
            }
            writer.write(text).await?;
        }
        Ok(())
    }
}

/// One connection that writes.
pub(super) struct Writer {
    sender: mpsc::UnboundedSender<WriteRequest>,
    replies: Streaming<WriteReply>,
    peer: String,
}

impl Writer {
    pub(super) async fn open(target: &Target, options: &Options) -> Result<Self> {
        let (sender, transactions) = mpsc::unbounded_channel();
        let replies = client::write(target, options, "", UnboundedReceiverStream::new(transactions)).await?;
        Ok(Self { sender, replies, peer: target.peer() })
    }

    /// Writes a transaction and waits until it is durable.
    async fn write(&mut self, changes: String) -> Result<()> {
        if client::pieces(changes.into()).any(|piece| self.sender.send(piece).is_err()) {
            return Err(self.closed());
        }
        self.reply().await.map(|_| ())
    }

    /// Writes transactions, `deep` at a time, and waits until all are durable.
    pub(super) async fn pour(&mut self, all: impl Iterator<Item = String>, deep: u64) -> Result<()> {
        let (mut written, mut durable) = (0, 0);
        for changes in all {
            if client::pieces(changes.into()).any(|piece| self.sender.send(piece).is_err()) {
                return Err(self.closed());
            }
            written += 1;
            while written >= durable + deep {
                durable = self.reply().await?;
            }
        }
        while durable < written {
            durable = self.reply().await?;
        }
        Ok(())
    }

    /// Waits until so many are durable.
    async fn drained(&mut self, count: u64) -> Result<()> {
        while self.reply().await? < count {}
        Ok(())
    }

    fn closed(&self) -> Fault {
        syncline_api::Error::Closed { peer: self.peer.clone() }.into()
    }

    async fn reply(&mut self) -> Result<u64> {
        let next = tokio::time::timeout(PATIENCE, self.replies.next()).await;
        let next = next.with_context(|| format!("{} does not make durable what was written", self.peer))?;
        let Some(reply) = next else { return Err(self.closed()) };
        Ok(reply.map_err(|fault| status::from_grpc(&self.peer, &fault))?.durable)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn transactions_are_prepared_for_all_keys_in_bounded_memory() {
        let whole = Prepared::new(1000, 100, 2);
        assert_eq!(whole.0.len(), 100);
        assert_eq!(whole.get(105), changes(5_000, 1000, 100, None).as_bytes());
        assert_eq!(Prepared::count(100, 100_000, 2), 26);
        assert_eq!(Prepared::count(1_000, 1 << 20, 4), 8, "those under way write different rows");
    }

    #[test]
    fn a_mark_is_found_in_what_was_written() {
        let text = changes(5, 2, 100, Some(1234));
        let marks: Vec<u64> = text.lines().filter_map(|line| mark(line.as_bytes())).collect();
        assert_eq!(marks, [1234, 1234]);
        assert_eq!(mark(b"no mark"), None);
        assert_eq!(mark(b"@x@"), None);
        assert_eq!(mark(changes(5, 1, 100, None).as_bytes()), None);
        let row = plain_row(100);
        assert!((85..=115).contains(&row.len()), "{}", row.len());
    }
}
