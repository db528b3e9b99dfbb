//! Rows go to the disk, and come back from there.

use std::collections::BTreeMap;
use std::path::PathBuf;

use super::reads::comes;
use super::*;

type Model = BTreeMap<String, String>;

fn delete(name: &str) -> Vec<Write> {
    vec![Write { row: key(name), value: None }]
}

fn in_memory(engine: &Engine) -> usize {
    engine.read(|node| node.state().held().in_memory()).expect("a node")
}

fn files(at: &Path) -> Vec<PathBuf> {
    let dir = std::fs::read_dir(at.join("live/rows")).expect("a directory");
    dir.map(|entry| entry.expect("an entry").path()).collect()
}

fn all(engine: &Engine) -> Model {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let rows = |node: &Node| {
        let rows = node.rows_from(&key(""));
        rows.map(|(key, row)| (text(&key.key), text(&row.siblings()[0].value))).collect::<Model>()
    };
    engine.read(rows).expect("a node")
}

fn change(engine: &Engine, model: &mut Model, n: u64) {
    let name = format!("{:03}", n * 7919 % 300);
    if n % 4 == 3 {
        engine.commit(None, delete(&name)).expect("committed");
        model.remove(&name);
    } else {
        engine.commit(None, set(&name, &n.to_string())).expect("committed");
        model.insert(name, n.to_string());
    }
}

#[test]
fn rows_go_to_the_disk_while_they_change_and_nobody_sees_it() {
    let dir = tempfile::tempdir().expect("a directory");
    let (at, edge) = (dir.path().join("hub"), spoke(&dir.path().join("edge")));
    let (mut engine, mut model) = (open(&at), Model::new());
    for n in 0..1500 {
        // Again and again, with runs that are written and merged meanwhile.
        engine.keep_little(20, 2_000).expect("a node");
        change(&engine, &mut model, n);
        if n % 400 == 399 {
            assert_eq!(all(&engine), model);
            drop(engine);
            engine = open(&at);
            assert_eq!(all(&engine), model);
        }
    }
    engine.checkpoint().expect("a disk");
    assert_eq!((in_memory(&engine), all(&engine)), (0, model.clone()));
    let count = |node: &Node| node.state().held().counts().get("t").map(|count| count.rows);
    assert_eq!(engine.read(count).expect("a node"), Some(model.len() as u64));
    assert!(files(&at).len() <= 4, "{:?}", files(&at));
    // A state is sent from there, too.
    let _cable = Cable::between(&engine, &edge);
    let here = engine.commit(None, set("000", "last")).expect("committed");
    edge.read_at(&here.position, SOON, |_| ()).expect("it comes");
    model.insert("000".into(), "last".into());
    assert_eq!(all(&edge), model);
    edge.checkpoint().expect("a disk");
    assert_eq!((in_memory(&edge), all(&edge)), (0, model));
    let root = |engine: &Engine| engine.frozen().expect("a node").digest().root;
    assert_eq!(root(&edge), root(&engine));
}

#[test]
fn while_much_is_written_checkpoints_are_rare_and_the_log_stays_bounded() {
    let dir = tempfile::tempdir().expect("a directory");
    let engine = open(&dir.path().join("hub"));
    engine.commit(None, set("first", "1")).expect("committed");
    engine.checkpoint().expect("a disk");
    engine.keep_little(20, 10_000).expect("a node");
    engine.keep_pause(Duration::from_secs(3600)).expect("a node");
    let made = || engine.checkpoints().expect("a node");
    let before = made();
    let write = |n: u64| {
        let value = "x".repeat(1_000);
        engine.commit(None, set(&format!("{:02}", n % 50), &value)).expect("committed");
    };
    (0..20).for_each(write);
    assert_eq!(made(), before, "it was a moment ago");
    engine.keep_pause(Duration::ZERO).expect("a node");
    write(0);
    comes(|| made() > before);
    engine.keep_pause(Duration::from_secs(3600)).expect("a node");
    let now = made();
    // It was a moment ago, but the log has grown by much more.
    (0..400).for_each(write);
    comes(|| made() > now);
}

