//! `cargo xtask ci fuzz`: the targets of `fuzz/`, built with the stable compiler and run for a while each.
//!
//! State: what reaches new code is kept in the cache and makes the next run start further. An input that breaks
//! something is written to `fixtures/fuzz`, where the unit tests find it from then on.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Child, Command};

use anyhow::{Context, Result, bail, ensure};

use crate::{run, tools};

/// What the compiler adds so that the fuzzer sees which code an input reaches. All of it is stable.
const FLAGS: &[&str] = &[
    "--cfg",
    "fuzzing",
    "-Cpasses=sancov-module",
    "-Cllvm-args=-sanitizer-coverage-level=4",
    "-Cllvm-args=-sanitizer-coverage-inline-8bit-counters",
    "-Cllvm-args=-sanitizer-coverage-pc-table",
    "-Cllvm-args=-sanitizer-coverage-trace-compares",
];
/// Seconds that one input may take, and the longest input.
const LIMITS: [&str; 4] = ["-timeout=10", "-max_len=4096", "-rss_limit_mb=512", "-malloc_limit_mb=256"];

/// How long each target runs, as usual and with `--long`: six minutes and half an hour for all of them on two cores.
const SECONDS: [u64; 2] = [30, 180];

/// Options of the fuzzing.
#[derive(Debug, Clone, clap::Args)]
#[group(id = "fuzz")]
pub(crate) struct Args {
    /// fuzz: how long each target runs; 30 when absent, 180 with --long.
    #[arg(long, value_name = "SECONDS")]
    seconds: Option<u64>,
    /// fuzz: only this target; may be given several times.
    #[arg(long, value_name = "NAME")]
    target: Vec<String>,
}

/// Builds the targets and runs them, as many at a time as there are cores.
pub(crate) fn run(args: &Args, long: bool) -> Result<()> {
    let seconds = args.seconds.unwrap_or(SECONDS[usize::from(long)]);
    let home = run::root().join("fuzz");
    let (host, all) = (host()?, targets(&home)?);
    for name in &args.target {
        ensure!(all.contains(name), "there is no target {name}; there are {}", all.join(", "));
    }
    let chosen: Vec<&String> = all.iter().filter(|name| args.target.is_empty() || args.target.contains(name)).collect();
    let mut build = run::cargo();
    build.current_dir(&home).args(["build", "--quiet", "--locked", "--target", &host]);
    if !args.target.is_empty() {
        chosen.iter().for_each(|name| _ = build.args(["--bin", name]));
    }
    run::check(build.env("CARGO_ENCODED_RUSTFLAGS", FLAGS.join("\u{1f}")))?;
    let width = std::thread::available_parallelism().map_or(1, usize::from);
    let programs = home.join("target").join(&host).join("debug");
    let mut broken = Vec::new();
    for group in chosen.chunks(width) {
        let started = group.iter().map(|name| Run::start(&programs, name, seconds));
        for run in started.collect::<Result<Vec<Run>>>()? {
            broken.extend(run.end()?);
        }
    }
    if !broken.is_empty() {
        bail!("{} broke; commit each input with what mends it", broken.join(", "));
    }
    Ok(())
}

/// A target at work.
struct Run {
    name: String,
    log: PathBuf,
    process: Child,
}

impl Run {
    fn start(programs: &Path, name: &str, seconds: u64) -> Result<Self> {
        let (found, kept) = (tools::cache()?.join("fuzz").join(name), run::root().join("fixtures/fuzz").join(name));
        for place in [&found, &kept] {
            std::fs::create_dir_all(place).with_context(|| format!("making {}", place.display()))?;
        }
        let log = found.with_extension("log");
        let output = File::create(&log).with_context(|| format!("writing {}", log.display()))?;
        let mut command = Command::new(programs.join(name));
        command.args(LIMITS).arg(format!("-max_total_time={seconds}")).arg("-print_final_stats=1");
        command.arg(format!("-artifact_prefix={}/found-", kept.display())).args([&found, &kept]);
        let process = command.stdout(output.try_clone()?).stderr(output).spawn();
        let process = process.with_context(|| format!("starting {}", run::line(&command)))?;
        Ok(Self { name: name.to_owned(), log, process })
    }

    /// Waits for it; its name and the input when it broke.
    fn end(mut self) -> Result<Option<String>> {
        let status = self.process.wait().with_context(|| format!("waiting for {}", self.name))?;
        let log = String::from_utf8_lossy(&std::fs::read(&self.log)?).into_owned();
        let runs = log.lines().find_map(|line| line.strip_prefix("stat::number_of_executed_units:"));
        let most = log.lines().find_map(|line| line.strip_prefix("stat::peak_rss_mb:"));
        let word = if status.success() { "ok" } else { "BROKE" };
        let (runs, most) = (runs.unwrap_or("?").trim(), most.unwrap_or("?").trim());
        println!("fuzz {:<14} {word:<6} {runs:>9} inputs, {most:>4} MB at most", self.name);
        if status.success() {
            return Ok(None);
        }
        let lines: Vec<&str> = log.lines().filter(|line| !line.starts_with('#')).collect();
        eprintln!("{}", lines[lines.len().saturating_sub(40)..].join("\n"));
        Ok(Some(match written(&log) {
            Some(input) => format!("{} on {}", self.name, input.strip_prefix(run::root()).unwrap_or(input).display()),
            None => format!("{} ({status}, see {})", self.name, self.log.display()),
        }))
    }
}

/// Where the input was written that broke a target.
fn written(log: &str) -> Option<&Path> {
    log.lines().find_map(|line| line.split_once("Test unit written to ")).map(|(_, path)| Path::new(path.trim()))
}

fn host() -> Result<String> {
    let text = String::from_utf8(run::capture(Command::new("rustc").arg("-vV"))?).context("rustc -vV is no text")?;
    let host = text.lines().find_map(|line| line.strip_prefix("host: ")).context("rustc -vV names no host")?;
    Ok(host.to_owned())
}

/// The names of all targets.
fn targets(home: &Path) -> Result<Vec<String>> {
    let metadata = run::metadata(home, false)?;
    let all = metadata["packages"].as_array().into_iter().flatten().flat_map(|package| package["targets"].as_array());
    let names = all.flatten().filter(|target| target["kind"][0] == "bin").filter_map(|target| target["name"].as_str());
    Ok(names.map(ToOwned::to_owned).collect())
}

#[cfg(test)]
mod tests;
