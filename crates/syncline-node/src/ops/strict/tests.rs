use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc;
use std::time::Duration;

use syncline_base::Kind;

use super::super::apply::{self, Submitted};
use super::super::get;
use super::super::live::Bounds;
use super::super::put::{self, Report};
use super::super::reach;
use super::super::table::{self, Wanted};
use super::*;
use crate::live::engine::tests::Cable;
use crate::live::engine::{Answer, Leads, Lost, More, Sequence, Way};
use crate::replica::{Env, Replica};

mod elsewhere;
mod model;

/// A hub, or a spoke of one.
struct Place {
    _dir: tempfile::TempDir,
    replica: Replica,
}

impl Place {
    fn hub() -> Self {
        let dir = tempfile::tempdir().expect("a directory");
        let replica = Replica::init(&dir.path().join("r"), true, Env::default()).expect("a new directory");
        Self { _dir: dir, replica }
    }

    /// One that has what `hub` has, and a way there.
    fn spoke(hub: &Self, trouble: u64) -> (Self, Cable) {
        let place = Self::hub();
        place.engine().set_upstream(Some("http://hub")).expect("a file");
        let cable = Cable::between(&hub.engine(), &place.engine());
        place.engine().add_way(Direct::new(&hub.engine(), trouble), Leads::On);
        place.settled(hub);
        (place, cable)
    }

    fn engine(&self) -> Engine {
        self.replica.live().expect("a live part")
    }

    fn id(&self) -> String {
        self.engine().id().expect("a node")
    }

    /// Waits until all of the other's is here.
    fn settled(&self, other: &Self) {
        let position = other.engine().read(syncline_sync::live::Node::context).expect("a node");
        self.engine().read_at(&position, Duration::from_secs(20), |_| ()).expect("it comes");
    }

    fn strict(&self, name: &str) {
        self.table(name, "strict").expect("a table");
    }

    fn table(&self, name: &str, writers: &str) -> Result<table::Report> {
        let settings = Wanted { writers: Some(writers.into()), ..Wanted::default() };
        let columns = vec![("id".into(), "utf8".into()), ("n".into(), "int64".into())];
        let request =
            table::Request::Create { table: name.into(), key: vec!["id".into()], columns, settings, replace: false };
        table::run(&self.replica, &request)
    }

    fn set(&self, name: &str, settings: Wanted) -> Result<table::Report> {
        let (rename, widen, add) = (Vec::new(), Vec::new(), Vec::new());
        let (deprecate, drop) = (Vec::new(), Vec::new());
        let set = table::Request::Set { table: name.into(), settings, rename, widen, add, deprecate, drop };
        table::run(&self.replica, &set)
    }

    fn put(&self, id: &str, n: i64, read: Option<&str>, read_keys: &[&str]) -> Result<Report> {
        let read_keys = read_keys.iter().map(|key| (*key).to_owned()).collect();
        let request = put::Request { table: "t".into(), read: read.map(Into::into), read_keys, ..<_>::default() };
        put::run(&self.replica, &request, &mut format!("{{\"id\":{id:?},\"n\":{n}}}").as_bytes())
    }

    fn delete(&self, id: &str, read: Option<&str>) -> Result<Report> {
        let request = put::Request { table: "t".into(), read: read.map(Into::into), ..<_>::default() };
        put::delete(&self.replica, &request, &mut id.as_bytes())
    }

    fn apply(&self, lines: &str) -> Result<Report> {
        apply::run(&self.replica, &apply::Request::default(), &mut lines.as_bytes())
    }

    /// All rows of the table with their numbers, how many are in conflict, and the position.
    fn all(&self) -> (BTreeMap<String, i64>, usize, String) {
        let got = get::run(&self.replica, &get::Request { table: "t".into(), ..<_>::default() }).expect("rows");
        let number = |found: &get::Found| {
            let row = serde_json::to_value(&found.row).expect("a row has a JSON form");
            (found.key.clone(), row["n"].as_i64().expect("a number"))
        };
        let conflicts = got.rows.iter().filter(|found| found.conflict).count();
        (got.rows.iter().map(number).collect(), conflicts, got.position)
    }

    fn position(&self) -> String {
        self.all().2
    }
}

/// A way to another engine of this process, on which things get lost.
#[derive(Debug)]
struct Direct {
    url: &'static str,
    engine: Engine,
    /// Of so many in 8 the request is lost, and of as many the answer.
    trouble: u64,
    asked: AtomicU64,
}

