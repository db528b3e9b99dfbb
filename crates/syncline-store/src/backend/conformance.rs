//! The contract of [`Backend`] as a test. Every backend passes it; a new one is tested by one call.

use std::sync::Arc;

use bytes::Bytes;
use syncline_base::Kind;

use super::{Backend, Version};

/// Checks a backend on an empty place. Panics, saying what it found, when the contract is broken.
///
/// # Panics
/// When the backend does not keep the contract.
pub fn check(backend: &Arc<dyn Backend>) {
    objects(&**backend);
    uploads(&**backend);
    listings(&**backend);
    swaps(backend);
    locks(&**backend);
    if backend.caps().append {
        appends(&**backend);
    } else {
        kind(backend.append("journal/a", 0, &[bytes("x")]), Kind::Invalid, "append where it cannot");
    }
}

fn bytes(text: &'static str) -> Bytes {
    Bytes::from_static(text.as_bytes())
}

#[track_caller]
fn kind<T: std::fmt::Debug>(result: crate::error::Result<T>, expected: Kind, what: &str) {
    match result {
        Ok(value) => panic!("{what} gave {value:?}"),
        Err(error) => assert_eq!(error.kind(), expected, "{what} gave {error}"),
    }
}

#[track_caller]
fn good<T>(result: crate::error::Result<T>) -> T {
    match result {
        Ok(value) => value,
        Err(error) => panic!("{error}"),
    }
}

fn objects(backend: &dyn Backend) {
    kind(backend.read("packs/a", 0..1), Kind::NotFound, "reading what is not there");
    assert_eq!(good(backend.size("packs/a")), None);
    assert_eq!(good(backend.read_versioned("packs/a")), None);
    good(backend.delete("packs/a"));
    good(backend.put("packs/a", bytes("hello world")));
    assert_eq!(good(backend.size("packs/a")), Some(11));
    assert_eq!(good(backend.read("packs/a", 0..11)), "hello world");
    assert_eq!(good(backend.read("packs/a", 6..9)), "wor");
    assert_eq!(good(backend.read("packs/a", 11..11)), "");
    assert_eq!(good(backend.read_many("packs/a", &[6..11, 0..5, 4..7])), ["world", "hello", "o w"]);
    kind(backend.read("packs/a", 6..12), Kind::Corrupt, "reading beyond the end");
    kind(backend.put("packs/a", bytes("other")), Kind::Conflict, "putting a taken name");
    assert_eq!(good(backend.read("packs/a", 0..5)), "hello");
    good(backend.put("packs/empty", Bytes::new()));
    assert_eq!(good(backend.size("packs/empty")), Some(0));
    good(backend.delete("packs/a"));
    good(backend.delete("packs/a"));
    kind(backend.read("packs/a", 0..1), Kind::NotFound, "reading what was deleted");
    good(backend.put("packs/a", bytes("again")));
    assert_eq!(good(backend.read("packs/a", 0..5)), "again");
}

fn uploads(backend: &dyn Backend) {
    let upload = good(backend.create("packs/up"));
    good(upload.write(&[bytes("one "), bytes("two ")]));
    assert_eq!(good(backend.size("packs/up")), None, "an upload shows before it is published");
    assert!(!good(backend.list("packs/")).iter().any(|(name, _)| name == "packs/up"));
    good(upload.write(&[bytes("three")]));
    assert_eq!(good(upload.read(4..8)), "two ");
    kind(upload.read(4..80), Kind::Corrupt, "reading beyond the end of an upload");
    good(upload.publish());
    // The reply to the first try was lost, or what came after the naming failed.
    good(upload.publish());
    assert_eq!(good(upload.read(4..8)), "two ");
    drop(upload);
    assert_eq!(good(backend.read("packs/up", 0..13)), "one two three");
    let late = good(backend.create("packs/up"));
    good(late.write(&[bytes("late")]));
    kind(late.publish(), Kind::Conflict, "publishing to a taken name");
    assert_eq!(good(backend.size("packs/up")), Some(13));
    drop(good(backend.create("packs/dropped")));
    assert_eq!(good(backend.size("packs/dropped")), None);
    let big: Vec<u8> = (0..20u32 << 18).flat_map(u32::to_le_bytes).collect();
    let big = Bytes::from(big);
    let upload = good(backend.create("packs/big"));
    for from in (0..big.len()).step_by(3 << 20) {
        good(upload.write(&[big.slice(from..big.len().min(from + (3 << 20)))]));
    }
    good(upload.publish());
    good(upload.publish());
    assert!(good(backend.read("packs/big", 0..big.len() as u64)) == big, "a long upload reads back differently");
    good(backend.clean(0));
    assert_eq!(good(backend.size("packs/big")), Some(big.len() as u64));
    good(backend.delete("packs/big"));
}

