use std::sync::Mutex;
use std::time::Duration;

use syncline_base::rng::Rng;
use syncline_base::{Clock, Kind};

use super::*;
use crate::backend::conformance;
use crate::backend::directory::Directory;
use crate::backend::memory::Memory;
use crate::backend::object::ObjectBackend;

#[derive(Debug, Default)]
struct Jumping(Mutex<Duration>);

impl Clock for Jumping {
    fn now_ms(&self) -> u64 {
        0
    }
    fn monotonic(&self) -> Duration {
        *self.0.lock().unwrap()
    }
    fn sleep(&self, duration: Duration) {
        *self.0.lock().unwrap() += duration;
    }
}

#[test]
fn every_backend_keeps_the_contract() {
    let directory = tempfile::tempdir().unwrap();
    let plain: Vec<Arc<dyn Backend>> = vec![
        Arc::new(Memory::new()),
        Arc::new(Memory::without_append()),
        Arc::new(Directory::new(directory.path().join("a/b"))),
        Arc::new(ObjectBackend::open("memory:///some/prefix").unwrap()),
    ];
    plain.iter().for_each(conformance::check);
}

/// Runs against a real S3-compatible service when `SYNCLINE_TEST_S3` is its endpoint (`cargo xtask test` starts one).
#[test]
fn a_bucket_keeps_the_contract() {
    let Ok(endpoint) = std::env::var("SYNCLINE_TEST_S3") else { return };
    let bucket = std::env::var("SYNCLINE_TEST_S3_BUCKET").unwrap();
    let client = object_store::aws::AmazonS3Builder::new()
        .with_endpoint(endpoint)
        .with_bucket_name(bucket)
        .with_region("us-east-1")
        .with_access_key_id("test")
        .with_secret_access_key("test")
        .with_allow_http(true)
        .build()
        .unwrap();
    let prefix = object_store::path::Path::from(format!("conformance-{}", Rng::from_os().unique_name()));
    let backend: Arc<dyn Backend> = Arc::new(ObjectBackend::new(Arc::new(client), prefix, "s3 test service").unwrap());
    conformance::check(&backend);
}

#[test]
fn wrappers_keep_the_contract() {
    let clock: Arc<dyn Clock> = Arc::new(Jumping::default());
    let meter = Arc::new(Meter::new(Arc::clone(&clock)));
    let retry = Arc::new(Retry::new(Arc::clone(&clock), 3, 10, Rng::from_seed(1)));
    let limit = Arc::new(Limit::new(clock, 1 << 20));
    let faults = Faults::new(Arc::new(Memory::new()), |_| Fault::None);
    let inner: Arc<dyn Backend> = Arc::new(Wrapped::new(Arc::new(faults), retry));
    let inner: Arc<dyn Backend> = Arc::new(Wrapped::new(inner, limit));
    let all: Arc<dyn Backend> = Arc::new(Wrapped::new(inner, Arc::clone(&meter)));
    conformance::check(&all);
    let counts = meter.counts();
    assert!(counts[&Op::Write].bytes > 20 << 20 && counts[&Op::Write].errors > 0, "{counts:?}");
    // 40 MiB and more at 1 MiB a second, of which one second's worth is free.
    assert!(counts.values().map(|counts| counts.time).sum::<Duration>() > Duration::from_secs(39));
}

#[test]
fn retries_carry_over_lost_replies() {
    let mut calls = 0;
    let faults = Faults::new(Arc::new(Memory::new()), move |call| {
        calls += 1;
        match calls % 3 {
            0 if call.op == Op::Write => Fault::LostReply,
            1 => Fault::Fail(Kind::Unavailable),
            _ => Fault::None,
        }
    });
    let retry = Retry::new(Arc::new(Jumping::default()), 5, 10, Rng::from_seed(1));
    let backend = Wrapped::new(Arc::new(faults), Arc::new(retry));
    let mut version = None;
    for n in 0..30u8 {
        version = Some(backend.swap("head", version.as_ref(), vec![n].into()).unwrap());
        assert_eq!(backend.read_versioned("head").unwrap().unwrap().0, vec![n]);
    }
    // A fault that does not go away is told.
    let broken = Faults::new(Arc::new(Memory::new()), |_| Fault::Fail(Kind::Unavailable));
    let retry = Retry::new(Arc::new(Jumping::default()), 5, 10, Rng::from_seed(1));
    let backend = Wrapped::new(Arc::new(broken), Arc::new(retry));
    assert_eq!(backend.size("x").unwrap_err().kind(), Kind::Unavailable);
}

#[test]
fn names_that_leave_the_root_are_refused() {
    let directory = tempfile::tempdir().unwrap();
    let backend = Directory::new(directory.path());
    for name in ["../x", "/x", "a//b", "a/../b", ".hidden", "a/.tmp", "", "A", "a b"] {
        assert_eq!(backend.put(name, Bytes::new()).unwrap_err().kind(), Kind::Invalid, "{name:?}");
    }
}

#[test]
fn an_upload_can_be_read_while_it_is_published() {
    use object_store::throttle::{ThrottleConfig, ThrottledStore};
    let slow = ThrottleConfig { wait_put_per_call: Duration::from_millis(300), ..ThrottleConfig::default() };
    let client = ThrottledStore::new(object_store::memory::InMemory::new(), slow);
    let backend = ObjectBackend::new(Arc::new(client), "p".into(), "a slow place").unwrap();
    let upload = backend.create("packs/slow").unwrap();
    upload.write(&[Bytes::from_static(b"one two three")]).unwrap();
    let publishing = {
        let upload = Arc::clone(&upload);
        syncline_base::task::spawn("publish", move || upload.publish()).unwrap()
    };
    let mut reads = 0;
    while !publishing.is_finished() {
        assert_eq!(upload.read(4..7).unwrap(), "two");
        reads += 1;
        syncline_base::SystemClock.sleep(Duration::from_millis(5));
    }
    assert!(reads > 5, "{reads}");
    publishing.join().unwrap().unwrap();
    assert_eq!(backend.read("packs/slow", 0..13).unwrap(), "one two three");
}

/// A service that says that a name is taken, and does not say by what.
#[test]
fn a_name_whose_owner_cannot_be_read_is_no_conflict() {
    use std::io::{Read, Write};
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let endpoint = format!("http://{}", listener.local_addr().unwrap());
    let service = syncline_base::task::spawn("a-service", move || {
        for _ in 0..2 {
            let (mut stream, _) = listener.accept().unwrap();
            let mut request = Vec::new();
            while !request.windows(4).any(|four| four == b"\r\n\r\n") {
                let mut more = [0; 4096];
                let read = stream.read(&mut more).unwrap();
                request.extend_from_slice(&more[..read]);
            }
            let status = if request.starts_with(b"PUT") { "412 Precondition Failed" } else { "403 Forbidden" };
            write!(stream, "HTTP/1.1 {status}\r\ncontent-length: 0\r\nconnection: close\r\n\r\n").unwrap();
        }
    })
    .unwrap();
    let client = object_store::aws::AmazonS3Builder::new()
        .with_endpoint(endpoint)
        .with_bucket_name("bucket")
        .with_region("us-east-1")
        .with_access_key_id("test")
        .with_secret_access_key("test")
        .with_allow_http(true)
        .build()
        .unwrap();
    let backend = ObjectBackend::new(Arc::new(client), object_store::path::Path::default(), "a service").unwrap();
    assert_eq!(backend.put("packs/1", Bytes::new()).unwrap_err().kind(), Kind::Denied);
    service.join().unwrap();
}
