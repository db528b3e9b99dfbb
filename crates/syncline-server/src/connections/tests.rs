//! Strangers go, those who are known stay, and a full table of files does not make a node spin.

use std::io::Read as _;

use syncline_base::{Clock as _, SystemClock};
use tokio::io::AsyncReadExt as _;
use tokio::runtime::Runtime;

use super::*;

const LONG: Duration = Duration::from_secs(60);

fn runtime() -> Runtime {
    tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().expect("a runtime")
}

/// A room with a door: where to connect, and what comes in.
fn open(runtime: &Runtime, places: usize, patience: Duration) -> (SocketAddr, mpsc::Receiver<io::Result<Connection>>) {
    let listener = runtime.block_on(TcpListener::bind("127.0.0.1:0")).expect("a port");
    let address = listener.local_addr().expect("its address");
    let (sender, incoming) = mpsc::channel(1);
    runtime.spawn(accept(listener, Room::new(places, patience), sender));
    (address, incoming)
}

fn connect(address: SocketAddr) -> std::net::TcpStream {
    let stream = std::net::TcpStream::connect(address).expect("it listens");
    stream.set_read_timeout(Some(Duration::from_secs(20))).expect("a timeout can be set");
    stream
}

#[test]
fn a_stranger_goes_and_one_that_is_known_stays() {
    let runtime = runtime();
    let (address, mut incoming) = open(&runtime, 8, Duration::from_millis(300));
    let (_silent, mut known) = (connect(address), connect(address));
    let mut taken = || runtime.block_on(incoming.recv()).expect("one comes").expect("no error");
    let (mut first, mut second) = (taken(), taken());
    second.connect_info().let_in();
    let error = runtime.block_on(first.read_u8()).expect_err("nothing was said");
    assert_eq!(error.kind(), ErrorKind::TimedOut);
    // It does not come back either.
    assert!(runtime.block_on(first.read_u8()).is_err());
    SystemClock.sleep(Duration::from_millis(400));
    std::io::Write::write_all(&mut known, b"x").expect("it is open");
    assert_eq!(runtime.block_on(second.read_u8()).expect("it stays"), b'x');
}

#[test]
fn the_one_that_came_first_makes_room() {
    let runtime = runtime();
    let (address, mut incoming) = open(&runtime, 2, LONG);
    let clients = [connect(address), connect(address)];
    let mut taken = || runtime.block_on(incoming.recv()).expect("one comes").expect("no error");
    let (mut first, second) = (taken(), taken());
    let _third_client = connect(address);
    assert!(runtime.block_on(first.read_u8()).is_err(), "it has to go");
    drop(first);
    let third = taken();
    // Who is known does not have to go: the next one waits until a place is free.
    second.connect_info().let_in();
    third.connect_info().let_in();
    let _fourth_client = connect(address);
    let fourth = runtime.block_on(async { tokio::time::timeout(Duration::from_millis(300), incoming.recv()).await });
    assert!(fourth.is_err(), "there is no place");
    drop(second);
    assert!(runtime.block_on(incoming.recv()).is_some());
    drop(clients);
}

#[test]
fn who_is_still_a_stranger_in_the_end_goes() {
    let runtime = runtime();
    let (address, mut incoming) = open(&runtime, 8, LONG);
    let mut client = connect(address);
    let mut taken = runtime.block_on(incoming.recv()).expect("one comes").expect("no error");
    drop(incoming);
    assert!(runtime.block_on(taken.read_u8()).is_err());
    drop(taken);
    assert_eq!(client.read(&mut [0]).expect("it is closed"), 0);
}

#[test]
fn when_no_file_can_be_opened_a_stranger_goes_and_time_passes() {
    let runtime = runtime();
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = listener.local_addr().expect("its address");
    let _client = connect(address);
    let (stream, _) = listener.accept().expect("one comes");
    stream.set_nonblocking(true).expect("it can be");
    let room = Room::new(8, LONG);
    let mut stranger = runtime.block_on(async {
        let place = Arc::clone(&room.places).acquire_owned().await.expect("a place");
        room.welcome(TcpStream::from_std(stream).expect("a stream"), address, place)
    });
    let pause = |error: io::Error| {
        let begun = SystemClock.monotonic();
        runtime.block_on(after(&error, &room));
        SystemClock.monotonic() - begun
    };
    pause(ErrorKind::ConnectionAborted.into());
    assert_eq!(room.strangers().here.len(), 1);
    // EMFILE on Linux; any other one is as good.
    assert!(pause(io::Error::from_raw_os_error(24)) >= PAUSE);
    assert!(room.strangers().here.is_empty());
    assert!(runtime.block_on(stranger.read_u8()).is_err());
}

#[test]
fn there_are_places_for_every_session_and_files_for_the_stores() {
    assert_eq!(places(64, 0, usize::MAX), 320);
    assert_eq!(places(64, 1000, usize::MAX), 1320);
    assert_eq!(places(64, 0, 256), 128);
    assert_eq!(places(0, 0, 0), 8);
    assert_eq!(places(usize::MAX, usize::MAX, 10_000), 5_000);
    assert!(open_files() >= 64);
}