impl Direct {
    fn new(engine: &Engine, trouble: u64) -> Arc<Self> {
        Self::at("http://hub", engine, trouble)
    }

    fn at(url: &'static str, engine: &Engine, trouble: u64) -> Arc<Self> {
        Arc::new(Self { url, engine: engine.clone(), trouble, asked: AtomicU64::new(0) })
    }
}

impl Way for Direct {
    fn url(&self) -> &str {
        self.url
    }

    fn write(&self, changes: &Bytes, _: Duration) -> Result<Answer, Lost> {
        let lost = |what: &str| Lost {
            error: Error::Unavailable { what: "asking".to_owned(), why: what.to_owned() },
            maybe: true,
        };
        // Evenly spread, the same every time.
        let chance = self.asked.fetch_add(5, Ordering::Relaxed) % 8;
        if self.trouble > 8 {
            return Err(Lost { maybe: false, ..lost("it is away") });
        }
        if chance < self.trouble {
            return Err(lost("the request was lost"));
        }
        let (tell, told) = mpsc::channel();
        let done = Box::new(move |outcome| drop(tell.send(outcome)));
        let refused = |error| Lost { error, maybe: false };
        let sequence = Sequence::default();
        let submitted =
            apply::submit(&self.engine, &sequence, &<_>::default(), changes, (More::Comes, done)).map_err(refused)?;
        if let Submitted::Elsewhere(turn) = submitted {
            turn.run(&self.engine);
        }
        let committed: Committed = told.recv().expect("an answer").map_err(refused)?;
        if chance >= 8 - self.trouble {
            return Err(lost("the answer was lost"));
        }
        let read = committed.read.as_ref().map(token::of_context);
        Ok(Answer { transaction: token::of_dot(&committed.dot), read })
    }

    fn reach(&self, request: &reach::Request) -> Result<reach::Report> {
        if self.trouble > 8 {
            return Err(Error::Unavailable { what: "asking".to_owned(), why: "it is away".to_owned() });
        }
        reach::ask(&self.engine, request)
    }
}

#[track_caller]
fn refused<T>(result: Result<T>, kind: Kind, words: &str) {
    match result {
        Ok(_) => panic!("it was written, and should be refused: {words}"),
        Err(error) => {
            assert_eq!(error.kind(), kind, "{error}");
            assert!(error.to_string().contains(words), "{words:?} is not in: {error}");
        }
    }
}

#[test]
fn an_update_of_what_its_writer_has_not_read_is_refused_and_nothing_of_it_is_written() {
    let hub = Place::hub();
    hub.strict("t");
    hub.put("a", 1, None, &[]).expect("blind, and new");
    let before = hub.position();
    hub.put("a", 2, Some(&before), &[]).expect("it was read");
    refused(hub.put("a", 3, Some(&before), &[]), Kind::Conflict, "row a of table t was changed by transaction");
    // Of a transaction of two rows neither.
    let both = format!(
        "{{\"op\":\"begin\",\"read\":{before:?}}}\n{{\"op\":\"set\",\"table\":\"t\",\"row\":{{\"id\":\"b\",\"n\":1}}}}\n\
         {{\"op\":\"set\",\"table\":\"t\",\"row\":{{\"id\":\"a\",\"n\":4}}}}"
    );
    refused(hub.apply(&both), Kind::Conflict, "read again");
    assert_eq!(hub.all().0, BTreeMap::from([("a".to_owned(), 2)]));
    let again = hub.position();
    let written = hub.put("a", 3, Some(&again), &[]).expect("it has been read again");
    // And what it printed goes on.
    hub.put("a", 4, written.read.as_deref(), &[]).expect("its own write was read");
    assert_eq!(hub.all().0["a"], 4);
}

fn strictly(place: &Place, table: &str, wait_ms: u64) -> Result<usize> {
    let bounds = Bounds { wait_ms: Some(wait_ms), ..Bounds::default() };
    let request = get::Request { table: table.into(), strict: true, bounds, ..<_>::default() };
    get::run(&place.replica, &request).map(|report| report.rows.len())
}

