//! Two replicas with a hub between them, in one process.

use syncline_base::Kind;
use syncline_node::import::Mode;
use syncline_node::ops::{branch, gc, merge, transfer, verify};
use syncline_node::progress::Silent;
use syncline_node::sync::{self, Local, RefMove, wire};
use syncline_node::{Replica, loopback};
use syncline_tree::refs;

use crate::support::Place;

fn request(url: &str) -> transfer::Request {
    transfer::Request { url: url.into(), ..transfer::Request::default() }
}

fn open(place: &Place) -> Replica {
    place.reopen()
}

fn push(from: &Place, to: &Place) -> syncline_node::Result<transfer::Report> {
    let mut transport = loopback::connect(open(to))?;
    transfer::push(&from.replica, &request("hub"), &mut *transport, &Silent)
}

fn pull(to: &Place, from: &Place) -> syncline_node::Result<transfer::Report> {
    let mut transport = loopback::connect(open(from))?;
    transfer::pull(&to.replica, &request("hub"), &mut *transport, &Silent)
}

#[test]
fn a_push_and_a_pull_end_with_one_root() {
    let (hub, a, b) = (Place::new(), Place::new(), Place::new());
    a.upsert("id,a\n1,x\n2,x\n", "first");
    a.write("notes.txt", "hello");
    a.commit("files");
    assert!(push(&a, &hub).expect("the hub is empty").in_sync);
    let got = pull(&b, &hub).expect("the hub has a version");
    assert_eq!(got.merged, Some(merge::Outcome::FastForward));
    assert_eq!([a.root(), hub.root()], [b.root(), b.root()]);
    assert_eq!(b.read("notes.txt").as_deref(), Some("hello"));
}

#[test]
fn small_edits_travel_as_small_messages() {
    let (hub, a) = (Place::new(), Place::new());
    let rows =
        |extra: &str| (0..20_000).fold("id,a\n".to_owned(), |text, id| text + &format!("{id},value {id}{extra}\n"));
    a.upsert(&rows(""), "first");
    push(&a, &hub).expect("the hub is empty");
    a.upsert("id,a\n777,changed\n", "one row");
    let cost = push(&a, &hub).expect("the hub has the base").cost;
    assert!(cost.bytes_sent < 1_500, "{} bytes for one row", cost.bytes_sent);
    assert_eq!(a.root(), hub.root());
}

#[test]
fn a_push_onto_a_moved_branch_is_refused_and_loses_nothing() {
    let (hub, a, b) = (Place::new(), Place::new(), Place::new());
    a.upsert("id,a\n1,x\n", "first");
    push(&a, &hub).expect("the hub is empty");
    pull(&b, &hub).expect("the hub has a version");
    a.upsert("id,a\n2,a\n", "from a");
    b.upsert("id,a\n3,b\n", "from b");
    push(&a, &hub).expect("a is first");
    let refused = push(&b, &hub).expect_err("the hub has moved");
    assert_eq!(refused.kind(), Kind::Conflict);
    assert_eq!(hub.root(), a.root());
    assert_eq!(pull(&b, &hub).expect("it can be merged").merged, Some(merge::Outcome::Merged));
    push(&b, &hub).expect("b has everything now");
    pull(&a, &hub).expect("nothing is in the way");
    assert_eq!([a.root(), hub.root()], [b.root(), b.root()]);
}

#[test]
fn a_push_does_not_move_a_branch_under_staged_changes() {
    for hub in [Place::bare(), Place::new()] {
        let a = Place::new();
        a.upsert("id,a\n1,x\n", "first");
        push(&a, &hub).expect("the hub is empty");
        hub.import("id,a\n2,staged\n", Mode::Upsert, None).expect("the row is good");
        a.upsert("id,a\n3,pushed\n", "from a");
        let refused = push(&a, &hub).expect_err("committing what is staged would undo it");
        assert_eq!(refused.kind(), Kind::Conflict);
        hub.commit("what was staged");
        pull(&a, &hub).expect("it can be merged");
        push(&a, &hub).expect("nothing is staged any more");
        assert_eq!(a.root(), hub.root());
        let rows = hub.diff("HEAD~1", "HEAD").trees.iter().map(|tree| tree.rows_after).max();
        assert_eq!(rows, Some(3));
    }
}

