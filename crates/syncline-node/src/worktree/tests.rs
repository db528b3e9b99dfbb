//! The working directory as a whole, beside a model that knows nothing of caches and streams.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use proptest::prelude::*;
use syncline_base::{Kind as Fault, SystemClock};
use syncline_store::Store;
use syncline_store::backend::memory::Memory;
use syncline_tree::Table;
use syncline_tree::files::{self, Content, FileKind};

use super::cache;
use super::commit::Collect;
use super::compare::{Compare, Step};
use super::dirs::Root;
use super::status::status;
use super::update::{Edited, Plan};
use super::walk::Walk;
use crate::Result;
use crate::ops::diff::Kind;
use crate::work::Updated;

/// A working directory with its own store.
struct Place {
    dir: tempfile::TempDir,
    store: Store,
}

/// What a path holds: kind and bytes; executable files have another kind.
type Model = BTreeMap<String, (char, Vec<u8>)>;

impl Place {
    fn new() -> Self {
        let dir = tempfile::tempdir().expect("there is room");
        fs::create_dir(dir.path().join(".syncline")).expect("there is room");
        let store =
            syncline_tree::open_store(Arc::new(Memory::new()), true, Arc::new(SystemClock)).expect("memory is there");
        Self { dir, store }
    }

    fn at(&self, path: &str) -> PathBuf {
        self.dir.path().join(path)
    }

    fn meta(&self) -> PathBuf {
        self.at(".syncline")
    }

    fn root(&self) -> Root {
        Root::open(self.dir.path()).expect("it is there")
    }

    fn write(&self, path: &str, bytes: impl AsRef<[u8]>) {
        fs::create_dir_all(self.at(path).parent().expect("it is below the root")).expect("there is room");
        fs::write(self.at(path), bytes).expect("there is room");
    }

    fn collect(&self, base: Option<&Table>) -> Result<(Table, Vec<String>, usize)> {
        let root = self.root();
        let mut collect = Collect::new(&root, &self.meta(), &self.store, base, false, &|_| {})?;
        let mut table = match base {
            Some(base) => base.clone(),
            None => Table::create(&self.store, files::schema())?,
        };
        while let Some(changes) = collect.next()? {
            table = table.apply([Ok(changes)])?.0;
        }
        let done = collect.finish();
        done.cache.finish(&table.to_ref(), i64::MAX)?;
        Ok((table, done.warnings, done.collisions.len()))
    }

    fn commit(&self, base: Option<&Table>) -> Table {
        self.collect(base).expect("nothing is in the way").0
    }

    fn status(&self, base: Option<&Table>) -> Vec<(String, Kind)> {
        let seen = status(&self.root(), &self.meta(), &self.store, base, false, &|_| {}).expect("all can be read");
        seen.changes.into_iter().map(|change| (change.path, change.kind)).collect()
    }

    fn checkout(&self, from: Option<&Table>, to: Option<&Table>, edited: Edited) -> Result<Updated> {
        Plan::make(&self.root(), &self.meta(), &self.store, (from.cloned(), to.cloned()), edited)?.carry_out()
    }

    /// What is on disk, by the standard library.
    fn disk(&self) -> Model {
        let mut model = Model::new();
        look(self.dir.path(), "", &mut model);
        model
    }
}

fn look(dir: &Path, prefix: &str, model: &mut Model) {
    let mut empty = true;
    for entry in fs::read_dir(dir).expect("it can be read") {
        let entry = entry.expect("it can be read");
        let name = entry.file_name().into_string().expect("the tests write UTF-8");
        let path = format!("{prefix}{name}");
        empty = false;
        if path == ".syncline" {
            continue;
        }
        let kind = entry.file_type().expect("it is there");
        if kind.is_dir() {
            look(&entry.path(), &format!("{path}/"), model);
        } else if kind.is_symlink() {
            let target = fs::read_link(entry.path()).expect("it is there");
            model.insert(path, ('l', target.to_str().expect("UTF-8").as_bytes().to_vec()));
        } else {
            let run = entry.metadata().expect("it is there").permissions().mode() & 0o100 != 0;
            model.insert(path, (if run { 'x' } else { 'f' }, fs::read(entry.path()).expect("it can be read")));
        }
    }
    if empty && !prefix.is_empty() {
        model.insert(prefix.trim_end_matches('/').to_owned(), ('d', Vec::new()));
    }
}

