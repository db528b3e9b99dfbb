use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc;

use bytes::Bytes;
use syncline_base::{Kind, SystemClock};
use syncline_sync::live::RowKey;

use super::super::home::Taken;
use super::*;

mod keep;
mod reads;
mod renewal;

const SOON: Duration = Duration::from_secs(20);

fn open(meta: &Path) -> Engine {
    match Home::take(meta).expect("a directory") {
        Taken::Ours(home) => Engine::open(home, Arc::new(SystemClock)).expect("a log"),
        Taken::Others(holder) => panic!("taken by {holder:?}"),
    }
}

fn spoke(meta: &Path) -> Engine {
    let Taken::Ours(home) = Home::take(meta).expect("a directory") else { panic!("taken") };
    home.set_upstream(Some("http://hub")).expect("a file");
    Engine::open(home, Arc::new(SystemClock)).expect("a log")
}

fn key(text: &str) -> RowKey {
    RowKey { table: "t".into(), key: Bytes::copy_from_slice(text.as_bytes()) }
}

fn set(name: &str, value: &str) -> Vec<Write> {
    vec![Write { row: key(name), value: Some(Bytes::copy_from_slice(value.as_bytes())) }]
}

fn values(engine: &Engine, name: &str) -> Vec<String> {
    let row = engine.read(|node| node.view(&key(name))).expect("a node");
    row.siblings().iter().map(|sibling| String::from_utf8_lossy(&sibling.value).into_owned()).collect()
}

/// What goes over it.
enum Carried {
    Message(Bytes),
    Note(Note),
}

/// Connects two engines by threads that carry messages as bytes. Dropping it cuts the connection.
pub(crate) struct Cable {
    ends: Vec<(Engine, PeerId)>,
    threads: Vec<std::thread::JoinHandle<()>>,
    /// How many bytes of messages went over it, both ways.
    bytes: Arc<AtomicUsize>,
}

impl Cable {
    /// How many bytes of messages went over it, both ways.
    pub(crate) fn bytes(&self) -> usize {
        self.bytes.load(Ordering::Relaxed)
    }

    pub(crate) fn between(a: &Engine, b: &Engine) -> Self {
        Self::laid((a, b), None)
    }

    /// From `b` to `a`, which `b` knows by an address.
    pub(crate) fn to((url, a): (&str, &Engine), b: &Engine) -> Self {
        Self::laid((a, b), Some(url))
    }

    fn laid((a, b): (&Engine, &Engine), url: Option<&str>) -> Self {
        let ((to_b, at_b), (to_a, at_a)) = (mpsc::channel(), mpsc::channel());
        let bytes = Arc::new(AtomicUsize::new(0));
        let outbox = |to: mpsc::Sender<Carried>| -> Outbox {
            let carried = bytes.clone();
            Box::new(move |parcel| {
                let parcel = match parcel {
                    Parcel::Message(message) => {
                        let message = message.encode();
                        carried.fetch_add(message.len(), Ordering::Relaxed);
                        Carried::Message(message)
                    }
                    Parcel::Note(note) => Carried::Note(note),
                };
                if to.send(parcel).is_ok() { Outcome::Sent } else { Outcome::Gone }
            })
        };
        // A hub is nobody's spoke.
        let link = |of: &Engine, url: Option<&str>| {
            let upstream = !of.status().expect("a node").hub;
            Link { url: url.map(ToOwned::to_owned), upstream, serves: None }
        };
        let ends = vec![
            (a.clone(), a.connect(link(a, None), outbox(to_b)).expect("a node")),
            (b.clone(), b.connect(link(b, url), outbox(to_a)).expect("a node")),
        ];
        let inboxes = [at_a, at_b];
        let threads = ends.iter().cloned().zip(inboxes).map(|((engine, peer), inbox)| {
            task::spawn("cable", move || {
                for carried in inbox {
                    let taken = match carried {
                        Carried::Message(bytes) => {
                            engine.receive(peer, Message::decode(bytes).expect("what was encoded"), More::Not)
                        }
                        Carried::Note(note) => engine.note(peer, note),
                    };
                    if !taken.expect("a node") {
                        break;
                    }
                }
            })
            .expect("a thread")
        });
        let threads = threads.collect();
        Self { ends, threads, bytes }
    }
}

