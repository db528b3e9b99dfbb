//! Repository chores: `cargo xtask demo | test | tidy | bench | net | soak | ci`.
//!
//! Every chore is one module. Chores drive the product from outside, by its binary, as a user does: nothing here
//! links a layer above `syncline-base`. Owns: nothing but temporary directories, which go with the process.
//!
//! Not here: anything the product itself needs.
#![expect(clippy::print_stdout, clippy::print_stderr, reason = "a chore talks to the person who started it")]

mod bench;
mod ci;
mod cluster;
mod demo;
mod fuzz;
mod history;
#[cfg(target_os = "linux")]
mod machine;
#[cfg(target_os = "linux")]
mod net;
#[cfg(not(target_os = "linux"))]
#[path = "elsewhere.rs"]
mod net;
mod run;
mod s3;
mod sim;
mod soak;
mod test;
mod tidy;
mod tools;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// Repository chores.
#[derive(Debug, Parser)]
#[command(name = "cargo xtask", bin_name = "cargo xtask")]
struct Cli {
    #[command(subcommand)]
    chore: Chore,
}

#[derive(Debug, Subcommand)]
enum Chore {
    /// Measures the product beside its peers, on input from seeds.
    Bench(bench::Args),
    /// The product on real data, start to end, in a few minutes.
    Demo(demo::Args),
    /// Checks the rules that no compiler checks: layers, sizes, headers, leftovers, format documents.
    Tidy(tidy::Args),
    /// Format, tidy, clippy, all tests, documentation and a build; closes with `N passed, N failed`.
    Test(test::Args),
    /// Real nodes on a bad network: packets delayed, lost and cut off, nodes killed, a full disk, power cuts, clocks that jump; the history is judged.
    Net(net::Args),
    /// Many spokes that are mostly away, for half an hour; then one root, and the fate of every acknowledged write.
    Soak(soak::Args),
    /// What the continuous integration runs; `--long` adds the long tests.
    Ci(ci::Args),
}

fn main() -> ExitCode {
    let result = match Cli::parse().chore {
        Chore::Bench(args) => bench::run(&args),
        Chore::Demo(args) => demo::run(&args),
        Chore::Tidy(args) => tidy::run(&args),
        Chore::Test(args) => test::run(&args),
        Chore::Net(args) => net::run(&args),
        Chore::Soak(args) => soak::run(&args),
        Chore::Ci(args) => ci::run(&args),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    #[test]
    fn the_command_line_makes_sense() {
        super::Cli::command().debug_assert();
    }
}