/// What a table says is on disk.
fn versioned(table: &Table) -> Model {
    let entries = files::scan(table).expect("it can be read");
    entries
        .map(|entry| {
            let entry = entry.expect("it can be read");
            let bytes = match &entry.content {
                Content::Inline(bytes) => bytes.to_vec(),
                Content::Chunks(content) => {
                    syncline_tree::content::read_all(table.store(), content, 1 << 30).expect("it can be read").to_vec()
                }
            };
            let kind = match entry.kind {
                FileKind::File if entry.executable => 'x',
                FileKind::File => 'f',
                FileKind::Symlink => 'l',
                FileKind::Folder => 'd',
            };
            (entry.path, (kind, bytes))
        })
        .collect()
}

#[test]
fn a_walk_is_in_byte_order_of_paths() {
    let place = Place::new();
    for path in ["a/b", "a-b", "a.c", "a/b-c/d", "a b", "a0", "z/y/x/w", "é", "a/b.c"] {
        if path == "a/b" { fs::create_dir_all(place.at(path)).expect("there is room") } else { place.write(path, "") }
    }
    fs::create_dir_all(place.at("empty/inside")).expect("there is room");
    let root = place.root();
    let found: Vec<String> = Walk::new(&root).map(|found| found.expect("it can be read").path).collect();
    let mut sorted = found.clone();
    sorted.sort();
    assert_eq!(found, sorted);
    assert_eq!(found, place.disk().into_keys().collect::<Vec<_>>());
}

#[test]
fn commit_status_checkout_on_every_kind_of_entry() {
    let place = Place::new();
    place.write("small", "text");
    place.write("large", vec![7; 300_000]);
    place.write("bin/run", "#!/bin/sh");
    fs::set_permissions(place.at("bin/run"), fs::Permissions::from_mode(0o755)).expect("it is ours");
    fs::create_dir_all(place.at("empty/deep")).expect("there is room");
    symlink("../nowhere", place.at("link")).expect("there is room");
    let before = place.disk();
    let first = place.commit(None);
    assert_eq!(versioned(&first), before);
    assert_eq!(place.status(Some(&first)), []);

    fs::remove_dir_all(place.at("bin")).expect("it is there");
    place.write("bin", "a file now");
    place.write("empty/deep/file", "not empty any more");
    place.write("large", vec![8; 20]);
    fs::remove_file(place.at("link")).expect("it is there");
    use Kind::{Delete, Insert, Update};
    let expected = [
        ("bin", Insert),
        ("bin/run", Delete),
        ("empty/deep", Delete),
        ("empty/deep/file", Insert),
        ("large", Update),
        ("link", Delete),
    ];
    assert_eq!(place.status(Some(&first)), expected.map(|(path, kind)| (path.to_owned(), kind)));
    let after = place.disk();
    let second = place.commit(Some(&first));
    assert_eq!(versioned(&second), after);

    place.checkout(Some(&second), Some(&first), Edited::Refuse).expect("nothing was edited");
    assert_eq!(place.disk(), before);
    assert_eq!(place.status(Some(&first)), []);
    place.checkout(Some(&first), Some(&second), Edited::Refuse).expect("nothing was edited");
    assert_eq!(place.disk(), after);
    place.checkout(Some(&second), None, Edited::Refuse).expect("nothing was edited");
    assert_eq!(place.disk(), Model::new());
}

