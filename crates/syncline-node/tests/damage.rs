//! Damage to a history: it is named, nothing takes it for the end of a shallow clone, and a repair brings back all of it.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use syncline_base::{Hash, Kind};
use syncline_node::ops::{branch, gc, log, repair, transfer, verify};
use syncline_node::progress::Silent;
use syncline_node::{Replica, Result, loopback};

use crate::support::{Place, open};

/// A history of so many small versions, which lie in one journal, and a copy of the whole replica.
fn history(versions: usize) -> (Place, tempfile::TempDir) {
    let place = Place::new();
    for version in 0..versions {
        place.upsert(&format!("id,a\n{version},one\n{},two\n", version + 1_000), &format!("version {version}"));
    }
    let copy = tempfile::tempdir().expect("the system has room for a directory");
    copy_files(&place.path(), copy.path());
    (place, copy)
}

fn copy_files(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).expect("directories can be made");
    for entry in std::fs::read_dir(from).expect("it is a directory") {
        let entry = entry.expect("it can be read");
        let to = to.join(entry.file_name());
        if entry.path().is_dir() {
            copy_files(&entry.path(), &to);
        } else {
            std::fs::copy(entry.path(), to).expect("files can be copied");
        }
    }
}

fn journal(place: &Place) -> PathBuf {
    let mut files = std::fs::read_dir(place.path().join(".syncline/store/journal")).expect("it is a directory");
    let path = files.next().expect("small versions go to a journal").expect("it can be read").path();
    assert!(files.next().is_none(), "all of them to one");
    path
}

fn deep(replica: &Replica) -> verify::Report {
    verify::run(replica, &verify::Request { deep: true }, &Silent).expect("it can be read")
}

fn log_of(replica: &Replica) -> Result<log::Report> {
    log::run(replica, &log::Request::default())
}

/// Repairs it from the copy; says how often each object was asked for.
fn repair_from(replica: &Replica, copy: &Path) -> (repair::Report, BTreeMap<Hash, u32>) {
    let good = open(copy);
    let mut asked = BTreeMap::new();
    let mut fetch = |ids: &[Hash]| {
        ids.iter().for_each(|id| *asked.entry(*id).or_default() += 1);
        Ok(ids.iter().map(|id| good.store().get(id).ok()).collect())
    };
    let report = repair::run(replica, &mut fetch, &Silent).expect("it can be read");
    (report, asked)
}

#[test]
fn a_lost_version_is_named_and_a_repair_brings_it_back() {
    let (place, copy) = history(6);
    let path = journal(&place);
    let whole = std::fs::read(&path).expect("it can be read");
    let mut amputated = 0;
    for offset in (20..whole.len()).step_by(97) {
        let mut bytes = whole.clone();
        bytes[offset] ^= 4;
        std::fs::write(&path, bytes).expect("it can be written");
        let trial = tempfile::tempdir().expect("the system has room for a directory");
        copy_files(&place.path(), trial.path());
        let replica = open(trial.path());
        let seen = deep(&replica);
        assert!(!seen.sound, "byte {offset}");
        if let Ok(log) = log_of(&replica)
            && log.commits.len() < 6
        {
            amputated += 1;
            let lost = log.damaged.expect("it is no shallow clone");
            assert!(!log.shallow, "byte {offset}");
            assert!(seen.touched.iter().any(|touched| touched.commit == lost && touched.object == lost), "{seen:?}");
            // Nobody is sent a part of it for the whole, and nothing before it is removed.
            let copied = transfer::clone(
                &request(&trial.path().join("clone")),
                crate::support::env(),
                &mut *loopback::connect(open(trial.path())).expect("it can be opened"),
                &Silent,
            );
            let error = copied.expect_err("a version is missing");
            assert_eq!(
                (error.kind(), error.to_string().contains(&lost.short().to_string())),
                (Kind::Corrupt, true),
                "{error}"
            );
            let error = gc::run(&replica, &gc::Request::default(), &Silent).expect_err("a version is missing");
            assert_eq!(
                (error.kind(), error.to_string().contains(&lost.short().to_string())),
                (Kind::Corrupt, true),
                "{error}"
            );
        }
        // Without another copy it stays what it is, however often that is tried.
        for _ in 0..2 {
            let alone = repair::run(&replica, &mut repair::nobody(), &Silent).expect("it can be read");
            assert!(alone.left.sound || !alone.left.touched.is_empty(), "byte {offset}: {alone:?}");
        }
        let (report, asked) = repair_from(&open(trial.path()), copy.path());
        assert!(report.left.sound && report.lost.is_empty(), "byte {offset}: {report:?}");
        assert!(
            asked.values().all(|times| *times == 1) && report.repaired == asked.len() as u64,
            "{report:?} {asked:?}"
        );
        let replica = open(trial.path());
        let (seen, log) = (deep(&replica), log_of(&replica).expect("all of it is here"));
        assert_eq!((seen.sound, seen.versions, log.commits.len(), log.damaged), (true, 6, 6, None), "byte {offset}");
    }
    assert!(amputated > 5, "{amputated}");
}

