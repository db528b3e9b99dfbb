//! `syncline delete`: rows of a live table, deleted as one transaction.

use syncline_node::ops::put::{self, Request};

use crate::cmd_put::{Certified, show};
use crate::context::Context;
use crate::fault::Outcome;

/// Arguments of `delete`.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  echo 1 | syncline delete --table people\n  \
                        echo '{\"region\": \"eu\", \"id\": 7}' | syncline delete --table orders\n\n\
                        Each line of standard input is a key: its text, with commas between columns, or an object. All are one \
                        transaction. Rows that are not there are no error.")]
pub(crate) struct Args {
    /// The table
    #[arg(long, short = 't')]
    table: String,
    /// What the writer had read: a position as `get` or `watch` print it, or `read` of the write before; else everything that is there
    #[arg(long, value_name = "POSITION")]
    read: Option<String>,
    #[command(flatten)]
    certified: Certified,
}

pub(crate) fn run(context: &Context, args: &Args) -> Outcome {
    let Certified { read_key, once } = args.certified.clone();
    let (table, read) = (args.table.clone(), args.read.clone());
    let request = Request { table, read, read_keys: read_key, once, ..Request::default() };
    let report = context.ask_live("delete", &request, &mut std::io::stdin().lock(), put::delete)?;
    context.out.done(&report, |page| show(page, &report, "deleted"))?;
    Ok(None)
}
