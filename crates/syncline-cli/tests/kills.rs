//! Killed at any moment, a replica is whole: verified to the last byte, and the same command run again ends the work.

use std::process::{Command, Stdio};
use std::time::Duration;

use syncline_base::rng::Rng;
use syncline_base::{Clock, SystemClock};

use crate::support::{Dir, Replica, Run, Server, csv, syncline};

/// Rounds, each with five kills; the long version has more than two hundred kills.
fn rounds() -> u64 {
    if std::env::var_os("SYNCLINE_LONG").is_some() { 44 } else { 3 }
}

/// Runs a command that is killed at a random moment, at most a little after it would have ended.
fn killed(mut command: Command, rng: &mut Rng, usual: &mut Duration) {
    let start = SystemClock.monotonic();
    let mut child = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().expect("the binary starts");
    let span = u64::try_from(usual.as_micros()).expect("a short time");
    let moment = Duration::from_micros(rng.below(span + span / 10 + 1));
    while SystemClock.monotonic() - start < moment {
        if child.try_wait().expect("its state").is_some() {
            // It was faster this time: aim earlier from now on.
            *usual = SystemClock.monotonic() - start;
            return;
        }
        SystemClock.sleep(Duration::from_micros(200));
    }
    child.kill().expect("it can be killed");
    child.wait().expect("it has ended");
}

/// Asserts that nothing is damaged.
#[track_caller]
fn sound(replica: &Replica) {
    let report = replica.run(["verify", "--deep"]);
    assert_eq!(report.code, Some(0), "{}{}", report.stdout, report.stderr);
}

/// Kills a command, verifies, and runs it to its end. Learns how long it takes.
fn kill_and_finish(replica: &Replica, words: &[&str], rng: &mut Rng, usual: &mut Duration) {
    killed(replica.command(words), rng, usual);
    sound(replica);
    let start = SystemClock.monotonic();
    let run: Run = replica.run(words);
    assert_eq!(run.code, Some(0), "{words:?}\n{}{}", run.stdout, run.stderr);
    *usual = (*usual).max(SystemClock.monotonic() - start);
}

#[test]
fn killed_at_any_moment_a_replica_is_whole() {
    let mut rng = Rng::from_seed(7);
    let dir = Dir::new();
    let one = dir.replica("one");
    one.import(&dir, &csv(0, 4_000, 0));
    let server = Server::start(&dir.path("hub"), &[]);
    let url = format!("{}/d", server.url);
    one.json(["push", &url]);
    syncline(["clone", &url, dir.text("two").as_str()]).ok();
    let two = Replica(dir.path("two"));
    let mut usual = [Duration::from_millis(100); 5];
    for round in 1..=rounds() {
        let first = rng.below(3_000);
        let edits = dir.write("edits.csv", &csv(first, first + 600, round));
        let import = ["import", edits.as_str(), "--table", "t"];
        kill_and_finish(&one, &import, &mut rng, &mut usual[0]);
        dir.write(&format!("one/file-{}.txt", round % 5), &csv(0, 2_000, round));
        kill_and_finish(&one, &["commit", "-m", "round"], &mut rng, &mut usual[1]);
        kill_and_finish(&one, &["push", &url], &mut rng, &mut usual[2]);
        kill_and_finish(&two, &["pull", &url], &mut rng, &mut usual[3]);
        assert_eq!(one.root(), two.root(), "round {round}");
        let gc = ["gc", "--keep-last", "2", "--grace", "0s"];
        kill_and_finish(&two, &gc, &mut rng, &mut usual[4]);
        assert_eq!(one.root(), two.root(), "round {round}, after gc");
    }
    let there = syncline(["verify", "--deep", "--on", &url]).ok();
    assert!(there.stdout.starts_with("sound"), "{}", there.stdout);
}