fn request(dir: &Path) -> transfer::CloneRequest {
    let dir = dir.to_owned();
    transfer::CloneRequest { url: "hub".into(), dir, bare: true, tables: None, depth: None, paths: None }
}

#[test]
fn a_journal_that_is_gone_is_brought_back_with_all_its_versions() {
    let (place, copy) = history(40);
    let root = place.root();
    // Of a long history only the last versions are remembered by themselves.
    syncline_tree::refs::update(place.replica.store(), |refs| {
        refs.history.clear();
        Ok(())
    })
    .expect("nobody else is at work");
    std::fs::remove_file(journal(&place)).expect("it is there");
    let replica = place.reopen();
    let seen = deep(&replica);
    let tip = replica.refs().expect("the head is there").head_commit().expect("it has versions");
    assert!(seen.touched.iter().any(|touched| touched.commit == tip && touched.names == ["main"]), "{seen:?}");
    assert_eq!(log_of(&replica).expect_err("the first is missing").kind(), Kind::Corrupt);
    let (report, asked) = repair_from(&replica, copy.path());
    assert!(report.left.sound && asked.values().all(|times| *times == 1), "{report:?}");
    let replica = place.reopen();
    assert_eq!(log_of(&replica).expect("all of it is here").commits.len(), 40);
    assert_eq!((deep(&replica).versions, place.root()), (40, root));
    // The line of commits was followed, and not stored one by one.
    let packs = std::fs::read_dir(place.path().join(".syncline/store/packs")).expect("it is a directory").count();
    assert!(packs < 15, "{packs}");
}

#[test]
fn the_end_of_a_shallow_clone_is_no_damage_and_a_loss_before_it_is() {
    let (place, _copy) = history(6);
    let dir = tempfile::tempdir().expect("the system has room for a directory");
    let path = dir.path().join("r");
    let shallow = transfer::CloneRequest { depth: Some(3), ..request(&path) };
    let connect = || loopback::connect(place.reopen()).expect("it can be opened");
    transfer::clone(&shallow, crate::support::env(), &mut *connect(), &Silent).expect("it is new");
    let copy = open(&path);
    let (seen, log) = (deep(&copy), log_of(&copy).expect("it is sound"));
    assert_eq!((seen.sound, seen.versions, log.commits.len(), log.shallow, log.damaged), (true, 3, 3, true, None));
    gc::run(&copy, &gc::Request::default(), &Silent).expect("nothing is missing");
    // Whoever clones that gets as much.
    let mut hub = loopback::connect(open(&path)).expect("it can be opened");
    let again = dir.path().join("again");
    transfer::clone(&request(&again), crate::support::env(), &mut *hub, &Silent).expect("it is new");
    let again = deep(&open(&again));
    assert_eq!((again.sound, again.versions), (true, 3), "{again:?}");
    // What a peer was seen to have need not be here.
    syncline_tree::refs::update(copy.store(), |refs| {
        let seen = refs.remotes.entry("elsewhere".into()).or_default();
        seen.branches.insert("main".into(), Hash::of(b"never fetched"));
        // And this would be the mark of another clone.
        refs.shallow.clear();
        Ok(())
    })
    .expect("nobody else is at work");
    let seen = deep(&copy);
    let lost: Vec<Hash> = seen.touched.iter().map(|touched| touched.object).collect();
    assert_eq!(lost, log.commits[2].commit.parents, "{seen:?}");
}

/// What happens to a head, and what becomes of its file.
fn spoiled(whole: &[u8]) -> Vec<(&'static str, Option<Vec<u8>>)> {
    let mut flipped = whole.to_vec();
    flipped[whole.len() / 2] ^= 1;
    vec![
        ("it is gone", None),
        ("it is empty", Some(Vec::new())),
        ("it is cut short", Some(whole[..whole.len() - 3].to_vec())),
        ("one bit of it is another", Some(flipped)),
        ("it is something else", Some(b"not found".to_vec())),
    ]
}

