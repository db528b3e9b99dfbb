//! Transfers across the end of a history: of versions that were given up, of a clone that is shallow.

use syncline_base::Kind;
use syncline_node::ops::{branch, checkout, commit, gc, rollback, transfer, verify};
use syncline_node::progress::Silent;
use syncline_node::sync::{Local, RefMove};
use syncline_node::{Replica, loopback, reach, revision};
use syncline_tree::{Commit, refs};

use crate::support::Place;

fn request(url: &str) -> transfer::Request {
    transfer::Request { url: url.into(), ..transfer::Request::default() }
}

fn push(from: &Place, to: &Place) -> syncline_node::Result<transfer::Report> {
    let mut transport = loopback::connect(to.reopen())?;
    transfer::push(&from.replica, &request("hub"), &mut *transport, &Silent)
}

fn pull(to: &Place, from: &Place) -> syncline_node::Result<transfer::Report> {
    let mut transport = loopback::connect(from.reopen())?;
    transfer::pull(&to.replica, &request("hub"), &mut *transport, &Silent)
}

/// Gives up all versions but the last.
fn give_up(place: &Place) {
    for _ in 0..2 {
        let keep = gc::Request { keep_last: Some(1), ..gc::Request::default() };
        gc::run(&place.replica, &keep, &Silent).expect("nothing is in the way");
    }
}

fn sound(replica: &Replica) {
    let seen = verify::run(replica, &verify::Request { deep: true }, &Silent).expect("it can be read");
    assert!(seen.sound, "{seen:?}");
}

/// Checks out a new branch.
fn start_branch(place: &Place, name: &str, at: &str) {
    let create = branch::Action::Create { name: name.into(), at: Some(at.into()), force: false };
    branch::run(&place.replica, branch::Sort::Branch, &create).expect("the version is there");
    let request = checkout::Request { name: name.into(), force: false };
    checkout::run(&place.replica, &request).expect("nothing is edited");
}

/// Many rows and a long file, in two versions.
fn write_version(place: &Place, salt: &str) {
    let rows = (0..4_000).fold("id,a\n".to_owned(), |text, id| text + &format!("{id},{salt} {id}\n"));
    place.upsert(&rows, salt);
    place.write("long.txt", &long_text(salt));
    place.commit(salt);
}

fn long_text(salt: &str) -> String {
    (0..20_000).fold(String::new(), |text, n| text + &format!("{salt} {n}\n"))
}

#[test]
fn what_stands_on_a_version_that_was_given_up_there_comes_whole() {
    let (hub, full) = (Place::new(), Place::new());
    for salt in ["a", "b", "c", "d"] {
        write_version(&hub, salt);
    }
    pull(&full, &hub).expect("the hub has versions");
    give_up(&hub);
    // Rows only: the files are those of a version that is only a record there.
    start_branch(&full, "rows", "HEAD~4");
    full.upsert("id,a\n9,on the side\n", "a row");
    push(&full, &hub).expect("all of it comes");
    sound(&hub.reopen());
    // A long file, sent as an edit of one that is not there any more.
    start_branch(&full, "files", "HEAD~3");
    full.write("long.txt", &(long_text("a") + "and more"));
    full.commit("a file");
    push(&full, &hub).expect("all of it comes");
    sound(&hub.reopen());
    let (refs, ours) = (hub.replica.refs().expect("they can be read"), full.replica.refs().expect("they can be read"));
    assert_eq!(["rows", "files"].map(|name| refs.branches[name]), ["rows", "files"].map(|name| ours.branches[name]));
}

