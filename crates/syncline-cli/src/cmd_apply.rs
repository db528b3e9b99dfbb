//! `syncline apply`: changes as `watch` gives them, written transaction by transaction.

mod files;
mod sink;

use std::io::{BufRead, BufReader};

use anyhow::Context as _;
use syncline_node::ops::apply::arrow::{Transaction, Transactions};
use syncline_node::ops::apply::{self, Request};

use self::sink::Sink;
use crate::context::Context;
use crate::fault::{Fault, Outcome, Result};
use crate::units;

/// Arguments of `apply`.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Examples:\n  syncline watch --on http://a:7070/shop --from start | syncline apply -C ../copy\n  \
                        printf '%s\\n' '{\"op\":\"set\",\"table\":\"people\",\"row\":{\"id\":1,\"name\":\"ann\"}}' \
                        '{\"op\":\"delete\",\"table\":\"people\",\"key\":{\"id\":2}}' '{\"op\":\"commit\"}' | syncline apply\n  \
                        printf '%s\\n' '{\"op\":\"set\",\"table\":\"halls\",\"row\":{\"id\":7,\"plan\":\"plans/hall.pdf\"}}' \
                        '{\"op\":\"set\",\"file\":\"plans/hall.pdf\",\"from\":\"/tmp/hall-7.pdf\"}' \
                        '{\"op\":\"delete\",\"file\":\"plans/old.pdf\"}' | syncline apply\n\n\
                        Each line of standard input is a change: `set` with a row, `delete` with a key. `commit` ends a transaction; \
                        what comes after the last one is a transaction, too. Transactions are written as they end: after an error \
                        those before it are there, nothing of the one that failed is; lines in messages count from its beginning. \
                        Tables have to be there (`syncline table create`).\n\n\
                        A change may be of a file: `set` with `file`, its path, and one of `from` (a file of this machine), `text`, `base64`, \
                        `link` (the target of a symbolic link) and `\"folder\":true` (an empty one); `\"executable\":true` beside it, which \
                        stays as it was when it is left out; `delete` with `file`. Files and rows of one transaction are written together or \
                        not at all. Contents of `from` are sent before it, in pieces.\n\n\
                        A transaction on strict tables may begin with what its writer had read, and with an identity, under which it is \
                        written once: {\"op\":\"begin\",\"read\":\"POSITION\",\"reads\":[{\"table\":\"people\",\"key\":7},{\"table\":\"teams\"}],\
                        \"once\":\"ID\"}\n\n\
                        With --format arrow, standard input is an Arrow stream of rows of one table, columns by name: what pyarrow, \
                        pandas and polars write of a table as it is. Each batch is a transaction, and one of more than 65,536 rows or \
                        16 MiB is several. A column `_txn` groups rows instead: those that follow each other with the same cell are one \
                        transaction, over the ends of batches, too. A column `_op` says `set` (so does null) or `delete`, for which the \
                        columns of the key are enough. Lines in messages are rows of the transaction that failed."
)]
pub(crate) struct Args {
    /// The table of changes that name none
    #[arg(long, short = 't')]
    #[arg(required_if_eq("format", "arrow"))]
    table: Option<String>,
    /// What standard input is
    #[arg(long, value_enum, default_value_t = Format::Ndjson)]
    format: Format,
}

/// What changes come as.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum Format {
    /// Lines of JSON
    Ndjson,
    /// An Arrow stream of a table's rows
    Arrow,
}

/// What was applied.
#[derive(Debug, Default, serde::Serialize)]
struct Applied {
    transactions: u64,
    rows: u64,
    files: u64,
    /// Of the last transaction.
    #[serde(skip_serializing_if = "Option::is_none")]
    transaction: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    position: Option<String>,
}

impl Applied {
    /// How much, in words.
    fn told(&self) -> String {
        let (rows, files) = (units::counted(self.rows, "row", "rows"), units::counted(self.files, "file", "files"));
        match (self.rows, self.files) {
            (_, 0) => rows,
            (0, _) => files,
            _ => format!("{rows}, {files}"),
        }
    }
}

/// Changes of a transaction.
#[derive(Debug, Default, Clone, Copy)]
struct Changes {
    rows: u64,
    files: u64,
}

impl Changes {
    const fn are_none(self) -> bool {
        self.rows + self.files == 0
    }
}

pub(crate) fn run(context: &Context, args: &Args) -> Outcome {
    let request = Request { table: args.table.clone(), ..Request::default() };
    let mut sink = Sink::open(context, &request)?;
    let fed = match args.format {
        Format::Ndjson => feed_lines(&mut sink),
        Format::Arrow => feed_arrow(&mut sink),
    };
    let (applied, ended) = sink.end();
    if let Err(fault) = fed.and(ended) {
        let before = units::counted(applied.transactions, "transaction", "transactions");
        return Err(fault.after(&format!("{before} before it were applied, {}", applied.told())));
    }
    if applied.transactions == 0 {
        return Err(Fault::invalid("apply: standard input has no change"));
    }
    context.out.done(&applied, |page| {
        let transactions = units::counted(applied.transactions, "transaction", "transactions");
        page.line(format!("applied {transactions}, {}", applied.told()));
        page.line(format!("position {}", applied.position.as_deref().unwrap_or("0")));
    })?;
    Ok(None)
}

/// Cuts lines into transactions.
fn feed_lines(sink: &mut Sink) -> Result<()> {
    let mut input = BufReader::with_capacity(BUFFER, std::io::stdin().lock());
    let (mut lines, mut changes) = (Vec::new(), Changes::default());
    loop {
        let from = lines.len();
        let n = input.read_until(b'\n', &mut lines).context("reading standard input")?;
        let ends = n > 0 && apply::is_end(&lines[from..]);
        // The end of what was there whole says that what was not given is not there any more.
        let whole = ends && apply::is_whole(&lines[from..]);
        // And a beginning may say something about what follows.
        let header = if ends && apply::is_header(&lines[from..]) { lines[from..].to_vec() } else { Vec::new() };
        if ends && !whole {
            lines.truncate(from);
        } else if n > 0 && !ends {
            if apply::is_of_file(&lines[from..]) {
                let sent = files::sent(&lines[from..], sink)?;
                changes.files += 1;
                if let Some(line) = sent {
                    lines.truncate(from);
                    lines.extend_from_slice(&line);
                }
            } else {
                changes.rows += u64::from(!lines[from..].trim_ascii().is_empty());
            }
            continue;
        }
        if !changes.are_none() || whole {
            // The next one is about as long.
            let next = Vec::with_capacity(lines.len());
            sink.write(std::mem::replace(&mut lines, next).into(), std::mem::take(&mut changes))?;
        }
        lines.clear();
        lines.extend_from_slice(&header);
        if n == 0 {
            return Ok(());
        }
    }
}

/// What is read of standard input at once.
const BUFFER: usize = 1 << 18;

fn feed_arrow(sink: &mut Sink) -> Result<()> {
    for transaction in Transactions::new(Box::new(std::io::stdin()))? {
        let Transaction { changes, rows } = transaction?;
        sink.write(changes, Changes { rows, files: 0 })?;
    }
    Ok(())
}
