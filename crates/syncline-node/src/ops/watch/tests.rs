use syncline_base::Kind;

use super::super::apply;
use super::super::put;
use super::*;
use crate::live::engine::tests::Cable;
use crate::replica::Env;

const SOON: Duration = Duration::from_secs(20);

struct Place(tempfile::TempDir);

impl Place {
    fn replica(&self, name: &str) -> Replica {
        let at = self.0.path().join(name);
        if at.exists() {
            return Replica::open(&crate::Location::Path(at), Env::default()).expect("a replica");
        }
        Replica::init(&at, true, Env::default()).expect("a new directory")
    }
}

fn write(replica: &Replica, rows: &str) {
    let request = put::Request { table: "t".into(), key: Some(vec!["id".into()]), ..<_>::default() };
    put::run(replica, &request, &mut rows.as_bytes()).expect("it is put");
}

fn remove(replica: &Replica, key: &str) {
    let request = put::Request { table: "t".into(), ..put::Request::default() };
    put::delete(replica, &request, &mut key.as_bytes()).expect("it is deleted");
}

fn watched(replica: &Replica, from: &str) -> (String, Vec<serde_json::Value>) {
    let mut text = Vec::new();
    let request = Request { from: Some(from.into()), once: true, ..Request::default() };
    run(replica, &request, &mut |lines| {
        text.extend(lines);
        Ok(true)
    })
    .expect("it is given");
    let text = String::from_utf8(text).expect("text");
    let lines = text.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect();
    (text, lines)
}

fn at(replica: &Replica) -> Coverage {
    replica.live().and_then(|engine| engine.read(|node| node.state().coverage().clone())).expect("a node")
}

fn comes(from: &Replica, to: &Replica) {
    let all = syncline_sync::live::Context { seen: at(from), own: Vec::new() };
    to.live().and_then(|engine| engine.read_at(&all, SOON, |_| ())).expect("it comes");
}

/// Operation, key and mark of each line.
fn short(lines: &[serde_json::Value]) -> Vec<String> {
    let mark = |line: &serde_json::Value| {
        let marks = [("state", "state"), ("caught_up", "caught up")];
        let marks: String =
            marks.iter().filter(|(name, _)| line[*name] == true).map(|(_, word)| format!(" {word}")).collect();
        let key = line["key"]["id"].as_i64().map(|id| format!(" {id}")).unwrap_or_default();
        format!("{}{key}{marks}", line["op"].as_str().expect("a word"))
    };
    lines.iter().map(mark).collect()
}

#[test]
fn a_state_that_comes_in_place_of_entries_is_followed() {
    let place = Place(tempfile::tempdir().expect("a directory"));
    let (mut hub, mut edge) = (place.replica("hub"), place.replica("edge"));
    write(&hub, "{\"id\":1,\"v\":1}\n{\"id\":2,\"v\":1}\n{\"id\":3,\"v\":1}");
    edge.live().and_then(|engine| engine.set_upstream(Some("http://hub"))).expect("a file");
    let cable = Cable::between(&hub.live().expect("a hub"), &edge.live().expect("a spoke"));
    comes(&hub, &edge);
    let (_, lines) = watched(&edge, "start");
    assert_eq!(short(&lines), ["set 1", "set 2", "set 3", "snapshot"]);
    let from = lines[3]["position"].as_str().expect("a position").to_owned();
    drop(cable);
    // While it is away, the hub forgets how its rows came to be.
    remove(&hub, "1");
    write(&hub, "{\"id\":2,\"v\":2}\n{\"id\":4,\"v\":1}");
    hub.live().and_then(|engine| engine.checkpoint()).expect("a disk");
    drop(hub);
    hub = place.replica("hub");
    let cable = Cable::between(&hub.live().expect("a hub"), &edge.live().expect("a spoke"));
    comes(&hub, &edge);
    let (_, lines) = watched(&edge, &from);
    assert_eq!(short(&lines), ["delete 1 state", "set 2 state", "set 4 state", "commit caught up"]);
    let now = lines[3]["position"].as_str().expect("a position").to_owned();
    assert_eq!((&now, &lines[3]["changes"]), (&token::of_coverage(&at(&hub)), &serde_json::json!(3)));
    // It goes on there.
    assert!(watched(&edge, &now).1.is_empty());
    drop(cable);
    // Later nobody knows what was before: all rows, and that they are all.
    drop(edge);
    edge = place.replica("edge");
    let (text, lines) = watched(&edge, &from);
    assert_eq!(short(&lines), ["set 2 state", "set 3 state", "set 4 state", "snapshot caught up"]);
    assert_eq!((&lines[3]["position"], &lines[3]["tables"]), (&serde_json::json!(now), &serde_json::json!(["t"])));
    // Whoever applies it has neither more nor less.
    let copy = place.replica("copy");
    write(&copy, "{\"id\":1,\"v\":1}\n{\"id\":3,\"v\":9}");
    apply::run(&copy, &apply::Request::default(), &mut text.as_bytes()).expect("it is applied");
    let (_, lines) = watched(&copy, "start");
    let rows: Vec<_> =
        lines.iter().filter_map(|line| line["row"].as_object()).map(|row| (&row["id"], &row["v"])).collect();
    let [one, two, three, four] = [1, 2, 3, 4].map(|n| serde_json::json!(n));
    assert_eq!(rows, [(&two, &two), (&three, &one), (&four, &one)]);
}

