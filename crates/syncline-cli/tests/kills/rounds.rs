//! Two replicas and a hub that live on while every verb is killed once in each round.

use std::time::Duration;

use syncline_base::rng::Rng;
use syncline_base::{Clock, SystemClock};

use super::victim;
use crate::support::{Dir, Replica, Run, Server, csv, syncline};

/// Rounds, each with five kills.
fn rounds() -> u64 {
    if super::long() { 12 } else { 2 }
}

/// Asserts that nothing is damaged.
#[track_caller]
fn sound(replica: &Replica) {
    let report = replica.run(["verify", "--deep"]);
    assert_eq!(report.code, Some(0), "{}{}", report.stdout, report.stderr);
}

/// Kills a command, verifies, and runs it to its end. Learns how long it takes.
fn kill_and_finish(replica: &Replica, words: &[&str], rng: &mut Rng, usual: &mut Duration) {
    victim::kill_client(replica.command(words), &victim::moment(rng, *usual), usual);
    sound(replica);
    let start = SystemClock.monotonic();
    let run: Run = replica.run(words);
    assert_eq!(run.code, Some(0), "{words:?}\n{}{}", run.stdout, run.stderr);
    *usual = (*usual).max(SystemClock.monotonic() - start);
}

#[test]
fn killed_at_any_moment_a_replica_is_whole() {
    let mut rng = Rng::from_seed(super::seed());
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
