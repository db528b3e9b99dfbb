//! A node with a disk and a mailbox, driven by hand.

use std::sync::Arc;

use bytes::Bytes;
use syncline_base::rng::Rng;
use syncline_base::sign::KeyPair;

use super::super::*;
use crate::error::Result;

/// A node, its log, and what it wanted done.
#[derive(Debug)]
pub(super) struct Shell {
    pub(super) node: Node,
    pub(super) log: Vec<Bytes>,
    /// How many of the records are durable.
    pub(super) durable: usize,
    pub(super) sent: Vec<(PeerId, Message)>,
    pub(super) committed: Vec<(u64, Dot)>,
    pub(super) renamed: usize,
    pub(super) rewritten: Vec<Dot>,
    pub(super) denied: Vec<(Dot, Denial)>,
    pub(super) doubted: Vec<(Origin, u64, Denial)>,
    pub(super) contradicted: Vec<Arc<Head>>,
}

impl Shell {
    pub(super) fn around(node: Node, log: Vec<Bytes>) -> Self {
        let durable = log.len();
        let (sent, committed, rewritten) = (Vec::new(), Vec::new(), Vec::new());
        let (denied, doubted, contradicted) = (Vec::new(), Vec::new(), Vec::new());
        let mut shell =
            Self { node, log, durable, sent, committed, renamed: 0, rewritten, denied, doubted, contradicted };
        shell.sync();
        shell.renamed = 0;
        shell
    }

    pub(super) fn create(hub: bool, seed: u8) -> Self {
        Self::around(Node::create(config(seed), hub), Vec::new())
    }

    /// A node from what is durable of this one's log.
    pub(super) fn reopened(&self, seed: u8) -> Self {
        let log = self.log[..self.durable].to_vec();
        Self::around(Node::open(self.config(seed), records(&log), false).unwrap(), log)
    }

    /// With this one's key, and other chances.
    pub(super) fn config(&self, seed: u8) -> Config {
        Config { signer: self.node.signer(), ..config(seed) }
    }

    /// Does what the node wants done, but for making it durable.
    pub(super) fn absorb(&mut self) {
        for output in self.node.outputs() {
            match output {
                Output::Append(record) => self.log.push(record.encode()),
                Output::Send(peer, message) => self.sent.push((peer, message)),
                Output::Committed(ticket, dot) => self.committed.push((ticket, dot)),
                Output::Renamed(_) => self.renamed += 1,
                Output::Denied(_, dot, why) => self.denied.push((dot, why)),
                Output::Doubted(_, dot, why) => self.doubted.push((dot.origin, dot.seq, why)),
                Output::Contradicted(_, head) => self.contradicted.push(head),
                Output::Rewritten(pairs) => self.rewritten.extend(pairs.iter().map(|(_, new)| new.dot())),
            }
        }
    }

    pub(super) fn sync(&mut self) {
        self.absorb();
        while self.durable < self.log.len() {
            let records = self.log.len() - self.durable;
            self.durable = self.log.len();
            self.node.synced(records as u64);
            self.absorb();
        }
    }

    /// Writes what is set, or deletes, having read `read`.
    pub(super) fn put(&mut self, now_ms: u64, read: Context, value: Option<&'static str>) -> Dot {
        let write = Write { row: key(), value: value.map(|text| Bytes::from_static(text.as_bytes())) };
        let dot = self.node.commit(now_ms, now_ms, read, vec![write]).unwrap();
        self.absorb();
        dot
    }

    /// Writes these, having read everything.
    pub(super) fn put_all(&mut self, now_ms: u64, writes: Vec<Write>) -> Dot {
        let read = self.node.context();
        self.node.commit(now_ms, now_ms, read, writes).unwrap()
    }

    /// The same at once durable, by somebody who has read everything.
    pub(super) fn write(&mut self, now_ms: u64, value: &'static str) -> Dot {
        let dot = self.put(now_ms, self.node.context(), Some(value));
        self.sync();
        dot
    }

    /// The values of the row's siblings, sorted.
    pub(super) fn values(&self) -> Vec<String> {
        let row = self.node.view(&key());
        let mut values: Vec<String> = row.siblings().iter().map(|sibling| text(&sibling.value)).collect();
        values.sort();
        values
    }

    pub(super) fn visible(&self) -> Option<String> {
        self.node.view(&key()).visible(Zoo::none()).map(|sibling| text(&sibling.value))
    }
}

pub(super) fn config(seed: u8) -> Config {
    config_with(seed, Limits::default())
}

pub(super) fn config_with(seed: u8, limits: Limits) -> Config {
    Config {
        signer: Arc::new(KeyPair::of(&[seed; 32])),
        rng: Rng::from_seed(u64::from(seed)),
        limits,
        runs: None,
        damaged: false,
        zoo: Zoo::none(),
    }
}

pub(super) fn records(log: &[Bytes]) -> impl Iterator<Item = Result<Record>> {
    log.iter().flat_map(|bytes| match Record::decode(bytes.clone()) {
        Ok(records) => records.into_iter().map(Ok).collect(),
        Err(error) => vec![Err(error)],
    })
}

/// One record that lies alone.
pub(super) fn alone(bytes: Bytes) -> Result<Record> {
    let mut records = Record::decode(bytes)?;
    let record = records.remove(0);
    assert!(records.is_empty(), "{records:?}");
    Ok(record)
}

pub(super) fn key() -> RowKey {
    RowKey { table: "t".into(), key: Bytes::from_static(b"k") }
}

pub(super) fn text(value: &Bytes) -> String {
    String::from_utf8(value.to_vec()).unwrap()
}

/// Connects two nodes; each calls the other by its place.
pub(super) fn connect(shells: &mut [Shell], a: usize, b: usize) {
    shells[a].node.connected(b as PeerId);
    shells[b].node.connected(a as PeerId);
}

pub(super) fn disconnect(shells: &mut [Shell], a: usize, b: usize) {
    shells[a].node.disconnected(b as PeerId);
    shells[b].node.disconnected(a as PeerId);
}

/// Syncs and delivers, as bytes, until nobody has anything to say. Returns what was said: from, to, what.
pub(super) fn settle(shells: &mut [Shell], now_ms: u64) -> Vec<(usize, usize, Message)> {
    let mut said = Vec::new();
    loop {
        shells.iter_mut().for_each(Shell::sync);
        let mut sent = Vec::new();
        for (from, shell) in shells.iter_mut().enumerate() {
            sent.extend(shell.sent.drain(..).map(|(to, message)| (from, to as usize, message)));
        }
        if sent.is_empty() {
            return said;
        }
        for (from, to, message) in &sent {
            let message = Message::decode(message.encode()).unwrap();
            shells[*to].node.receive(now_ms, *from as PeerId, message);
        }
        said.append(&mut sent);
        assert!(said.len() < 1000, "they never stop talking");
    }
}

pub(super) fn one_root(shells: &[Shell]) {
    for shell in shells {
        assert_eq!(shell.node.state().root(), shells[0].node.state().root());
        assert_eq!(shell.node.state().coverage(), shells[0].node.state().coverage());
        assert_eq!(shell.node.state().pending().len(), 0);
    }
}

/// A hub and two spokes, connected to it.
pub(super) fn mesh() -> Vec<Shell> {
    let mut shells = vec![Shell::create(true, 1), Shell::create(false, 2), Shell::create(false, 3)];
    connect(&mut shells, 0, 1);
    connect(&mut shells, 0, 2);
    settle(&mut shells, 1_000);
    shells
}
