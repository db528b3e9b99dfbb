//! `syncline apply`: changes as `watch` gives them, written transaction by transaction.

use std::io::BufRead;

use anyhow::Context as _;
use syncline_node::ops::apply::{self, Request};
use syncline_node::ops::put::Report;

use crate::context::Context;
use crate::fault::{Fault, Outcome, Result};
use crate::units;

/// Arguments of `apply`.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Examples:\n  syncline watch --on http://a:7070/shop --from start | syncline apply -C ../copy\n  \
                        printf '%s\\n' '{\"op\":\"set\",\"table\":\"people\",\"row\":{\"id\":1,\"name\":\"ann\"}}' \
                        '{\"op\":\"delete\",\"table\":\"people\",\"key\":{\"id\":2}}' '{\"op\":\"commit\"}' | syncline apply\n\n\
                        Each line of standard input is a change: `set` with a row, `delete` with a key. `commit` ends a transaction; \
                        what comes after the last one is a transaction, too. Transactions are written as they end: after an error \
                        those before it are there, nothing of the one that failed is."
)]
pub(crate) struct Args {
    /// The table of changes that name none
    #[arg(long, short = 't')]
    table: Option<String>,
}

/// What was applied.
#[derive(Debug, Default, serde::Serialize)]
struct Applied {
    transactions: u64,
    rows: u64,
    /// Of the last transaction.
    #[serde(skip_serializing_if = "Option::is_none")]
    transaction: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    position: Option<String>,
}

pub(crate) fn run(context: &Context, args: &Args) -> Outcome {
    let request = Request { read: None, table: args.table.clone() };
    let mut asked = context.live()?;
    let mut applied = Applied::default();
    let (mut input, mut lines) = (std::io::stdin().lock(), Vec::new());
    let mut write = |lines: &mut Vec<u8>, applied: &mut Applied| -> Result<()> {
        if lines.iter().all(u8::is_ascii_whitespace) {
            lines.clear();
            return Ok(());
        }
        let report: Report = asked.ask("apply", &request, &mut &lines[..], apply::run).map_err(|fault| {
            let before = units::counted(applied.transactions, "transaction", "transactions");
            fault.after(&format!("{before} before it were applied"))
        })?;
        lines.clear();
        applied.transactions += 1;
        applied.rows += report.rows;
        (applied.transaction, applied.position) = (Some(report.transaction), Some(report.position));
        Ok(())
    };
    loop {
        let from = lines.len();
        let n = input.read_until(b'\n', &mut lines).context("reading standard input")?;
        if n == 0 {
            break;
        }
        if apply::is_end(&lines[from..]) {
            if !apply::is_whole(&lines[from..]) {
                lines.truncate(from);
            }
            write(&mut lines, &mut applied)?;
        }
    }
    write(&mut lines, &mut applied)?;
    if applied.transactions == 0 {
        return Err(Fault::invalid("apply: standard input has no change"));
    }
    context.out.done(&applied, |page| {
        let transactions = units::counted(applied.transactions, "transaction", "transactions");
        page.line(format!("applied {transactions}, {}", units::counted(applied.rows, "row", "rows")));
        page.line(format!("position {}", applied.position.as_deref().unwrap_or("0")));
    })?;
    Ok(None)
}
