//! Replicas that hold a part of a dataset: some tables, some files, or files only when they are asked for.

use std::sync::Arc;

use syncline_base::rng::Rng;
use syncline_base::{Hash, Kind};
use syncline_node::import::{Input, Mode};
use syncline_node::ops::{checkout, commit, export, fetch, gc, import, repair, root, show, status, transfer, verify};
use syncline_node::progress::Silent;
use syncline_node::sync::Transport;
use syncline_node::{Connect, Error, Location, Replica, Result, loopback};
use syncline_tree::Table;
use syncline_tree::files::{self, Content};
use tempfile::TempDir;

use crate::support::{Place, env, silent};

/// A partial clone of a hub.
struct Copy {
    dir: TempDir,
    replica: Replica,
    hub: String,
}

fn noise(seed: u64, len: usize) -> Vec<u8> {
    let mut rng = Rng::from_seed(seed);
    let mut bytes: Vec<u8> = (0..len.div_ceil(8)).flat_map(|_| rng.next_u64().to_le_bytes()).collect();
    bytes.truncate(len);
    bytes
}

fn write(place: &Place, path: &str, bytes: &[u8]) {
    let path = place.path().join(path);
    std::fs::create_dir_all(path.parent().expect("below the root")).expect("there is room");
    std::fs::write(path, bytes).expect("there is room");
}

/// Rows, two long images, a long and a short document.
fn hub() -> Place {
    let hub = Place::new();
    hub.upsert("id,a\n1,x\n2,x\n", "rows");
    write(&hub, "images/a.bin", &noise(1, 300_000));
    write(&hub, "images/b.bin", &noise(2, 9_000_000));
    write(&hub, "docs/long.bin", &noise(3, 9_000_000));
    write(&hub, "docs/short.txt", b"short");
    hub.commit("files");
    hub
}

fn open_hub(hub: &Place) -> Box<dyn Transport> {
    loopback::connect(hub.reopen()).expect("there are threads")
}

fn clone(hub: &Place, change: impl FnOnce(&mut transfer::CloneRequest)) -> Copy {
    let dir = tempfile::tempdir().expect("there is room");
    let url = hub.path().display().to_string();
    let mut request = transfer::CloneRequest {
        url: url.clone(),
        dir: dir.path().join("c"),
        bare: false,
        tables: None,
        depth: None,
        paths: None,
    };
    change(&mut request);
    transfer::clone(&request, env(), &mut *open_hub(hub), &Silent).expect("the hub is whole");
    let replica = Replica::open(&Location::Path(dir.path().join("c")), env()).expect("it was made");
    Copy { dir, replica, hub: url }
}

fn by_path(hub: &Place, patterns: &[&str]) -> Copy {
    clone(hub, |request| request.paths = Some(patterns.iter().map(|text| (*text).to_owned()).collect()))
}

impl Copy {
    fn read(&self, path: &str) -> Option<Vec<u8>> {
        std::fs::read(self.dir.path().join("c").join(path)).ok()
    }

    fn write(&self, path: &str, bytes: &[u8]) {
        let path = self.dir.path().join("c").join(path);
        std::fs::create_dir_all(path.parent().expect("below the root")).expect("there is room");
        std::fs::write(path, bytes).expect("there is room");
    }

    fn root(&self) -> Hash {
        root::run(&self.replica, &root::Request::default()).expect("there is a version").root
    }

    fn status(&self) -> status::Report {
        status::run(&self.replica, &status::Request::default(), &Silent).expect("it can be read")
    }

    fn commit(&self, message: &str) -> commit::Report {
        let request = commit::Request { message: message.into(), ..commit::Request::default() };
        commit::run(&self.replica, &request, &Silent).expect("nothing is in the way")
    }

    fn request(&self) -> transfer::Request {
        transfer::Request { url: self.hub.clone(), ..transfer::Request::default() }
    }

