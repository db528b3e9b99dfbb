//! Rows that are damaged, and come anew from another replica.

use std::path::PathBuf;

use super::reads::comes;
use super::*;

/// Has a replica write its rows to the disk and ends it; the runs that they lie in, among those that others took the place of.
fn put_down(engine: Engine, at: &Path) -> Vec<PathBuf> {
    engine.checkpoint().expect("a disk");
    drop(engine);
    let dir = std::fs::read_dir(at.join("live/rows")).expect("a directory");
    dir.map(|entry| entry.expect("an entry").path()).collect()
}

fn flip(runs: &[PathBuf], at: impl Fn(usize) -> usize) {
    for path in runs {
        let mut bytes = std::fs::read(path).expect("a run");
        let at = at(bytes.len());
        bytes[at] ^= 1;
        std::fs::write(path, &bytes).expect("a file");
    }
}

fn fill(hub: &Engine) -> Context {
    let write = |n: u64| Write { row: key(&format!("{n:03}")), value: Some("x".repeat(200).into()) };
    hub.commit(None, (0..300).map(write).collect()).expect("committed").position
}

fn count(engine: &Engine) -> Result<usize> {
    engine.read(|node| node.rows_from(&key("")).count())
}

fn root(engine: &Engine) -> Hash {
    engine.frozen().expect("sound rows").digest().root
}

#[test]
fn a_spoke_whose_rows_are_damaged_gets_them_from_its_hub_and_keeps_what_waits() {
    let dir = tempfile::tempdir().expect("a directory");
    let (at, edge_at) = (dir.path().join("hub"), dir.path().join("edge"));
    let (hub, edge) = (open(&at), spoke(&edge_at));
    let here = fill(&hub);
    let cable = Cable::between(&hub, &edge);
    edge.read_at(&here, SOON, |_| ()).expect("it comes");
    drop(cable);
    edge.commit(None, set("mine", "1")).expect("committed");
    flip(&put_down(edge, &edge_at), |len| len / 2);

    let edge = spoke(&edge_at);
    assert_eq!(count(&edge).expect_err("damage").kind(), Kind::Corrupt);
    assert_eq!(values(&edge, "mine"), ["1"], "what is not damaged is shown");
    assert_eq!(edge.commit(None, set("more", "1")).expect_err("nothing is built on it").kind(), Kind::Corrupt);
    hub.commit(None, set("later", "1")).expect("committed");
    let cable = Cable::between(&hub, &edge);
    comes(|| edge.renewal().expect("a node").is_none());
    let read = |engine: &Engine| engine.read(|node| node.state().pending().len()).expect("a node");
    comes(|| {
        read(&edge) == 0 && count(&hub).is_ok_and(|rows| rows == 302) && count(&edge).is_ok_and(|rows| rows == 302)
    });
    assert_eq!((values(&hub, "mine"), root(&edge)), (vec!["1".to_owned()], root(&hub)));
    // It is compared at once with what it came from.
    comes(|| !edge.status().expect("a node").proofs.proofs.is_empty());
    edge.commit(None, set("more", "1")).expect("it takes writes again");
    drop(cable);
    // Once more from its log and its disk.
    assert!(!put_down(edge, &edge_at).is_empty());
    let edge = spoke(&edge_at);
    assert_eq!((count(&edge).expect("all rows"), edge.renewal().expect("a node")), (303, None));
}

#[test]
fn a_hub_whose_rows_cannot_be_opened_gets_them_from_a_spoke() {
    let dir = tempfile::tempdir().expect("a directory");
    let (at, edge_at) = (dir.path().join("hub"), dir.path().join("edge"));
    for damage in [|len| len - 10, |len| len - 80] {
        let (hub, edge) = (open(&at), spoke(&edge_at));
        let here = fill(&hub);
        let cable = Cable::between(&hub, &edge);
        edge.read_at(&here, SOON, |_| ()).expect("it comes");
        drop(cable);
        flip(&put_down(hub, &at), damage);
        let hub = open(&at);
        assert_eq!(count(&hub).expect_err("damage").kind(), Kind::Corrupt);
        edge.commit(None, set("mine", "1")).expect("committed");
        // It is asked for again after a restart.
        drop(hub);
        let hub = open(&at);
        let _cable = Cable::between(&hub, &edge);
        comes(|| hub.renewal().expect("a node").is_none());
        comes(|| count(&hub).is_ok_and(|rows| rows == 301) && count(&edge).is_ok_and(|rows| rows == 301));
        // Until then a write of the hub would stand beside it.
        comes(|| values(&hub, "mine") == ["1"]);
        comes(|| root(&hub) == root(&edge));
        let here = hub.commit(None, set("mine", "2")).expect("it takes writes again").position;
        edge.read_at(&here, SOON, |_| ()).expect("it comes");
        assert_eq!(values(&edge, "mine"), ["2"]);
    }
}

#[test]
fn who_is_told_that_its_rows_are_wrong_shows_none_until_others_are_here() {
    let dir = tempfile::tempdir().expect("a directory");
    let (hub, edge_at) = (open(&dir.path().join("hub")), dir.path().join("edge"));
    let edge = spoke(&edge_at);
    let here = fill(&hub);
    let cable = Cable::between(&hub, &edge);
    edge.read_at(&here, SOON, |_| ()).expect("it comes");
    drop(cable);
    // To which it does not connect.
    edge.renew(Some("http://right")).expect("a file");
    let mut edge = edge;
    for _ in 0..2 {
        assert_eq!(count(&edge).expect_err("they are wrong").kind(), Kind::Corrupt);
        let cable = Cable::between(&hub, &edge);
        SystemClock.sleep(Duration::from_millis(300));
        assert!(edge.renewal().expect("a node").is_some(), "not from anybody");
        drop(cable);
        drop(edge);
        edge = spoke(&edge_at);
    }
    edge.renew(None).expect("a file");
    let _cable = Cable::between(&hub, &edge);
    edge.wait_renewed(SOON).expect("a node");
    assert_eq!((count(&edge).expect("all rows"), root(&edge)), (300, root(&hub)));
}

#[test]
fn of_many_rows_those_go_over_the_cable_that_are_damaged() {
    let dir = tempfile::tempdir().expect("a directory");
    let (hub, edge_at) = (open(&dir.path().join("hub")), dir.path().join("edge"));
    let edge = spoke(&edge_at);
    for nth in 0..10 {
        let row = |n: u64| Write { row: key(&format!("{nth}-{n:04}")), value: Some("x".repeat(300).into()) };
        hub.commit(None, (0..2000).map(row).collect()).expect("committed");
    }
    let cable = Cable::between(&hub, &edge);
    comes(|| count(&edge).is_ok_and(|rows| rows == 20_000));
    let first = cable.bytes();
    drop(cable);
    flip(&put_down(edge, &edge_at), |len| len / 2);
    let edge = spoke(&edge_at);
    assert_eq!(count(&edge).expect_err("damage").kind(), Kind::Corrupt);
    let later = hub.commit(None, set("later", "1")).expect("committed").position;
    let cable = Cable::between(&hub, &edge);
    comes(|| edge.renewal().expect("a node").is_none());
    edge.read_at(&later, SOON, |_| ()).expect("it comes");
    assert_eq!((count(&edge).expect("all rows"), root(&edge)), (20_001, root(&hub)));
    let again = cable.bytes();
    assert!(first > 1_000_000 && again < first / 3, "{first} bytes at first, {again} then");
}