impl Drop for Cable {
    fn drop(&mut self) {
        self.ends.iter().for_each(|(engine, peer)| engine.disconnect(*peer));
        self.ends.clear();
        for thread in self.threads.drain(..) {
            thread.join().expect("no panic");
        }
    }
}

#[test]
fn a_spoke_shows_what_came_before_its_disk_has_it_and_keeps_it_when_the_process_ends() {
    let dir = tempfile::tempdir().expect("a directory");
    let (at, edge_at) = (dir.path().join("hub"), dir.path().join("edge"));
    let (hub, edge) = (open(&at), spoke(&edge_at));
    let cable = Cable::between(&hub, &edge);
    let mut early = 0;
    for n in 0..50 {
        let here = hub.commit(None, set("a", &n.to_string())).expect("committed").position;
        edge.read_at(&here, SOON, |_| ()).expect("it comes");
        assert_eq!(values(&edge, "a"), [n.to_string()]);
        early += usize::from(edge.shared.lock().unsynced());
    }
    assert!(early > 10, "only {early} of 50 were shown before they were durable");
    copy(&edge_at, &dir.path().join("copy"));
    // Nobody asks for it, and it comes to be durable.
    let until = SystemClock.monotonic() + SOON;
    while edge.shared.lock().unsynced() {
        assert!(SystemClock.monotonic() < until);
        SystemClock.sleep(Duration::from_millis(5));
    }
    // A write there is durable with all that came before it.
    let here = hub.commit(None, set("a", "last")).expect("committed").position;
    edge.read_at(&here, SOON, |_| ()).expect("it comes");
    edge.commit(None, set("b", "1")).expect("committed");
    assert!(edge.shared.lock().node.durable_coverage().includes(&here.seen));
    drop(cable);
    let after = spoke(&dir.path().join("copy"));
    assert_eq!(values(&after, "a"), ["49"]);
}

#[test]
fn what_was_committed_is_there_when_it_is_opened_again() {
    let dir = tempfile::tempdir().expect("a directory");
    let engine = open(dir.path());
    let first = engine.commit(None, set("a", "1")).expect("committed");
    assert!(first.taken);
    engine.commit(None, set("a", "2")).expect("committed");
    assert_eq!(values(&engine, "a"), ["2"]);
    let name = engine.status().expect("a node").name;
    drop(engine);
    let engine = open(dir.path());
    assert_eq!(values(&engine, "a"), ["2"]);
    assert_eq!(engine.status().expect("a node").name, name, "nobody moved it");
}

#[test]
fn a_writer_that_has_not_seen_a_value_leaves_it() {
    let dir = tempfile::tempdir().expect("a directory");
    let engine = open(dir.path());
    let read = engine.read(Node::context).expect("a node");
    engine.commit(Some(read.clone()), set("a", "1")).expect("committed");
    engine.commit(Some(read), set("a", "2")).expect("committed");
    let mut both = values(&engine, "a");
    both.sort();
    assert_eq!(both, ["1", "2"]);
    engine.commit(None, set("a", "3")).expect("committed");
    assert_eq!(values(&engine, "a"), ["3"]);
}

#[test]
fn many_writers_at_once_all_become_durable() {
    let dir = tempfile::tempdir().expect("a directory");
    let engine = open(dir.path());
    let writers = (0..16).map(|writer| {
        let engine = engine.clone();
        task::spawn("writer", move || {
            for n in 0..20 {
                engine.commit(None, set(&format!("{writer}-{n}"), "x")).expect("committed");
            }
        })
        .expect("a thread")
    });
    for writer in writers.collect::<Vec<_>>() {
        writer.join().expect("no panic");
    }
    drop(engine);
    let engine = open(dir.path());
    assert_eq!(engine.read(|node| node.state().rows().count()).expect("a node"), 320);
}

