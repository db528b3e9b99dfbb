//! What waits, by the records of a damaged log.

use bytes::Bytes;

use super::super::*;
use super::shell::*;

fn waits(log: &[Bytes]) -> Salvage {
    let mut salvage = Salvage::default();
    log.iter().for_each(|record| salvage.show(record));
    assert_eq!(salvage.unknown, 0);
    salvage
}

fn dots(salvage: Salvage) -> Vec<Dot> {
    salvage.waiting().map(|txn| txn.dot()).collect()
}

/// A hub, and a spoke of which two transactions are taken in and two wait.
fn scene() -> (Vec<Shell>, Vec<Dot>) {
    let mut shells = vec![Shell::create(true, 1), Shell::create(false, 2)];
    connect(&mut shells, 0, 1);
    let mut wrote = vec![shells[1].write(1_000, "a"), shells[1].write(1_001, "b")];
    settle(&mut shells, 1_002);
    disconnect(&mut shells, 0, 1);
    wrote.extend([shells[1].write(2_000, "c"), shells[1].write(2_001, "d")]);
    (shells, wrote)
}

#[test]
fn by_a_whole_log_it_is_what_waits() {
    let (mut shells, wrote) = scene();
    assert_eq!(dots(waits(&shells[1].log)), wrote[2..]);
    // A checkpoint says it, whatever came before.
    let moment = shells[1].node.checkpoint().expect("all is durable");
    let checkpoint: Vec<Bytes> = moment.records().map(|record| record.encode()).collect();
    let own = |bytes: &&Bytes| Record::decode((*bytes).clone()).unwrap().iter().any(|r| matches!(r, Record::Own(_)));
    let before = shells[1].log.iter().filter(own).cloned();
    let log: Vec<Bytes> = before.chain(checkpoint.clone()).collect();
    assert_eq!(dots(waits(&log)), wrote[2..]);
    // Unless it is not whole.
    let mut parts = checkpoint;
    parts.remove(0);
    let before = shells[1].log.iter().filter(own).cloned();
    assert_eq!(dots(waits(&before.chain(parts).collect::<Vec<_>>())), wrote);
    // What is written again under another name waits under that.
    let refused = wrote[2];
    connect(&mut shells, 0, 1);
    shells[1].sync();
    shells[1].sent.clear();
    shells[1].node.receive(3_000, 0, Message::Refused(refused));
    shells[1].sync();
    assert_eq!(dots(waits(&shells[1].log)), shells[1].rewritten);
    assert_eq!(shells[1].rewritten.len(), 2);
}

#[test]
fn what_is_begun_with_it_loses_nothing_and_counts_once() {
    for missing in 0..3_usize {
        let (mut shells, wrote) = scene();
        // The log does not say any more that the hub has some.
        let entry =
            |bytes: &Bytes| Record::decode(bytes.clone()).unwrap().iter().any(|r| matches!(r, Record::Entry(_)));
        let mut left = missing;
        let mut log = shells[1].log.clone();
        log.retain(|bytes| {
            let stays = left == 0 || !entry(bytes);
            left -= usize::from(!stays);
            stays
        });
        assert_eq!(dots(waits(&log)), [&wrote[..missing], &wrote[2..]].concat(), "in their order");
        let node = Node::create_with(shells[1].config(9), waits(&log).waiting());
        shells[1] = Shell::around(node, Vec::new());
        assert_eq!(shells[1].values(), ["d"], "what waits is shown");
        connect(&mut shells, 0, 1);
        settle(&mut shells, 5_000);
        for tick in 1..6 {
            shells.iter_mut().for_each(|shell| shell.node.tick_peers(5_000 + tick * 1_000));
            settle(&mut shells, 5_000 + tick * 1_000);
        }
        one_root(&shells);
        assert_eq!(shells[0].values(), ["d"]);
        let taken: u64 = shells[0].node.state().coverage().iter().map(|(_, n)| n).sum();
        assert_eq!(taken, 4, "each of them once");
    }
}