#[test]
fn a_strict_read_has_all_that_was_acknowledged_or_says_that_it_has_not() {
    let hub = Place::hub();
    hub.strict("t");
    hub.table("u", "many").expect("a table");
    let (spoke, cable) = Place::spoke(&hub, 0);
    let both = |place: &Place| (strictly(place, "t", 20_000), strictly(place, "u", 20_000));
    for n in 1..50 {
        hub.put(&n.to_string(), 1, None, &[]).expect("a row");
        let put = put::Request { table: "u".into(), ..<_>::default() };
        put::run(&hub.replica, &put, &mut format!("{{\"id\":\"{n}\",\"n\":1}}").as_bytes()).expect("a row");
        for place in [&spoke, &hub] {
            let (strict, other) = both(place);
            assert_eq!((strict.expect("rows"), other.expect("rows")), (n, n));
        }
    }
    drop(cable);
    assert_eq!(strictly(&spoke, "t", 50).expect("nothing is new"), 49);
    hub.put("new", 1, None, &[]).expect("a row");
    refused(strictly(&spoke, "t", 50), Kind::Stale, "within 50 ms");
    assert_eq!(spoke.all().0.len(), 49, "who does not ask for it is shown what is there");
    // A replica without a way to the certifier of the one, and to a hub.
    let (lonely, _cable) = Place::spoke(&hub, 9);
    refused(strictly(&lonely, "t", 50), Kind::Unavailable, "which certifies the table");
    refused(strictly(&lonely, "u", 50), Kind::Unavailable, "at the upstream");
    // A hub that does not certify asks who does, by way of others.
    let between = Place::hub();
    between.engine().add_way(Direct::new(&spoke.engine(), 0), Leads::On);
    let _beside = Cable::between(&hub.engine(), &between.engine());
    between.settled(&hub);
    assert_eq!((strictly(&between, "t", 20_000).expect("rows"), strictly(&between, "u", 0).expect("rows")), (50, 49));
}

#[test]
fn what_was_deleted_or_made_since_is_a_change_too() {
    let hub = Place::hub();
    hub.strict("t");
    hub.put("a", 1, None, &[]).expect("a row");
    let both = hub.position();
    hub.delete("a", None).expect("deleted");
    refused(hub.put("a", 2, Some(&both), &[]), Kind::Conflict, "row a of");
    refused(hub.put("b", 2, Some(&both), &["a"]), Kind::Conflict, "row a of");
    refused(hub.delete("a", Some(&both)), Kind::Conflict, "row a of");
    let gone = hub.position();
    hub.put("c", 1, Some(&gone), &["a", "b"]).expect("neither is there, as was read");
    hub.put("a", 1, None, &[]).expect("made again");
    refused(hub.put("d", 2, Some(&gone), &["a"]), Kind::Conflict, "row a of");
    // What is remembered of deletions ends with the process: who read before is told to read again, where it matters.
    hub.delete("c", None).expect("deleted");
    let (dir, replica) = (hub._dir, hub.replica);
    drop(replica);
    let replica = Replica::open(&crate::Location::Path(dir.path().join("r")), Env::default()).expect("it is there");
    let hub = Place { _dir: dir, replica };
    refused(hub.put("c", 2, Some(&gone), &[]), Kind::Conflict, "row c of");
    hub.put("c", 2, Some(&hub.position()), &[]).expect("read again");
}

#[test]
fn write_skew_is_refused_when_the_reads_are_named_and_only_then() {
    let hub = Place::hub();
    hub.strict("t");
    for named in [true, false] {
        hub.put("a", 1, None, &[]).expect("on call");
        hub.put("b", 1, None, &[]).expect("on call");
        let read = hub.position();
        hub.put("a", 0, Some(&read), if named { &["b"] } else { &[] }).expect("b is there still");
        let other = hub.put("b", 0, Some(&read), if named { &["a"] } else { &[] });
        match named {
            true => refused(other, Kind::Conflict, "row a of table t"),
            // First committer wins on what is written, and a is not.
            false => drop(other.expect("snapshot isolation")),
        }
    }
}

#[test]
fn rows_that_were_not_there_are_guarded_by_reading_a_table_whole() {
    let hub = Place::hub();
    hub.strict("t");
    hub.put("a", 1, None, &[]).expect("a row");
    let read = hub.position();
    let whole = |id: &str| {
        format!(
            "{{\"op\":\"begin\",\"read\":{read:?},\"reads\":[{{\"table\":\"t\"}}]}}\n\
             {{\"op\":\"set\",\"table\":\"t\",\"row\":{{\"id\":{id:?},\"n\":1}}}}"
        )
    };
    hub.apply(&whole("b")).expect("nothing has changed");
    refused(hub.apply(&whole("c")), Kind::Conflict, "all of table t");
    assert_eq!(hub.all().0.len(), 2);
}