    fn pull(&self, hub: &Place) -> Result<transfer::Report> {
        transfer::pull(&self.replica, &self.request(), &mut *open_hub(hub), &Silent)
    }

    fn push(&self, hub: &Place) -> Result<transfer::Report> {
        transfer::push(&self.replica, &self.request(), &mut *open_hub(hub), &Silent)
    }

    fn fetch(&self, pattern: &str) -> Result<fetch::Report> {
        fetch::run(&self.replica, &fetch::Request { paths: vec![pattern.into()] }, &Silent)
    }

    fn verify(&self) -> verify::Report {
        verify::run(&self.replica, &verify::Request { deep: true }, &Silent).expect("it can be read")
    }

    /// Sound, with so many contents left elsewhere.
    #[track_caller]
    fn check(&self, absent: u64) {
        let found = self.verify();
        assert!(found.sound, "{:?} {:?}", found.damage, found.touched);
        assert_eq!(found.absent, absent);
        let seen = self.status();
        assert!(seen.clean, "{:?}", seen.files);
    }

    /// As if the way to the hub were cut.
    fn cut_off(&self) -> Replica {
        let env = syncline_node::Env { connect: Arc::new(NoWay), ..env() };
        Replica::open(&Location::Path(self.dir.path().join("c")), env).expect("it was made")
    }
}

#[derive(Debug)]
struct NoWay;

impl Connect for NoWay {
    fn connect(&self, _: &str) -> Result<Box<dyn Transport>> {
        Err(Error::Unavailable { what: "connecting".into(), why: "nothing answers".into() })
    }
}

#[track_caller]
fn sound(hub: &Place) {
    let found = verify::run(&hub.reopen(), &verify::Request { deep: true }, &Silent).expect("it can be read");
    assert!(found.sound, "{:?} {:?}", found.damage, found.touched);
}

#[test]
fn a_clone_by_path_has_the_root_of_the_whole_and_only_these_files() {
    let hub = hub();
    let part = by_path(&hub, &["images/**"]);
    assert_eq!(part.root(), hub.root());
    assert_eq!(part.read("images/b.bin"), Some(noise(2, 9_000_000)));
    assert_eq!((part.read("docs/long.bin"), part.read("docs/short.txt")), (None, None));
    part.check(1);
    // The long document was not sent.
    let size = part.replica.store().usage().expect("it can be read");
    let size = size.pack_bytes + size.journal_bytes;
    assert!((9_300_000..9_800_000).contains(&size), "{size} bytes");
}

#[test]
fn a_commit_in_a_part_leaves_the_rest_untouched() {
    let hub = hub();
    let part = by_path(&hub, &["images/**"]);
    part.write("images/a.bin", &noise(9, 200_000));
    part.write("images/new.bin", &noise(8, 50_000));
    std::fs::remove_file(part.dir.path().join("c/images/b.bin")).expect("it is there");
    let changes = part.commit("edits").changes;
    assert_eq!((changes[0].inserted, changes[0].updated, changes[0].deleted), (1, 1, 1));
    let report = part.push(&hub).expect("the hub has the rest");
    assert!(report.in_sync && report.cost.bytes_sent < 300_000, "{report:?}");
    assert_eq!(part.root(), hub.root());
    assert_eq!(std::fs::read(hub.path().join("docs/long.bin")).ok(), Some(noise(3, 9_000_000)));
    assert!(!hub.path().join("images/b.bin").exists());
    sound(&hub);
    part.check(1);
}

