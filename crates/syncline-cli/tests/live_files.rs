//! Directories that are kept in step from outside: files that are written, renamed and removed on both sides, by processes that are
//! cut off and killed.

use std::collections::BTreeMap;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::time::Duration;

use syncline_base::rng::Rng;
use syncline_base::{Clock as _, SystemClock};

use crate::support::{Dir, Replica, Server};

/// Everything in a directory, by path: the bytes of files, the targets of links, nothing for an empty folder.
pub(crate) fn held(replica: &Replica) -> BTreeMap<String, Vec<u8>> {
    fn walk(dir: &Path, prefix: &str, held: &mut BTreeMap<String, Vec<u8>>) {
        let Ok(entries) = std::fs::read_dir(dir) else { return };
        for entry in entries.flatten() {
            let name = entry.file_name().to_string_lossy().into_owned();
            if name == ".syncline" {
                continue;
            }
            let (path, full) = (format!("{prefix}{name}"), entry.path());
            let Ok(stat) = full.symlink_metadata() else { continue };
            if stat.is_symlink() {
                let target = std::fs::read_link(&full).map(|target| target.to_string_lossy().into_owned());
                held.insert(path, format!("-> {}", target.unwrap_or_default()).into());
            } else if stat.is_dir() {
                if std::fs::read_dir(&full).is_ok_and(|mut entries| entries.next().is_none()) {
                    held.insert(format!("{path}/"), Vec::new());
                }
                walk(&full, &format!("{path}/"), held);
            } else {
                held.insert(path, std::fs::read(&full).unwrap_or_default());
            }
        }
    }
    let mut all = BTreeMap::new();
    walk(&replica.0, "", &mut all);
    all
}

pub(crate) fn write(replica: &Replica, path: &str, bytes: impl AsRef<[u8]>) {
    let full = replica.0.join(path);
    std::fs::create_dir_all(full.parent().expect("a folder")).expect("room");
    std::fs::write(full, bytes).expect("room");
}

pub(crate) fn noise(seed: u64, len: usize) -> Vec<u8> {
    let mut rng = Rng::from_seed(seed);
    (0..len.div_ceil(8)).flat_map(|_| rng.next_u64().to_le_bytes()).take(len).collect()
}

/// Waits until something is so.
#[track_caller]
pub(crate) fn until(what: &str, mut is: impl FnMut() -> bool) -> Duration {
    let begun = SystemClock.monotonic();
    while !is() {
        assert!(SystemClock.monotonic() - begun < Duration::from_secs(40), "it never came: {what}");
        SystemClock.sleep(Duration::from_millis(5));
    }
    SystemClock.monotonic() - begun
}

/// Waits until both directories hold the same, and this is so.
#[track_caller]
pub(crate) fn same(a: &Replica, b: &Replica, is: impl Fn(&BTreeMap<String, Vec<u8>>) -> bool) {
    let begun = SystemClock.monotonic();
    loop {
        let (here, there) = (held(a), held(b));
        if here == there && is(&here) {
            return;
        }
        let names =
            |all: &BTreeMap<String, Vec<u8>>| all.iter().map(|(p, b)| format!("{p} {}", b.len())).collect::<Vec<_>>();
        assert!(
            SystemClock.monotonic() - begun < Duration::from_secs(40),
            "they differ: {:#?}\n{:#?}",
            names(&here),
            names(&there)
        );
        SystemClock.sleep(Duration::from_millis(10));
    }
}

/// A hub without files of its own, and two directories beside it.
pub(crate) struct Team {
    _dir: Dir,
    hub: Option<Server>,
    data: std::path::PathBuf,
    pub url: String,
    pub a: Replica,
    pub b: Replica,
}

