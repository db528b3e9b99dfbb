//! `syncline conflicts`: what a merge could not decide, and rows of live tables and live files that several have written at once.

mod live;
mod place;

use std::borrow::Cow;

use syncline_base::Kind;
use syncline_node::ops::conflicts::{self, Conflict, Report};
use syncline_node::rows::Cells;

use crate::context::Context;
use crate::fault::Outcome;
use crate::output::{Align, CELL, Page, Table, cut};
use crate::units;

/// How many are listed when nobody says.
const LIMIT: usize = 100;

/// Arguments of `conflicts`.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  syncline conflicts\n  syncline conflicts list --table people\n  \
                        syncline conflicts show --table people --key 1\n  \
                        syncline conflicts resolve --table people --key 1 --take \"$TRANSACTION\" --read \"$POSITION\"\n  \
                        syncline conflicts list --files\n  \
                        syncline conflicts resolve --file notes.txt --take notes.txt.conflict-91d2aa00c1f3-2\n  \
                        syncline conflicts resolve --file notes.txt --with merged.txt --read \"$POSITION\"\n\n\
                        Without a command: the conflicts of a merge that waits, which `syncline resolve` decides, and how many rows \
                        of live tables, and how many live files, are in conflict. Such a row has several values whose writers had not \
                        read each other's: readers see the one that the table's resolver picks, the others are kept until somebody \
                        decides. Of such a file a directory that is kept in step shows what was written last at its path, and the rest \
                        beside it.")]
pub(crate) struct Args {
    #[command(subcommand)]
    action: Option<live::Action>,
    /// At most so many rows and files [default: 100]
    #[arg(long, short = 'n', value_name = "N")]
    limit: Option<usize>,
}

pub(crate) fn run(context: &Context, args: &Args) -> Outcome {
    if let Some(action) = &args.action {
        return live::run(context, action, args.limit);
    }
    let limit = args.limit.unwrap_or(LIMIT);
    let report = context.ask("conflicts", &limit, |replica, _| conflicts::run(replica, limit))?;
    // Who has the live tables may not be reachable from here; the rest is shown all the same.
    let (live, fault) = match live::count(context) {
        Ok(count) => (Some(count), None),
        Err(fault) => (None, Some(fault)),
    };
    let damaged = fault.as_ref().is_some_and(|fault| fault.is(Kind::Corrupt));
    let fault = fault.map(|fault| fault.to_string());
    let shown = Shown { report: &report, live, live_unavailable: fault };
    context.out.answer(&shown, |page| {
        show(page, &report);
        show_live(page, &shown);
    })?;
    Ok(damaged.then_some(Kind::Corrupt))
}

/// Everything that is shown, as one object.
#[derive(Debug, serde::Serialize)]
struct Shown<'a> {
    #[serde(flatten)]
    report: &'a Report,
    #[serde(skip_serializing_if = "Option::is_none")]
    live: Option<live::Count>,
    #[serde(skip_serializing_if = "Option::is_none")]
    live_unavailable: Option<String>,
}

fn show_live(page: &mut Page, shown: &Shown<'_>) {
    if let Some(why) = &shown.live_unavailable {
        page.gap();
        page.line(format!("live tables: not known: {why}"));
    }
    let Some(live) = shown.live.filter(|live| live.open + live.files > 0) else { return };
    page.gap();
    page.line(format!("live: {}; see `syncline conflicts list`", live.told()));
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
