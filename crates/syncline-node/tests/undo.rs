//! `undo`, and other moves of the branch that is checked out: the files go with it, or it stays.

use syncline_base::Kind;
use syncline_node::import::Mode;
use syncline_node::ops::branch::{self, Action, Sort};
use syncline_node::ops::{rollback, transfer};
use syncline_node::progress::Silent;
use syncline_node::{Result, loopback};

use crate::support::Place;

/// Two versions of a row and of a file.
fn two_versions() -> Place {
    let place = Place::new();
    for text in ["old", "new"] {
        place.write("a.txt", text);
        place.import(&format!("id,name\n1,{text}\n"), Mode::Upsert, None).expect("the row is good");
        place.commit(text);
    }
    place
}

fn file(place: &Place) -> Option<String> {
    place.read("a.txt")
}

#[test]
fn undo_takes_the_files_back_that_a_rollback_changed() {
    let place = two_versions();
    let new = place.root();
    let back = rollback::Request { to: "HEAD~1".into(), ..rollback::Request::default() };
    rollback::run(&place.replica, &back).expect("nothing is in the way");
    let old = place.root();
    assert_eq!(file(&place).as_deref(), Some("old"));
    for (root, text) in [(new, "new"), (old, "old"), (new, "new")] {
        let done = branch::undo(&place.replica).expect("there is a move");
        assert_eq!((place.root(), file(&place).as_deref(), done.files.written), (root, Some(text), 1));
        assert!(!place.commit("nothing").committed);
    }
    branch::undo(&place.replica).expect("there is a move");
    place.write("a.txt", "edited");
    let refused = branch::undo(&place.replica).expect_err("the edit would be lost");
    assert_eq!((refused.kind(), file(&place).as_deref()), (Kind::Conflict, Some("edited")));
    assert_eq!(place.root(), old);
}

#[test]
fn undo_of_a_commit_leaves_the_files_that_it_recorded() {
    let place = two_versions();
    let new = place.root();
    branch::undo(&place.replica).expect("there is a move");
    assert_ne!(place.root(), new);
    assert_eq!(file(&place).as_deref(), Some("new"));
    branch::undo(&place.replica).expect("there is a move");
    assert_eq!((place.root(), file(&place).as_deref()), (new, Some("new")));
}

fn move_current(place: &Place, at: &str) -> Result<branch::Report> {
    let action = Action::Create { name: "main".into(), at: Some(at.into()), force: true };
    branch::run(&place.replica, Sort::Branch, &action)
}

#[test]
fn moving_the_current_branch_moves_the_files() {
    let place = two_versions();
    move_current(&place, "HEAD~1").expect("nothing was edited");
    assert_eq!(file(&place).as_deref(), Some("old"));
    assert!(!place.commit("nothing").committed);
    place.import("id,name\n2,staged\n", Mode::Upsert, None).expect("the row is good");
    let refused = move_current(&place, "HEAD").expect_err("what is staged was made on another version");
    assert_eq!(refused.kind(), Kind::Conflict);
}

#[test]
fn an_unborn_branch_is_not_put_under_staged_work() {
    let (hub, place) = (two_versions(), Place::new());
    hub.branch("dev");
    let action = Action::Delete { name: "main".into() };
    branch::run(&hub.replica, Sort::Branch, &action).expect("another one is checked out");
    let request = transfer::Request { url: "hub".into(), ..transfer::Request::default() };
    let mut transport = loopback::connect(hub.reopen()).expect("it is there");
    transfer::pull(&place.replica, &request, &mut *transport, &Silent).expect("dev comes");
    place.import("id,name\n7,mine\n", Mode::Upsert, None).expect("the row is good");
    let refused = move_current(&place, "dev").expect_err("committing what is staged would take back what dev has");
    assert_eq!(refused.kind(), Kind::Conflict);
    assert_eq!(place.replica.refs().expect("refs").head_commit(), None);
}

#[test]
fn a_branch_that_was_only_just_made_has_nothing_to_undo() {
    let place = two_versions();
    place.branch("side");
    let refused = branch::undo(&place.replica).expect_err("nothing was before it");
    assert_eq!(refused.kind(), Kind::NotFound);
    assert!(place.replica.refs().expect("refs").head_commit().is_some());
}

#[test]
fn a_branch_that_a_pull_has_made_is_not_undone_away() {
    let (hub, place) = (two_versions(), Place::new());
    hub.branch("side");
    hub.switch("main");
    let mut transport = loopback::connect(hub.reopen()).expect("it can be opened");
    let request = transfer::Request { url: "hub".into(), ..transfer::Request::default() };
    transfer::pull(&place.replica, &request, &mut *transport, &Silent).expect("nothing is in the way");
    for name in ["main", "side"] {
        place.switch(name);
        let refused = branch::undo(&place.replica).expect_err("nothing was before it");
        assert_eq!(refused.kind(), Kind::NotFound, "{refused}");
        assert_eq!((place.root(), file(&place).as_deref()), (hub.root(), Some("new")));
    }
}