#[test]
fn a_shallow_clone_goes_on_pulling_when_an_older_version_is_branched() {
    let (hub, dir) = (Place::new(), tempfile::tempdir().expect("the system has room for a directory"));
    for salt in ["a", "b", "c"] {
        write_version(&hub, salt);
    }
    let path = dir.path().join("r");
    let url = hub.path().display().to_string();
    let clone = transfer::CloneRequest {
        url: url.clone(),
        dir: path.clone(),
        bare: false,
        tables: None,
        depth: Some(1),
        paths: None,
    };
    let connect = || loopback::connect(hub.reopen()).expect("it can be opened");
    transfer::clone(&clone, crate::support::env(), &mut *connect(), &Silent).expect("it is new");
    start_branch(&hub, "side", "HEAD~3");
    hub.write("long.txt", &(long_text("a") + "and more"));
    hub.commit("a file");
    let copy = crate::support::open(&path);
    assert_eq!(copy.refs().expect("they can be read").shallow.len(), 1);
    for tip in ["side", "main"] {
        transfer::pull(&copy, &request(&url), &mut *connect(), &Silent).expect("what it stands on comes, too");
        sound(&copy);
        let (refs, theirs) = (copy.refs().expect("they can be read"), hub.replica.refs().expect("they can be read"));
        assert_eq!(refs.branches[tip], theirs.branches[tip]);
        let back = checkout::Request { name: "main".into(), force: false };
        checkout::run(&hub.replica, &back).expect("nothing is edited");
        if tip == "side" {
            hub.upsert("id,a\n9,after it\n", "a row");
        }
    }
}

/// Whether the data of a version was not given up.
fn is_whole(place: &Place, version: &str) -> bool {
    let refs = place.replica.refs().expect("they can be read");
    let id = revision::resolve(&place.replica, &refs, version).expect("it is there");
    !reach::is_given_up(place.replica.store(), &refs, &id).expect("it can be read")
}

/// A hub with three versions, a replica with two more that has given up the fourth, and one that has all five.
fn five_versions() -> (Place, Place, Place) {
    let (hub, short, full) = (Place::new(), Place::new(), Place::new());
    for salt in ["a", "b", "c"] {
        write_version(&hub, salt);
    }
    pull(&short, &hub).expect("the hub has versions");
    pull(&full, &hub).expect("the hub has versions");
    for salt in ["d", "e"] {
        write_version(&full, salt);
    }
    let mut transport = loopback::connect(full.reopen()).expect("it can be opened");
    transfer::pull(&short.replica, &request("full"), &mut *transport, &Silent).expect("it has versions");
    give_up(&short);
    assert!(!is_whole(&short, "HEAD~3") && is_whole(&short, "HEAD~4"));
    (hub, short, full)
}

#[test]
fn a_version_that_came_as_a_record_and_then_whole_is_kept() {
    let (hub, short, full) = five_versions();
    start_branch(&short, "a", "HEAD");
    push(&short, &hub).expect("the histories join");
    assert!(!is_whole(&hub, "a~3") && is_whole(&hub, "a~4"));
    push(&full, &hub).expect("all of it comes");
    for _ in 0..2 {
        let now = gc::Request { grace_ms: 0, ..gc::Request::default() };
        gc::run(&hub.replica, &now, &Silent).expect("nothing is in the way");
    }
    assert!(is_whole(&hub, "a~1"));
    sound(&hub.reopen());
    let copy = Place::new();
    pull(&copy, &hub).expect("the hub has versions");
    assert_eq!(copy.diff("HEAD~1", "HEAD").trees.len(), full.diff("HEAD~1", "HEAD").trees.len());
    sound(&copy.replica);
}

#[test]
fn a_version_that_another_replica_brought_whole_meanwhile_is_kept() {
    let (hub, _, full) = five_versions();
    push(&full, &hub).expect("all of it comes");
    // What ends a push that began when the fourth version was not there yet.
    let refs = full.replica.refs().expect("they can be read");
    let id = revision::resolve(&full.replica, &refs, "HEAD~1").expect("it is there");
    let record = full.replica.store().get(&id).expect("it is there");
    let commit = Commit::decode(&record).expect("it is a commit");
    Local::keep_past(&hub.replica, &[(id, commit, record)]).expect("it can be written");
    assert!(is_whole(&hub, "HEAD~1"));
}