fn listings(backend: &dyn Backend) {
    assert_eq!(good(backend.list("none/")), []);
    for name in ["list/b", "list/a", "list/c.d_e-f", "listing"] {
        good(backend.put(name, bytes("123")));
    }
    let names: Vec<(String, u64)> = ["list/a", "list/b", "list/c.d_e-f"].map(|name| (name.to_owned(), 3)).into();
    assert_eq!(good(backend.list("list/")), names);
    let all = good(backend.list(""));
    assert!(all.is_sorted() && all.iter().any(|(name, _)| name == "listing"));
    assert!(names.iter().all(|name| all.contains(name)));
}

fn swaps(backend: &Arc<dyn Backend>) {
    let first = good(backend.swap("head", None, bytes("one")));
    kind(backend.swap("head", None, bytes("two")), Kind::Conflict, "swapping as if nothing were there");
    // The reply to the first try was lost: the same bytes again are not a conflict.
    assert_eq!(good(backend.swap("head", None, bytes("one"))), first);
    assert_eq!(good(backend.read_versioned("head")), Some((bytes("one"), first.clone())));
    let second = good(backend.swap("head", Some(&first), bytes("two")));
    assert_ne!(first, second);
    assert_eq!(good(backend.swap("head", Some(&first), bytes("two"))), second);
    kind(backend.swap("head", Some(&first), bytes("three")), Kind::Conflict, "swapping an old version");
    kind(backend.swap("head", Some(&Version("x".to_owned())), bytes("three")), Kind::Conflict, "an unknown version");
    kind(backend.swap("nothing", Some(&second), bytes("x")), Kind::Conflict, "swapping what is not there");
    assert_eq!(good(backend.read_versioned("head")), Some((bytes("two"), second)));
    let threads: Vec<_> = (0..4u8)
        .filter_map(|thread| {
            let backend = Arc::clone(backend);
            let count = move || {
                for round in 0..5u8 {
                    loop {
                        let now = good(backend.read_versioned("counter"));
                        let (text, version) = now.map_or((Bytes::new(), None), |(text, version)| (text, Some(version)));
                        let next = [&text[..], &[thread, round]].concat();
                        match backend.swap("counter", version.as_ref(), next.into()) {
                            Ok(_) => break,
                            Err(error) => assert_eq!(error.kind(), Kind::Conflict, "{error}"),
                        }
                    }
                }
            };
            syncline_base::task::spawn("swapper", count).ok()
        })
        .collect();
    for thread in threads {
        assert!(thread.join().is_ok(), "a swapper failed");
    }
    let counted = good(backend.read_versioned("counter")).map(|(text, _)| text.len());
    assert_eq!(counted, Some(40), "swaps were lost");
}

fn locks(backend: &dyn Backend) {
    let held = good(backend.lock("writer"));
    assert!(held.is_some(), "a free lock was refused");
    if backend.caps().append {
        assert!(good(backend.lock("writer")).is_none(), "a lock was given twice");
        assert!(good(backend.lock("gc")).is_some(), "locks of other names are other locks");
    }
    drop(held);
    assert!(good(backend.lock("writer")).is_some(), "a lock was not let go");
}

fn appends(backend: &dyn Backend) {
    kind(backend.append("journal/a", 5, &[bytes("x")]), Kind::NotFound, "appending to what is not there");
    good(backend.append("journal/a", 0, &[bytes("first")]));
    good(backend.append("journal/a", 5, &[bytes(" second"), bytes(" third")]));
    assert_eq!(good(backend.read("journal/a", 0..18)), "first second third");
    // A tail that does not count is cut off.
    good(backend.append("journal/a", 12, &[bytes("!")]));
    assert_eq!(good(backend.size("journal/a")), Some(13));
    assert_eq!(good(backend.read("journal/a", 0..13)), "first second!");
    kind(backend.append("journal/a", 14, &[bytes("x")]), Kind::Corrupt, "appending beyond the end");
    assert_eq!(good(backend.size("journal/a")), Some(13));
}
