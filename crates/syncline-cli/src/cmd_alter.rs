//! `syncline alter`: change the columns of a table.

use syncline_node::ops::alter::{self, Report, Request};

use crate::context::Context;
use crate::fault::{Fault, Outcome};
use crate::output::{Align, Page, Table};
use crate::units;

/// Arguments of `alter`.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  syncline alter --table prices --add currency:utf8 -m 'room for currencies'\n  \
                        syncline alter --table prices --rename price=amount --drop note\n\n\
                        A new column is null in every row: fill it with `syncline import` of a file that has the key and \
                        the column. Without -m the change is staged.")]
pub(crate) struct Args {
    /// The table
    #[arg(long, short = 't')]
    table: String,
    /// Add a column, for example `currency:utf8` or `amount:decimal(12, 2)`; may be given several times
    #[arg(long, value_name = "COLUMN:TYPE", value_parser = typed)]
    add: Vec<(String, String)>,
    /// Drop a column; may be given several times
    #[arg(long, value_name = "COLUMN")]
    drop: Vec<String>,
    /// Give a column another name; may be given several times
    #[arg(long, value_name = "OLD=NEW", value_parser = renamed)]
    rename: Vec<(String, String)>,
    /// Give a column a type that holds every value of the one it has; may be given several times
    #[arg(long, value_name = "COLUMN:TYPE", value_parser = typed)]
    widen: Vec<(String, String)>,
    /// Commit with this message; without it the change is staged
    #[arg(long, short = 'm', value_name = "MSG")]
    message: Option<String>,
}

fn typed(text: &str) -> Result<(String, String), String> {
    // A name may have colons, and so may what a type has in brackets: `timestamp(us, +02:00)`.
    let mut depth = 0_usize;
    let colon = text.char_indices().rev().find(|(_, is)| {
        match is {
            ')' => depth += 1,
            '(' => depth = depth.saturating_sub(1),
            _ => {}
        }
        *is == ':' && depth == 0
    });
    two(colon.map(|(at, _)| (&text[..at], &text[at + 1..])), "write COLUMN:TYPE, for example currency:utf8")
}

fn renamed(text: &str) -> Result<(String, String), String> {
    two(text.split_once('='), "write OLD=NEW")
}

fn two(parts: Option<(&str, &str)>, otherwise: &str) -> Result<(String, String), String> {
    match parts {
        Some((name, rest)) if !name.is_empty() && !rest.is_empty() => Ok((name.to_owned(), rest.to_owned())),
        _ => Err(otherwise.to_owned()),
    }
}

pub(crate) fn run(context: &Context, args: &Args) -> Outcome {
    if [&args.add, &args.rename, &args.widen].iter().all(|steps| steps.is_empty()) && args.drop.is_empty() {
        return Err(Fault::invalid("alter: nothing to do\nname a change with --add, --drop, --rename or --widen"));
    }
    let request = Request {
        table: args.table.clone(),
        rename: args.rename.clone(),
        widen: args.widen.clone(),
        add: args.add.clone(),
        drop: args.drop.clone(),
        author: Some(context.env().author),
        message: args.message.clone(),
    };
    let report = context.ask("alter", &request, |replica, _| alter::run(replica, &request))?;
    context.out.done(&report, |page| show(page, &report))?;
    Ok(None)
}

fn show(page: &mut Page, report: &Report) {
    page.line(format!("{}: {}", report.table, units::counted(report.rows, "row", "rows")));
    let mut columns = Table::new([("column", Align::Left), ("type", Align::Left), ("", Align::Left)]);
    for column in &report.columns {
        let nullable = if column.nullable { "may be null" } else { "" };
        columns.row([column.name.clone(), column.ty.to_string(), nullable.to_owned()]);
    }
    page.table(&columns);
    match report.commit {
        _ if report.staged => page.line("staged; keep it with `syncline commit -m MSG`"),
        Some(commit) => page.line(format!("commit {}", commit.short())),
        None => page.line("nothing changed"),
    }
    page.line(format!("root   {}", report.root));
}

#[cfg(test)]
mod tests;