#[test]
fn a_branch_that_is_called_like_a_remote_one_is_not_taken_for_it() {
    let (hub, a) = (Place::bare(), Place::new());
    a.upsert("id,a\n1,x\n", "first");
    push(&a, &hub).expect("the hub is empty");
    let named = branch::Action::Create { name: "origin/main".into(), at: None, force: false };
    branch::run(&hub.replica, branch::Sort::Branch, &named).expect("the name is free");
    pull(&a, &hub).expect("there is nothing but a name");
    hub.upsert("id,a\n2,x\n", "second");
    assert_eq!(pull(&a, &hub).expect("it can go forward").merged, Some(merge::Outcome::FastForward));
    assert_eq!(a.root(), hub.root());
}

#[test]
fn what_was_given_up_does_not_come_back_with_a_name() {
    let (hub, a) = (Place::new(), Place::new());
    for salt in ["a", "b", "c", "d"] {
        let rows = (0..4_000).fold("id,a\n".to_owned(), |text, id| text + &format!("{id},{salt} {id}\n"));
        hub.upsert(&rows, salt);
    }
    pull(&a, &hub).expect("the hub has versions");
    for _ in 0..2 {
        let keep = gc::Request { keep_last: Some(1), grace_ms: 0, ..gc::Request::default() };
        gc::run(&a.replica, &keep, &Silent).expect("nothing is in the way");
    }
    let old = branch::Action::Create { name: "old".into(), at: Some("HEAD~2".into()), force: false };
    let old = branch::run(&hub.replica, branch::Sort::Tag, &old).expect("it has all versions").names[0].commit;
    pull(&a, &hub).expect("there is nothing new but a name");
    assert!(a.replica.refs().expect("they can be read").tags.is_empty());
    let push = RefMove {
        name: "tags/old".into(),
        expected: None,
        target: Some(old),
        force: true,
        allow_mass_delete: true,
        only_new: false,
    };
    let refused = a.replica.move_ref(&push, &[]).expect_err("it would lead to nothing");
    assert!(refused.to_string().contains("given up"), "{refused}");
    let left = a.replica.make_tags(&[("tags/old".into(), old)], &[]).expect("the names can be read");
    assert_eq!(left, [("tags/old".to_owned(), None)]);
    let left = pull(&a, &hub).expect("there is nothing new").tags.left;
    assert_eq!(left.iter().map(|tag| (tag.name.as_str(), tag.commit)).collect::<Vec<_>>(), [("old", old)]);
    let seen = verify::run(&a.replica, &verify::Request { deep: true }, &Silent).expect("it can be read");
    assert!(seen.sound, "{seen:?}");
}

#[test]
fn a_replica_that_gave_up_old_versions_is_cloned_pulled_from_and_pushed() {
    let (hub, old, fresh) = (Place::new(), Place::new(), Place::new());
    let rows = |salt: &str| (0..4_000).fold("id,a\n".to_owned(), |text, id| text + &format!("{id},{salt} {id}\n"));
    hub.upsert(&rows("first"), "first");
    pull(&old, &hub).expect("the hub has a version");
    for salt in ["b", "c", "d"] {
        hub.upsert(&rows(salt), salt);
    }
    for _ in 0..2 {
        let keep = gc::Request { keep_last: Some(1), grace_ms: 0, ..gc::Request::default() };
        gc::run(&hub.replica, &keep, &Silent).expect("nothing is in the way");
    }
    // One without history, and the copy that has it ends up with it.
    let copy = |to: &Place| {
        assert_eq!(to.root(), hub.root());
        let seen = verify::run(&to.replica, &verify::Request { deep: true }, &Silent).expect("it can be read");
        assert!(seen.sound, "{seen:?}");
    };
    pull(&fresh, &hub).expect("what is left can be had");
    copy(&fresh);
    fresh.upsert("id,a\n7,seven\n", "a row");
    push(&fresh, &hub).expect("it follows from the hub's version");
    copy(&fresh);
    let second = Place::new();
    push(&fresh, &second).expect("there is no history that it has to join");
    copy(&second);
    // Whose version was given up there moves forward over what is gone.
    let done = pull(&old, &hub).expect("the records of what is between are left");
    assert_eq!(done.merged, Some(merge::Outcome::FastForward));
    copy(&old);
    let third = Place::new();
    pull(&third, &old).expect("it gives what it has");
    copy(&third);
}

