//! Following what is written, over connections that are lost.
//!
//! Owns a connection, and the lines of the transaction that is coming. Invariant: each transaction is given once and whole, in the node's
//! order; after a connection was lost the next one goes on from the position of the last transaction that was given.

use std::collections::VecDeque;
use std::time::Duration;

use serde::Deserialize;
use serde_json::Value;
use syncline_base::Kind;
use tokio_stream::StreamExt as _;

use super::Live;
use crate::client::{self, Streaming};
use crate::v1::WatchReply;
use crate::{Error, Result, status};

/// How long is waited before the first try to connect again, and before each of the later ones.
const PAUSE: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(5));

/// Where to begin.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Since {
    /// With what is written from now on.
    Now,
    /// With all rows that are there, which come as one transaction, and then what is written.
    Start,
    /// With what comes after a position: of a transaction that was seen, of a read, or of a write.
    Position(String),
}

/// A row that was written or deleted.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Change {
    /// Its table.
    pub table: String,
    /// Its key, an object.
    pub key: Value,
    /// The row as it was written; none when it was deleted.
    #[serde(default)]
    pub row: Option<Value>,
}

/// A transaction that was written, or the rows that were there at the beginning.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Transaction {
    /// Its identity; none when it stands for several, or for the rows that were there.
    pub transaction: Option<String>,
    /// What it wrote.
    pub changes: Vec<Change>,
    /// Where to go on after it, also after this program was ended: keep it with what you made of the changes.
    pub position: String,
    /// Tables of which all rows are among the changes: what is not is not there any more. Only when the node does not know what happened
    /// since the position one by one.
    pub whole: Vec<String>,
}

/// Transactions as they are written. Waits for the next one for ever, and connects again when the node cannot be reached; an error is the
/// end.
#[derive(Debug)]
pub struct Watch<'a> {
    live: &'a Live,
    table: Option<String>,
    from: Since,
    stream: Option<Streaming<WatchReply>>,
    /// Whether there ever was a connection.
    met: bool,
    pause: Duration,
    text: Vec<u8>,
    changes: Vec<Change>,
    ready: VecDeque<Transaction>,
    ended: bool,
}

/// The parts of a line that say what it is.
#[derive(Deserialize)]
struct End {
    op: String,
    #[serde(default)]
    transaction: Option<String>,
    #[serde(default)]
    position: String,
    #[serde(default)]
    tables: Vec<String>,
}

impl<'a> Watch<'a> {
    pub(super) fn new(live: &'a Live, table: Option<&str>, from: Since) -> Self {
        Self {
            live,
            table: table.map(str::to_owned),
            from,
            stream: None,
            met: false,
            pause: PAUSE.0,
            text: Vec::new(),
            changes: Vec::new(),
            ready: VecDeque::new(),
            ended: false,
        }
    }

    fn request(&self) -> String {
        let mut request = serde_json::Map::new();
        request.extend(self.table.clone().map(|table| ("table".to_owned(), table.into())));
        let from = match &self.from {
            Since::Now => None,
            Since::Start => Some("start"),
            Since::Position(position) => Some(&position[..]),
        };
        request.extend(from.map(|from| ("from".to_owned(), from.into())));
        Value::Object(request).to_string()
    }

    /// Takes what comes next of the connection, which is made if there is none.
    fn step(&mut self) -> Result<()> {
        let (client, options) = (&self.live.client, &self.live.options);
        let peer = client.target().peer();
        let request = self.request();
        let stream = match &mut self.stream {
            Some(stream) => stream,
            none => none.insert(client.block_on(client::watch(client.target(), options, &request))?),
        };
        // What is silent for too long is lost: an idle node gives signs of life.
        let next = client.block_on(async { tokio::time::timeout(options.limits.stall, stream.next()).await });
        let reply = match next {
            Err(_) => {
                return Err(Error::Stalled { peer, what: "sent nothing", seconds: options.limits.stall.as_secs() });
            }
            Ok(None) => return Err(Error::Closed { peer }),
            Ok(Some(reply)) => reply.map_err(|fault| status::from_grpc(&peer, &fault))?,
        };
        (self.met, self.pause) = (true, PAUSE.0);
        self.text.extend_from_slice(&reply.lines);
        let Some(end) = self.text.iter().rposition(|byte| *byte == b'\n') else { return Ok(()) };
        let rest = self.text.split_off(end + 1);
        let lines = std::mem::replace(&mut self.text, rest);
        lines.split(|byte| *byte == b'\n').filter(|line| !line.is_empty()).try_for_each(|line| self.line(line))
    }

    fn line(&mut self, line: &[u8]) -> Result<()> {
        let odd = |error: serde_json::Error| self.live.odd("watch", &error.to_string());
        let End { op, transaction, position, tables } = serde_json::from_slice(line).map_err(odd)?;
        match &op[..] {
            "set" | "delete" => self.changes.push(serde_json::from_slice(line).map_err(odd)?),
            _ => {
                self.from = Since::Position(position.clone());
                let changes = std::mem::take(&mut self.changes);
                if op != "begin" {
                    self.ready.push_back(Transaction { transaction, changes, position, whole: tables });
                }
            }
        }
        Ok(())
    }

    /// Waits before the next try, and forgets what came of a transaction.
    fn again(&mut self) {
        self.stream = None;
        self.text.clear();
        self.changes.clear();
        self.live.options.clock.sleep(self.pause);
        self.pause = (self.pause * 2).min(PAUSE.1);
    }
}

impl Iterator for Watch<'_> {
    type Item = Result<Transaction>;

    fn next(&mut self) -> Option<Self::Item> {
        while self.ready.is_empty() && !self.ended {
            match self.step() {
                Ok(()) => {}
                // Where nobody has ever answered, nobody is.
                Err(error) if self.met && error.kind() == Kind::Unavailable => self.again(),
                Err(error) => {
                    self.ended = true;
                    return Some(Err(error));
                }
            }
        }
        self.ready.pop_front().map(Ok)
    }
}