#[test]
fn what_is_asked_of_the_rows_holds_or_is_an_error() {
    let place = Place(tempfile::tempdir().expect("a directory"));
    let (one, other) = (place.replica("one"), place.replica("other"));
    write(&one, "{\"id\":1,\"v\":1}");
    write(&other, "{\"id\":1,\"v\":1}");
    let bounds = Bounds { after: Some(token::of_coverage(&at(&other))), wait_ms: Some(20), max_staleness_ms: None };
    let request = Request { from: Some("start".into()), once: true, bounds, ..Request::default() };
    let error = run(&one, &request, &mut |_| panic!("nothing is given")).expect_err("it never comes");
    assert_eq!(error.kind(), Kind::Stale);
}

/// What a follower has at once, as [`short`].
fn ready(follower: &mut Follower) -> Vec<String> {
    match follower.ready().expect("rows") {
        Ready::Lines(text) => {
            let text = String::from_utf8(text).expect("text");
            short(&text.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect::<Vec<_>>())
        }
        other => vec![format!("{other:?}")],
    }
}

fn went(follower: &mut Follower) -> (Went, Vec<String>) {
    let mut text = Vec::new();
    let mut out = |lines: Vec<u8>| {
        text.extend(lines);
        Ok(true)
    };
    let went = follower.go_on(Duration::ZERO, &mut out).expect("rows");
    let text = String::from_utf8(text).expect("text");
    (went, short(&text.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect::<Vec<_>>()))
}

#[test]
fn what_is_little_is_given_at_once_and_what_is_much_when_there_is_time() {
    use std::sync::atomic::{AtomicU64, Ordering};
    let place = Place(tempfile::tempdir().expect("a directory"));
    let hub = place.replica("hub");
    write(&hub, "{\"id\":1,\"v\":\"a\"}");
    let mut follower = Follower::open(&hub, &Request { table: Some("t".into()), ..Request::default() }).expect("one");
    let told = Arc::new(AtomicU64::new(0));
    let count = Arc::clone(&told);
    let listener: Arc<crate::live::engine::Listener> = Arc::new(move || {
        count.fetch_add(1, Ordering::Relaxed);
    });
    follower.engine().listen(&listener);
    assert_eq!(ready(&mut follower), ["Much"], "it has not begun");
    assert_eq!(went(&mut follower), (Went::On, vec!["begin".into()]));
    assert_eq!(ready(&mut follower), ["Nothing"]);
    assert_eq!(went(&mut follower), (Went::Nowhere, vec![]));
    let before = told.load(Ordering::Relaxed);
    write(&hub, "{\"id\":2,\"v\":\"b\"}");
    remove(&hub, "1");
    assert!(told.load(Ordering::Relaxed) > before, "the listener is called");
    assert_eq!(ready(&mut follower), ["set 2", "commit", "delete 1", "commit"]);
    // Another table is not what is wanted: it is passed over.
    let other = put::Request { table: "u".into(), key: Some(vec!["id".into()]), ..<_>::default() };
    put::run(&hub, &other, &mut &b"{\"id\":9}"[..]).expect("it is put");
    assert_eq!(ready(&mut follower), [""; 0]);
    assert_eq!(ready(&mut follower), ["Nothing"]);
    let large = format!("{{\"id\":3,\"v\":\"{}\"}}", "x".repeat(LITTLE + 1));
    write(&hub, &large);
    write(&hub, "{\"id\":4,\"v\":\"c\"}");
    assert_eq!(ready(&mut follower), ["Much"]);
    assert_eq!(ready(&mut follower), ["Much"], "until it is given");
    let (all, mut given) = went(&mut follower);
    assert_eq!(all, Went::On);
    while given.len() < 4 {
        given.extend(ready(&mut follower));
    }
    assert_eq!(given, ["set 3", "commit", "set 4", "commit"]);
    // Nobody is told any more who has gone.
    drop(listener);
    let before = told.load(Ordering::Relaxed);
    write(&hub, "{\"id\":5,\"v\":\"d\"}");
    assert_eq!(told.load(Ordering::Relaxed), before);
    // Nobody reads any more.
    assert_eq!(follower.go_on(Duration::ZERO, &mut |_| Ok(false)).expect("rows"), Went::Away);
}
