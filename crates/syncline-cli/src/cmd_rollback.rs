//! `syncline rollback`: go back to an older version with a new commit.

use syncline_node::ops::rollback::{self, Request};

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
    /// Why; made up from the version when absent
    #[arg(long, short = 'm', value_name = "MSG")]
    message: Option<String>,
    /// Allow it to delete more than half of a table or of the files
    #[arg(long)]
    allow_mass_delete: bool,
}

pub(crate) fn run(context: &Context, args: &Args) -> Outcome {
    let request =
        Request { to: args.to.clone(), message: args.message.clone(), allow_mass_delete: args.allow_mass_delete };
    let report = context.ask("rollback", &request, |replica, _| rollback::run(replica, &request))?;
    context.out.done(&report, |page| {
        page.line(format!("back at what {} held: commit {}", report.to.short(), report.commit.short()));
        page.line(format!("root   {}", report.root));
        output::changes(page, &report.changes);
    })?;
    Ok(None)
}
