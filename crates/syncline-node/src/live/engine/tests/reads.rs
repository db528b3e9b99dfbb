//! What readers are promised, and whether replicas hold the same.

use std::sync::atomic::{AtomicBool, Ordering};

use syncline_sync::live::Digest;

use super::*;

/// Waits until something holds.
#[track_caller]
pub(super) fn comes(what: impl Fn() -> bool) {
    let clock = SystemClock;
    let until = clock.monotonic() + SOON;
    while !what() {
        assert!(clock.monotonic() < until, "it does not come");
        clock.sleep(Duration::from_millis(10));
    }
}

fn proved(engine: &Engine) -> Vec<Proof> {
    engine.status().expect("a node").proofs.proofs
}

#[test]
fn connected_replicas_prove_that_they_hold_the_same() {
    let dir = tempfile::tempdir().expect("a directory");
    let (hub, edge) = (open(&dir.path().join("hub")), spoke(&dir.path().join("edge")));
    assert_eq!(edge.prove(SOON).expect_err("alone").kind(), Kind::Unavailable);
    let written = hub.commit(None, set("a", "1")).expect("committed");
    let _cable = Cable::between(&hub, &edge);
    edge.commit(None, set("b", "1")).expect("committed");
    edge.read_at(&written.position, SOON, |_| ()).expect("it comes");
    // It may not have the hub's entry of its own transaction yet: what is proved is what is here, or more.
    edge.prove(SOON).expect("it is connected");
    comes(|| !proved(&edge).is_empty());
    comes(|| edge.read(|node| node.state().pending().len()).expect("a node") == 0);
    hub.prove(SOON).expect("it is connected");
    let frozen = hub.frozen().expect("a node");
    let root = hub.read(|node| node.state().root()).expect("a node");
    assert_eq!((frozen.digest().root, hub.root_of(&frozen).expect("a root")), (root, root));
    for (engine, other) in [(&hub, &edge), (&edge, &hub)] {
        comes(|| proved(engine).first().is_some_and(|proof| proof.coverage == *frozen.coverage()));
        let proof = proved(engine).remove(0);
        assert_eq!((proof.root, proof.replica), (root, other.id().expect("a name")));
        assert!(engine.status().expect("a node").proofs.alarms.is_empty());
    }
}

#[test]
fn replicas_are_compared_while_they_are_written_to() {
    let dir = tempfile::tempdir().expect("a directory");
    let (hub, edge) = (open(&dir.path().join("hub")), spoke(&dir.path().join("edge")));
    let _cable = Cable::between(&hub, &edge);
    let done = Arc::new(AtomicBool::new(false));
    let writer = {
        let (hub, done) = (hub.clone(), Arc::clone(&done));
        task::spawn("writer", move || {
            let mut n = 0_u64;
            while !done.load(Ordering::Relaxed) {
                hub.commit(None, set(&(n % 500).to_string(), &n.to_string())).expect("committed");
                n += 1;
            }
        })
        .expect("a thread")
    };
    comes(|| hub.read(|node| node.state().coverage().len()).expect("a node") > 0);
    // Again, at another place.
    for _ in 0..3 {
        let before = proved(&edge).first().map(|proof| proof.coverage.clone()).unwrap_or_default();
        hub.prove(SOON).expect("it is connected");
        comes(|| {
            proved(&edge).first().is_some_and(|proof| proof.coverage != before && proof.coverage.includes(&before))
        });
    }
    done.store(true, Ordering::Relaxed);
    writer.join().expect("no panic");
    for engine in [&hub, &edge] {
        assert!(engine.status().expect("a node").proofs.alarms.is_empty());
    }
}

#[test]
fn a_root_that_differs_is_an_alarm_that_stays() {
    let dir = tempfile::tempdir().expect("a directory");
    let hub = open(dir.path());
    hub.commit(None, set("a", "1")).expect("committed");
    let (to, told) = mpsc::channel();
    let link = Link { url: Some("http://other".into()), upstream: false, serves: None };
    let peer = hub
        .connect(link, Box::new(move |parcel| if to.send(parcel).is_ok() { Outcome::Sent } else { Outcome::Gone }))
        .expect("a node");
    let frozen = hub.frozen().expect("a node");
    let truth = frozen.digest();
    // Of the same coverage, with another value in the table and one table more.
    let mut tables = truth.tables.clone();
    tables[0].hash = Hash::of(b"another");
    tables.push(syncline_sync::live::TableDigest { table: "z".into(), rows: 4, hash: Hash::of(b"z") });
    let claim = |root, tables: &[syncline_sync::live::TableDigest]| {
        let digest = Digest { root, tables: tables.to_vec() };
        Note::Root(Claim { replica: "0f".repeat(16), coverage: frozen.coverage().clone(), digest })
    };
    assert!(hub.note(peer, claim(Hash::of(b"another"), &tables)).expect("a node"));
    comes(|| hub.status().expect("a node").proofs.alarms.len() == 1);
    let alarm = hub.status().expect("a node").proofs.alarms.remove(0);
    assert_eq!((&alarm.root, &alarm.theirs), (&truth.root.to_string(), &Hash::of(b"another").to_string()));
    assert_eq!((alarm.url.as_deref(), &alarm.replica), (Some("http://other"), &"0f".repeat(16)));
    let tables: Vec<_> = alarm.tables.iter().map(|table| (&table.table[..], table.rows, table.theirs)).collect();
    assert_eq!(tables, [("t", 1, 1), ("z", 0, 4)]);
    // The other one is told what is here, so that it has the alarm, too.
    assert!(told.try_iter().any(|parcel| matches!(parcel, Parcel::Note(Note::Root(mine)) if mine.digest == truth)));
    // Once it is equal, it is no less of an alarm; nor when the node comes again.
    hub.note(peer, claim(truth.root, &truth.tables)).expect("a node");
    comes(|| proved(&hub).len() == 1);
    assert_eq!(hub.status().expect("a node").proofs.alarms, std::slice::from_ref(&alarm));
    drop(hub);
    assert_eq!(open(dir.path()).status().expect("a node").proofs.alarms, [alarm]);
}