#[test]
fn what_nobody_would_check_is_refused() {
    let hub = Place::hub();
    hub.strict("t");
    hub.table("plain", "many").expect("a table");
    let read = hub.position();
    let plain =
        |header: &str| format!("{header}\n{{\"op\":\"set\",\"table\":\"plain\",\"row\":{{\"id\":\"x\",\"n\":1}}}}");
    let read_plain =
        format!("{{\"op\":\"begin\",\"read\":{read:?},\"reads\":[{{\"table\":\"plain\",\"key\":\"y\"}}]}}");
    refused(hub.apply(&plain(&read_plain)), Kind::Invalid, "no strict table");
    refused(hub.apply(&plain("{\"op\":\"begin\",\"once\":\"x\"}")), Kind::Invalid, "no strict table");
    refused(hub.apply(&plain("{\"op\":\"begin\",\"once\":\"a b\"}")), Kind::Invalid, "identity");
    refused(hub.put("a", 1, None, &["b"]), Kind::Invalid, "position");
    // A strict row that was read, and another table written: that is checked.
    let strict =
        format!("{{\"op\":\"begin\",\"read\":{read:?},\"reads\":[{{\"table\":\"t\",\"key\":{{\"id\":\"a\"}}}}]}}");
    hub.apply(&plain(&strict)).expect("a is not there");
    hub.put("a", 1, None, &[]).expect("a row");
    refused(hub.apply(&plain(&strict).replace("\"x\"", "\"z\"")), Kind::Conflict, "row a of table t");
}

#[test]
fn of_one_identity_one_transaction_is_written() {
    let hub = Place::hub();
    hub.strict("t");
    let read = hub.position();
    let add = |id: &str| {
        format!(
            "{{\"op\":\"begin\",\"read\":{read:?},\"once\":{id:?}}}\n{{\"op\":\"set\",\"table\":\"t\",\"row\":{{\"id\":\"a\",\"n\":1}}}}"
        )
    };
    let first = hub.apply(&add("one")).expect("written");
    assert_eq!(hub.apply(&add("one")).expect("answered again").transaction, first.transaction);
    refused(hub.apply(&add("two")), Kind::Conflict, "row a of");
    // It is a row like any: it outlives the process.
    let (dir, replica) = (hub._dir, hub.replica);
    drop(replica);
    let replica = Replica::open(&crate::Location::Path(dir.path().join("r")), Env::default()).expect("it is there");
    let hub = Place { _dir: dir, replica };
    assert_eq!(hub.apply(&add("one")).expect("answered again").transaction, first.transaction);
}

#[test]
fn what_is_written_at_a_spoke_is_certified_at_the_hub_and_comes_back() {
    let hub = Place::hub();
    hub.strict("t");
    let (spoke, _cable) = Place::spoke(&hub, 0);
    refused(spoke.table("u", "strict"), Kind::Invalid, "http://hub");
    let written = spoke.put("a", 1, None, &[]).expect("certified");
    assert!(written.taken);
    // Its writer sees it at once, on its own replica.
    let (rows, conflicts, position) = spoke.all();
    assert_eq!((rows, conflicts), (BTreeMap::from([("a".to_owned(), 1)]), 0));
    hub.put("a", 2, None, &[]).expect("the hub's own");
    refused(spoke.put("a", 3, Some(&position), &[]), Kind::Conflict, "row a of table t");
    spoke.settled(&hub);
    spoke.put("a", 3, Some(&spoke.position()), &[]).expect("read again");
    // What it wrote elsewhere, and waits for the hub, is waited for.
    let many = Wanted { writers: Some("many".into()), ..Wanted::default() };
    hub.table("plain", "many").expect("a table");
    spoke.settled(&hub);
    spoke.apply("{\"op\":\"set\",\"table\":\"plain\",\"row\":{\"id\":\"x\",\"n\":1}}").expect("its own");
    let both = format!(
        "{{\"op\":\"begin\",\"read\":{:?},\"reads\":[{{\"table\":\"plain\",\"key\":\"x\"}}]}}\n\
         {{\"op\":\"set\",\"table\":\"plain\",\"row\":{{\"id\":\"x\",\"n\":2}}}}\n{{\"op\":\"delete\",\"table\":\"t\",\"key\":\"a\"}}",
        spoke.position()
    );
    spoke.apply(&both).expect("both tables in one");
    assert!(spoke.all().0.is_empty());
    refused(spoke.set("t", many), Kind::Conflict, "do this there");
    hub.settled(&spoke);
    let root = |place: &Place| place.engine().read(|node| node.state().root()).expect("a root");
    spoke.settled(&hub);
    assert_eq!(root(&hub), root(&spoke));
}

