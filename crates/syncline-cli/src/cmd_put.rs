//! `syncline put`: rows of a live table, and live files, written as one transaction.

use std::collections::BTreeSet;
use std::io::Read;

use syncline_node::live::files::Given;
use syncline_node::ops::put::{self, Report, Request};

use crate::context::{Context, Live};
use crate::fault::{Fault, Outcome, Result};
use crate::local_file;
use crate::output::Page;
use crate::units;

/// Arguments of `put`.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  echo '{\"id\": 1, \"name\": \"ann\"}' | syncline put --table people --key id\n  \
                        syncline put --table people --on http://hub:7070/shop < rows.ndjson\n  \
                        echo '{\"id\": \"a\", \"n\": 90}' | syncline put --table accounts --read \"$POSITION\" --read-key b\n  \
                        syncline put --file plans/hall.pdf=/tmp/hall-7.pdf --file notes.txt\n  \
                        echo '{\"id\": 7, \"plan\": \"plans/hall.pdf\"}' | \
                        syncline put --table halls --file plans/hall.pdf=/tmp/hall-7.pdf\n\n\
                        All rows of standard input are one transaction: every replica has all of them or none. A column that a row \
                        leaves out keeps its cell; null empties it. The cell of a counter may be {\"add\": N}. A writer that has read \
                        something gives the position that `get` gave it (--read), so that what others wrote meanwhile is kept beside it, \
                        not overwritten; it is printed `read`, which it can give with its next write. The position that is printed is \
                        for waiting: `get --after` on another replica sees what was written here; --read refuses it, for nobody has \
                        read what is in it.\n\n\
                        Files (--file) are written in the same transaction, or alone, when no table is named: every replica has all of it \
                        or none, and a directory that is kept in step has the files in a moment. Their contents are sent first, in pieces.\n\n\
                        A strict table (`table create --writers strict`) takes no write whose writer has not read what is there: rows \
                        that are written, and those that --read-key names, must be as they were at --read, or nothing is written and the \
                        command fails as a conflict (exit code 4). Read again then, and repeat it.")]
pub(crate) struct Args {
    /// The table that rows of standard input are put into
    #[arg(long, short = 't', required_unless_present = "file")]
    table: Option<String>,
    /// A file of the dataset, and the file of this machine whose content it is to have: the one of the same name when none is given,
    /// standard input for `-`; may be given several times
    #[arg(long, value_name = "PATH[=LOCALFILE]")]
    file: Vec<String>,
    /// The key's columns: makes the table when it is not there, with columns as the rows have them
    #[arg(long, short = 'k', value_name = "COLUMN[,COLUMN]", value_delimiter = ',', requires = "table")]
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
    let mut live = context.live()?;
    let files = files(&mut live, args)?;
    let table = args.table.clone().unwrap_or_default();
    let (mut rows, mut nothing) = (std::io::stdin(), std::io::empty());
    let input: &mut dyn Read = if table.is_empty() { &mut nothing } else { &mut rows };
    let request = Request { table, files, key, read: args.read.clone(), read_keys: read_key, once };
    let report = live.ask("put", &request, input, put::run)?;
    context.out.done(&report, |page| show(page, &report, "wrote"))?;
    Ok(None)
}

/// The files, whose contents are sent.
fn files(live: &mut Live<'_>, args: &Args) -> Result<Vec<Given>> {
    let mut named = BTreeSet::new();
    let mut files = Vec::with_capacity(args.file.len());
    for text in &args.file {
        let (path, local) = text.split_once('=').unwrap_or((text, text));
        if !named.insert(path) {
            return Err(Fault::invalid(format!("put --file {text}: {path} is given twice; nothing was written")));
        }
        if local == local_file::STDIN && args.table.is_some() {
            let why = "standard input is the rows; nothing was written";
            return Err(Fault::invalid(format!("put --file {text} with --table: {why}")));
        }
        files.push(local_file::given(path, local, &mut |input| live.send(input))?);
    }
    Ok(files)
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
