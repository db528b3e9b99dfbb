//! What goes wrong says what was tried and what to do, and its exit code says its kind.

use crate::support::{Dir, Run, Server, csv, syncline};

#[test]
fn invalid_is_two() {
    let dir = Dir::new();
    syncline(["no-such-verb"]).ends(2);
    let run = syncline(["--json", "import"]).ends(2);
    assert_eq!(run.json()["error"]["kind"], "invalid");

    let replica = dir.replica("a");
    let bad = dir.write("bad.csv", "id,price\n1,2.5\n2,many\n");
    let good = dir.write("good.csv", "id,price\n1,2.5\n");
    replica.run(["import", &good, "--table", "t", "--key", "id", "-m", "x"]).ok();
    let run = replica.run(["import", &bad, "--table", "t", "-m", "x"]).ends(2);
    // The bad row is named by file and line.
    assert!(run.stderr.contains("bad.csv:3"), "{}", run.stderr);
    assert!(run.stderr.starts_with("error: ") && run.stderr.contains("--reject"), "{}", run.stderr);
    assert_eq!(run.stdout, "");
    // --reject goes on without it.
    let reject = dir.text("rejected.ndjson");
    let report = replica.json(["import", &bad, "--table", "t", "-m", "x", "--reject", &reject]);
    assert_eq!(report["read"]["rejected"], 1);
    assert!(dir.read("rejected.ndjson").contains("many"));
    // A source is not written over.
    replica.run(["import", &bad, "--table", "t", "-m", "x", "--reject", &bad]).ends(2);
    assert!(dir.read("bad.csv").starts_with("id,price"));
}

#[cfg(target_os = "linux")]
#[test]
fn a_fault_that_nobody_can_read_has_its_exit_code() {
    use std::process::Stdio;
    let full = || Stdio::from(std::fs::File::options().write(true).open("/dev/full").expect("Linux has it"));
    let end = |words: &[&str]| {
        let mut command = crate::support::binary();
        command.args(words).stdout(full()).stderr(full()).status().expect("it runs").code()
    };
    assert_eq!(end(&["-C", "/nowhere", "root", "--json"]), Some(3));
    assert_eq!(end(&["-C", "/nowhere", "root"]), Some(3));
}

#[test]
fn not_found_is_three() {
    let dir = Dir::new();
    let run = syncline(["-C", dir.text("nowhere").as_str(), "status"]).ends(3);
    assert!(run.stderr.contains("syncline init"), "it says what to do: {}", run.stderr);
    let replica = dir.replica("a");
    replica.run(["root"]).ends(3);
    replica.import(&dir, &csv(0, 5, 1));
    let mut command = replica.command(["show", "no-such-branch"]);
    command.arg("--json");
    let error = Run::of(command).ends(3).json()["error"].clone();
    assert_eq!((&error["kind"], &error["exit"], &error["verb"]), (&"not-found".into(), &3.into(), &"show".into()));
    replica.run(["export", "--table", "other", "-o", "-", "--format", "csv"]).ends(3);
}

#[test]
fn conflict_is_four() {
    let dir = Dir::new();
    dir.replica("a");
    syncline(["init", dir.text("a").as_str()]).ends(4);
}

#[test]
fn denied_is_five() {
    let dir = Dir::new();
    let replica = dir.replica("a");
    replica.import(&dir, &csv(0, 100, 1));
    let few = dir.write("few.csv", &csv(0, 10, 1));
    let run = replica.run(["import", &few, "--table", "t", "--mode", "replace", "-m", "x"]).ends(5);
    assert!(run.stderr.contains("--allow-mass-delete"), "{}", run.stderr);
    replica.run(["import", &few, "--table", "t", "--mode", "replace", "-m", "x", "--allow-mass-delete"]).ok();

    // A node that asks for a token.
    let token = "a-token-that-is-long-enough";
    let server = Server::start(&dir.path("hub"), &["--token", token]);
    let url = format!("{}/d", server.url);
    replica.run(["push", &url]).ends(5);
    replica.run(["push", &url, "--token", "a-token-that-is-not-the-right-one"]).ends(5);
    replica.run(["push", &url, "--token", token]).ok();
}

#[test]
fn unavailable_is_six() {
    let dir = Dir::new();
    let replica = dir.replica("a");
    replica.import(&dir, &csv(0, 5, 1));
    // Port 1 is reserved; nothing of ours listens there.
    let run = replica.run(["push", "http://127.0.0.1:1/d"]).ends(6);
    assert!(run.stderr.contains("127.0.0.1:1"), "{}", run.stderr);
}