impl Team {
    pub(crate) fn new() -> Self {
        let dir = Dir::new();
        let data = dir.path("data");
        let hub = Server::start(&data, &[]);
        crate::support::syncline(["init", &format!("{}/team", hub.url)]).ok();
        let url = format!("{}/team", hub.url);
        let (a, b) = (dir.replica("a"), dir.replica("b"));
        Self { _dir: dir, hub: Some(hub), data, url, a, b }
    }

    pub(crate) fn sync(&self, replica: &Replica) -> Server {
        Server::syncing(replica, Some(&self.url), &[])
    }

    pub(crate) fn hub_goes(&mut self) {
        self.hub.take().expect("it runs").kill();
    }

    pub(crate) fn hub_comes(&mut self) {
        let at = self.url.trim_end_matches("/team").to_owned();
        self.hub = Some(Server::again(&self.data, &at));
    }
}

#[test]
fn files_appear_change_move_and_go_on_both_sides() {
    let team = Team::new();
    write(&team.a, "before/there.txt", "was there");
    let (_a, _b) = (team.sync(&team.a), team.sync(&team.b));
    same(&team.a, &team.b, |all| all.contains_key("before/there.txt"));
    // Short ones, long ones, and one that changes in its middle.
    write(&team.a, "short.txt", "short");
    let mut long = noise(1, 3 << 20);
    write(&team.b, "deep/er/long.bin", &long);
    same(&team.a, &team.b, |all| all.contains_key("short.txt") && all.contains_key("deep/er/long.bin"));
    long[1_000_000] ^= 1;
    write(&team.a, "deep/er/long.bin", &long);
    write(&team.b, "short.txt", noise(2, 5000));
    same(&team.a, &team.b, |all| all["deep/er/long.bin"] == long && all["short.txt"] == noise(2, 5000));
    // Kinds and bits.
    let script = team.a.0.join("run.sh");
    std::fs::write(&script, "#!/bin/sh\n").expect("room");
    std::fs::set_permissions(&script, PermissionsExt::from_mode(0o755)).expect("a bit");
    std::os::unix::fs::symlink("short.txt", team.b.0.join("link")).expect("a link");
    std::fs::create_dir(team.b.0.join("empty")).expect("a folder");
    same(&team.a, &team.b, |all| all.contains_key("run.sh") && all.contains_key("link") && all.contains_key("empty/"));
    until("the bit", || team.b.0.join("run.sh").metadata().is_ok_and(|file| file.permissions().mode() & 0o100 != 0));
    // Renames, of a file and of a folder; a file becomes a folder; removals.
    std::fs::rename(team.a.0.join("short.txt"), team.a.0.join("renamed.txt")).expect("a rename");
    std::fs::rename(team.b.0.join("deep"), team.b.0.join("moved")).expect("a rename");
    same(&team.a, &team.b, |all| {
        all.contains_key("renamed.txt")
            && !all.contains_key("short.txt")
            && all.contains_key("moved/er/long.bin")
            && !all.keys().any(|path| path.starts_with("deep"))
    });
    std::fs::remove_file(team.a.0.join("renamed.txt")).expect("a file");
    write(&team.a, "renamed.txt/inside", "now a folder");
    std::fs::remove_dir_all(team.b.0.join("moved")).expect("a folder");
    same(&team.a, &team.b, |all| {
        all.contains_key("renamed.txt/inside") && !all.keys().any(|path| path.starts_with("moved"))
    });
    assert!(!held(&team.a).keys().any(|path| path.contains("conflict")), "{:?}", held(&team.a).keys());
}

