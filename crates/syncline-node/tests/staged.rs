//! Work that is staged, and moves of branches that others make meanwhile.

use syncline_base::Kind;
use syncline_node::import::{Input, Mode};
use syncline_node::loopback;
use syncline_node::ops::{alter, branch, commit, gc, import, transfer};
use syncline_node::progress::{Progress, Silent, Unit};

use crate::support::{Place, env, open, silent};

/// Stages a row, as another process would, when the verb that is watched says how far it is.
struct Stages<'a>(&'a Place, std::sync::Mutex<bool>);

impl Progress for Stages<'_> {
    fn stage(&self, _: &str, _: u64, _: Unit) {
        let mut done = self.1.lock().expect("nothing panics with it");
        if !std::mem::replace(&mut *done, true) {
            self.0.import("id,name\n9,staged\n", Mode::Upsert, None).expect("the row is good");
        }
    }

    fn advance(&self, _: u64) {}
}

#[test]
fn an_import_that_changes_nothing_stages_nothing() {
    let place = Place::new();
    place.upsert("id,a\n1,x\n", "one");
    let import = |csv: &str| place.import(csv, Mode::Upsert, None).expect("the rows are good");
    assert!(!import("id,a\n1,x\n").staged);
    assert!(import("id,a\n1,y\n").staged);
    assert!(import("id,a\n1,y\n").staged, "it still waits");
    assert!(!import("id,a\n1,x\n").staged, "it is as it was");
}

#[test]
fn a_commit_does_not_drop_what_was_staged_meanwhile() {
    let place = Place::new();
    place.upsert("id,name\n1,a\n", "first");
    place.write("notes.txt", "hello");
    let request = commit::Request { message: "files".into(), ..commit::Request::default() };
    let other = place.reopen();
    let refused = commit::run(&other, &request, &Stages(&place, false.into())).expect_err("a row was staged meanwhile");
    assert_eq!(refused.kind(), Kind::Conflict);
    place.commit("both");
    let found = place.diff("HEAD~1", "HEAD");
    assert_eq!(found.rows.iter().map(|row| row.key.as_str()).collect::<Vec<_>>(), ["9", "notes.txt"]);
}

#[test]
fn undo_does_not_jump_over_moves_that_gc_has_forgotten() {
    let place = Place::new();
    place.upsert("id,name\n1,a\n", "first");
    let tag = branch::Action::Create { name: "one".into(), at: None, force: false };
    branch::run(&place.replica, branch::Sort::Tag, &tag).expect("the name is free");
    for name in ["b", "c", "d"] {
        place.upsert(&format!("id,name\n1,{name}\n"), name);
    }
    let tip = place.root();
    let keep = gc::Request { keep_last: Some(1), ..gc::Request::default() };
    gc::run(&place.replica, &keep, &Silent).expect("nothing is in the way");
    let told = branch::undo(&place.replica).expect_err("the version before is gone");
    assert_eq!(told.kind(), Kind::NotFound);
    assert_eq!(place.root(), tip);
}

#[test]
fn what_is_staged_passes_the_guard_with_the_import_that_commits_it() {
    let place = Place::new();
    let ids = |from: u32, to: u32| (from..to).fold("id,name\n".to_owned(), |text, id| text + &format!("{id},x\n"));
    place.upsert(&ids(0, 100), "all");
    place.import(&ids(0, 45), Mode::Delete, None).expect("45 of 100 may go");
    place.import(&ids(45, 72), Mode::Delete, None).expect("27 of 55 may go");
    let refused = place.import("id,name\n99,y\n", Mode::Upsert, Some("one more")).expect_err("72 of 100 would go");
    assert_eq!(refused.kind(), Kind::Denied);
    assert!(refused.to_string().contains("72 of 100"), "{refused}");
    let add = alter::Request {
        table: "t".into(),
        add: vec![("c".into(), "int64".into())],
        message: Some("a column".into()),
        ..alter::Request::default()
    };
    assert_eq!(alter::run(&place.replica, &add).expect_err("72 of 100 would go").kind(), Kind::Denied);
    let staged = alter::Request { message: None, ..add };
    alter::run(&place.replica, &staged).expect("nothing is committed");
}

/// Stages a row in a replica that is being cloned into.
struct StagesThere(std::path::PathBuf);

impl Progress for StagesThere {
    fn stage(&self, name: &str, _: u64, _: Unit) {
        if name == "receiving" {
            let replica = open(&self.0);
            let import = import::Request { table: "mine".into(), key: vec!["id".into()], ..import::Request::default() };
            let rows = Box::new(std::io::Cursor::new("id,name\n9,staged\n"));
            let input = Input::Reader { name: "rows.csv".into(), reader: rows };
            import::run(&replica, &import, vec![input], &silent()).expect("the row is good");
        }
    }

    fn advance(&self, _: u64) {}
}

#[test]
fn a_clone_does_not_go_over_what_was_staged_meanwhile() {
    let (hub, dir) = (Place::bare(), tempfile::tempdir().expect("the system has room for a directory"));
    hub.upsert("id,name\n1,a\n", "first");
    let request = transfer::CloneRequest {
        url: "hub".into(),
        dir: dir.path().join("c"),
        bare: false,
        tables: None,
        depth: None,
        paths: None,
    };
    let mut transport = loopback::connect(hub.reopen()).expect("it can be opened");
    let told = StagesThere(request.dir.clone());
    let refused = transfer::clone(&request, env(), &mut *transport, &told).expect_err("a row was staged");
    assert_eq!(refused.kind(), Kind::Conflict, "{refused}");
    let refs = open(&request.dir).refs().expect("refs");
    assert!(refs.has_staged() && refs.head_commit().is_none());
}
