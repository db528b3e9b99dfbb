//! Clone, push, pull and sync: with a node, and between directories.

use serde_json::json;

use crate::support::{Dir, Replica, Run, Server, csv, syncline};

fn clone(dir: &Dir, url: &str, name: &str) -> Replica {
    syncline(["clone", url, dir.text(name).as_str()]).ok();
    Replica(dir.path(name))
}

#[test]
fn three_replicas_around_a_hub() {
    let dir = Dir::new();
    let one = dir.replica("one");
    one.import(&dir, &csv(0, 5_000, 1));
    dir.write("one/notes.md", "hello");
    one.json(["commit", "-m", "files"]);
    let server = Server::start(&dir.path("hub"), &[]);
    let url = format!("{}/d", server.url);
    let pushed = one.json(["push", &url]);
    assert_eq!(pushed["in_sync"], true);
    for member in ["bytes_sent", "bytes_received", "round_trips"] {
        assert!(pushed[member].as_u64().expect("a number") > 0, "{member}: {pushed}");
    }
    assert!(pushed["seconds"].as_f64().is_some());

    let two = clone(&dir, &url, "two");
    assert_eq!(two.root(), one.root());
    assert_eq!(dir.read("two/notes.md"), "hello");
    // A small change travels as a small message.
    two.import(&dir, "id,price\n77,1.5\n");
    let sent = two.json(["sync"])["bytes_sent"].as_u64().expect("a number");
    assert!(sent < 20_000, "{sent} bytes for one row");
    let pulled = one.json(["pull"]);
    assert_eq!((&pulled["merged"], &pulled["in_sync"]), (&json!("fast-forward"), &json!(true)));
    assert_eq!(two.root(), one.root());
    let there = syncline(["root", "--on", &url]).ok().stdout;
    assert_eq!(there.trim(), one.root());
    // What is not there leaves nothing that the next try stumbles over.
    let three = dir.text("three");
    syncline(["clone", &format!("{}/misspelt", server.url), &three]).ends(3);
    assert!(!dir.path("three").exists());
    syncline(["clone", &url, &three]).ok();
}

#[test]
fn verbs_run_on_a_node() {
    let dir = Dir::new();
    let server = Server::start(&dir.path("hub"), &[]);
    let url = format!("{}/d", server.url);
    let on = |words: &[&str]| syncline([&["--on", &url, "--json"], words].concat()).ok().json();
    syncline(["init", &url]).ok();
    let file = dir.write("input.csv", &csv(0, 100, 1));
    assert_eq!(on(&["import", &file, "--table", "t", "--key", "id", "-m", "x"])["inserted"], 100);
    on(&["tag", "v1"]);
    on(&["import", &file, "--table", "t", "--mode", "delete", "-m", "all", "--allow-mass-delete"]);
    assert_eq!(on(&["diff", "v1", "main"])["trees"][0]["deleted"], 100);
    on(&["rollback", "v1"]);
    assert_eq!(on(&["status"])["tables"], json!([["t", 100]]));
    assert_eq!(on(&["log"])["commits"].as_array().expect("commits").len(), 3);
    assert_eq!(on(&["verify", "--deep"])["sound"], true);
    assert_eq!(on(&["history", "--table", "t", "--key", "7"])["events"].as_array().expect("events").len(), 3);
    let out = dir.text("out.csv");
    on(&["export", "--table", "t", "-o", &out]);
    assert_eq!(dir.read("out.csv").lines().count(), 101);
    assert_eq!(on(&["undo"])["undid"], "rollback");
    assert_eq!(on(&["status"])["tables"], json!([["t", 0]]));
    // What needs a directory of one's own says so.
    let out = dir.text("x");
    for words in
        [&["checkout", "v1"][..], &["fetch", "*"], &["pull"], &["push"], &["sync"], &["clone", &url, &out], &["up"]]
    {
        let run = syncline([&["--on", &url], words].concat()).ends(2);
        assert!(run.stderr.contains(words[0]) && run.stderr.contains(&url), "{}", run.stderr);
        assert!(run.stderr.contains("clone the dataset") || ["clone", "up"].contains(&words[0]), "{}", run.stderr);
    }
    // A dataset that is not there is named, with those that are.
    let run = syncline(["root", "--on", &format!("{}/other", server.url)]).ends(3);
    assert!(run.stderr.contains("other") && run.stderr.contains('d'), "{}", run.stderr);
}

