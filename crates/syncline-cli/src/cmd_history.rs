//! `syncline history`: what happened to one row.

use syncline_node::ops::history::{self, Action, Event, Report, Request};

use crate::context::Context;
use crate::fault::Outcome;
use crate::output::{Align, Page, Table};
use crate::units;

/// Arguments of `history`.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  syncline history --table prices --key A-1001\n  \
                        syncline history --table lineitem --key 7,1 --at v2")]
pub(crate) struct Args {
    /// The table
    #[arg(long, short = 't')]
    table: String,
    /// The key; several key columns are separated by commas (`\,` is a comma inside a value)
    #[arg(long, short = 'k', value_name = "KEY", allow_hyphen_values = true)]
    key: String,
    /// Where to start; the current branch when absent
    #[arg(long, value_name = "REF")]
    at: Option<String>,
    /// At most so many events
    #[arg(long, short = 'n', value_name = "N")]
    limit: Option<usize>,
}

pub(crate) fn run(context: &Context, args: &Args) -> Outcome {
    let request = Request { table: args.table.clone(), key: args.key.clone(), at: args.at.clone(), limit: args.limit };
    let report = context.ask("history", &request, |replica, _| history::run(replica, &request))?;
    context.out.answer(&report, |page| show(page, &report))?;
    Ok(None)
}

fn show(page: &mut Page, report: &Report) {
    let commits = units::counted(report.commits, "commit", "commits");
    if report.events.is_empty() {
        page.line(if report.cut {
            format!(
                "no version that is here changed the row of {} with key {} ({commits} looked at); older ones are not here",
                report.table, report.key
            )
        } else {
            format!("no row of {} ever had key {} ({commits} looked at)", report.table, report.key)
        });
        return;
    }
    let mut table = Table::new([
        ("commit", Align::Left),
        ("time", Align::Left),
        ("author", Align::Left),
        ("", Align::Left),
        ("cells", Align::Left),
    ]);
    for event in &report.events {
        let action = match event.action {
            Action::Insert => "inserted",
            Action::Update => "updated",
            Action::Delete => "deleted",
        };
        table.row([
            event.entry.id.short().to_string(),
            units::time(event.entry.time_ms),
            event.entry.commit.author.clone(),
            action.to_owned(),
            cells(event),
        ]);
    }
    page.line(format!("{} key {} ({commits} looked at)", report.table, report.key));
    page.table(&table);
    if report.cut {
        page.line("what was before is not known: older versions are not here");
    }
}

/// The cells that an event is about: those that changed, or all of an inserted row.
fn cells(event: &Event) -> String {
    let Some(row) = &event.row else { return String::new() };
    if event.changed.is_empty() {
        return row.iter().map(|(name, cell)| format!("{name}={cell}")).collect::<Vec<_>>().join(" ");
    }
    let shown = event.changed.iter().map(|name| match row.get(name) {
        Some(cell) => format!("{name}={cell}"),
        None => format!("{name} (column dropped)"),
    });
    shown.collect::<Vec<_>>().join(" ")
}