#[test]
fn pulls_and_syncs_keep_to_the_part() {
    let hub = hub();
    let part = by_path(&hub, &["images/**"]);
    write(&hub, "images/a.bin", &noise(11, 300_000));
    write(&hub, "docs/long.bin", &noise(12, 5_000_000));
    write(&hub, "docs/other.bin", &noise(13, 5_000_000));
    hub.commit("more");
    let pulled = part.pull(&hub).expect("the hub is whole");
    assert!(pulled.cost.bytes_received < 500_000, "{:?}", pulled.cost);
    assert_eq!(part.root(), hub.root());
    assert_eq!(part.read("images/a.bin"), Some(noise(11, 300_000)));
    assert_eq!(part.read("docs/other.bin"), None);
    part.check(3);
    // Both sides move: the merge has their documents without having their contents.
    write(&hub, "docs/other.bin", &noise(14, 5_000_000));
    hub.commit("theirs");
    part.write("images/b.bin", &noise(15, 100_000));
    part.commit("ours");
    let merged =
        transfer::sync(&part.replica, &part.request(), &mut || Ok(open_hub(&hub)), &Silent).expect("no conflict");
    assert!(merged.in_sync && merged.cost.bytes_sent < 200_000, "{merged:?}");
    assert_eq!(part.root(), hub.root());
    assert_eq!(std::fs::read(hub.path().join("docs/other.bin")).ok(), Some(noise(14, 5_000_000)));
    sound(&hub);
    part.check(4);
}

#[test]
fn lazy_files_come_when_they_are_fetched_and_stay_up_to_date() {
    let hub = hub();
    let lazy = by_path(&hub, &[]);
    assert_eq!(lazy.root(), hub.root());
    assert_eq!(lazy.read("images/a.bin"), None);
    lazy.check(3);
    let fetched = lazy.fetch("docs/*").expect("the hub is there");
    assert_eq!(fetched.files, 2);
    assert!((9_000_000..9_800_000).contains(&fetched.cost.bytes_received), "{:?}", fetched.cost);
    assert!(fetched.cost.round_trips <= 3, "{:?}", fetched.cost);
    assert_eq!(lazy.read("docs/long.bin"), Some(noise(3, 9_000_000)));
    assert_eq!(lazy.read("docs/short.txt").as_deref(), Some(&b"short"[..]));
    lazy.check(2);
    assert_eq!(lazy.fetch("docs/*").expect("there is nothing to do").objects, 0);
    write(&hub, "docs/long.bin", &noise(21, 9_000_000));
    hub.commit("again");
    lazy.pull(&hub).expect("the hub is whole");
    assert_eq!(lazy.read("docs/long.bin"), Some(noise(21, 9_000_000)));
    lazy.check(2);
    // An older version's contents come with its checkout.
    let back = checkout::Request { name: "HEAD~1".into(), force: false };
    checkout::run(&lazy.replica, &back).expect("nothing is in the way");
    assert_eq!(lazy.read("docs/long.bin"), Some(noise(3, 9_000_000)));
    assert_eq!(lazy.read("images/a.bin"), None);
}

#[test]
fn a_list_that_is_here_without_its_chunks_is_not_taken_for_a_content() {
    let hub = hub();
    let lazy = by_path(&hub, &[]);
    let refs = hub.replica.refs().expect("it can be read");
    let files = hub.replica.head_root(&refs).expect("it can be read").files.expect("there are files");
    let table = Table::open(hub.replica.store(), &files).expect("it can be read");
    let mut lists = 0;
    for entry in files::scan(&table).expect("it can be read") {
        let Content::Chunks(content) = entry.expect("it can be read").content else { continue };
        if content.height > 0 {
            // What a collection leaves that took the chunks and not the file that holds the list.
            lazy.replica.store().put(&hub.replica.store().get(&content.root).expect("it is whole")).expect("room");
            lists += 1;
        }
    }
    lazy.replica.store().flush().expect("there is room");
    assert!(lists >= 2, "{lists}");
    lazy.fetch("docs/*").expect("the hub is there");
    assert_eq!(lazy.read("docs/long.bin"), Some(noise(3, 9_000_000)));
}

