//! Files that two directories have changed apart: shown and decided by commands, while directories are kept in step and while they are not.

use serde_json::{Value, json};

use crate::live_files::{Team, held, noise, same, until, write};
use crate::support::{Replica, Server, syncline};

/// What a command in a directory says of a file in conflict.
fn shown(replica: &Replica, path: &str) -> Value {
    replica.json(["conflicts", "show", "--file", path])
}

/// Two directories that have written different things to these files, and show that; and the nodes that keep them in step.
fn apart(paths: &[&str]) -> (Team, Server, Server) {
    let mut team = Team::new();
    let (a, b) = (team.sync(&team.a), team.sync(&team.b));
    paths.iter().for_each(|path| write(&team.a, path, "first"));
    same(&team.a, &team.b, |all| paths.iter().all(|path| all.contains_key(*path)));
    team.hub_goes();
    b.kill();
    for path in paths {
        write(&team.a, path, format!("{path} of a"));
        write(&team.b, path, noise(7, 3000));
    }
    until("the changes are rows", || team.a.json(["status"])["live"]["unsent"].as_u64().is_some_and(|n| n > 0));
    team.hub_comes();
    let b = team.sync(&team.b);
    same(&team.a, &team.b, |all| all.len() == 2 * paths.len());
    (team, a, b)
}

/// The two sides of a file: what is at its path, and what is not.
fn sides(report: &Value) -> (Value, Value) {
    let siblings = report["files"][0]["siblings"].as_array().expect("siblings");
    assert_eq!(siblings.len(), 2, "{report}");
    assert_eq!((&siblings[0]["visible"], &siblings[1]["visible"]), (&json!(true), &json!(false)));
    (siblings[0].clone(), siblings[1].clone())
}

#[test]
fn what_was_changed_apart_is_shown_and_decided_each_way() {
    let paths = ["deep/with.txt", "delete.txt", "path.txt", "take.txt"];
    let (team, a, b) = apart(&paths);
    // Everywhere the same is said, beside rows and alone.
    for replica in [&team.a, &team.b] {
        let listed = replica.json(["conflicts", "list"]);
        let files: Vec<&Value> = listed["files"].as_array().expect("files").iter().map(|file| &file["file"]).collect();
        assert_eq!(
            (&listed["open"], &listed["open_files"], files),
            (&json!(0), &json!(4), paths.iter().map(|path| json!(path)).collect::<Vec<_>>().iter().collect())
        );
        assert_eq!(replica.json(["status"])["live"]["file_conflicts"], 4);
        assert_eq!(replica.json(["conflicts"])["live"], json!({"open": 0, "waiting": 0, "files": 4}));
        let few = replica.json(["conflicts", "list", "--files", "-n", "3"]);
        assert_eq!((few["files"].as_array().map(Vec::len), &few["open_files"]), (Some(3), &json!(4)));
        let text = replica.run(["conflicts", "list", "--files"]).ok().stdout;
        assert!(text.contains("4 files are in conflict") && text.contains("path.txt.conflict-"), "{text}");
        assert!(replica.run(["status"]).ok().stdout.contains("4 files are in conflict"));
    }
    // By its transaction.
    let (_, loser) = sides(&shown(&team.a, "take.txt"));
    let take = loser["transaction"].as_str().expect("a transaction");
    let lost = held(&team.a)[loser["shown"].as_str().expect("a path")].clone();
    let report = team.a.json(["conflicts", "resolve", "--file", "take.txt", "--take", take]);
    assert_eq!((&report["files"], &report["rows"]), (&json!(1), &json!(0)));
    same(&team.a, &team.b, |all| all["take.txt"] == lost && all.len() == 7);
    // By where it is shown; at the hub.
    let (_, loser) = sides(&shown(&team.b, "path.txt"));
    let beside = loser["shown"].as_str().expect("a path");
    let lost = held(&team.b)[beside].clone();
    syncline(["--on", &team.url, "conflicts", "resolve", "--file", "path.txt", "--take", beside]).ok();
    same(&team.a, &team.b, |all| all["path.txt"] == lost && all.len() == 6);
    // By what a file of this machine holds.
    let merged = team.a.0.with_extension("merged");
    std::fs::write(&merged, noise(8, 200_000)).expect("room");
    let merged_text = merged.display().to_string();
    let read = shown(&team.b, "deep/with.txt")["position"].as_str().expect("a position").to_owned();
    let words = ["conflicts", "resolve", "--file", "deep/with.txt", "--with", &merged_text, "--read", &read];
    let text = team.b.run(words).ok().stdout;
    assert!(text.starts_with("decided 1 file in "), "{text}");
    same(&team.a, &team.b, |all| all["deep/with.txt"] == noise(8, 200_000) && all.len() == 5);
    // Gone. Nobody keeps the directory in step then.
    a.kill();
    team.a.run(["conflicts", "resolve", "--file", "delete.txt", "--delete"]).ok();
    let _a = team.sync(&team.a);
    same(&team.a, &team.b, |all| all.len() == 3 && !all.keys().any(|path| path.contains("delete")));
    assert_eq!(team.b.json(["conflicts", "list"])["open_files"], 0);
    team.a.run(["conflicts", "resolve", "--file", "take.txt", "--take", take]).ends(3);
    drop(b);
}