#[test]
fn what_was_changed_here_is_merged_with_what_follows_on_versions_given_up_there() {
    let (hub, mine, full) = (Place::new(), Place::new(), Place::new());
    let rows = |salt: &str| (0..4_000).fold("id,a,b\n".to_owned(), |text, id| text + &format!("{id},{salt} {id},\n"));
    hub.upsert(&rows("first"), "first");
    pull(&mine, &hub).expect("the hub has a version");
    mine.upsert("id,b\n5,mine\n", "mine");
    for salt in ["b", "c", "d"] {
        hub.upsert(&rows(salt), salt);
    }
    pull(&full, &hub).expect("the hub has versions");
    let give_up = |place: &Place| {
        for _ in 0..2 {
            let keep = gc::Request { keep_last: Some(1), ..gc::Request::default() };
            gc::run(&place.replica, &keep, &Silent).expect("nothing is in the way");
        }
    };
    give_up(&hub);
    assert_eq!(pull(&mine, &hub).expect("they have the first version in common").merged, Some(merge::Outcome::Merged));
    push(&mine, &hub).expect("it follows");
    assert_eq!(mine.root(), hub.root());
    let sound = |place: &Place| {
        let seen = verify::run(&place.replica, &verify::Request { deep: true }, &Silent).expect("it can be read");
        assert!(seen.sound, "{seen:?}");
    };
    sound(&mine);
    sound(&hub);
    // A branch that stands on a version which is only a record here.
    let at = branch::Action::Create { name: "side".into(), at: Some("HEAD~1".into()), force: false };
    branch::run(&full.replica, branch::Sort::Branch, &at).expect("it has all versions");
    let to_side = syncline_node::ops::checkout::Request { name: "side".into(), force: false };
    syncline_node::ops::checkout::run(&full.replica, &to_side).expect("it is there");
    full.upsert("id,b\n9,side\n", "on the side");
    push(&full, &hub).expect("it comes as objects");
    pull(&mine, &hub).expect("the branch is new");
    sound(&mine);
    sound(&hub);
    // The other way round: what was given up before it was pushed.
    let (late, far) = (Place::new(), Place::new());
    late.upsert(&rows("first"), "first");
    push(&late, &far).expect("it is empty");
    for salt in ["b", "c", "d"] {
        late.upsert(&rows(salt), salt);
    }
    give_up(&late);
    push(&late, &far).expect("the records of what is between are left");
    assert_eq!(late.root(), far.root());
    sound(&late);
    sound(&far);
}

#[test]
fn a_table_that_two_replicas_made_each_comes_together() {
    let (hub, a, b) = (Place::new(), Place::new(), Place::new());
    // The columns stand in another order, the key's too, and each number is another column.
    a.upsert("id,name,age\n1,x,7\n2,y,8\n", "a's");
    let before = b.upsert("age,id,name\n8,2,y\n9,3,z\n", "b's").to_string();
    push(&b, &hub).expect("the hub is empty");
    assert_eq!(pull(&a, &hub).expect("the rows fit together").merged, Some(merge::Outcome::Merged));
    push(&a, &hub).expect("a has everything");
    assert_eq!(pull(&b, &hub).expect("a merged it").merged, Some(merge::Outcome::FastForward));
    assert_eq!([a.root(), hub.root()], [b.root(), b.root()]);
    let found = b.diff(&before, "HEAD");
    let rows: Vec<_> = found.rows.iter().map(|row| (row.key.as_str(), row.before.is_some())).collect();
    assert_eq!((rows, found.trees[0].updated), (vec![("1", false)], 0));
    b.upsert("id,name,age\n2,changed,8\n", "after");
    push(&b, &hub).expect("nobody else pushed");
    pull(&a, &hub).expect("nothing is in the way");
    assert_eq!(a.root(), b.root());
}

