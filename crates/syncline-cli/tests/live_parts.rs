//! Directories that are kept in step and hold a part: the files of a scope, from outside.

use std::collections::BTreeMap;
use std::time::Duration;

use serde_json::{Value, json};
use syncline_base::rng::Rng;
use syncline_base::{Clock as _, SystemClock};

use crate::live_files::{held, noise, until, write};
use crate::support::{Dir, Replica, Server};

/// A hub without files of its own, a directory beside it that holds all, and one that is to hold a part.
struct Team {
    _dir: Dir,
    hub: Option<Server>,
    data: std::path::PathBuf,
    url: String,
    full: Replica,
    part: Replica,
}

impl Team {
    fn new() -> Self {
        let dir = Dir::new();
        let data = dir.path("data");
        let hub = Server::start(&data, &[]);
        crate::support::syncline(["init", &format!("{}/team", hub.url)]).ok();
        let url = format!("{}/team", hub.url);
        let (full, part) = (dir.replica("full"), dir.replica("part"));
        Self { _dir: dir, hub: Some(hub), data, url, full, part }
    }

    fn scope(&self, name: &str, paths: &[&str]) {
        let mut words = vec!["scope", "set", name, "--on", &self.url];
        paths.iter().for_each(|path| words.extend(["--path", path]));
        crate::support::syncline(words).ok();
    }

    /// The directory that holds all.
    fn whole(&self) -> Server {
        Server::syncing(&self.full, Some(&self.url), &[])
    }

    /// The other one, with these options.
    fn partly(&self, more: &[&str]) -> Server {
        Server::syncing(&self.part, Some(&self.url), more)
    }

    fn hub_goes(&mut self) {
        self.hub.take().expect("it runs").kill();
    }

    fn hub_comes(&mut self) {
        let at = self.url.trim_end_matches("/team").to_owned();
        self.hub = Some(Server::again(&self.data, &at));
    }
}

/// The paths in a directory.
fn paths(replica: &Replica) -> Vec<String> {
    held(replica).into_keys().collect()
}

#[track_caller]
fn comes(replica: &Replica, expected: &[&str]) {
    let begun = SystemClock.monotonic();
    while paths(replica) != expected {
        let waited = SystemClock.monotonic() - begun;
        assert!(waited < Duration::from_secs(40), "{:?} and not {expected:?}", paths(replica));
        SystemClock.sleep(Duration::from_millis(10));
    }
}

/// What the status names as outside of the scope.
fn outside(replica: &Replica) -> Value {
    replica.json(["status"])["live"]["outside"].clone()
}

/// Waits until everything is taken in and nothing is under way any more.
fn settle(replica: &Replica) {
    until("all is taken in", || replica.json(["status"])["live"]["unsent"] == 0);
    SystemClock.sleep(Duration::from_millis(300));
}

#[test]
fn a_directory_has_the_files_of_its_scope_and_no_others() {
    let team = Team::new();
    team.scope("mine", &["mine/**", "top.txt"]);
    for path in ["mine/a", "mine/deep/b", "other/c", "top.txt", "not.txt"] {
        write(&team.full, path, format!("first of {path}"));
    }
    write(&team.full, "mine/long", noise(1, 300_000));
    let _full = team.whole();
    // What is there before is looked at when it is known what is inside.
    write(&team.part, "other/local", "local");
    write(&team.part, "mine/early", "early");
    let part = team.partly(&["--scope", "mine"]);
    comes(&team.part, &["mine/a", "mine/deep/b", "mine/early", "mine/long", "other/local", "top.txt"]);
    until("what is inside is there", || team.full.0.join("mine/early").exists());
    // Both ways.
    write(&team.part, "mine/deep/b", "second");
    std::fs::remove_file(team.part.0.join("top.txt")).expect("a file");
    until("a change", || held(&team.full)["mine/deep/b"] == b"second" && !team.full.0.join("top.txt").exists());
    write(&team.full, "mine/a", "second");
    write(&team.full, "other/c", "second");
    until("a change", || held(&team.part)["mine/a"] == b"second");
    // What is made outside stays, is named, and is sent nowhere, whatever becomes of it.
    write(&team.part, "more.txt", "more");
    std::fs::create_dir(team.part.0.join("empty")).expect("a folder");
    write(&team.part, "mine/after", "after");
    until("a file that was written after", || team.full.0.join("mine/after").exists());
    until("it is named", || outside(&team.part) == json!({ "count": 2, "paths": ["more.txt", "other/local"] }));
    let told = team.part.run(["status"]).ok().stdout;
    assert!(told.contains("2 files lie outside of it") && told.contains("  more.txt"), "{told}");
    assert_eq!(team.part.json(["status", "--prove"])["live"]["sync"], "proved");
    // Killed, and edited meanwhile. The scope is remembered.
    part.kill();
    assert_eq!(outside(&team.part)["count"], 2);
    write(&team.part, "more.txt", "even more");
    write(&team.part, "mine/offline", "offline");
    std::fs::remove_file(team.part.0.join("mine/after")).expect("a file");
    let part = team.partly(&[]);
    until("what was done meanwhile", || {
        team.full.0.join("mine/offline").exists() && !team.full.0.join("mine/after").exists()
    });
    settle(&team.part);
    assert_eq!(
        paths(&team.full),
        ["mine/a", "mine/deep/b", "mine/early", "mine/long", "mine/offline", "not.txt", "other/c"]
    );
    assert_eq!(held(&team.part)["more.txt"], b"even more");
    // Moved inside it is one of all; moved out it is one of none.
    std::fs::rename(team.part.0.join("more.txt"), team.part.0.join("mine/more")).expect("a rename");
    std::fs::rename(team.part.0.join("mine/offline"), team.part.0.join("away")).expect("a rename");
    until("a rename", || team.full.0.join("mine/more").exists() && !team.full.0.join("mine/offline").exists());
    until("it is named", || outside(&team.part) == json!({ "count": 2, "paths": ["away", "other/local"] }));
    // Everything again: what was outside is now inside.
    part.kill();
    let _part = team.partly(&["--no-scope"]);
    until("both hold the same", || {
        held(&team.full) == {
            let mut all = held(&team.part);
            all.remove("empty/");
            all
        } || held(&team.full) == held(&team.part)
    });
    assert_eq!(held(&team.full)["other/local"], b"local");
    assert_eq!(held(&team.full)["away"], b"offline");
    assert_eq!(outside(&team.part), Value::Null);
}

