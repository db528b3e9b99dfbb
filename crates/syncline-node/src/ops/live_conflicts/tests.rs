use syncline_base::Kind;

use super::super::table::{self, Wanted};
use super::*;
use crate::replica::Env;

struct Place {
    _dir: tempfile::TempDir,
    replica: Replica,
}

impl Place {
    fn new() -> Self {
        let dir = tempfile::tempdir().expect("a directory");
        let replica = Replica::init(&dir.path().join("r"), true, Env::default()).expect("a new directory");
        Self { _dir: dir, replica }
    }

    fn table(&self, name: &str, resolver: &str) {
        self.try_table(name, resolver, "many").expect("a table");
    }

    fn try_table(&self, name: &str, resolver: &str, writers: &str) -> Result<table::Report> {
        let settings = Wanted { resolver: Some(resolver.into()), writers: Some(writers.into()), ..Wanted::default() };
        let columns = [("id", "int64"), ("name", "utf8"), ("age", "int32")].map(|(a, b)| (a.into(), b.into()));
        let request = table::Request::Create {
            table: name.into(),
            key: vec!["id".into()],
            columns: columns.into(),
            settings,
            replace: false,
        };
        table::run(&self.replica, &request)
    }

    /// Puts a row as somebody who has read this and no more.
    fn put(&self, table: &str, row: &str, read: Option<&str>) -> put::Report {
        let request = put::Request { table: table.into(), read: read.map(str::to_owned), ..<_>::default() };
        put::run(&self.replica, &request, &mut row.as_bytes()).expect("it is put")
    }

    fn position(&self) -> String {
        run(&self.replica, &Request::Count).expect("it can be counted").position
    }

    /// Puts several values of one row, none of whose writers has seen another's. Gives their transactions.
    fn put_all(&self, table: &str, rows: &[&str]) -> Vec<String> {
        let before = self.position();
        rows.iter().map(|row| self.put(table, row, Some(&before)).transaction).collect()
    }

    fn list(&self, table: Option<&str>, limit: usize) -> Report {
        run(&self.replica, &Request::List { table: table.map(str::to_owned), limit }).expect("it can be listed")
    }

    fn show(&self, table: &str, key: &str) -> Result<Report> {
        run(&self.replica, &Request::Show { table: table.into(), key: key.into() })
    }

    fn resolve(&self, key: &str, decision: Decision, read: Option<&str>) -> Result<put::Report> {
        let (table, key, read) = ("people".into(), key.into(), read.map(str::to_owned));
        super::resolve(&self.replica, &Resolve { table, key, decision, read })
    }

    fn get(&self, table: &str, key: &str) -> Result<get::Report> {
        let request =
            get::Request { table: table.into(), keys: vec![key.into()], siblings: true, ..get::Request::default() };
        get::run(&self.replica, &request)
    }

    /// A row as readers see it, and how many values it has.
    fn seen(&self, table: &str, key: &str) -> (String, usize) {
        let found = self.get(table, key).expect("it is there").rows.remove(0);
        (serde_json::to_string(&found.row).expect("JSON"), found.siblings.len())
    }
}

fn names(report: &Report) -> Vec<String> {
    report.conflicts.iter().map(|conflict| format!("{} {}", conflict.table, conflict.key)).collect()
}

#[test]
fn a_replica_without_live_tables_has_no_conflicts() {
    let place = Place::new();
    for request in [Request::Count, Request::List { table: None, limit: 9 }] {
        let report = run(&place.replica, &request).expect("an answer");
        assert_eq!((report.open, report.conflicts.len(), &report.position[..]), (0, 0, "0"));
    }
    assert_eq!(place.show("people", "1").expect_err("no table").kind(), Kind::NotFound);
    assert!(place.replica.live_if_there().expect("a look").is_none(), "asking made none");
}

