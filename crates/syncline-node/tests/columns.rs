//! Columns that come and go, over several commands.

use syncline_node::import::Mode;
use syncline_node::ops::conflicts::{self, Resolve, Side};
use syncline_node::ops::{alter, branch, diff, merge, rollback};

use crate::support::Place;

fn alter(place: &Place, add: &[(&str, &str)], drop: &[&str]) {
    let request = alter::Request {
        table: "t".into(),
        add: add.iter().map(|(name, ty)| ((*name).to_owned(), (*ty).to_owned())).collect(),
        drop: drop.iter().map(|name| (*name).to_owned()).collect(),
        message: Some("columns".into()),
        ..alter::Request::default()
    };
    alter::run(&place.replica, &request).expect("the columns can be changed");
}

#[test]
fn a_new_column_with_the_cells_of_one_that_went_is_no_rename() {
    let place = Place::new();
    place.upsert("id,a,b\n1,x,same\n2,y,same\n", "rows");
    alter(&place, &[], &["b"]);
    alter(&place, &[("c", "utf8")], &[]);
    place.import("id,c\n1,same\n2,same\n", Mode::Upsert, Some("cells")).expect("the column is there");
    let found = place.diff("HEAD~3", "HEAD");
    let shown: Vec<_> = found.rows.iter().map(|row| (row.kind, row.changed.clone())).collect();
    assert_eq!(shown, [(diff::Kind::Update, vec!["c".to_owned()]), (diff::Kind::Update, vec!["c".to_owned()])]);
}

fn merged(place: &Place, name: &str) {
    let done = place.merge(name).expect("nothing is in the way");
    assert_eq!((done.outcome, done.conflicts), (merge::Outcome::Merged, 0));
}

/// Main has added column p, and feat column q; main has merged feat.
fn both_added() -> Place {
    let place = Place::new();
    place.upsert("id,v\n1,x\n2,y\n", "rows");
    place.branch("feat");
    alter(&place, &[("q", "utf8")], &[]);
    place.switch("main");
    alter(&place, &[("p", "utf8")], &[]);
    place.branch("before");
    place.switch("main");
    merged(&place, "feat");
    place
}

#[test]
fn a_branch_is_merged_twice_after_both_added_columns() {
    let place = both_added();
    place.switch("feat");
    place.import("id,q\n1,Q1\n", Mode::Upsert, Some("q")).expect("the column is there");
    place.switch("main");
    merged(&place, "feat");
    assert_eq!(place.rows(), "id,v,p,q\n1,x,,Q1\n2,y,,\n");
}

#[test]
fn what_was_edited_before_the_others_columns_came_stays_in_its_column() {
    let place = both_added();
    place.switch("before");
    place.import("id,p\n1,PP\n", Mode::Upsert, Some("p")).expect("the column is there");
    place.switch("feat");
    merged(&place, "before");
    assert_eq!(place.rows(), "id,v,q,p\n1,x,,PP\n2,y,,\n");
    // The ids on main are others.
    place.switch("before");
    merged(&place, "main");
    merged(&place, "feat");
    place.switch("main");
    assert_eq!(place.merge("before").expect("it is ahead").outcome, merge::Outcome::FastForward);
    // In either order.
    let rows = place.rows();
    assert!(["id,v,p,q\n1,x,PP,\n2,y,,\n", "id,v,q,p\n1,x,,PP\n2,y,,\n"].contains(&&rows[..]), "{rows}");
    let found = place.diff("feat", "main");
    assert!(found.rows.is_empty() && found.trees.iter().all(|tree| tree.columns.is_empty()), "{found:?}");
}

#[test]
fn columns_added_on_both_sides_survive_a_crosswise_merge() {
    let place = both_added();
    place.branch("main-then");
    place.switch("feat");
    merged(&place, "before");
    place.switch("main");
    place.import("id,p\n1,PP\n", Mode::Upsert, Some("p")).expect("the column is there");
    place.switch("feat");
    place.import("id,q\n2,QQ\n", Mode::Upsert, Some("q")).expect("the column is there");
    place.switch("main");
    merged(&place, "feat");
    assert_eq!(place.rows(), "id,v,p,q\n1,x,PP,\n2,y,,QQ\n");
}

#[test]
fn tables_made_apart_are_merged_again_and_again() {
    let place = Place::new();
    place.write("f", "x");
    place.commit("base");
    place.branch("feat");
    // Leaves of another size, too.
    place.upsert("id,b,a\n1,,\n2,b2,a2\n", "theirs");
    place.switch("main");
    place.upsert("id,a,b\n3,a3,b3\n", "ours");
    merged(&place, "feat");
    place.switch("feat");
    place.import("id,b\n1,BNEW\n", Mode::Upsert, Some("b")).expect("the column is there");
    alter(&place, &[("c", "int64")], &[]);
    place.import("id,c\n2,7\n", Mode::Upsert, Some("c")).expect("the column is there");
    place.switch("main");
    merged(&place, "feat");
    assert_eq!(place.rows(), "id,a,b,c\n1,,BNEW,\n2,a2,b2,7\n3,a3,b3,\n");
}

#[test]
fn a_column_that_was_rolled_back_is_not_the_one_that_came_after() {
    let place = Place::new();
    place.upsert("id,v\n1,x\n", "rows");
    alter(&place, &[("p", "utf8")], &[]);
    place.branch("feat");
    place.import("id,p\n1,PP\n", Mode::Upsert, Some("p")).expect("the column is there");
    place.switch("main");
    let back = rollback::Request { to: "HEAD~1".into(), ..rollback::Request::default() };
    rollback::run(&place.replica, &back).expect("it is there");
    alter(&place, &[("q", "utf8")], &[]);
    let refused = place.merge("feat").expect_err("p went here, and was edited there");
    assert!(refused.to_string().contains("column \"p\" was dropped here"), "{refused}");
    assert_eq!(place.rows(), "id,v,q\n1,x,\n");
}

