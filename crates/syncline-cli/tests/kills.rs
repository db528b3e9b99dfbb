//! Killed at any moment, by SIGKILL and without a word, nothing is lost and nothing is half done.
//!
//! [`cases`] are the operations, [`scene`] is one of them being killed and what has to hold afterwards, [`rounds`] a life
//! of many kills on the same replicas. `SYNCLINE_LONG` asks for hundreds of kills; `SYNCLINE_SEED` (`--seed` of
//! `cargo xtask ci`) replays the same moments, as far as a clock can be replayed.

mod cases;
mod rounds;
mod scene;
mod victim;

use std::io::Write;

use syncline_base::rng::Rng;

use crate::support::Dir;
use scene::Scene;

/// Whether hundreds of kills are wanted.
fn long() -> bool {
    std::env::var_os("SYNCLINE_LONG").is_some()
}

/// What the moments are drawn from.
fn seed() -> u64 {
    match std::env::var("SYNCLINE_SEED") {
        Ok(text) => text.parse().expect("SYNCLINE_SEED is a number"),
        Err(_) if long() => Rng::from_os().below(1 << 32),
        Err(_) => 7,
    }
}

/// Says something even when the test passes.
fn say(line: &str) {
    let mut terminal = std::io::stderr();
    writeln!(terminal, "{line}").expect("standard error takes text");
}

#[test]
fn killed_at_any_moment_every_operation_can_be_run_again() {
    let seed = seed();
    if long() {
        say(&format!("kills: seed {seed}"));
    }
    let only = std::env::var("SYNCLINE_CASE").ok();
    let mut total = 0;
    for (number, case) in (0..).zip(cases::all()) {
        let wanted = case.kills(long());
        if wanted == 0 || only.as_ref().is_some_and(|only| *only != case.name) {
            continue;
        }
        let dir = Dir::new();
        let mut scene = Scene::new(case, &dir);
        let mut rng = Rng::from_seed(seed ^ (number << 32));
        let mut tries = 0;
        while scene.tally.kills < wanted {
            tries += 1;
            assert!(tries <= 4 * wanted + 8, "{}: it always ends before it is killed", scene.case.name);
            scene.run(&mut rng, &format!("seed {seed}, case {}, try {tries}", scene.case.name));
        }
        total += scene.tally.kills;
        if long() {
            say(&scene.summary());
            scene.assert_resumed();
        }
    }
    if long() {
        say(&format!("kills: {total} in all"));
    }
}
