//! The operations that are killed, and what each starts from.

use syncline_base::rng::Rng;

use crate::support::{Dir, Replica, csv, syncline};

/// Who is killed.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Victim {
    /// The process that runs the command.
    Client,
    /// The node that it talks to.
    Node,
}

/// An operation.
pub(super) struct Case {
    pub name: &'static str,
    /// Makes what it starts from: replicas in a directory.
    pub make: fn(&Dir),
    /// The command, run in that directory; `{url}` is the dataset `d` of the node on `hub`.
    pub words: &'static [&'static str],
    /// The replica that it changes.
    pub changes: &'static str,
    /// The others.
    pub keeps: &'static [&'static str],
    pub victim: Victim,
    /// Whether so much passes that a part of it lands before a late kill.
    pub large: bool,
}

impl Case {
    /// Whether a node has to be up.
    pub(super) fn node(&self) -> bool {
        self.words.contains(&"{url}")
    }

    /// How often it is killed.
    pub(super) fn kills(&self, long: bool) -> u32 {
        match (long, self.large) {
            (true, false) => 15,
            (true, true) => 6,
            (false, large) => u32::from(!large),
        }
    }
}

const PUSH: &[&str] = &["-C", "one", "push", "{url}"];
const PULL: &[&str] = &["-C", "two", "pull", "{url}"];
const CLONE: &[&str] = &["clone", "{url}", "three"];
const CLONE_BARE: &[&str] = &["clone", "{url}", "three", "--bare"];

