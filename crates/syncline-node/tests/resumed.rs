//! Transfers that are cut off and run again: what has come is not sent again, and waits for it.

use bytes::Bytes;
use syncline_base::Kind;
use syncline_node::ops::{gc, transfer, verify};
use syncline_node::progress::Silent;
use syncline_node::sync::{Counters, Error, Result, Transport};
use syncline_node::{Replica, loopback};

use crate::support::Place;

/// A connection that breaks after so many bytes have been received.
struct Breaking {
    inner: Box<dyn Transport>,
    left: u64,
}

impl Breaking {
    fn check(&self) -> Result<()> {
        if self.inner.counters().received <= self.left {
            return Ok(());
        }
        Err(Error::Transport { kind: Kind::Unavailable, message: "the cable was pulled".into() })
    }
}

impl Transport for Breaking {
    fn peer(&self) -> String {
        self.inner.peer()
    }

    fn send(&mut self, message: Bytes) -> Result<()> {
        self.check()?;
        self.inner.send(message)
    }

    fn receive(&mut self) -> Result<Option<Bytes>> {
        self.check()?;
        self.inner.receive()
    }

    fn try_receive(&mut self) -> Result<Option<Bytes>> {
        self.check()?;
        self.inner.try_receive()
    }

    fn finish(&mut self) {
        self.inner.finish();
    }

    fn counters(&self) -> Counters {
        self.inner.counters()
    }
}

fn pull(to: &Place, from: &Place, break_after: u64, fetch_only: bool) -> syncline_node::Result<transfer::Report> {
    let inner = loopback::connect(from.reopen())?;
    let mut transport = Breaking { inner, left: break_after };
    let request = transfer::Request { url: "hub".into(), fetch_only, ..transfer::Request::default() };
    transfer::pull(&to.replica, &request, &mut transport, &Silent)
}

fn arrived(replica: &Replica) -> usize {
    replica.refs().expect("they can be read").arrived.len()
}

fn collect(place: &Place, grace_ms: u64) {
    for _ in 0..2 {
        place.replica.clock().sleep(std::time::Duration::from_millis(2));
        let request = gc::Request { grace_ms, ..gc::Request::default() };
        gc::run(&place.replica, &request, &Silent).expect("nothing is in the way");
    }
}

fn sound(replica: &Replica) {
    let seen = verify::run(replica, &verify::Request { deep: true }, &Silent).expect("it can be read");
    assert!(seen.sound, "{seen:?}");
}

/// 2,000 rows of 320 bytes of noise, and then 900 of them anew, in so many versions: many messages.
fn hub(versions: u64) -> Place {
    let hub = Place::bare();
    let mut noise = syncline_base::rng::Rng::from_seed(7);
    for version in 0..=versions {
        let rows = if version == 0 { 0..2_000 } else { version * 100..version * 100 + 900 };
        let mut text = "id,a\n".to_owned();
        for id in rows {
            let cell: String = (0..40).map(|_| format!("{:016x}", noise.next_u64())).collect();
            text += &format!("{id},{cell}\n");
        }
        hub.upsert(&text, &format!("version {version}"));
    }
    hub
}

#[test]
fn a_pull_that_was_cut_off_is_not_sent_the_same_versions_again() {
    let hub = hub(10);
    let whole = pull(&Place::bare(), &hub, u64::MAX, false).expect("the hub has versions");
    assert_eq!(whole.commits, 11);
    let copy = Place::bare();
    let half = whole.cost.bytes_received / 2;
    let error = pull(&copy, &hub, half, false).expect_err("the cable was pulled");
    assert_eq!(error.kind(), Kind::Unavailable);
    assert_eq!(arrived(&copy.replica), 1);
    sound(&copy.reopen());
    // It outlives a collection with a grace, and takes up where it stopped.
    collect(&copy, 1);
    let rest = pull(&copy, &hub, u64::MAX, false).expect("nothing is in the way");
    assert!((1..=7).contains(&rest.commits), "{rest:?}");
    assert!(rest.cost.bytes_received < half * 3 / 2, "{rest:?}");
    assert_eq!(arrived(&copy.replica), 0);
    assert_eq!(copy.root(), hub.root());
    sound(&copy.reopen());
}

#[test]
fn what_a_cut_off_pull_has_brought_goes_when_a_collection_is_told_so() {
    let (hub, copy) = (hub(10), Place::bare());
    let whole = pull(&Place::bare(), &hub, u64::MAX, false).expect("the hub has versions");
    pull(&copy, &hub, whole.cost.bytes_received / 2, false).expect_err("the cable was pulled");
    collect(&copy, 0);
    assert_eq!(arrived(&copy.replica), 0);
    let again = pull(&copy, &hub, u64::MAX, false).expect("nothing is in the way");
    assert_eq!(again.commits, 11);
    sound(&copy.reopen());
}