#[test]
fn a_head_that_is_lost_is_damage_and_is_made_again_from_another_copy() {
    let (place, copy) = history(6);
    let name = branch::Action::Create { name: "v1".into(), at: Some("HEAD~2".into()), force: false };
    let good = open(copy.path());
    branch::run(&good, branch::Sort::Tag, &name).expect("the name is free");
    let whole = std::fs::read(place.path().join(".syncline/store/head")).expect("it can be read");
    for (what, bytes) in spoiled(&whole) {
        let trial = tempfile::tempdir().expect("the system has room for a directory");
        copy_files(&place.path(), trial.path());
        let head = trial.path().join(".syncline/store/head");
        match bytes {
            None => std::fs::remove_file(&head).expect("it is there"),
            Some(bytes) => std::fs::write(&head, bytes).expect("it can be written"),
        }
        // And there is damage that a repair without names must not forget.
        let journal = trial.path().join(".syncline/store/journal").join(journal(&place).file_name().expect("a name"));
        let mut bytes = std::fs::read(&journal).expect("it can be read");
        bytes[200] ^= 1;
        std::fs::write(&journal, bytes).expect("it can be written");
        let replica = open(trial.path());
        let error = log_of(&replica).expect_err("nothing says what to list");
        assert_eq!(
            (error.kind(), error.to_string().contains("repair --from")),
            (Kind::Corrupt, true),
            "{what}: {error}"
        );
        let gc = gc::run(&replica, &gc::Request { grace_ms: 0, ..gc::Request::default() }, &Silent);
        assert_eq!(gc.expect_err("all would be dead").kind(), Kind::Corrupt, "{what}");
        let seen = deep(&replica);
        assert!(!seen.sound && seen.lacks_head(), "{what}: {seen:?}");
        let alone = repair::run(&replica, &mut repair::nobody(), &Silent).expect("it can be read");
        assert_eq!((alone.left.sound, alone.rewritten, alone.named), (false, 0, None), "{what}");
        let names = repair::Names::of(&good).expect("it is whole");
        let mut fetch = |ids: &[Hash]| Ok(ids.iter().map(|id| good.store().get(id).ok()).collect());
        let report = repair::run_with(&replica, Some(&names), &mut fetch, &Silent).expect("it can be read");
        assert_eq!((report.left.sound, report.named), (true, Some(2)), "{what}: {report:?}");
        let replica = open(trial.path());
        let (ours, theirs) = (replica.refs().expect("it is good"), good.refs().expect("it is good"));
        assert_eq!((ours.head, ours.branches, ours.tags), (theirs.head, theirs.branches, theirs.tags), "{what}");
        assert_eq!(log_of(&replica).expect("all of it is here").commits.len(), 6, "{what}");
        // A good head stays what it is, whatever a copy says.
        let none = repair::Names { head: "main".into(), ..repair::Names::default() };
        let again = repair::run_with(&replica, Some(&none), &mut fetch, &Silent).expect("nothing is wrong");
        assert_eq!((again.left.sound, again.named, again.repaired), (true, None, 0), "{what}");
    }
}

#[test]
fn names_for_a_lost_head_are_checked() {
    let (place, copy) = history(2);
    std::fs::remove_file(place.path().join(".syncline/store/head")).expect("it is there");
    let names = repair::Names::of(&open(copy.path())).expect("it is whole");
    let bad = [
        repair::Names { head: "main".into(), ..repair::Names::default() },
        repair::Names { head: "../main".into(), ..names.clone() },
        repair::Names { tags: [("a b".to_owned(), Hash::ZERO)].into(), ..names },
    ];
    for names in bad {
        let run = repair::run_with(&place.reopen(), Some(&names), &mut repair::nobody(), &Silent);
        assert_eq!(run.expect_err("they are no names").kind(), Kind::Invalid, "{names:?}");
        assert!(repair::lacks_head(&place.reopen()).expect("it can be looked for"));
    }
}

#[test]
fn what_a_store_is_can_be_written_again() {
    let (place, _copy) = history(3);
    let about = place.path().join(".syncline/store/store.json");
    let text = std::fs::read_to_string(&about).expect("it can be read");
    for lost in [None, Some(""), Some("{}"), Some("<html>")] {
        match lost {
            None => std::fs::remove_file(&about).expect("it is there"),
            Some(other) => std::fs::write(&about, other).expect("it can be written"),
        }
        let location = syncline_node::Location::Path(place.path());
        let error = Replica::open(&location, crate::support::env()).expect_err("nothing says what it is");
        assert_eq!((error.kind(), error.to_string().contains(&text)), (Kind::Corrupt, true), "{lost:?}: {error}");
        // Nobody takes it for a place without a store.
        std::fs::remove_file(place.path().join(".syncline/replica.json")).expect("it is there");
        let init = Replica::init(&place.path(), false, crate::support::env());
        assert!(matches!(init.expect_err("there is something").kind(), Kind::Corrupt | Kind::Conflict), "{lost:?}");
        std::fs::write(place.path().join(".syncline/replica.json"), "{\"syncline\":\"replica/1\"}\n").expect("a file");
        std::fs::write(&about, &text).expect("it can be written");
        assert!(deep(&place.reopen()).sound);
    }
}
