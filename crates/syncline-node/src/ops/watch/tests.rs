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
