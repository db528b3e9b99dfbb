//! `syncline diff`: what differs between two versions.

use syncline_node::ops::diff::{self, Kind, Report, Request, Row};
use syncline_node::rows::Cells;

use crate::args::TreeArgs;
use crate::context::Context;
use crate::fault::Outcome;
use crate::output::{self, Page};

/// Arguments of `diff`.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Examples:\n  syncline diff                          what is staged, against the current branch\n  \
                        syncline diff v1 v2\n  syncline diff main~1 main --table prices --rows"
)]
pub(crate) struct Args {
    /// The older version; the current branch when absent
    #[arg(value_name = "A")]
    from: Option<String>,
    /// The newer version; what is staged when absent
    #[arg(value_name = "B")]
    to: Option<String>,
    #[command(flatten)]
    tree: TreeArgs,
    /// Show the rows that differ, with their changed cells
    #[arg(long)]
    rows: bool,
    /// With --rows: at most so many rows
    #[arg(long, short = 'n', value_name = "N", default_value_t = 100, requires = "rows")]
    limit: usize,
}

pub(crate) fn run(context: &Context, args: &Args) -> Outcome {
    let request = Request {
        from: args.from.clone(),
        to: args.to.clone(),
        tree: args.tree.tree(),
        rows: if args.rows { args.limit } else { 0 },
    };
    let report = context.ask("diff", &request, |replica, _| diff::run(replica, &request))?;
    context.out.answer(&report, |page| {
        show(page, &report);
        if report.equal && args.to.is_none() {
            page.line("only what is committed or staged is compared; `syncline status` lists files that were edited");
        }
    })?;
    Ok(None)
}

fn show(page: &mut Page, report: &Report) {
    if report.equal {
        page.line(format!("equal: both have root {}", report.from));
        return;
    }
    output::changes(page, &report.trees);
    if report.trees.is_empty() {
        page.line("nothing differs there");
    }
    let mut tree = None;
    for row in &report.rows {
        if tree != Some(&row.tree) {
            page.gap();
            page.line(format!("{}:", row.tree));
            tree = Some(&row.tree);
        }
        show_row(page, row);
    }
    if report.truncated {
        page.line("more rows differ; show more with --limit N");
    }
}

fn show_row(page: &mut Page, row: &Row) {
    match row.kind {
        Kind::Insert => page.line(format!("+ {}  {}", row.key, cells(row.after.as_ref()))),
        Kind::Delete => page.line(format!("- {}  {}", row.key, cells(row.before.as_ref()))),
        Kind::Update => {
            page.line(format!("~ {}", row.key));
            for column in &row.changed {
                let [before, after] = [&row.before, &row.after]
                    .map(|side| side.as_ref().and_then(|row| row.get(column)).unwrap_or("null"));
                page.line(format!("    {column}: {before} -> {after}"));
            }
        }
    }
}

/// The cells of a row in one line.
fn cells(row: Option<&Cells>) -> String {
    let cells = row.into_iter().flat_map(Cells::iter);
    cells.map(|(name, cell)| format!("{name}={cell}")).collect::<Vec<_>>().join(" ")
}
