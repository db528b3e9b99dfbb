//! Verbs for somebody who goes away: they end soon, whole or without a trace.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use serde_json::{Value, json};
use syncline_base::Kind;
use syncline_node::export::Target;
use syncline_node::ops::dispatch::{self, Streams};
use syncline_node::ops::{branch, verify};
use syncline_node::progress::{Progress, Silent, Unit};
use syncline_node::{Error, Replica};

use crate::support::Place;

/// Somebody who goes away when they have been looked for so often.
#[derive(Default)]
struct Caller {
    looks: AtomicU64,
    patience: u64,
}

impl Caller {
    fn look(&self) -> bool {
        self.looks.fetch_add(1, Ordering::Relaxed) >= self.patience
    }
}

impl Progress for Caller {
    fn stage(&self, _: &str, _: u64, _: Unit) {}
    fn advance(&self, _: u64) {}
    fn is_abandoned(&self) -> bool {
        self.look()
    }
}

/// Runs a verb for somebody with so much patience; also whether they have gone meanwhile.
fn run(replica: &Replica, verb: &str, request: &Value, input: &Place, patience: u64) -> (Result<String, Error>, bool) {
    let caller = Arc::new(Caller { patience, ..Caller::default() });
    let looked = Arc::clone(&caller);
    let replica = replica.until(Arc::new(move || looked.look()));
    let out = input.path().join("out");
    let rows = input.path().join("rows.csv");
    let streams = Streams { input: (verb == "import").then_some(rows), output: Target::Path(out) };
    let progress: Arc<dyn Progress> = caller.clone();
    let outcome = dispatch::run(&replica, verb, &request.to_string(), streams, &progress);
    (outcome, caller.looks.load(Ordering::Relaxed) > patience)
}

#[test]
fn a_verb_that_is_stopped_anywhere_is_whole_or_nothing() {
    let file = Place::new();
    file.write("rows.csv", &(0..3_000).fold("id,a\n".to_owned(), |text, id| text + &format!("{id},new {id}\n")));
    let import = json!({
        "table": "t", "key": ["id"], "mode": "upsert", "message": "x", "format": "csv", "sources": [{"name": "rows.csv"}],
    });
    let verbs = [
        ("import", import),
        ("merge", json!({"name": "side"})),
        ("alter", json!({"table": "t", "add": [["b", "utf8"]], "message": "x"})),
        ("rollback", json!({"to": "HEAD~1"})),
        ("undo", json!(null)),
        ("gc", json!({"keep_last": 1, "grace_ms": 0})),
        ("repair", json!(null)),
        ("verify", json!({"deep": true})),
        ("diff", json!({"from": "HEAD~1", "to": "HEAD"})),
        ("export", json!({"table": "t", "format": "csv"})),
        ("history", json!({"table": "t", "key": "7"})),
    ];
    for (verb, request) in verbs {
        let place = versions();
        let before = place.root();
        run(&place.reopen(), verb, &request, &file, u64::MAX).0.unwrap_or_else(|error| panic!("{verb}: {error}"));
        let after = place.root();
        let mut stopped = 0;
        for patience in [0, 1, 2, 3, 5, 8, 13, 21, 34, 55, 89, 144] {
            let place = versions();
            let (outcome, gone) = run(&place.reopen(), verb, &request, &file, patience);
            if let Err(error) = &outcome {
                assert!(gone && error.kind() == Kind::Unavailable, "{verb} after {patience} looks: {error}");
                stopped += 1;
                // A report that nobody waits for may fail after the work is published.
                assert!([&before, &after].contains(&&place.root()), "{verb} after {patience} looks");
            } else {
                assert_eq!(place.root(), after, "{verb} after {patience} looks");
            }
            let seen = verify::run(&place.reopen(), &verify::Request { deep: true }, &Silent).expect("it can be read");
            assert!(seen.sound, "{verb} after {patience} looks: {seen:?}");
        }
        assert!(stopped > 0, "{verb} was never stopped");
    }
}

/// Three versions of a table, and a branch with a change of its own.
fn versions() -> Place {
    let place = Place::bare();
    let rows = |salt: &str| (0..2_000).fold("id,a\n".to_owned(), |text, id| text + &format!("{id},{salt} {id}\n"));
    place.upsert(&rows("first"), "first");
    place.upsert(&rows("second"), "second");
    place.upsert("id,a\n1,third\n", "third");
    let side = branch::Action::Create { name: "side".into(), at: None, force: false };
    branch::run(&place.replica, branch::Sort::Branch, &side).expect("the name is free");
    branch::undo(&place.replica).expect("there is a move");
    place.upsert("id,a\n2,third\n", "another third");
    place
}

#[test]
fn a_repair_that_is_stopped_loses_nothing_that_can_be_read() {
    for patience in (0..40).chain([60, 100, 200]) {
        let place = versions();
        damage(&place);
        let before = verify::run(&place.reopen(), &verify::Request { deep: true }, &Silent).expect("it can be read");
        let (outcome, gone) = run(&place.reopen(), "repair", &json!(null), &place, patience);
        assert!(outcome.is_ok() || gone, "{outcome:?}");
        let after = verify::run(&place.reopen(), &verify::Request { deep: true }, &Silent).expect("it can be read");
        assert_eq!(after.touched.len(), before.touched.len(), "after {patience} looks");
    }
}

/// One bit in the middle of the largest file of the store.
fn damage(place: &Place) {
    let mut open = vec![place.path()];
    let mut largest = (0, std::path::PathBuf::new());
    while let Some(dir) = open.pop() {
        for entry in dir.read_dir().expect("a directory").map(|entry| entry.expect("an entry")) {
            let meta = entry.metadata().expect("its size");
            if meta.is_dir() {
                open.push(entry.path());
            } else if meta.len() > largest.0 {
                largest = (meta.len(), entry.path());
            }
        }
    }
    let mut bytes = std::fs::read(&largest.1).expect("a file");
    let middle = bytes.len() / 2;
    bytes[middle] ^= 0x10;
    std::fs::write(&largest.1, bytes).expect("a file");
}