#[test]
fn a_collection_before_the_ref_moves_keeps_the_marks_of_a_push() {
    let (hub, short, _) = five_versions();
    let old = hub.replica.refs().expect("they can be read").head_commit();
    hub.import("id,a\n1,staged\n", syncline_node::import::Mode::Upsert, None).expect("the rows are good");
    push(&short, &hub).expect_err("changes are staged there");
    let drop = checkout::Request { name: "HEAD".into(), force: true };
    checkout::run(&hub.replica, &drop).expect("that drops them");
    give_up(&hub);
    // Now the push goes on.
    let target = short.replica.refs().expect("they can be read").head_commit();
    let name = "branches/main".to_owned();
    let step = RefMove { name, expected: old, target, force: false, allow_mass_delete: false, only_new: false };
    hub.replica.move_ref(&step, &[]).expect("all of it is there");
    assert!(!is_whole(&hub, "HEAD~3") && is_whole(&hub, "HEAD~4"));
    sound(&hub.reopen());
    let copy = Place::new();
    pull(&copy, &hub).expect("what is left of it comes");
    sound(&copy.replica);
    let keep = gc::Request { keep_last: Some(5), ..gc::Request::default() };
    gc::run(&hub.replica, &keep, &Silent).expect("nothing that it needs is missing");
}

#[test]
fn nothing_goes_back_to_a_version_that_was_given_up() {
    let place = Place::new();
    place.upsert("id,a\n1,one\n", "first");
    start_branch(&place, "side", "HEAD");
    place.upsert("id,a\n2,two\n", "second");
    place.upsert("id,a\n3,three\n", "third");
    let back = checkout::Request { name: "main".into(), force: false };
    checkout::run(&place.replica, &back).expect("nothing is edited");
    for salt in ["d", "e", "f"] {
        place.write("long.txt", &long_text(salt));
        place.commit(salt);
    }
    give_up(&place);
    let before = place.replica.refs().expect("they can be read");
    let to = rollback::Request { to: "HEAD~1".into(), ..rollback::Request::default() };
    let error = rollback::run(&place.replica, &to).expect_err("its data was given up");
    assert!(error.kind() == Kind::NotFound && error.to_string().contains("give up"), "{error}");
    // Nor by a merge: that of a version on another branch would be the same.
    let error = place.merge("side~1").expect_err("its data was given up");
    assert!(error.kind() == Kind::NotFound && error.to_string().contains("give up"), "{error}");
    assert_eq!(place.replica.refs().expect("they can be read"), before);
    place.merge("side").expect("that one is whole");
}

#[test]
fn a_shallow_clone_of_a_shallow_clone_pulls_what_stands_on_records() {
    let (hub, dir) = (Place::new(), tempfile::tempdir().expect("the system has room for a directory"));
    for id in 0..5 {
        hub.upsert(&format!("id,a\n{id},{id}\n"), "a row");
    }
    let clone = |from: &std::path::Path, name: &str, depth| {
        let request = transfer::CloneRequest {
            url: from.display().to_string(),
            dir: dir.path().join(name),
            bare: false,
            tables: None,
            depth: Some(depth),
            paths: None,
        };
        let mut transport = loopback::connect(crate::support::open(from)).expect("it can be opened");
        transfer::clone(&request, crate::support::env(), &mut *transport, &Silent).expect("it is new");
        crate::support::open(&request.dir)
    };
    let middle = clone(&hub.path(), "middle", 3);
    let copy = clone(&dir.path().join("middle"), "copy", 1);
    // Beside what the copy has, on versions that are only records then.
    let create = branch::Action::Create { name: "side".into(), at: Some("HEAD~1".into()), force: false };
    branch::run(&middle, branch::Sort::Branch, &create).expect("the version is there");
    let checkout = |name: &str| {
        checkout::run(&middle, &checkout::Request { name: name.into(), force: false }).expect("nothing is edited")
    };
    checkout("side");
    std::fs::write(dir.path().join("middle/a.txt"), "some text").expect("files can be written");
    let request = commit::Request { message: "a file".into(), ..commit::Request::default() };
    let tip = commit::run(&middle, &request, &Silent).expect("nothing is in the way").commit;
    checkout("main");
    for _ in 0..2 {
        let keep = gc::Request { keep_last: Some(1), ..gc::Request::default() };
        gc::run(&middle, &keep, &Silent).expect("nothing is in the way");
    }
    let mut transport = loopback::connect(crate::support::open(&dir.path().join("middle"))).expect("it can be opened");
    let url = dir.path().join("middle").display().to_string();
    transfer::pull(&copy, &self::request(&url), &mut *transport, &Silent).expect("what it stands on are records");
    let refs = copy.refs().expect("they can be read");
    assert_eq!((refs.branches.get("side").copied(), refs.dropped.len(), refs.shallow.len()), (tip, 1, 1));
    sound(&copy);
}

