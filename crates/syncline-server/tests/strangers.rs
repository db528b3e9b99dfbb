//! Connections that do not say who they are: they do not stay, and they keep nobody out.

use std::io::{ErrorKind, Read as _, Write as _};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use syncline_api::Target;
use syncline_api::client::{Client, Options};
use syncline_api::pipe::Limits;
use syncline_base::{Clock as _, Kind, SystemClock, task};
use syncline_server::Settings;

use crate::safety::{TOKEN, certificate};
use crate::support::Node;

/// Reads until the other end has closed the connection; says whether it did within ten seconds.
fn is_closed(mut stream: TcpStream) -> bool {
    let begun = SystemClock.monotonic();
    stream.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
    let mut heard = [0; 1_024];
    while SystemClock.monotonic() - begun < Duration::from_secs(10) {
        match stream.read(&mut heard) {
            Ok(0) => return true,
            Ok(_) => {}
            Err(error) => return error.kind() == ErrorKind::ConnectionReset,
        }
    }
    false
}

#[test]
fn who_does_not_say_who_it_is_is_let_go() {
    let limits = Limits { stall: Duration::from_millis(1_000), ..Limits::default() };
    let (tls, _) = certificate();
    let safe = Settings { tls: Some(tls), token: Some(TOKEN.into()), limits, ..Settings::default() };
    let plain = Settings { token: Some(TOKEN.into()), limits, ..Settings::default() };
    for settings in [safe, plain] {
        let secure = settings.tls.is_some();
        let node = Node::with(settings);
        let open = || TcpStream::connect(node.running.address()).unwrap();
        // Without a word; and with an HTTP/2 preface and an empty SETTINGS frame, but no request.
        let (silent, mut polite) = (open(), open());
        if !secure {
            polite.write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0").unwrap();
        }
        assert!(is_closed(silent), "TLS: {secure}");
        assert!(is_closed(polite), "TLS: {secure}");
    }
}

#[test]
fn a_wrong_token_does_not_let_one_stay() {
    let limits = Limits { stall: Duration::from_millis(1_000), ..Limits::default() };
    let node = Node::with(Settings { token: Some(TOKEN.into()), limits, ..Settings::default() });
    let (address, taken) = counted(node.running.address());
    // How many connections a client makes that asks twice, and is silent for longer than a stall between.
    let ask_twice = |token: &str| {
        let before = taken.load(Ordering::Relaxed);
        let target = Target::parse(&format!("http://{address}/d")).unwrap();
        let client = Client::connect(target, Options { token: Some(token.into()), ..Options::default() }).unwrap();
        let first = client.datasets().map_err(|error| error.kind());
        SystemClock.sleep(Duration::from_millis(2_500));
        assert_eq!(client.datasets().map_err(|error| error.kind()), first);
        (first, taken.load(Ordering::Relaxed) - before)
    };
    assert_eq!(ask_twice("not the token at all"), (Err(Kind::Denied), 2));
    assert_eq!(ask_twice(TOKEN), (Ok(vec!["d".to_owned()]), 1));
}

/// A way to a node, and how many connections have gone it.
fn counted(node: SocketAddr) -> (SocketAddr, Arc<AtomicUsize>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let (address, count) = (listener.local_addr().unwrap(), Arc::new(AtomicUsize::new(0)));
    let counter = Arc::clone(&count);
    let copy = |mut from: TcpStream, mut to: TcpStream| {
        let copying = task::spawn("copy", move || {
            let _ = std::io::copy(&mut from, &mut to);
            let _ = (from.shutdown(Shutdown::Both), to.shutdown(Shutdown::Both));
        });
        drop(copying.unwrap());
    };
    let accepting = task::spawn("accept", move || {
        for client in listener.incoming() {
            counter.fetch_add(1, Ordering::Relaxed);
            let (client, server) = (client.unwrap(), TcpStream::connect(node).unwrap());
            copy(client.try_clone().unwrap(), server.try_clone().unwrap());
            copy(server, client);
        }
    });
    drop(accepting.unwrap());
    (address, count)
}

#[test]
fn any_number_of_silent_connections_keeps_nobody_out() {
    let (tls, authority) = certificate();
    let settings =
        Settings { tls: Some(tls), token: Some(TOKEN.into()), sessions: 1, replicas: 0, ..Settings::default() };
    let node = Node::with(settings);
    let address = node.running.address();
    let mut silent: Vec<TcpStream> = (0..200).map(|_| TcpStream::connect(address).unwrap()).collect();
    let target = Target::parse(&format!("https://localhost:{}/d", address.port())).unwrap();
    let options = Options { token: Some(TOKEN.into()), authority: Some(authority), ..Options::default() };
    let begun = SystemClock.monotonic();
    let client = Client::connect(target, options).unwrap();
    assert_eq!(client.datasets().unwrap(), ["d"]);
    // Long before the silent ones are at the end of their time.
    assert!(SystemClock.monotonic() - begun < Duration::from_secs(15));
    // The one that came first has made room, and the last one has still time to speak.
    assert!(is_closed(silent.remove(0)));
    let mut last = silent.pop().unwrap();
    last.set_read_timeout(Some(Duration::from_millis(100))).unwrap();
    assert_eq!(last.read(&mut [0]).unwrap_err().kind(), ErrorKind::WouldBlock);
}
