//! `syncline export`: write a table, at any version, to a file.

use syncline_api::client::Client;
use syncline_node::export::{Out, Target};
use syncline_node::import::Format;
use syncline_node::ops::export::{self, Report, Request};

use crate::cmd_import::{FormatArg, format_of};
use crate::context::{self, Context, Place};
use crate::fault::{Fault, Outcome, Result};
use crate::units;

/// Arguments of `export`.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  syncline export --table prices -o prices.parquet\n  \
                        syncline export --table prices --at v1 --columns sku,price -o - --format csv")]
pub(crate) struct Args {
    /// The table
    #[arg(long, short = 't')]
    table: String,
    /// Which version; what is staged, or else the current branch, when absent
    #[arg(long, value_name = "REF")]
    at: Option<String>,
    /// The file, replaced in one step; `-` is standard output
    #[arg(long, short = 'o', value_name = "FILE")]
    output: String,
    /// The format; else by the file's name
    #[arg(long, value_enum)]
    format: Option<FormatArg>,
    /// Only these columns, in this order
    #[arg(long, value_name = "COLUMN[,COLUMN]", value_delimiter = ',')]
    columns: Option<Vec<String>>,
    /// At most so many rows
    #[arg(long, short = 'n', value_name = "N")]
    limit: Option<u64>,
}

pub(crate) fn run(context: &Context, args: &Args) -> Outcome {
    let request = Request {
        table: args.table.clone(),
        at: args.at.clone(),
        format: args.format.map(Format::from),
        columns: args.columns.clone(),
        limit: args.limit,
    };
    let to_stdout = args.output == "-";
    if to_stdout && context.out.json {
        return Err(Fault::invalid(
            "export to standard output with --json: rows and report would be mixed\nname a file with -o",
        ));
    }
    let report = match context.place()? {
        Place::Here(replica) => export::run(&replica, &request, &Target::from_arg(&args.output), &*context.progress())?,
        Place::Node(client) => receive(context, &client, request, &args.output)?,
    };
    if !to_stdout {
        context.out.done(&report, |page| {
            page.line(format!(
                "wrote {} ({}) of {} to {} in {}",
                units::counted(report.written.rows, "row", "rows"),
                units::bytes(report.written.bytes),
                report.table,
                args.output,
                units::seconds(report.written.seconds),
            ));
        })?;
    }
    Ok(None)
}

/// Takes the file from a node; it appears whole or not at all.
fn receive(context: &Context, client: &Client, mut request: Request, output: &str) -> Result<Report> {
    let progress = context.progress();
    if request.format.is_none() {
        request.format = Some(format_of(output).ok_or_else(|| {
            Fault::invalid(format!("export to {output}: its name does not tell a format\nname it with --format"))
        })?);
    }
    if output == "-" {
        return context::call(client, "export", &request, None, &mut std::io::stdout().lock(), &*progress);
    }
    let mut out = Out::create(&Target::from_arg(output)).map_err(syncline_node::Error::from)?;
    let report = context::call(client, "export", &request, None, &mut out, &*progress)?;
    out.publish().map_err(syncline_node::Error::from)?;
    Ok(report)
}