#[test]
fn what_was_fetched_is_not_fetched_again() {
    let (hub, copy) = (hub(2), Place::bare());
    pull(&copy, &hub, u64::MAX, false).expect("the hub has versions");
    hub.upsert("id,a\n1,one\n", "another");
    hub.upsert("id,a\n2,two\n", "and another");
    let first = pull(&copy, &hub, u64::MAX, true).expect("nothing is in the way");
    assert_eq!((first.commits, first.deltas), (2, 2));
    let second = pull(&copy, &hub, u64::MAX, true).expect("nothing is in the way");
    assert_eq!((second.commits, second.deltas, second.objects), (0, 0, 0));
    let merged = pull(&copy, &hub, u64::MAX, false).expect("nothing is in the way");
    assert_eq!((merged.commits, merged.deltas, merged.objects), (0, 0, 0));
    assert_eq!(copy.root(), hub.root());
}

#[test]
fn a_push_whose_move_is_refused_is_not_sent_again() {
    let (hub, ours) = (hub(1), Place::bare());
    pull(&ours, &hub, u64::MAX, false).expect("the hub has versions");
    let all = (0..2_000).fold("id\n".to_owned(), |text, id| text + &format!("{id}\n"));
    ours.upsert(&(0..900).fold("id,a\n".to_owned(), |text, id| text + &format!("{id},new {id}\n")), "edits");
    let request = syncline_node::ops::import::Request {
        table: "t".into(),
        mode: syncline_node::import::Mode::Delete,
        message: Some("all".into()),
        allow_mass_delete: true,
        ..Default::default()
    };
    let input =
        syncline_node::import::Input::Reader { name: "keys.csv".into(), reader: Box::new(std::io::Cursor::new(all)) };
    syncline_node::ops::import::run(&ours.replica, &request, vec![input], &crate::support::silent())
        .expect("it is allowed");
    let push = |allow_mass_delete: bool| {
        let mut transport = loopback::connect(hub.reopen())?;
        let request = transfer::Request { url: "hub".into(), allow_mass_delete, ..transfer::Request::default() };
        transfer::push(&ours.replica, &request, &mut *transport, &Silent)
    };
    push(false).expect_err("it deletes all rows");
    assert_eq!(arrived(&hub.replica), 1);
    let allowed = push(true).expect("it is allowed");
    assert_eq!((allowed.commits, allowed.deltas, allowed.objects), (0, 0, 0));
    assert_eq!(arrived(&hub.replica), 0);
    assert_eq!(hub.root(), ours.root());
}

#[test]
fn a_shallow_clone_that_was_cut_off_does_not_stand_for_a_whole_one() {
    let hub = hub(10);
    let dir = tempfile::tempdir().expect("the system has room for a directory");
    let clone = |depth: Option<u32>, break_after: u64| {
        let inner = loopback::connect(hub.reopen())?;
        let mut transport = Breaking { inner, left: break_after };
        let request = transfer::CloneRequest {
            url: "hub".into(),
            dir: dir.path().join("copy"),
            bare: true,
            tables: None,
            depth,
            paths: None,
        };
        transfer::clone(&request, crate::support::env(), &mut transport, &Silent)
    };
    clone(Some(6), 1 << 20).expect_err("the cable was pulled");
    clone(None, u64::MAX).expect("nothing is in the way");
    let copy = crate::support::open(&dir.path().join("copy"));
    let refs = copy.refs().expect("they can be read");
    assert_eq!(syncline_tree::Log::new(copy.store(), refs.commits()).filter(Result::is_ok).count(), 11);
    assert!(refs.shallow.is_empty());
    sound(&copy);
}

#[test]
fn what_the_peer_has_under_another_branch_is_not_sent_again() {
    let (hub, ours) = (hub(1), Place::bare());
    pull(&ours, &hub, u64::MAX, false).expect("the hub has versions");
    let push = || {
        let mut transport = loopback::connect(hub.reopen())?;
        let request = transfer::Request { url: "hub".into(), ..transfer::Request::default() };
        transfer::push(&ours.replica, &request, &mut *transport, &Silent)
    };
    ours.branch("side");
    ours.upsert(&(0..900).fold("id,a\n".to_owned(), |text, id| text + &format!("{id},new {id}\n")), "edits");
    assert_eq!(push().expect("nothing is in the way").deltas, 1);
    ours.switch("main");
    ours.merge("side").expect("main has nothing of its own");
    let again = push().expect("nothing is in the way");
    assert_eq!((again.commits, again.deltas, again.objects), (0, 0, 0));
    assert_eq!(hub.root(), ours.root());
}
