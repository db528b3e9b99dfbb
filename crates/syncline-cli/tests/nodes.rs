//! Nodes that are held by connections that say nothing.

use std::net::TcpStream;
use std::process::{Command, Stdio};
use std::time::Duration;

use syncline_base::{Clock as _, SystemClock};

use crate::support::{Dir, Server, syncline};

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