#[test]
fn a_same_size_edit_in_the_tick_of_the_commit_is_seen() {
    // Many times, because the edit has to fall into the same tick of the kernel's clock to prove anything.
    for round in 0..30_u8 {
        let place = Place::new();
        place.write("f", [round, 1]);
        let table = place.commit(None);
        place.write("f", [round, 2]);
        assert_eq!(place.status(Some(&table)), [("f".to_owned(), Kind::Update)]);
        let next = place.commit(Some(&table));
        assert_ne!(next.to_ref().root, table.to_ref().root);
        place.checkout(Some(&next), Some(&table), Edited::Refuse).expect("nothing was edited");
        place.write("f", [round, 3]);
        assert_eq!(place.status(Some(&table)), [("f".to_owned(), Kind::Update)]);
    }
}

#[test]
fn a_time_that_was_put_back_does_not_hide_an_edit() {
    let place = Place::new();
    place.write("f", "one");
    let old = filetime::FileTime::from_unix_time(1_000_000_000, 5);
    filetime::set_file_mtime(place.at("f"), old).expect("it is ours");
    syncline_base::Clock::sleep(&syncline_base::SystemClock, std::time::Duration::from_millis(40));
    let table = place.commit(None);
    place.write("f", "two");
    filetime::set_file_mtime(place.at("f"), old).expect("it is ours");
    assert_eq!(place.status(Some(&table)), [("f".to_owned(), Kind::Update)]);
}

#[test]
fn a_settled_file_is_not_read_again() {
    let place = Place::new();
    place.write("f", "one");
    syncline_base::Clock::sleep(&syncline_base::SystemClock, std::time::Duration::from_millis(40));
    let table = place.commit(None);
    let root = place.root();
    let steps = || -> Vec<Step> {
        let cache = cache::Reader::open(&place.meta());
        let compare = Compare::new(&root, cache, Some(&table), false).expect("it can be read");
        compare.map(|step| step.expect("it can be read")).collect()
    };
    assert!(matches!(&steps()[..], [Step::Same(_)]), "{:?}", steps());
    // Touched: read once, then known again.
    filetime::set_file_mtime(place.at("f"), filetime::FileTime::from_unix_time(1, 1)).expect("it is ours");
    assert!(matches!(&steps()[..], [Step::Suspect(..)]), "{:?}", steps());
    syncline_base::Clock::sleep(&syncline_base::SystemClock, std::time::Duration::from_millis(40));
    assert_eq!(place.status(Some(&table)), []);
    assert!(matches!(&steps()[..], [Step::Same(_)]), "{:?}", steps());
}

#[test]
fn ignoring_never_looks_like_deleting() {
    let place = Place::new();
    place.write("logs/a.log", "1");
    place.write("logs/b.txt", "1");
    place.write("keep", "1");
    let table = place.commit(None);
    place.write(".synclineignore", "*.log\n/logs/\n# comment\n");
    place.write("logs/new.log", "not versioned");
    place.write("logs/a.log", "edited");
    let status = place.status(Some(&table));
    let expected = [(".synclineignore".to_owned(), Kind::Insert), ("logs/a.log".to_owned(), Kind::Update)];
    assert_eq!(status, expected);
    let (next, warnings, _) = place.collect(Some(&table)).expect("nothing is in the way");
    let paths: Vec<String> = versioned(&next).into_keys().collect();
    assert_eq!(paths, [".synclineignore", "keep", "logs/a.log", "logs/b.txt"]);
    assert_eq!(warnings.len(), 2, "{warnings:?}");
    // Really deleting it is deleting it.
    fs::remove_file(place.at("logs/a.log")).expect("it is there");
    assert_eq!(place.status(Some(&next)), [("logs/a.log".to_owned(), Kind::Delete)]);
}