#[test]
fn a_commit_on_a_node_is_by_who_asked_for_it() {
    let dir = Dir::new();
    let server = Server::start(&dir.path("hub"), &[]);
    let url = format!("{}/d", server.url);
    let on = |words: &[&str]| syncline([&["--on", &url, "--json", "--author", "ann"], words].concat()).ok().json();
    let by = || on(&["show"])["author"].as_str().expect("an author").to_owned();
    let import = |from, mode: &str| {
        let file = dir.write("input.csv", &csv(from, from + 10, 1));
        on(&["import", &file, "--table", "t", "--key", "id", "--mode", mode, "-m", "x"]);
        assert_eq!(by(), "ann", "{mode}");
    };
    syncline(["init", &url]).ok();
    import(0, "upsert");
    let one = clone(&dir, &url, "one");
    one.run(["branch", "side"]).ok();
    one.run(["checkout", "side"]).ok();
    one.import(&dir, &csv(100, 110, 1));
    one.json(["push"]);
    import(10, "upsert");
    import(10, "delete");
    on(&["rollback", "HEAD~1"]);
    assert_eq!(by(), "ann", "a rollback");
    on(&["alter", "--table", "t", "--add", "more:int32", "-m", "x"]);
    assert_eq!(by(), "ann", "an alter");
    assert_eq!(on(&["merge", "side"])["outcome"], "merged");
    assert_eq!(by(), "ann", "a merge");
}

#[test]
fn a_node_takes_several_sources_at_once() {
    let dir = Dir::new();
    let server = Server::start(&dir.path("hub"), &[]);
    let url = format!("{}/d", server.url);
    syncline(["init", &url]).ok();
    let one = dir.write("one.csv", "id,name,price\n3,plum,1.25\n1,apple,0.5\n");
    let two = dir.write("two.ndjson", "{\"id\":2,\"name\":\"pear\",\"price\":0.75}\n");
    let more = dir.write("more.csv", "id,name,price\n4,fig,x\n");
    let words = ["import", &one, &two, &more, "--table", "t", "--key", "id", "-m", "x"];
    let report = syncline([&["--on", &url, "--json", "--author", "ann"], &words[..]].concat()).ok().json();
    assert_eq!(report["inserted"], 4);
    let here = dir.replica("here");
    here.json(words);
    assert_eq!(syncline(["root", "--on", &url]).ok().stdout.trim(), here.root(), "as if they were imported here");
    assert_eq!(syncline(["log", "--on", &url, "--json"]).ok().json()["commits"][0]["author"], "ann");

    // A bad row of one of them is named, and none of them is imported.
    let bad = dir.write("bad.csv", "id,name,price\n5,kiwi,1\nx,y,2\n");
    let run = syncline(["--on", &url, "import", &one, &bad, "--table", "t", "-m", "x"]).ends(2);
    assert!(run.stderr.contains(&format!("{bad}:3: column `id`")), "{}", run.stderr);
    assert_eq!(syncline(["root", "--on", &url]).ok().stdout.trim(), here.root());
    let empty = dir.write("empty.csv", "");
    let run = syncline(["--on", &url, "import", &empty, "--table", "t", "-m", "x"]).ends(2);
    assert!(run.stderr.contains("empty.csv: is empty"), "{}", run.stderr);

    // Standard input has no size, so it comes last.
    let run = syncline(["--on", &url, "import", "-", &one, "--table", "t", "-m", "x"]).ends(2);
    assert!(run.stderr.contains("name it last"), "{}", run.stderr);
    let mut command = crate::support::binary();
    command.args(["--on", &url, "--json", "import", &one, "-", "--format", "csv", "--table", "t", "-m", "x"]);
    command.stdin(std::fs::File::open(&more).expect("the file"));
    assert_eq!(Run::of(command).ok().json()["unchanged"], 3);
}

#[test]
fn directories_need_no_server() {
    let dir = Dir::new();
    let one = dir.replica("one");
    one.import(&dir, &csv(0, 2_000, 1));
    let two = clone(&dir, &dir.text("one"), "two");
    assert_eq!(two.root(), one.root());
    one.import(&dir, &csv(2_000, 2_100, 1));
    two.import(&dir, &csv(3_000, 3_100, 1));
    let report = two.json(["sync"]);
    assert_eq!((&report["merged"], &report["in_sync"]), (&json!("merged"), &json!(true)));
    assert_eq!(two.root(), one.root());
}

