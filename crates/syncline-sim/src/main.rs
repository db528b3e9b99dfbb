//! `syncline-sim`: runs simulated clusters, and says which seed failed and how.

#![expect(clippy::print_stdout, clippy::print_stderr, reason = "a command line talks to a terminal")]

use std::process::ExitCode;

use clap::Parser;
use syncline_base::{Clock as _, SystemClock};
use syncline_sim::{Range, Report, zoo};
use syncline_sync::live::{Bug, Zoo};

// A run is thousands of small allocations: with this one half as many seeds again in a second.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Simulates clusters of replicas, each from a seed, and holds what they do against the oracle.
///
/// Exit code 1 when a seed failed, with its number: `--seed N --tell` replays it and says what happened.
#[derive(Debug, Parser)]
#[command(
    version,
    after_help = "Examples:\n  syncline-sim --seeds 0..100000\n  syncline-sim --seed 4711 --tell\n  \
                                 syncline-sim --zoo\n  syncline-sim --seeds 0..500 --nodes 8 --steps 5000"
)]
struct Args {
    /// One seed.
    #[arg(long, value_name = "N", conflicts_with_all = ["seeds", "zoo"])]
    seed: Option<u64>,
    /// Seeds from A to before B.
    #[arg(long, value_name = "A..B", default_value = "0..10000")]
    seeds: Range,
    /// How many nodes.
    #[arg(long, default_value_t = 4)]
    nodes: usize,
    /// How many steps before the world heals.
    #[arg(long, default_value_t = 200)]
    steps: usize,
    /// Runs every seed twice and compares everything that happened.
    #[arg(long)]
    twice: bool,
    /// Says everything that happens. With `--seed`.
    #[arg(long, requires = "seed")]
    tell: bool,
    /// Switches known bugs on, one after the other, and looks for a seed that finds each by what it is known for; fails when one
    /// is not found.
    #[arg(long)]
    zoo: bool,
    /// Switches one known bug on.
    #[arg(long, value_name = "NAME", value_parser = bug)]
    bug: Option<Bug>,
    /// Threads; as many as there are processors.
    #[arg(long)]
    threads: Option<usize>,
    /// One JSON object on standard output.
    #[arg(long)]
    json: bool,
}

fn bug(name: &str) -> Result<Bug, String> {
    let all = || Bug::ALL.iter().map(|bug| format!("{bug:?}")).collect::<Vec<_>>().join(", ");
    Bug::ALL.into_iter().find(|bug| format!("{bug:?}") == name).ok_or_else(|| format!("known are {}", all()))
}

fn main() -> ExitCode {
    let args = Args::parse();
    let zoo = args.bug.map_or(Zoo::none(), Zoo::with);
    let threads = args.threads.unwrap_or_else(|| std::thread::available_parallelism().map_or(1, usize::from));
    if args.zoo {
        return visit_zoo(&args, threads);
    }
    if let Some(seed) = args.seed {
        return replay(&args, seed, zoo);
    }
    let clock = SystemClock;
    let begun = clock.monotonic();
    let report = Report::run(args.seeds, args.nodes, args.steps, zoo, args.twice, threads);
    let seconds = (clock.monotonic() - begun).as_secs_f64();
    let per_core = report.seeds as f64 / seconds / threads as f64;
    if args.json {
        println!("{}", report.json(seconds, per_core));
    } else {
        println!("{} seeds in {seconds:.1} s, {per_core:.0} seeds/s/core on {threads} threads", report.seeds);
        println!("{}", report.audit_text());
        println!("{}", report.sights_text());
        println!("trace {}", report.trace());
    }
    for (seed, failure) in report.failures.iter().take(10) {
        eprintln!("seed {seed} failed: {failure}");
    }
    if report.failures.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn replay(args: &Args, seed: u64, zoo: Zoo) -> ExitCode {
    let mut world = syncline_sim::World::new(seed, args.nodes, args.steps, zoo, args.tell);
    let result = world.run();
    world.account().for_each(|line| println!("{line}"));
    match result {
        Ok(summary) => {
            println!("seed {seed} is clean, trace {}", summary.trace);
            ExitCode::SUCCESS
        }
        Err(failure) => {
            eprintln!("seed {seed} failed: {failure}");
            ExitCode::FAILURE
        }
    }
}

fn visit_zoo(args: &Args, threads: usize) -> ExitCode {
    let mut escaped = 0;
    for bug in Bug::ALL {
        match zoo::find(bug, args.seeds, args.nodes, args.steps, threads) {
            Some((seed, failure)) => println!("{bug:?}: found by seed {seed}: {failure}"),
            None => {
                escaped += 1;
                println!("{bug:?}: NOT FOUND in {} seeds", args.seeds.len());
            }
        }
    }
    println!("{} bugs, {escaped} not found", Bug::ALL.len());
    if escaped == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