#[test]
fn corrupt_is_seven_and_repair_mends_it() {
    let dir = Dir::new();
    let replica = dir.replica("a");
    replica.import(&dir, &csv(0, 4_000, 1));
    syncline(["clone", dir.text("a").as_str(), dir.text("b").as_str()]).ok();
    // One bit in the middle of the largest file of the store.
    let store = dir.path("a/.syncline/store");
    let largest = largest_file(&store).expect("a store has files");
    let mut bytes = std::fs::read(&largest).expect("a file");
    let middle = bytes.len() / 2;
    bytes[middle] ^= 0x10;
    std::fs::write(&largest, bytes).expect("a file");

    let report = {
        let mut command = replica.command(["verify", "--deep"]);
        command.arg("--json");
        Run::of(command).ends(7).json()
    };
    assert_eq!(report["sound"], false);
    assert!(!report["damage"].as_array().expect("damage").is_empty(), "{report}");
    let report = replica.json(["repair", "--from", &dir.text("b")]);
    assert_eq!(report["left"]["sound"], true, "{report}");
    assert_eq!(replica.json(["verify", "--deep"])["sound"], true);
}

#[test]
fn a_repair_without_another_replica_says_what_remains() {
    let dir = Dir::new();
    let replica = dir.replica("a");
    replica.import(&dir, &csv(0, 4_000, 1));
    assert_eq!(replica.json(["repair"])["left"]["sound"], true, "nothing is wrong");
    let largest = largest_file(&dir.path("a/.syncline/store")).expect("a store has files");
    let mut bytes = std::fs::read(&largest).expect("a file");
    let middle = bytes.len() / 2;
    bytes[middle] ^= 0x10;
    std::fs::write(&largest, bytes).expect("a file");
    let run = replica.run(["repair"]).ends(7);
    assert!(run.stdout.contains("--from"), "{}", run.stdout);
}

/// One bit in the middle of the largest file of a store.
fn damage(store: &std::path::Path) {
    let largest = largest_file(store).expect("a store has files");
    let mut bytes = std::fs::read(&largest).expect("a file");
    let middle = bytes.len() / 2;
    bytes[middle] ^= 0x10;
    std::fs::write(&largest, bytes).expect("a file");
}

#[test]
fn a_node_is_repaired_with_what_the_command_brings() {
    let dir = Dir::new();
    let replica = dir.replica("a");
    replica.import(&dir, &csv(0, 4_000, 1));
    let (server, other) = (Server::start(&dir.path("hub"), &[]), Server::start(&dir.path("other"), &[]));
    let (url, copy) = (format!("{}/d", server.url), format!("{}/copy", other.url));
    replica.json(["push", &url]);
    replica.json(["push", &copy]);
    drop(server);
    for from in [dir.text("a"), copy] {
        damage(&dir.path("hub/d"));
        let server = Server::start(&dir.path("hub"), &[]);
        let url = format!("{}/d", server.url);
        let on = |words: &[&str]| syncline([&["--on", &url, "--json"], words].concat());
        assert_eq!(on(&["repair"]).ends(7).json()["left"]["sound"], false, "nobody has what is lost");
        assert_eq!(on(&["repair", "--from", "http://127.0.0.1:1/d"]).ends(6).json()["error"]["kind"], "unavailable");
        let report = on(&["repair", "--from", &from]).ok().json();
        assert_eq!((&report["left"]["sound"], report["repaired"].as_u64() > Some(0)), (&true.into(), true), "{report}");
        assert_eq!(on(&["verify", "--deep"]).ok().json()["sound"], true);
        let again = on(&["repair"]).ok().json();
        assert_eq!((&again["left"]["sound"], &again["repaired"]), (&true.into(), &0.into()));
    }
}