#[test]
fn a_push_onto_a_moved_branch_loses_nothing() {
    let dir = Dir::new();
    let one = dir.replica("one");
    one.import(&dir, &csv(0, 500, 1));
    let server = Server::start(&dir.path("hub"), &[]);
    let url = format!("{}/d", server.url);
    one.json(["push", &url]);
    let two = clone(&dir, &url, "two");
    one.import(&dir, &csv(500, 510, 1));
    two.import(&dir, &csv(600, 610, 1));
    one.json(["push", &url]);
    let run = two.run(["push"]).ends(4);
    assert!(run.stderr.contains("syncline sync"), "{}", run.stderr);
    two.json(["sync"]);
    one.json(["pull", &url]);
    assert_eq!(one.root(), two.root());
    assert_eq!(one.table().lines().count(), 521);
}

#[test]
fn a_conflict_of_a_sync_is_exit_code_four() {
    let dir = Dir::new();
    let one = dir.replica("one");
    one.import(&dir, &csv(0, 50, 1));
    let two = clone(&dir, &dir.text("one"), "two");
    one.import(&dir, "id,price\n7,1.5\n");
    two.import(&dir, "id,price\n7,2.5\n");
    two.run(["sync"]).ends(4);
    assert_eq!(two.json(["conflicts"])["open"], 1);
    two.json(["resolve", "--ours"]);
    two.json(["commit", "-m", "merged"]);
    assert_eq!(two.json(["sync"])["in_sync"], true);
    assert_eq!(one.root(), two.root());
}

#[test]
fn a_part_can_be_cloned() {
    let dir = Dir::new();
    let one = dir.replica("one");
    one.import(&dir, &csv(0, 2_000, 1));
    let file = dir.write("other.csv", &csv(0, 3_000, 2));
    one.json(["import", &file, "--table", "other", "--key", "id", "-m", "other"]);
    syncline(["clone", dir.text("one").as_str(), dir.text("part").as_str(), "--table", "t", "--bare"]).ok();
    let part = Replica(dir.path("part"));
    assert_eq!(part.table(), one.table());
    assert_eq!(part.root(), one.root(), "a part knows the root of the whole");
}

#[test]
fn files_can_be_left_out_and_fetched() {
    let dir = Dir::new();
    let one = dir.replica("one");
    one.import(&dir, &csv(0, 100, 1));
    dir.write("one/images/a.txt", &"picture ".repeat(5_000));
    dir.write("one/docs/b.txt", &"document ".repeat(5_000));
    one.json(["commit", "-m", "files"]);
    let server = Server::start(&dir.path("hub"), &[]);
    let url = format!("{}/d", server.url);
    one.json(["push", &url]);
    syncline(["clone", &url, &dir.text("part"), "--path", "images/**"]).ok();
    let part = Replica(dir.path("part"));
    assert_eq!(part.root(), one.root());
    assert!(dir.path("part/images/a.txt").exists() && !dir.path("part/docs").exists());
    assert_eq!(part.json(["status"])["scope"]["paths"], json!(["images/**"]));
    assert_eq!(part.json(["verify"])["absent"], 1);
    assert_eq!(part.json(["fetch", "docs/*"])["files"], 1);
    assert_eq!(dir.read("part/docs/b.txt"), dir.read("one/docs/b.txt"));
    dir.write("part/images/a.txt", &"edited ".repeat(5_000));
    part.json(["commit", "-m", "edit"]);
    part.json(["push"]);
    one.json(["pull"]);
    assert_eq!(dir.read("one/images/a.txt"), dir.read("part/images/a.txt"));
    // Without the node nothing can be fetched, and the message says from where.
    syncline(["clone", &url, &dir.text("lazy"), "--lazy"]).ok();
    drop(server);
    let run = Replica(dir.path("lazy")).run(["fetch", "images/**"]).ends(6);
    assert!(run.stderr.contains(&url), "{}", run.stderr);
    one.run(["fetch", "images/**"]).ends(2);
}

#[test]
fn https_trusts_whom_the_system_trusts() {
    let dir = Dir::new();
    let pair = rcgen::generate_simple_self_signed(vec!["localhost".into()]).expect("a certificate");
    let certificate = dir.write("node.pem", &pair.cert.pem());
    let key = dir.write("node.key", &pair.signing_key.serialize_pem());
    let server = Server::start(&dir.path("hub"), &["--tls-cert", &certificate, "--tls-key", &key]);
    let port = server.url.rsplit(':').next().expect("a port");
    let url = format!("https://localhost:{port}/d");
    let one = dir.replica("one");
    one.import(&dir, &csv(0, 100, 1));
    let mut trusting = one.command(["push", &url]);
    trusting.env("SSL_CERT_FILE", &certificate);
    Run::of(trusting).ok();
    let run = one.run(["push", &url]).ends(5);
    assert!(run.stderr.contains("UnknownIssuer") && run.stderr.contains("--ca"), "{}", run.stderr);
    one.run(["--ca", &certificate, "push", &url]).ok();
}