#[test]
fn without_a_way_to_the_origin_nothing_changes_and_the_message_says_why() {
    let hub = hub();
    let lazy = by_path(&hub, &["docs/*"]);
    write(&hub, "docs/long.bin", &noise(31, 9_000_000));
    hub.commit("again");
    let cut = lazy.cut_off();
    for refused in [
        fetch::run(&cut, &fetch::Request { paths: vec!["images/**".into()] }, &Silent).map(|_| ()),
        transfer::pull(&cut, &lazy.request(), &mut *open_hub(&hub), &Silent).map(|_| ()),
    ] {
        let error = refused.expect_err("there is no way");
        assert_eq!(error.kind(), Kind::Unavailable, "{error}");
        let text = error.to_string();
        assert!(text.contains(&lazy.hub) && text.contains("run it again"), "{text}");
    }
    assert_eq!(lazy.read("docs/long.bin"), Some(noise(3, 9_000_000)));
    assert!(lazy.status().clean);
    lazy.pull(&hub).expect("the way is open again");
    assert_eq!((lazy.root(), lazy.read("docs/long.bin")), (hub.root(), Some(noise(31, 9_000_000))));
}

#[test]
fn what_is_missing_is_told_from_what_is_elsewhere_and_repaired() {
    let hub = hub();
    let lazy = by_path(&hub, &[]);
    // As if what was fetched had been lost.
    syncline_tree::refs::update(lazy.replica.store(), |refs| {
        refs.scope.as_mut().expect("it is partial").paths = Some(vec!["images/b.bin".into()]);
        Ok(())
    })
    .expect("it can be written");
    let found = lazy.verify();
    assert!(!found.sound);
    assert_eq!((found.touched.len(), found.touched[0].rows.as_str()), (1, "images/b.bin"));
    let mut bring = |ids: &[Hash]| {
        let (got, _) = syncline_node::sync::fetch(&mut *open_hub(&hub), ids.to_vec())?;
        Ok(ids.iter().map(|id| got.iter().find(|(found, _)| found == id).map(|(_, bytes)| bytes.clone())).collect())
    };
    let repaired = repair::run(&lazy.replica, &mut bring, &Silent).expect("the hub has it");
    assert!(repaired.left.sound && repaired.repaired > 1, "{repaired:?}");
}

#[test]
fn files_outside_of_the_part_may_be_made_and_overwritten() {
    let hub = hub();
    let part = by_path(&hub, &["images/**"]);
    part.write("docs/long.bin", &noise(41, 60_000));
    part.write("docs/made.txt", b"made here");
    let kinds: Vec<_> = part.status().files.iter().map(|file| format!("{:?} {}", file.kind, file.path)).collect();
    assert_eq!(kinds, ["Update docs/long.bin", "Insert docs/made.txt"]);
    part.commit("outside");
    // What the older version held there is still elsewhere.
    part.check(1);
    part.push(&hub).expect("the hub has the rest");
    assert_eq!(std::fs::read(hub.path().join("docs/long.bin")).ok(), Some(noise(41, 60_000)));
    // What lies here is kept up to date, or an old copy would look like an edit.
    write(&hub, "docs/long.bin", &noise(42, 70_000));
    hub.commit("theirs");
    part.pull(&hub).expect("the hub is whole");
    assert_eq!(part.read("docs/long.bin"), Some(noise(42, 70_000)));
    assert!(part.status().clean);
    sound(&hub);
}

