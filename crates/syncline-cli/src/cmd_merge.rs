//! `syncline merge`: bring another version's changes into the current branch.

use syncline_base::Kind;
use syncline_node::ops::merge::{self, Outcome as Merged, Report, Request};

use crate::args::VersionArgs;
use crate::context::Context;
use crate::fault::Outcome;
use crate::output::{self, Page};
use crate::units;

/// Arguments of `merge`.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  syncline merge feature\n  syncline merge origin/main -m 'weekly merge'\n\n\
                        With conflicts nothing is committed and the exit code is 4: look at them with `syncline \
                        conflicts`, decide them with `syncline resolve`, then `syncline commit`.")]
pub(crate) struct Args {
    /// The version to merge in
    #[arg(value_name = "BRANCH")]
    name: String,
    #[command(flatten)]
    version: VersionArgs,
}

pub(crate) fn run(context: &Context, args: &Args) -> Outcome {
    let request = Request {
        name: args.name.clone(),
        message: args.version.message.clone(),
        author: Some(context.env().author),
        allow_mass_delete: args.version.allow_mass_delete,
    };
    let report = context.ask("merge", &request, |replica, _| merge::run(replica, &request))?;
    let conflicts = report.conflicts > 0;
    if conflicts {
        context.out.answer(&report, |page| show(page, &report))?;
    } else {
        context.out.done(&report, |page| show(page, &report))?;
    }
    Ok(conflicts.then_some(Kind::Conflict))
}

fn show(page: &mut Page, report: &Report) {
    page.line(match report.outcome {
        Merged::UpToDate => "up to date: the current branch has all of it".to_owned(),
        Merged::FastForward => format!("moved forward to {}", report.commit.short()),
        Merged::Merged => format!("merged: commit {} in {}", report.commit.short(), units::seconds(report.seconds)),
        Merged::Conflicts => {
            let rows = units::counted(report.conflicts as u64, "row is", "rows are");
            format!("{rows} in conflict; everything else is staged and nothing is committed")
        }
    });
    if report.outcome == Merged::Conflicts {
        page.line("look at them with `syncline conflicts`, decide with `syncline resolve`, then commit");
    }
    page.line(format!("root   {}", report.root));
    output::changes(page, &report.changes);
}