#[test]
fn a_spoke_writes_alone_and_catches_up_when_it_is_connected() {
    let dir = tempfile::tempdir().expect("a directory");
    let (hub, edge) = (open(&dir.path().join("hub")), spoke(&dir.path().join("edge")));
    hub.commit(None, set("h", "1")).expect("committed");
    let written = edge.commit(None, set("e", "1")).expect("committed");
    assert!(!written.taken);
    assert_eq!(values(&edge, "e"), ["1"], "it reads what it wrote");
    let cable = Cable::between(&hub, &edge);
    hub.read_at(&written.position, SOON, |_| ()).expect("it comes to the hub");
    let there = hub.read(Node::context).expect("a node");
    edge.read_at(&there, SOON, |_| ()).expect("and back");
    assert_eq!((values(&hub, "e"), values(&edge, "h")), (vec!["1".into()], vec!["1".to_owned()]));
    drop(cable);
    // Again, with something on both sides.
    edge.commit(None, set("e", "2")).expect("committed");
    let at_hub = hub.commit(None, set("e", "3")).expect("committed");
    let _cable = Cable::between(&hub, &edge);
    edge.read_at(&at_hub.position, SOON, |_| ()).expect("it comes");
    let own = edge.read(Node::context).expect("a node");
    hub.read_at(&own, SOON, |_| ()).expect("it comes");
    assert_eq!(values(&hub, "e").len(), 2, "neither had seen the other");
    let roots = [&hub, &edge].map(|engine| {
        let all = hub.read(|node| node.state().coverage().clone()).expect("a node");
        let all = Context { seen: all, own: Vec::new() };
        engine.read_at(&all, SOON, |node| node.state().root()).expect("it comes")
    });
    assert_eq!(roots[0], roots[1]);
}

#[test]
fn followers_are_given_every_entry_once_and_in_order() {
    let dir = tempfile::tempdir().expect("a directory");
    let engine = open(dir.path());
    let mut cursor = Cursor::default();
    let mut seen = Vec::new();
    for n in 0..10 {
        engine.commit(None, set("a", &n.to_string())).expect("committed");
        if n % 3 == 0 {
            let entries = engine.entries_after(&mut cursor, 2, SOON).expect("a node").expect("kept");
            seen.extend(entries.iter().map(|entry| entry.stamp.n));
        }
    }
    // Elsewhere, from the position alone.
    let mut cursor = Cursor::new(token::parse(&token::of_coverage(&cursor.coverage)).expect("a position").seen);
    while seen.len() < 10 {
        let entries = engine.entries_after(&mut cursor, 100, SOON).expect("a node").expect("kept");
        seen.extend(entries.iter().map(|entry| entry.stamp.n));
    }
    assert_eq!(seen, (1..=10).collect::<Vec<_>>());
    let none = engine.entries_after(&mut cursor, 100, Duration::from_millis(10)).expect("a node").expect("kept");
    assert!(none.is_empty());
}

#[test]
fn a_checkpoint_stands_for_the_log_before_it() {
    let dir = tempfile::tempdir().expect("a directory");
    let (at, edge) = (dir.path().join("hub"), spoke(&dir.path().join("edge")));
    let engine = open(&at);
    let root = |engine: &Engine| engine.read(|node| node.state().root()).expect("a node");
    for n in 0..50 {
        engine.commit(None, set(&n.to_string(), &"x".repeat(100))).expect("committed");
    }
    engine.checkpoint().expect("a disk");
    assert_eq!(engine.read(|node| node.state().held().in_memory()).expect("a node"), 0);
    engine.commit(None, set("after", "1")).expect("committed");
    let before = (root(&engine), engine.status().expect("a node").name);
    drop(engine);
    let engine = open(&at);
    assert_eq!((root(&engine), engine.status().expect("a node").name), before);
    // What was written before it is in no log any more: it is sent as a state.
    let here = engine.commit(None, set("again", "1")).expect("committed");
    let _cable = Cable::between(&engine, &edge);
    edge.read_at(&here.position, SOON, |_| ()).expect("it comes");
    assert_eq!(root(&edge), root(&engine));
    let mut cursor = Cursor::default();
    let followed = engine.entries_after(&mut cursor, 100, Duration::ZERO).expect("a node");
    assert!(followed.is_none(), "whoever follows from the beginning is told to look at the rows");
}

#[test]
fn a_copied_directory_writes_under_another_name() {
    let dir = tempfile::tempdir().expect("a directory");
    let (from, to) = (dir.path().join("a"), dir.path().join("b"));
    let engine = open(&from);
    engine.commit(None, set("a", "1")).expect("committed");
    let name = engine.status().expect("a node").name;
    drop(engine);
    copy(&from, &to);
    let other = open(&to);
    let renamed = other.status().expect("a node").name;
    assert_ne!(renamed, name);
    assert_eq!(values(&other, "a"), ["1"]);
    drop(other);
    assert_eq!(open(&to).status().expect("a node").name, renamed, "once is enough");
    assert_eq!(open(&from).status().expect("a node").name, name);
}