#[test]
fn what_leaves_the_scope_goes_from_the_directory_and_from_nowhere_else() {
    let mut team = Team::new();
    team.scope("mine", &["a/**", "b/**"]);
    for path in ["a/1", "a/2", "a/new", "b/1", "b/2", "b/gone", "c/1"] {
        write(&team.full, path, format!("first of {path}"));
    }
    let _full = team.whole();
    let part = team.partly(&["--scope", "mine"]);
    comes(&team.part, &["a/1", "a/2", "a/new", "b/1", "b/2", "b/gone"]);
    settle(&team.full);
    let all = held(&team.full);
    // While it runs: some leave, others come.
    write(&team.part, "c/2", "local");
    team.scope("mine", &["b/**", "c/**"]);
    comes(&team.part, &["b/1", "b/2", "b/gone", "c/1", "c/2"]);
    until("what was outside is inside now", || team.full.0.join("c/2").exists());
    team.scope("mine", &["a/**", "b/**", "c/**"]);
    comes(&team.part, &["a/1", "a/2", "a/new", "b/1", "b/2", "b/gone", "c/1", "c/2"]);
    // While the hub is away, and while nothing runs: what was changed here stays, and what it is told of itself is not lost.
    team.hub_goes();
    write(&team.part, "b/1", "changed here, and waits");
    until("it waits", || team.part.json(["status"])["live"]["unsent"] == 1);
    part.kill();
    write(&team.part, "b/2", "changed here while nothing ran");
    write(&team.part, "b/3", "made here while nothing ran");
    std::fs::remove_file(team.part.0.join("b/gone")).expect("a file");
    team.hub_comes();
    team.scope("yours", &["a/**"]);
    let part = team.partly(&["--scope", "yours"]);
    // What waited for the hub is taken in there, and goes from here then.
    comes(&team.part, &["a/1", "a/2", "a/new", "b/2", "b/3"]);
    until("what waited", || held(&team.full)["b/1"] == b"changed here, and waits");
    settle(&team.part);
    assert_eq!(outside(&team.part), json!({ "count": 2, "paths": ["b/2", "b/3"] }));
    for (path, bytes) in &all {
        let expected = if path == "b/1" { &b"changed here, and waits"[..] } else { bytes };
        assert_eq!(held(&team.full)[path], expected, "{path}");
    }
    assert!(!team.full.0.join("b/3").exists());
    // As it was before: what is kept of it is nobody's any more.
    write(&team.part, "b/2", &all["b/2"]);
    part.kill();
    let part = team.partly(&[]);
    comes(&team.part, &["a/1", "a/2", "a/new", "b/3"]);
    // Changed on both sides, and inside again: both stay.
    write(&team.full, "b/1", "changed there");
    team.scope("yours", &["a/**", "b/**"]);
    until("what left is here again", || held(&team.part).get("b/1").is_some_and(|bytes| bytes == b"changed there"));
    until("what was made here is everywhere", || team.full.0.join("b/3").exists());
    write(&team.part, "b/1", "once more");
    team.hub_goes();
    SystemClock.sleep(Duration::from_millis(200));
    write(&team.part, "b/2", "of the part");
    write(&team.full, "b/2", "of all");
    part.kill();
    team.hub_comes();
    let _part = team.partly(&[]);
    until("both are there", || {
        let all = held(&team.full);
        all == held(&team.part)
            .into_iter()
            .chain(all.clone().into_iter().filter(|(path, _)| path.starts_with("c/")))
            .collect()
            && all.keys().any(|path| path.starts_with("b/2.conflict-"))
    });
}

