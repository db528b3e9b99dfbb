//! `syncline resolve`: decide conflicts by taking one side.

use syncline_node::ops::conflicts::{self, Resolve, Side};

use crate::args::TreeArgs;
use crate::context::Context;
use crate::fault::Outcome;
use crate::units;

/// Arguments of `resolve`.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  syncline resolve --theirs\n  syncline resolve --ours --table prices --key A-1001")]
#[command(group = clap::ArgGroup::new("side").required(true))]
pub(crate) struct Args {
    /// Keep our cells, or our row
    #[arg(long, group = "side")]
    ours: bool,
    /// Take their cells in the columns in conflict, or their row
    #[arg(long, group = "side")]
    theirs: bool,
    #[command(flatten)]
    tree: TreeArgs,
    /// Only the row with this key; several key columns are separated by commas (`\,` is a comma inside a value)
    #[arg(long, short = 'k', value_name = "KEY", allow_hyphen_values = true)]
    key: Option<String>,
}

pub(crate) fn run(context: &Context, args: &Args) -> Outcome {
    let side = if args.ours { Side::Ours } else { Side::Theirs };
    let request = Resolve { tree: args.tree.tree(), key: args.key.clone(), side };
    let report = context.ask("resolve", &request, |replica, _| conflicts::resolve(replica, &request))?;
    context.out.done(&report, |page| {
        let resolved = units::counted(report.resolved as u64, "conflict", "conflicts");
        page.line(format!("resolved {resolved}, {} still open", report.open));
        if report.open == 0 {
            page.line("finish the merge with `syncline commit -m MSG`");
        }
    })?;
    Ok(None)
}
