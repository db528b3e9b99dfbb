//! Work that is staged, and moves of branches that others make meanwhile.

use syncline_base::Kind;
use syncline_node::import::Mode;
use syncline_node::ops::{branch, commit, gc};
use syncline_node::progress::{Progress, Silent, Unit};

use crate::support::Place;

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