#[test]
fn what_is_damaged_on_the_disk_is_an_error_and_never_a_row() {
    let dir = tempfile::tempdir().expect("a directory");
    let at = dir.path().join("hub");
    let engine = open(&at);
    for n in 0..300 {
        engine.commit(None, set(&format!("{n:03}"), &"x".repeat(200))).expect("committed");
    }
    engine.checkpoint().expect("a disk");
    drop(engine);
    let path = files(&at).pop().expect("a run");
    let sound = std::fs::read(&path).expect("a run");
    let mut bytes = sound.clone();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    std::fs::write(&path, &bytes).expect("a file");

    let engine = open(&at);
    let look = |engine: &Engine, name: &str| engine.read(|node| node.view(&key(name)).siblings().len());
    assert_eq!(look(&engine, "000").expect("what is not damaged is there"), 1);
    let scan = |engine: &Engine| engine.read(|node| node.rows_from(&key("")).count());
    assert_eq!(scan(&engine).expect_err("damage").kind(), Kind::Corrupt);
    assert_eq!(look(&engine, "299").expect("what is not damaged is there again"), 1);
    let damaged = (0..300).filter(|n| look(&engine, &format!("{n:03}")).is_err()).count();
    assert!((1..80).contains(&damaged), "{damaged}");
    let name = (0..300).map(|n| format!("{n:03}")).find(|name| look(&engine, name).is_err()).expect("some");
    let read = |node: &Node| {
        Ok(vec![Write { row: key(&name), value: node.view(&key(&name)).siblings().first().map(|s| s.value.clone()) }])
    };
    assert_eq!(engine.commit_with(None, read).expect_err("damage").kind(), Kind::Corrupt, "nothing follows from it");
    drop(engine);
    // Nothing was changed: with the bytes as they were all is well.
    std::fs::write(&path, &sound).expect("a file");
    let engine = open(&at);
    assert_eq!(scan(&engine).expect("all rows"), 300);
    engine.commit(None, set("000", "written")).expect("it takes writes again");
    drop(engine);
    std::fs::remove_file(&path).expect("a file less");
    // It can be opened, and nothing that it holds is shown or written.
    let engine = open(&at);
    for _ in 0..2 {
        assert_eq!(look(&engine, "000").expect_err("a run is missing").kind(), Kind::Corrupt);
        assert_eq!(engine.commit(None, set("001", "x")).expect_err("a run is missing").kind(), Kind::Corrupt);
    }
    assert!(engine.renewal().expect("a node").is_some());
}

#[test]
fn a_state_that_ends_at_damage_is_not_closed_for_who_is_sent_it() {
    let dir = tempfile::tempdir().expect("a directory");
    let (at, edge) = (dir.path().join("hub"), spoke(&dir.path().join("edge")));
    let hub = open(&at);
    for n in 0..300 {
        hub.commit(None, set(&format!("{n:03}"), &"x".repeat(200))).expect("committed");
    }
    hub.checkpoint().expect("a disk");
    drop(hub);
    let path = files(&at).pop().expect("a run");
    let sound = std::fs::read(&path).expect("a run");
    let mut bytes = sound.clone();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    std::fs::write(&path, &bytes).expect("a file");

    // The edge is new: it needs all rows, and all that the hub says to it is looked at.
    let hub = open(&at);
    let (to_edge, at_edge) = mpsc::channel();
    let (to_hub, at_hub) = mpsc::channel();
    let outbox = |to: mpsc::Sender<Message>| -> Outbox {
        Box::new(move |parcel| match parcel {
            Parcel::Message(message) => to.send(message).map_or(Outcome::Gone, |()| Outcome::Sent),
            Parcel::Note(_) => Outcome::Sent,
        })
    };
    let link = |upstream| Link { url: None, upstream, serves: None };
    let of_edge = hub.connect(link(false), outbox(to_edge)).expect("a node");
    let of_hub = edge.connect(link(true), outbox(to_hub)).expect("a node");
    'connected: loop {
        let said = at_hub.recv_timeout(SOON).expect("the edge goes on while it has not all");
        // What it cannot read it says to whoever asks it next, if it does not say it here.
        let _ = hub.receive(of_edge, said, More::Not);
        loop {
            match at_edge.try_recv() {
                Ok(message) => {
                    assert!(!matches!(message, Message::Close { .. } | Message::Entries { .. }), "{message:?}");
                    edge.receive(of_hub, message, More::Not).expect("a node");
                }
                Err(mpsc::TryRecvError::Empty) => break,
                Err(mpsc::TryRecvError::Disconnected) => break 'connected,
            }
        }
    }
    edge.disconnect(of_hub);
    assert_eq!(all(&edge), Model::new());
    drop(hub);

    std::fs::write(&path, &sound).expect("a file");
    let hub = open(&at);
    let _cable = Cable::between(&hub, &edge);
    edge.read_at(&hub.read(Node::context).expect("a node"), SOON, |_| ()).expect("it comes");
    assert_eq!(all(&edge), all(&hub));
    assert_eq!(all(&edge).len(), 300);
}

