//! `syncline root`: the one hash that says whether two copies are the same.

use syncline_node::ops::root::{self, Request};

use crate::args::TreeArgs;
use crate::context::Context;
use crate::fault::Outcome;

/// Arguments of `root`.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  syncline root\n  syncline root v1 --table prices\n  \
                        syncline root --on http://127.0.0.1:7070/prices\n\n\
                        It prints 64 hexadecimal digits. Equal root, equal data: on any machine, at any version.")]
pub(crate) struct Args {
    /// Which version; the current branch when absent
    #[arg(value_name = "REF")]
    at: Option<String>,
    #[command(flatten)]
    tree: TreeArgs,
}

pub(crate) fn run(context: &Context, args: &Args) -> Outcome {
    let request = Request { at: args.at.clone(), tree: args.tree.tree() };
    let report = context.ask("root", &request, |replica, _| root::run(replica, &request))?;
    context.out.answer(&report, |page| page.line(report.root.to_string()))?;
    Ok(None)
}