#[test]
fn a_certifier_is_found_over_hubs_in_between_and_nobody_goes_round_in_circles() {
    let (hub, between) = (Place::hub(), Place::hub());
    hub.strict("t");
    let _cable = Cable::between(&hub.engine(), &between.engine());
    between.settled(&hub);
    let (spoke, _other) = Place::spoke(&between, 0);
    // The one in between knows only the way back, so far.
    between.engine().add_way(Direct::new(&spoke.engine(), 0), Leads::On);
    refused(spoke.put("a", 1, None, &[]), Kind::Unavailable, "written");
    between.engine().add_way(Direct::new(&hub.engine(), 0), Leads::On);
    let written = spoke.put("a", 1, Some(&spoke.position()), &[]).expect("passed on");
    let mine = hub.engine().read(|node| node.name().to_string()).expect("a node");
    assert!(written.transaction.starts_with(&mine), "{written:?}");
    assert_eq!((spoke.all().0, hub.all().0.len()), (hub.all().0, 1));
    refused(spoke.put("a", 2, Some("0"), &[]), Kind::Conflict, "row a of table t");
}

/// What becomes of transactions that are given one after another.
fn give(place: &Place, sequence: &Sequence, lines: &str) -> Result<Committed> {
    let (tell, told) = mpsc::channel();
    let done = Box::new(move |outcome| drop(tell.send(outcome)));
    let text = Bytes::copy_from_slice(lines.as_bytes());
    if let Submitted::Elsewhere(turn) =
        apply::submit(&place.engine(), sequence, &<_>::default(), &text, (More::Comes, done))?
    {
        turn.run(&place.engine());
    }
    told.recv().expect("it is told")
}

#[test]
fn of_a_sequence_none_is_written_behind_one_that_was_refused() {
    let hub = Place::hub();
    hub.strict("t");
    hub.table("plain", "many").expect("a table");
    let (spoke, _cable) = Place::spoke(&hub, 0);
    let nothing = spoke.position();
    let set = |table: &str, id: &str, read: &str| {
        let row = format!("{{\"op\":\"set\",\"table\":{table:?},\"row\":{{\"id\":{id:?},\"n\":1}}}}");
        format!("{{\"op\":\"begin\",\"read\":{read:?}}}\n{row}")
    };
    let sequence = Sequence::default();
    give(&spoke, &sequence, &set("t", "a", &nothing)).expect("new");
    refused(give(&spoke, &sequence, &set("t", "a", &nothing)), Kind::Conflict, "was changed by");
    refused(give(&spoke, &sequence, &set("t", "b", &nothing)), Kind::Conflict, "one before it failed");
    refused(give(&spoke, &sequence, &set("plain", "b", &nothing)), Kind::Conflict, "one before it failed");
    // Here, too, where one of this replica's own failed.
    let sequence = Sequence::default();
    refused(give(&hub, &sequence, &set("t", "a", &nothing)), Kind::Conflict, "was changed by");
    refused(give(&hub, &sequence, &set("t", "b", &nothing)), Kind::Conflict, "one before it failed");
    assert_eq!(hub.all().0.len(), 1);
}

#[test]
fn while_the_certifier_is_away_nothing_is_written() {
    let hub = Place::hub();
    hub.strict("t");
    let (spoke, cable) = Place::spoke(&hub, 0);
    drop(cable);
    spoke.engine().add_way(Direct::new(&hub.engine(), 9), Leads::On);
    refused(spoke.put("a", 1, None, &[]), Kind::Unavailable, "nothing was written");
    assert!(hub.all().0.is_empty() && spoke.all().0.is_empty());
    assert_eq!(spoke.engine().status().expect("a status").pending, 0);
}

#[test]
fn a_transaction_whose_answer_is_lost_is_written_once() {
    let hub = Place::hub();
    hub.strict("t");
    // Three of eight requests are lost, and three of eight answers.
    let (spoke, _cable) = Place::spoke(&hub, 3);
    for n in 1..=12 {
        spoke.put("a", n, None, &[]).expect("in the end");
    }
    assert_eq!(hub.all().0["a"], 12);
    let versions = hub.engine().read(|node| node.context().seen.iter().map(|(_, n)| n).sum::<u64>()).expect("a node");
    // The table, and each of them once.
    assert_eq!(versions, 13);
}

