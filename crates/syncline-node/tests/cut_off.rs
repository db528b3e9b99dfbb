//! What a process leaves that was killed between two steps, and that the next verb brings it to its end.

use std::path::Path;
use std::time::Duration;

use serde_json::json;
use syncline_base::{Hash, Kind};
use syncline_node::import::Input;
use syncline_node::ops::{alter, branch, checkout, commit, gc, import, init, merge, rollback, status, transfer};
use syncline_node::progress::Silent;
use syncline_node::{Env, Replica, loopback, revision};
use syncline_tree::{DatasetRoot, refs};

use crate::support::{Place, env, silent};

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

#[test]
fn an_alter_after_a_checkout_that_was_cut_off_finishes_its_files() {
    let (place, roots) = two_versions();
    cut_off(&place.path(), &roots, "old");
    let add = vec![("b".to_owned(), "int64".to_owned())];
    let request = alter::Request { table: "t".into(), add, message: Some("b".into()), ..alter::Request::default() };
    alter::run(&place.replica, &request).expect("nothing is in the way");
    assert_eq!(place.read("notes.txt").as_deref(), Some("new"));
}

#[test]
fn what_was_edited_after_a_forced_checkout_was_cut_off_stays() {
    let place = Place::new();
    for text in ["one", "two"] {
        ["a", "b", "c"].iter().for_each(|name| place.write(name, text));
        place.commit(text);
    }
    let root = |at: &str| {
        let refs = place.replica.refs().expect("refs");
        let id = revision::resolve(&place.replica, &refs, at).expect("it is there");
        place.replica.root_of(&id).expect("it is there")
    };
    let (one, two) = (root("HEAD~1"), root("HEAD"));
    ["a", "b"].iter().for_each(|name| place.write(name, "edited before"));
    // The tick of the clock that the file system uses must be another one.
    place.replica.clock().sleep(Duration::from_millis(20));
    let back = rollback::Request { to: "HEAD~1".into(), ..rollback::Request::default() };
    let refused = rollback::run(&place.replica, &back).expect_err("files were edited");
    assert_eq!(refused.kind(), Kind::Conflict);
    let checkout = checkout::Request { name: "HEAD~1".into(), force: true };
    // As if it had been killed after the refs moved: they say what the note says.
    refs::update(place.replica.store(), |refs| {
        refs.staged = Some(one.put(place.replica.store())?);
        Ok(())
    })
    .expect("nobody else is at work");
    let note = json!({ "from": two.files, "to": one.files, "root": one.hash(), "force": true });
    std::fs::write(place.path().join(NOTE), note.to_string()).expect("the note can be written");
    place.replica.clock().sleep(Duration::from_millis(20));
    place.write("a", "new work");
    let seen = status::run(&place.replica, &status::Request::default(), &Silent).expect("it can be looked at");
    let texts = || ["a", "b", "c"].map(|name| place.read(name).expect("it is there"));
    assert_eq!(texts(), ["new work", "one", "one"]);
    assert_eq!(seen.files.iter().map(|file| file.path.as_str()).collect::<Vec<_>>(), ["a"]);
    checkout::run(&place.replica, &checkout).expect("it was asked for");
    assert_eq!(texts(), ["one", "one", "one"]);
}

#[test]
fn a_forced_checkout_with_something_unversioned_in_its_way_changes_nothing() {
    let place = Place::new();
    for text in ["one", "two"] {
        ["a", "b", "d/x", "z"].iter().for_each(|name| place.write(name, text));
        place.commit(text);
    }
    place.write("a", "edited");
    std::fs::remove_file(place.path().join("b")).expect("it is there");
    place.write("b/mine", "mine");
    std::fs::remove_dir_all(place.path().join("d")).expect("it is there");
    place.write("d", "mine");
    for name in ["HEAD", "HEAD~1"] {
        let request = checkout::Request { name: name.into(), force: true };
        let refused = checkout::run(&place.replica, &request).expect_err("a folder has files of the user's");
        assert_eq!(refused.kind(), Kind::Conflict);
        assert!(refused.to_string().contains("b, d/x"), "{refused}");
        assert_eq!((place.read("a").as_deref(), place.read("b/mine").as_deref()), (Some("edited"), Some("mine")));
        assert_eq!(place.read("z").as_deref(), Some("two"));
        assert!(!place.path().join(NOTE).exists());
    }
    std::fs::remove_dir_all(place.path().join("b")).expect("it is there");
    std::fs::remove_file(place.path().join("d")).expect("it is there");
    checkout::run(&place.replica, &checkout::Request { name: "HEAD".into(), force: true }).expect("it is free");
    assert_eq!([place.read("a"), place.read("b"), place.read("d/x")], [(); 3].map(|()| Some("two".to_owned())));
}

#[test]
fn a_note_of_somebody_at_work_is_left_alone() {
    let (place, roots) = two_versions();
    // Before the refs move: whoever comes by would drop the note.
    cut_off(&place.path(), &[roots[1].clone(), roots[0].clone()], "new");
    let lock = std::fs::File::create(place.path().join(".syncline/checkout.lock")).expect("it can be made");
    lock.lock().expect("nobody has it");
    let seen = status::run(&place.replica, &status::Request::default(), &Silent).expect("it can be looked at");
    assert!(seen.warnings.iter().any(|warning| warning.contains("another command")), "{:?}", seen.warnings);
    let request = commit::Request { message: "x".into(), ..commit::Request::default() };
    let refused = commit::run(&place.replica, &request, &Silent).expect_err("the files are being changed");
    assert_eq!(refused.kind(), Kind::Conflict);
    assert!(place.path().join(NOTE).exists());
    drop(lock);
    assert!(!place.commit("x").committed);
    assert!(!place.path().join(NOTE).exists());
}

#[test]
fn a_clone_is_not_gone_on_with_over_staged_work() {
    let (hub, dir) = (Place::bare(), tempfile::tempdir().expect("the system has room for a directory"));
    let request = transfer::CloneRequest {
        url: "hub".into(),
        dir: dir.path().join("c"),
        bare: false,
        tables: None,
        depth: None,
        paths: None,
    };
    let clone = || transfer::clone(&request, env(), &mut *loopback::connect(hub.reopen())?, &Silent);
    clone().expect("the hub is empty");
    let replica = crate::support::open(&request.dir);
    let import = import::Request { table: "mine".into(), key: vec!["id".into()], ..import::Request::default() };
    let input = || Input::Reader { name: "rows.csv".into(), reader: Box::new(std::io::Cursor::new("id,a\n1,x\n")) };
    import::run(&replica, &import, vec![input()], &silent()).expect("the row is good");
    hub.upsert("id,a\n1,theirs\n", "theirs");
    assert_eq!(clone().expect_err("the next commit would take theirs back").kind(), Kind::Conflict);
    assert_eq!(replica.refs().expect("refs").head_commit(), None);
}