fn copy(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).expect("a directory");
    for entry in std::fs::read_dir(from).expect("a directory") {
        let entry = entry.expect("an entry");
        let target = to.join(entry.file_name());
        if entry.file_type().expect("a type").is_dir() {
            copy(&entry.path(), &target);
        } else {
            std::fs::copy(entry.path(), target).expect("a copy");
        }
    }
}

#[test]
fn a_reader_is_told_when_what_it_asks_for_does_not_come() {
    let dir = tempfile::tempdir().expect("a directory");
    let engine = open(&dir.path().join("a"));
    let other = open(&dir.path().join("b"));
    let elsewhere = other.commit(None, set("a", "1")).expect("committed").position;
    let error = engine.read_at(&elsewhere, Duration::from_millis(20), |_| ()).expect_err("it never comes");
    assert_eq!(error.kind(), Kind::Stale);
    let error = engine.commit(Some(elsewhere), set("a", "2")).expect_err("it was read elsewhere");
    assert_eq!(error.kind(), Kind::Conflict);
}

#[test]
fn writers_of_one_row_at_one_node_follow_each_other() {
    let dir = tempfile::tempdir().expect("a directory");
    let engine = open(dir.path());
    let writers: Vec<_> = (0..4)
        .map(|writer| {
            let engine = engine.clone();
            task::spawn("writer", move || {
                for nth in 0..50 {
                    engine.commit(None, set("hot", &format!("{writer} {nth}"))).expect("a disk");
                }
            })
            .expect("a thread")
        })
        .collect();
    writers.into_iter().for_each(|writer| writer.join().expect("a writer"));
    assert_eq!(values(&engine, "hot").len(), 1);
    // Given without waiting, they take effect in their order; what comes behind one that waits does not overtake it.
    let (tell, told) = mpsc::channel();
    for nth in 0..200 {
        let tell = tell.clone();
        let done = Box::new(move |outcome: Result<Committed>| {
            tell.send((nth, outcome.expect("a disk").dot.seq)).expect("a reader");
        });
        let name = if nth % 3 == 0 { "other".to_owned() } else { format!("row {}", nth % 7) };
        engine
            .submit(&Sequence::default(), None, move |_| Ok(set(&name, &nth.to_string())), (More::Comes, done))
            .expect("a log");
    }
    let all: Vec<(u64, u64)> = told.iter().take(200).collect();
    assert!(all.is_sorted_by(|a, b| a.0 < b.0 && a.1 < b.1), "{all:?}");
    assert_eq!(values(&engine, "other"), ["198"]);
    for row in 0..7 {
        let last = (0..200).rev().find(|nth| nth % 3 != 0 && nth % 7 == row).expect("one");
        assert_eq!(values(&engine, &format!("row {row}")), [last.to_string()]);
    }
    // What is found wrong only when its turn comes is told to who waits; to the caller when that is at once.
    let (tell, told) = mpsc::channel();
    engine
        .submit(&Sequence::default(), None, |_| Ok(set("hot", "first")), (More::Comes, Box::new(drop)))
        .expect("a log");
    let done = Box::new(move |outcome: Result<Committed>| tell.send(outcome.map(drop)).expect("a reader"));
    let make = |node: &Node| match node.view(&key("hot")).siblings() {
        [one] if one.value == "first" => Err(Error::invalid("writing", "it does not fit any more")),
        _ => Ok(set("hot", "second")),
    };
    let sequence = Sequence::default();
    let (tell_behind, behind) = mpsc::channel();
    let done_behind = Box::new(move |outcome: Result<Committed>| drop(tell_behind.send(outcome.map(drop))));
    let submitted = engine.submit(&sequence, None, make, (More::Comes, done));
    // None behind it is written, whether it waits or not.
    let after = engine.submit(&sequence, None, |_| Ok(set("behind", "x")), (More::Not, done_behind));
    let after = after.and_then(|()| behind.recv_timeout(SOON).expect("an answer"));
    assert_eq!(after.expect_err("one before it failed").kind(), Kind::Conflict);
    assert!(values(&engine, "behind").is_empty());
    let outcome = submitted.and_then(|()| told.recv_timeout(SOON).expect("an answer"));
    assert_eq!(outcome.expect_err("it does not fit").kind(), Kind::Invalid);
    assert_eq!(values(&engine, "hot"), ["first"]);
}