/// A hub with only branch `dev`, and a place that has given up what `HEAD~2` there holds.
fn with_old_version_given_up() -> (Place, Place) {
    let (hub, place) = (Place::bare(), Place::bare());
    let rows = |salt: &str| (0..4_000).fold("id,a\n".to_owned(), |text, id| text + &format!("{id},{salt} {id}\n"));
    for salt in ["a", "b", "c"] {
        hub.upsert(&rows(salt), salt);
    }
    start_branch(&hub, "dev", "HEAD");
    branch::run(&hub.replica, branch::Sort::Branch, &branch::Action::Delete { name: "main".into() }).expect("free");
    pull(&place, &hub).expect("dev comes");
    give_up(&place);
    (hub, place)
}

#[test]
fn a_first_pull_does_not_take_what_was_given_up_here() {
    let (hub, place) = with_old_version_given_up();
    let create = branch::Action::Create { name: "main".into(), at: Some("HEAD~2".into()), force: false };
    branch::run(&hub.replica, branch::Sort::Branch, &create).expect("the version is there");
    let refused = pull(&place, &hub).expect_err("its data is gone here");
    assert_eq!(refused.kind(), Kind::NotFound);
    assert_eq!(place.replica.refs().expect("refs").head_commit(), None);
    sound(&place.replica);
}

#[test]
fn a_checkout_does_not_stage_what_was_given_up() {
    let (_, place) = with_old_version_given_up();
    let request = |name: &str| checkout::Request { name: name.into(), force: false };
    checkout::run(&place.replica, &request("dev")).expect("it is whole");
    let refused = checkout::run(&place.replica, &request("HEAD~2")).expect_err("its data is gone");
    assert_eq!(refused.kind(), Kind::NotFound);
    assert!(!place.replica.refs().expect("refs").has_staged());
}

#[test]
fn a_hash_that_nothing_leads_to_is_not_named() {
    let place = Place::bare();
    place.upsert("id,a\n1,x\n", "first");
    start_branch(&place, "side", "HEAD");
    let lost = place.upsert("id,a\n2,x\n", "second");
    let back = checkout::Request { name: "main".into(), force: false };
    checkout::run(&place.replica, &back).expect("nothing is staged");
    let named = branch::Action::Create { name: "again".into(), at: Some(lost.to_string()), force: false };
    branch::run(&place.replica, branch::Sort::Branch, &named).expect("a branch leads to it");
    for name in ["side", "again"] {
        let delete = branch::Action::Delete { name: name.into() };
        branch::run(&place.replica, branch::Sort::Branch, &delete).expect("another one is checked out");
    }
    refs::update(place.replica.store(), |refs| {
        refs.history.clear();
        Ok(())
    })
    .expect("nobody else is at work");
    let refused = branch::run(&place.replica, branch::Sort::Branch, &named).expect_err("its data may be gone");
    assert_eq!(refused.kind(), Kind::NotFound);
}