#[cfg(unix)]
#[test]
fn a_node_stops_when_it_is_asked_to() {
    let dir = Dir::new();
    // Often, as it used to die of a signal that came right after it had said where it listens.
    for _ in 0..20 {
        let server = Server::start(&dir.path("hub"), &[]);
        let pid = server.pid().to_string();
        let asked = std::process::Command::new("kill").args(["-TERM", &pid]).status().expect("kill runs");
        assert!(asked.success());
        assert_eq!(server.wait(), Some(0));
    }
}

#[test]
fn a_path_is_the_replica_there_and_none_around_it() {
    let dir = Dir::new();
    let one = dir.replica("one");
    one.import(&dir, &csv(0, 10, 1));
    std::fs::create_dir(dir.path("one/sub")).expect("it can be made");
    // Below it, and beside it by way of `..`.
    for path in [dir.text("one/backup"), dir.text("one/sub"), dir.text("one/../backup")] {
        for verb in [&["push"][..], &["pull"], &["sync"], &["repair", "--from"]] {
            let run = one.run([verb, &[path.as_str()]].concat()).ends(3);
            assert!(run.stderr.contains("replica at"), "{verb:?} {path}: {}", run.stderr);
        }
        syncline(["root", "--on", &path]).ends(3);
        syncline(["clone", &path, &dir.text("copy")]).ends(3);
        assert!(!dir.path("copy").exists());
    }
    // Only the directory that one works in may lie inside.
    assert_eq!(syncline(["-C", &dir.text("one/sub"), "root"]).ok().stdout.trim(), one.root());
    syncline(["-C", &dir.text("one/../nothing"), "root"]).ends(3);
    // Nor is it its own peer.
    let run = one.run(["push", &dir.text("one/sub/..")]).ends(2);
    assert!(run.stderr.contains("this very replica"), "{}", run.stderr);
    assert_eq!(one.json(["status"])["peers"], json!([]));
}

#[cfg(unix)]
#[test]
fn an_export_replaces_a_file_and_nothing_else() {
    use std::os::unix::fs::{FileTypeExt as _, PermissionsExt as _, symlink};
    let dir = Dir::new();
    let one = dir.replica("one");
    one.import(&dir, &csv(0, 10, 1));
    let server = Server::start(&dir.path("hub"), &[]);
    let url = format!("{}/d", server.url);
    one.json(["push", &url]);
    let here = one.0.display().to_string();
    for (at, words) in [["-C", &here], ["--on", &url]].into_iter().enumerate() {
        let export = |to: &str| {
            syncline(words.into_iter().chain(["export", "--table", "t", "--format", "csv", "-o", to])).ok();
        };
        let private = dir.write(&format!("private-{at}.csv"), "old");
        std::fs::set_permissions(&private, std::fs::Permissions::from_mode(0o600)).expect("it is ours");
        let link = dir.path(&format!("link-{at}.csv"));
        symlink(&private, &link).expect("links can be made");
        export(link.to_str().expect("it is text"));
        assert!(link.is_symlink());
        assert_eq!(std::fs::read_to_string(&private).expect("it is there").lines().count(), 11);
        assert_eq!(std::fs::metadata(&private).expect("it is there").permissions().mode() & 0o777, 0o600);
        let pipe = dir.path(&format!("pipe-{at}"));
        assert!(std::process::Command::new("mkfifo").arg(&pipe).status().expect("it is installed").success());
        let mut cat = std::process::Command::new("cat");
        let mut reader = cat.arg(&pipe).stdout(std::process::Stdio::piped()).spawn().expect("it is installed");
        export(pipe.to_str().expect("it is text"));
        let stays = std::fs::metadata(&pipe).expect("it is there").file_type().is_fifo();
        if !stays {
            // It would wait for ever.
            reader.kill().expect("it waits");
        }
        let read = reader.wait_with_output().expect("it was started").stdout;
        assert!(stays, "{words:?}");
        assert_eq!(read.iter().filter(|byte| **byte == b'\n').count(), 11);
    }
}
