//! Clone, push and pull over a socket, and what they cost.

use std::sync::Arc;
use std::time::Duration;

use arrow_array::{ArrayRef, BinaryArray, Int64Array, RecordBatch};
use syncline_api::client::Options;
use syncline_api::pipe::Limits;
use syncline_base::{Clock, Kind, SystemClock};
use syncline_node::sync::{self, Counters, Transport, wire};
use syncline_server::Settings;
use syncline_server::remote::{Remote, connect};
use syncline_tree::schema::{Field, Schema, Type};
use syncline_tree::{Changes, Table};

use crate::support::{Node, Place};

#[test]
fn a_dataset_goes_up_comes_down_and_follows() {
    let node = Node::new();
    let ada = Place::new();
    ada.edit(0..20_000, "first");
    ada.push(&mut Remote::new(&node.client())).unwrap();
    let bob = node.clone();
    assert_eq!((bob.head(), bob.root()), (ada.head(), ada.root()));

    ada.edit([7], "second");
    let (pushed, traffic) = ada.push(&mut Remote::new(&node.client())).unwrap();
    assert_eq!((pushed.deltas, pushed.objects), (1, 0));
    assert!(traffic.round_trips <= 3, "{traffic:?}");
    assert!(traffic.bytes_sent + traffic.bytes_received <= 1_000, "{traffic:?}");

    let (pulled, traffic) = bob.pull(&mut Remote::new(&node.client()));
    assert_eq!((pulled.deltas, pulled.objects), (1, 0));
    assert!(traffic.bytes_sent + traffic.bytes_received <= 1_000, "{traffic:?}");
    assert_eq!((bob.head(), bob.root()), (ada.head(), ada.root()));
}

#[test]
fn objects_larger_than_a_message_arrive() {
    let node = Node::new();
    let ada = Place::new();
    let store = ada.replica.store();
    // Bytes that do not compress, in one object of 21 MiB.
    let mut bytes = vec![0; 21 << 20];
    syncline_base::rng::Rng::from_seed(1).fill(&mut bytes);
    let id = store.put(&bytes).unwrap();
    store.flush().unwrap();
    let (got, _) = syncline_node::sync::fetch(&mut Remote::new(&node.client()), vec![id]).unwrap();
    assert!(got.is_empty(), "the node does not have it");
    let there = node.replica().store().put(&bytes).unwrap();
    assert_eq!(there, id);
    let (got, _) = syncline_node::sync::fetch(&mut Remote::new(&node.client()), vec![id]).unwrap();
    assert_eq!(got[0].1, bytes);
}

#[test]
fn a_rate_limit_is_kept() {
    let node = Node::new();
    let ada = Place::new();
    ada.edit(0..60_000, "much");
    let limits = Limits { rate: Some(2 << 20), ..Limits::default() };
    let client = node.client_with(Options { limits, ..Options::default() });
    let begun = SystemClock.monotonic();
    let (_, traffic) = ada.push(&mut Remote::new(&client)).unwrap();
    let seconds = (SystemClock.monotonic() - begun).as_secs_f64();
    // The last message is paid for after it has gone.
    let paid = traffic.bytes_sent.saturating_sub(1_200_000) as f64 / f64::from(2 << 20);
    assert!(traffic.bytes_sent > 1_800_000 && seconds >= paid, "{traffic:?} in {seconds} s");
}

#[test]
fn what_is_not_there_is_named() {
    let node = Node::new();
    let url = |dataset: &str| format!("http://{}/{dataset}", node.running.address());
    let mut remote = connect(&url("nothing"), Options::default()).unwrap();
    let place = Place::new();
    let error = syncline_node::sync::pull(&place.replica, &mut remote, &Default::default(), &mut ()).unwrap_err();
    assert_eq!(error.kind(), Kind::NotFound);
    assert!(error.to_string().contains("nothing") && error.to_string().contains("it has d"), "{error}");
    assert_eq!(connect(&url(""), Options::default()).unwrap_err().kind(), Kind::Invalid);
}

#[test]
fn a_port_where_nobody_listens_is_unavailable() {
    let address = {
        let node = Node::new();
        node.running.address()
    };
    let options = Options { connect: Duration::from_secs(2), ..Options::default() };
    let error = connect(&format!("http://{address}/d"), options).unwrap_err();
    assert_eq!(error.kind(), Kind::Unavailable);
    assert!(error.to_string().contains(&address.to_string()), "{error}");
}

#[test]
fn a_silent_peer_is_an_error_that_names_it() {
    // A socket that accepts and says nothing.
    let silent = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = silent.local_addr().unwrap();
    let limits = Limits { stall: Duration::from_millis(300), ..Limits::default() };
    let options = Options { limits, connect: Duration::from_secs(2), ..Options::default() };
    let place = Place::new();
    let outcome = connect(&format!("http://{address}/d"), options).map(|mut remote| {
        syncline_node::sync::pull(&place.replica, &mut remote, &Default::default(), &mut ()).unwrap_err()
    });
    let (kind, text) = match outcome {
        Ok(error) => (error.kind(), error.to_string()),
        Err(error) => (error.kind(), error.to_string()),
    };
    assert_eq!(kind, Kind::Unavailable);
    assert!(text.contains(&address.to_string()), "{text}");
}

