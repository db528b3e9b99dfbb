//! Files that commands write: with rows in one transaction, here, at a node, and in directories that are kept in step meanwhile.

use std::os::unix::fs::PermissionsExt;

use serde_json::{Value, json};

use crate::live_files::{Team, held, noise, same, until, write};
use crate::support::{Dir, Replica, Run, Server, binary, fed};

/// Runs a command somewhere, with this on standard input.
type Way<'a> = &'a dyn Fn(&[&str], &str) -> Run;

/// A command on a node.
fn at(url: &str, words: &[&str], input: &str) -> Run {
    let mut command = binary();
    command.args(["--on", url, "--json"]).args(words);
    fed(command, input)
}

/// What a replica has of files, by a version of it.
fn files(replica: &Replica, dir: &Dir, name: &str) -> std::collections::BTreeMap<String, Vec<u8>> {
    replica.run(["commit", "-m", "files"]).ok();
    let copy = Replica(dir.path(name));
    crate::support::syncline(["clone", &replica.0.display().to_string(), &dir.text(name)]).ok();
    held(&copy)
}

#[test]
fn rows_and_files_are_written_together_or_not_at_all() {
    let dir = Dir::new();
    let hub = dir.path("hub");
    let server = Server::start(&hub, &[]);
    let url = format!("{}/d", server.url);
    crate::support::syncline(["init", &url]).ok();
    let bare = dir.text("bare");
    crate::support::syncline(["init", "--bare", &bare]).ok();
    let bare = Replica(dir.path("bare"));
    let long = dir.path("long.bin");
    std::fs::write(&long, noise(1, 3 << 20)).expect("room");
    let script = dir.path("run.sh");
    std::fs::write(&script, "#!/bin/sh\n").expect("room");
    std::fs::set_permissions(&script, PermissionsExt::from_mode(0o755)).expect("a bit");
    let of = |path: &str, local: &std::path::Path| format!("{path}={}", local.display());
    let (long, script) = (of("plans/long.bin", &long), of("run.sh", &script));
    let none = of("x", &dir.path("not-there"));
    let (copy_here, copy_there) = ("copy-here", "copy-there");
    // In a directory of its own, and at a node.
    let here = |words: &[&str], input: &str| {
        let mut command = bare.command(words);
        command.arg("--json");
        fed(command, input)
    };
    let there = |words: &[&str], input: &str| at(&url, words, input);
    let ways: [(Way<'_>, &str); 2] = [(&here, copy_here), (&there, copy_there)];
    for (run, copy) in ways {
        let report = run(
            &["put", "--table", "t", "--key", "id", "--file", &long, "--file", &script],
            "{\"id\":1,\"plan\":\"plans/long.bin\"}\n",
        )
        .ok()
        .json();
        assert_eq!((&report["rows"], &report["files"], &report["created"]), (&json!(1), &json!(2), &json!(true)));
        // A file that is not there takes the rows with it, and so does a row that does not fit the files.
        run(&["put", "--table", "t", "--file", &none], "{\"id\":2,\"plan\":\"x\"}\n").ends(3);
        run(&["put", "--table", "t", "--file", "y=/"], "{\"id\":2,\"plan\":\"x\"}\n").ends(2);
        run(&["put", "--table", "u", "--key", "id", "--file", &script.replace("run.sh=", "run.sh/x=")], "{\"id\":1}\n")
            .ends(2);
        run(&["put", "--table", "t", "--file", &long.replace("plans/", "other/")], "{\"id\":\"x\"}\n").ends(2);
        run(&["put", "--table", "t", "--file", "x=-"], "{\"id\":2}\n").ends(2);
        run(&["put", "--file", "x=-", "--file", "x=-"], "x").ends(2);
        run(&["put"], "").ends(2);
        run(&["get", "--table", "u"], "").ends(3);
        assert_eq!(run(&["get", "--table", "t"], "").ok().json()["rows"].as_array().map(Vec::len), Some(1));
        assert_eq!(run(&["put", "--file", "notes/n.txt=-"], "some notes").ok().json()["files"], 1);
        let lines = format!(
            "{{\"op\":\"set\",\"table\":\"t\",\"row\":{{\"id\":3,\"plan\":\"p\"}}}}\n\
             {{\"op\":\"set\",\"file\":\"p\",\"from\":{:?}}}\n{{\"op\":\"commit\"}}\n\
             {{\"op\":\"delete\",\"file\":\"p\"}}\n{{\"op\":\"set\",\"file\":\"q\",\"from\":{:?}}}\n\
             {{\"op\":\"set\",\"file\":\"link\",\"link\":\"q\"}}\n{{\"op\":\"set\",\"file\":\"bits\",\"base64\":\"/wA=\"}}\n\
             {{\"op\":\"commit\"}}\n",
            dir.text("long.bin"),
            dir.text("run.sh"),
        );
        let applied = run(&["apply"], &lines).ok().json();
        assert_eq!((&applied["transactions"], &applied["rows"], &applied["files"]), (&json!(2), &json!(1), &json!(5)));
        // Of one that fails nothing is there; of those before it everything is.
        let bad = format!(
            "{{\"op\":\"set\",\"file\":\"before\",\"text\":\"b\"}}\n{{\"op\":\"commit\"}}\n\
             {{\"op\":\"set\",\"table\":\"t\",\"row\":{{\"id\":9}}}}\n{{\"op\":\"set\",\"file\":\"r\",\"from\":{:?}}}\n",
            dir.text("not-there")
        );
        let told = run(&["apply"], &bad).ends(3).json();
        assert!(
            told["error"]["message"]
                .as_str()
                .is_some_and(|why| why.contains("1 transaction before it were applied, 1 file")),
            "{told}"
        );
        run(&["apply"], "{\"op\":\"set\",\"file\":\"r\",\"from\":\"x\",\"text\":\"y\"}\n").ends(2);
        run(&["get", "--table", "t", "--key", "9"], "").ends(3);
        let replica = if copy == copy_here { bare.clone() } else { Replica(hub.join("d")) };
        let all = if copy == copy_here {
            files(&replica, &dir, copy)
        } else {
            at(&url, &["commit", "-m", "files"], "").ok();
            let place = Replica(dir.path(copy));
            crate::support::syncline(["clone", &url, &dir.text(copy)]).ok();
            held(&place)
        };
        let names: Vec<&str> = all.keys().map(String::as_str).collect();
        assert_eq!(names, ["before", "bits", "link", "notes/n.txt", "plans/long.bin", "q", "run.sh"]);
        assert_eq!(
            (&all["plans/long.bin"], &all["link"][..], &all["bits"][..]),
            (&noise(1, 3 << 20), &b"-> q"[..], &[0xff, 0][..])
        );
        let mode = |name: &str| dir.path(copy).join(name).metadata().expect("a file").permissions().mode() & 0o100;
        assert_eq!((mode("run.sh"), mode("q"), mode("before")), (0o100, 0o100, 0));
    }
}

/// A file that a command writes is in the directory long before all of it is looked at again.
#[track_caller]
fn put_and_see(replica: &Replica, n: u64) {
    let path = format!("by/command-{n}");
    let words = ["put", "--file", &format!("{path}=-")];
    let (short, long) =
        (format!("short {n}"), noise(n, 4000).iter().map(|byte| char::from(byte % 26 + b'a')).collect::<String>());
    for text in [&short, &long] {
        replica.give(words, text);
        let took = until("it is in the directory", || held(replica).get(&path).is_some_and(|is| is == text.as_bytes()));
        assert!(took.as_secs() < 20, "{took:?}");
    }
    replica.give(["apply"], &format!("{{\"op\":\"delete\",\"file\":\"{path}\"}}"));
    let took = until("it is gone from the directory", || !held(replica).contains_key(&path));
    assert!(took.as_secs() < 20, "{took:?}");
}

#[test]
fn what_a_command_writes_is_in_the_directory_at_once_with_a_hub_and_without() {
    // Nobody is followed.
    let dir = Dir::new();
    let alone = dir.replica("alone");
    let server = Server::syncing(&alone, None, &[]);
    put_and_see(&alone, 1);
    drop(server);
    // With a hub, without one, and when it is back.
    let mut team = Team::new();
    let (_a, b) = (team.sync(&team.a), team.sync(&team.b));
    put_and_see(&team.a, 2);
    team.hub_goes();
    put_and_see(&team.a, 3);
    team.a.give(["put", "--file", "stays=-"], "stays");
    until("it is in the directory", || team.a.0.join("stays").exists());
    // What a user does with it there is a change like any.
    write(&team.a, "stays", "edited");
    until("it is a row", || team.a.json(["status"])["live"]["sync"].is_string() && held(&team.a)["stays"] == b"edited");
    b.kill();
    team.hub_comes();
    let _b = team.sync(&team.b);
    same(&team.a, &team.b, |all| all.len() == 1 && all["stays"] == b"edited");
}

#[test]
fn a_command_and_a_directory_that_change_one_file_apart_are_in_conflict() {
    let mut team = Team::new();
    let (_a, b) = (team.sync(&team.a), team.sync(&team.b));
    write(&team.a, "f", "first");
    same(&team.a, &team.b, |all| all.contains_key("f"));
    let read: Value = team.a.json(["status"])["live"]["position"].clone();
    b.kill();
    team.hub_goes();
    team.a.give(["put", "--file", "f=-", "--read", read.as_str().expect("a position")], "of a command");
    until("it is in the directory", || held(&team.a)["f"] == b"of a command");
    write(&team.b, "f", "of b");
    team.hub_comes();
    let _b = team.sync(&team.b);
    same(&team.a, &team.b, |all| all.len() == 2);
    assert_eq!(team.a.json(["conflicts", "list", "--files"])["open_files"], 1);
    // Who puts it having read all that is there decides.
    team.b.give(["put", "--file", "f=-"], "of both");
    same(&team.a, &team.b, |all| all.len() == 1 && all["f"] == b"of both");
}

#[test]
fn files_go_along_with_rows_that_another_replica_certifies() {
    let dir = Dir::new();
    crate::support::syncline(["init", "--bare", &dir.text("hub")]).ok();
    let hub = Replica(dir.path("hub"));
    hub.run(["table", "create", "t", "--key", "id:int64", "--column", "file:utf8", "--writers", "strict"]).ok();
    let position = hub.give(["put", "--table", "t"], r#"{"id":1,"file":"none"}"#)["position"].clone();
    let server = Server::of_one(&hub, "127.0.0.1:0", &[]);
    let edge = dir.replica("edge");
    let _edge = Server::of_one(&edge, "127.0.0.1:0", &["--upstream", &format!("{}/hub", server.url)]);
    let after = position.as_str().expect("a position");
    let read = edge.json(["get", "--table", "t", "--key", "1", "--after", after])["position"].clone();
    let read = read.as_str().expect("a position");
    let long = dir.path("long");
    std::fs::write(&long, noise(3, 500_000)).expect("room");
    let file = format!("long={}", long.display());
    let report = edge.give(["put", "--table", "t", "--read", read, "--file", &file], r#"{"id":1,"file":"long"}"#);
    assert_eq!((&report["rows"], &report["files"]), (&json!(1), &json!(1)));
    let short = "{\"op\":\"set\",\"table\":\"t\",\"row\":{\"id\":2,\"file\":\"x\"}}\n{\"op\":\"set\",\"file\":\"x\",\"base64\":\"eA==\"}\n";
    assert_eq!(edge.give(["apply"], short)["files"], 1);
    // Whose rows are refused has no file anywhere.
    let file = format!("refused={}", long.display());
    let refused = edge.command(["put", "--table", "t", "--read", read, "--file", &file]);
    fed(refused, r#"{"id":1,"file":"refused"}"#).ends(4);
    until("the content is at the hub", || hub.run(["commit", "-m", "files"]).code == Some(0));
    crate::support::syncline(["clone", &format!("{}/hub", server.url), &dir.text("copy")]).ok();
    let all = held(&Replica(dir.path("copy")));
    assert_eq!(all.keys().collect::<Vec<_>>(), ["long", "x"]);
    assert_eq!((&all["long"], &all["x"][..]), (&noise(3, 500_000), &b"x"[..]));
}
