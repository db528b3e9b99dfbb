//! `syncline branch`: list, make or remove branches. Also what `tag` shares with it.

use syncline_node::ops::branch::{self, Action, Report, Sort};

use crate::context::Context;
use crate::fault::Outcome;
use crate::output::{Align, Page, Table};

/// Arguments of `branch`.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  syncline branch\n  syncline branch feature\n  syncline branch old-prices v1\n  \
                        syncline branch --delete feature")]
pub(crate) struct Args {
    #[command(flatten)]
    name: NameArgs,
}

/// What `branch` and `tag` take.
#[derive(Debug, clap::Args)]
pub(crate) struct NameArgs {
    /// The name; lists all names when absent
    #[arg(value_name = "NAME")]
    name: Option<String>,
    /// The version it names; the current branch's when absent
    #[arg(value_name = "REF", requires = "name")]
    at: Option<String>,
    /// Move a name that exists
    #[arg(long, short = 'f', requires = "name")]
    force: bool,
    /// Remove the name; its commits stay until garbage collection
    #[arg(long, short = 'd', requires = "name", conflicts_with_all = ["at", "force"])]
    delete: bool,
}

pub(crate) fn run(context: &Context, args: &Args) -> Outcome {
    names(context, Sort::Branch, &args.name)
}

/// Lists, makes or removes names of either sort.
pub(crate) fn names(context: &Context, sort: Sort, args: &NameArgs) -> Outcome {
    let verb = match sort {
        Sort::Branch => "branch",
        Sort::Tag => "tag",
    };
    let action = match &args.name {
        None => Action::List,
        Some(name) if args.delete => Action::Delete { name: name.clone() },
        Some(name) => Action::Create { name: name.clone(), at: args.at.clone(), force: args.force },
    };
    let report = context.ask(verb, &action, |replica, _| branch::run(replica, sort, &action))?;
    if report.made.is_some() {
        context.out.done(&report, |page| made(page, verb, &report))?;
    } else {
        context.out.answer(&report, |page| list(page, &report))?;
    }
    Ok(None)
}

fn made(page: &mut Page, verb: &str, report: &Report) {
    let Some(made) = &report.made else { return };
    let name = made.name.split_once('/').map_or(made.name.as_str(), |(_, name)| name);
    match (made.from, made.to) {
        (None, Some(to)) => page.line(format!("made {verb} {name} at {}", to.short())),
        (Some(from), Some(to)) => page.line(format!("moved {verb} {name} from {} to {}", from.short(), to.short())),
        (Some(from), None) => page.line(format!("removed {verb} {name}, which was at {}", from.short())),
        (None, None) => {}
    }
}

fn list(page: &mut Page, report: &Report) {
    let mut table = Table::new([("", Align::Left), ("", Align::Left), ("", Align::Left)]);
    for name in &report.names {
        let mark = if name.current { "*" } else { " " };
        table.row([mark.to_owned(), name.name.clone(), name.commit.short().to_string()]);
    }
    page.table(&table);
}
