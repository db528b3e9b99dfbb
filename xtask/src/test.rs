//! `cargo xtask test`: everything a change has to pass, with one closing line of numbers.
//!
//! Every step runs even when an earlier one fails, so that one run shows all there is to mend.

use std::io::{BufRead, BufReader, Write};
use std::process::{Command, ExitStatus, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use syncline_base::{Clock, SystemClock};

use crate::{run, s3, tidy};

/// Set for the tests when the long versions are wanted (kill loops of hundreds of rounds, more seeds).
pub(crate) const LONG: &str = "SYNCLINE_LONG";
/// What the kill tests draw their moments from.
pub(crate) const SEED: &str = "SYNCLINE_SEED";

const TESTS: &str = "tests";

/// Options of `cargo xtask test`.
#[derive(Debug, Default, clap::Args)]
pub(crate) struct Args {
    /// Run the long versions of the tests too.
    #[arg(long)]
    pub(crate) long: bool,
    /// Replay the random moments of an earlier long run.
    #[arg(long, value_name = "N")]
    pub(crate) seed: Option<u64>,
    /// Only these crates' tests, and no other step.
    #[arg(long, short = 'p', value_name = "CRATE")]
    pub(crate) package: Vec<String>,
}

/// How many tests ran, and how they ended.
#[derive(Debug, Default, PartialEq, Eq)]
struct Counts {
    passed: u64,
    failed: u64,
}

/// What one step came to.
struct Step {
    name: &'static str,
    result: Result<()>,
    took: Duration,
}

/// Runs the steps and prints the summary.
pub(crate) fn run(args: &Args) -> Result<()> {
    let mut steps = Vec::new();
    let mut counts = Counts::default();
    let mut lacks = Vec::new();
    if args.package.is_empty() {
        step(&mut steps, "format", || run::check(run::cargo().args(["fmt", "--all", "--check"])));
        step(&mut steps, "tidy", tidy::check);
        step(&mut steps, "clippy", || {
            let warnings = ["--", "-D", "warnings"];
            run::check(run::cargo().args(["clippy", "--quiet", "--workspace", "--all-targets"]).args(warnings))
        });
    }
    step(&mut steps, TESTS, || tests(args, &mut counts));
    if args.package.is_empty() {
        step(&mut steps, "documentation", || {
            let mut doc = run::cargo();
            run::check(doc.args(["doc", "--quiet", "--workspace", "--no-deps"]).env("RUSTDOCFLAGS", "-D warnings"))
        });
        step(&mut steps, "build", || run::check(run::cargo().args(["build", "--quiet", "--workspace"])));
        step(&mut steps, "simulation", crate::sim::check);
        step(&mut steps, "demo", crate::demo::check);
        // Somebody who may not make namespaces can run the rest; the summary says that this was not.
        match crate::net::possible() {
            Ok(()) => {
                step(&mut steps, "network", crate::net::check);
                lacks.extend(crate::net::frail_possible().err().map(|why| ("power, clocks", why)));
            }
            Err(why) => lacks.push(("network", why)),
        }
    }
    close(&steps, &lacks, counts)
}

fn step(steps: &mut Vec<Step>, name: &'static str, work: impl FnOnce() -> Result<()>) {
    eprintln!("== {name}");
    let start = SystemClock.monotonic();
    let result = work();
    if let Err(error) = &result {
        eprintln!("{name}: {error:#}");
    }
    steps.push(Step { name, result, took: SystemClock.monotonic().saturating_sub(start) });
}

/// Prints what each step came to, which this machine could not run, and the closing line. A step that failed without a failed test counts as one.
fn close(steps: &[Step], lacks: &[(&str, anyhow::Error)], mut counts: Counts) -> Result<()> {
    println!();
    for step in steps {
        let word = if step.result.is_ok() { "ok" } else { "FAILED" };
        println!("{:<14} {word:<7} {:>7.1} s", step.name, step.took.as_secs_f64());
    }
    for (name, why) in lacks {
        println!("{name:<14} NOT RUN: {why:#}");
    }
    let broken: Vec<&str> = steps.iter().filter(|s| s.result.is_err()).map(|s| s.name).collect();
    counts.failed += unnamed(&broken, &counts);
    println!("{} passed, {} failed", counts.passed, counts.failed);
    if !broken.is_empty() {
        bail!("{} did not pass", broken.join(", "));
    }
    Ok(())
}

/// How many of the broken steps show in no count so far.
fn unnamed(broken: &[&str], counts: &Counts) -> u64 {
    let counted = |step: &&&str| **step == TESTS && counts.failed > 0;
    broken.iter().filter(|step| !counted(step)).count() as u64
}

/// `cargo test`, with the S3-compatible server beside it; its lines go through and are counted on the way.
fn tests(args: &Args, counts: &mut Counts) -> Result<()> {
    let needs_server = args.package.is_empty() || args.package.iter().any(|p| p == "syncline-store");
    let server = if needs_server { Some(s3::Server::start()?) } else { None };
    let mut cargo = run::cargo();
    cargo.args(["test", "--no-fail-fast"]);
    match args.package.as_slice() {
        [] => _ = cargo.arg("--workspace"),
        packages => packages.iter().for_each(|p| _ = cargo.args(["-p", p])),
    }
    if let Some(server) = &server {
        server.tell(&mut cargo);
    }
    if args.long {
        cargo.env(LONG, "1");
    }
    if let Some(seed) = args.seed {
        cargo.env(SEED, seed.to_string());
    }
    let status = counted(&mut cargo, counts, std::io::stdout().lock())?;
    match (status.success(), &*counts) {
        (true, Counts { passed: 0, failed: 0 }) => bail!("not one test ran"),
        (true, Counts { failed: 0, .. }) => Ok(()),
        (_, Counts { failed, .. }) => bail!("{} ended with {status}; {failed} test(s) failed", run::line(&cargo)),
    }
}

/// Runs `cargo test`, passes its output on as it comes and adds its result lines to the counts.
fn counted(cargo: &mut Command, counts: &mut Counts, mut terminal: impl Write) -> Result<ExitStatus> {
    let mut child = cargo.stdout(Stdio::piped()).spawn().with_context(|| format!("starting {}", run::line(cargo)))?;
    let output = child.stdout.take().context("the output of cargo test is not there")?;
    for line in BufReader::new(output).split(b'\n') {
        let line = line.context("reading what cargo test writes")?;
        terminal.write_all(&line).and_then(|()| terminal.write_all(b"\n")).context("writing to the terminal")?;
        if let Some((passed, failed)) = result_line(&String::from_utf8_lossy(&line)) {
            counts.passed += passed;
            counts.failed += failed;
        }
    }
    child.wait().context("waiting for cargo test")
}

/// Reads `test result: ok. 12 passed; 0 failed; …`.
fn result_line(line: &str) -> Option<(u64, u64)> {
    let rest = line.trim_start().strip_prefix("test result: ")?;
    let number = |word: &str| {
        rest.split_inclusive(&[';', '.'][..])
            .find_map(|part| part.trim_end_matches(&[';', '.'][..]).trim().strip_suffix(word)?.trim().parse().ok())
    };
    Some((number("passed")?, number("failed")?))
}

#[cfg(test)]
mod tests;
