//! `syncline conflicts`: what a merge could not decide.

use std::borrow::Cow;

use syncline_node::ops::conflicts::{self, Conflict, Report};
use syncline_node::rows::Cells;

use crate::context::Context;
use crate::fault::Outcome;
use crate::output::{Align, CELL, Page, Table, cut};
use crate::units;

/// Arguments of `conflicts`.
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:\n  syncline conflicts")]
pub(crate) struct Args {
    /// At most so many rows
    #[arg(long, short = 'n', value_name = "N", default_value_t = 100)]
    limit: usize,
}

pub(crate) fn run(context: &Context, args: &Args) -> Outcome {
    let report = context.ask("conflicts", &args.limit, |replica, _| conflicts::run(replica, args.limit))?;
    context.out.answer(&report, |page| show(page, &report))?;
    Ok(None)
}

fn show(page: &mut Page, report: &Report) {
    let Some(merging) = &report.merging else {
        page.line("no merge is waiting");
        return;
    };
    let open = units::counted(report.open as u64, "conflict is", "conflicts are");
    page.line(format!("merging {merging}: {open} open"));
    let mut cut = false;
    for conflict in &report.conflicts {
        page.gap();
        cut |= show_one(page, conflict);
    }
    if cut {
        page.gap();
        page.line(format!("of long cells the first {CELL} characters are shown; --json gives them whole"));
    }
    if report.open > report.conflicts.len() {
        page.line(format!("and {} more; show more with --limit N", report.open - report.conflicts.len()));
    }
    if report.open > 0 {
        page.gap();
        page.line("decide with `syncline resolve --ours` or `--theirs`, for all or with --table T --key K");
    }
}

/// One row with its sides; says whether a cell is longer than what is shown of it.
fn show_one(page: &mut Page, conflict: &Conflict) -> bool {
    if conflict.key.is_empty() {
        let why = if conflict.rekeyed {
            "has another key on one side, so it is one side's as a whole"
        } else {
            "removed on one side, changed on the other"
        };
        page.line(format!("{}: {why}", conflict.tree));
        return false;
    }
    page.line(format!("{} key {}", conflict.tree, conflict.key));
    let sides = [&conflict.base, &conflict.ours, &conflict.theirs];
    let mut columns = conflict.columns.clone();
    if columns.is_empty() {
        // A side that is gone conflicts as a whole: show every cell of those that are there.
        for (name, _) in sides.iter().filter_map(|side| side.as_ref()).flat_map(Cells::iter) {
            if !columns.iter().any(|known| known == name) {
                columns.push(name.to_owned());
            }
        }
    }
    let mut table =
        Table::new([("column", Align::Left), ("base", Align::Left), ("ours", Align::Left), ("theirs", Align::Left)]);
    let mut any_cut = false;
    for column in &columns {
        let cells = sides.map(|side| cell(side.as_ref(), column));
        let shown = cells.map(cut);
        any_cut |= shown.iter().any(|shown| matches!(shown, Cow::Owned(_)));
        table.row(std::iter::once(format!("  {column}")).chain(shown.map(Cow::into_owned)));
    }
    page.table(&table);
    any_cut
}

fn cell<'a>(side: Option<&'a Cells>, column: &str) -> &'a str {
    side.map_or("(deleted)", |row| row.get(column).unwrap_or("null"))
}