#[test]
fn ignore_files_speak_for_their_folder_and_the_deepest_wins() {
    let place = Place::new();
    place.write(".synclineignore", "*.tmp\n/build\nlogs/\n");
    place.write("sub/.synclineignore", "!keep.tmp\n/only-here\n");
    for path in [
        "a.tmp",
        "sub/b.tmp",
        "sub/keep.tmp",
        "build/x",
        "sub/build/x",
        "logs/x",
        "sub/logs/x",
        "sub/only-here",
        "only-here",
    ] {
        place.write(path, "");
    }
    let paths: Vec<String> = versioned(&place.commit(None)).into_keys().collect();
    let expected = [".synclineignore", "only-here", "sub/.synclineignore", "sub/build/x", "sub/keep.tmp"];
    assert_eq!(paths, expected);
    place.write("sub/.synclineignore", "fine\na{b\n");
    let error = place.collect(None).map(|_| ()).expect_err("no pattern");
    assert!(error.to_string().contains("sub/.synclineignore, line 2"), "{error}");
}

#[test]
fn links_are_never_followed_out_of_the_root() {
    let outside = tempfile::tempdir().expect("there is room");
    fs::write(outside.path().join("secret"), "mine").expect("there is room");
    let place = Place::new();
    place.write("d/secret", "versioned");
    let table = place.commit(None);
    // A folder becomes a link to a folder that has a file of the same name.
    fs::remove_dir_all(place.at("d")).expect("it is there");
    symlink(outside.path(), place.at("d")).expect("there is room");
    assert_eq!(place.status(Some(&table)), [("d".to_owned(), Kind::Insert), ("d/secret".to_owned(), Kind::Delete)]);
    let linked = place.commit(Some(&table));
    assert_eq!(versioned(&linked).keys().collect::<Vec<_>>(), ["d"]);

    // Writing below a link that is not versioned is refused before anything is done.
    let empty = linked.emptied();
    let other = Place::new();
    symlink(outside.path(), other.at("d")).expect("there is room");
    let table = copy_to(&other, &table);
    let error = other.checkout(None, Some(&table), Edited::Refuse).expect_err("a link is in the way");
    assert_eq!(error.kind(), Fault::Conflict);
    let error = other.checkout(None, Some(&table), Edited::Overwrite).expect_err("a link is in the way");
    assert_eq!(error.kind(), Fault::Conflict);
    assert_eq!(fs::read_to_string(outside.path().join("secret")).expect("it is there"), "mine");

    // Removing below a link touches nothing.
    let full = copy_to(&place, &table);
    place.checkout(Some(&full), Some(&empty), Edited::Overwrite).expect("nothing is written");
    assert_eq!(fs::read_to_string(outside.path().join("secret")).expect("it is there"), "mine");
}

/// The same table in another place's store.
fn copy_to(place: &Place, table: &Table) -> Table {
    let edits: Vec<_> =
        files::scan(table).expect("it can be read").map(|e| files::Edit::Put(e.expect("it can be read"))).collect();
    let empty = Table::create(&place.store, files::schema()).expect("memory is there");
    empty.apply([files::changes(&edits)]).expect("they are sorted").0
}

#[test]
fn edits_are_kept_refused_or_overwritten_as_asked() {
    let place = Place::new();
    place.write("both", "1");
    place.write("edited", "1");
    place.write("same", "1");
    let one = place.commit(None);
    place.write("both", "2");
    place.write("edited", "2");
    place.write("new", "2");
    let two = place.commit(Some(&one));
    place.write("edited", "mine");
    place.write("same", "mine");
    let error = place.checkout(Some(&two), Some(&one), Edited::Refuse).expect_err("an edit is in the way");
    assert_eq!(error.kind(), Fault::Conflict);
    assert!(error.to_string().contains("1 files were edited here and would be overwritten: edited;"), "{error}");
    assert_eq!(place.disk()["both"].1, b"2");

    place.checkout(Some(&two), Some(&one), Edited::Keep).expect("edits stay");
    let disk = place.disk();
    assert_eq!(
        (&disk["both"].1[..], &disk["edited"].1[..], &disk["same"].1[..]),
        (&b"1"[..], &b"mine"[..], &b"mine"[..])
    );
    assert!(!disk.contains_key("new"));
    assert_eq!(place.status(Some(&one)), [("edited".to_owned(), Kind::Update), ("same".to_owned(), Kind::Update)]);

    place.checkout(Some(&one), Some(&two), Edited::Overwrite).expect("it was asked for");
    assert_eq!(place.disk(), versioned(&two));
    assert_eq!(place.status(Some(&two)), []);
}

