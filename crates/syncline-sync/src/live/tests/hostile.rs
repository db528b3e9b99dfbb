//! Peers that say anything: a node goes on, and its log gives back what it holds.

use std::sync::Arc;

use bytes::Bytes;
use proptest::prelude::*;
use syncline_base::rng::Rng;
use syncline_base::sign::KeyPair;

use super::super::*;
use super::arbitrary;
use super::shell::alone;

const PEER: PeerId = 7;

fn config(seed: u64) -> Config {
    Config {
        signer: Arc::new(KeyPair::of(&[1; 32])),
        rng: Rng::from_seed(seed),
        limits: Limits::default(),
        runs: None,
        damaged: false,
        zoo: Zoo::none(),
    }
}

/// The message with the node's name in the place of one of those that the strategies like, if that is a message.
fn about(name: Origin, message: &Message) -> Message {
    let mut bytes = message.encode().to_vec();
    while let Some(at) = bytes.windows(16).position(|window| window == [3; 16]) {
        bytes[at..at + 16].copy_from_slice(name.as_bytes());
    }
    Message::decode(bytes.into()).unwrap_or_else(|_| message.clone())
}

/// Makes durable what the node wants to be.
fn sync(node: &mut Node, log: &mut Vec<Bytes>) {
    while node.has_outputs() {
        let mut records = 0;
        for output in node.outputs() {
            if let Output::Append(record) = output {
                log.push(record.encode());
                records += 1;
            }
        }
        node.synced(records);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    #[test]
    fn whatever_is_said_a_node_goes_on_and_its_log_is_read(
        hub: bool,
        said in proptest::collection::vec((arbitrary::message(), 0..3u8), 1..24),
    ) {
        let (mut node, mut log) = (Node::create(config(1), hub), Vec::new());
        sync(&mut node, &mut log);
        node.connected(PEER);
        for (at, (message, then)) in said.iter().enumerate() {
            let now_ms = 1_000 + at as u64;
            node.receive(now_ms, PEER, about(node.name(), message));
            if *then == 1 {
                let write = Write { row: RowKey { table: Arc::from("t"), key: Bytes::new() }, value: None };
                node.commit(now_ms, 1, node.context(), vec![write]).unwrap();
            }
            if *then == 2 {
                node.tick_peers(now_ms);
            }
            if at % 2 == 0 {
                sync(&mut node, &mut log);
            }
        }
        sync(&mut node, &mut log);
        let records = log.iter().map(|bytes| alone(bytes.clone()));
        let again = Node::open(config(2), records, false).unwrap();
        prop_assert_eq!(again.state().root(), node.state().root());
        prop_assert_eq!(again.context(), node.context());
        let moment = node.checkpoint().unwrap();
        let records = moment.records().map(|record| alone(record.encode()));
        let short = Node::open(config(3), records, false).unwrap();
        prop_assert_eq!(short.state().root(), node.state().root());
        prop_assert_eq!(short.checkpoint(), node.checkpoint());
    }
}