/// Each side writes files of its own, in two folders that come into the scope and leave it.
#[test]
fn no_file_is_lost_however_the_scope_changes_and_whoever_is_killed() {
    let mut team = Team::new();
    let seed = std::env::var("SYNCLINE_SEED").map_or(83, |text| text.parse().expect("SYNCLINE_SEED is a number"));
    let mut rng = Rng::from_seed(seed);
    let scopes: [&[&str]; 4] = [&["*/a/**"], &["*/b/**"], &["*/a/**", "*/b/**"], &["neither/**"]];
    for (nth, paths) in scopes.iter().enumerate() {
        team.scope(&format!("s{nth}"), paths);
    }
    team.scope("moving", scopes[0]);
    let (mut full, mut part) = (Some(team.whole()), Some(team.partly(&["--scope", "moving"])));
    // What each file of the one side has to be, and what the other side has written last to each of its own.
    let (mut exact, mut written) = (BTreeMap::new(), BTreeMap::new());
    let rounds = if std::env::var_os("SYNCLINE_LONG").is_some() { 200 } else { 24 };
    for _ in 0..rounds {
        for _ in 0..rng.below(6) {
            let (folder, bytes) = (["a", "b"][rng.below(2) as usize], noise(rng.next_u64(), rng.below(3000) as usize));
            let path = format!("full/{folder}/{}", rng.below(6));
            if rng.below(4) == 0 && exact.contains_key(&path) {
                std::fs::remove_file(team.full.0.join(&path)).expect("a file");
                exact.remove(&path);
            } else {
                write(&team.full, &path, &bytes);
                exact.insert(path, bytes);
            }
        }
        for _ in 0..rng.below(4) {
            let (folder, bytes) = (["a", "b"][rng.below(2) as usize], noise(rng.next_u64(), rng.below(3000) as usize));
            let path = format!("part/{folder}/{}", rng.below(6));
            write(&team.part, &path, &bytes);
            written.insert(path, bytes);
        }
        SystemClock.sleep(Duration::from_millis(rng.below(150)));
        match rng.below(5) {
            0 => {
                part.take().expect("it runs").kill();
                let scope = ["moving", "s0", "s1", "s2", "s3"][rng.below(5) as usize];
                let more = if rng.below(2) == 0 { vec!["--scope", scope] } else { Vec::new() };
                part = Some(team.partly(&more));
            }
            1 => {
                full.take().expect("it runs").kill();
                full = Some(team.whole());
            }
            2 => {
                team.hub_goes();
                SystemClock.sleep(Duration::from_millis(rng.below(100)));
                team.hub_comes();
            }
            _ => team.scope("moving", scopes[rng.below(4) as usize]),
        }
    }
    part.take().expect("it runs").kill();
    let _part = team.partly(&["--no-scope"]);
    let wrong = || {
        let (all, part) = (held(&team.full), held(&team.part));
        let lacks = |(path, bytes): &(&String, &Vec<u8>)| {
            let beside = format!("{path}.conflict-");
            !all.iter().any(|(is, held)| (is == *path || is.starts_with(&beside)) && held == *bytes)
        };
        let lost = written.iter().chain(&exact).filter(lacks).map(|(path, _)| format!("{path} is lost"));
        let of_full = all.keys().filter(|path| path.starts_with("full/") && !path.ends_with('/'));
        let back = of_full.filter(|path| !exact.contains_key(*path)).map(|path| format!("{path} is back"));
        let apart = all.keys().chain(part.keys()).filter(|path| all.get(*path) != part.get(*path));
        lost.chain(back).chain(apart.map(|path| format!("{path} differs"))).collect::<Vec<_>>()
    };
    let begun = SystemClock.monotonic();
    while !wrong().is_empty() {
        assert!(SystemClock.monotonic() - begun < Duration::from_secs(40), "{:#?}", wrong());
        SystemClock.sleep(Duration::from_millis(20));
    }
}
