//! The simulator's part of the tests, and long runs of it.

use std::process::Command;

use anyhow::{Context, Result};
use syncline_base::rng::Rng;

use crate::run;

/// Short seeds of every test run, each run twice; long ones, once. Fresh ones of both kinds beside them.
const SHORT: u64 = 100_000;
const LONG: u64 = 500;
const FRESH: u64 = 2_000;
const FRESH_LONG: u64 = 200;
/// Seeds of a long run.
const NIGHT: u64 = 10_000_000;

/// What every change has to pass: fixed seeds, fresh seeds, long ones, and every known bug found. Wants `cargo build` to have run.
pub(crate) fn check() -> Result<()> {
    let built = run::root().join("target/debug/syncline-sim");
    let fresh = 1 << 40 | Rng::from_os().next_u64() >> 25;
    eprintln!("fresh seeds begin at {fresh}");
    let rounds: [&[&str]; 5] = [
        &["--twice", "--seeds", &range(0, SHORT)],
        &["--seeds", &range(fresh, FRESH)],
        &["--nodes", "12", "--steps", "4000", "--seeds", &range(0, LONG)],
        &["--nodes", "12", "--steps", "4000", "--seeds", &range(fresh, FRESH_LONG)],
        &["--zoo"],
    ];
    for round in rounds {
        run::check(Command::new(&built).args(round))
            .context("the simulator found something: replay it with --seed N --tell")?;
    }
    Ok(())
}

/// Ten million short seeds and thousands of long ones with the optimised build, from `seed` on.
pub(crate) fn long(seed: u64) -> Result<()> {
    run::check(run::cargo().args(["build", "--quiet", "--release", "-p", "syncline-sim"]))?;
    let built = run::root().join("target/release/syncline-sim");
    run::check(Command::new(&built).args(["--seeds", &range(seed, NIGHT)]))?;
    run::check(Command::new(&built).args(["--nodes", "20", "--steps", "20000", "--seeds", &range(seed, LONG)]))
}

fn range(from: u64, n: u64) -> String {
    format!("{from}..{}", from + n)
}