#[test]
fn what_nobody_saw_is_not_decided_about() {
    let (mut team, _a, b) = apart(&["f.txt"]);
    let read = shown(&team.a, "f.txt")["position"].as_str().expect("a position").to_owned();
    // Somebody else decides, and two write again.
    team.b.run(["conflicts", "resolve", "--file", "f.txt", "--delete"]).ok();
    same(&team.a, &team.b, |all| all.is_empty());
    write(&team.a, "f.txt", "again");
    same(&team.a, &team.b, |all| all.contains_key("f.txt"));
    team.hub_goes();
    b.kill();
    write(&team.a, "f.txt", "again of a");
    write(&team.b, "f.txt", "again of b");
    until("the change is a row", || team.a.json(["status"])["live"]["unsent"] == 1);
    team.hub_comes();
    let _b = team.sync(&team.b);
    same(&team.a, &team.b, |all| all.len() == 2);
    let before = held(&team.a);
    for decision in [&["--delete"][..], &["--with", "-"], &["--take", "f.txt"]] {
        let words = ["conflicts", "resolve", "--file", "f.txt", "--read", &read];
        let refused = team.a.run(words.iter().chain(decision)).ends(4);
        assert!(refused.stderr.contains("came after the position"), "{}", refused.stderr);
    }
    assert_eq!(held(&team.a), before);
    assert_eq!(team.b.json(["conflicts", "list"])["open_files"], 1);
    // What is named wrongly is refused before anything is.
    for words in [
        &["show"][..],
        &["show", "--table", "t"],
        &["show", "--table", "t", "--key", "1", "--file", "f.txt"],
        &["resolve", "--file", "f.txt"],
        &["resolve", "--file", "f.txt", "--delete", "--with", "-"],
        &["resolve", "--file", "f.txt", "--row", "{}"],
        &["resolve", "--table", "t", "--key", "1", "--with", "x"],
        &["list", "--files", "--table", "t"],
    ] {
        team.a.run(["conflicts"].iter().chain(words)).ends(2);
    }
    team.a.run(["conflicts", "resolve", "--file", "f.txt", "--with", "/no/such/file"]).ends(3);
    team.a.run(["conflicts", "show", "--file", "other"]).ends(3);
}

#[test]
fn what_a_command_decides_is_in_the_directory_at_once_while_the_hub_is_away() {
    let (mut team, _a, _b) = apart(&["f.txt"]);
    team.hub_goes();
    let (_, loser) = sides(&shown(&team.a, "f.txt"));
    let beside = loser["shown"].as_str().expect("a path").to_owned();
    let lost = held(&team.a)[&beside].clone();
    team.a.run(["conflicts", "resolve", "--file", "f.txt", "--take", &beside]).ok();
    // The whole directory is looked at once a minute only.
    let took = until("it is in the directory", || held(&team.a).get("f.txt") == Some(&lost));
    assert!(took.as_secs() < 20, "{took:?}");
    until("nothing is beside it", || held(&team.a).len() == 1);
    assert_eq!(held(&team.b).len(), 2);
    team.hub_comes();
    same(&team.a, &team.b, |all| all.len() == 1 && all["f.txt"] == lost);
}
