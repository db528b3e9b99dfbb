//! `syncline get`: rows of a live table as they are now.

use syncline_node::ops::get::{self, Found, Report, Request, Version};

use crate::args::Bounds;
use crate::context::Context;
use crate::fault::Outcome;
use crate::output::{Align, Page, Table};

/// Arguments of `get`.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Examples:\n  syncline get --table people --key 1\n  syncline get --table orders --key eu,7 --siblings\n  \
                        syncline get --table people --after \"$POSITION\" --max-wait 500\n  \
                        syncline get --table people --key 1 --max-staleness 500ms\n  syncline get --table stock --key 7 --strict\n\n\
                        Rows are lines of JSON. A row that was written in several places at once has siblings: the first one is \
                        what readers see, the others are kept until somebody who has seen them all writes the row again. With --after, \
                        --max-staleness and --strict there is never an older answer: what is not there in time is an error of its own (exit code 8)."
)]
pub(crate) struct Args {
    /// The table
    #[arg(long, short = 't')]
    table: String,
    /// A key: its text, with commas between columns, or an object; may be given several times. Without one, all rows
    #[arg(long, short = 'k', value_name = "KEY", allow_hyphen_values = true)]
    key: Vec<String>,
    /// Every value that a row has
    #[arg(long)]
    siblings: bool,
    /// As the table is at the replica that decides what it holds, from the moment of this command on: the certifier of a strict table, else the hub
    #[arg(long)]
    strict: bool,
    #[command(flatten)]
    bounds: Bounds,
    /// At most so many rows
    #[arg(long, short = 'n', value_name = "N", default_value_t = 1000)]
    limit: usize,
}

pub(crate) fn run(context: &Context, args: &Args) -> Outcome {
    let request = Request {
        table: args.table.clone(),
        keys: args.key.clone(),
        siblings: args.siblings,
        strict: args.strict,
        bounds: args.bounds.to_request(),
        limit: Some(args.limit),
    };
    let report =
        context.ask_live("get", &request, &mut std::io::empty(), |replica, request, _| get::run(replica, request))?;
    context.out.answer(&report, |page| show(page, &report, args.siblings))?;
    Ok(None)
}

fn show(page: &mut Page, report: &Report, siblings: bool) {
    for found in &report.rows {
        if siblings {
            versions(page, found);
        } else {
            page.line(serde_json::to_string(&found.row).unwrap_or_default());
        }
    }
    if report.more {
        page.line(format!(
            "… more; show more with --limit N, all with `syncline watch --table {} --from start --once`",
            report.table
        ));
    }
}

fn versions(page: &mut Page, found: &Found) {
    page.line(format!("{}{}", found.key, if found.conflict { ": in conflict" } else { "" }));
    if !found.siblings.iter().any(|version| version.visible) {
        let row = serde_json::to_string(&found.row).unwrap_or_default();
        page.line(format!("  {row} is what readers see, merged of"));
    }
    siblings_of(page, &found.siblings);
}

/// The values of a row, the visible one marked.
pub(crate) fn siblings_of(page: &mut Page, siblings: &[Version]) {
    let mut table = Table::new([("", Align::Left), ("row", Align::Left), ("transaction", Align::Left)]);
    for version in siblings {
        let mark = if version.visible { "  *" } else { "" };
        let row = match &version.fault {
            None => serde_json::to_string(&version.row).unwrap_or_default(),
            Some(fault) => format!("(cannot be read: {fault})"),
        };
        let waits = if version.taken { "" } else { " (waits for a hub)" };
        let torn = if version.torn { " (torn)" } else { "" };
        table.row([mark.to_owned(), row, format!("{}{torn}{waits}", version.transaction)]);
    }
    page.table(&table);
}