#[test]
fn a_part_survives_garbage_collection_and_serves_no_more_than_it_has() {
    let hub = hub();
    let part = by_path(&hub, &["images/**"]);
    for _ in 0..2 {
        gc::run(&part.replica, &gc::Request { grace_ms: 0, ..gc::Request::default() }, &Silent)
            .expect("nobody else is at work");
    }
    part.check(1);
    let reopened = || Replica::open(&Location::Path(part.dir.path().join("c")), env()).expect("it was made");
    let dir = tempfile::tempdir().expect("there is room");
    let mut request = transfer::CloneRequest {
        url: "part".into(),
        dir: dir.path().join("whole"),
        bare: false,
        tables: None,
        depth: None,
        paths: None,
    };
    let to_part = || loopback::connect(reopened()).expect("there are threads");
    let refused = transfer::clone(&request, env(), &mut *to_part(), &Silent).expect_err("it is not whole");
    assert!(refused.to_string().contains("only a part"), "{refused}");
    (request.dir, request.paths) = (dir.path().join("lazy"), Some(Vec::new()));
    transfer::clone(&request, env(), &mut *to_part(), &Silent).expect("it has that much");
    let other = Place::new();
    other.upsert("id,a\n1,x\n", "other");
    let push = transfer::Request { url: "part".into(), force: true, ..transfer::Request::default() };
    let refused = transfer::push(&other.replica, &push, &mut *to_part(), &Silent).expect_err("it cannot tell");
    assert!(refused.to_string().contains("only a part"), "{refused}");
    // To somebody who has nothing it cannot send what it does not have.
    let empty = Place::new();
    let refused = part.push(&empty).expect_err("a document is not here");
    assert!(refused.to_string().contains("only a part"), "{refused}");
    assert!(empty.replica.refs().expect("it can be read").branches.is_empty());
}

fn import_into(replica: &Replica, table: &str, csv: &'static str) -> Result<import::Report> {
    let request = import::Request {
        table: table.into(),
        key: vec!["id".into()],
        mode: Mode::Upsert,
        message: Some("rows".into()),
        ..import::Request::default()
    };
    let input = Input::Reader { name: "rows.csv".into(), reader: Box::new(std::io::Cursor::new(csv)) };
    import::run(replica, &request, vec![input], &silent())
}

#[test]
fn a_clone_by_table_leaves_other_tables_and_files_alone() {
    let hub = hub();
    import_into(&hub.replica, "other", "id,b\n1,y\n2,y\n3,y\n").expect("good rows");
    let part = clone(&hub, |request| request.tables = Some(vec!["t".into()]));
    assert_eq!((part.root(), part.read("docs/short.txt")), (hub.root(), None));
    part.check(0);
    import_into(&hub.replica, "other", "id,b\n2,z\n4,z\n").expect("good rows");
    write(&hub, "docs/short.txt", b"longer");
    hub.commit("a file");
    import_into(&part.replica, "t", "id,a\n3,ours\n").expect("it is here");
    transfer::sync(&part.replica, &part.request(), &mut || Ok(open_hub(&hub)), &Silent).expect("no conflict");
    assert_eq!(part.root(), hub.root());
    part.check(0);
    sound(&hub);
    // Who has nothing of it lacks the rest, too.
    let new = Place::bare();
    let error = part.push(&new).expect_err("the other trees are elsewhere");
    assert_eq!(error.kind(), Kind::NotFound);
    assert!(error.to_string().contains("holds only a part of the dataset"), "{error}");
    let shown = show::run(&part.replica, &show::Request::default()).expect("it can be read");
    assert_eq!(shown.trees.iter().map(|tree| tree.columns.len()).collect::<Vec<_>>(), [0, 2, 0]);
    let wanted = export::Request { table: "other".into(), ..export::Request::default() };
    let target = syncline_node::export::Target::Path(part.dir.path().join("out.csv"));
    let refused = export::run(&part.replica, &wanted, &target, &Silent).map(|_| ());
    for refused in [refused, import_into(&part.replica, "other", "id,b\n9,z\n").map(|_| ())] {
        let error = refused.expect_err("it is not here");
        assert_eq!(error.kind(), Kind::NotFound);
        assert!(error.to_string().contains("only [\"t\"]"), "{error}");
    }
}

#[test]
fn a_bare_part_brings_its_files_too() {
    let hub = hub();
    let part = clone(&hub, |request| (request.bare, request.paths) = (true, Some(vec!["images/a.bin".into()])));
    part.check(2);
    write(&hub, "images/a.bin", &noise(51, 100_000));
    hub.commit("again");
    part.pull(&hub).expect("the hub is whole");
    part.check(2);
    part.fetch("docs/long.bin").expect("the hub is there");
    part.check(1);
}