#[test]
fn what_was_changed_apart_meets_and_nothing_is_lost() {
    let mut team = Team::new();
    let (a, b) = (team.sync(&team.a), team.sync(&team.b));
    for path in ["both.txt", "edited.txt", "gone.txt", "mine.txt"] {
        write(&team.a, path, format!("first of {path}"));
    }
    same(&team.a, &team.b, |all| all.len() == 4);
    team.hub_goes();
    // One side goes on without a hub, the other one without any process.
    b.kill();
    write(&team.a, "both.txt", "of a");
    write(&team.b, "both.txt", "of b");
    write(&team.a, "edited.txt", "edited by a");
    std::fs::remove_file(team.b.0.join("edited.txt")).expect("a file");
    std::fs::remove_file(team.b.0.join("gone.txt")).expect("a file");
    write(&team.b, "new/of-b.txt", noise(3, 100_000));
    std::fs::rename(team.a.0.join("mine.txt"), team.a.0.join("mine-now.txt")).expect("a rename");
    team.hub_comes();
    let b = team.sync(&team.b);
    same(&team.a, &team.b, |all| all.keys().any(|path| path.starts_with("both.txt.conflict-")));
    same(&team.a, &team.b, |all| {
        all.contains_key("new/of-b.txt") && all.contains_key("mine-now.txt") && !all.contains_key("gone.txt")
    });
    let all = held(&team.a);
    // A file that one removed and the other one edited stays.
    assert_eq!(all["edited.txt"], b"edited by a");
    assert!(!all.contains_key("mine.txt"), "{:?}", all.keys());
    let beside = all.keys().find(|path| path.starts_with("both.txt.conflict-")).expect("one of them").clone();
    let mut both = [all["both.txt"].clone(), all[&beside].clone()];
    both.sort();
    assert_eq!(both, [b"of a".to_vec(), b"of b".to_vec()]);
    assert_eq!(all.keys().filter(|path| path.contains(".conflict-")).count(), 1, "{:?}", all.keys());
    // Whoever changes one of the two ends the conflict; the other one stays, as a file like any.
    write(&team.b, "both.txt", "of both");
    same(&team.a, &team.b, |all| all["both.txt"] == b"of both" && all.contains_key(&beside));
    std::fs::remove_file(team.a.0.join(&beside)).expect("a file");
    same(&team.a, &team.b, |all| all["both.txt"] == b"of both" && !all.contains_key(&beside));
    drop((a, b));
}

#[test]
fn directories_that_held_the_same_have_no_conflicts() {
    let team = Team::new();
    for replica in [&team.a, &team.b] {
        write(replica, "same.txt", "same");
        write(replica, "large", noise(4, 200_000));
        std::os::unix::fs::symlink("same.txt", replica.0.join("link")).expect("a link");
    }
    write(&team.a, "other.txt", "a");
    write(&team.b, "other.txt", "b");
    let (_a, _b) = (team.sync(&team.a), team.sync(&team.b));
    same(&team.a, &team.b, |all| all.keys().any(|path| path.starts_with("other.txt.conflict-")));
    assert_eq!(held(&team.a).len(), 5, "{:?}", held(&team.a).keys());
}

#[test]
fn what_is_ignored_stays_where_it_is_and_most_files_do_not_go_at_once() {
    let team = Team::new();
    write(&team.a, ".synclineignore", "*.tmp\nbuild/\n");
    for n in 0..30 {
        write(&team.a, &format!("f/{n}.txt"), format!("{n}"));
    }
    write(&team.a, "x.tmp", "mine");
    write(&team.a, "build/out", "mine");
    let (_a, b) = (team.sync(&team.a), team.sync(&team.b));
    until("all files", || held(&team.b).len() == 31);
    write(&team.b, "y.tmp", "yours");
    std::fs::remove_dir_all(team.b.0.join("f")).expect("a folder");
    write(&team.b, "after.txt", "after");
    until("a file that was written after", || team.a.0.join("after.txt").exists());
    let all = held(&team.a);
    assert!(all.contains_key("f/7.txt") && !all.contains_key("y.tmp"), "{:?}", all.keys());
    drop(b);
    let _b = Server::syncing(&team.b, Some(&team.url), &["--allow-mass-delete"]);
    until("they are gone", || !held(&team.a).keys().any(|path| path.starts_with("f/")));
    assert!(team.a.0.join("build/out").exists());
}

