//! One replica: import, commit, diff, history, rollback, undo, checkout, gc, verify.

use std::fmt::Write as _;

use syncline_base::Kind;
use syncline_node::import::Mode;
use syncline_node::ops::{
    branch, checkout, commit, diff, gc, history, log, repair, rollback, status, transfer, verify,
};
use syncline_node::progress::Silent;

use crate::support::Place;

fn csv(rows: impl IntoIterator<Item = (i64, &'static str)>) -> String {
    rows.into_iter().fold("id,name\n".to_owned(), |mut text, (id, name)| {
        let _ = writeln!(text, "{id},{name}");
        text
    })
}

fn numbered(range: std::ops::Range<i64>, name: &'static str) -> String {
    csv(range.map(|id| (id, name)))
}

#[test]
fn an_import_without_a_message_is_staged_and_a_commit_takes_it() {
    let place = Place::new();
    let staged = place.import(&csv([(1, "a"), (2, "b")]), Mode::Upsert, None).expect("the rows are good");
    assert!(staged.staged && staged.commit.is_none());
    assert_eq!((staged.inserted, staged.rows), (2, 2));
    let seen = status::run(&place.replica, &status::Request::default(), &Silent).expect("it can be read");
    assert_eq!(seen.staged.len(), 1);
    assert!(!seen.clean);
    let made = place.commit("first");
    assert!(made.committed);
    assert_eq!(made.root, staged.root);
    let seen = status::run(&place.replica, &status::Request::default(), &Silent).expect("it can be read");
    assert!(seen.clean);
}

#[test]
fn the_same_rows_in_any_order_and_any_batches_have_one_root() {
    let (whole, parts) = (Place::new(), Place::new());
    whole.upsert(&numbered(0..5_000, "x"), "all at once");
    let odd = csv((0..5_000).rev().filter(|id| id % 2 == 1).map(|id| (id, "y")));
    parts.upsert(&odd, "the odd ones, backwards, with other cells");
    parts.upsert(&numbered(0..7_000, "x"), "all and more");
    let more = csv((5_000..7_000).map(|id| (id, "")));
    parts.import(&more, Mode::Delete, Some("without the rest")).expect("less than half goes");
    assert_eq!(whole.root(), parts.root());
}

#[test]
fn importing_the_same_twice_makes_one_version() {
    let place = Place::new();
    let first = place.upsert(&csv([(1, "a")]), "one");
    let second = place.upsert(&csv([(1, "a")]), "again");
    assert_eq!(first, second);
}

#[test]
fn diff_shows_rows_with_changed_cells() {
    let place = Place::new();
    place.upsert(&csv([(1, "a"), (2, "b"), (3, "c")]), "one");
    place.upsert(&csv([(2, "B"), (4, "d")]), "two");
    let found = place.diff("HEAD~1", "HEAD");
    assert!(!found.equal);
    let shown: Vec<_> = found.rows.iter().map(|row| (row.kind, row.key.as_str(), row.changed.clone())).collect();
    assert_eq!(shown, [(diff::Kind::Update, "2", vec!["name".to_owned()]), (diff::Kind::Insert, "4", Vec::new())]);
    assert_eq!(found.rows[0].before.as_ref().and_then(|row| row.get("name")), Some("\"b\""));
    assert_eq!(found.rows[0].after.as_ref().and_then(|row| row.get("name")), Some("\"B\""));
    let change = &found.trees[0];
    assert_eq!((change.inserted, change.updated, change.deleted), (1, 1, 0));
}

#[test]
fn history_follows_one_row() {
    let place = Place::new();
    place.upsert(&csv([(1, "a"), (2, "x")]), "insert");
    place.upsert(&csv([(2, "y")]), "another row");
    place.upsert(&csv([(1, "b")]), "update");
    place.import("id\n1\n", Mode::Delete, Some("delete")).expect("small tables may lose most of their rows");
    let request = history::Request { table: "t".into(), key: "1".into(), at: None, limit: None };
    let found = history::run(&place.replica, &request).expect("the table exists");
    let told: Vec<_> = found.events.iter().map(|e| (e.action, e.entry.commit.message.as_str())).collect();
    use history::Action::{Delete, Insert, Update};
    assert_eq!(told, [(Delete, "delete"), (Update, "update"), (Insert, "insert")]);
    assert_eq!(found.events[1].changed, ["name"]);
}

#[test]
fn rollback_is_a_new_commit_with_the_old_root_and_undo_takes_it_back() {
    let place = Place::new();
    place.upsert(&csv([(1, "a")]), "one");
    let old = place.root();
    place.upsert(&csv([(1, "b")]), "two");
    let new = place.root();
    let request = rollback::Request { to: "HEAD~1".into(), ..rollback::Request::default() };
    let done = rollback::run(&place.replica, &request).expect("nothing is in the way");
    assert_eq!((done.root, place.root()), (old, old));
    assert_eq!(log::run(&place.replica, &log::Request::default()).expect("it can be read").commits.len(), 3);
    branch::undo(&place.replica).expect("the rollback is remembered");
    assert_eq!(place.root(), new);
}

#[test]
fn losing_more_than_half_of_a_table_needs_a_word() {
    let place = Place::new();
    place.upsert(&numbered(0..100, "x"), "all");
    let refused = place.import(&numbered(0..30, "x"), Mode::Replace, Some("oops")).expect_err("70 of 100 would go");
    assert_eq!(refused.kind(), Kind::Denied);
    assert!(refused.to_string().contains("70 of 100"), "{refused}");
    place.import(&numbered(0..60, "x"), Mode::Replace, Some("fine")).expect("40 of 100 may go");
}

#[test]
fn a_bad_row_refuses_the_whole_import_and_names_the_line() {
    let place = Place::new();
    place.upsert(&csv([(1, "a")]), "one");
    let before = place.root();
    let refused = place.import("id,name\n2,b\nthree,c\n", Mode::Upsert, Some("bad")).expect_err("three is no number");
    assert_eq!(refused.kind(), Kind::Invalid);
    assert!(refused.to_string().contains("rows.csv:3"), "{refused}");
    assert_eq!(place.root(), before);
}

#[test]
fn files_are_versioned_with_the_tables() {
    let place = Place::new();
    place.write("a.txt", "one");
    place.write("deep/er/b.txt", "two");
    let first = place.commit("files");
    assert!(first.committed);
    let again = place.commit("nothing new");
    assert!(!again.committed);
    place.write("a.txt", "uno");
    std::fs::remove_file(place.path().join("deep/er/b.txt")).expect("it is there");
    let second = place.commit("edited");
    assert!(second.committed && second.root != first.root);
    let request = checkout::Request { name: "HEAD~1".into(), force: false };
    checkout::run(&place.replica, &request).expect("nothing is in the way");
    assert_eq!(place.read("a.txt").as_deref(), Some("one"));
    assert_eq!(place.read("deep/er/b.txt").as_deref(), Some("two"));
}

#[test]
fn checkout_does_not_overwrite_edits_unless_forced() {
    let place = Place::new();
    place.write("a.txt", "one");
    place.commit("one");
    place.write("a.txt", "two");
    place.commit("two");
    place.write("a.txt", "mine");
    let back = |force| checkout::run(&place.replica, &checkout::Request { name: "HEAD~1".into(), force });
    assert_eq!(back(false).expect_err("it would lose an edit").kind(), Kind::Conflict);
    assert_eq!(place.read("a.txt").as_deref(), Some("mine"));
    back(true).expect("it was asked to");
    assert_eq!(place.read("a.txt").as_deref(), Some("one"));
}

#[test]
fn gc_with_retention_frees_old_versions_and_keeps_the_rest_whole() {
    let place = Place::new();
    for n in 0..6 {
        let rows = (0..2_000i64).fold("id,name\n".to_owned(), |mut text, id| {
            let _ = writeln!(text, "{id},{}", syncline_base::Hash::of(format!("{n} {id}").as_bytes()));
            text
        });
        place.upsert(&rows, &format!("version {n}"));
    }
    let root = place.root();
    let request = gc::Request { keep_last: Some(1), keep_within_ms: None, grace_ms: 0 };
    let mut freed = 0;
    // What is found dead by one run is removed by the next.
    for _ in 0..2 {
        freed += gc::run(&place.replica, &request, &Silent).expect("nobody else is at work").bytes_deleted;
    }
    assert!(freed > 100_000, "{freed} bytes were freed");
    let replica = place.reopen();
    let found = verify::run(&replica, &verify::Request { deep: true }, &Silent).expect("it can be read");
    assert!(found.damage.is_empty(), "{:?}", found.damage);
    assert_eq!(found.root, Some(root));
}

#[test]
fn verify_finds_a_flipped_bit() {
    let place = Place::new();
    place.upsert(&numbered(0..20_000, "some text that fills the leaf"), "rows");
    let sound = verify::run(&place.reopen(), &verify::Request { deep: true }, &Silent).expect("it can be read");
    assert!(sound.sound, "{:?} {:?}", sound.damage, sound.touched);
    let store = place.path().join(".syncline/store");
    let largest = walk(&store).into_iter().max_by_key(|(_, len)| *len).expect("there are packs").0;
    let mut bytes = std::fs::read(&largest).expect("it can be read");
    let middle = bytes.len() / 2;
    bytes[middle] ^= 0x10;
    std::fs::write(&largest, bytes).expect("it can be written");
    let found = verify::run(&place.reopen(), &verify::Request { deep: true }, &Silent).expect("it can be read");
    assert!(!found.sound);
    assert!(!found.damage.is_empty());
    let file = largest.strip_prefix(&store).expect("it was found there").display().to_string();
    assert!(found.damage.iter().any(|damage| damage.file == file), "{:?}", found.damage);
}

#[test]
fn verify_looks_at_what_is_staged() {
    let place = Place::new();
    place.import(&numbered(0..3_000, "staged"), Mode::Upsert, None).expect("the rows are good");
    let store = place.path().join(".syncline/store");
    let holds_objects =
        |path: &std::path::Path| path.starts_with(store.join("journal")) || path.starts_with(store.join("packs"));
    for (path, _) in walk(&store).into_iter().filter(|(path, _)| holds_objects(path)) {
        let mut bytes = std::fs::read(&path).expect("it can be read");
        bytes.truncate(40);
        std::fs::write(&path, bytes).expect("it can be written");
    }
    let found = verify::run(&place.reopen(), &verify::Request::default(), &Silent).expect("it can be read");
    assert!(!found.sound);
    assert!(found.touched.iter().any(|touched| touched.names == ["what is staged"]), "{:?}", found.touched);
}

#[test]
fn objects_for_a_repair_are_read_as_far_as_they_are_whole() {
    use syncline_base::Hash;
    let dir = tempfile::tempdir().expect("a directory");
    let path = dir.path().join("objects");
    let (one, two) = (Hash::of(b"one"), Hash::of(b"two"));
    let whole = |bytes: &[u8]| [&u32::try_from(bytes.len()).expect("short").to_le_bytes(), bytes].concat();
    let mut fetch = |ids: &[Hash]| Ok(ids.iter().map(|id| (*id == one).then(|| "one".into())).collect());
    let mut sent = Vec::new();
    std::io::Read::read_to_end(&mut repair::Bringing::new([two, one], &mut fetch), &mut sent).expect("it is there");
    assert_eq!(sent, whole(b"one"));
    std::fs::write(&path, &sent).expect("a file");
    let mut brought = repair::Brought::read(Some(&path)).expect("it is whole");
    assert_eq!(brought.fetch(&[two, one]).expect("a file"), [None, Some("one".into())]);
    for bad in [&sent[..5], &sent[..3], &u32::MAX.to_le_bytes(), &[whole(b""), vec![1]].concat()] {
        std::fs::write(&path, bad).expect("a file");
        assert_eq!(repair::Brought::read(Some(&path)).expect_err("it is cut").kind(), syncline_base::Kind::Invalid);
    }
}

#[test]
fn after_repair_nothing_is_damaged() {
    let place = Place::new();
    place.upsert(&numbered(0..20_000, "first"), "one");
    place.upsert(&numbered(5..9, "second"), "two");
    let root = place.root();
    let store = place.path().join(".syncline/store");
    let copy = tempfile::tempdir().expect("the system has room for a directory");
    for (path, _) in walk(&place.path()) {
        let to = copy.path().join(path.strip_prefix(place.path()).expect("it was found there"));
        std::fs::create_dir_all(to.parent().expect("it is below the copy")).expect("directories can be made");
        std::fs::copy(&path, to).expect("files can be copied");
    }
    // The bit lies in the last frame of the journal, and in every pack.
    let damaged: Vec<_> = walk(&store)
        .into_iter()
        .filter(|(path, _)| path.starts_with(store.join("journal")) || path.starts_with(store.join("packs")))
        .collect();
    assert!(!damaged.is_empty());
    for (path, len) in &damaged {
        let mut bytes = std::fs::read(path).expect("it can be read");
        bytes[usize::try_from(*len).expect("a small file") - 80] ^= 1;
        std::fs::write(path, bytes).expect("it can be written");
    }
    // Without another replica what is live stays as it is, and is named.
    let alone = repair::run(&place.reopen(), &mut repair::nobody(), &Silent).expect("it can be read");
    assert!(!alone.left.sound && alone.repaired == 0 && !alone.left.touched.is_empty(), "{:?}", alone.left);
    assert!(alone.lost.contains(&alone.left.touched[0].object), "{:?}", alone.lost);
    let good = crate::support::open(copy.path());
    let mut fetch = |ids: &[syncline_base::Hash]| Ok(ids.iter().map(|id| good.store().get(id).ok()).collect());
    let report = repair::run(&place.reopen(), &mut fetch, &Silent).expect("it can be read");
    assert!(report.left.sound && report.left.damage.is_empty(), "{:?}", report.left);
    assert_eq!(alone.rewritten + report.rewritten, damaged.len() as u64);
    let found = verify::run(&place.reopen(), &verify::Request { deep: true }, &Silent).expect("it can be read");
    assert!(found.sound && found.damage.is_empty() && found.root == Some(root), "{:?}", found.damage);
    assert!(damaged.iter().all(|(path, _)| !path.exists()));
}

#[test]
fn dead_bytes_are_mended_without_another_replica() {
    let place = Place::new();
    for version in 0..3 {
        place.upsert(&rows_of(version), "version");
    }
    let root = place.root();
    // The grace keeps the bytes of what is given up where they are.
    let keep = gc::Request { keep_last: Some(1), grace_ms: 3_600_000, ..gc::Request::default() };
    gc::run(&place.replica, &keep, &Silent).expect("nothing is in the way");
    let store = place.path().join(".syncline/store");
    let first = walk(&store).into_iter().filter(|(path, _)| path.starts_with(store.join("journal"))).min();
    let (path, _) = first.expect("a store has a journal");
    let mut bytes = std::fs::read(&path).expect("it can be read");
    bytes[30_000] ^= 1;
    std::fs::write(&path, bytes).expect("it can be written");
    let seen = verify::run(&place.reopen(), &verify::Request { deep: true }, &Silent).expect("it can be read");
    assert!(!seen.sound && seen.touched.is_empty() && !seen.damage.is_empty(), "{seen:?}");
    let mut asked = 0;
    let mut fetch = |ids: &[syncline_base::Hash]| {
        asked += ids.len();
        Ok(vec![None; ids.len()])
    };
    let report = repair::run(&place.reopen(), &mut fetch, &Silent).expect("it can be read");
    assert_eq!((asked, report.lost.len(), report.rewritten), (0, 0, 1), "no version needs what was damaged");
    assert!(report.left.sound, "{:?}", report.left);
    let seen = verify::run(&place.reopen(), &verify::Request { deep: true }, &Silent).expect("it can be read");
    assert_eq!((seen.sound, seen.root), (true, Some(root)), "{seen:?}");
}

fn walk(dir: &std::path::Path) -> Vec<(std::path::PathBuf, u64)> {
    let entries = std::fs::read_dir(dir).expect("it is a directory").map(|entry| entry.expect("it can be read"));
    entries
        .flat_map(|entry| {
            let meta = entry.metadata().expect("it exists");
            if meta.is_dir() { walk(&entry.path()) } else { vec![(entry.path(), meta.len())] }
        })
        .collect()
}

#[test]
fn what_gc_was_told_to_give_up_is_no_damage_and_hinders_no_later_gc() {
    let place = Place::new();
    // Cells of which nothing is left in the next version, so that no patch needs the one before.
    let rows = |version: &str| {
        let cell = |id: i64| syncline_base::Hash::of(format!("{version}{id}").as_bytes());
        (0..4_000).fold("id,name\n".to_owned(), |text, id| text + &format!("{id},{}\n", cell(id)))
    };
    for version in ["a", "b", "c", "d"] {
        place.upsert(&rows(version), version);
    }
    let keep = |last: Option<u64>| {
        gc::run(&place.replica, &gc::Request { keep_last: last, grace_ms: 0, ..gc::Request::default() }, &Silent)
    };
    let report = keep(Some(1)).expect("nothing is in the way");
    assert_eq!((report.versions_kept, report.versions_dropped), (1, 3));
    keep(Some(1)).expect("the files that were condemned go now");
    let deep = verify::Request { deep: true };
    let seen = verify::run(&place.replica, &deep, &Silent).expect("it can be read");
    assert!(seen.sound, "{seen:?}");
    assert_eq!((seen.versions, seen.dropped), (1, 3));
    place.upsert(&numbered(0..10, "e"), "e");
    // What was given up does not come back, whatever is asked for.
    for last in [Some(9), None, Some(2)] {
        let report = keep(last).expect("it is given up, not missing");
        assert_eq!((report.versions_kept, report.versions_dropped), (2, 3), "{last:?}");
    }
    assert!(verify::run(&place.replica, &deep, &Silent).expect("it can be read").sound);
    // A name cannot be given to one of them: it would lead to nothing.
    for sort in [branch::Sort::Tag, branch::Sort::Branch] {
        let name = branch::Action::Create { name: "old".into(), at: Some("HEAD~3".into()), force: false };
        let refused = branch::run(&place.replica, sort, &name).expect_err("its data is gone");
        assert_eq!(refused.kind(), Kind::NotFound);
        assert!(refused.to_string().contains("give up the data"), "{refused}");
    }
    assert!(verify::run(&place.replica, &deep, &Silent).expect("it can be read").sound);
    // A name that came in another way is called what it is, by every gc and verify from then on.
    let lost = revision(&place, "HEAD~3");
    let mut dropped = std::collections::BTreeSet::new();
    for name in ["old"].iter().map(Some).chain([None]) {
        // No name may be given to it: so the marks are away while it is.
        syncline_tree::refs::update(place.replica.store(), |refs| {
            std::mem::swap(&mut refs.dropped, &mut dropped);
            refs.tags.extend(name.map(|name| ((*name).to_owned(), lost)));
            Ok(())
        })
        .expect("nobody else is at work");
    }
    for last in [None, Some(1), None, Some(2)] {
        let seen = verify::run(&place.replica, &deep, &Silent).expect("it can be read");
        assert!(!seen.sound && seen.damage.is_empty(), "{seen:?}");
        assert!(seen.touched.iter().all(|touched| touched.commit == lost && touched.names == ["old"]), "{seen:?}");
        keep(last).expect("what is whole is kept, whatever else is named");
    }
}

fn revision(place: &Place, name: &str) -> syncline_base::Hash {
    let request = log::Request { at: Some(name.into()), limit: Some(1) };
    log::run(&place.replica, &request).expect("the commit is here").commits[0].id
}

/// Cells of which nothing is left in the next version, so that no patch needs the one before.
fn rows_of(version: i64) -> String {
    let cell = |id: i64| syncline_base::Hash::of(format!("{version} {id}").as_bytes());
    (0..3_000).fold("id,name\n".to_owned(), |text, id| text + &format!("{id},{}\n", cell(id)))
}

fn name(place: &Place, sort: branch::Sort, name: &str, at: &str) {
    let action = branch::Action::Create { name: name.into(), at: Some(at.into()), force: false };
    branch::run(&place.replica, sort, &action).expect("the name is free");
}

#[test]
fn a_tag_holds_its_version_whatever_gc_gives_up_around_it() {
    let place = Place::new();
    for version in 0..5 {
        place.upsert(&rows_of(version), "version");
    }
    name(&place, branch::Sort::Tag, "old", "HEAD~3");
    for round in 0..3 {
        let request = gc::Request { keep_last: Some(1), grace_ms: 0, ..gc::Request::default() };
        let report = gc::run(&place.replica, &request, &Silent).expect("nothing is in the way");
        assert_eq!((report.versions_kept, report.versions_dropped), (2, 3), "round {round}");
    }
    gc::run(&place.replica, &gc::Request { grace_ms: 0, ..gc::Request::default() }, &Silent)
        .expect("nothing is in the way");
    let seen = verify::run(&place.reopen(), &verify::Request { deep: true }, &Silent).expect("it can be read");
    assert!(seen.sound, "{seen:?}");
    assert_eq!((seen.versions, seen.dropped), (2, 3));
    assert_eq!(place.diff("old", "HEAD").trees[0].updated, 3_000);
    // Once the tag has gone the version is like any other; without it, or with another one, nothing is claimed twice.
    name(&place, branch::Sort::Branch, "again", "old");
    assert!(verify::run(&place.replica, &verify::Request { deep: true }, &Silent).expect("it can be read").sound);
}

#[test]
fn what_an_older_branch_keeps_is_kept_by_every_later_gc() {
    let place = Place::new();
    for version in 0..6 {
        place.upsert(&rows_of(version), "version");
    }
    // Of this branch two versions are kept, below two of main that are not.
    name(&place, branch::Sort::Branch, "old", "HEAD~4");
    for keep_last in [Some(2), Some(2), None, Some(2), None] {
        let request = gc::Request { keep_last, grace_ms: 0, ..gc::Request::default() };
        let report = gc::run(&place.replica, &request, &Silent).expect("nothing is in the way");
        assert_eq!((report.versions_kept, report.versions_dropped), (4, 2), "{keep_last:?}");
    }
    let seen = verify::run(&place.reopen(), &verify::Request { deep: true }, &Silent).expect("it can be read");
    assert!(seen.sound, "{seen:?}");
    assert_eq!((seen.versions, seen.dropped), (4, 2));
    assert_eq!(place.diff("old~1", "old").trees[0].updated, 3_000);
}

#[test]
fn the_log_of_a_shallow_clone_shows_every_line_of_a_merge() {
    let place = Place::new();
    place.upsert(&csv([(1, "a")]), "base");
    name(&place, branch::Sort::Branch, "side", "HEAD");
    place.upsert(&csv([(2, "b")]), "main 1");
    place.upsert(&csv([(3, "c")]), "main 2");
    checkout::run(&place.replica, &checkout::Request { name: "side".into(), force: false }).expect("nothing is edited");
    place.upsert(&csv([(4, "d")]), "side 1");
    checkout::run(&place.replica, &checkout::Request { name: "main".into(), force: false }).expect("nothing is edited");
    place.merge("side").expect("nothing is in the way");
    let copy = tempfile::tempdir().expect("the system has room for a directory");
    let request = transfer::CloneRequest {
        url: place.path().display().to_string(),
        dir: copy.path().join("r"),
        bare: false,
        tables: None,
        depth: Some(2),
        paths: None,
    };
    let mut transport = syncline_node::loopback::connect(place.reopen()).expect("it can be opened");
    transfer::clone(&request, crate::support::env(), &mut *transport, &Silent).expect("it is new");
    let shallow = crate::support::open(&copy.path().join("r"));
    let told = |found: &log::Report| found.commits.iter().map(|e| e.commit.message.clone()).collect::<Vec<_>>();
    let found = log::run(&shallow, &log::Request::default()).expect("it can be read");
    // The branch `side` came two commits deep as well, and "main 1" did not come.
    assert_eq!(told(&found), ["merge side", "main 2", "side 1", "base"]);
    assert!(found.shallow);
    // And a commit behind the end of the other line is found by the start of its id.
    let side = found.commits[2].id;
    let short = log::Request { at: Some(side.to_string()[..10].to_owned()), limit: None };
    assert_eq!(told(&log::run(&shallow, &short).expect("the commit is here")), ["side 1", "base"]);
}

#[test]
fn files_that_a_checkout_staged_are_shown_even_where_nothing_can_be_written() {
    let place = Place::new();
    place.write("a", "one");
    place.commit("one");
    place.write("a", "two");
    place.write("b", "two");
    place.commit("two");
    let older = checkout::Request { name: "HEAD~1".into(), force: false };
    checkout::run(&place.replica, &older).expect("nothing is in the way");
    let look = || status::run(&place.replica, &status::Request::default(), &Silent).expect("it can be read");
    let seen = look();
    let staged: Vec<_> = seen.staged.iter().map(|change| (change.updated, change.deleted)).collect();
    assert_eq!((staged, seen.files.len(), seen.clean), (vec![(1, 1)], 0, false));
    // As on a full disk: the clock of the status cache cannot be written.
    let clock = place.path().join(".syncline/clock");
    std::fs::remove_file(&clock).expect("a commit has made it");
    std::fs::create_dir(&clock).expect("it is gone");
    place.write("c", "new");
    assert_eq!(look().files.len(), 1);
}

#[test]
fn no_files_and_no_files_any_more_are_one_root() {
    let (place, other) = (Place::new(), Place::new());
    for place in [&place, &other] {
        place.upsert("id,a\n1,x\n", "rows");
    }
    place.write("f", "x");
    place.commit("a file");
    assert_ne!(place.root(), other.root());
    std::fs::remove_file(place.path().join("f")).expect("it is there");
    let request = commit::Request { message: "gone".into(), allow_mass_delete: true, ..commit::Request::default() };
    commit::run(&place.replica, &request, &Silent).expect("nothing is in the way");
    assert_eq!(place.root(), other.root());
}

#[test]
fn an_ignored_file_in_a_folder_that_a_file_replaces_is_in_the_way_from_the_start() {
    let place = Place::new();
    place.write("d/x", "x");
    place.write("d/.synclineignore", "*.log");
    place.commit("a folder");
    place.branch("one");
    place.switch("main");
    std::fs::remove_dir_all(place.path().join("d")).expect("it is there");
    place.write("d", "file");
    place.write("other", "keep");
    let request = commit::Request { message: "a file".into(), allow_mass_delete: true, ..commit::Request::default() };
    commit::run(&place.replica, &request, &Silent).expect("nothing is in the way");
    let after = place.root();
    place.switch("one");
    place.write("d/a.log", "of mine");
    let before = place.root();
    let request = checkout::Request { name: "main".into(), force: false };
    let refused = checkout::run(&place.replica, &request).expect_err("a log would be lost, or the file have no place");
    assert_eq!(refused.kind(), Kind::Conflict);
    assert_eq!(place.root(), before);
    assert_eq!(["d/x", "d/.synclineignore", "d/a.log"].map(|name| place.read(name).is_some()), [true; 3]);
    std::fs::remove_file(place.path().join("d/a.log")).expect("it is there");
    place.switch("main");
    assert_eq!((place.root(), place.read("d")), (after, Some("file".into())));
}

#[test]
fn an_empty_folder_in_a_folder_that_a_file_replaces_is_in_the_way_from_the_start() {
    let place = Place::new();
    place.write("b", "file");
    place.commit("a file");
    place.branch("one");
    std::fs::remove_file(place.path().join("b")).expect("it is there");
    place.write("a", "another");
    let request = commit::Request { message: "another".into(), allow_mass_delete: true, ..commit::Request::default() };
    commit::run(&place.replica, &request, &Silent).expect("nothing is in the way");
    std::fs::create_dir_all(place.path().join("b/a")).expect("the system has room for a folder");
    let request = checkout::Request { name: "main".into(), force: false };
    assert_eq!(checkout::run(&place.replica, &request).expect_err("a folder would be lost").kind(), Kind::Conflict);
    assert_eq!(place.read("a"), Some("another".into()), "refused, and yet removed");
    std::fs::remove_dir(place.path().join("b/a")).expect("it is there");
    place.switch("main");
    assert_eq!((place.read("a"), place.read("b")), (None, Some("file".into())));
}
