//! The probe must refuse a server that ignores the conditions.

use std::sync::atomic::{AtomicBool, Ordering};

use super::*;

#[test]
fn answers_are_read() {
    let answer = parse(b"HTTP/1.1 200 OK\r\nETag: \"abc\"\r\n\r\nbody").expect("a whole answer");
    assert_eq!((answer.status, answer.etag.as_deref(), answer.body.as_slice()), (200, Some("\"abc\""), &b"body"[..]));
    assert!(parse(b"HTTP/1.1 200 OK\r\n").is_err());
    assert!(parse(b"nonsense\r\n\r\n").is_err());
}

/// A server that says yes to everything.
#[test]
fn a_server_that_ignores_conditions_is_refused() {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let address = listener.local_addr().expect("its address");
    let stop = AtomicBool::new(false);
    let result = std::thread::scope(|scope| {
        scope.spawn(|| {
            for stream in listener.incoming() {
                let mut stream = stream.expect("a connection");
                if stop.load(Ordering::SeqCst) {
                    return;
                }
                let mut head = [0; 4096];
                let _ = stream.read(&mut head);
                stream.write_all(b"HTTP/1.1 200 OK\r\nETag: \"1\"\r\nConnection: close\r\n\r\n").expect("an answer");
            }
        });
        let result = distrust(address);
        stop.store(true, Ordering::SeqCst);
        // Wakes the server up, so that it sees the flag.
        let _ = TcpStream::connect(address);
        result
    });
    let message = format!("{:#}", result.expect_err("the probe must not pass"));
    assert!(message.contains("a second write with If-None-Match"), "{message}");
}
