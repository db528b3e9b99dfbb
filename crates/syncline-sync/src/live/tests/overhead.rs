//! What it costs to say of a row who wrote it after what: bytes beside keys and values, in logs and on the wire.
//!
//! `cargo test -p syncline-sync --lib -- overhead --nocapture` tells the numbers.

use bytes::Bytes;
use syncline_base::rng::Rng;

use super::super::*;
use super::shell::config;

const NOW: u64 = 1_700_000_000_000;
/// A key and a value.
const ROW: usize = 8 + 8;

/// A node, and what it wrote and sent of entries.
struct Machine {
    node: Node,
    rng: Rng,
    group: Group,
    outbox: Vec<(PeerId, Message)>,
    log: Tally,
    wire: Tally,
    pushed: Tally,
}

#[derive(Debug, Default, Clone, Copy)]
struct Tally {
    bytes: usize,
    txns: usize,
    /// Messages, or records of the log.
    lists: usize,
}

impl Tally {
    fn add(&mut self, bytes: usize, txns: usize) {
        self.bytes += bytes;
        self.txns += txns;
        self.lists += 1;
    }

    fn sum(all: impl Iterator<Item = Self>) -> Self {
        all.fold(Self::default(), |sum, one| Self {
            bytes: sum.bytes + one.bytes,
            txns: sum.txns + one.txns,
            lists: sum.lists + one.lists,
        })
    }

    fn overhead(&self) -> f64 {
        self.bytes as f64 / self.txns as f64 - ROW as f64
    }
}

impl Machine {
    fn new(seed: u8, hub: bool) -> Self {
        let mut machine = Self {
            node: Node::create(config(seed), hub),
            rng: Rng::from_seed(u64::from(seed)),
            group: Group::default(),
            outbox: Vec::new(),
            log: Tally::default(),
            wire: Tally::default(),
            pushed: Tally::default(),
        };
        machine.sync();
        (machine.log, machine.wire) = <_>::default();
        machine
    }

    /// A row that has nothing to do with others.
    fn write(&mut self, now_ms: u64) {
        let key = Bytes::copy_from_slice(&self.rng.next_u64().to_be_bytes());
        let value = Bytes::copy_from_slice(&[&[2], &self.rng.next_u64().to_le_bytes()[1..]].concat());
        let write = Write { row: RowKey { table: "orders".into(), key }, value: Some(value) };
        let read = self.node.context();
        self.node.commit(now_ms, 1, read, vec![write]).unwrap();
    }

    fn sync(&mut self) {
        while self.node.has_outputs() {
            let mut entries = 0;
            for output in self.node.outputs() {
                match output {
                    Output::Append(record) => {
                        entries += usize::from(matches!(record, Record::Entry(_)));
                        self.group.push(&record);
                    }
                    Output::Send(to, message) => {
                        match &message {
                            Message::Entries { entries, .. } => self.wire.add(message.encode().len(), entries.len()),
                            Message::Push(txns, _) => self.pushed.add(message.encode().len(), txns.len()),
                            _ => {}
                        }
                        self.outbox.push((to, message));
                    }
                    _ => {}
                }
            }
            let records = self.group.len();
            if entries > 0 {
                self.log.add(self.group.take().len(), entries);
            } else {
                self.group = Group::default();
            }
            self.node.synced(records);
        }
    }
}

/// Delivers until nobody has anything to say; all that comes to a node at once is synced once.
fn settle(machines: &mut [Machine], now_ms: u64) {
    loop {
        let mut sent = Vec::new();
        for (from, machine) in machines.iter_mut().enumerate() {
            machine.sync();
            sent.extend(machine.outbox.drain(..).map(|(to, message)| (from, to as usize, message)));
        }
        if sent.is_empty() {
            return;
        }
        for (from, to, message) in sent {
            machines[to].node.receive(now_ms, from as PeerId, Message::decode(message.encode()).unwrap());
        }
    }
}

/// So many hubs that all know each other, and spokes, each with one of them. In each round each writer writes so many rows.
fn run(hubs: usize, spokes: usize, rounds: u64, writes: usize) -> (Tally, Tally, Tally) {
    let mut machines: Vec<Machine> = (0..hubs + spokes).map(|at| Machine::new(at as u8, at < hubs)).collect();
    for at in 1..machines.len() {
        for hub in (0..hubs.min(at)).filter(|hub| at < hubs || at % hubs == *hub) {
            machines[at].node.connected(hub as PeerId);
            machines[hub].node.connected(at as PeerId);
        }
    }
    settle(&mut machines, NOW);
    for round in 0..rounds {
        for machine in machines.iter_mut().skip(if spokes > 0 { hubs } else { 0 }) {
            for nth in 0..writes {
                machine.write(NOW + round * 20 + nth as u64 / 8);
            }
        }
        settle(&mut machines, NOW + round * 20 + 11);
    }
    for machine in &machines {
        assert_eq!(machine.node.state().root(), machines[0].node.state().root());
    }
    let tally = |of: fn(&Machine) -> Tally| Tally::sum(machines.iter().map(of));
    (tally(|machine| machine.log), tally(|machine| machine.wire), tally(|machine| machine.pushed))
}

#[test]
fn a_transaction_of_one_row_costs_few_bytes_whatever_the_number_of_hubs_and_spokes() {
    // Hubs, spokes, rounds, writes of each in a round; the most bytes beside key and value in logs, on the wire, and pushed to hubs.
    for (hubs, spokes, rounds, writes, most) in [
        // What is pushed has a signed head of 147 bytes for each origin in a message.
        (1, 1, 20, 64, [18.0, 18.0, 20.5]),
        (3, 0, 20, 64, [18.0, 18.0, 0.0]),
        (3, 0, 20, 4, [40.0, 40.0, 0.0]),
        (3, 200, 8, 1, [45.0, 45.0, 255.0]),
        (8, 240, 6, 1, [45.0, 45.0, 330.0]),
        (1, 0, 50, 1, [60.0, 0.0, 0.0]),
        (1, 2, 50, 1, [60.0, 60.0, 225.0]),
    ] {
        let all = run(hubs, spokes, rounds, writes);
        for ((what, tally), most) in ["log", "wire", "push"].into_iter().zip([all.0, all.1, all.2]).zip(most) {
            if tally.txns > 0 {
                let each = tally.txns as f64 / tally.lists as f64;
                println!("{hubs} hubs, {spokes} spokes, {what}: {:.1} bytes, {each:.1} in a list", tally.overhead());
                assert!(tally.overhead() <= most, "{hubs} hubs, {spokes} spokes, {what}: {} bytes", tally.overhead());
            }
        }
    }
}