#[test]
fn what_is_not_versioned_is_never_lost() {
    let place = Place::new();
    place.write("a", "1");
    let one = place.commit(None);
    fs::remove_file(place.at("a")).expect("it is there");
    place.write("a/b", "2");
    let two = place.commit(Some(&one));
    // A file that nobody versioned, in a folder that would have to become a file.
    place.write("a/mine", "x");
    let root = place.root();
    let meta = place.meta();
    let refused = Plan::make(&root, &meta, &place.store, (Some(two.clone()), Some(one.clone())), Edited::Refuse);
    assert_eq!(refused.map(|_| ()).expect_err("it is in the way").kind(), Fault::Conflict);
    assert_eq!(place.disk()["a/b"].1, b"2");
    fs::remove_file(place.at("a/mine")).expect("it is there");
    place.checkout(Some(&two), Some(&one), Edited::Refuse).expect("nothing is in the way");
    // A file where a versioned one will be; an equal one is no loss.
    fs::remove_file(place.at("a")).expect("it is there");
    place.write("a", "mine");
    let empty = one.emptied();
    let refused = place.checkout(Some(&empty), Some(&one), Edited::Refuse);
    assert_eq!(refused.expect_err("it would be lost").kind(), Fault::Conflict);
    place.write("a", "1");
    place.checkout(Some(&empty), Some(&one), Edited::Refuse).expect("it is what the version says");
}

#[test]
fn a_checkout_that_was_cut_off_is_finished_by_the_next() {
    let place = Place::new();
    for n in 0..40 {
        place.write(&format!("f{n:02}"), "1");
    }
    let one = place.commit(None);
    for n in 0..40 {
        place.write(&format!("f{n:02}"), "22");
    }
    place.write("g/h", "2");
    let two = place.commit(Some(&one));
    // Half of it is done, and a temporary file is left.
    for n in 0..20 {
        place.write(&format!("f{n:02}"), "1");
    }
    place.write(".syncline/tmp/checkout/3", "half");
    place.checkout(Some(&two), Some(&one), Edited::Keep).expect("nothing was edited");
    assert_eq!(place.disk(), versioned(&one));
    assert_eq!(place.status(Some(&one)), []);
    assert!(!place.at(".syncline/tmp/checkout/3").exists());
}

#[test]
fn what_a_crash_left_of_new_files_is_not_an_edit() {
    let place = Place::new();
    place.write("cut", "0123456789");
    place.write("edited", "0123456789");
    place.write("longer", "0123456789");
    place.write("none", "0123456789");
    place.write("zeros", "0123456789");
    let version = place.commit(None);
    let whole = place.disk();
    place.write("cut", "0123");
    place.write("edited", "0129");
    place.write("longer", "0123456789 and more");
    fs::remove_file(place.at("none")).expect("it is there");
    place.write("zeros", "01234\0\0\0\0\0");
    place.checkout(None, Some(&version), Edited::Keep).expect("edits stay");
    let expected = [("edited".to_owned(), Kind::Update), ("longer".to_owned(), Kind::Update)];
    assert_eq!(place.status(Some(&version)), expected);
    // Into an empty directory they are written in place; the result is the same.
    let other = Place { store: place.store.clone(), ..Place::new() };
    other.checkout(None, Some(&version), Edited::Refuse).expect("nothing is in the way");
    assert_eq!(other.disk(), whole);
    assert_eq!(other.status(Some(&version)), []);
}

#[test]
fn damage_to_the_cache_only_costs_time() {
    let place = Place::new();
    place.write("a", "1");
    place.write("b", "1");
    let table = place.commit(None);
    fs::write(place.at(".syncline/status"), "rubbish").expect("there is room");
    place.write("b", "2");
    assert_eq!(place.status(Some(&table)), [("b".to_owned(), Kind::Update)]);
    fs::remove_file(place.at(".syncline/status")).expect("it is there");
    let next = place.commit(Some(&table));
    assert_eq!(versioned(&next), place.disk());
}