/// An operation of one replica.
fn local(name: &'static str, make: fn(&Dir), words: &'static [&'static str]) -> Case {
    Case { name, make, words, changes: "one", keeps: &[], victim: Victim::Client, large: false }
}

/// A transfer, with the client killed and with the node killed.
fn transfer(names: [&'static str; 2], make: fn(&Dir), words: &'static [&'static str], large: bool) -> [Case; 2] {
    let (changes, keeps): (_, &[_]) = match words {
        PUSH => ("hub/d", &["one"]),
        PULL => ("two", &["hub/d"]),
        _ => ("three", &["hub/d"]),
    };
    let case = |name, victim| Case { name, make, words, changes, keeps, victim, large };
    [case(names[0], Victim::Client), case(names[1], Victim::Node)]
}

/// All of them.
pub(super) fn all() -> Vec<Case> {
    let mut cases = vec![
        local("import", edited, &["-C", "one", "import", "edits.csv", "--table", "t", "-m", "edits"]),
        local(
            "import, new table",
            bulk,
            &["-C", "one", "import", "bulk.csv", "--table", "u", "--key", "id", "-m", "x"],
        ),
        local("commit files", changed_files, &["-C", "one", "commit", "-m", "files"]),
        local("merge", two_branches, &["-C", "one", "merge", "side", "-m", "merged"]),
        local("checkout", two_branches, &["-C", "one", "checkout", "side"]),
        local("rollback", two_branches, &["-C", "one", "rollback", "v1", "-m", "back"]),
        local("gc", garbage, &["-C", "one", "gc", "--keep-last", "1", "--grace", "0s"]),
    ];
    let by_path = ["clone", "one", "three"].as_slice();
    cases.push(Case { changes: "three", keeps: &["one"], ..local("clone of a path", start, by_path) });
    cases.extend(transfer(["push", "push, node killed"], ahead, PUSH, false));
    cases.extend(transfer(["first push", "first push, node killed"], alone, PUSH, false));
    cases.extend(transfer(["pull", "pull, node killed"], behind, PULL, false));
    cases.extend(transfer(["clone", "clone, node killed"], behind, CLONE, false));
    cases.extend(transfer(["large push", "large push, node killed"], large, PUSH, true));
    cases.extend(transfer(["large clone", "large clone, node killed"], large_hub, CLONE_BARE, true));
    cases
}

fn one(dir: &Dir) -> Replica {
    Replica(dir.path("one"))
}

/// A replica `one` with a table, some small files and a large one.
fn start(dir: &Dir) {
    let replica = dir.replica("one");
    replica.import(dir, &csv(0, 4_000, 0));
    for number in 0..24 {
        dir.write(&format!("one/folder-{}/file-{number}.txt", number % 5), &csv(0, 60, number));
    }
    dir.write("one/large.txt", &csv(0, 20_000, 1));
    replica.run(["commit", "-m", "files"]).ok();
}

/// Rows to change and to add.
fn edited(dir: &Dir) {
    start(dir);
    dir.write("edits.csv", &csv(3_500, 6_000, 2));
}

fn bulk(dir: &Dir) {
    start(dir);
    dir.write("bulk.csv", &csv(0, 20_000, 3));
}

/// Files changed, added and removed since the last commit.
fn changed_files(dir: &Dir) {
    start(dir);
    for number in 10..40 {
        dir.write(&format!("one/folder-{}/file-{number}.txt", number % 7), &csv(0, 80, 1_000 + number));
    }
    dir.write("one/large.txt", &csv(0, 21_000, 2));
    std::fs::remove_file(dir.path("one/folder-1/file-1.txt")).expect("it was written");
}

/// A second version of everything, on the current branch.
fn next_version(dir: &Dir) {
    dir.write("edits.csv", &csv(100, 900, 5));
    one(dir).run(["import", &dir.text("edits.csv"), "--table", "t", "-m", "more rows"]).ok();
    for number in 5..30 {
        dir.write(&format!("one/folder-{}/file-{number}.txt", number % 5), &csv(0, 70, 2_000 + number));
    }
    dir.write("one/large.txt", &csv(0, 22_000, 1));
    one(dir).run(["commit", "-m", "more files"]).ok();
}

/// `main` and `side` with changes that do not touch each other.
fn two_branches(dir: &Dir) {
    start(dir);
    let one = one(dir);
    one.run(["branch", "side"]).ok();
    one.run(["tag", "v1"]).ok();
    next_version(dir);
    one.run(["checkout", "side"]).ok();
    dir.write("edits.csv", &csv(2_000, 2_600, 6));
    one.run(["import", &dir.text("edits.csv"), "--table", "t", "-m", "their rows"]).ok();
    for number in 0..20 {
        dir.write(&format!("one/side/file-{number}.txt"), &csv(0, 70, 3_000 + number));
    }
    one.run(["commit", "-m", "their files"]).ok();
    one.run(["checkout", "main"]).ok();
}

/// Versions that nothing will keep.
fn garbage(dir: &Dir) {
    start(dir);
    for version in 0..4 {
        next_version(dir);
        dir.write("one/large.txt", &csv(0, 20_000, 10 + version));
        one(dir).run(["commit", "-m", "again"]).ok();
        dir.write("bulk.csv", &csv(0, 8_000, version));
        one(dir).run(["import", &dir.text("bulk.csv"), "--table", "u", "--key", "id", "-m", "bulk"]).ok();
    }
}

fn hub(dir: &Dir) {
    syncline(["init", "--bare", &dir.text("hub/d")]).ok();
    one(dir).run(["push", &dir.text("hub/d")]).ok();
}

/// `one` has a version that the hub does not have.
fn ahead(dir: &Dir) {
    start(dir);
    hub(dir);
    next_version(dir);
}

/// There is no dataset on the hub yet.
fn alone(dir: &Dir) {
    start(dir);
    std::fs::create_dir_all(dir.path("hub")).expect("a directory");
}

/// `two` lacks a version that the hub has.
fn behind(dir: &Dir) {
    start(dir);
    hub(dir);
    syncline(["clone", &dir.text("hub/d"), &dir.text("two")]).ok();
    next_version(dir);
    one(dir).run(["push", &dir.text("hub/d")]).ok();
}

/// 160 MiB that no codec makes smaller.
fn large(dir: &Dir) {
    let replica = dir.replica("one");
    let mut rng = Rng::from_seed(9);
    for number in 0..5 {
        let mut bytes = vec![0; 32 << 20];
        rng.fill(&mut bytes);
        std::fs::write(dir.path(&format!("one/noise-{number}")), bytes).expect("the disk has room");
    }
    replica.run(["commit", "-m", "noise"]).ok();
    for number in 0..5 {
        // The store has it; what is copied for each kill may as well be small.
        std::fs::remove_file(dir.path(&format!("one/noise-{number}"))).expect("it was written");
    }
    std::fs::create_dir_all(dir.path("hub")).expect("a directory");
}

fn large_hub(dir: &Dir) {
    large(dir);
    std::fs::create_dir_all(dir.path("hub/d")).expect("a directory");
    syncline(["init", "--bare", &dir.text("hub/d")]).ok();
    one(dir).run(["push", &dir.text("hub/d")]).ok();
    std::fs::remove_dir_all(dir.path("one")).expect("it was made");
}
