//! `cargo xtask ci`: what the continuous integration runs, in the same words as on a desk.

use std::process::Command;

use anyhow::{Result, bail};

use crate::{fuzz, run, sim, test, tools};

/// Options of `cargo xtask ci`.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Only this stage; else the tests, and with `--long` every stage.
    #[arg(value_enum)]
    stage: Option<Stage>,
    /// The long versions: hundreds of kills, more seeds, larger inputs.
    #[arg(long)]
    long: bool,
    /// Replays the random moments of an earlier long run, which prints its seed; the first seed of simulations.
    #[arg(long, value_name = "N")]
    seed: Option<u64>,
    #[command(flatten)]
    fuzz: fuzz::Args,
}

#[derive(Debug, Clone, Copy, clap::ValueEnum)]
enum Stage {
    /// `cargo xtask test`.
    Test,
    /// Only the tests that kill processes at random moments, the long version.
    Kills,
    /// Licences, sources and doubled dependencies, by `cargo deny`; advisories where their database can be reached.
    Deny,
    /// Every decoder, fuzzed for a while.
    Fuzz,
    /// Ten million simulated clusters, from `--seed` on.
    Sim,
    /// Every scene of `cargo xtask net`, each for a minute.
    Net,
    /// `cargo xtask soak`: half an hour, 200 spokes.
    Soak,
}

/// Runs one stage, or all that were asked for: every one even when an earlier one fails.
pub(crate) fn run(args: &Args) -> Result<()> {
    let stages = match (args.stage, args.long) {
        (Some(stage), _) => vec![stage],
        (None, false) => vec![Stage::Test],
        (None, true) => vec![Stage::Test, Stage::Deny, Stage::Fuzz, Stage::Sim, Stage::Net, Stage::Soak],
    };
    let mut broken = Vec::new();
    for stage in stages {
        if let Err(error) = one(stage, args) {
            eprintln!("error: {error:#}");
            broken.push(format!("{stage:?}").to_lowercase());
        }
    }
    if !broken.is_empty() {
        bail!("{} did not pass", broken.join(", "));
    }
    Ok(())
}

fn one(stage: Stage, args: &Args) -> Result<()> {
    match stage {
        Stage::Test => test::run(&test::Args { long: args.long, seed: args.seed, ..test::Args::default() }),
        Stage::Kills => kills(args.seed),
        Stage::Deny => deny(),
        Stage::Fuzz => fuzz::run(&args.fuzz, args.long),
        Stage::Sim => sim::long(args.seed.unwrap_or_default()),
        Stage::Net => nodes(&["net", "--all"]),
        Stage::Soak => nodes(&["soak"]),
    }
}

/// A chore with the debug build of the product, which is made first.
fn nodes(words: &[&str]) -> Result<()> {
    run::check(run::cargo().args(["build", "--quiet", "-p", "syncline-cli"]))?;
    run::chore(words)
}

fn kills(seed: Option<u64>) -> Result<()> {
    let mut cargo = run::cargo();
    cargo.args(["test", "--package", "syncline-cli", "--test", "main", "kills::"]).env(test::LONG, "1");
    if let Some(seed) = seed {
        cargo.env(test::SEED, seed.to_string());
    }
    run::check(&mut cargo)
}

fn deny() -> Result<()> {
    let program = tools::cargo_deny()?;
    let check = |what: &[&str]| {
        let mut deny = Command::new(&program);
        deny.current_dir(run::root()).args(["--workspace", "check", "--hide-inclusion-graph"]).args(what);
        run::check(&mut deny)
    };
    check(&["bans", "licenses", "sources"])?;
    // The advisories lie in a git repository of their own. Where it cannot be reached nothing can be said about them.
    let mut fetch = Command::new(&program);
    match run::capture(fetch.current_dir(run::root()).args(["fetch", "db"])) {
        Ok(_) => check(&["advisories"]),
        Err(error) => {
            eprintln!("advisories were not checked: {error:#}");
            Ok(())
        }
    }
}