#[test]
fn a_cache_of_another_version_still_helps() {
    let place = Place::new();
    for n in 0..50 {
        place.write(&format!("d/f{n:02}"), "1");
    }
    let one = place.commit(None);
    place.write("d/f07", "2");
    place.write("e", "2");
    fs::remove_file(place.at("d/f09")).expect("it is there");
    let two = place.commit(Some(&one));
    // The cache speaks of `two`.
    let expected = [("d/f07", Kind::Update), ("d/f09", Kind::Delete), ("e", Kind::Insert)];
    assert_eq!(place.status(Some(&one)), expected.map(|(path, kind)| (path.to_owned(), kind)));
    // And of `one` after that look.
    assert_eq!(place.status(Some(&two)), []);
    assert_eq!(place.status(None).len(), 50);
}

#[test]
fn colliding_names_and_special_files_are_reported() {
    let place = Place::new();
    place.write("README", "1");
    place.write("readme", "2");
    place.write("nested/.syncline/refs", "another replica's");
    let pipe = place.at("pipe");
    let _listener = std::os::unix::net::UnixListener::bind(&pipe).expect("there is room");
    let (table, warnings, collisions) = place.collect(None).expect("nothing is in the way");
    assert_eq!(collisions, 1);
    assert_eq!(warnings, ["pipe is a device, socket or pipe and is not versioned"]);
    assert_eq!(versioned(&table).into_keys().collect::<Vec<_>>(), ["README", "readme"]);
}

#[test]
fn names_that_are_not_utf8_are_reported() {
    use std::os::unix::ffi::OsStrExt;
    let place = Place::new();
    fs::write(place.dir.path().join(std::ffi::OsStr::from_bytes(b"bad\xff")), "").expect("the file system takes it");
    let (table, warnings, _) = place.collect(None).expect("nothing is in the way");
    assert_eq!(table.rows(), 0);
    assert!(warnings[0].contains("not UTF-8"), "{warnings:?}");
}

#[test]
fn what_cannot_be_read_is_named() {
    let place = Place::new();
    place.write("fine", "1");
    let target = place.at("loop");
    symlink("/proc/self/mem", &target).expect("there is room");
    // Links are only read as links; to fail as root does, a file has to refuse its owner too.
    assert_eq!(versioned(&place.commit(None)).len(), 2);
    if rustix::process::geteuid().is_root() {
        return;
    }
    place.write("locked/secret", "1");
    fs::set_permissions(place.at("locked/secret"), fs::Permissions::from_mode(0o000)).expect("it is ours");
    let error = place.collect(None).map(|_| ()).expect_err("it cannot be read");
    assert_eq!(error.kind(), Fault::Denied);
    assert!(error.to_string().contains("locked/secret"), "{error}");
}

#[test]
fn ten_thousand_files_in_one_folder() {
    let place = Place::new();
    fs::create_dir(place.at("wide")).expect("there is room");
    for n in 0..10_000 {
        fs::write(place.at(&format!("wide/{n}")), n.to_string()).expect("there is room");
    }
    let table = place.commit(None);
    assert_eq!(table.rows(), 10_000);
    place.write("wide/777", "edited");
    assert_eq!(place.status(Some(&table)), [("wide/777".to_owned(), Kind::Update)]);
    let other = Place::new();
    let copy = copy_to(&other, &table);
    let done = other.checkout(None, Some(&copy), Edited::Refuse).expect("it is empty");
    assert_eq!(done.written, 10_000);
    assert_eq!(other.status(Some(&copy)), []);
}

#[derive(Debug, Clone)]
enum Act {
    Write(String, usize, bool),
    Remove(String),
    Folder(String),
    Link(String),
    Commit,
    Checkout(prop::sample::Index),
    ForgetCache,
}

