//! `syncline rollback`: go back to an older version with a new commit.

use syncline_node::ops::rollback::{self, Request};

use crate::args::VersionArgs;
use crate::context::Context;
use crate::fault::Outcome;
use crate::output;

/// Arguments of `rollback`.
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:\n  syncline rollback v1 -m 'bad import'\n\n\
                        History stays as it is: a rollback can itself be rolled back.")]
pub(crate) struct Args {
    /// The version to go back to
    #[arg(value_name = "REF")]
    to: String,
    #[command(flatten)]
    version: VersionArgs,
}

pub(crate) fn run(context: &Context, args: &Args) -> Outcome {
    let request = Request {
        to: args.to.clone(),
        message: args.version.message.clone(),
        author: Some(context.env().author),
        allow_mass_delete: args.version.allow_mass_delete,
    };
    let report = context.ask("rollback", &request, |replica, _| rollback::run(replica, &request))?;
    context.out.done(&report, |page| {
        page.line(format!("back at what {} held: commit {}", report.to.short(), report.commit.short()));
        page.line(format!("root   {}", report.root));
        output::changes(page, &report.changes);
    })?;
    Ok(None)
}
