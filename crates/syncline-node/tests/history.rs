//! What is told of rows, one by one: `history`, `diff --rows` and `conflicts`, whatever is in their cells.

use syncline_node::import::Mode;
use syncline_node::ops::conflicts::{self, Resolve, Side};
use syncline_node::ops::history::{self, Action};
use syncline_node::ops::{alter, diff, dispatch, merge};

use crate::support::{Place, silent};

/// What happened to row 1, newest first.
fn events(place: &Place) -> Vec<history::Event> {
    let request = history::Request { table: "t".into(), key: "1".into(), at: None, limit: None };
    history::run(&place.replica, &request).expect("the table exists").events
}

fn alter(place: &Place, request: alter::Request) {
    let request = alter::Request { table: "t".into(), message: Some("columns".into()), ..request };
    alter::run(&place.replica, &request).expect("the columns can be changed");
}

fn named(pairs: &[(&str, &str)]) -> Vec<(String, String)> {
    pairs.iter().map(|(one, two)| ((*one).to_owned(), (*two).to_owned())).collect()
}

/// A table with a float and a JSON column, and one row that was given these cells, one commit after the other.
fn told(cells: &[(&str, &str)]) -> Place {
    let place = Place::new();
    place.upsert("id\n1\n2\n", "rows");
    alter(&place, alter::Request { add: named(&[("f", "float64"), ("doc", "json")]), ..alter::Request::default() });
    cells.iter().for_each(|cells| give(&place, *cells));
    place
}

fn give(place: &Place, (f, doc): (&str, &str)) {
    place.upsert(&format!("id,f,doc\n1,{f},\"{}\"\n", doc.replace('"', "\"\"")), "cells");
}

/// JSON that most readers refuse: nested deep.
fn deep() -> String {
    format!("{}{}", "[".repeat(200), "]".repeat(200))
}