fn acts() -> impl Strategy<Value = Act> {
    let path = || "[ab](/[ab-]){0,2}";
    prop_oneof![
        6 => (path(), prop_oneof![0usize..4, 16_380usize..16_390, 40_000usize..200_000], any::<bool>())
            .prop_map(|(path, len, run)| Act::Write(path, len, run)),
        2 => path().prop_map(Act::Remove),
        1 => path().prop_map(Act::Folder),
        1 => path().prop_map(Act::Link),
        3 => Just(Act::Commit),
        2 => any::<prop::sample::Index>().prop_map(Act::Checkout),
        1 => Just(Act::ForgetCache),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn any_history_of_edits_commits_and_checkouts_agrees_with_the_disk(acts in proptest::collection::vec(acts(), 1..30)) {
        let place = Place::new();
        let mut versions: Vec<Option<Table>> = vec![None];
        let mut now: Option<Table> = None;
        for (step, act) in acts.into_iter().enumerate() {
            // Acts that the file system refuses (a file in the way of a folder) are no acts.
            match act {
                Act::Write(path, len, run) => {
                    let full = place.at(&path);
                    let made = fs::create_dir_all(full.parent().expect("below the root")).is_ok();
                    if made && fs::symlink_metadata(&full).map_or(true, |meta| meta.is_file()) {
                        fs::write(&full, vec![step as u8; len]).expect("there is room");
                        let mode = if run { 0o755 } else { 0o644 };
                        fs::set_permissions(&full, fs::Permissions::from_mode(mode)).expect("it is ours");
                    }
                }
                Act::Remove(path) => {
                    let _ = fs::remove_file(place.at(&path)).or_else(|_| fs::remove_dir_all(place.at(&path)));
                }
                Act::Folder(path) => drop(fs::create_dir_all(place.at(&path))),
                Act::Link(path) => drop(symlink(format!("../{step}"), place.at(&path))),
                Act::Commit => {
                    let disk = place.disk();
                    let status = place.status(now.as_ref());
                    let table = place.commit(now.as_ref());
                    prop_assert_eq!(versioned(&table), disk.clone());
                    let before = now.as_ref().map(versioned).unwrap_or_default();
                    let differs = |path: &&String| before.get(*path) != disk.get(*path);
                    let mut expected: Vec<&String> = before.keys().chain(disk.keys()).filter(differs).collect();
                    expected.sort();
                    expected.dedup();
                    prop_assert_eq!(status.iter().map(|(path, _)| path).collect::<Vec<_>>(), expected);
                    prop_assert_eq!(place.status(Some(&table)), vec![]);
                    versions.push(Some(table.clone()));
                    now = Some(table);
                }
                Act::Checkout(index) => {
                    let to = index.get(&versions).clone();
                    let clean = place.status(now.as_ref()).is_empty();
                    let before = place.disk();
                    match place.checkout(now.as_ref(), to.as_ref(), Edited::Refuse) {
                        Ok(_) => {
                            if clean {
                                prop_assert_eq!(place.disk(), to.as_ref().map(versioned).unwrap_or_default());
                            }
                            now = to;
                        }
                        Err(error) => {
                            prop_assert!(!clean, "refused without an edit: {}", error);
                            prop_assert_eq!(place.disk(), before, "refused and yet changed");
                        }
                    }
                }
                Act::ForgetCache => drop(fs::remove_file(place.at(".syncline/status"))),
            }
        }
        match place.checkout(now.as_ref(), now.as_ref(), Edited::Overwrite) {
            // What is not versioned stays.
            Ok(_) => {
                let (disk, wanted) = (place.disk(), now.as_ref().map(versioned).unwrap_or_default());
                prop_assert!(wanted.iter().all(|(path, what)| disk.get(path) == Some(what) || what.0 == 'd'));
            }
            // A link or file of the user where a folder has to be, or a folder with files where a file has to be.
            Err(error) => prop_assert_eq!(error.kind(), Fault::Conflict),
        }
    }
}