#[test]
fn tables_of_two_certifiers_are_not_written_together_and_a_certifier_can_be_changed() {
    let (hub, other) = (Place::hub(), Place::hub());
    hub.strict("t");
    hub.strict("u");
    let _cable = Cable::between(&hub.engine(), &other.engine());
    other.settled(&hub);
    hub.set("u", Wanted { certifier: Some(other.id()), ..Wanted::default() }).expect("the other certifies");
    let both = "{\"op\":\"set\",\"table\":\"t\",\"row\":{\"id\":\"a\",\"n\":1}}\n\
                {\"op\":\"set\",\"table\":\"u\",\"row\":{\"id\":\"a\",\"n\":1}}";
    refused(hub.apply(both), Kind::Invalid, "different replicas");
    other.settled(&hub);
    other.apply("{\"op\":\"set\",\"table\":\"u\",\"row\":{\"id\":\"a\",\"n\":1}}").expect("it certifies");
    refused(
        hub.apply("{\"op\":\"set\",\"table\":\"u\",\"row\":{\"id\":\"a\",\"n\":1}}"),
        Kind::Unavailable,
        "nothing was written",
    );
    // One that is gone for good is followed by another one.
    refused(other.set("t", Wanted { certifier: Some("here".into()), ..Wanted::default() }), Kind::Conflict, "--on");
    let mine = table::run(&other.replica, &table::Request::Show { table: Some("t".into()) }).expect("shown");
    assert!(!mine.tables[0].ours && mine.tables[0].writers == format!("strict: {}", hub.id()));
    other.set("t", Wanted { take_over: true, ..Wanted::default() }).expect("taken over");
    other.apply("{\"op\":\"set\",\"table\":\"t\",\"row\":{\"id\":\"a\",\"n\":1}}").expect("it certifies");
    other.set("t", Wanted { writers: Some("many".into()), ..Wanted::default() }).expect("strict no longer");
}

#[test]
fn what_comes_uncertified_from_elsewhere_is_kept_as_a_conflict() {
    let hub = Place::hub();
    hub.table("t", "many").expect("a table");
    let (spoke, cable) = Place::spoke(&hub, 0);
    drop(cable);
    spoke.put("a", 1, None, &[]).expect("while it is away");
    hub.set("t", Wanted { writers: Some("strict".into()), ..Wanted::default() }).expect("strict from now on");
    hub.put("a", 2, None, &[]).expect("certified");
    let _cable = Cable::between(&hub.engine(), &spoke.engine());
    hub.settled(&spoke);
    let (rows, conflicts, position) = hub.all();
    assert_eq!((rows.len(), conflicts), (1, 1));
    hub.put("a", 3, Some(&position), &[]).expect("both were read");
    assert_eq!(hub.all().1, 0);
}

#[test]
fn a_first_line_says_what_was_read() {
    let header = Header::of(b"\n{\"op\":\"begin\",\"read\":\"0\",\"reads\":[{\"key\":7}],\"position\":\"0\"}\n{}")
        .expect("a header");
    assert_eq!(header.read.as_deref(), Some("0"));
    assert_eq!(header.reads, [ReadKey { table: None, key: Some(7.into()) }]);
    assert!(is_header(b"{\"op\":\"begin\",\"once\":\"x\"}"));
    // What `watch` gives says nothing of what was read.
    for plain in [
        "{\"op\":\"begin\",\"position\":\"0\"}",
        "{\"op\":\"commit\"}",
        "{\"op\":\"set\",\"row\":{\"a\":\"begin\"}}",
        "",
    ] {
        assert!(!is_header(plain.as_bytes()) && Header::of(plain.as_bytes()).expect("none").is_empty(), "{plain}");
    }
    assert!(Header::of(b"{\"op\":\"begin\",\"reads\":7}").is_err() && is_header(b"{\"op\":\"begin\",\"reads\":7}"));
    assert_eq!(sets(b"{\"a\":1}\n\n").expect("lines"), b"{\"op\":\"set\",\"row\":{\"a\":1}}\n");
    assert!(sets(b"{\"a\":1},\"op\":\"delete\"").is_err());
    assert_eq!(deletes(b"a,\"b\n").expect("lines"), b"{\"op\":\"delete\",\"key\":\"a,\\\"b\"}\n");
}