#[test]
fn a_bound_on_staleness_holds_or_is_an_error() {
    let dir = tempfile::tempdir().expect("a directory");
    let (hub, edge) = (open(&dir.path().join("hub")), spoke(&dir.path().join("edge")));
    let soon = Duration::from_millis(50);
    assert_eq!(hub.fresh(Duration::ZERO, soon).expect("a hub has what it acknowledged"), Duration::ZERO);
    let error = edge.fresh(SOON, SOON).expect_err("it is known at once that nobody will tell");
    assert_eq!(error.kind(), Kind::Stale);
    edge.tell(Some("http://edge")).expect("a file");
    let cable = Cable::between(&hub, &edge);
    for n in 0..50 {
        let value = n.to_string();
        hub.commit(None, set("a", &value)).expect("committed");
        edge.fresh(Duration::ZERO, SOON).expect("it is connected");
        assert_eq!(values(&edge, "a"), [value], "all that was acknowledged before it asked");
    }
    let lag = edge.status().expect("a node").lag.expect("it has an upstream");
    assert!(lag.connected && lag.ms.is_some_and(|ms| ms < 20_000), "{lag:?}");
    assert_eq!((lag.positions, lag.bytes), (0, Some(0)));
    drop(cable);
    hub.commit(None, set("a", "later")).expect("committed");
    let error = edge.fresh(Duration::ZERO, soon).expect_err("it is cut off");
    assert_eq!(error.kind(), Kind::Stale);
    assert!(error.to_string().contains("--max-staleness"), "{error}");
    // What was known is still known.
    assert!(edge.fresh(SOON * 60, soon).expect("not that old") >= soon);
    assert_eq!(hub.status().expect("a node").lag, None);
}

#[test]
fn a_writer_has_read_its_own_write_and_no_more() {
    let dir = tempfile::tempdir().expect("a directory");
    let engine = open(dir.path());
    let first = engine.commit(None, set("a", "1")).expect("committed");
    assert_eq!(first.read, None, "it had not said what it had read");
    let read = engine.read(Node::context).expect("a node");
    let second = engine.commit(Some(read.clone()), set("a", "2")).expect("committed");
    let read = second.read.expect("nothing in between");
    // Across an opening, too: what it was told says it.
    drop(engine);
    let engine = open(dir.path());
    let third = engine.commit(Some(read.clone()), set("a", "3")).expect("committed");
    assert_eq!(values(&engine, "a"), ["3"]);
    // Somebody else writes here: that is kept beside what follows, and what follows cannot be said to be read alone.
    engine.commit(None, set("a", "other")).expect("committed");
    let fourth = engine.commit(third.read, set("a", "4")).expect("committed");
    let mut both = values(&engine, "a");
    both.sort();
    assert_eq!((both, fourth.read), (vec!["4".to_owned(), "other".to_owned()], None));
}

#[test]
fn a_spoke_writer_has_read_its_own_writes_before_a_hub_has_them() {
    let dir = tempfile::tempdir().expect("a directory");
    let (hub, edge) = (open(&dir.path().join("hub")), spoke(&dir.path().join("edge")));
    let read = edge.read(Node::context).expect("a node");
    let first = edge.commit(Some(read), set("a", "1")).expect("committed");
    let second = edge.commit(first.read, set("a", "2")).expect("committed");
    let read = second.read.expect("nothing in between");
    assert_eq!(values(&edge, "a"), ["2"]);
    let _cable = Cable::between(&hub, &edge);
    hub.read_at(&read, SOON, |_| ()).expect("it comes");
    hub.commit(None, set("a", "hub")).expect("committed");
    edge.commit(Some(read), set("a", "3")).expect("committed");
    let here = edge.read(Node::context).expect("a node");
    hub.read_at(&here, SOON, |_| ()).expect("it comes");
    let mut both = values(&hub, "a");
    both.sort();
    assert_eq!(both, ["3", "hub"], "it had not read what the hub wrote");
}
