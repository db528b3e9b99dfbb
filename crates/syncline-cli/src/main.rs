//! The `syncline` command.
//!
//! One file per verb (`cmd_*`): it reads its arguments, asks `syncline_node::ops` (here or on a node), and shows the
//! report. `context` finds the dataset that a command works on, `output` shows reports, `fault` shows what went wrong.
//!
//! Owns nothing that survives the process. Not here: any rule about data; a capability that only this program has.
#![expect(clippy::print_stderr, reason = "a command line talks to a terminal")]

/// Leaves are buffers of some tens of kilobytes made on one thread and freed on another. The system's allocator returns
/// such memory at once and takes it back at once: a fifth of the time of a small commit to a large table.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

mod args;
mod cmd_alter;
mod cmd_apply;
mod cmd_bench;
mod cmd_branch;
mod cmd_checkout;
mod cmd_clone;
mod cmd_commit;
mod cmd_completion;
mod cmd_conflicts;
mod cmd_delete;
mod cmd_diff;
mod cmd_export;
mod cmd_fetch;
mod cmd_gc;
mod cmd_get;
mod cmd_history;
mod cmd_import;
mod cmd_init;
mod cmd_key;
mod cmd_log;
mod cmd_merge;
mod cmd_pull;
mod cmd_push;
mod cmd_put;
mod cmd_repair;
mod cmd_resolve;
mod cmd_rollback;
mod cmd_root;
mod cmd_scope;
mod cmd_show;
mod cmd_status;
mod cmd_sync;
mod cmd_sync_live;
mod cmd_table;
mod cmd_tag;
mod cmd_undo;
mod cmd_up;
mod cmd_verify;
mod cmd_watch;
mod context;
mod fault;
mod interrupt;
mod local_file;
mod output;
mod peer;
mod progress;
mod units;

use std::process::ExitCode;

use clap::Parser;
use clap::error::ErrorKind;
use syncline_base::Kind;

use crate::args::{Cli, Verb};
use crate::context::Context;
use crate::fault::Fault;

fn main() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => return usage(&error),
    };
    tracing_subscriber::fmt()
        .with_env_filter(tracing_subscriber::EnvFilter::from_env("SYNCLINE_LOG"))
        .with_writer(std::io::stderr)
        .init();
    let json = cli.global.json;
    let verb = cli.verb.name();
    let run = |context: Context| {
        // What keeps a directory in step stops by itself, as a node does.
        if !matches!(&cli.verb, Verb::Sync(args) if args.live.live) {
            interrupt::watch(&context, verb);
        }
        cli.verb.run(&context)
    };
    match Context::new(cli.global).and_then(run) {
        Ok(None) => ExitCode::SUCCESS,
        // The report has been shown, and it says what is wrong.
        Ok(Some(kind)) => ExitCode::from(fault::exit_code(Some(kind))),
        Err(fault) => fault.show(verb, json),
    }
}

/// A command line that cannot be read; help and version come this way too.
fn usage(error: &clap::Error) -> ExitCode {
    let harmless = matches!(error.kind(), ErrorKind::DisplayHelp | ErrorKind::DisplayVersion);
    if harmless || !std::env::args_os().any(|arg| arg == "--json") {
        // Nobody is there to read it when this fails.
        let _ = error.print();
        return if harmless { ExitCode::SUCCESS } else { ExitCode::from(fault::exit_code(Some(Kind::Invalid))) };
    }
    let text = error.render().to_string();
    Fault::new(Kind::Invalid, text.trim().trim_start_matches("error: ")).show("", true)
}
