//! Nodes that are treated badly: killed at work, and held by connections that say nothing.

use std::io::Write as _;
use std::net::TcpStream;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use syncline_base::{Clock as _, SystemClock};

use crate::support::{Dir, Server, binary, csv, syncline};

/// How many files the nodes of this directory have for requests, their locks aside; `None` when there is not one such node.
fn uploads(data: &Path) -> Option<usize> {
    let entries = std::fs::read_dir(data).expect("the data").map(|entry| entry.expect("an entry"));
    let scratch: Vec<_> = entries.filter(|entry| entry.file_name().to_string_lossy().starts_with(".scratch")).collect();
    match &scratch[..] {
        [one] => Some(std::fs::read_dir(one.path()).expect("its files").count() - 1),
        _ => None,
    }
}

#[test]
fn a_node_that_was_killed_leaves_no_upload_for_ever() {
    let dir = Dir::new();
    let hub = dir.path("hub");
    let server = Server::start(&hub, &[]);
    let (base, url) = (server.url.clone(), format!("{}/d", server.url));
    syncline(["init", &url]).ok();
    let mut import = binary();
    import.args(["--on", &url, "import", "-", "--format", "csv", "--table", "t", "--key", "id", "-m", "x"]);
    let mut import = import.stdin(Stdio::piped()).stderr(Stdio::null()).spawn().expect("the binary starts");
    let mut input = import.stdin.take().expect("its input");
    input.write_all(csv(0, 20_000, 1).as_bytes()).expect("it reads");
    let begun = SystemClock.monotonic();
    while uploads(&hub) != Some(1) {
        assert!(SystemClock.monotonic() - begun < Duration::from_secs(20), "the upload does not begin");
        SystemClock.sleep(Duration::from_millis(5));
    }
    server.kill();
    assert_eq!(uploads(&hub), Some(1), "nobody was there to remove it");
    drop(input);
    import.wait().expect("it ends");
    let server = Server::again(&hub, &base);
    assert_eq!(uploads(&hub), Some(0));
    // One that is asked to stop leaves nothing.
    let asked = Command::new("kill").args(["-TERM", &server.pid().to_string()]).status().expect("kill runs");
    assert!(asked.success());
    assert_eq!(server.wait(), Some(0));
    assert_eq!(uploads(&hub), None);
}

/// A node in a shell that may open so many files, soft or hard.
fn limited(dir: &Dir, limit: &str) -> Server {
    let mut shell = Command::new("bash");
    let script = format!("ulimit {limit}; exec \"$0\" \"$@\"");
    shell.args(["-c", &script, env!("CARGO_BIN_EXE_syncline")]).env_remove("SYNCLINE_TOKEN").stdin(Stdio::null());
    Server::run(&mut shell, &dir.path("hub"), &[])
}

#[test]
fn connections_that_say_nothing_keep_nobody_out() {
    let dir = Dir::new();
    let server = limited(&dir, "-n 128");
    let address = server.url.trim_start_matches("http://");
    let silent: Vec<TcpStream> = (0..300).map(|_| TcpStream::connect(address).expect("it listens")).collect();
    let begun = SystemClock.monotonic();
    syncline(["init", &format!("{}/d", server.url)]).ok();
    assert!(SystemClock.monotonic() - begun < Duration::from_secs(8), "it had to wait");
    // And the node is at rest.
    let worked = || {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", server.pid())).expect("it runs");
        let after_name = stat.rsplit(") ").next().expect("its numbers").split(' ').collect::<Vec<_>>();
        [11, 12].map(|at| after_name[at].parse::<u64>().expect("ticks")).iter().sum::<u64>()
    };
    let before = worked();
    SystemClock.sleep(Duration::from_secs(2));
    let ticks = worked() - before;
    assert!(ticks < 50, "{ticks} ticks of 10 ms in 2 s");
    drop(silent);
}

#[test]
fn a_node_opens_as_many_files_as_it_may() {
    let dir = Dir::new();
    let server = limited(&dir, "-Sn 100");
    let limits = std::fs::read_to_string(format!("/proc/{}/limits", server.pid())).expect("it runs");
    let files = limits.lines().find_map(|line| line.strip_prefix("Max open files")).expect("a limit");
    let (soft, hard) = files.trim().split_once(' ').expect("two numbers");
    assert_eq!(soft, hard.trim().split(' ').next().expect("a number"), "{files}");
}