#[test]
fn rows_in_conflict_are_listed_by_table_and_key() {
    let place = Place::new();
    place.table("people", "max:age");
    place.table("orders", "ask");
    place.put("people", r#"{"id":1,"name":"alone"}"#, None);
    place.put_all("people", &[r#"{"id":10,"age":1}"#, r#"{"id":10,"age":1}"#]);
    place.put_all("people", &[r#"{"id":9,"age":3}"#, r#"{"id":9,"age":12}"#, r#"{"id":9,"age":null}"#]);
    place.put_all("people", &[r#"{"id":-2,"age":3}"#, r#"{"id":-2,"age":4}"#]);
    place.put_all("orders", &[r#"{"id":7,"name":"a"}"#, r#"{"id":7,"name":"b"}"#]);
    let report = place.list(None, 100);
    assert_eq!(names(&report), ["orders 7", "people -2", "people 9"], "same values are no conflict");
    assert_eq!((report.open, report.waiting), (3, 1));
    let first = &report.conflicts[0];
    assert_eq!((first.asks, &first.resolver[..]), (true, "ask"));
    let last = &report.conflicts[2];
    assert_eq!((last.asks, &last.resolver[..], last.siblings.len()), (false, "max:age", 3));
    let ages: Vec<_> = last.siblings.iter().map(|sibling| (sibling.row.get("age"), sibling.visible)).collect();
    assert_eq!(ages, [(Some("12"), true), (Some("null"), false), (Some("3"), false)]);
    let cut = place.list(Some("people"), 1);
    assert_eq!((names(&cut), cut.open, cut.waiting), (vec!["people -2".to_owned()], 2, 0));
    let count = run(&place.replica, &Request::Count).expect("a count");
    assert_eq!((count.open, count.waiting, count.conflicts.len()), (3, 1, 0));
    assert_eq!(names(&place.show("people", "9").expect("it is one")), ["people 9"]);
    let why = place.show("people", "10").expect_err("the same twice");
    assert_eq!(why.kind(), Kind::NotFound);
    assert!(why.to_string().contains("all values that were written are the same"), "{why}");
    assert!(run(&place.replica, &Request::List { table: Some("none".into()), limit: 1 }).is_err());
}

#[test]
fn the_same_siblings_show_the_same_row_by_each_resolver() {
    let place = Place::new();
    let rows =
        [r#"{"id":1,"name":"b","age":9}"#, r#"{"id":1,"name":"a","age":10}"#, r#"{"id":1,"name":"c","age":null}"#];
    for (resolver, name) in [
        ("last-writer", "c"),
        ("ask", "c"),
        ("first-writer", "b"),
        ("max:age", "a"),
        ("min:age", "b"),
        ("max:name", "c"),
        ("min:name", "a"),
    ] {
        let table = resolver.replace([':', '-'], "_");
        place.table(&table, resolver);
        place.put_all(&table, &rows);
        let (row, siblings) = place.seen(&table, "1");
        assert!(row.contains(&format!("\"name\":\"{name}\"")) && siblings == 3, "{resolver}: {row}");
    }
}

#[test]
fn a_conflict_is_decided_by_taking_a_value() {
    let place = Place::new();
    place.table("people", "ask");
    let txns = place.put_all("people", &[r#"{"id":1,"name":"ann"}"#, r#"{"id":1,"name":"bob","age":5}"#]);
    let shown = place.show("people", "1").expect("it is one");
    assert_eq!(shown.conflicts[0].siblings[1].transaction, txns[0]);
    for (wrong, kind) in [("f00", Kind::NotFound), ("f00df00df00d", Kind::NotFound), (&txns[0][..20], Kind::Invalid)] {
        let error = place.resolve("1", Decision::Take(wrong.into()), None).expect_err("it names none");
        assert_eq!(error.kind(), kind, "{error}");
        assert!(error.to_string().contains(&txns[0]) && error.to_string().contains(&txns[1]), "{error}");
    }
    // Without the tag, as it is shown elsewhere.
    let short = txns[0].rsplit_once(':').expect("a tag").0;
    let done = place.resolve("1", Decision::Take(short.into()), Some(&shown.position)).expect("it is decided");
    assert_eq!((done.rows, done.created), (1, false));
    assert_eq!(place.seen("people", "1"), (r#"{"id":1,"name":"ann","age":null}"#.into(), 1));
    assert_eq!(place.list(None, 9).open, 0);
    let again = place.resolve("1", Decision::Take(txns[1].clone()), None).expect_err("it was decided");
    assert_eq!(again.kind(), Kind::NotFound);
    assert!(again.to_string().contains("the row has one value here now"), "{again}");
    // Who wrote on top of what was seen then is in no conflict; who had not seen it is.
    place.put("people", r#"{"id":1,"age":6}"#, Some(&place.position()));
    assert_eq!(place.list(None, 9).open, 0);
    place.put("people", r#"{"id":1,"age":7}"#, Some(&shown.position));
    assert_eq!(place.list(None, 9).open, 1);
}

#[test]
fn a_conflict_is_decided_by_a_row_or_a_deletion() {
    let place = Place::new();
    place.table("people", "max:age");
    let both = |id: u8| {
        place.put_all(
            "people",
            &[&format!(r#"{{"id":{id},"name":"ann","age":5}}"#), &format!(r#"{{"id":{id},"name":"bob","age":4}}"#)],
        )
    };
    both(1);
    for bad in ["", "[]", "{\"age\": \"x\"}", "{\"nobody\": 1}", "{\"id\": 2, \"age\": 1}", "{} {}"] {
        let error = place.resolve("1", Decision::Row(bad.into()), None).expect_err(bad);
        assert_eq!(error.kind(), Kind::Invalid, "{bad}: {error}");
    }
    assert_eq!(place.seen("people", "1").1, 2, "nothing was written");
    place.resolve("1", Decision::Row("{\n \"age\":\n 6\n}".into()), None).expect("it is decided");
    assert_eq!(
        place.seen("people", "1"),
        (r#"{"id":1,"name":"ann","age":6}"#.into(), 1),
        "the name is the visible one's"
    );
    both(2);
    place.resolve("2", Decision::Row(r#"{"age":null,"name":"eve","id":2}"#.into()), None).expect("it is decided");
    assert_eq!(place.seen("people", "2"), (r#"{"id":2,"name":"eve","age":null}"#.into(), 1));
    both(3);
    place.resolve(r#"{"id":3}"#, Decision::Delete, None).expect("it is decided");
    assert_eq!(place.get("people", "3").expect_err("it is gone").kind(), Kind::NotFound);
    let gone = place.resolve("3", Decision::Delete, None).expect_err("it is gone");
    assert!(gone.to_string().contains("there is no such row here now"), "{gone}");
    assert_eq!(place.list(None, 9).open, 0);
}

#[test]
fn nothing_is_decided_on_what_was_not_seen() {
    let place = Place::new();
    place.table("people", "ask");
    let before = place.position();
    let first = place.put("people", r#"{"id":1,"name":"a"}"#, Some(&before));
    place.put("people", r#"{"id":1,"name":"b"}"#, Some(&before));
    let seen = place.position();
    let take = || Decision::Take(first.transaction.clone());
    // Other rows do not matter.
    place.put("people", r#"{"id":2,"name":"x"}"#, None);
    place.put("people", r#"{"id":1,"name":"c"}"#, Some(&before));
    let refused = place.resolve("1", take(), Some(&seen)).expect_err("there is a third value");
    assert_eq!(refused.kind(), Kind::Conflict);
    assert!(refused.to_string().contains("1 of its 3 values came after the position"), "{refused}");
    assert_eq!(place.seen("people", "1").1, 3, "nothing was written");
    let nothing = place.resolve("1", Decision::Delete, Some("0")).expect_err("nothing was seen");
    assert!(nothing.to_string().contains("3 of its 3 values"), "{nothing}");
    // Somebody else decided meanwhile.
    let now = place.position();
    place.put("people", r#"{"id":1,"name":"d"}"#, Some(&now));
    let late = place.resolve("1", take(), Some(&now)).expect_err("it has another value");
    assert_eq!(late.kind(), Kind::Conflict, "{late}");
    // What was read elsewhere may be anything.
    let elsewhere = Place::new();
    elsewhere.table("people", "ask");
    let refused = place.resolve("1", take(), Some(&elsewhere.position())).expect_err("it was read elsewhere");
    assert_eq!(refused.kind(), Kind::Conflict, "{refused}");
    assert_eq!(place.resolve("1", take(), Some("no position")).expect_err("no position").kind(), Kind::Invalid);
}

/// A spoke's own transactions wait for a hub; it decides its conflicts all the same, and knows what was seen of them.
#[test]
fn what_waits_for_a_hub_can_be_in_conflict_and_be_decided() {
    let place = Place::new();
    place.replica.live().expect("a live part").set_upstream(Some("http://hub")).expect("a spoke");
    place.table("people", "ask");
    let txns = place.put_all("people", &[r#"{"id":1,"name":"a"}"#]);
    let seen = place.position();
    assert_eq!(place.list(None, 9).open, 0);
    // With a context that names its own newest, which covers no more than what came before.
    place.put("people", r#"{"id":1,"name":"b"}"#, Some("0"));
    let report = place.list(None, 9);
    assert_eq!((names(&report), report.waiting), (vec!["people 1".to_owned()], 1));
    assert!(report.conflicts[0].siblings.iter().all(|sibling| !sibling.taken));
    let late = place.resolve("1", Decision::Delete, Some(&seen)).expect_err("the second was not seen");
    assert!(late.to_string().contains("1 of its 2 values"), "{late}");
    let done = place.resolve("1", Decision::Take(txns[0].clone()), Some(&report.position)).expect("decided");
    assert!(!done.taken);
    assert_eq!(place.list(Some("people"), 9).open, 0);
    assert_eq!(place.seen("people", "1"), (r#"{"id":1,"name":"a","age":null}"#.into(), 1));
}

#[test]
fn a_value_that_cannot_be_read_is_shown_as_such_and_can_be_decided_on() {
    let place = Place::new();
    place.table("people", "last-writer");
    place.put("people", r#"{"id":1,"name":"good"}"#, None);
    let engine = place.replica.live().expect("a live part");
    let table = engine.table("people").expect("a table");
    let key = table.key_of("1").expect("a key");
    let damaged = Write { row: key, value: Some(Bytes::from_static(b"\x01abc")) };
    engine.commit(Some(Context::default()), vec![damaged]).expect("committed");
    let strange = RowKey { table: "strange".into(), key: Bytes::from_static(b"k") };
    for value in [&b"a"[..], b"b"] {
        let write = Write { row: strange.clone(), value: Some(Bytes::copy_from_slice(value)) };
        engine.commit(Some(Context::default()), vec![write]).expect("committed");
    }
    let report = place.list(None, 9);
    assert_eq!((report.open, names(&report)), (2, vec!["people 1".to_owned()]));
    assert!(report.unreadable["strange"].contains("live table \"strange\""), "{:?}", report.unreadable);
    let [bad, good] = &report.conflicts[0].siblings[..] else { panic!("two") };
    assert!(bad.visible && bad.fault.is_some() && good.fault.is_none());
    place.resolve("1", Decision::Take(good.transaction.clone()), Some(&report.position)).expect("decided");
    assert_eq!(place.seen("people", "1"), (r#"{"id":1,"name":"good","age":null}"#.into(), 1));
}

#[test]
fn who_may_not_write_may_not_decide() {
    let place = Place::new();
    place.table("people", "ask");
    let txns = place.put_all("people", &[r#"{"id":1,"name":"a"}"#, r#"{"id":1,"name":"b"}"#]);
    let engine = place.replica.live().expect("a live part");
    let before = engine.table("people").expect("a table");
    let mut settings = before.settings().clone();
    settings.writers = crate::live::definition::Writers::One("00ff".into());
    let after = before.set(settings).expect("it fits");
    engine.commit(None, after.changes(Some(&*before))).expect("committed");
    let error = place.resolve("1", Decision::Take(txns[0].clone()), None).expect_err("somebody else's");
    assert_eq!(error.kind(), Kind::Conflict);
    assert!(error.to_string().contains("replica 00ff alone writes"), "{error}");
}

#[test]
fn tables_have_resolvers_of_this_version_that_fit_them() {
    let place = Place::new();
    for (resolver, why) in [
        ("columns", "not in this version"),
        ("expression:x", "no expression that this version knows"),
        ("union:name", "neither a list nor json"),
        ("counter:name", "neither an integer nor a decimal"),
    ] {
        let error = place.try_table("t", resolver, "many").expect_err(resolver);
        assert!(error.kind() == Kind::Invalid && error.to_string().contains(why), "{error}");
    }
    let error = place.try_table("t", "origin:berlin", "many").expect_err("no name");
    assert!(error.to_string().contains("is no writer"), "{error}");
    place.table("t", "origin:00112233");
    let settings = Wanted { resolver: Some("columns".into()), ..Wanted::default() };
    let set = table::Request::Set {
        table: "t".into(),
        settings,
        rename: Vec::new(),
        widen: Vec::new(),
        add: Vec::new(),
        deprecate: Vec::new(),
        drop: Vec::new(),
    };
    assert!(table::run(&place.replica, &set).expect_err("not yet").to_string().contains("not in this version"));
}