#[test]
fn a_peer_that_falls_silent_is_waited_for_once() {
    // As a machine that hangs: its sockets stay open.
    let silent = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let stall = Duration::from_secs(3);
    let options = Options { limits: Limits { stall, ..Limits::default() }, ..Options::default() };
    let mut remote = connect(&format!("http://{}/d", silent.local_addr().unwrap()), options).unwrap();
    let place = Place::new();
    place.edit(0..10, "first");
    let started = SystemClock.monotonic();
    let error = place.push(&mut remote).unwrap_err();
    let took = SystemClock.monotonic() - started;
    assert_eq!(error.kind(), Kind::Unavailable, "{error}");
    assert!(took < stall + stall / 2, "it took {took:?}");
}

#[test]
fn a_node_that_stops_cuts_transfers_and_they_resume() {
    let node = Node::new();
    let ada = Place::new();
    ada.edit(0..40_000, "much");
    let limits = Limits { rate: Some(2 << 20), ..Limits::default() };
    let client = node.client_with(Options { limits, ..Options::default() });
    let error = std::thread::scope(|scope| {
        let pushing = scope.spawn(|| ada.push(&mut Remote::new(&client)).unwrap_err());
        SystemClock.sleep(Duration::from_millis(300));
        drop(node.running);
        pushing.join().unwrap()
    });
    assert_eq!(error.kind(), Kind::Unavailable, "{error}");
    let settings = syncline_server::Settings { listen: ([127, 0, 0, 1], 0).into(), ..Default::default() };
    let running = syncline_server::start(&settings, node.hub).unwrap();
    let mut remote = connect(&format!("http://{}/d", running.address()), Options::default()).unwrap();
    ada.push(&mut remote).unwrap();
    drop(node.dir);
}

/// Limits under which a test can wait.
fn short() -> Limits {
    let (stall, heartbeat) = (Duration::from_millis(1_000), Duration::from_millis(100));
    Limits { stall, heartbeat, ..Limits::default() }
}

/// A replica that is at work for a while when it has got a little, and says no more than that it lives.
struct AtWork {
    inner: Remote,
    rest: Option<Duration>,
}

impl Transport for AtWork {
    fn peer(&self) -> String {
        self.inner.peer()
    }

    fn send(&mut self, message: bytes::Bytes) -> sync::Result<()> {
        self.inner.send(message)
    }

    fn receive(&mut self) -> sync::Result<Option<bytes::Bytes>> {
        if self.inner.counters().received > 1 << 20
            && let Some(rest) = self.rest.take()
        {
            SystemClock.sleep(rest);
        }
        self.inner.receive()
    }

    fn try_receive(&mut self) -> sync::Result<Option<bytes::Bytes>> {
        if self.rest.is_some() { Ok(None) } else { self.inner.try_receive() }
    }

    fn finish(&mut self) {
        self.inner.finish();
    }

    fn counters(&self) -> Counters {
        self.inner.counters()
    }
}

#[test]
fn a_sender_waits_for_a_receiver_that_is_at_work() {
    let node = Node::with(Settings { limits: short(), ..Settings::default() });
    let ada = Place::new();
    // More than the queue and the windows hold, in a shape that does not compress.
    let store = ada.replica.store();
    let mut rng = syncline_base::rng::Rng::from_seed(1);
    let mut noise = vec![0; 1 << 20];
    let cells: BinaryArray = (0..80).map(|_| (rng.fill(&mut noise), Some(noise.clone())).1).collect();
    let schema = Schema::new(vec![Field::new("id", Type::Int64, false), Field::new("b", Type::Binary, true)], &["id"]);
    let table = Table::create(store, schema.unwrap()).unwrap();
    let columns: Vec<ArrayRef> = vec![Arc::new((0..80).collect::<Int64Array>()), Arc::new(cells)];
    let rows = Changes::upsert(RecordBatch::try_new(table.schema().arrow(), columns).unwrap());
    ada.commit("t", table.apply([Ok(rows)]).unwrap().0.to_ref(), "much");
    let client = node.client_with(Options { limits: short(), ..Options::default() });
    ada.push(&mut Remote::new(&client)).unwrap();
    let (bob, started) = (Place::new(), SystemClock.monotonic());
    let mut transport = AtWork { inner: Remote::new(&client), rest: Some(Duration::from_millis(3_500)) };
    bob.pull(&mut transport);
    assert!(SystemClock.monotonic() - started > Duration::from_millis(3_500) && transport.rest.is_none());
    assert_eq!(bob.root(), ada.root());
}

#[test]
fn signs_of_life_alone_do_not_keep_a_session() {
    let limits = Limits { stall: Duration::from_millis(600), busy: Duration::from_millis(400), ..short() };
    let node = Node::with(Settings { limits, sessions: 1, ..Settings::default() });
    let client = node.client();
    let hello = wire::Message::Hello { version: wire::VERSION, want: wire::Want::Push { moves: Vec::new() } };
    let hello = wire::encode_frame(&[hello]);
    // Before the first message, and after it.
    for (first, most) in [(bytes::Bytes::new(), 900), (hello, 1_300)] {
        let begun = SystemClock.monotonic();
        let mut session = client.transfer("d");
        session.send(first).unwrap();
        while SystemClock.monotonic() - begun < Duration::from_secs(5) && session.send(bytes::Bytes::new()).is_ok() {
            SystemClock.sleep(Duration::from_millis(100));
        }
        let lived = SystemClock.monotonic() - begun;
        assert!(lived < Duration::from_millis(most + 1_500), "it lived for {lived:?}");
        // There is room for another one.
        Place::new().pull(&mut Remote::new(&node.client()));
    }
}
