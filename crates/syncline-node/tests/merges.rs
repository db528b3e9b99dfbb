//! Branches and merges on one replica.

use syncline_node::ops::conflicts::{self, Resolve, Side};
use syncline_node::ops::{branch, checkout, merge};

use crate::support::Place;

fn on_branch(place: &Place, name: &str) {
    let create = branch::Action::Create { name: name.into(), at: None, force: false };
    branch::run(&place.replica, branch::Sort::Branch, &create).expect("the name is free");
    switch(place, name);
}

fn switch(place: &Place, name: &str) {
    checkout::run(&place.replica, &checkout::Request { name: name.into(), force: false }).expect("it exists");
}

#[test]
fn changes_to_different_cells_merge() {
    let place = Place::new();
    place.upsert("id,a,b\n1,x,x\n2,x,x\n", "base");
    on_branch(&place, "side");
    place.upsert("id,a,b\n1,x,SIDE\n", "side");
    switch(&place, "main");
    place.upsert("id,a,b\n1,MAIN,x\n3,n,n\n", "main");
    let done = place.merge("side").expect("nothing is in the way");
    assert_eq!((done.outcome, done.conflicts), (merge::Outcome::Merged, 0));
    let rows = place.diff("side", "HEAD").rows;
    let merged = rows.iter().find(|row| row.key == "1").and_then(|row| row.after.clone()).expect("row 1 differs");
    assert_eq!((merged["a"].as_str(), merged["b"].as_str()), (Some("MAIN"), Some("SIDE")));
}

#[test]
fn a_branch_without_commits_of_its_own_moves_forward() {
    let place = Place::new();
    place.upsert("id,a\n1,x\n", "base");
    on_branch(&place, "side");
    let tip = place.upsert("id,a\n1,y\n", "side");
    switch(&place, "main");
    let done = place.merge("side").expect("nothing is in the way");
    assert_eq!((done.outcome, done.commit), (merge::Outcome::FastForward, tip));
    assert_eq!(place.merge("side").expect("nothing is in the way").outcome, merge::Outcome::UpToDate);
}

fn in_conflict() -> Place {
    let place = Place::new();
    place.upsert("id,a,b\n1,x,x\n2,x,x\n3,x,x\n", "base");
    on_branch(&place, "side");
    place.upsert("id,a,b\n1,SIDE,new\n2,s,x\n", "side");
    switch(&place, "main");
    place.upsert("id,a,b\n1,MAIN,x\n3,m,x\n", "main");
    let done = place.merge("side").expect("nothing is in the way");
    assert_eq!((done.outcome, done.conflicts), (merge::Outcome::Conflicts, 1));
    place
}

#[test]
fn a_conflict_is_listed_with_its_three_versions() {
    let place = in_conflict();
    let found = conflicts::run(&place.reopen(), 10).expect("it can be read");
    assert_eq!((found.open, found.merging.as_deref()), (1, Some("side")));
    let row = &found.conflicts[0];
    assert_eq!((row.key.as_str(), &row.columns[..]), ("1", &["a".to_owned()][..]));
    let cell = |side: &Option<serde_json::Value>| side.as_ref().map(|row| row["a"].clone());
    assert_eq!([cell(&row.base), cell(&row.ours), cell(&row.theirs)], ["x", "MAIN", "SIDE"].map(|t| Some(t.into())));
}

#[test]
fn an_open_conflict_stops_the_commit_and_a_resolution_lets_it_pass() {
    for (side, expected) in [(Side::Ours, "MAIN"), (Side::Theirs, "SIDE")] {
        let place = in_conflict();
        let request = syncline_node::ops::commit::Request { message: "early".into(), ..Default::default() };
        let refused = syncline_node::ops::commit::run(&place.replica, &request, &syncline_node::progress::Silent);
        assert_eq!(refused.expect_err("a conflict is open").kind(), syncline_base::Kind::Conflict);
        let done = conflicts::resolve(&place.replica, &Resolve { tree: None, key: Some("1".into()), side })
            .expect("the row is in conflict");
        assert_eq!((done.resolved, done.open), (1, 0));
        assert!(place.commit("merged").committed);
        let rows = place.diff("HEAD~1", "HEAD").rows;
        let all = place.diff("side", "HEAD").rows;
        let row = rows.iter().chain(&all).find(|row| row.key == "1").and_then(|row| row.after.clone());
        let row = row.expect("row 1 differs from one of the parents");
        // The cell that was not in conflict is theirs whichever side is taken.
        assert_eq!((row["a"].as_str(), row["b"].as_str()), (Some(expected), Some("new")));
    }
}
