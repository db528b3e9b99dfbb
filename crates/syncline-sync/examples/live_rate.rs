//! How fast two nodes bring each other up, in one process: what one missed, and what one wrote alone.
//!
//! `cargo run --release -p syncline-sync --example live_rate`: everything crosses as bytes, records are encoded as for a log.
#![expect(clippy::print_stdout, reason = "it tells what it measured")]

use std::sync::Arc;

use bytes::Bytes;
use syncline_base::rng::Rng;
use syncline_base::sign::KeyPair;
use syncline_base::{Clock as _, SystemClock};
use syncline_sync::live::{
    Config, Coverage, Group, Limits, Message, Node, Origin, Output, PeerId, RowKey, Within, Write, Zoo,
};

const NOW: u64 = 1_700_000_000_000;

struct Side {
    node: Node,
    sent: Vec<(PeerId, Message)>,
    group: Group,
    bytes: usize,
}

impl Side {
    fn new(hub: bool, seed: u64) -> Self {
        let config = config(seed);
        let mut side = Self { node: Node::create(config, hub), sent: Vec::new(), group: Group::default(), bytes: 0 };
        side.sync();
        side
    }

    fn sync(&mut self) {
        loop {
            for output in self.node.outputs() {
                match output {
                    Output::Append(record) => {
                        self.group.push(&record);
                    }
                    Output::Send(to, message) => self.sent.push((to, message)),
                    _ => {}
                }
            }
            let records = self.group.len();
            if records == 0 {
                return;
            }
            self.bytes += self.group.take().len();
            self.node.synced(records);
        }
    }

    fn write(&mut self, n: u64) {
        for at in 0..n {
            let row = RowKey { table: "orders".into(), key: Bytes::copy_from_slice(&(at % 50_000).to_be_bytes()) };
            let value = Some(Bytes::from(vec![at as u8; 64]));
            self.node
                .commit(NOW + at, at, self.node.context(), vec![Write { row, value }])
                .expect("it has read only here");
            if at % 64 == 0 {
                self.sync();
            }
        }
        self.sync();
    }
}

fn config(seed: u64) -> Config {
    Config {
        signer: Arc::new(KeyPair::of(&[seed as u8; 32])),
        rng: Rng::from_seed(seed),
        limits: Limits::default(),
        runs: None,
        damaged: false,
        zoo: Zoo::none(),
    }
}

fn settle(a: &mut Side, b: &mut Side) -> (usize, usize) {
    let (mut messages, mut bytes) = (0, 0);
    loop {
        a.sync();
        b.sync();
        let (from_a, from_b) = (std::mem::take(&mut a.sent), std::mem::take(&mut b.sent));
        if from_a.is_empty() && from_b.is_empty() {
            return (messages, bytes);
        }
        for (to, sent) in [(&mut *b, from_a), (&mut *a, from_b)] {
            for (_, message) in sent {
                let coded = message.encode();
                messages += 1;
                bytes += coded.len();
                to.node.receive(NOW, 0, Message::decode(coded).expect("it was just encoded"));
            }
        }
    }
}

fn main() {
    let mut args = std::env::args().skip(1).map(|arg| arg.parse::<u64>().expect("a number"));
    let (missed, waits) = (args.next().unwrap_or(100_000), args.next().unwrap_or(100_000));
    let clock = SystemClock;
    let took = |since| (clock.monotonic() - since).as_secs_f64();
    for (what, hub_writes, spoke_writes) in [("missed", missed, 0), ("waiting", 0, waits)] {
        let (mut hub, mut spoke) = (Side::new(true, 1), Side::new(false, 2));
        let begun = clock.monotonic();
        hub.write(hub_writes);
        spoke.write(spoke_writes);
        let (written, logged) = (hub_writes + spoke_writes, hub.bytes + spoke.bytes);
        println!("{what}: {written} written in {:.3} s, {logged} bytes in the log", took(begun));
        let begun = clock.monotonic();
        hub.node.connected(0);
        spoke.node.connected(0);
        let (messages, bytes) = settle(&mut hub, &mut spoke);
        println!("{what}: brought up in {:.3} s, {messages} messages, {bytes} bytes", took(begun));
        assert_eq!(hub.node.state().root(), spoke.node.state().root());
        assert_eq!(spoke.node.state().pending().len(), 0);
    }
    fan_out(&clock);
}

/// A hub with six thousand peers that have everything: what one transaction costs.
fn fan_out(clock: &SystemClock) {
    let (peers, writes) = (6000, 200);
    let mut hub = Side::new(true, 1);
    for peer in 0..peers {
        hub.node.connected(peer);
        let name = Origin::new(&[2; 32], u128::from(peer).to_be_bytes());
        let hello = Message::Hello {
            name,
            hub: false,
            coverage: Coverage::new(),
            newest: None,
            parts: None,
            within: Within::default(),
            heads: 0,
        };
        hub.node.receive(NOW, peer, hello);
    }
    hub.sync();
    hub.sent.clear();
    let (mut node, mut bytes) = (0.0, 0);
    for at in 0..writes {
        let begun = clock.monotonic();
        hub.write(1);
        node += (clock.monotonic() - begun).as_secs_f64();
        for (to, message) in std::mem::take(&mut hub.sent) {
            bytes += message.encode().len();
            hub.node.receive(NOW, to, Message::Here(at + 1));
        }
    }
    println!("fan-out: {:.3} ms for each transaction to {peers} peers, {bytes} bytes", node * 1e3 / writes as f64);
}
