//! `syncline completion`: a completion script for a shell.

use clap::CommandFactory;
use clap_complete::Shell;
use serde_json::json;

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

pub(crate) fn run(context: &Context, args: &Args) -> Outcome {
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut Cli::command(), "syncline", &mut script);
    let script = String::from_utf8_lossy(&script);
    let report = json!({ "shell": args.shell.to_string(), "script": script });
    context.out.answer(&report, |page| page.script(&script))?;
    Ok(None)
}
