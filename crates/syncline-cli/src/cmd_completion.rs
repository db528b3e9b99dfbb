//! `syncline completion`: a completion script for a shell.

use std::io::Write;

use anyhow::Context as _;
use clap::CommandFactory;
use clap_complete::Shell;

use crate::args::Cli;
use crate::context::Context;
use crate::fault::Outcome;

/// Arguments of `completion`.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Examples:\n  syncline completion bash > ~/.local/share/bash-completion/completions/syncline\n  \
                        syncline completion zsh > ~/.zfunc/_syncline\n  \
                        syncline completion fish > ~/.config/fish/completions/syncline.fish"
)]
pub(crate) struct Args {
    /// The shell
    #[arg(value_enum)]
    shell: Shell,
}

pub(crate) fn run(_: &Context, args: &Args) -> Outcome {
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut Cli::command(), "syncline", &mut script);
    std::io::stdout().lock().write_all(&script).context("writing to standard output")?;
    Ok(None)
}