#[test]
fn a_version_of_the_hub_has_the_files_and_collecting_garbage_keeps_them() {
    let team = Team::new();
    for n in 0..20 {
        write(&team.a, &format!("d{}/{n}", n % 3), noise(n, 700 * n as usize));
    }
    write(&team.a, "large", noise(9, 1 << 20));
    let a = team.sync(&team.a);
    let hub = Replica(team.data.join("team"));
    until("all files are rows", || hub.json(["status"])["live"]["files"] == 21);
    let wanted = team.a.json(["commit", "-m", "files"])["root"].clone();
    until("all contents on the hub", || hub.run(["commit", "-m", "files"]).code == Some(0));
    assert_eq!(wanted, hub.root(), "the same files have the same root");
    drop(a);
    hub.run(["gc", "--grace", "0s"]).ok();
    let _b = team.sync(&team.b);
    same(&team.a, &team.b, |all| all.len() == 21);
}

#[test]
fn processes_that_are_killed_at_any_moment_lose_nothing() {
    let mut team = Team::new();
    let mut rng = Rng::from_seed(71);
    let (mut a, mut b) = (Some(team.sync(&team.a)), Some(team.sync(&team.b)));
    // Each side writes paths of its own, so that what must be there in the end is known.
    let mut model: BTreeMap<String, Vec<u8>> = BTreeMap::new();
    for round in 0..14_u64 {
        for (side, replica) in [("a", &team.a), ("b", &team.b)] {
            for _ in 0..rng.below(6) {
                let path = format!("{side}/{}/{}", rng.below(3), rng.below(8));
                if rng.below(4) == 0 && model.contains_key(&path) {
                    std::fs::remove_file(replica.0.join(&path)).expect("a file");
                    model.remove(&path);
                } else {
                    let len = if rng.below(4) == 0 { 300_000 } else { rng.below(4000) as usize };
                    let bytes = noise(rng.next_u64(), len);
                    write(replica, &path, &bytes);
                    model.insert(path, bytes);
                }
            }
        }
        SystemClock.sleep(Duration::from_millis(rng.below(120)));
        match (round + rng.below(2)) % 4 {
            0 => {
                a.take().expect("it runs").kill();
                a = Some(team.sync(&team.a));
            }
            1 => {
                b.take().expect("it runs").kill();
                b = Some(team.sync(&team.b));
            }
            2 => {
                team.hub_goes();
                SystemClock.sleep(Duration::from_millis(rng.below(80)));
                team.hub_comes();
            }
            _ => {}
        }
    }
    same(&team.a, &team.b, |all| {
        let files: BTreeMap<String, Vec<u8>> =
            all.iter().filter(|(path, _)| !path.ends_with('/')).map(|(p, b)| (p.clone(), b.clone())).collect();
        files == model
    });
    drop((a, b));
}

/// Prints how long a small file takes from one directory to the other one.
#[test]
fn a_small_file_is_there_soon() {
    let team = Team::new();
    let (_a, _b) = (team.sync(&team.a), team.sync(&team.b));
    write(&team.a, "first", "first");
    same(&team.a, &team.b, |all| all.contains_key("first"));
    let mut took: Vec<(Duration, Duration)> = Vec::new();
    for n in 0..10 {
        write(&team.a, &format!("n{n}"), format!("short {n}"));
        let short = until("a short file", || team.b.0.join(format!("n{n}")).exists());
        write(&team.b, &format!("m{n}"), noise(n, 20_000));
        let long = until("a file with chunks", || team.a.0.join(format!("m{n}")).exists());
        took.push((short, long));
    }
    took.sort();
    let chunks = {
        let mut chunks: Vec<Duration> = took.iter().map(|(_, long)| *long).collect();
        chunks.sort();
        chunks[5]
    };
    println!("a short file: {:?}, one of 20 kB: {chunks:?} (medians of 10)", took[5].0);
    assert!(took[5].0 < Duration::from_secs(5));
}