#[test]
fn a_lost_history_is_told_and_a_node_gets_all_of_it_back() {
    let dir = Dir::new();
    let replica = dir.replica("a");
    for version in 0..30 {
        replica.import(&dir, &csv(version, version + 1, 1));
    }
    let server = Server::start(&dir.path("hub"), &[]);
    replica.json(["push", &format!("{}/d", server.url)]);
    drop(server);
    for entry in ["packs", "journal"] {
        let Ok(files) = std::fs::read_dir(dir.path("hub/d/store").join(entry)) else { continue };
        files.for_each(|file| std::fs::remove_file(file.expect("an entry").path()).expect("a file"));
    }
    let server = Server::start(&dir.path("hub"), &[]);
    let url = format!("{}/d", server.url);
    let on = |words: &[&str]| syncline([&["--on", &url], words].concat());
    on(&["verify"]).ends(7);
    let run = on(&["log"]).ends(7);
    assert!(run.stderr.contains("syncline repair --from"), "{}", run.stderr);
    let run = syncline(["clone", &url, &dir.text("none")]).ends(7);
    assert!(run.stderr.contains("syncline verify"), "{}", run.stderr);
    let report = on(&["repair", "--from", &dir.text("a"), "--json"]).ok().json();
    assert_eq!(report["left"]["versions"], 30, "{report}");
    assert_eq!(on(&["log", "--json"]).ok().json()["commits"].as_array().expect("commits").len(), 30);
    syncline(["clone", &url, &dir.text("whole")]).ok();
}

#[test]
fn a_lost_head_is_made_again_here_and_on_a_node() {
    let dir = Dir::new();
    let replica = dir.replica("a");
    replica.import(&dir, &csv(0, 400, 1));
    replica.json(["tag", "v1"]);
    let (server, other) = (Server::start(&dir.path("hub"), &[]), Server::start(&dir.path("other"), &[]));
    let copy = format!("{}/copy", other.url);
    replica.json(["push", "--tags", &format!("{}/d", server.url)]);
    replica.json(["push", "--tags", &copy]);
    drop(server);
    for from in [dir.text("a"), copy.clone()] {
        std::fs::remove_file(dir.path("hub/d/store/head")).expect("it is there");
        let server = Server::start(&dir.path("hub"), &[]);
        let on = |words: &[&str]| syncline([&["--on", &format!("{}/d", server.url), "--json"], words].concat());
        for verb in ["verify", "gc", "log", "root", "repair"] {
            on(&[verb]).ends(7);
        }
        let report = on(&["repair", "--from", &from]).ok().json();
        assert_eq!((&report["left"]["sound"], &report["left"]["versions"]), (&true.into(), &1.into()), "{report}");
        assert_eq!(report["named"], 2, "{report}");
        assert_eq!(on(&["root"]).ok().json()["root"], replica.root());
    }
    std::fs::write(dir.path("a/.syncline/store/head"), "oops").expect("a file");
    let run = replica.run(["status"]).ends(7);
    assert!(run.stderr.contains("syncline repair --from"), "{}", run.stderr);
    replica.run(["repair"]).ends(7);
    let run = replica.run(["repair", "--from", &copy]).ok();
    assert!(run.stdout.contains("took 2 branches and tags"), "{}", run.stdout);
    assert_eq!(replica.json(["status"])["staged"].as_array().map(Vec::len), Some(0));
}

fn largest_file(dir: &std::path::Path) -> Option<std::path::PathBuf> {
    let mut found: Option<(u64, std::path::PathBuf)> = None;
    let mut open = vec![dir.to_owned()];
    while let Some(dir) = open.pop() {
        for entry in dir.read_dir().expect("a directory") {
            let entry = entry.expect("an entry");
            let meta = entry.metadata().expect("its size");
            if meta.is_dir() {
                open.push(entry.path());
            } else if found.as_ref().is_none_or(|(size, _)| meta.len() > *size) {
                found = Some((meta.len(), entry.path()));
            }
        }
    }
    found.map(|(_, path)| path)
}

#[test]
fn a_node_off_loopback_needs_protection() {
    let dir = Dir::new();
    let run = syncline(["up", "--listen", "0.0.0.0:0", "--data", dir.text("hub").as_str()]).ends(2);
    assert!(run.stderr.contains("--tls-cert") && run.stderr.contains("--token"), "{}", run.stderr);
}

#[test]
fn a_reader_that_has_seen_enough_is_no_fault() {
    let dir = Dir::new();
    let replica = dir.replica("a");
    replica.import(&dir, &csv(0, 5, 1));
    let mut command = replica.command(["log"]);
    let (reader, writer) = std::io::pipe().expect("a pipe");
    drop(reader);
    command.stdout(writer).stderr(std::process::Stdio::piped());
    let output = command.spawn().expect("it starts").wait_with_output().expect("it ends");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}
