//! Branches and merges on one replica.

use std::path::Path;

use syncline_node::ops::conflicts::{self, Resolve, Side};
use syncline_node::ops::{alter, branch, commit, diff, merge, transfer, verify};
use syncline_node::progress::Silent;
use syncline_node::{Replica, loopback};

use crate::support::{Place, env, open};

#[test]
fn changes_to_different_cells_merge() {
    let place = Place::new();
    place.upsert("id,a,b\n1,x,x\n2,x,x\n", "base");
    place.branch("side");
    place.upsert("id,a,b\n1,x,SIDE\n", "side");
    place.switch("main");
    place.upsert("id,a,b\n1,MAIN,x\n3,n,n\n", "main");
    let done = place.merge("side").expect("nothing is in the way");
    assert_eq!((done.outcome, done.conflicts), (merge::Outcome::Merged, 0));
    let rows = place.diff("side", "HEAD").rows;
    let merged = rows.iter().find(|row| row.key == "1").and_then(|row| row.after.clone()).expect("row 1 differs");
    assert_eq!((merged.get("a"), merged.get("b")), (Some(r#""MAIN""#), Some(r#""SIDE""#)));
}

fn drop_column(place: &Place, name: &str) {
    let request = alter::Request {
        table: "t".into(),
        drop: vec![name.into()],
        message: Some("drop".into()),
        ..Default::default()
    };
    alter::run(&place.replica, &request).expect("the column is there");
}

#[test]
fn edits_of_a_column_that_the_other_side_dropped_are_not_lost_unsaid() {
    for we_drop in [true, false] {
        let place = Place::new();
        place.upsert("id,a,b\n1,x,x\n2,x,x\n", "base");
        place.branch("side");
        let either = |drop: bool| match drop {
            true => drop_column(&place, "b"),
            false => _ = place.upsert("id,a,b\n1,x,EDITED\n2,SIDE,x\n3,new,new\n", "edit"),
        };
        either(!we_drop);
        place.switch("main");
        either(we_drop);
        is_refused(
            &place,
            if we_drop { "dropped here, and 1 cells of it were edited there" } else { "dropped there, and 1 cells" },
        );
        // The side that edited follows.
        place.switch(if we_drop { "side" } else { "main" });
        drop_column(&place, "b");
        place.switch("main");
        assert_eq!(place.merge("side").expect("both dropped it").outcome, merge::Outcome::Merged);
        assert_eq!(place.rows(), "id,a\n1,x\n2,SIDE\n3,new\n");
    }
}

#[test]
fn a_branch_without_commits_of_its_own_moves_forward() {
    let place = Place::new();
    place.upsert("id,a\n1,x\n", "base");
    place.branch("side");
    let tip = place.upsert("id,a\n1,y\n", "side");
    place.switch("main");
    let done = place.merge("side").expect("nothing is in the way");
    assert_eq!((done.outcome, done.commit), (merge::Outcome::FastForward, tip));
    assert_eq!(place.merge("side").expect("nothing is in the way").outcome, merge::Outcome::UpToDate);
}

fn in_conflict() -> Place {
    let place = Place::new();
    place.upsert("id,a,b\n1,x,x\n2,x,x\n3,x,x\n", "base");
    place.branch("side");
    place.upsert("id,a,b\n1,SIDE,new\n2,s,x\n", "side");
    place.switch("main");
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
    let cells = [&row.base, &row.ours, &row.theirs].map(|side| side.as_ref().and_then(|row| row.get("a")));
    assert_eq!(cells, [r#""x""#, r#""MAIN""#, r#""SIDE""#].map(Some));
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
        assert_eq!((row.get("a"), row.get("b")), (Some(&format!("{expected:?}")[..]), Some(r#""new""#)));
    }
}

/// Two branches: `ours` was done on main, `theirs` on the side.
fn apart(ours: impl FnOnce(&Place), theirs: impl FnOnce(&Place)) -> Place {
    let place = Place::new();
    place.write("run.sh/x", "x");
    place.commit("base");
    place.branch("side");
    theirs(&place);
    place.commit("theirs");
    place.switch("main");
    ours(&place);
    place.commit("ours");
    place
}

/// The merge is refused and says why; nothing has changed, and all goes on.
fn is_refused(place: &Place, why: &str) {
    let before = place.root();
    let error = place.merge("side").expect_err("the two do not fit together");
    assert_eq!(error.kind(), syncline_base::Kind::Conflict);
    assert!(error.to_string().contains(why), "{error}");
    assert_eq!(place.root(), before);
    let status = syncline_node::ops::status::run(&place.replica, &Default::default(), &syncline_node::progress::Silent);
    assert!(status.expect("the directory is as it was").files.is_empty());
}

#[test]
fn a_file_does_not_meet_a_folder() {
    let place = apart(|here| here.write("t/u", "folder"), |there| there.write("t", "file"));
    is_refused(&place, "\"t\" is a file and the folder of \"t/u\"");
    std::fs::rename(place.path().join("t"), place.path().join("t2")).expect("it is there");
    place.commit("renamed");
    assert_eq!(place.merge("side").expect("they fit now").outcome, merge::Outcome::Merged);
    assert_eq!([place.read("t"), place.read("t2/u")], ["file", "folder"].map(|text| Some(text.to_owned())));
}

#[test]
fn names_that_some_systems_cannot_tell_apart_do_not_meet() {
    let place = apart(|here| here.write("readme", "a"), |there| there.write("README", "b"));
    is_refused(&place, "\"README\" and \"readme\"");
}

#[test]
fn an_empty_folder_that_the_other_side_filled_is_just_a_folder() {
    let empty = |here: &Place| std::fs::create_dir(here.path().join("d")).expect("it is not there");
    let place = apart(empty, |there| there.write("d/f", "x"));
    assert_eq!(place.merge("side").expect("they fit").outcome, merge::Outcome::Merged);
    assert_eq!(place.diff("side", "HEAD").trees.len(), 0, "nothing is left of the mark");
}

#[test]
fn their_file_is_not_put_below_our_link() {
    let place = apart(
        |here| {
            std::fs::remove_dir_all(here.path().join("run.sh")).expect("it is there");
            here.write("run.sh", "a file now");
        },
        |there| there.write("run.sh/x", "changed"),
    );
    assert_eq!(place.merge("side").expect("one row is in conflict").conflicts, 1);
    let take = |side| conflicts::resolve(&place.replica, &Resolve { tree: None, key: None, side });
    let error = take(Side::Theirs).expect_err("a file is in the way");
    assert!(error.to_string().contains("\"run.sh\" is a file"), "{error}");
    take(Side::Ours).expect("ours can stay");
    assert!(place.commit("merged").committed);
    assert_eq!(place.read("run.sh").as_deref(), Some("a file now"));
}

#[test]
fn their_cells_are_taken_by_column_and_not_by_name() {
    use syncline_node::ops::alter;
    let rename = |place: &Place, steps: &[(&str, &str)]| {
        for (old, new) in steps {
            let rename = vec![((*old).to_owned(), (*new).to_owned())];
            let message = Some("columns".into());
            let request = alter::Request { table: "t".into(), rename, message, ..alter::Request::default() };
            alter::run(&place.replica, &request).expect("the name is free");
        }
    };
    let place = Place::new();
    place.upsert("id,a,b\n1,x,y\n2,x,y\n", "base");
    place.branch("side");
    place.upsert("id,a,b\n1,SIDE,y\n", "side");
    place.switch("main");
    place.upsert("id,a,b\n1,MAIN,y\n", "main");
    // The two change names, and the key gets another.
    rename(&place, &[("a", "c"), ("b", "a"), ("c", "b"), ("id", "ident")]);
    assert_eq!(place.merge("side").expect("one row is in conflict").conflicts, 1);
    let found = conflicts::run(&place.replica, 10).expect("it can be read").conflicts.remove(0);
    assert_eq!(found.columns, ["b"]);
    let theirs = found.theirs.expect("they have it");
    assert_eq!(["ident", "b", "a"].map(|name| theirs.get(name)), ["1", r#""SIDE""#, r#""y""#].map(Some));
    conflicts::resolve(&place.replica, &Resolve { tree: None, key: Some("1".into()), side: Side::Theirs })
        .expect("it is in conflict");
    place.commit("merged");
    let rows = place.diff("HEAD~1", "HEAD").rows;
    let row = rows.first().and_then(|row| row.after.clone()).expect("row 1 differs");
    assert_eq!((row.get("b"), row.get("a")), (Some(r#""SIDE""#), Some(r#""y""#)));
}

#[test]
fn tables_made_apart_meet_column_by_column() {
    let place = Place::new();
    place.write("f", "x");
    place.commit("base");
    place.branch("side");
    place.upsert("id,city,name\n1,c1,theirs\n2,c2,n2\n", "theirs");
    place.switch("main");
    place.upsert("id,name,city\n1,ours,c1\n3,n3,c3\n", "ours");
    let done = place.merge("side").expect("nothing is in the way");
    assert_eq!((done.outcome, done.conflicts), (merge::Outcome::Conflicts, 1));
    let found = conflicts::run(&place.replica, 10).expect("it can be read").conflicts.remove(0);
    assert_eq!(found.columns, ["name"]);
    let theirs = found.theirs.expect("they have it");
    assert_eq!((theirs.get("name"), theirs.get("city")), (Some(r#""theirs""#), Some(r#""c1""#)));
    conflicts::resolve(&place.replica, &Resolve { tree: None, key: None, side: Side::Theirs }).expect("it is open");
    place.commit("merged");
    let rows = place.diff("HEAD~1", "HEAD").rows;
    let cells = |row: &syncline_node::ops::diff::Row| {
        let after = row.after.as_ref().expect("no row goes");
        ["id", "name", "city"].map(|name| after.get(name).expect("the column is there")).join(" ")
    };
    assert_eq!(rows.iter().map(cells).collect::<Vec<_>>(), [r#"1 "theirs" "c1""#, r#"2 "n2" "c2""#]);
}

fn copy(of: &Path, to: &Path, bare: bool) -> Replica {
    let url = of.display().to_string();
    let request = transfer::CloneRequest { url, dir: to.to_owned(), bare, tables: None, depth: None, paths: None };
    let mut transport = loopback::connect(open(of)).expect("it was made before");
    transfer::clone(&request, env(), &mut *transport, &Silent).expect("it is new");
    open(to)
}

/// Merges the two of [`apart`], which are in conflict about the file `run.sh/x` alone, in a replica with and without a
/// directory, and takes each side. What comes out is that side's tree, and it can be read.
fn one_side_or_the_other(place: &Place) {
    for (bare, side) in [(true, Side::Ours), (true, Side::Theirs), (false, Side::Ours), (false, Side::Theirs)] {
        let dir = tempfile::tempdir().expect("the system has room for a directory");
        let path = dir.path().join("merged");
        let replica = copy(&place.path(), &path, bare);
        let request = merge::Request { name: "origin/side".into(), ..merge::Request::default() };
        let done = merge::run(&replica, &request).expect("what fits is staged");
        assert_eq!((done.outcome, done.conflicts), (merge::Outcome::Conflicts, 1));
        conflicts::resolve(&replica, &Resolve { tree: None, key: None, side }).expect("one is open");
        let request = commit::Request { message: "merged".into(), ..commit::Request::default() };
        commit::run(&replica, &request, &Silent).expect("all is decided");
        let taken = if side == Side::Ours { "HEAD~1" } else { "origin/side" };
        let request = diff::Request { from: Some(taken.into()), to: Some("HEAD".into()), tree: None, rows: 10 };
        assert_eq!(diff::run(&replica, &request).expect("both can be read").trees.len(), 0, "bare {bare}, {side:?}");
        copy(&path, &dir.path().join("again"), false);
    }
}

#[test]
fn a_file_that_both_changed_is_of_one_side() {
    for (ours, theirs) in [("2", "10"), ("10", "2"), ("20", "10")] {
        let write = |text: &'static str| move |place: &Place| place.write("run.sh/x", text);
        one_side_or_the_other(&apart(write(ours), write(theirs)));
    }
}

#[cfg(unix)]
#[test]
fn a_link_does_not_take_the_mode_of_a_file() {
    use std::os::unix::fs::{PermissionsExt as _, symlink};
    let chmod = |place: &Place| {
        let mode = std::fs::Permissions::from_mode(0o755);
        std::fs::set_permissions(place.path().join("run.sh/x"), mode).expect("it is ours");
    };
    let link = |place: &Place| {
        std::fs::remove_file(place.path().join("run.sh/x")).expect("it is there");
        symlink("y", place.path().join("run.sh/x")).expect("the name is free");
    };
    one_side_or_the_other(&apart(chmod, link));
    one_side_or_the_other(&apart(link, chmod));
    // Nor does content that one side wrote take the mode that the other gave.
    for side in [Side::Ours, Side::Theirs] {
        let place = apart(chmod, |there| there.write("run.sh/x", "more"));
        assert_eq!(place.merge("side").expect("it waits").outcome, merge::Outcome::Conflicts);
        conflicts::resolve(&place.replica, &Resolve { tree: None, key: None, side }).expect("it can be decided");
        let mode = std::fs::metadata(place.path().join("run.sh/x")).expect("it is there").permissions().mode();
        let is_more = place.read("run.sh/x").as_deref() == Some("more");
        assert_eq!((is_more, mode & 0o111 != 0), (side == Side::Theirs, side == Side::Ours));
    }
}

/// `a` and `b` have merged each other's versions `a1` and `b2` at the same time; both changed row 5, and each kept its own.
fn merged_crosswise(row_5: bool) -> Place {
    let place = Place::new();
    place.upsert("id,a\n1,x\n2,x\n5,x\n6,x\n", "base");
    place.branch("a");
    place.branch("b");
    place.upsert("id,a\n6,b1\n", "b1");
    place.upsert(if row_5 { "id,a\n5,b2\n" } else { "id,a\n6,b2\n" }, "b2");
    place.switch("a");
    place.upsert(if row_5 { "id,a\n5,a1\n" } else { "id,a\n1,a1\n9,a1\n" }, "a1");
    let tag = branch::Action::Create { name: "a1".into(), at: None, force: false };
    branch::run(&place.replica, branch::Sort::Tag, &tag).expect("the name is free");
    let merge_keeping_ours = |name: &str| {
        if place.merge(name).expect("nothing is in the way").outcome == merge::Outcome::Conflicts {
            let ours = Resolve { tree: None, key: None, side: Side::Ours };
            conflicts::resolve(&place.replica, &ours).expect("row 5 is in conflict");
            place.commit("merged");
        }
    };
    merge_keeping_ours("b");
    place.switch("b");
    merge_keeping_ours("a1");
    place.switch("a");
    place
}

#[test]
fn what_was_taken_back_after_merging_crosswise_stays_so() {
    let place = merged_crosswise(false);
    place.import("id\n9\n", syncline_node::import::Mode::Delete, Some("without 9")).expect("it is one row");
    place.upsert("id,a\n1,x\n", "1 as it was");
    let before = place.root();
    let done = place.merge("b").expect("nothing is in the way");
    assert_eq!((done.outcome, done.conflicts, place.root()), (merge::Outcome::Merged, 0, before));
    // From the other side the same comes out.
    place.switch("b");
    assert_eq!(place.merge("a").expect("nothing is in the way").outcome, merge::Outcome::FastForward);
    let seen = verify::run(&place.replica, &verify::Request { deep: true }, &Silent).expect("it can be read");
    assert!(seen.sound, "{seen:?}");
}

#[test]
fn what_was_decided_differently_when_merging_crosswise_is_named() {
    let place = merged_crosswise(true);
    let refused = place.merge("b").expect_err("nobody can say which one changed its mind");
    assert_eq!(refused.kind(), syncline_base::Kind::Conflict);
    assert!(refused.to_string().contains("table t {\"id\":5}"), "{refused}");
    place.upsert("id,a\n5,b2\n", "as they have it");
    assert_eq!(place.merge("b").expect("both have the same").outcome, merge::Outcome::Merged);
}

#[test]
fn all_files_gone_on_one_side_and_one_edited_on_the_other() {
    for side in [Side::Ours, Side::Theirs] {
        let place = Place::new();
        place.write("a", "a");
        place.write("b", "b");
        place.commit("base");
        place.branch("side");
        place.write("a", "edited");
        place.commit("edited");
        place.switch("main");
        for name in ["a", "b"] {
            std::fs::remove_file(place.path().join(name)).expect("it is there");
        }
        let gone = commit::Request { message: "gone".into(), allow_mass_delete: true, ..commit::Request::default() };
        commit::run(&place.replica, &gone, &Silent).expect("nothing is in the way");
        let done = place.merge("side").expect("what fits is staged");
        assert_eq!((done.outcome, done.conflicts), (merge::Outcome::Conflicts, 1), "b is not in conflict");
        conflicts::resolve(&place.replica, &Resolve { tree: None, key: None, side }).expect("one is open");
        place.commit("merged");
        let kept = (side == Side::Theirs).then(|| "edited".to_owned());
        assert_eq!([place.read("a"), place.read("b")], [kept, None]);
    }
}

#[test]
fn their_side_is_taken_of_what_was_deleted_here_and_there_at_once() {
    let place = Place::new();
    for name in ["f", "g", "k"] {
        place.write(name, "1");
    }
    place.commit("base");
    place.branch("side");
    place.write("g", "2");
    std::fs::remove_file(place.path().join("f")).expect("it is there");
    place.commit("theirs");
    place.switch("main");
    place.write("f", "2");
    std::fs::remove_file(place.path().join("g")).expect("it is there");
    place.commit("ours");
    assert_eq!(place.merge("side").expect("it waits").conflicts, 2);
    let theirs = Resolve { tree: None, key: None, side: Side::Theirs };
    let done = conflicts::resolve(&place.replica, &theirs).expect("both can be taken at once");
    assert_eq!((done.resolved, done.open), (2, 0));
    assert_eq!(["f", "g", "k"].map(|name| place.read(name)), [None, Some("2".to_owned()), Some("1".to_owned())]);
}