#[test]
fn what_came_whole_is_not_left_marked_by_another_session() {
    let place = Place::bare();
    let commits = ["a", "b", "c"].map(|salt| place.upsert(&format!("id,a\n1,{salt}\n"), salt));
    // Another session has marked the middle one after this one had begun, while no name led to it.
    refs::update(place.replica.store(), |refs| {
        let hlc = place.replica.stamp(refs, []);
        refs.move_branch("main", Some(commits[0]), hlc, "branch");
        refs.dropped.insert(commits[1]);
        refs.held.insert(commits[0]);
        Ok(())
    })
    .expect("nobody else is at work");
    let step = RefMove {
        name: "branches/main".into(),
        expected: Some(commits[0]),
        target: Some(commits[2]),
        force: false,
        allow_mass_delete: false,
        only_new: false,
    };
    place.replica.move_ref(&step, &commits).expect("everything came");
    let refs = place.replica.refs().expect("refs");
    assert_eq!(refs.head_commit(), Some(commits[2]));
    assert!(reach::given_up(place.replica.store(), &refs).expect("they can be read").is_empty());
}

/// A clone of the last version alone.
fn shallow(hub: &Place, path: &std::path::Path) -> Replica {
    let clone = transfer::CloneRequest {
        url: hub.path().display().to_string(),
        dir: path.to_owned(),
        bare: false,
        tables: None,
        depth: Some(1),
        paths: None,
    };
    let mut transport = loopback::connect(hub.reopen()).expect("it can be opened");
    transfer::clone(&clone, crate::support::env(), &mut *transport, &Silent).expect("it is new");
    crate::support::open(path)
}

#[test]
fn a_shallow_history_that_has_become_whole_is_not_shallow() {
    let (hub, dir) = (Place::new(), tempfile::tempdir().expect("the system has room for a directory"));
    for (row, message) in [("1,x", "0"), ("1,y", "1"), ("1,z", "2")] {
        hub.upsert(&format!("id,a\n{row}\n"), message);
    }
    let copy = shallow(&hub, &dir.path().join("copy"));
    let pull = || {
        let mut transport = loopback::connect(hub.reopen()).expect("it can be opened");
        transfer::pull(&copy, &request("hub"), &mut *transport, &Silent).expect("nothing is in the way")
    };
    hub.upsert("id,a\n1,a\n", "3");
    pull();
    assert_eq!(copy.refs().expect("refs").shallow.len(), 1, "nothing older has come");
    start_branch(&hub, "old", "HEAD~2");
    hub.upsert("id,a\n2,old\n", "on what is older");
    pull();
    assert_eq!(copy.refs().expect("refs").shallow.len(), 0);
    sound(&copy);
    // As from any whole replica: tags go along.
    let tag = branch::Action::Create { name: "first".into(), at: Some("HEAD~2".into()), force: false };
    branch::run(&copy, branch::Sort::Tag, &tag).expect("it is here");
    let with_tags = transfer::Request { tags: true, ..request("hub") };
    let mut transport = loopback::connect(hub.reopen()).expect("it can be opened");
    transfer::push(&copy, &with_tags, &mut *transport, &Silent).expect("nothing is in the way");
    assert!(hub.reopen().refs().expect("refs").tags.contains_key("first"));
}

#[test]
fn a_short_history_that_joins_nothing_is_said_to_be_one() {
    let (hub, other) = (Place::new(), Place::new());
    hub.upsert("id,a\n1,x\n", "0");
    hub.upsert("id,a\n1,y\n", "1");
    other.upsert("id,a\n7,z\n", "of its own");
    let dir = tempfile::tempdir().expect("the system has room for a directory");
    shallow(&hub, &dir.path().join("copy"));
    let given_up = Place::new();
    pull(&given_up, &hub).expect("the hub has versions");
    give_up(&given_up);
    for path in [dir.path().join("copy"), given_up.path()] {
        let mut transport = loopback::connect(crate::support::open(&path)).expect("it can be opened");
        let error = transfer::pull(&other.replica, &request("hub"), &mut *transport, &Silent).expect_err("it is cut");
        assert_eq!(error.kind(), Kind::NotFound);
        assert!(error.to_string().contains("is shallow or has given up what was before"), "{error}");
    }
}