/// A peer that answers a pull with these messages, whatever it is asked.
struct Scripted(Option<bytes::Bytes>);

impl sync::Transport for Scripted {
    fn peer(&self) -> String {
        "the peer".into()
    }

    fn send(&mut self, _: bytes::Bytes) -> sync::Result<()> {
        Ok(())
    }

    fn receive(&mut self) -> sync::Result<Option<bytes::Bytes>> {
        Ok(self.0.take())
    }

    fn try_receive(&mut self) -> sync::Result<Option<bytes::Bytes>> {
        Ok(self.0.take())
    }

    fn finish(&mut self) {}

    fn counters(&self) -> sync::Counters {
        sync::Counters::default()
    }
}

#[test]
fn a_peer_cannot_name_the_first_branch_as_it_likes() {
    for (head, fits) in [("branches/trunk", true), ("branches/\u{1b}[2J", false), ("branches/../x", false)] {
        let dir = tempfile::tempdir().expect("the system has room for a directory");
        let clone = transfer::CloneRequest {
            url: "peer".into(),
            dir: dir.path().join("r"),
            bare: false,
            tables: None,
            depth: None,
            paths: None,
        };
        let welcome = wire::Welcome { head: head.into(), ..wire::Welcome::default() };
        let said = wire::encode_frame(&[wire::Message::Welcome(welcome), wire::Message::Finish]);
        let cloned = transfer::clone(&clone, crate::support::env(), &mut Scripted(Some(said)), &Silent);
        assert_eq!(cloned.is_ok(), fits, "{head}: {cloned:?}");
    }
}

/// Makes so many tags.
fn many_tags(place: &Place, prefix: &str, count: usize) {
    let head = place.replica.refs().expect("refs").head_commit().expect("a version");
    refs::update(place.replica.store(), |refs| {
        refs.tags.extend((0..count).map(|n| (format!("{prefix}{n}"), head)));
        Ok(())
    })
    .expect("nobody else is at work");
}

#[test]
fn a_pull_that_would_bring_too_many_names_brings_none() {
    let (hub, place) = (Place::bare(), Place::bare());
    hub.upsert("id,a\n1,x\n", "first");
    pull(&place, &hub).expect("the hub has a version");
    many_tags(&hub, "theirs", 65_500);
    many_tags(&place, "ours", 100);
    hub.upsert("id,a\n2,x\n", "second");
    let before = place.replica.refs().expect("refs");
    let refused = pull(&place, &hub).expect_err("65,602 names do not fit");
    assert_eq!(refused.kind(), Kind::Invalid, "{refused}");
    let after = place.replica.refs().expect("refs");
    assert_eq!((after.tags, after.branches, after.remotes), (before.tags, before.branches, before.remotes));
    // One more than a session takes at all.
    many_tags(&hub, "more", 36);
    let refused = pull(&Place::bare(), &hub).expect_err("65,537 names are no session's");
    assert!(refused.to_string().contains("65537 refs"), "{refused}");
}

#[test]
fn a_push_into_edited_files_says_where_they_are() {
    let (hub, place) = (Place::new(), Place::new());
    place.write("notes.txt", "first");
    place.commit("first");
    push(&place, &hub).expect("the hub is empty");
    std::fs::write(hub.path().join("notes.txt"), "edited").expect("it can be written");
    place.write("notes.txt", "second");
    place.commit("second");
    let refused = push(&place, &hub).expect_err("the edit would be lost");
    assert_eq!((refused.kind(), hub.read("notes.txt").as_deref()), (Kind::Conflict, Some("edited")));
    let text = refused.to_string();
    assert!(text.contains("edited there") && !text.contains("--force"), "{text}");
}
