//! What a process leaves that was killed between two steps, and that the next verb brings it to its end.

use std::path::Path;

use serde_json::json;
use syncline_base::{Hash, Kind};
use syncline_node::ops::{branch, gc, init, merge, rollback, transfer};
use syncline_node::progress::Silent;
use syncline_node::{Env, Replica, loopback};
use syncline_tree::{DatasetRoot, refs};

use crate::support::{Place, env};

const NOTE: &str = ".syncline/checkout.json";

/// Two versions of one file and of a table; returns the roots.
fn two_versions() -> (Place, [DatasetRoot; 2]) {
    let place = Place::new();
    let version = |text: &str, row: &str| {
        place.write("notes.txt", text);
        place.commit(text);
        let commit = place.upsert(row, text);
        place.replica.root_of(&commit).expect("it was just made")
    };
    let roots = [version("old", "id,a\n1,x\n"), version("new", "id,a\n2,x\n")];
    (place, roots)
}

/// Makes it look as if a checkout had been killed after the refs moved and before the file was written.
fn cut_off(place: &Path, [from, to]: &[DatasetRoot; 2], file: &str) {
    std::fs::write(place.join("notes.txt"), file).expect("the file can be written");
    let note = json!({ "from": from.files, "to": to.files, "root": to.hash(), "force": false });
    std::fs::write(place.join(NOTE), note.to_string()).expect("the note can be written");
}

#[test]
fn an_import_after_a_checkout_that_was_cut_off_keeps_its_files() {
    let (place, roots) = two_versions();
    cut_off(&place.path(), &roots, "old");
    place.upsert("id,a\n3,x\n", "another row");
    place.commit("nothing else");
    assert_eq!(place.read("notes.txt").as_deref(), Some("new"));
    let files = place.replica.root_of(&tip(&place.replica)).expect("there is a version").files;
    assert_eq!(files, roots[1].files);
}

#[test]
fn a_merge_that_is_run_again_finishes_its_files() {
    let (place, roots) = two_versions();
    branch::run(&place.replica, branch::Sort::Branch, &branch_at("side", "HEAD")).expect("the name is free");
    cut_off(&place.path(), &roots, "old");
    assert_eq!(place.merge("side").expect("it is merged already").outcome, merge::Outcome::UpToDate);
    assert_eq!(place.read("notes.txt").as_deref(), Some("new"));
    assert!(!place.path().join(NOTE).exists());
}

fn branch_at(name: &str, at: &str) -> branch::Action {
    branch::Action::Create { name: name.into(), at: Some(at.into()), force: false }
}

#[test]
fn an_undo_after_a_checkout_that_was_cut_off_keeps_its_files() {
    let (place, roots) = two_versions();
    cut_off(&place.path(), &roots, "old");
    branch::undo(&place.replica).expect("there is a move");
    assert_eq!(place.read("notes.txt").as_deref(), Some("new"));
}

#[test]
fn gc_after_a_checkout_that_was_cut_off_leaves_nothing_stuck() {
    let (place, [old, new]) = two_versions();
    let back = rollback::Request { to: "HEAD~2".into(), ..rollback::Request::default() };
    rollback::run(&place.replica, &back).expect("the version is there");
    cut_off(&place.path(), &[new, old.clone()], "new");
    // It may remove the version that the note starts from.
    let only_last = gc::Request { keep_last: Some(1), grace_ms: 0, ..gc::Request::default() };
    gc::run(&place.replica, &only_last, &Silent).expect("nothing is in the way");
    assert_eq!(place.read("notes.txt").as_deref(), Some("old"));
    assert!(!place.path().join(NOTE).exists());
    place.commit("what is there");
    let files = place.replica.root_of(&tip(&place.replica)).expect("there is a version").files;
    assert_eq!(files, old.files);
}

fn tip(replica: &Replica) -> Hash {
    replica.refs().expect("refs").head_commit().expect("a version")
}

#[test]
fn a_replica_that_was_cut_off_while_it_was_made_is_made_again() {
    for bare in [false, true] {
        let dir = tempfile::tempdir().expect("a directory");
        let place = dir.path().join("r");
        let meta = if bare { place.clone() } else { place.join(".syncline") };
        let request = init::Request { dir: place.clone(), bare };
        // Cut off before there was a store, and after it.
        std::fs::create_dir_all(meta.join("store/tmp")).expect("directories can be made");
        init::run(&request, env()).expect("nothing is there yet");
        std::fs::remove_file(meta.join("replica.json")).expect("the marker is there");
        init::run(&request, env()).expect("it is not a replica yet");
        assert_eq!(init::run(&request, env()).expect_err("now it is").kind(), Kind::Conflict);
    }
}

#[test]
fn a_store_with_versions_is_not_made_again() {
    let (place, _) = two_versions();
    std::fs::remove_file(place.path().join(".syncline/replica.json")).expect("the marker is there");
    let request = init::Request { dir: place.path(), bare: false };
    let error = init::run(&request, env()).expect_err("its versions must not be hidden");
    assert_eq!(error.kind(), Kind::Conflict);
    assert!(error.to_string().contains("replica.json"), "{error}");
}

fn clone(from: &Place, dir: &Path) -> syncline_node::Result<transfer::Cloned> {
    let url = "http://127.0.0.1:1/d".to_owned();
    let request =
        transfer::CloneRequest { url, dir: dir.to_owned(), bare: false, tables: None, depth: None, paths: None };
    transfer::clone(&request, Env::default(), &mut *loopback::connect(from.reopen())?, &Silent)
}

#[test]
fn a_clone_that_was_cut_off_anywhere_can_be_run_again() {
    let (place, roots) = two_versions();
    let dir = tempfile::tempdir().expect("a directory");
    let copy = dir.path().join("copy");
    // Before it was a replica.
    init::run(&init::Request { dir: copy.clone(), bare: false }, env()).expect("nothing is there yet");
    std::fs::remove_file(copy.join(".syncline/replica.json")).expect("the marker is there");
    assert_eq!(clone(&place, &copy).expect("it is not a replica yet").root, Some(place.root()));
    // After the refs had moved, before the files were there.
    std::fs::remove_file(copy.join("notes.txt")).expect("it was cloned");
    let note = json!({ "from": null, "to": roots[1].files, "root": roots[1].hash(), "force": false });
    std::fs::write(copy.join(NOTE), note.to_string()).expect("the note can be written");
    assert_eq!(clone(&place, &copy).expect("it was cut off").root, Some(place.root()));
    assert_eq!(std::fs::read_to_string(copy.join("notes.txt")).expect("it was cloned"), "new");
    // A clone that is whole is no place for another one; nor is one with work of its own.
    assert_eq!(clone(&place, &copy).expect_err("there is one already").kind(), Kind::Conflict);
}

#[test]
fn a_clone_with_work_of_its_own_is_not_cloned_over() {
    let (place, roots) = two_versions();
    let dir = tempfile::tempdir().expect("a directory");
    let copy = dir.path().join("copy");
    clone(&place, &copy).expect("nothing is there yet");
    let replica = Replica::open(&syncline_node::Location::Path(copy.clone()), env()).expect("it was cloned");
    refs::update(replica.store(), |refs| {
        let hlc = replica.stamp(refs, []);
        let at = refs.head_commit();
        refs.move_branch("mine", at, hlc, "branch");
        Ok(())
    })
    .expect("nobody else is there");
    cut_off(&copy, &roots, "old");
    assert_eq!(clone(&place, &copy).expect_err("a branch would be lost").kind(), Kind::Conflict);
}
