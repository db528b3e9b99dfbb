//! `syncline put`: rows of a live table, written as one transaction.

use syncline_node::ops::put::{self, Report, Request};

use crate::context::Context;
use crate::fault::Outcome;
use crate::output::Page;
use crate::units;

/// Arguments of `put`.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  echo '{\"id\": 1, \"name\": \"ann\"}' | syncline put --table people --key id\n  \
                        syncline put --table people --on http://hub:7070/shop < rows.ndjson\n  \
                        echo '{\"id\": \"a\", \"n\": 90}' | syncline put --table accounts --read \"$POSITION\" --read-key b\n\n\
                        All rows of standard input are one transaction: every replica has all of them or none. A column that a row \
                        leaves out keeps its cell; null empties it. The cell of a counter may be {\"add\": N}. A writer that has read \
                        something gives the position that `get` gave it (--read), so that what others wrote meanwhile is kept beside it, \
                        not overwritten; it is printed `read`, which it can give with its next write. The position that is printed is \
                        for waiting: `get --after` on another replica sees what was written here; --read refuses it, for nobody has \
                        read what is in it.\n\n\
                        A strict table (`table create --writers strict`) takes no write whose writer has not read what is there: rows \
                        that are written, and those that --read-key names, must be as they were at --read, or nothing is written and the \
                        command fails as a conflict (exit code 4). Read again then, and repeat it.")]
pub(crate) struct Args {
    /// The table
    #[arg(long, short = 't')]
    table: String,
    /// The key's columns: makes the table when it is not there, with columns as the rows have them
    #[arg(long, short = 'k', value_name = "COLUMN[,COLUMN]", value_delimiter = ',')]
    key: Vec<String>,
    /// What the writer had read: a position as `get` or `watch` print it, or `read` of the write before; else everything that is there
    #[arg(long, value_name = "POSITION")]
    read: Option<String>,
    #[command(flatten)]
    certified: Certified,
}

/// What a transaction on a strict table says of itself.
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct Certified {
    /// Of a strict table: a row that was read at --read beside those that are written; may be given several times
    #[arg(long, value_name = "KEY", requires = "read")]
    pub(crate) read_key: Vec<String>,
    /// Of a strict table: an identity of this transaction, for giving it again when no answer came; of one identity the first is written
    #[arg(long, value_name = "ID")]
    pub(crate) once: Option<String>,
}

pub(crate) fn run(context: &Context, args: &Args) -> Outcome {
    let key = (!args.key.is_empty()).then(|| args.key.clone());
    let Certified { read_key, once } = args.certified.clone();
    let request = Request { table: args.table.clone(), key, read: args.read.clone(), read_keys: read_key, once };
    let report = context.ask_live("put", &request, &mut std::io::stdin().lock(), put::run)?;
    context.out.done(&report, |page| show(page, &report, "wrote"))?;
    Ok(None)
}

/// Says what was written.
pub(crate) fn show(page: &mut Page, report: &Report, verb: &str) {
    let files = units::counted(report.files, "file", "files");
    let made = if report.created { ", a new table" } else { "" };
    let rows = format!("{} of {}{made}", units::counted(report.rows, "row", "rows"), report.table);
    let what = match (report.rows, report.files) {
        (_, 0) => rows,
        (0, _) => files,
        _ => format!("{rows} and {files}"),
    };
    page.line(format!("{verb} {what} in {}", units::seconds(report.seconds)));
    page.line(format!("transaction {}", report.transaction));
    page.line(format!("position    {}", report.position));
    if let Some(read) = &report.read {
        page.line(format!("read        {read}"));
    }
    if !report.taken {
        page.line("durable here; it waits for a hub to take it in");
    }
}
