//! `cargo xtask ci`: what the continuous integration runs, in the same words as on a desk.

use anyhow::Result;

use crate::{run, test};

/// Options of `cargo xtask ci`.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Only this stage.
    #[arg(value_enum, default_value_t = Stage::Test)]
    stage: Stage,
    /// The long versions: hundreds of kills, more seeds, larger inputs.
    #[arg(long)]
    long: bool,
}

#[derive(Debug, Clone, Copy, clap::ValueEnum)]
enum Stage {
    /// `cargo xtask test`.
    Test,
    /// Licences, advisories and doubled dependencies, by `cargo deny` (installed beforehand).
    Deny,
}

/// Runs one stage.
pub(crate) fn run(args: &Args) -> Result<()> {
    match args.stage {
        Stage::Test => test::run(&test::Args { long: args.long, ..test::Args::default() }),
        Stage::Deny => run::check(run::cargo().args(["deny", "--workspace", "check"])),
    }
}