#[test]
fn runs_that_a_state_took_the_place_of_stay_while_the_log_names_them() {
    let dir = tempfile::tempdir().expect("a directory");
    let (at, edge_at) = (dir.path().join("hub"), dir.path().join("edge"));
    let (hub, edge) = (open(&at), spoke(&edge_at));
    let write = |hub: &Engine, from: u64, to: u64| {
        for n in from..to {
            hub.commit(None, set(&format!("{n:03}"), &n.to_string())).expect("committed");
        }
        hub.read(Node::context).expect("a node")
    };
    let here = write(&hub, 0, 100);
    let cable = Cable::between(&hub, &edge);
    edge.read_at(&here, SOON, |_| ()).expect("it comes");
    drop(cable);
    edge.checkpoint().expect("a disk");
    // What comes next is not kept as entries: the edge is sent a state.
    write(&hub, 50, 150);
    hub.checkpoint().expect("a disk");
    drop(hub);
    let hub = open(&at);
    let cable = Cable::between(&hub, &edge);
    edge.read_at(&hub.read(Node::context).expect("a node"), SOON, |_| ()).expect("it comes");
    drop(cable);
    let model = all(&hub);
    assert_eq!((model.len(), all(&edge)), (150, model.clone()));
    drop(edge);
    for _ in 0..3 {
        let edge = spoke(&edge_at);
        assert_eq!(all(&edge), model);
    }
}

#[test]
fn a_state_that_is_too_much_for_memory_lies_on_the_disk_before_it_takes_effect() {
    const ROWS: u64 = 9000;
    let dir = tempfile::tempdir().expect("a directory");
    let (at, edge_at) = (dir.path().join("hub"), dir.path().join("edge"));
    let hub = open(&at);
    for first in (0..ROWS).step_by(500) {
        // Some 10 kB each, and none like another.
        let value = |n: u64| Bytes::from(format!("{n:09} ").repeat(1000));
        let write = |n: u64| Write { row: key(&format!("{n:05}")), value: Some(value(n)) };
        hub.commit(None, (first..first + 500).map(write).collect()).expect("committed");
    }
    hub.checkpoint().expect("a disk");
    drop(hub);
    // It keeps no entries, so others are sent its state.
    let (hub, mut edge) = (open(&at), spoke(&edge_at));
    let root = |engine: &Engine| engine.frozen().expect("a node").digest().root;
    let cable = Cable::between(&hub, &edge);
    edge.read_at(&hub.read(Node::context).expect("a node"), SOON * 4, |_| ()).expect("it comes");
    drop(cable);
    assert!(in_memory(&edge) < ROWS as usize, "all rows are in memory");
    for _ in 0..2 {
        assert_eq!(root(&edge), root(&hub));
        drop(edge);
        edge = spoke(&edge_at);
        assert!(in_memory(&edge) < ROWS as usize, "all rows are in memory when the log has been read");
    }
    // Nobody writes anything more, and what was merged does not stay.
    comes(|| files(&edge_at).len() <= 2);
    edge.checkpoint().expect("a disk");
    assert_eq!((in_memory(&edge), root(&edge)), (0, root(&hub)));
}