#[test]
fn changes_that_a_reader_of_json_does_not_see_are_told() {
    let deep = deep();
    let versions = [
        ("0.0", "1.0"),
        ("-0.0", "1.0"),
        ("-0.0", "1.00"),
        ("-0.0", "12345678901234567890123"),
        ("-0.0", "12345678901234567890124"),
        ("-0.0", r#"{"a":1,"b":2}"#),
        ("-0.0", r#"{"b":2,"a":1}"#),
        ("-0.0", "1e400"),
        ("-0.0", &deep[..]),
        ("0.1", &deep[..]),
        ("0.10000000000000002", &deep[..]),
        ("40.886830352249945", &deep[..]),
    ];
    let place = told(&versions);
    let found = events(&place);
    let expected = versions.windows(2).rev().map(|pair| {
        let [old, new] = pair else { panic!("it is a pair") };
        [(old.0 != new.0).then_some("f"), (old.1 != new.1).then_some("doc")].into_iter().flatten().collect::<Vec<_>>()
    });
    let expected: Vec<_> = expected.chain([vec!["f", "doc"], vec![]]).collect();
    assert_eq!(found.iter().map(|event| event.changed.clone()).collect::<Vec<_>>(), expected);
    let cells = |event: &history::Event| {
        let row = event.row.as_ref().expect("it is there");
        ["f", "doc"].map(|name| row.get(name).expect("the column is there").to_owned())
    };
    let shown: Vec<_> = found.iter().take(versions.len()).rev().map(cells).collect();
    assert_eq!(shown, versions.map(|(f, doc)| [f.to_owned(), doc.to_owned()]));

    // The same, row by row between two versions each.
    for (back, event) in found.iter().take(versions.len()).enumerate() {
        let rows = place.diff(&format!("HEAD~{}", back + 1), &format!("HEAD~{back}")).rows;
        assert_eq!(rows.len(), 1);
        assert_eq!((rows[0].kind, &rows[0].changed), (diff::Kind::Update, &event.changed));
        let docs = [&rows[0].after, &event.row].map(|row| row.as_ref().and_then(|row| row.get("doc")));
        assert_eq!(docs[0], docs[1]);
    }
}

#[test]
fn a_node_tells_rows_as_they_are() {
    let place = told(&[("40.886830352249945", "1e400"), ("-0.0", &deep())]);
    let streams = || dispatch::Streams { input: None, output: syncline_node::export::Target::Path("none".into()) };
    let ask = |verb: &str, request: &str| {
        dispatch::run(&place.replica, verb, request, streams(), &silent()).expect("the verb is known")
    };
    let told = ask("history", r#"{"table":"t","key":"1"}"#);
    let read: history::Report = serde_json::from_str(&told).expect("a caller can read it");
    let cells: Vec<_> = read.events.iter().filter_map(|event| event.row.as_ref()?.get("doc")).collect();
    assert_eq!(cells, [&deep()[..], "1e400"]);
    assert_eq!(serde_json::to_string(&read).expect("it can be shown"), told);
    let told = ask("diff", r#"{"from":"HEAD~1","to":"HEAD","rows":10}"#);
    assert!(told.contains(r#""before":{"id":1,"f":40.886830352249945,"doc":1e400}"#), "{told}");
    let read: diff::Report = serde_json::from_str(&told).expect("a caller can read it");
    assert!(told.contains(&serde_json::to_string(&read.rows).expect("they can be shown")), "{told}");
}

#[test]
fn conflicts_are_shown_and_decided_whatever_the_cells_are() {
    let place = told(&[("0.1", "1e400")]);
    place.branch("side");
    give(&place, ("0.2", &deep()));
    place.switch("main");
    give(&place, ("0.3", "1e401"));
    let done = place.merge("side").expect("nothing is in the way");
    assert_eq!((done.outcome, done.conflicts), (merge::Outcome::Conflicts, 1));
    let found = conflicts::run(&place.replica, 10).expect("it can be read").conflicts.remove(0);
    let cells = [&found.base, &found.ours, &found.theirs].map(|side| side.as_ref().and_then(|row| row.get("doc")));
    assert_eq!(cells, ["1e400", "1e401", &deep()[..]].map(Some));
    let one = Resolve { tree: None, key: Some("1".into()), side: Side::Theirs };
    assert_eq!(conflicts::resolve(&place.replica, &one).expect("it is open").resolved, 1);
    place.commit("merged");
    assert!(place.rows().contains(&format!("1,0.2,{}\n", deep())), "{}", place.rows());
}

#[test]
fn columns_that_are_renamed_added_or_widened_are_no_events_of_rows() {
    let place = Place::new();
    place.upsert("id\n1\n2\n", "rows");
    alter(&place, alter::Request { add: named(&[("name", "utf8"), ("n", "int8")]), ..alter::Request::default() });
    place.upsert("id,name,n\n1,a,7\n2,b,8\n", "cells");
    let rename = named(&[("name", "label")]);
    alter(&place, alter::Request { rename, add: named(&[("name", "utf8")]), ..alter::Request::default() });
    alter(&place, alter::Request { widen: named(&[("n", "int64")]), ..alter::Request::default() });
    let told: Vec<_> = events(&place).into_iter().map(|event| (event.action, event.changed)).collect();
    let first = [(Action::Update, vec!["name".to_owned(), "n".to_owned()]), (Action::Insert, vec![])];
    assert_eq!(told, first);
    place.import("id,label\n1,A\n", Mode::Upsert, Some("label")).expect("the column is there");
    alter(&place, alter::Request { drop: vec!["label".into(), "name".into()], ..alter::Request::default() });
    let told: Vec<_> = events(&place).into_iter().map(|event| (event.action, event.changed)).collect();
    let label = vec!["label".to_owned()];
    assert_eq!(told[..2], [(Action::Update, label.clone()), (Action::Update, label)]);
    assert_eq!(told[2..], first);
}