#[test]
fn a_column_of_the_key_keeps_its_type() {
    let place = Place::new();
    place.upsert("id,v\n1,x\n", "rows");
    let widen = vec![("id".to_owned(), "decimal(30, 0)".to_owned())];
    let request = alter::Request { table: "t".into(), widen, ..alter::Request::default() };
    let refused = alter::run(&place.replica, &request).expect_err("every comparison would fail");
    assert_eq!(refused.kind(), syncline_base::Kind::Invalid);
    assert!(refused.to_string().contains("the key has it"), "{refused}");
}

#[test]
fn a_conflict_that_was_settled_crosswise_does_not_bar_edits_of_other_cells() {
    let place = Place::new();
    place.upsert("id,v,w\n1,x,x\n", "rows");
    place.branch("feat");
    place.upsert("id,v,w\n1,B,x\n", "b");
    place.branch("feat-then");
    place.switch("main");
    place.upsert("id,v,w\n1,A,x\n", "a");
    place.branch("main-then");
    // Both take B.
    for (here, there, side) in [("main", "feat-then", Side::Theirs), ("feat", "main-then", Side::Ours)] {
        place.switch(here);
        assert_eq!(place.merge(there).expect("one cell is in conflict").conflicts, 1);
        conflicts::resolve(&place.replica, &Resolve { tree: None, key: None, side }).expect("one is open");
        place.commit("merged");
    }
    place.switch("main");
    place.import("id,w\n1,NEW\n", Mode::Upsert, Some("w")).expect("the column is there");
    merged(&place, "feat");
    assert_eq!(place.rows(), "id,v,w\n1,B,NEW\n");
}

#[test]
fn a_column_that_was_dropped_and_added_again_is_in_conflict_with_edits_of_it() {
    let place = Place::new();
    place.upsert("id,v,w\n1,x,x\n2,y,x\n", "rows");
    place.branch("feat");
    place.upsert("id,v,w\n1,EDITED,x\n", "edit");
    place.switch("main");
    alter(&place, &[], &["v"]);
    alter(&place, &[("v", "utf8")], &[]);
    let done = place.merge("feat").expect("what fits is staged");
    assert_eq!((done.outcome, done.conflicts), (merge::Outcome::Conflicts, 1));
    let found = conflicts::run(&place.replica, 10).expect("it can be read").conflicts.remove(0);
    assert_eq!((&found.columns[..], &found.key[..]), (&["v".to_owned()][..], "1"));
    conflicts::resolve(&place.replica, &Resolve { tree: None, key: None, side: Side::Theirs }).expect("one is open");
    place.commit("merged");
    assert_eq!(place.rows(), "id,w,v\n1,x,EDITED\n2,x,\n");
}

#[test]
fn going_back_over_a_wider_type_loses_no_value_and_hides_no_change() {
    let place = Place::new();
    place.upsert("id,name\n1,a\n", "base");
    let alter = |request: alter::Request| {
        let request = alter::Request { table: "t".into(), message: Some("columns".into()), ..request };
        alter::run(&place.replica, &request).expect("the columns can be so");
    };
    let types = |d: &str, x: &str| vec![("d".to_owned(), d.to_owned()), ("x".to_owned(), x.to_owned())];
    alter(alter::Request { add: types("decimal(6,2)", "int32"), ..alter::Request::default() });
    place.upsert("id,d,x\n1,1.25,7\n", "narrow");
    alter(alter::Request { widen: types("decimal(8,4)", "int64"), ..alter::Request::default() });
    place.upsert("id,d,x\n1,1.2512,9999999999\n", "edit");
    // Rounded, 1.2512 is 1.25; and 9999999999 is no int32.
    let back = place.diff("HEAD", "HEAD~2");
    assert_eq!(back.trees[0].updated, 1, "{back:?}");
    assert_eq!((&*back.rows[0].key, &back.rows[0].changed[..]), ("1", &["d".to_owned(), "x".to_owned()][..]));
    let create = branch::Action::Create { name: "dev".into(), at: Some("HEAD~1".into()), force: false };
    branch::run(&place.replica, branch::Sort::Branch, &create).expect("the name is free");
    let to = rollback::Request { to: "HEAD~2".into(), ..rollback::Request::default() };
    rollback::run(&place.replica, &to).expect("nothing is in the way");
    assert_eq!(place.rows(), "id,name,d,x\n1,a,1.25,7\n");
    place.switch("dev");
    place.upsert("id,d,x\n2,9.9999,5000000000\n", "wide");
    place.merge("main").expect("the sides do not meet");
    assert_eq!(place.rows(), "id,name,d,x\n1,a,1.2500,7\n2,,9.9999,5000000000\n");
    // From the other side it is the same.
    place.switch("main");
    place.merge("dev").expect("it is behind");
    assert_eq!(place.rows(), "id,name,d,x\n1,a,1.2500,7\n2,,9.9999,5000000000\n");
}

#[test]
fn a_column_can_be_replaced_by_one_of_its_name() {
    let place = Place::new();
    place.upsert("id,a,b\n1,x,7\n", "one");
    alter(&place, &[("a", "int32")], &["a"]);
    assert_eq!(place.rows(), "id,b,a\n1,7,\n");
    // What is dropped makes room for what is renamed.
    let request = alter::Request {
        table: "t".into(),
        drop: vec!["a".into()],
        rename: vec![("b".into(), "a".into())],
        message: Some("b is a now".into()),
        ..alter::Request::default()
    };
    alter::run(&place.replica, &request).expect("the name is free");
    assert_eq!(place.rows(), "id,a\n1,7\n");
}
