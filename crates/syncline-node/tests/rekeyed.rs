//! Versions whose table of one name has different keys: another table in the same place.

use syncline_base::Kind;
use syncline_node::loopback;
use syncline_node::ops::conflicts::{self, Resolve, Side};
use syncline_node::ops::diff::Kind as What;
use syncline_node::ops::history::{self, Action};
use syncline_node::ops::{commit, merge, rollback, show, status, transfer};
use syncline_node::progress::Silent;

use crate::support::Place;

fn back(place: &Place, to: &str, message: &str) -> syncline_node::Result<rollback::Report> {
    let request = rollback::Request { to: to.into(), message: Some(message.into()), ..rollback::Request::default() };
    rollback::run(&place.replica, &request)
}

/// HEAD~3 has nothing but a file, HEAD~2 the table with a number for key, HEAD~1 no table, HEAD a text for key.
fn made_anew() -> Place {
    let place = Place::new();
    place.write("f", "file");
    place.commit("no table yet");
    place.upsert("id,a\n1,x\n2,y\n", "numbers");
    back(&place, "HEAD~1", "away with it").expect("nothing is in the way");
    place.upsert("id,a\nk1,x\n", "text");
    place
}

#[test]
fn a_table_with_another_key_is_compared_as_one_that_was_replaced() {
    let place = made_anew();
    let found = place.diff("HEAD~2", "HEAD");
    let change = &found.trees[0];
    assert!(change.replaced);
    assert_eq!((change.inserted, change.updated, change.deleted), (1, 0, 2));
    let shown: Vec<_> = found.rows.iter().map(|row| (row.kind, row.key.as_str())).collect();
    assert_eq!(shown, [(What::Delete, "1"), (What::Delete, "2"), (What::Insert, "k1")]);
    assert!(!place.diff("HEAD~3", "HEAD").trees[0].replaced);
}

#[test]
fn one_goes_back_to_a_version_with_another_key() {
    let place = made_anew();
    let root = place.diff("HEAD~2", "HEAD").from;
    let done = back(&place, "HEAD~2", "numbers again").expect("nothing is in the way");
    assert!(done.changes[0].replaced);
    assert_eq!((place.root(), place.rows()), (root, "id,a\n1,x\n2,y\n".to_owned()));
    let shown = show::run(&place.replica, &show::Request::default()).expect("it can be shown");
    assert_eq!((shown.changes[0].inserted, shown.changes[0].deleted), (2, 1));

    place.switch("HEAD~1");
    let seen = status::run(&place.replica, &status::Request::default(), &Silent).expect("it can be looked at");
    assert!(seen.staged[0].replaced);
    place.commit("text again");
    assert_eq!(place.rows(), "id,a\nk1,x\n");
}

#[test]
fn most_rows_do_not_go_with_a_key_unasked() {
    let place = made_anew();
    let many: String = (0..30).fold("id,a\n".to_owned(), |text, n| format!("{text}k{n},x\n"));
    place.upsert(&many, "many");
    let error = back(&place, "HEAD~3", "numbers again").expect_err("30 rows would go");
    assert_eq!(error.kind(), Kind::Denied);
    place.switch("HEAD~3");
    let request = commit::Request { message: "numbers".into(), ..commit::Request::default() };
    assert_eq!(commit::run(&place.replica, &request, &Silent).expect_err("30 rows would go").kind(), Kind::Denied);
}

#[test]
fn history_follows_a_key_where_it_is_one() {
    let place = made_anew();
    let of = |key: &str| -> syncline_node::Result<Vec<Action>> {
        let request = history::Request { table: "t".into(), key: key.into(), at: None, limit: None };
        Ok(history::run(&place.replica, &request)?.events.iter().map(|event| event.action).collect())
    };
    assert_eq!(of("k1").expect("a version has it"), [Action::Insert]);
    assert_eq!(of("1").expect("a version has it"), [Action::Delete, Action::Insert]);
    assert_eq!(of("no such row").expect("it could be one"), Vec::<Action>::new());

    let numbers = Place::new();
    numbers.upsert("id,a\n1,x\n", "numbers");
    let request = history::Request { table: "t".into(), key: "k1".into(), at: None, limit: None };
    let error = history::run(&numbers.replica, &request).expect_err("no version has such keys");
    assert_eq!(error.kind(), Kind::Invalid, "{error}");
}

#[test]
fn a_merge_with_a_table_of_another_key_is_one_conflict() {
    for side in [Side::Ours, Side::Theirs] {
        let place = made_anew();
        back(&place, "HEAD~2", "numbers again").expect("nothing is in the way");
        place.branch("side");
        place.upsert("id,a\n3,z\n", "a number more");
        place.switch("main");
        back(&place, "HEAD~1", "text again").expect("nothing is in the way");
        let done = place.merge("side").expect("it waits");
        assert_eq!((done.outcome, done.conflicts), (merge::Outcome::Conflicts, 1));
        let open = conflicts::run(&place.replica, 10).expect("it can be listed").conflicts;
        assert!(open[0].rekeyed && open[0].key.is_empty(), "{open:?}");
        let all = Resolve { tree: None, key: None, side };
        conflicts::resolve(&place.replica, &all).expect("it can be decided");
        place.commit("merged");
        let rows = if side == Side::Ours { "id,a\nk1,x\n" } else { "id,a\n1,x\n2,y\n3,z\n" };
        assert_eq!(place.rows(), rows);
    }
}

#[test]
fn a_table_with_another_key_travels() {
    let (hub, place) = (Place::bare(), made_anew());
    let push = || {
        let request = transfer::Request { url: "hub".into(), ..transfer::Request::default() };
        let mut transport = loopback::connect(hub.reopen()).expect("it is there");
        transfer::push(&place.replica, &request, &mut *transport, &Silent).expect("nothing is in the way");
    };
    push();
    back(&place, "HEAD~2", "numbers again").expect("nothing is in the way");
    push();
    assert_eq!(hub.root(), place.root());
}
