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

/// Reads a whole request. Closing a connection with unread bytes resets it, and the answer may go with it.
fn swallow(stream: &mut TcpStream) {
    let mut request = Vec::new();
    let mut buffer = [0; 4096];
    let whole = |request: &[u8]| {
        let end = request.windows(4).position(|w| w == b"\r\n\r\n")?;
        let head = String::from_utf8_lossy(&request[..end]).into_owned();
        let length = head.lines().find_map(|line| line.strip_prefix("Content-Length: ")?.parse::<usize>().ok())?;
        Some(request.len() >= end + 4 + length)
    };
    while whole(&request) != Some(true) {
        let read = stream.read(&mut buffer).expect("the rest of the request");
        if read == 0 {
            return;
        }
        request.extend_from_slice(&buffer[..read]);
    }
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
                swallow(&mut stream);
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
