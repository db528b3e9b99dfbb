//! `sim`: how many seeds the simulator runs, on one thread: what a test run can look for in its time.

use std::path::PathBuf;

use anyhow::{Result, ensure};

use super::super::measure::Cmd;
use super::super::ours::Ours;
use super::super::parse;
use super::super::record::{OURS, Recorder};
use super::super::targets::{Metric, Target, at_most};
use super::super::world::World;
use super::count;
use crate::run;

/// Short seeds, and long ones.
const FULL: [usize; 2] = [20_000, 50];
const QUICK: [usize; 2] = [200, 2];
/// So many short ones in a second are aimed for.
const AIM: f64 = 2_000.0;

fn short(seeds: usize) -> String {
    format!("{} seeds of 4 nodes × 200 steps", count(seeds))
}

fn long(seeds: usize) -> String {
    format!("{} seeds of 12 nodes × 4 k steps", count(seeds))
}

/// The simulator that was built with the binary that is measured, else a fresh release build.
fn program(ours: &Ours) -> Result<PathBuf> {
    let beside = ours.binary().with_file_name("syncline-sim");
    if beside.exists() {
        return Ok(beside);
    }
    run::check(run::cargo().args(["build", "--release", "--quiet", "--package", "syncline-sim"]))?;
    Ok(run::root().join("target/release/syncline-sim"))
}

/// Runs the suite.
pub(super) fn run(world: &World, ours: Option<&Ours>, recorder: &mut Recorder) -> Result<Vec<String>> {
    let sizes = if world.quick { QUICK } else { FULL };
    if let Some(ours) = ours {
        let program = program(ours)?;
        for _ in 0..world.repetitions {
            let [few, many] = [[short(sizes[0]), sizes[0].to_string()], [long(sizes[1]), sizes[1].to_string()]];
            for ([step, seeds], more) in [(few, &[][..]), (many, &["--nodes", "12", "--steps", "4000"][..])] {
                let cmd = Cmd::new(&program).args(["--json", "--threads", "1", "--seeds", &format!("0..{seeds}")]);
                let cmd = cmd.args(more.iter().copied());
                let (sample, output) = world.step(std::slice::from_ref(&cmd))?;
                let ran = &parse::last_object(&output[0])?["seeds"];
                ensure!(ran.as_u64() == seeds.parse().ok(), "{seeds} seeds were to be run: {ran}");
                recorder.add(&step, OURS, "one thread; a seed that fails ends the measurement", sample);
            }
        }
    }
    Ok(vec![format!(
        "The production core and the oracle beside it, all faults on; short seeds are aimed to be {AIM} in a second and core. A seed is one \
         cluster from its first step to equal roots and the audit of every acknowledged write."
    )])
}

/// What is aimed for.
#[expect(clippy::cast_precision_loss, reason = "a small number of seeds")]
pub(super) fn targets() -> Vec<Target> {
    vec![at_most(short(FULL[0]), Metric::Wall, FULL[0] as f64 / AIM)]
}
