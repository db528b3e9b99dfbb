//! `syncline log`: the commits that led to a version.

use syncline_base::Kind;
use syncline_node::ops::log::{self, Entry, Request};

use crate::context::Context;
use crate::fault::Outcome;
use crate::output::{Align, Page, Table, cut};
use crate::units;

/// Arguments of `log`.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  syncline log -n 10\n  syncline log v1.2 --json")]
pub(crate) struct Args {
    /// Where to start; the current branch when absent
    #[arg(value_name = "REF")]
    at: Option<String>,
    /// At most so many commits
    #[arg(long, short = 'n', value_name = "N")]
    limit: Option<usize>,
}

pub(crate) fn run(context: &Context, args: &Args) -> Outcome {
    let request = Request { at: args.at.clone(), limit: args.limit };
    let report = context.ask("log", &request, |replica, _| log::run(replica, &request))?;
    context.out.answer(&report, |page| {
        if report.commits.is_empty() && request.limit != Some(0) {
            page.line("nothing committed yet");
        }
        let mut table = Table::new([
            ("commit", Align::Left),
            ("time", Align::Left),
            ("author", Align::Left),
            ("message", Align::Left),
        ]);
        for entry in &report.commits {
            let names = if entry.names.is_empty() { String::new() } else { format!("[{}] ", entry.names.join(", ")) };
            table.row([
                entry.id.short().to_string(),
                units::time(entry.time_ms),
                entry.commit.author.clone(),
                format!("{names}{}", cut(entry.commit.message.lines().next().unwrap_or_default())),
            ]);
        }
        page.table(&table);
        if report.shallow {
            page.line("older commits are not in this replica");
        }
        if let Some(id) = report.damaged {
            page.line(format!(
                "DAMAGED: version {} is not here or cannot be read, and so what came before it",
                id.short()
            ));
            page.line(
                "`syncline verify` says what else is damaged, `syncline repair --from URL` brings it from another copy",
            );
        }
    })?;
    Ok(report.damaged.map(|_| Kind::Corrupt))
}

/// One commit in full.
pub(crate) fn entry(page: &mut Page, entry: &Entry) {
    page.line(format!("commit  {}", entry.id));
    page.line(format!("root    {}", entry.commit.root));
    for parent in &entry.commit.parents {
        page.line(format!("parent  {parent}"));
    }
    page.line(format!("author  {}", entry.commit.author));
    page.line(format!("time    {}", units::time(entry.time_ms)));
    if !entry.names.is_empty() {
        page.line(format!("names   {}", entry.names.join(", ")));
    }
    for (key, value) in &entry.commit.meta {
        page.line(format!("meta    {key}={value}"));
    }
    page.gap();
    for line in entry.commit.message.lines() {
        page.line(format!("    {line}"));
    }
}
