//! `syncline show`: one version, what it holds and what it changed.

use syncline_node::ops::show::{self, Report, Request};

use crate::context::Context;
use crate::fault::Outcome;
use crate::output::{self, Align, Page, Table};
use crate::{cmd_log, units};

/// Arguments of `show`.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  syncline show\n  syncline show main~2")]
pub(crate) struct Args {
    /// A branch, a tag, a commit, or NAME~N; the current branch when absent
    #[arg(value_name = "REF")]
    at: Option<String>,
}

pub(crate) fn run(context: &Context, args: &Args) -> Outcome {
    let request = Request { at: args.at.clone() };
    let report = context.ask("show", &request, |replica, _| show::run(replica, &request))?;
    context.out.answer(&report, |page| page_of(page, &report))?;
    Ok(None)
}

fn page_of(page: &mut Page, report: &Report) {
    cmd_log::entry(page, &report.entry);
    let mut trees = Table::new([("tree", Align::Left), ("rows", Align::Right), ("root", Align::Left)]);
    for tree in &report.trees {
        trees.row([output::tree_name(&tree.tree), units::count(tree.rows), tree.root.to_string()]);
    }
    page.gap();
    page.table(&trees);
    for tree in report.trees.iter().filter(|tree| !tree.columns.is_empty()) {
        page.gap();
        page.line(format!("{}:", output::tree_name(&tree.tree)));
        for column in &tree.columns {
            page.line(format!("  {column}"));
        }
    }
    if !report.changes.is_empty() {
        page.gap();
        page.line("changed against its parent:");
        output::changes(page, &report.changes);
    }
}
